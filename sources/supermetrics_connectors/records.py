"""Records of the API as the tables hold them: timestamps in UTC, content hashes and ids."""

import hashlib
import re
from collections.abc import Container, Mapping
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from typing import Any, cast

import pendulum
from pendulum.parsing.exceptions import ParserError

from .documents.json_text import canonical_json

Record = dict[str, Any]
"""A record by column name, its timestamps as datetimes in UTC."""

ConnectorKey = tuple[int, str]
"""team_id and connector_identifier."""

EARLIEST = datetime.min.replace(tzinfo=timezone.utc)
LATEST = datetime.max.replace(tzinfo=timezone.utc)

_TIMESTAMP = re.compile(
    r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?:Z|[+-]\d\d(?::?\d\d)?)?)?", re.ASCII
)


@lru_cache(maxsize=65_536)
def parse_timestamp(text: str) -> datetime:
    """Parses a timestamp in any shape of the API as an instant in UTC, to the microsecond.

    `2025-01-01` means midnight UTC, and a time without a zone is in UTC. The API documents "ISO 8601" and sends
    `2025-01-01`, `2025-01-01T00:00:00Z`, `…+00:00` and `…+0000`.

    Raises:
        ValueError: The text is none of these.
    """
    if not _TIMESTAMP.fullmatch(text):  # pendulum alone also parses times, weeks, intervals and durations
        raise ValueError(text)
    try:
        utc = cast("pendulum.DateTime", pendulum.parse(text)).astimezone(timezone.utc)
        return datetime.combine(utc.date(), utc.time(), timezone.utc)  # the plain class, which orjson knows
    except (ParserError, OverflowError) as error:
        raise ValueError(text) from error


def to_utc(value: Any) -> datetime | None:
    """Converts a stored time to UTC: SQLite keeps times as text, MySQL without a zone.

    A text that is not a timestamp, which somebody must have written there, becomes None.
    """
    if isinstance(value, str):
        try:
            return parse_timestamp(value)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    return value.astimezone(timezone.utc) if value.tzinfo else value.replace(tzinfo=timezone.utc)


def shift(moment: datetime, by: timedelta) -> datetime:
    """Adds a duration to a time, and stops at the calendar's ends instead of failing."""
    try:
        return moment + by
    except OverflowError:
        return LATEST if by > timedelta(0) else EARLIEST


def content_hash(fields: Mapping[str, Any], excluded: Container[str] = ()) -> str:
    """Hashes a record as the API sent it, before any conversion.

    Fields without a value do not count: null and a missing field are the same content.

    Args:
        fields: The record as decoded from JSON.
        excluded: Names of fields that are not part of the content.

    Returns:
        SHA-256, hexadecimal.
    """
    content = {name: value for name, value in fields.items() if value is not None and name not in excluded}
    return hashlib.sha256(canonical_json(content)).hexdigest()


def connector_key(record: Mapping[str, Any]) -> ConnectorKey:
    """The team and identifier of a record's connector."""
    return record["team_id"], record["connector_identifier"]


def composite_id(*parts: object) -> str:
    """Identifies a combination of values: 128 bits, hexadecimal.

    The parts are encoded as canonical JSON, so null differs from "None" and no separator can be forged.
    """
    return hashlib.blake2b(canonical_json(list(parts)), digest_size=16).hexdigest()
