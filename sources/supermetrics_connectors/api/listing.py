"""The API's list of one team's connectors, checked against its documentation, with timestamps in UTC.

Shapes and limits are those of the vendor's page "List connectors" and its OpenAPI description. Fields that the API adds
later pass through.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ..documents.json_text import canonical_json, parse_json
from ..exceptions import SupermetricsContractError, SupermetricsError
from ..records import EARLIEST, Record, content_hash
from ..specs import CONNECTOR_CONFIGURATIONS, CONNECTORS, TableSpec
from .client import ApiResponse, SupermetricsClient
from .validation import (
    ColumnNames,
    UnexpectedError,
    check_count,
    check_depth,
    check_fields,
    check_list,
    check_object,
    kind_of,
    quoted,
    refuse_nul,
    refuse_other_team,
    write_json,
)


@dataclass(frozen=True)
class Listing:
    """The outcome of one team's request.

    Attributes:
        team_id: The team.
        started_at: When the request began, UTC.
        duration_ms: Milliseconds until the response was read, with waits and retries.
        connectors: The connectors by identifier, checked, each once, with their `content_hash`. Empty after a failure.
        configurations: The configurations of those that have one, with their `content_hash`, if they were requested.
        duplicates: Identifiers that the API listed more than once.
        reported: The API's `count`; None after a failure.
        received: Length of the API's list, duplicates included; None after a failure.
        status_code: HTTP status; None without a response.
        request_id: The API's request id; None when the response has none.
        rate_limit_remaining: Requests left in this hour; None when unknown.
        has_configurations: Whether configurations were requested.
        size: Bytes of the response's body.
        redacted: JSONPaths of secrets in configurations by connector; None when configurations were not examined.
        error: Why there is no listing; None when there is one.
    """

    team_id: int
    started_at: datetime
    duration_ms: int
    connectors: dict[str, Record] = field(default_factory=dict)
    configurations: dict[str, Record] = field(default_factory=dict)
    duplicates: tuple[str, ...] = ()
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
        """Makes the outcome of a request that failed by an error that names its team."""
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
        """Whether the listing has every connector: only then does a connector's absence mean its removal."""
        return self.error is None and self.reported == self.received and not self.duplicates

    @property
    def status(self) -> str:
        """`ok`; `incomplete` when the API's count differs from its list or an identifier repeats; `failed`."""
        return "failed" if self.error else "ok" if self.complete else "incomplete"

    @property
    def latest_updated_at(self) -> datetime | None:
        """The highest `updated_at` of a connector; None if there is none."""
        return max(filter(None, (each.get("updated_at") for each in self.connectors.values())), default=None)


def list_connectors(client: SupermetricsClient, team_id: int, include_configs: bool = False) -> ApiResponse:
    """Requests the connectors of a team.

    Raises:
        SupermetricsError: As its subclass for the failure, with the request id if the response has one.
    """
    params = {"include_configs": "true" if include_configs else "false"}
    return client.get(team_id, f"/v1/teams/{team_id}/connector_builder/connectors", params)


def read_listing(
    team_id: int,
    response: ApiResponse,
    *,
    started_at: datetime,
    duration_ms: int,
    include_configs: bool,
    column_names: ColumnNames,
    redact_secrets: bool = True,
) -> Listing:
    """Checks a response and shapes it into a listing.

    Args:
        team_id: The team of the request.
        response: The API's response.
        started_at: When the request began, UTC.
        duration_ms: Milliseconds until the response was read.
        include_configs: Whether configurations were requested.
        column_names: Names the columns of fields that the API has added.
        redact_secrets: Whether literal secrets in configurations are replaced, see `redaction.py`.

    Raises:
        SupermetricsContractError: The response is not as documented; team, record and request id are named.
    """
    try:
        payload = check_object(response.payload, "the response")
        listed, count = check_list(payload, "connectors"), check_count(payload)
        records = {f"connectors[{index}]": record for index, record in enumerate(listed)}
        if response.may_have_nul:
            refuse_nul(records)
        refuse_other_team(payload, team_id, "the response")
        sent = [_read_connector(record, where, team_id, include_configs) for where, record in records.items()]
        newest = _newest_by_identifier(sent)
        configurations = {name: each.configuration for name, each in newest.items() if each.configuration}
        redacted = _redact(configurations) if redact_secrets and include_configs else None
        return Listing(
            team_id=team_id,
            started_at=started_at,
            duration_ms=duration_ms,
            connectors=_with_hashes(newest, CONNECTORS, column_names),
            configurations=_with_hashes(configurations, CONNECTOR_CONFIGURATIONS, column_names),
            duplicates=tuple(name for name, times in Counter(each.identifier for each in sent).items() if times > 1),
            reported=count,
            received=len(records),
            status_code=response.status_code,
            request_id=response.request_id,
            rate_limit_remaining=response.rate_limit_remaining,
            has_configurations=include_configs,
            size=response.size,
            redacted=redacted,
        )
    except UnexpectedError as unexpected:
        message = str(unexpected)
    raise SupermetricsContractError(
        message, team_id=team_id, status_code=response.status_code, request_id=response.request_id
    )


