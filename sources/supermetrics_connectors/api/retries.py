"""Repetition of requests: a failure that may pass is retried, and a rate limit is waited out by all requests."""

import logging
import re
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from dlt.common.exceptions import TransientException
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from ..settings import Settings

logger = logging.getLogger(__name__)

MAX_RETRY_AFTER = 366 * 86_400.0
"""Seconds. A server that asks for more is understood as asking for this: the calendar ends some time later."""

TResponse = TypeVar("TResponse")


class Pause:
    """A pause of all requests: the rate limit belongs to the token, not to one request."""

    def __init__(self) -> None:
        self._until = 0.0
        self._lock = threading.Lock()
        self._cancelled = threading.Event()

    def hold(self, seconds: float) -> None:
        """Pauses all requests for at least this long from now."""
        with self._lock:
            self._until = max(self._until, time.monotonic() + seconds)

    @property
    def remaining(self) -> float:
        """Seconds until the pause ends; 0 without one."""
        return max(0.0, self._until - time.monotonic())

    def wait(self) -> None:
        """Blocks until the pause is over. Returns at once after `cancel`."""
        while (seconds := self.remaining) > 0 and not self._cancelled.wait(seconds):
            pass

    def sleep(self, seconds: float) -> None:
        """Sleeps before a retry that concerns no other request."""
        self._cancelled.wait(seconds)

    def cancel(self) -> None:
        """Ends every wait: the run is over."""
        self._cancelled.set()

    @property
    def cancelled(self) -> bool:
        """Whether the run is over."""
        return self._cancelled.is_set()


class Retries:
    """Repeats requests as the settings say.

    The first delay is drawn from 0 … `request_backoff_factor` seconds; the range doubles with each attempt (full
    jitter), up to `request_max_retry_delay`. A Retry-After longer than `max_retry_wait` is not waited out.
    """

    def __init__(self, settings: Settings, pause: Pause) -> None:
        self._settings = settings
        self._pause = pause
        longest = settings.request_max_retry_delay
        self._jitter = wait_random_exponential(multiplier=settings.request_backoff_factor, max=longest)

    def __call__(self, request: Callable[..., TResponse], *arguments: Any) -> TResponse:
        """Returns the response, or raises the error of the last attempt."""
        retrying = Retrying(
            stop=stop_after_attempt(self._settings.request_max_attempts),
            retry=retry_if_exception(self._is_retryable),
            wait=self._delay,
            sleep=self._pause.sleep,
            reraise=True,
        )
        return retrying(request, *arguments)

    def _is_retryable(self, error: BaseException) -> bool:
        if self._pause.cancelled or not isinstance(error, TransientException):
            return False
        retry_after = getattr(error, "retry_after", None)
        return retry_after is None or retry_after <= self._settings.max_retry_wait

    def _delay(self, attempt: RetryCallState) -> float:
        """Returns the seconds to sleep before the next attempt. A Retry-After pauses all requests instead."""
        error = attempt.outcome.exception() if attempt.outcome else None
        retry_after: float | None = getattr(error, "retry_after", None)
        delay = self._jitter(attempt) if retry_after is None else retry_after
        number, of = attempt.attempt_number, self._settings.request_max_attempts
        logger.info("Attempt %s of %s failed, next one in %.1f s: %s", number, of, delay, error)
        if retry_after is None:
            return delay
        self._pause.hold(delay)
        return 0.0


def read_retry_after(value: str | None) -> float | None:
    """Reads `Retry-After`; None when it is absent or unreadable.

    Of several headers, which requests joins with commas, the longest wait counts. A date stays readable without the
    part before its first comma.

    Returns:
        Seconds, at most `MAX_RETRY_AFTER`.
    """
    waits = [_seconds(part.strip()) for part in (value or "").split(",")]
    longest = max((wait for wait in waits if wait is not None), default=None)
    return None if longest is None else min(longest, MAX_RETRY_AFTER)


def _seconds(value: str) -> float | None:
    """Reads a number of seconds or an HTTP date; None for any other text."""
    if re.fullmatch(r"[0-9]{1,9}", value):
        return float(value)
    try:
        at = parsedate_to_datetime(value)
        at = at if at.tzinfo else at.replace(tzinfo=timezone.utc)
        return max(0.0, round((at - datetime.now(timezone.utc)).total_seconds(), 3))
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
