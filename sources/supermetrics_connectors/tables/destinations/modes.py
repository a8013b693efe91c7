"""How rows are written: the four write modes, each with the columns and dlt hints that it needs.

mirror      `current` tables by delete-insert on their key, histories by SCD2.
upsert      Where dlt has no SCD2: rows by upsert on their key. A version ends by being written again with its end.
snapshot    Where no row can be changed or deleted: every run appends its full listing. Only on request.
append      Rows whose keys no stored row has, where a merge would change nothing and takes twice the time.
"""

from datetime import datetime
from typing import Any, ClassVar

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


class WriteMode:
    """How the rows of a table are written.

    Attributes:
        name: The mode's name, for the log.
        is_compared: Whether stored rows are compared with the listing, so that only differences are written.
        stages_ended_versions: Whether a version ends by being staged without content.
        is_append: Whether rows are appended as they are.
        has_histories: Whether histories are kept; snapshots show by themselves what was current when.
    """

    name: ClassVar[str]
    is_compared: ClassVar[bool] = True
    stages_ended_versions: ClassVar[bool] = True
    is_append: ClassVar[bool] = False
    has_histories: ClassVar[bool] = True

    def steering_columns(self, spec: TableSpec) -> tuple[ColumnSpec, ...]:
        """Columns that the mode adds to the table's own."""
        return (DELETED_COLUMN,) if spec.kind == "current" else ()

    def hints(self, spec: TableSpec, boundary: datetime | None) -> dict[str, Any]:
        """The write disposition and key that dlt is given.

        Args:
            spec: The table.
            boundary: When versions begin and end, UTC; None for the creation of the load package.
        """
        raise NotImplementedError


class _Mirror(WriteMode):
    name = "mirror"

    def hints(self, spec: TableSpec, boundary: datetime | None) -> dict[str, Any]:
        if spec.kind == "history":
            return {"write_disposition": {**_SCD2, "boundary_timestamp": boundary}}
        return {"write_disposition": {"disposition": "merge", "strategy": "delete-insert"}, "primary_key": spec.key}


class _Upsert(WriteMode):
    name = "upsert"
    stages_ended_versions = False

    def steering_columns(self, spec: TableSpec) -> tuple[ColumnSpec, ...]:
        return VALIDITY_COLUMNS if spec.kind == "history" else super().steering_columns(spec)

    def hints(self, spec: TableSpec, boundary: datetime | None) -> dict[str, Any]:  # noqa: ARG002 - dlt closes no version here
        key = ("version_id", VALID_FROM) if spec.kind == "history" else spec.key
        return {"write_disposition": {"disposition": "merge", "strategy": "upsert"}, "primary_key": key}


class _Snapshot(WriteMode):
    name = "snapshot"
    is_compared = False
    is_append = True
    has_histories = False

    def steering_columns(self, spec: TableSpec) -> tuple[ColumnSpec, ...]:
        return () if spec.kind == "log" else (SNAPSHOT_COLUMN,)

    def hints(self, spec: TableSpec, boundary: datetime | None) -> dict[str, Any]:  # noqa: ARG002 - rows are only appended
        return {"write_disposition": "append", "primary_key": ""}


class _Append(_Mirror):
    name = "append"
    is_append = True

    def steering_columns(self, spec: TableSpec) -> tuple[ColumnSpec, ...]:
        return VALIDITY_COLUMNS if spec.kind == "history" else super().steering_columns(spec)

    def hints(self, spec: TableSpec, boundary: datetime | None) -> dict[str, Any]:  # noqa: ARG002 - rows are only appended
        return {"write_disposition": "append"} | ({} if spec.kind == "history" else {"primary_key": spec.key})


MIRROR, UPSERT, SNAPSHOT, APPEND = _Mirror(), _Upsert(), _Snapshot(), _Append()
