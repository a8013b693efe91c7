"""What a run changes, connector by connector: for who asks beforehand (--dry-run) or is told afterwards (--notify)."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from supermetrics_connectors.api.listing import Listing
from supermetrics_connectors.tables.batch import Batch
from supermetrics_connectors.tables.contracts import CONNECTOR_CONFIGURATIONS, CONNECTORS

MOST = 20
"""How many are named: more answer nothing on a screen or in a chat, and would be kept in memory."""

Kind = Literal["added", "changed", "removed", "configured"]


@dataclass(frozen=True)
class Change:
    """What becomes of one connector.

    Attributes:
        kind: `configured` is a new version of its configuration, and none of the others.
        team_id: The team.
        connector_identifier: The connector.
        name: What it is called; None of one that is gone.
    """

    kind: Kind
    team_id: int
    connector_identifier: str
    name: str | None = None


@dataclass
class Changes:
    """The first changes of a run, and how many there are.

    Attributes:
        first: Not more than `MOST`.
        count: How many there are.
    """

    first: list[Change] = field(default_factory=list)
    count: int = 0

    def add(self, batch: Batch) -> None:
        """Counts those of a batch; of a snapshot, which is compared with nothing, there are none."""
        if not batch.run.compares:
            return
        for listing in batch.listings:
            for change in _of(batch, listing):
                self.count += 1
                if self.count <= MOST:
                    self.first.append(change)


def _of(batch: Batch, listing: Listing) -> Iterator[Change]:
    connectors = batch.difference(CONNECTORS, listing)
    for identifier in connectors.written:
        kind: Kind = "changed" if identifier in connectors.held.hashes else "added"
        yield Change(kind, listing.team_id, identifier, listing.connectors[identifier].get("name"))
    for identifier in connectors.removed:
        yield Change("removed", listing.team_id, identifier)
    told = {*connectors.written}
    for identifier in batch.difference(CONNECTOR_CONFIGURATIONS, listing).written:
        if identifier not in told:
            yield Change("configured", listing.team_id, identifier, listing.connectors[identifier].get("name"))
