"""Opens a loaded dataset read-only and answers SQL: the destination's own, or DuckDB's for tables in files."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.dataset as arrow_dataset
import sqlglot
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.destinations.exceptions import DatabaseException, DatabaseUndefinedRelation
from dlt.destinations.impl.duckdb.configuration import DuckDbCredentials
from dlt.destinations.impl.filesystem.filesystem import FilesystemClient
from dlt.destinations.sql_client import SqlClientBase
from pyarrow import parquet
from sqlglot import expressions

from supermetrics_connectors.interface import (
    CHANGES_VIEW,
    SNAPSHOT_COLUMN,
    TABLES,
    DestinationStrategy,
    MissingTableError,
    SupermetricsConfigurationError,
    changes_query,
    choose_strategy,
    open_delta_tables,
    open_files,
    parse_json,
    to_utc,
    use_utc,
)

from ..run.pipeline import database_file, make_destination, named_dataset, refuse_ambiguous_names
from .errors import NothingLoadedError, ReadError

LOADS = "_dlt_loads"
"""dlt's table of completed load packages."""
_ONE_THREAD = ["SET threads = 1"] if duckdb.__version__.startswith("1.") else []
_PARAMETER = re.compile(r"(?<![:\w\\]):(?=\w+(?![\w:]))")
"""What SQLAlchemy takes for a parameter."""


class QueryResult(NamedTuple):
    """The answer to a query.

    Attributes:
        columns: Names of the columns.
        rows: Values in the order of the columns.
    """

    columns: list[str]
    rows: Sequence[Sequence[Any]]


