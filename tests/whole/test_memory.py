"""The tables are the only memory: after any change to them, one good run makes them equal to the API."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import dlt
import pytest

from supermetrics_connectors import create_changes_view
from supermetrics_loader.run.dry_run import dry_run
from supermetrics_loader.run.load import LoadFailedError, run_load
from tests.helpers.expectations import (
    COMPARED,
    HISTORIES,
    OTHER,
    TEAM,
    Load,
    Query,
    Rows,
    assert_right,
    assert_tables_equal_the_api,
    change,
)
from tests.helpers.sandbox import Sandbox
from tests.helpers.warehouse import Warehouse


@pytest.fixture
def settings(customer: Sandbox) -> dict[str, Any]:
    """The settings for `run_load` and `dry_run`."""
    given = {"api_key": customer.token, "base_url": customer.url, "include_configs": True}
    return {"team_ids": customer.team_ids, **given}


# --- pipelines and shards ---------------------------------------------------------------------------------------------


def test_pipelines_take_turns(
    customer: Sandbox, rows: Rows, load: Load, database: Path, settings: dict[str, Any], destination: Any
) -> None:
    """Each sees what the others have loaded: an edit and its undoing, a deletion and its return."""

    def turn(name: str, ours: bool) -> None:
        pipeline = dlt.pipeline(name, destination=destination, dataset_name="supermetrics")
        run_load(pipeline, **settings) if ours else load(on=pipeline, include_configs=True)
        assert_right(customer, rows, database)

    turn("one", ours=True)
    undo = change(customer)
    turn("two", ours=False)
    undo()
    turn("one", ours=True)
    change(customer)
    turn("three", ours=True)
    turn("two", ours=False)


# --- edits by hand ----------------------------------------------------------------------------------------------------

FIRST_ROW = "(from {table} order by team_id, connector_identifier limit 1)"
EDITS = {
    "one row deleted": "delete from {table} where team_id = 936506 and connector_identifier = 'A'",
    "all rows deleted": "delete from {table}",
    "dropped": "drop table {table}",
    "a row duplicated": "insert into {table} select * from {table} where connector_identifier = 'A'",
    "all rows duplicated": "insert into {table} select * from {table}",
    "a row of no connector": f"insert into {{table}} select * replace ('X' as connector_identifier) from {FIRST_ROW}",
    "a blank identifier": f"insert into {{table}} select * replace ('' as connector_identifier) from {FIRST_ROW}",
}


@pytest.mark.parametrize("offset", range(0, len(EDITS), 2))
def test_edited_tables_are_right_again(
    customer: Sandbox, rows: Rows, load: Load, query: Query, database: Path, offset: int
) -> None:
    """Each table in turn has each edit, with and without a change of the API; a second run changes nothing."""
    load(include_configs=True)
    statements = list(EDITS.values())
    for step, has_change in enumerate([False, True]):
        for number, table in enumerate(COMPARED):
            query(statements[(offset + step + number) % len(EDITS)].format(table=table))
        if has_change:
            change(customer)
        load(include_configs=True)
        assert_right(customer, rows, database)
    before = Warehouse(database).contents()
    load(include_configs=True)
    assert Warehouse(database).contents() == before


DUPLICATED = (
    "insert into {table} select * replace ('copy' as _dlt_load_id, _dlt_valid_from + interval 1 millisecond as"
    " _dlt_valid_from) from {table}"
)


def test_duplicates_that_two_runs_at_once_have_left_end(
    customer: Sandbox, rows: Rows, load: Load, query: Query, database: Path, settings: dict[str, Any]
) -> None:
    """Each run wrote what it found, a moment later than the other: current versions, and some that have ended since."""
    load(include_configs=True)
    change(customer)
    load(include_configs=True)
    ended = {table: rows(table, "*", where="_dlt_valid_to is not null") for table in HISTORIES}
    for table in HISTORIES:
        query(DUPLICATED.format(table=table))
    before = [rows(table, "*") for table in HISTORIES]
    stock = dlt.destinations.duckdb(str(database))  # a dry run changes its settings
    trial = dlt.pipeline("trial", destination=stock, dataset_name="supermetrics")
    dry_run(trial, **settings)
    assert [rows(table, "*") for table in HISTORIES] == before
    load(include_configs=True)
    assert_tables_equal_the_api(customer, rows)
    assert all(set(ended[table]) <= set(rows(table, "*")) for table in HISTORIES)
    for table in HISTORIES:
        query(DUPLICATED.format(table=table) + " where _dlt_valid_to is null")
    customer.delete_connector(TEAM, "A")
    load(include_configs=True)
    assert_tables_equal_the_api(customer, rows)
    run_load(trial, **settings)
    removed = rows("connector_changes", "connector_identifier", "change", where="change = 'removed'")
    assert removed == [("A", "removed"), ("B", "removed")]


def test_a_restored_backup_is_brought_up_to_date(
    customer: Sandbox, rows: Rows, load: Load, query: Query, database: Path, tmp_path: Path
) -> None:
    """The working folder knows of loads that the file does not."""
    load(include_configs=True)
    shutil.copy(database, tmp_path / "backup")
    change(customer)
    load(include_configs=True)
    past = [rows(table, "*", where="_dlt_valid_to is not null") for table in HISTORIES]
    for table in HISTORIES:
        query(f"delete from {table} where _dlt_valid_to is null")
    load(include_configs=True)
    assert_right(customer, rows, database)
    assert [rows(table, "*", where="_dlt_valid_to is not null") for table in HISTORIES] == past, "ended versions stay"
    shutil.copy(tmp_path / "backup", database)
    load(include_configs=True)
    assert_right(customer, rows, database)


def test_a_full_refresh_repairs_cells_edited_by_hand(
    customer: Sandbox, rows: Rows, load: Load, query: Query, database: Path, pipeline: dlt.Pipeline
) -> None:
    """In each table; versions that nobody has edited stay as they are."""
    load(include_configs=True)
    mine = f"team_id = {TEAM} and connector_identifier = 'A'"
    query(f"update connectors set name = 'vandalised' where {mine}")
    query(f"update connector_versions set description = 'vandalised' where {mine}")
    query(f"""update connector_configurations set configuration_json = '{{"vandalised": 1}}' where {mine}""")
    untouched = rows("connector_versions", "*", where=f"not ({mine})")
    for table in COMPARED:
        query(EDITS["a blank identifier"].format(table=f"{table}"))
    (refresh,) = load(include_configs=True, full_refresh=True).loads_ids
    assert_right(customer, rows, database)
    assert rows("connector_versions", "*", where=f"not ({mine}) and connector_identifier <> ''") == untouched
    assert rows("connectors", "count(*)", where=f"_dlt_load_id = '{refresh}'") == [(6,)]
    create_changes_view(pipeline)
    assert rows("connector_changes", "change", where="not baseline and connector_identifier <> ''") == []
    before = [rows(table, "*") for table in COMPARED]
    (refresh,) = load(TEAM, include_configs=True, full_refresh=True).loads_ids
    assert [rows(table, "*") for table in HISTORIES] == before[1:]
    written = rows("connectors", "team_id", where=f"_dlt_load_id = '{refresh}'")
    assert written == [(TEAM,)] * 3, "every row of the team, and none of another"


def test_no_version_ends_before_it_begins_after_a_clock_that_was_ahead(
    customer: Sandbox, rows: Rows, load: Load, query: Query, database: Path
) -> None:
    """Its versions lie in the future; the next versions begin after them."""
    load(include_configs=True)
    undo = change(customer)
    load(include_configs=True)
    for table in HISTORIES:
        query(f"update {table} set _dlt_valid_from = _dlt_valid_from + interval 400 day")
        query(f"update {table} set _dlt_valid_to = _dlt_valid_to + interval 400 day")
    undo()
    load(include_configs=True)
    assert_right(customer, rows, database)


# --- loads that break off ---------------------------------------------------------------------------------------------


def test_a_destination_that_refuses_one_table_leaves_no_complete_sync(
    customer: Sandbox, rows: Rows, query: Query, database: Path, pipeline: dlt.Pipeline, settings: dict[str, Any]
) -> None:
    """The run fails, the next good run makes the tables equal, and no change is shown twice."""
    run_load(pipeline, **settings)
    change(customer)
    query("alter table connector_versions alter column logo_url set not null")
    customer.add_connector(OTHER, "REFUSED", logo_url=None)
    with pytest.raises(LoadFailedError) as failed:
        run_load(pipeline, **settings)
    assert failed.value.step == "load"
    newest = rows("team_syncs", "started_at", "status", "error_message")[-2:]
    assert [(status, "NOT NULL" in message) for _, status, message in newest] == [("failed", True)] * 2
    query("alter table connector_versions alter column logo_url drop not null")
    run_load(pipeline, **settings)
    assert_right(customer, rows, database)
    assert rows("connector_changes", "connector_identifier", "change", where="not baseline") == [
        ("A", "configuration_changed"),
        ("A", "updated"),
        ("B", "removed"),
        ("NEW", "added"),
        ("REFUSED", "added"),
    ]
