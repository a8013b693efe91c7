"""The sandbox as tests use it: with faults, a record of requests, and data that breaks the contract."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import orjson

from supermetrics_loader import sandbox
from supermetrics_loader.sandbox import DEFAULT_TOKEN, OMIT, Connector, SandboxError
from supermetrics_loader.sandbox.endpoints import MAX_LOG_PAGE, OPTIONAL_ENDPOINTS, log_page
from supermetrics_loader.sandbox.responses import Request, Response, error_envelope, new_request_id
from supermetrics_loader.sandbox.server import Handler

__all__ = [
    "DEFAULT_TOKEN",
    "OMIT",
    "Connector",
    "Fault",
    "ReceivedRequest",
    "Request",
    "Response",
    "Sandbox",
    "SandboxError",
]

_TEAM = re.compile(r"/v1/teams/([0-9]{1,19})(?:/|$)")


@dataclass(frozen=True)
class Fault:
    """How to answer instead of, or while, answering correctly.

    `Fault(503)` is an error envelope, `Fault(stage="mid_body")` the real listing cut in its middle,
    `Fault(200, body=b"<html>", content_type="text/html")` a page of a gateway.

    Attributes:
        status: HTTP status. A 2xx without `body` and `code` is the correct response with this status.
        code: Code of the envelope; the usual one of the status by default.
        message: Message of the envelope; the usual one of the status by default.
        description: Description of the envelope; left out by default.
        retry_after: Header `Retry-After`, sent unchanged: seconds, an HTTP date or nonsense.
        body: Raw body instead of the envelope or the listing.
        content_type: Header `Content-Type`.
        headers: Additional headers; they override the usual ones in any case of letters, and None removes one.
        request_id: True for a random id, a string for that id, False or None for none; in the envelope's
            `meta.request_id` and the header `X-Request-Id`. For the header alone give `body`, for the envelope
            alone `headers={"X-Request-Id": None}`.
        location: Header `Location` of a redirect.
        delay: Seconds before the response starts.
        drip: Seconds between the single bytes of the body; 0 sends the body at once.
        stage: Where the connection is closed without warning: before the first byte, within the headers, halfway
            through the body, or after the complete response (the client believes that it may keep the connection).
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
    def is_silent(self) -> bool:
        """Whether the client never receives a complete head, and so no status."""
        return self.hang or self.stage in ("before_headers", "in_headers")

    def applied_to(self, correct: Response, request_id: str | None) -> FaultyResponse:
        """The response with this fault, with the headers of the correct one."""
        status, body, usual = self.status, self.body, dict[str, str | None](correct.headers)
        if body is None and self.code is None and 200 <= self.status < 300:
            status, body = max(status, correct.status), correct.body
        else:
            usual = {name: value for name, value in usual.items() if name.startswith("X-RateLimit-")}
        if body is None and self.code is None and 300 <= self.status < 400:
            body = b""
        elif body is None:
            envelope = error_envelope(status, request_id, self.description)
            words = {"code": self.code or None, "message": self.message}
            envelope["error"] |= {name: word for name, word in words.items() if word is not None}
            body = orjson.dumps(envelope)
        usual |= {"Content-Type": self.content_type, "X-Request-Id": request_id, "Location": self.location}
        if self.retry_after is not None:
            usual["Retry-After"] = str(self.retry_after)
        usual.pop("Content-Length", None)  # the last header, so a head cut in its middle lacks it
        usual["Content-Length"] = str(len(body))
        overridden = {name.lower() for name in self.headers}
        kept = {name: value for name, value in usual.items() if name.lower() not in overridden}
        sent = {name: value for name, value in {**self.headers, **kept}.items() if value is not None}
        return FaultyResponse(status, body, sent, self)


@dataclass(frozen=True)
class FaultyResponse(Response):
    """A response, and the fault that says how to send it."""

    fault: Fault


@dataclass(frozen=True)
class ReceivedRequest:
    """A request to the API, recorded before the response is sent.

    Attributes:
        method: HTTP method, upper-case.
        path: Path without the query, as sent.
        team_id: Team of the path; None if the path names none.
        include_configs: As requested; None if the parameter is missing or neither `true` nor `false`.
        query: Query parameters; of a repeated parameter, the last value.
        headers: Request headers by lower-case name.
        request_id: The request id in the response, None if the client got none.
        status: The HTTP status of the response, 0 if the client got none.
        at: Arrival, seconds of `time.monotonic`.
    """

    method: str
    path: str
    team_id: int | None
    include_configs: bool | None
    query: Mapping[str, str]
    headers: Mapping[str, str]
    request_id: str | None
    status: int
    at: float


@dataclass
class _ScriptedFault:
    """A fault, the team and the end of the path that it waits for (None: any), and the requests that it is left for."""

    fault: Fault
    team_id: int | None
    times: int
    path: str | None


