"""The API's answer for one team, checked against its documentation, with timestamps in UTC.

Shapes and limits are those of the vendor's page "List connectors" and its OpenAPI description. What the API adds later
passes through untouched.
"""

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import lru_cache
from typing import Any, cast

import pendulum
from pendulum.parsing.exceptions import ParserError

from ..documents.json_text import canonical_json as canonical_json  # noqa: PLC0414 - other modules import it from here
from ..documents.json_text import parse_json
from ..documents.redaction import redact, suspects
from ..exceptions import SupermetricsContractError, SupermetricsError
from ..tables.contracts import OWN_COLUMNS
from .client import Answer, SupermetricsClient

Record = dict[str, Any]
"""A connector or configuration by column name, its created_at and updated_at as datetimes in UTC."""

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
            _refuse_nul(records)
        connectors = [_read_connector(r, f"connectors[{i}]", include_configs) for i, r in enumerate(records)]
        _refuse_other_teams(answer.payload, team_id)
        _name_columns(connectors, CONNECTOR_FIELDS, column_name)
        configurations = [connector["configuration"] for connector in connectors if "configuration" in connector]
        _name_columns(configurations, CONFIGURATION_FIELDS, column_name)
        newest = _newest_by_identifier(connectors)
        redacted = _redact(newest) if redact_secrets and include_configs else None
        _hash_configurations(newest.values())
        return Listing(
            team_id=team_id,
            started_at=started_at,
            duration_ms=duration_ms,
            connectors=newest,
            reported=count,
            received=len(records),
            status_code=answer.status_code,
            request_id=answer.request_id,
            rate_limit_remaining=answer.rate_limit_remaining,
            has_configurations=include_configs,
            size=answer.size,
            redacted=redacted,
        )
    except _UnexpectedError as unexpected:
        message = str(unexpected)
    raise SupermetricsContractError(
        message, team_id=team_id, status_code=answer.status_code, request_id=answer.request_id
    )


@lru_cache(maxsize=65_536)
def parse_timestamp(text: str) -> datetime:
    """Reads a timestamp in any shape of the API as an instant in UTC, to the microsecond.

    `2025-01-01` means midnight UTC, and a time without a zone is in UTC: the API documents "ISO 8601" and has been
    seen to send `2025-01-01`, `2025-01-01T00:00:00Z`, `…+00:00` and `…+0000`.

    Raises:
        ValueError: It is none of these.
    """
    if not _TIMESTAMP.fullmatch(text):  # pendulum alone also reads times, weeks, intervals and durations
        raise ValueError(text)
    try:
        utc = cast("pendulum.DateTime", pendulum.parse(text)).astimezone(timezone.utc)
        return datetime.combine(utc.date(), utc.time(), timezone.utc)  # the plain class, which orjson knows
    except (ParserError, OverflowError) as error:
        raise ValueError(text) from error


_TIMESTAMP = re.compile(
    r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?:Z|[+-]\d\d(?::?\d\d)?)?)?", re.ASCII
)


class _UnexpectedError(Exception):
    """What of the answer is not as documented, in words."""


def _count_and_records(payload: Any) -> tuple[int, list[Any]]:
    if not isinstance(payload, dict):
        raise _UnexpectedError(f"Expected a JSON object with count and connectors, {_kind(payload)} arrived")
    records, count = payload.get("connectors"), payload.get("count")
    if not isinstance(records, list):
        raise _UnexpectedError(f"Expected a list in `connectors`, {_kind(records)} arrived")
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise _UnexpectedError(f"Expected an integer ≥ 0 in `count`, {_kind(count)} arrived")
    return count, records


def _refuse_nul(records: list[Any]) -> None:
    """PostgreSQL and others cannot hold a NUL character; what a table has must not depend on where it is."""
    for index, record in enumerate(records):
        rest = [record]
        while rest:
            value = rest.pop()
            if isinstance(value, dict):
                rest.extend((*value.keys(), *value.values()))
            elif isinstance(value, list):
                rest.extend(value)
            elif isinstance(value, str) and "\0" in value:
                raise _UnexpectedError(
                    f"Expected text that a database can hold in connectors[{index}], a NUL character arrived"
                )


def _read_connector(record: Any, where: str, include_configs: bool) -> Record:
    if not isinstance(record, dict):
        raise _UnexpectedError(f"Expected an object in {where}, {_kind(record)} arrived")
    identifier = record.get("connector_identifier")
    if not isinstance(identifier, str) or not identifier:
        raise _UnexpectedError(
            f"Expected a non-empty string in {where}.connector_identifier, {_kind(identifier)} arrived"
        )
    where = f"{where} ({_quoted(identifier)})"
    connector = dict(record)
    configuration = connector.pop("configuration", None)
    _check_texts(connector, TEXT_FIELDS, where)
    _read_timestamps(connector, where)
    _check_depth(connector, where)
    if include_configs and configuration is not None:
        connector["configuration"] = _read_configuration(configuration, f"{where}.configuration")
    return connector


