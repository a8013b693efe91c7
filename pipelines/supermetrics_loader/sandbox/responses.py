"""Requests and responses of the sandbox, and the API's error envelope."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

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
"""Code and message of the envelope by HTTP status; other statuses use the standard's phrase."""
_PHRASES = {int(status): status.phrase for status in HTTPStatus}


def new_request_id() -> str:
    """A request id of 32 characters."""
    return secrets.token_urlsafe(24)


@dataclass(frozen=True)
class Request:
    """A request as it arrived, and the request id of its response.

    Attributes:
        method: HTTP method, upper-case.
        path: Path without the query, as sent.
        query: Query parameters; of a repeated parameter, the last value.
        headers: Headers by lower-case name.
        body: The body.
        request_id: Goes into `meta.request_id` and the header `X-Request-Id`.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = b""
    request_id: str = field(default_factory=new_request_id)


@dataclass(frozen=True)
class Response:
    """A response.

    Attributes:
        status: HTTP status.
        body: The body.
        headers: All headers. `Content-Length` is the last one.
    """

    status: int
    body: bytes
    headers: Mapping[str, str]

    @property
    def head(self) -> bytes:
        """Status line and headers with the blank line."""
        lines = [f"HTTP/1.1 {self.status} {phrase(self.status)}", *(f"{k}: {v}" for k, v in self.headers.items())]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")


class SandboxError(Exception):
    """A request or a change that the sandbox refuses; over HTTP it becomes the API's error envelope.

    Attributes:
        status: HTTP status, 400 … 599.
        description: Why the request was refused, one sentence; None for no description.
        headers: Additional headers of the response.
    """

    def __init__(self, status: int, description: str | None, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(description)
        self.status = status
        self.description = description
        self.headers = headers or {}

    def response(self, request_id: str, headers: Mapping[str, str] | None = None) -> Response:
        """The error envelope with this request id and these headers."""
        envelope = error_envelope(self.status, request_id, self.description)
        return json_response(self.status, envelope, request_id, {**(headers or {}), **self.headers})


def json_response(status: int, content: Any, request_id: str, headers: Mapping[str, str] | None = None) -> Response:
    """A response with content to encode as JSON, a request id and additional headers."""
    body = orjson.dumps(content)
    usual = {"Content-Type": "application/json", "X-Request-Id": request_id}
    return Response(status, body, {**usual, **(headers or {}), "Content-Length": str(len(body))})


def error_envelope(status: int, request_id: str | None, description: str | None = None) -> dict[str, Any]:
    """The API's error envelope, with the usual code and message of the status."""
    words = phrase(status)
    code, message = ERRORS.get(status, (words.upper().replace(" ", "_"), f"{words}."))
    error = {"code": code, "message": message}
    if description is not None:
        error["description"] = description
    return {"meta": {} if request_id is None else {"request_id": request_id}, "error": error}


def phrase(status: int) -> str:
    """The HTTP standard's phrase for a status, such as `Bad Gateway`."""
    return _PHRASES.get(status, "Unknown Status")
