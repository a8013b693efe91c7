"""A process with closed, full, broken or slow output streams does the same work and has the same exit code."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from tests.helpers.commands import SCRIPT, ask, lead_to
from tests.helpers.sandbox import Fault, Sandbox

TEAM, FAILING = 936506, 941277

CLOSED, LEFT = "<&- >&- 2>&-", "2>&1 | true"
"""Redirections of all three streams to closed descriptors, and of both outputs to a reader that has left."""
REDIRECTIONS = (">&-", "| true", ">/dev/full", ">/dev/full 2>/dev/full")


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


def test_a_load_without_readers_writes_its_rows_and_exits_with_its_own_code(api: Sandbox) -> None:
    """A load serves the warehouse and a scheduler reads the exit code.

    No file gets the descriptor of a closed stream: the summary would be written into a database with descriptor 1.
    """
    for number, redirection in enumerate((CLOSED, LEFT, CLOSED)):
        api.edit_connector(TEAM, "A", name=f"Name {number}")
        done = shell(
            f"{SCRIPT} load --keep-going --team {TEAM} --team {FAILING} {'--json' * (number % 2)} {redirection}"
        )
        assert (done.returncode, done.stdout, done.stderr) == (65, b"", b""), redirection
        assert ask("select team_id, name from connectors") == [(TEAM, f"Name {number}")]


def test_other_commands_without_a_reader_exit_with_their_codes() -> None:
    """Help and usage errors too, also on a full disk."""
    for redirection in REDIRECTIONS:
        for arguments, code in (("--help", 0), ("load --nope", 64)):
            done = shell(f"{SCRIPT} {arguments} {redirection}")
            assert done.returncode == code, (arguments, redirection, done.stderr)
            assert b"Traceback" not in done.stderr
            assert b"Exception ignored" not in done.stderr


@pytest.mark.usefixtures("api")
def test_characters_outside_the_encoding_are_escaped() -> None:
    """JSON output is the same in every locale."""
    load = f"{SCRIPT} load --keep-going --team {TEAM} --team {FAILING}"
    done = shell(f"PYTHONIOENCODING=ascii:strict {load}")
    assert done.returncode == 65
    assert b"Loaded 1 of 2 teams" in done.stdout
    assert b"\\U0001f600" in done.stderr
    assert b"Traceback" not in done.stderr
    done = shell(f"PYTHONIOENCODING=latin-1 {load} --json")
    [failed] = [team for team in json.loads(done.stdout)["teams"] if team["status"] == "failed"]
    assert "Nein, größtenteils 😀" in failed["error_message"]
    assert "größtenteils \\U0001f600" in done.stderr.decode("latin-1")
    done = shell(f"LC_ALL=C PYTHONIOENCODING=ascii {SCRIPT} overview")
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"K\\xe4ytt\\xf6" in done.stdout


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
