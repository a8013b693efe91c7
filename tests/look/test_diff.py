"""`supermetrics-connectors diff`: two versions of a configuration, as a person reads what changed."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from supermetrics_connectors.documents.json_text import parse_json
from supermetrics_loader.cli.console import show_json
from supermetrics_loader.cli.main import run
from supermetrics_loader.harmless import harmless
from supermetrics_loader.sandbox import Fault, Sandbox
from tests.helpers.commands import lead_to
from tests.helpers.isolation import isolate

TEAM = 936506


VERSIONS: list[tuple[str, dict[str, Any]]] = [
    ("1.0.0", {"url": "https://a.example", "fields": [{"id": "clicks"}]}),
    ("1.1.0", {"url": "https://b.example", "fields": [{"id": "clicks"}, {"id": "Käyttö"}]}),
    ("1.1.0", {"fields": [{"id": "Käyttö"}], "limit": 5}),
]


def add_connectors(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives the team its two connectors, and has commands load it."""
    for connector in ("T3S70", "ONCE"):
        sandbox.add_connector(TEAM, connector, created_at="2025-01-01", updated_at="2025-01-01")
    lead_to(sandbox, monkeypatch)


def configure(sandbox: Sandbox, version: str, definition: dict[str, Any]) -> None:
    """The next version of one, while the other's stays."""
    for connector, told, json_ in (("T3S70", version, definition), ("ONCE", "1", {})):
        configuration = {"version": told, "configuration_json": json_}
        sandbox.edit_connector(TEAM, connector, configuration=configuration, updated_at="2025-01-01")


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with three versions of a connector's configuration, two of one name, and one of another connector's."""
    folder = tmp_path_factory.mktemp("loaded")
    with Sandbox(teams={}) as sandbox, pytest.MonkeyPatch.context() as monkeypatch:
        isolate(monkeypatch, folder)
        add_connectors(sandbox, monkeypatch)
        for version, definition in VERSIONS:
            configure(sandbox, version, definition)
            assert run(["load", "--include-configs", "--json"]) == 0
    return folder / "supermetrics_connectors.duckdb"


@pytest.fixture
def history(loaded: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """What the API lists when all of them are loaded, and the file."""
    shutil.copy(loaded, ".")
    add_connectors(sandbox, monkeypatch)
    configure(sandbox, *VERSIONS[-1])
    return sandbox


@pytest.fixture
def out(history: Sandbox, capsys: pytest.CaptureFixture[str]) -> pytest.CaptureFixture[str]:  # noqa: ARG001 - its rows
    """What is printed from here on."""
    capsys.readouterr()
    return capsys


def test_the_last_two_versions_are_compared(out: pytest.CaptureFixture[str]) -> None:
    """One member a line, with what stays around it."""
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
    """What is left out is the newest, and the one before."""
    assert run(["diff", str(TEAM), "T3S70", "--json", *arguments]) == 0
    told = json.loads(out.readouterr().out)
    assert (told["from"]["number"], told["to"]["number"]) == numbers


def test_json_tells_each_place_with_both_values(out: pytest.CaptureFixture[str]) -> None:
    """For programs, which would not read a text of lines."""
    assert run(["diff", str(TEAM), "T3S70", "--to", "2", "--json"]) == 0
    told = json.loads(out.readouterr().out)
    assert told["changes"] == [
        {"change": "added", "path": "$.fields[1]", "from": None, "to": {"id": "Käyttö"}},
        {"change": "changed", "path": "$.url", "from": "https://a.example", "to": "https://b.example"},
    ]
    assert (told["team_id"], told["connector_identifier"]) == (TEAM, "T3S70")
    assert set(told["to"]) == {"number", "version", "content_hash", "updated_at", "valid_from", "valid_to"}


def test_equal_contents_are_said_to_be_equal(history: Sandbox, out: pytest.CaptureFixture[str]) -> None:
    """Nothing printed would look like a failure."""
    history.edit_connector(TEAM, "ONCE", configuration={"version": "2", "configuration_json": {}})
    assert run(["load", "--include-configs", "--json"]) == 0
    out.readouterr()
    assert run(["diff", str(TEAM), "ONCE"]) == 0
    assert out.readouterr().out.rstrip().endswith("have the same content.")


def test_a_single_version_has_nothing_to_be_compared_with(out: pytest.CaptureFixture[str]) -> None:
    """As after a first load: that is no failure, and says which version is there."""
    assert run(["diff", str(TEAM), "ONCE"]) == 0
    said = out.readouterr()
    assert re.fullmatch(
        r"There is one version so far, 1 \(no\. 1, .* to now\): nothing to compare it with yet\. "
        r"A load after the next edit brings another\.\n",
        said.out,
    )
    assert said.err == ""
    assert run(["diff", str(TEAM), "ONCE", "--json"]) == 0
    told = json.loads(out.readouterr().out)
    assert (told["from"], told["to"]["version"], told["changes"]) == (None, "1", [])


@pytest.mark.parametrize("unusual", ["\x1b[2J", "a\x85b", "\u202edesrever", "line\u2028line", "\x7f\x9b"])
def test_what_is_in_a_configuration_is_harmless_in_its_line(
    history: Sandbox, out: pytest.CaptureFixture[str], unusual: str
) -> None:
    """A member stays on one line, and no line of it acts on the terminal; JSON has the value itself."""
    configuration = {"version": unusual, "configuration_json": {unusual: unusual}}
    history.edit_connector(TEAM, "ONCE", configuration=configuration)
    assert run(["load", "--include-configs", "--json"]) == 0
    out.readouterr()
    assert run(["diff", str(TEAM), "ONCE"]) == 0
    printed = out.readouterr().out
    assert not {char for char in printed if char != "\n" and harmless(char) != char}
    assert len(printed.splitlines()) == 7
    assert run(["diff", str(TEAM), "ONCE", "--json"]) == 0
    told = json.loads(out.readouterr().out)
    assert (told["to"]["version"], told["changes"][0]["to"]) == (unusual, unusual)


def test_a_deleted_connector_s_history_is_there(history: Sandbox, out: pytest.CaptureFixture[str]) -> None:
    """What was in it when it was deleted is what one wants to know then."""
    history.delete_connector(TEAM, "T3S70")
    assert run(["load", "--include-configs", "--json"]) == 0
    out.readouterr()
    assert run(["diff", str(TEAM), "T3S70"]) == 0
    assert " to now)" not in out.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["T3S70", "--from", "9.9.9"], "Connector T3S70 of team 936506 has no version '9.9.9':\n  1.0.0 (no. 1, "),
        (["T3S70", "--to", "1.1.0"], "has 2 versions '1.1.0', take a number:\n  1.1.0 (no. 2, "),
        (["ONCE", "--to", "1"], "there is no version of connector ONCE of team 936506 to compare it with."),
        (["T3S70", "--to", "1"], "there is no version of connector T3S70 of team 936506 to compare it with."),
        (["NONE"], "No configuration of connector NONE of team 936506 has been loaded. Load configurations with:"),
        (["T3S70", "--dataset", "elsewhere"], "No configurations have been loaded."),
    ],
)
def test_a_version_that_is_not_there_is_said_so(
    out: pytest.CaptureFixture[str], arguments: list[str], problem: str
) -> None:
    """With those that are, to choose from."""
    assert run(["diff", str(TEAM), *arguments]) == 64
    assert problem in out.readouterr().err


def test_where_nothing_was_loaded_nothing_is_made(capsys: pytest.CaptureFixture[str]) -> None:
    """A DuckDB file that appears by looking for it would be taken for a load."""
    assert run(["diff", "1", "A"]) == 64
    assert "Nothing has been loaded to" in capsys.readouterr().err
    assert not list(Path.cwd().glob("*.duckdb"))


def test_json_is_the_data_to_the_last_digit(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    """And in ASCII, whatever it says."""
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


def test_json_is_printed_of_what_is_odd(capfd: pytest.CaptureFixture[str]) -> None:
    """However deep a definition is, and of a folder whose name is no text."""
    deep: Any = "ü"
    for _ in range(300):
        deep = [deep]
    show_json({"location": "\udcff", "document": deep})
    printed = capfd.readouterr().out
    assert printed.isascii()
    assert json.loads(printed) == {"location": "\udcff", "document": deep}
