"""A connector's log: pages newest first, read in windows, oldest first.

A window is appended to the result only when it is complete, so the stored log never has a gap, and a run that the rate
limit ends has advanced. The API documents neither whether `before` is strict nor how many entries share a time, so
nothing here relies on either.
"""

import re
import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import IO

from ..documents.json_text import canonical_json, parse_json
from ..records import Record, shift, to_utc
from ..specs import TIMESTAMP, TableSpec
from .validation import UnexpectedError

OVERLAP = timedelta(hours=1)
"""How late an entry may appear in the log. Each run reads this time before the watermark again."""
CLOCK_SKEW = OVERLAP / 4
"""How far the API's clock may be ahead. A later entry is not stored yet: as the watermark, it would hide others."""
PAGE_LIMIT = 1000
"""Entries requested per page, the most that the API gives."""
MIN_FULL_PAGE = 100
"""Entries. A shorter page is the end of the log: the API's default limit is 100, so no page is cut below it."""
WINDOW_PAGES = 4
"""Pages of a window, by the density of the page next to it."""
_JUMP_FACTOR = 8
_SECOND = timedelta(seconds=1)
_FRACTION = re.compile(r"[.,](\d+)")
_SPOOL_BYTES = 2**20


def window_start(requested_at: datetime, since: timedelta, watermark: datetime | None) -> datetime:
    """Returns the time from which a log is read.

    Args:
        requested_at: When the log is requested.
        since: How far back entries are wanted at most.
        watermark: The time of the newest stored entry; None without one.
    """
    start = shift(requested_at, -since)
    return start if watermark is None else max(start, shift(watermark, -OVERLAP))


@dataclass(frozen=True)
class LogPage:
    """Entries of one response.

    Attributes:
        entries: Entries with `id` and `log_time`, an instant in UTC.
        tick: The last digit in which their times are written.
    """

    entries: list[Record]
    tick: timedelta = _SECOND


def tick_of(log_time: object) -> timedelta:
    """Returns the last digit in which a time is written: a second, or a part of it."""
    fraction = _FRACTION.search(log_time) if isinstance(log_time, str) else None
    return timedelta(microseconds=10 ** (6 - min(len(fraction[1]), 6))) if fraction else _SECOND


class Spool:
    """Rows of a log between fetching and loading: a megabyte in memory, more in a file without a name.

    Args:
        table: The table of the rows.
    """

    def __init__(self, table: TableSpec) -> None:
        self._timestamps = [column.name for column in table.columns if column.type == TIMESTAMP]
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(_SPOOL_BYTES)  # noqa: SIM115 - closed by its reader
        weakref.finalize(self, self._file.close)  # a run that ends early reads no spool

    def add(self, entries: list[Record]) -> None:
        """Appends entries."""
        if entries:
            self._file.write(canonical_json(entries) + b"\n")

    def pages(self) -> Iterator[list[Record]]:
        """Yields the entries in parts, once."""
        self._file.seek(0)
        with self._file:
            for line in self._file:
                entries: list[Record] = parse_json(line)
                for entry in entries:
                    entry.update({name: to_utc(entry[name]) for name in self._timestamps if name in entry})
                yield entries


@dataclass
class _Block:
    """A stretch of the log that has been read.

    Attributes:
        end: Newest time that the block covers.
        entries: Entries up to `end`.
        known: Ids of the entries at the oldest time; further entries with that time may be missing.
        jump: How many times its own length the next request may go back.
        is_adjacent: Whether the block ends where the next newer one begins.
        is_complete: Whether nothing between the start and this block is left to read.
    """

    end: datetime
    entries: list[Record]
    known: frozenset[str]
    jump: int
    is_adjacent: bool
    is_complete: bool

    @property
    def oldest(self) -> datetime:
        return min((entry["log_time"] for entry in self.entries), default=self.end)

    @property
    def length(self) -> timedelta:
        return max((entry["log_time"] for entry in self.entries), default=self.end) - self.oldest


