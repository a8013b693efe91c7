"""ClickHouse's engine in this process, in the place of a server: what dlt's two drivers ask of one goes to it.

The statements, the types and the errors are those of the engine; the wire is not there.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
from chdb import ChdbError
from chdb.session import Session
from clickhouse_driver.dbapi.cursor import Cursor
from clickhouse_driver.errors import ServerException
from clickhouse_driver.util.escape import escape_params

_CONTEXT = SimpleNamespace(server_info=SimpleNamespace(get_timezone=lambda: "UTC"), client_settings={})
_TEXT = "output_format_arrow_string_as_string=1, output_format_arrow_compression_method='none'"


class Engine:
    """The engine: one a process, and one statement at a time.

    Attributes:
        statements: What it was asked, with the rows and bytes that were read for it.
    """

    def __init__(self, folder: Path) -> None:
        self._session = Session(str(folder))
        self._lock = threading.Lock()
        self.statements: list[tuple[str, int, int]] = []
        for setting in ("date_time_input_format = 'best_effort'", "enable_http_compression = 1"):
            self._session.query(f"SET {setting}")

    def execute(self, query: str, params: Any = None, **_: Any) -> tuple[list[Any], list[tuple[str, str]]]:
        """As `clickhouse_driver.Client.execute` with the types of columns; params are put in as by the driver."""
        statement = query % escape_params(params or {}, _CONTEXT)
        selects = re.match(r"\s*(\(|select|with|show|describe)", statement, re.IGNORECASE)
        with self._lock:
            try:
                result = self._session.query(
                    f"{statement} SETTINGS {_TEXT}" if selects else statement, "ArrowStream" if selects else "Null"
                )
            except ChdbError as error:
                code = re.match(r"Code: (\d+)\. (.*)", str(error), re.DOTALL)
                raise ServerException(code[2] if code else str(error), int(code[1]) if code else 0) from None
            self.statements.append((statement, result.storage_rows_read(), result.storage_bytes_read()))
        if not selects:
            return [], []
        table = pa.ipc.open_stream(result.bytes()).read_all()
        rows = list(zip(*(column.to_pylist() for column in table.columns), strict=True))
        return rows, [(field.name, str(field.type)) for field in table.schema]

    def insert_file(self, _client: Any, table: str, path: str, fmt: str, database: str, **_: Any) -> None:
        """As `clickhouse_connect.driver.tools.insert_file`: columns by their names."""
        columns = ", ".join(f"`{name}`" for name in _names(path, fmt))
        source = f"file('{path}', {fmt})"
        self.execute(f"INSERT INTO `{database}`.`{table}` ({columns}) SELECT {columns} FROM {source}")

    def disconnect(self) -> None:
        """Nothing: the engine stays."""

    def cursor(self) -> Cursor:
        """The driver's own, of this engine."""
        return Cursor(self, SimpleNamespace(cursors=[]))

    def close(self) -> None:
        """Nothing, as `disconnect`."""

    def commit(self) -> None:
        """Nothing: there are no transactions."""

    @contextlib.contextmanager
    def instead_of_a_server(self) -> Iterator[Engine]:
        """Has dlt's drivers reach this engine wherever they would connect to."""
        client = "dlt.destinations.impl.clickhouse.sql_client"
        with (
            mock.patch(f"{client}.clickhouse_driver.connect", return_value=self),
            mock.patch(f"{client}.clickhouse_connect.create_client", return_value=contextlib.nullcontext()),
            mock.patch(f"{client}.clk_insert_file", self.insert_file),
        ):
            yield self


def _names(path: str, fmt: str) -> list[str]:
    """The columns of a file that dlt has written."""
    if fmt == "Parquet":
        return list(pq.read_schema(path).names)
    content = Path(path).read_bytes()
    lines = (gzip.decompress(content) if path.endswith(".gz") else content).splitlines()
    return sorted({name for line in lines for name in json.loads(line)})
