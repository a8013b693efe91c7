"""What a batch of listings changes in each table, and the rows that say so."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from functools import cached_property
from typing import Any

import dlt
from dlt.common.storages.exceptions import CurrentLoadPackageStateNotAvailable

from ..api.checks import Record
from ..api.listing import Listing
from ..compare import (
    REWRITTEN,
    Difference,
    configuration_ids,
    connector_contents,
    connector_version_ids,
    difference,
)
from ..documents.json_paths import changes, render, same
from ..documents.json_text import canonical_json, parse_json
from ..settings import Settings
from .contracts import (
    ADDED,
    CONNECTOR_CONFIGURATIONS,
    CONNECTOR_VERSIONS,
    CONNECTORS,
    CONTRACTS,
    TEAM_SYNCS,
    Contract,
    TableName,
)
from .neighbours import Neighbours, Part
from .stored import MissingTableError, Reader, SqlReader, Table, as_instant, read, reader
from .strategies import Strategy, choose_here

_UNFINISHED = "The load was interrupted: some tables may have been ahead of others until the next run."
_COMPARED = (CONNECTORS, CONNECTOR_VERSIONS, CONNECTOR_CONFIGURATIONS)
_TICK = timedelta(milliseconds=1)
"""The shortest time that every destination tells from none."""


@dataclass
class Run:
    """One run, and what the dataset that it loads to held when it began.

    Attributes:
        team_ids: Its teams.
        strategy: How the destination is written.
        load_id: dlt's load package; None when resources are read without loading them.
        full_refresh: Whether rows are written even if they are there.
        writes: Names of the resources that are selected. A table that is not among them is neither compared nor
            touched; but who selects `listings` compares all of them, to write none.
        began: When it began, UTC.
        shows_changes: Whether `connector_changes` has been made.
        neighbours: What is asked for besides listings; None for nothing.
    """

    team_ids: Sequence[int]
    strategy: Strategy
    load_id: str | None = None
    full_refresh: bool = False
    writes: Collection[str] = tuple(CONTRACTS)
    began: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    shows_changes: bool = False
    neighbours: Neighbours | None = None
    _dropped: frozenset[str] = frozenset()
    _tables: dict[TableName, Table] = field(default_factory=dict)

    @classmethod
    def here(cls, settings: Settings) -> "Run":
        """The run of the pipeline that is running, or one that loads nowhere."""
        strategy = choose_here(settings.table_format, settings.snapshot)
        run = cls._of(settings.team_ids, strategy, settings.full_refresh)
        if settings.asks_more:
            reads = (lambda: run.reader) if run.compares else None
            run.neighbours = Neighbours(settings, reads, run._dropped, run.full_refresh)
        return run

    @classmethod
    def of_syncs(cls, team_ids: Sequence[int], table_format: str | None) -> "Run":
        """A run that writes only what happened to these teams, wherever that can be written."""
        return cls._of(team_ids, choose_here(table_format, None))

    @classmethod
    def _of(cls, team_ids: Sequence[int], strategy: Strategy, full_refresh: bool = False) -> "Run":
        try:
            package = dlt.current.load_package_state()
        except CurrentLoadPackageStateNotAvailable:
            return cls(team_ids, strategy)
        state: Mapping[str, Any] = package["state"]
        # what `refresh` drops or empties is still there, and will be gone when the rows arrive
        dropped = [table["name"] for key in ("dropped_tables", "truncated_tables") for table in state.get(key, ())]
        return cls(
            team_ids,
            strategy,
            package["load_id"],
            full_refresh,
            writes=dlt.current.source().selected_resources,
            began=state["created_at"],
            _dropped=frozenset(dropped),
        )

    @property
    def compares(self) -> bool:
        """Whether anything is to be compared with: snapshots begin anew, and so does who only looks."""
        return self.load_id is not None and self.strategy.way in ("mirror", "versions")

    @cached_property
    def reader(self) -> Reader:
        """Reads the dataset."""
        return reader(self.strategy)

    def table(self, contract: Contract) -> Table:
        """What a table holds of the run's teams, read once, by one connection with the others that are written."""
        if contract.name not in self._tables:
            self._read({contract.name: contract} | {each.name: each for each in _COMPARED if each.name in self.writes})
        return self._tables[contract.name]

    def _read(self, contracts: Mapping[TableName, Contract]) -> None:
        with self.reader.connected() if self.compares else nullcontext():
            for name, contract in contracts.items():
                asked = self.compares and name not in self._dropped
                mends = name in self.writes
                self._tables[name] = read(self.reader, contract, self.team_ids, mends) if asked else Table()
            if TEAM_SYNCS.name in self.writes:
                self.is_missing(TEAM_SYNCS)  # which is then known, with the rows to correct

    def columns(self, contract: Contract) -> set[str]:
        """The columns that a table has, in small letters; none of one that is not there when the rows arrive."""
        if self.load_id is None or contract.name in self._dropped:
            return set()
        by_dlt = self.reader if isinstance(self.reader, SqlReader) else SqlReader()
        return {name.lower() for name in by_dlt.column_types(contract)}

    @cached_property
    def at(self) -> datetime:
        """When versions begin and end: as the run began, or after all that is stored by a clock that was ahead."""
        if not self.compares:
            return self.began
        histories = (CONNECTOR_VERSIONS, CONNECTOR_CONFIGURATIONS)
        moments = [moment for history in histories for moment in self.table(history).latest.values()]
        return max([self.began, *(moment + _TICK for moment in moments)])

    @cached_property
    def unfinished_syncs(self) -> list[Record] | None:
        """Rows of `team_syncs` that say `ok` of a load which never completed, told as failed; None without a table."""
        try:
            stored = self.reader.unfinished_syncs(TEAM_SYNCS, self.team_ids) if self.compares else []
        except MissingTableError:
            return None
        return [row | {"status": "failed", "error_message": _UNFINISHED} for row in stored]

    def is_missing(self, contract: Contract) -> bool:
        """Whether a table is not there at all."""
        if self.neighbours and contract.name in ADDED:
            return self.neighbours.is_missing(contract)
        return self.unfinished_syncs is None if contract.name == TEAM_SYNCS.name else self.table(contract).is_missing

    def strategy_for(self, contract: Contract) -> Strategy:
        """How one table is written: rows of a table that holds none need no merge, and new keys neither.

        Log entries of several files are merged always: some of them in the table without the others would be a gap.
        """
        if contract.name in ADDED:
            return self.strategy
        if contract.name == TEAM_SYNCS.name or self.table(contract).is_empty:
            return self.strategy.for_new_keys()
        return self.strategy


