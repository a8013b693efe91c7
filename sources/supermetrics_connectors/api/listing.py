"""The API's answer for one team, checked against its documentation, with timestamps in UTC.

Shapes and limits are those of the vendor's page "List connectors" and its OpenAPI description. What the API adds later
passes through untouched.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from ..documents.json_text import canonical_json, parse_json
from ..exceptions import SupermetricsContractError, SupermetricsError
from .checks import (
    Record,
    UnexpectedError,
    check_depth,
    check_texts,
    counted_list,
    is_of_another,
    kind_of,
    name_columns,
    quoted,
    read_timestamps,
    refuse_nul,
)
from .checks import written as written_json
from .client import Answer, SupermetricsClient

TEXT_FIELDS = ("name", "description", "logo_url")
TIMESTAMP_FIELDS = ("created_at", "updated_at")
CONNECTOR_FIELDS = frozenset({"connector_identifier", *TEXT_FIELDS, *TIMESTAMP_FIELDS, "configuration"})
CONFIGURATION_FIELDS = frozenset({"version", "configuration_json", *TIMESTAMP_FIELDS})

LONG_AGO = datetime.min.replace(tzinfo=timezone.utc)


@dataclass(frozen=True)
class Listing:
    """What one request found out about one team.

    Attributes:
        team_id: The team.
        started_at: When its request was begun, UTC.
        duration_ms: Milliseconds until the answer was read, waiting and retries included.
        connectors: Its connectors by identifier, checked, each once. Empty when the request failed.
        configurations: The configurations of those that have one, with a hash of their content, if they were asked for.
        reported: The API's `count`; None when the request failed.
        received: Length of the API's list, doubles included; None when the request failed.
        status_code: HTTP status; None when no answer came.
        request_id: The API's request id; None when the answer carried none.
        rate_limit_remaining: Requests left in this hour; None when unknown.
        has_configurations: Whether configurations were asked for.
        size: Bytes of the answer's body.
        redacted: Where configurations held secrets, as paths by connector; None when that was not looked for.
        error: Why there is no listing; None when there is one.
    """

    team_id: int
    started_at: datetime
    duration_ms: int
    connectors: dict[str, Record] = field(default_factory=dict)
    configurations: dict[str, Record] = field(default_factory=dict)
    reported: int | None = None
    received: int | None = None
    status_code: int | None = None
    request_id: str | None = None
    rate_limit_remaining: int | None = None
    has_configurations: bool = False
    size: int = 0
    redacted: dict[str, list[str]] | None = None
    error: SupermetricsError | None = None

    @classmethod
    def failed(cls, error: SupermetricsError, started_at: datetime, duration_ms: int) -> "Listing":
        """No listing, because of an error that names its team."""
        if error.team_id is None:
            raise ValueError(f"The error names no team: {error}")
        return cls(
            error.team_id,
            started_at,
            duration_ms,
            status_code=error.status_code,
            request_id=error.request_id,
            error=error,
        )

    @property
    def complete(self) -> bool:
        """Whether this is all that the API has: only then does a connector's absence mean that it is gone."""
        return self.error is None and self.reported == self.received

    @property
    def status(self) -> str:
        """`ok`; `incomplete` when the API counts more or fewer connectors than it lists; `failed` with an error."""
        return "failed" if self.error else "ok" if self.complete else "incomplete"


def list_connectors(client: SupermetricsClient, team_id: int, include_configs: bool = False) -> Answer:
    """Asks for the connectors of a team.

    Raises:
        SupermetricsError: As its subclass for what went wrong, with the request id where the answer had one.
    """
    params = {"include_configs": "true" if include_configs else "false"}
    return client.get(team_id, f"/v1/teams/{team_id}/connector_builder/connectors", params)


def read_listing(
    team_id: int,
    answer: Answer,
    *,
    started_at: datetime,
    duration_ms: int,
    include_configs: bool,
    column_name: Callable[[str], str],
    redact_secrets: bool = True,
) -> Listing:
    """Checks an answer and shapes it into a listing.

    Args:
        team_id: The team that was asked for.
        answer: What the API said.
        started_at: When the request was begun, UTC.
        duration_ms: Milliseconds until the answer was there.
        include_configs: Whether configurations were asked for.
        column_name: dlt's naming convention: what a field's column will be called.
        redact_secrets: Whether literal secrets in configurations are replaced, see `redaction.py`.

    Raises:
        SupermetricsContractError: It is not what the documentation says; team, record and request id are named.
    """
    try:
        count, records = _count_and_records(answer.payload)
        if answer.may_have_nul:
            refuse_nul(records, "connectors")
        connectors = [_read_connector(r, f"connectors[{i}]", include_configs) for i, r in enumerate(records)]
        _refuse_other_teams(answer.payload, team_id)
        name_columns(connectors, CONNECTOR_FIELDS, column_name)
        configurations = [connector["configuration"] for connector in connectors if "configuration" in connector]
        name_columns(configurations, CONFIGURATION_FIELDS, column_name)
        newest = _newest_by_identifier(connectors)
        newest_configurations = {
            name: configuration for name, each in newest.items() if (configuration := each.pop("configuration", None))
        }
        redacted = _redact(newest_configurations) if redact_secrets and include_configs else None
        _hash(newest_configurations.values())
        return Listing(
            team_id=team_id,
            started_at=started_at,
            duration_ms=duration_ms,
            connectors=newest,
            configurations=newest_configurations,
            reported=count,
            received=len(records),
            status_code=answer.status_code,
            request_id=answer.request_id,
            rate_limit_remaining=answer.rate_limit_remaining,
            has_configurations=include_configs,
            size=answer.size,
            redacted=redacted,
        )
    except UnexpectedError as unexpected:
        message = str(unexpected)
    raise SupermetricsContractError(
        message, team_id=team_id, status_code=answer.status_code, request_id=answer.request_id
    )


