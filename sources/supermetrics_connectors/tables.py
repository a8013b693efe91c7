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
CONNECTOR_CHANGES = _schema(
    {**_CONNECTOR_KEY, "change": pa.string(), "detected_at": TIMESTAMP},
    {
        "baseline": pa.bool_(),
        "name": pa.string(),
        "updated_at": TIMESTAMP,
        "previous_updated_at": TIMESTAMP,
        "paths_added": pa.string(),
        "paths_removed": pa.string(),
        "paths_changed": pa.string(),
        "_deleted": pa.bool_(),
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
        "secrets_redacted": pa.int64(),
        "redacted_paths": pa.string(),
    },
)

SNAPSHOT_AT = "snapshot_at"
"""When the run began that appended a row, where tables are not kept equal to the API but each listing is added."""
_SNAPSHOT = pa.field(SNAPSHOT_AT, TIMESTAMP, nullable=False)
VALID_FROM = "_dlt_valid_from"
"""When a version was first seen. In a mirror dlt writes it as it merges."""
_VALIDITY = pa.field(VALID_FROM, TIMESTAMP, nullable=False), pa.field("_dlt_valid_to", TIMESTAMP)

SCHEMAS = {
    ("connectors", "mirror"): CONNECTORS,
    ("connectors", "append"): CONNECTORS,
    ("connectors", "versions"): CONNECTORS,
    ("connectors", "snapshots"): CONNECTORS.remove(CONNECTORS.get_field_index("_deleted")).append(_SNAPSHOT),
    ("connector_configurations", "mirror"): CONNECTOR_CONFIGURATIONS,
    ("connector_configurations", "append"): pa.schema(
        [*CONNECTOR_CONFIGURATIONS, *(f.with_nullable(True) for f in _VALIDITY)]
    ),
    ("connector_configurations", "versions"): pa.schema([*CONNECTOR_CONFIGURATIONS, *_VALIDITY]),
    ("connector_configurations", "snapshots"): CONNECTOR_CONFIGURATIONS.append(_SNAPSHOT),
    ("connector_changes", "mirror"): CONNECTOR_CHANGES,
    ("connector_changes", "versions"): CONNECTOR_CHANGES,
    ("team_syncs", "mirror"): TEAM_SYNCS,
    ("team_syncs", "append"): TEAM_SYNCS,
    ("team_syncs", "versions"): TEAM_SYNCS,
    ("team_syncs", "snapshots"): TEAM_SYNCS,
}
"""The declared columns of each table, by the way it is written (`strategies.Way`)."""

_ARROW_TYPES = {
    "text": pa.string(),
    "json": pa.string(),
    "bool": pa.bool_(),
    "bigint": pa.int64(),
    "double": pa.float64(),
}


_NONE: Mapping[str, Any] = {}


def to_table(
    rows: Sequence[Record], schema: pa.Schema, types: dict[str, str], constants: Mapping[str, Any] = _NONE
) -> pa.Table:
    """Builds one Arrow table: the declared columns, then one for each field beyond them.

    Args:
        rows: Records by column name.
        schema: The declared columns.
        types: dlt data types that columns beyond `schema` have so far, by column; types found for the first time are
            added. A value that does not fit its column's type goes to a column of its own, `<name>__v_<type>`, as in
            dlt's own variants.
        constants: Values of columns of `schema` that are the same in every row.
    """
    names: set[str] = set().union(*rows)
    columns = {field.name: _column(field, names, rows, constants) for field in schema}
    fields = list(schema)
    for name in sorted(names.difference(columns)):
        values = [row.get(name) for row in rows]
        if (kind := _kind(values)) is None:
            continue
        types.setdefault(name, kind)
        for column, part in _by_column(name, values, types).items():
            kind = types[column] if types[column] in _ARROW_TYPES else _kind(part) or "text"
            columns[column] = _array(part, kind)
            fields.append(pa.field(column, _ARROW_TYPES[kind]))
    return pa.Table.from_arrays(list(columns.values()), schema=pa.schema(fields))


def _column(field: pa.Field, names: set[str], rows: Sequence[Record], constants: Mapping[str, Any]) -> pa.Array:
    """The values of a declared column."""
    if field.name in constants:
        return pa.repeat(pa.scalar(constants[field.name], field.type), len(rows))
    if field.name not in names:
        return pa.nulls(len(rows), field.type)
    return pa.array([row.get(field.name) for row in rows], field.type)


def _by_column(name: str, values: Sequence[Any], types: dict[str, str]) -> dict[str, list[Any]]:
    """The values spread over their column and its variants: what fits the column stays there."""
    parts: dict[str, list[Any]] = {}
    for index, value in enumerate(values):
        if (kind := _kind([value])) is not None:
            column = _column_for(name, kind, types)
            parts.setdefault(column, [None] * len(values))[index] = value
    return parts


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


def _column_for(name: str, kind: str, types: dict[str, str]) -> str:
    """The column that takes values of this kind."""
    existing = types[name]
    if existing in ("json", "text", kind) or (existing, kind) == ("double", "bigint"):
        return name
    if existing not in _ARROW_TYPES:  # a type that the user gave it: the destination casts
        return name
    variant = f"{name}__v_{kind}"
    types.setdefault(variant, kind)
    return variant


def _array(values: Sequence[Any], kind: str) -> pa.Array:
    if kind == "json":
        return pa.array([None if value is None else canonical_json(value).decode() for value in values], pa.string())
    if kind == "text":
        values = [value if isinstance(value, (str, type(None))) else canonical_json(value).decode() for value in values]
    if kind == "double":  # Arrow refuses integers above 2^53, which no double can tell apart
        values = [None if value is None else float(value) for value in values]
    return pa.array(values, _ARROW_TYPES[kind])