@dataclass
class Batch:
    """Listings whose rows become one Arrow table each.

    Attributes:
        run: The run.
        listings: What the API said about some teams.
        part: What it answered besides.
    """

    run: Run
    listings: list[Listing]
    part: Part = field(default_factory=Part)
    _contents: dict[int, dict[str, str]] = field(default_factory=dict)
    _differences: dict[tuple[TableName, int], Difference] = field(default_factory=dict)

    def difference(self, contract: Contract, listing: Listing) -> Difference:
        """What a listing changes in a table."""
        key = contract.name, listing.team_id
        if key not in self._differences:
            self._differences[key] = self._compare(contract, listing)
        return self._differences[key]

    def _compare(self, contract: Contract, listing: Listing) -> Difference:
        if listing.error or not {contract.name, "listings"} & set(self.run.writes):
            return Difference()
        held = self.run.table(contract).of(listing.team_id)
        refresh = self.run.full_refresh
        if contract is CONNECTORS:
            return difference(held, self._hashes(listing), (), listing.complete, refresh)
        # a listing without configurations tells only which connectors still exist
        asked = contract is CONNECTOR_VERSIONS or listing.has_configurations
        found = difference(held, self._ids(contract, listing), () if asked else listing.connectors, listing.complete)
        return self._mended(contract, listing, found) if refresh and self.run.compares else found

    def _hashes(self, listing: Listing) -> dict[str, str]:
        if listing.team_id not in self._contents:
            self._contents[listing.team_id] = connector_contents(listing)
        return self._contents[listing.team_id]

    def _ids(self, contract: Contract, listing: Listing) -> dict[str, str]:
        """The `_dlt_id` that each version has in a history, by identifier."""
        if contract is CONNECTOR_CONFIGURATIONS:
            return configuration_ids(listing)
        return connector_version_ids(listing.team_id, self._hashes(listing))

    def _content(self, contract: Contract, listing: Listing, name: str) -> Record:
        """What the listing says of a connector for one table; nothing where it has no configuration."""
        if contract is CONNECTOR_CONFIGURATIONS:
            return listing.configurations.get(name, {})
        return {**listing.connectors[name], "content_hash": self._hashes(listing)[name]}

    def _mended(self, contract: Contract, listing: Listing, found: Difference) -> Difference:
        """As `found`, with the versions that somebody has edited where they are stored."""
        listed = {name: row for name in listing.connectors if (row := self._content(contract, listing, name))}
        columns = ["connector_identifier", *contract.listed]
        stored = self.run.reader.rows(contract, columns, [listing.team_id])
        known = {*found.written}
        edited = [
            name
            for row in stored
            if (name := row["connector_identifier"]) in listed
            and name not in known
            and any(_differs(column, row[column], listed[name].get(column)) for column in contract.listed)
        ]
        return replace(found, written=[*found.written, *edited])

    def connector_rows(self) -> Iterator[Record]:
        """Rows for `connectors`: those to write, and a `_deleted` one for each that is gone."""
        for listing in self.listings:
            found = self.difference(CONNECTORS, listing)
            for name in found.written:
                yield self._content(CONNECTORS, listing, name) | _key(listing, name)
            for name in found.removed:
                yield _key(listing, name) | {"_deleted": True}

    def changes(self, contract: Contract) -> bool:
        """Whether a table is to be changed."""
        found = [self.difference(contract, listing) for listing in self.listings]
        return any(each.written or each.removed for each in found)

    def doubled(self, contract: Contract) -> Iterator[tuple[int, str]]:
        """Yields team_id and identifier of the connectors that a table holds more than once."""
        for listing in self.listings:
            for name, contents in self.run.table(contract).of(listing.team_id).hashes.items():
                if len(contents) > 1:
                    yield listing.team_id, name

    def superseded_rows(self, contract: Contract) -> Iterator[Record]:
        """The stored versions of a history that are current no longer, without content: key and `_dlt_id`."""
        for listing in self.listings:
            for name, id_ in self.difference(contract, listing).superseded():
                yield _key(listing, name) | {"_dlt_id": id_}

    def version_rows(self, contract: Contract) -> Iterator[Record]:
        """Rows of a history for the versions that are new."""
        for listing in self.listings:
            found = self.difference(contract, listing)
            for name in found.written:
                id_ = self._id(found, name)
                yield self._content(contract, listing, name) | _key(listing, name) | {"_dlt_id": id_}

    def _id(self, found: Difference, name: str) -> str:
        """The `_dlt_id` of a new version; one of its own where rows of the same content are closed beside it."""
        id_ = found.listed[name]
        held = [each.partition(REWRITTEN)[0] for each in found.held.hashes.get(name, ())]
        return f"{id_}{REWRITTEN}{self.run.load_id}" if id_ in held else id_

    def sync_rows(self) -> Iterator[Record]:
        """Rows for `team_syncs`: those of its listings, or all of them with the last of what else is asked for."""
        more = self.run.neighbours
        if more is None:
            yield from self._listing_syncs()
            return
        more.syncs.update((row["team_id"], row) for row in self._listing_syncs())
        if self.part.last:
            yield from more.sync_rows()

    def _listing_syncs(self) -> Iterator[Record]:
        for listing in self.listings:
            row = sync_row(listing)
            if not listing.error:
                connectors = self.difference(CONNECTORS, listing)
                row["connectors_changed"], row["connectors_removed"] = len(connectors.written), len(connectors.removed)
                if listing.has_configurations:
                    row["configurations_changed"] = len(self.difference(CONNECTOR_CONFIGURATIONS, listing).written)
            yield row


