"""The command line as a process whose output nobody can read: what it does, and its exit code, are the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from supermetrics_loader.sandbox import Fault, Sandbox

SCRIPT = str(Path(sys.executable).parent / "supermetrics-connectors")
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
    """A team that loads and one that is forbidden, and the environment that leads to them."""
    for team_id in (TEAM, FAILING):
        sandbox.add_connector(team_id, "A", name="Käyttö 漢字 😀", configuration={"configuration_json": {}})
    sandbox.fault(Fault(403, message="Nein, größtenteils 😀"), team_id=FAILING, times=99)
    monkeypatch.setenv("SUPERMETRICS_API_KEY", sandbox.token)
    monkeypatch.setenv("SOURCES__SUPERMETRICS__BASE_URL", sandbox.url)
    return sandbox


def shell(command: str) -> subprocess.CompletedProcess[bytes]:
    """Runs a command with a shell's redirections; the exit code is that of the first of a pipe."""
    return subprocess.run(  # noqa: S603 - the tests make up the commands themselves
        ["bash", "-o", "pipefail", "-c", command],  # noqa: S607 - whichever bash there is
        capture_output=True,
        timeout=60,
        check=False,
    )


def loaded() -> list[tuple[int]]:
    """The teams in the file that was loaded."""
    with duckdb.connect("supermetrics_connectors.duckdb", read_only=True) as connection:
        return connection.execute("select distinct team_id from supermetrics.connectors").fetchall()


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize("listener", LISTENERS.values(), ids=LISTENERS)
@pytest.mark.parametrize("how", ["", "--json"])
def test_a_load_is_done_and_ends_with_its_own_code(listener: str, how: str) -> None:
    """The warehouse is what a load is for, and a scheduler goes by the code."""
    done = shell(f"{SCRIPT} load --keep-going --team {TEAM} --team {FAILING} {how} {listener}")
    assert done.returncode == 65
    assert b"Traceback" not in done.stdout + done.stderr
    assert b"Exception ignored" not in done.stderr
    assert loaded() == [(TEAM,)]
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
def test_other_commands_end_with_their_codes(
    arguments: str, code: int, listener: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever listens, and however the command ends."""
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
def test_an_encoding_without_the_letters_shows_escapes(locale: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """And the JSON of such a locale is read as that of any other."""
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
def test_no_file_takes_the_place_of_a_closed_stream() -> None:
    """A database with descriptor 1 would have the summary written into it."""
    for _ in range(2):
        assert shell(f"{SCRIPT} load --team {TEAM} <&- >&- 2>&-").returncode == 0
    assert loaded() == [(TEAM,)]


@pytest.mark.usefixtures("api")
def test_a_slow_reader_gets_all_of_it() -> None:
    """Also through a pipe that somebody has set not to block, and that is full for a while."""
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
