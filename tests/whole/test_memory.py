"""Nothing is remembered beside the tables: whoever or whatever touched them before, one good run makes them right."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

from supermetrics_connectors import supermetrics_source
from supermetrics_loader.run.dry_run import dry_run
from supermetrics_loader.run.load import LoadFailedError, run_load
from supermetrics_loader.run.shards import Shard
from supermetrics_loader.sandbox import Sandbox
from tests.helpers.expectations import OTHER, TEAM, Load, Query, Rows, assert_tables_equal_the_api, configuration
from tests.helpers.warehouse import Warehouse

TABLES = ("connectors", "connector_versions", "connector_configurations")
HISTORIES = TABLES[1:]


@pytest.fixture
def customer(sandbox: Sandbox) -> Sandbox:
    """Two teams of three connectors with configurations."""
    for team in (TEAM, OTHER):
        for name in "ABC":
            sandbox.add_connector(team, name, name=f"Name {name}", configuration=configuration(name=name))
    return sandbox


def assert_right(sandbox: Sandbox, rows: Rows, database: Path) -> None:
    """The current rows are the API's, and no history contradicts itself."""
    assert_tables_equal_the_api(sandbox, rows)
    current = rows("connector_versions", "team_id", "connector_identifier", "name", where="_dlt_valid_to is null")
    assert current == rows("connectors", "team_id", "connector_identifier", "name")
    assert Warehouse(database).query("select * from connector_versions where _dlt_valid_to < _dlt_valid_from") == []


def change(sandbox: Sandbox) -> Callable[[], None]:
    """Edits, deletes and adds; returns what undoes it."""
    before = {team: sandbox.connectors(team) for team in sandbox.team_ids}
    sandbox.edit_connector(TEAM, "A", name="edited", configuration=configuration(edited=True))
    sandbox.delete_connector(TEAM, "B")
    sandbox.add_connector(TEAM, "NEW", configuration=configuration(new=True))

    def undo() -> None:
        for team, connectors in before.items():
            sandbox.add_team(team, connectors)

    return undo


# --- whoever loads ----------------------------------------------------------------------------------------------------


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


def test_shards_of_any_number_go_on_with_each_other_s_teams(
    sandbox: Sandbox, rows: Rows, load: Load, database: Path, tmp_path: Path
) -> None:
    """A team changes its pipeline with the number of shards, and back."""
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


# --- whatever touched the dataset -------------------------------------------------------------------------------------

TOUCHES = {
    "one row deleted": "delete from {table} where team_id = 936506 and connector_identifier = 'A'",
    "all rows deleted": "delete from {table}",
    "truncated": "truncate {table}",
    "dropped": "drop table {table}",
    "a row doubled": "insert into {table} select * from {table} where connector_identifier = 'A'",
    "all rows doubled": "insert into {table} select * from {table}",
}


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("touch", TOUCHES)
@pytest.mark.parametrize("changes", [False, True], ids=["nothing changed", "changed"])
def test_a_table_that_was_touched_is_right_again(
    customer: Sandbox, rows: Rows, load: Load, query: Query, database: Path, table: str, touch: str, changes: bool
) -> None:
    """And a second run has nothing to do."""
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
def test_the_past_of_a_history_stays_as_it_is(
    customer: Sandbox, rows: Rows, load: Load, query: Query, database: Path, table: str
) -> None:
    """What is repaired is what there is now."""
    load(include_configs=True)
    change(customer)
    load(include_configs=True)
    past = rows(table, "*", where="_dlt_valid_to is not null")
    query(f"delete from {table} where _dlt_valid_to is null")
    load(include_configs=True)
    assert_right(customer, rows, database)
    assert rows(table, "*", where="_dlt_valid_to is not null") == past


COPIED = "insert into {table} select * replace ('copy' as _dlt_load_id, {later} as _dlt_valid_from) from {table}"


