"""dlt's DuckDB destination with a bounded memory, and files that DuckDB 1.x reads, whichever way the file was named.

The one place that reaches into dlt's own: it makes its SQL client itself, and opens files with no settings of theirs.
The last tests of tests/run/test_duckdb_file.py are of what dlt's own does: each fails once something here can go.
"""

import errno
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import dlt
import duckdb as engine
import pyarrow as pa
from dlt.common.configuration import configspec
from dlt.common.destination import DestinationCapabilitiesContext
from dlt.common.destination.typing import PreparedTableSchema
from dlt.common.normalizers.naming import NamingConvention
from dlt.common.schema import Schema
from dlt.common.schema.typing import TColumnSchema
from dlt.destinations import duckdb
from dlt.destinations.exceptions import DatabaseTerminalException
from dlt.destinations.impl.duckdb.configuration import DuckDbClientConfiguration, DuckDbCredentials
from dlt.destinations.impl.duckdb.duck import DuckDbClient
from dlt.destinations.impl.duckdb.sql_client import DuckDbSqlClient
from dlt.destinations.sql_client import raise_open_connection_error

DUCKDB_FILE = "supermetrics_connectors.duckdb"
MEMORY_LIMIT = "96MiB"
"""What DuckDB may take. Beyond it, it writes to a temporary folder beside the file.

Left to itself it keeps what a load brings, up to most of the machine's memory: 2.5 GB for 50 teams of a thousand
configurations of 20 KB. With it a process that changes 100,000 configurations of 5 KB stays within 512 MiB.
"""
THREADS = 1
"""Threads of DuckDB: each wants memory of its own, and a machine has more or fewer of them.

With two, DuckDB 1.5 exceeded the limit over 100,000 configurations of 5 KB that nothing compresses, and with the limit
lifted the process took 907 MiB; with one, 402. Files are loaded side by side all the same, each in a thread of dlt.
"""
STORAGE_VERSION = "v1.2.0"
"""The format of new files: the first with Zstandard, which DuckDB chooses for configurations, and read by all since.

Left to itself, DuckDB 2 writes what no 1.x opens, and 1.x what is not compressed: 50 MB of JSON where this has 1.
"""

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@configspec(init=False)
class _Configuration(DuckDbClientConfiguration):
    def __str__(self) -> str:
        """The file as a URL. dlt's own way imports SQLAlchemy where it is installed, for 0.2 s."""
        return f"duckdb:///{self.credentials.database}"


class duckdb_file(duckdb):  # noqa: N801 - dlt's destinations are named in lower case, and configured by that name
    """The DuckDB destination: the configured file, or `supermetrics_connectors.duckdb` in the current folder.

    In a pipeline's state it is dlt's own, of the file's name: `dlt.attach` then opens the file from any folder, without
    this project and the setting that named it.
    """

    spec = _Configuration
    __orig_base__ = duckdb  # where dlt finds which arguments are defaults, which do not win over the environment

    def __init__(self, **settings: Any) -> None:
        if configured_file() is None:
            settings["credentials"] = {"database": DUCKDB_FILE}  # dlt reads a plain path with SQLAlchemy
        super().__init__(destination_name="duckdb", **settings)
        # a relative path is one of this folder: dlt would take that of the pipeline's first run
        self.config_params["local_dir"] = str(Path.cwd())
        self._configured_name = "duckdb"
        self._resolved: dict[tuple[Any, ...], DuckDbClientConfiguration] = {}

    def remember_file(self, pipeline: dlt.Pipeline, file: Path) -> None:
        """Has `dlt.attach` find the file: dlt's default is the destination's name, in the pipeline's first folder."""
        if file.suffix == ".duckdb":
            self._configured_name = file.stem
            pipeline.set_local_state_val("initial_cwd", str(file.parent))

    def capabilities(
        self, config: DuckDbClientConfiguration | None = None, naming: NamingConvention | None = None
    ) -> DestinationCapabilitiesContext:
        """What DuckDB can do, whatever the settings: dlt would resolve them to ask, 58 times a run and for 0.1 s."""
        return super().capabilities(config or self.spec(), naming)

    def configuration(
        self, initial_config: DuckDbClientConfiguration, accept_partial: bool = False
    ) -> DuckDbClientConfiguration:
        """The settings, looked up once: dlt does it for each client that it makes, 12 times a run and for 0.07 s.

        What opens the file is shared with them, so that it is opened once too.
        """
        if accept_partial or not initial_config or initial_config.is_resolved():
            return super().configuration(initial_config, accept_partial)
        asked = tuple(initial_config.items())
        if asked not in self._resolved:
            self._resolved[asked] = super().configuration(initial_config)
        return self._resolved[asked]

    @property
    def configured_name(self) -> str:
        """The name in the pipeline's state; that of the settings stays `duckdb`."""
        return self._configured_name

    @property
    def destination_type(self) -> str:
        """The type in the pipeline's state."""
        return "dlt.destinations.duckdb"

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

    def _get_column_def_sql(self, c: TColumnSchema, table: PreparedTableSchema = None) -> str:  # type: ignore[assignment]  # dlt's signature
        """Has JSON compressed with Zstandard wherever it is written.

        DuckDB chooses that too where a table comes to rest, but not on its way there: 100,000 configurations of 5 KB
        that all changed left a file of 556 MiB instead of 27.
        """
        definition = super()._get_column_def_sql(c, table)
        return f"{definition} USING COMPRESSION zstd" if c.get("data_type") == "json" else definition

    def initialize_storage(self, truncate_tables: Iterable[str] | None = None) -> None:
        """Begins a load: what Arrow keeps of the extraction for later is given back first, DuckDB has its own."""
        pa.default_memory_pool().release_unused()
        super().initialize_storage(truncate_tables)  # type: ignore[arg-type]  # dlt declares it in two ways


