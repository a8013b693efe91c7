"""`connector_changes`: every change between two listings once, also when loads between them fail."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from itertools import pairwise
from typing import Any

import dlt
import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supermetrics_connectors import create_changes_view
from supermetrics_connectors.tables.changes_view import changes_query
from supermetrics_connectors.tables.target import CHANGES_COLUMNS
from supermetrics_loader.run.load import run_load
from tests.helpers.expectations import (
    HISTORIES,
    OTHER,
    TEAM,
    Load,
    Query,
    Rows,
    assert_tables_equal_the_api,
    change,
    configuration,
)
from tests.helpers.sandbox import Fault, Sandbox

BASELINE = ("", "added", True)
CONFIGURATIONS_BASELINE = ("", "configuration_changed", True)


@pytest.fixture
def rows(rows: Rows, pipeline: dlt.Pipeline) -> Rows:
    """Creates the view, as a user does after a run, and reads it."""

    def read(*arguments: str, **options: str) -> list[tuple[Any, ...]]:
        assert create_changes_view(pipeline)
        return rows(*arguments, **options)

    return read


def seen(rows: Rows) -> list[tuple[Any, ...]]:
    """The changes, oldest first, without the baselines."""
    return [
        row[1:]
        for row in rows("connector_changes", "detected_at", "connector_identifier", "change", where="not baseline")
    ]


def paths(rows: Rows, identifier: str = "%") -> list[tuple[list[str] | None, ...]]:
    """Added, removed and changed paths of the changes of configurations."""
    columns = ("paths_added::varchar", "paths_removed::varchar", "paths_changed::varchar")
    where = f"change = 'configuration_changed' and not baseline and connector_identifier like '{identifier}'"
    found = rows("connector_changes", "detected_at", *columns, where=where)
    return [tuple(json.loads(text) if text else None for text in each[1:]) for each in found]


def test_a_first_listing_is_one_row_of_its_own_kind(sandbox: Sandbox, load: Load, rows: Rows, query: Query) -> None:
    """Connectors that existed before the first load were not added.

    The view has its columns before configurations are loaded, and reports their changes later.
    """
    for name in "ABC":
        sandbox.add_connector(TEAM, name, configuration=configuration(a=1))
    load()
    assert rows("connector_changes", "connector_identifier", "change", "baseline") == [BASELINE]
    assert [name for name, *_ in query("describe connector_changes")] == list(CHANGES_COLUMNS)
    load(include_configs=True)
    sandbox.add_connector(OTHER, "A", configuration=configuration())
    load(include_configs=True)
    of_the_team = rows("connector_changes", "connector_identifier", "change", "baseline", where=f"team_id = {TEAM}")
    assert of_the_team == [BASELINE, CONFIGURATIONS_BASELINE]
    assert rows("connector_changes", "count(*)", where="baseline") == [(4,)]
    assert seen(rows) == []
    sandbox.edit_connector(TEAM, "A", configuration=configuration(a=2))
    load(include_configs=True)
    assert paths(rows) == [([], [], ["$.a"])]


def test_each_change_is_a_row(sandbox: Sandbox, load: Load, rows: Rows, new_worker: Callable[[], dlt.Pipeline]) -> None:
    """A row shows the previous update, the name of a removed connector, and paths, but no values.

    A container, which starts with an empty working folder, continues from the tables.
    """
    for name in "ACDE":
        sandbox.add_connector(TEAM, name, name=f"Name {name}", updated_at="2025-01-01", configuration=configuration())
    before_the_edit = configuration(url="https://a", fields=[{"id": "x"}], old={"b": 1})
    sandbox.add_connector(TEAM, "B", name="Name B", updated_at="2025-01-01", configuration=before_the_edit)
    load(include_configs=True)
    sandbox.edit_connector(TEAM, "A", name="New name", updated_at="2025-02-02")
    edited = configuration(url="https://secret", fields=[{"id": "new"}, {"id": "x"}], added={"c": 1})
    sandbox.edit_connector(TEAM, "B", updated_at="2025-01-01", configuration={**edited, "updated_at": "2025-03-03"})
    sandbox.delete_connector(TEAM, "C")
    sandbox.add_connector(TEAM, "NEW", name="Name N", updated_at="2025-04-04", configuration=configuration())
    before = datetime.now(timezone.utc)
    load(include_configs=True, on=new_worker())
    assert_tables_equal_the_api(sandbox, rows)
    columns = (
        "connector_identifier",
        "change",
        "name",
        "updated_at::date::varchar",
        "previous_updated_at::date::varchar",
    )
    found = rows("connector_changes", *columns, where="not baseline")
    assert found == [
        ("A", "updated", "New name", "2025-02-02", "2025-01-01"),
        ("B", "configuration_changed", "Name B", "2025-03-03", "2025-01-01"),
        ("C", "removed", "Name C", None, "2025-01-01"),
        ("NEW", "added", "Name N", "2025-04-04", None),
    ]
    assert paths(rows) == [(["$.added", "$.fields[0]"], ["$.old"], ["$.url"])]
    assert "secret" not in str(rows("connector_changes", "*"))
    assert {at >= before for (at,) in rows("connector_changes", "detected_at", where="not baseline")} == {True}
    load(include_configs=True, on=new_worker())
    assert rows("connector_changes", *columns, where="not baseline") == found


def test_fields_beside_the_json_have_paths(
    sandbox: Sandbox, load: Load, rows: Rows, new_worker: Callable[[], dlt.Pipeline]
) -> None:
    """Only those that changed, whatever their type; the name of a version where nothing else did."""
    unchanged = {"beta": True, "ratio": 1, "tags": ["a", {"b": 1.0}], "text": '{"c"', "none": None}
    sandbox.add_connector(TEAM, "A", configuration=configuration(a=1))
    load(include_configs=True)
    for version, fields in (
        ("1.0.0", {**unchanged, "status": "draft", "owner": {"teams": [7]}}),
        ("1.0.0", {**unchanged, "ratio": 1.0, "status": "live", "owner": {"teams": [7, 8]}}),
        ("1.0.0", {**unchanged, "status": 5, "ratio": 1.5}),
        ("1.0.0", {**unchanged, "status": 6, "ratio": 1.5}),
        ("2.0.0", {**unchanged, "status": 6, "ratio": 1.5}),
        ("3.0.0", {**unchanged, "status": 6, "ratio": 1.5, "beta": False}),
    ):
        edited = {**configuration(a=1), "version": version, **fields}
        sandbox.edit_connector(TEAM, "A", configuration=edited)
        load(include_configs=True, on=new_worker())
    added = [f"configuration.{name}" for name in ("beta", "owner", "ratio", "status", "tags", "text")]
    assert paths(rows) == [
        (added, [], []),
        (["configuration.owner.teams[1]"], [], ["configuration.status"]),
        ([], ["configuration.owner"], ["configuration.ratio", "configuration.status"]),
        ([], [], ["configuration.status"]),
        ([], [], ["configuration.version"]),
        ([], [], ["configuration.beta"]),
    ]


def test_a_configuration_is_compared_with_the_version_before(sandbox: Sandbox, load: Load, rows: Rows) -> None:
    """Also with an earlier version of the same content, and equal configurations of other connectors and teams.

    A draft may get a configuration and lose it.
    """
    for team in (TEAM, OTHER):
        for name in "AB":
            sandbox.add_connector(team, name, configuration=configuration(v=1))
    sandbox.add_connector(TEAM, "DRAFT")
    load(include_configs=True)
    for definition, draft in (
        ({"v": 2}, configuration(a=1)),
        ({"v": 1}, None),
        ({"v": 1, "w": 1}, None),
        ({"v": 2}, None),
    ):
        sandbox.edit_connector(TEAM, "A", configuration=configuration(**definition))
        sandbox.edit_connector(TEAM, "DRAFT", configuration=draft)
        load(include_configs=True)
    assert paths(rows, "A") == [
        ([], [], ["$.v"]),
        ([], [], ["$.v"]),
        (["$.w"], [], []),
        ([], ["$.w"], ["$.v"]),
    ]
    assert paths(rows, "DRAFT") == [(["$"], [], []), ([], ["$"], [])]
    assert {name for name, _ in seen(rows)} == {"A", "DRAFT"}


def test_configurations_that_were_not_requested_or_are_written_again_have_not_changed(
    sandbox: Sandbox, load: Load, rows: Rows
) -> None:
    """Configurations are switched off and on: a new one is seen for the first time, an edited one has changed.

    A full refresh writes rows again, and shows changes only.
    """
    sandbox.add_connector(TEAM, "A", configuration=configuration(v=1))
    load(include_configs=True)
    sandbox.add_connector(TEAM, "B", configuration=configuration(v=1))
    sandbox.edit_connector(TEAM, "A", configuration=configuration(v=2))
    load()
    load(include_configs=True)
    assert sorted(seen(rows)) == [("A", "configuration_changed"), ("A", "updated"), ("B", "added")]
    assert rows("connector_changes", "count(*)", where="baseline") == [(2,)]
    sandbox.edit_connector(TEAM, "A", name="edited", updated_at="2030-01-01")
    load(include_configs=True, full_refresh=True)
    assert seen(rows)[3:] == [("A", "updated")]


def test_an_incomplete_listing_removes_nothing(sandbox: Sandbox, load: Load, rows: Rows) -> None:
    """A missing connector may exist; an edited one has changed."""
    for name in "AB":
        sandbox.add_connector(TEAM, name, configuration=configuration())
    load(include_configs=True)
    sandbox.delete_connector(TEAM, "A")
    sandbox.edit_connector(TEAM, "B", configuration=None, updated_at="2030-01-01")
    sandbox.add_connector(TEAM, "C")
    sandbox.report_count(TEAM, 9)
    load(include_configs=True)
    assert sorted(seen(rows)) == [("B", "updated"), ("C", "added")]
    sandbox.report_count(TEAM, None)
    load(include_configs=True)
    assert sorted(seen(rows)[2:]) == [("A", "removed"), ("B", "configuration_changed")]


def test_a_skipped_team_is_no_baseline(sandbox: Sandbox, load: Load, rows: Rows) -> None:
    """Its first listing is still to come; a team that was listed before continues from there."""
    sandbox.add_connector(TEAM, "A")
    sandbox.add_connector(OTHER, "A")
    load(TEAM)
    sandbox.edit_connector(TEAM, "A", name="edited")
    for team in (TEAM, OTHER):
        sandbox.fault(Fault(403), team_id=team)
    load(on_team_error="skip")
    load()
    assert rows("connector_changes", "team_id", "change", "baseline") == [
        (TEAM, "added", True),
        (TEAM, "updated", False),
        (OTHER, "added", True),
    ]


def test_a_failed_load_shows_no_change_and_the_next_one_shows_all(
    sandbox: Sandbox, pipeline: dlt.Pipeline, rows: Rows
) -> None:
    """Changes that a failed run saw are new to the next run."""
    settings: dict[str, Any] = {"api_key": sandbox.token, "base_url": sandbox.url, "request_backoff_factor": 0}
    for team in (TEAM, OTHER):
        sandbox.add_connector(team, "A")
    run_load(pipeline, team_ids=[TEAM, OTHER], **settings)
    sandbox.add_connector(TEAM, "B")
    sandbox.fault(Fault(403), team_id=OTHER)
    with pytest.raises(Exception, match="403"):
        run_load(pipeline, team_ids=[TEAM, OTHER], **settings)
    assert seen(rows) == []
    run_load(pipeline, team_ids=[TEAM, OTHER], **settings)
    assert seen(rows) == [("B", "added")]


# --- views of the user's ----------------------------------------------------------------------------------------------


def test_a_view_or_table_of_the_user_s_is_left_alone(
    customer: Sandbox, load: Load, query: Query, pipeline: dlt.Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    """No warning either: a scheduler would mail it after every run. Views of the user's on top of ours stay valid."""
    load()
    for kind in ("view", "table"):
        query(f"create {kind} connector_changes as select 1 as mine")
        assert not create_changes_view(pipeline)
        if kind == "view":
            query("drop view connector_changes")
    change(customer)
    load()
    assert not create_changes_view(pipeline)
    assert query("select * from connector_changes") == [(1,)]
    assert [record for record in caplog.records if record.levelname == "WARNING"] == []

    query("drop table connector_changes")
    assert create_changes_view(pipeline)
    query("create view of_today as select * from connector_changes")
    assert create_changes_view(pipeline)
    assert len(query("select * from of_today where not baseline")) == 3
    query("drop view connector_changes")
    assert create_changes_view(pipeline)
    assert len(query("select * from of_today where not baseline")) == 3


