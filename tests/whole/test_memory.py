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
from supermetrics_loader.run.shards import Shard
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
    configuration,
)
from tests.helpers.sandbox import Sandbox
from tests.helpers.warehouse import Warehouse

# --- pipelines and shards ---------------------------------------------------------------------------------------------


def test_pipelines_take_turns(customer: Sandbox, rows: Rows, load: Load, database: Path, tmp_path: Path) -> None:
    """Each sees what the others have loaded: an edit and its undoing, a deletion and its return."""
    destination = dlt.destinations.duckdb(str(database))

    def turn(name: str, ours: bool) -> None:
        folder = str(tmp_path / name)
        pipeline = dlt.pipeline(name, destination=destination, dataset_name="supermetrics", pipelines_dir=folder)
        if ours:
            settings: dict[str, Any] = {"api_key": customer.token, "base_url": customer.url, "include_configs": True}
            run_load(pipeline, team_ids=customer.team_ids, **settings)
        else:
            load(on=pipeline, include_configs=True)
        assert_right(customer, rows, database)

    turn("one", ours=True)
    undo = change(customer)
    turn("two", ours=False)
    undo()
    turn("one", ours=True)
    change(customer)
    turn("three", ours=True)
    turn("two", ours=False)


def test_the_number_of_shards_may_change(
    sandbox: Sandbox, rows: Rows, load: Load, database: Path, tmp_path: Path
) -> None:
    """A team changes its pipeline with the number of shards."""
    for team in range(1, 9):
        sandbox.add_connector(team, "A", configuration=configuration(team=team))
    for count in (2, 3, 2):
        for number in range(1, count + 1):
            part = Shard(number, count)
            folder, name = str(tmp_path / "shards"), part.pipeline_name("shard")
            destination = dlt.destinations.duckdb(str(database))
            pipeline = dlt.pipeline(name, destination=destination, dataset_name="supermetrics", pipelines_dir=folder)
            load(*part.pick(sandbox.team_ids), on=pipeline, include_configs=True)
        assert_right(sandbox, rows, database)
        sandbox.edit_connector(count, "A", name=f"edited {count}", configuration=configuration(count=count))
        sandbox.edit_connector(count + 3, "A", configuration=configuration(again=count))


# --- edits by hand ----------------------------------------------------------------------------------------------------

TOUCHES = {
    "one row deleted": "delete from {table} where team_id = 936506 and connector_identifier = 'A'",
    "all rows deleted": "delete from {table}",
    "truncated": "truncate {table}",
    "dropped": "drop table {table}",
    "a row duplicated": "insert into {table} select * from {table} where connector_identifier = 'A'",
    "all rows duplicated": "insert into {table} select * from {table}",
    "a row of no connector": "insert into {table} select * replace ('X' as connector_identifier) from {table} limit 1",
}


@pytest.mark.parametrize("table", COMPARED)
@pytest.mark.parametrize("touch", TOUCHES)
@pytest.mark.parametrize("changes", [False, True], ids=["nothing changed", "changed"])
def test_a_table_that_somebody_edited_is_right_again(
    customer: Sandbox, rows: Rows, load: Load, query: Query, database: Path, table: str, touch: str, changes: bool
) -> None:
    """A second run changes nothing."""
    load(include_configs=True)
    query(TOUCHES[touch].format(table=table))
    if changes:
        change(customer)
    load(include_configs=True)
    assert_right(customer, rows, database)
    before = Warehouse(database).contents()
    load(include_configs=True)
    assert Warehouse(database).contents() == before


@pytest.mark.parametrize("table", HISTORIES)
def test_ended_versions_stay_as_they_are(
    customer: Sandbox, rows: Rows, load: Load, query: Query, database: Path, table: str
) -> None:
    """A repair concerns current versions."""
    load(include_configs=True)
    change(customer)
    load(include_configs=True)
    past = rows(table, "*", where="_dlt_valid_to is not null")
    query(f"delete from {table} where _dlt_valid_to is null")
    load(include_configs=True)
    assert_right(customer, rows, database)
    assert rows(table, "*", where="_dlt_valid_to is not null") == past


DUPLICATED = (
    "insert into {table} select * replace ('copy' as _dlt_load_id, _dlt_valid_from + interval 1 millisecond as"
    " _dlt_valid_from) from {table}"
)


@pytest.mark.parametrize("table", HISTORIES)
def test_duplicates_that_two_runs_at_once_have_left_end(
    customer: Sandbox, rows: Rows, load: Load, query: Query, database: Path, table: str
) -> None:
    """Each run wrote what it found, a moment later than the other: current versions, and some that have ended since."""
    load(include_configs=True)
    change(customer)
    load(include_configs=True)
    ended = rows(table, "*", where="_dlt_valid_to is not null")
    query(DUPLICATED.format(table=table))
    before = rows(table, "*")
    trial = dlt.pipeline("trial", destination=dlt.destinations.duckdb(str(database)), dataset_name="supermetrics")
    settings: dict[str, Any] = {"api_key": customer.token, "base_url": customer.url, "include_configs": True}
    dry_run(trial, team_ids=customer.team_ids, **settings)
    assert rows(table, "*") == before
    load(include_configs=True)
    assert_tables_equal_the_api(customer, rows)
    assert set(ended) <= set(rows(table, "*"))
    query(DUPLICATED.format(table=table) + " where _dlt_valid_to is null")
    customer.delete_connector(TEAM, "A")
    load(include_configs=True)
    assert_tables_equal_the_api(customer, rows)
    assert rows(table, "*", where="_dlt_valid_to is null and connector_identifier = 'A' and team_id = 936506") == []
    run_load(trial, team_ids=customer.team_ids, **settings)
    assert rows("connector_changes", "connector_identifier", "change", where="change = 'removed'") == [
        ("A", "removed"),
        ("B", "removed"),
    ]


