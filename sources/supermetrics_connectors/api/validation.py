"""Checks of the API's JSON against the tables' specifications, and column names for fields that the API adds."""

import hashlib
import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

import pyarrow as pa

from ..documents.json_text import canonical_json
from ..records import Record, parse_timestamp
from ..specs import RESERVED_COLUMNS, TIMESTAMP, ColumnSpec, TableSpec

logger = logging.getLogger(__name__)


class UnexpectedError(Exception):
    """The API's JSON is not as documented; the text says what was expected and what arrived."""


# --- shapes -----------------------------------------------------------------------------------------------------------


def check_object(value: Any, where: str) -> Record:
    """Returns a copy of an object."""
    if not isinstance(value, dict):
        raise UnexpectedError(f"Expected an object in {where}, {kind_of(value)} arrived")
    return dict(value)


def check_list(payload: Record, name: str) -> list[Any]:
    """Returns the list in a member."""
    listed = payload.get(name)
    if not isinstance(listed, list):
        raise UnexpectedError(f"Expected a list in `{name}`, {kind_of(listed)} arrived")
    return listed


def check_count(payload: Record) -> int:
    """Returns the API's `count` of a list."""
    count = payload.get("count")
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise UnexpectedError(f"Expected an integer ≥ 0 in `count`, {kind_of(count)} arrived")
    return count


def check_fields(sent: Record, spec: TableSpec, where: str) -> Record:
    """Checks the fields of a record, and returns a copy with its timestamps as instants in UTC."""
    record = dict(sent)
    for name, value in sent.items():
        if isinstance(value, (dict, list)):
            write_json([value], f"{where}.{name}")  # in its record, which is a level of nesting too
    for column in _checked_columns(spec):
        name, value = column.name, record.get(column.name)
        if value is None and not column.required:
            continue
        if column.type == pa.string():
            if not isinstance(value, str) or (column.required and not value):
                expected = "a non-empty string" if column.required else "a string"
                raise UnexpectedError(f"Expected {expected} in {where}.{name}, {kind_of(value)} arrived")
        elif column.type == TIMESTAMP:
            record[name] = _timestamp(value, f"{where}.{name}")
        elif type(value) is not int or not -(2**63) <= value < 2**63:
            raise UnexpectedError(f"Expected an integer in {where}.{name}, {kind_of(value)} arrived")
    return record


@lru_cache
def _checked_columns(spec: TableSpec) -> tuple[ColumnSpec, ...]:
    return tuple(column for column in spec.columns if column.is_api_field and not column.is_json)


def _timestamp(value: Any, where: str) -> Any:
    try:
        return parse_timestamp(value)
    except (ValueError, TypeError):
        got = quoted(value) if isinstance(value, str) else kind_of(value)
        raise UnexpectedError(
            f"Expected an ISO 8601 timestamp such as 2025-01-01T00:00:00Z in {where}, {got} arrived"
        ) from None


def refuse_nul(records: Mapping[str, Any]) -> None:
    """Refuses NUL characters, which PostgreSQL and others cannot hold: tables must not depend on the destination.

    Args:
        records: Records by their place in the response.
    """
    for where, record in records.items():
        unchecked = [record]
        while unchecked:
            value = unchecked.pop()
            if isinstance(value, dict):
                unchecked.extend((*value.keys(), *value.values()))
            elif isinstance(value, list):
                unchecked.extend(value)
            elif isinstance(value, str) and "\0" in value:
                raise UnexpectedError(f"Expected text that a database can hold in {where}, a NUL character arrived")


def refuse_other_team(record: Record, team_id: int, where: str) -> None:
    """Refuses a record that names another team; most name none."""
    if record.get("team_id", team_id) not in (team_id, str(team_id), None):
        raise UnexpectedError(f"Expected {where} to be of team {team_id}, its `team_id` names another")


def write_json(value: Any, where: str) -> bytes:
    """Writes canonical JSON; JSON that can be read may be nested too deep for that."""
    try:
        return canonical_json(value)
    except TypeError:
        raise UnexpectedError(f"{where} is nested too deep to be written as JSON") from None


def kind_of(value: Any) -> str:
    """Describes a JSON value's kind for a message; never the value, which may be huge or confidential."""
    kinds = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "nothing"}
    return kinds.get(type(value), "a number")


def quoted(text: str) -> str:
    """Quotes a text for a message, shortened if it is long."""
    return repr(text if len(text) <= 40 else text[:40] + "…")


# --- column names -----------------------------------------------------------------------------------------------------


class ColumnNames:
    """Names the columns of fields that the API adds to its documented ones.

    A field's column is the field's name in dlt's naming convention. If another field has that column, or the convention
    leaves no name, the column is the beginning of the field's name and a hash of the whole name. A field with a name of
    `RESERVED_COLUMNS` becomes `api_<name>`. A column depends only on the fields of one table in one response, not on
    their order.

    Args:
        column_name: dlt's naming convention.
    """

    def __init__(self, column_name: Callable[[str], str]) -> None:
        self._column_name = column_name
        self._logged: set[tuple[str, str]] = set()
        self._lock = threading.Lock()

    def rename(self, records: list[Record], spec: TableSpec) -> None:
        """Renames the added fields of a table's records to their columns."""
        added = {name for record in records for name in record} - spec.api_fields
        renamed = {name: column for name, column in self.columns(added, spec).items() if name != column}
        if not renamed:
            return
        for record in records:
            values = {column: record.pop(name) for name, column in renamed.items() if name in record}
            record.update(values)

    def columns(self, added: Iterable[str], spec: TableSpec) -> dict[str, str]:
        """Returns the column of each added field. No two differ in case alone, which many destinations ignore."""
        taken = {name.lower() for name in spec.api_fields}
        columns: dict[str, str] = {}
        preferred = {name: self._preferred(name, spec) for name in added}
        # of several fields with one column, the one that is spelled like it keeps it, otherwise the shortest one
        for name in sorted(added, key=lambda name: (name != preferred[name], len(name), name)):
            column = preferred[name]
            if not column or column.lower() in taken:
                digest = hashlib.sha256(name.encode()).hexdigest()[:8]
                own = f"{column.strip('_')[:40] or 'field'}_{digest}"
                column = self._normalized(own) or own
            columns[name] = column
            taken.add(column.lower())
            if column != self._normalized(name):
                self._log(spec, name, column)
        return columns

    def _preferred(self, name: str, spec: TableSpec) -> str:
        """Returns the column by the naming convention; "" if the field cannot be named."""
        column = self._normalized(name)
        is_reserved = column.lower() in RESERVED_COLUMNS - spec.api_fields or column.lower().startswith("_dlt")
        return self._normalized(f"api_{column.lstrip('_')}") if is_reserved else column

    def _normalized(self, name: str) -> str:
        try:
            return self._column_name(name)
        except ValueError:
            return ""

    def _log(self, spec: TableSpec, name: str, column: str) -> None:
        with self._lock:
            is_new = (spec.name, name) not in self._logged
            self._logged.add((spec.name, name))
        if is_new:
            logger.info("The API's field %s of %s is stored in the column %s", quoted(name), spec.name, column)
