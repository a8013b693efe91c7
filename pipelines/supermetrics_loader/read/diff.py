"""Compares two versions of configurations, of one connector or of two."""

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import unified_diff
from typing import Any

from rich.text import Text

from ..sanitize import sanitize
from .dataset import Dataset
from .errors import ReadError
from .history import ConnectorHistory, Row, Version, json_changes, other_changes, pretty_json
from .team_names import ConnectorKey

_STYLES = {"+++": "bold", "---": "bold", "@@": "cyan", "+": "green", "-": "red"}


@dataclass(frozen=True)
class VersionDiff:
    """Two versions with their documents.

    Attributes:
        keys: The connector of each version; twice the same for two versions of one connector.
        before: The version to compare with; None if the connector has a single version.
        after: The version to compare.
        documents: The parsed JSON of both.
    """

    keys: tuple[ConnectorKey, ConnectorKey]
    before: Version | None
    after: Version
    documents: tuple[Any, Any]

    def lines(self) -> Iterator[str]:
        """A unified diff of the JSON with sorted keys, one member per line, then of the other fields; safe to print."""
        titles = str(self.before), str(self.after)
        if self.keys[0] != self.keys[1]:
            titles = f"{self.keys[0]}, {titles[0]}", f"{self.keys[1]}, {titles[1]}"
        for about, pair in {"": self.documents, ", other fields": self._other_fields}.items():
            before, after = (pretty_json(document).split("\n") for document in pair)
            old, new = (f"{title}{about}" for title in titles)
            yield from map(sanitize, unified_diff(before, after, old, new, lineterm=""))

    def styled(self) -> Text:
        """The lines in colours, or a sentence if there are none."""
        if not self.before:
            return Text(
                f"There is one version so far, {self.after}, and no earlier one to compare it with. "
                "The load after the next edit adds another."
            )
        shown = Text("\n").join(Text(line, style=_style(line)) for line in self.lines())
        return shown or Text(f"{self.before} and {self.after} have the same content.")

    def as_dict(self) -> dict[str, Any]:
        """For JSON: the connectors, both versions, and each place at which they differ."""
        return {
            **vars(self.keys[0]),
            "with": vars(self.keys[1]) if self.keys[0] != self.keys[1] else None,
            "from": vars(self.before) if self.before else None,
            "to": vars(self.after),
            "changes": json_changes(*self.documents) + other_changes(*self._other_fields),
        }

    @property
    def _other_fields(self) -> tuple[Row, Row]:
        return (self.before or self.after).other_fields, self.after.other_fields


def _style(line: str) -> str:
    return next((style for start, style in _STYLES.items() if line.startswith(start)), "")


def compare_versions(
    data: Dataset,
    team_id: int,
    connector: str,
    before: str | None = None,
    after: str | None = None,
    other: tuple[int, str] | None = None,
) -> VersionDiff:
    """Reads two versions and compares them.

    Args:
        data: The open dataset.
        team_id: The team.
        connector: The connector's identifier.
        before: The version to compare with, by name or number. Default: the version before `after`; with `other`, the
            newest.
        after: The version to compare, of `other` if that is given. Default: the newest.
        other: Another connector: its team and identifier.

    Returns:
        The difference. `before` is None for a connector with a single version, unless a version was asked for.

    Raises:
        ReadError: There is no such version, or none before it.
        BrokenVersionError: Somebody edited the JSON of a version into what is no JSON.
    """
    first = ConnectorHistory(data, team_id, connector)
    second = ConnectorHistory(data, *other) if other else first
    newer = second.find(after)
    keys = first.key, second.key
    if before or other:
        older = first.find(before)
    elif newer.number > 1:
        older = first.versions[newer.number - 2]
    elif after:
        raise ReadError(f"Before {newer} there is no version of {first.key} to compare it with.")
    else:
        document = first.document(newer)
        return VersionDiff(keys, None, newer, (document, document))
    return VersionDiff(keys, older, newer, (first.document(older), second.document(newer)))
