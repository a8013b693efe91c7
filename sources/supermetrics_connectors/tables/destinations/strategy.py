"""What the source needs to know about a destination, as one object."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pyarrow as pa

from ...specs import HISTORIES, TableSpec
from ..target import Target
from .modes import APPEND, MIRROR, WriteMode
from .reader import Reader

MODE_HINT = "x-write-mode"
"""Hint of a table: the write disposition that the source has set, as opposed to one that a user sets."""


@dataclass(frozen=True)
class DestinationStrategy:
    """How one destination is written, read and locked. The defaults fit a database with dlt's SCD2.

    Attributes:
        mode: The write mode; `SNAPSHOT` where rows can only be appended.
        reason: Why this mode, for the log and for errors.
        file_format: dlt's loader file format; None leaves the choice to dlt.
        table_format: Format of the tables, where a destination offers several.
        json_type: dlt's data type for columns of JSON.
        json_constant: Template of a JSON constant in SQL.
        json_text: Template that reads a JSON column as text, where the driver would parse it and lose digits.
        appends_new_keys: Whether rows with new keys may be appended instead of merged. A file must then be loaded whole
            or not at all, never twice, and by one run at a time.
        table_hints: dlt's hints of every table.
        sorts_histories: Whether histories are sorted by team, because they have no key there.
        row_in_list: Template of a row of several columns in the subquery of IN.
        view_statements: Templates of the statements that create or replace a view; none where the project creates none.
        finds_views: Whether the look-up of columns finds the view of changes too, which saves another look-up.
    """

    mode: WriteMode = MIRROR
    reason: str = "the destination has SCD2 and deletes rows"
    file_format: str | None = "parquet"
    table_format: str | None = None
    json_type: str = "json"
    json_constant: str = "'{}'"
    json_text: str = "{}"
    appends_new_keys: bool = False
    table_hints: Mapping[str, Any] = field(default_factory=dict)
    sorts_histories: bool = False
    row_in_list: str = "{}"
    view_statements: tuple[str, ...] = ()
    finds_views: bool = True

    @property
    def mode_for_new_keys(self) -> WriteMode:
        """The mode for rows whose keys no stored row has."""
        return APPEND if self.mode is MIRROR else self.mode

    def hints(self, spec: TableSpec, mode: WriteMode, boundary: datetime | None) -> dict[str, Any]:
        """The arguments of `dlt.mark.make_hints` for a table.

        Args:
            spec: The table.
            mode: How its rows are written.
            boundary: When versions begin and end, UTC; None for the creation of the load package.
        """
        columns: dict[str, dict[str, Any]] = {}
        for column in (*spec.columns, *mode.steering_columns(spec)):
            hints: dict[str, Any] = {"description": column.description}
            if column.is_json:
                hints["data_type"] = self.json_type
            if column.name == "team_id" and spec.kind == "history" and self.sorts_histories:
                hints["sort"] = True
            if column.name == "_deleted" and mode.merge:
                hints["hard_delete"] = True
            columns[column.name] = hints
        made = {
            **mode.hints(spec, boundary),
            "columns": columns,
            "file_format": self.file_format,
            "additional_table_hints": {
                "description": spec.description,
                MODE_HINT: "merge" if mode.merge else "append",
                **self.table_hints,
            },
        }
        return made | ({"table_format": self.table_format} if self.table_format else {})

    def reader(self, target: Target) -> Reader:
        """Reads the tables of a target."""
        return Reader(target, self.json_text, finds_views=self.finds_views)

    def ended_versions(
        self, reader: Reader, spec: TableSpec, version_ids: Sequence[str], at: datetime
    ) -> Iterable[pa.Table] | None:
        """The stored current versions with these ids and with their end, to be written again.

        Args:
            reader: Reads the dataset.
            spec: The history.
            version_ids: The versions.
            at: When the versions end, UTC.

        Returns:
            None where dlt ends versions itself.
        """
        del reader, spec, version_ids, at
        return None

    def prepare(self) -> None:
        """Registers what dlt needs to create the tables. Called before every run."""

    def check_tables(self, client: Any, target: Target) -> None:
        """Refuses existing tables that cannot hold the rows exactly.

        Args:
            client: dlt's SQL client, connected.
            target: The tables.

        Raises:
            SupermetricsConfigurationError: A table cannot.
        """

    def deduplicate(self, target: Target) -> int:
        """Deletes duplicates that a merge does not replace: of ended versions all but the earliest load's row.

        Returns:
            The number of connectors whose current rows were deleted, to be written by the next run.
        """
        reader = self.reader(target)
        with reader.connected():
            for spec in HISTORIES:
                reader.delete_duplicates(spec, self.row_in_list)
        return 0

    def create_view(self, client: Any, name: str, columns: Mapping[str, str], sql: str) -> bool:
        """Creates or replaces a view of ours.

        Args:
            client: dlt's SQL client of the dataset, connected.
            name: The view's name, without its dataset.
            columns: The view's columns, with their types in PostgreSQL.
            sql: Its SELECT.

        Returns:
            False where the project creates no views.
        """
        returned = ", ".join(f"{client.escape_column_name(column)} {type_}" for column, type_ in columns.items())
        view, function = (client.make_qualified_table_name(each) for each in (name, f"{name}_now"))
        for statement in self.view_statements:
            client.execute_sql(statement.format(view=view, function=function, columns=returned, sql=sql))
        return bool(self.view_statements)

    def view_table_name(self, client: Any, table: str) -> str:
        """A table's name inside the SELECT of a view."""
        return str(client.make_qualified_table_name(table))

    def locks(self, client: Any) -> "TeamLocks | None":
        """Locks of a database that last as long as a connection; None where a destination has none."""
        del client
        return None


class TeamLocks:
    """Locks of a database, held by one connection.

    Args:
        client: dlt's SQL client, connected as long as the locks are held.
    """

    def __init__(self, client: Any) -> None:
        self.client = client

    def acquire(self, keys: Sequence[int], timeout: int) -> bool:
        """Waits for the locks, in the order of their keys.

        Args:
            keys: The locks' numbers, 64 bits, in ascending order.
            timeout: Seconds to wait.

        Returns:
            False when another connection still holds one after that time.
        """
        raise NotImplementedError

    def are_held(self, keys: Sequence[int]) -> bool:
        """Whether this connection still holds all of them."""
        raise NotImplementedError

    def release(self) -> None:
        """Releases all locks of the connection."""
        raise NotImplementedError
