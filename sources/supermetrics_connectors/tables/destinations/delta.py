"""Delta tables: dlt merges their rows, but closes no versions. DuckDB reads them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.dataset.utils import get_destination_clients

from ...specs import CONNECTORS, HISTORIES, TIMESTAMP, VALID_TO, VALIDITY_COLUMNS, TableSpec
from ..target import Target
from .modes import UPSERT, WriteMode
from .reader import Reader
from .strategy import DestinationStrategy


@dataclass(frozen=True)
class DeltaStrategy(DestinationStrategy):
    """Delta tables of dlt's `filesystem` destination."""

    mode: WriteMode = UPSERT
    reason: str = "Delta tables merge but have no SCD2"
    table_format: str | None = "delta"

    def reader(self, target: Target) -> Reader:
        """See `DestinationStrategy`."""
        return Reader(target, open_client=_open_target)

    def ended_versions(
        self, reader: Reader, spec: TableSpec, version_ids: Sequence[str], at: datetime
    ) -> Iterable[pa.Table]:
        """See `DestinationStrategy`."""
        declared = {column.name: column.arrow_field for column in (*spec.columns, *VALIDITY_COLUMNS)}
        for found in reader.current_versions(spec, version_ids):
            rows = found.drop_columns([name for name in ("_dlt_load_id", "_dlt_id") if name in found.column_names])
            end = pa.repeat(pa.scalar(at, TIMESTAMP), rows.num_rows)
            rows = rows.set_column(rows.schema.get_field_index(VALID_TO), VALID_TO, end)
            yield rows.cast(pa.schema([declared.get(field.name, field) for field in rows.schema]))

    def deduplicate(self, target: Target) -> int:
        """See `DestinationStrategy`. Also deletes duplicates of current rows, which an upsert cannot replace."""
        reader = self.reader(target)
        with reader.connected():
            versions = {spec: reader.duplicates(spec) for spec in HISTORIES}
            keys = reader.duplicated_keys(CONNECTORS)
        for spec, rows in versions.items():
            _delete(target, spec, ("version_id", "_dlt_load_id"), rows)
        _delete(target, CONNECTORS, CONNECTORS.key, keys)
        return len(keys)


def _delete(target: Target, spec: TableSpec, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    conditions = (
        " AND ".join(f"{name} = {_literal(value)}" for name, value in zip(columns, row, strict=True)) for row in rows
    )
    if rows:
        with target.client() as client:
            _open_table(client, target.table(spec)).delete(f"({') OR ('.join(conditions)})")


def _literal(value: Any) -> str:
    return str(value) if isinstance(value, int) else f"'{value.replace(chr(39), chr(39) * 2)}'"


@contextmanager
def _open_target(target: Target) -> Iterator[Any]:
    with target.client() as client:
        tables = open_delta_tables(client, target.tables.values())
        with open_files(client, {name: table.to_pyarrow_dataset() for name, table in tables.items()}) as files:
            yield files


def open_delta_tables(client: Any, names: Iterable[str]) -> dict[str, Any]:
    """Opens the existing Delta tables of a dataset, each as `deltalake.DeltaTable`, by name.

    A table is found by its location, and not by dlt's stored schema.

    Args:
        client: dlt's client of the dataset's files.
        names: Names of tables.
    """
    # looked for by dlt's own client of the files: delta-rs has settings of its own for buckets, and waits for minutes
    logs = {name: client.pathlib.join(client.get_table_dir(name), "_delta_log") for name in names}
    return {name: _open_table(client, name) for name, log in logs.items() if client.fs_client.exists(log)}


def _open_table(client: Any, name: str) -> Any:
    from deltalake import DeltaTable  # noqa: PLC0415 - deltalake is installed where it is needed
    from dlt.common.libs.deltalake import deltalake_storage_options  # noqa: PLC0415 - imports deltalake

    options = deltalake_storage_options(client.config.credentials, client.config.deltalake_storage_options)
    return DeltaTable(client.get_open_table_location("delta", name), storage_options=options)


@contextmanager
def open_files(client: Any, tables: Mapping[str, Any]) -> Iterator[Any]:
    """Opens tables in files as a DuckDB database: dlt would read them by extensions that DuckDB has to download.

    Args:
        client: dlt's client of the dataset's files.
        tables: What DuckDB can scan, by name: Arrow tables or datasets.

    Yields:
        dlt's client of the database, connected. The table `_dlt_loads` is in it too.
    """
    import duckdb  # noqa: PLC0415 - installed where it is needed
    from dlt.destinations import duckdb as duckdb_destination  # noqa: PLC0415 - imports DuckDB

    with duckdb.connect() as connection:
        destination: Any = duckdb_destination(connection)
        made, _ = get_destination_clients(client.schema, destination, client.dataset_name)
        database: Any = made
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {database.sql_client.fully_qualified_dataset_name()}")
        # pushed down, a comparison of texts meets Delta's statistics, which have another Arrow layout, and fails
        connection.execute("SET disabled_optimizers = 'filter_pushdown'; SET GLOBAL TimeZone = 'UTC'")
        with database:
            native = database.sql_client.native_connection
            loads = client.schema.loads_table_name
            for name, files in {**tables, loads: _completed_loads(client, loads)}.items():
                native.register(f"files_of_{name}", files)
                view = database.sql_client.make_qualified_table_name(name)
                native.execute(f'CREATE VIEW {view} AS FROM "files_of_{name}"')
            yield database


def _completed_loads(client: Any, name: str) -> pa.Table:
    """`_dlt_loads` as in a database: dlt writes one file per completed load package, named after its load id."""
    files: list[str] = []
    with suppress(DestinationUndefinedEntity):
        files = client.list_table_files(name)
    load_ids = [file.rpartition("__")[2].removesuffix(".jsonl") for file in files if file.endswith(".jsonl")]
    return pa.table({"load_id": pa.array(load_ids, pa.string()), "status": pa.repeat(0, len(load_ids))})
