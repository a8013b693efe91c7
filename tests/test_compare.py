"""A listing against what a table holds: pure, and so tried on any pair of the two."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from supermetrics_connectors.compare import REWRITTEN, Held, difference, row_id

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