@pytest.mark.parametrize("table", HISTORIES)
def test_copies_that_two_runs_at_once_have_left_are_deleted(
    customer: Sandbox, rows: Rows, load: Load, query: Query, database: Path, table: str
) -> None:
    """Each wrote what it found, a moment later than the other: current versions, and some that have ended since."""
    load(include_configs=True)
    change(customer)
    load(include_configs=True)
    right = rows(table, "*")
    query(COPIED.format(table=table, later="_dlt_valid_from + interval 1 millisecond"))
    trial = dlt.pipeline("trial", destination=dlt.destinations.duckdb(str(database)), dataset_name="supermetrics")
    given: dict[str, Any] = {"api_key": customer.token, "base_url": customer.url, "include_configs": True}
    dry_run(trial, team_ids=customer.team_ids, **given)
    assert len(rows(table, "*")) == 2 * len(right)
    load(include_configs=True)
    assert rows(table, "*") == right
    query(COPIED.format(table=table, later="_dlt_valid_from + interval 1 millisecond") + " where _dlt_valid_to is null")
    customer.delete_connector(TEAM, "A")  # which ends the copy too, if it is there
    load(include_configs=True)
    assert_right(customer, rows, database)
    assert len(rows(table, "*")) == len(right)


@pytest.mark.usefixtures("customer")
def test_team_syncs_come_back_too(rows: Rows, load: Load, query: Query) -> None:
    """A log that was dropped begins anew."""
    load()
    query("drop table team_syncs")
    load()
    assert rows("team_syncs", "status") == [("ok",), ("ok",)]


