"""The destinations that can be run for real on one machine, each as a place to load to and to ask what is there."""

from __future__ import annotations

import contextlib
import importlib.resources
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pyarrow as pa
from dlt.common.configuration.specs import ConnectionStringCredentials
from dlt.destinations.exceptions import DatabaseUndefinedRelation
from dlt.destinations.impl.ducklake.configuration import DuckLakeCredentials

from supermetrics_connectors.interface import CHANGES_VIEW, use_utc
from supermetrics_loader.read.dataset import open_dataset
from supermetrics_loader.read.diff import VersionDiff, compare_versions
from supermetrics_loader.report.page import make_page
from supermetrics_loader.run.load import run_load
from supermetrics_loader.run.result import LoadResult
from tests.helpers.report_data import Page
from tests.helpers.sandbox import Sandbox
from tests.helpers.warehouse import KEYS, Warehouse

PIPELINE = "suite"
"""The name of the pipeline of a place, which its staging dataset has too."""


def destination_at(uri: str, **settings: Any) -> Any:
    """Dlt's destination of an address."""
    kind, _, rest = uri.partition(":")
    if kind == "ducklake":
        folder, _, server = rest.partition("?")
        catalog = _postgres_catalog(server) if server else f"sqlite:///{folder}/catalog.sqlite"
        credentials = DuckLakeCredentials("lake", catalog=catalog, storage=f"{folder}/lake")
        credentials.global_config = {"extension_directory": _extensions(Path(folder))}
        return dlt.destinations.ducklake(credentials, **settings)
    if kind == "duckdb":
        return dlt.destinations.duckdb(rest, **settings)
    if kind == "bigquery":
        anybody: Any = {"project_id": rest, "private_key": "none", "client_email": "nobody@localhost"}
        return dlt.destinations.bigquery(anybody, **settings)
    if kind == "snowflake":
        return dlt.destinations.snowflake(uri, **settings)
    if kind == "clickhouse":
        return dlt.destinations.clickhouse(uri, **settings)
    if kind == "file":
        return dlt.destinations.filesystem(rest)
    if kind in ("sqlite", "mysql+pymysql"):
        return dlt.destinations.sqlalchemy(uri, **settings)
    return dlt.destinations.postgres(uri, **settings)


def _postgres_catalog(folder: str) -> Any:
    """The catalog for many writers, in the server with its socket in this folder."""
    return ConnectionStringCredentials(f"postgresql://postgres:x@localhost/postgres?host={folder}")


def _extensions(folder: Path) -> str:
    """DuckDB's extensions as it would have downloaded them, from the packages that carry them."""
    connection = duckdb.connect()
    ((platform,),) = connection.execute("PRAGMA platform").fetchall()
    for package, name in {"ducklake": "ducklake", "sqlite": "sqlite_scanner", "postgres": "postgres_scanner"}.items():
        found = importlib.resources.files(f"duckdb_extension_{package}") / "extensions"
        for version in found.iterdir():
            target = folder / "extensions" / version.name / platform
            target.mkdir(parents=True, exist_ok=True)
            link = target / f"{name}.duckdb_extension"
            with contextlib.suppress(FileExistsError):
                link.symlink_to(str(version / f"{package}.duckdb_extension"))
    return str(folder / "extensions")


