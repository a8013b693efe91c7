"""What reaches a terminal, a log and a mail: text from outside, warnings and colours."""

from __future__ import annotations

import json
from typing import Any

import pytest

from supermetrics_loader.run.failures import describe
from supermetrics_loader.run.load import LoadFailedError
from tests.helpers.commands import CRM, LOYALTY, Command, ask, script
from tests.helpers.sandbox import Fault, Sandbox

MARKUP = "wrong :id: :key: :warning: [red]x[/red] [link=https://x.example]y[/link]"
HOSTILE = f"{MARKUP}\x1b]0;owned\x07\x1b[2J\x9b31mred\nError: forged\r\x85\u2028two invoice\u202efdp.exe \u2066isolated"


def unsafe(text: str) -> set[str]:
    """Characters that act on a terminal, except line breaks."""
    return {char for char in text if not char.isprintable() and char != "\n"}


def test_a_message_of_the_api_is_printed_sanitized_and_stored_unchanged(api: Sandbox, cli: Command) -> None:
    """On the screen it neither acts nor begins a line; a program gets the text of the error, emoji codes included."""
    api.fault(Fault(403, message=HOSTILE, description=HOSTILE), team_id=LOYALTY, times=3)
    outcome = cli("load", "--keep-going")
    assert outcome.code == 65
    assert unsafe(outcome.out + outcome.err) == set()
    assert len(outcome.err.splitlines()) == 1
    assert MARKUP in outcome.err
    outcome = cli("load", "--keep-going", "--json")
    [failed] = [team for team in json.loads(outcome.out)["teams"] if team["status"] == "failed"]
    assert outcome.out.isascii()
    assert ask(f"select distinct error_message from team_syncs where request_id = '{failed['request_id']}'") == [
        (failed["error_message"],)
    ]
    outcome = cli("load", "--json")
    assert outcome.code == 65
    assert unsafe(outcome.err) == set()
    assert len(outcome.err.splitlines()) == 1
    assert unsafe(json.loads(outcome.out)["error"]["message"]) == set()


def test_names_within_a_configuration_are_printed_sanitized(api: Sandbox, cli: Command) -> None:
    """The path of a typed secret consists of names that anybody may choose."""
    api.edit_configuration(CRM, "T3S70", {HOSTILE: {"password": "hunter2-hunter2"}})
    outcome = cli("check", "--secrets", "--team", str(CRM))
    assert (outcome.code, outcome.err) == (0, "")
    assert unsafe(outcome.out) == set()
    [line] = [line for line in outcome.out.splitlines() if "T3S70:" in line]
    assert "password" in line
    assert MARKUP in line
    secrets = json.loads(cli("check", "--secrets", "--team", str(CRM), "--json").out)["teams"][0]["secrets"]
    assert MARKUP in secrets["T3S70"][0]


def test_no_typed_secrets_and_no_examination_differ(api: Sandbox, cli: Command) -> None:
    """Without configurations `check` makes no statement about secrets."""
    api.edit_configuration(CRM, "T3S70", {})
    assert "secret" not in cli("check", "--team", str(CRM)).out
    found = cli("check", "--team", str(CRM), "--secrets").out
    assert "No secrets are typed into configurations." in found


def test_a_failed_team_is_one_line_on_standard_error_of_a_process(api: Sandbox) -> None:
    """The source's warning about a skipped team is left out, because the command prints each failed team.

    A pipe gets everything that was printed.
    """
    api.fault(Fault(403, message=HOSTILE), team_id=LOYALTY, times=2)
    loaded, checked = script("load", "--keep-going", "--json"), script("check")
    assert (loaded.code, len(json.loads(loaded.out)["teams"])) == (65, 3)
    assert checked.code == 65
    for outcome in (loaded, checked):
        assert unsafe(outcome.out + outcome.err) == set()
        [line] = outcome.err.splitlines()
        assert line.startswith("Error: HTTP 403 FORBIDDEN for team")


def test_lines_of_a_destinations_error_are_indented() -> None:
    """An error of several lines must not look like an error of this program."""
    error = LoadFailedError(ValueError("no\nError: forged\x1b[2J"), "load", "supermetrics")
    assert describe(error) == "ValueError: no\n  Error: forged\\x1b[2J"


def test_quiet_prints_failures_only(api: Sandbox, cli: Command) -> None:
    """A good run gives cron nothing to mail, also a run with a warning."""
    api.report_count(CRM, 9)
    assert script("load", "--quiet") == (0, "", "")
    assert cli("load", "-q", "--json") == (0, "", "")
    api.fault(Fault(403), team_id=LOYALTY, times=2)
    for options in (["--keep-going"], []):
        code, out, err = cli("load", "-q", *options)
        assert (code, out) == (65, "")
        assert [line.partition(": You")[0] for line in err.splitlines()] == [
            f"Error: HTTP 403 FORBIDDEN for team {LOYALTY}"
        ]


def test_verbose_logs_what_is_written_how_and_why(api: Sandbox, cli: Command, caplog: pytest.LogCaptureFixture) -> None:
    """On standard error, so that the JSON stays one line; of a failure, dlt's step and the error's class.

    FORCE_COLOR, which a continuous integration sets, adds no color to either.
    """
    color: dict[str, Any] = {"FORCE_COLOR": "1", "TERM": "xterm-256color"}
    code, out, err = script("load", "-v", "--json", "--include-configs", **color)
    assert (code, len(json.loads(out)["teams"])) == (0, 3)
    assert "\x1b" not in out + err
    assert "INFO Write mode mirror: the destination has SCD2 and deletes rows\n" in err
    assert "INFO connectors: 7 rows to be written, mode append\n" in err
    api.fault(Fault(403), team_id=LOYALTY)
    assert cli("load", "-v").code == 65
    assert "SupermetricsForbiddenError in dlt's step extract" in caplog.messages
