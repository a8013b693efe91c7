"""Repetition of requests: a failure that may pass is retried, and a rate limit is waited out by all requests."""

import logging
import re
import threading
import time
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

from dlt.common.exceptions import TransientException
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    sleep_using_event,
    stop_after_attempt,
    stop_when_event_set,
    wait_random_exponential,
)

from ..settings import Settings

logger = logging.getLogger(__name__)

MAX_RETRY_AFTER = 366 * 86_400.0
"""Seconds. A server that asks for more is understood as asking for this: the calendar ends some time later."""


class Pause:
    """A pause of all requests: the rate limit belongs to the token, not to one request.

    Attributes:
        cancelled: Set when the run is over, which ends every wait.
    """

    def __init__(self) -> None:
        self._until = 0.0
        self._lock = threading.Lock()
        self.cancelled = threading.Event()

    def hold(self, seconds: float) -> None:
        """Pauses all requests for at least this long from now."""
        with self._lock:
            self._until = max(self._until, time.monotonic() + seconds)

    @property
    def remaining(self) -> float:
        """Seconds until the pause ends; 0 without one."""
        return max(0.0, self._until - time.monotonic())

    def wait(self) -> None:
        """Blocks until the pause is over."""
        while (seconds := self.remaining) > 0 and not self.cancelled.wait(seconds):
            pass


def retrying(settings: Settings, pause: Pause) -> Retrying:
    """Makes what repeats requests as the settings say: called with a function, it returns the function's response.

    The first delay is drawn from 0 … `request_backoff_factor` seconds; the range doubles with each attempt (full
    jitter), up to `request_max_retry_delay`. A Retry-After longer than `max_retry_wait` is not waited out. The error of
    the last attempt is raised.
    """
    attempts = settings.request_max_attempts
    jitter = wait_random_exponential(multiplier=settings.request_backoff_factor, max=settings.request_max_retry_delay)

    def is_retryable(error: BaseException) -> bool:
        retry_after = getattr(error, "retry_after", None) or 0
        return isinstance(error, TransientException) and retry_after <= settings.max_retry_wait

    def delay(attempt: RetryCallState) -> float:
        """Returns the seconds to sleep before the next attempt. A Retry-After pauses all requests instead."""
        error = attempt.outcome.exception() if attempt.outcome else None
        retry_after: float | None = getattr(error, "retry_after", None)
        seconds = jitter(attempt) if retry_after is None else retry_after
        number = attempt.attempt_number
        logger.info("Attempt %s of %s failed, next one in %.1f s: %s", number, attempts, seconds, error)
        if retry_after is None:
            return seconds
        pause.hold(seconds)
        return 0.0

    return Retrying(
        stop=stop_after_attempt(attempts) | stop_when_event_set(pause.cancelled),
        retry=retry_if_exception(is_retryable),
        wait=delay,
        sleep=sleep_using_event(pause.cancelled),
        reraise=True,
    )


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
        wait = parsedate_to_datetime(value) - datetime.now(timezone.utc)
        return max(0.0, round(wait.total_seconds(), 3))
    except (ValueError, TypeError, OverflowError, IndexError):  # a TypeError for a date without a zone
        return None
