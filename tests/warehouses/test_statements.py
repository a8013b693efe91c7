"""Statements and amounts read by a run without changes: some warehouses bill them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.destinations import Place, destination_at, empty
from tests.helpers.expectations import configuration
from tests.helpers.sandbox import Sandbox
from tests.helpers.servers import WAREHOUSES

pytestmark = pytest.mark.filterwarnings("default")  # dlt's own use of the drivers warns

TABLES = ("connectors", "connector_versions", "connector_configurations")
COLUMNS = {
    *("team_id", "connector_identifier", "content_hash", "version_id", "_dlt_load_id"),
    *("_dlt_valid_from", "_dlt_valid_to"),
}
"""The columns that are read of the growing tables."""


@pytest.fixture(params=[*WAREHOUSES, "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A warehouse into which two teams are loaded, twice."""
    for section in ("DATA_WRITER", "NORMALIZE__DATA_WRITER"):  # BigQuery's emulator reads no compressed files
        monkeypatch.setenv(f"{section}__DISABLE_COMPRESSION", "true")
    uri = request.getfixturevalue(f"{request.param}_url")
    place = Place(request.param, lambda: destination_at(uri), tmp_path)
    sandbox: Sandbox = request.getfixturevalue("sandbox")
    for team in (1, 2):
        for number in range(50):
            sandbox.add_connector(team, f"C{number}", configuration=configuration(a="x" * 1000))
    place.load(sandbox)
    place.load(sandbox)
    yield place
    empty(place)


@contextmanager
def statements(place: Place) -> Iterator[list[str]]:
    """Collects the texts that dlt's SQL client executes in the block; several statements in one text count as one."""
    with place.pipeline().sql_client() as client:
        kind: Any = type(client)
    executed: list[str] = []
    execute = kind.execute_query

    def record(self: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
        executed.append(" ".join(str(query).split()))
        return execute(self, query, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(kind, "execute_query", record)
        yield executed


def test_an_unchanged_run_reads_few_columns_and_writes_only_its_sync(place: Place, sandbox: Sandbox) -> None:
    """One statement reads the three tables, whatever they hold."""
    with statements(place) as executed:
        place.load(sandbox)
    (read,) = [each.lower() for each in executed if re.search(r"\bas content\b", each, re.IGNORECASE)]
    words = {word for word in re.findall(r"\w+", read) if "_" in word and "supermetrics" not in word}
    assert words - {"row_kind", *TABLES} == COLUMNS, read
    assert "in (1, 2)" in read
    written = [
        each
        for each in executed
        if re.match(r"(insert|delete|copy|truncate|update|merge|composed)", each, re.IGNORECASE)
    ]
    assert written
    assert all(re.search("team_syncs|_dlt_loads", each, re.IGNORECASE) for each in written)
    assert not any(re.search("[^_]connectors[^_]|connector_(version|config)", each, re.IGNORECASE) for each in written)


@pytest.mark.parametrize("place", sorted({"bigquery", "clickhouse"} & {*WAREHOUSES}), indirect=True)
def test_tables_are_laid_out_by_team(place: Place) -> None:
    """A load of a few teams then reads only their rows."""
    with place.pipeline().sql_client() as client:
        native: Any = client.native_connection
        for table in TABLES:
            if place.name == "clickhouse":
                sql = f"SELECT sorting_key FROM system.tables WHERE name = 'supermetrics___{table}'"
                ((key,),) = client.execute_sql(sql) or ()
                assert re.match(r"\(?team_id\b", key)
            if place.name == "bigquery":
                assert native.get_table(f"supermetrics.{table}").clustering_fields == ["team_id"]


@pytest.mark.parametrize("place", sorted({"clickhouse"} & {*WAREHOUSES}), indirect=True)
def test_an_unchanged_run_reads_no_configurations(clickhouse_engine: Any, place: Place, sandbox: Sandbox) -> None:
    """ClickHouse counts the bytes; configurations are most of the stored bytes."""
    clickhouse_engine.statements.clear()
    place.load(sandbox)
    [size] = [size for sql, _, size in clickhouse_engine.statements if " AS content" in sql]
    stored = 100 * 1000
    assert 0 < size < stored / 2
