"""What is asked for besides the listings: what a team is called, what a connector did, which secrets it has.

One request a wish, or a page of logs; as long as the rate limit allows it. What one connector answers is that
connector's matter: an error is noted, and the others go on.
"""

import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import IO, Literal

from dlt.common.exceptions import TransientException

from ..documents.json_text import canonical_json, parse_json
from ..exceptions import (
    SupermetricsContractError,
    SupermetricsError,
    SupermetricsRateLimitError,
    SupermetricsUnauthorizedError,
)
from ..settings import Settings
from .budget import BudgetReachedError
from .checks import Record, UnexpectedError, parse_timestamp
from .client import Answer, SupermetricsClient
from .logs import Backwards, Page, ask_logs, read_logs
from .secrets import ask_secrets, read_secrets
from .teams import ask_team, read_team

Endpoint = Literal["team", "secrets", "logs"]
Floors = Mapping[tuple[int, str], datetime]
"""The time of the newest stored log entry, by team and connector."""

OVERLAP = timedelta(hours=1)
"""How late an entry may arrive in the log: so much of what is stored is asked for again."""
AHEAD = OVERLAP / 4
"""How far the API's clock may be ahead. An entry beyond waits for a later run: as the newest it would hide others."""
_SPOOL_BYTES = 2**20
"""Entries of a connector, in bytes, that are kept in memory until the last of its pages is there; more go to a file."""
LONG = 8
"""Pages of a log read backwards at a stretch. Of a longer one the rest is read from its beginning in such parts.

What has no gap before it can be written, so that a run that is ended by the rate limit has got on.
"""
_SHORTEST = timedelta(minutes=1)
"""A part of a log that is not divided further."""
_FAILURES_IN_A_ROW = 5


@dataclass(frozen=True)
class Wish:
    """Something to ask for.

    Attributes:
        endpoint: What.
        team_id: Whose.
        connector_identifier: Of which connector; "" for the team itself.
    """

    endpoint: Endpoint
    team_id: int
    connector_identifier: str = ""

    @property
    def key(self) -> Record:
        """The columns that say whose something is."""
        return {"team_id": self.team_id, "connector_identifier": self.connector_identifier}


@dataclass
class Fetched:
    """What was answered to a wish.

    Attributes:
        wish: The wish.
        fetched_at: When it was asked for, UTC.
        status: `ok`; `incomplete` where there is more than was answered; `failed` with an error; `interrupted` where
            the rate limit was reached before all pages were there; `postponed` where nothing was asked.
        records: What was answered, but for logs.
        entries: What was answered of a log, as far as no older entry is missing; it may be written whatever the status.
        error: What went wrong.
        note: What else is to be said.
        request_id: The API's request id of the last request.
        http_status: HTTP status of the last request.
    """

    wish: Wish
    fetched_at: datetime
    status: Literal["ok", "incomplete", "failed", "interrupted", "postponed"] = "ok"
    records: list[Record] = field(default_factory=list)
    entries: "Spool | None" = None
    error: SupermetricsError | None = None
    note: str | None = None
    request_id: str | None = None
    http_status: int | None = None


def floor(asked_at: datetime, since: timedelta, newest: datetime | None) -> datetime:
    """The oldest time of which log entries are wanted.

    Args:
        asked_at: When they are asked for.
        since: How far back they are wanted at most.
        newest: The time of the newest stored one; None if none is stored.
    """
    return asked_at - since if newest is None else max(asked_at - since, newest - OVERLAP)


class Spool:
    """Entries of a log on their way: few in memory, many in a file without a name.

    They are kept until all older ones are there. Written before that, the newest entry would say that these are stored
    too, and a run that ended between two pages would leave a gap for ever.
    """

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(_SPOOL_BYTES)  # noqa: SIM115 - closed when it has been read

    def add(self, entries: list[Record]) -> None:
        """Keeps the entries of a page."""
        if entries:
            self._file.write(canonical_json(entries) + b"\n")

    def move_to(self, other: "Spool", after: datetime | None) -> None:
        """Gives another one all entries, or those that are newer than a moment, and forgets them."""
        if after is None:  # as they are: most logs are short, and need not be read and written once more
            self._file.seek(0)
            shutil.copyfileobj(self._file, other._file)
            return
        for entries in self.pages():
            other.add([entry for entry in entries if entry["log_time"] > after])

    def pages(self) -> Iterator[list[Record]]:
        """Yields them page by page, once."""
        self._file.seek(0)
        with self._file:
            for line in self._file:
                entries: list[Record] = parse_json(line)
                for entry in entries:
                    entry["log_time"] = parse_timestamp(entry["log_time"])
                yield entries

    def close(self) -> None:
        """Forgets them."""
        self._file.close()


