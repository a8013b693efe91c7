"""What the running pipeline's dataset holds, asked of the tables themselves.

A table that is not there holds nothing. Whatever else keeps one from being read ends the run: taken for empty, its rows
would be written a second time.
"""

import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from itertools import islice
from typing import Any, Protocol, TypeVar, cast

import pyarrow as pa
import pyarrow.compute as pc
from dlt.destinations.exceptions import DatabaseException, DatabaseTransientException, DatabaseUndefinedRelation
from dlt.destinations.job_client_impl import SqlJobClientBase

from ..api.checks import Record, parse_timestamp
from ..compare import Held
from .contracts import VALID_FROM, VALID_TO, Contract
from .sessions import in_utc, running_pipeline
from .strategies import Strategy

logger = logging.getLogger(__name__)

_KEY = ("team_id", "connector_identifier")
_CONTENT = "SUBSTR({_dlt_id}, 1, 32)"
"""What a version says, without what tells it from an earlier one that said the same."""
_ROWS_AT_ONCE = 50_000
_VALUES_AT_ONCE = 250
"""Values in one query's condition, where rows may be large."""
_NEWER = timedelta(days=30)
"""How old a sync may be to be looked at again."""
_TEAMS_BY_NAME = 1_000
"""Team ids in one query's condition. Of more teams, all from the first to the last are read."""
TWICE = "twice"
"""Stands where a history has copies of a version, as two runs at once may leave them."""


T = TypeVar("T")
Among = tuple[str, Sequence[Any]]
"""A column, and some values of it."""
Newest = tuple[int, str, datetime | None]
"""team_id, connector_identifier, and the latest of some times."""


class MissingTableError(Exception):
    """The table is not there."""


class Reader(Protocol):
    """Reads the tables of a dataset."""

    def connected(self) -> AbstractContextManager[Any]:
        """Has what is read in the block read by one connection. Yields dlt's client of a database, none of files."""

    def current(self, contract: Contract, team_ids: Sequence[int]) -> Iterator[pa.Table]:
        """Yields team_id, connector_identifier, content and, of a history, a moment, for each current row.

        Of a history follow rows without an identifier: one a team with the latest end of a version, and one, its
        content `TWICE`, for each version that is there twice and has ended.

        Raises:
            MissingTableError: There is no such table.
        """

    def rows(
        self,
        contract: Contract,
        columns: Sequence[str],
        team_ids: Sequence[int],
        among: Among | None = None,
    ) -> Iterator[Record]:
        """Yields the rows of some teams, of a history the current ones.

        Yields none of a table that is not there.

        Args:
            contract: Which table.
            columns: What is yielded.
            team_ids: The teams. Rows of a team are written together: a table is read where these are, and not as a
                whole for each of many queries.
            among: A column, and the values that it has in the rows that are yielded; none for all of them.
        """

    def delete_copies(self, contract: Contract, team_ids: Sequence[int]) -> None:
        """Deletes versions of a history that are there once more, by another load, and have the same end."""

    def column_types(self, contract: Contract) -> dict[str, str]:
        """The dlt data types of the columns that the table has, by name; none of a table that is not there."""

    def every(self, contract: Contract, columns: Sequence[str], team_ids: Sequence[int]) -> Iterator[Record]:
        """Yields all rows of some teams.

        Raises:
            MissingTableError: There is no such table.
        """

    def newest(self, contract: Contract, column: str, team_ids: Sequence[int]) -> Iterator[Newest]:
        """Yields team_id, connector_identifier and the latest time of a column, for each connector.

        Raises:
            MissingTableError: There is no such table.
        """

    def unfinished_syncs(self, contract: Contract, team_ids: Sequence[int]) -> list[Record]:
        """The newer syncs that say of a load which never completed that all went well.

        Raises:
            MissingTableError: There is no such table.
        """