# --- the query itself -------------------------------------------------------------------------------------------------

contents = st.sampled_from([None, "x", "y"])
states = st.dictionaries(st.sampled_from("ABC"), st.tuples(st.sampled_from(["p", "q"]), contents), max_size=3)


@pytest.fixture(scope="module")
def syncs() -> Iterator[duckdb.DuckDBPyConnection]:
    """A database with syncs of team 1, one per second."""
    with duckdb.connect() as connection:
        connection.execute(
            "create table team_syncs as select 1 as team_id, 'ok' as status, 'load' as _dlt_load_id,"
            " to_timestamp(unnest(range(20))) as started_at"
        )
        connection.execute("create table _dlt_loads as select 'load' as load_id, 0 as status")
        yield connection


@given(st.lists(states, min_size=1, max_size=6), st.booleans())
def test_the_changes_add_up_to_what_is_listed(
    syncs: duckdb.DuckDBPyConnection, years: list[dict[str, tuple[str, str | None]]], duplicated: bool
) -> None:
    """From listing to listing, as connectors come, change, go and return; duplicates of rows count once."""
    expected: list[tuple[int, str, str]] = []
    for number, (before, now) in enumerate(pairwise(years), 2):
        expected += [(number, name, "added") for name in now.keys() - before.keys()]
        expected += [(number, name, "removed") for name in before.keys() - now.keys()]
        for name in now.keys() & before.keys():
            expected += [(number, name, "updated")] * (now[name][0] != before[name][0])
            expected += [(number, name, "configuration_changed")] * (now[name][1] != before[name][1])
    versions = [{n: s[0] for n, s in year.items()} for year in years]
    configured = [{n: s[1] for n, s in year.items() if s[1]} for year in years]
    _write_history(syncs, "connector_versions", versions, versions)
    _write_history(syncs, "connector_configurations", configured, versions)
    if duplicated:
        for table in HISTORIES:
            syncs.execute(f"insert into {table} select * from {table}")
    sql = changes_query(str, json_constant="cast('{}' as json)".format)
    found = syncs.execute(
        f"select epoch(detected_at)::int, connector_identifier, change from ({sql}) where not baseline"
    ).fetchall()
    first = min((i for i, year in enumerate(years, 1) if year), default=0)
    # the first connectors are the baseline
    expected = [each for each in expected if each[2] == "configuration_changed" or each[0] > first]
    assert sorted(found) == sorted(expected)