@dataclass
class LogReader:
    """Reads one connector's log.

    Blocks are stacked from the newest to the oldest one. Each request is placed by the density of the top block:
    directly before it if few pages are left, otherwise nearer to the start. A block that reaches the start is complete:
    it is passed on, and the start moves to its end. So the oldest window is complete first, and hardly a page is read
    twice: a log of 50 pages takes about 60 requests, and a run with 24 requests completes at least one window.

    Args:
        fetch: Requests the newest page, or the newest page before a time (or at it: both meanings work).
        append: Receives the entries of each complete block, the oldest block first.
        start: Time from which entries are read.
        end: Time up to which entries are read.
        watermark: Time of the newest stored entry, if `start` lies before it because of late entries.
        allowance: Requests that the run may make. With few of them, windows are smaller.
        lock: Held while a long log is read.

    Attributes:
        crowded: Times that more entries share than a page has; some of these entries cannot be read.
    """

    fetch: Callable[[datetime | None], LogPage]
    append: Callable[[list[Record]], None]
    start: datetime
    end: datetime
    watermark: datetime | None = None
    allowance: int = PAGE_LIMIT
    lock: AbstractContextManager[object] = field(default_factory=nullcontext)
    crowded: list[datetime] = field(default_factory=list)
    _tick: timedelta = _SECOND
    _page_size: int = 1
    _window_start: datetime = field(init=False)
    _window_entries: int = 0
    _page_length: timedelta = timedelta(0)
    """How long the previous window was, per page: the best guess for the next one."""

    def read(self) -> None:
        """Reads the log; a short one takes one request.

        Raises:
            UnexpectedError: The API does not page backwards.
        """
        newest = self._block(self.end, self._request(None), frozenset())
        if newest.is_complete:
            self._append(newest)
            return
        with self.lock:
            stack = [newest]
            self._window_start = self.start
            while stack:
                if stack[-1].is_complete:
                    self._complete(stack)
                else:
                    self._extend(stack)

    def _complete(self, stack: list[_Block]) -> None:
        """Passes the top block on, and moves the start to its end."""
        block = stack.pop()
        self._append(block)
        if block.is_adjacent:
            self.start = block.end
            stack[-1].is_complete = True
        else:
            self.start = shift(block.end, timedelta.resolution)
            # after a window without entries, the next one is eight times as long
            pages = max(self._window_entries / self._page_size, 1 / _JUMP_FACTOR)
            self._page_length = (self.start - self._window_start) / pages
            self._window_start, self._window_entries = self.start, 0
        if stack:
            stack[-1].jump = _JUMP_FACTOR

    def _append(self, block: _Block) -> None:
        entries = [entry for entry in block.entries if entry["log_time"] >= self.start]
        self._window_entries += len(entries)
        self.append(entries)

    def _extend(self, stack: list[_Block]) -> None:
        """Reads the next block: adjacent to the top one, or nearer to the start if many pages are left."""
        top = stack[-1]
        length = max(top.length, self._tick)
        left = top.oldest - self.start
        pages = max(min(self.allowance // 6, WINDOW_PAGES), 1)
        if left <= pages * length:
            stack.append(self._read(top.oldest, top.known, is_adjacent=True))
        elif self.watermark and self.start <= self.watermark:
            self._read_overlap(top, self.watermark)
        else:
            window = min(pages * max(length, self._page_length), left / 2)
            end = max(top.oldest - min(top.jump, left / length) * length, self.start + window)
            stack.append(self._read(end, jump=top.jump * _JUMP_FACTOR))

    def _read_overlap(self, top: _Block, watermark: datetime) -> None:
        """Reads late entries of a long log from the watermark back.

        The entries before the watermark are stored, so the start can move there after any number of pages. The number
        is limited: otherwise a run with a small allowance would spend all of it here, and the next run too.
        """
        is_adjacent = top.oldest <= watermark
        block = self._read(top.oldest, top.known) if is_adjacent else self._read(watermark)
        end = block.end
        self._append(block)
        for _ in range(1, self.allowance // 8):
            if block.is_complete:
                break
            block = self._read(block.oldest, block.known)
            self._append(block)
        self.start = end if is_adjacent else shift(end, timedelta.resolution)
        self._window_start, self._window_entries = self.start, 0
        top.is_complete = is_adjacent

    def _read(
        self, end: datetime, known: frozenset[str] = frozenset(), *, jump: int = _JUMP_FACTOR, is_adjacent: bool = False
    ) -> _Block:
        """Reads the newest entries up to a time, except known ones.

        The first request is for entries before the time and one tick of the API's clock, so entries that share the time
        are found whichever way `before` is meant. Only if the page has no new entry, the time itself is requested, and
        then the tick before it.
        """
        crowd = 0
        for step in (self._tick, timedelta(0), -self._tick):
            page = self._request(shift(end, step))
            block = self._block(end, page, known, jump, is_adjacent)
            if block.entries or len(page.entries) < MIN_FULL_PAGE:
                if crowd and (block.entries or crowd >= PAGE_LIMIT):
                    self.crowded.append(end)
                return block
            if all(entry["log_time"] == end for entry in page.entries):
                crowd = len(page.entries)
        raise UnexpectedError(f"Expected log entries before {end.isoformat()}, the same ones arrived again")

    def _request(self, before: datetime | None) -> LogPage:
        page = self.fetch(before)
        self._tick = min(self._tick, page.tick)
        self._page_size = max(self._page_size, len(page.entries))
        # a second is tolerated: the API may have a coarser clock than its texts
        if before and any(entry["log_time"] > shift(before, _SECOND) for entry in page.entries):
            raise UnexpectedError(f"Expected log entries before {before.isoformat()}, later ones arrived")
        return page

    def _block(
        self, end: datetime, page: LogPage, known: frozenset[str], jump: int = _JUMP_FACTOR, is_adjacent: bool = False
    ) -> _Block:
        new = {entry["id"]: entry for entry in page.entries if entry["log_time"] <= end and entry["id"] not in known}
        is_last = len(page.entries) < MIN_FULL_PAGE or any(entry["log_time"] < self.start for entry in page.entries)
        block = _Block(end, list(new.values()), frozenset(), jump, is_adjacent, is_last)
        at_oldest = {entry["id"] for entry in block.entries if entry["log_time"] == block.oldest}
        block.known = (known | at_oldest) if block.oldest == end else frozenset(at_oldest)
        return block
