"""Many teams at once: every team's listing, in batches large enough to make one Arrow table each."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from datetime import datetime, timedelta, timezone
from itertools import islice
from typing import TypeVar

from ..exceptions import SupermetricsAnswerTooLargeError, SupermetricsError, SupermetricsUnauthorizedError
from ..settings import Settings
from .budget import Budget
from .client import SupermetricsClient
from .listing import Listing, list_connectors, read_listing
from .neighbours import Asking, Fetched, Floors, Wish

logger = logging.getLogger(__name__)

BATCH_BYTES = 4 * 2**20
"""Bodies of a batch altogether, in bytes. What bounds the memory, with the number of workers."""
_POLL_SECONDS = 0.5

TItem = TypeVar("TItem")
TFound = TypeVar("TFound")

OnProgress = Callable[[int, str | None], None]
"""Told how many teams are done since the last call, and in words why nothing moves, if so."""


class Fetcher:
    """Fetches the teams of the settings in parallel.

    Args:
        settings: Which teams, how many at once, and whether a failing team becomes a listing with its error instead of
            ending everything. A 401 ends everything in any case: each team would answer so.
        column_name: dlt's naming convention, to check the names of fields that the API has added.
    """

    def __init__(self, settings: Settings, column_name: Callable[[str], str]) -> None:
        self._settings = settings
        self._column_name = column_name
        self._client = SupermetricsClient(settings)
        self._reading = threading.Lock()
        self._pool = ThreadPoolExecutor(settings.workers, thread_name_prefix="supermetrics")

    @property
    def budget(self) -> Budget:
        """What is left of the rate limit."""
        return self._client.budget

    def close(self) -> None:
        """Drops what has not begun and closes the connections: who stops a run does not want to wait for answers."""
        self._client.pause.cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    def batches(self, on_progress: OnProgress) -> Iterator[list[Listing]]:
        """Yields every team's listing once, in the order in which they arrive.

        Raises:
            SupermetricsError: A team failed. Requests not yet begun are dropped.
        """
        batch: list[Listing] = []
        size = 0
        for listing in self.listings(on_progress):
            _warn_of(listing)
            batch.append(listing)
            size += listing.size
            if size >= BATCH_BYTES:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch

    def listings(self, on_progress: OnProgress) -> Iterator[Listing]:
        """Yields the listings one by one; otherwise as `batches`."""
        yield from self._each(self._fetch, self._settings.team_ids, on_progress)

    def neighbours(self, wishes: Iterable[Wish], floors: Floors, on_progress: OnProgress) -> Iterator[Fetched]:
        """Yields what was answered to each wish, in the order in which it arrives, while the rate limit allows it.

        Args:
            wishes: What to ask for, the most urgent first.
            floors: How far back the logs of a connector are asked for.
            on_progress: Told why nothing moves.

        Raises:
            SupermetricsUnauthorizedError: The key is not accepted any more.
        """
        asking = Asking(self._client, self._settings, self._column_name, floors)
        yield from self._each(asking, wishes, lambda _done, message: on_progress(0, message))

    def _each(
        self, ask: Callable[[TItem], TFound], items: Iterable[TItem], on_progress: OnProgress
    ) -> Iterator[TFound]:
        waiting = iter(items)
        running = {self._pool.submit(ask, item) for item in islice(waiting, self._settings.workers)}
        while running:
            done, running = wait(running, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
            on_progress(len(done), self._why_waiting())
            for future in done:
                running.update(self._pool.submit(ask, item) for item in islice(waiting, 1))
                yield future.result()

    def _why_waiting(self) -> str | None:
        if (seconds := self._client.pause.remaining) <= 0:
            return None
        until = datetime.now().astimezone() + timedelta(seconds=seconds)
        return f"rate limited, going on at {until:%H:%M:%S}"

    def _fetch(self, team_id: int) -> Listing:
        started_at, clock = datetime.now(timezone.utc), time.perf_counter()
        failure: SupermetricsError
        try:
            answer = list_connectors(self._client, team_id, self._settings.include_configs)
            duration_ms = _milliseconds_since(clock)
            with self._reading:  # as many at once would take Python's lock from each other thousands of times
                return read_listing(
                    team_id,
                    answer,
                    started_at=started_at,
                    duration_ms=duration_ms,
                    include_configs=self._settings.include_configs,
                    column_name=self._column_name,
                    redact_secrets=self._settings.redact_secrets,
                )
        except SupermetricsError as error:
            failure = error
        except MemoryError:
            failure = SupermetricsAnswerTooLargeError(
                f"Memory ran out over an answer, of which there may be {self._settings.workers} at once: "
                "lower workers, or give the process more",
                team_id=team_id,
            )
        self._client.disconnect()
        if self._settings.on_team_error == "raise" or isinstance(failure, SupermetricsUnauthorizedError):
            raise failure
        return Listing.failed(failure, started_at, _milliseconds_since(clock))


def _warn_of(listing: Listing) -> None:
    """Tells what `team_syncs` will show, to whoever watches the run."""
    if listing.error:
        logger.warning("Team skipped, it keeps what it had: %s", listing.error)
    elif not listing.complete:
        logger.warning(
            "The API reports %s connectors of team %s but lists %s, so none is removed (request_id=%s)",
            *(listing.reported, listing.team_id, listing.received, listing.request_id),
        )


def _milliseconds_since(clock: float) -> int:
    return round((time.perf_counter() - clock) * 1000)
