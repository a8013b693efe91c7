"""A local stand-in of the Supermetrics connector listing, for trying the source out and for its tests.

It speaks real HTTP on 127.0.0.1 and answers like the API: `GET /v1/teams/{team_id}/connector_builder/connectors` with
a bearer token, error envelopes, request ids and rate-limit headers. What it holds can be changed while it runs, from
Python by the methods of `Sandbox` or with curl under `/sandbox/` (see `usage`), and it fails on demand (see `Fault`).

It answers only who asks for this machine: a page that a person visits meanwhile can send requests here too, by a name
of its own for 127.0.0.1 or from its own origin, and must not read or change anything.
"""

from __future__ import annotations

import contextlib
import logging
import math
import re
import secrets
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

import orjson

from .data import DEFAULT_LOGO, shipped_teams

logger = logging.getLogger(__name__)

Connector = dict[str, Any]
"""A connector in the API's wire shape; fields may be missing and unknown ones may be there."""

DEFAULT_TOKEN = "api_sandbox_not_a_real_key"  # noqa: S105 - made up, opens nothing but a sandbox
MAX_CONNECTORS = 1000
"""The API's `maxItems`: connectors beyond it are counted but not listed."""

OMIT: Any = object()
"""As the value of a field: leave the field out of what the API sends, instead of sending null."""

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

_LISTING_PATH = re.compile(r"/v1/teams/(?P<team>[^/]+)/connector_builder/connectors(?:/(?P<identifier>[^/]+))?")
_ADMIN_PATH = re.compile(
    r"/sandbox/teams/(?P<team>[0-9]{1,19})/connectors(?:/(?P<identifier>[^/]+)(?P<configuration>/configuration)?)?"
)
_PHRASES = {int(status): status.phrase for status in HTTPStatus}
_IDENTIFIER = re.compile(r"[A-Za-z0-9_-]{1,100}")
_TEAM_ID = re.compile(r"[0-9]{1,19}")
_MAX_TEAM_ID = 2**63 - 1
_LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")


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
class ReceivedRequest:
    """A request to the API as the sandbox saw it, noted before the answer goes out.

    Attributes:
        method: HTTP method, upper-case.
        path: Path without the query, as sent.
        team_id: Team of the path; None if the path names none.
        include_configs: As asked; None if the parameter is missing or neither `true` nor `false`.
        query: Query parameters; of a repeated one the last value.
        headers: Request headers by lower-case name.
        request_id: The request id that was sent back, None if none was.
        status: The HTTP status that was sent back, 0 if the client got none.
        at: Arrival, seconds of `time.monotonic`.
    """

    method: str
    path: str
    team_id: int | None
    include_configs: bool | None
    query: dict[str, str]
    headers: dict[str, str]
    request_id: str | None
    status: int
    at: float


@dataclass
class _Team:
    """The connectors of a team, the count it reports and its encoded listings by include_configs."""

    connectors: list[Connector]
    reported_count: int | None = None
    bodies: dict[bool, bytes] = field(default_factory=dict)

    def listed(self, include_configs: bool) -> list[Connector]:
        """The connectors as the API sends them, not copied."""
        connectors = self.connectors[:MAX_CONNECTORS]
        if include_configs:
            return connectors
        return [{name: value for name, value in each.items() if name != "configuration"} for each in connectors]


@dataclass
class _ScriptedFault:
    """A fault, the team it waits for (None: any) and how many requests it is still good for."""

    fault: Fault
    team_id: int | None
    times: int


@dataclass(frozen=True)
class _Answer:
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