@pytest.mark.usefixtures("customer")
def test_a_dropped_log_of_syncs_begins_again(rows: Rows, load: Load, query: Query) -> None:
    """The table exists again after the next run."""
    load()
    query("drop table team_syncs")
    load()
    assert rows("team_syncs", "status") == [("ok",), ("ok",)]


def test_a_restored_backup_is_brought_up_to_date(
    customer: Sandbox, rows: Rows, load: Load, database: Path, tmp_path: Path
) -> None:
    """The working folder knows of loads that the file does not."""
    load(include_configs=True)
    shutil.copy(database, tmp_path / "backup")
    undo = change(customer)
    load(include_configs=True)
    shutil.copy(tmp_path / "backup", database)
    load(include_configs=True)
    assert_right(customer, rows, database)
    undo()
    load(include_configs=True)
    assert_right(customer, rows, database)


def test_a_full_refresh_repairs_a_cell_edited_by_hand(
    customer: Sandbox, rows: Rows, load: Load, query: Query, database: Path, pipeline: dlt.Pipeline
) -> None:
    """In each table; versions that nobody has edited stay as they are."""
    load(include_configs=True)
    mine = f"team_id = {TEAM} and connector_identifier = 'A'"
    query(f"update connectors set name = 'vandalised' where {mine}")
    query(f"update connector_versions set description = 'vandalised' where {mine}")
    query(f"""update connector_configurations set configuration_json = '{{"vandalised": 1}}' where {mine}""")
    untouched = rows("connector_versions", "*", where=f"not ({mine})")
    (refresh,) = load(TEAM, include_configs=True, full_refresh=True).loads_ids
    assert_right(customer, rows, database)
    assert rows("connector_versions", "*", where=f"not ({mine})") == untouched
    written = rows("connectors", "team_id", where=f"_dlt_load_id = '{refresh}'")
    assert written == [(TEAM,)] * 3, "every row of the team, and none of another"
    create_changes_view(pipeline)
    assert rows("connector_changes", "change", where="not baseline") == []
    before = [rows(table, "*") for table in HISTORIES]
    load(include_configs=True, full_refresh=True)
    assert [rows(table, "*") for table in HISTORIES] == before


@pytest.mark.parametrize("hours", [1, 24 * 400])
def test_no_version_ends_before_it_begins_after_a_clock_that_was_ahead(
    customer: Sandbox, rows: Rows, load: Load, query: Query, database: Path, hours: int
) -> None:
    """Its versions lie in the future; the next versions begin after them."""
    load(include_configs=True)
    undo = change(customer)
    load(include_configs=True)
    for table in HISTORIES:
        query(f"update {table} set _dlt_valid_from = _dlt_valid_from + interval {hours} hour")
        query(f"update {table} set _dlt_valid_to = _dlt_valid_to + interval {hours} hour")
    undo()
    load(include_configs=True)
    assert_right(customer, rows, database)


# --- loads that break off ---------------------------------------------------------------------------------------------


def test_a_destination_that_refuses_one_table_leaves_no_complete_sync(
    customer: Sandbox, rows: Rows, query: Query, database: Path, pipeline: dlt.Pipeline
) -> None:
    """The run fails, the next good run makes the tables equal, and no change is shown twice."""
    settings: dict[str, Any] = {"api_key": customer.token, "base_url": customer.url, "include_configs": True}
    run_load(pipeline, team_ids=customer.team_ids, **settings)
    change(customer)
    query("alter table connector_versions alter column logo_url set not null")
    customer.add_connector(OTHER, "REFUSED", logo_url=None)
    with pytest.raises(LoadFailedError) as failed:
        run_load(pipeline, team_ids=customer.team_ids, **settings)
    assert failed.value.step == "load"
    newest = rows("team_syncs", "started_at", "status", "error_message")[-2:]
    assert [(status, "NOT NULL" in message) for _, status, message in newest] == [("failed", True)] * 2
    query("alter table connector_versions alter column logo_url drop not null")
    run_load(pipeline, team_ids=customer.team_ids, **settings)
    assert_right(customer, rows, database)
    changes = rows("connector_changes", "connector_identifier", "change", where="not baseline")
    assert changes == [
        ("A", "configuration_changed"),
        ("A", "updated"),
        ("B", "removed"),
        ("NEW", "added"),
        ("REFUSED", "added"),
    ]


def test_a_run_leaves_no_state_of_ours(customer: Sandbox, load: Load, query: Query) -> None:
    """Dlt's state holds nothing of ours, so it is not written again for each change."""
    load(include_configs=True)
    for number in range(3):
        customer.edit_connector(TEAM, "A", name=f"edited {number}")
        load(include_configs=True)
    assert query("select count(*) from _dlt_pipeline_state") == [(1,)]
