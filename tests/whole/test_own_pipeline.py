"""A user's own dlt pipeline: after every run the tables equal the API, or the run was refused before any request."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext
from copy import deepcopy
from pathlib import Path
from typing import Any

import dlt
import psycopg2
import pytest
from dlt.common.configuration.container import Container
from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext
from dlt.pipeline.exceptions import PipelineStepFailed

from supermetrics_connectors import create_changes_view
from supermetrics_loader.run.load import run_load
from tests.helpers.commands import wait_until
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
    configuration,
    make_source,
    refused,
    rows_of,
)
from tests.helpers.sandbox import Sandbox
from tests.helpers.warehouse import Warehouse

Source = dlt.sources.DltSource
Edit = Callable[[Source], Any]


@pytest.fixture
def destination(database: Path) -> Any:
    """Dlt's own destination, as users configure it."""
    return dlt.destinations.duckdb(str(database))


@dlt.source(name="shop")
def shop() -> Iterator[Any]:
    """Another source of a user, with a table of its own."""
    yield dlt.resource([{"id": 1}], name="orders", primary_key="id", write_disposition="merge")


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
        for team in (1, 2, 3)
    }

    def load_for(team: int) -> None:
        file = tmp_path / f"{team}.duckdb"
        with apis[team] as api:
            for _ in range(4):
                (table,) = list(make_source(api).connectors)
                assert table["team_id"].to_pylist() == [team]
            destination = dlt.destinations.duckdb(str(file))
            pipeline = dlt.pipeline(f"of_{team}", destination=destination, dataset_name="supermetrics")
            for _ in range(2):
                pipeline.run(make_source(api))
            assert_tables_equal_the_api(api, rows_of(Warehouse(file)))
            assert {(request.status, request.team_id) for request in api.requests} == {(200, team)}

    with ThreadPoolExecutor(len(apis)) as pool:
        list(pool.map(load_for, apis))


def test_pipelines_load_different_teams_into_one_dataset_at_once(
    customer: Sandbox, postgres_url: str, tmp_path: Path
) -> None:
    """Neither pipeline empties the staging tables of the other before the merge, nor merges the other's rows.

    A lock of the tables holds both merges back until both pipelines have staged their rows.
    """
    destination = dlt.destinations.postgres(postgres_url)
    pipelines = {
        team: dlt.pipeline(f"of-{team}", str(tmp_path), destination=destination, dataset_name="at_once")
        for team in (TEAM, OTHER)
    }
    for team, pipeline in pipelines.items():
        pipeline.run(make_source(customer, team))
    change(customer)
    customer.edit_connector(OTHER, "A", name="edited", configuration=configuration(name="edited"))
    for team, pipeline in pipelines.items():
        pipeline.extract(make_source(customer, team))
        pipeline.normalize()

    def rows(table: str, *columns: str, where: str = "true") -> list[tuple[Any, ...]]:
        return sorted(execute(f"select {', '.join(columns)} from at_once.{table} where {where}"))

    def execute(sql: str) -> list[tuple[Any, ...]]:
        cursor.execute(sql)
        return cursor.fetchall() if cursor.description else []

    with closing(psycopg2.connect(postgres_url)) as connection, connection.cursor() as cursor:
        execute(f"lock table {', '.join(f'at_once.{table}' for table in COMPARED)} in exclusive mode")
        waiting = (
            "select count(*) from pg_locks where relation = 'at_once.connectors'::regclass and not granted"
            " and mode = 'RowExclusiveLock'"
        )
        with ThreadPoolExecutor(len(pipelines)) as pool:
            loads = [pool.submit(pipeline.load, destination) for pipeline in pipelines.values()]
            wait_until(lambda: execute(waiting) == [(2,)] or all(load.done() for load in loads))
            connection.commit()
            for load in loads:
                load.result()
        assert_tables_equal_the_api(customer, rows)
        staging = ", ".join(f"at_once_staging_of_{team}" for team in pipelines)
        execute(f"drop schema at_once, {staging} cascade")
        connection.commit()


