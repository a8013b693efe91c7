"""What changed between two listings of a team, for `connector_changes`: told by the fingerprints, in words of the rows.

Only fingerprints are remembered between runs. They tell that a connector changed and when it was last updated; what
else a row says of the time before (the name of a connector that is gone, the configuration that changed) is read from
the tables that were loaded then, for these connectors alone.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from .cursors import NO_CONFIGURATION, WHOLE_TEAM, Fingerprints, fingerprint_time
from .json_paths import changes as json_changes
from .json_paths import render
from .listing import Listing, Record

Kind = Literal["added", "updated", "removed", "configuration_changed"]


@dataclass(frozen=True)
class Change:
    """One connector's change.

    Attributes:
        identifier: The connector; `WHOLE_TEAM` for a baseline.
        kind: What happened to it.
        before: Its fingerprint, or that of its configuration, in the listing before; "" if it was not in it.
        is_baseline: Whether nothing is known of the time before: all of the team's connectors, or all their
            configurations, are seen for the first time.
    """

    identifier: str
    kind: Kind
    before: str = ""
    is_baseline: bool = False

    @property
    def needs_configuration(self) -> bool:
        """Whether the configuration of before is to be compared with."""
        return self.kind == "configuration_changed" and not self.is_baseline and self.before != NO_CONFIGURATION


def connector_changes(listing: Listing, before: Fingerprints | None, now: Fingerprints) -> Iterator[Change]:
    """Yields which connectors were added, updated or removed.

    Args:
        listing: What the API said.
        before: Fingerprints of the connectors in the listings before; None if there was none.
        now: Those of this one.
    """
    if before is None:
        yield Change(WHOLE_TEAM, "added", is_baseline=True)
        return
    for identifier, fingerprint in now.items():
        if identifier not in before:
            yield Change(identifier, "added")
        elif before[identifier] != fingerprint:
            yield Change(identifier, "updated", before[identifier])
    if listing.complete:
        for identifier, fingerprint in before.items():
            if identifier not in now and identifier != WHOLE_TEAM:
                yield Change(identifier, "removed", fingerprint)


def configuration_changes(listing: Listing, before: Fingerprints | None, now: Fingerprints) -> Iterator[Change]:
    """Yields which configurations changed, came or went. One that is seen for the first time changed nothing.

    Args:
        listing: As above.
        before: Fingerprints of the configurations, and `NO_CONFIGURATION` for connectors known to have none.
        now: The same of this listing.
    """
    if not listing.has_configurations:
        return
    if before is None:
        yield Change(WHOLE_TEAM, "configuration_changed", is_baseline=True)
        return
    for identifier in listing.connectors:
        known, fingerprint = before.get(identifier), now.get(identifier, NO_CONFIGURATION)
        if known is not None and known != fingerprint:
            yield Change(identifier, "configuration_changed", known)


@dataclass(frozen=True)
class Before:
    """What the tables have of the time before.

    Attributes:
        name: The connector's name; None when it is not known.
        configuration: The row of its configuration, with `configuration_json` as text or parsed; None as above.
    """

    name: str | None = None
    configuration: Record | None = None


def row(listing: Listing, change: Change, before: Before) -> Record:
    """The row of a change for `connector_changes`."""
    connector = listing.connectors.get(change.identifier, {})
    if change.kind == "configuration_changed":  # which has clocks of its own
        updated_at = connector.get("configuration", {}).get("updated_at")
        previous_updated_at = before.configuration.get("updated_at") if before.configuration else None
    else:
        updated_at, previous_updated_at = connector.get("updated_at"), fingerprint_time(change.before)
    return {
        "team_id": listing.team_id,
        "connector_identifier": change.identifier,
        "change": change.kind,
        "detected_at": listing.started_at,
        "baseline": change.is_baseline,
        "name": connector.get("name", before.name),
        "updated_at": updated_at,
        "previous_updated_at": previous_updated_at,
        **_paths(change, connector.get("configuration"), before.configuration),
    }


def _paths(change: Change, now: Record | None, before: Record | None) -> Mapping[str, str]:
    """Columns for the paths of a configuration that changed; none when they are not known."""
    if change.kind != "configuration_changed" or change.is_baseline or (change.needs_configuration and before is None):
        return {}
    paths: dict[str, list[str]] = {"paths_added": [], "paths_removed": [], "paths_changed": []}
    if now is None or before is None:
        paths["paths_removed" if now is None else "paths_added"].append("$")
    else:
        for found in json_changes(_document(before), _document(now)):
            paths[f"paths_{found.kind}"].append(render(found.path))
    return {column: orjson.dumps(value).decode() for column, value in paths.items()}


def _document(configuration: Record) -> Any:
    """The definition; some destinations give JSON back parsed."""
    document = configuration["configuration_json"]
    return orjson.loads(document) if isinstance(document, str) else document
