"""`supermetrics-connectors show` and `sql`."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from supermetrics_loader.cli.main import run
from supermetrics_loader.cli.streams import tolerant
from tests.read.conftest import TEAM


@pytest.fixture
def ask(destination: str, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command on the destination: `ask("show", "1", "A")` returns its code, output and error."""

    def command(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run([*arguments, "--destination", destination])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return command


def test_a_connector_is_shown_with_its_configuration(ask: Any) -> None:
    """The text names both; the JSON has the document, the version and its facts."""
    code, out, _ = ask("show", str(TEAM), "CRM")
    assert code == 0
    assert "Configuration 1.1.0 (no. 2, " in out
    assert "  hosts                 crm.example.com, {{account.region}}.example.com\n" in out
    code, out, _ = ask("show", str(TEAM), "CRM", "--json")
    shown = json.loads(out)
    assert (shown["connector"]["name"], shown["configuration"]["number"]) == ("Internal CRM", 2)
    assert shown["configuration"]["configuration_json"]["reporting"]["schedule"] == "daily"
    assert (shown["configuration"]["authentication_type"], shown["configuration"]["fields"]) == ("oauth2", 4)


def test_fields_that_the_api_adds_are_shown_as_sent(ask: Any) -> None:
    """Whatever their names end in; an object is JSON, in the text too."""
    _, out, _ = ask("show", str(TEAM), "CRM")
    for line in (
        "published_at          1732500000",
        'owner                 {"teams":[7]}',
        "state                 live",
    ):
        assert f"\n  {line}\n" in out
    shown = json.loads(ask("show", str(TEAM), "CRM", "--json")[1])
    connector, added = shown["connector"], {"published_at": 1732500000, "moved_from": "OLD", "shared_to": "all"}
    assert {name: connector[name] for name in added} == added
    assert connector["owner"] == {"teams": [7]}
    assert connector["updated_at"].startswith("2025-01-01T00:00:00")
    assert shown["configuration"]["other_fields"] == {"state": "live"}


def test_other_fields_of_configurations_are_compared(ask: Any) -> None:
    """After its JSON, and in the list of changes."""
    diff = ask("diff", str(TEAM), "CRM")[1].splitlines()
    assert diff[-5:] == ["@@ -1,3 +1,3 @@", " {", '-  "state": "draft"', '+  "state": "live"', " }"]
    *_, change = json.loads(ask("diff", str(TEAM), "CRM", "--json")[1])["changes"]
    assert change == {"change": "changed", "path": "configuration.state", "from": "draft", "to": "live"}
    assert ask("changes")[1].count("~configuration.state") == 1


@pytest.mark.parametrize("wanted", ["1.0.0", "1"])
def test_an_earlier_version_is_shown(ask: Any, wanted: str) -> None:
    """By its name, by its number, or by a moment at which it was valid."""
    _, out, _ = ask("show", str(TEAM), "CRM", "--version", wanted, "--json")
    shown = json.loads(out)
    assert shown["configuration"]["version"] == "1.0.0"
    _, out, _ = ask("show", str(TEAM), "CRM", "--at", shown["configuration"]["valid_from"], "--json")
    assert json.loads(out) == shown


def test_a_deleted_connector_is_shown_as_it_was_last(ask: Any) -> None:
    """With the end of its record."""
    _, out, _ = ask("show", str(TEAM), "GONE", "--json")
    shown = json.loads(out)
    assert (shown["connector"]["name"], shown["configuration"]["version"]) == ("Gone", "1")
    assert shown["connector"]["valid_to"] == shown["configuration"]["valid_to"] is not None


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["NONE"], f"No load has seen connector NONE of team {TEAM} "),
        (["CRM", "--at", "2020-01-01"], "At 2020-01-01 00:00 UTC connector CRM of team "),
        (["CRM", "--version", "9"], "has no version '9':\n  1.0.0 (no. 1, "),
        (["CRM", "--version", "9", "--at", "1h"], "--at and --version exclude each other"),
    ],
)
def test_what_cannot_be_shown_is_a_usage_error(ask: Any, arguments: list[str], problem: str) -> None:
    """The message says what is known."""
    code, _, err = ask("show", str(TEAM), *arguments)
    assert code == 64
    assert problem in err


