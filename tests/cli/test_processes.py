"""Commands as processes: their end, an interrupt, and the sandbox in a second shell."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys

import pytest

from tests.helpers.commands import SCRIPT, Command, loaded, running, wait_until
from tests.helpers.sandbox import Fault, Sandbox


def test_threads_and_exit_handlers_run_before_the_end() -> None:
    """For example the thread in which dlt sends a trace."""
    code = """
import atexit, threading, time
import supermetrics_loader.cli.main as module

def run(arguments):
    atexit.register(print, "handler")
    threading.Thread(target=lambda: (time.sleep(0.5), print("thread"))).start()
    print("command")
    return 69

module.run = run
module.main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)  # noqa: S603 - ours
    assert (done.returncode, done.stdout.split(), done.stderr) == (69, ["command", "thread", "handler"], "")


def test_an_interrupted_load_exits_130_without_a_traceback(api: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C during a request prints nothing and waits for nothing."""
    monkeypatch.setenv("SOURCES__SUPERMETRICS__REQUEST_TIMEOUT", "300")
    api.fault(Fault(hang=True), times=100)
    with running(SCRIPT, "load") as process:
        wait_until(lambda: len(api.requests) == 3)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "")
    assert len(api.requests) == 3


def test_the_sandbox_command_prints_commands_to_paste_as_a_whole(cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each load follows the change before it, in a dataset of its own, and curl prints nothing."""
    with running(SCRIPT, "sandbox", "--port", "0") as process:
        assert process.stdout
        printed: list[str] = []
        while not printed or "supermetrics-connectors diff" not in printed[-1]:
            printed.append(process.stdout.readline().rstrip("\n"))
        out = "".join(pasted(line, cli, monkeypatch) for line in printed[2:])
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err.strip()) == (130, "")
    assert re.match(r"Sandbox of the API: http://127\.0\.0\.1:\d+, token api_sandbox_not_a_real_key, ", printed[0])
    assert re.findall(r"\d+ connectors, \d+ changed, \d+ removed, \d+ new", out) == [
        "7 connectors, 7 changed, 0 removed, 6 new",
        "8 connectors, 1 changed, 0 removed, 0 new",
        "8 connectors, 1 changed, 0 removed, 0 new",
        "8 connectors, 0 changed, 0 removed, 1 new",
        "8 connectors, 0 changed, 0 removed, 1 new",
        "7 connectors, 0 changed, 1 removed, 0 new",
    ]
    assert "NEW01  Service desk: ~$.authentication.type\n" in out
    assert re.search(r'^\+ +"type": "oauth2"', out, re.MULTILINE)
    assert len(loaded(dataset="supermetrics_sandbox")) == 7


def pasted(line: str, cli: Command, monkeypatch: pytest.MonkeyPatch) -> str:
    """Runs a line as a shell does, our own commands in this process; returns the output."""
    first, *arguments = shlex.split(line, comments=True) or [":"]
    if first == "export":
        monkeypatch.setenv(*arguments[0].split("=", 1))
        return ""
    if first == "supermetrics-connectors":
        outcome = cli(*arguments)
        assert (outcome.code, outcome.err) == (0, ""), line
        return outcome.out
    done = subprocess.run(["bash", "-c", line], capture_output=True, timeout=300, check=False)  # noqa: S603, S607 - ours
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b""), line
    return ""


def test_the_sandbox_command_names_a_port_that_is_in_use(sandbox: Sandbox, cli: Command) -> None:
    """The usual reason is a sandbox that still runs."""
    port = sandbox.url.rpartition(":")[2]
    outcome = cli("sandbox", "--port", port)
    assert outcome.code == 64
    assert f"Port {port}: Address already in use. Choose another with --port; 0 picks a free one." in outcome.err
