"""Runs commands in this process or in a process of their own, and reads the file that they load."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pytest

from supermetrics_loader.cli.main import run
from supermetrics_loader.sandbox.data import shipped_teams
from tests.helpers.expectations import OTHER, TEAM
from tests.helpers.sandbox import Sandbox

SCRIPT = str(Path(sys.executable).parent / "supermetrics-connectors")
CRM, LOYALTY, PODCAST = 936506, 941277, 958014
"""The shipped teams: 3, 2 and 2 connectors, 6 of them with a configuration."""
HTML = b"<html><body>502 Bad Gateway</body></html>"

NO_TEAM_IDS = (
    "No team_ids is set. Set --team ID (repeatable), SOURCES__SUPERMETRICS__TEAM_IDS in the environment, "
    "or team_ids under [sources.supermetrics] in .dlt/config.toml."
)
NO_API_KEY = (
    "No api_key is set. Set SUPERMETRICS_API_KEY in the environment, "
    "or api_key under [sources.supermetrics] in .dlt/secrets.toml."
)


class Outcome(NamedTuple):
    """Exit code and output of a command."""

    code: int
    out: str
    err: str


Command = Callable[..., Outcome]


def shipped(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """Adds the shipped teams and points commands to the sandbox. Retries do not wait."""
    for team_id, connectors in shipped_teams().items():
        sandbox.add_team(team_id, connectors)
    monkeypatch.setenv("SOURCES__SUPERMETRICS__REQUEST_BACKOFF_FACTOR", "0")
    lead_to(sandbox, monkeypatch)
    return sandbox


def with_two_teams(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """Adds two teams of one connector each and points commands to the sandbox."""
    for team_id in (TEAM, OTHER):
        sandbox.add_connector(team_id, "A", name="Name A", configuration={"configuration_json": {"a": 1}})
    lead_to(sandbox, monkeypatch)
    return sandbox


def lead_to(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Points commands to the sandbox and to its present teams."""
    monkeypatch.setenv("SUPERMETRICS_API_KEY", sandbox.token)
    monkeypatch.setenv("SOURCES__SUPERMETRICS__BASE_URL", sandbox.url)
    monkeypatch.setenv("SOURCES__SUPERMETRICS__TEAM_IDS", ",".join(map(str, sandbox.team_ids)))


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command in this process: `cli("load", "--json")`."""

    def command(*arguments: str) -> Outcome:
        capsys.readouterr()
        code = run(list(arguments))
        return Outcome(code, *capsys.readouterr())

    return command


def script(*arguments: str, timeout: float | None = 300, **environment: str) -> Outcome:
    """Runs the installed console script to its end, with additional variables of the environment."""
    done = subprocess.run(  # noqa: S603 - the tests make up the commands themselves
        [SCRIPT, *arguments],
        capture_output=True,
        encoding="utf-8",
        timeout=timeout,
        check=False,
        env={**os.environ, **environment},
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


@contextmanager
def running(*command: str) -> Iterator[subprocess.Popen[str]]:
    """A process in the background, killed at the end of the block. SIGINT interrupts it, also below `nohup`."""
    process = subprocess.Popen(  # noqa: S603 - the tests make up the commands themselves
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no thread holds a lock
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def ask(
    sql: str, file: Path | str = "supermetrics_connectors.duckdb", dataset: str = "supermetrics"
) -> list[tuple[Any, ...]]:
    """Queries the DuckDB file of a load."""
    with duckdb.connect(str(file)) as connection:
        connection.execute(f"set timezone = 'UTC'; set schema = '{dataset}'")
        return connection.execute(sql).fetchall()


def listed(sandbox: Sandbox) -> list[tuple[int, str, str]]:
    """Team, identifier and name of every connector of the sandbox, sorted."""
    return sorted(
        (team_id, one["connector_identifier"], one["name"])
        for team_id in sandbox.team_ids
        for one in sandbox.connectors(team_id)
    )


def loaded(file: Path | str = "supermetrics_connectors.duckdb", dataset: str = "supermetrics") -> list[tuple[Any, ...]]:
    """Team, identifier and name of every row of `connectors`, sorted."""
    return ask("select team_id, connector_identifier, name from connectors order by all", file, dataset)


def totals(outcome: Outcome) -> str:
    """The summary's sentence with the sums, without the seconds."""
    match = re.search(r"^(Loaded \d+ of \d+ teams?) in \d+\.\d s: (.*)\.$", outcome.out, re.MULTILINE)
    assert match, outcome
    return f"{match[1]}: {match[2]}"


def wait_until(condition: Callable[[], bool]) -> None:
    """Waits until a condition holds, at most a minute."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