class _FaultyHandler(Handler):
    def send(self, response: Response) -> None:
        """Sends a response, complete or broken."""
        if not isinstance(response, FaultyResponse):
            return super().send(response)
        fault, api = response.fault, self.server.application
        assert isinstance(api, Sandbox)
        is_framed = not {"content-length", "transfer-encoding"}.isdisjoint(map(str.lower, response.headers))
        self.close_connection = self.close_connection or fault.stage is not None or not is_framed
        if api.stopping.wait(None if fault.hang else fault.delay + api.latency) or fault.stage == "before_headers":
            self.close_connection = True
            return None
        head, body = response.head, b"" if self.command == "HEAD" else response.body
        if fault.stage == "in_headers":
            head, body = head[: len(head) // 2], b""
        elif fault.stage == "mid_body":
            body = body[: len(body) // 2]
        if not fault.drip:
            self.wfile.write(head + body)
            return None
        self.wfile.write(head)
        for position in range(len(body)):
            if api.stopping.wait(fault.drip):
                self.close_connection = True
                return None
            self.wfile.write(body[position : position + 1])
        return None


class Sandbox(sandbox.Sandbox):
    """The sandbox with faults on demand, a record of requests, and setters for data that nobody edits in the API.

    Args:
        port: As for the base.
        token: As for the base.
        teams: As for the base. Only connectors of the shipped teams have generated logs and secrets.
        latency: Seconds before every response of the API.
        rate_limit: Requests to the API within `rate_window`; further requests get 429.
        rate_window: Seconds until the limit resets, counted from the first request.

    Attributes:
        requests: Every request to the API so far, oldest first.
        log_page: Log entries in a response at most, for any requested limit.
        stopping: Set when no request is to be answered any more.
    """

    handler = _FaultyHandler

    def __init__(
        self,
        *,
        port: int = 0,
        token: str = DEFAULT_TOKEN,
        teams: Mapping[int, Sequence[Mapping[str, Any]]] | None = None,
        latency: float = 0.0,
        rate_limit: int = 5000,
        rate_window: float = 3600.0,
    ) -> None:
        super().__init__(port=port, token=token, teams=teams)
        self.requests: list[ReceivedRequest] = []
        self.latency = latency
        self.rate_limit = rate_limit
        self.rate_window = rate_window
        self.log_page = MAX_LOG_PAGE
        self.stopping = threading.Event()
        self._faults: list[_ScriptedFault] = []
        self._counts: dict[int, int | None] = {}
        self.endpoints = dict(OPTIONAL_ENDPOINTS)
        self.endpoints["logs"] = replace(self.endpoints["logs"], content=self._log_page)
        if teams is not None:
            for name in ("logs", "secrets"):
                self.endpoints[name] = replace(self.endpoints[name], data=lambda *_: [])

    def start(self) -> Sandbox:
        """Serves in a daemon thread until `stop`, and returns the sandbox itself."""
        self.stopping.clear()
        super().start()
        return self

    def stop(self) -> None:
        """Ends every response and connection at once. The teams are kept."""
        self.stopping.set()
        super().stop()

    def __enter__(self) -> Sandbox:
        return self.start()

    # --- faults -------------------------------------------------------------------------------------------------------

    def fault(self, fault: Fault, *, team_id: int | None = None, times: int = 1, path: str | None = None) -> None:
        """Scripts how the next requests are answered. Faults queue: the first one that fits a request is used.

        Args:
            fault: The fault.
            team_id: The team it waits for; None for any request to the API.
            times: The number of requests it is used for.
            path: The end of the path, such as `/T3S70/logs`; None for any.
        """
        with self._lock:
            self._faults.append(_ScriptedFault(fault, team_id, times, path))

    def clear_faults(self) -> None:
        """Removes every fault still waiting."""
        with self._lock:
            self._faults.clear()

    def _next_fault(self, team_id: int | None, path: str) -> Fault:
        """The fault for this request; one that changes nothing if none is scripted."""
        for scripted in self._faults:
            if scripted.team_id in (None, team_id) and path.endswith(scripted.path or ""):
                scripted.times -= 1
                if scripted.times < 1:
                    self._faults.remove(scripted)
                return scripted.fault
        return Fault()

    def respond_to_api(self, request: Request) -> Response:
        """The response with the next fault; records the request."""
        at = time.monotonic()
        match = _TEAM.match(request.path)
        team_id = int(match[1]) if match else None
        fault = self._next_fault(team_id, request.path)
        request_id = new_request_id() if fault.request_id is True else fault.request_id or None
        response = fault.applied_to(super().respond_to_api(replace(request, request_id=request_id or "")), request_id)
        headers = {name.lower(): value for name, value in response.headers.items()}
        seen = headers.get("x-request-id") or (None if fault.body is not None else request_id)
        sent = (None, 0) if fault.is_silent else (seen, response.status)
        include_configs = {"true": True, "false": False}.get(request.query.get("include_configs", ""))
        asked = request.method, request.path, team_id, include_configs, request.query, request.headers
        self.requests.append(ReceivedRequest(*asked, *sent, at))
        return response

    # --- data ---------------------------------------------------------------------------------------------------------

    def report_count(self, team_id: int, count: int | None) -> None:
        """Makes the `count` of a team's listings differ from their length; None makes them equal again."""
        with self._lock:
            self._counts[team_id] = count

    def set_team(self, team_id: int, **fields: Any) -> None:
        """Changes what the API says about a team, such as its `name`; `OMIT` leaves a field out."""
        with self._lock:
            info = {**self.optional_data("teams", team_id), **fields}
            self._optional_data["teams", team_id, None] = {k: v for k, v in info.items() if v is not OMIT}

    def add_log(self, team_id: int, connector_identifier: str, *entries: Mapping[str, Any]) -> None:
        """Adds entries in the API's wire shape, not checked, to a connector's log. The order of times is free."""
        with self._lock:
            self.optional_data("logs", team_id, connector_identifier).extend(map(dict, entries))

    def set_secrets(self, team_id: int, connector_identifier: str, secrets: Mapping[str, str]) -> None:
        """Gives a connector these secrets: names by placeholder."""
        with self._lock:
            self.optional_data("secrets", team_id, connector_identifier)[:] = [
                {"secret_placeholder": placeholder, "secret_name": name} for placeholder, name in secrets.items()
            ]

    def _listing(self, team_id: int, include_configs: str) -> Any:
        listing = super()._listing(team_id, include_configs)
        count = self._counts.get(team_id)
        return listing if count is None else {**listing, "count": count}

    def _log_page(self, log: list[dict[str, Any]], request: Request) -> Any:
        return {"logs": log_page(log, request)["logs"][: self.log_page]}
