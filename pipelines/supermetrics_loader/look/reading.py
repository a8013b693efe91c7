"""A dataset that was loaded, open to be read: by its destination's SQL, or by DuckDB's where it is Delta tables."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import duckdb
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.destinations.exceptions import DatabaseUndefinedRelation
from dlt.destinations.impl.duckdb.configuration import DuckDbCredentials
from dlt.destinations.impl.filesystem.filesystem import FilesystemClient
from dlt.destinations.sql_client import SqlClientBase

from supermetrics_connectors.exceptions import SupermetricsConfigurationError
from supermetrics_connectors.tables.contracts import CONTRACTS, SNAPSHOT_AT
from supermetrics_connectors.tables.sessions import in_utc
from supermetrics_connectors.tables.stored import MissingTableError
from supermetrics_connectors.tables.strategies import Strategy, choose

from ..run.targets import database_file, make_destination, named_dataset, refuse_ambiguous_names

Answer = tuple[list[str], Sequence[Sequence[Any]]]
"""Names of columns, and rows."""


class NothingLoadedError(Exception):
    """There is nothing to read yet.

    Args:
        dataset: The dataset.
        location: Where it would be, without credentials.
    """

    def __init__(self, dataset: str, location: str) -> None:
        super().__init__(
            f"Nothing has been loaded to the dataset {dataset} of {location}.\n"
            "Load something first, such as: supermetrics-connectors load --sandbox --include-configs"
        )


class Data(Protocol):
    """What can be asked.

    Attributes:
        location: Where it is, without credentials.
        strategy: How it was written.
        dialect: sqlglot's name of its SQL.
    """

    location: str
    strategy: Strategy
    dialect: str

    def table(self, name: str) -> str:
        """A table's name as it is written in SQL."""

    def column(self, name: str) -> str:
        """A column's name, quoted."""

    def ask(self, sql: str, *values: Any) -> Answer:
        """The answer to a query.

        Args:
            sql: With `%s` for each value.
            values: The values.

        Raises:
            MissingTableError: There is no such table.
        """


class _SqlData:
    """Tables of a database."""

    def __init__(self, client: SqlClientBase[Any], location: str, strategy: Strategy) -> None:
        self.location, self.strategy = location, strategy
        self.dialect: str = client.capabilities.sqlglot_dialect or ""
        self._client = client

    def table(self, name: str) -> str:
        return self._client.make_qualified_table_name(name)

    def column(self, name: str) -> str:
        return self._client.escape_column_name(name)

    def ask(self, sql: str, *values: Any) -> Answer:
        try:
            with self._client.execute_query(sql, *values) as cursor:
                return list(cursor.columns_schema), cursor.fetchall()
        except DatabaseUndefinedRelation as error:
            raise MissingTableError(str(error)) from None


class _DeltaData:
    """Delta tables: dlt would read them by an extension that DuckDB has to download."""

    dialect = "duckdb"

    def __init__(self, tables: dict[str, Any], location: str, strategy: Strategy) -> None:
        self.location, self.strategy = location, strategy
        self._connection = duckdb.connect()
        self._connection.execute("SET TimeZone = 'UTC'")
        for name, table in tables.items():
            self._connection.register(name, table.to_pyarrow_dataset())
        # Arrow would compare text with Delta's statistics, which have another layout, and fail
        self._connection.execute("SET disabled_optimizers = 'filter_pushdown'")

    def table(self, name: str) -> str:
        return name

    def column(self, name: str) -> str:
        return f'"{name}"'

    def ask(self, sql: str, *values: Any) -> Answer:
        try:
            cursor = self._connection.execute(sql.replace("%s", "?"), values)
        except duckdb.CatalogException as error:
            raise MissingTableError(str(error)) from None
        return [column[0] for column in cursor.description or ()], cursor.fetchall()


@contextmanager
def open_for_reading(destination: Any, dataset: str) -> Iterator[Data]:
    """Opens a dataset so that no file is made, and that others may read a DuckDB file at the same time.

    Args:
        destination: A dlt destination, or its name as for `make_pipeline`.
        dataset: Where the tables are.

    Raises:
        FileNotFoundError: There is no DuckDB or SQLite file, or no such dataset among the files; the text is where
            it should be.
        SupermetricsConfigurationError: The dataset holds snapshots, or its name is not the destination's.
    """
    if destination == "duckdb":
        refuse_ambiguous_names(dataset)
    target = make_destination(destination)
    data = named_dataset(target, dataset)
    client: Any = data.destination_client
    if isinstance(client, FilesystemClient):
        with client:
            yield _of_files(client, choose(target, None, "delta"))
        return
    location = str(client.config)
    credentials = client.config.credentials
    if isinstance(credentials, DuckDbCredentials):
        credentials.read_only = True
    file = database_file(credentials, dataset)
    if file and not file.exists():
        raise FileNotFoundError(location)
    strategy = choose(target, client.capabilities)
    with in_utc(data.sql_client) as sql_client:
        opened = _SqlData(sql_client, location, strategy)
        if SNAPSHOT_AT in columns(opened, "connectors"):
            raise _snapshots(location)
        yield opened


def columns(data: Data, table: str) -> list[str]:
    """The table's columns as the destination has them: of several pipelines' schemas dlt knows only the newest.

    None of a table that is not there.
    """
    try:
        names, _ = data.ask(f"SELECT * FROM {data.table(table)} WHERE 1 = 0")  # noqa: S608 - our own names
    except MissingTableError:
        return []
    return [name.lower() for name in names]


def _of_files(client: FilesystemClient, strategy: Strategy) -> Data:
    from supermetrics_connectors.tables.delta import open_table  # noqa: PLC0415 - deltalake is installed where needed

    # looked for by dlt's own client of the files: delta-rs has settings of its own for buckets, and waits for minutes
    logs = {name: client.pathlib.join(client.get_table_dir(name), "_delta_log") for name in CONTRACTS}
    tables = {str(name): open_table(client, name) for name, log in logs.items() if client.fs_client.exists(log)}
    location = client.make_remote_url(client.dataset_path)
    if not tables and _holds_files(client):
        raise _snapshots(location)
    if not tables:
        raise FileNotFoundError(location)
    return _DeltaData(tables, location, strategy)


def _holds_files(client: FilesystemClient) -> bool:
    try:
        return any(client.list_table_files(name) for name in CONTRACTS)
    except DestinationUndefinedEntity:
        return False


def _snapshots(location: str) -> SupermetricsConfigurationError:
    return SupermetricsConfigurationError(
        f"{location} holds snapshots, in which each run's full listing stands beside those before it. `report`, "
        "`changes` and `diff` read what is kept equal to the API: load without --snapshot, into another dataset "
        "(--dataset), or ask the snapshots themselves, as docs/destinations.md shows"
    )