class Dataset:
    """A dataset that is open for reading.

    Attributes:
        name: Its name.
        location: Its destination, without credentials.
        dialect: sqlglot's name of its SQL, such as `duckdb` or `postgres`.
        strategy: How the dataset is written.
        is_guarded: Whether the session itself refuses writes.
        file: The file of the database; None where there is a server or a folder.
    """

    def __init__(self, name: str, client: SqlClientBase[Any], location: str, strategy: DestinationStrategy) -> None:
        self.name, self.location, self.strategy = name, location, strategy
        self.dialect = client.capabilities.sqlglot_dialect or ""
        self.file = database_file(client.credentials, name)
        self._client = client
        self._columns: dict[str, list[str]] = {}
        is_file = isinstance(client.credentials, DuckDbCredentials)
        self.is_guarded = is_file or self.dialect in ("postgres", "sqlite", "mysql")
        self._set_up()

    def table(self, name: str) -> str:
        """The qualified name of a table, as SQL."""
        return self._client.make_qualified_table_name(name)

    def column(self, name: str) -> str:
        """The quoted name of a column, as SQL."""
        return self._client.escape_column_name(name)

    def query(self, sql: str, *values: Any) -> QueryResult:
        """Answers a query.

        Args:
            sql: SQL of the dialect, with `%s` for each value.
            values: The values.

        Raises:
            MissingTableError: A table does not exist.
        """
        sql = _PARAMETER.sub(r"\\:", sql) if self.dialect in ("sqlite", "mysql") else sql
        try:
            with self._client.execute_query(sql, *values) as cursor:
                return QueryResult(_column_names(cursor.native_cursor), cursor.fetchall())
        except DatabaseUndefinedRelation as error:
            raise MissingTableError(str(error)) from None

    def json_text(self, column: str) -> str:
        """SQL for a JSON column as text, which keeps every digit of its numbers."""
        return self.strategy.json_text.format(column)

    def columns(self, table: str) -> list[str]:
        """The table's columns in the destination, in lower case; empty if the table does not exist."""
        if table not in self._columns:
            try:
                names, _ = self.query(f"SELECT * FROM {self.table(table)} WHERE 1 = 0")  # noqa: S608 - our own names
            except MissingTableError:
                names = []
            self._columns[table] = [name.lower() for name in names]
        return self._columns[table]

    def api_columns(self, table: str) -> list[str]:
        """The columns of a table that hold fields of the API, without those that identify the connector."""
        spec = TABLES[table]
        own = {column.name for column in spec.columns if not column.is_api_field or column.name in spec.key}
        return [name for name in self.columns(table) if name not in own and not name.startswith("_dlt")]

    def fields(self, table: str, names: Sequence[str], values: Sequence[Any]) -> dict[str, Any]:
        """The API's fields in a row of a table, by name.

        Args:
            table: The table.
            names: Some of its `api_columns`.
            values: Their values. A declared time becomes UTC, although SQLite stores text and MySQL no zone; an added
                JSON object or list is parsed.
        """
        types = {column.name: column.type for column in TABLES[table].columns}
        return {name: _field(value, types.get(name)) for name, value in zip(names, values, strict=True)}

    def has(self, table: str) -> bool:
        """Whether the table or view exists."""
        return bool(self.columns(table))

    def require(self, table: str) -> None:
        """Makes sure that a table exists.

        Raises:
            NothingLoadedError: It does not.
        """
        if not self.has(table):
            raise NothingLoadedError(self.name, self.location)

    @cached_property
    def tables(self) -> list[str]:
        """Names of the existing tables and views that this project documents."""
        return [name for name in (*TABLES, CHANGES_VIEW) if self.has(name)]

    @cached_property
    def complete_sync(self) -> str:
        """SQL condition on a row of `team_syncs`: the listing was complete and its load package is complete.

        Without a row in `_dlt_loads` nothing is concluded from that table.
        """
        if not self.has(LOADS) or not self.query(f"SELECT COUNT(*) FROM {self.table(LOADS)}").rows[0][0]:  # noqa: S608 - our own names
            return "status = 'ok'"
        return f"status = 'ok' AND _dlt_load_id IN (SELECT load_id FROM {self.table(LOADS)} WHERE status = 0)"  # noqa: S608 - our own names

    @property
    def changes_query(self) -> str:
        """The SELECT of `connector_changes`, for a dataset without the view."""
        return changes_query(self.table, self.column, self.strategy.json_constant.format, has_loads=self.has(LOADS))

    def answer(self, sql: str) -> QueryResult:
        """Answers a query of the user, in which tables need no schema.

        Raises:
            ReadError: The database refused it.
        """
        try:
            return self.query(self._qualified(sql))
        except (DatabaseException, MissingTableError) as error:
            raise ReadError(str(error).strip()) from None

    def _set_up(self) -> None:
        statements = {
            # in DuckDB 1.4, threads that share a window function may fail with an internal error
            "duckdb": ["SET TimeZone = 'UTC'", "SET python_enable_replacements = false", *_ONE_THREAD],
            "sqlite": ["PRAGMA query_only = ON"],
            "mysql": ["SET SESSION TRANSACTION READ ONLY", f"USE {self._client.fully_qualified_dataset_name()}"],
        }
        try:
            for statement in statements.get(self.dialect, ()):
                self._client.execute_sql(statement)
        except DatabaseUndefinedRelation:  # MariaDB's databases are the datasets
            raise NothingLoadedError(self.name, self.location) from None

    def _qualified(self, sql: str) -> str:
        """ClickHouse has no schemas: dlt writes the dataset into each table's name."""
        if self.dialect != "clickhouse":
            return sql
        tree = sqlglot.parse_one(sql, read=self.dialect)
        for table in list(tree.find_all(expressions.Table)):
            if table.name in self.tables and not table.db:
                name = sqlglot.to_table(self.table(table.name), dialect=self.dialect)
                table.replace(expressions.alias_(name, table.alias_or_name, table=True))
        return tree.sql(dialect=self.dialect)