class Sandbox:
    """The stand-in: teams and their connectors behind a local HTTP server. Every method may be called while it runs.

    Args:
        port: TCP port on 127.0.0.1; 0 takes a free one, which is kept when the sandbox is started again.
        token: The one token accepted at first; `tokens` holds all of them.
        teams: Connectors by team id, in the API's wire shape and not checked; None for the shipped ones.
        latency: Seconds before every answer of the API.
        rate_limit: Requests to the API within `rate_window`; the next ones get 429.
        rate_window: Seconds until the limit resets, counted from the first request; the API's is an hour.

    Attributes:
        token: The token given.
        tokens: Every token accepted, each for all teams; change it to rotate keys.
        requests: Every request to the API so far, oldest first.
    """

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
        self.token = token
        self.tokens = {token}
        self.requests: list[ReceivedRequest] = []
        self.latency = latency
        self.rate_limit = rate_limit
        self.rate_window = rate_window
        self._port = port
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._server: _Server | None = None
        self._faults: list[_ScriptedFault] = []
        self._requests_in_window = 0
        self._window_ends = 0.0
        self._named = 0
        self._teams: dict[int, _Team] = {}
        for team_id, connectors in (shipped_teams() if teams is None else teams).items():
            self.add_team(team_id, connectors)

    # --- the server ---------------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """The base URL, `http://127.0.0.1:PORT`.

        Raises:
            RuntimeError: The port is not known before the first start.
        """
        if self._port == 0:
            raise RuntimeError("The sandbox has no port yet: start() it first, or give it one.")
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> Sandbox:
        """Serves in a daemon thread until `stop`.

        Returns:
            The sandbox itself.

        Raises:
            OSError: The port is taken.
        """
        if self._server is None:
            self._stopping.clear()
            self._server = _Server(self, self._port)
            self._port = self._server.server_address[1]
            self._server.serve_in_thread()
        return self

    def stop(self) -> None:
        """Closes every connection, also those being answered, and waits for their threads. What it holds stays."""
        if self._server is not None:
            self._stopping.set()
            self._server.close()
            self._server = None

    def __enter__(self) -> Sandbox:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    # --- what it holds ------------------------------------------------------------------------------------------------

    @property
    def team_ids(self) -> list[int]:
        """The teams the tokens can see, in the order they were added."""
        with self._lock:
            return list(self._teams)

    def connectors(self, team_id: int, include_configs: bool = True) -> list[Connector]:
        """What the API would list now.

        Args:
            team_id: A team of the sandbox.
            include_configs: Whether connectors carry their `configuration`.

        Returns:
            Copies of the connectors in the order listed.

        Raises:
            SandboxError: There is no such team (404).
        """
        with self._lock:
            return [_copied(each) for each in self._team(team_id).listed(include_configs)]

    def add_team(self, team_id: int, connectors: Iterable[Mapping[str, Any]] = ()) -> None:
        """Adds a team, or replaces the one of that id.

        Args:
            team_id: 1 … 9223372036854775807.
            connectors: In the API's wire shape; copied and not checked, so a test can break the contract.
        """
        with self._lock:
            self._teams[team_id] = _Team([_copied(each) for each in connectors])

    def remove_team(self, team_id: int) -> None:
        """Takes a team away from the tokens: asking for it is forbidden (403) from now on."""
        with self._lock:
            self._team(team_id)
            del self._teams[team_id]

    def add_connector(
        self,
        team_id: int,
        connector_identifier: str | None = None,
        *,
        name: str | None = "Sandbox connector",
        configuration: Mapping[str, Any] | None = OMIT,
        **fields: Any,
    ) -> Connector:
        """Adds a connector at the end of a team's listing; the team is added too if it is new.

        Args:
            team_id: 1 … 9223372036854775807.
            connector_identifier: 1 … 100 of `[A-Za-z0-9_-]`, made up when None.
            name: None is sent as null.
            configuration: In the API's wire shape. None is sent as null; by default the connector has none.
            **fields: Any other field as the API would send it, `OMIT` for none of it. Unless given, the description
                is null, the logo the API's default and both dates are now.

        Returns:
            A copy of the connector, with its configuration.

        Raises:
            SandboxError: The identifier or team id is malformed (422), or the identifier is already in the team (409).
        """
        given = {"name": name, "configuration": configuration, **fields}
        if connector_identifier is not None:
            given["connector_identifier"] = connector_identifier
        return self._add(team_id, given)

    def edit_connector(self, team_id: int, connector_identifier: str, **fields: Any) -> Connector:
        """Changes fields of a connector and moves its `updated_at` to now, unless that is one of the fields.

        Args:
            team_id: A team of the sandbox.
            connector_identifier: A connector of that team.
            **fields: New values; `OMIT` takes the field away.

        Returns:
            A copy of the connector, with its configuration.

        Raises:
            SandboxError: There is no such team or connector (404).
        """
        return self._edit(team_id, connector_identifier, fields)

    def delete_connector(self, team_id: int, connector_identifier: str) -> None:
        """Takes a connector out of the listing.

        Raises:
            SandboxError: There is no such team or connector (404).
        """
        self._delete(team_id, connector_identifier)

    def edit_configuration(
        self, team_id: int, connector_identifier: str, configuration_json: Mapping[str, Any], **fields: Any
    ) -> Connector:
        """Gives a connector a new definition. The configuration's `updated_at` moves, the connector's own does not.

        Args:
            team_id: A team of the sandbox.
            connector_identifier: A connector of that team, with or without a configuration so far.
            configuration_json: The whole new definition.
            **fields: Further fields of the configuration. Unless given, `version` counts up and `updated_at` is now.

        Returns:
            A copy of the connector, with its configuration.

        Raises:
            SandboxError: There is no such team or connector (404).
        """
        return self._configure(team_id, connector_identifier, {**fields, "configuration_json": configuration_json})

    def report_count(self, team_id: int, count: int | None) -> None:
        """Makes a team's `count` differ from its listing.

        Args:
            team_id: A team of the sandbox.
            count: The number to report; None goes back to the truth.
        """
        with self._lock:
            team = self._team(team_id)
            team.reported_count = count
            team.bodies.clear()

    def _team(self, team_id: int) -> _Team:
        if team_id not in self._teams:
            there = ", ".join(map(str, self._teams)) or "none"
            raise SandboxError(404, f"Team {team_id} is not in the sandbox. Its teams: {there}.")
        return self._teams[team_id]

    def _find(self, team_id: int, identifier: str) -> tuple[_Team, Connector]:
        team = self._team(team_id)
        for connector in team.connectors:
            if connector.get("connector_identifier") == identifier:
                return team, connector
        raise SandboxError(404, f"Team {team_id} has no connector {identifier!r}.")

    def _add(self, team_id: int, fields: Mapping[str, Any]) -> Connector:
        with self._lock:
            connector = _changed(self._made_up(), fields)
            identifier = connector.get("connector_identifier")
            if not isinstance(identifier, str) or not _IDENTIFIER.fullmatch(identifier):
                raise SandboxError(
                    422, f"connector_identifier must be 1 to 100 of A-Z a-z 0-9 _ -, got {identifier!r}."
                )
            if not 1 <= team_id <= _MAX_TEAM_ID:
                raise SandboxError(422, f"team_id must be 1 to {_MAX_TEAM_ID}, got {team_id}.")
            team = self._teams.setdefault(team_id, _Team([]))
            if any(each.get("connector_identifier") == identifier for each in team.connectors):
                raise SandboxError(409, f"Team {team_id} already has a connector {identifier!r}.")
            team.connectors.append(connector)
            team.bodies.clear()
            return _copied(connector)

    def _made_up(self) -> Connector:
        """The fields of a connector that nobody gave a value, in the API's order."""
        self._named += 1
        return {
            "connector_identifier": f"SBX{self._named:02d}",
            "name": "Sandbox connector",
            "description": None,
            "logo_url": DEFAULT_LOGO,
            "created_at": _now(),
            "updated_at": _now(),
        }

    def _edit(self, team_id: int, identifier: str, fields: Mapping[str, Any]) -> Connector:
        if fields.get("connector_identifier", identifier) != identifier:
            raise SandboxError(400, "connector_identifier cannot be changed: delete the connector and add another.")
        return self._put(team_id, identifier, {"updated_at": _now(), **fields})

    def _configure(self, team_id: int, identifier: str, fields: Mapping[str, Any]) -> Connector:
        with self._lock:
            _, connector = self._find(team_id, identifier)
            old = connector.get("configuration") or {"version": None, "configuration_json": {}, "created_at": _now()}
            moved = {"version": _next_version(old.get("version")), "updated_at": _now()}
            return self._put(team_id, identifier, {"configuration": _changed(old, {**moved, **fields})})

    def _put(self, team_id: int, identifier: str, fields: Mapping[str, Any]) -> Connector:
        with self._lock:
            team, connector = self._find(team_id, identifier)
            changed = _changed(connector, fields)
            team.connectors[team.connectors.index(connector)] = changed
            team.bodies.clear()
            return _copied(changed)

    def _delete(self, team_id: int, identifier: str) -> Connector:
        with self._lock:
            team, connector = self._find(team_id, identifier)
            team.connectors.remove(connector)
            team.bodies.clear()
            return connector

    # --- faults -------------------------------------------------------------------------------------------------------

    def fault(self, fault: Fault, *, team_id: int | None = None, times: int = 1) -> None:
        """Scripts how the next requests are answered. Faults queue: the first one that fits a request is used.

        Args:
            fault: What happens.
            team_id: The team it waits for; None for any request to the API.
            times: Requests it is good for.
        """
        with self._lock:
            self._faults.append(_ScriptedFault(fault, team_id, times))

    def clear_faults(self) -> None:
        """Forgets every fault still waiting."""
        with self._lock:
            self._faults.clear()

    def _next_fault(self, team_id: int | None) -> Fault:
        """The fault this request meets; one that changes nothing if none is scripted."""
        for scripted in self._faults:
            if scripted.team_id in (None, team_id):
                scripted.times -= 1
                if scripted.times < 1:
                    self._faults.remove(scripted)
                return scripted.fault
        return Fault()

    # --- answering ----------------------------------------------------------------------------------------------------

    def _answer_api(self, method: str, target: str, headers: dict[str, str]) -> tuple[_Answer, Fault]:
        """Answers a request to the API and notes it in `requests`."""
        at = time.monotonic()
        path, query = _split(target)
        match = _LISTING_PATH.fullmatch(path)
        team_id = _team_id(match["team"]) if match else None
        with self._lock:
            fault = self._next_fault(team_id)
            answer = self._scripted(fault, method, match, query, headers)
            sent = (None, 0) if fault.silent else (answer.request_id, answer.status)
            self.requests.append(ReceivedRequest(method, path, team_id, _flag(query), query, headers, *sent, at))
        return answer, fault

    def _scripted(
        self, fault: Fault, method: str, match: re.Match[str] | None, query: dict[str, str], headers: dict[str, str]
    ) -> _Answer:
        """The answer, proper or not, with the marks of the fault and the rate limit on it."""
        limits, wait = self._spend()
        if not fault.answers_properly:
            return _compose(fault, limits)
        if wait:
            return _compose(replace(fault, status=429, retry_after=wait), limits)
        try:
            return _compose(replace(fault, body=self._read(method, match, query, headers)), limits)
        except SandboxError as error:
            return _compose(_refusal(error, fault), {**limits, **error.headers})

    def _spend(self) -> tuple[dict[str, str], int]:
        """Counts a request; its rate-limit headers, and the seconds to wait if it is one too many, else 0."""
        now = time.monotonic()
        if now >= self._window_ends:
            self._requests_in_window, self._window_ends = 0, now + self.rate_window
        self._requests_in_window += 1
        left = self.rate_limit - self._requests_in_window
        headers = {"X-RateLimit-Limit": str(self.rate_limit), "X-RateLimit-Remaining": str(max(left, 0))}
        return headers, math.ceil(self._window_ends - now) if left < 0 else 0

    def _read(self, method: str, match: re.Match[str] | None, query: dict[str, str], headers: dict[str, str]) -> bytes:
        """The body of a proper answer: the listing, or the one connector that the path names."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or token not in self.tokens:
            raise SandboxError(401, "Send the header 'Authorization: Bearer <token>' with a token of this sandbox.")
        if match is None:
            raise SandboxError(404, "The sandbox knows /v1/teams/{team_id}/connector_builder/connectors.")
        _only("GET", method)
        team_id, include_configs = _team_id(match["team"]), _flag(query)
        if team_id is None:
            raise SandboxError(400, f"team_id must be an integer from 1 to {_MAX_TEAM_ID}, got {match['team']!r}.")
        if include_configs is None and "include_configs" in query:
            raise SandboxError(400, f"include_configs must be true or false, got {query['include_configs']!r}.")
        if team_id not in self._teams:
            raise SandboxError(403, "The token's owner does not belong to this team.")
        if match["identifier"] is not None:
            return orjson.dumps(self._find(team_id, match["identifier"])[1])
        return self._listing(self._teams[team_id], include_configs or False)

    def _listing(self, team: _Team, include_configs: bool) -> bytes:
        """The encoded listing, kept until the team changes: a benchmark should measure its client."""
        if include_configs not in team.bodies:
            count = len(team.connectors) if team.reported_count is None else team.reported_count
            team.bodies[include_configs] = orjson.dumps({"count": count, "connectors": team.listed(include_configs)})
        return team.bodies[include_configs]

    def _answer_admin(self, method: str, target: str, body: bytes) -> _Answer:
        """Changes what the sandbox holds, for a person with curl; shows the connector concerned."""
        try:
            status, connector = self._administer(method, _split(target)[0], body)
        except SandboxError as error:
            return _compose(_refusal(error, Fault()), error.headers)
        return _compose(Fault(status, body=orjson.dumps(connector)), {})

    def _administer(self, method: str, path: str, body: bytes) -> tuple[int, Connector]:
        match = _ADMIN_PATH.fullmatch(path)
        if match is None:
            form = "/sandbox/teams/{team_id}/connectors[/{connector_identifier}[/configuration]]"
            raise SandboxError(404, f"The sandbox is changed at {form}.")
        team_id, identifier = int(match["team"]), match["identifier"]
        if identifier is None:
            _only("POST", method)
            return 201, self._add(team_id, _json_object(body))
        if match["configuration"]:
            _only("PUT", method)
            return 200, self._configure(team_id, identifier, _configuration(body))
        _only("PATCH, DELETE", method)
        if method == "DELETE":
            return 200, self._delete(team_id, identifier)
        return 200, self._edit(team_id, identifier, _json_object(body))


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """A thread a connection, every one of which can be ended at once."""

    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, sandbox: Sandbox, port: int) -> None:
        self.sandbox = sandbox
        self._open: dict[socket.socket, threading.Thread] = {}
        super().__init__(("127.0.0.1", port), _Handler)

    def serve_in_thread(self) -> None:
        # The poll interval is what shutdown() may have to wait for.
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), name="sandbox", daemon=True)
        self._thread.start()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remembers the connection before its thread runs, so that `close` cannot miss it."""
        thread = threading.Thread(target=self.process_request_thread, args=(request, client_address), daemon=True)
        self._open[request] = thread
        thread.start()

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        self._open.pop(request, None)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke is the client's doing or `close`'s; anything else is a defect of the sandbox."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)

    def close(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()
        for connection, thread in list(self._open.items()):
            with contextlib.suppress(OSError):  # its thread may have closed it by now
                connection.shutdown(socket.SHUT_RDWR)
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    """Reads requests off a connection and sends answers, whole or broken as scripted."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def answer(self) -> None:
        """Answers one request, of whatever method."""
        sandbox, body = self.server.sandbox, self._body()
        if self._is_a_stranger_s():
            refusal = SandboxError(403, "The sandbox is for programs on this machine, not for web pages.")
            answer = _compose(_refusal(refusal, Fault()), {})
            self._send(answer, Fault())
        elif self.path.startswith("/sandbox/"):
            answer = sandbox._answer_admin(self.command, self.path, body)
            self._send(answer, Fault())
        else:
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer, fault = sandbox._answer_api(self.command, self.path, headers)
            self._send(answer, fault, sandbox.latency)
        logger.info("%s %s -> %s", self.command, self.path, answer.status)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer  # noqa: N815 - the base's names

    def _is_a_stranger_s(self) -> bool:
        """Whether the request names another host than this machine, or comes from the page of another origin.

        Browsers always name a host, and with what a page sends to another origin the page's own.
        """
        hosts = {f"{name}:{self.server.server_address[1]}" for name in _LOOPBACK_NAMES}
        named, origins = ({*self.headers.get_all(name, [])} for name in ("Host", "Origin"))
        return not (named <= hosts and origins <= {f"http://{host}" for host in hosts})

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """Silent: the base prints to stderr."""

    def _body(self) -> bytes:
        """The request's body; read even where it is not wanted, or it would be taken for the next request."""
        if "Transfer-Encoding" in self.headers:
            self.close_connection = True
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _send(self, answer: _Answer, fault: Fault, latency: float = 0.0) -> None:
        if fault.stage is not None or not answer.framed:
            self.close_connection = True
        if self._stopped_within(None if fault.hang else fault.delay + latency) or fault.stage == "before_headers":
            self.close_connection = True
            return
        head, body = answer.head, b"" if self.command == "HEAD" else answer.body
        if fault.stage == "in_headers":
            head, body = head[: len(head) // 2], b""
        elif fault.stage == "mid_body":
            body = body[: len(body) // 2]
        self._write(head, body, fault.drip)

    def _write(self, head: bytes, body: bytes, drip: float) -> None:
        """Sends the head with the body, or the head followed by the body's bytes, one every `drip` seconds."""
        if not drip:
            self.wfile.write(head + body)
            return
        self.wfile.write(head)
        for position in range(len(body)):
            if self._stopped_within(drip):
                self.close_connection = True
                return
            self.wfile.write(body[position : position + 1])

    def _stopped_within(self, seconds: float | None) -> bool:
        """Waits that long, None for ever; True as soon as the sandbox stops."""
        return self.server.sandbox._stopping.wait(seconds)


def usage(url: str, token: str) -> str:
    """How to use a sandbox with the shipped teams from a shell.

    Args:
        url: Base URL of a running sandbox.
        token: A token it accepts.

    Returns:
        Lines to copy: comments and one curl command each to list, add, edit, configure and delete.
    """
    team = "teams/936506"
    listing = f"'{url}/v1/{team}/connector_builder/connectors?include_configs=true'"
    connectors = f"{url}/sandbox/{team}/connectors"
    added = '{"connector_identifier": "NEW01", "name": "Support desk"}'
    configured = '{"configuration_json": {"authentication": {"type": "api_key"}}}'
    return "\n".join(
        [
            "# list a team's connectors, with their configurations",
            f"curl -sS -H 'Authorization: Bearer {token}' {listing}",
            "# add a connector",
            f"curl -sS -X POST {connectors} -d '{added}'",
            "# edit it: its updated_at moves to now",
            f"""curl -sS -X PATCH {connectors}/NEW01 -d '{{"name": "Service desk"}}'""",
            "# edit its configuration: only the configuration's own updated_at moves",
            f"curl -sS -X PUT {connectors}/NEW01/configuration -d '{configured}'",
            "# delete it",
            f"curl -sS -X DELETE {connectors}/NEW01",
        ]
    )


def _copied(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A deep copy without the omitted fields. Through JSON: quicker than copy.deepcopy, and no surprise when served."""
    copied: dict[str, Any] = orjson.loads(orjson.dumps({k: v for k, v in fields.items() if v is not OMIT}))
    return copied


def _changed(record: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """The record with new values, in the order of the old ones, and without the fields to omit."""
    return _copied({**record, **fields})


def _now() -> str:
    """Now in UTC, to the second, as the API writes it: `2025-01-01T00:00:00Z`."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _next_version(version: object) -> str:
    """The version with its last number counted up, `1.0.0` after none, `….1` after one that ends in no number."""
    if not isinstance(version, str):
        return "1.0.0"
    stem, dot, last = version.rpartition(".")
    return f"{stem}{dot}{int(last) + 1}" if last.isdecimal() else f"{version}.1"


def _split(target: str) -> tuple[str, dict[str, str]]:
    """Path and query parameters of a request target."""
    parts = urlsplit(target)
    return parts.path, dict(parse_qsl(parts.query, keep_blank_values=True))


def _team_id(text: str) -> int | None:
    """The team id a path names, None if it is none."""
    if _TEAM_ID.fullmatch(text) and 1 <= int(text) <= _MAX_TEAM_ID:
        return int(text)
    return None


def _flag(query: Mapping[str, str]) -> bool | None:
    """`include_configs` as asked; None if it is missing or neither `true` nor `false`."""
    return {"true": True, "false": False}.get(query.get("include_configs", ""))


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        decoded = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise SandboxError(400, f"The body must be JSON: {error}.") from error
    if not isinstance(decoded, dict):
        raise SandboxError(400, f"The body must be a JSON object, got {type(decoded).__name__}.")
    return decoded


def _configuration(body: bytes) -> dict[str, Any]:
    """The fields of a configuration, of which the definition itself must be one."""
    fields = _json_object(body)
    if not isinstance(fields.get("configuration_json"), dict):
        raise SandboxError(400, 'The body must look like {"configuration_json": {...}}.')
    return fields


def _only(allowed: str, method: str) -> None:
    if method not in allowed.split(", "):
        raise SandboxError(405, f"{method} is not offered here, only {allowed}.", {"Allow": allowed})


def _phrase(status: int) -> str:
    """The HTTP standard's words for a status, such as `Bad Gateway`."""
    return _PHRASES.get(status, "Unknown Status")


def _refusal(error: SandboxError, fault: Fault) -> Fault:
    return replace(fault, status=error.status, description=error.description)


def _compose(fault: Fault, limits: Mapping[str, str]) -> _Answer:
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
    return _Answer(fault.status, sent, body, in_header or (request_id if fault.body is None else None))


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
