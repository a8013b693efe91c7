"""The command line as a program, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from supermetrics_loader.sandbox import Sandbox
from tests.helpers.expectations import OTHER, TEAM

SCRIPT = str(Path(sys.executable).parent / "supermetrics-connectors")


def script(*arguments: str, **environment: str) -> tuple[int, str, str]:
    """Runs the console script: its exit code, output and errors."""
    done = subprocess.run(  # noqa: S603 - the tests make up the commands themselves
        [SCRIPT, *arguments], capture_output=True, encoding="utf-8", env={**os.environ, **environment}, check=False
    )
    return done.returncode, done.stdout, done.stderr


def with_two_teams(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """Gives each of two teams a connector, and leads commands to the sandbox by their environment."""
    for team_id in (TEAM, OTHER):
        sandbox.add_connector(team_id, "A", name="Name A", configuration={"configuration_json": {"a": 1}})
        monkeypatch.setenv("SOURCES__SUPERMETRICS__TEAM_IDS", ",".join(map(str, sandbox.team_ids)))
    monkeypatch.setenv("SUPERMETRICS_API_KEY", sandbox.token)
    monkeypatch.setenv("SOURCES__SUPERMETRICS__BASE_URL", sandbox.url)
    return sandbox
