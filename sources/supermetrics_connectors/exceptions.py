"""Everything that can go wrong, as types that say what to do about it.

    SupermetricsError                       base: catch this
    ├── SupermetricsConfigurationError      a setting is unusable; no answer was read
    │   └── SupermetricsCertificateError    this machine does not trust the server's certificate
    ├── SupermetricsConnectionError         no whole answer came: refused, reset, timed out, cut short
    ├── SupermetricsUnreadableError         an answer came that no API wrote: HTML or garbage from a gateway
    ├── SupermetricsContractError           the API's own answer is not what its documentation says
    ├── SupermetricsAnswerTooLargeError     an answer is larger than max_answer_bytes, or than the memory
    └── SupermetricsApiError                the API answered 4xx or 5xx
        ├── SupermetricsRequestError        4xx without a class of its own: the request cannot succeed as it is
        │   ├── SupermetricsUnauthorizedError   401: the key is wrong, expired or revoked
        │   ├── SupermetricsForbiddenError      403: the key's owner does not see this team
        │   └── SupermetricsNotFoundError       404: no such team, or a wrong base_url
        ├── SupermetricsRateLimitError      429: the token's hourly limit is used up
        └── SupermetricsServerError         5xx: the API or a gateway in front of it failed

All derive from `DltException`, whose public attributes dlt writes into a run's trace (`exception_attrs`), so
`dlt pipeline … trace` shows the `request_id`. What a repetition cannot heal is a dlt `TerminalException`, what it
may heal a `TransientException`; retry helpers and orchestrators go by these. Every error pickles.
"""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import ClassVar

from dlt.common.exceptions import DltException, TerminalException, TransientException


class SupermetricsError(DltException):
    """What every error of this source has in common.

    Attributes:
        message: What happened, one line: the API's `error.message` where there is one.
        team_id: The team whose listing failed; None when no team was involved.
        status_code: HTTP status of the answer; None when there was none.
        code: The API's stable `error.code`, such as `TOO_MANY_REQUESTS`; None when the answer carried none.
        description: The API's `error.description`, longer than the message; often None.
        request_id: What Supermetrics support asks for; None when the answer carried none.
        retry_after: Seconds until the rate limit resets, counted from when the error was made; None when unknown.
        key_from: Where the key was set, of a request that was refused because of it; otherwise None.
    """

    advice: ClassVar[str] = ""
    """What the reader can do, appended to the text."""

    def __init__(
        self,
        message: str,
        *,
        team_id: int | None = None,
        status_code: int | None = None,
        code: str | None = None,
        description: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        key_from: str | None = None,
    ) -> None:
        self.message = _one_line(message)
        self.team_id = team_id
        self.status_code = status_code
        self.code = code
        self.description = _one_line(description) if description else None
        self.request_id = request_id
        self.retry_after = retry_after
        self.key_from = key_from
        super().__init__(self._render())

    def _render(self) -> str:
        """All fields in one line, because a failure's text is often all that reaches the person on call."""
        http = f"HTTP {self.status_code}" if self.status_code else ""
        answered = " ".join(part for part in (http, self.code) if part)
        team = f"team {self.team_id}" if self.team_id is not None else ""
        subject = " for ".join(part for part in (answered, team) if part)
        key_from = f"The key came from {self.key_from}" if self.key_from else ""
        told = [self.message, self.description, self._when_to_retry(), key_from, self.advice]
        sentences = " ".join(_sentence(part) for part in told if part)
        request_id = f" (request_id={self.request_id})" if self.request_id else ""
        return (f"{subject[0].upper()}{subject[1:]}: " if subject else "") + sentences + request_id

    def _when_to_retry(self) -> str:
        if self.retry_after is None:
            return ""
        resets_at = datetime.now(timezone.utc) + timedelta(seconds=self.retry_after)
        return f"The limit resets at {resets_at:%Y-%m-%d %H:%M:%S} UTC (retry_after={self.retry_after:g} s)"


class SupermetricsConfigurationError(SupermetricsError, TerminalException, ValueError):
    """A setting is missing or unusable. Raised before any answer is read; the value is named unless it is a secret."""


class SupermetricsCertificateError(SupermetricsConfigurationError):
    """The certificate that was shown for base_url, or by the proxy, is not one that this machine trusts."""

    advice = (
        "If a proxy or firewall of your network inspects TLS, set REQUESTS_CA_BUNDLE to a file with its certificate "
        "authority; otherwise check base_url and this machine's clock."
    )


class SupermetricsConnectionError(SupermetricsError, TransientException):
    """No whole answer came back: connection refused or reset, a timeout, a body cut short."""

    advice = "Check base_url, the network and any proxy; the run can be repeated as it is."


class SupermetricsUnreadableError(SupermetricsError, TransientException):
    """The answer is not JSON: a gateway's error page, also with status 200, or garbage. The API never sends this."""

    advice = "A gateway or proxy in front of the API is the likely author; the run can be repeated as it is."


class SupermetricsContractError(SupermetricsError, TerminalException):
    """The API's JSON is not what its documentation says, so nothing of it is loaded and nothing removed."""

    advice = "Nothing of this team was loaded or removed. Report it to Supermetrics support with the request id."


class SupermetricsAnswerTooLargeError(SupermetricsError, TerminalException):
    """An answer went beyond `max_answer_bytes`, or beyond the memory of this machine."""

    advice = "Nothing of this team was loaded or removed."


class SupermetricsApiError(SupermetricsError):
    """The API answered with a status of 4xx or 5xx. Raised only as one of the classes below."""


class SupermetricsRequestError(SupermetricsApiError, TerminalException):
    """A 4xx: the same request will fail again."""


class SupermetricsUnauthorizedError(SupermetricsRequestError):
    """401: the API key or OAuth token is wrong, expired or revoked. Fails the whole run: every team would answer so."""

    advice = "Check the API key: it may be mistyped, expired or revoked."


class SupermetricsForbiddenError(SupermetricsRequestError):
    """403: the key is good, but its owner may not see this team."""

    advice = "Check that the API key's owner belongs to this team."


class SupermetricsNotFoundError(SupermetricsRequestError):
    """404: there is no such team, or base_url leads elsewhere."""

    advice = "Check the team id and base_url."


class SupermetricsRateLimitError(SupermetricsApiError, TransientException):
    """429: the token's requests of this hour are used up. `retry_after` says when they are back."""


class SupermetricsServerError(SupermetricsApiError, TransientException):
    """5xx: the API or a gateway in front of it failed; the run can be repeated as it is."""


_ERROR_BY_STATUS: dict[int, type[SupermetricsApiError]] = {
    401: SupermetricsUnauthorizedError,
    403: SupermetricsForbiddenError,
    404: SupermetricsNotFoundError,
    429: SupermetricsRateLimitError,
}


def api_error_class(status_code: int) -> type[SupermetricsApiError]:
    """Returns the error class of a status of 4xx or 5xx."""
    default = SupermetricsServerError if status_code >= 500 else SupermetricsRequestError
    return _ERROR_BY_STATUS.get(status_code, default)


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yields an error and what led to it, the outermost first; nothing for none."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _one_line(text: str) -> str:
    """Line breaks and control characters to spaces: a server's text must not forge log lines or move a cursor."""
    return re.sub(r"[\s\x00-\x1f\x7f-\x9f]+", " ", text).strip()


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