def test_yesterday_s_backup_is_brought_up_to_date(
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


def test_a_cell_edited_by_hand_is_mended_by_a_full_refresh(
    customer: Sandbox, rows: Rows, load: Load, query: Query, database: Path
) -> None:
    """In each table; versions that nobody has touched stay as they are."""
    load(include_configs=True)
    mine = f"team_id = {TEAM} and connector_identifier = 'A'"
    query(f"update connectors set name = 'vandalised' where {mine}")
    query(f"update connector_versions set description = 'vandalised' where {mine}")
    query(f"""update connector_configurations set configuration_json = '{{"vandalised": 1}}' where {mine}""")
    untouched = rows("connector_versions", "*", where=f"not ({mine})")
    load(include_configs=True, full_refresh=True)
    assert_right(customer, rows, database)
    assert rows("connector_versions", "*", where=f"not ({mine})") == untouched
    assert rows("connector_changes", "change", where="not baseline") == []
    before = [rows(table, "*") for table in HISTORIES]
    load(include_configs=True, full_refresh=True)
    assert [rows(table, "*") for table in HISTORIES] == before


@pytest.mark.parametrize("hours", [1, 24 * 400])
def test_a_clock_that_was_ahead_makes_no_version_that_ends_before_it_begins(
    customer: Sandbox, rows: Rows, load: Load, query: Query, database: Path, hours: int
) -> None:
    """What it dated lies in the future; what comes then begins after that."""
    load(include_configs=True)
    undo = change(customer)
    load(include_configs=True)
    for table in HISTORIES:
        query(f"update {table} set _dlt_valid_from = _dlt_valid_from + interval {hours} hour")
        query(f"update {table} set _dlt_valid_to = _dlt_valid_to + interval {hours} hour")
    undo()
    load(include_configs=True)
    assert_right(customer, rows, database)
    assert Warehouse(database).overlapping_versions() == []


# --- whatever a user of dlt does --------------------------------------------------------------------------------------


def test_what_a_filter_left_out_comes_with_the_next_run(
    customer: Sandbox, rows: Rows, pipeline: dlt.Pipeline, load: Load, database: Path
) -> None:
    """For one run only some teams' rows are let through, or none."""
    for table in TABLES:
        source = supermetrics_source(customer.team_ids, customer.token, base_url=customer.url, include_configs=True)
        source.resources[table].add_filter(lambda _table: False)
        pipeline.run(source)
        load(include_configs=True)
        assert_right(customer, rows, database)
        change(customer) if table == "connectors" else None


@pytest.mark.usefixtures("customer")
def test_what_is_not_to_be_written_is_not_read(rows: Rows, load: Load, query: Query, sandbox: Sandbox) -> None:
    """One table alone asks nothing of the others."""
    load(include_configs=True)
    for table in HISTORIES:
        query(f"alter table {table} rename column _dlt_valid_to to unreadable")
    pipeline = dlt.pipeline("log", destination=dlt.current.pipeline().destination, dataset_name="supermetrics")
    source = supermetrics_source([TEAM], sandbox.token, base_url=sandbox.url, include_configs=True)
    pipeline.run(source.with_resources("team_syncs"))
    assert rows("team_syncs", "status", "connectors_changed") == [("ok", 0), ("ok", 3), ("ok", 3)]


def test_limits_and_maps_do_no_lasting_harm(
    customer: Sandbox, rows: Rows, pipeline: dlt.Pipeline, load: Load, database: Path
) -> None:
    """A sample first, everything then."""
    source = supermetrics_source(customer.team_ids, customer.token, base_url=customer.url, include_configs=True)
    source.add_limit(1)
    source.connectors.add_map(lambda table: table.slice(0, 1))
    pipeline.run(source)
    load(include_configs=True)
    assert_right(customer, rows, database)


@pytest.mark.parametrize("disposition", ["append", "replace"])
def test_another_disposition_is_refused_with_the_reason(
    customer: Sandbox, rows: Rows, pipeline: dlt.Pipeline, load: Load, disposition: Any, database: Path
) -> None:
    """What is written is a difference: replaced by it or added to it, the tables would be wrong without an error."""
    load(include_configs=True)
    asked = len(customer.requests)
    source = supermetrics_source(customer.team_ids, customer.token, base_url=customer.url, include_configs=True)
    with pytest.raises(PipelineStepFailed, match=f"write_disposition of 'connectors' is '{disposition}'"):
        pipeline.run(source, write_disposition=disposition)
    assert len(customer.requests) == asked
    pipeline.drop()
    load(include_configs=True)
    assert_right(customer, rows, database)


def test_resources_can_be_looked_at_without_a_pipeline(customer: Sandbox) -> None:
    """Nothing is loaded, and so everything is listed."""
    source = supermetrics_source([TEAM], customer.token, base_url=customer.url, include_configs=True)
    (table,) = list(source.connectors)
    assert table["connector_identifier"].to_pylist() == ["A", "B", "C"]


# --- loads that break off ---------------------------------------------------------------------------------------------


def test_a_destination_that_refuses_one_table_leaves_no_ok(
    customer: Sandbox, rows: Rows, query: Query, database: Path, pipeline: dlt.Pipeline
) -> None:
    """The run says so, the next good one evens the tables out, and no change is told twice."""
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
    told = rows("connector_changes", "connector_identifier", "change", where="not baseline")
    assert told == [
        ("A", "configuration_changed"),
        ("A", "updated"),
        ("B", "removed"),
        ("NEW", "added"),
        ("REFUSED", "added"),
    ]


@pytest.mark.usefixtures("customer")
def test_an_ok_of_a_plain_pipeline_whose_load_broke_off_is_taken_back(rows: Rows, load: Load, query: Query) -> None:
    """It is written beside the tables, as nothing comes after; the next run looks at what dlt says of the load."""
    (first,) = load().loads_ids
    query(f"delete from _dlt_loads where load_id = '{first}'")
    load()
    assert rows("team_syncs", "status", "error_message is null") == [
        ("failed", False),
        ("failed", False),
        ("ok", True),
        ("ok", True),
    ]


@pytest.mark.usefixtures("customer")
def test_a_table_that_cannot_be_read_ends_the_run_before_anything_is_written(
    rows: Rows, load: Load, query: Query
) -> None:
    """Only a table that is not there holds nothing."""
    load()
    before = rows("connectors", "*")
    query("alter table connectors rename column content_hash to something")
    with pytest.raises(PipelineStepFailed, match="content_hash"):
        load()
    assert len(rows("connectors", "*")) == len(before)


def test_a_run_leaves_no_state_of_ours(customer: Sandbox, load: Load, database: Path) -> None:
    """Dlt's state holds nothing of ours, so it is not written again for each change."""
    load(include_configs=True)
    for number in range(3):
        customer.edit_connector(TEAM, "A", name=f"edited {number}")
        load(include_configs=True)
    with duckdb.connect(str(database)) as connection:
        assert connection.execute("select count(*) from supermetrics._dlt_pipeline_state").fetchall() == [(1,)]
