"""The rows that a batch of listings changes in each table."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ..api.listing import Listing
from ..diff import TableDiff, diff_table, version_ids
from ..documents.json_paths import is_same_json
from ..documents.json_text import canonical_json, parse_json
from ..records import Record, to_utc
from ..specs import CONNECTOR_CONFIGURATIONS, CONNECTOR_VERSIONS, CONNECTORS, TEAM_SYNCS, TableSpec
from .optional import FetchBatch, OptionalTables
from .run import Run


@dataclass(frozen=True)
class TeamDiff:
    """A team's listing, and what it changes in each table.

    Attributes:
        listing: The listing.
        diffs: The difference of each table, by the table's name. A failed listing changes nothing.
    """

    listing: Listing
    diffs: dict[str, TableDiff]

    def of(self, spec: TableSpec) -> TableDiff:
        """What the listing changes in one table."""
        return self.diffs.get(spec.name, _NO_DIFF)


_NO_DIFF = TableDiff()


@dataclass
class ListingBatch:
    """Listings whose rows become one Arrow table each, and optional results that are written with them.

    Attributes:
        run: The run.
        teams: The listings with their differences.
        optional: The optional tables of the run; None without any.
        fetches: Results of optional requests.
        is_first: Whether this is the first batch of the run.
    """

    run: Run
    teams: list[TeamDiff] = field(default_factory=list)
    optional: OptionalTables | None = None
    fetches: FetchBatch = field(default_factory=FetchBatch)
    is_first: bool = False


def diff_team(run: Run, listing: Listing) -> TeamDiff:
    """Compares a listing with the selected tables."""
    if listing.error:
        return TeamDiff(listing, {})
    team_id = listing.team_id
    hashes = {name: record["content_hash"] for name, record in listing.connectors.items()}
    diffs = {}
    for spec in (CONNECTORS, CONNECTOR_VERSIONS, CONNECTOR_CONFIGURATIONS):
        if spec.name not in run.selected:
            continue
        stored = run.stored(spec).of(team_id)
        rewrite = run.settings.full_refresh or bool(run.lost_columns.get(spec.name))
        if spec is CONNECTORS:
            diffs[spec.name] = diff_table(stored, hashes, is_complete=listing.complete, rewrite=rewrite)
            continue
        contents = hashes
        retained: Any = ()
        if spec is CONNECTOR_CONFIGURATIONS:
            contents = {name: each["content_hash"] for name, each in listing.configurations.items()}
            # a listing without configurations shows only which connectors still exist
            retained = () if listing.has_configurations else listing.connectors
        diff = diff_table(stored, version_ids(team_id, contents), is_complete=listing.complete, retained=retained)
        if rewrite and run.is_compared and not run.stored(spec).is_missing:
            diff = diff.with_upserted(_edited_versions(run, spec, listing, diff))
        diff = diff.with_upserted(diff.sharing_ended_ids())
        diffs[spec.name] = diff
    return TeamDiff(listing, diffs)


def _edited_versions(run: Run, spec: TableSpec, listing: Listing, diff: TableDiff) -> Iterator[str]:
    """Yields connectors whose stored current version has a cell that differs from the listing."""
    columns = list(dict.fromkeys((*spec.verified_columns, *run.lost_columns.get(spec.name, ()))))
    for stored in run.rows(spec, ["connector_identifier", *columns], [listing.team_id]):
        name = stored["connector_identifier"]
        if name not in diff.listed:
            continue
        listed = _record(spec, listing, name)
        if any(_differs(column, stored[column], listed.get(column)) for column in columns):
            yield name


def _differs(column: str, stored: Any, listed: Any) -> bool:
    if isinstance(listed, datetime):
        return to_utc(stored) != listed
    if column == "configuration_json" and stored is not None:
        return not is_same_json(parse_document(stored), parse_document(listed))
    return bool(stored != listed)


def parse_document(text: Any) -> Any:
    """Parses a stored JSON document; some destinations return it parsed. A text that is not JSON becomes None."""
    try:
        return parse_json(text) if isinstance(text, (str, bytes)) else text
    except ValueError:
        return None


def _record(spec: TableSpec, listing: Listing, name: str) -> Record:
    records = listing.configurations if spec is CONNECTOR_CONFIGURATIONS else listing.connectors
    return records.get(name, {}) | _key(listing, name)


def _key(listing: Listing, name: str) -> Record:
    return {"team_id": listing.team_id, "connector_identifier": name}


def connector_rows(batch: ListingBatch) -> Iterator[Record]:
    """Rows for `connectors`: those to write, and a `_deleted` one for each connector that is gone."""
    for team in batch.teams:
        diff = team.of(CONNECTORS)
        for name in diff.upserted:
            yield _record(CONNECTORS, team.listing, name)
        for name in diff.deleted:
            yield _key(team.listing, name) | {"_deleted": True}


def new_version_rows(batch: ListingBatch, spec: TableSpec) -> Iterator[Record]:
    """Rows of a history for its new versions."""
    for team in batch.teams:
        diff = team.of(spec)
        for name in diff.upserted:
            yield _record(spec, team.listing, name) | {"version_id": diff.version_id(name, batch.run.load_id)}


def ended_version_rows(batch: ListingBatch, spec: TableSpec) -> Iterator[Record]:
    """The stored versions of a history that end, without content: key and `version_id`."""
    for team in batch.teams:
        for name, version_id in team.of(spec).ended():
            yield _key(team.listing, name) | {"version_id": version_id}


def sync_rows(batch: ListingBatch) -> Iterator[Record]:
    """Rows for `team_syncs`: those of the run, and corrections of earlier runs' rows."""
    if batch.is_first:
        yield from batch.run.corrected_syncs or ()
    yield from listing_sync_rows(batch)


def listing_sync_rows(batch: ListingBatch) -> Iterator[Record]:
    """Rows for `team_syncs`, one per listing. With optional tables they wait for the last result of the run."""
    rows = [_sync_row_of(batch.run, team) for team in batch.teams]
    if batch.optional is None:
        yield from rows
        return
    batch.optional.syncs.update((row["team_id"], row) for row in rows)
    if batch.fetches.is_last:
        yield from batch.optional.complete_sync_rows()


def _sync_row_of(run: Run, team: TeamDiff) -> Record:
    """The sync of a listing. A table that is not selected was not compared, so its counts are null."""
    row = sync_row(team.listing)
    if team.listing.error:
        return row
    if CONNECTORS.name in run.selected:
        diff = team.of(CONNECTORS)
        row["connectors_changed"], row["connectors_removed"] = len(diff.upserted), len(diff.deleted)
    if team.listing.has_configurations and CONNECTOR_CONFIGURATIONS.name in run.selected:
        row["configurations_changed"] = len(team.of(CONNECTOR_CONFIGURATIONS).upserted)
    return row


def sync_row(listing: Listing) -> Record:
    """A row for `team_syncs`: what is known from the listing, null for the other columns."""
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
