"""dlt's DuckDB destination with bounded memory, in files that DuckDB 1.x reads too.

This module is the only one of the application that uses private names of dlt: dlt creates its SQL client itself and
opens files without settings. The last tests of tests/run/test_duckdb_file.py show what dlt's own destination does; each
fails once something here is no longer needed.
"""

import contextlib
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
from dlt.destinations.impl.duckdb.configuration import DuckDbClientConfiguration
from dlt.destinations.impl.duckdb.duck import DuckDbClient
from dlt.destinations.impl.duckdb.sql_client import DuckDbSqlClient
from dlt.destinations.sql_client import raise_open_connection_error

DUCKDB_FILE = "supermetrics_connectors.duckdb"
MEMORY_LIMIT = "96MiB"
"""Memory of DuckDB. Beyond it, DuckDB writes to a temporary folder beside the file.

DuckDB's default is most of the machine's memory: 2.5 GB for 50 teams of a thousand configurations of 20 KB. With the
limit, a process that changes 100,000 configurations of 5 KB stays within 512 MiB.
"""
THREADS = 1
"""Threads of DuckDB, each of which needs memory of its own.

With two threads DuckDB 1.5 exceeded the limit over 100,000 incompressible configurations of 5 KB. Files are loaded in
parallel all the same, each in a thread of dlt.
"""
STORAGE_VERSION = "v1.2.0"
"""The format of new files: the first with Zstandard, which DuckDB chooses for configurations, and readable since 1.2.

By default DuckDB 2 writes files that 1.x cannot open, and 1.x writes JSON uncompressed.
"""

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@configspec(init=False)
class _Configuration(DuckDbClientConfiguration):
    @property
    def staged_tables(self) -> set[str]:
        """Tables with rows in the staging dataset, known to all clients of a run."""
        tables: set[str] = self.__dict__.setdefault("_staged_tables", set())
        return tables

    def __str__(self) -> str:
        """The file as a URL. dlt's own implementation imports SQLAlchemy, which takes 0.2 s."""
        return f"duckdb:///{self.credentials.database}"


class ResolvedOnce(duckdb):
    """dlt's DuckDB destination, which resolves its settings once. The pipeline's state names dlt's own destination."""

    __orig_base__ = duckdb  # dlt reads there which arguments are defaults, so that the environment wins over them

    def __init__(self, credentials: Any = None, **settings: Any) -> None:
        super().__init__(credentials, destination_name="duckdb", **settings)
        self._resolved: dict[tuple[Any, ...], DuckDbClientConfiguration] = {}

    def __copy__(self) -> "ResolvedOnce":
        """A destination whose settings may be changed, for a dry run: it resolves them again."""
        made = type(self).__new__(type(self))
        made.__dict__ |= {**self.__dict__, "_resolved": {}}
        return made

    def capabilities(
        self, config: DuckDbClientConfiguration | None = None, naming: NamingConvention | None = None
    ) -> DestinationCapabilitiesContext:
        """DuckDB's capabilities, which depend on no setting; dlt would resolve the settings 58 times per run."""
        return super().capabilities(config or self.spec(), naming)

    def configuration(
        self, initial_config: DuckDbClientConfiguration, accept_partial: bool = False
    ) -> DuckDbClientConfiguration:
        """The settings, resolved once; dlt would resolve them for each of its 12 clients per run.

        The clients share the connection of the settings, so that the file is opened once too.
        """
        if accept_partial or not initial_config or initial_config.is_resolved():
            return super().configuration(initial_config, accept_partial)
        asked = tuple(initial_config.items())
        if asked not in self._resolved:
            self._resolved[asked] = super().configuration(initial_config)
        return self._resolved[asked]

    @property
    def destination_type(self) -> str:
        """The type in the pipeline's state."""
        return "dlt.destinations.duckdb"


class duckdb_file(ResolvedOnce):  # noqa: N801 - dlt's destinations are named in lower case, and configured by that name
    """The DuckDB destination: the configured file, or `supermetrics_connectors.duckdb` in the current folder.

    The pipeline's state names dlt's own destination, so that `dlt.attach` opens the file from any folder, without this
    project and without the setting that named the file.
    """

    spec = _Configuration

    def __init__(self, **settings: Any) -> None:
        if configured_file() is None:
            settings["credentials"] = {"database": DUCKDB_FILE}  # dlt reads a plain path with SQLAlchemy
        super().__init__(**settings)
        # a relative path is relative to this folder; dlt would use the folder of the pipeline's first run
        self.config_params["local_dir"] = str(Path.cwd())
        self._configured_name = "duckdb"
        self._file: Path | None = None

    def remember_file(self, pipeline: dlt.Pipeline, file: Path) -> None:
        """Lets `dlt.attach` find the file; dlt looks for the destination's name in the pipeline's first folder."""
        self._file = file
        if file.suffix == ".duckdb":
            self._configured_name = file.stem
            pipeline.set_local_state_val("initial_cwd", str(file.parent))

    @property
    def file_exists(self) -> bool:
        """Whether the file of a run has been opened and not deleted."""
        return self._file is not None and self._file.exists()

    @property
    def configured_name(self) -> str:
        """The name in the pipeline's state; settings are still found under `duckdb`."""
        return self._configured_name

    @property
    def client_class(self) -> type[DuckDbClient]:
        """The job client that dlt creates."""
        return _DuckDbFileClient


