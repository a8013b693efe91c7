"""What is remembered of a team decides what is written and what is removed."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sources.supermetrics_connectors.cursors import (
    WHOLE_TEAM,
    Difference,
    Memory,
    configuration_fingerprint,
    connector_fingerprint,
    difference,
    row_version,
)

CONNECTOR = {"connector_identifier": "A", "name": "n", "updated_at": datetime(2025, 1, 1, tzinfo=timezone.utc)}
CONFIGURATION = {"version": "1.0.0", "content_hash": "f00d", "updated_at": datetime(2025, 1, 1, tzinfo=timezone.utc)}

fingerprints = st.dictionaries(st.sampled_from("ABCDE"), st.sampled_from("123"))


@given(fingerprints, fingerprints, st.booleans())
def test_a_complete_listing_leaves_exactly_what_it_lists(
    before: dict[str, str], now: dict[str, str], full_refresh: bool
) -> None:
    """After the run the table is what the API says: nothing missing, stale or left over."""
    changes = difference(before, now, complete=True, full_refresh=full_refresh)
    table = {**before, "LEFTOVER": "0"} if full_refresh else dict(before)
    if changes.to_delete == [WHOLE_TEAM]:
        table = {}
    for name in changes.removed:
        table.pop(name, None)
    assert table | {name: now[name] for name in changes.changed} == now == changes.fingerprints
    assert set(changes.removed) == before.keys() - now.keys()


@given(fingerprints, fingerprints, st.booleans())
def test_an_incomplete_listing_removes_nothing(before: dict[str, str], now: dict[str, str], full_refresh: bool) -> None:
    """What it lacks may be there all the same, and is still known when it is listed again."""
    changes = difference(before, now, complete=False, full_refresh=full_refresh)
    assert (changes.removed, changes.to_delete) == ([], [])
    assert changes.fingerprints == before | now


@given(fingerprints, fingerprints)
def test_what_is_unchanged_is_not_written_again(before: dict[str, str], now: dict[str, str]) -> None:
    """A row's `_dlt_load_id` tells which run brought it; a full refresh writes everything."""
    assert set(difference(before, now, complete=True).changed) == dict(now.items() - before.items()).keys()
    assert difference(before, now, complete=True, full_refresh=True).changed == list(now)
    assert not difference(now, now, complete=True)


@given(st.dictionaries(st.sampled_from("789"), st.dictionaries(st.text(), st.text())))
def test_what_is_remembered_is_one_text_a_team(remembered: dict[str, dict[str, str]]) -> None:
    """And comes back as it was, in whatever order it was listed."""
    state: dict[str, Any] = {}
    memory = Memory(state)
    memory.update(remembered)
    assert dict(Memory(state)) == remembered
    assert all(isinstance(text, str) and text.isascii() for text in state.values())
    other: dict[str, Any] = {}
    Memory(other).update({team: dict(reversed(each.items())) for team, each in remembered.items()})
    assert other == state


def test_what_an_earlier_release_remembered_is_read() -> None:
    """0.1.0 kept a dictionary a team; it is packed when it is next kept."""
    state: dict[str, Any] = {"7": {"A": "1"}, "8": {"B": "2"}}
    memory = Memory(state)
    memory["7"] |= {WHOLE_TEAM: ""}
    assert dict(memory) == {"7": {"A": "1", WHOLE_TEAM: ""}, "8": {"B": "2"}}
    del memory["8"]
    assert list(memory) == ["7"]
    assert isinstance(state["7"], str)


def test_a_failed_team_changes_nothing() -> None:
    """It keeps what it had, and what is known of it."""
    changes = Difference.none({"A": "1"})
    assert not changes
    assert changes.fingerprints == {"A": "1"}


@pytest.mark.parametrize(
    "edit",
    [{"name": "m"}, {"updated_at": datetime(2025, 1, 2, tzinfo=timezone.utc)}, {"updated_at": None}, {"added": [1]}],
)
def test_any_field_of_a_connector_makes_another_fingerprint(edit: dict[str, Any]) -> None:
    """Two edits on a day move no date, so the content counts; so does a new field."""
    assert connector_fingerprint({**CONNECTOR, **edit}) != connector_fingerprint(CONNECTOR)


def test_a_connector_s_fingerprint_leaves_its_configuration_out() -> None:
    """Or switching include_configs on and off would rewrite every connector."""
    assert connector_fingerprint({**CONNECTOR, "configuration": CONFIGURATION}) == connector_fingerprint(CONNECTOR)


def test_a_connector_s_fingerprint_can_be_read() -> None:
    """Whoever looks into the state sees how far each connector is; without a date it still has a digest."""
    assert re.fullmatch(r"2025-01-01T00:00:00\+00:00 [0-9a-f]{16}", connector_fingerprint(CONNECTOR))
    assert re.fullmatch(r" [0-9a-f]{16}", connector_fingerprint({"connector_identifier": "A"}))


@pytest.mark.parametrize(
    ("edit", "is_new"),
    [
        ({"content_hash": "beef"}, True),
        ({"version": "1.0.1"}, True),
        ({"version": None}, True),
        ({"updated_at": datetime(2026, 1, 1, tzinfo=timezone.utc)}, False),
        ({"created_at": None}, False),
    ],
)
def test_a_configuration_is_new_by_content_or_version_only(edit: dict[str, Any], is_new: bool) -> None:
    """Its clocks may move without the content, and stay when it changes."""
    changed = configuration_fingerprint({**CONFIGURATION, **edit}) != configuration_fingerprint(CONFIGURATION)
    assert changed is is_new


def test_row_versions_tell_teams_connectors_and_contents_apart() -> None:
    """SCD2 takes rows with one version for one row, over all teams of the table."""
    versions = [
        row_version(1, "A", "1.0.0", "f00d"),
        row_version(2, "A", "1.0.0", "f00d"),
        row_version(1, "B", "1.0.0", "f00d"),
        row_version(1, "A", "1.0.1", "f00d"),
        row_version(1, "A", "1.0.0", "beef"),
        row_version(1, "A", "closed"),
        row_version(11, "", "1.0.0", "f00d"),
        row_version(1, "1", "1.0.0", "f00d"),
    ]
    assert len(set(versions)) == len(versions)
    assert all(re.fullmatch(r"[0-9a-f]{32}", version) for version in versions)
