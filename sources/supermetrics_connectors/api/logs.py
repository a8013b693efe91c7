"""`…/connectors/{connector_identifier}/logs`: what a connector did, newest first, paged backwards by time.

Whether `before` is strict is not documented, nor that a page shorter than asked for is the last one, nor that entries
come in the order of their times. None of that is relied on, see `Backwards`.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

from .checks import (
    Record,
    UnexpectedError,
    check_depth,
    check_integers,
    check_texts,
    checked_object,
    checked_text,
    kind_of,
    name_columns,
    read_timestamps,
    refuse_nul,
)
from .client import Answer, SupermetricsClient
from .secrets import connector_path

FIELDS = frozenset({"id", "log_time", "status", "event", "request", "duration_ms", "request_id"})
PAGE = 1000
"""Entries asked for at once, the most that the API gives."""
_SECOND = timedelta(seconds=1)
_END = datetime.max.replace(tzinfo=timezone.utc)
_FRACTION = re.compile(r"[.,](\d+)")


@dataclass(frozen=True)
class Page:
    """Some entries, as they were answered.

    Attributes:
        entries: With `id` and `log_time`, an instant in UTC.
        tick: The last digit in which their times are written.
    """

    entries: list[Record]
    tick: timedelta = _SECOND


def ask_logs(client: SupermetricsClient, team_id: int, connector_identifier: str, before: datetime | None) -> Answer:
    """Asks for the latest entries of a connector, or the latest before a moment.

    Raises:
        SupermetricsError: As its subclass for what went wrong.
    """
    params = {"limit": str(PAGE), **({"before": before.isoformat()} if before else {})}
    return client.get(team_id, f"{connector_path(team_id, connector_identifier)}/logs", params)


def read_logs(answer: Answer, column_name: Callable[[str], str], redact_secrets: bool) -> Page:
    """Checks an answer.

    Raises:
        UnexpectedError: It is not what the documentation says.
    """
    listed = checked_object(answer.payload, "the answer").get("logs")
    if not isinstance(listed, list):
        raise UnexpectedError(f"Expected a list in `logs`, {kind_of(listed)} arrived")
    if answer.may_have_nul:
        refuse_nul(listed, "logs")
    read = [_read(each, f"logs[{index}]") for index, each in enumerate(listed)]
    entries = [entry for entry, _ in read]
    if redact_secrets:
        for entry in entries:
            _redact(entry)
    name_columns(entries, FIELDS, column_name)
    return Page(entries, min((tick for _, tick in read), default=_SECOND))


def _read(value: object, where: str) -> tuple[Record, timedelta]:
    entry = checked_object(value, where)
    checked_text(entry, "id", where)
    time = checked_text(entry, "log_time", where)
    check_texts(entry, ("event", "request", "request_id"), where)
    check_integers(entry, ("status", "duration_ms"), where)
    read_timestamps(entry, ("log_time",), where)
    check_depth(entry, where)
    fraction = _FRACTION.search(time)
    return entry, timedelta(microseconds=10 ** (6 - min(len(fraction[1]), 6))) if fraction else _SECOND


def _redact(entry: Record) -> None:
    """Replaces what is secret in the text of a request, and whatever else somebody may have written."""
    from ..documents.redaction import redact  # noqa: PLC0415 - its patterns take 0.05 s to compile

    texts = {name: value for name, value in entry.items() if name not in ("id", "log_time", "request_id")}
    if redact(texts):
        entry.update(texts)


@dataclass
class Backwards:
    """The pages of a connector's log from the newest entry back, each entry once.

    Args:
        ask: Answers the latest entries, or the latest before a moment (or at it: either will do).
        floor: Entries older than this are not wanted.
        ceiling: Nor are those newer than this.
        limit: Entries that a page may have.
        from_ceiling: Whether to begin there, and not at the newest entry.

    Attributes:
        crowded: Moments that so many entries share that there may be more than the API can be asked for.
    """

    ask: Callable[[datetime | None], Page]
    floor: datetime
    ceiling: datetime = _END
    limit: int = PAGE
    from_ceiling: bool = False
    crowded: list[datetime] = field(default_factory=list)

    def __iter__(self) -> Iterator[list[Record]]:
        """Yields what is new of each page.

        Next is asked for what is before the oldest entry and one tick of the API's clock: so entries that share its
        time come once more, whichever way `before` is meant, and are known by their ids. Only where a page brings
        nothing but those, that time itself is asked for, and then the tick before. Nothing is left when a page is
        empty, or brings only known entries though it has had room for more.

        Raises:
            UnexpectedError: The API does not page backwards.
        """
        before = self.ceiling + _SECOND if self.from_ceiling else None
        oldest = _END
        known: dict[str, datetime] = {}  # those that may come again
        steps: Iterator[timedelta] = iter(())
        tick, largest, is_crowded = _SECOND, 0, False
        while entries := (page := self.ask(before)).entries:
            _refuse_later(entries, before)
            new = {entry["id"]: entry for entry in entries if entry["id"] not in known}
            tick, largest = min(tick, page.tick), max(largest, len(entries))
            if new:
                if is_crowded:
                    self.crowded.append(oldest)
                yield [entry for entry in new.values() if self.floor <= entry["log_time"] <= self.ceiling]
                oldest = min(oldest, *(entry["log_time"] for entry in new.values()))
                if oldest < self.floor:
                    return
                steps = iter((tick, timedelta(0), -tick))
            elif len(entries) < largest:
                return
            is_crowded = not new and all(entry["log_time"] == oldest for entry in entries)
            before = oldest + _next(steps, oldest)
            times = known | {id_: entry["log_time"] for id_, entry in new.items()}
            known = {id_: time for id_, time in times.items() if time <= before + _SECOND}
        if is_crowded and largest >= self.limit:
            self.crowded.append(oldest)


def _next(steps: Iterator[timedelta], oldest: datetime) -> timedelta:
    step = next(steps, None)
    if step is None:
        raise UnexpectedError(f"Expected log entries before {oldest.isoformat()}, the same ones arrived again")
    return step


def _refuse_later(entries: list[Record], before: datetime | None) -> None:
    """A second is forgiven: the API may have a coarser clock than its texts."""
    if before and any(entry["log_time"] > before + _SECOND for entry in entries):
        raise UnexpectedError(f"Expected log entries before {before.isoformat()}, later ones arrived")
