"""A team's listing against what a table holds of the team: which rows to write, which to take away.

What a table holds is asked of the table itself, in every run. So whatever happened to it before, the difference is what
makes it equal to the listing. Content is compared by hashes, whatever the clocks say: `updated_at` is part of it.

Nothing here knows of dlt, SQL or HTTP.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from .api.checks import Record
from .api.listing import Listing
from .documents.json_text import canonical_json

REWRITTEN = "."
"""Stands in a `_dlt_id` between what the row says and when it was written anew, see `row_id`."""


@dataclass(frozen=True)
class Held:
    """What one table holds of one team; of a history, the versions that are current.

    Attributes:
        hashes: What says which content a row has, by connector_identifier: a content hash, or the `_dlt_id` of a
            version. More than one where a row is doubled.
    """

    hashes: Mapping[str, list[str]] = field(default_factory=dict)

    def has(self, identifier: str, content: str) -> bool:
        """Whether there is one row of the connector, and it has this content."""
        held = self.hashes.get(identifier, ())
        return len(held) == 1 and held[0].partition(REWRITTEN)[0] == content


@dataclass(frozen=True)
class Difference:
    """What makes a table equal to a listing.

    Attributes:
        written: Connectors whose row is to be written: new ones, changed ones, and those that are held twice.
        removed: Connectors whose rows are to go without another in their place.
        held: What the table holds.
        listed: What it should hold: content by connector_identifier.
    """

    written: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    held: Held = field(default_factory=Held)
    listed: Mapping[str, str] = field(default_factory=dict)

    def superseded(self) -> Iterable[tuple[str, str]]:
        """Yields the rows that are current no longer: connector_identifier and what the table has for its content."""
        for identifier in (*self.written, *self.removed):
            for content in dict.fromkeys(self.held.hashes.get(identifier, ())):
                yield identifier, content


def difference(
    held: Held, listed: Mapping[str, str], connectors: Iterable[str], complete: bool, everything: bool = False
) -> Difference:
    """Compares what is listed with what a table holds.

    Args:
        held: What it holds.
        listed: What it should hold: content by connector_identifier.
        connectors: Identifiers that it may go on holding, although they are not in `listed`.
        complete: Whether the listing is all there is: an incomplete one takes nothing away.
        everything: Whether to write what is listed even if it is there.
    """
    written = [name for name, content in listed.items() if everything or not held.has(name, content)]
    if not complete:
        return Difference(written, [], held, listed)
    stays = {*listed, *connectors}
    return Difference(written, [name for name in held.hashes if name not in stays], held, listed)


def connector_contents(listing: Listing) -> dict[str, str]:
    """The content hash of each connector's record, by identifier."""
    return {name: connector_hash(record) for name, record in listing.connectors.items()}


def connector_version_ids(team_id: int, contents: Mapping[str, str]) -> dict[str, str]:
    """The `_dlt_id` that each connector's record has in the history, by identifier.

    Args:
        team_id: The team.
        contents: The records' content hashes.
    """
    return {name: row_id(team_id, name, content_hash) for name, content_hash in contents.items()}


def configuration_ids(listing: Listing) -> dict[str, str]:
    """The `_dlt_id` that each configuration has in the history, by its connector's identifier.

    The clocks are left out: they may move without the content, and stay when it changes.
    """
    return {
        name: row_id(listing.team_id, name, configuration.get("version"), configuration["content_hash"])
        for name, configuration in listing.configurations.items()
    }


def connector_hash(record: Record) -> str:
    """SHA-256, hexadecimal, of a connector's record as it is written: without what is null."""
    fields = {name: value for name, value in record.items() if value is not None}
    return hashlib.sha256(canonical_json(fields)).hexdigest()


def row_id(*parts: object) -> str:
    """Identifies a version of a connector or configuration among all rows of its table: 128 bits, hexadecimal."""
    return hashlib.blake2b("\n".join(map(str, parts)).encode(), digest_size=16).hexdigest()
