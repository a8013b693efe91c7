"""Reads Delta tables, ends their versions, and deletes duplicates."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import datetime
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from dlt.common.libs.deltalake import deltalake_storage_options

from ...records import Record
from ...specs import TABLES, VALID_FROM, VALID_TO, TableSpec
from ..target import Target
from .reader import (
    CURRENT_COLUMNS,
    CURRENT_ROW,
    DUPLICATE,
    LATEST_END,
    AmongValues,
    MissingTableError,
    Watermark,
)
from .sql_reader import recent_load_id

_KEY = ["team_id", "connector_identifier"]
_TEXT_LAYOUTS = (pa.types.is_large_string, getattr(pa.types, "is_string_view", pa.types.is_large_string))


class DeltaReader:
    """Reads Delta tables; see `Reader`.

    Args:
        target: The tables.
    """

    def __init__(self, target: Target) -> None:
        self.target = target

    def connected(self) -> AbstractContextManager[None]:
        """See `Reader`: files have no connection."""
        return nullcontext()

    def columns(self) -> Mapping[str, Mapping[str, str]]:
        """See `Reader`."""
        return self._columns

    @cached_property
    def _columns(self) -> dict[str, dict[str, str]]:
        found = {}
        for name, spec in TABLES.items():
            try:
                with self._table(spec) as table:
                    schema = table.to_pyarrow_dataset().schema
            except MissingTableError:
                continue
            found[name] = {field.name.lower(): _data_type(field.type) for field in schema}
        return found

    def current(self, specs: Sequence[TableSpec], team_ids: Sequence[int]) -> dict[str, list[pa.Table]]:
        """See `Reader`."""
        found = {}
        for spec in specs:
            with suppress(MissingTableError):
                found[spec.name] = list(self._current(spec, team_ids))
        return found

    def _current(self, spec: TableSpec, team_ids: Sequence[int]) -> Iterator[pa.Table]:
        columns = [*_KEY, spec.content_column]
        with self._table(spec) as table:
            of_teams = _is_in(table, "team_id", team_ids)
            if spec.kind != "history":
                rows = _rows(table, columns, of_teams)
                yield _of_kind(rows.append_column("moment", pa.nulls(rows.num_rows)), CURRENT_ROW)
                return
            rows = _rows(table, [*columns, VALID_FROM, VALID_TO, "_dlt_load_id"], of_teams)
        current = rows.filter(pc.field(VALID_TO).is_null())
        yield _of_kind(current.select([*columns, VALID_FROM]), CURRENT_ROW)
        ends = rows.group_by("team_id").aggregate([(VALID_TO, "max")])
        empty = pa.repeat("", ends.num_rows)
        yield _of_kind(
            pa.table([ends["team_id"], empty, empty, ends[f"{VALID_TO}_max"]], list(CURRENT_COLUMNS[:4])), LATEST_END
        )
        yield _of_kind(_duplicates(rows).select([*columns, VALID_TO]), DUPLICATE)

    def rows(
        self, spec: TableSpec, columns: Sequence[str], team_ids: Sequence[int], among: AmongValues | None = None
    ) -> Iterator[Record]:
        """See `Reader`."""
        with self._table(spec) as table:
            condition = _is_in(table, "team_id", team_ids)
            if among:
                condition &= _is_in(table, *among)
            if spec.kind == "history":
                condition &= pc.field(VALID_TO).is_null()
            yield from _rows(table, columns, condition).to_pylist()

    def watermarks(self, spec: TableSpec, column: str, team_ids: Sequence[int], until: datetime) -> Iterator[Watermark]:
        """See `Reader`."""
        with self._table(spec) as table:
            rows = _rows(table, [*_KEY, column], _is_in(table, "team_id", team_ids))
        rows = rows.filter(pc.field(column) <= pa.scalar(until, pa.timestamp("us", tz="UTC")))
        for row in rows.group_by(_KEY).aggregate([(column, "max")]).to_pylist():
            yield row["team_id"], row["connector_identifier"], row[f"{column}_max"]

    def faulty_syncs(self, spec: TableSpec, team_ids: Sequence[int]) -> list[tuple[Record, bool]]:
        """See `Reader`."""
        columns = [column.name for column in spec.columns]
        with self._table(spec) as table:
            rows = _rows(table, [*columns, "_dlt_load_id"], _is_in(table, "team_id", team_ids))
        completed = completed_loads(self.target.client())
        if not completed:
            return []
        recent = rows.filter((pc.field("status") != "failed") & (pc.field("_dlt_load_id") >= recent_load_id()))
        recent = recent.filter(pc.field("_dlt_load_id") > min(completed))
        incomplete = recent.filter(~pc.field("_dlt_load_id").isin(pa.array(sorted(completed), pa.string())))
        return [(row, True) for row in incomplete.select(columns).to_pylist()]

    def ended_versions(self, spec: TableSpec, version_ids: Sequence[str], at: datetime) -> pa.Table:
        """The current versions with these ids, with their end; duplicates once.

        Args:
            spec: The history.
            version_ids: The versions.
            at: When the versions end, UTC.
        """
        with self._table(spec) as table:
            found = _rows(table, None, _is_in(table, "version_id", version_ids) & pc.field(VALID_TO).is_null())
        numbered = found.append_column("row", pa.array(range(found.num_rows), pa.int64()))
        firsts = numbered.group_by(["version_id", VALID_FROM]).aggregate([("row", "min")])["row_min"]
        found = found.take(firsts)
        end = pa.array([at] * found.num_rows, pa.timestamp("us", tz="UTC"))
        return found.set_column(found.schema.get_field_index(VALID_TO), VALID_TO, end)

    def duplicated_keys(self, spec: TableSpec) -> list[tuple[int, str]]:
        """team_id and connector_identifier of connectors with more than one row."""
        try:
            with self._table(spec) as table:
                counts = _rows(table, _KEY, None).group_by(_KEY).aggregate([([], "count_all")])
        except MissingTableError:
            return []
        found = counts.filter(pc.field("count_all") > 1).to_pylist()
        return [(row["team_id"], row["connector_identifier"]) for row in found]

    def delete_duplicates(self, spec: TableSpec) -> None:
        """Deletes versions of a history that an earlier load has written too, with the same end or without one."""
        try:
            with self._table(spec) as table:
                rows = _rows(table, ["version_id", VALID_TO, "_dlt_load_id"], None)
                found = [
                    f"(version_id = '{row['version_id']}' AND _dlt_load_id = '{row['_dlt_load_id']}'"
                    f" AND {VALID_TO} IS {'' if row[VALID_TO] is None else 'NOT '}NULL)"
                    for row in _duplicates(rows).to_pylist()
                ]
                if found:
                    table.delete(" OR ".join(found))
        except MissingTableError:
            return

    def delete_keys(self, spec: TableSpec, keys: Iterable[tuple[int, str]]) -> None:
        """Deletes all rows of these connectors. The next run writes each of them once."""
        conditions = sorted(
            f"(team_id = {team_id} AND connector_identifier = '{name.replace(chr(39), chr(39) * 2)}')"
            for team_id, name in keys
        )
        with self._table(spec) as table:
            table.delete(" OR ".join(conditions))

    @contextmanager
    def _table(self, spec: TableSpec) -> Iterator[DeltaTable]:
        with self.target.client() as client:
            yield open_table(client, self.target.table(spec))


def _of_kind(rows: pa.Table, kind: int) -> pa.Table:
    return rows.append_column("row_kind", pa.array([kind] * rows.num_rows, pa.int64())).rename_columns(
        list(CURRENT_COLUMNS)
    )


def _duplicates(rows: pa.Table) -> pa.Table:
    """The versions that an earlier load has written too, with the same end or without one."""
    versions = rows.append_column("content", pc.utf8_slice_codeunits(rows["version_id"], 0, 32))
    loads = versions.group_by(["content", VALID_TO]).aggregate([("_dlt_load_id", "count_distinct")])
    repeated = loads.filter(pc.field("_dlt_load_id_count_distinct") > 1)["content"].cast(pa.string()).combine_chunks()
    candidates = versions.filter(pc.field("content").isin(repeated)).sort_by("_dlt_load_id")
    firsts: dict[tuple[str, Any], str] = {}
    again = [
        index
        for index, row in enumerate(candidates.select(["content", VALID_TO, "_dlt_load_id"]).to_pylist())
        if firsts.setdefault((row["content"], row[VALID_TO]), row["_dlt_load_id"]) != row["_dlt_load_id"]
    ]
    return candidates.take(pa.array(again, pa.int64()))


def open_table(client: Any, name: str) -> DeltaTable:
    """Opens a table, found by its location and not by dlt's stored schema.

    Args:
        client: dlt's client of the dataset's files.
        name: The table's name.

    Raises:
        MissingTableError: The table does not exist.
    """
    location = client.get_open_table_location("delta", name)
    options = deltalake_storage_options(client.config.credentials, client.config.deltalake_storage_options)
    if not DeltaTable.is_deltatable(location, options):
        raise MissingTableError(name)
    return DeltaTable(location, storage_options=options)


def completed_loads(client: Any) -> set[str]:
    """Load ids that dlt has recorded as completed: a file of `_dlt_loads` each.

    Args:
        client: dlt's client of the dataset's files.
    """
    folder = client.get_table_dir(client.schema.loads_table_name)
    if not client.fs_client.exists(folder):
        return set()
    prefix = f"{client.schema.name}__"
    stems = (client.pathlib.basename(file).rpartition(".")[0] for file in client.fs_client.ls(folder, detail=False))
    return {stem.removeprefix(prefix) for stem in stems if stem.startswith(prefix)}


def _data_type(type_: pa.DataType) -> str:
    kinds = {"bool": "bool", "int64": "bigint", "double": "double"}
    return "timestamp" if pa.types.is_timestamp(type_) else kinds.get(str(type_), "text")


def _rows(table: DeltaTable, columns: Sequence[str] | None, condition: Any) -> pa.Table:
    """Rows of a table, with nulls for columns that it does not have and its texts in Arrow's plain layout."""
    dataset = table.to_pyarrow_dataset()
    present = [name for name in columns if name in dataset.schema.names] if columns is not None else None
    found = dataset.to_table(present, filter=condition)
    fields = [
        f.with_type(pa.string()) if any(is_text(f.type) for is_text in _TEXT_LAYOUTS) else f for f in found.schema
    ]
    found = found.cast(pa.schema(fields))
    for name in columns or ():
        if name not in found.column_names:
            found = found.append_column(name, pa.nulls(found.num_rows))
    return found.select(list(columns)) if columns is not None else found


def _is_in(table: DeltaTable, column: str, values: Sequence[Any]) -> Any:
    is_text = not pa.types.is_integer(table.to_pyarrow_dataset().schema.field(column).type)
    # cast, or Arrow compares the text with Delta's statistics, which have another layout, and fails
    name = pc.field(column).cast(pa.string()) if is_text else pc.field(column)
    return name.isin(pa.array(list(values), pa.string() if is_text else pa.int64()))
