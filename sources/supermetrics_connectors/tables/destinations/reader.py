"""Reads what the tables of a dataset hold from the tables themselves, by dlt's SQL client."""

import logging
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import datetime, timedelta, timezone
from functools import cached_property
from itertools import islice
from typing import Any, TypeVar

import pyarrow as pa
from dlt.destinations.exceptions import DatabaseTransientException, DatabaseUndefinedRelation

from ...records import Record, to_utc
from ...specs import VALID_FROM, VALID_TO, TableSpec
from ..target import CHANGES_VIEW, Target

logger = logging.getLogger(__name__)

AmongValues = tuple[str, Sequence[Any]]
"""A column, and some values of it."""
Watermark = tuple[int, str, datetime | None]
"""team_id, connector_identifier, and the latest of some times."""
CURRENT_COLUMNS = ("team_id", "connector_identifier", "content", "moment", "row_kind")
"""Columns of `Reader.current`, in order."""
CURRENT_ROW, LATEST_END, DUPLICATE = 1, 0, 2
"""Values of `row_kind`."""
CHUNK_ROWS = 50_000
CONTENT_ID = "SUBSTR({version_id}, 1, 32)"
"""The identity of a version's content, without the load that wrote the content once more."""
MAX_VALUES = 250
"""Values in the condition of one query, where rows may be large."""
MAX_NAMED_TEAMS = 1_000
"""Team ids in the condition of one query. Of more teams, the range from the first to the last is read."""
SYNC_AGE = timedelta(days=30)
"""Older syncs are not corrected any more."""

_DUPLICATES = (
    "(SELECT {version_id}, {_dlt_load_id}, RANK() OVER"  # noqa: S608 - our own names
    f" (PARTITION BY {CONTENT_ID}, {{{VALID_TO}}} ORDER BY {{_dlt_load_id}}) AS place FROM {{table}}) AS duplicates"
    " WHERE place > 1"
)
"""Versions that an earlier load has written too, with the same end."""

T = TypeVar("T")


class MissingTableError(Exception):
    """The table does not exist."""