def _count_and_records(payload: Any) -> tuple[int, list[Any]]:
    if not isinstance(payload, dict):
        raise UnexpectedError(f"Expected a JSON object with count and connectors, {kind_of(payload)} arrived")
    return counted_list(payload, "connectors")


def _read_connector(record: Any, where: str, include_configs: bool) -> Record:
    if not isinstance(record, dict):
        raise UnexpectedError(f"Expected an object in {where}, {kind_of(record)} arrived")
    identifier = record.get("connector_identifier")
    if not isinstance(identifier, str) or not identifier:
        raise UnexpectedError(
            f"Expected a non-empty string in {where}.connector_identifier, {kind_of(identifier)} arrived"
        )
    where = f"{where} ({quoted(identifier)})"
    connector = dict(record)
    configuration = connector.pop("configuration", None)
    check_texts(connector, TEXT_FIELDS, where)
    read_timestamps(connector, TIMESTAMP_FIELDS, where)
    check_depth(connector, where)
    if include_configs and configuration is not None:
        connector["configuration"] = _read_configuration(configuration, f"{where}.configuration")
    return connector


def _read_configuration(configuration: Any, where: str) -> Record:
    if not isinstance(configuration, dict):
        raise UnexpectedError(f"Expected an object in {where}, {kind_of(configuration)} arrived")
    record: Record = dict(configuration)
    if not isinstance(record.get("configuration_json"), dict):
        kind = kind_of(record.get("configuration_json"))
        raise UnexpectedError(f"Expected an object in {where}.configuration_json, {kind} arrived")
    check_texts(record, ("version",), where)
    read_timestamps(record, TIMESTAMP_FIELDS, where)
    record["configuration_json"] = written_json(record["configuration_json"], f"{where}.configuration_json").decode()
    check_depth(record, where)
    return record


def _redact(configurations: dict[str, Record]) -> dict[str, list[str]]:
    """Replaces the secrets of all configurations; returns where they were, by connector."""
    from ..documents.redaction import redact, suspects  # noqa: PLC0415 - its patterns take 0.05 s to compile

    found: dict[str, list[str]] = {}
    names = list(configurations)
    for index in suspects([each["configuration_json"] for each in configurations.values()]):
        document = parse_json(configurations[names[index]]["configuration_json"])
        if paths := redact(document):
            found[names[index]] = paths
            configurations[names[index]]["configuration_json"] = canonical_json(document).decode()
    for name, configuration in configurations.items():
        added = {field: value for field, value in configuration.items() if field not in CONFIGURATION_FIELDS}
        if added and (paths := redact(added)):
            found[name] = found.get(name, []) + [f"configuration{path[1:]}" for path in paths]
            configuration.update(added)
    return found


def _hash(configurations: Iterable[Record]) -> None:
    for configuration in configurations:
        text = configuration["configuration_json"].encode()
        configuration["content_hash"] = hashlib.sha256(text).hexdigest()


def _refuse_other_teams(payload: dict[str, Any], team_id: int) -> None:
    """The API does not say whose connectors it lists; should it do so one day, they must be those of this team."""
    for index, said in enumerate([payload, *payload["connectors"]]):
        if is_of_another(said, team_id):
            where = f"connectors[{index - 1}]" if index else "the answer"
            raise UnexpectedError(f"Expected {where} to be of team {team_id}, its `team_id` names another")


def _newest_by_identifier(connectors: Iterable[Record]) -> dict[str, Record]:
    """The connectors by identifier; of two with one identifier the newer, and of two as new the later in the list."""
    newest: dict[str, Record] = {}
    for connector in connectors:
        identifier = connector["connector_identifier"]
        rival = newest.get(identifier)
        if rival is None or (connector.get("updated_at") or LONG_AGO) >= (rival.get("updated_at") or LONG_AGO):
            newest[identifier] = connector
    return newest
