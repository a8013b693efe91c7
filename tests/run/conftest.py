"""A sandbox of the API to which the environment of a command points, and a chat."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.helpers.commands import cli, with_two_teams  # noqa: F401 - a fixture
from tests.helpers.sandbox import Sandbox

HOOK = "/services/T000/B000/not-a-real-webhook"


@pytest.fixture
def api(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """The sandbox with a connector in each of two teams."""
    return with_two_teams(sandbox, monkeypatch)


class Chat(ThreadingHTTPServer):
    """The webhook of a chat, which keeps its messages."""

    def __init__(self) -> None:
        self.posted: list[tuple[str, dict[str, Any]]] = []
        self.status = 200
        super().__init__(("127.0.0.1", 0), _Webhook)

    @property
    def webhook(self) -> str:
        """The secret URL."""
        return f"http://127.0.0.1:{self.server_address[1]}{HOOK}"

    def texts(self) -> list[str]:
        """The messages since the last call."""
        texts = [message["text"] for path, message in self.posted if path == HOOK]
        self.posted.clear()
        return texts


class _Webhook(BaseHTTPRequestHandler):
    server: Chat

    def do_POST(self) -> None:
        """Keeps a message."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posted.append((self.path, json.loads(body)))
        self.send_response(self.server.status)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
        """Logs nothing."""


@pytest.fixture
def chat() -> Iterator[Chat]:
    """A running chat."""
    with Chat() as chat:
        thread = threading.Thread(target=chat.serve_forever, daemon=True)
        thread.start()
        yield chat
        chat.shutdown()
        thread.join()