@dataclass
class Table:
    """What a table holds of the teams of a run: 80 bytes a row, and 50 of a history, where identifiers have 10.

    Attributes:
        is_missing: Whether it is not there at all.
        rows: The current rows, sorted by team: connector_identifier, content.
        starts: Where a team's rows start and how many there are, by team_id.
        latest: The latest moment at which a version of a team began or ended, by team_id.
    """

    is_missing: bool = False
    rows: pa.Table | None = None
    starts: dict[int, tuple[int, int]] = field(default_factory=dict)
    latest: dict[int, datetime] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether it holds no row of these teams, current or past."""
        return not self.starts and not self.latest

    def count(self, team_ids: Iterable[int]) -> int:
        """How many current rows it holds of some teams."""
        return sum(self.starts.get(team_id, (0, 0))[1] for team_id in team_ids)

    def of(self, team_id: int) -> Held:
        """What it holds of one team."""
        if self.rows is None or team_id not in self.starts:
            return Held()
        part = self.rows.slice(*self.starts[team_id])
        hashes: dict[str, list[str]] = {}
        for name, content in zip(part[0].to_pylist(), part[1].to_pylist(), strict=True):
            hashes.setdefault(name, []).append(content or "")
        return Held(hashes)


def read(reader: Reader, contract: Contract, team_ids: Sequence[int], mends: bool = False) -> Table:
    """Reads what a table holds of some teams, in one query.

    Args:
        reader: Reads the dataset.
        contract: Which table.
        team_ids: The teams.
        mends: Whether copies in a history are deleted before.
    """
    try:
        found = _current(reader, contract, team_ids)
        if mends and found.num_columns > _OF_A_ROW and _has_copies(found):
            reader.delete_copies(contract, team_ids)
            found = _current(reader, contract, team_ids)
    except MissingTableError:
        return Table(is_missing=True)
    latest = _latest(found) if found.num_columns > _OF_A_ROW else {}
    rows = found.select(range(_OF_A_ROW)).filter(pc.not_equal(found[1], "")).sort_by("team_id").combine_chunks()
    starts, start = {}, 0
    teams = pc.run_end_encode(rows["team_id"].combine_chunks())
    for team_id, end in zip(teams.values.to_pylist(), teams.run_ends.to_pylist(), strict=True):
        starts[team_id] = start, end - start
        start = end
    return Table(rows=rows.drop_columns(["team_id"]), starts=starts, latest=latest)


_OF_A_ROW = 3
"""Columns that say what a row is; the fourth, of a history, is a moment."""


def _current(reader: Reader, contract: Contract, team_ids: Sequence[int]) -> pa.Table:
    parts = [_plain(part) for part in reader.current(contract, team_ids)]
    if not parts:
        return _plain(pa.table([[], [], []], names=[*_KEY, "content"]))
    return pa.concat_tables(parts, promote_options="default")  # where all values of a part are null, it has no type


def _has_copies(found: pa.Table) -> bool:
    current = found.filter(pc.not_equal(found[1], ""))
    return bool(
        pc.any(pc.equal(found[2], TWICE)).as_py()
        or current.group_by(list(_KEY)).aggregate([]).num_rows < current.num_rows
    )


def _latest(found: pa.Table) -> dict[int, datetime]:
    moments = found.group_by("team_id").aggregate([("moment", "max")])
    return {
        team_id: moment
        for team_id, value in zip(moments["team_id"].to_pylist(), moments["moment_max"].to_pylist(), strict=True)
        if (moment := as_instant(value)) is not None
    }


def as_instant(value: Any) -> datetime | None:
    """A time in UTC, even where the database keeps times as text (SQLite) or without their zone (MySQL).

    A text that is no time, which somebody must have written there, is none.
    """
    if isinstance(value, str):
        try:
            return parse_timestamp(value)
        except ValueError:
            return None
    moment: datetime | None = value
    return moment if moment is None or moment.tzinfo else moment.replace(tzinfo=timezone.utc)


@dataclass
class SqlReader:
    """Reads by dlt's SQL client, as Arrow.

    Attributes:
        json_text: See `Strategy`.
        row_in_list: See `Strategy`.
    """

    json_text: str = "{}"
    row_in_list: str = "{}"
    _client: Any = None
    _is_connected: bool = False

    @contextmanager
    def connected(self) -> Iterator[Any]:
        """See `Reader`. Yields dlt's client; to make one and to log in takes longer than most of what is read."""
        if self._is_connected:
            yield self._client
            return
        self._client = self._client or _client_in_utc()
        with self._client as client:
            self._is_connected = True
            try:
                yield client
            finally:
                self._is_connected = False

    def current(self, contract: Contract, team_ids: Sequence[int]) -> Iterator[pa.Table]:
        """See `Reader`."""
        columns = f"{_columns([*_KEY, contract.content])} AS content"
        teams = _in_teams(team_ids)
        sql = f"SELECT {columns} FROM {{table}} WHERE {teams}"  # noqa: S608 - our own names and checked ids
        if contract.kind == "history":
            sql = (
                f"SELECT {columns}, {{{VALID_FROM}}} AS moment FROM {{table}} WHERE {{{VALID_TO}}} IS NULL AND {teams}"  # noqa: S608 - our own names and checked ids
                f" UNION ALL SELECT {{team_id}}, '', '', MAX({{{VALID_TO}}}) FROM {{table}} WHERE {teams}"
                " GROUP BY {team_id}"
                f" UNION ALL SELECT {{team_id}}, '', '{TWICE}', {{{VALID_TO}}} FROM {{table}}"
                f" WHERE {{{VALID_TO}}} IS NOT NULL AND {teams} GROUP BY {{team_id}}, {_CONTENT}, {{{VALID_TO}}}"
                " HAVING COUNT(DISTINCT {_dlt_load_id}) > 1"
            )
        names = [*_KEY, "content", "moment"]
        for rows in self._query(contract.name, sql):
            yield rows.rename_columns(names[: rows.num_columns])

    def delete_copies(self, contract: Contract, team_ids: Sequence[int]) -> None:
        """See `Reader`."""
        teams = _in_teams(team_ids)
        row = _columns(["_dlt_id", "_dlt_load_id"])
        sql = (
            f"DELETE FROM {{table}} WHERE {teams} AND ({row}) IN ("  # noqa: S608 - our own names and checked ids
            f"SELECT {self.row_in_list.format(row)} FROM (SELECT {row},"
            f" RANK() OVER (PARTITION BY {_CONTENT}, {{{VALID_TO}}} ORDER BY {{_dlt_load_id}}) AS place"
            f" FROM {{table}} WHERE {teams}) AS copies WHERE place > 1)"
        )
        try:
            self._rows(contract.name, sql)
        except DatabaseException as error:  # current ones are mended by what is written, and the past told once
            logger.warning("Copies of versions in %s could not be deleted: %s", contract.name, error)

    def rows(
        self,
        contract: Contract,
        columns: Sequence[str],
        team_ids: Sequence[int],
        among: Among | None = None,
    ) -> Iterator[Record]:
        """See `Reader`."""
        current = f" AND {{{VALID_TO}}} IS NULL" if contract.kind == "history" else ""
        teams = _in_teams(team_ids)
        documents = {each.name for each in contract.columns if each.is_json}
        selected = ", ".join(self.json_text.format(f"{{{n}}}") if n in documents else f"{{{n}}}" for n in columns)
        column, values = among or ("team_id", team_ids)
        rest = iter(sorted(set(values)))
        while some := list(islice(rest, _VALUES_AT_ONCE)):
            marks = ", ".join(["%s"] * len(some))
            sql = f"SELECT {selected} FROM {{table}} WHERE {teams} AND {{{column}}} IN ({marks}){current}"  # noqa: S608 - our own names
            try:
                found = self._rows(contract.name, sql, *some)
            except MissingTableError:
                return
            yield from (dict(zip(columns, row, strict=True)) for row in found)

    def every(self, contract: Contract, columns: Sequence[str], team_ids: Sequence[int]) -> Iterator[Record]:
        """See `Reader`."""
        sql = f"SELECT {_columns(columns)} FROM {{table}} WHERE {_in_teams(team_ids)}"  # noqa: S608 - our own names and checked ids
        for row in self._rows(contract.name, sql):
            yield dict(zip(columns, row, strict=True))

    def newest(self, contract: Contract, column: str, team_ids: Sequence[int]) -> Iterator[Newest]:
        """See `Reader`."""
        key = _columns(_KEY)
        sql = f"SELECT {key}, MAX({{{column}}}) FROM {{table}} WHERE {_in_teams(team_ids)} GROUP BY {key}"  # noqa: S608 - our own names and checked ids
        for team_id, identifier, value in self._rows(contract.name, sql):
            yield team_id, identifier, as_instant(value)

    def column_types(self, contract: Contract) -> dict[str, str]:
        """See `Reader`."""
        with self.connected() as client:
            _, columns = client.get_storage_table(contract.name)
        return {name: str(column.get("data_type", "text")) for name, column in columns.items()}

    def unfinished_syncs(self, contract: Contract, team_ids: Sequence[int]) -> list[Record]:
        """See `Reader`."""
        columns = [column.name for column in contract.columns]
        sql = (
            f"SELECT {_columns(columns)} FROM {{table}} WHERE {{status}} <> 'failed' AND {_in_teams(team_ids)}"  # noqa: S608 - our own names and checked ids
            f" AND {{_dlt_load_id}} >= '{newer_loads()}'"
            " AND {_dlt_load_id} NOT IN (SELECT {load_id} FROM {loads} WHERE {status} = 0)"
        )
        return [dict(zip(columns, row, strict=True)) for row in self._rows(contract.name, sql)]

    def _rows(self, table: str, sql: str, *values: Any) -> Sequence[Sequence[Any]]:
        return self._asked(table, lambda client: client.execute_sql(_named(client, table, sql), *values) or ())

    def _query(self, table: str, sql: str) -> list[pa.Table]:
        def ask(client: Any) -> list[pa.Table]:
            with client.execute_query(_named(client, table, sql)) as cursor, warnings.catch_warnings():
                # DuckDB 2 warns of a faster way to read Arrow, which dlt does not take
                warnings.filterwarnings("ignore", "Arrow output on a DB-API result", UserWarning)
                return list(cursor.iter_arrow(chunk_size=_ROWS_AT_ONCE))

        return self._asked(table, ask)

    def _asked(self, table: str, ask: Callable[[Any], T]) -> T:
        """Asks; once more by a new connection, where the database says that it may answer then."""
        try:
            try:
                with self.connected() as client:
                    return ask(client.sql_client)
            except DatabaseTransientException as error:
                logger.info("%s could not be read, it is asked for once more: %s", table, error)
                self._client, self._is_connected = None, False
                with self.connected() as client:
                    return ask(client.sql_client)
        except DatabaseUndefinedRelation:
            raise MissingTableError(table) from None


