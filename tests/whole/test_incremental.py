"""From run to run: after every change of the teams, the tables equal the API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dlt
import pytest

from supermetrics_loader.run.duckdb_file import duckdb_file
from tests.helpers.expectations import (
    OTHER,
    TEAM,
    Load,
    NewWorker,
    Query,
    Rows,
    assert_tables_equal_the_api,
    configuration,
)
from tests.helpers.sandbox import OMIT, Sandbox

# --- added, edited and deleted connectors -----------------------------------------------------------------------------


def test_a_second_run_writes_only_what_changed(sandbox: Sandbox, load: Load, rows: Rows) -> None:
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


def test_a_run_without_changes_writes_no_connector(sandbox: Sandbox, load: Load, rows: Rows) -> None:
    """It adds a row to `team_syncs` and nothing else."""
    sandbox.add_connector(TEAM, "A", configuration=configuration())
    load(include_configs=True)
    tables = ("connectors", "connector_configurations")
    before = [rows(table, "*") for table in tables]
    packages = load(include_configs=True).load_packages
    assert [rows(table, "*") for table in tables] == before
    jobs = {job.job_file_info.table_name for package in packages for job in package.jobs["completed_jobs"]}
    assert jobs == {"team_syncs"}
    assert len(rows("team_syncs", "*")) == 2


@pytest.mark.parametrize(
    "updated_at", ["2025-03-15", "2020-01-01", None, OMIT], ids=["same day", "back in time", "null", "missing"]
)
def test_an_edit_is_seen_whatever_its_date(sandbox: Sandbox, load: Load, rows: Rows, updated_at: Any) -> None:
    """Two edits share a date, a backup is restored, a team is migrated: updated_at is content and no cursor."""
    sandbox.add_connector(TEAM, "A", name="first", updated_at="2025-03-15")
    load()
    for name in ("second", "third"):
        sandbox.edit_connector(TEAM, "A", name=name, updated_at=updated_at)
        load()
        assert rows("connectors", "name") == [(name,)]


@pytest.mark.parametrize("team", [TEAM, OTHER], ids=["shared late", "a team added later"])
def test_an_old_connector_that_appears_late_is_loaded(sandbox: Sandbox, load: Load, rows: Rows, team: int) -> None:
    """A connector may exist for years before the token's owner sees it."""
    sandbox.add_connector(TEAM, "A", updated_at="2026-01-01")
    load()
    sandbox.add_connector(team, "OLD", updated_at="2019-01-01")
    load()
    assert rows("connectors", "team_id", "connector_identifier") == [(TEAM, "A"), (team, "OLD")]


def test_the_latest_update_of_a_team_is_a_watermark(sandbox: Sandbox, load: Load, rows: Rows) -> None:
    """Downstream models and freshness checks read it from `team_syncs`."""
    for name, updated_at in (("A", "2025-01-01"), ("B", "2026-02-02T10:00:00+0200"), ("C", None)):
        sandbox.add_connector(TEAM, name, updated_at=updated_at)
    sandbox.add_team(OTHER)
    load()
    assert rows("team_syncs", "team_id", "latest_updated_at::varchar") == [
        (TEAM, "2026-02-02 08:00:00+00"),
        (OTHER, None),
    ]


def test_teams_do_not_touch_each_other(sandbox: Sandbox, load: Load, rows: Rows) -> None:
    """Identifiers are unique within a team only, and a run may load some teams of many."""
    for team in (TEAM, OTHER):
        sandbox.add_connector(team, "A", name=f"of {team}", configuration=configuration(same=True))
    load(include_configs=True)
    sandbox.delete_connector(TEAM, "A")
    load(TEAM, include_configs=True)
    assert rows("connectors", "team_id", "name") == [(OTHER, f"of {OTHER}")]
    sandbox.add_connector(TEAM, "A", name="again", configuration=configuration(same=True))
    load(OTHER, include_configs=True)
    assert rows("connectors", "team_id") == [(OTHER,)]
    load(include_configs=True)
    assert_tables_equal_the_api(sandbox, rows)