class _DuckDbFileSqlClient(DuckDbSqlClient):
    too_low: ClassVar[bool] = False
    """Whether the limit has been too low in this process: DuckDB's own, most of the machine's memory, is taken then."""

    def __init__(
        self,
        dataset_name: str,
        staging_dataset_name: str,
        credentials: DuckDbCredentials,
        capabilities: DestinationCapabilitiesContext,
    ) -> None:
        super().__init__(dataset_name, staging_dataset_name, credentials, capabilities)
        self._given = credentials.global_config or {}
        self._bounds_memory = not {"memory_limit", "max_memory"} & set(self._given)
        self._bounds_threads = not {"threads", "worker_threads"} & set(self._given)

    @raise_open_connection_error
    def open_connection(self) -> engine.DuckDBPyConnection:
        """Opens the file, which is made if it is not there."""
        file = self.credentials.database
        if not (self.credentials.read_only or self.credentials.external_conn() or Path(file).exists()):
            version = self._given.get("storage_compatibility_version", STORAGE_VERSION)
            engine.connect(file, config={"storage_compatibility_version": version}).close()
        connection: engine.DuckDBPyConnection = super().open_connection()
        try:
            self._bound(connection)
        except engine.Error:  # others hold more than that; what is not given back keeps the file open in this process
            self.close_connection()
            raise
        return connection

    def _bound(self, connection: engine.DuckDBPyConnection) -> None:
        if self._bounds_memory:
            connection.execute(f"SET GLOBAL memory_limit = '{self._limit(connection)}'")
        if self._bounds_threads:
            connection.execute(f"SET GLOBAL threads = {THREADS}")

    def _limit(self, connection: engine.DuckDBPyConnection) -> str:
        if not self.too_low:
            return MEMORY_LIMIT
        connection.execute("RESET GLOBAL memory_limit")  # in DuckDB 1.x it only says so until it is set
        ((most,),) = connection.execute("SELECT current_setting('memory_limit')").fetchall()
        return str(most)

    @classmethod
    def _make_database_exception(cls, ex: Exception) -> Exception:
        """What dlt makes of DuckDB's exceptions; it tries a job again, four times, whose exception is transient."""
        if is_out_of_memory(ex):
            _DuckDbFileSqlClient.too_low = True
        if is_out_of_disk(ex):
            return DatabaseTerminalException(ex)
        made: Exception = super()._make_database_exception(ex)
        return made


def configured_file() -> str | None:
    """The DuckDB file as it is configured, a path or a URL; None where it is not."""
    names = ("credentials.database", "credentials")
    found: list[Any] = [dlt.secrets.get(f"destination.duckdb.{name}") for name in names]
    return next((value for value in found if isinstance(value, str)), None)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether DuckDB's limit was too low: while a transaction is committed, only the advice in the text says so."""
    return isinstance(error, engine.Error) and "SET memory_limit" in str(error)


def is_out_of_disk(error: BaseException) -> bool:
    """Whether the disk or a quota is full, or a file may not grow: DuckDB says it in the system's words."""
    if isinstance(error, OSError):
        return error.errno in _NO_ROOM
    return isinstance(error, engine.Error) and any(os.strerror(number) in str(error) for number in _NO_ROOM)
