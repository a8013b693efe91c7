"""`supermetrics-connectors diff`: two versions of a configuration, for people and as JSON."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from supermetrics_connectors.documents.json_text import parse_json
from supermetrics_loader.cli.console import show_json
from supermetrics_loader.cli.main import run
from supermetrics_loader.sanitize import sanitize
from tests.helpers.commands import lead_to
from tests.helpers.isolation import isolate
from tests.helpers.sandbox import Fault, Sandbox

TEAM = 936506
UNUSUAL = "\x1b[2J a\x85b \u202edesrever line\u2028line \x7f\x9b"

Version = tuple[str, dict[str, Any]]
EMPTY: Version = ("1", {})
VERSIONS: dict[str, list[Version]] = {
    "T3S70": [
        ("1.0.0", {"url": "https://a.example", "fields": [{"id": "clicks"}]}),
        ("1.1.0", {"url": "https://b.example", "fields": [{"id": "clicks"}, {"id": "Käyttö"}]}),
        ("1.1.0", {"fields": [{"id": "Käyttö"}], "limit": 5}),
    ],
    "ONCE": [EMPTY, EMPTY, EMPTY],
    "SAME": [EMPTY, EMPTY, ("2", {})],
    "ODD": [EMPTY, EMPTY, (UNUSUAL, {UNUSUAL: UNUSUAL})],
    "GONE": [EMPTY, ("2", {"a": 1})],
}
"""The versions of each connector, one per load. The third load follows the deletion of GONE."""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with these versions in a DuckDB file."""
    folder = tmp_path_factory.mktemp("loaded")
    with Sandbox(teams={}) as sandbox, pytest.MonkeyPatch.context() as monkeypatch:
        isolate(monkeypatch, folder)
        for connector in VERSIONS:
            sandbox.add_connector(TEAM, connector, created_at="2025-01-01", updated_at="2025-01-01")
        lead_to(sandbox, monkeypatch)
        for number in range(3):
            for connector, versions in VERSIONS.items():
                if number == len(versions):
                    sandbox.delete_connector(TEAM, connector)
                    continue
                version, document = versions[number]
                configuration = {"version": version, "configuration_json": document}
                sandbox.edit_connector(TEAM, connector, configuration=configuration, updated_at="2025-01-01")
            assert run(["load", "--include-configs", "--json"]) == 0
    return folder


@pytest.fixture
def out(
    loaded: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> pytest.CaptureFixture[str]:
    """Changes to that folder and captures what is printed from here on."""
    monkeypatch.chdir(loaded)
    capsys.readouterr()
    return capsys


def test_the_last_two_versions_are_compared(out: pytest.CaptureFixture[str]) -> None:
    """The diff has one member per line, with the lines around a change."""
    assert run(["diff", str(TEAM), "T3S70"]) == 0
    before, after, *lines = out.readouterr().out.splitlines()
    assert before.startswith("--- 1.1.0 (no. 2, ")
    assert after.startswith("+++ 1.1.0 (no. 3, ")
    assert after.endswith(" to now)")
    assert lines == [
        "@@ -1,11 +1,8 @@",
        " {",
        '   "fields": [',
        "-    {",
        '-      "id": "clicks"',
        "-    },",
        "     {",
        '       "id": "Käyttö"',
        "     }",
        "   ],",
        '-  "url": "https://b.example"',
        '+  "limit": 5',
        " }",
    ]


@pytest.mark.parametrize(
    ("arguments", "numbers"),
    [
        ([], (2, 3)),
        (["--from", "1.0.0"], (1, 3)),
        (["--from", "1.0.0", "--to", "2"], (1, 2)),
        (["--to", "2"], (1, 2)),
        (["--from", "3", "--to", "1.0.0"], (3, 1)),
    ],
)
def test_versions_are_chosen_by_name_or_number(
    out: pytest.CaptureFixture[str], arguments: list[str], numbers: tuple[int, int]
) -> None:
    """The defaults are the newest version and the version before."""
    assert run(["diff", str(TEAM), "T3S70", "--json", *arguments]) == 0
    printed = json.loads(out.readouterr().out)
    assert (printed["from"]["number"], printed["to"]["number"]) == numbers


def test_json_has_each_place_with_both_values(out: pytest.CaptureFixture[str]) -> None:
    """A program reads paths and values, not lines."""
    assert run(["diff", str(TEAM), "T3S70", "--to", "2", "--json"]) == 0
    printed = json.loads(out.readouterr().out)
    assert printed["changes"] == [
        {"change": "added", "path": "$.fields[1]", "from": None, "to": {"id": "Käyttö"}},
        {"change": "changed", "path": "$.url", "from": "https://a.example", "to": "https://b.example"},
    ]
    assert (printed["team_id"], printed["connector_identifier"]) == (TEAM, "T3S70")
    assert set(printed["to"]) == {
        "number",
        "version",
        "content_hash",
        "updated_at",
        "valid_from",
        "valid_to",
        "other_fields",
    }


def test_equal_documents_are_reported_as_equal(out: pytest.CaptureFixture[str]) -> None:
    """An empty output would look like a failure."""
    assert run(["diff", str(TEAM), "SAME"]) == 0
    assert out.readouterr().out.rstrip().endswith("have the same content.")


def test_a_single_version_is_no_failure(out: pytest.CaptureFixture[str]) -> None:
    """After a first load the command names the only version."""
    assert run(["diff", str(TEAM), "ONCE"]) == 0
    printed = out.readouterr()
    assert re.fullmatch(
        r"There is one version so far, 1 \(no\. 1, .* to now\), and no earlier one to compare it with\. "
        r"The load after the next edit adds another\.\n",
        printed.out,
    )
    assert printed.err == ""
    assert run(["diff", str(TEAM), "ONCE", "--json"]) == 0
    document = json.loads(out.readouterr().out)
    assert (document["from"], document["to"]["version"], document["changes"]) == (None, "1", [])


def test_documents_are_sanitized_line_by_line(out: pytest.CaptureFixture[str]) -> None:
    """A member stays on one line and acts on no terminal; JSON has the value itself."""
    assert run(["diff", str(TEAM), "ODD"]) == 0
    text = out.readouterr().out
    assert not {char for char in text if char != "\n" and sanitize(char) != char}
    assert len(text.splitlines()) == 7
    assert run(["diff", str(TEAM), "ODD", "--json"]) == 0
    printed = json.loads(out.readouterr().out)
    assert (printed["to"]["version"], printed["changes"][0]["to"]) == (UNUSUAL, UNUSUAL)


def test_a_deleted_connector_keeps_its_history(out: pytest.CaptureFixture[str]) -> None:
    """After a deletion somebody asks for the last configuration."""
    assert run(["diff", str(TEAM), "GONE"]) == 0
    assert " to now)" not in out.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["T3S70", "--from", "9.9.9"], "Connector T3S70 of team 936506 has no version '9.9.9':\n  1.0.0 (no. 1, "),
        (["T3S70", "--to", "1.1.0"], "has 2 versions '1.1.0'; give a number:\n  1.1.0 (no. 2, "),
        (["ONCE", "--to", "1"], "there is no version of connector ONCE of team 936506 to compare it with."),
        (["T3S70", "--to", "1"], "there is no version of connector T3S70 of team 936506 to compare it with."),
        (["NONE"], "No configuration of connector NONE of team 936506 has been loaded. Load configurations with:"),
        (["T3S70", "--dataset", "elsewhere"], "No configuration of connector T3S70 of team 936506 has been loaded."),
    ],
)
def test_a_missing_version_is_a_usage_error(
    out: pytest.CaptureFixture[str], arguments: list[str], problem: str
) -> None:
    """The message lists the versions to choose from."""
    assert run(["diff", str(TEAM), *arguments]) == 64
    assert problem in out.readouterr().err


