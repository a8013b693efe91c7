"""A local sandbox of the Supermetrics API, for trying the source out and for its tests.

The sandbox speaks HTTP on 127.0.0.1 and answers like the API: `GET /v1/teams/{team_id}/connector_builder/connectors`
and the optional endpoints, with a bearer token, error envelopes, request ids and rate-limit headers. Its teams can be
changed while it runs, from Python by the methods of `Sandbox` or with curl under `/sandbox/`.

The sandbox answers only requests that name this machine as their host and come from no other origin: a web page open in
a browser can send requests to 127.0.0.1 too, and must not read or change anything.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any
from urllib.parse import unquote

import orjson

from .endpoints import CONNECTORS, OPTIONAL_ENDPOINTS, path_pattern
from .responses import Request, Response, SandboxError, json_response
from .server import Handler, Server
from .state import MAX_TEAM_ID, Connector, State

DEFAULT_TOKEN = "api_sandbox_not_a_real_key"  # noqa: S105 - accepted by sandboxes only
_TEAM_ID = re.compile(r"[0-9]{1,19}")
_ADMIN_PATH = re.compile(
    r"/sandbox/teams/(?P<team>[0-9]{1,19})/connectors(?:/(?P<identifier>[^/]+)(?P<configuration>/configuration)?)?"
)


MAX_CONNECTORS = 1000
"""Connectors in a listing, at most."""


class Sandbox(State):
    """Teams and their connectors behind a local HTTP server. Every method may be called while the server runs.

    Args:
        port: TCP port on 127.0.0.1; 0 takes a free one, which is kept when the sandbox is started again.
        token: The accepted token.
        teams: Connectors by team id, in the API's wire shape and not checked; None for the shipped ones.

    Attributes:
        token: The token given.
        tokens: Every accepted token, each for all teams.
        rate_limit: Requests to the API within `rate_window`; further requests get 429.
        rate_window: Seconds until the limit resets, counted from the first request.
    """

    handler = Handler
    endpoints = OPTIONAL_ENDPOINTS
    rate_limit: int = 5000
    rate_window: float = 3600.0

    def __init__(
        self,
        *,
        port: int = 0,
        token: str = DEFAULT_TOKEN,
        teams: Mapping[int, Sequence[Mapping[str, Any]]] | None = None,
    ) -> None:
        super().__init__(teams)
        self.token = token
        self.tokens = {token}
        self._optional_data: dict[tuple[str, int, str | None], Any] = {}
        self._port = port
        self._server: Server | None = None
        self._requests_in_window = 0
        self._window_ends = 0.0

    # --- the server ---------------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """The base URL, `http://127.0.0.1:PORT`. A free port is known after the first start."""
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> Sandbox:
        """Serves in a daemon thread until `stop`, and returns the sandbox itself.

        Raises:
            OSError: The port is taken.
        """
        if self._server is None:
            self._server = Server(self, self.handler, self._port)
            self._port = self._server.server_address[1]
        return self

    def stop(self) -> None:
        """Closes every connection and waits for their threads. The teams are kept."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def __enter__(self) -> Sandbox:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    # --- the API ------------------------------------------------------------------------------------------------------

    def respond(self, request: Request) -> Response:
        """The response to a request, to the API or to change the sandbox."""
        with self._lock:
            return (self.respond_to_admin if request.path.startswith("/sandbox/") else self.respond_to_api)(request)

    def respond_to_api(self, request: Request) -> Response:
        """The response to a request to the API."""
        limits, wait = self._count_request()
        if wait:
            return SandboxError(429, None, {"Retry-After": str(wait)}).response(request.request_id, limits)
        try:
            return json_response(200, self._content(request), request.request_id, limits)
        except SandboxError as error:
            return error.response(request.request_id, limits)

    def _count_request(self) -> tuple[dict[str, str], int]:
        """Counts a request; its rate-limit headers, and the seconds to wait if the limit is exceeded, else 0."""
        now = time.monotonic()
        if now >= self._window_ends:
            self._requests_in_window, self._window_ends = 0, now + self.rate_window
        self._requests_in_window += 1
        left = self.rate_limit - self._requests_in_window
        headers = {"X-RateLimit-Limit": str(self.rate_limit), "X-RateLimit-Remaining": str(max(left, 0))}
        return headers, math.ceil(self._window_ends - now) if left < 0 else 0

    def _content(self, request: Request) -> Any:
        """The content of a successful response."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or token not in self.tokens:
            raise SandboxError(401, "Send the header 'Authorization: Bearer <token>' with a token of this sandbox.")
        name, match = self._route(request.path)
        _allow("GET", request)
        team_id = int(match["team_id"]) if _TEAM_ID.fullmatch(match["team_id"]) else 0
        if not 1 <= team_id <= MAX_TEAM_ID:
            raise SandboxError(400, f"team_id must be an integer from 1 to {MAX_TEAM_ID}, got {match['team_id']!r}.")
        if team_id not in self._teams:
            raise SandboxError(403, "The token's owner does not belong to this team.")
        if name is None:
            return self._listing(team_id, request.query.get("include_configs", "false"))
        identifier = match.groupdict().get("connector_identifier")
        return self.endpoints[name].content(
            self.optional_data(name, team_id, identifier and unquote(identifier)), request
        )

    def _route(self, path: str) -> tuple[str | None, re.Match[str]]:
        """The optional endpoint of a path, None for the listing, and the path's parts."""
        paths: dict[str | None, str] = {
            None: CONNECTORS,
            **{name: endpoint.path for name, endpoint in self.endpoints.items()},
        }
        for name, known in paths.items():
            if match := path_pattern(known).fullmatch(path):
                return name, match
        raise SandboxError(404, f"The sandbox knows {', '.join(paths.values())}.")

    def _listing(self, team_id: int, include_configs: str) -> Any:
        if include_configs not in ("true", "false"):
            raise SandboxError(400, f"include_configs must be true or false, got {include_configs!r}.")
        connectors = self.connectors(team_id, include_configs == "true")
        return {"count": len(connectors), "connectors": connectors[:MAX_CONNECTORS]}

    def optional_data(self, name: str, team_id: int, identifier: str | None = None) -> Any:
        """The data of an optional endpoint for a team or a connector; made on first use."""
        connector = None if identifier is None else self.connector(team_id, identifier)
        key = name, team_id, identifier
        if key not in self._optional_data:
            self._optional_data[key] = self.endpoints[name].data(team_id, connector)
        return self._optional_data[key]

    # --- changes over HTTP --------------------------------------------------------------------------------------------

    def respond_to_admin(self, request: Request) -> Response:
        """The response to a request that changes a connector: the connector."""
        try:
            status, connector = self._administer(request)
        except SandboxError as error:
            return error.response(request.request_id)
        return json_response(status, connector, request.request_id)

    def _administer(self, request: Request) -> tuple[int, Connector]:
        match = _ADMIN_PATH.fullmatch(request.path)
        if match is None:
            form = "/sandbox/teams/{team_id}/connectors[/{connector_identifier}[/configuration]]"
            raise SandboxError(404, f"The sandbox is changed at {form}.")
        team_id, identifier = int(match["team"]), match["identifier"]
        if identifier is None:
            _allow("POST", request)
            return 201, self.add_connector(team_id, **_json_object(request.body))
        if match["configuration"]:
            _allow("PUT", request)
            fields = _json_object(request.body)
            if not isinstance(fields.get("configuration_json"), dict):
                raise SandboxError(400, 'The body must look like {"configuration_json": {...}}.')
            return 200, self.edit_configuration(team_id, identifier, **fields)
        _allow("PATCH, DELETE", request)
        if request.method == "DELETE":
            return 200, self.delete_connector(team_id, identifier)
        return 200, self.edit_connector(team_id, identifier, **_json_object(request.body))


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        decoded = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise SandboxError(400, f"The body must be JSON: {error}.") from error
    if not isinstance(decoded, dict):
        raise SandboxError(400, f"The body must be a JSON object, got {type(decoded).__name__}.")
    return decoded


def _allow(methods: str, request: Request) -> None:
    if request.method not in methods.split(", "):
        raise SandboxError(405, f"{request.method} is not offered here, only {methods}.", {"Allow": methods})
