"""What the sandbox answers when it does not answer properly: faults on demand, and refusals as the API words them."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Literal

import orjson

ERRORS = {
    400: ("BAD_REQUEST", "The request was invalid."),
    401: ("UNAUTHORIZED", "The access token is missing or not valid."),
    403: ("FORBIDDEN", "You do not have access to this resource."),
    404: ("NOT_FOUND", "The requested resource was not found."),
    409: ("CONFLICT_ERROR", "The request conflicts with what is already there."),
    422: ("UNPROCESSABLE_ENTITY", "The request was understood but cannot be processed."),
    429: ("TOO_MANY_REQUESTS", "Rate limit exceeded. Retry later."),
    500: ("INTERNAL_SERVER_ERROR", "Something went wrong on our side."),
    503: ("SERVICE_UNAVAILABLE", "The service is temporarily unavailable."),
}
"""Code and message of the envelope by HTTP status; those of other statuses are made of the standard's phrase."""
_PHRASES = {int(status): status.phrase for status in HTTPStatus}


class SandboxError(Exception):
    """A request or a change that the sandbox refuses; over HTTP it becomes the API's error envelope.

    Attributes:
        status: HTTP status, 400 … 599.
        description: Why this one was refused, one sentence.
        headers: Further headers of the answer.
    """

    def __init__(self, status: int, description: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(description)
        self.status = status
        self.description = description
        self.headers = headers or {}


@dataclass(frozen=True)
class Fault:
    """How to answer instead of, or while, answering properly.

    `Fault(503)` is an error envelope, `Fault(stage="mid_body")` the real listing cut in its middle,
    `Fault(200, body=b"<html>", content_type="text/html")` a gateway that thinks all is well.

    Attributes:
        status: HTTP status. A 2xx without `body` and `code` is the proper answer (and then has its status).
        code: Code of the envelope; the usual one of the status by default.
        message: Message of the envelope; the usual one of the status by default.
        description: Description of the envelope; left out by default.
        retry_after: Header `Retry-After`, sent as it stands: seconds, an HTTP date or nonsense.
        body: Raw body instead of the envelope or the listing.
        content_type: Header `Content-Type`.
        headers: Further headers; they override the usual ones whatever their case, and None removes one.
        request_id: True for a random id, a string for that id, False or None for none; it goes into the envelope's
            `meta.request_id` and the header `X-Request-Id`. For the header alone give `body`, for the envelope
            alone `headers={"X-Request-Id": None}`.
        location: Header `Location` of a redirect.
        delay: Seconds before the answer starts.
        drip: Seconds between the single bytes of the body; 0 sends the body at once.
        stage: Where the connection is closed without warning: before the first byte, within the headers, halfway
            through the body, or after the whole answer (the client believes it may keep the connection).
        hang: Accept the request and never answer, until the sandbox stops.
    """

    status: int = 200
    code: str | None = None
    message: str | None = None
    description: str | None = None
    retry_after: int | str | None = None
    body: bytes | None = None
    content_type: str = "application/json"
    headers: Mapping[str, str | None] = field(default_factory=dict)
    request_id: bool | str | None = True
    location: str | None = None
    delay: float = 0.0
    drip: float = 0.0
    stage: Literal["before_headers", "in_headers", "mid_body", "after"] | None = None
    hang: bool = False

    @property
    def answers_properly(self) -> bool:
        """Whether the proper answer is sent, if perhaps late, slowly or not whole."""
        return self.body is None and self.code is None and 200 <= self.status < 300

    @property
    def silent(self) -> bool:
        """Whether the client never sees a whole head, and so no status."""
        return self.hang or self.stage in ("before_headers", "in_headers")


@dataclass(frozen=True)
class Answer:
    """What goes over the wire, and the request id a client can find in it."""

    status: int
    headers: dict[str, str]
    body: bytes
    request_id: str | None

    @property
    def head(self) -> bytes:
        """Status line and headers with the blank line. Content-Length comes last, so a head cut short lacks it."""
        lines = [f"HTTP/1.1 {self.status} {_phrase(self.status)}", *(f"{k}: {v}" for k, v in self.headers.items())]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    @property
    def framed(self) -> bool:
        """Whether a client can tell where the body ends without the connection being closed."""
        return not {"content-length", "transfer-encoding"}.isdisjoint(map(str.lower, self.headers))


def _phrase(status: int) -> str:
    """The HTTP standard's words for a status, such as `Bad Gateway`."""
    return _PHRASES.get(status, "Unknown Status")


def refusal(error: SandboxError, fault: Fault) -> Fault:
    """What a refused request is answered with."""
    return replace(fault, status=error.status, description=error.description)


def compose(fault: Fault, limits: Mapping[str, str]) -> Answer:
    """The answer a fault describes: its raw body, an error envelope, or no body for a redirect."""
    request_id = fault.request_id if isinstance(fault.request_id, str) else None
    if fault.request_id is True:
        request_id = secrets.token_urlsafe(24)  # 32 of the contract's characters
    body = fault.body
    if body is None:
        body = b"" if 300 <= fault.status < 400 and fault.code is None else _envelope(fault, request_id)
    headers = {
        "Content-Type": fault.content_type,
        **limits,
        "X-Request-Id": request_id,
        "Location": fault.location,
        "Content-Length": str(len(body)),
    }
    if fault.retry_after is not None:
        headers["Retry-After"] = str(fault.retry_after)
    sent = _overridden(headers, fault.headers)
    in_header = {name.lower(): value for name, value in sent.items()}.get("x-request-id")
    return Answer(fault.status, sent, body, in_header or (request_id if fault.body is None else None))


def _envelope(fault: Fault, request_id: str | None) -> bytes:
    phrase = _phrase(fault.status)
    code, message = ERRORS.get(fault.status, (phrase.upper().replace(" ", "_"), f"{phrase}."))
    error = {"code": fault.code or code, "message": message if fault.message is None else fault.message}
    if fault.description is not None:
        error["description"] = fault.description
    return orjson.dumps({"meta": {} if request_id is None else {"request_id": request_id}, "error": error})


def _overridden(headers: Mapping[str, str | None], new: Mapping[str, str | None]) -> dict[str, str]:
    """Headers without those that are None; new ones replace old ones whatever their case."""
    names = {name.lower() for name in new}
    kept = {name: value for name, value in headers.items() if name.lower() not in names}
    return {name: value for name, value in {**new, **kept}.items() if value is not None}
