"""The error tree: every error says what happened and whether a repetition can help.

    SupermetricsError                       base: catch this
    ├── SupermetricsConfigurationError      a setting is unusable; no response was read
    │   └── SupermetricsCertificateError    this machine does not trust the server's certificate
    ├── SupermetricsConnectionError         no complete response: refused, reset, timed out, cut short
    ├── SupermetricsUnreadableError         a response that no API wrote: HTML or garbage from a gateway
    ├── SupermetricsContractError           the API's own response is not what its documentation says
    ├── SupermetricsResponseTooLargeError     a response is larger than max_response_bytes, or than the memory
    └── SupermetricsApiError                the API answered 4xx or 5xx, or sent its error envelope with a 200
        ├── SupermetricsRequestError        4xx without a class of its own: the same request fails again
        │   ├── SupermetricsUnauthorizedError   401: the key is wrong, expired or revoked
        │   ├── SupermetricsForbiddenError      403: the key's owner has no access to this team
        │   └── SupermetricsNotFoundError       404: no such team, or a wrong base_url
        ├── SupermetricsRateLimitError      429: the token's hourly limit is used up
        └── SupermetricsServerError         5xx, 408, 425: the API or a gateway in front of it failed

Every error derives from `DltException`, whose public attributes dlt writes into a run's trace (`exception_attrs`), so
`dlt pipeline … trace` shows the `request_id`. An error is a dlt `TransientException` if a repetition may help, and a
`TerminalException` if not. Retry helpers and orchestrators use these classes. Every error can be pickled.
"""

import errno
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, timezone
from typing import ClassVar, NamedTuple

from dlt.common.exceptions import DltException, TerminalException, TransientException


class SupermetricsError(DltException):
    """Base of every error of this source.

    Attributes:
        message: What happened, one line: the API's `error.message` where there is one.
        team_id: The team whose request failed; None when no team was involved.
        status_code: HTTP status of the response; None without a response.
        code: The API's stable `error.code`, such as `TOO_MANY_REQUESTS`; None when the response has none.
        description: The API's `error.description`, longer than the message; often None.
        request_id: The API's request id, which Supermetrics support asks for; None when the response has none.
        retry_after: Seconds until the rate limit resets, counted from when the error was made; None when unknown.
        key_source: Where the key was set, when the API refused the key; otherwise None.
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
        key_source: str | None = None,
    ) -> None:
        self.message = _one_line(message)
        self.team_id = team_id
        self.status_code = status_code
        self.code = code
        self.description = _one_line(description) if description else None
        self.request_id = request_id
        self.retry_after = retry_after
        self.key_source = key_source
        super().__init__(self._render())

    def _render(self) -> str:
        """Renders all fields in one line, because a failure's text is often all that reaches the person on call."""
        http = f"HTTP {self.status_code}" if self.status_code else ""
        response = " ".join(part for part in (http, self.code) if part)
        team = f"team {self.team_id}" if self.team_id is not None else ""
        subject = " for ".join(part for part in (response, team) if part)
        key_source = f"The key came from {self.key_source}" if self.key_source else ""
        parts = [self.message, self.description, self._when_to_retry(), key_source, self.advice]
        sentences = " ".join(_sentence(part) for part in parts if part)
        request_id = f" (request_id={self.request_id})" if self.request_id else ""
        return (f"{subject[0].upper()}{subject[1:]}: " if subject else "") + sentences + request_id

    def _when_to_retry(self) -> str:
        if self.retry_after is None:
            return ""
        resets_at = datetime.now(timezone.utc) + timedelta(seconds=self.retry_after)
        return f"The limit resets at {resets_at:%Y-%m-%d %H:%M:%S} UTC (retry_after={self.retry_after:g} s)"


class SupermetricsConfigurationError(SupermetricsError, TerminalException, ValueError):
    """A setting is missing or unusable. Raised before any response is read; a value that may be a key is not shown."""


class SupermetricsCertificateError(SupermetricsConfigurationError):
    """This machine does not trust the certificate of base_url or of the proxy."""

    advice = (
        "If a proxy or firewall of your network inspects TLS, set REQUESTS_CA_BUNDLE to a file with its certificate "
        "authority; otherwise check base_url and this machine's clock."
    )


class SupermetricsConnectionError(SupermetricsError, TransientException):
    """No complete response: connection refused or reset, a timeout, a body cut short."""

    advice = "Check base_url, the network and any proxy; a later run may succeed."


class SupermetricsUnreadableError(SupermetricsError, TransientException):
    """The response is not JSON: a gateway's page, also with status 200, or garbage. The API never sends this."""

    advice = "A gateway or proxy in front of the API has probably sent the response; a later run may succeed."


