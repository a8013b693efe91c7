"""The difference between a listing and a table, for any pair of the two."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supermetrics_connectors.diff import RENEWED_MARKER, StoredRows, TableDiff, diff_table, version_ids
from supermetrics_connectors.records import composite_id

names = st.sampled_from("ABCDE")
contents = st.sampled_from("xyz")
listings = st.dictionaries(names, contents)
stored_rows = st.dictionaries(names, st.lists(contents, min_size=1, max_size=3))


@given(stored_rows, listings, st.booleans(), st.booleans())
def test_the_difference_makes_the_table_equal(
    stored: dict[str, list[str]], listed: dict[str, str], complete: bool, rewrite: bool
) -> None:
    """Every row is written once or removed; an incomplete listing removes nothing."""
    diff = diff_table(StoredRows(stored), listed, is_complete=complete, rewrite=rewrite)
    table = {name: list(rows) for name, rows in stored.items() if name not in diff.deleted}
    table |= {name: [listed[name]] for name in diff.upserted}
    unlisted = {} if complete else {name: rows for name, rows in stored.items() if name not in listed}
    assert table == unlisted | {name: [content] for name, content in listed.items()}
    assert complete or not diff.deleted


@given(stored_rows, listings)
def test_a_stored_row_is_not_written_again(stored: dict[str, list[str]], listed: dict[str, str]) -> None:
    """A row that is stored once, with the listed content, stays as it is."""
    diff = diff_table(StoredRows(stored), listed, is_complete=True)
    assert set(diff.upserted) == {name for name in listed if stored.get(name) != [listed[name]]}
    assert set(diff.deleted) == stored.keys() - listed.keys()
    assert set(diff.ended()) == {
        (name, content) for name in (*diff.upserted, *diff.deleted) for content in stored.get(name, ())
    }


@pytest.mark.parametrize("kept", [["A", "B"], {"A": {}}])
def test_a_connector_that_still_exists_keeps_its_configuration(kept: object) -> None:
    """A listing without configurations shows only which connectors exist; a removed one loses its configuration."""
    diff = diff_table(StoredRows({"A": ["x"], "GONE": ["y"]}), {}, is_complete=True, retained=kept)  # type: ignore[arg-type]
    assert (diff.upserted, diff.deleted) == ([], ["GONE"])
    assert list(diff.ended()) == [("GONE", "y")]


def test_duplicates_of_a_version_end_once() -> None:
    """All duplicates end by the id that they share."""
    diff = TableDiff(["A"], ["B"], StoredRows({"A": ["x", "x", "y"], "B": ["z"], "C": ["stays"]}))
    assert list(diff.ended()) == [("A", "x"), ("A", "y"), ("B", "z")]
    assert list(diff.with_upserted(["C", "A"]).ended()) == [("A", "x"), ("A", "y"), ("C", "stays"), ("B", "z")]


def test_a_version_that_shares_its_id_with_one_that_ends_is_written_again() -> None:
    """A row that a user copied to another connector ends with its copy, because dlt ends versions by their id."""
    diff = diff_table(StoredRows({"A": ["x"], "": ["x"], "B": ["y"]}), {"A": "x", "B": "y"}, is_complete=True)
    assert (diff.upserted, diff.deleted) == ([], [""])
    assert diff.sharing_ended_ids() == ["A"]
    assert diff_table(StoredRows({"A": ["x"]}), {"A": "x"}, is_complete=True).sharing_ended_ids() == []


def test_a_version_that_is_written_once_more_gets_another_id_and_is_the_same_content() -> None:
    """Dlt's SCD2 does not insert an id that is stored; in later runs the version must not look changed."""
    content = composite_id(1, "A", "hash")
    renewed = f"{content}{RENEWED_MARKER}1795596295.88"
    assert StoredRows({"A": [renewed]}).equals("A", content)
    assert not StoredRows({"A": [content, content]}).equals("A", content)
    assert not StoredRows({}).equals("A", content)
    listed = {"A": content}
    assert TableDiff(listed=listed).version_id("A", "load") == content
    for stored in (content, renewed):
        diff = TableDiff(stored=StoredRows({"A": [stored, "other"]}), listed=listed)
        assert diff.version_id("A", "load") == f"{content}{RENEWED_MARKER}load"


def test_version_ids_depend_on_team_connector_and_content() -> None:
    """A version is identified among all rows of its table."""
    ids = version_ids(1, {"A": "x", "B": "x"}) | {
        f"other {name}": id_ for name, id_ in version_ids(2, {"A": "x"}).items()
    }
    assert len(set(ids.values())) == 3
    assert version_ids(1, {"A": "y"})["A"] not in ids.values()
