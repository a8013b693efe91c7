"""Commands that read make no file, and name a broken text that SQLite stores."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import duckdb
import pytest

from supermetrics_loader.cli.main import run
from tests.helpers.commands import shipped
from tests.helpers.sandbox import Sandbox

TO = ["--destination", "sqlalchemy"]
DIFF = ["diff", "936506", "T3S70"]
COMMANDS = [["report"], ["changes"], ["overview"], ["sql", "select 1"], ["export", "out"], ["show", "1", "A"], DIFF]
COERCING = "ignore:implicitly coercing SELECT object"
"""A warning of dlt's own merge, which the command line hides."""


@pytest.fixture(autouse=True)
def _there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Configures the file."""
    monkeypatch.setenv("DESTINATION__SQLALCHEMY__CREDENTIALS", f"sqlite:///{tmp_path / 'warehouse.sqlite'}")


@pytest.mark.parametrize(
    ("to", "files", "commands"),
    [
        ([], [], COMMANDS),
        ([], ["supermetrics_connectors.duckdb"], [["report"], ["changes"], ["overview"]]),
        (TO, [], COMMANDS),
    ],
    ids=["DuckDB", "an empty DuckDB file", "SQLite"],
)
def test_reading_makes_no_file(
    to: list[str], files: list[str], commands: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """A file made by a reader would look like a load, and an empty page like an answer."""
    for file in files:
        duckdb.connect(file).close()
    for command in commands:
        assert run([*command, *to]) == 64
        kind = "sqlite" if to else "duckdb"
        error = capsys.readouterr().err
        assert error.startswith(f"Error: Nothing has been loaded to the dataset supermetrics of {kind}:///{Path.cwd()}")
        assert [path.name for path in Path.cwd().iterdir()] == files


@pytest.mark.filterwarnings(COERCING)
def test_reading_makes_no_second_dataset_and_a_broken_version_is_named_and_can_be_repaired(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each dataset is a file beside the configured file.

    The message names connector, version, place and repair; then the readable row provides the text.
    """
    shipped(sandbox, monkeypatch)
    load = ["load", "--include-configs", "--include-teams", "--quiet", *TO]
    assert run(load) == 0
    before = sorted(Path.cwd().rglob("*"))
    for command in COMMANDS:
        assert run([*command, *TO, "--dataset", "other"]) == 64
        assert "Nothing has been loaded to" in capsys.readouterr().err
    assert sorted(Path.cwd().rglob("*")) == before
    with closing(sqlite3.connect(tmp_path / "warehouse__supermetrics.sqlite", isolation_level=None)) as connection:
        connection.execute("update connector_configurations set configuration_json = '{\"a\": }'")
        connection.execute(
            "update connector_configurations set content_hash = null where connector_identifier = 'K8W21'"
        )
        # the view finds its tables under every name of the file
        found = connection.execute("select distinct change, baseline from connector_changes order by 1")
        assert list(found) == [("added", 1), ("configuration_changed", 1)]
    capsys.readouterr()
    assert run([*DIFF, *TO, "--json"]) == 1
    printed = capsys.readouterr()
    assert "Version 1.4.0 (no. 1, " in printed.err
    assert "of connector T3S70 of team 936506 Nordic Marketing is not JSON" in printed.err
    assert "line 1 column 7" in printed.err
    assert f"table connector_configurations of sqlite:///{tmp_path / 'warehouse.sqlite'}" in printed.err
    assert "load --include-configs --full-refresh" in printed.err
    assert json.loads(printed.out)["error"]["exit_code"] == 1
    assert run(["diff", "936506", "K8W21", *TO]) == 1
    assert "of connector K8W21 of team 936506 Nordic Marketing is not JSON" in capsys.readouterr().err

    assert run([*load, "--full-refresh"]) == 0
    capsys.readouterr()
    assert run([*DIFF, *TO, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["team_name"], document["from"]["number"], document["changes"]) == ("Nordic Marketing", 1, [])