def test_a_deleted_connector_is_removed_and_its_configuration_ends(sandbox: Sandbox, load: Load, rows: Rows) -> None:
    """The history keeps its versions."""
    for name in "AB":
        sandbox.add_connector(TEAM, name, configuration=configuration(name=name))
    load(include_configs=True)
    sandbox.delete_connector(TEAM, "A")
    load(include_configs=True)
    assert rows("connectors", "connector_identifier") == [("B",)]
    assert rows("connector_configurations", "connector_identifier", "_dlt_valid_to is null") == [
        ("A", False),
        ("B", True),
    ]


@pytest.mark.parametrize("settings", [{"include_configs": True}, {}, {"full_refresh": True}], ids=str)
def test_a_team_s_last_connector_is_removed_like_any_other(
    sandbox: Sandbox, load: Load, rows: Rows, settings: dict[str, Any]
) -> None:
    """An empty listing empties the team."""
    for team in (TEAM, OTHER):
        sandbox.add_connector(team, "A", configuration=configuration(team=team))
    load(include_configs=True)
    sandbox.delete_connector(TEAM, "A")
    load(**settings)
    assert_tables_equal_the_api(sandbox, rows)
    assert len(rows("connector_configurations", "*")) == 2


def test_a_connector_that_comes_back_is_loaded_again(sandbox: Sandbox, load: Load, rows: Rows) -> None:
    """Unshared and shared again, it has the content of a version that has ended."""
    sandbox.add_connector(TEAM, "A", updated_at="2025-01-01", configuration=configuration(a=1))
    (connector,) = sandbox.connectors(TEAM)
    load(include_configs=True)
    sandbox.delete_connector(TEAM, "A")
    load(include_configs=True)
    sandbox.add_team(TEAM, [connector])
    load(include_configs=True)
    assert_tables_equal_the_api(sandbox, rows)
    assert rows("connector_configurations", "_dlt_valid_to is null") == [(False,), (True,)]


def test_a_connector_that_lost_its_configuration_has_none(sandbox: Sandbox, load: Load, rows: Rows) -> None:
    """Null is an answer where configurations were requested."""
    sandbox.add_connector(TEAM, "A", configuration=configuration())
    load(include_configs=True)
    sandbox.edit_connector(TEAM, "A", configuration=None)
    load(include_configs=True)
    assert_tables_equal_the_api(sandbox, rows)
    assert rows("connector_configurations", "_dlt_valid_to is null") == [(False,)]


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_of_an_identifier_that_is_listed_twice_the_newest_is_one_row(
    sandbox: Sandbox, load: Load, rows: Rows, order: list[int]
) -> None:
    """And the listing is incomplete, so nothing is removed."""
    twins = [
        {"connector_identifier": "A", "name": "old", "updated_at": "2025-01-01", "configuration": configuration(v=1)},
        {"connector_identifier": "A", "name": "new", "updated_at": "2025-01-02", "configuration": configuration(v=2)},
    ]
    sandbox.add_team(TEAM, [twins[index] for index in order])
    for _ in range(2):
        load(include_configs=True)
        assert rows("connectors", "name") == [("new",)]
        assert rows("connector_configurations", "configuration_json->>'v'") == [("2",)]
    columns = ("status", "connectors_received", "connectors_changed")
    assert rows("team_syncs", *columns) == [("incomplete", 2, 0), ("incomplete", 2, 1)]


