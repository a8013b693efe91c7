"""The part of the hourly rate limit that optional requests may use: a share is reserved for listings."""

import threading

DEFAULT_LIMIT = 5000
"""Requests an hour, where a response says how many are left but not of how many."""


class RequestBudgetExhaustedError(Exception):
    """No further optional request may be made in this run."""


class RequestBudget:
    """Watches `X-RateLimit-Remaining`. Where the API does not send it, nothing is held back.

    Args:
        listing_share: The share of the limit that is reserved for listings, 0 … 1.
        workers: Requests in flight: their responses may arrive in another order than they were counted in.
    """

    def __init__(self, listing_share: float, workers: int) -> None:
        self._listing_share = listing_share
        self._workers = workers
        self._lock = threading.Lock()
        self._stop_reason = ""
        self.limit = DEFAULT_LIMIT
        self.remaining: int | None = None

    @property
    def reserved(self) -> int:
        """Requests an hour that are reserved for listings."""
        return round(self._listing_share * self.limit)

    @property
    def available(self) -> int | None:
        """Optional requests that may still be made in this hour; None while that is unknown."""
        return None if self.remaining is None else max(self.remaining - self.reserved, 0)

    @property
    def reason(self) -> str:
        """Why no further optional request may be made; "" if one may."""
        if self._stop_reason or self.available != 0:
            return self._stop_reason
        left = f"{self.remaining} of {self.limit} requests are left in this hour"
        return f"{left} and {self.reserved} are reserved for listings"

    def update(self, limit: int | None, remaining: int | None) -> None:
        """Takes over what a response says about the limit."""
        with self._lock:
            self.limit = limit or self.limit
            if remaining is None:
                return
            is_late = self.remaining is not None and self.remaining < remaining <= self.remaining + self._workers
            self.remaining = self.remaining if is_late else remaining

    def stop(self, reason: str) -> None:
        """Stops optional requests for another reason than the limit; the first reason stays."""
        self._stop_reason = self._stop_reason or reason

    def reserve(self) -> None:
        """Counts an optional request that is about to be made; later responses correct the number.

        Raises:
            RequestBudgetExhaustedError: The request may not be made.
        """
        with self._lock:
            if reason := self.reason:
                raise RequestBudgetExhaustedError(reason)
            if self.remaining is not None:
                self.remaining -= 1
