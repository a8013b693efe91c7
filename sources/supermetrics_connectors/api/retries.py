"""When a request is made again: what may pass is waited out, by everyone where the rate limit says so."""

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

TAnswer = TypeVar("TAnswer")


class Pause:
    """The rate limit belongs to the token: when one request is told to wait, all of them wait here."""

    def __init__(self) -> None:
        self._until = 0.0
        self._lock = threading.Lock()
        self._cancelled = threading.Event()

    def hold(self, seconds: float) -> None:
        """Makes everyone wait for at least this long from now."""
        with self._lock:
            self._until = max(self._until, time.monotonic() + seconds)

    @property
    def remaining(self) -> float:
        """Seconds still to wait; 0 when nothing holds."""
        return max(0.0, self._until - time.monotonic())

    def wait(self) -> None:
        """Blocks until the pause is over. Returns at once after `cancel`."""
        while (seconds := self.remaining) > 0 and not self._cancelled.wait(seconds):
            pass

    def sleep(self, seconds: float) -> None:
        """Sleeps alone, for a retry that concerns nobody else."""
        self._cancelled.wait(seconds)

    def cancel(self) -> None:
        """Wakes everyone: the run is over."""
        self._cancelled.set()

    @property
    def cancelled(self) -> bool:
        """Whether the run is over."""
        return self._cancelled.is_set()


class Retries:
    """Makes requests again as the settings say.

    The first delay is drawn from 0 … `request_backoff_factor` seconds; the range doubles with each attempt (full
    jitter), up to `request_max_retry_delay`. A Retry-After longer than `max_retry_wait` is not waited out.
    """

    def __init__(self, settings: Settings, pause: Pause) -> None:
        self._settings = settings
        self._pause = pause
        longest = settings.request_max_retry_delay
        self._jitter = wait_random_exponential(multiplier=settings.request_backoff_factor, max=longest)

    def __call__(self, request: Callable[..., TAnswer], *arguments: Any) -> TAnswer:
        """Returns the answer, or raises the error of the last attempt."""
        retrying = Retrying(
            stop=stop_after_attempt(self._settings.request_max_attempts),
            retry=retry_if_exception(self._worth_retrying),
            wait=self._delay,
            sleep=self._pause.sleep,
            reraise=True,
        )
        return retrying(request, *arguments)

    def _worth_retrying(self, error: BaseException) -> bool:
        if self._pause.cancelled or not isinstance(error, TransientException):
            return False
        retry_after = getattr(error, "retry_after", None)
        return retry_after is None or retry_after <= self._settings.max_retry_wait

    def _delay(self, attempt: RetryCallState) -> float:
        """Seconds to sleep before the next attempt. A Retry-After is waited out by everyone, in the shared pause."""
        error = attempt.outcome.exception() if attempt.outcome else None
        retry_after: float | None = getattr(error, "retry_after", None)
        delay = self._jitter(attempt) if retry_after is None else retry_after
        number, of = attempt.attempt_number, self._settings.request_max_attempts
        logger.info("Attempt %s of %s failed, %.1f s before a next one: %s", number, of, delay, error)
        if retry_after is None:
            return delay
        self._pause.hold(delay)
        return 0.0


def read_retry_after(value: str | None) -> float | None:
    """Seconds to wait, of several headers the longest; None when there is none, or none that can be read.

    requests joins them by commas. A date, whose first comma comes after its weekday, can be read without that.
    """
    waits = [_seconds(part.strip()) for part in (value or "").split(",")]
    return max((wait for wait in waits if wait is not None), default=None)


def _seconds(value: str) -> float | None:
    """Seconds until what a `Retry-After` says, which is a number of seconds or an HTTP date; None for neither."""
    if re.fullmatch(r"[0-9]{1,9}", value):
        return float(value)
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    at = at if at.tzinfo else at.replace(tzinfo=timezone.utc)
    return max(0.0, round((at - datetime.now(timezone.utc)).total_seconds(), 3))
