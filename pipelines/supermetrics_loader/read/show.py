"""Reads one connector and its configuration as of a moment."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .dataset import Dataset
from .errors import ReadError
from .history import ConnectorHistory, Row, Version, is_valid_at, moment_text
from .overview import configuration_facts
from .team_names import ConnectorKey


@dataclass(frozen=True)
class ConnectorState:
    """A connector as of a moment.

    Attributes:
        key: The connector, with the name of its team.
        record: The API's fields of the connector, `valid_from` and `valid_to`.
        version: The version of its configuration; None if it has none, or configurations are not loaded.
        document: The parsed JSON of that version.
    """

    key: ConnectorKey
    record: Row
    version: Version | None
    document: Any

    @property
    def facts(self) -> Row:
        """What the configuration says; see `configuration_facts`."""
        return configuration_facts(self.document)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        shown = {**vars(self.key), "connector": self.record, "configuration": None}
        if self.version:
            shown["configuration"] = vars(self.version) | self.facts | {"configuration_json": self.document}
        return shown


def read_connector(
    data: Dataset, team_id: int, connector: str, at: datetime | None = None, version: str | None = None
) -> ConnectorState:
    """Reads a connector with its configuration. A deleted connector is shown as it was last.

    Args:
        data: The open dataset.
        team_id: The team.
        connector: The connector's identifier.
        at: The moment; None for the present.
        version: A version of the configuration, by name or number, which sets the moment instead.

    Raises:
        NothingLoadedError: Nothing has been loaded there.
        ReadError: The connector, or the version, is not known or was not listed at that moment.
        BrokenVersionError: Somebody edited the JSON into what is no JSON.
    """
    data.require("connector_versions")
    history = ConnectorHistory(data, team_id, connector)
    chosen = history.find(version) if version else None
    record = _record(history, chosen.valid_from if chosen else at)
    # a deleted connector and its configuration end with the same load
    versions = [] if chosen else history.versions
    ended_at = record["valid_to"] if at is None else None
    valid = (each for each in versions if is_valid_at(each.valid_from, each.valid_to, at))
    last = (each for each in versions if ended_at and each.valid_to == ended_at)
    chosen = chosen or next(valid, None) or next(last, None)
    return ConnectorState(history.key, record, chosen, history.document(chosen) if chosen else None)


def _record(history: ConnectorHistory, at: datetime | None) -> Row:
    records = history.records()
    if not records:
        raise ReadError(f"No load has seen {history.key}.")
    valid = [each for each in records if is_valid_at(each["valid_from"], each["valid_to"], at)]
    if valid or at is None:
        return (valid or records)[-1]
    listed = "\n".join(
        f"  {moment_text(each['valid_from'])} to {moment_text(each['valid_to'], 'now')}" for each in records
    )
    raise ReadError(f"At {moment_text(at)} UTC {history.key} was not listed. Its record is known for:\n{listed}")
