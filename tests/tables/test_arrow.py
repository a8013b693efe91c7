"""Records become Arrow tables whose columns keep their types from run to run, and nothing is lost on the way."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supermetrics_connectors import specs
from supermetrics_connectors.specs import TIMESTAMP
from supermetrics_connectors.tables.arrow import to_arrow
from tests.documents.test_json_text import documents_of, ordinary

CONNECTORS = pa.schema([column.arrow_field for column in specs.CONNECTORS.columns])
NOW = datetime(2026, 4, 6, 10, 59, 4, 123_456, tzinfo=timezone.utc)
KEY = {"team_id": 1, "connector_identifier": "A"}


def to_table(rows: list[dict[str, Any]], schema: pa.Schema, types: dict[str, str]) -> pa.Table:
    """The Arrow table of rows without constants."""
    return to_arrow(rows, schema, types, {})


records = st.dictionaries(st.sampled_from(["x", "y", "owner"]), documents_of(ordinary)).map(
    lambda added: {**KEY, **added}
)
runs = st.lists(st.lists(records, max_size=3), max_size=4)


@pytest.mark.parametrize("spec", specs.TABLES.values(), ids=lambda spec: spec.name)
def test_no_rows_make_a_table_of_the_declared_columns(spec: specs.TableSpec) -> None:
    """The first run creates every table, also for a team without connectors."""
    schema = pa.schema([column.arrow_field for column in spec.columns])
    assert to_table([], schema, {}).schema.equals(schema)


def test_a_constant_fills_its_column() -> None:
    """The time of a run is the same in every row."""
    table = to_arrow([KEY, KEY], CONNECTORS, {}, {"updated_at": NOW})
    assert table["updated_at"].to_pylist() == [NOW, NOW]


def test_timestamps_are_instants_to_the_microsecond() -> None:
    """A timestamp without zone would mean another instant in every reader's session."""
    table = to_table([{**KEY, "updated_at": NOW}], CONNECTORS, {})
    assert pa.timestamp("us", tz="UTC") == TIMESTAMP
    assert {table.schema.field(name).type for name in ("created_at", "updated_at")} == {TIMESTAMP}
    assert table["updated_at"].to_pylist() == [NOW]


@pytest.mark.parametrize(
    ("values", "type_", "stored"),
    [
        (["a", None], pa.string(), ["a", None]),
        ([True, False], pa.bool_(), [True, False]),
        ([1, None], pa.int64(), [1, None]),
        ([1, 1.5], pa.float64(), [1.0, 1.5]),
        ([2**62 + 1, 0.5], pa.float64(), [float(2**62), 0.5]),
        ([2**63], pa.string(), ["9223372036854775808"]),
        ([{"b": 1, "a": "ä"}], pa.string(), ['{"a":"ä","b":1}']),
        ([[1, 2]], pa.string(), ["[1,2]"]),
        ([1, "a", None], pa.string(), ["1", '"a"', None]),
        ([True, 1], pa.string(), ["true", "1"]),
    ],
)
def test_a_new_field_becomes_a_column_of_its_values_type(values: list[Any], type_: pa.DataType, stored: object) -> None:
    """Objects, lists and mixtures become JSON, other values their own type; JSON's null stays null."""
    table = to_table([{**KEY, "added": value} for value in values], CONNECTORS, {})
    assert table.schema.field("added").type == type_
    assert table["added"].to_pylist() == stored


def test_a_new_field_without_any_value_makes_no_column_yet() -> None:
    """The type is unknown, and the first one that is written stays."""
    types: dict[str, str] = {}
    assert to_table([{**KEY, "added": None}], CONNECTORS, types).schema.equals(CONNECTORS)
    assert types == {}


@pytest.mark.parametrize(
    ("known", "value", "column", "stored"),
    [
        ("bigint", "a", "added__v_text", "a"),
        ("bigint", 1.5, "added__v_double", 1.5),
        ("bigint", True, "added__v_bool", True),
        ("bigint", {"a": 1}, "added__v_json", '{"a":1}'),
        ("bool", 1, "added__v_bigint", 1),
        ("double", "a", "added__v_text", "a"),
        ("double", 1, "added", 1.0),
        ("double", 2**62 + 1, "added", float(2**62)),
        ("text", 1, "added", "1"),
        ("text", {"a": None}, "added", '{"a":null}'),
        ("json", "a", "added", '"a"'),
        ("json", 1, "added", "1"),
        ("date", "2025-01-01", "added", "2025-01-01"),
    ],
)
def test_a_value_of_another_type_does_not_change_its_column(known: str, value: Any, column: str, stored: Any) -> None:
    """Text and JSON hold anything; otherwise a variant column takes it, as dlt does, and no warehouse is altered."""
    table = to_table([{**KEY, "added": value}], CONNECTORS, {"added": known})
    assert [name for name in table.schema.names if name not in CONNECTORS.names] == [column]
    assert table[column].to_pylist() == [stored]


def test_a_value_that_fits_stays_in_its_column_beside_values_that_do_not() -> None:
    """Which records share a table is chance and must not decide where a value is."""
    rows = [{**KEY, "added": value} for value in (1, "a", None, {"b": 2}, 3)]
    table = to_table(rows, CONNECTORS, {"added": "bigint"})
    assert table["added"].to_pylist() == [1, None, None, None, 3]
    assert table["added__v_text"].to_pylist() == [None, "a", None, None, None]
    assert table["added__v_json"].to_pylist() == [None, None, None, '{"b":2}', None]


@given(runs)
def test_columns_keep_their_types_and_every_value_can_be_read_back(batches: list[list[dict[str, Any]]]) -> None:
    """In every order of arrival: a warehouse column has one type, and a value is itself, JSON or a variant."""
    types: dict[str, str] = {}
    seen: dict[str, pa.DataType] = {}
    for batch in batches:
        table = to_table(batch, CONNECTORS, types)
        assert len(set(table.schema.names)) == len(table.schema.names)
        for field in table.schema:
            assert seen.setdefault(field.name, field.type) == field.type
        for record, row in zip(batch, table.to_pylist(), strict=True):
            for name, value in record.items():
                stored = [row[column] for column in row if column.split("__v_")[0] == name and row[column] is not None]
                assert len(stored) == (value is not None)
                assert all(_means(text_or_value, value) for text_or_value in stored)


def _means(stored: Any, value: Any) -> bool:
    """Whether a cell holds the value itself, to a double's precision, or as JSON."""
    if stored == value or (isinstance(stored, float) and stored == float(value)):
        return True
    return bool(json.loads(stored) == value)