@contextmanager
def open_dataset(destination: Any, dataset: str, *, allow_snapshots: bool = False) -> Iterator[Dataset]:
    """Opens a dataset read-only: no file is made, and other processes can read a DuckDB file at the same time.

    Args:
        destination: A dlt destination, or its name as for `make_pipeline`.
        dataset: The dataset's name.
        allow_snapshots: Whether the dataset may hold snapshots instead of a mirror of the API.

    Raises:
        NothingLoadedError: There is no such file or folder.
        SupermetricsConfigurationError: The dataset holds snapshots, or its name is not the destination's.
    """
    if destination == "duckdb":
        refuse_ambiguous_names(dataset)
    target = make_destination(destination)
    named = named_dataset(target, dataset)
    client: Any = named.destination_client
    if isinstance(client, FilesystemClient):
        with client, _open_files(client, target, dataset) as data:
            yield _checked(data, allow_snapshots)
        return
    location = str(client.config)
    credentials = client.config.credentials
    if isinstance(credentials, DuckDbCredentials):
        credentials.read_only = True
    file = database_file(credentials, dataset)
    if file and not file.exists():
        raise NothingLoadedError(dataset, location)
    sql_client = use_utc(named.sql_client)
    if sql_client.capabilities.sqlglot_dialect == "postgres":  # a startup option, as it outlasts a reset
        options = credentials.get_query().get("options", "")
        credentials.query = {**(credentials.query or {}), "options": f"{options} -cdefault_transaction_read_only=on"}
    strategy = choose_strategy(target, snapshot=allow_snapshots)
    with sql_client:
        yield _checked(Dataset(dataset, sql_client, location, strategy), allow_snapshots)


@contextmanager
def _open_files(client: FilesystemClient, target: Any, dataset: str) -> Iterator[Dataset]:
    """The Delta tables of a dataset, or else its plain files."""
    location = client.make_remote_url(client.dataset_path)
    deltas = open_delta_tables(client, TABLES)
    tables = {name: table.to_pyarrow_dataset() for name, table in deltas.items()}
    tables = tables or {name: _parquet(client.fs_client, files) for name in TABLES if (files := _files(client, name))}
    if not tables:
        raise NothingLoadedError(dataset, location)
    strategy = choose_strategy(target, "delta" if deltas else None, snapshot=not deltas)
    with open_files(client, tables) as database:
        data = Dataset(client.dataset_name, database.sql_client, location, strategy)
        with suppress(MissingTableError):  # a table of a history
            data.query(f"CREATE VIEW {data.table(CHANGES_VIEW)} AS {data.changes_query}")
        yield data


def _files(client: FilesystemClient, table: str) -> list[str]:
    with suppress(FileNotFoundError, DestinationUndefinedEntity):
        return [file for file in client.list_table_files(table) if file.endswith(".parquet")]
    return []


def _parquet(file_system: Any, files: list[str]) -> Any:
    """Plain files as one Arrow dataset; a column that an older file lacks is null in its rows."""
    schemas = [parquet.read_schema(file_system.open(file)) for file in files]
    schema = pa.unify_schemas(schemas, promote_options="permissive")
    return arrow_dataset.dataset(files, schema, format="parquet", filesystem=file_system)


def _column_names(cursor: Any) -> list[str]:
    """Names of a cursor's columns, of which two may be equal."""
    return list(cursor.keys()) if hasattr(cursor, "keys") else [column[0] for column in cursor.description or ()]


def _field(value: Any, declared: pa.DataType | None) -> Any:
    if isinstance(value, datetime) or (declared and pa.types.is_timestamp(declared)):
        return to_utc(value)
    if not declared and isinstance(value, str) and value.startswith(("{", "[")):
        with suppress(ValueError):
            return parse_json(value)
    return value


def _checked(data: Dataset, allow_snapshots: bool) -> Dataset:
    if not allow_snapshots and SNAPSHOT_COLUMN.name in data.columns("connectors"):
        raise SupermetricsConfigurationError(
            f"{data.location} holds snapshots: each run appends its full listing. Only `sql` reads snapshots; other "
            "commands read a mirror of the API. Load without --snapshot into another dataset (--dataset)"
        )
    return data