def sync_row(listing: Listing) -> Record:
    """A row for `team_syncs`: what the listing says, and null for what it does not."""
    error, redacted = listing.error, listing.redacted
    return {column.name: getattr(listing, column.name, None) for column in TEAM_SYNCS.columns} | {
        "http_status": listing.status_code,
        "error_code": error.code if error else None,
        "error_message": str(error) if error else None,
        "connectors_reported": listing.reported,
        "connectors_received": listing.received,
        "secrets_redacted": None if redacted is None else sum(map(len, redacted.values())),
        "redacted_paths": canonical_json(redacted).decode() if redacted else None,
    }


def paths(before: Any, now: Record) -> Mapping[str, str]:
    """The columns of a configuration's version that say where it differs from the one that it replaces.

    Args:
        before: The document before, as text or parsed.
        now: The row of the version.
    """
    found: dict[str, list[str]] = {"paths_added": [], "paths_removed": [], "paths_changed": []}
    for change in changes(_document(before), _document(now["configuration_json"])):
        found[f"paths_{change.kind}"].append(render(change.path))
    return {column: canonical_json(value).decode() for column, value in found.items()}


WHOLE_DOCUMENT: Mapping[str, str] = {"paths_added": '["$"]', "paths_removed": "[]", "paths_changed": "[]"}
"""The paths of a configuration that a connector without one was given."""


def _key(listing: Listing, identifier: str) -> Record:
    return {"team_id": listing.team_id, "connector_identifier": identifier}


def _document(text: Any) -> Any:
    """A JSON document; some destinations give it back parsed.

    A text that is none, which somebody must have written there, is no document.
    """
    try:
        return parse_json(text) if isinstance(text, (str, bytes)) else text
    except ValueError:
        return None


def _differs(column: str, stored: Any, listed: Any) -> bool:
    """Whether a stored value is not the listed one, in whatever shape the destination gives it back."""
    if isinstance(listed, datetime):
        return as_instant(stored) != listed
    if column == "configuration_json" and stored is not None:
        return not same(_document(stored), _document(listed))
    return bool(stored != listed)
