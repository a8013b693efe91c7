"""A local stand-in of the Supermetrics connector listing, for trying the source out and for its tests.

It speaks real HTTP on 127.0.0.1 and answers like the API: `GET /v1/teams/{team_id}/connector_builder/connectors` with
a bearer token, error envelopes, request ids and rate-limit headers. What it holds can be changed while it runs, from
Python by the methods of `Sandbox` or with curl under `/sandbox/` (see `usage`), and it fails on demand (see `Fault`).

It answers only who asks for this machine: a page that a person visits meanwhile can send requests here too, by a name
of its own for 127.0.0.1 or from its own origin, and must not read or change anything.
"""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson

from .faults import Answer, Fault, SandboxError, compose, refusal
from .server import Server
from .state import MAX_TEAM_ID, Connector, State, Team

DEFAULT_TOKEN = "api_sandbox_not_a_real_key"  # noqa: S105 - made up, opens nothing but a sandbox
_LISTING_PATH = re.compile(r"/v1/teams/(?P<team>[^/]+)/connector_builder/connectors(?:/(?P<identifier>[^/]+))?")
_ADMIN_PATH = re.compile(
    r"/sandbox/teams/(?P<team>[0-9]{1,19})/connectors(?:/(?P<identifier>[^/]+)(?P<configuration>/configuration)?)?"
)
_TEAM_ID = re.compile(r"[0-9]{1,19}")


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
class _ScriptedFault:
    """A fault, the team it waits for (None: any) and how many requests it is still good for."""

    fault: Fault
    team_id: int | None
    times: int


class Sandbox(State):
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
        super().__init__(teams)
        self.token = token
        self.tokens = {token}
        self.requests: list[ReceivedRequest] = []
        self.latency = latency
        self.rate_limit = rate_limit
        self.rate_window = rate_window
        self._port = port
        self.stopping = threading.Event()
        self._server: Server | None = None
        self._faults: list[_ScriptedFault] = []
        self._requests_in_window = 0
        self._window_ends = 0.0

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
            self.stopping.clear()
            self._server = Server(self, self._port)
            self._port = self._server.server_address[1]
            self._server.serve_in_thread()
        return self

    def stop(self) -> None:
        """Closes every connection, also those being answered, and waits for their threads. What it holds stays."""
        if self._server is not None:
            self.stopping.set()
            self._server.close()
            self._server = None

    def __enter__(self) -> Sandbox:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

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

    def answer_api(self, method: str, target: str, headers: dict[str, str]) -> tuple[Answer, Fault]:
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
    ) -> Answer:
        """The answer, proper or not, with the marks of the fault and the rate limit on it."""
        limits, wait = self._spend()
        if not fault.answers_properly:
            return compose(fault, limits)
        if wait:
            return compose(replace(fault, status=429, retry_after=wait), limits)
        try:
            return compose(replace(fault, body=self._read(method, match, query, headers)), limits)
        except SandboxError as error:
            return compose(refusal(error, fault), {**limits, **error.headers})

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
            raise SandboxError(400, f"team_id must be an integer from 1 to {MAX_TEAM_ID}, got {match['team']!r}.")
        if include_configs is None and "include_configs" in query:
            raise SandboxError(400, f"include_configs must be true or false, got {query['include_configs']!r}.")
        if team_id not in self._teams:
            raise SandboxError(403, "The token's owner does not belong to this team.")
        if match["identifier"] is not None:
            return orjson.dumps(self._find(team_id, match["identifier"])[1])
        return self._listing(self._teams[team_id], include_configs or False)

    def _listing(self, team: Team, include_configs: bool) -> bytes:
        """The encoded listing, kept until the team changes: a benchmark should measure its client."""
        if include_configs not in team.bodies:
            count = len(team.connectors) if team.reported_count is None else team.reported_count
            team.bodies[include_configs] = orjson.dumps({"count": count, "connectors": team.listed(include_configs)})
        return team.bodies[include_configs]

    def answer_admin(self, method: str, target: str, body: bytes) -> Answer:
        """Changes what the sandbox holds, for a person with curl; shows the connector concerned."""
        try:
            status, connector = self._administer(method, _split(target)[0], body)
        except SandboxError as error:
            return compose(refusal(error, Fault()), error.headers)
        return compose(Fault(status, body=orjson.dumps(connector)), {})

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
            _only("PUT, PATCH", method)
            fields = _configuration(body)
            if method == "PATCH":
                fields["configuration_json"] = _merged(
                    self._definition(team_id, identifier), fields["configuration_json"]
                )
            return 200, self._configure(team_id, identifier, fields)
        _only("PATCH, DELETE", method)
        if method == "DELETE":
            return 200, self._delete(team_id, identifier)
        return 200, self._edit(team_id, identifier, _json_object(body))


def usage(url: str, token: str) -> str:
    """How to use a sandbox with the shipped teams from a shell.

    Args:
        url: Base URL of a running sandbox.
        token: A token it accepts.

    Returns:
        Lines to copy: comments and one curl command each to list, add, edit, configure, reconfigure and delete.
    """
    team = "teams/936506"
    listing = f"'{url}/v1/{team}/connector_builder/connectors?include_configs=true'"
    connectors = f"{url}/sandbox/{team}/connectors"
    added = '{"connector_identifier": "NEW01", "name": "Support desk"}'
    configured = '{"configuration_json": {"authentication": {"type": "api_key"}}}'
    reconfigured = '{"configuration_json": {"reporting": {"pagination": {"page_size": 1000}}}}'
    return "\n".join(
        [
            "# list a team's connectors, with their configurations",
            f"curl -sS -H 'Authorization: Bearer {token}' {listing}",
            "# add a connector",
            f"curl -sS -X POST {connectors} -d '{added}'",
            "# edit it: its updated_at moves to now",
            f"""curl -sS -X PATCH {connectors}/NEW01 -d '{{"name": "Service desk"}}'""",
            "# give it a configuration: only the configuration's own updated_at moves",
            f"curl -sS -X PUT {connectors}/NEW01/configuration -d '{configured}'",
            "# change one setting in the configuration of another",
            f"curl -sS -X PATCH {connectors}/T3S70/configuration -d '{reconfigured}'",
            "# delete the one that was added",
            f"curl -sS -X DELETE {connectors}/NEW01",
        ]
    )


def _split(target: str) -> tuple[str, dict[str, str]]:
    """Path and query parameters of a request target."""
    parts = urlsplit(target)
    return parts.path, dict(parse_qsl(parts.query, keep_blank_values=True))


def _team_id(text: str) -> int | None:
    """The team id a path names, None if it is none."""
    if _TEAM_ID.fullmatch(text) and 1 <= int(text) <= MAX_TEAM_ID:
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


def _merged(old: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The document with the members of another: null takes one away, as in a JSON merge patch (RFC 7396)."""
    merged = {name: value for name, value in old.items() if name not in changes}
    for name, value in changes.items():
        if isinstance(value, dict):
            before = old.get(name)
            merged[name] = _merged(before if isinstance(before, dict) else {}, value)
        elif value is not None:
            merged[name] = value
    return merged


def _configuration(body: bytes) -> dict[str, Any]:
    """The fields of a configuration, of which the definition itself must be one."""
    fields = _json_object(body)
    if not isinstance(fields.get("configuration_json"), dict):
        raise SandboxError(400, 'The body must look like {"configuration_json": {...}}.')
    return fields


def _only(allowed: str, method: str) -> None:
    if method not in allowed.split(", "):
        raise SandboxError(405, f"{method} is not offered here, only {allowed}.", {"Allow": allowed})