class SupermetricsContractError(SupermetricsError, TerminalException):
    """The API's JSON is not what its documentation says, so nothing of it is loaded and nothing removed."""

    advice = "Nothing of this team was loaded or removed. Report this message to Supermetrics support."


class SupermetricsResponseTooLargeError(SupermetricsError, TerminalException):
    """A response is larger than `max_response_bytes`, or than this machine's memory. A repetition does not help."""

    advice = "Nothing of this team was loaded or removed."


class SupermetricsApiError(SupermetricsError):
    """The API answered with an error. Raised only as one of the classes below."""


class SupermetricsRequestError(SupermetricsApiError, TerminalException):
    """A 4xx: the same request fails again."""


class SupermetricsUnauthorizedError(SupermetricsRequestError):
    """401: the API key or OAuth token is wrong, expired or revoked. Fails the whole run: every team would answer so."""

    advice = "Check the API key: it may be mistyped, expired or revoked."


class SupermetricsForbiddenError(SupermetricsRequestError):
    """403: the key is good, but its owner has no access to this team."""

    advice = "Check that the API key's owner belongs to this team."


class SupermetricsNotFoundError(SupermetricsRequestError):
    """404: there is no such team, or base_url leads elsewhere."""

    advice = "Check the team id and base_url."


class SupermetricsRateLimitError(SupermetricsApiError, TransientException):
    """429: the token's requests of this hour are used up. `retry_after` says when they are back."""


class SupermetricsServerError(SupermetricsApiError, TransientException):
    """5xx, 408, 425: the API or a gateway in front of it failed; the run can be repeated as it is."""


class StatusRule(NamedTuple):
    """How an error of the API is handled.

    Attributes:
        error: Its class. A `TransientException` is retried, and a `TerminalException` is not.
        reason: Why a repetition can help or cannot.
        codes: Values of `error.code` with this meaning, for an error envelope that comes with a 200.
    """

    error: type[SupermetricsApiError]
    reason: str
    codes: tuple[str, ...] = ()


STATUS_RULES: Mapping[int, StatusRule] = {
    400: StatusRule(SupermetricsRequestError, "the API does not understand the request", ("BAD_REQUEST",)),
    401: StatusRule(SupermetricsUnauthorizedError, "the key does not become valid by itself", ("UNAUTHORIZED",)),
    403: StatusRule(SupermetricsForbiddenError, "somebody has to grant access", ("FORBIDDEN", "PERMISSION_ERROR")),
    404: StatusRule(SupermetricsNotFoundError, "the team does not exist", ("NOT_FOUND",)),
    408: StatusRule(SupermetricsServerError, "the server did not receive the request in time"),
    409: StatusRule(SupermetricsRequestError, "a person has to resolve it", ("CONFLICT_ERROR", "DUPLICATION_FAILED")),
    422: StatusRule(
        SupermetricsRequestError,
        "the API cannot process the request",
        ("UNPROCESSABLE_ENTITY", "UNPROCESSABLE_CONTENT"),
    ),
    425: StatusRule(SupermetricsServerError, "the server does not accept early data of a new TLS connection yet"),
    429: StatusRule(SupermetricsRateLimitError, "the limit resets", ("TOO_MANY_REQUESTS",)),
    500: StatusRule(SupermetricsServerError, "the failure may pass", ("INTERNAL_SERVER_ERROR",)),
    503: StatusRule(SupermetricsServerError, "the service may be back soon", ("SERVICE_UNAVAILABLE",)),
}
"""The only place that decides about statuses."""
OTHER_4XX = StatusRule(SupermetricsRequestError, "a 4xx blames the request, and it stays the same")
OTHER_5XX = StatusRule(SupermetricsServerError, "a 5xx blames the server or a gateway, which may recover")
_RULE_BY_CODE = {code: rule for rule in STATUS_RULES.values() for code in rule.codes}


def status_rule(status_code: int) -> StatusRule:
    """Returns the rule of a status of 4xx or 5xx."""
    return STATUS_RULES.get(status_code, OTHER_5XX if status_code >= 500 else OTHER_4XX)


def code_rule(code: str | None) -> StatusRule | None:
    """Returns the rule of an `error.code`; None for a code that is not documented."""
    return _RULE_BY_CODE.get(code or "")


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yields an error and what led to it, the outermost first; nothing for None."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that this machine's memory is used up."""
    return any(
        isinstance(cause, MemoryError) or (isinstance(cause, OSError) and cause.errno == errno.ENOMEM)
        for cause in causes(error)
    )


def _one_line(text: str) -> str:
    """Replaces line breaks and control characters: a server's text must not forge log lines or move a cursor."""
    return re.sub(r"[\s\x00-\x1f\x7f-\x9f]+", " ", text).strip()


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
