"""What a Delta table holds, read where dlt's merge needs to be told: which rows to delete, which versions to close."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import dlt
import pyarrow as pa
import pyarrow.compute as pc
from dlt.common.destination.exceptions import DestinationUndefinedEntity

from .cursors import WHOLE_TEAM
from .listing import Record


def name_deletions(rows: Iterable[Record]) -> list[Record]:
    """Rows for `connectors` in which each deletion names its connector, and none stands for a whole team."""
    named = [row for row in rows if row["connector_identifier"] != WHOLE_TEAM]
    teams = {row["team_id"] for row in rows if row["connector_identifier"] == WHOLE_TEAM}
    kept = {(row["team_id"], row["connector_identifier"]) for row in named}
    stored = read("connectors", ["team_id", "connector_identifier"], "team_id", teams)
    return named + [{**row, "_deleted": True} for row in stored.to_pylist() if tuple(row.values()) not in kept]


def open_and_close(rows: Iterable[Record], at: datetime) -> tuple[list[Record], pa.Table]:
    """Versions for `connector_configurations`: the new ones, and the stored ones that they put an end to.

    Args:
        rows: New versions, and rows without content for what is closed.
        at: When the stored ones end, as the run that brings new ones begins, UTC.
    """
    keys = {(row["team_id"], row["connector_identifier"]): row for row in rows}
    stored = read("connector_configurations", None, "team_id", {team_id for team_id, _ in keys})
    current = stored.filter(pc.field("_dlt_valid_to").is_null()) if stored.num_rows else stored
    ended: list[int] = []
    still_open: set[str] = set()
    for index, row in enumerate(current.select(_KEY).to_pylist() if current.num_rows else []):
        successor = keys.get((row["team_id"], row["connector_identifier"]), keys.get((row["team_id"], WHOLE_TEAM)))
        if successor is not None and successor["_dlt_id"] == row["_dlt_id"]:
            still_open.add(row["_dlt_id"])
        elif successor is not None:
            ended.append(index)
    new = [row for row in keys.values() if row.get("content_hash") and row["_dlt_id"] not in still_open]
    return new, _ended(current.take(pa.array(ended, pa.int64())), at)


_KEY = ["team_id", "connector_identifier", "_dlt_id"]


def _ended(versions: pa.Table, at: datetime) -> pa.Table:
    if not versions.num_rows:
        return versions
    position = versions.schema.get_field_index("_dlt_valid_to")
    end = pa.array([at] * versions.num_rows, pa.timestamp("us", tz="UTC"))
    return versions.set_column(position, "_dlt_valid_to", end)


def read(table_name: str, columns: Sequence[str] | None, column: str, values: Iterable[Any]) -> pa.Table:
    """The rows in which a column has one of the values; an empty table when there are none, or no such table yet."""
    pipeline: Any = dlt.current.pipeline()
    nothing, wanted = pa.table({}), list(values)
    if not wanted or not pipeline.default_schema_name:
        return nothing
    with pipeline.destination_client() as client:
        if table_name not in client.schema.tables:
            return nothing
        try:
            stored = client.load_open_table("delta", table_name)
        except DestinationUndefinedEntity:
            return nothing
    dataset = stored.to_pyarrow_dataset()
    is_text = not pa.types.is_integer(dataset.schema.field(column).type)
    # cast, or Arrow compares the text with Delta's statistics, which have another layout, and fails
    condition = pc.field(column).cast(pa.string()) if is_text else pc.field(column)
    rows = dataset.to_table(columns and list(columns), filter=condition.isin(wanted))
    return _plain(rows)


def _plain(table: pa.Table) -> pa.Table:
    """Strings as the source writes them: a reader may hand them out in Arrow's other layouts."""
    texts = (pa.types.is_large_string, getattr(pa.types, "is_string_view", pa.types.is_large_string))
    fields = [f.with_type(pa.string()) if any(is_text(f.type) for is_text in texts) else f for f in table.schema]
    return table.cast(pa.schema(fields))
