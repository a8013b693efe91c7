"""How the process of a command ends: at once, but not before others have had their turn."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from supermetrics_loader.sandbox import Sandbox


def ended(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line, run by Python code that is called before it."""
    command = [sys.executable, "-c", f"{code}\nfrom supermetrics_loader.cli.main import main\nmain()", *arguments]
    return subprocess.run(command, capture_output=True, encoding="utf-8", timeout=120, check=False)  # noqa: S603 - ours


def test_threads_and_exit_handlers_have_their_turn() -> None:
    """Such as the thread in which dlt sends what it tells of a run."""
    code = """
import atexit, threading, time
import supermetrics_loader.cli.main as module

def run(arguments):
    atexit.register(print, "handler")
    threading.Thread(target=lambda: (time.sleep(0.5), print("thread"))).start()
    print("command")
    return 69

module.run = run
"""
    done = ended(code)
    assert (done.returncode, done.stdout.split(), done.stderr) == (69, ["command", "thread", "handler"], "")


def test_python_does_not_take_apart_what_was_imported() -> None:
    """It takes a third of a second after each load; whoever waits for it is a person or a scheduler."""
    code = """
class Module:
    def __del__(self):
        print("taken apart")

module = Module()
"""
    done = ended(code, "--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert "taken apart" not in done.stdout
    assert "supermetrics-connectors" in done.stdout


def test_the_file_of_a_load_is_whole(api: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of it is left in DuckDB's log beside it: who copies the file has all."""
    monkeypatch.chdir(tmp_path)
    assert api.url
    assert ended("", "load", "--include-configs").returncode == 0
    assert [path.name for path in tmp_path.glob("supermetrics_connectors*")] == ["supermetrics_connectors.duckdb"]
