"""Where two JSON documents differ, named so that the place is found again."""

from __future__ import annotations

import copy
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supermetrics_connectors.documents import json_paths
from supermetrics_connectors.documents.json_paths import changes, render

documents = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(0, 3), st.sampled_from(["", "a", "b"])),
    lambda children: st.one_of(
        st.lists(children, max_size=4), st.dictionaries(st.sampled_from("abc"), children, max_size=3)
    ),
    max_leaves=12,
)


def told(before: Any, after: Any) -> list[str]:
    """The differences as text, a sign before each path."""
    signs = {"added": "+", "removed": "-", "changed": "~"}
    return [signs[change.kind] + render(change.path) for change in changes(before, after)]


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
        ([{"id": 1, "n": "a"}, {"id": 2}], [{"id": 1, "n": "b"}, {"id": 2}], ["~$[0].n"]),
        ({"X-Api-Key": 1, "": 2, 'a"b': 3, "é": 4}, {}, ['-$[""]', '-$["X-Api-Key"]', '-$["a\\"b"]', '-$["é"]']),
    ],
)
def test_each_difference_is_told_once_at_its_top(before: Any, after: Any, expected: list[str]) -> None:
    """An element put in front of others moves them and changes none."""
    assert told(before, after) == expected


@given(documents, documents)
def test_documents_differ_exactly_if_a_difference_is_told(before: Any, after: Any) -> None:
    """No edit goes unseen and none is made up; both directions are mirror images."""
    assert bool(told(before, after)) == (repr_of(before) != repr_of(after))
    assert told(before, copy.deepcopy(before)) == []
    assert [each[0] for each in told(before, after)].count("+") == [each[0] for each in told(after, before)].count("-")


@given(documents, documents)
def test_a_number_that_a_database_writes_another_way_is_no_change(before: Any, after: Any) -> None:
    """Some give 1 back for 1.0: what else was edited is told, and nothing more."""
    if edited := told(before, after):
        assert told(with_fractions(before), after) == edited
        assert told(before, with_fractions(after)) == edited


def with_fractions(document: Any) -> Any:
    """Each integer with a fraction of zero."""
    if isinstance(document, dict):
        return {name: with_fractions(member) for name, member in document.items()}
    if isinstance(document, list):
        return [with_fractions(element) for element in document]
    return float(document) if type(document) is int else document


@given(documents, documents)
def test_a_path_leads_to_what_is_told_of_it(before: Any, after: Any) -> None:
    """What is gone, whose index was another, was where it can no longer be looked up."""
    for change in changes(before, after):
        if change.kind != "removed":
            assert at(after, change.path) == change.after


def test_long_lists_are_compared_by_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """Matching their elements would take minutes."""
    monkeypatch.setattr(json_paths, "_MOST_ALIGNED", 2)
    assert told([1, 2, 3], [0, 1, 2, 3]) == ["~$[0]", "~$[1]", "~$[2]", "+$[3]"]


def at(document: Any, path: tuple[Any, ...]) -> Any:
    """What is at a path."""
    for part in path:
        document = document[part]
    return document


def repr_of(document: Any) -> str:
    """Text that differs if the content does, key order aside; in Python, True is 1."""
    if isinstance(document, dict):
        return f"{{{sorted((name, repr_of(member)) for name, member in document.items())}}}"
    return repr([repr_of(element) for element in document]) if isinstance(document, list) else repr(document)
