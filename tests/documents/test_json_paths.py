"""Comparing two JSON documents: which places differ, and how their paths address them."""

from __future__ import annotations

import copy
import time
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supermetrics_connectors.documents import json_paths
from supermetrics_connectors.documents.json_paths import compare_json, is_same_json, render

documents = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(0, 3), st.sampled_from(["", "a", "b"])),
    lambda children: st.one_of(
        st.lists(children, max_size=4), st.dictionaries(st.sampled_from(["a", "b", "id"]), children, max_size=3)
    ),
    max_leaves=12,
)


def compared(before: Any, after: Any) -> list[str]:
    """The changes as text, a sign before each path."""
    signs = {"added": "+", "removed": "-", "changed": "~"}
    return [signs[change.kind] + render(change.path) for change in compare_json(before, after)]


def fields(*ids: Any) -> list[dict[str, Any]]:
    """Fields of a report type with these ids."""
    return [{"id": each, "title": f"Field {each}"} for each in ids]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 2}, ["~$.a"]),
        ({"a": 1}, {"a": 1.0}, ["~$.a"]),
        ({"a": 1}, {"a": True}, ["~$.a"]),
        ({"a": 1, "b": 2}, {"a": 1.0, "b": 3}, ["~$.b"]),
        ({"a": 0, "b": 2}, {"a": -0.0, "b": 3}, ["~$.b"]),
        ({"a": 10**22, "b": 10**300}, {"a": 1e22, "b": 1e300, "c": 1}, ["+$.c"]),
        ({"a": [1, 2, {"b": 3}]}, {"a": [9, 1.0, 2.0, {"b": 3.0}]}, ["+$.a[0]"]),
        ({"a": 2**70}, {"a": 2**70 + 1}, ["~$.a"]),
        ([2**70, 1], [0, 2**70, 1], ["+$[0]"]),
        ({"a": 0.1}, {"a": Decimal("0.10000000000000000001")}, ["~$.a"]),
        ([Decimal("0.10000000000000000001")], [Decimal("0.10000000000000000002")], ["~$[0]"]),
        ({"a": {"b": 1, "c": 2}}, {"a": {"c": 3, "d": {"e": 4}}}, ["-$.a.b", "~$.a.c", "+$.a.d"]),
        ({"a": {}}, {"a": []}, ["~$.a"]),
        ([1, 2, 3], [0, 1, 2, 3], ["+$[0]"]),
        ([1, 2, 3], [1, 3], ["-$[1]"]),
        ([{"n": "a", "m": 1}, 2], [{"n": "b", "m": 1}, 2], ["~$[0].n"]),
        ({"X-Api-Key": 1, "": 2, 'a"b': 3, "é": 4}, {}, ['-$[""]', '-$["X-Api-Key"]', '-$["a\\"b"]', '-$["é"]']),
    ],
)
def test_each_change_has_one_path_at_its_top(before: Any, after: Any, expected: list[str]) -> None:
    """An element inserted before others moves them and changes none."""
    assert compared(before, after) == expected


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (fields("a", "b"), fields("a", "x", "b"), ["+$[1]"]),
        (fields("a", "b", "c"), fields("b", "c"), ["-$[0]"]),
        (fields("a", "b"), [{"id": "b", "title": "B"}, *fields("c")], ["-$[0]", "~$[0].title", "+$[1]"]),
        (fields("a", "b", "c"), fields("c", "a", "b"), ["~$"]),
        (fields("a", "b", "c"), [*fields("c", "b"), {"id": "a"}], ["~$", "-$[2].title"]),
        (fields(1, "1"), fields("1", 1, 2), ["~$", "+$[2]"]),
        (fields(), fields("a", "b"), ["+$[0]", "+$[1]"]),
        (fields(1), [{"id": 1.0, "title": "Field 1"}], ["~$[0].id"]),
        # A report type added before another, in which a field is added and the next one is renamed.
        (
            {"reportTypes": [{"id": "orders", "fields": fields(*range(500))}]},
            {
                "reportTypes": [
                    {"id": "refunds", "fields": fields(*range(1_000))},
                    {"id": "orders", "fields": [*fields(0, "vat"), {"id": 1, "title": "Net"}, *fields(*range(2, 500))]},
                ]
            },
            ["~$.reportTypes[1].fields[2].title", "+$.reportTypes[1].fields[1]", "+$.reportTypes[0]"],
        ),
        # An `id` that is missing, repeated or of another type: by content, as every other list.
        ([*fields("a", "b"), {}], fields("x", "a", "b"), ["+$[0]", "-$[2]"]),
        (fields("a", "a"), fields("b", "a"), ["+$[0]", "-$[1]"]),
        (fields(True, None), fields(None), ["-$[0]"]),
    ],
)
def test_elements_with_distinct_ids_are_matched_by_id(before: Any, after: Any, expected: list[str]) -> None:
    """Another order is one change of the list, of any length."""
    assert compared(before, after) == expected


def test_long_lists_with_ids_are_compared_in_linear_time() -> None:
    """10,000 reversed elements take a fraction of a second; matching them by content would take minutes."""
    before = fields(*range(10_000))
    start = time.process_time()
    assert compared(before, before[::-1]) == ["~$"]
    assert time.process_time() - start < 5


@given(documents, documents)
def test_documents_differ_exactly_if_a_change_is_found(before: Any, after: Any) -> None:
    """Every edit is found and nothing else; what one direction adds, the other removes."""
    assert bool(compared(before, after)) == (repr_of(before) != repr_of(after))
    assert is_same_json(before, after) == (repr_of(before) == repr_of(after))
    assert compared(before, copy.deepcopy(before)) == []
    added, removed = (
        [each[0] for each in compared(*pair)].count(sign)
        for pair, sign in (((before, after), "+"), ((after, before), "-"))
    )
    assert added == removed


@given(documents, documents)
def test_another_notation_of_a_number_is_no_change(before: Any, after: Any) -> None:
    """Some databases write 1 for 1.0: other edits are found, and nothing more."""
    if edited := compared(before, after):
        assert compared(with_fractions(before), after) == edited
        assert compared(before, with_fractions(after)) == edited


def with_fractions(document: Any) -> Any:
    """Each integer with a fraction of zero."""
    if isinstance(document, dict):
        return {name: with_fractions(member) for name, member in document.items()}
    if isinstance(document, list):
        return [with_fractions(element) for element in document]
    return float(document) if type(document) is int else document


@given(documents, documents)
def test_a_path_leads_to_its_content(before: Any, after: Any) -> None:
    """A removed element has its old index, beside elements that have moved, so only its list is in both documents."""
    for change in compare_json(before, after):
        if change.kind != "removed":
            assert at(after, change.path) == change.after


def test_long_lists_without_ids_are_compared_by_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """Matching their elements by content would take minutes."""
    monkeypatch.setattr(json_paths, "MAX_MATCHED_BY_CONTENT", 2)
    assert compared([1, 2, 3], [0, 1, 2, 3]) == ["~$[0]", "~$[1]", "~$[2]", "+$[3]"]


def at(document: Any, path: tuple[Any, ...]) -> Any:
    """What is at a path."""
    for part in path:
        document = document[part]
    return document


def repr_of(document: Any) -> str:
    """Text that differs if the content does, except for the order of keys; in Python, True equals 1."""
    if isinstance(document, dict):
        return f"{{{sorted((name, repr_of(member)) for name, member in document.items())}}}"
    return repr([repr_of(element) for element in document]) if isinstance(document, list) else repr(document)