@dataclass(frozen=True)
class _Configuration:
    """A configuration in the making.

    Attributes:
        record: The record with converted values; its document as canonical JSON.
        sent: The fields except the document, as the API sent them.
    """

    record: Record
    sent: Record

    @property
    def content_hash(self) -> str:
        fields = {
            name: value
            for name, value in self.sent.items()
            if value is not None and name not in CONNECTOR_CONFIGURATIONS.unhashed
        }
        document: str = self.record["configuration_json"]
        return hashlib.sha256(canonical_json(fields) + b"\n" + document.encode()).hexdigest()


@dataclass(frozen=True)
class _Connector:
    """A connector in the making; its attributes are those of a configuration."""

    identifier: str
    record: Record
    sent: Record
    configuration: _Configuration | None

    @property
    def content_hash(self) -> str:
        return content_hash(self.sent)


def _read_connector(value: Any, where: str, team_id: int, include_configs: bool) -> _Connector:
    sent = check_object(value, where)
    identifier = sent.get("connector_identifier")
    if not isinstance(identifier, str) or not identifier:
        raise UnexpectedError(
            f"Expected a non-empty string in {where}.connector_identifier, {kind_of(identifier)} arrived"
        )
    refuse_other_team(sent, team_id, where)
    where = f"{where} ({quoted(identifier)})"
    configuration = sent.pop("configuration", None)
    check_depth(sent, where)
    record = dict(sent)
    check_fields(record, CONNECTORS, where)
    is_read = include_configs and configuration is not None
    read = _read_configuration(configuration, f"{where}.configuration") if is_read else None
    return _Connector(identifier, record, sent, read)


def _read_configuration(value: Any, where: str) -> _Configuration:
    sent = check_object(value, where)
    document = sent.pop("configuration_json", None)
    if not isinstance(document, dict):
        raise UnexpectedError(f"Expected an object in {where}.configuration_json, {kind_of(document)} arrived")
    check_depth(sent, where)
    text = write_json(document, f"{where}.configuration_json").decode()
    record = {**sent, "configuration_json": text}
    check_fields(record, CONNECTOR_CONFIGURATIONS, where)
    return _Configuration(record, sent)


def _newest_by_identifier(connectors: Iterable[_Connector]) -> dict[str, _Connector]:
    """Returns the connectors by identifier; of duplicates the newest, of equally new ones the last in the list."""
    newest: dict[str, _Connector] = {}
    for connector in connectors:
        rival = newest.get(connector.identifier)
        if rival is None or _updated_at(connector) >= _updated_at(rival):
            newest[connector.identifier] = connector
    return newest


def _updated_at(connector: _Connector) -> datetime:
    return connector.record.get("updated_at") or EARLIEST


def _redact(configurations: dict[str, _Configuration]) -> dict[str, list[str]]:
    """Replaces the secrets of all configurations; returns their paths by connector."""
    from ..documents.redaction import redact, suspects  # noqa: PLC0415 - its patterns take 0.05 s to compile

    found: dict[str, list[str]] = {}
    names = list(configurations)
    for index in suspects([each.record["configuration_json"] for each in configurations.values()]):
        record = configurations[names[index]].record
        document = parse_json(record["configuration_json"])
        if paths := redact(document):
            found[names[index]] = paths
            record["configuration_json"] = canonical_json(document).decode()
    for name, each in configurations.items():
        added = {field: value for field, value in each.sent.items() if field not in CONNECTOR_CONFIGURATIONS.api_fields}
        if added and (paths := redact(added)):
            found[name] = found.get(name, []) + [f"configuration{path[1:]}" for path in paths]
            each.record.update(added)
            each.sent.update(added)
    return found


def _with_hashes(
    read: Mapping[str, _Connector] | Mapping[str, _Configuration], spec: TableSpec, column_names: ColumnNames
) -> dict[str, Record]:
    """Returns the records by identifier, under the names of their columns and with their content hash."""
    records = {name: each.record for name, each in read.items()}
    column_names.rename(list(records.values()), spec)
    for each in read.values():
        each.record["content_hash"] = each.content_hash
    return records
