"""The difference between a team's listing and what a table holds of the team.

Every run reads the stored rows from the table, so the difference makes the table equal to the listing even if somebody
changed the table. Contents are compared by hash: `updated_at` alone never decides that a row is unchanged.

Nothing here depends on dlt, SQL or HTTP.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from .records import composite_id

RENEWED_MARKER = "."
"""Separates, in a `version_id`, the identity of the content from the load that wrote the content once more."""


@dataclass(frozen=True)
class StoredRows:
    """The current rows that one table holds of one team.

    Attributes:
        contents: What identifies the content of a row, by connector_identifier: a content hash, or a `version_id`.
            Several where rows are duplicates.
    """

    contents: Mapping[str, list[str]] = field(default_factory=dict)

    def equals(self, identifier: str, content: str) -> bool:
        """Whether there is exactly one row of the connector, and it has this content."""
        contents = self.contents.get(identifier, ())
        return len(contents) == 1 and contents[0].partition(RENEWED_MARKER)[0] == content


@dataclass(frozen=True)
class TableDiff:
    """What makes a table equal to a listing.

    Attributes:
        upserted: Connectors whose row is written: new, changed and duplicated ones.
        deleted: Connectors whose rows are removed and not replaced.
        stored: What the table holds.
        listed: What the table is to hold: content by connector_identifier.
    """

    upserted: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    stored: StoredRows = field(default_factory=StoredRows)
    listed: Mapping[str, str] = field(default_factory=dict)

    def ended(self) -> Iterator[tuple[str, str]]:
        """Yields connector_identifier and stored content of each row that is not current any more."""
        for identifier in (*self.upserted, *self.deleted):
            for content in dict.fromkeys(self.stored.contents.get(identifier, ())):
                yield identifier, content

    def sharing_ended_ids(self) -> list[str]:
        """Connectors whose unchanged version would end too, because somebody gave it the id of a version that ends."""
        ended = {content for _, content in self.ended()}
        rewritten = {*self.upserted, *self.deleted}
        stored = self.stored.contents
        return [name for name in self.listed if name not in rewritten and not ended.isdisjoint(stored.get(name, ()))]

    def with_upserted(self, identifiers: Iterable[str]) -> "TableDiff":
        """The same difference, with further connectors whose row is written."""
        return replace(self, upserted=list(dict.fromkeys((*self.upserted, *identifiers))))

    def version_id(self, identifier: str, load_id: str | None) -> str:
        """The id of a version to be written; a new id where an ended version has the same content.

        Args:
            identifier: The connector.
            load_id: The load that writes the version.
        """
        content = self.listed[identifier]
        stored = {each.partition(RENEWED_MARKER)[0] for each in self.stored.contents.get(identifier, ())}
        return f"{content}{RENEWED_MARKER}{load_id}" if content in stored else content


def diff_table(
    stored: StoredRows,
    listed: Mapping[str, str],
    *,
    is_complete: bool,
    retained: Iterable[str] = (),
    rewrite: bool = False,
) -> TableDiff:
    """Compares a listing with what a table holds.

    Args:
        stored: What the table holds.
        listed: What the table is to hold: content by connector_identifier.
        is_complete: Whether the listing has every connector. An incomplete listing removes nothing.
        retained: Identifiers whose rows stay although they are not in `listed`.
        rewrite: Whether rows are written that are already there.
    """
    upserted = [name for name, content in listed.items() if rewrite or not stored.equals(name, content)]
    stays = {*listed, *retained}
    deleted = [name for name in stored.contents if name not in stays] if is_complete else []
    return TableDiff(upserted, deleted, stored, listed)


def version_ids(team_id: int, contents: Mapping[str, str]) -> dict[str, str]:
    """The identity of each version in its history, by connector_identifier.

    Args:
        team_id: The team.
        contents: Content hashes by connector_identifier.
    """
    return {name: composite_id(team_id, name, content) for name, content in contents.items()}
