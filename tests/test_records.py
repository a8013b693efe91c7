"""What identifies a record: timestamps in UTC, hashes over what the API sent, and composite ids."""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supermetrics_connectors.documents.json_text import canonical_json
from supermetrics_connectors.records import (
    EARLIEST,
    LATEST,
    composite_id,
    content_hash,
    parse_timestamp,
    shift,
    to_utc,
)

parts = st.lists(st.one_of(st.none(), st.integers(), st.text("N,'\"[]one1", max_size=6)), max_size=3)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2025-01-01 02:00", datetime(2025, 1, 1, 2, tzinfo=timezone.utc)),
        ("2025-01-01T02:30:00+02", datetime(2025, 1, 1, 0, 30, tzinfo=timezone.utc)),
        ("2025-01-01T00:00:00.5Z", datetime(2025, 1, 1, microsecond=500_000, tzinfo=timezone.utc)),
        ("2025-01-01T00:00:00.123456789Z", datetime(2025, 1, 1, microsecond=123_456, tzinfo=timezone.utc)),
        ("2024-02-29", datetime(2024, 2, 29, tzinfo=timezone.utc)),
    ],
)
def test_timestamps_are_read_in_unusual_shapes(text: str, instant: datetime) -> None:
    """The API documents "ISO 8601". The next test has the shapes that it sends: a date, `Z`, `+00:00` and `+0000`."""
    assert parse_timestamp(text) == instant
    assert parse_timestamp(text).tzinfo is timezone.utc


@given(
    st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29)),  # noqa: DTZ001 - hypothesis wants the bounds naive
    st.integers(-23 * 60, 23 * 60),
    st.sampled_from("T "),
    st.sampled_from([":", ""]),
)
def test_every_shape_of_an_instant_means_that_instant(
    naive: datetime, offset_minutes: int, separator: str, colon: str
) -> None:
    """Which shape the API picks must not move a connector in time."""
    instant = naive.replace(tzinfo=timezone.utc)
    hours, minutes = divmod(abs(offset_minutes), 60)
    sign = "-" if offset_minutes < 0 else "+"
    elsewhere = (naive + timedelta(minutes=offset_minutes)).isoformat(separator)
    assert parse_timestamp(f"{elsewhere}{sign}{hours:02}{colon}{minutes:02}") == instant
    assert parse_timestamp(naive.isoformat(separator) + "Z") == parse_timestamp(naive.isoformat(separator)) == instant
    assert parse_timestamp(naive.date().isoformat()) == instant.replace(hour=0, minute=0, second=0, microsecond=0)


@pytest.mark.parametrize(
    "text",
    [
        *("now", "yesterday", "10:30", "2025", "2025-01", "2025-1-1", "2025-W01", "2025-001", "20250101", "P1D"),
        *("2025-02-29", "2025-13-01", "2025-01-01T25:00:00Z", "2025-01-01T00:00:00z", "2025-01-01T00:00:00 Z"),
        *("2025-01-01/2025-01-02", "2025-01-01T00:00:00+99:99", "9999-12-31T23:59:59-01:00", "0001-01-01T00:00+01:00"),
        *(" 2025-01-01", "2025-01-01\n", "२०२५-०१-०१", "1735689600"),
    ],
)
def test_what_is_no_timestamp_is_refused(text: str) -> None:
    """A lenient parser would make today's date of a time, or the first of January of a year."""
    with pytest.raises(ValueError, match=re.escape(text)):
        parse_timestamp(text)


@given(st.from_regex(r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}([+-][0-9]{2}:?[0-9]{2})?)?\Z"))
def test_nothing_that_looks_like_a_timestamp_fails_otherwise(text: str) -> None:
    """Every impossible date is a ValueError, so it becomes a contract error."""
    with suppress(ValueError):
        assert parse_timestamp(text).tzinfo is timezone.utc


def test_a_hash_covers_every_field_with_a_value() -> None:
    """Null and a missing field are the same content; a text is hashed as it was sent."""
    fields = {"added": 1, "connector_identifier": "A", "name": "ä", "updated_at": "2025-01-01"}
    assert content_hash(fields) == hashlib.sha256(canonical_json(fields)).hexdigest()
    assert content_hash(fields | {"description": None}) == content_hash(fields)
    assert content_hash(fields, ["updated_at"]) == content_hash(fields | {"updated_at": "2026"}, ["updated_at"])
    for other in ({"name": ""}, {"name": "Ä"}, {"added": 1.0}, {"added": True}, {"updated_at": "2025-01-01T00:00:00Z"}):
        assert content_hash(fields | other) != content_hash(fields)


@given(parts, parts)
def test_an_id_identifies_its_parts(one: list[Any], other: list[Any]) -> None:
    """None differs from "None", and ["a", "b"] from ["a,b"]."""
    assert (composite_id(*one) == composite_id(*other)) == (one == other)
    assert len(composite_id(*one)) == 32


@pytest.mark.parametrize(
    ("stored", "moment"),
    [
        (datetime(2025, 1, 1), datetime(2025, 1, 1, tzinfo=timezone.utc)),  # noqa: DTZ001 - as MySQL returns it
        (datetime(2025, 1, 1, tzinfo=timezone(timedelta(hours=1))), datetime(2024, 12, 31, 23, tzinfo=timezone.utc)),
        ("2025-01-01 00:00:00", datetime(2025, 1, 1, tzinfo=timezone.utc)),
        ("edited by hand", None),
        (None, None),
        (7, None),
    ],
)
def test_a_stored_time_is_an_instant_or_unknown(stored: Any, moment: datetime | None) -> None:
    """Destinations return times in several types."""
    assert to_utc(stored) == moment


def test_a_shift_stops_at_the_calendar_s_ends() -> None:
    """A stored time of the year 9999 must not fail a run."""
    assert shift(LATEST, timedelta(1)) == LATEST
    assert shift(EARLIEST, timedelta(-1)) == EARLIEST
