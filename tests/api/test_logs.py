"""A connector's log is read oldest first: no gap, no entry twice, and every run advances."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supermetrics_connectors.api import logs
from supermetrics_connectors.api.endpoints import FetchTask, read_log_page
from supermetrics_connectors.api.fetch import Fetcher
from supermetrics_connectors.api.logs import LogPage, LogReader, Spool, window_start
from supermetrics_connectors.api.validation import ColumnNames, UnexpectedError
from supermetrics_connectors.records import EARLIEST, LATEST
from supermetrics_connectors.specs import CONNECTOR_LOGS
from tests.helpers.clients import LOGS, response, settings
from tests.helpers.sandbox import Sandbox

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
SECOND, MICROSECOND = timedelta(seconds=1), timedelta(microseconds=1)
FAR = START + timedelta(days=365)


class Log:
    """An API with a log of some entries."""

    def __init__(self, times: Sequence[int], page: int, *, strict: bool = True, tick: timedelta = SECOND) -> None:
        self.entries: list[dict[str, Any]] = [
            {"id": str(number), "log_time": START + time * tick} for number, time in enumerate(times)
        ]
        self.page, self.strict, self.tick = page, strict, tick
        self.requests: list[datetime | None] = []
        self.read: list[list[dict[str, Any]]] = []

    def __call__(self, before: datetime | None) -> LogPage:
        """Returns a page as the API does."""
        self.requests.append(before)
        found = sorted(self.entries, key=lambda entry: (entry["log_time"], entry["id"]), reverse=True)
        if before is not None:
            found = [e for e in found if e["log_time"] < before or (e["log_time"] == before and not self.strict)]
        return LogPage([dict(entry) for entry in found[: self.page]], self.tick)

    def reader(self, start: datetime = START, end: datetime = FAR, **options: Any) -> LogReader:
        """Reads this log."""
        return LogReader(self, self.read.append, start, end, **options)

    @property
    def ids(self) -> list[str]:
        """The ids that were read, in this order."""
        return [entry["id"] for entries in self.read for entry in entries]

    @property
    def largest_crowd(self) -> int:
        """The highest number of entries with one time."""
        times = [entry["log_time"] for entry in self.entries]
        return max(map(times.count, times), default=0)


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of three entries are full ones."""
    monkeypatch.setattr(logs, "MIN_FULL_PAGE", 3)


@pytest.mark.usefixtures("small_pages")
@given(
    times=st.lists(st.integers(0, 12) | st.integers(0, 10_000), max_size=40),
    page=st.integers(3, 7),
    strict=st.booleans(),
    tick=st.sampled_from([SECOND, MICROSECOND]),
    first=st.integers(0, 20),
    last=st.integers(10, 12_000),
    stored=st.none() | st.integers(0, 5_000),
    allowance=st.integers(4, 1_000),
)
def test_every_entry_of_the_window_is_read_once(
    times: list[int],
    page: int,
    strict: bool,
    tick: timedelta,
    first: int,
    last: int,
    stored: int | None,
    allowance: int,
) -> None:
    """Many share a time, pages end between them, and the API does not document whether `before` is strict."""
    log = Log(times, page, strict=strict, tick=tick)
    watermark = None if stored is None else START + (first + stored) * tick
    reader = log.reader(START + first * tick, START + last * tick, watermark=watermark, allowance=allowance)
    reader.read()
    found = [int(id_) for id_ in log.ids]
    assert len(found) == len(set(found))
    expected = {id_ for id_, time in enumerate(times) if first <= time <= last}
    assert set(found) <= expected
    if allowance < 1_000:  # before the watermark not every page is read again
        expected = {id_ for id_ in expected if stored is None or times[id_] > first + stored}
    if log.largest_crowd < page:
        assert set(found) >= expected
        assert reader.crowded == []
    elif not set(found) >= expected:
        assert reader.crowded, "missing entries are reported"
    assert len(log.requests) <= 4 * len(times) + 8


@pytest.mark.parametrize("count", [0, 1, 99])
def test_a_short_log_takes_one_request(count: int) -> None:
    """The API's default page has a hundred entries, so a shorter page is the whole log."""
    log = Log(range(count), 1000)
    log.reader(START - SECOND).read()
    assert (len(log.requests), len(log.ids)) == (1, count)


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.usefixtures("small_pages")
def test_more_entries_at_one_time_than_a_page_has_are_reported(strict: bool) -> None:
    """The API cannot return these entries; older entries are still read."""
    log = Log([1, *[5] * 9, 9], 4, strict=strict)
    reader = log.reader()
    reader.read()
    assert {"0", "10"} < set(log.ids)
    assert reader.crowded == [START + 5 * SECOND]


def test_an_api_that_ignores_before_is_refused() -> None:
    """Its pages would never end."""
    log = Log(range(1000), 400)
    reader = LogReader(lambda _before: log(None), log.read.append, START, FAR)
    with pytest.raises(UnexpectedError, match="Expected log entries before 2026-01-01T00:"):
        reader.read()


@pytest.mark.parametrize("log_time", [EARLIEST, LATEST])
def test_times_at_the_ends_of_the_calendar_are_no_error(log_time: datetime) -> None:
    """Times come from outside: no arithmetic on them may overflow."""
    log = Log(range(300), 100)
    log.entries += [{"id": f"x{n}", "log_time": log_time} for n in range(300)]
    log.reader(EARLIEST, LATEST).read()
    assert len(set(log.ids)) >= 300


