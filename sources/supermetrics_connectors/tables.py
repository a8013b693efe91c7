"""Records to Arrow tables with a declared schema, plus a column for every field that the API has added since."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from .listing import Record, canonical_json

TIMESTAMP = pa.timestamp("us", tz="UTC")


def _schema(keys: Mapping[str, pa.DataType], fields: Mapping[str, pa.DataType]) -> pa.Schema:
    return pa.schema(
        [pa.field(name, type_, nullable=False) for name, type_ in keys.items()]
        + [pa.field(name, type_) for name, type_ in fields.items()]
    )


_CONNECTOR_KEY = {"team_id": pa.int64(), "connector_identifier": pa.string()}

CONNECTORS = _schema(
    _CONNECTOR_KEY,
    {
        "name": pa.string(),
        "description": pa.string(),
        "logo_url": pa.string(),
        "created_at": TIMESTAMP,
        "updated_at": TIMESTAMP,
        "_deleted": pa.bool_(),
    },
)
CONNECTOR_CONFIGURATIONS = _schema(
    {**_CONNECTOR_KEY, "_dlt_id": pa.string()},
    {
        "version": pa.string(),
        "configuration_json": pa.string(),
        "created_at": TIMESTAMP,
        "updated_at": TIMESTAMP,
        "content_hash": pa.string(),
    },
)
TEAM_SYNCS = _schema(
    {"team_id": pa.int64(), "started_at": TIMESTAMP, "status": pa.string()},
    {
        "duration_ms": pa.int64(),
        "request_id": pa.string(),
        "http_status": pa.int64(),
        "error_code": pa.string(),
        "error_message": pa.string(),
        "connectors_reported": pa.int64(),
        "connectors_received": pa.int64(),
        "connectors_changed": pa.int64(),
        "connectors_removed": pa.int64(),
        "configurations_changed": pa.int64(),
        "rate_limit_remaining": pa.int64(),
    },
)

_ARROW_TYPES = {
    "text": pa.string(),
    "json": pa.string(),
    "bool": pa.bool_(),
    "bigint": pa.int64(),
    "double": pa.float64(),
}


def to_table(rows: Sequence[Record], schema: pa.Schema, types: dict[str, str]) -> pa.Table:
    """Builds one Arrow table: the declared columns, then one for each field beyond them.

    Args:
        rows: Records by column name.
        schema: The declared columns.
        types: dlt data types that columns beyond `schema` have so far, by column; types found for the first time are
            added. A value that does not fit its column's type goes to a column of its own, `<name>__v_<type>`, as in
            dlt's own variants.
    """
    columns = {field.name: pa.array([row.get(field.name) for row in rows], field.type) for field in schema}
    fields = list(schema)
    added = dict.fromkeys(name for row in rows for name in row if name not in columns)
    for name in added:
        values = [row.get(name) for row in rows]
        if (kind := _kind(values)) is None:
            continue
        column, kind = _column_for(name, kind, types)
        columns[column] = _array(values, kind)
        fields.append(pa.field(column, _ARROW_TYPES[kind]))
    return pa.Table.from_arrays(list(columns.values()), schema=pa.schema(fields))


def _kind(values: Sequence[Any]) -> str | None:
    """The dlt data type that holds all values; None when there is none to hold."""
    kinds = {type(value) for value in values if value is not None}
    if not kinds:
        return None
    if kinds == {str}:
        return "text"
    if kinds == {bool}:
        return "bool"
    if kinds <= {int, float} and all(-(2**63) <= value < 2**63 for value in values if value is not None):
        return "bigint" if kinds == {int} else "double"
    return "json"


def _column_for(name: str, kind: str, types: dict[str, str]) -> tuple[str, str]:
    """The column that takes values of this kind, and the kind as which it takes them."""
    existing = types.setdefault(name, kind)
    if existing in ("json", "text") or (existing, kind) == ("double", "bigint"):
        return name, existing
    if existing == kind or existing not in _ARROW_TYPES:  # a type that the user gave it: the destination casts
        return name, kind
    variant = f"{name}__v_{kind}"
    types.setdefault(variant, kind)
    return variant, kind


def _array(values: Sequence[Any], kind: str) -> pa.Array:
    if kind == "json":
        return pa.array([None if value is None else canonical_json(value).decode() for value in values], pa.string())
    if kind == "text":
        values = [value if isinstance(value, (str, type(None))) else canonical_json(value).decode() for value in values]
    return pa.array(values, _ARROW_TYPES[kind])
