"""A listing against what a table holds: pure, and so tried on any pair of the two."""

from __future__ import annotations

import hashlib
from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supermetrics_connectors.api.checks import Record
from supermetrics_connectors.api.listing import Listing
from supermetrics_connectors.compare import (
    REWRITTEN,
    Difference,
    Held,
    configuration_ids,
    connector_contents,
    connector_hash,
    connector_version_ids,
    difference,
    row_id,
)
from supermetrics_connectors.documents.json_text import canonical_json

names = st.sampled_from("ABCDE")
contents = st.sampled_from("xyz")
listings = st.dictionaries(names, contents)
held_rows = st.dictionaries(names, st.lists(contents, min_size=1, max_size=3))


@given(held_rows, listings, st.booleans(), st.booleans())
def test_the_difference_makes_the_table_equal(
    stored: dict[str, list[str]], listed: dict[str, str], complete: bool, everything: bool
) -> None:
    """Written once anew or taken away, every row is as listed; an incomplete listing takes nothing away."""
    found = difference(Held(stored), listed, (), complete, everything)
    table = {name: list(rows) for name, rows in stored.items() if name not in found.removed}
    table |= {name: [listed[name]] for name in found.written}
    unlisted = {} if complete else {name: rows for name, rows in stored.items() if name not in listed}
    assert table == unlisted | {name: [content] for name, content in listed.items()}
    assert complete or not found.removed


@given(held_rows, listings)
def test_nothing_is_written_that_is_there(stored: dict[str, list[str]], listed: dict[str, str]) -> None:
    """A row that is there once, with the listed content, is left alone."""
    found = difference(Held(stored), listed, (), complete=True)
    assert set(found.written) == {name for name in listed if stored.get(name) != [listed[name]]}
    assert set(found.removed) == stored.keys() - listed.keys()
    assert set(found.superseded()) == {
        (name, content) for name in (*found.written, *found.removed) for content in stored.get(name, ())
    }


def test_a_connector_that_still_exists_keeps_what_was_not_asked_for() -> None:
    """A listing without configurations says only which connectors there are."""
    found = difference(Held({"A": ["x"], "GONE": ["y"]}), {}, {"A": {}}, complete=True)
    assert (found.written, found.removed) == ([], ["GONE"])


def test_a_version_that_was_written_anew_has_the_content_that_it_had() -> None:
    """Its `_dlt_id` says besides when that was, and must not look like another content in every later run."""
    content = row_id(1, "A", "hash")
    assert Held({"A": [f"{content}{REWRITTEN}1795596295.88"]}).has("A", content)
    assert not Held({"A": [content, content]}).has("A", content)
    assert not Held({}).has("A", content)


def test_a_connector_without_a_configuration_that_is_gone_is_taken_away() -> None:
    """Held from when it had one, and named by nothing that is listed: it would be remembered for ever."""
    found = difference(Held({"A": ["x"], "GONE": ["y"]}), {}, ["A", "B"], complete=True)
    assert (found.written, found.removed) == ([], ["GONE"])
    assert list(found.superseded()) == [("GONE", "y")]


def test_copies_of_one_version_are_superseded_once() -> None:
    """Closed by what identifies them, all of them are."""
    found = Difference(["A"], ["B"], Held({"A": ["x", "x", "y"], "B": ["z"], "C": ["stays"]}))
    assert list(found.superseded()) == [("A", "x"), ("A", "y"), ("B", "z")]
    assert list(Difference(["A"], ["B"]).superseded()) == []


def test_what_is_known_of_a_table_is_not_changed_afterwards() -> None:
    """Differences are kept and asked several times."""
    with pytest.raises(AttributeError):
        Held().hashes = {}  # type: ignore[misc]  # that is what is tried
    with pytest.raises(AttributeError):
        Difference().written = []  # type: ignore[misc]  # what is tried


def test_content_is_what_is_written_and_nothing_else() -> None:
    """Without what is null: null and absent are one."""
    fields = {"added": 1, "connector_identifier": "A", "name": "ä"}
    expected = hashlib.sha256(canonical_json(fields)).hexdigest()
    assert connector_hash(fields | {"updated_at": None}) == expected
    assert connector_hash(fields) == expected
    assert connector_hash(fields | {"name": ""}) != expected


def test_versions_are_identified_among_all_rows() -> None:
    """By team, connector and content, of a configuration by its version's name too; not by any clock."""
    assert len(row_id(1, "A", "hash")) == 32
    assert (
        len({row_id(1, "A", "x"), row_id(2, "A", "x"), row_id(1, "B", "x"), row_id(1, "A", "y"), row_id(1, "Ax")}) == 5
    )
    configuration = {"version": "1.0", "content_hash": "x", "updated_at": datetime(2025, 1, 1, tzinfo=timezone.utc)}
    connectors: dict[str, Record] = {"A": {"name": "a"}, "B": {"name": "b"}}
    listing = Listing(7, datetime(2025, 1, 1, tzinfo=timezone.utc), 1, connectors, {"A": configuration})
    contents = connector_contents(listing)
    assert contents == {"A": connector_hash({"name": "a"}), "B": connector_hash({"name": "b"})}
    assert connector_version_ids(7, contents) == {name: row_id(7, name, hash_) for name, hash_ in contents.items()}
    assert configuration_ids(listing) == {"A": row_id(7, "A", "1.0", "x")}
