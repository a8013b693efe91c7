"""The API's list of one team's connectors, checked against its documentation, with timestamps in UTC.

Shapes and limits are those of the vendor's page "List connectors" and its OpenAPI description. Fields that the API adds
later pass through.
"""

from collections import Counter
from collections.abc import Mapping
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
        read = [_read_connector(record, where, team_id, include_configs) for where, record in records.items()]
        times = Counter(each.identifier for each in read)
        # of duplicates the newest, of equally new ones the last in the list
        newest = {each.identifier: each for each in sorted(read, key=lambda each: each.updated_at)}
        configurations = {name: each.configuration for name, each in newest.items() if each.configuration}
        redacted = _redact(configurations) if redact_secrets and include_configs else None
        return Listing(
            team_id=team_id,
            started_at=started_at,
            duration_ms=duration_ms,
            connectors=_with_hashes(newest, CONNECTORS, column_names),
            configurations=_with_hashes(configurations, CONNECTOR_CONFIGURATIONS, column_names),
            duplicates=tuple(name for name, count_ in times.items() if count_ > 1),
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
class _Received:
    """A connector or a configuration in the making.

    Attributes:
        sent: The fields as the API sent them; a configuration's document as canonical JSON.
        record: The fields with converted values.
        configuration: The configuration of a connector that has one.
    """

    sent: Record
    record: Record
    configuration: "_Received | None" = None

    @property
    def identifier(self) -> str:
        return str(self.sent["connector_identifier"])

    @property
    def updated_at(self) -> datetime:
        return self.record.get("updated_at") or EARLIEST


def _read_connector(value: Any, where: str, team_id: int, include_configs: bool) -> _Received:
    sent = check_object(value, where)
    refuse_other_team(sent, team_id, where)
    if (identifier := sent.get("connector_identifier")) and isinstance(identifier, str):
        where = f"{where} ({quoted(identifier)})"
    configuration = sent.pop("configuration", None)
    record = check_fields(sent, CONNECTORS, where)
    if not include_configs or configuration is None:
        return _Received(sent, record)
    return _Received(sent, record, _read_configuration(configuration, f"{where}.configuration"))


def _read_configuration(value: Any, where: str) -> _Received:
    sent = check_object(value, where)
    document = sent.get("configuration_json")
    if not isinstance(document, dict):
        raise UnexpectedError(f"Expected an object in {where}.configuration_json, {kind_of(document)} arrived")
    sent["configuration_json"] = write_json(document, f"{where}.configuration_json").decode()
    return _Received(sent, check_fields(sent, CONNECTOR_CONFIGURATIONS, where))


def _redact(configurations: dict[str, _Received]) -> dict[str, list[str]]:
    """Replaces the secrets of all configurations; returns their paths by connector."""
    from ..documents.redaction import indexes_to_redact, redact  # noqa: PLC0415 - its patterns take 0.05 s to compile

    found: dict[str, list[str]] = {}
    names = list(configurations)
    for index in indexes_to_redact([each.sent["configuration_json"] for each in configurations.values()]):
        configuration = configurations[names[index]]
        document = parse_json(configuration.sent["configuration_json"])
        if paths := redact(document):
            found[names[index]] = paths
            text = canonical_json(document).decode()
            configuration.sent["configuration_json"] = configuration.record["configuration_json"] = text
    for name, each in configurations.items():
        added = {field: value for field, value in each.sent.items() if field not in CONNECTOR_CONFIGURATIONS.api_fields}
        if added and (paths := redact(added)):
            found[name] = found.get(name, []) + [f"configuration{path[1:]}" for path in paths]
            each.record.update(added)
            each.sent.update(added)
    return found


def _with_hashes(read: Mapping[str, _Received], spec: TableSpec, column_names: ColumnNames) -> dict[str, Record]:
    """Returns the records by identifier, under the names of their columns and with their content hash."""
    records = {name: each.record for name, each in read.items()}
    column_names.rename(list(records.values()), spec)
    for name, each in read.items():
        records[name]["content_hash"] = content_hash(each.sent, spec.unhashed)
    return records