@pytest.mark.parametrize("count", [1, 1000])
def test_a_count_that_differs_from_the_list_removes_nothing(
    sandbox: Sandbox, load: Load, rows: Rows, caplog: pytest.LogCaptureFixture, count: int
) -> None:
    """Listed connectors are loaded; a connector that is not listed may exist."""
    for name in "AB":
        sandbox.add_connector(TEAM, name, configuration=configuration(name=name))
    load(include_configs=True)
    sandbox.delete_connector(TEAM, "A")
    sandbox.edit_connector(TEAM, "B", name="edited")
    sandbox.add_connector(TEAM, "C")
    sandbox.report_count(TEAM, count)
    load(include_configs=True)
    assert [name for (name,) in rows("connectors", "connector_identifier")] == ["A", "B", "C"]
    assert rows("connector_configurations", "_dlt_valid_to is null") == [(True,), (True,)]
    columns = ("status", "connectors_reported", "connectors_received", "connectors_removed")
    assert rows("team_syncs", *columns, where="status <> 'ok'") == [("incomplete", count, 2, 0)]
    request_id = sandbox.requests[-1].request_id
    (message,) = caplog.messages
    reason = f"The API reports {count} connectors of team {TEAM} but lists 2, so no connector is removed"
    assert message == f"{reason} (request_id={request_id})"
    sandbox.report_count(TEAM, None)
    load(include_configs=True)
    assert_tables_equal_the_api(sandbox, rows)


def test_a_listing_above_the_api_s_maximum_is_incomplete(sandbox: Sandbox, load: Load, rows: Rows) -> None:
    """A team of more than 1000 connectors loses none that was listed once."""
    sandbox.add_team(TEAM, [{"connector_identifier": f"C{number:04}"} for number in range(1001)])
    load()
    assert rows("team_syncs", "status", "connectors_reported", "connectors_received") == [("incomplete", 1001, 1000)]
    sandbox.delete_connector(TEAM, "C0000")
    sandbox.add_connector(TEAM, "C1001")
    load()
    assert rows("connectors", "count(*)") == [(1001,)]


# --- configurations ---------------------------------------------------------------------------------------------------


def test_configurations_switched_on_later_are_loaded(sandbox: Sandbox, load: Load, rows: Rows) -> None:
    """Unchanged connectors have configurations that were never requested."""
    for name in "AB":
        sandbox.add_connector(TEAM, name, configuration=configuration(name=name))
    (first,) = load().loads_ids
    load(include_configs=True)
    assert_tables_equal_the_api(sandbox, rows)
    assert rows("connectors", "_dlt_load_id") == [(first,), (first,)]


def test_configurations_switched_off_are_kept(sandbox: Sandbox, load: Load, rows: Rows) -> None:
    """Those of a deleted connector end; switched on again, edited ones are new versions."""
    for name in "ABC":
        sandbox.add_connector(TEAM, name, configuration=configuration(name=name))
    load(include_configs=True)
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
    """At every time one version is valid."""
    sandbox.add_connector(TEAM, "A", configuration=configuration(v=0))
    load(include_configs=True)
    for v in (1, 2):
        sandbox.edit_configuration(TEAM, "A", {"v": v})
        load(include_configs=True)
    history = rows("connector_configurations", "_dlt_valid_from", "_dlt_valid_to", "version")
    assert [version for *_, version in history] == ["1.0.0", "1.0.1", "1.0.2"]
    assert [valid_to for _, valid_to, _ in history] == [history[1][0], history[2][0], None]


@pytest.mark.parametrize(
    ("then", "versions"),
    [
        ({"configuration_json": {"b": {"d": 2, "c": 1}, "a": 0}}, 1),
        ({"updated_at": "2026-01-01", "created_at": "2026-01-01"}, 1),
        ({"version": "1.0.1"}, 2),
        ({"configuration_json": {"a": 0, "b": {"c": 1, "d": 3}}}, 2),
        ({"configuration_json": {"a": 0.0, "b": {"c": 1, "d": 2}}}, 2),
    ],
    ids=["key order", "clocks", "version", "content", "number type"],
)
def test_a_version_is_new_by_content_or_version(
    sandbox: Sandbox, load: Load, rows: Rows, then: dict[str, Any], versions: int
) -> None:
    """Another order of keys is the same content; the connector's own clock may stand still."""
    first = configuration(a=0, b={"c": 1, "d": 2})
    sandbox.add_connector(TEAM, "A", configuration=first)
    load(include_configs=True)
    (connector,) = sandbox.connectors(TEAM)
    sandbox.edit_connector(TEAM, "A", updated_at=connector["updated_at"], configuration={**first, **then})
    load(include_configs=True)
    assert len(rows("connector_configurations", "*")) == versions
    assert_tables_equal_the_api(sandbox, rows)


