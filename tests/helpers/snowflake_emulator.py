"""Snowflake's dialect on DuckDB, by fakesnow, with what that does not know of dlt's ways done here.

Statements are translated by the emulator one by one; files are put into tables without a stage.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any
from unittest import mock

import fakesnow
import sqlglot
from fakesnow.cursor import FakeSnowflakeCursor

_execute = FakeSnowflakeCursor.execute
_put: dict[str, str] = {}
_DONE = "SELECT 'done' AS status"
_PUT = re.compile(r"PUT 'file://(.+?)' ")
_COPY = re.compile(r"COPY INTO (\S+)\s+FROM '(.+?)'", re.DOTALL)


@contextlib.contextmanager
def emulated() -> Iterator[None]:
    """Has whatever would connect to Snowflake reach the emulator."""
    # dlt names the schema with its database, and makes it itself
    with (
        fakesnow.patch(create_schema_on_connect=False),
        mock.patch.object(FakeSnowflakeCursor, "execute", execute),
        mock.patch.object(FakeSnowflakeCursor, "fetch_arrow_batches", _batches, create=True),
    ):
        yield


def execute(cursor: Any, command: str, params: Any = None, **_: Any) -> Any:
    """As the cursor of Snowflake's connector: several statements at once, PUT, and COPY of dlt's files."""
    if put := _PUT.match(command.strip()):
        _put[put[1].rpartition("/")[2]] = put[1]
        _execute(cursor, _DONE)
    elif copy := _COPY.match(command.strip()):
        _copy(cursor, copy[1], _put[copy[2].rpartition("/")[2]])
        _execute(cursor, _DONE)
    elif params:
        _execute(cursor, command, params)
    else:
        for statement in sqlglot.parse(command, dialect="snowflake"):
            assert statement is not None
            _execute(cursor, statement.sql(dialect="snowflake"))
    return cursor


def _batches(cursor: Any) -> Iterator[Any]:
    """As Snowflake's connector: none for no rows."""
    table = cursor._arrow_table
    if table is not None and table.num_rows:
        yield table


def _copy(cursor: Any, table: str, path: str) -> None:
    """Columns by their names, whatever their case."""
    duckdb = cursor._duck_conn
    if path.endswith(".parquet"):
        duckdb.execute(f"INSERT INTO {table} BY NAME SELECT * FROM read_parquet('{path}')")
        return
    columns = {name.lower(): kind for name, kind, *_ in duckdb.execute(f"DESCRIBE {table}").fetchall()}
    source = f"read_json('{path}', format='newline_delimited', columns={columns})"
    duckdb.execute(f"INSERT INTO {table} BY NAME SELECT * FROM {source}")