def _client_in_utc() -> Any:
    client = running_pipeline().destination_client()
    if isinstance(client, SqlJobClientBase):  # and not one of plain files
        in_utc(client.sql_client)
    return client


def newer_loads() -> str:
    """Where to begin to look: a load id is the time at which it began, in seconds."""
    return f"{(datetime.now(timezone.utc) - _NEWER).timestamp():.0f}"


def _named(client: Any, table: str, sql: str) -> str:
    """The statement with the names in braces as the destination writes them: in MySQL `change` is a reserved word."""
    tables = {"table": table, "loads": "_dlt_loads"}
    qualified = {key: client.make_qualified_table_name(name) for key, name in tables.items()}
    return sql.format_map(_Names(client, qualified))


class _Names(dict[str, str]):
    def __init__(self, client: Any, tables: dict[str, str]) -> None:
        super().__init__(tables)
        self._client = client

    def __missing__(self, column: str) -> str:
        return str(self._client.escape_column_name(column))


def _columns(names: Iterable[str]) -> str:
    return ", ".join(f"{{{name}}}" for name in names)


def _in_teams(team_ids: Sequence[int]) -> str:
    if len(team_ids) > _TEAMS_BY_NAME:
        return f"{{team_id}} BETWEEN {min(team_ids)} AND {max(team_ids)}"
    return f"{{team_id}} IN ({', '.join(map(str, team_ids))})"


def _plain(table: pa.Table) -> pa.Table:
    """Keys and text in one layout: readers hand text out in several of Arrow's, and say or do not say what is null."""
    types = [pa.int64(), pa.string(), pa.string(), *table.schema.types[3:]]
    columns = [column.cast(type_) for column, type_ in zip(table.columns, types, strict=True)]
    return pa.table(columns, names=table.column_names)


def reader(strategy: Strategy) -> Reader:
    """How to read where the strategy writes."""
    if strategy.way == "versions":
        from .delta import DeltaReader  # noqa: PLC0415 - deltalake is installed where it is needed

        return cast("Reader", DeltaReader())
    return SqlReader(strategy.json_text, strategy.row_in_list)