def test_a_configuration_that_goes_back_is_current_again(sandbox: Sandbox, load: Load, rows: Rows) -> None:
    """An edit is undone: the earlier content is current again, and the undone version ends."""
    sandbox.add_connector(TEAM, "A", configuration=configuration(v="a"))
    for v in ("a", "b", "a", "b"):
        sandbox.edit_connector(TEAM, "A", configuration=configuration(v=v))
        load(include_configs=True)
        assert_tables_equal_the_api(sandbox, rows)
    assert len(rows("connector_configurations", "*")) == 4


# --- fields that the API adds -----------------------------------------------------------------------------------------


def test_new_fields_become_columns(sandbox: Sandbox, load: Load, query: Query) -> None:
    """An object is one JSON column and no table."""
    sandbox.add_connector(TEAM, "A")
    load()
    added = {"owner": {"email": "a@b.c", "ids": [1]}, "tags": ["x"], "uses": 3, "share": 0.5, "beta": True, "kind": "k"}
    sandbox.edit_connector(TEAM, "A", **added)
    sandbox.add_connector(TEAM, "B")
    load()
    types = {name: type_ for name, type_, *_ in query("describe connectors") if name in added}
    assert types == {
        "owner": "JSON",
        "tags": "JSON",
        "uses": "BIGINT",
        "share": "DOUBLE",
        "beta": "BOOLEAN",
        "kind": "VARCHAR",
    }
    assert query(
        "select owner->>'email', tags, uses, share, beta, kind from connectors order by connector_identifier"
    ) == [
        ("a@b.c", '["x"]', 3, 0.5, True, "k"),
        (None,) * 6,
    ]


def test_new_fields_of_a_configuration_become_columns(sandbox: Sandbox, load: Load, query: Query) -> None:
    """Like those of a connector."""
    sandbox.add_connector(TEAM, "A", configuration={**configuration(), "author": {"id": 1}, "draft": False})
    load(include_configs=True)
    assert query("select author->>'id', draft from connector_configurations") == [("1", False)]


@pytest.mark.parametrize("name", ["added_{}", "addedByTheAPI{}"])
def test_a_field_that_changes_its_type_is_not_lost(
    sandbox: Sandbox, load: Load, rows: Rows, query: Query, name: str
) -> None:
    """The column keeps its type and takes what fits; another value goes to a variant column. No run fails."""
    first: list[Any] = [1, 1, True, 1.5, "text", "text", {"a": 1}, [1]]
    then: list[Any] = ["text", {"a": 1}, 1.5, 2, 1, {"a": 1}, "text", 5]
    sandbox.add_connector(TEAM, "A", **{name.format(number): value for number, value in enumerate(first)})
    load()
    before = query("describe connectors")
    sandbox.add_connector(TEAM, "B", **{name.format(number): value for number, value in enumerate(then)})
    base = name.format("").replace("addedByTheAPI", "added_by_the_api")
    columns = ["0__v_text", "1__v_json", "2__v_double", "3", "4", "5", "6", "7"]
    expected = ["text", '{"a":1}', 1.5, 2.0, "1", '{"a":1}', '"text"', "5"]
    for full_refresh in (False, True):
        load(full_refresh=full_refresh)
        stored = rows("connectors", *[base + column for column in columns], where="connector_identifier = 'B'")
        assert stored == [tuple(expected)]
        kept = rows("connectors", f"{base}0", f"{base}1", f"{base}2", where="connector_identifier = 'A'")
        assert kept == [(1, 1, True)]
        assert set(before) <= set(query("describe connectors"))