def _write_history(
    connection: duckdb.DuckDBPyConnection, table: str, years: list[dict[str, str]], connectors: list[dict[str, str]]
) -> None:
    """Writes the history that the source makes of these listings of team 1, one per second."""
    connection.execute(
        f"create or replace table {table} (team_id bigint, connector_identifier text, version_id text, name text,"
        " updated_at timestamptz, paths_added json, paths_removed json, paths_changed json,"
        " _dlt_valid_from timestamptz, _dlt_valid_to timestamptz, _dlt_load_id text)"
    )
    current: dict[str, tuple[str, int]] = {}
    closed: list[tuple[str, str, int, int | None]] = []
    gained: set[tuple[str, int]] = set()
    for second, year in enumerate([{}, *years]):
        ended = [name for name, (content, _) in current.items() if year.get(name) != content]
        closed += [(name, *current.pop(name), second) for name in ended]
        for name in year.keys() - current.keys():
            current[name] = year[name], second
            is_new = second < 2 or name not in connectors[second - 2]
            if not is_new and not any(each[0] == name and each[3] == second for each in closed):
                gained.add((name, second))
    rows = [*closed, *((name, content, second, None) for name, (content, second) in current.items())]
    values = [
        f"(1, '{name}', '{content}', '{name}', null, {came}, null, null, to_timestamp({start}), {ended}, 'load')"
        for name, content, start, end in rows
        for came in ["""'["$"]'""" if (name, start) in gained else "null"]
        for ended in ["null" if end is None else f"to_timestamp({end})"]
    ]
    if values:
        connection.execute(f"insert into {table} values {', '.join(values)}")
