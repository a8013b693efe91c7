"""`supermetrics-connectors sql`."""

import csv
import json
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import click

from ..run.exit_codes import Exit
from .reading import reading_command

if TYPE_CHECKING:  # slow to import, and not needed for --help
    from ..read.dataset import QueryResult

MAX_ROWS = 1_000
"""Rows of a table for people."""
MAX_CELL_CHARS = 200
"""Characters of its cells."""


@click.command()
@click.argument("query", required=False)
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV instead of a table.")
@reading_command
def sql(query: str | None, as_csv: bool, destination: str, dataset: str, as_json: bool) -> int:
    """Run a read-only QUERY in the destination's SQL; `-` reads it from standard input, also if it begins with `--`.

    Tables need no schema. Without a query, on a terminal: say where the data is and how to open it.

    \b
    supermetrics-connectors sql "select name, updated_at from connectors order by updated_at desc"
    supermetrics-connectors sql --csv "select * from team_syncs" > syncs.csv
    """  # noqa: D301 - \b is click's mark for lines that it must not wrap
    if as_csv and as_json:
        raise click.UsageError("--csv and --json exclude each other")
    if query is None and not sys.stdin.isatty():
        raise click.UsageError("Give a query, or - to read it from standard input")
    from ..read.dataset import open_dataset
    from ..read.sql import how_to_open, run_query
    from . import console

    query = sys.stdin.read() if query == "-" else query
    with open_dataset(destination, dataset, allow_snapshots=True) as data:
        if query is None:
            for line in how_to_open(data, destination):
                console.show(line)
            return Exit.OK
        result = run_query(data, query)
    if as_json:
        names = _distinct(result.columns)
        console.show_json({"rows": [dict(zip(names, map(_plain, row), strict=True)) for row in result.rows]})
    elif as_csv:
        _show_csv(result)
    else:
        _show_table(result)
    return Exit.OK


def _show_csv(result: "QueryResult") -> None:
    from ..sanitize import sanitize

    text = sanitize if sys.stdout.isatty() else str
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(map(text, result.columns))
    for row in result.rows:
        writer.writerow(text(_text(value)) for value in row)


def _show_table(result: "QueryResult") -> None:
    from . import console

    names = _distinct(result.columns)
    rows = [dict(zip(names, map(_cut, row), strict=True)) for row in result.rows[:MAX_ROWS]]
    console.show_table(rows, dict(zip(names, result.columns, strict=True)), wrap=True)
    if left := len(result.rows) - len(rows):
        console.show(f"… and {left} more rows: add a limit to the query, or print all of them with --csv or --json")


def _distinct(columns: Sequence[str]) -> list[str]:
    """The names of the columns; a repeated name with its place."""
    return [f"{name}_{place}" if name in columns[: place - 1] else name for place, name in enumerate(columns, 1)]


def _cut(value: Any) -> Any:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    text = _text(value)
    return text if len(text) <= MAX_CELL_CHARS else f"{text[:MAX_CELL_CHARS]}…"


def _text(value: Any) -> str:
    """A value as text: empty for null, times in UTC, JSON as JSON."""
    value = _plain(value)
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    return json.dumps(value, default=str, ensure_ascii=False) if isinstance(value, (dict, list)) else str(value)


def _plain(value: Any) -> Any:
    """A value that JSON has, or a time in UTC."""
    if isinstance(value, datetime):
        return value.astimezone(timezone.utc) if value.tzinfo else value
    if isinstance(value, (bytes, memoryview)):
        return bytes(value).hex()
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, Decimal) and value.is_finite():
        return int(value) if value == value.to_integral_value() else value
    return value if isinstance(value, (str, int, float, bool, dict, list, type(None))) else str(value)
