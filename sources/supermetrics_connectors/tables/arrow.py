"""Records to Arrow tables with a declared schema, and a column for every field that the API has added since."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from ..documents.json_text import canonical_json
from ..records import Record

_ARROW_TYPES = {
    "text": pa.string(),
    "json": pa.string(),
    "bool": pa.bool_(),
    "bigint": pa.int64(),
    "double": pa.float64(),
}


def to_arrow(
    rows: Sequence[Record], schema: pa.Schema, types: dict[str, str], constants: Mapping[str, Any]
) -> pa.Table:
    """Builds one Arrow table: the declared columns, then one column for each other field.

    Args:
        rows: Records by column name.
        schema: The declared columns.
        types: dlt data types of existing columns, by name; types of new columns are added. A value that does not fit
            the type of its column goes to a column `<name>__v_<type>`, like dlt's own variants.
        constants: Values of declared columns that are the same in every row.
    """
    names: set[str] = set().union(*rows)
    columns = {field.name: _declared_column(field, names, rows, constants) for field in schema}
    fields = list(schema)
    for name in sorted(names.difference(columns)):
        values = [row.get(name) for row in rows]
        if (kind := _data_type(values)) is None:
            continue
        types.setdefault(name, kind)
        for column, part in _by_column(name, values, types).items():
            kind = types[column] if types[column] in _ARROW_TYPES else _data_type(part) or "text"
            columns[column] = _array(part, kind)
            fields.append(pa.field(column, _ARROW_TYPES[kind]))
    return pa.Table.from_arrays(list(columns.values()), schema=pa.schema(fields))


def _declared_column(
    field: pa.Field, names: set[str], rows: Sequence[Record], constants: Mapping[str, Any]
) -> pa.Array:
    if field.name in constants:
        return pa.repeat(pa.scalar(constants[field.name], field.type), len(rows))
    if field.name not in names:
        return pa.nulls(len(rows), field.type)
    return pa.array([row.get(field.name) for row in rows], field.type)


def _by_column(name: str, values: Sequence[Any], types: dict[str, str]) -> dict[str, list[Any]]:
    """Distributes values over their column and its variants: what fits the column stays there."""
    parts: dict[str, list[Any]] = {}
    for index, value in enumerate(values):
        if (kind := _data_type([value])) is not None:
            column = _column_for(name, kind, types)
            parts.setdefault(column, [None] * len(values))[index] = value
    return parts


def _data_type(values: Sequence[Any]) -> str | None:
    """The dlt data type that holds all values; None without a value."""
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
    existing = types[name]
    if existing in ("json", "text", kind) or (existing, kind) == ("double", "bigint"):
        return name
    if existing not in _ARROW_TYPES:  # a type that the user has set: the destination casts
        return name
    variant = f"{name}__v_{kind}"
    types.setdefault(variant, kind)
    return variant


def _array(values: Sequence[Any], kind: str) -> pa.Array:
    if kind == "json":
        return pa.array([None if value is None else canonical_json(value).decode() for value in values], pa.string())
    if kind == "text":
        values = [value if isinstance(value, (str, type(None))) else canonical_json(value).decode() for value in values]
    if kind == "double":  # Arrow refuses integers above 2^53, which not every double can represent
        values = [None if value is None else float(value) for value in values]
    return pa.array(values, _ARROW_TYPES[kind])