# --- a second source --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("runs", "single_dataset"),
    [
        ([["shop", "ours"], ["ours"]], False),
        ([["ours", "shop"], ["ours"]], True),
        ([["ours and shop"], ["ours and shop"], ["command line"]], True),
    ],
    ids=["before", "after", "together"],
)
def test_a_second_source_changes_nothing(
    customer: Sandbox, pipeline: dlt.Pipeline, database: Path, runs: list[list[str]], single_dataset: bool
) -> None:
    """Tables are read where they are written, whatever the pipeline's default schema is."""
    pipeline.config.use_single_dataset = single_dataset
    rows = rows_of(Warehouse(database, "supermetrics" if single_dataset else "supermetrics_supermetrics"))
    unchanged: list[Any] = []
    for number, names in enumerate(runs):
        for name in names:
            if name == "command line":
                settings: dict[str, Any] = {
                    "api_key": customer.token,
                    "base_url": customer.url,
                    "include_configs": True,
                }
                run_load(pipeline, team_ids=customer.team_ids, **settings)
            else:
                sources = {"ours": [make_source(customer)], "shop": [shop()]}
                pipeline.run([source for each in name.split(" and ") for source in sources[each]])
        assert create_changes_view(pipeline, "supermetrics")
        assert_tables_equal_the_api(customer, rows)
        of_other_team = rows("connector_versions", "*", where=f"team_id = {OTHER}")
        unchanged = unchanged or of_other_team
        assert of_other_team == unchanged
        if number == 0:
            change(customer)
    assert set(rows("team_syncs", "status")) == {("ok",)}
    changes = rows("connector_changes", "connector_identifier", "change", where="not baseline")
    assert changes == [("A", "configuration_changed"), ("A", "updated"), ("B", "removed"), ("NEW", "added")]


# --- names ------------------------------------------------------------------------------------------------------------


def _rename(source: Source, **names: str) -> Source:
    for resource, name in names.items():
        source.resources[resource].apply_hints(table_name=name)
    return source


