"""What a chat is told of a run, and that the run does not depend on it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from supermetrics_loader.cli.main import run
from supermetrics_loader.sandbox import Fault, Sandbox
from tests.helpers.commands import script
from tests.helpers.expectations import OTHER, TEAM

HOOK = "/services/T000/B000/not-a-real-webhook"


class Chat(ThreadingHTTPServer):
    """A chat's webhook: keeps what is posted, and answers as it is told."""

    def __init__(self) -> None:
        self.posted: list[tuple[str, dict[str, Any]]] = []
        self.status = 200
        super().__init__(("127.0.0.1", 0), _Webhook)

    @property
    def webhook(self) -> str:
        """Its secret address."""
        return f"http://127.0.0.1:{self.server_address[1]}{HOOK}"

    def texts(self) -> list[str]:
        """What has been posted since the last time."""
        texts = [message["text"] for path, message in self.posted if path == HOOK]
        self.posted.clear()
        return texts


class _Webhook(BaseHTTPRequestHandler):
    server: Chat

    def do_POST(self) -> None:
        """Takes a message."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posted.append((self.path, json.loads(body)))
        self.send_response(self.server.status)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
        """Keeps quiet."""


@pytest.fixture
def chat() -> Iterator[Chat]:
    """A chat that runs."""
    with Chat() as chat:
        thread = threading.Thread(target=chat.serve_forever, daemon=True)
        thread.start()
        yield chat
        chat.shutdown()
        thread.join()


def test_a_chat_is_told_of_changes_and_of_nothing_else(
    api: Sandbox, chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run without a change is silent, and a name can neither call everybody nor break a line."""
    monkeypatch.setenv("SUPERMETRICS_NOTIFY", chat.webhook)
    assert run(["load", "--json", "--include-configs"]) == 0
    [first] = chat.texts()
    assert first.splitlines()[0] == "2 connectors changed in supermetrics"
    assert f"added: team {TEAM} A Name A" in first.splitlines()
    assert run(["load", "--json", "--include-configs"]) == 0
    assert chat.texts() == []
    api.edit_connector(TEAM, "A", name="<!channel>\n& co")
    api.edit_configuration(OTHER, "A", {"a": 2})
    assert run(["load", "--json", "--include-configs", "--dry-run"]) == 0
    assert chat.texts() == [], "nothing has changed yet"
    assert run(["load", "--json", "--include-configs"]) == 0
    [text] = chat.texts()
    assert sorted(text.splitlines()) == [
        "2 connectors changed in supermetrics",
        f"changed: team {TEAM} A &lt;!channel&gt;\\n&amp; co",
        f"new configuration: team {OTHER} A Name A",
    ]


def test_a_chat_is_told_of_failures(api: Sandbox, chat: Chat) -> None:
    """Of one team among others, and of a run that ended; with what support asks for, and without the key."""
    api.fault(Fault(403), team_id=OTHER)
    assert run(["load", "--json", "--keep-going", "--notify", chat.webhook]) == 65
    api.fault(Fault(500, request_id="0123456789abc"), times=9)
    assert run(["load", "--json", "--notify", chat.webhook]) == 69
    partly, wholly = chat.texts()
    assert f"Failed: HTTP 403 FORBIDDEN for team {OTHER}" in partly
    assert "HTTP 500" in wholly
    assert "request_id=0123456789abc" in wholly
    assert api.token not in partly + wholly
    assert run(["load", "--notify", chat.webhook, "--shard"]) == 64
    assert chat.texts() == [], "a command that was typed wrong concerns who typed it"


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize(
    ("status", "address", "said"),
    [
        (500, "", "WARNING The chat did not take the message: HTTP 500\n"),
        (302, "", "WARNING The chat did not take the message: HTTP 302\n"),
        (200, f"http://127.0.0.1:1{HOOK}", "WARNING The chat could not be told: ConnectionError\n"),
        (200, f"chat.example{HOOK}", "WARNING The chat could not be told: MissingSchema\n"),
        (200, f"http://[{HOOK}", "WARNING The chat could not be told: InvalidURL\n"),
    ],
)
def test_a_chat_that_fails_does_not_fail_the_load(chat: Chat, status: int, address: str, said: str) -> None:
    """It is a warning without the webhook's address, by which whoever reads the log could post."""
    chat.status = status
    code, out, err = script("load", "--json", "-v", "--debug", SUPERMETRICS_NOTIFY=address or chat.webhook)
    assert (code, json.loads(out)["teams"][0]["status"]) == (0, "ok")
    assert said in err
    assert "not-a-real-webhook" not in out + err
    assert "/elsewhere" not in [path for path, _ in chat.posted]
