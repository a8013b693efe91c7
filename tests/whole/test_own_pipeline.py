"""A user's own dlt pipeline: after every run the tables equal the API, or the run was refused before any request."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from pathlib import Path
from typing import Any

import dlt
import pytest
from dlt.common.configuration.container import Container
from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext
from dlt.pipeline.exceptions import PipelineStepFailed

from supermetrics_connectors import create_changes_view
from supermetrics_loader.run.load import run_load
from tests.helpers.expectations import (
    COMPARED,
    HISTORIES,
    OTHER,
    TEAM,
    Load,
    NewWorker,
    Query,
    Rows,
    assert_right,
    assert_tables_equal_the_api,
    change,
    make_source,
    refused,
    rows_of,
)
from tests.helpers.sandbox import Sandbox
from tests.helpers.warehouse import Warehouse

Edit = Callable[[dlt.sources.DltSource], Any]


@dlt.source(name="shop")
def shop() -> Iterator[Any]:
    """Another source of a user, with a table of its own."""
    yield dlt.resource([{"id": 1}], name="orders", primary_key="id", write_disposition="merge")


# --- threads ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def eager_switches() -> Iterator[None]:
    """Python changes between threads a thousand times as often."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(usual / 1000)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("eager_switches")
def test_sources_made_in_threads_share_nothing(tmp_path: Path) -> None:
    """With one key per customer, a row of another customer's team would be a leak."""
    apis = {
        team: Sandbox(teams={team: [{"connector_identifier": f"of {team}"}]}, token=f"api_customer_{team}")
        for team in range(1, 5)
    }

    def load_for(team: int) -> None:
        api, folder = apis[team], tmp_path / str(team)
        with api:
            for _ in range(8):
                (table,) = list(make_source(api).connectors)
                assert table["team_id"].to_pylist() == [team]
            pipeline = dlt.pipeline(
                f"of_{team}",
                destination=dlt.destinations.duckdb(str(tmp_path / f"{team}.duckdb")),
                dataset_name="supermetrics",
                pipelines_dir=str(folder),
            )
            for _ in range(2):
                pipeline.run(make_source(api))
            assert_tables_equal_the_api(api, rows_of(Warehouse(tmp_path / f"{team}.duckdb")))
            assert {request.status for request in api.requests} == {200}
            assert {request.team_id for request in api.requests} == {team}

    with ThreadPoolExecutor(len(apis)) as pool:
        list(pool.map(load_for, apis))


# --- a second source --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("single_dataset", [True, False], ids=["one dataset", "a dataset per source"])
@pytest.mark.parametrize("order", ["before", "after", "together"])
def test_a_second_source_changes_nothing(
    customer: Sandbox, pipeline: dlt.Pipeline, database: Path, order: str, single_dataset: bool
) -> None:
    """Tables are read where they are written, whatever the pipeline's default schema is."""
    pipeline.config.use_single_dataset = single_dataset

    def run() -> None:
        ours = make_source(customer)
        runs: dict[str, list[Any]] = {"before": [shop(), ours], "after": [ours, shop()], "together": [[ours, shop()]]}
        for data in runs[order]:
            pipeline.run(data)
        assert create_changes_view(pipeline, "supermetrics")

    run()
    has_default_dataset = single_dataset or pipeline.default_schema_name == "supermetrics"
    rows = rows_of(Warehouse(database, "supermetrics" if has_default_dataset else "supermetrics_supermetrics"))
    versions = rows("connector_versions", "*")
    assert len(versions) == 6
    run()
    assert rows("connector_versions", "*") == versions
    change(customer)
    run()
    assert_tables_equal_the_api(customer, rows)
    assert set(rows("team_syncs", "status")) == {("ok",)}
    changes = rows("connector_changes", "connector_identifier", "change", where="not baseline")
    assert changes == [("A", "configuration_changed"), ("A", "updated"), ("B", "removed"), ("NEW", "added")]


