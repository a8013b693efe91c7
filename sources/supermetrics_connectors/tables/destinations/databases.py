"""Databases that the tests prove, each with what it does differently."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...exceptions import SupermetricsConfigurationError
from ..target import Target
from .strategy import DestinationStrategy, TeamLocks

EXACT_TEXT = "x-exact-text"
"""Hint of tables whose texts keep any length and are compared byte by byte; see `mysql.py`."""


REPLACE_VIEW = ("CREATE OR REPLACE VIEW {view} AS {sql}",)
"""Statements of a database that can replace a view."""


@dataclass(frozen=True)
class DuckDbStrategy(DestinationStrategy):
    """DuckDB, which refuses `supermetrics.connectors` if a file and a dataset are called `supermetrics`."""

    json_constant: str = "cast('{}' as json)"
    view_statements: tuple[str, ...] = REPLACE_VIEW

    def check_tables(self, client: Any, target: Target) -> None:
        """See `DestinationStrategy`."""
        del target
        refuse_ambiguous_name(str(getattr(client.credentials, "database", "")), client.dataset_name)


def refuse_ambiguous_name(file: str, dataset: str) -> None:
    """Makes sure that a DuckDB file is not called like the dataset.

    Args:
        file: The file, a path or a URL.
        dataset: The dataset's name.

    Raises:
        SupermetricsConfigurationError: File and dataset have one name. `supermetrics.connectors` could then be a table
            of the schema or of the file, and DuckDB refuses the name as ambiguous.
    """
    if Path(file.partition("?")[0]).stem == dataset:
        raise SupermetricsConfigurationError(
            f"The DuckDB file {file!r} and the dataset {dataset!r} have one name, which DuckDB calls ambiguous. Give "
            f"the file another one, such as {dataset}_connectors.duckdb, or the dataset (--dataset)"
        )


@dataclass(frozen=True)
class PostgresStrategy(DestinationStrategy):
    """PostgreSQL: a view would keep the tables below it from being dropped, so the view reads a function.

    CREATE OR REPLACE keeps views of a user's that depend on ours, and never leaves a moment without the view.
    """

    # csv takes two thirds of the time, but dlt copies empty strings as nulls; parquet needs another driver
    file_format: str | None = "insert_values"
    json_constant: str = "cast('{}' as jsonb)"
    json_text: str = "cast({} as text)"
    view_statements: tuple[str, ...] = (
        "CREATE OR REPLACE FUNCTION {function}() RETURNS TABLE ({columns}) LANGUAGE sql STABLE AS $view${sql}$view$",
        "CREATE OR REPLACE VIEW {view} AS SELECT * FROM {function}()",
    )

    def check_tables(self, client: Any, target: Target) -> None:
        """See `DestinationStrategy`. A text that cannot be encoded would fail the load, and every later load."""
        del target
        connection = client.native_connection
        server = connection.info.parameter_status("server_encoding")
        if server not in (None, "UTF8", "SQL_ASCII"):  # SQL_ASCII stores the bytes of any encoding
            raise SupermetricsConfigurationError(
                f"The PostgreSQL database has the encoding {server}, which cannot store every text of the API. Load "
                "into a database with the encoding UTF8: CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0"
            )
        if connection.encoding != "UTF8":
            raise SupermetricsConfigurationError(
                f"The connection to PostgreSQL has the client_encoding {connection.encoding}, which cannot represent "
                "every text of the API. Set client_encoding=utf8 in the credentials, or in PGCLIENTENCODING"
            )

    def locks(self, client: Any) -> TeamLocks | None:
        """See `DestinationStrategy`."""
        return _PostgresLocks(client)


class _PostgresLocks(TeamLocks):
    """Advisory locks. They end with their connection, so a killed run leaves none behind."""

    def acquire(self, keys: Sequence[int], timeout: int) -> bool:
        from dlt.destinations.exceptions import DatabaseException  # noqa: PLC0415 - this module is imported by every run

        # A role may limit its statements and its idle sessions, and this connection waits and idles by design.
        values = {"statement_timeout": "0", "idle_session_timeout": "0", "lock_timeout": f"{timeout}s"}
        try:
            self.client.execute_sql(
                "SELECT set_config(name, value, false) FROM pg_settings"
                " JOIN unnest(%s, %s) AS wanted (parameter, value) ON name = parameter;"
                " SELECT count(pg_advisory_lock(key)) FROM unnest(%s::bigint[]) AS key",
                *(list(values), list(values.values()), list(keys)),
            )
        except DatabaseException as error:
            if "lock timeout" not in str(error):
                raise
            return False
        return True

    def are_held(self, keys: Sequence[int]) -> bool:
        (held,) = self.client.execute_sql(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid = pg_backend_pid()"
        )[0]
        return bool(held >= len(set(keys)))

    def release(self) -> None:
        self.client.execute_sql("SELECT pg_advisory_unlock_all()")


@dataclass(frozen=True)
class SqlalchemyStrategy(DestinationStrategy):
    """SQLite, MySQL and MariaDB, and other databases that SQLAlchemy supports."""

    json_type: str = "text"  # dlt has SQLAlchemy encode what is text already: a JSON column would hold a string
    view_statements: tuple[str, ...] = ("DROP VIEW IF EXISTS {view}", "CREATE VIEW {view} AS {sql}")
    finds_views: bool = False  # on MariaDB, SQLAlchemy would need the grant SHOW VIEW

    def prepare(self) -> None:
        """See `DestinationStrategy`."""
        from .mysql import register_exact_texts  # noqa: PLC0415 - SQLAlchemy is installed where it is needed

        register_exact_texts()

    def check_tables(self, client: Any, target: Target) -> None:
        """See `DestinationStrategy`."""
        from .mysql import refuse_inexact_tables  # noqa: PLC0415 - SQLAlchemy is installed where it is needed

        refuse_inexact_tables(client, target)

    def view_table_name(self, client: Any, table: str) -> str:
        """SQLite looks for a view's tables in the view's own file, which may be opened under any name."""
        if client.dialect_name == "sqlite":
            return str(client.escape_column_name(table))
        return super().view_table_name(client, table)

    def locks(self, client: Any) -> TeamLocks | None:
        """See `DestinationStrategy`."""
        return _MysqlLocks(client) if client.dialect_name in ("mysql", "mariadb") else None


class _MysqlLocks(TeamLocks):
    """Named locks. They end with their connection, so a killed run leaves none behind."""

    def acquire(self, keys: Sequence[int], timeout: int) -> bool:
        return all(self._is_true(f"GET_LOCK('supermetrics {key}', {timeout})") for key in keys)

    def are_held(self, keys: Sequence[int]) -> bool:
        return all(self._is_true(f"IS_USED_LOCK('supermetrics {key}') = CONNECTION_ID()") for key in keys)

    def release(self) -> None:
        self.client.execute_sql("DO RELEASE_ALL_LOCKS()")

    def _is_true(self, condition: str) -> bool:
        return bool(self.client.execute_sql(f"SELECT {condition}") == [(1,)])
