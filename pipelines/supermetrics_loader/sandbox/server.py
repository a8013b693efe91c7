"""HTTP on 127.0.0.1: a thread a connection, answers whole or broken as scripted, for nobody but this machine."""

from __future__ import annotations

import contextlib
import logging
import socket
import socketserver
import sys
import threading
from http.server import BaseHTTPRequestHandler
from typing import Any, Protocol

from .faults import Answer, Fault, SandboxError, compose, refusal

logger = logging.getLogger(__name__)

_LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")


class Answering(Protocol):
    """Who has the answers.

    Attributes:
        latency: Seconds before every answer of the API.
        stopping: Set as soon as nothing is to be answered any more.
    """

    latency: float
    stopping: threading.Event

    def answer_api(self, method: str, target: str, headers: dict[str, str]) -> tuple[Answer, Fault]:
        """Answers a request to the API."""

    def answer_admin(self, method: str, target: str, body: bytes) -> Answer:
        """Answers a request that changes what is held."""


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """A thread a connection, every one of which can be ended at once."""

    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, answering: Answering, port: int) -> None:
        self.answering = answering
        self._open: dict[socket.socket, threading.Thread] = {}
        super().__init__(("127.0.0.1", port), _Handler)

    def serve_in_thread(self) -> None:
        """Serves until `close`."""
        # The poll interval is what shutdown() may have to wait for.
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), name="sandbox", daemon=True)
        self._thread.start()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remembers the connection before its thread runs, so that `close` cannot miss it."""
        thread = threading.Thread(target=self.process_request_thread, args=(request, client_address), daemon=True)
        self._open[request] = thread
        thread.start()

    def shutdown_request(self, request: Any) -> None:
        """Ends a connection."""
        super().shutdown_request(request)
        self._open.pop(request, None)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke is the client's doing or `close`'s; anything else is a defect of the sandbox."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)

    def close(self) -> None:
        """Ends every connection, and waits for their threads."""
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
    server: Server

    def answer(self) -> None:
        """Answers one request, of whatever method."""
        answering, body = self.server.answering, self._body()
        if self._is_a_stranger_s():
            stranger = SandboxError(403, "The sandbox is for programs on this machine, not for web pages.")
            answer = compose(refusal(stranger, Fault()), {})
            self._send(answer, Fault())
        elif self.path.startswith("/sandbox/"):
            answer = answering.answer_admin(self.command, self.path, body)
            self._send(answer, Fault())
        else:
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer, fault = answering.answer_api(self.command, self.path, headers)
            self._send(answer, fault, answering.latency)
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

    def _send(self, answer: Answer, fault: Fault, latency: float = 0.0) -> None:
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
        return self.server.answering.stopping.wait(seconds)