def test_the_command_line_s_run_takes_over_a_pipeline_with_another_source(
    customer: Sandbox, pipeline: dlt.Pipeline, rows: Rows
) -> None:
    """A working folder of two sources has two schemas."""
    pipeline.run([shop(), make_source(customer)])
    change(customer)
    settings: dict[str, Any] = {"team_ids": customer.team_ids, "api_key": customer.token, "base_url": customer.url}
    run_load(pipeline, **settings, include_configs=True)
    assert_tables_equal_the_api(customer, rows)
    assert len(rows("connector_changes", "*", where="not baseline")) == 4


# --- names ------------------------------------------------------------------------------------------------------------


def _rename(source: dlt.sources.DltSource, **names: str) -> dlt.sources.DltSource:
    for resource, name in names.items():
        source.resources[resource].apply_hints(table_name=name)
    return source


RENAMED = {name: f"my_{name}" for name in (*COMPARED, "team_syncs")}
NAMES: dict[str, tuple[Callable[[dlt.sources.DltSource], Any], dict[str, str]]] = {
    "one table": (lambda source: _rename(source, connectors="my_connectors"), {"connectors": "my_connectors"}),
    "a history": (
        lambda source: _rename(source, connector_versions="myVersions"),
        {"connector_versions": "my_versions"},
    ),
    "every table": (lambda source: _rename(source, **RENAMED), RENAMED),
    "cloned source": (lambda source: source.clone(), {}),
    "renamed source": (lambda source: source.clone(with_name="of_customers"), {}),
    "renamed resource": (
        lambda source: [
            source.with_resources("connector_versions", "connector_configurations", "team_syncs"),
            source.connectors.with_name("my_connectors"),
        ],
        {"connectors": "my_connectors"},
    ),
    "selected resources": (
        lambda source: [source.connectors, source.connector_versions, source.connector_configurations],
        {},
    ),
}


@pytest.mark.parametrize("name", NAMES)
def test_tables_are_compared_under_the_names_that_the_user_gives_them(
    customer: Sandbox, pipeline: dlt.Pipeline, database: Path, name: str
) -> None:
    """Read under one name and written under another, each run would write everything again."""
    edit, names = NAMES[name]
    rows = rows_of(Warehouse(database), names)
    pipeline.run(edit(make_source(customer)))
    assert_tables_equal_the_api(customer, rows)
    change(customer)
    pipeline.run(edit(make_source(customer)))
    assert_tables_equal_the_api(customer, rows)
    contents = [rows(table, "*") for table in COMPARED]
    pipeline.run(edit(make_source(customer)))
    assert [rows(table, "*") for table in COMPARED] == contents
    pipeline.run(make_source(customer))
    assert_tables_equal_the_api(customer, rows_of(Warehouse(database)))


def test_a_name_that_depends_on_rows_is_refused(customer: Sandbox, pipeline: dlt.Pipeline) -> None:
    """The table is read before there are rows."""
    source = make_source(customer)
    source.connectors.apply_hints(table_name=lambda row: f"team_{row['team_id']}")
    with refused(customer, "depends on its rows"):
        pipeline.run(source)


def test_two_resources_for_one_table_are_refused(customer: Sandbox, pipeline: dlt.Pipeline) -> None:
    """Rows of a copy would be merged with rows of the first."""
    source = make_source(customer)
    source.resources.add(source.connectors.with_name("again"))
    with refused(customer, "Two resources of the source write the table connectors"):
        pipeline.run(source)


UPPER_CASE = """
from dlt.common.normalizers.naming.snake_case import NamingConvention as SnakeCase

class NamingConvention(SnakeCase):
    def normalize_identifier(self, identifier):
        return {change}
"""


