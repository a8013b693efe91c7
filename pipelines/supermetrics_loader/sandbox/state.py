"""Teams of the sandbox and their connectors, which can be changed while the sandbox runs."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

import orjson

from .data import DEFAULT_LOGO, shipped_teams
from .responses import SandboxError

Connector = dict[str, Any]
"""A connector in the API's wire shape; fields may be missing, and unknown fields are kept."""

OMIT: Any = object()
"""As the value of a field: leave the field out of the response, instead of sending null."""
MAX_TEAM_ID = 2**63 - 1
_IDENTIFIER = re.compile(r"[A-Za-z0-9_-]{1,100}")


class State:
    """Teams and their connectors. Every method may be called from any thread.

    Args:
        teams: Connectors by team id, in the API's wire shape and not checked; None for the shipped ones.
    """

    def __init__(self, teams: Mapping[int, Sequence[Mapping[str, Any]]] | None = None) -> None:
        self._lock = threading.RLock()
        self._named = 0
        self._teams: dict[int, list[Connector]] = {}
        for team_id, connectors in (shipped_teams() if teams is None else teams).items():
            self.add_team(team_id, connectors)

    @property
    def team_ids(self) -> list[int]:
        """The teams that the token can see, in the order in which they were added."""
        with self._lock:
            return list(self._teams)

    def connectors(self, team_id: int, include_configs: bool = True) -> list[Connector]:
        """The connectors that the API would list now.

        Args:
            team_id: A team of the sandbox.
            include_configs: Whether connectors carry their `configuration`.

        Returns:
            Copies of the connectors in the order listed.

        Raises:
            SandboxError: The team does not exist (404).
        """
        with self._lock:
            left_out = {} if include_configs else {"configuration": OMIT}
            return [_changed(each, left_out) for each in self._team(team_id)]

    def add_team(self, team_id: int, connectors: Iterable[Mapping[str, Any]] = ()) -> None:
        """Adds a team, or replaces the team of that id.

        Args:
            team_id: 1 … 9223372036854775807.
            connectors: In the API's wire shape; copied and not checked, so a test can break the contract.
        """
        with self._lock:
            self._teams[team_id] = [_changed(each, {}) for each in connectors]

    def add_connector(self, team_id: int, connector_identifier: str | None = None, /, **fields: Any) -> Connector:
        """Adds a connector at the end of a team's listing, and the team if it is new.

        Args:
            team_id: 1 … 9223372036854775807.
            connector_identifier: 1 … 100 of `[A-Za-z0-9_-]`; made up by default.
            **fields: Fields in the API's wire shape, `OMIT` to leave a field out. By default the name is made up, the
                description is null, the logo is the API's default, both dates are now, and there is no configuration.

        Returns:
            A copy of the connector, with its configuration.

        Raises:
            SandboxError: The identifier or team id is malformed (422), or the team has the identifier already (409).
        """
        if connector_identifier is not None:
            fields["connector_identifier"] = connector_identifier
        with self._lock:
            connector = _changed(self._new_connector(), fields)
            identifier = connector.get("connector_identifier")
            if not isinstance(identifier, str) or not _IDENTIFIER.fullmatch(identifier):
                raise SandboxError(
                    422, f"connector_identifier must be 1 to 100 of A-Z a-z 0-9 _ -, got {identifier!r}."
                )
            if not 1 <= team_id <= MAX_TEAM_ID:
                raise SandboxError(422, f"team_id must be 1 to {MAX_TEAM_ID}, got {team_id}.")
            team = self._teams.setdefault(team_id, [])
            if any(each.get("connector_identifier") == identifier for each in team):
                raise SandboxError(409, f"Team {team_id} already has a connector {identifier!r}.")
            team.append(connector)
            return _changed(connector, {})

    def edit_connector(self, team_id: int, connector_identifier: str, /, **fields: Any) -> Connector:
        """Changes fields of a connector and sets its `updated_at` to now, unless it is one of the fields.

        Args:
            team_id: A team of the sandbox.
            connector_identifier: A connector of that team.
            **fields: New values; `OMIT` removes a field.

        Returns:
            A copy of the connector, with its configuration.

        Raises:
            SandboxError: The team or connector does not exist (404), or the identifier would change (400).
        """
        if fields.get("connector_identifier", connector_identifier) != connector_identifier:
            raise SandboxError(400, "connector_identifier cannot be changed: delete the connector and add another.")
        with self._lock:
            index = self._index(team_id, connector_identifier)
            connector = _changed(self._teams[team_id][index], {"updated_at": _now(), **fields})
            self._teams[team_id][index] = connector
            return _changed(connector, {})

    def delete_connector(self, team_id: int, connector_identifier: str) -> Connector:
        """Removes a connector from the listing and returns it.

        Raises:
            SandboxError: The team or connector does not exist (404).
        """
        with self._lock:
            return self._team(team_id).pop(self._index(team_id, connector_identifier))

    def edit_configuration(
        self, team_id: int, connector_identifier: str, /, configuration_json: Mapping[str, Any], **fields: Any
    ) -> Connector:
        """Gives a connector a new configuration. The configuration's `updated_at` moves, the connector's does not.

        Args:
            team_id: A team of the sandbox.
            connector_identifier: A connector of that team, with or without a configuration.
            configuration_json: The complete new JSON.
            **fields: Other fields of the configuration. By default `version` counts up and `updated_at` is now.

        Returns:
            A copy of the connector, with its configuration.

        Raises:
            SandboxError: The team or connector does not exist (404).
        """
        with self._lock:
            connector = self.connector(team_id, connector_identifier)
            old = connector.get("configuration") or {"version": None, "configuration_json": {}, "created_at": _now()}
            new = {"version": _next_version(old.get("version")), "updated_at": _now(), **fields}
            configuration = _changed(old, {**new, "configuration_json": configuration_json})
            unmoved = connector.get("updated_at", OMIT)
            return self.edit_connector(team_id, connector_identifier, updated_at=unmoved, configuration=configuration)

    def connector(self, team_id: int, connector_identifier: str) -> Connector:
        """A copy of a connector, with its configuration.

        Raises:
            SandboxError: The team or connector does not exist (404).
        """
        with self._lock:
            return _changed(self._team(team_id)[self._index(team_id, connector_identifier)], {})

    def _team(self, team_id: int) -> list[Connector]:
        if team_id not in self._teams:
            existing = ", ".join(map(str, self._teams)) or "none"
            raise SandboxError(404, f"Team {team_id} is not in the sandbox. Its teams: {existing}.")
        return self._teams[team_id]

    def _index(self, team_id: int, identifier: str) -> int:
        for index, connector in enumerate(self._team(team_id)):
            if connector.get("connector_identifier") == identifier:
                return index
        raise SandboxError(404, f"Team {team_id} has no connector {identifier!r}.")

    def _new_connector(self) -> Connector:
        """The default fields of a new connector, in the API's order."""
        self._named += 1
        return {
            "connector_identifier": f"SBX{self._named:02d}",
            "name": "Sandbox connector",
            "description": None,
            "logo_url": DEFAULT_LOGO,
            "created_at": _now(),
            "updated_at": _now(),
        }


def _changed(record: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """A deep copy with new values in the old order, without the omitted fields.

    Copied through JSON, which is quicker than copy.deepcopy and refuses what cannot be served.
    """
    merged = {name: value for name, value in {**record, **fields}.items() if value is not OMIT}
    copied: dict[str, Any] = orjson.loads(orjson.dumps(merged))
    return copied


def _now() -> str:
    """Now in UTC, to the second, as the API writes it: `2025-01-01T00:00:00Z`."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _next_version(version: object) -> str:
    """The version with its last number counted up; `1.0.0` after none, `….1` after a version that ends in no number."""
    if not isinstance(version, str):
        return "1.0.0"
    stem, dot, last = version.rpartition(".")
    return f"{stem}{dot}{int(last) + 1}" if last.isdecimal() else f"{version}.1"