@dataclass
class Place:
    """Where a test loads to.

    Attributes:
        name: For messages.
        destination: Makes dlt's destination anew.
        folder: For the working folders.
        settings: Arguments of the source that it needs.
        uri: For another process to find it.
    """

    name: str
    destination: Callable[[], Any]
    folder: Path
    settings: dict[str, Any] = field(default_factory=dict)
    uri: str = ""
    workers: int = 0
    _clients: dict[str, Any] = field(default_factory=dict)

    def read(self, team_id: int, connector: str, dataset: str = "supermetrics") -> tuple[Page, VersionDiff]:
        """What every reader of a dataset says: the report, and the last two versions of a connector's configuration."""
        page = make_page(self.destination(), dataset)
        with open_dataset(self.destination(), dataset) as data:
            difference = compare_versions(data, team_id, connector)
        return Page(page), difference

    def execute(self, sql: str) -> None:
        """Has the database do something."""
        with self.pipeline().sql_client() as client:
            client.execute_sql(sql)

    def pipeline(self, name: str = PIPELINE, dataset: str = "supermetrics") -> dlt.Pipeline:
        """The pipeline as on another machine: its working folder is empty."""
        self.workers += 1
        folder = str(self.folder / f"worker_{self.workers}")
        return dlt.pipeline(name, destination=self.destination(), dataset_name=dataset, pipelines_dir=folder)

    def load(self, sandbox: Sandbox, on: dlt.Pipeline | None = None, **settings: Any) -> LoadResult:
        """Loads every team of the sandbox, on a fresh machine unless said otherwise."""
        return run_load(on or self.pipeline(), **{**self.given(sandbox), **settings})

    def given(self, sandbox: Sandbox) -> dict[str, Any]:
        """The settings that lead to the sandbox and suit the destination."""
        return {
            "team_ids": sandbox.team_ids,
            "api_key": sandbox.token,
            "base_url": sandbox.url,
            "include_configs": True,
            "request_backoff_factor": 0,
            **self.settings,
        }

    def rows(self, table: str, dataset: str = "supermetrics") -> list[dict[str, Any]]:
        """The rows of a table; none of one that is not there."""
        if self.settings.get("table_format") == "delta":
            if table == CHANGES_VIEW:
                return self._changes_of_files(dataset)
            stored = self.stored(table, dataset)
            return [_plain(row) for row in stored.to_pylist()] if stored is not None else []
        if dataset not in self._clients:  # to make one takes longer than to read by it
            self._clients[dataset] = use_utc(self.pipeline(dataset=dataset).sql_client())
        with self._clients[dataset] as client:
            try:
                with client.execute_query(f"SELECT * FROM {client.make_qualified_table_name(table)}") as cursor:
                    native: Any = cursor.native_cursor
                    described = native.keys() if hasattr(native, "keys") else (each[0] for each in cursor.description)
                    names = [name.lower() for name in described]  # which Snowflake has in capitals
                    return [_plain(dict(zip(names, row, strict=True))) for row in cursor.fetchall()]
            except DatabaseUndefinedRelation:
                return []

    def _changes_of_files(self, dataset: str) -> list[dict[str, Any]]:
        """The changes of Delta tables, which have no view."""
        with open_dataset(self.destination(), dataset) as data:
            names, rows = data.query(data.changes_query)
        return [_plain(dict(zip(names, row, strict=True))) for row in rows]

    def read_parquet(self, table: str) -> list[dict[str, Any]]:
        """The rows of a table's plain files, oldest load first, read without dlt's help."""
        import pyarrow.parquet as pq

        with self.pipeline().destination_client() as client:
            files: Any = client
            paths = sorted(files.fs_client.glob(f"{files.dataset_path.rstrip('/')}/{table}/*.parquet"))
            return [row for path in paths for row in pq.read_table(files.fs_client.open(path)).to_pylist()]

    def value_in_json(self, tables: Any) -> str:
        """`a` of the one configuration, by the SQL of the destination."""
        assert "connector_configurations" in tables
        expression = {
            "duckdb": "configuration_json->>'a'",
            "ducklake": "configuration_json->>'a'",
            "postgres": "configuration_json->>'a'",
            "sqlite": "json_extract(configuration_json, '$.a')",
            "delta": "configuration_json->>'a'",
            "snowflake": "parse_json(configuration_json):a",
            "bigquery": "json_value(configuration_json, '$.a')",
            "clickhouse": "JSONExtractInt(configuration_json, 'a')",
            "mariadb": "json_value(configuration_json, '$.a')",
        }[self.name]
        pipeline = self.pipeline()
        with pipeline.sql_client() as client:
            table = client.make_qualified_table_name("connector_configurations")
            if self.name == "delta":
                stored = self.stored("connector_configurations")  # noqa: F841 - DuckDB finds it by its name
                return str(duckdb.execute(f"SELECT {expression} FROM stored").fetchall()[0][0])
            rows = client.execute_sql(f"SELECT {expression} FROM {table}")
        assert rows is not None
        return str(rows[0][0])

    def stored(self, table: str, dataset: str = "supermetrics") -> Any:
        """A Delta table as an Arrow table; None where there is none."""
        from deltalake import DeltaTable

        path = f"{self.uri.partition(':')[2]}/{dataset}/{table}"
        return DeltaTable(path).to_pyarrow_table() if DeltaTable.is_deltatable(path) else None

    def add_copies(self, table: str) -> None:
        """Adds each row of a table once more, as if another load had written it."""
        if self.name == "delta":
            from deltalake import write_deltalake

            stored = self.stored(table)
            loads = pa.repeat("copy", stored.num_rows)
            copies = stored.set_column(stored.schema.get_field_index("_dlt_load_id"), "_dlt_load_id", loads)
            write_deltalake(f"{self.uri.partition(':')[2]}/supermetrics/{table}", copies, mode="append")
            return
        columns = [name for name in self.rows(table)[0] if name != "_dlt_load_id"]
        with self.pipeline().sql_client() as client:
            name, names = client.make_qualified_table_name(table), ", ".join(columns)
            client.execute_sql(f"INSERT INTO {name} ({names}, _dlt_load_id) SELECT {names}, 'copy' FROM {name}")

    def copied(self, path: Path, dataset: str = "supermetrics") -> Warehouse:
        """The tables as they are, in a DuckDB file: whatever is asked of them is asked in one way."""
        path.unlink(missing_ok=True)
        with duckdb.connect(str(path)) as connection:
            connection.execute("create schema supermetrics; set schema = 'supermetrics'")
            for table in KEYS:
                if rows := self.rows(table, dataset):
                    texts = [{name: _as_text(value) for name, value in row.items()} for row in rows]
                    connection.register("copied_rows", _typed(pa.Table.from_pylist(texts)))
                    connection.execute(f"create table {table} as from copied_rows")
        return Warehouse(path)


