"""Parallel requests: the listing of every team, and the tasks of the optional endpoints."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from datetime import datetime, timedelta, timezone
from itertools import islice
from typing import TypeVar

from ..exceptions import SupermetricsError, SupermetricsUnauthorizedError
from ..settings import Settings
from .budget import RequestBudget
from .client import SupermetricsClient
from .endpoints import EndpointFetcher, FetchResult, FetchTask, Watermarks
from .listing import Listing, list_connectors, read_listing
from .validation import ColumnNames

logger = logging.getLogger(__name__)

BATCH_BYTES = 4 * 2**20
"""Bytes of the responses in a batch. Together with the number of workers, this bounds the memory."""
_POLL_SECONDS = 0.5

TItem = TypeVar("TItem")
TResult = TypeVar("TResult")

OnProgress = Callable[[int, str | None], None]
"""Receives how many teams are done since the last call, and the reason if nothing moves."""


class Fetcher:
    """Makes the requests of a run in parallel.

    Args:
        settings: The settings. With `on_team_error="skip"` a failing team becomes a listing with its error. A 401 ends
            everything in any case: each team would fail by it.
        column_name: dlt's naming convention, for fields that the API has added.
    """

    def __init__(self, settings: Settings, column_name: Callable[[str], str]) -> None:
        self._settings = settings
        self._column_names = ColumnNames(column_name)
        self._client = SupermetricsClient(settings)
        self._reading = threading.Lock()
        self._pool = ThreadPoolExecutor(settings.workers, thread_name_prefix="supermetrics")

    @property
    def budget(self) -> RequestBudget:
        """The requests that are left of the rate limit."""
        return self._client.budget

    def close(self) -> None:
        """Drops tasks that have not begun and closes the connections, so that a stopped run ends at once."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    def batches(self, on_progress: OnProgress) -> Iterator[list[Listing]]:
        """Yields every team's listing once, in order of arrival, in batches that make one Arrow table each.

        Raises:
            SupermetricsError: A team failed. Requests that have not begun are dropped.
        """
        batch: list[Listing] = []
        size = 0
        for listing in self.listings(on_progress):
            batch.append(listing)
            size += listing.size
            if size >= BATCH_BYTES:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch

    def listings(self, on_progress: OnProgress) -> Iterator[Listing]:
        """Yields the listings one by one; otherwise as `batches`."""
        for listing in self._each(self._list, self._settings.team_ids, on_progress):
            _warn_about(listing)
            yield listing

    def results(
        self, tasks: Iterable[FetchTask], watermarks: Watermarks, on_progress: OnProgress
    ) -> Iterator[FetchResult]:
        """Executes tasks as far as the rate limit allows; yields their results in order of arrival.

        Args:
            tasks: The tasks, the most urgent first.
            watermarks: Where logs are continued.
            on_progress: Receives the reason if nothing moves.

        Raises:
            SupermetricsUnauthorizedError: The API does not accept the key any more.
        """
        fetcher = EndpointFetcher(self._client, self._settings, self._column_names, watermarks)
        yield from self._each(fetcher, tasks, lambda _done, message: on_progress(0, message))

    def _each(
        self, execute: Callable[[TItem], TResult], items: Iterable[TItem], on_progress: OnProgress
    ) -> Iterator[TResult]:
        waiting = iter(items)
        running = {self._pool.submit(execute, item) for item in islice(waiting, self._settings.workers)}
        while running:
            done, running = wait(running, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
            on_progress(len(done), self._pause_reason())
            for future in done:
                running.update(self._pool.submit(execute, item) for item in islice(waiting, 1))
                yield future.result()

    def _pause_reason(self) -> str | None:
        if (seconds := self._client.pause.remaining) <= 0:
            return None
        until = datetime.now().astimezone() + timedelta(seconds=seconds)
        return f"rate limited, continues at {until:%H:%M:%S}"

    def _list(self, team_id: int) -> Listing:
        started_at, clock = datetime.now(timezone.utc), time.perf_counter()
        failure: SupermetricsError
        try:
            response = list_connectors(self._client, team_id, self._settings.include_configs)
            duration_ms = _milliseconds_since(clock)
            with self._reading:  # several threads that parse at the same time would only contend for the GIL
                return read_listing(
                    team_id,
                    response,
                    started_at=started_at,
                    duration_ms=duration_ms,
                    include_configs=self._settings.include_configs,
                    column_names=self._column_names,
                    redact_secrets=self._settings.redact_secrets,
                )
        except SupermetricsError as error:
            failure = error
        except MemoryError:
            failure = self._client.out_of_memory(team_id)
        self._client.disconnect()
        if self._settings.on_team_error == "raise" or isinstance(failure, SupermetricsUnauthorizedError):
            raise failure
        return Listing.failed(failure, started_at, _milliseconds_since(clock))


def _warn_about(listing: Listing) -> None:
    """Logs a listing that is not complete, as `team_syncs` will show it."""
    if listing.error:
        logger.warning("Team skipped, its stored rows stay as they are: %s", listing.error)
    elif listing.duplicates:
        logger.warning(
            "The API lists connector %s of team %s more than once, so no connector is removed (request_id=%s)",
            *(", ".join(map(repr, listing.duplicates[:3])), listing.team_id, listing.request_id),
        )
    elif not listing.complete:
        logger.warning(
            "The API reports %s connectors of team %s but lists %s, so no connector is removed (request_id=%s)",
            *(listing.reported, listing.team_id, listing.received, listing.request_id),
        )


def _milliseconds_since(clock: float) -> int:
    return round((time.perf_counter() - clock) * 1000)