class Reader:
    """Reads the tables of a dataset, and deletes duplicates.

    A table that does not exist holds nothing. Any other failure to read ends the run: a table that was taken for empty
    would receive its rows a second time.

    Args:
        target: The tables.
        json_text: See `DestinationStrategy`.
        finds_views: Whether the look-up of columns finds the view of changes too, which saves another look-up.
        open_client: Connects a dlt client of a database with the tables, as a context.
    """

    def __init__(
        self,
        target: Target,
        json_text: str = "{}",
        *,
        finds_views: bool = True,
        open_client: Callable[[Target], AbstractContextManager[Any]] = Target.client,
    ) -> None:
        self.target = target
        self._json_text = json_text
        self._finds_views = finds_views
        self._open_client = open_client
        self._client: Any = None

    @contextmanager
    def connected(self) -> Iterator[Any]:
        """Opens one connection for all reads in the block, and yields dlt's client.

        To make a client and to log in takes longer than most reads.
        """
        if self._client:
            yield self._client
            return
        with self._open_client(self.target) as client:
            self._client = client
            try:
                yield client
            finally:
                self._client = None

    @cached_property
    def columns(self) -> Mapping[str, Mapping[str, str]]:
        """The dlt data types of existing columns, in lower case, by table and column; also of the view. Read once.

        A table without an entry does not exist, or the role may not see its columns.
        """
        names = {table: name for name, table in self.target.tables.items()}
        if self._finds_views:
            names[self.target.table(CHANGES_VIEW)] = CHANGES_VIEW
        with self.connected() as client:
            return {
                names[table]: {column.lower(): str(hints.get("data_type", "text")) for column, hints in columns.items()}
                for table, columns in client.get_storage_tables(names)
                if columns
            }

    def current(self, specs: Sequence[TableSpec], team_ids: Sequence[int]) -> dict[str, list[pa.Table]]:
        """Reads `CURRENT_COLUMNS` of the rows of some teams, by table. A table that does not exist has no entry.

        A history has rows of three kinds: each current version, with when it began; for each team when its latest
        version ended; and versions that two loads have written, with their end or null. Rows of other tables are
        current and have no moment. One query reads the tables that certainly exist: each query takes up to a second.
        """
        visible = [spec for spec in specs if spec.name in self.columns]
        # a history first, from which PostgreSQL takes the type of the moment that other tables do not have
        visible.sort(key=lambda spec: spec.kind != "history")
        found: dict[str, list[pa.Table]] = {}
        for some in (visible, *([spec] for spec in specs if spec not in visible)):
            with suppress(MissingTableError):
                found |= self._current(some, team_ids) if some else {}
        return found

    def _current(self, specs: Sequence[TableSpec], team_ids: Sequence[int]) -> dict[str, list[pa.Table]]:
        import pyarrow.compute as pc  # noqa: PLC0415 - takes as long to import as the rest of pyarrow

        def ask(client: Any) -> dict[str, list[pa.Table]]:
            teams = _in_teams(team_ids)
            selects = (
                self._with_qualified_names(client, spec, self._current_sql(spec, place, teams))
                for place, spec in enumerate(specs)
            )
            found: dict[str, list[pa.Table]] = {spec.name: [] for spec in specs}
            for part in _arrow(client, " UNION ALL ".join(selects)):
                rows, places = part.select(range(part.num_columns - 1)), part[part.num_columns - 1]
                for place, spec in enumerate(specs):
                    found[spec.name].append(rows.filter(pc.equal(places, place)))
            return found

        return self._query_with_reconnect(specs, ask)

    def _current_sql(self, spec: TableSpec, place: int, teams: str) -> str:
        content = f"{{{spec.content_column}}}" if self._has_column(spec, spec.content_column) else "''"
        row = f"SELECT {{team_id}}, {{connector_identifier}}, {content} AS content"
        if spec.kind != "history":
            return f"{row}, NULL AS moment, {CURRENT_ROW} AS row_kind, {place} AS place FROM {{table}} WHERE {teams}"
        return (
            f"{row}, {{{VALID_FROM}}} AS moment, {CURRENT_ROW} AS row_kind, {place} AS place FROM {{table}}"  # noqa: S608 - our own names and checked ids
            f" WHERE {{{VALID_TO}}} IS NULL AND {teams}"
            f" UNION ALL SELECT {{team_id}}, '', '', MAX({{{VALID_TO}}}), {LATEST_END}, {place} FROM {{table}}"
            f" WHERE {teams} GROUP BY {{team_id}}"
            f" UNION ALL SELECT {{team_id}}, '', '', {{{VALID_TO}}}, {DUPLICATE}, {place} FROM {{table}}"
            f" WHERE {teams} GROUP BY {{team_id}}, {CONTENT_ID}, {{{VALID_TO}}}"
            " HAVING MIN({_dlt_load_id}) <> MAX({_dlt_load_id})"
        )

    def rows(
        self, spec: TableSpec, columns: Sequence[str], team_ids: Sequence[int], among: AmongValues | None = None
    ) -> Iterator[Record]:
        """Yields rows of some teams, of a history the current ones; none of a table that does not exist.

        Args:
            spec: The table.
            columns: The columns of the yielded rows.
            team_ids: The teams.
            among: A column, and the values that it has in the yielded rows.
        """
        selected = self._selected(spec, columns)
        sql = f"SELECT {selected} FROM {{table}} WHERE {_in_teams(team_ids)}"  # noqa: S608 - our own names and checked ids
        if spec.kind == "history":
            sql += f" AND {{{VALID_TO}}} IS NULL"
        if among is None:
            for row in self._rows(spec, sql):
                yield dict(zip(columns, row, strict=True))
            return
        column, values = among
        remaining = iter(sorted(set(values)))
        while some := list(islice(remaining, MAX_VALUES)):
            marks = ", ".join(["%s"] * len(some))
            for row in self._rows(spec, f"{sql} AND {{{column}}} IN ({marks})", *some):
                yield dict(zip(columns, row, strict=True))

    def watermarks(self, spec: TableSpec, column: str, team_ids: Sequence[int], until: datetime) -> Iterator[Watermark]:
        """Yields the latest time of a column for each connector, of times that are not after `until`."""
        key = "{team_id}, {connector_identifier}"
        sql = (
            f"SELECT {key}, MAX({{{column}}}) FROM {{table}} WHERE {_in_teams(team_ids)}"  # noqa: S608 - our own names and checked ids
            f" AND {{{column}}} <= {self._time_literal(until)} GROUP BY {key}"
        )
        for team_id, identifier, value in self._rows(spec, sql):
            yield team_id, identifier, to_utc(value)

    def syncs_to_correct(self, spec: TableSpec, team_ids: Sequence[int]) -> list[tuple[Record, bool]]:
        """Rows of `team_syncs` to correct, each with whether its load is incomplete; the others are duplicates.

        A load is incomplete if `_dlt_loads` has an older load and does not record this load as completed. A failed sync
        of an incomplete load needs no correction.

        Raises:
            MissingTableError: The table does not exist.
        """
        columns = [column.name for column in spec.columns]
        selected = self._selected(spec, columns)
        since = f"{(datetime.now(timezone.utc) - SYNC_AGE).timestamp():.0f}"  # a load id begins with its time
        recent = f"FROM {{table}} AS syncs WHERE {_in_teams(team_ids)} AND {{_dlt_load_id}} >= '{since}'"
        sql = (
            f"SELECT {selected}, 1 AS is_incomplete {recent} AND {{status}} <> 'failed'"  # noqa: S608 - our own names and checked ids
            " AND {_dlt_load_id} NOT IN (SELECT {load_id} FROM {loads} WHERE {status} = 0)"
            " AND {_dlt_load_id} > (SELECT MIN({load_id}) FROM {loads})"
            f" UNION ALL SELECT {selected}, 0 FROM (SELECT syncs.*,"
            f" COUNT(*) OVER (PARTITION BY {{team_id}}, {{started_at}}) AS duplicates {recent}) AS counted"
            " WHERE duplicates > 1"
        )
        found = self._execute(spec, sql)
        return [(dict(zip(columns, row, strict=True)), bool(is_incomplete)) for *row, is_incomplete in found]

    def current_versions(self, spec: TableSpec, version_ids: Sequence[str]) -> list[pa.Table]:
        """Whole current rows of a history with these ids, each once, in the dialect of DuckDB."""
        sql = (
            "SELECT * FROM {table} WHERE {version_id} IN (SELECT unnest(%s))"  # noqa: S608 - our own names
            f" AND {{{VALID_TO}}} IS NULL QUALIFY ROW_NUMBER() OVER (PARTITION BY {{version_id}}, {{{VALID_FROM}}}) = 1"
        )
        return self._query_with_reconnect(
            [spec], lambda client: list(_arrow(client, self._with_qualified_names(client, spec, sql), version_ids))
        )

    def duplicates(self, spec: TableSpec) -> Sequence[Sequence[Any]]:
        """`version_id` and `_dlt_load_id` of versions that an earlier load has written too, with the same end."""
        return self._rows(spec, f"SELECT {{version_id}}, {{_dlt_load_id}} FROM {_DUPLICATES}")  # noqa: S608 - our own names

    def duplicated_keys(self, spec: TableSpec) -> Sequence[Sequence[Any]]:
        """Keys with more than one row."""
        key = ", ".join(f"{{{name}}}" for name in spec.key)
        return self._rows(spec, f"SELECT {key} FROM {{table}} GROUP BY {key} HAVING COUNT(*) > 1")  # noqa: S608 - our own names

    def delete_duplicates(self, spec: TableSpec, row_in_list: str = "{}") -> None:
        """Deletes versions of a history that an earlier load has written too, with the same end.

        Args:
            spec: The history.
            row_in_list: Template of a row of several columns in the subquery of IN.
        """
        row = "{version_id}, {_dlt_load_id}"
        rows = f"SELECT {row_in_list.format(row)} FROM {_DUPLICATES}"  # noqa: S608 - our own names
        self._rows(spec, f"DELETE FROM {{table}} WHERE ({row}) IN ({rows})")  # noqa: S608 - our own names

    def _time_literal(self, moment: datetime) -> str:
        with self.connected() as client:
            capabilities = client.capabilities
        literal = capabilities.format_datetime_literal or capabilities.generic_capabilities().format_datetime_literal
        return str(literal(moment, capabilities.timestamp_precision, no_tz=not capabilities.supports_tz_aware_datetime))

    def _selected(self, spec: TableSpec, columns: Sequence[str]) -> str:
        """A SELECT's columns: JSON as text, and null for columns that the table does not have."""
        documents = {column.name for column in spec.columns if column.is_json}
        return ", ".join(
            (self._json_text if name in documents else "{}").format(f"{{{name}}}")
            if self._has_column(spec, name)
            else f"NULL AS {{{name}}}"
            for name in columns
        )

    def _has_column(self, spec: TableSpec, name: str) -> bool:
        """Whether a column may be read; also where the role may not see which columns there are."""
        columns = self.columns.get(spec.name)
        return columns is None or self.target.column(name).lower() in columns

    def _rows(self, spec: TableSpec, sql: str, *values: Any) -> Sequence[Sequence[Any]]:
        with suppress(MissingTableError):
            return self._execute(spec, sql, *values)
        return ()

    def _execute(self, spec: TableSpec, sql: str, *values: Any) -> Sequence[Sequence[Any]]:
        return self._query_with_reconnect(
            [spec], lambda client: client.execute_sql(self._with_qualified_names(client, spec, sql), *values) or ()
        )

    def _query_with_reconnect(self, specs: Sequence[TableSpec], ask: Callable[[Any], T]) -> T:
        """Runs a query. After a transient database error, runs it once more over a new connection."""
        try:
            try:
                with self.connected() as client:
                    return ask(client.sql_client)
            except DatabaseTransientException as error:
                names = ", ".join(spec.name for spec in specs)
                logger.info("%s could not be read, a new connection is tried: %s", names, error)
                self._client = None
                with self.connected() as client:
                    return ask(client.sql_client)
        except DatabaseUndefinedRelation:
            raise MissingTableError(specs[0].name) from None

    def _with_qualified_names(self, client: Any, spec: TableSpec, sql: str) -> str:
        """Replaces names in braces by names as the destination writes them: in MySQL `change` is a reserved word."""
        tables = {"table": self.target.table(spec), "loads": self.target.schema.loads_table_name}

        def name(found: re.Match[str]) -> str:
            if table := tables.get(found[1]):
                return str(client.make_qualified_table_name(table))
            return str(client.escape_column_name(self.target.column(found[1])))

        return re.sub(r"\{(\w+)\}", name, sql)


def _arrow(client: Any, sql: str, *values: Any) -> Iterator[pa.Table]:
    with client.execute_query(sql, *values) as cursor, warnings.catch_warnings():
        # DuckDB 2 warns of a faster way to read Arrow, which dlt does not take
        warnings.filterwarnings("ignore", "Arrow output on a DB-API result", UserWarning)
        yield from cursor.iter_arrow(chunk_size=CHUNK_ROWS)


def _in_teams(team_ids: Iterable[int]) -> str:
    ids = sorted(team_ids)
    if len(ids) > MAX_NAMED_TEAMS:
        return f"{{team_id}} BETWEEN {ids[0]} AND {ids[-1]}"
    return f"{{team_id}} IN ({', '.join(map(str, ids))})"
