"""What the tables of a dataset hold of the teams of a run."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import pyarrow as pa

from ...diff import StoredRows
from ...records import to_utc
from ...specs import TableSpec
from .reader import CURRENT_COLUMNS, CURRENT_ROW, DUPLICATE, Reader


@dataclass
class StoredTable:
    """What a table holds of the teams of a run: about 80 bytes per row of `connectors`, 50 per row of a history.

    Attributes:
        is_missing: Whether the table does not exist.
        rows: connector_identifier and content of the current rows, sorted by team.
        slices: Offset and length of a team's rows, by team_id.
        latest: The latest time at which a version of a team began or ended, by team_id.
        has_duplicates: Whether a key has several current rows, or two loads have written the same version.
        has_repeated_rows: Whether a key has several current rows, or two loads have written the same current version.
    """

    is_missing: bool = False
    rows: pa.Table | None = None
    slices: dict[int, tuple[int, int]] = field(default_factory=dict)
    latest: dict[int, datetime] = field(default_factory=dict)
    has_duplicates: bool = False
    has_repeated_rows: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether the table holds no row of these teams, current or past."""
        return not self.slices and not self.latest

    def count(self, team_ids: Iterable[int]) -> int:
        """The number of current rows of some teams."""
        return sum(self.slices.get(team_id, (0, 0))[1] for team_id in team_ids)

    def of(self, team_id: int) -> StoredRows:
        """The current rows of one team."""
        if self.rows is None or team_id not in self.slices:
            return StoredRows()
        part = self.rows.slice(*self.slices[team_id])
        contents: dict[str, list[str]] = {}
        for name, content in zip(part[0].to_pylist(), part[1].to_pylist(), strict=True):
            contents.setdefault(name, []).append(content or "")
        return StoredRows(contents)


def read_tables(reader: Reader, specs: Sequence[TableSpec], team_ids: Sequence[int]) -> dict[str, StoredTable]:
    """Reads what tables hold of some teams, by their names; existing ones in one query, where there are queries."""
    found = reader.current(specs, team_ids)
    return {
        spec.name: _stored_table(found.pop(spec.name), spec) if spec.name in found else StoredTable(is_missing=True)
        for spec in specs
    }


def _stored_table(parts: list[pa.Table], spec: TableSpec) -> StoredTable:
    import pyarrow.compute as pc  # noqa: PLC0415 - takes as long to import as the rest of pyarrow

    if not parts:
        return StoredTable()
    # a part with only nulls has no type
    found = pa.concat_tables(map(_with_plain_types, parts), promote_options="default")
    rows = found.filter(pc.equal(found["row_kind"], CURRENT_ROW))
    rows = rows.select(CURRENT_COLUMNS[:3]).sort_by("team_id").combine_chunks()
    slices, start = {}, 0
    for team in rows["team_id"].value_counts().to_pylist():
        slices[team["values"]] = start, team["counts"]
        start += team["counts"]
    keys = rows.group_by(["team_id", "connector_identifier"]).aggregate([]).num_rows
    repeated = found.filter(pc.equal(found["row_kind"], DUPLICATE))["moment"]
    latest = {}
    has_duplicates, has_repeated_rows = keys < rows.num_rows, keys < rows.num_rows
    if spec.kind == "history":
        latest = _latest_moments(found)
        has_duplicates, has_repeated_rows = has_duplicates or len(repeated) > 0, repeated.null_count > 0
    return StoredTable(False, rows.drop_columns(["team_id"]), slices, latest, has_duplicates, has_repeated_rows)


def _latest_moments(found: pa.Table) -> dict[int, datetime]:
    moments = found.group_by("team_id").aggregate([("moment", "max")])
    return {
        team_id: moment
        for team_id, value in zip(moments["team_id"].to_pylist(), moments["moment_max"].to_pylist(), strict=True)
        if (moment := to_utc(value)) is not None
    }


def _with_plain_types(table: pa.Table) -> pa.Table:
    """The columns in the same types for every driver: text has several Arrow types, and numbers several sizes."""
    types = (pa.int64(), pa.string(), pa.string(), None, pa.int64())
    columns = [
        column if type_ is None else column.cast(type_) for column, type_ in zip(table.columns, types, strict=True)
    ]
    return pa.table(columns, names=CURRENT_COLUMNS)
