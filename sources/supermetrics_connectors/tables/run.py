"""One run of the source: where its tables are, what they hold, and its clock."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import cached_property
from typing import Any

import dlt
from dlt.common.storages.exceptions import CurrentLoadPackageStateNotAvailable

from ..records import Record, shift
from ..settings import Settings
from ..specs import COMPARED_TABLES, HISTORIES, TABLES, TEAM_SYNCS, TableSpec
from .destinations import choose_strategy
from .destinations.modes import WriteMode
from .destinations.reader import AmongValues, MissingTableError, Reader
from .destinations.stored import StoredTable, read_tables
from .destinations.strategy import DestinationStrategy
from .staging import separate_staging_dataset
from .target import CHANGES_COLUMNS, CHANGES_VIEW, Target, running_pipeline

INTERRUPTED_LOAD = "The load was interrupted: some tables may have been ahead of others until the next run."
_TICK = timedelta(milliseconds=1)
"""The shortest duration that every destination stores."""


@dataclass
class Run:
    """One run, and what the dataset held when the run began.

    Attributes:
        settings: The settings of the source.
        strategy: How the destination is written.
        target: Where the tables are; None when resources are read without a pipeline.
        load_id: dlt's load package; None when resources are read without being loaded.
        selected: Specifications whose resources are selected. Other tables are neither compared nor written.
        dropped: Specifications whose tables dlt will drop or empty before the rows arrive.
        started_at: When the run began, UTC.
    """

    settings: Settings
    strategy: DestinationStrategy
    target: Target | None = None
    load_id: str | None = None
    selected: frozenset[str] = frozenset(TABLES)
    dropped: frozenset[str] = frozenset()
    started_at: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    _stored: dict[str, StoredTable] = field(default_factory=dict)

    @classmethod
    def current(cls, settings: Settings, names: Mapping[str, str], selected: frozenset[str]) -> "Run":
        """The run of the pipeline that is running, or one without a destination.

        Args:
            settings: The settings of the source.
            names: Names of tables that differ from their specification.
            selected: Specifications whose resources are selected.
        """
        pipeline = running_pipeline()
        destination = pipeline.destination if pipeline else None
        strategy = choose_strategy(destination, settings.table_format, settings.snapshot)
        try:
            package = dlt.current.load_package_state()
        except CurrentLoadPackageStateNotAvailable:
            return cls(settings, strategy)
        if destination is None:
            return cls(settings, strategy, load_id=package["load_id"], selected=selected)
        strategy.prepare()
        target = Target(pipeline, dlt.current.source_schema(), names)
        separate_staging_dataset(target)
        state: Mapping[str, Any] = package["state"]
        # `refresh` drops or empties tables that still exist now
        gone = {table["name"] for key in ("dropped_tables", "truncated_tables") for table in state.get(key, ())}
        dropped = frozenset(name for name, table in target.tables.items() if table in gone)
        return cls(settings, strategy, target, package["load_id"], selected, dropped, state["created_at"])

    @property
    def is_compared(self) -> bool:
        """Whether listings are compared with stored rows: not for snapshots, and not without a destination."""
        return self.target is not None and self.strategy.mode.is_compared

    @cached_property
    def reader(self) -> Reader:
        """Reads the dataset."""
        if self.target is None:
            raise ValueError("A run without a destination reads nothing")
        return self.strategy.reader(self.target)

    def stored(self, spec: TableSpec) -> StoredTable:
        """What a compared table holds of the run's teams, read once: by `read`, if the table is selected."""
        if spec.name not in self._stored:
            self._read([spec])
        return self._stored[spec.name]

    def _read(self, specs: Sequence[TableSpec]) -> None:
        read = [spec for spec in specs if self.reads(spec)]
        self._stored |= {spec.name: StoredTable() for spec in specs}
        self._stored |= read_tables(self.reader, read, self.settings.team_ids) if read else {}

    def reads(self, spec: TableSpec) -> bool:
        """Whether stored rows of a table matter: not for snapshots, and not where dlt will drop the table."""
        return self.is_compared and spec.name not in self.dropped

    def rows(
        self, spec: TableSpec, columns: Sequence[str], team_ids: Sequence[int], among: AmongValues | None = None
    ) -> Iterator[Record]:
        """Yields stored rows, see `Reader.rows`; none where they do not matter."""
        return self.reader.rows(spec, columns, team_ids, among) if self.reads(spec) else iter(())

    def read(self) -> None:
        """Reads the stored state of every selected table now, over one connection."""
        with self.reader.connected() if self.is_compared else nullcontext():
            self.lost_columns  # noqa: B018 - a cached property: later, the schema has columns of this run
            self._read([spec for spec in COMPARED_TABLES if spec.name in self.selected])
            if TEAM_SYNCS.name in self.selected:
                self.corrected_syncs  # noqa: B018 - a cached property, read over this connection

    def columns(self, spec: TableSpec) -> Mapping[str, str]:
        """The dlt data types of the table's columns at the destination, in lower case; empty for no such table."""
        if self.target is None or spec.name in self.dropped:
            return {}
        return self.reader.columns.get(spec.name, {})

    def known_columns(self, spec: TableSpec) -> Mapping[str, Any]:
        """The columns of a table in the schema of the running source, by name."""
        if self.target is None:
            return {}
        columns: Mapping[str, Any] = self.target.schema.tables.get(self.target.table(spec), {}).get("columns", {})
        return columns

    @cached_property
    def lost_columns(self) -> Mapping[str, list[str]]:
        """Columns that existing tables lack, by table: somebody dropped or renamed them.

        A column that the user's own `add_map` leaves out was never written, and dlt's schema does not know it.
        """
        lost: dict[str, list[str]] = {}
        for name in self.selected if self.is_compared else ():
            stored, known = self.columns(TABLES[name]), self.known_columns(TABLES[name])
            written = [column for column, hints in known.items() if "data_type" in hints]
            expected = written or [column.name for column in TABLES[name].columns]
            lost[name] = [each for each in expected if stored and each.lower() not in stored]
        return lost

    @property
    def changes_view_exists(self) -> bool:
        """Whether the view `connector_changes` is known to exist; a role may not see that it does."""
        return self.is_compared and [*self.reader.columns.get(CHANGES_VIEW, ())] == [*CHANGES_COLUMNS]

    @property
    def has_duplicates(self) -> bool:
        """Whether a history has, or after the load will have, ended versions that two loads have written."""
        return any(self.stored(spec).has_duplicates for spec in HISTORIES if spec.name in self.selected)

    @cached_property
    def boundary(self) -> datetime:
        """When versions begin and end: the start of the run, or just after the latest stored time if that is later."""
        if not self.is_compared:
            return self.started_at
        moments = [moment for history in HISTORIES for moment in self.stored(history).latest.values()]
        return max([self.started_at, *(shift(moment, _TICK) for moment in moments)])

    @property
    def boundary_hint(self) -> datetime | None:
        """The boundary if dlt would choose another one, else None: a new hint makes dlt store a new schema version."""
        return None if self.boundary == self.started_at else self.boundary

    @cached_property
    def corrected_syncs(self) -> list[Record] | None:
        """Rows that correct syncs: of loads that never completed, and duplicates; None without a table `team_syncs`."""
        if not self.reads(TEAM_SYNCS):
            return []
        try:
            stored = self.reader.syncs_to_correct(TEAM_SYNCS, self.settings.team_ids)
        except MissingTableError:
            return None
        corrected: dict[tuple[Any, ...], Record] = {}
        for row, is_incomplete in stored:
            key = tuple(row[name] for name in TEAM_SYNCS.key)
            if is_incomplete:
                corrected[key] = row | {"status": "failed", "error_message": INTERRUPTED_LOAD}
            else:
                corrected.setdefault(key, row)
        return list(corrected.values())

    def is_missing(self, spec: TableSpec) -> bool:
        """Whether a table does not exist."""
        if spec.name == TEAM_SYNCS.name:
            return self.corrected_syncs is None
        if spec in COMPARED_TABLES:
            return self.stored(spec).is_missing
        return not self.columns(spec)

    def mode(self, spec: TableSpec) -> WriteMode:
        """How the rows of one table are written.

        Rows of a table that holds none of these teams have new keys, and so have syncs, unless they correct others.
        """
        if spec is TEAM_SYNCS:
            # a file that is loaded twice leaves duplicates, which the next run replaces
            are_new = not self.corrected_syncs
        else:
            are_new = self.strategy.appends_new_keys and spec in COMPARED_TABLES and self.stored(spec).is_empty
        return self.strategy.mode_for_new_keys if are_new else self.strategy.mode