def test_a_query_prints_json_csv_or_a_table(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables need no schema; a repeated column keeps its value; `-` is standard input."""
    query = "select name, team_id, name from connectors where updated_at > '2025-02-01 10:30:00' order by name"
    assert ask("sql", query, "--json")[1] == f'{{"rows":[{{"name":"Bare","name_3":"Bare","team_id":{TEAM}}}]}}\n'
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{query};\n"))
    assert ask("sql", "-", "--csv")[1] == f"name,team_id,name\nBare,{TEAM},Bare\n"
    assert [line.split() for line in ask("sql", query)[1].splitlines()[-2:-1]] == [["Bare", str(TEAM), "Bare"]]


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("delete from connectors", "`sql` reads and never writes"),
        ("", "`sql` reads and never writes"),
        ("select 1; delete from connectors", "more than one statement"),
        ("with gone as (delete from connectors returning *) select * from gone", ""),
        ("with one as (select 1) insert into connectors select * from connectors", ""),
        ("explain analyze copy (select 1) to 'file.csv';", "`sql` reads and never writes"),
        ("with one as materialized (/**/ copy (select 1) to 'file.csv') select 1", "`sql` reads and never writes"),
        ("select 1 into outfile 'file.csv'", "`sql` reads and never writes"),
        ("select * from connectors where", ""),
        ("select * from nowhere", "nowhere"),
        ("select '\x1b[2J'::date", ""),
    ],
)
def test_a_query_that_is_no_query_is_a_usage_error(ask: Any, query: str, problem: str) -> None:
    """Nothing is written, whichever way a statement is dressed."""
    count = "select count(*) from connectors"
    before = ask("sql", count, "--csv")
    code, out, err = ask("sql", query)
    assert (code, out) == (64, "")
    assert problem in err
    assert "\x1b" not in err
    assert ask("sql", count, "--csv") == before
    assert not Path("file.csv").exists()


@pytest.mark.parametrize("destination", ["duckdb"], indirect=True)
@pytest.mark.parametrize(
    "command", ["sql --csv", "sql --json", "show --json", "diff --json", "changes", "overview --json"]
)
def test_an_answer_that_cannot_be_written_fails_the_command(
    ask: Any, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """A script must not take an empty or cut file for the answer. A reader that has left, such as `head`, may do so."""
    name, *options = command.split()
    arguments = {"sql": ["select 1"], "show": [str(TEAM), "CRM"], "diff": [str(TEAM), "CRM"]}.get(name, [])
    reader, left = os.pipe()
    os.close(reader)
    for descriptor, expected in (
        (os.open("/dev/full", os.O_WRONLY), (1, "Error: The output could not be written: No space left on device.\n")),
        (left, (0, "")),
    ):
        with monkeypatch.context() as patch:
            patch.setattr("sys.stdout", tolerant(descriptor, sys.stdout))
            code, _, err = ask(name, *arguments, *options)
        os.close(descriptor)
        assert (code, err) == expected


@pytest.mark.parametrize("destination", ["duckdb"], indirect=True)
@pytest.mark.usefixtures("destination")
def test_without_a_query_a_terminal_says_how_to_open_the_data(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a pipe a program would take the text for rows."""
    primary, secondary = os.openpty()
    with os.fdopen(secondary) as terminal, monkeypatch.context() as patch:
        patch.setattr("sys.stdin", terminal)
        code, out, _ = ask("sql")
    os.close(primary)
    assert code == 0
    assert "Tables:  connectors, connector_versions, connector_configurations" in out
    assert "Open:    duckdb -readonly " in out
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    code, out, _ = ask("sql")
    assert (code, out) == (64, "")
