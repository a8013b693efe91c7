"""How rows are written: the four write modes, each with the columns and dlt hints that it needs.

mirror      `current` tables by delete-insert on their key, histories by SCD2.
upsert      Where dlt has no SCD2: rows by upsert on their key. A version ends by being written again with its end.
snapshot    Where no row can be changed or deleted: every run appends its full listing. Only on request.
append      Rows whose keys no stored row has, where a merge would change nothing and takes twice the time.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ...specs import DELETED_COLUMN, SNAPSHOT_COLUMN, VALID_FROM, VALIDITY_COLUMNS, ColumnSpec, TableSpec

_SCD2 = {
    "disposition": "merge",
    "strategy": "scd2",
    "row_version_column_name": "version_id",
    # Staged are new versions and, without content, stored versions that end. Only a staged version may end, so that
    # teams and connectors without a change need not be staged.
    "source_filter": "content_hash IS NOT NULL",
    "destination_scope": "version_id IN (SELECT version_id FROM {staging_table})",
}


@dataclass(frozen=True)
class WriteMode:
    """How the rows of a table are written.

    Attributes:
        name: The mode's name, for the log.
        merge: dlt's strategy of a merge by key; None where rows are appended as they are.
        has_scd2: Whether dlt ends the versions of a history, which are staged without content.
        is_compared: Whether stored rows are compared with the listing, so that only differences are written.
    """

    name: str
    merge: str | None = None
    has_scd2: bool = False
    is_compared: bool = True

    def steering_columns(self, spec: TableSpec) -> tuple[ColumnSpec, ...]:
        """Columns that the mode adds to the table's own."""
        if not self.is_compared:
            return () if spec.kind == "log" else (SNAPSHOT_COLUMN,)
        if spec.kind == "history":
            return () if self.has_scd2 else VALIDITY_COLUMNS
        return (DELETED_COLUMN,) if spec.kind == "current" else ()

    def hints(self, spec: TableSpec, boundary: datetime | None) -> dict[str, Any]:
        """The write disposition and key that dlt is given.

        Args:
            spec: The table.
            boundary: When versions begin and end, UTC; None for the creation of the load package.
        """
        is_history = spec.kind == "history"
        if is_history and self.has_scd2:
            return {"write_disposition": {**_SCD2, "boundary_timestamp": boundary}}
        if self.merge:
            key = ("version_id", VALID_FROM) if is_history else spec.key
            return {"write_disposition": {"disposition": "merge", "strategy": self.merge}, "primary_key": key}
        if not self.is_compared:
            return {"write_disposition": "append", "primary_key": ""}
        return {"write_disposition": "append"} | ({} if is_history else {"primary_key": spec.key})


MIRROR = WriteMode("mirror", "delete-insert", has_scd2=True)
UPSERT = WriteMode("upsert", "upsert")
SNAPSHOT = WriteMode("snapshot", is_compared=False)
APPEND = WriteMode("append")
