"""What `load` can be asked for besides loading: to try only, to be quiet or not, to tell a chat; and its completion."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from supermetrics_loader.cli.main import run
from supermetrics_loader.sandbox import Fault, Sandbox

TEAM, OTHER = 936506, 941277
SCRIPT = str(Path(sys.executable).parent / "supermetrics-connectors")
HOOK = "/services/T000/B000/not-a-real-webhook"


@pytest.fixture
def api(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """The sandbox with a connector in each of two teams, and the environment that leads to it."""
    for team_id in (TEAM, OTHER):
        sandbox.add_connector(team_id, "A", name="Name A", configuration={"configuration_json": {"a": 1}})
        monkeypatch.setenv("SOURCES__SUPERMETRICS__TEAM_IDS", ",".join(map(str, sandbox.team_ids)))
    monkeypatch.setenv("SUPERMETRICS_API_KEY", sandbox.token)
    monkeypatch.setenv("SOURCES__SUPERMETRICS__BASE_URL", sandbox.url)
    return sandbox


def script(*arguments: str, **environment: str) -> tuple[int, str, str]:
    """Runs the console script: its exit code, output and errors."""
    done = subprocess.run(  # noqa: S603 - the tests make up the commands themselves
        [SCRIPT, *arguments], capture_output=True, encoding="utf-8", env={**os.environ, **environment}, check=False
    )
    return done.returncode, done.stdout, done.stderr


# --- --dry-run --------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("api")
def test_a_dry_run_leaves_no_file(tmp_path: Path) -> None:
    """Neither a DuckDB file nor anything of dlt's; what would be written is told."""
    code, out, err = script("load", "--include-configs", "--dry-run")
    assert (code, err) == (0, "")
    assert f"add                team {TEAM}  A  Name A\n" in out
    assert out.endswith(
        "Would load 2 of 2 teams: 2 connectors, 2 changed, 0 removed, 2 new configuration versions. "
        "Nothing was written.\n"
    )
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_dry_run_does_not_touch_the_file_that_is_there(
    api: Sandbox, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its JSON is that of the load which follows; a team that fails is told with the same exit code."""
    assert run(["load", "--json"]) == 0
    file = tmp_path / "supermetrics_connectors.duckdb"
    before = file.read_bytes()
    api.edit_connector(TEAM, "A", name="edited")
    told = []
    for arguments in (["--dry-run"], []):
        api.fault(Fault(403), team_id=OTHER)
        capsys.readouterr()
        assert run(["load", "--json", "--keep-going", *arguments]) == 65
        result = json.loads(capsys.readouterr().out)
        told.append([(team["team_id"], team["status"], team["connectors_changed"]) for team in result["teams"]])
        if arguments:
            assert (file.read_bytes(), result["load_ids"]) == (before, [])
    assert told[0] == told[1] == [(TEAM, "ok", 1), (OTHER, "failed", None)]


def test_a_dry_run_names_the_first_of_many(api: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    """A screen of names answers; a thousand do not."""
    for number in range(30):
        api.add_connector(TEAM, f"N{number:02}")
    assert run(["load", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert out.count("\nadd  ") == 20
    assert "… and 12 more\n" in out


# --- --quiet, --verbose -----------------------------------------------------------------------------------------------


def test_quiet_prints_failures_only(api: Sandbox) -> None:
    """Nothing to mail of a good run, also of one that warns; all that is known of a bad one."""
    assert script("load", "--quiet") == (0, "", "")
    api.report_count(TEAM, 9)
    assert script("load", "-q", "--json") == (0, "", "")
    api.fault(Fault(403), team_id=OTHER, times=2)
    code, out, err = script("load", "-q", "--keep-going")
    assert (code, out) == (65, "")
    assert [line.partition(": ")[0] for line in err.splitlines()] == [f"Error HTTP 403 FORBIDDEN for team {OTHER}"]
    assert script("load", "-q")[0] == 65


@pytest.mark.usefixtures("api")
def test_verbose_logs_what_is_written_how_and_why() -> None:
    """On standard error, so that the JSON stays one line."""
    code, out, err = script("load", "-v", "--json", "--include-configs")
    assert (code, len(json.loads(out)["teams"])) == (0, 2)
    assert "INFO Tables are written as mirror: it has SCD2 and deletes rows\n" in err
    assert "INFO connectors: 2 rows to be written, as append\n" in err


# --- --notify ---------------------------------------------------------------------------------------------------------


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


# --- the program itself -----------------------------------------------------------------------------------------------


def test_the_shell_completes_commands_and_options() -> None:
    """By click's own script, as documented."""
    code, out, err = script(_SUPERMETRICS_CONNECTORS_COMPLETE="bash_source")
    assert (code, err) == (0, "")
    assert "complete -o nosort -F _supermetrics_connectors_completion supermetrics-connectors" in out
    for words, offered in {
        "supermetrics-connectors di": "diff",
        "supermetrics-connectors load --dr": "--dry-run",
    }.items():
        code, out, err = script(
            _SUPERMETRICS_CONNECTORS_COMPLETE="bash_complete",
            COMP_WORDS=words,
            COMP_CWORD=str(words.count(" ")),
        )
        assert (code, out, err) == (0, f"plain,{offered}\n", "")


def test_the_version_is_that_of_the_package() -> None:
    """What a bug report begins with."""
    assert script("--version") == (0, f"supermetrics-connectors, version {version('supermetrics-connectors')}\n", "")
