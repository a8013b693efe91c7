"""Messages to a chat, and loads that do not depend on the chat."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from supermetrics_loader.cli.main import run
from tests.helpers.commands import script
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


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize(
    ("status", "address", "bundle", "problem"),
    [
        (500, "", "", "HTTP 500"),
        (302, "", "", "HTTP 302"),
        (200, f"http://127.0.0.1:1{HOOK}", "", "ConnectionError"),
        (200, f"chat.example{HOOK}", "", "MissingSchema"),
        (200, f"http://[{HOOK}", "", "InvalidURL"),
        (200, f"https://127.0.0.1:1{HOOK}", "/nonexistent/bundle.pem", "OSError"),
    ],
)
def test_a_failing_chat_is_one_warning(chat: Chat, status: int, address: str, bundle: str, problem: str) -> None:
    """The load succeeds, and no text contains the URL, with which a reader of the log could post."""
    chat.status = status
    environment: dict[str, Any] = {"SUPERMETRICS_NOTIFY": address or chat.webhook}
    if bundle:
        environment["REQUESTS_CA_BUNDLE"] = bundle
    code, out, err = script("load", "--json", "--debug", **environment)
    assert (code, json.loads(out)["teams"][0]["status"]) == (0, "ok")
    assert err == f"WARNING The message was not posted to the chat: {problem}\n"
    assert "not-a-real-webhook" not in out + err
    assert "/elsewhere" not in [path for path, _ in chat.posted]


def test_a_failing_chat_does_not_replace_the_failure_of_a_run(api: Sandbox) -> None:
    """The reason of a 403 stays on standard error."""
    api.fault(Fault(403), team_id=OTHER)
    code, _, err = script("load", SUPERMETRICS_NOTIFY=f"http://127.0.0.1:1{HOOK}")
    warning, error = err.splitlines()
    assert (code, warning) == (65, "WARNING The message was not posted to the chat: ConnectionError")
    assert error.startswith(f"Error: HTTP 403 FORBIDDEN for team {OTHER}")


def dripping(_request: Request) -> Iterator[bytes]:
    """Sends a byte of the headers every second, without an end."""
    yield b"HTTP/1.1 200 OK\r\nX-Slow: "
    while True:
        time.sleep(1)
        yield b"x"


@pytest.mark.usefixtures("api")
def test_a_dripping_chat_is_one_warning() -> None:
    """The limit covers the whole exchange: each byte comes in time, and the headers never end."""
    with serving(dripping) as server:
        url = f"http://127.0.0.1:{server.port}{HOOK}"
        code, _, err = script("load", timeout=120, SUPERMETRICS_NOTIFY=url)
    assert (code, err) == (0, "WARNING The message was not posted to the chat: ReadTimeout\n")
