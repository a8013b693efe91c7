"""The versions of one connector's record and configuration, and both as of a moment."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from typing import Any

from supermetrics_connectors.interface import (
    TABLES,
    NotJsonError,
    RefusedJsonError,
    canonical_json,
    compare_json,
    parse_json,
    render,
    to_utc,
)

from ..sanitize import sanitize
from .dataset import Dataset
from .errors import BrokenVersionError, ReadError
from .team_names import ConnectorKey, team_names

Row = dict[str, Any]


@dataclass(frozen=True)
class Version:
    """One version of a configuration.

    Attributes:
        number: Its place in the history, from 1.
        version: The API's name for the version.
        content_hash: SHA-256 of its JSON.
        updated_at: When it was edited, UTC.
        valid_from: When a load first saw it, UTC; None if the stored value is no time.
        valid_to: When a load saw another version, or none, in its place, UTC; None for the current version.
        other_fields: The API's fields beside `version`, `configuration_json` and the times, without nulls.
    """

    number: int
    version: str | None
    content_hash: str
    updated_at: datetime | None
    valid_from: datetime | None
    valid_to: datetime | None
    other_fields: Row

    def __str__(self) -> str:
        name = sanitize(self.version or "no version")
        return f"{name} (no. {self.number}, {moment_text(self.valid_from)} to {moment_text(self.valid_to, 'now')})"


class ConnectorHistory:
    """The stored versions of one connector.

    Attributes:
        key: The connector, with the name of its team.
    """

    def __init__(self, data: Dataset, team_id: int, connector: str) -> None:
        self.key = ConnectorKey(team_id, team_names(data).get(team_id), connector)
        self._data = data

    def records(self) -> list[Row]:
        """Every version of the connector's record, oldest first: the API's fields, `valid_from` and `valid_to`."""
        names = self._data.api_columns("connector_versions")
        columns = ["_dlt_valid_from", "_dlt_valid_to", *map(self._data.column, names)]
        rows = self._rows("connector_versions", columns, "ORDER BY _dlt_valid_from")
        return [
            self._data.fields("connector_versions", names, row)
            | {"valid_from": to_utc(valid_from), "valid_to": to_utc(valid_to)}
            for valid_from, valid_to, *row in rows
        ]

    @cached_property
    def versions(self) -> list[Version]:
        """Every version of the configuration, oldest first; empty if none has been loaded."""
        if not self._data.has("connector_configurations"):
            return []
        others = other_columns(self._data)
        columns = ["version", "content_hash", "updated_at", "_dlt_valid_from", "_dlt_valid_to"]
        columns += map(self._data.column, others)
        rows = self._rows("connector_configurations", columns, "ORDER BY _dlt_valid_from")
        # two runs at once may leave duplicates
        distinct = {tuple(row[:5]): other_fields(self._data, others, row[5:]) for row in rows}
        return [
            Version(number, name, content, to_utc(updated), to_utc(began), to_utc(ended), fields)
            for number, ((name, content, updated, began, ended), fields) in enumerate(distinct.items(), 1)
        ]

    def find(self, wanted: str | None = None) -> Version:
        """The version with this name, or else with this number; the newest by default.

        Raises:
            ReadError: There is none, or more than one has the name.
        """
        versions = self.versions
        if not versions:
            raise ReadError(
                f"No configuration of {self.key} has been loaded. "
                "Load configurations with: supermetrics-connectors load --include-configs"
            )
        if wanted is None:
            return versions[-1]
        found = [version for version in versions if version.version == wanted]
        found = found or [version for version in versions if str(version.number) == wanted]
        if len(found) == 1:
            return found[0]
        shown = f"'{sanitize(wanted)}'"
        problem = f"has {len(found)} versions {shown}; give a number" if found else f"has no version {shown}"
        listed = "\n".join(f"  {version}" for version in found or versions)
        name = str(self.key)
        raise ReadError(f"{name[0].upper()}{name[1:]} {problem}:\n{listed}")

    def document(self, version: Version) -> Any:
        """The parsed JSON of a version: of the rows with its content, the first with readable JSON."""
        column = self._data.json_text("configuration_json")
        rows = self._rows("connector_configurations", [column], "AND content_hash = %s", version.content_hash)
        stored = [text for (text,) in rows] or [""]  # none if somebody removed the hash
        document = next((each for each in stored if not _problem(each)), stored[0])
        if problem := _problem(document):
            raise BrokenVersionError(self._broken(version, problem))
        return parsed_document(document)

    def _broken(self, version: Version, problem: str) -> str:
        repair = (
            "The text is lost; compare other versions with --from and --to."
            if version.valid_to
            else "Repair it with: supermetrics-connectors load --include-configs --full-refresh"
        )
        return (
            f"Version {version} of {self.key} is not JSON: {problem}. A load never writes such a text, so somebody "
            f"edited it. It is the configuration_json with content_hash {version.content_hash} in the table "
            f"connector_configurations of {self._data.location}. {repair}"
        )

    def _rows(self, table: str, columns: Sequence[str], rest: str, *values: Any) -> Sequence[Sequence[Any]]:
        sql = f"SELECT {', '.join(columns)} FROM {self._data.table(table)} WHERE team_id = %s"  # noqa: S608 - our own names
        sql += f" AND connector_identifier = %s {rest}"
        return self._data.query(sql, self.key.team_id, self.key.connector_identifier, *values).rows


def other_columns(data: Dataset) -> list[str]:
    """Columns of `connector_configurations` with the fields that the API has added to a configuration."""
    table = "connector_configurations"
    return [name for name in data.api_columns(table) if name not in TABLES[table].api_fields]


def other_fields(data: Dataset, names: Sequence[str], values: Sequence[Any]) -> Row:
    """The fields of a row that `other_columns` names, without nulls: null and a missing field are the same content."""
    fields = data.fields("connector_configurations", names, values)
    return {name: value for name, value in fields.items() if value is not None}


def json_changes(before: Any, after: Any, root: str = "$") -> list[Row]:
    """Each place at which two documents differ: `change`, `path`, and the contents `from` and `to`."""
    return [
        {"change": each.kind, "path": f"{root}{render(each.path)[1:]}", "from": each.before, "to": each.after}
        for each in compare_json(before, after)
    ]


def other_changes(before: Row, after: Row) -> list[Row]:
    """Each place at which the other fields of two versions differ, with paths such as `configuration.status`."""
    return json_changes(before, after, "configuration")


def is_valid_at(valid_from: datetime | None, valid_to: datetime | None, moment: datetime | None) -> bool:
    """Whether a version is valid at a moment; None for the present."""
    if moment is None:
        return valid_to is None
    return valid_from is not None and valid_from <= moment and (valid_to is None or moment < valid_to)


def moment_text(moment: datetime | None, unknown: str = "unknown") -> str:
    """A moment for people, to the minute, UTC."""
    return f"{moment.astimezone(timezone.utc):%Y-%m-%d %H:%M}" if moment else unknown


def parsed_document(stored: Any) -> Any:
    """A stored JSON document, parsed; some drivers have parsed it already."""
    return parse_json(stored) if isinstance(stored, str) else stored


def pretty_json(document: Any, *, indented: bool = True) -> str:
    """JSON with sorted keys, one member per line or all on one line, without a line break at the end."""
    try:
        return canonical_json(document, indented=indented).decode()
    except TypeError:  # nested deeper than it writes; numbers beyond a double become text
        return json.dumps(document, indent=2 if indented else None, sort_keys=True, ensure_ascii=False, default=str)


def _problem(stored: Any) -> str:
    """Why a stored document cannot be read; "" if it can."""
    try:
        parsed_document(stored)
    except NotJsonError as error:
        return str(error)
    except RefusedJsonError as error:
        return f"{error.what} at {render(error.path)}"
    return ""
