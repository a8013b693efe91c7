"""A connector's log is read backwards: every entry once, whatever the API means by `before`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supermetrics_connectors.api.checks import UnexpectedError
from supermetrics_connectors.api.client import Answer
from supermetrics_connectors.api.logs import Backwards, Page, read_logs

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
SECOND, MICROSECOND = timedelta(seconds=1), timedelta(microseconds=1)


class Log:
    """An API with some entries."""

    def __init__(self, times: Sequence[int], size: int, *, strict: bool, tick: timedelta = SECOND) -> None:
        self.entries: list[dict[str, Any]] = [
            {"id": str(number), "log_time": START + time * tick} for number, time in enumerate(times)
        ]
        self.size, self.strict, self.tick = size, strict, tick
        self.asked: list[datetime | None] = []

    def __call__(self, before: datetime | None) -> Page:
        """Answers as the API does."""
        self.asked.append(before)
        found = sorted(self.entries, key=lambda entry: (entry["log_time"], entry["id"]), reverse=True)
        if before is not None:
            found = [e for e in found if e["log_time"] < before or (e["log_time"] == before and not self.strict)]
        return Page([dict(entry) for entry in found[: self.size]], self.tick)

    def largest_tie(self) -> int:
        """How many entries share one time at most."""
        times = [entry["log_time"] for entry in self.entries]
        return max(map(times.count, times), default=0)


def read(log: Log, floor: datetime = START) -> list[str]:
    """The ids of all entries."""
    return [entry["id"] for page in Backwards(log, floor, limit=log.size) for entry in page]


@given(
    times=st.lists(st.integers(0, 12), max_size=40),
    size=st.integers(1, 7),
    strict=st.booleans(),
    tick=st.sampled_from([SECOND, MICROSECOND]),
)
def test_every_entry_comes_once_whatever_the_pages_are(
    times: list[int], size: int, strict: bool, tick: timedelta
) -> None:
    """Many share one time, pages end between them, and nobody says whether `before` is strict."""
    log = Log(times, size, strict=strict, tick=tick)
    paging = Backwards(log, START, limit=size)
    found = [entry["id"] for page in paging for entry in page]
    assert len(found) == len(set(found))
    if log.largest_tie() < size:
        assert sorted(found) == sorted(entry["id"] for entry in log.entries)
        assert paging.crowded == []
    elif len(found) < len(times):
        assert paging.crowded  # of more entries than a page holds at one time, it says that some are missing
    assert len(log.asked) <= 4 * len(times) + 2


@given(times=st.lists(st.integers(0, 30), max_size=40), size=st.integers(4, 9), floor=st.integers(0, 30))
def test_nothing_below_the_floor_is_given_and_little_of_it_asked_for(times: list[int], size: int, floor: int) -> None:
    """What is stored, or older than what is wanted, is not paged through."""
    log = Log(times, size, strict=True)
    end = START + floor * SECOND
    found = read(log, end)
    if log.largest_tie() < size:
        assert sorted(found) == sorted(entry["id"] for entry in log.entries if entry["log_time"] >= end)
    assert all(before is None or before >= end for before in log.asked)


def test_a_short_page_is_not_taken_for_the_last() -> None:
    """Nothing says that the API gives as many as it is asked for."""
    log = Log(range(10), 3, strict=True)
    assert len([entry for page in Backwards(log, START, limit=1000) for entry in page]) == 10


def test_entries_of_the_future_wait() -> None:
    """As the newest one that is stored, such an entry would hide all that come before its time."""
    log = Log(range(10), 5, strict=True)
    pages = Backwards(log, START, ceiling=START + 4 * SECOND, limit=5)
    assert sorted(entry["id"] for page in pages for entry in page) == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize("strict", [True, False])
def test_more_entries_at_one_time_than_a_page_holds_come_to_an_end(strict: bool) -> None:
    """What cannot be asked for is said, and what is older still comes."""
    log = Log([1, *[5] * 9, 9], 4, strict=strict)
    paging = Backwards(log, START, limit=4)
    found = [entry["id"] for page in paging for entry in page]
    assert {"0", "10"} < set(found)
    assert paging.crowded == [START + 5 * SECOND]
    assert len(log.asked) < 10


def test_an_api_that_ignores_before_is_found_out() -> None:
    """It would be asked for ever."""
    log = Log(range(10), 4, strict=True)
    with pytest.raises(UnexpectedError, match="Expected log entries before 2026-01-01T00:00:07"):
        list(Backwards(lambda _before: log(None), START, limit=4))


def answer(*entries: Any, **payload: Any) -> Answer:
    """A 200 with these entries."""
    return Answer({"logs": list(entries), **payload}, 200, "req_12345678", 100, 100, may_have_nul=True)


def entry(**fields: Any) -> dict[str, Any]:
    """An entry as the API sends it."""
    return {"id": "123-foo", "log_time": "2026-04-06T10:59:04+0000", "status": None, "request": None, **fields}


def test_the_tick_is_the_last_digit_of_the_times() -> None:
    """By it `before` goes beyond entries of one time, and no further than needed."""
    whole, milli = entry(log_time="2026-01-01T00:00:00Z"), entry(log_time="2026-01-01T00:00:00.120Z")
    assert read_logs(answer(whole), str, redact_secrets=True).tick == SECOND
    assert read_logs(answer(whole, milli), str, redact_secrets=True).tick == timedelta(milliseconds=1)


def test_secrets_in_a_request_are_replaced() -> None:
    """Somebody's server may have taken them in its path."""
    said = entry(request="GET /v1/report?api_key=a8f7e6d5c4b3a2918f7e&page=2", note={"password": "hunter2!x"})
    [read_one] = read_logs(answer(said), str, redact_secrets=True).entries
    assert read_one["request"] == "GET /v1/report?api_key=[redacted]&page=2"
    assert read_one["note"] == {"password": "[redacted]"}
    [as_it_is] = read_logs(answer(said), str, redact_secrets=False).entries
    assert as_it_is["request"] == said["request"]


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ({"logs": None}, "Expected a list in `logs`, nothing arrived"),
        ({"logs": [7]}, r"Expected an object in logs[0], a number arrived"),
        ({"logs": [entry(id=7)]}, "Expected a non-empty string in logs[0].id, a number arrived"),
        ({"logs": [entry(log_time=None)]}, "Expected a non-empty string in logs[0].log_time, nothing arrived"),
        ({"logs": [entry(log_time="yesterday")]}, "in logs[0].log_time, 'yesterday' arrived"),
        ({"logs": [entry(status="200")]}, "Expected an integer in logs[0].status, a string arrived"),
        ({"logs": [entry(duration_ms=True)]}, "Expected an integer in logs[0].duration_ms, a boolean arrived"),
        ({"logs": [entry(event="a\0b")]}, "a NUL character arrived"),
    ],
)
def test_what_is_not_as_documented_is_named(payload: Any, message: str) -> None:
    """Where, and what was expected."""
    with pytest.raises(UnexpectedError) as raised:
        read_logs(Answer(payload, 200, None, None, 10, may_have_nul=True), str, redact_secrets=True)
    assert message in str(raised.value)