def test_a_field_that_the_api_no_longer_sends_leaves_its_column(sandbox: Sandbox, load: Load, rows: Rows) -> None:
    """Rows written since have null there; older rows keep their values."""
    for name in "AB":
        sandbox.add_connector(TEAM, name, beta=True)
    load()
    sandbox.edit_connector(TEAM, "A", beta=OMIT)
    load()
    assert rows("connectors", "connector_identifier", "beta") == [("A", None), ("B", True)]


# --- the first load ---------------------------------------------------------------------------------------------------


@pytest.fixture
def own_file(database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dlt.Pipeline:
    """A pipeline into the command line's own kind of DuckDB destination."""
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", str(database))
    return dlt.pipeline(
        "supermetrics_test",
        destination=duckdb_file(),
        dataset_name="supermetrics",
        pipelines_dir=str(tmp_path / "own_file"),
    )


STAGED = "select table_name from information_schema.tables where table_schema = 'supermetrics_staging' order by all"


def test_rows_for_an_empty_table_are_not_merged(
    sandbox: Sandbox, load: Load, rows: Rows, query: Query, own_file: dlt.Pipeline
) -> None:
    """They go straight to the table, and later loads merge with them."""
    for name in ("EDITED", "DELETED", "SAME"):
        sandbox.add_connector(TEAM, name, configuration=configuration(name=name))
    load(include_configs=True, on=own_file)
    assert_tables_equal_the_api(sandbox, rows)
    assert query(STAGED) == []
    sandbox.edit_connector(TEAM, "EDITED", name="edited", configuration=configuration(v=2))
    sandbox.delete_connector(TEAM, "DELETED")
    load(include_configs=True, on=own_file)
    assert_tables_equal_the_api(sandbox, rows)
    assert {("connectors",), ("connector_configurations",)} <= set(query(STAGED))
    versions = rows("connector_configurations", "connector_identifier", "_dlt_valid_to is null")
    assert versions == [("DELETED", False), ("EDITED", False), ("EDITED", True), ("SAME", True)]


def test_a_first_version_begins_with_its_load(sandbox: Sandbox, load: Load, rows: Rows, own_file: dlt.Pipeline) -> None:
    """Appended versions have the same dates as merged ones."""
    sandbox.add_connector(TEAM, "A", configuration=configuration(v=1))
    sandbox.add_connector(OTHER, "B", configuration=configuration())
    (load_id,) = load(include_configs=True, on=own_file).loads_ids
    sandbox.edit_configuration(TEAM, "A", {"v": 2})
    load(include_configs=True, on=own_file)
    columns = ("connector_identifier", "_dlt_valid_from", "_dlt_valid_to")
    (_, first, second), *others = rows("connector_configurations", *columns)
    assert others == [("A", second, None), ("B", first, None)]
    assert first == own_file.get_load_package_state(load_id)["created_at"]


@pytest.mark.parametrize("settings", [{}, {"full_refresh": True}], ids=str)
def test_a_pipeline_s_first_load_finds_the_rows_of_another(
    sandbox: Sandbox, load: Load, rows: Rows, own_file: dlt.Pipeline, settings: dict[str, Any]
) -> None:
    """The tables are read, not the working folder."""
    for name in ("EDITED", "DELETED", "SAME"):
        sandbox.add_connector(TEAM, name, configuration=configuration(name=name))
    load(include_configs=True, on=own_file)
    sandbox.edit_connector(TEAM, "EDITED", name="edited", configuration=configuration(v=2))
    sandbox.delete_connector(TEAM, "DELETED")
    another = dlt.pipeline(
        "another", destination=own_file.destination, dataset_name="supermetrics", pipelines_dir=own_file.pipelines_dir
    )
    load(include_configs=True, on=another, **settings)
    assert_tables_equal_the_api(sandbox, rows)


def test_a_first_load_may_be_a_full_refresh(
    sandbox: Sandbox, load: Load, rows: Rows, query: Query, own_file: dlt.Pipeline
) -> None:
    """The tables are empty, and no staged deletion becomes a row."""
    sandbox.add_connector(TEAM, "A", configuration=configuration())
    load(include_configs=True, full_refresh=True, on=own_file)
    assert_tables_equal_the_api(sandbox, rows)
    assert query("select count(*) from connectors") == query("select count(*) from connector_configurations") == [(1,)]


# --- fresh workers and full refreshes ---------------------------------------------------------------------------------


def test_a_fresh_worker_continues_from_the_tables(
    sandbox: Sandbox, load: Load, rows: Rows, new_worker: NewWorker
) -> None:
    """Containers start with an empty working folder."""
    for name in ("EDITED", "DELETED", "SAME"):
        sandbox.add_connector(TEAM, name, updated_at="2025-01-01", configuration=configuration(name=name))
    sandbox.add_connector(OTHER, "LAST", configuration=configuration())
    (first,) = load(include_configs=True).loads_ids
    sandbox.edit_connector(TEAM, "EDITED", updated_at="2025-01-01", name="edited", configuration=configuration(v=2))
    sandbox.delete_connector(TEAM, "DELETED")
    sandbox.add_connector(TEAM, "LATE", updated_at="2019-01-01")
    sandbox.delete_connector(OTHER, "LAST")
    (second,) = load(include_configs=True, on=new_worker()).loads_ids
    assert_tables_equal_the_api(sandbox, rows)
    assert rows("connectors", "connector_identifier", "_dlt_load_id") == [
        ("EDITED", second),
        ("LATE", second),
        ("SAME", first),
    ]
    load(include_configs=True, on=new_worker())
    assert_tables_equal_the_api(sandbox, rows)
    assert len(rows("connector_configurations", "*")) == 5


def test_a_full_refresh_keeps_the_history(sandbox: Sandbox, load: Load, rows: Rows) -> None:
    """Ended versions cannot be fetched again; unchanged current ones stay as they are."""
    sandbox.add_connector(TEAM, "A", configuration=configuration(v=1))
    sandbox.add_connector(TEAM, "GONE", configuration=configuration(v=0))
    load(include_configs=True)
    sandbox.edit_connector(TEAM, "A", configuration=configuration(v=2))
    sandbox.delete_connector(TEAM, "GONE")
    load(include_configs=True)
    columns = ("connector_identifier", "content_hash", "_dlt_valid_from", "_dlt_valid_to")
    before = rows("connector_configurations", *columns)
    assert len(before) == 3
    load(include_configs=True, full_refresh=True)
    assert rows("connector_configurations", *columns) == before
    load(full_refresh=True)
    assert rows("connector_configurations", *columns) == before


@pytest.mark.parametrize("include_configs", [True, False])
def test_a_full_refresh_of_an_incomplete_listing_removes_nothing(
    sandbox: Sandbox, load: Load, rows: Rows, include_configs: bool
) -> None:
    """A connector that is not listed may exist."""
    for name in "AB":
        sandbox.add_connector(TEAM, name, configuration=configuration(name=name))
    load(include_configs=True)
    sandbox.delete_connector(TEAM, "A")
    sandbox.report_count(TEAM, 2)
    load(include_configs=include_configs, full_refresh=True)
    assert [name for (name,) in rows("connectors", "connector_identifier")] == ["A", "B"]
    assert rows("connector_configurations", "_dlt_valid_to is null") == [(True,), (True,)]
    sandbox.report_count(TEAM, None)
    load(include_configs=include_configs)
    assert_tables_equal_the_api(sandbox, rows)
