"""The sandbox's HTTP server on 127.0.0.1, with one thread per connection and for programs on this machine only."""

from __future__ import annotations

import contextlib
import logging
import socket
import socketserver
import sys
import threading
from http.server import BaseHTTPRequestHandler
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlsplit

from .responses import Request, Response, SandboxError

logger = logging.getLogger(__name__)

_LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")


class Application(Protocol):
    """Answers the server's requests."""

    def respond(self, request: Request) -> Response:
        """The response to a request. Called from any thread."""


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Serves an application with one thread per connection, until `close`.

    Args:
        application: Answers the requests.
        handler: Reads requests and sends responses.
        port: TCP port on 127.0.0.1; 0 takes a free one.
    """

    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, application: Application, handler: type[Handler], port: int) -> None:
        self.application = application
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), handler)
        # The poll interval is the time that shutdown() may have to wait.
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), name="sandbox", daemon=True)
        self._thread.start()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remembers the connection before its thread runs, so that `close` cannot miss it."""
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Ends a connection."""
        super().shutdown_request(request)
        self._open.discard(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Reports defects of the sandbox, not broken connections: the client or `close` broke those."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)

    def close(self) -> None:
        """Ends every connection, and waits for their threads."""
        self.shutdown()
        self._thread.join()
        for connection in list(self._open):
            with contextlib.suppress(OSError):  # its thread may have closed the connection
                connection.shutdown(socket.SHUT_RDWR)
        self.server_close()  # waits for the threads


class Handler(BaseHTTPRequestHandler):
    """Reads requests from a connection and sends responses."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def answer(self) -> None:
        """Answers one request of any method."""
        request = self._read_request()
        if self._is_cross_origin():
            error = SandboxError(403, "The sandbox is for programs on this machine, not for web pages.")
            response = error.response(request.request_id)
        else:
            response = self.server.application.respond(request)
        self.send(response)
        logger.info("%s %s -> %s", self.command, self.path, response.status)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer  # noqa: N815 - the base's names

    def send(self, response: Response) -> None:
        """Sends a response."""
        self.wfile.write(response.head + (b"" if self.command == "HEAD" else response.body))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """Silent: the base prints to stderr."""

    def _read_request(self) -> Request:
        """The request with its body: a body left unread would be taken for the next request."""
        if "Transfer-Encoding" in self.headers:
            self.close_connection = True
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        target = urlsplit(self.path)
        query = dict(parse_qsl(target.query, keep_blank_values=True))
        headers = {name.lower(): value for name, value in self.headers.items()}
        return Request(self.command, target.path, query, headers, body)

    def _is_cross_origin(self) -> bool:
        """Whether the request names another host than this machine, or comes from a page of another origin.

        Browsers always name a host, and for a request to another origin the page's own origin.
        """
        hosts = {f"{name}:{self.server.server_address[1]}" for name in _LOOPBACK_NAMES}
        named, origins = ({*self.headers.get_all(name, [])} for name in ("Host", "Origin"))
        return not (named <= hosts and origins <= {f"http://{host}" for host in hosts})
