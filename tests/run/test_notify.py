"""Messages to a chat, and loads that do not depend on the chat."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

import supermetrics_loader.run.notify
from supermetrics_loader.cli.main import run
from supermetrics_loader.run.notify import notify
from tests.helpers.commands import Command, script
from tests.helpers.expectations import OTHER, TEAM
from tests.helpers.sandbox import Fault, Sandbox
from tests.helpers.scripted_server import Request, serving
from tests.run.conftest import HOOK, Chat


def test_a_chat_gets_changes_and_nothing_else(api: Sandbox, chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run without a change is silent. A name can neither mention a channel nor break a line."""
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


def test_a_chat_gets_failures(api: Sandbox, chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one team among others and of a run, with the request id and without the key. dlt's own setting is enough."""
    monkeypatch.setenv("RUNTIME__SLACK_INCOMING_HOOK", chat.webhook)
    api.fault(Fault(403), team_id=OTHER)
    assert run(["load", "--json", "--keep-going"]) == 65
    api.fault(Fault(500, request_id="0123456789abc"), times=99)
    monkeypatch.setenv("SOURCES__SUPERMETRICS__REQUEST_BACKOFF_FACTOR", "0")
    assert run(["load", "--json"]) == 69
    team, whole = chat.texts()
    assert f"Failed: HTTP 403 FORBIDDEN for team {OTHER}" in team
    assert "HTTP 500" in whole
    assert "request_id=0123456789abc" in whole
    assert api.token not in team + whole
    assert run(["load", "--shard"]) == 64
    assert chat.texts() == [], "a mistyped command concerns its author"
    monkeypatch.setenv("SOURCES__SUPERMETRICS__REQUEST_MAX_ATTEMPTS", "1")
    assert [run(["load", "--json", *options]) for options in (["--dry-run"], ["--notify", ""])] == [69, 69]
    monkeypatch.setenv("SUPERMETRICS_NOTIFY", "")
    assert run(["load", "--json"]) == 69
    assert chat.texts() == [], "a dry run posts nothing, and an empty setting switches messages off"


def dripping(_request: Request) -> Iterator[bytes]:
    """Sends a byte of the headers every 50 ms, for 20 seconds."""
    yield b"HTTP/1.1 200 OK\r\nX-Slow: "
    for _ in range(400):
        time.sleep(0.05)
        yield b"x"


@pytest.mark.parametrize(
    ("status", "address", "bundle", "problem"),
    [
        (500, "", "", "HTTP 500"),
        (302, "", "", "HTTP 302"),
        (200, f"http://127.0.0.1:1{HOOK}", "", "ConnectionError"),
        (200, f"chat.example{HOOK}", "", "MissingSchema"),
        (200, f"http://[{HOOK}", "", "InvalidURL"),
        (200, f"https://127.0.0.1:1{HOOK}", "/nonexistent/bundle.pem", "OSError"),
        (200, "dripping", "", "ReadTimeout"),
    ],
)
def test_a_failing_chat_is_one_warning(
    chat: Chat,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    status: int,
    address: str,
    bundle: str,
    problem: str,
) -> None:
    """The warning does not contain the URL, with which a reader of the log could post.

    The time limit covers the whole exchange: each byte of a dripping chat comes in time.
    """
    monkeypatch.setattr(supermetrics_loader.run.notify, "TIMEOUT_SECONDS", 0.5)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", bundle)
    chat.status = status
    started = time.monotonic()
    with serving(dripping) as server:
        slow = f"http://127.0.0.1:{server.port}{HOOK}"
        notify(slow if address == "dripping" else address or chat.webhook, "text")
    assert caplog.messages == [f"The message was not posted to the chat: {problem}"]
    assert time.monotonic() - started < 15
    assert "/elsewhere" not in [path for path, _ in chat.posted]


def test_a_failing_chat_does_not_replace_the_result_of_a_run(
    api: Sandbox, chat: Chat, cli: Command, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A load succeeds, and the reason of a 403 stays on standard error. No text contains the URL."""
    chat.status = 500
    monkeypatch.setenv("SUPERMETRICS_NOTIFY", chat.webhook)
    code, out, err = cli("load", "--json")
    assert (code, json.loads(out)["teams"][0]["status"], err) == (0, "ok", "")
    assert caplog.messages == ["The message was not posted to the chat: HTTP 500"]
    assert "not-a-real-webhook" not in out
    api.fault(Fault(403), team_id=OTHER)
    code, out, err = script("load", SUPERMETRICS_NOTIFY=f"http://127.0.0.1:1{HOOK}")
    warning, error = err.splitlines()
    assert (code, warning) == (65, "WARNING The message was not posted to the chat: ConnectionError")
    assert error.startswith(f"Error: HTTP 403 FORBIDDEN for team {OTHER}")
    assert "not-a-real-webhook" not in out + err