def test_two_connectors_are_compared(out: pytest.CaptureFixture[str]) -> None:
    """Agencies clone connectors between customers: the newest versions, or the ones that are named."""
    assert run(["diff", str(TEAM), "ONCE", "--with", str(TEAM), "T3S70"]) == 0
    before, after, *_ = out.readouterr().out.splitlines()
    assert before.startswith(f"--- connector ONCE of team {TEAM}, 1 (no. 1, ")
    assert after.startswith(f"+++ connector T3S70 of team {TEAM}, 1.1.0 (no. 3, ")
    assert run(["diff", str(TEAM), "ONCE", "--with", str(TEAM), "T3S70", "--to", "1.0.0", "--json"]) == 0
    printed = json.loads(out.readouterr().out)
    assert printed["with"] == {"team_id": TEAM, "team_name": None, "connector_identifier": "T3S70"}
    assert [change["path"] for change in printed["changes"]] == ["$.fields", "$.url"]


def test_names_from_arguments_are_sanitized(out: pytest.CaptureFixture[str]) -> None:
    """A pasted identifier acts on no terminal."""
    for arguments in (["\x1b[2J"], ["T3S70", "--to", "\x1b[2J"], ["T3S70", "--\x1b[2J"]):
        assert run(["diff", str(TEAM), *arguments]) == 64
        error = out.readouterr().err
        assert "\x1b" not in error
        assert "x1b[2J" in error


def test_json_keeps_every_digit(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    """JSON output is ASCII."""
    monkeypatch.setenv("SUPERMETRICS_API_KEY", sandbox.token)
    monkeypatch.setenv("SOURCES__SUPERMETRICS__BASE_URL", sandbox.url)
    sandbox.add_team(TEAM)
    values = r'[12345678901234567890123, 0.1234567890123456789012, "K\u00e4ytt\u00f6 \ud83d\ude00 \u001b"]'
    for value in ("null", values):
        connector = f'{{"connector_identifier": "A", "configuration": {{"configuration_json": {{"a": {value}}}}}}}'
        sandbox.fault(Fault(200, body=f'{{"count": 1, "connectors": [{connector}]}}'.encode()), team_id=TEAM)
        assert run(["load", "--team", str(TEAM), "--include-configs", "--json"]) == 0
    capfd.readouterr()
    assert run(["diff", str(TEAM), "A", "--json"]) == 0
    printed = capfd.readouterr().out
    assert printed.isascii()
    (change,) = parse_json(printed)["changes"]
    assert change == {"change": "changed", "path": "$.a", "from": None, "to": parse_json(values)}


def test_json_is_printed_for_odd_values(capfd: pytest.CaptureFixture[str]) -> None:
    """A deep document, and a folder whose name is not UTF-8."""
    deep: Any = "ü"
    for _ in range(300):
        deep = [deep]
    show_json({"location": "\udcff", "document": deep})
    printed = capfd.readouterr().out
    assert printed.isascii()
    assert json.loads(printed) == {"location": "\udcff", "document": deep}