@pytest.mark.parametrize(
    ("watermark", "start"),
    [
        (None, timedelta(days=-30)),
        (timedelta(days=-1), timedelta(days=-1, hours=-1)),
        (timedelta(days=-90), timedelta(days=-30)),
        (timedelta(minutes=10), timedelta(minutes=-50)),
    ],
    ids=["nothing stored", "an hour of overlap", "logs_since", "clock skew"],
)
def test_a_log_is_read_from_the_watermark(watermark: timedelta | None, start: timedelta) -> None:
    """Late entries are found."""
    stored = None if watermark is None else START + watermark
    assert window_start(START, timedelta(days=30), stored) == START + start


def test_a_spool_returns_what_it_received() -> None:
    """Also from a file, when it is large."""
    spool = Spool(CONNECTOR_LOGS)
    for number in range(3):
        spool.add([{"id": f"{number}", "log_time": START, "text": "x" * 600_000}])
    spool.add([])
    assert [[entry["id"], entry["log_time"]] for entries in spool.pages() for entry in entries] == [
        [str(number), START] for number in range(3)
    ]


# --- over HTTP, in the hours of a rate limit --------------------------------------------------------------------------

PAGES, PAGE = 50, 10
HOUR, DAY = 3600, 86_400
SHAPES = {
    "uniform": [29 * DAY * n // (PAGES * PAGE) for n in range(PAGES * PAGE)],
    "burst at the start": [
        *(29 * DAY - n * HOUR // 400 for n in range(400)),
        *(28 * DAY * n // 100 for n in range(100)),
    ],
    "burst at the end": [*(n * HOUR // 400 for n in range(400)), *(28 * DAY * n // 100 + HOUR for n in range(100))],
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_run_advances_with_few_requests_an_hour(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, shape: str
) -> None:
    """A log of 50 pages, an allowance of 24: each run stores more than before, without a gap, until all is stored."""
    monkeypatch.setattr(logs, "MIN_FULL_PAGE", PAGE)
    now = datetime.now(timezone.utc).replace(microsecond=0)
    times = sorted(now - timedelta(seconds=seconds) for seconds in SHAPES[shape])
    sandbox.add_connector(1, "A")
    entries = [{"id": f"{n:04}", "log_time": time.isoformat()} for n, time in enumerate(times)]
    sandbox.add_log(1, "A", *entries)
    sandbox.log_page, sandbox.rate_limit = PAGE, 48
    stored: dict[str, datetime] = {}
    runs = 0
    while len(stored) < len(entries):
        sandbox._window_ends = 0.0  # an hour later
        before, requested = len(stored), len(sandbox.requests)
        checked = settings(base_url=sandbox.url, api_key=sandbox.token, include_logs=True, workers=1)
        with closing(Fetcher(checked, str.lower)) as fetcher:
            list(fetcher.listings(lambda _done, _message: None))
            watermarks = {(1, "A"): max(stored.values())} if stored else {}
            (result,) = fetcher.results([FetchTask(LOGS, 1, "A")], watermarks, lambda _done, _message: None)
        assert result.spool
        for part in result.spool.pages():
            stored.update({entry["id"]: entry["log_time"] for entry in part})
        assert sorted(stored) == [entry["id"] for entry in entries][: len(stored)], "a gap"
        assert len(stored) > before, "an hour was wasted"
        assert len(sandbox.requests) - requested <= 25
        runs += 1
    assert runs <= 6


# --- pages ------------------------------------------------------------------------------------------------------------


def entry(**fields: Any) -> dict[str, Any]:
    """An entry as the API sends it."""
    return {"id": "123-foo", "log_time": "2026-04-06T10:59:04+0000", "status": None, "request": None, **fields}


def read_page(payload: Any, *, redact_secrets: bool = True) -> LogPage:
    """Reads a page of connector A."""
    return read_log_page(FetchTask(LOGS, 7, "A"), response(payload), ColumnNames(str.lower), redact_secrets)


@pytest.mark.parametrize(
    ("times", "tick"),
    [
        (["2026-01-01T00:00:00Z"], SECOND),
        (["2026-01-01T00:00:00Z", "2026-01-01T00:00:00.120Z"], timedelta(milliseconds=1)),
    ],
)
def test_the_tick_is_the_last_digit_of_the_times(times: list[str], tick: timedelta) -> None:
    """`before` goes beyond entries of one time by a tick, and no further."""
    assert read_page({"logs": [entry(log_time=time) for time in times]}).tick == tick


def test_an_entry_has_its_key_and_the_columns_of_its_fields() -> None:
    """A field that the API adds under a name of ours takes another column."""
    (row,) = read_page({"logs": [entry(team_id=7, connector_identifier="B", level="info")]}).entries
    assert row == {
        "team_id": 7,
        "connector_identifier": "A",
        "api_team_id": 7,
        "api_connector_identifier": "B",
        "id": "123-foo",
        "log_time": datetime(2026, 4, 6, 10, 59, 4, tzinfo=timezone.utc),
        "status": None,
        "request": None,
        "level": "info",
    }


@pytest.mark.parametrize("redact_secrets", [True, False])
def test_secrets_in_a_request_are_replaced(redact_secrets: bool) -> None:
    """A server may expect a secret in the path of its requests."""
    sent = entry(request="GET /v1/report?api_key=a8f7e6d5c4b3a2918f7e&page=2", note={"password": "hunter2!x"})
    (row,) = read_page({"logs": [sent]}, redact_secrets=redact_secrets).entries
    assert ("a8f7e6d5c4b3a2918f7e" in row["request"]) is not redact_secrets
    assert ("hunter2!x" in str(row["note"])) is not redact_secrets
