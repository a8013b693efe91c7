"""Any GET of the API: an answer, or a typed error that carries the request id."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from requests import PreparedRequest, Response
from requests.auth import AuthBase

from ..documents.json_paths import render
from ..documents.json_text import NotJsonError, RefusedJsonError, parse_json
from ..exceptions import (
    SupermetricsAnswerTooLargeError,
    SupermetricsContractError,
    SupermetricsError,
    SupermetricsUnreadableError,
    api_error_class,
)
from ..settings import ApiKey, Settings
from .budget import Budget
from .network import TRANSPORT_ERRORS, Network
from .retries import Pause, Retries, read_retry_after

_SHORTEST_KEY = 8
"""Characters. A shorter one is no key of the API's, and would be found in every other word."""
_READ_BYTES = 2**18
"""Unpacked bytes that are read at once. Fewer cost time: for each, a thread waits for its turn."""


@dataclass(frozen=True)
class Answer:
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


@dataclass(frozen=True)
class Request:
    """A GET of the API.

    Attributes:
        team_id: Whose matter it is; errors name it.
        path: Below the base URL, such as `/v1/teams/936506`.
        params: The query.
    """

    team_id: int
    path: str
    params: Mapping[str, str]


class SupermetricsClient:
    """Asks the API. Safe to use from several threads: each has its connection, and they share the pause.

    A connection is kept only after an answer that is whole and good.
    """

    def __init__(self, settings: Settings) -> None:
        self.base_url = settings.base_url
        self.pause = Pause()
        self.budget = Budget(settings.rate_limit_reserve, settings.workers)
        self._auth = _BearerAuth(settings.api_key)
        self._retries = Retries(settings, self.pause)
        self._network = Network(settings.base_url, settings.request_timeout)
        self._max_bytes = settings.max_answer_bytes
        self._answered: dict[str, Request] = {}
        self._request_ids_repeat = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_url!r})"

    def close(self) -> None:
        """Cancels whoever waits and closes the connections."""
        self.pause.cancel()
        self._network.close()

    def get(self, team_id: int, path: str, params: Mapping[str, str]) -> Answer:
        """Asks, and asks again where what went wrong may pass.

        Args:
            team_id: Whose matter it is; errors name it.
            path: Below the base URL, such as `/v1/teams/936506`.
            params: The query.

        Raises:
            SupermetricsError: As its subclass for what went wrong, with the request id where the answer had one.
        """
        return self._retries(self._ask, Request(team_id, path, params))

    def disconnect(self) -> None:
        """Ends this thread's connection: after an answer that is not as it should be, the next may be misplaced too."""
        self._network.disconnect()

    def _ask(self, request: Request) -> Answer:
        self.pause.wait()
        if self._request_ids_repeat:  # they tell nothing, a connection on which nothing else was asked does
            self.disconnect()
        answer = self._exchange(request)
        if not self._request_ids_repeat and self._is_of_another(answer, request):
            self.disconnect()
            answer = self._exchange(request)
            self._request_ids_repeat = self._is_of_another(answer, request)
        return answer

    def _exchange(self, request: Request) -> Answer:
        received = self._get(request)
        if isinstance(received, SupermetricsError):
            raise received
        try:
            return self._read(*received, request.team_id)
        except SupermetricsError:
            self.disconnect()
            raise

    def _is_of_another(self, answer: Answer, request: Request) -> bool:
        """Whether the answer's request id is that of another request's answer: an answer that was sent twice."""
        return answer.request_id is not None and self._answered.setdefault(answer.request_id, request) != request

    def _get(self, request: Request) -> tuple[Response, bytes] | SupermetricsError:
        """The head and the body. A failure is returned, not raised: urllib3's frames hold headers with the token."""
        response: Response | None = None
        try:
            response = self._network.session().get(
                self.base_url + request.path,
                params=request.params,
                auth=self._auth,
                allow_redirects=False,  # the API never redirects, and a token must not follow one elsewhere
                stream=True,  # so that there is a head, with the request id, even if the body is cut short
            )
            with response:
                body = self._body(response)
        except TRANSPORT_ERRORS as error:
            request_id = None if response is None else self._scrubbed_request_id(response)
            return self._network.failure(error, request.team_id, request_id, self._scrub)
        if body is None:
            return SupermetricsAnswerTooLargeError(
                f"The answer is larger than max_answer_bytes, {self._max_bytes} bytes",
                team_id=request.team_id,
                status_code=response.status_code,
                request_id=self._scrubbed_request_id(response),
            )
        body = self._scrub_answer(response, body)
        self.budget.note(*(_count(response.headers.get(f"X-RateLimit-{name}")) for name in ("Limit", "Remaining")))
        return response, body

    def _body(self, response: Response) -> bytes | None:
        """The body, unpacked; None if it goes beyond the limit, packed or unpacked."""
        chunks: list[bytes] = []
        size = 0
        for chunk in response.iter_content(_READ_BYTES):
            size += len(chunk)
            if max(size, response.raw.tell()) > self._max_bytes:
                return None
            chunks.append(chunk)
        return b"".join(chunks)

    def _read(self, response: Response, body: bytes, team_id: int) -> Answer:
        request_id = _request_id(response.headers.get("X-Request-Id"))
        if response.status_code >= 400:
            raise self._api_error(response, body, team_id, request_id)
        if response.status_code != 200:
            raise SupermetricsContractError(
                f"Expected status 200, the API answered {response.status_code}"
                + (" (a redirect, which is not followed)" if response.is_redirect else ""),
                team_id=team_id,
                status_code=response.status_code,
                request_id=request_id,
            )
        try:
            payload = parse_json(body)
        except NotJsonError:
            payload = None
        except RefusedJsonError as refused:
            raise SupermetricsContractError(
                f"Expected JSON that can be stored, {refused.what} arrived in {render(refused.path)[:300]}",
                team_id=team_id,
                status_code=response.status_code,
                request_id=request_id,
            ) from None
        if payload is None:
            raise SupermetricsUnreadableError(
                f"Expected JSON, {_described(response, body)} arrived",
                team_id=team_id,
                status_code=response.status_code,
                request_id=request_id,
            )
        remaining = _count(response.headers.get("X-RateLimit-Remaining"))
        return Answer(payload, response.status_code, request_id, remaining, len(body), rb"\u0000" in body)

    def _api_error(
        self, response: Response, body: bytes, team_id: int, header_request_id: str | None
    ) -> SupermetricsError:
        """The error envelope as a typed error. Texts of the server are scrubbed: one may quote the token back."""
        envelope = _decoded(body)
        error, meta = _member(envelope, "error"), _member(envelope, "meta")
        message = _text(error.get("message")) or f"{response.reason or 'Error'} ({_described(response, body)})"
        description = _text(error.get("description"))
        return api_error_class(response.status_code)(
            self._scrub(message[:1000]),
            team_id=team_id,
            status_code=response.status_code,
            code=_code(error.get("code")),
            description=self._scrub(description[:2048]) if description else None,
            request_id=_request_id(meta.get("request_id")) or header_request_id,
            retry_after=read_retry_after(response.headers.get("Retry-After")),
            key_from=self._auth.api_key.came_from if response.status_code == 401 else None,
        )

    def _scrub_answer(self, response: Response, body: bytes) -> bytes:
        """Takes the token out of an answer that quotes it back, before any of it reaches a message, a row or a file.

        Returns:
            The body without it.
        """
        if len(self._auth.api_key) < _SHORTEST_KEY:
            return body
        response.reason = self._scrub(response.reason or "")
        for name, value in response.headers.items():
            response.headers[name] = self._scrub(value)
        return body.replace(self._auth.api_key.encode(), b"***")

    def _scrubbed_request_id(self, response: Response) -> str | None:
        return _request_id(self._scrub(response.headers.get("X-Request-Id", "")))

    def _scrub(self, text: str) -> str:
        return text.replace(self._auth.api_key, "***")


class _BearerAuth(AuthBase):
    """Sets the header per request: dlt logs session headers at DEBUG, and a repr must not show the token."""

    def __init__(self, api_key: ApiKey) -> None:
        self.api_key = api_key

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self.api_key}"
        return request


def _decoded(body: bytes) -> Any:
    """The body's JSON; None when it is none."""
    try:
        return parse_json(body)
    except (NotJsonError, RefusedJsonError):
        return None


def _described(response: Response, body: bytes) -> str:
    content_type = response.headers.get("Content-Type", "no content type").split(";")[0][:100]
    return f"{len(body)} bytes of {content_type}"


def _member(envelope: Any, name: str) -> Mapping[str, Any]:
    member = envelope.get(name) if isinstance(envelope, dict) else None
    return member if isinstance(member, dict) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _code(value: Any) -> str | None:
    return value if isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_.-]{1,100}", value) else None


def _request_id(value: Any) -> str | None:
    """A request id: 8 to 64 of `[A-Za-z0-9_-]` by contract; a gateway's own may be a little freer."""
    return value if isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_.:=/+-]{1,128}", value) else None


def _count(value: str | None) -> int | None:
    return int(value) if value and re.fullmatch(r"[0-9]{1,18}", value) else None