RENAMED = {name: f"my_{name}" for name in (*COMPARED, "team_syncs")}
NAMES: dict[str, tuple[Edit, dict[str, str]]] = {
    "tables": (
        lambda source: _rename(source, connectors="of_teams", connector_versions="ofTeamsVersions"),
        {"connectors": "of_teams", "connector_versions": "of_teams_versions"},
    ),
    "resource": (
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
    "source": (lambda source: source.clone(with_name="of_customers"), {}),
}


def test_tables_are_compared_under_the_names_that_the_user_gives_them(
    customer: Sandbox, pipeline: dlt.Pipeline, database: Path
) -> None:
    """Read under one name and written under another, each run would write everything again."""
    pipeline.run(make_source(customer))
    for edit, names in NAMES.values():
        rows = rows_of(Warehouse(database), names)
        if names:
            pipeline.run(edit(make_source(customer)))
        before = [rows(table, "*", where=f"team_id = {OTHER}") for table in COMPARED]
        change(customer)
        pipeline.run(edit(make_source(customer)))
        assert_tables_equal_the_api(customer, rows)
        assert [rows(table, "*", where=f"team_id = {OTHER}") for table in COMPARED] == before
    pipeline.run(make_source(customer))
    assert_tables_equal_the_api(customer, rows_of(Warehouse(database)))


def test_a_team_may_be_in_two_sources_with_tables_of_their_own(
    customer: Sandbox, pipeline: dlt.Pipeline, rows: Rows, database: Path
) -> None:
    """A copy of every table, in the same run."""
    for _ in range(2):
        pipeline.run([make_source(customer), _rename(make_source(customer), **RENAMED)])
        assert_tables_equal_the_api(customer, rows)
        assert_tables_equal_the_api(customer, rows_of(Warehouse(database), RENAMED))
        change(customer)


CONVENTION = """
from dlt.common.normalizers.naming.snake_case import NamingConvention as SnakeCase

class NamingConvention(SnakeCase):
    def normalize_identifier(self, identifier):
        return {change}
"""


def _write_convention(monkeypatch: pytest.MonkeyPatch, name: str, change: str) -> None:
    Path(f"{name}.py").write_text(CONVENTION.format(change=change))
    monkeypatch.syspath_prepend(Path.cwd())
    monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.mark.parametrize("naming", ["upper_case", "duck_case", "direct", "sql_cs_v1", "sql_ci_v1"])
def test_tables_equal_the_api_under_a_naming_convention_that_keeps_our_names(
    customer: Sandbox, pipeline: dlt.Pipeline, rows: Rows, monkeypatch: pytest.MonkeyPatch, naming: str
) -> None:
    """Letter case is the database's matter."""
    _write_convention(monkeypatch, "upper_case", "super().normalize_identifier(identifier).upper()")
    monkeypatch.setenv("SCHEMA__NAMING", naming)
    for _ in range(2):
        pipeline.run(make_source(customer))
        assert_tables_equal_the_api(customer, rows)
        assert create_changes_view(pipeline)
        change(customer)


# --- what is refused --------------------------------------------------------------------------------------------------


def _hints(resource: str, **hints: Any) -> Edit:
    return lambda source: source.resources[resource].apply_hints(**hints)


def _unchanged(source: Source) -> None:
    """Leaves the source as it is."""


REFUSED: dict[str, tuple[Edit, dict[str, Any], str]] = {
    "append": (_unchanged, {"write_disposition": "append"}, "'connectors' has the write_disposition 'append'"),
    "replace": (
        _hints("team_syncs", write_disposition="replace"),
        {},
        "'team_syncs' has the write_disposition 'replace'",
    ),
    **{
        f"cursor of {table}": (
            _hints(table, incremental=dlt.sources.incremental("updated_at")),
            {},
            f"The resource '{table}' has an incremental cursor",
        )
        for table in ("connectors", "team_syncs")
    },
    "contract of the run": (_unchanged, {"schema_contract": "discard_row"}, "discards rows"),
    "contract of the source": (
        lambda source: setattr(source, "schema_contract", {"data_type": "discard_row"}),
        {},
        "discards rows",
    ),
    "contract of a table": (_hints("connector_versions", schema_contract={"columns": "discard_row"}), {}, "(columns)"),
    "contract of tables": (_hints("connectors", schema_contract={"tables": "discard_value"}), {}, "(tables)"),
    "name by row": (_hints("connectors", table_name=lambda row: f"team_{row['team_id']}"), {}, "depends on its rows"),
    "twins": (
        lambda source: source.resources.add(source.connectors.with_name("again")),
        {},
        "Two resources of the source write the table connectors",
    ),
    "one name for all": (_unchanged, {"table_name": "x"}, "write the same table x"),
    "cursor of listings": (
        _hints("listings", incremental=dlt.sources.incremental("team_id")),
        {},
        "The resource 'listings' has an incremental cursor",
    ),
    "listings selected": (lambda source: setattr(source.listings, "selected", True), {}, "Leave it deselected"),
    "merge key": (_hints("connectors", merge_key="team_id"), {}, "has the hint merge_key"),
    "merge key of the run": (_unchanged, {"columns": {"team_id": {"merge_key": True}}}, "has the hint merge_key"),
    "hard delete": (
        _hints("team_syncs", columns={"status": {"hard_delete": True}}),
        {},
        "'team_syncs' has the hint hard_delete of the column 'status'",
    ),
    "sorted duplicates": (
        _hints("connector_versions", columns={"updated_at": {"dedup_sort": "desc"}}),
        {},
        "has the hint dedup_sort",
    ),
    "not nullable": (
        _unchanged,
        {"columns": {"name": {"nullable": False}}},
        "has nullable=False for the column 'name'",
    ),
    "parent table": (_hints("connectors", parent_table_name="team_syncs"), {}, "the parent table 'team_syncs'"),
    "hints removed": (_hints("connectors", additional_table_hints={}), {}, "is none of its tables"),
    "transformer": (
        lambda source: source.resources.add(dlt.transformer(lambda item: item, source.connectors, name="more")),
        {},
        "The resource 'more' takes its items from this source",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_lose_rows_is_refused_before_any_request(
    customer: Sandbox, pipeline: dlt.Pipeline, name: str
) -> None:
    """Rows are differences from the tables, which are read before there are rows."""
    edit, arguments, message = REFUSED[name]
    source = make_source(customer)
    edit(source)
    with refused(customer, re.escape(message)):
        pipeline.run(source, **arguments)


def test_what_a_transformer_would_get_is_refused_without_the_source(customer: Sandbox, pipeline: dlt.Pipeline) -> None:
    """Its items are differences. A source of the user's, with a resource of any name, runs as before."""
    with refused(customer, "takes its items from this source"):
        pipeline.run(make_source(customer).connectors | dlt.transformer(lambda item: item, name="more"))
    pipeline.run([shop(), make_source(customer)])


def test_a_dataset_with_the_name_of_its_duckdb_file_is_refused(customer: Sandbox) -> None:
    """DuckDB calls the name ambiguous when the tables are written."""
    pipeline = dlt.pipeline("shared", "folder", destination="duckdb", dataset_name="shared")
    for snapshot in (False, True):
        with refused(customer, "have one name"):
            pipeline.run(make_source(customer, snapshot=snapshot))


@pytest.mark.parametrize(
    ("encoding", "client_encoding", "message"),
    [
        ("LATIN1", "", "The PostgreSQL database has the encoding LATIN1"),
        ("WIN1252", "utf8", "The PostgreSQL database has the encoding WIN1252"),
        ("SQL_ASCII", "", "has the client_encoding SQLASCII"),
        ("UTF8", "latin1", "has the client_encoding LATIN1"),
        ("SQL_ASCII", "utf8", ""),
    ],
)
@pytest.mark.parametrize("snapshot", [False, True])
def test_an_encoding_that_lacks_characters_is_refused(
    customer: Sandbox, postgres_url: str, encoding: str, client_encoding: str, message: str, snapshot: bool
) -> None:
    """A text that cannot be encoded would fail the load, and each later load of its package."""
    customer.edit_connector(TEAM, "A", name="日本")
    with closing(psycopg2.connect(postgres_url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(f"create database encoded encoding '{encoding}' template template0 lc_collate 'C' lc_ctype 'C'")
        url = postgres_url.replace("/postgres?", "/encoded?")
        url += f"&client_encoding={client_encoding}" if client_encoding else ""
        pipeline = dlt.pipeline("encoded", destination=dlt.destinations.postgres(url), dataset_name="supermetrics")
        with refused(customer, message) if message else nullcontext():
            pipeline.run(make_source(customer, snapshot=snapshot))
        cursor.execute("drop database encoded with (force)")


def test_a_naming_convention_that_renames_our_columns_is_refused(
    customer: Sandbox, pipeline: dlt.Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Conditions of the merge name columns as text."""
    _write_convention(monkeypatch, "with_prefix", "'c_' + super().normalize_identifier(identifier)")
    monkeypatch.setenv("SCHEMA__NAMING", "with_prefix")
    with refused(customer, "naming convention"):
        pipeline.run(make_source(customer))


def test_contracts_that_lose_no_row_work(
    customer: Sandbox, pipeline: dlt.Pipeline, load: Load, rows: Rows, query: Query
) -> None:
    """A user may freeze existing tables. A field that the API adds then fails the run, and changes no table.

    A run that was refused changes nothing that the next run needs.
    """
    load(include_configs=True)
    change(customer)
    lossy: list[dict[str, Any]] = [{"write_disposition": "append"}, {"schema_contract": "discard_row"}]
    for arguments in lossy:
        with refused(customer):
            pipeline.run(make_source(customer), **arguments)
    pipeline.run(make_source(customer), schema_contract="freeze")
    assert_tables_equal_the_api(customer, rows)
    before = [rows(table, "*") for table in COMPARED]
    customer.edit_connector(TEAM, "A", name="edited", added=1)
    with pytest.raises(PipelineStepFailed, match="freeze"):
        pipeline.run(make_source(customer), schema_contract={"columns": "freeze"})
    assert [rows(table, "*") for table in COMPARED] == before
    pipeline.run(make_source(customer), schema_contract={"columns": "discard_value", "data_type": "freeze"})
    assert_tables_equal_the_api(customer, rows)
    assert "added" not in {name for name, *_ in query("describe connectors")}


def test_ignored_failures_of_the_destination_are_refused(
    customer: Sandbox, pipeline: dlt.Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With dlt's setting, a load would count as complete without the rows of one table."""
    for section in ("", "SUPERMETRICS_TEST__"):
        monkeypatch.setenv(f"{section}LOAD__RAISE_ON_FAILED_JOBS", "false")
        with refused(customer, "raise_on_failed_jobs"):
            pipeline.run(make_source(customer))
    monkeypatch.setenv("SUPERMETRICS_TEST__LOAD__RAISE_ON_FAILED_JOBS", "true")
    monkeypatch.setenv("PIPELINES__SUPERMETRICS_TEST__LOAD__RAISE_ON_FAILED_JOBS", "false")  # no section of dlt's
    pipeline.run(make_source(customer))


def test_a_team_in_two_sources_of_one_run_is_refused(
    customer: Sandbox, pipeline: dlt.Pipeline, load: Load, rows: Rows
) -> None:
    """Both would write the same new rows. Nothing is loaded."""
    for name in ("supermetrics", "second"):
        requests = len(customer.requests)
        second = make_source(customer, TEAM).clone(with_name=name)
        with pytest.raises(PipelineStepFailed, match=f"Team {TEAM} is in two sources of one run"):
            pipeline.run([make_source(customer), second])
        assert len(customer.requests) - requests <= 2, "only those of the first source"
    load(include_configs=True)
    assert_tables_equal_the_api(customer, rows)


# --- several sources or packages --------------------------------------------------------------------------------------


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


def test_one_source_object_runs_again(customer: Sandbox, pipeline: dlt.Pipeline, rows: Rows, database: Path) -> None:
    """Each run reads the tables anew."""
    source = make_source(customer)
    for _ in range(2):
        pipeline.run(source)
        assert_right(customer, rows, database)
        change(customer)


def test_two_extractions_and_one_load_are_repaired_by_the_next_run(
    customer: Sandbox, pipeline: dlt.Pipeline, load: Load, rows: Rows, database: Path
) -> None:
    """Both packages are compared with the same tables: that is how dlt's pending packages work. First and later."""
    for _ in range(2):
        pipeline.extract(make_source(customer))
        change(customer)
        pipeline.extract(make_source(customer))
        pipeline.normalize()
        pipeline.load()
        load(include_configs=True)
        assert_right(customer, rows, database)
        customer.edit_connector(OTHER, "C", name="edited")
    load(include_configs=True)
    before = Warehouse(database).contents()
    load(include_configs=True)
    assert Warehouse(database).contents() == before


def test_an_extraction_changes_nothing_and_its_late_package_is_repaired_by_the_next_run(
    customer: Sandbox,
    pipeline: dlt.Pipeline,
    load: Load,
    rows: Rows,
    query: Query,
    database: Path,
    new_worker: NewWorker,
) -> None:
    """Yesterday's package, after another machine's run."""
    load(include_configs=True)
    customer.edit_connector(TEAM, "C", name="of yesterday")
    relations = "select table_name from information_schema.tables order by all"
    before = [query(relations), *(rows(table, "*") for table in (*COMPARED, "team_syncs"))]
    pipeline.extract(make_source(customer))
    assert [query(relations), *(rows(table, "*") for table in (*COMPARED, "team_syncs"))] == before
    change(customer)
    customer.edit_connector(TEAM, "C", name="of today")
    load(include_configs=True, on=new_worker())
    pipeline.normalize()
    pipeline.load()
    load(include_configs=True)
    assert_right(customer, rows, database)


# --- settings of dlt --------------------------------------------------------------------------------------------------

NORMALIZER = "NORMALIZE__PARQUET_NORMALIZER__ADD_DLT_"


def test_columns_of_dlt_s_parquet_normalizer_may_be_switched_on_and_off(
    customer: Sandbox, load: Load, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows name the load that wrote them in any case."""
    for number, switch in enumerate(["true", "false", "true"]):
        monkeypatch.setenv(f"{NORMALIZER}ID", switch)
        monkeypatch.setenv(f"{NORMALIZER}LOAD_ID", switch)
        (load_id,) = load(include_configs=True).loads_ids
        assert_tables_equal_the_api(customer, rows)
        assert load_id in {each for (each,) in rows("connectors", "_dlt_load_id")}
        customer.edit_connector(TEAM, "A", name=f"edited {number}")
        customer.add_connector(OTHER, f"added_{number}")
    assert rows("team_syncs", "status") == [("ok",)] * 6
    load(include_configs=True, full_refresh=True)
    assert_tables_equal_the_api(customer, rows)


def test_row_ids_are_refused_for_tables_without_them(
    customer: Sandbox, pipeline: dlt.Pipeline, load: Load, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dlt would add a column without nulls to stored rows, and fail in every later run. Load ids may be added."""
    load(include_configs=True)
    customer.edit_connector(TEAM, "A", name="edited")
    monkeypatch.setenv(f"{NORMALIZER}ID", "true")
    with refused(customer, "add_dlt_id is on, but connector_configurations was loaded without it"):
        pipeline.run(make_source(customer))
    monkeypatch.delenv(f"{NORMALIZER}ID")
    monkeypatch.setenv(f"{NORMALIZER}LOAD_ID", "true")
    (load_id,) = load(include_configs=True).loads_ids
    assert_tables_equal_the_api(customer, rows)
    assert rows("connectors", "_dlt_load_id", where="name = 'edited'") == [(load_id,)]


@pytest.mark.parametrize(
    "settings",
    [
        {
            "NORMALIZE__LOADER_FILE_FORMAT": "jsonl",
            "LOAD__TRUNCATE_STAGING_DATASET": "true",
            "LOAD__DELETE_COMPLETED_JOBS": "true",
            "EXTRACT__NEXT_ITEM_MODE": "round_robin",
            "RESTORE_FROM_DESTINATION": "false",
        },
        {
            "NORMALIZE__WORKERS": "1",
            "LOAD__WORKERS": "1",
            "EXTRACT__MAX_PARALLEL_ITEMS": "1",
            "NORMALIZE__DATA_WRITER__FILE_MAX_ITEMS": "1",
            "DATA_WRITER__BUFFER_MAX_ITEMS": "1000",
            "DESTINATION__REPLACE_STRATEGY": "insert-from-staging",
        },
    ],
    ids=["formats", "sizes"],
)
def test_other_settings_of_dlt_are_the_users_to_choose(
    customer: Sandbox, load: Load, rows: Rows, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str]
) -> None:
    """Tables equal the API."""
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    for _ in range(2):
        load(include_configs=True)
        assert_tables_equal_the_api(customer, rows)
        change(customer)


def test_no_setting_is_left_in_the_process(customer: Sandbox, pipeline: dlt.Pipeline, new_worker: NewWorker) -> None:
    """`dlt.config` belongs to every pipeline of the process; sections of the source and of this pipeline do not."""
    before = _process_settings()
    pipeline.run(make_source(customer))
    settings: dict[str, Any] = {"team_ids": [TEAM, 5], "api_key": customer.token, "base_url": customer.url}
    command_line = new_worker()
    with pytest.raises(Exception, match="HTTP 403"):
        run_load(command_line, **settings)
    assert command_line.config.enable_runtime_trace is pipeline.config.enable_runtime_trace is True
    after = _process_settings()
    for settings in after:
        settings.pop(pipeline.pipeline_name, None)
        settings.get("sources", {}).pop("supermetrics_connectors", None)
        if not settings.get("sources", True):
            settings.pop("sources")
    assert after == before


def _process_settings() -> list[dict[str, Any]]:
    providers = Container()[PluggableRunContext].providers.providers
    return [deepcopy(getattr(provider, "_config_doc", {})) for provider in providers]


# --- tables that somebody changed -------------------------------------------------------------------------------------

LOST: list[dict[str, str]] = [
    {"team_syncs": "error_message", "connectors": "name", "connector_versions": "beta"},
    {"connectors": "beta", "connector_versions": "name", "connector_configurations": "version"},
    {"connectors": "content_hash", "connector_versions": "content_hash"},
    {"connectors": "_deleted"},
]


@pytest.mark.parametrize("how", ["drop column {0}", "rename column {0} to my_{0}"], ids=["dropped", "renamed"])
def test_a_column_that_somebody_dropped_or_renamed_comes_back(
    customer: Sandbox, load: Load, query: Query, rows: Rows, how: str
) -> None:
    """With its values, in the rows of unchanged connectors too."""
    customer.edit_connector(TEAM, "C", beta=1)
    load(include_configs=True)
    for columns in LOST[::2] if how.startswith("drop") else LOST[1::2]:
        for table, column in columns.items():
            query(f"alter table {table} {how.format(column)}")
        if "beta" in columns.values():
            change(customer)
        load(include_configs=True)
        assert_tables_equal_the_api(customer, rows)
        for table, column in columns.items():
            assert column in {name for name, *_ in query(f"describe {table}")}
        of_c = "connector_identifier = 'C' and team_id = 936506"
        for table, where in (("connectors", of_c), ("connector_versions", f"{of_c} and _dlt_valid_to is null")):
            assert rows(table, "name", "beta", "content_hash is null", where=where) == [("Name C", 1, False)]
    load(include_configs=True)
    assert_tables_equal_the_api(customer, rows)


def test_without_a_column_that_identifies_rows_the_run_is_refused(
    customer: Sandbox, load: Load, query: Query, rows: Rows, pipeline: dlt.Pipeline
) -> None:
    """The error says what to do, and does not depend on whether anything changed."""
    load(include_configs=True)
    change(customer)
    for table, column in (
        ("team_syncs", "team_id"),
        ("team_syncs", "started_at"),
        ("team_syncs", "status"),
        ("team_syncs", "_dlt_load_id"),
        ("connectors", "connector_identifier"),
        ("connector_versions", "version_id"),
        ("connector_configurations", "_dlt_valid_to"),
    ):
        query(f"alter table {table} rename column {column} to lost")
        with refused(customer, f"The table {table} has no column {column}, .* Restore the column"):
            pipeline.run(make_source(customer))
        query(f"alter table {table} rename column lost to {column}")
    load(include_configs=True)
    assert_tables_equal_the_api(customer, rows)


@pytest.mark.usefixtures("customer")
def test_a_sync_of_an_interrupted_load_is_corrected_once(load: Load, query: Query, rows: Rows) -> None:
    """The corrected row replaces the earlier one. An emptied or dropped `_dlt_loads` corrects nothing."""
    load()
    (interrupted,) = load().loads_ids
    query(f"delete from _dlt_loads where load_id = '{interrupted}'")
    load()
    expected = [("failed", False), ("failed", False), *[("ok", True)] * 4]
    assert rows("team_syncs", "status", "error_message is null") == expected
    failed = rows("team_syncs", "*", where="status = 'failed'")
    for statement in ("delete from _dlt_loads", "drop table _dlt_loads"):
        query(statement)
        for _ in range(2):
            load()
    assert rows("team_syncs", "*", where="status = 'failed'") == failed
    assert rows("team_syncs", "count(*)", "count(distinct (team_id, started_at))") == [(14, 14)]
    query("drop table team_syncs")
    load()
    assert rows("team_syncs", "status") == [("ok",), ("ok",)]


# --- parts of the source ----------------------------------------------------------------------------------------------


def test_rows_that_a_filter_a_limit_or_a_map_left_out_come_with_the_next_run(
    customer: Sandbox, rows: Rows, pipeline: dlt.Pipeline, load: Load, database: Path
) -> None:
    """A sample first, everything then; and in one later run no rows."""
    sample, nothing = make_source(customer), make_source(customer)
    sample.add_limit(1)
    sample.connectors.add_map(lambda table: table.slice(0, 1))
    for table in COMPARED:
        nothing.resources[table].add_filter(lambda _table: False)
    for source in (sample, nothing):
        pipeline.run(source)
        load(include_configs=True)
        assert_right(customer, rows, database)
        change(customer)


def test_dlt_s_own_refresh_loads_everything_again(
    customer: Sandbox, load: Load, rows: Rows, pipeline: dlt.Pipeline
) -> None:
    """Users of dlt know `refresh`: it drops or empties the tables that exist when the run begins."""
    load(include_configs=True)
    modes: list[Any] = ["drop_sources", "drop_resources", "drop_data"]
    for refresh in modes:
        change(customer)
        pipeline.run(make_source(customer), refresh=refresh)
        assert_tables_equal_the_api(customer, rows)


def test_single_tables_can_be_selected(
    customer: Sandbox, rows: Rows, pipeline: dlt.Pipeline, load: Load, query: Query, destination: Any
) -> None:
    """`with_resources` loads less. Another table comes whole when it is selected, and no other table is read."""
    resources = {"connectors", "connector_configurations"}
    pipeline.run(make_source(customer).with_resources(*resources))
    assert set(pipeline.default_schema.data_table_names()) == resources
    assert len(customer.requests) == len(customer.team_ids)
    load(include_configs=True)
    assert_tables_equal_the_api(customer, rows)
    for table in HISTORIES:
        query(f"alter table {table} rename column _dlt_valid_to to unreadable")
    log = dlt.pipeline("log", destination=destination, dataset_name="supermetrics")
    log.run(make_source(customer, TEAM).with_resources("team_syncs"))
    assert rows("team_syncs", "status", "connectors_changed") == [("ok", 0)] * 2 + [("ok", None)]


def test_a_table_that_was_not_selected_is_no_change_later(
    customer: Sandbox, pipeline: dlt.Pipeline, rows: Rows
) -> None:
    """The first listing that is compared with the configurations is their baseline."""
    pipeline.run(make_source(customer).with_resources("connectors", "connector_versions", "team_syncs"))
    pipeline.run(make_source(customer))
    assert create_changes_view(pipeline)
    assert rows("connector_changes", "change", where="not baseline") == []


def test_the_view_reads_the_tables_under_their_new_names(
    customer: Sandbox, pipeline: dlt.Pipeline, rows: Rows, load: Load
) -> None:
    """A view of earlier names would go on reading the earlier tables."""
    load(include_configs=True)
    assert create_changes_view(pipeline)
    for undo in (change(customer), None):
        source = make_source(customer)
        for table in COMPARED:
            source.resources[table].apply_hints(table_name=f"our_{table}")
        pipeline.run(source)
        if undo:
            undo()
    assert create_changes_view(pipeline)
    assert rows("connector_changes", "change", where="not baseline") != []


def test_a_column_that_a_map_leaves_out_stays_out(customer: Sandbox, pipeline: dlt.Pipeline, rows: Rows) -> None:
    """A run without a change writes no version again."""
    for _ in range(3):
        source = make_source(customer)
        source.connector_versions.add_map(lambda table: table.drop_columns(["description"]))
        pipeline.run(source)
    assert len(rows("connector_versions", "team_id")) == 6


def test_resources_can_be_read_without_a_pipeline(customer: Sandbox) -> None:
    """Nothing is loaded, and so everything is listed."""
    (table,) = list(make_source(customer, TEAM).connectors)
    assert table["connector_identifier"].to_pylist() == ["A", "B", "C"]


def test_dev_mode_begins_with_an_empty_dataset_in_each_run(
    customer: Sandbox, database: Path, tmp_path: Path, destination: Any
) -> None:
    """Each dataset for trials holds a whole load."""
    for number in range(2):
        folder = str(tmp_path / f"trial_{number}")
        pipeline = dlt.pipeline("trial", folder, destination=destination, dataset_name="trial", dev_mode=True)
        pipeline.run(make_source(customer))
        assert_tables_equal_the_api(customer, rows_of(Warehouse(database, pipeline.dataset_name)))
