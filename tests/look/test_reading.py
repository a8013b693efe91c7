"""What `report`, `changes` and `diff` make of SQLite: no file where there is none, and a text that somebody broke."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from supermetrics_loader.cli.main import run

TO = ["--destination", "sqlalchemy"]
DIFF = ["diff", "936506", "T3S70", *TO]
COMMANDS = [["report", *TO], ["changes", *TO], DIFF]
COERCING = "ignore:implicitly coercing SELECT object"
"""Of dlt's own merge; the command line does not show it either."""


@pytest.fixture(autouse=True)
def _there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the file is, or will be."""
    monkeypatch.setenv("DESTINATION__SQLALCHEMY__CREDENTIALS", f"sqlite:///{tmp_path / 'warehouse.sqlite'}")


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_where_nothing_was_loaded_nothing_is_made(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """SQLite makes a file of every path that it is asked to open."""
    assert run(command) == 64
    assert "Nothing has been loaded to" in capsys.readouterr().err
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.filterwarnings(COERCING)
def test_a_second_dataset_that_was_not_loaded_is_not_made(capsys: pytest.CaptureFixture[str]) -> None:
    """Each dataset is a file, beside that of the setting."""
    assert run(["load", "--sandbox", "--quiet", *TO]) == 0
    before = sorted(Path.cwd().rglob("*"))
    for command in COMMANDS:
        assert run([*command, "--dataset", "other"]) == 64
        assert "Nothing has been loaded to" in capsys.readouterr().err
    assert sorted(Path.cwd().rglob("*")) == before


@pytest.mark.filterwarnings(COERCING)
def test_a_version_that_somebody_broke_is_named_and_can_be_mended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whose it is, which one, where, and what to do; after that its text is had from the row that is whole."""
    load = ["load", "--sandbox", "--include-configs", "--include-teams", "--quiet", *TO]
    assert run(load) == 0
    with closing(sqlite3.connect(tmp_path / "warehouse__supermetrics.sqlite", isolation_level=None)) as connection:
        connection.execute("update connector_configurations set configuration_json = '{\"a\": }'")
        connection.execute(
            "update connector_configurations set content_hash = null where connector_identifier = 'K8W21'"
        )
        # the file stands for itself, under whatever name it is opened
        found = connection.execute("select distinct change, baseline from connector_changes order by 1")
        assert list(found) == [("added", 1), ("configuration_changed", 1)]
    capsys.readouterr()
    assert run([*DIFF, "--json"]) == 1
    said = capsys.readouterr()
    assert "Version 1.4.0 (no. 1, " in said.err
    assert "of connector T3S70 of team 936506 Nordic Marketing is not JSON" in said.err
    assert "line 1 column 7" in said.err
    assert f"table connector_configurations of sqlite:///{tmp_path / 'warehouse.sqlite'}" in said.err
    assert "load --include-configs --full-refresh" in said.err
    assert json.loads(said.out)["error"]["exit_code"] == 1
    assert run(["diff", "936506", "K8W21", *TO]) == 1
    assert "of connector K8W21 of team 936506 Nordic Marketing is not JSON" in capsys.readouterr().err

    assert run([*load, "--full-refresh"]) == 0
    capsys.readouterr()
    assert run([*DIFF, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["team_name"], told["from"]["number"], told["changes"]) == ("Nordic Marketing", 1, [])
