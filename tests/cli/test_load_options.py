"""How much `load` says, and what the program itself can be asked for: its completion and its version."""

from __future__ import annotations

import json
from importlib.metadata import version

import pytest

from supermetrics_loader.sandbox import Fault, Sandbox
from tests.helpers.commands import script, with_two_teams
from tests.helpers.expectations import OTHER, TEAM


@pytest.fixture
def api(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """The sandbox with a connector in each of two teams, and the environment that leads to it."""
    return with_two_teams(sandbox, monkeypatch)


# --- --quiet, --verbose -----------------------------------------------------------------------------------------------


def test_quiet_prints_failures_only(api: Sandbox) -> None:
    """Nothing to mail of a good run, also of one that warns; all that is known of a bad one."""
    assert script("load", "--quiet") == (0, "", "")
    api.report_count(TEAM, 9)
    assert script("load", "-q", "--json") == (0, "", "")
    api.fault(Fault(403), team_id=OTHER, times=2)
    code, out, err = script("load", "-q", "--keep-going")
    assert (code, out) == (65, "")
    assert [line.partition(": ")[0] for line in err.splitlines()] == [f"Error HTTP 403 FORBIDDEN for team {OTHER}"]
    assert script("load", "-q")[0] == 65


@pytest.mark.usefixtures("api")
def test_verbose_logs_what_is_written_how_and_why() -> None:
    """On standard error, so that the JSON stays one line."""
    code, out, err = script("load", "-v", "--json", "--include-configs")
    assert (code, len(json.loads(out)["teams"])) == (0, 2)
    assert "INFO Tables are written as mirror: it has SCD2 and deletes rows\n" in err
    assert "INFO connectors: 2 rows to be written, as append\n" in err


# --- the program itself -----------------------------------------------------------------------------------------------


def test_the_shell_completes_commands_and_options() -> None:
    """By click's own script, as documented."""
    code, out, err = script(_SUPERMETRICS_CONNECTORS_COMPLETE="bash_source")
    assert (code, err) == (0, "")
    assert "complete -o nosort -F _supermetrics_connectors_completion supermetrics-connectors" in out
    for words, offered in {
        "supermetrics-connectors di": "diff",
        "supermetrics-connectors load --dr": "--dry-run",
    }.items():
        code, out, err = script(
            _SUPERMETRICS_CONNECTORS_COMPLETE="bash_complete",
            COMP_WORDS=words,
            COMP_CWORD=str(words.count(" ")),
        )
        assert (code, out, err) == (0, f"plain,{offered}\n", "")


def test_the_version_is_that_of_the_package() -> None:
    """What a bug report begins with."""
    assert script("--version") == (0, f"supermetrics-connectors, version {version('supermetrics-connectors')}\n", "")
