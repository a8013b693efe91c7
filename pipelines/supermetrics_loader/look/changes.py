"""What `supermetrics-connectors changes` prints: the rows of `connector_changes`.

Its SELECT is asked itself, whether or not there is a view of it: so the answer is the same in every destination, and
also where a view is older than the query.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import duckdb
from dlt.destinations.exceptions import DatabaseUndefinedRelation
from dlt.destinations.impl.filesystem.filesystem import FilesystemClient

from supermetrics_connectors.api.listing import parse_timestamp
from supermetrics_connectors.exceptions import SupermetricsConfigurationError
from supermetrics_connectors.tables.changes import COLUMNS, select
from supermetrics_connectors.tables.contracts import SNAPSHOT_AT
from supermetrics_connectors.tables.stored import MissingTableError, as_instant
from supermetrics_connectors.tables.strategies import choose

from ..run.targets import make_destination, open_for_reading

PATHS = {"paths_added": "+", "paths_removed": "-", "paths_changed": ""}
"""The columns with paths, and what stands before each of their paths in a text."""
_CLOCKS = ("detected_at", "updated_at", "previous_updated_at")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

Row = dict[str, Any]


class NothingLoadedError(Exception):
    """There are no histories to ask."""


def since(text: str, now: datetime) -> datetime:
    """Reads `24h`, `30m`, `7d`, `2w`, or a time in ISO 8601.

    Args:
        text: What was asked for.
        now: What a duration counts back from, UTC.

    Raises:
        ValueError: It is neither.
    """
    if match := re.fullmatch(r"([0-9]{1,5})([mhdw])", text):
        return now - timedelta(**{_UNITS[match[2]]: int(match[1])})
    return parse_timestamp(text)


def read_changes(destination: Any, dataset: str, after: datetime | None = None) -> list[Row]:
    """The changes, oldest first, without what a team's first listing brought.

    Args:
        destination: A dlt destination with SQL or Delta tables, as for `make_pipeline`.
        dataset: Where the tables are.
        after: Leaves out what was detected earlier; None for nothing.

    Returns:
        Rows by the names of `COLUMNS`: times in UTC, paths as lists (None for what is no configuration's change).

    Raises:
        NothingLoadedError: Nothing has been loaded there.
        SupermetricsConfigurationError: The dataset keeps snapshots.
    """
    with _opened(destination, dataset) as data:
        configured = data.columns("connector_configurations")
        if not data.columns("connector_versions"):
            raise _snapshots(dataset) if SNAPSHOT_AT in data.columns("connectors") else _nothing_loaded(dataset, "")
        rows = data.ask(select(data.table, data.column, data.json_constant.format, bool(configured)))
    changes = [_plain(row) for row in rows]
    changes = [row for row in changes if not row["baseline"] and (after is None or row["detected_at"] >= after)]
    return sorted(changes, key=lambda row: (row["detected_at"], row["team_id"], row["connector_identifier"]))


def _plain(row: Sequence[Any]) -> Row:
    found = dict(zip(COLUMNS, row, strict=True))
    found |= {name: at.astimezone(timezone.utc) for name in _CLOCKS if (at := as_instant(found[name]))}
    found |= {name: json.loads(found[name]) if isinstance(found[name], str) else found[name] for name in PATHS}
    return found


@dataclass(frozen=True)
class _Data:
    """A dataset that can be asked, by its destination's SQL or by DuckDB's."""

    table: Callable[[str], str]
    column: Callable[[str], str]
    json_constant: str
    execute: Callable[[str], tuple[list[str], Sequence[Sequence[Any]]]]

    def ask(self, sql: str) -> Sequence[Sequence[Any]]:
        return self.execute(sql)[1]

    def columns(self, table: str) -> list[str]:
        """The table's columns; none of a table that is not there."""
        try:
            return self.execute(f"SELECT * FROM {self.table(table)} WHERE 1 = 0")[0]  # noqa: S608 - our own names
        except (DatabaseUndefinedRelation, duckdb.CatalogException):
            return []


@contextmanager
def _opened(destination: Any, dataset: str) -> Iterator[_Data]:
    try:
        data = open_for_reading(destination, dataset)
    except FileNotFoundError as error:
        raise _nothing_loaded(dataset, f" of {error}") from None
    files = data.destination_client
    if isinstance(files, FilesystemClient):
        with files, _delta_tables(files, dataset) as opened:
            yield opened
        return
    constant = choose(make_destination(destination), files.capabilities).json_constant
    with data.sql_client as client:

        def execute(sql: str) -> tuple[list[str], Sequence[Sequence[Any]]]:
            with client.execute_query(sql) as cursor:
                return list(cursor.columns_schema), cursor.fetchall()

        yield _Data(client.make_qualified_table_name, client.escape_column_name, constant, execute)


@contextmanager
def _delta_tables(files: FilesystemClient, dataset: str) -> Iterator[_Data]:
    """Delta tables, read by DuckDB from Arrow: dlt would read them by an extension that DuckDB has to download."""
    tables = _tables_of(files)
    if not tables and files.fs_client.exists(files.get_table_dir("connectors")):
        raise _snapshots(dataset)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for name, table in tables.items():
            connection.register(name, table)

        def execute(sql: str) -> tuple[list[str], Sequence[Sequence[Any]]]:
            cursor = connection.execute(sql)
            return [column[0] for column in cursor.description or ()], cursor.fetchall()

        yield _Data(str, '"{}"'.format, "'{}'", execute)


def _tables_of(files: FilesystemClient) -> Mapping[str, Any]:
    from supermetrics_connectors.tables.delta import open_table  # noqa: PLC0415 - deltalake is there where it is needed

    tables = {}
    for name in ("connector_versions", "connector_configurations", "team_syncs"):
        with suppress(MissingTableError):
            tables[name] = open_table(files, name).to_pyarrow_table()
    return tables


def _nothing_loaded(dataset: str, location: str) -> NothingLoadedError:
    return NothingLoadedError(
        f"Nothing has been loaded to the dataset {dataset}{location}.\n"
        "Load something first, such as: supermetrics-connectors load --sandbox --include-configs"
    )


def _snapshots(dataset: str) -> SupermetricsConfigurationError:
    return SupermetricsConfigurationError(
        f"The dataset {dataset!r} keeps snapshots, each run's full listing, and no histories that tell of changes: "
        "compare the listings themselves, or load without --snapshot into another dataset (--dataset)"
    )
