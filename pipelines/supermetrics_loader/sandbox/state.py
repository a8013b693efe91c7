"""What the sandbox holds: teams and their connectors, to be changed while it runs."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import orjson

from .data import DEFAULT_LOGO, shipped_teams
from .faults import SandboxError

Connector = dict[str, Any]
"""A connector in the API's wire shape; fields may be missing and unknown ones may be there."""
MAX_CONNECTORS = 1000
"""The API's `maxItems`: connectors beyond it are counted but not listed."""

OMIT: Any = object()
"""As the value of a field: leave the field out of what the API sends, instead of sending null."""
MAX_TEAM_ID = 2**63 - 1
_IDENTIFIER = re.compile(r"[A-Za-z0-9_-]{1,100}")


@dataclass
class Team:
    """The connectors of a team, the count it reports and its encoded listings by include_configs."""

    connectors: list[Connector]
    reported_count: int | None = None
    bodies: dict[bool, bytes] = field(default_factory=dict)

    def listed(self, include_configs: bool) -> list[Connector]:
        """The connectors as the API sends them, not copied."""
        connectors = self.connectors[:MAX_CONNECTORS]
        if include_configs:
            return connectors
        return [{name: value for name, value in each.items() if name != "configuration"} for each in connectors]


class State:
    """Teams and their connectors. Every method may be called from any thread.

    Args:
        teams: Connectors by team id, in the API's wire shape and not checked; None for the shipped ones.
    """

    def __init__(self, teams: Mapping[int, Sequence[Mapping[str, Any]]] | None = None) -> None:
        self._lock = threading.RLock()
        self._named = 0
        self._teams: dict[int, Team] = {}
        for team_id, connectors in (shipped_teams() if teams is None else teams).items():
            self.add_team(team_id, connectors)

    @property
    def team_ids(self) -> list[int]:
        """The teams the tokens can see, in the order they were added."""
        with self._lock:
            return list(self._teams)

    def connectors(self, team_id: int, include_configs: bool = True) -> list[Connector]:
        """What the API would list now.

        Args:
            team_id: A team of the sandbox.
            include_configs: Whether connectors carry their `configuration`.

        Returns:
            Copies of the connectors in the order listed.

        Raises:
            SandboxError: There is no such team (404).
        """
        with self._lock:
            return [_copied(each) for each in self._team(team_id).listed(include_configs)]

    def add_team(self, team_id: int, connectors: Iterable[Mapping[str, Any]] = ()) -> None:
        """Adds a team, or replaces the one of that id.

        Args:
            team_id: 1 … 9223372036854775807.
            connectors: In the API's wire shape; copied and not checked, so a test can break the contract.
        """
        with self._lock:
            self._teams[team_id] = Team([_copied(each) for each in connectors])

    def remove_team(self, team_id: int) -> None:
        """Takes a team away from the tokens: asking for it is forbidden (403) from now on."""
        with self._lock:
            self._team(team_id)
            del self._teams[team_id]

    def add_connector(
        self,
        team_id: int,
        connector_identifier: str | None = None,
        *,
        name: str | None = "Sandbox connector",
        configuration: Mapping[str, Any] | None = OMIT,
        **fields: Any,
    ) -> Connector:
        """Adds a connector at the end of a team's listing; the team is added too if it is new.

        Args:
            team_id: 1 … 9223372036854775807.
            connector_identifier: 1 … 100 of `[A-Za-z0-9_-]`, made up when None.
            name: None is sent as null.
            configuration: In the API's wire shape. None is sent as null; by default the connector has none.
            **fields: Any other field as the API would send it, `OMIT` for none of it. Unless given, the description
                is null, the logo the API's default and both dates are now.

        Returns:
            A copy of the connector, with its configuration.

        Raises:
            SandboxError: The identifier or team id is malformed (422), or the identifier is already in the team (409).
        """
        given = {"name": name, "configuration": configuration, **fields}
        if connector_identifier is not None:
            given["connector_identifier"] = connector_identifier
        return self._add(team_id, given)

    def edit_connector(self, team_id: int, connector_identifier: str, **fields: Any) -> Connector:
        """Changes fields of a connector and moves its `updated_at` to now, unless that is one of the fields.

        Args:
            team_id: A team of the sandbox.
            connector_identifier: A connector of that team.
            **fields: New values; `OMIT` takes the field away.

        Returns:
            A copy of the connector, with its configuration.

        Raises:
            SandboxError: There is no such team or connector (404).
        """
        return self._edit(team_id, connector_identifier, fields)

    def delete_connector(self, team_id: int, connector_identifier: str) -> None:
        """Takes a connector out of the listing.

        Raises:
            SandboxError: There is no such team or connector (404).
        """
        self._delete(team_id, connector_identifier)

    def edit_configuration(
        self, team_id: int, connector_identifier: str, configuration_json: Mapping[str, Any], **fields: Any
    ) -> Connector:
        """Gives a connector a new definition. The configuration's `updated_at` moves, the connector's own does not.

        Args:
            team_id: A team of the sandbox.
            connector_identifier: A connector of that team, with or without a configuration so far.
            configuration_json: The whole new definition.
            **fields: Further fields of the configuration. Unless given, `version` counts up and `updated_at` is now.

        Returns:
            A copy of the connector, with its configuration.

        Raises:
            SandboxError: There is no such team or connector (404).
        """
        return self._configure(team_id, connector_identifier, {**fields, "configuration_json": configuration_json})

    def report_count(self, team_id: int, count: int | None) -> None:
        """Makes a team's `count` differ from its listing.

        Args:
            team_id: A team of the sandbox.
            count: The number to report; None goes back to the truth.
        """
        with self._lock:
            team = self._team(team_id)
            team.reported_count = count
            team.bodies.clear()

    def _team(self, team_id: int) -> Team:
        if team_id not in self._teams:
            there = ", ".join(map(str, self._teams)) or "none"
            raise SandboxError(404, f"Team {team_id} is not in the sandbox. Its teams: {there}.")
        return self._teams[team_id]

    def _find(self, team_id: int, identifier: str) -> tuple[Team, Connector]:
        team = self._team(team_id)
        for connector in team.connectors:
            if connector.get("connector_identifier") == identifier:
                return team, connector
        raise SandboxError(404, f"Team {team_id} has no connector {identifier!r}.")

    def _add(self, team_id: int, fields: Mapping[str, Any]) -> Connector:
        with self._lock:
            connector = _changed(self._made_up(), fields)
            identifier = connector.get("connector_identifier")
            if not isinstance(identifier, str) or not _IDENTIFIER.fullmatch(identifier):
                raise SandboxError(
                    422, f"connector_identifier must be 1 to 100 of A-Z a-z 0-9 _ -, got {identifier!r}."
                )
            if not 1 <= team_id <= MAX_TEAM_ID:
                raise SandboxError(422, f"team_id must be 1 to {MAX_TEAM_ID}, got {team_id}.")
            team = self._teams.setdefault(team_id, Team([]))
            if any(each.get("connector_identifier") == identifier for each in team.connectors):
                raise SandboxError(409, f"Team {team_id} already has a connector {identifier!r}.")
            team.connectors.append(connector)
            team.bodies.clear()
            return _copied(connector)

    def _made_up(self) -> Connector:
        """The fields of a connector that nobody gave a value, in the API's order."""
        self._named += 1
        return {
            "connector_identifier": f"SBX{self._named:02d}",
            "name": "Sandbox connector",
            "description": None,
            "logo_url": DEFAULT_LOGO,
            "created_at": _now(),
            "updated_at": _now(),
        }

    def _edit(self, team_id: int, identifier: str, fields: Mapping[str, Any]) -> Connector:
        if fields.get("connector_identifier", identifier) != identifier:
            raise SandboxError(400, "connector_identifier cannot be changed: delete the connector and add another.")
        return self._put(team_id, identifier, {"updated_at": _now(), **fields})

    def _configure(self, team_id: int, identifier: str, fields: Mapping[str, Any]) -> Connector:
        with self._lock:
            _, connector = self._find(team_id, identifier)
            old = connector.get("configuration") or {"version": None, "configuration_json": {}, "created_at": _now()}
            moved = {"version": _next_version(old.get("version")), "updated_at": _now()}
            return self._put(team_id, identifier, {"configuration": _changed(old, {**moved, **fields})})

    def _definition(self, team_id: int, identifier: str) -> dict[str, Any]:
        """The `configuration_json` of a connector; empty without one."""
        _, connector = self._find(team_id, identifier)
        definition: dict[str, Any] = (connector.get("configuration") or {}).get("configuration_json") or {}
        return definition

    def _put(self, team_id: int, identifier: str, fields: Mapping[str, Any]) -> Connector:
        with self._lock:
            team, connector = self._find(team_id, identifier)
            changed = _changed(connector, fields)
            team.connectors[team.connectors.index(connector)] = changed
            team.bodies.clear()
            return _copied(changed)

    def _delete(self, team_id: int, identifier: str) -> Connector:
        with self._lock:
            team, connector = self._find(team_id, identifier)
            team.connectors.remove(connector)
            team.bodies.clear()
            return connector


def _copied(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A deep copy without the omitted fields. Through JSON: quicker than copy.deepcopy, and no surprise when served."""
    copied: dict[str, Any] = orjson.loads(orjson.dumps({k: v for k, v in fields.items() if v is not OMIT}))
    return copied


def _changed(record: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """The record with new values, in the order of the old ones, and without the fields to omit."""
    return _copied({**record, **fields})


def _now() -> str:
    """Now in UTC, to the second, as the API writes it: `2025-01-01T00:00:00Z`."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _next_version(version: object) -> str:
    """The version with its last number counted up, `1.0.0` after none, `….1` after one that ends in no number."""
    if not isinstance(version, str):
        return "1.0.0"
    stem, dot, last = version.rpartition(".")
    return f"{stem}{dot}{int(last) + 1}" if last.isdecimal() else f"{version}.1"