@pytest.mark.parametrize("naming", ["snake_case", "duck_case", "direct", "sql_cs_v1", "sql_ci_v1", "upper_case"])
def test_tables_equal_the_api_under_a_naming_convention_that_keeps_our_names(
    customer: Sandbox,
    pipeline: dlt.Pipeline,
    rows: Rows,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    naming: str,
) -> None:
    """Letter case is the database's matter."""
    _write_convention(tmp_path, monkeypatch, "super().normalize_identifier(identifier).upper()")
    monkeypatch.setenv("SCHEMA__NAMING", naming)
    for _ in range(2):
        pipeline.run(make_source(customer))
        assert_tables_equal_the_api(customer, rows)
        assert create_changes_view(pipeline)
        change(customer)
    pipeline.run(make_source(customer))
    assert_tables_equal_the_api(customer, rows)


def test_a_naming_convention_that_renames_our_columns_is_refused(
    customer: Sandbox, pipeline: dlt.Pipeline, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Conditions of the merge name columns as text."""
    _write_convention(tmp_path, monkeypatch, "'c_' + super().normalize_identifier(identifier)")
    monkeypatch.setenv("SCHEMA__NAMING", "upper_case")
    with refused(customer, "naming convention"):
        pipeline.run(make_source(customer))


def _write_convention(folder: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    (folder / "upper_case.py").write_text(UPPER_CASE.format(change=change))
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "upper_case", raising=False)


# --- what is refused --------------------------------------------------------------------------------------------------


def _with_cursor(resource: str) -> Edit:
    return lambda source: source.resources[resource].apply_hints(incremental=dlt.sources.incremental("updated_at"))


def _with_contract(resource: str, contract: Any) -> Edit:
    return lambda source: source.resources[resource].apply_hints(schema_contract=contract)


def _unchanged(source: dlt.sources.DltSource) -> None:
    """Leaves the source as it is."""


REFUSED: dict[str, tuple[Edit, dict[str, Any], str]] = {
    "append": (_unchanged, {"write_disposition": "append"}, "write_disposition of 'connectors' is 'append'"),
    "replace": (_unchanged, {"write_disposition": "replace"}, "is 'replace'"),
    "replace one table": (
        lambda source: source.team_syncs.apply_hints(write_disposition="replace"),
        {},
        "write_disposition of 'team_syncs' is 'replace'",
    ),
    **{
        f"cursor of {table}": (_with_cursor(table), {}, f"The resource '{table}' has an incremental cursor")
        for table in (*COMPARED, "team_syncs")
    },
    "contract of the run": (_unchanged, {"schema_contract": "discard_row"}, "discards rows"),
    "contract of the source": (
        lambda source: setattr(source, "schema_contract", {"data_type": "discard_row"}),
        {},
        "discards rows",
    ),
    **{
        f"contract {entity} {mode}": (_with_contract("connector_versions", {entity: mode}), {}, "discards rows")
        for entity, mode in [
            ("tables", "discard_row"),
            ("tables", "discard_value"),
            ("columns", "discard_row"),
            ("data_type", "discard_row"),
        ]
    },
}


@pytest.mark.parametrize("is_first", [True, False], ids=["first run", "later run"])
@pytest.mark.parametrize("name", REFUSED)
def test_what_would_lose_rows_is_refused_with_the_reason(
    customer: Sandbox, pipeline: dlt.Pipeline, load: Load, rows: Rows, database: Path, name: str, is_first: bool
) -> None:
    """Rows are differences from the tables; the next run without the setting makes the tables right."""
    edit, arguments, message = REFUSED[name]
    if not is_first:
        load(include_configs=True)
        change(customer)
    source = make_source(customer)
    edit(source)
    with refused(customer, message):
        pipeline.run(source, **arguments)
    load(include_configs=True)
    assert_right(customer, rows, database)


@pytest.mark.parametrize(
    "contract",
    ["evolve", {"columns": "freeze"}, {"columns": "discard_value"}, {"data_type": "freeze"}, "freeze"],
    ids=str,
)
def test_contracts_that_lose_no_row_work(
    customer: Sandbox, pipeline: dlt.Pipeline, load: Load, rows: Rows, contract: Any
) -> None:
    """A user may freeze the tables that there are."""
    load(include_configs=True)
    change(customer)
    pipeline.run(make_source(customer), schema_contract=contract)
    assert_tables_equal_the_api(customer, rows)


def test_a_discarded_value_is_no_discarded_row(
    customer: Sandbox, pipeline: dlt.Pipeline, load: Load, rows: Rows, query: Query
) -> None:
    """A field that the API adds makes no column; the connector is loaded."""
    load(include_configs=True)
    customer.edit_connector(TEAM, "A", name="edited", added=1)
    pipeline.run(make_source(customer), schema_contract={"columns": "discard_value"})
    assert_tables_equal_the_api(customer, rows)
    assert "added" not in {name for name, *_ in query("describe connectors")}


def test_a_field_that_a_frozen_table_does_not_have_changes_nothing(
    customer: Sandbox, pipeline: dlt.Pipeline, load: Load, rows: Rows
) -> None:
    """The run fails as the user has asked, and no table is ahead of another."""
    load(include_configs=True)
    before = [rows(table, "*") for table in COMPARED]
    customer.edit_connector(TEAM, "A", added=1)
    with pytest.raises(PipelineStepFailed, match="freeze"):
        pipeline.run(make_source(customer), schema_contract={"columns": "freeze"})
    assert [rows(table, "*") for table in COMPARED] == before


@pytest.mark.parametrize("section", ["", "SUPERMETRICS_TEST__", "PIPELINES__SUPERMETRICS_TEST__"])
def test_ignored_failures_of_the_destination_are_refused(
    customer: Sandbox, pipeline: dlt.Pipeline, monkeypatch: pytest.MonkeyPatch, section: str
) -> None:
    """With dlt's setting, a load would count as complete without the rows of one table."""
    monkeypatch.setenv(f"{section}LOAD__RAISE_ON_FAILED_JOBS", "false")
    if section.startswith("PIPELINES"):  # no section of dlt's
        pipeline.run(make_source(customer))
        return
    with refused(customer, "raise_on_failed_jobs"):
        pipeline.run(make_source(customer))
    monkeypatch.setenv("SUPERMETRICS_TEST__LOAD__RAISE_ON_FAILED_JOBS", "true")
    pipeline.run(make_source(customer))


# --- several sources or packages --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["same name", "another name"])
def test_a_team_in_two_sources_of_one_run_is_refused(
    customer: Sandbox, pipeline: dlt.Pipeline, load: Load, rows: Rows, name: str
) -> None:
    """Both would write the same new rows. Nothing is loaded."""
    second = make_source(customer, TEAM)
    if name == "another name":
        second = second.clone(with_name="second")
    with pytest.raises(PipelineStepFailed, match=f"Team {TEAM} is in two sources of one run"):
        pipeline.run([make_source(customer), second])
    assert len(customer.requests) <= 2, "only those of the first source"
    load(include_configs=True)
    assert_tables_equal_the_api(customer, rows)


def test_sources_of_different_teams_or_tables_run_together(
    customer: Sandbox, pipeline: dlt.Pipeline, rows: Rows
) -> None:
    """A key per customer makes a source per customer."""
    for _ in range(2):
        sources = [make_source(customer, TEAM), make_source(customer, OTHER).with_resources(*COMPARED)]
        pipeline.run([*sources, make_source(customer, OTHER).with_resources("team_syncs")])
        assert_tables_equal_the_api(customer, rows)
        assert {team for (team,) in rows("team_syncs", "team_id")} == {TEAM, OTHER}
        change(customer)


def test_a_team_may_be_in_two_sources_with_tables_of_their_own(
    customer: Sandbox, pipeline: dlt.Pipeline, rows: Rows, database: Path
) -> None:
    """A copy of every table, in the same run."""
    for _ in range(2):
        pipeline.run([make_source(customer), _rename(make_source(customer), **RENAMED)])
        assert_tables_equal_the_api(customer, rows)
        assert_tables_equal_the_api(customer, rows_of(Warehouse(database), RENAMED))
        change(customer)


def test_one_source_object_runs_again(customer: Sandbox, pipeline: dlt.Pipeline, rows: Rows, database: Path) -> None:
    """Each run reads the tables anew."""
    source = make_source(customer)
    pipeline.run(source)
    for step in (change(customer), lambda: None):
        pipeline.run(source)
        assert_right(customer, rows, database)
        step()
    pipeline.run(source)
    assert_right(customer, rows, database)


@pytest.mark.parametrize("is_first", [True, False], ids=["first load", "later load"])
def test_two_extractions_and_one_load_are_repaired_by_the_next_run(
    customer: Sandbox, pipeline: dlt.Pipeline, load: Load, rows: Rows, database: Path, is_first: bool
) -> None:
    """Both packages are compared with the same tables: that is how dlt's pending packages work."""
    if not is_first:
        load(include_configs=True)
    pipeline.extract(make_source(customer))
    change(customer)
    pipeline.extract(make_source(customer))
    pipeline.normalize()
    pipeline.load()
    load(include_configs=True)
    assert_right(customer, rows, database)
    before = Warehouse(database).contents()
    load(include_configs=True)
    assert Warehouse(database).contents() == before


def test_a_package_that_is_loaded_late_is_repaired_by_the_next_run(
    customer: Sandbox, pipeline: dlt.Pipeline, load: Load, rows: Rows, database: Path, new_worker: NewWorker
) -> None:
    """Yesterday's package, after another machine's run."""
    load(include_configs=True)
    customer.edit_connector(TEAM, "C", name="of yesterday")
    pipeline.extract(make_source(customer))
    change(customer)
    customer.edit_connector(TEAM, "C", name="of today")
    load(include_configs=True, on=new_worker())
    pipeline.normalize()
    pipeline.load()
    load(include_configs=True)
    assert_right(customer, rows, database)


def test_extraction_alone_changes_nothing(
    customer: Sandbox, pipeline: dlt.Pipeline, load: Load, rows: Rows, query: Query
) -> None:
    """Neither a row nor a view: what is loaded makes the changes."""
    load(include_configs=True)
    relations = "select table_name from information_schema.tables order by all"
    before = [query(relations), *(rows(table, "*") for table in (*COMPARED, "team_syncs"))]
    change(customer)
    pipeline.extract(make_source(customer))
    assert [query(relations), *(rows(table, "*") for table in (*COMPARED, "team_syncs"))] == before


# --- settings of dlt --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "is_on"),
    [
        ("ADD_DLT_ID", [True, False, True]),
        ("ADD_DLT_LOAD_ID", [True, False, True]),
        ("ADD_DLT_LOAD_ID", [False, True, False]),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join("on" if each else "off" for each in value),
)
def test_columns_of_dlt_s_parquet_normalizer_may_be_switched_on_and_off(
    customer: Sandbox, load: Load, rows: Rows, monkeypatch: pytest.MonkeyPatch, setting: str, is_on: list[bool]
) -> None:
    """Rows name the load that wrote them in any case."""
    name = "edited"
    for switch in is_on:
        monkeypatch.setenv(f"NORMALIZE__PARQUET_NORMALIZER__{setting}", str(switch).lower())
        (load_id,) = load(include_configs=True).loads_ids
        assert_tables_equal_the_api(customer, rows)
        assert load_id in {each for (each,) in rows("connectors", "_dlt_load_id")}
        assert {status for (status,) in rows("team_syncs", "status")} == {"ok"}
        name += "_again"
        customer.edit_connector(TEAM, "A", name=name)
        customer.add_connector(OTHER, name)
    assert len(rows("team_syncs", "*")) == 6
    load(include_configs=True, full_refresh=True)
    assert_tables_equal_the_api(customer, rows)


def test_row_ids_are_refused_for_tables_without_them(
    customer: Sandbox, load: Load, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dlt would add a column without nulls to stored rows, and fail in every later run."""
    load(include_configs=True)
    customer.edit_connector(TEAM, "A", name="edited")
    requests = len(customer.requests)
    monkeypatch.setenv("NORMALIZE__PARQUET_NORMALIZER__ADD_DLT_ID", "true")
    with pytest.raises(Exception, match="add_dlt_id is on, but connector_configurations was loaded without it"):
        load(include_configs=True)
    assert len(customer.requests) == requests
    monkeypatch.delenv("NORMALIZE__PARQUET_NORMALIZER__ADD_DLT_ID")
    load(include_configs=True)
    assert_tables_equal_the_api(customer, rows)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("NORMALIZE__LOADER_FILE_FORMAT", "jsonl"),
        ("NORMALIZE__WORKERS", "1"),
        ("LOAD__TRUNCATE_STAGING_DATASET", "true"),
        ("LOAD__DELETE_COMPLETED_JOBS", "true"),
        ("LOAD__WORKERS", "1"),
        ("EXTRACT__MAX_PARALLEL_ITEMS", "1"),
        ("EXTRACT__NEXT_ITEM_MODE", "round_robin"),
        ("NORMALIZE__DATA_WRITER__FILE_MAX_ITEMS", "1"),
        ("DATA_WRITER__BUFFER_MAX_ITEMS", "1000"),
        ("RESTORE_FROM_DESTINATION", "false"),
        ("DESTINATION__REPLACE_STRATEGY", "insert-from-staging"),
    ],
)
def test_other_settings_of_dlt_are_the_users_to_choose(
    customer: Sandbox, load: Load, rows: Rows, monkeypatch: pytest.MonkeyPatch, setting: str, value: str
) -> None:
    """Tables equal the API under each."""
    monkeypatch.setenv(setting, value)
    for _ in range(2):
        load(include_configs=True)
        assert_tables_equal_the_api(customer, rows)
        change(customer)


def test_no_setting_is_left_in_the_process(customer: Sandbox, pipeline: dlt.Pipeline, new_worker: NewWorker) -> None:
    """`dlt.config` belongs to every pipeline of the process; the source's own section is the exception."""
    before = _process_settings()
    pipeline.run(make_source(customer))
    settings: dict[str, Any] = {"team_ids": [TEAM, 5], "api_key": customer.token, "base_url": customer.url}
    command_line = new_worker()
    with pytest.raises(Exception, match="HTTP 403"):
        run_load(command_line, **settings)
    assert command_line.config.enable_runtime_trace is pipeline.config.enable_runtime_trace is True
    after = _process_settings()
    for settings in after:
        settings.get("sources", {}).pop("supermetrics_connectors", None)
        if not settings.get("sources", True):
            settings.pop("sources")
    assert after == before


def _process_settings() -> list[dict[str, Any]]:
    providers = Container()[PluggableRunContext].providers.providers
    return [deepcopy(getattr(provider, "_config_doc", {})) for provider in providers]


# --- tables that somebody changed -------------------------------------------------------------------------------------

KEYS = {"team_id", "connector_identifier", "started_at", "status", "version_id", "_dlt_load_id", "_dlt_valid_to"}
"""Columns without which rows cannot be identified or compared."""


@pytest.mark.parametrize("how", ["drop column {0}", "rename column {0} to my_{0}"], ids=["dropped", "renamed"])
@pytest.mark.parametrize(
    ("table", "column"),
    [
        *(("team_syncs", name) for name in ("team_id", "started_at", "status", "error_message", "_dlt_load_id")),
        *(("connectors", name) for name in ("connector_identifier", "name", "beta", "content_hash", "_deleted")),
        *(("connector_versions", name) for name in ("version_id", "name", "beta", "content_hash", "_dlt_valid_to")),
    ],
)
def test_a_column_that_somebody_dropped_or_renamed_comes_back_or_the_error_says_what_to_do(
    customer: Sandbox, load: Load, query: Query, rows: Rows, pipeline: dlt.Pipeline, table: str, column: str, how: str
) -> None:
    """No later run fails for a reason that nobody understands."""
    customer.edit_connector(TEAM, "C", beta=1)
    load(include_configs=True)
    query(f"alter table {table} {how.format(column)}")
    change(customer)
    if column in KEYS:
        with refused(customer, "Restore the column"):
            pipeline.run(make_source(customer))
        return
    for _ in range(2):
        load(include_configs=True)
        assert_tables_equal_the_api(customer, rows)
    assert column in {name for name, *_ in query(f"describe {table}")}
    if table in ("connectors", "connector_versions"):
        of_c = "connector_identifier = 'C' and team_id = 936506"
        current = " and _dlt_valid_to is null" if table == "connector_versions" else ""
        assert rows(table, "name", "beta", "content_hash is null", where=of_c + current) == [("Name C", 1, False)]


@pytest.mark.parametrize("how", ["delete from _dlt_loads", "drop table _dlt_loads"])
@pytest.mark.usefixtures("customer")
def test_syncs_are_not_judged_by_an_emptied_table_of_loads(load: Load, query: Query, rows: Rows, how: str) -> None:
    """A good sync stays a good sync."""
    load()
    query(how)
    for _ in range(3):
        load()
    assert rows("team_syncs", "status") == [("ok",)] * 8


@pytest.mark.usefixtures("customer")
def test_a_corrected_sync_is_replaced_and_corrected_once(load: Load, query: Query, rows: Rows) -> None:
    """Appended, there would be one more failed row in each run."""
    load()
    (interrupted,) = load().loads_ids
    query(f"delete from _dlt_loads where load_id = '{interrupted}'")
    load()
    expected = [("failed", False), ("failed", False), *[("ok", True)] * 4]
    assert rows("team_syncs", "status", "error_message is null") == expected
    failed = rows("team_syncs", "*", where="status = 'failed'")
    load()
    assert rows("team_syncs", "*", where="status = 'failed'") == failed
    assert rows("team_syncs", "count(*)", "count(distinct (team_id, started_at))") == [(8, 8)]


@pytest.mark.parametrize("full_refresh", [False, True])
@pytest.mark.parametrize("table", COMPARED)
def test_a_blank_identifier_written_by_hand_is_removed(
    customer: Sandbox, load: Load, query: Query, rows: Rows, database: Path, table: str, full_refresh: bool
) -> None:
    """An empty text is a value like another."""
    load(include_configs=True)
    query(
        f"insert into {table} by name select * replace ('' as connector_identifier) from {table}"
        f" where team_id = {TEAM} and connector_identifier = 'A'"
    )
    load(include_configs=True, full_refresh=full_refresh)
    assert_right(customer, rows, database)


@pytest.mark.parametrize("full_refresh", [False, True])
def test_a_log_entry_of_the_future_written_by_hand_does_not_stop_the_log(
    customer: Sandbox, load: Load, query: Query, rows: Rows, full_refresh: bool
) -> None:
    """It is not what the log is read from."""
    customer.add_log(TEAM, "A", {"id": "1", "log_time": _minutes_ago(30)})
    load(include_logs=True)
    query(
        "insert into connector_logs by name select * replace ('x' as id, '2099-01-01' as log_time) from connector_logs"
    )
    customer.add_log(TEAM, "A", {"id": "2", "log_time": _minutes_ago(10)})
    load(include_logs=True, full_refresh=full_refresh)
    assert rows("connector_logs", "id") == [("1",), ("2",), ("x",)]


def _minutes_ago(count: int) -> str:
    return str(dlt.common.pendulum.now("UTC").subtract(minutes=count).isoformat())


# --- parts of the source ----------------------------------------------------------------------------------------------


def test_rows_that_a_filter_left_out_come_with_the_next_run(
    customer: Sandbox, rows: Rows, pipeline: dlt.Pipeline, load: Load, database: Path
) -> None:
    """For one run only some rows are let through, or none."""
    for table in COMPARED:
        source = make_source(customer)
        source.resources[table].add_filter(lambda _table: False)
        pipeline.run(source)
        load(include_configs=True)
        assert_right(customer, rows, database)
        change(customer) if table == "connectors" else None


def test_limits_and_maps_do_no_lasting_harm(
    customer: Sandbox, rows: Rows, pipeline: dlt.Pipeline, load: Load, database: Path
) -> None:
    """A sample first, everything then."""
    source = make_source(customer)
    source.add_limit(1)
    source.connectors.add_map(lambda table: table.slice(0, 1))
    pipeline.run(source)
    load(include_configs=True)
    assert_right(customer, rows, database)


@pytest.mark.parametrize("refresh", ["drop_sources", "drop_resources", "drop_data"])
def test_dlt_s_own_refresh_loads_everything_again(
    customer: Sandbox, load: Load, rows: Rows, pipeline: dlt.Pipeline, refresh: Any
) -> None:
    """Users of dlt know `refresh`: it drops the tables that are there when the run begins."""
    load(include_configs=True)
    change(customer)
    pipeline.run(make_source(customer), refresh=refresh)
    assert_tables_equal_the_api(customer, rows)


@pytest.mark.parametrize("resources", [["connectors"], ["team_syncs"], ["connectors", "connector_configurations"]])
def test_single_tables_can_be_selected(
    customer: Sandbox, rows: Rows, pipeline: dlt.Pipeline, load: Load, resources: list[str]
) -> None:
    """`with_resources` is dlt's way to load less; another table comes whole when it is selected."""
    pipeline.run(make_source(customer).with_resources(*resources))
    assert set(pipeline.default_schema.data_table_names()) == set(resources)
    assert len(customer.requests) == len(customer.team_ids)
    load(include_configs=True)
    assert_tables_equal_the_api(customer, rows)


def test_a_table_that_is_not_written_is_not_read(customer: Sandbox, rows: Rows, load: Load, query: Query) -> None:
    """One table alone depends on no other."""
    load(include_configs=True)
    for table in HISTORIES:
        query(f"alter table {table} rename column _dlt_valid_to to unreadable")
    destination = dlt.current.pipeline().destination
    pipeline = dlt.pipeline("log", destination=destination, dataset_name="supermetrics")
    pipeline.run(make_source(customer, TEAM).with_resources("team_syncs"))
    assert rows("team_syncs", "status", "connectors_changed") == [("ok", 0), ("ok", 3), ("ok", 3)]


def test_resources_can_be_read_without_a_pipeline(customer: Sandbox) -> None:
    """Nothing is loaded, and so everything is listed."""
    (table,) = list(make_source(customer, TEAM).connectors)
    assert table["connector_identifier"].to_pylist() == ["A", "B", "C"]


def test_dev_mode_begins_with_an_empty_dataset_in_each_run(customer: Sandbox, database: Path, tmp_path: Path) -> None:
    """Each dataset for trials holds a whole load."""
    for number in range(2):
        pipeline = dlt.pipeline(
            "trial",
            destination=dlt.destinations.duckdb(str(database)),
            dataset_name="trial",
            dev_mode=True,
            pipelines_dir=str(tmp_path / f"trial_{number}"),
        )
        pipeline.run(make_source(customer))
        assert_tables_equal_the_api(customer, rows_of(Warehouse(database, pipeline.dataset_name)))
