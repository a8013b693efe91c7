"""dlt's DuckDB destination for the command line's own file, with less memory, a smaller file and faster starts."""

import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, AnyStr, ClassVar

import dlt
import pyarrow as pa
import pyarrow.parquet as pq
from dlt.common.configuration import configspec
from dlt.common.destination import DestinationCapabilitiesContext
from dlt.common.destination.client import LoadJob
from dlt.common.destination.dataset import DBApiCursor
from dlt.common.destination.typing import PreparedTableSchema
from dlt.common.normalizers.naming import NamingConvention
from dlt.common.schema import Schema
from dlt.common.schema.typing import TColumnSchema
from dlt.destinations import duckdb
from dlt.destinations.exceptions import DatabaseTransientException
from dlt.destinations.impl.duckdb.configuration import DuckDbClientConfiguration
from dlt.destinations.impl.duckdb.duck import DuckDbClient, DuckDbCopyJob
from dlt.destinations.impl.duckdb.sql_client import DuckDBDBApiCursorImpl, DuckDbSqlClient
from duckdb import OutOfMemoryException

DUCKDB_FILE = "supermetrics_connectors.duckdb"
_LEAST_MEMORY = 32 * 2**20
"""Bytes that DuckDB may use however small the rows are."""
_MERGE_MEMORY = 32 * 2**20
"""Bytes besides, where rows are merged: keys are looked up."""
_VECTOR_ROWS = 2048
"""Rows that DuckDB has in hand at a time, whatever their size."""
_VECTORS = 6
"""Copies of them at a time: read, decompressed, cast to JSON, written; in two threads."""
_GROUPS = 4
"""Row groups of the file besides: a team of a thousand large configurations is one."""


@configspec(init=False)
class _Configuration(DuckDbClientConfiguration):
    def __str__(self) -> str:
        """The file as a URL. dlt's own way imports SQLAlchemy where it is installed, for 0.1 s."""
        return f"duckdb:///{self.credentials.database}"


class duckdb_file(duckdb):  # noqa: N801 - dlt's destinations are named in lower case, and configured by that name
    """The DuckDB destination.

    Made without a file, as by `dlt.attach` and dlt's dashboard, it is what is configured, or
    `supermetrics_connectors.duckdb` in the current folder.
    """

    spec = _Configuration

    def __init__(self, credentials: Any = None, **settings: Any) -> None:
        if credentials is None and dlt.secrets.get("destination.duckdb.credentials", str) is None:
            credentials = {"database": str(Path.cwd() / DUCKDB_FILE)}  # dlt reads a plain path with SQLAlchemy
        super().__init__(credentials, **settings)

    def capabilities(
        self, config: DuckDbClientConfiguration | None = None, naming: NamingConvention | None = None
    ) -> DestinationCapabilitiesContext:
        """What DuckDB can do, whatever the settings: dlt would resolve them to ask, 20 times a run and for 0.1 s."""
        return super().capabilities(config or self.spec(), naming)

    def _raw_capabilities(self) -> DestinationCapabilitiesContext:
        capabilities = super()._raw_capabilities()
        # for dlt's own state: as a literal in SQL, a large one takes DuckDB twenty times its size to read
        capabilities.preferred_loader_file_format = "parquet"
        return capabilities

    @property
    def client_class(self) -> type[DuckDbClient]:
        """The job client that dlt makes."""
        return _DuckDbFileClient


class _DuckDbFileClient(DuckDbClient):
    def __init__(
        self, schema: Schema, config: DuckDbClientConfiguration, capabilities: DestinationCapabilitiesContext
    ) -> None:
        super().__init__(schema, config, capabilities)
        stock = self.sql_client
        self.sql_client = _DuckDbFileSqlClient(
            stock.dataset_name, stock.staging_dataset_name, config.credentials, capabilities
        )

    def create_load_job(
        self, table: PreparedTableSchema, file_path: str, load_id: str, restore: bool = False
    ) -> LoadJob:
        """Makes the job that loads a file."""
        job = super().create_load_job(table, file_path, load_id, restore)
        return _CopyJob(file_path) if isinstance(job, DuckDbCopyJob) else job

    def _get_column_def_sql(self, c: TColumnSchema, table: PreparedTableSchema = None) -> str:  # type: ignore[assignment]  # dlt's signature
        """Has JSON compressed with Zstandard: a smaller file, written sooner, than by what DuckDB would choose.

        A file of DuckDB 1.x takes the word and goes on without.
        """
        definition = super()._get_column_def_sql(c, table)
        return f"{definition} USING COMPRESSION zstd" if c.get("data_type") == "json" else definition


class _CopyJob(DuckDbCopyJob):
    """Loads a file with as much memory as its rows need, when that of their extraction has been given back.

    Left to itself, DuckDB keeps in memory all that a load brings, up to most of the machine's: a gigabyte for a
    thousand teams with configurations. Beyond its limit it writes to a temporary folder beside the file.
    """

    lock: ClassVar[Lock] = Lock()
    needed: ClassVar[int] = 0
    """Bytes that the largest rows so far have needed: the merge that follows has them in hand too."""

    def run(self) -> None:
        """Loads the file."""
        with _CopyJob.lock:
            needed = _memory_for(self._file_path)
            if self._load_table["write_disposition"] == "merge":
                needed += _MERGE_MEMORY
            _CopyJob.needed = max(_CopyJob.needed, needed)
            self._job_client.sql_client.execute_sql(f"SET GLOBAL memory_limit = '{_CopyJob.needed}B'")
        pa.default_memory_pool().release_unused()
        super().run()


def _memory_for(parquet_file: str) -> int:
    """Bytes to load rows of this size."""
    metadata = pq.read_metadata(parquet_file)
    groups = [metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups)]
    size: int = sum(groups)
    vector = min(size, size // max(1, int(metadata.num_rows)) * _VECTOR_ROWS)
    return _LEAST_MEMORY + _VECTORS * vector + _GROUPS * max(groups, default=0)


class _Cursor(DuckDBDBApiCursorImpl):
    """Reads whole Arrow tables from DuckDB 2 too: dlt 1.31 calls a method that went away, and its dashboard with it."""

    def iter_arrow(self, chunk_size: int) -> Generator[Any, None, None]:
        """Reads Arrow tables of this many rows; 0 for one table."""
        if chunk_size or hasattr(self.native_cursor, "fetch_arrow_table"):
            yield from super().iter_arrow(chunk_size)
        else:
            with warnings.catch_warnings():  # that there are faster ways, which dlt does not take
                warnings.simplefilter("ignore", UserWarning)
                table = self.native_cursor.to_arrow_table()
            yield table


class _DuckDbFileSqlClient(DuckDbSqlClient):
    cursor_impl = _Cursor

    @contextmanager
    def execute_query(self, query: AnyStr, *args: Any, **kwargs: Any) -> Iterator[DBApiCursor]:
        """Runs a query. One that the memory limit was too low for lifts it, for when dlt tries its job again."""
        try:
            with super().execute_query(query, *args, **kwargs) as cursor:
                yield cursor
        except DatabaseTransientException as error:
            if isinstance(error.__cause__, OutOfMemoryException):
                self._conn.duplicate().execute("RESET GLOBAL memory_limit")
            raise


duckdb_file.register()
