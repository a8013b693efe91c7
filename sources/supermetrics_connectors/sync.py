"""A team's listing against what is remembered of it: what to write, what to remove, what to note in `team_syncs`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .changes import Change, configuration_changes, connector_changes
from .cursors import (
    FORGOTTEN,
    NO_CONFIGURATION,
    WHOLE_TEAM,
    Difference,
    Fingerprints,
    configuration_fingerprint,
    connector_fingerprint,
    difference,
    row_version,
)
from .listing import Listing, Record, canonical_json
from .strategies import TableName

TeamMemory = Mapping[str, Fingerprints]
"""What a table's resource state remembers, by team id as text: a `cursors.Memory`."""


@dataclass(frozen=True)
class TeamSync:
    """One team's part of a run.

    Attributes:
        listing: What the API said.
        connectors: What that changes in `connectors`.
        configurations: What that changes in `connector_configurations`.
        changes: What has happened since the listing before.
    """

    listing: Listing
    connectors: Difference
    configurations: Difference
    changes: list[Change] = field(default_factory=list)

    @property
    def team_id(self) -> int:
        """The team."""
        return self.listing.team_id

    def connector_rows(self) -> Iterator[Record]:
        """Rows for `connectors`: the changed ones, and a `_deleted` one for each that is gone."""
        for identifier in self.connectors.changed:
            row = self.listing.connectors[identifier] | self._key(identifier)
            row.pop("configuration", None)
            yield row
        for identifier in self.connectors.to_delete:
            yield self._key(identifier) | {"_deleted": True}

    def configuration_rows(self) -> Iterator[Record]:
        """Rows for `connector_configurations`: new versions, and one without content for each that is to be closed."""
        for identifier in self.configurations.changed:
            configuration: Record = self.listing.connectors[identifier]["configuration"]
            key = self._key(identifier)
            version = row_version(*key.values(), configuration.get("version"), configuration["content_hash"])
            yield configuration | key | {"_dlt_id": version}
        for identifier in self.configurations.to_delete:
            key = self._key(identifier)
            yield key | {"_dlt_id": row_version(*key.values(), "closed")}

    def summary_row(self) -> Record:
        """The row for `team_syncs`."""
        listing, error = self.listing, self.listing.error
        return {
            "team_id": self.team_id,
            "started_at": listing.started_at,
            "status": listing.status,
            "duration_ms": listing.duration_ms,
            "request_id": listing.request_id,
            "http_status": listing.status_code,
            "error_code": error.code if error else None,
            "error_message": str(error) if error else None,
            "connectors_reported": listing.reported,
            "connectors_received": listing.received,
            "connectors_changed": None if error else len(self.connectors.changed),
            "connectors_removed": None if error else len(self.connectors.removed),
            "configurations_changed": len(self.configurations.changed) if listing.has_configurations else None,
            "rate_limit_remaining": listing.rate_limit_remaining,
            "secrets_redacted": None if listing.redacted is None else sum(map(len, listing.redacted.values())),
            "redacted_paths": canonical_json(listing.redacted).decode() if listing.redacted else None,
        }

    def _key(self, identifier: str) -> dict[str, Any]:
        return {"team_id": self.team_id, "connector_identifier": identifier}


@dataclass(frozen=True)
class Batch:
    """Teams whose rows become one Arrow table.

    Attributes:
        syncs: The teams.
        empty: Tables that hold no row when the run begins.
    """

    syncs: list[TeamSync]
    empty: frozenset[TableName] = frozenset()


def compare(
    listing: Listing,
    connectors: TeamMemory,
    configurations: TeamMemory,
    full_refresh: bool = False,
    empty: frozenset[TableName] = frozenset(),
) -> TeamSync:
    """Finds out what a listing changes.

    Args:
        listing: What the API said; one with an error changes nothing.
        connectors: What is remembered for `connectors`.
        configurations: What is remembered for `connector_configurations`.
        full_refresh: Whether to write everything of the team, whatever was remembered.
        empty: Tables that hold no row, and so none of a team of which nothing is remembered.
    """
    connectors_known, configurations_known = (
        memory.get(str(listing.team_id)) for memory in (connectors, configurations)
    )
    connectors_before = _or_unknown(connectors_known, "connectors" in empty)
    configurations_before = _or_unknown(configurations_known, "connector_configurations" in empty)
    if listing.error:
        return TeamSync(listing, Difference.none(connectors_before), Difference.none(configurations_before))
    connectors_now = {name: connector_fingerprint(record) for name, record in listing.connectors.items()}
    configured = _compare_configurations(listing, configurations_before, full_refresh)
    return TeamSync(
        listing,
        difference(connectors_before, connectors_now, listing.complete, full_refresh),
        configured,
        [
            *connector_changes(listing, connectors_known, connectors_now),
            *configuration_changes(listing, configurations_known, configured.fingerprints),
        ],
    )


def _or_unknown(known: Fingerprints | None, is_empty: bool) -> Fingerprints:
    if known is not None:
        return known
    return {} if is_empty else FORGOTTEN


def _compare_configurations(listing: Listing, before: Fingerprints, full_refresh: bool) -> Difference:
    """As `difference`, remembering besides which connectors have no configuration: so it is known when one gets it."""
    known = {name: fingerprint for name, fingerprint in before.items() if fingerprint != NO_CONFIGURATION}
    now = _configurations_now(listing, known)
    found = difference(known, now, listing.complete, full_refresh and listing.has_configurations)
    without = [name for name in before if name not in known and (name in listing.connectors or not listing.complete)]
    if listing.has_configurations:
        without = [name for name in {**dict.fromkeys(without), **listing.connectors} if name not in found.fingerprints]
    return replace(found, fingerprints={**dict.fromkeys(without, NO_CONFIGURATION), **found.fingerprints})


def _configurations_now(listing: Listing, before: Fingerprints) -> Fingerprints:
    """Fingerprints of the configurations. A listing without them tells only which connectors still exist."""
    if not listing.has_configurations:
        return {name: before[name] for name in before if name in listing.connectors or name == WHOLE_TEAM}
    return {
        name: configuration_fingerprint(record["configuration"])
        for name, record in listing.connectors.items()
        if "configuration" in record
    }