def _read_configuration(configuration: Any, where: str) -> Record:
    if not isinstance(configuration, dict):
        raise _UnexpectedError(f"Expected an object in {where}, {_kind(configuration)} arrived")
    record: Record = dict(configuration)
    if not isinstance(record.get("configuration_json"), dict):
        kind = _kind(record.get("configuration_json"))
        raise _UnexpectedError(f"Expected an object in {where}.configuration_json, {kind} arrived")
    _check_texts(record, ("version",), where)
    _read_timestamps(record, where)
    record["configuration_json"] = _written(record["configuration_json"], f"{where}.configuration_json").decode()
    _check_depth(record, where)
    return record


def _redact(connectors: dict[str, Record]) -> dict[str, list[str]]:
    """Replaces the secrets of all configurations; returns where they were, by connector."""
    configurations = {name: each["configuration"] for name, each in connectors.items() if "configuration" in each}
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


def _hash_configurations(connectors: Iterable[Record]) -> None:
    for connector in connectors:
        if configuration := connector.get("configuration"):
            text = configuration["configuration_json"].encode()
            configuration["content_hash"] = hashlib.sha256(text).hexdigest()


def _check_texts(record: Record, names: tuple[str, ...], where: str) -> None:
    for name in names:
        if not isinstance(record.get(name), (str, type(None))):
            raise _UnexpectedError(f"Expected a string in {where}.{name}, {_kind(record[name])} arrived")


def _read_timestamps(record: Record, where: str) -> None:
    for name in TIMESTAMP_FIELDS:
        value = record.get(name)
        if value is None:
            continue
        try:
            record[name] = parse_timestamp(value)
        except (ValueError, TypeError):
            got = _quoted(value) if isinstance(value, str) else _kind(value)
            raise _UnexpectedError(
                f"Expected an ISO 8601 timestamp such as 2025-01-01T00:00:00Z in {where}.{name}, {got} arrived"
            ) from None


def _check_depth(record: Record, where: str) -> None:
    """What the API has added will be written as JSON, inside its record, which is a level too."""
    for name, value in record.items():
        if isinstance(value, (dict, list)):
            _written([value], f"{where}.{name}")


def _written(value: Any, where: str) -> bytes:
    """Canonical JSON: what can be read is not always shallow enough for it."""
    try:
        return canonical_json(value)
    except TypeError:
        raise _UnexpectedError(f"{where} is nested too deep to be written as JSON") from None


def _refuse_other_teams(payload: dict[str, Any], team_id: int) -> None:
    """The API does not say whose connectors it lists; should it do so one day, they must be those of this team."""
    for index, said in enumerate([payload, *payload["connectors"]]):
        if said.get("team_id", team_id) not in (team_id, str(team_id), None):
            where = f"connectors[{index - 1}]" if index else "the answer"
            raise _UnexpectedError(f"Expected {where} to be of team {team_id}, its `team_id` names another")


def _name_columns(records: list[Record], documented: frozenset[str], column_name: Callable[[str], str]) -> None:
    """Names the fields that the API has added as their columns, each of which must be a name and one of its own."""
    fields = {name: name for name in documented}
    for field_name in sorted({name for record in records for name in record} - documented):
        column = _column_of(field_name, documented, column_name)
        if fields.setdefault(column, field_name) != field_name:
            both = f"{_quoted(field_name)} and {_quoted(fields[column])}"
            raise _UnexpectedError(f"The fields {both} would share the column {column!r}")
    for column, field_name in fields.items():
        if column != field_name:
            for record in records:
                if field_name in record:
                    record[column] = record.pop(field_name)


def _column_of(field_name: str, documented: frozenset[str], column_name: Callable[[str], str]) -> str:
    """The column of a field that the API has added: `tier` for `tier`, but `api_content_hash` for `content_hash`."""
    try:
        column = column_name(field_name)
        is_own = column.lower() in OWN_COLUMNS - documented or column.lower().startswith("_dlt")
        return column_name(f"api_{column.lstrip('_')}") if is_own else column
    except ValueError:
        raise _UnexpectedError(f"The field {_quoted(field_name)} cannot be made the name of a column") from None


def _newest_by_identifier(connectors: Iterable[Record]) -> dict[str, Record]:
    """The connectors by identifier; of two with one identifier the newer, and of two as new the later in the list."""
    newest: dict[str, Record] = {}
    for connector in connectors:
        identifier = connector["connector_identifier"]
        rival = newest.get(identifier)
        if rival is None or (connector.get("updated_at") or LONG_AGO) >= (rival.get("updated_at") or LONG_AGO):
            newest[identifier] = connector
    return newest


def _kind(value: Any) -> str:
    """A JSON value's kind for a message; never the value, which may be huge or none of a log's business."""
    kinds = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "nothing"}
    return kinds.get(type(value), "a number")


def _quoted(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "…")
