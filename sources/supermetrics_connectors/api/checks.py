"""What every answer of the API is checked for: kinds, texts, timestamps, and the columns of fields it adds later."""

import re
from collections.abc import Callable
from datetime import datetime, timezone
from functools import lru_cache
from typing import Any, cast

import pendulum
from pendulum.parsing.exceptions import ParserError

from ..documents.json_text import canonical_json
from ..tables.contracts import OWN_COLUMNS

Record = dict[str, Any]
"""A record by column name, its timestamps as datetimes in UTC."""


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


class UnexpectedError(Exception):
    """What of the answer is not as documented, in words."""


def refuse_nul(records: list[Any], where: str) -> None:
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
                raise UnexpectedError(
                    f"Expected text that a database can hold in {where}[{index}], a NUL character arrived"
                )


def check_texts(record: Record, names: tuple[str, ...], where: str) -> None:
    """Each of these is text or nothing."""
    for name in names:
        if not isinstance(record.get(name), (str, type(None))):
            raise UnexpectedError(f"Expected a string in {where}.{name}, {kind_of(record[name])} arrived")


def read_timestamps(record: Record, names: tuple[str, ...], where: str) -> None:
    """Makes instants of these, where they are there."""
    for name in names:
        value = record.get(name)
        if value is None:
            continue
        try:
            record[name] = parse_timestamp(value)
        except (ValueError, TypeError):
            got = quoted(value) if isinstance(value, str) else kind_of(value)
            raise UnexpectedError(
                f"Expected an ISO 8601 timestamp such as 2025-01-01T00:00:00Z in {where}.{name}, {got} arrived"
            ) from None


def check_depth(record: Record, where: str) -> None:
    """What the API has added will be written as JSON, inside its record, which is a level too."""
    for name, value in record.items():
        if isinstance(value, (dict, list)):
            written([value], f"{where}.{name}")


def written(value: Any, where: str) -> bytes:
    """Canonical JSON: what can be read is not always shallow enough for it."""
    try:
        return canonical_json(value)
    except TypeError:
        raise UnexpectedError(f"{where} is nested too deep to be written as JSON") from None


def name_columns(records: list[Record], documented: frozenset[str], column_name: Callable[[str], str]) -> None:
    """Names the fields that the API has added as their columns, each of which must be a name and one of its own."""
    fields = {name: name for name in documented}
    for field_name in sorted({name for record in records for name in record} - documented):
        column = _column_of(field_name, documented, column_name)
        if fields.setdefault(column, field_name) != field_name:
            both = f"{quoted(field_name)} and {quoted(fields[column])}"
            raise UnexpectedError(f"The fields {both} would share the column {column!r}")
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
        raise UnexpectedError(f"The field {quoted(field_name)} cannot be made the name of a column") from None


def kind_of(value: Any) -> str:
    """A JSON value's kind for a message; never the value, which may be huge or none of a log's business."""
    kinds = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "nothing"}
    return kinds.get(type(value), "a number")


def quoted(text: str) -> str:
    """A text for a message, its beginning if it is long."""
    return repr(text if len(text) <= 40 else text[:40] + "…")


def checked_object(value: Any, where: str) -> Record:
    """A copy of what has to be an object."""
    if not isinstance(value, dict):
        raise UnexpectedError(f"Expected an object in {where}, {kind_of(value)} arrived")
    return dict(value)


def counted_list(payload: Record, name: str) -> tuple[int, list[Any]]:
    """The API's `count` and the list that it counts."""
    listed, count = payload.get(name), payload.get("count")
    if not isinstance(listed, list):
        raise UnexpectedError(f"Expected a list in `{name}`, {kind_of(listed)} arrived")
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise UnexpectedError(f"Expected an integer ≥ 0 in `count`, {kind_of(count)} arrived")
    return count, listed


def is_of_another(record: Record, team_id: int) -> bool:
    """Whether a record names another team; most name none."""
    return record.get("team_id", team_id) not in (team_id, str(team_id), None)


def checked_text(record: Record, name: str, where: str) -> str:
    """What has to be there and be text."""
    value = record.get(name)
    if not isinstance(value, str) or not value:
        raise UnexpectedError(f"Expected a non-empty string in {where}.{name}, {kind_of(value)} arrived")
    return value


def check_integers(record: Record, names: tuple[str, ...], where: str) -> None:
    """Each of these is an integer that a database can hold, or nothing."""
    for name in names:
        value = record.get(name)
        if value is not None and (type(value) is not int or not -(2**63) <= value < 2**63):
            raise UnexpectedError(f"Expected an integer in {where}.{name}, {kind_of(value)} arrived")
