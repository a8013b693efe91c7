"""What the tables have of the time before, read for the few connectors that changed: so no state has to hold it."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import dlt
from dlt.destinations.exceptions import DatabaseUndefinedRelation

from . import lake
from .changes import Before, Change
from .cursors import configuration_fingerprint
from .listing import Record, parse_timestamp
from .strategies import Strategy, TableName

Key = tuple[int, str]
"""team_id and connector_identifier."""

_AT_ONCE = 500
"""Values a query."""
_KEY = ["team_id", "connector_identifier"]


def before(strategy: Strategy, changes: Iterable[tuple[int, Change]]) -> dict[Key, Before]:
    """What the tables had when the fingerprints of these changes were remembered.

    Args:
        strategy: How the running pipeline's destination is written.
        changes: Changes with their team_id.
    """
    changed = {(team_id, c.identifier): c for team_id, c in changes if c.needs_configuration}
    removed = {(team_id, c.identifier) for team_id, c in changes if c.kind == "removed"}
    found = {key: Before(configuration=configuration) for key, configuration in _versions(strategy, changed)}
    names = stored(strategy, "connectors", [*_KEY, "name"], "team_id", {team_id for team_id, _ in removed})
    return found | {key: Before(name=each["name"]) for each in names if (key := _key(each)) in removed}


def empty(tables: Iterable[TableName]) -> Iterator[TableName]:
    """Yields the tables that have no row in the running pipeline's dataset, or are not there."""
    for table in tables:
        if not _query(table, "SELECT 1 FROM {table} LIMIT 1"):
            yield table


def _versions(strategy: Strategy, changed: dict[Key, Change]) -> Iterator[tuple[Key, Record]]:
    """The configurations of before, found by their fingerprints: no other row will do, current or not."""
    columns = [*_KEY, "version", "content_hash", "updated_at"]
    teams = {team_id for team_id, _ in changed}
    versions = {
        (*key, each["content_hash"]): each
        for each in stored(strategy, "connector_configurations", columns, "team_id", teams)
        if (key := _key(each)) in changed and configuration_fingerprint(each) == changed[key].before
    }
    hashes = {content_hash for *_, content_hash in versions}
    columns = [*_KEY, "content_hash", "configuration_json"]
    for each in stored(strategy, "connector_configurations", columns, "content_hash", hashes):
        if version := versions.get((*_key(each), each["content_hash"])):
            yield _key(each), {**version, "configuration_json": each["configuration_json"]}


def _key(row: Record) -> Key:
    return row["team_id"], row["connector_identifier"]


def stored(
    strategy: Strategy, table: str, columns: Sequence[str], column: str, values: Iterable[Any]
) -> Iterator[Record]:
    """Yields rows of the running pipeline's dataset; none of a table that is not there.

    Args:
        strategy: How the destination is written.
        table: The table.
        columns: What is wanted of it.
        column: The column that says which rows are.
        values: What that column has in them.
    """
    if strategy.way == "versions":
        yield from lake.read(table, columns, column, values).to_pylist()
        return
    rest = iter(sorted(values))
    while some := list(islice(rest, _AT_ONCE)):
        yield from _select(table, columns, column, some)


def _select(table: str, columns: Sequence[str], column: str, values: list[Any]) -> Iterator[Record]:
    marks = ", ".join(["%s"] * len(values))
    sql = f"SELECT {', '.join(columns)} FROM {{table}} WHERE {column} IN ({marks})"  # noqa: S608 - our own names
    rows = _query(table, sql, *values)
    yield from ({name: _instant(name, value) for name, value in zip(columns, row, strict=True)} for row in rows)


def _query(table: str, sql: str, *values: Any) -> Sequence[Sequence[Any]]:
    """The rows of a query of `{table}`; none of a table that is not there."""
    pipeline: Any = dlt.current.pipeline()
    with pipeline.sql_client() as client:
        try:
            return client.execute_sql(sql.format(table=client.make_qualified_table_name(table)), *values) or ()
        except DatabaseUndefinedRelation:
            return ()


def _instant(name: str, value: Any) -> Any:
    """The value; a time as an instant even where the database keeps times as text, as SQLite does."""
    return parse_timestamp(value) if name.endswith("_at") and isinstance(value, str) else value