def _typed(table: pa.Table) -> pa.Table:
    """Columns in which everything is null with the type that they have otherwise."""
    moment = pa.timestamp("us", tz="UTC")
    types = {field.name: moment if field.name.endswith(("_at", "_to")) else pa.string() for field in table.schema}
    fields = [f.with_type(types[f.name]) if pa.types.is_null(f.type) else f for f in table.schema]
    return table.cast(pa.schema(fields))


def _as_text(value: Any) -> Any:
    """What a driver has parsed of JSON as text again."""
    return json.dumps(value) if isinstance(value, (dict, list)) else value


_DROP = {
    "postgres": (
        "SELECT nspname FROM pg_namespace WHERE nspname NOT LIKE 'pg_%' AND nspname <> 'information_schema'",
        'DROP SCHEMA "{}" CASCADE',
    ),
    "mariadb": (
        "SELECT schema_name FROM information_schema.schemata WHERE schema_name NOT RLIKE '^(mysql|sys|.*_schema)$'",
        "DROP DATABASE `{}`",
    ),
    "snowflake": (
        "SELECT schema_name FROM information_schema.schemata WHERE schema_name LIKE 'SUPERMETRICS%'",
        "DROP SCHEMA {} CASCADE",
    ),
    "clickhouse": ("SELECT name FROM system.tables WHERE database = 'default'", "DROP TABLE {} SYNC"),
}


def empty(place: Place) -> None:
    """Drops all datasets of a server that tests share."""
    if place.name == "bigquery":
        with place.pipeline().sql_client() as client:
            project: Any = client.native_connection
            for dataset in project.list_datasets():
                project.delete_dataset(dataset.dataset_id, delete_contents=True)
    if place.name in _DROP:
        find, drop = _DROP[place.name]
        with place.pipeline().sql_client() as client:
            for (name,) in client.execute_sql(find) or ():
                client.execute_sql(drop.format(name))


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """Timestamps in UTC whatever the session's zone; JSON as text."""
    return {name: _in_utc(name, value) for name, value in row.items()}


def _in_utc(name: str, value: Any) -> Any:
    if isinstance(value, Decimal):  # Snowflake's whole numbers
        return int(value)
    if isinstance(value, str) and name.endswith(("_at", "_from", "_to", "_time")):  # SQLite has no type for it
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        return value.replace(tzinfo=timezone.utc) if value.tzinfo is None else value.astimezone(timezone.utc)
    return value


def parsed(value: Any) -> Any:
    """A JSON column's value: text, or what the driver made of it."""
    return json.loads(value) if isinstance(value, str) else value
