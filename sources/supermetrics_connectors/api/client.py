"""GET requests to the API: each returns a response, or raises a typed error that carries the request id."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from requests import PreparedRequest, Response

from ..documents.json_paths import render
from ..documents.json_text import NotJsonError, RefusedJsonError, parse_json
from ..exceptions import (
    StatusRule,
    SupermetricsContractError,
    SupermetricsError,
    SupermetricsResponseTooLargeError,
    SupermetricsUnauthorizedError,
    SupermetricsUnreadableError,
    code_rule,
    is_out_of_memory,
    status_rule,
)
from ..settings import Settings
from .budget import RequestBudget
from .masking import KeyMask
from .retries import Pause, read_retry_after, retrying
from .transport import TRANSPORT_ERRORS, Transport

_CHUNK_BYTES = 2**18
"""Unpacked bytes that are read at once. Fewer cost time: for each chunk, a thread waits for its turn."""


@dataclass(frozen=True)
class ApiResponse:
    """A 200 of the API, decoded but not yet checked.

    Attributes:
        payload: The decoded JSON.
        status_code: HTTP status, 200.
        request_id: From `X-Request-Id`; None when the header is absent.
        rate_limit_remaining: Requests left in this hour, from `X-RateLimit-Remaining`; None when absent.
        size: Bytes of the body.
        may_have_nul: Whether the body may hold a NUL character.
    """

    payload: Any
    status_code: int
    request_id: str | None
    rate_limit_remaining: int | None
    size: int
    may_have_nul: bool = False


class SupermetricsClient:
    """Client of the API. Safe to use from several threads: each has its connection, and they share the pause.

    A connection is kept only after a response that is whole and good.
    """

    def __init__(self, settings: Settings) -> None:
        self.base_url = settings.base_url
        self.pause = Pause()
        self.budget = RequestBudget(settings.rate_limit_reserve, settings.workers)
        self._api_key = settings.api_key
        self._mask = KeyMask(settings.api_key)
        self._retrying = retrying(settings, self.pause)
        self._transport = Transport(settings.base_url, settings.request_timeout)
        self._max_bytes = settings.max_response_bytes
        self._workers = settings.workers

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_url!r})"

    def close(self) -> None:
        """Ends every wait and closes the connections."""
        self.pause.cancelled.set()
        self._transport.close()

    def get(self, team_id: int, path: str, params: Mapping[str, str]) -> ApiResponse:
        """Makes a request, and repeats it after a failure that may pass.

        Args:
            team_id: The team that errors name.
            path: Below the base URL, such as `/v1/teams/936506`.
            params: The query.

        Raises:
            SupermetricsError: As its subclass for the failure, with the request id if the response has one.
        """
        return self._retrying(self._get, team_id, path, params)

    def disconnect(self) -> None:
        """Closes this thread's connection: after an abnormal response, the next one may be misplaced too."""
        self._transport.disconnect()

    def out_of_memory(self, team_id: int) -> SupermetricsError:
        """Makes the error of a response for which the memory did not suffice."""
        return SupermetricsResponseTooLargeError(
            f"Memory ran out over a response, of which there may be {self._workers} at once: "
            "lower workers, or give the process more",
            team_id=team_id,
        )

    def _get(self, team_id: int, path: str, params: Mapping[str, str]) -> ApiResponse:
        self.pause.wait()
        outcome = self._exchange(team_id, path, params)
        if isinstance(outcome, SupermetricsError):
            self.disconnect()
            raise outcome
        return outcome

    def _exchange(self, team_id: int, path: str, params: Mapping[str, str]) -> ApiResponse | SupermetricsError:
        """Returns an error instead of raising it: the frames below hold headers with the token, and the body."""
        response: Response | None = None
        try:
            response = self._transport.session().get(
                self.base_url + path,
                params=params,
                auth=self._authorize,
                allow_redirects=False,  # the API never redirects, and a token must not follow one elsewhere
                stream=True,  # so that there is a head, with the request id, even if the body is cut short
            )
            with response:
                body = self._body(response)
        except TRANSPORT_ERRORS as error:
            if is_out_of_memory(error):
                return self.out_of_memory(team_id)
            request_id = None if response is None else self._request_id(response)
            return self._transport.failure(error, team_id, request_id, self._mask.mask)
        response.reason = self._mask.mask(response.reason or "")
        for name, value in response.headers.items():
            response.headers[name] = self._mask.mask(value)
        if body is None:
            return SupermetricsResponseTooLargeError(
                f"The response is larger than max_response_bytes, {self._max_bytes} bytes",
                team_id=team_id,
                status_code=response.status_code,
                request_id=self._request_id(response),
            )
        self.budget.update(*(_count(response.headers.get(f"X-RateLimit-{name}")) for name in ("Limit", "Remaining")))
        return self._read(response, body, team_id)

    def _authorize(self, request: PreparedRequest) -> PreparedRequest:
        """Sets the header per request, because dlt logs the headers of a session at DEBUG."""
        request.headers["Authorization"] = f"Bearer {self._api_key}"
        return request

    def _body(self, response: Response) -> bytes | None:
        """Returns the body, unpacked; None if it is larger than the limit, packed or unpacked."""
        chunks: list[bytes] = []
        size = 0
        for chunk in response.iter_content(_CHUNK_BYTES):
            size += len(chunk)
            if max(size, response.raw.tell()) > self._max_bytes:
                return None
            chunks.append(chunk)
        return b"".join(chunks)

    def _read(self, response: Response, body: bytes, team_id: int) -> ApiResponse | SupermetricsError:
        status, request_id = response.status_code, self._request_id(response)
        fields: dict[str, Any] = {"team_id": team_id, "status_code": status, "request_id": request_id}
        payload, refused = None, ""
        try:
            payload = self._mask.mask_json(parse_json(body), body)
        except NotJsonError:
            pass
        except RefusedJsonError as error:
            place = tuple(self._mask.mask(name) if isinstance(name, str) else name for name in error.path)
            refused = f"{error.what} arrived in {render(place)[:300]}"
        content_type = response.headers.get("Content-Type", "no content type").split(";")[0][:100]
        described = f"{len(body)} bytes of {content_type}"
        error_member = _member(payload, "error")
        if status >= 400:
            return self._api_error(status_rule(status), response, payload, described, team_id)
        if status != 200:
            redirect = " (a redirect, which is not followed)" if response.is_redirect else ""
            return SupermetricsContractError(f"Expected status 200, the API answered {status}{redirect}", **fields)
        if refused:
            return SupermetricsContractError(f"Expected JSON that can be stored, {refused}", **fields)
        if payload is None:
            return SupermetricsUnreadableError(f"Expected JSON, {described} arrived", **fields)
        if _text(error_member.get("code")) or _text(error_member.get("message")):
            return self._api_error(code_rule(_code(error_member.get("code"))), response, payload, described, team_id)
        remaining = _count(response.headers.get("X-RateLimit-Remaining"))
        return ApiResponse(payload, status, request_id, remaining, len(body), rb"\u0000" in body)

    def _api_error(
        self, rule: StatusRule | None, response: Response, payload: Any, described: str, team_id: int
    ) -> SupermetricsError:
        """Makes the typed error of an error envelope; without a rule, of one that nobody expects."""
        error, meta = _member(payload, "error"), _member(payload, "meta")
        kind = rule.error if rule else SupermetricsContractError
        message = _text(error.get("message")) or f"{response.reason or 'Error'} ({described})"
        return kind(
            message[:1000],
            team_id=team_id,
            status_code=response.status_code,
            code=_code(error.get("code")),
            description=(_text(error.get("description")) or "")[:2048] or None,
            request_id=_valid_request_id(meta.get("request_id")) or self._request_id(response),
            retry_after=read_retry_after(response.headers.get("Retry-After")),
            key_source=self._api_key.source if issubclass(kind, SupermetricsUnauthorizedError) else None,
        )

    def _request_id(self, response: Response) -> str | None:
        """Returns the first valid request id of the headers; requests joins repeated headers with commas."""
        ids = self._mask.mask(response.headers.get("X-Request-Id", "")).split(",")
        return next(filter(None, (_valid_request_id(each.strip()) for each in ids)), None)


def _member(envelope: Any, name: str) -> Mapping[str, Any]:
    member = envelope.get(name) if isinstance(envelope, dict) else None
    return member if isinstance(member, dict) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _code(value: Any) -> str | None:
    return value if isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_.-]{1,100}", value) else None


def _valid_request_id(value: Any) -> str | None:
    """Returns a request id: 8 to 64 of `[A-Za-z0-9_-]` by contract; a gateway's own may be a little freer."""
    return value if isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_.:=/+-]{1,128}", value) else None


def _count(value: str | None) -> int | None:
    return int(value) if value and re.fullmatch(r"[0-9]{1,18}", value) else None
