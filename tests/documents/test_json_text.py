"""JSON is read and written without the loss of a digit, and refused where it could not be kept."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from supermetrics_connectors.documents.json_text import NotJsonError, RefusedJsonError, canonical_json, parse_json

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)  # JSON text cannot carry lone surrogates
ordinary = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
)


def documents_of(scalars: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """JSON values with such scalars."""
    return st.recursive(
        scalars | texts,
        lambda children: (
            st.lists(children, max_size=3) | st.dictionaries(st.text("abcÄ", max_size=3), children, max_size=4)
        ),
        max_leaves=10,
    )


json_values = documents_of(ordinary | st.integers(-(2**200), 2**200))
number_texts = st.from_regex(r"\A-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?\Z")


@settings(max_examples=50)
@given(json_values)
def test_canonical_json_loses_nothing(value: Any) -> None:
    """The text is stored and hashed, so it must contain all of the content."""
    assert json.loads(canonical_json(value)) == value
    assert parse_json(canonical_json(value)) == value


@given(documents_of(ordinary))
def test_ordinary_documents_keep_their_text(value: Any) -> None:
    """Stored hashes cover this text, so a server that writes its keys in another order has changed nothing."""
    before = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    assert canonical_json(value) == before
    assert canonical_json(parse_json(json.dumps(value))) == before


@settings(max_examples=50)
@given(documents_of(ordinary), st.integers(2**64, 2**70))
def test_a_large_number_changes_no_other_value(value: Any, large: int) -> None:
    """The exact reader and writer agree with the quick ones on all other values."""
    both = canonical_json(parse_json(json.dumps({"a": large, "b": value})))
    assert both == b'{"a":%d,"b":%s}' % (large, orjson.dumps(value, option=orjson.OPT_SORT_KEYS))


@given(number_texts)
@example("0.1")
@example("0.10000000000000000001")
@example("18446744073709551616")
@example("12345678901234567890123.0")
@example("2.2250738585072011e-308")
@example("1e-0000320")
@example("0e-999")
def test_a_number_is_read_and_written_exactly(text: str) -> None:
    """With any digits, and in a document after any character that can precede a number."""
    for before, after in ("[", "]"), ("[1,", "]"), ("[1, ", "]"), ('[{"a":', "}]"), ('[{"a":\n', "}]"):
        written = rewritten(f"{before}{text}{after}")
        if written is None:
            assert float(text) in (0, float("inf"), float("-inf"))
        else:
            number = json.loads(written, parse_float=Decimal)[-1]
            assert Decimal(number["a"] if "{" in before else number) == Decimal(text)
            assert rewritten(written) == written


@given(number_texts, number_texts)
def test_two_numbers_that_differ_are_written_differently(one: str, other: str) -> None:
    """Otherwise two contents would have one hash."""
    written = [rewritten(f"[{text}]") for text in (one, other)]
    assert None in written or written[0] != written[1] or Decimal(one) == Decimal(other)


def rewritten(text: str | bytes) -> bytes | None:
    """The text as it would be stored; None if it is refused."""
    try:
        return canonical_json(parse_json(text))
    except RefusedJsonError:
        return None


NO_JSON = ["", "{", "[1,]", "01", "1.", ".5", "+1", "0x10", "nul", "'a'", '"\t"', "\ud800", "[1] 2"]


@pytest.mark.parametrize("text", NO_JSON)
def test_text_that_is_no_json_has_its_own_error(text: str) -> None:
    """A gateway's page may disappear; JSON that cannot be stored stays."""
    with pytest.raises(NotJsonError):
        parse_json(text)


@pytest.mark.parametrize("limit", [254, 255, 2000])
@pytest.mark.parametrize("leaf", [0, 2**70])
def test_json_is_written_to_the_same_depth_with_and_without_large_numbers(limit: int, leaf: int) -> None:
    """A number in a document must not decide whether its depth is refused."""
    value: Any = leaf
    for _ in range(limit):
        value = [value]
    if limit == 254:
        assert canonical_json(value) == b"[" * limit + b"%d" % leaf + b"]" * limit
    else:
        with pytest.raises(TypeError):
            canonical_json(value)


def test_json_for_people_is_indented_and_exact() -> None:
    """A difference of one digit must be visible."""
    assert canonical_json({"b": Decimal("0.10000000000000000001"), "a": 2**64}, indented=True) == (
        b'{\n  "a": 18446744073709551616,\n  "b": 0.10000000000000000001\n}'
    )


def test_what_is_no_json_value_is_not_written() -> None:
    """As by orjson."""
    with pytest.raises(TypeError):
        canonical_json({"a": {1, 2}})