class _DuckDbFileClient(DuckDbClient):
    config: _Configuration

    def __init__(
        self, schema: Schema, config: DuckDbClientConfiguration, capabilities: DestinationCapabilitiesContext
    ) -> None:
        super().__init__(schema, config, capabilities)
        stock = self.sql_client
        self.sql_client = _DuckDbFileSqlClient(
            stock.dataset_name, stock.staging_dataset_name, config.credentials, capabilities
        )

    def _get_column_def_sql(self, c: TColumnSchema, table: PreparedTableSchema = None) -> str:  # type: ignore[assignment]  # dlt's signature
        """Compresses JSON with Zstandard in staging tables too.

        DuckDB chooses Zstandard only for tables that stay: 100,000 changed configurations of 5 KB left a file of
        556 MiB instead of 27.
        """
        definition = super()._get_column_def_sql(c, table)
        return f"{definition} USING COMPRESSION zstd" if c.get("data_type") == "json" else definition

    def initialize_storage(self, truncate_tables: Iterable[str] | None = None) -> None:
        """Begins a load, after Arrow has released the memory of the extraction."""
        pa.default_memory_pool().release_unused()
        super().initialize_storage(truncate_tables)  # type: ignore[arg-type]  # dlt declares it in two ways
        if self.sql_client.is_staging_dataset_active:
            self.config.staged_tables.update(truncate_tables or ())

    def complete_load(self, load_id: str) -> None:
        """Empties the staging tables of a completed load, which would double the size of the file."""
        super().complete_load(load_id)
        if tables := sorted(self.config.staged_tables):
            with self.with_staging_dataset() as staging:
                staging.initialize_storage(truncate_tables=tables)
            self.config.staged_tables.clear()


class _DuckDbFileSqlClient(DuckDbSqlClient):
    memory_limit_was_too_low: ClassVar[bool] = False
    """Whether the limit was too low in this process. DuckDB's own limit, most of the machine's memory, applies then."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._given = self.credentials.global_config or {}
        self._has_created_file = False

    @raise_open_connection_error
    def open_connection(self) -> engine.DuckDBPyConnection:
        """Opens the file, and creates it if it does not exist."""
        file = self.credentials.database
        if not (self.credentials.read_only or self.credentials.external_conn() or Path(file).exists()):
            version = self._given.get("storage_compatibility_version", STORAGE_VERSION)
            engine.connect(file, config={"storage_compatibility_version": version}).close()
            self._has_created_file = True
        connection: engine.DuckDBPyConnection = super().open_connection()
        try:
            self._bound(connection)
        except engine.Error:  # other connections use more; without this call the file would stay open in the process
            self.close_connection()
            raise
        return connection

    def delete_new_file(self) -> None:
        """Deletes the file if this client has created it and it has no table: a failed first load leaves no file."""
        if self._has_created_file and self.execute_sql("SELECT count(*) FROM duckdb_tables()") == [(0,)]:
            with contextlib.suppress(OSError):  # a system that keeps open files
                Path(self.credentials.database).unlink()

    def _bound(self, connection: engine.DuckDBPyConnection) -> None:
        if not self._given.keys() & {"memory_limit", "max_memory"}:
            connection.execute(f"SET GLOBAL memory_limit = '{self._limit(connection)}'")
        if not self._given.keys() & {"threads", "worker_threads"}:
            connection.execute(f"SET GLOBAL threads = {THREADS}")

    def _limit(self, connection: engine.DuckDBPyConnection) -> str:
        if not self.memory_limit_was_too_low:
            return MEMORY_LIMIT
        connection.execute("RESET GLOBAL memory_limit")  # in DuckDB 1.x a reset takes effect only with the next SET
        ((most,),) = connection.execute("SELECT current_setting('memory_limit')").fetchall()
        return str(most)

    @classmethod
    def _make_database_exception(cls, ex: Exception) -> Exception:
        """Translates DuckDB's exceptions. dlt repeats a job, up to four times, when its exception is transient."""
        if is_out_of_memory(ex):
            _DuckDbFileSqlClient.memory_limit_was_too_low = True
        if is_out_of_disk(ex):
            return DatabaseTerminalException(ex)
        made: Exception = super()._make_database_exception(ex)
        return made


def configured_file() -> str | None:
    """The configured DuckDB file, a path or a URL; None without configuration."""
    names = ("credentials.database", "credentials")
    found: list[Any] = [dlt.secrets.get(f"destination.duckdb.{name}") for name in names]
    return next((value for value in found if isinstance(value, str)), None)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether DuckDB's limit was too low; during a commit only the advice in the text shows it."""
    return isinstance(error, engine.Error) and "SET memory_limit" in str(error)


def is_out_of_disk(error: BaseException) -> bool:
    """Whether the disk or a quota is full, or a file may not grow; DuckDB uses the system's text."""
    if isinstance(error, OSError):
        return error.errno in _NO_ROOM
    return isinstance(error, engine.Error) and any(os.strerror(number) in str(error) for number in _NO_ROOM)
