"""What `supermetrics-connectors diff` shows: how two versions of a connector's configuration differ."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from difflib import unified_diff
from typing import Any

from rich.text import Text

from supermetrics_connectors.documents.json_paths import changes, render
from supermetrics_connectors.documents.json_text import NotJsonError, RefusedJsonError, canonical_json, parse_json
from supermetrics_connectors.tables.stored import MissingTableError, as_instant

from ..harmless import harmless
from .reading import Data, open_for_reading
from .team_names import named, team_names

_COLUMNS = ("version", "content_hash", "updated_at", "_dlt_valid_from", "_dlt_valid_to")
_STYLES = {"+++": "bold", "---": "bold", "@@": "cyan", "+": "green", "-": "red"}


class NoVersionError(Exception):
    """The versions that were asked for are not there; in words, with those that are."""


class BrokenVersionError(Exception):
    """What is stored of a version cannot be read as JSON: a load writes no such thing. In words, with what to do."""


@dataclass(frozen=True)
class Version:
    """One version of a configuration.

    Attributes:
        number: Its place in the history, from 1.
        version: What the API calls it.
        content_hash: SHA-256 of its JSON.
        updated_at: When it was edited.
        valid_from: When it was first seen; None where somebody has written what is no time.
        valid_to: When another one, or none, was seen instead; None for the current one.
    """

    number: int
    version: str | None
    content_hash: str
    updated_at: datetime | None
    valid_from: datetime | None
    valid_to: datetime | None

    def __str__(self) -> str:
        since = f"{self.valid_from:%Y-%m-%d %H:%M}" if self.valid_from else "unknown"
        until = f"{self.valid_to:%Y-%m-%d %H:%M}" if self.valid_to else "now"
        return f"{harmless(self.version or 'no version')} (no. {self.number}, {since} to {until})"


@dataclass(frozen=True)
class Difference:
    """Two versions with their JSON, or the only one that there is.

    Attributes:
        team_id: The team.
        team_name: What it is called; None where that is not loaded.
        connector_identifier: The connector.
        before: The one that is compared with; None where there is no other.
        after: The one that is compared.
        documents: The JSON of both, parsed.
    """

    team_id: int
    team_name: str | None
    connector_identifier: str
    before: Version | None
    after: Version
    documents: tuple[Any, Any]

    def lines(self) -> Iterator[str]:
        """A unified diff of the JSON, one member a line, keys sorted."""
        before, after = map(_pretty, self.documents)
        return map(harmless, unified_diff(before, after, str(self.before), str(self.after), lineterm=""))

    def styled(self) -> Text:
        """The lines in colours, or a sentence if there are none."""
        if not self.before:
            return Text(
                f"There is one version so far, {self.after}: nothing to compare it with yet. "
                "A load after the next edit brings another."
            )
        shown = Text("\n").join(Text(line, style=_style(line)) for line in self.lines())
        return shown or Text(f"{self.before} and {self.after} have the same content.")

    def as_dict(self) -> dict[str, Any]:
        """For JSON: both versions, and each place at which they differ."""
        return {
            "team_id": self.team_id,
            "team_name": self.team_name,
            "connector_identifier": self.connector_identifier,
            "from": vars(self.before) if self.before else None,
            "to": vars(self.after),
            "changes": [
                {"change": each.kind, "path": render(each.path), "from": each.before, "to": each.after}
                for each in changes(*self.documents)
            ],
        }


def _pretty(document: Any) -> list[str]:
    return canonical_json(document, indented=True).decode().split("\n")


def _style(line: str) -> str:
    return next((style for start, style in _STYLES.items() if line.startswith(start)), "")


def compare_versions(
    destination: Any, dataset: str, team_id: int, connector: str, before: str | None = None, after: str | None = None
) -> Difference:
    """Reads two versions from where they were loaded.

    Args:
        destination: As for `open_for_reading`.
        dataset: Where the tables are.
        team_id: The team.
        connector: The connector's identifier.
        before: The version to compare with, by name or number; the one before `after` by default.
        after: The version to compare; the newest by default.

    Returns:
        How they differ. A connector with one version, if no other is asked for, has nothing to differ from.

    Raises:
        NoVersionError: There is none of that name, or none before it, or nothing was loaded.
        BrokenVersionError: The JSON of one has been edited by hand, and is none any more.
        SupermetricsConfigurationError: The dataset is not one that can be read.
    """
    try:
        with open_for_reading(destination, dataset) as data:
            return _compared(_History(data, team_id, connector), before, after)
    except FileNotFoundError as error:
        raise NoVersionError(f"Nothing has been loaded to {error}. {_LOAD}") from None


def _compared(history: "_History", before: str | None, after: str | None) -> Difference:
    versions = history.versions()
    if not (before or after) and len(versions) == 1:
        document = history.document(versions[0])
        return Difference(*history.key, None, versions[0], (document, document))
    newer = _find(versions, after, history.name) if after else versions[-1]
    if not before and newer.number == 1:
        raise NoVersionError(f"Before {newer} there is no version of {history.name} to compare it with.")
    older = _find(versions, before, history.name) if before else versions[newer.number - 2]
    return Difference(*history.key, older, newer, (history.document(older), history.document(newer)))


_LOAD = "Load configurations with: supermetrics-connectors load --include-configs"


class _History:
    """The versions of one connector's configuration, as a dataset has them."""

    def __init__(self, data: Data, team_id: int, connector: str) -> None:
        names = team_names(data)
        self.name = f"connector {connector} of {named(team_id, names)}"
        self.key = team_id, names.get(team_id), connector
        self._data = data

    def versions(self) -> list[Version]:
        """All of them, oldest first; at least one."""
        try:
            rows = self._rows(_COLUMNS, "ORDER BY _dlt_valid_from")
        except MissingTableError:
            raise NoVersionError(f"No configurations have been loaded. {_LOAD}") from None
        if not rows:
            raise NoVersionError(f"No configuration of {self.name} has been loaded. {_LOAD}")
        return [Version(number, *row[:2], *map(as_instant, row[2:])) for number, row in enumerate(rows, 1)]

    def document(self, version: Version) -> Any:
        """The JSON of a version, parsed: of rows with the same content, one that is whole."""
        column = self._data.strategy.json_text.format("configuration_json")
        stored = [text for (text,) in self._rows([column], "AND content_hash = %s", version.content_hash)]
        stored = stored or [""]  # where somebody has taken the hash away
        document = next((each for each in stored if not _problem(each)), stored[0])
        if problem := _problem(document):
            raise BrokenVersionError(self._broken(version, problem))
        return parse_json(document) if isinstance(document, str) else document

    def _broken(self, version: Version, problem: str) -> str:
        mend = (
            "Nobody can bring back what it was; compare other versions, with --from and --to."
            if version.valid_to
            else "Have it written anew with: supermetrics-connectors load --include-configs --full-refresh"
        )
        return (
            f"Version {version} of {self.name} is not JSON, as somebody must have edited it: {problem}. It is the "
            f"configuration_json with content_hash {version.content_hash} in the table connector_configurations of "
            f"{self._data.location}. {mend}"
        )

    def _rows(self, columns: Sequence[str], rest: str, *parameters: Any) -> Sequence[Sequence[Any]]:
        table = self._data.table("connector_configurations")
        sql = f"SELECT {', '.join(columns)} FROM {table} WHERE team_id = %s AND connector_identifier = %s {rest}"  # noqa: S608 - our own names
        team_id, _, connector = self.key
        return self._data.ask(sql, team_id, connector, *parameters)[1]


def _problem(document: Any) -> str:
    """Why a stored document cannot be read; "" if it can."""
    try:
        _ = parse_json(document) if isinstance(document, str) else document
    except NotJsonError as error:
        return str(error)
    except RefusedJsonError as error:
        return f"{error.what} at {render(error.path)}"
    return ""


def _find(versions: list[Version], wanted: str, name: str) -> Version:
    """The version of this name, or else of this number."""
    found = [version for version in versions if version.version == wanted]
    found = found or [version for version in versions if str(version.number) == wanted]
    if len(found) == 1:
        return found[0]
    problem = f"has {len(found)} versions {wanted!r}, take a number" if found else f"has no version {wanted!r}"
    listed = "\n".join(f"  {version}" for version in found or versions)
    raise NoVersionError(f"{name[0].upper()}{name[1:]} {problem}:\n{listed}")