class Asking:
    """Asks for one wish after the other; safe to use from several threads."""

    def __init__(
        self, client: SupermetricsClient, settings: Settings, column_name: Callable[[str], str], newest: Floors
    ) -> None:
        self._client = client
        self._settings = settings
        self._column_name = column_name
        self._newest = newest
        self._lock = threading.Lock()
        self._one_long_log = threading.RLock()
        self._failures = 0

    def __call__(self, wish: Wish) -> Fetched:
        """Asks.

        Raises:
            SupermetricsUnauthorizedError: The key is not accepted any more: nothing would be answered.
        """
        found = Fetched(wish, datetime.now(timezone.utc))
        if reason := self._client.budget.reason:
            return Fetched(wish, found.fetched_at, "postponed", note=reason)
        try:
            getattr(self, f"_{wish.endpoint}")(found)
        except SupermetricsUnauthorizedError:
            raise
        except BudgetReachedError as reached:
            _break_off(found, str(reached))
        except SupermetricsRateLimitError as error:
            self._client.budget.end(str(error))
            _break_off(found, str(error))
        except UnexpectedError as unexpected:
            http_status, request_id = found.http_status, found.request_id
            said = str(unexpected)
            _fail(
                found,
                SupermetricsContractError(said, team_id=wish.team_id, status_code=http_status, request_id=request_id),
            )
        except SupermetricsError as error:
            _fail(found, error)
        self._count(found)
        return found

    def _count(self, found: Fetched) -> None:
        """Ends it all when the API itself seems to be gone."""
        error: BaseException | None = found.error
        with self._lock:
            self._failures = self._failures + 1 if isinstance(error, TransientException) else 0
            if self._failures >= _FAILURES_IN_A_ROW:
                self._client.budget.end(f"the API failed {self._failures} times in a row, at last: {found.error}")

    def _team(self, found: Fetched) -> None:
        answer = self._answer(found, lambda: ask_team(self._client, found.wish.team_id))
        found.records = [read_team(found.wish.team_id, answer, self._column_name)]

    def _secrets(self, found: Fetched) -> None:
        wish = found.wish
        answer = self._answer(found, lambda: ask_secrets(self._client, wish.team_id, wish.connector_identifier))
        secrets = read_secrets(answer)
        found.records = [wish.key | record for record in secrets.records.values()]
        if not secrets.complete:
            found.status, found.note = "incomplete", "The API counts another number of secrets than it lists."

    def _logs(self, found: Fetched) -> None:
        found.entries = Spool()
        self._read_log(found, found.entries, self._floor(found), found.fetched_at + AHEAD, is_newest=True)

    def _read_log(self, found: Fetched, kept: Spool, start: datetime, end: datetime, *, is_newest: bool = False) -> int:
        """Reads a part of a log, of a long one the newest pages and then the rest; returns how many, `LONG` at most."""
        paging = Backwards(lambda before: self._page(found, before), start, end, from_ceiling=not is_newest)
        with closing(Spool()) as newest:
            pages, oldest = self._read_pages(found, paging, newest)
            if oldest:
                with self._one_long_log:
                    self._read_rest(found, kept, start, oldest, max(end - oldest, _SHORTEST))
            newest.move_to(kept, oldest)
        if paging.crowded:
            times = ", ".join(moment.isoformat() for moment in paging.crowded[:3])
            found.status = "incomplete"
            found.note = f"More entries share one time than the API can be asked for; some may be missing at {times}."
        return pages

    def _read_rest(self, found: Fetched, kept: Spool, start: datetime, end: datetime, step: timedelta) -> None:
        """Reads a part of a log from its beginning, in steps of so few pages as can be lost."""
        while start <= end:
            until = min(start + step, end)
            pages = self._read_log(found, kept, start, until)
            start = until + timedelta.resolution
            if pages <= LONG // 2:
                step *= 2
            elif pages >= LONG:
                step = max(step / 2, _SHORTEST)

    def _read_pages(self, found: Fetched, paging: Backwards, spool: Spool) -> tuple[int, datetime | None]:
        """Reads all pages, or of a long log the first ones; tells how many, and the time of the oldest entry then."""
        pages, oldest = 0, paging.ceiling
        for pages, entries in enumerate(paging, 1):
            spool.add([found.wish.key | entry for entry in entries])
            times: list[datetime] = [entry["log_time"] for entry in entries]
            oldest = min([oldest, *times])
            if pages >= LONG and oldest - paging.floor > _SHORTEST:
                return pages, oldest
        return pages, None

    def _floor(self, found: Fetched) -> datetime:
        newest = self._newest.get((found.wish.team_id, found.wish.connector_identifier))
        return floor(found.fetched_at, self._settings.logs_since, newest)

    def _page(self, found: Fetched, before: datetime | None) -> Page:
        wish = found.wish
        answer = self._answer(found, lambda: ask_logs(self._client, wish.team_id, wish.connector_identifier, before))
        return read_logs(answer, self._column_name, self._settings.redact_secrets)

    def _answer(self, found: Fetched, ask: Callable[[], Answer]) -> Answer:
        with self._client.budget.one():
            answer = ask()
        found.http_status, found.request_id = answer.status_code, answer.request_id
        return answer


def _break_off(found: Fetched, reason: str) -> None:
    found.status, found.note = "interrupted" if found.http_status else "postponed", reason


def _fail(found: Fetched, error: SupermetricsError) -> None:
    found.status, found.error = "failed", error
    found.http_status, found.request_id = error.status_code, error.request_id
