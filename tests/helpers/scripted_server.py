"""A server that sends exactly the bytes of a script, for responses that no well-behaved server sends."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

Script = Callable[["Request"], bytes | Iterable[bytes]]
"""Makes the response to a request: bytes, or pieces that are sent one after the other."""


@dataclass(frozen=True)
class Request:
    """A received request.

    Attributes:
        connection: The connection, counted from 0.
        number: The request of that connection, counted from 0.
        line: The first line, such as `GET /v1/teams/1/connector_builder/connectors?include_configs=false HTTP/1.1`.
        team_id: The team in the path; 0 without one.
        head: The line and the headers.
    """

    connection: int
    number: int
    line: str
    team_id: int
    head: str


@dataclass
class ScriptedServer:
    """A running server.

    Attributes:
        port: On 127.0.0.1.
        requests: The received requests, oldest first.
    """

    port: int
    requests: list[Request] = field(default_factory=list)


@contextmanager
def serving(script: Script, context: ssl.SSLContext | None = None) -> Iterator[ScriptedServer]:
    """Serves until the block ends, in one thread per connection; with a context over TLS."""
    open_connections: list[socket.socket] = []

    def serve(connection: socket.socket, number: int) -> None:
        with suppress(OSError):  # the client ended it, or the block did
            stream = context.wrap_socket(connection, server_side=True) if context else connection
            open_connections.append(stream)
            _converse(stream, number, script, server.requests)

    def accept() -> None:
        with suppress(OSError):  # the block ended
            while True:
                connection, _ = listener.accept()
                open_connections.append(connection)
                threads.append(threading.Thread(target=serve, args=(connection, len(threads)), daemon=True))
                threads[-1].start()

    threads: list[threading.Thread] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = ScriptedServer(listener.getsockname()[1])
        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        try:
            yield server
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join()
            for connection in open_connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
                connection.close()
            for thread in threads:
                thread.join()


def _converse(stream: socket.socket, connection: int, script: Script, requests: list[Request]) -> None:
    received, number = b"", 0
    while data := stream.recv(65_536):
        received += data
        while b"\r\n\r\n" in received:
            head, _, received = received.partition(b"\r\n\r\n")
            line = head.decode().partition("\r\n")[0]
            team = line.partition("/teams/")[2].partition("/")[0]
            request = Request(connection, number, line, int(team or 0), head.decode())
            requests.append(request)
            number += 1
            answer = script(request)
            for piece in [answer] if isinstance(answer, bytes) else answer:
                stream.sendall(piece)


def listing(team_id: int, **headers: Any) -> bytes:
    """A 200 that lists one connector, whose identifier contains the team."""
    connectors = [{"connector_identifier": f"OF_{team_id}", "name": f"Connector of team {team_id}"}]
    return answer(json.dumps({"count": 1, "connectors": connectors}).encode(), **headers)


def answer(body: bytes, status: str = "200 OK", **headers: Any) -> bytes:
    """A response with these headers (`X_Request_Id` is `X-Request-Id`) and, by default, the length of its body."""
    headers = {"Content_Type": "application/json", "Content_Length": len(body), **headers}
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items() if value is not None]
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode() + body
