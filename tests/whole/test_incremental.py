"""From run to run: after every change of the teams, the tables equal the API."""

from __future__ import annotations

from typing import Any

import dlt
import pytest

from supermetrics_loader.run.duckdb_file import duckdb_file
from tests.helpers.expectations import (
    COMPARED,
    OTHER,
    TEAM,
    Load,
    Query,
    Rows,
    assert_tables_equal_the_api,
    configuration,
)
from tests.helpers.sandbox import OMIT, Sandbox

# --- added, edited and deleted connectors -----------------------------------------------------------------------------


def test_a_second_run_writes_only_what_changed(sandbox: Sandbox, load: Load, rows: Rows, query: Query) -> None:
    """Unchanged rows keep their `_dlt_load_id`, so consumers can read what a run has changed."""
    for name in "ABC":
        sandbox.add_connector(TEAM, name, configuration=configuration(name=name))
    (first,) = load(include_configs=True).loads_ids
    sandbox.edit_connector(TEAM, "A", name="edited")
    sandbox.edit_configuration(TEAM, "B", {"edited": True})
    (second,) = load(include_configs=True).loads_ids
    assert rows("connectors", "connector_identifier", "_dlt_load_id") == [("A", second), ("B", first), ("C", first)]
    versions = rows("connector_configurations", "connector_identifier", "_dlt_load_id", where="_dlt_valid_to is null")
    assert versions == [("A", first), ("B", second), ("C", first)]
    assert_tables_equal_the_api(sandbox, rows)
    before = [rows(table, "*") for table in COMPARED]
    packages = load(include_configs=True).load_packages
    assert [rows(table, "*") for table in COMPARED] == before
    jobs = {job.job_file_info.table_name for package in packages for job in package.jobs["completed_jobs"]}
    assert jobs == {"team_syncs"}
    assert len(rows("team_syncs", "*")) == 3
    assert query("select count(*) from _dlt_pipeline_state") == [(1,)], "dlt's state holds nothing of ours"


def test_a_change_is_seen_whatever_its_date(sandbox: Sandbox, load: Load, rows: Rows) -> None:
    """Two edits share a date, a backup is restored, an old connector is shared late: updated_at is no cursor."""
    dates: dict[str, Any] = {"SAME": "2025-03-15", "BACK": "2020-01-01", "NULL": None, "MISSING": OMIT}
    for name in dates:
        sandbox.add_connector(TEAM, name, updated_at="2025-03-15")
    load()
    for edit in ("first", "second"):
        for name, date in dates.items():
            sandbox.edit_connector(TEAM, name, name=f"{edit} edit", updated_at=date)
        for team in (TEAM, OTHER):
            sandbox.add_connector(team, f"OLD_{edit}", updated_at="2019-01-01")
        load(include_configs=True)
        assert_tables_equal_the_api(sandbox, rows)


def test_teams_do_not_touch_each_other_and_a_team_s_last_connector_goes_and_returns(
    sandbox: Sandbox, load: Load, rows: Rows
) -> None:
    """Identifiers are unique within a team only, and a run may load some teams of many."""
    for team in (TEAM, OTHER):
        sandbox.add_connector(team, "A", name=f"of {team}", configuration=configuration(same=True))
    load(include_configs=True)
    connectors = sandbox.connectors(TEAM)
    sandbox.delete_connector(TEAM, "A")
    load(TEAM, include_configs=True)
    assert_tables_equal_the_api(sandbox, rows)
    sandbox.add_team(TEAM, connectors)
    load(OTHER, include_configs=True)
    assert rows("connectors", "team_id") == [(OTHER,)]
    settings: list[dict[str, Any]] = [{}, {"full_refresh": True}]
    for given in settings:
        load(include_configs=True)
        assert_tables_equal_the_api(sandbox, rows)
        sandbox.delete_connector(TEAM, "A")
        load(**given)
        assert_tables_equal_the_api(sandbox, rows)
        sandbox.add_team(TEAM, connectors)
    versions = rows("connector_configurations", "team_id", "_dlt_valid_to is null")
    assert versions == [*[(TEAM, False)] * 3, (OTHER, True)]


# --- incomplete listings ----------------------------------------------------------------------------------------------


def test_of_an_identifier_that_is_listed_twice_the_newest_is_one_row(sandbox: Sandbox, load: Load, rows: Rows) -> None:
    """And the listing is incomplete, so nothing is removed."""
    twins = [
        {"connector_identifier": "A", "name": "old", "updated_at": "2025-01-01", "configuration": configuration(v=1)},
        {"connector_identifier": "A", "name": "new", "updated_at": "2025-01-02", "configuration": configuration(v=2)},
    ]
    sandbox.add_team(TEAM, twins)
    sandbox.add_team(OTHER, twins[::-1])
    for _ in range(2):
        load(include_configs=True)
        assert rows("connectors", "name") == [("new",)] * 2
        assert rows("connector_configurations", "configuration_json->>'v'") == [("2",)] * 2
    columns = ("status", "connectors_received", "connectors_changed")
    assert rows("team_syncs", *columns) == [("incomplete", 2, 0)] * 2 + [("incomplete", 2, 1)] * 2


