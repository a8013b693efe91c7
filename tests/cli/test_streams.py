"""A process with closed, full, broken or slow output streams does the same work and has the same exit code."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.helpers.commands import SCRIPT, ask, lead_to
from tests.helpers.sandbox import Fault, Sandbox

TEAM, FAILING = 936506, 941277

LISTENERS = {
    "closed": ">&-",
    "all closed": "<&- >&- 2>&-",
    "full disk": ">/dev/full",
    "full disks": ">/dev/full 2>/dev/full",
    "broken pipe": "| true",
    "broken pipes": "2>&1 | true",
    "appended to a file": ">>log 2>&1",
}


@pytest.fixture
def api(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """A team that loads and a team that is forbidden."""
    for team_id in (TEAM, FAILING):
        sandbox.add_connector(team_id, "A", name="Käyttö 漢字 😀", configuration={"configuration_json": {}})
    sandbox.fault(Fault(403, message="Nein, größtenteils 😀"), team_id=FAILING, times=99)
    lead_to(sandbox, monkeypatch)
    return sandbox


def shell(command: str) -> subprocess.CompletedProcess[bytes]:
    """Runs a command with a shell's redirections; the exit code is that of the first command of a pipe."""
    return subprocess.run(  # noqa: S603 - the tests make up the commands themselves
        ["bash", "-o", "pipefail", "-c", command],  # noqa: S607 - whichever bash there is
        capture_output=True,
        timeout=300,
        check=False,
    )


def teams() -> list[tuple[int]]:
    """The teams in the loaded file."""
    return ask("select distinct team_id from connectors")


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize("listener", LISTENERS.values(), ids=LISTENERS)
@pytest.mark.parametrize("how", ["", "--json"])
def test_a_load_writes_its_rows_and_exits_with_its_own_code(listener: str, how: str) -> None:
    """A load serves the warehouse and a scheduler reads the exit code."""
    done = shell(f"{SCRIPT} load --keep-going --team {TEAM} --team {FAILING} {how} {listener}")
    assert done.returncode == 65
    assert b"Traceback" not in done.stdout + done.stderr
    assert b"Exception ignored" not in done.stderr
    assert teams() == [(TEAM,)]
    assert not Path("log").exists() or b"Traceback" not in Path("log").read_bytes()


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize("listener", [LISTENERS["closed"], LISTENERS["full disk"], LISTENERS["broken pipe"]])
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ("--help", 0),
        ("--version", 0),
        ("load --nope", 64),
        ("check --sandbox", 0),
        (f"check --team {FAILING}", 65),
        ("check --team 1 --base-url http://127.0.0.1:1", 69),
        ("diff 1 A", 64),
    ],
)
def test_other_commands_exit_with_their_codes(
    arguments: str, code: int, listener: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every kind of ending."""
    monkeypatch.setenv("SOURCES__SUPERMETRICS__REQUEST_MAX_ATTEMPTS", "1")
    done = shell(f"{SCRIPT} {arguments} {listener}")
    assert done.returncode == code, done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize(
    "locale",
    [
        {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1"},
        {"PYTHONIOENCODING": "ascii:strict"},
    ],
    ids=str,
)
def test_characters_outside_the_encoding_are_escaped(locale: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON output is the same in every locale."""
    for name, value in locale.items():
        monkeypatch.setenv(name, value)
    load = f"{SCRIPT} load --keep-going --include-configs --team {TEAM} --team {FAILING}"
    done = shell(load)
    assert done.returncode == 65
    assert b"Loaded 1 of 2 teams" in done.stdout
    assert b"\\U0001f600" in done.stderr
    assert b"Traceback" not in done.stderr
    [failed] = [team for team in json.loads(shell(f"{load} --json").stdout)["teams"] if team["status"] == "failed"]
    assert "Nein, größtenteils 😀" in failed["error_message"]
    assert shell(f"{SCRIPT} diff {TEAM} A").returncode == 0


@pytest.mark.usefixtures("api")
def test_no_file_gets_the_descriptor_of_a_closed_stream() -> None:
    """The summary would be written into a database with descriptor 1."""
    for _ in range(2):
        assert shell(f"{SCRIPT} load --team {TEAM} <&- >&- 2>&-").returncode == 0
    assert teams() == [(TEAM,)]


@pytest.mark.usefixtures("api")
def test_a_slow_reader_gets_the_whole_output() -> None:
    """Also through a full pipe that does not block."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    environment = {**os.environ, "SOURCES__SUPERMETRICS__TEAM_IDS": ",".join(map(str, range(1, 400)))}
    with subprocess.Popen([SCRIPT, "check", "--json"], stdout=write, env=environment) as process:  # noqa: S603 - ours
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            said = pipe.read()
    assert process.returncode == 65
    assert len(said) > 65_536
    assert len(json.loads(said)["teams"]) == 399
