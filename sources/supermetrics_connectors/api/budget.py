"""What of the hourly rate limit may be spent on other requests than listings: a share of it is kept for those."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

DEFAULT_LIMIT = 5000
"""Requests an hour, where an answer tells how many are left but not of how many."""


class BudgetReachedError(Exception):
    """What is left of the rate limit is kept for listings, or was used up by another program with the same key."""


class Budget:
    """Watches `X-RateLimit-Remaining`. Where the API does not send it, nothing is held back.

    Args:
        reserve: The share of the limit that is kept for listings, 0 … 1.
        workers: Requests in flight: their answers may arrive in another order than they were counted in.
    """

    def __init__(self, reserve: float, workers: int) -> None:
        self._reserve = reserve
        self._workers = workers
        self._lock = threading.Lock()
        self._in_flight = 0
        self._closed = ""
        self.limit = DEFAULT_LIMIT
        self.remaining: int | None = None

    @property
    def kept(self) -> int:
        """Requests an hour that are kept for listings."""
        return round(self._reserve * self.limit)

    @property
    def reason(self) -> str:
        """Why nothing more is to be asked for, in words; "" while there is no reason."""
        if self._closed or self.remaining is None or self.remaining - self._in_flight > self.kept:
            return self._closed
        return f"{self.remaining} of {self.limit} requests are left of this hour and {self.kept} are kept for listings"

    def note(self, limit: int | None, remaining: int | None) -> None:
        """Takes in what an answer says of the limit."""
        with self._lock:
            self.limit = limit or self.limit
            if remaining is None:
                return
            is_late = self.remaining is not None and self.remaining < remaining <= self.remaining + self._workers
            self.remaining = self.remaining if is_late else remaining

    def end(self, reason: str) -> None:
        """Has nothing more asked for, for another reason."""
        self._closed = self._closed or reason

    @contextmanager
    def one(self) -> Iterator[None]:
        """Around one request.

        Raises:
            BudgetReachedError: It is not to be made.
        """
        with self._lock:
            if reason := self.reason:
                raise BudgetReachedError(reason)
            self._in_flight += 1
        try:
            yield
        finally:
            with self._lock:
                self._in_flight -= 1