def test_a_count_that_differs_from_the_list_removes_nothing(
    sandbox: Sandbox, load: Load, rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    """Listed connectors are loaded, in a full refresh too; a connector that is not listed may exist."""
    counts = {TEAM: 1, OTHER: 1000}
    for team in counts:
        for name in "AB":
            sandbox.add_connector(team, name, configuration=configuration(name=name))
    load(include_configs=True)
    for team, count in counts.items():
        sandbox.delete_connector(team, "A")
        sandbox.edit_connector(team, "B", name="edited")
        sandbox.add_connector(team, "C")
        sandbox.report_count(team, count)
    load(include_configs=True)
    columns = ("team_id", "status", "connectors_reported", "connectors_received", "connectors_removed")
    syncs = rows("team_syncs", *columns, where="status <> 'ok'")
    assert syncs == [(team, "incomplete", count, 2, 0) for team, count in counts.items()]
    sent = {request.team_id: request.request_id for request in sandbox.requests}
    assert sorted(caplog.messages) == sorted(
        f"The API reports {count} connectors of team {team} but lists 2, so no connector is removed"
        f" (request_id={sent[team]})"
        for team, count in counts.items()
    )
    for include_configs in (True, False):
        assert rows("connectors", "connector_identifier", where=f"team_id = {TEAM}") == [("A",), ("B",), ("C",)]
        assert rows("connectors", "name", where="connector_identifier = 'B'") == [("edited",)] * 2
        assert rows("connector_configurations", "_dlt_valid_to is null") == [(True,)] * 4
        load(include_configs=include_configs, full_refresh=True)
    assert rows("connectors", "count(*)") == [(6,)]
    for team in counts:
        sandbox.report_count(team, None)
    load()
    assert_tables_equal_the_api(sandbox, rows)


# --- configurations ---------------------------------------------------------------------------------------------------


def test_configurations_may_be_switched_on_and_off(sandbox: Sandbox, load: Load, rows: Rows) -> None:
    """Those of unchanged connectors are loaded, later kept, and end with their connector."""
    for name in "ABC":
        sandbox.add_connector(TEAM, name, configuration=configuration(name=name))
    (first,) = load().loads_ids
    load(include_configs=True)
    assert_tables_equal_the_api(sandbox, rows)
    assert rows("connectors", "_dlt_load_id") == [(first,)] * 3
    kept = rows("connector_configurations", "*", where="connector_identifier <> 'C'")
    sandbox.edit_configuration(TEAM, "A", {"name": "A2"})
    sandbox.delete_connector(TEAM, "C")
    load()
    assert rows("connector_configurations", "*", where="_dlt_valid_to is null") == kept
    sandbox.add_connector(TEAM, "C", configuration=configuration(name="C"))
    load(include_configs=True)
    assert_tables_equal_the_api(sandbox, rows)
    versions = rows("connector_configurations", "connector_identifier", "_dlt_valid_to is null")
    assert versions == [("A", False), ("A", True), ("B", True), ("C", False), ("C", True)]


def test_a_version_ends_when_the_next_one_begins(sandbox: Sandbox, load: Load, rows: Rows) -> None:
    """At every time one version is valid, also where a configuration goes back to an earlier content."""
    sandbox.add_connector(TEAM, "A", configuration=configuration(v="a"))
    for v in ("a", "b", "a", "b"):
        sandbox.edit_connector(TEAM, "A", configuration=configuration(v=v))
        load(include_configs=True)
        assert_tables_equal_the_api(sandbox, rows)
    history = rows("connector_configurations", "_dlt_valid_from", "_dlt_valid_to", "configuration_json->>'v'")
    assert [v for *_, v in history] == ["a", "b", "a", "b"]
    assert [valid_to for _, valid_to, _ in history] == [*[valid_from for valid_from, *_ in history[1:]], None]


def test_a_version_is_new_by_content_or_version(sandbox: Sandbox, load: Load, rows: Rows) -> None:
    """Another order of keys is the same content; the connector's own clock may stand still."""
    first = configuration(a=0, b={"c": 1, "d": 2})
    edits: dict[str, tuple[Any, list[tuple[bool]]]] = {
        "KEY_ORDER": ({"configuration_json": {"b": {"d": 2, "c": 1}, "a": 0}}, [(True,)]),
        "CLOCKS": ({"updated_at": "2026-01-01", "created_at": "2026-01-01"}, [(True,)]),
        "VERSION": ({"version": "1.0.1"}, [(False,), (True,)]),
        "CONTENT": ({"configuration_json": {"a": 0, "b": {"c": 1, "d": 3}}}, [(False,), (True,)]),
        "NUMBER_TYPE": ({"configuration_json": {"a": 0.0, "b": {"c": 1, "d": 2}}}, [(False,), (True,)]),
        "LOST": (None, [(False,)]),
    }
    for name in edits:
        sandbox.add_connector(TEAM, name, updated_at="2025-01-01", configuration=first)
    load(include_configs=True)
    for name, (edit, _) in edits.items():
        edited = None if edit is None else {**first, **edit}
        sandbox.edit_connector(TEAM, name, updated_at="2025-01-01", configuration=edited)
    load(include_configs=True)
    assert_tables_equal_the_api(sandbox, rows)
    for name, (_, versions) in edits.items():
        stored = rows("connector_configurations", "_dlt_valid_to is null", where=f"connector_identifier = '{name}'")
        assert stored == versions, name


# --- fields that the API adds -----------------------------------------------------------------------------------------


def test_new_fields_become_columns(sandbox: Sandbox, load: Load, rows: Rows, query: Query) -> None:
    """An object is one JSON column and no table. A field that is no longer sent leaves its column."""
    for name in "AB":
        sandbox.add_connector(TEAM, name, old=True)
    load()
    added = {"owner": {"email": "a@b.c", "ids": [1]}, "tags": ["x"], "uses": 3, "share": 0.5, "beta": True, "kind": "k"}
    author = {**configuration(), "author": {"id": 1}, "draft": False}
    sandbox.edit_connector(TEAM, "A", old=OMIT, configuration=author, **added)
    load(include_configs=True)
    types = {name: type_ for name, type_, *_ in query("describe connectors") if name in added}
    assert types == dict(zip(added, ["JSON", "JSON", "BIGINT", "DOUBLE", "BOOLEAN", "VARCHAR"], strict=True))
    columns = ("connector_identifier", "old", "owner->>'email'", "tags", "uses", "share", "beta", "kind")
    assert rows("connectors", *columns) == [("A", None, "a@b.c", '["x"]', 3, 0.5, True, "k"), ("B", True, *[None] * 6)]
    assert rows("connector_configurations", "author->>'id'", "draft") == [("1", False)]


def test_a_field_that_changes_its_type_is_not_lost(sandbox: Sandbox, load: Load, rows: Rows, query: Query) -> None:
    """The column keeps its type and takes what fits; another value goes to a variant column. No run fails."""
    first: list[Any] = [1, 1, True, 1.5, "text", "text", {"a": 1}, [1]]
    then: list[Any] = ["text", {"a": 1}, 1.5, 2, 1, {"a": 1}, "text", 5]
    bases = {"added_": "added_", "addedByTheAPI": "added_by_the_api"}
    for name, values in (("A", first), ("B", then)):
        fields = {f"{base}{number}": value for base in bases for number, value in enumerate(values)}
        sandbox.add_connector(TEAM, name, **fields)
        if name == "A":
            load()
    before = query("describe connectors")
    suffixes = ["0__v_text", "1__v_json", "2__v_double", "3", "4", "5", "6", "7"]
    for full_refresh in (False, True):
        load(full_refresh=full_refresh)
        for base in bases.values():
            stored = rows("connectors", *[base + suffix for suffix in suffixes], where="connector_identifier = 'B'")
            assert stored == [("text", '{"a":1}', 1.5, 2.0, "1", '{"a":1}', '"text"', "5")]
            kept = rows("connectors", f"{base}0", f"{base}1", f"{base}2", where="connector_identifier = 'A'")
            assert kept == [(1, 1, True)]
        assert set(before) <= set(query("describe connectors"))


# --- first loads and full refreshes -----------------------------------------------------------------------------------

STAGED = "select table_name from information_schema.tables where table_schema = 'supermetrics_staging' order by all"


@pytest.mark.parametrize("full_refresh", [False, True])
def test_rows_for_an_empty_table_are_not_merged(
    sandbox: Sandbox, load: Load, rows: Rows, query: Query, monkeypatch: pytest.MonkeyPatch, full_refresh: bool
) -> None:
    """The command line's destination appends them. Later loads merge with them, also those of another pipeline."""
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", "warehouse.duckdb")
    destination = duckdb_file()
    one, two = (dlt.pipeline(name, destination=destination, dataset_name="supermetrics") for name in ("one", "two"))
    for name in ("EDITED", "DELETED", "SAME"):
        sandbox.add_connector(TEAM, name, configuration=configuration(name=name))
    (load_id,) = load(include_configs=True, full_refresh=full_refresh, on=one).loads_ids
    assert_tables_equal_the_api(sandbox, rows)
    assert query(STAGED) == []
    (begin,) = set(rows("connector_configurations", "_dlt_valid_from"))
    assert begin == (one.get_load_package_state(load_id)["created_at"],)
    sandbox.edit_connector(TEAM, "EDITED", name="edited", configuration=configuration(v=2))
    sandbox.delete_connector(TEAM, "DELETED")
    load(include_configs=True, full_refresh=full_refresh, on=two)
    assert_tables_equal_the_api(sandbox, rows)
    assert {("connectors",), ("connector_configurations",)} <= set(query(STAGED))
    versions = rows("connector_configurations", "connector_identifier", "_dlt_valid_to is null")
    assert versions == [("DELETED", False), ("EDITED", False), ("EDITED", True), ("SAME", True)]
    load(include_configs=True, on=one)
    assert_tables_equal_the_api(sandbox, rows)
