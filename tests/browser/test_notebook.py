"""The notebook and dlt's dashboard, in the environment that has marimo, on what `load --sandbox` leaves."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from supermetrics_loader.cli.main import run
from tests.browser.chromium import Chromium

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "notebooks" / "explore.py"
PROGRAMS = ROOT / ".venv-notebook" / "bin"

# marimo draws its tables in shadow trees, which innerText leaves out
ALL_TEXT = """(() => {
  const read = (node) => [...node.childNodes].map(child => child.nodeType === 3 ? child.data
    : ["SCRIPT", "STYLE"].includes(child.tagName) ? ""
    : read(child) + (child.shadowRoot ? read(child.shadowRoot) : "")).join(" ");
  return read(document.body);
})()"""
BUTTON = """(() => {
  const find = (node) => [...node.querySelectorAll("*")].flatMap(
    each => [each, ...(each.shadowRoot ? find(each.shadowRoot) : [])]);
  const button = find(document).find(each => each.tagName === "BUTTON" && each.textContent.trim() === "%s");
  button.scrollIntoView({block: "center"});
  const at = button.getBoundingClientRect();
  return {x: at.x + at.width / 2, y: at.y + at.height / 2};
})()"""


@pytest.fixture(autouse=True)
def _loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shipped teams in `supermetrics_connectors.duckdb`, and the programs of the notebook's environment."""
    monkeypatch.setenv("PATH", f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}")
    assert run(["load", "--sandbox", "--include-configs"]) == 0


@pytest.fixture
def dashboard(tmp_path: Path) -> Iterator[str]:
    """The address of dlt's dashboard, started as docs/looking.md says but without opening a browser."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        "from dlt._workspace.helpers.dashboard.runner import run_dashboard_command",
        "import os",
        f"command = run_dashboard_command('supermetrics', port={port}, headless=True)",
        "os.execvp(command[0], command)",
    ]
    with (tmp_path / "dashboard.log").open("wb") as log:
        server = subprocess.Popen([PROGRAMS / "python", "-c", "\n".join(command)], stdout=log, stderr=log)  # noqa: S603
        try:
            _wait_until_it_answers(f"http://localhost:{port}", tmp_path / "dashboard.log")
            yield f"http://localhost:{port}/?pipeline=supermetrics"
        finally:
            server.terminate()
            server.wait(timeout=20)


def _wait_until_it_answers(address: str, log: Path) -> None:
    for _ in range(600):
        with suppress(OSError), urllib.request.urlopen(address, timeout=2):  # noqa: S310 - http, on this machine
            return
        time.sleep(0.2)
    raise AssertionError(log.read_text())


def test_the_notebook_answers_as_a_script() -> None:
    """What CI can see: every cell runs, and the answers are those of the shipped teams."""
    done = subprocess.run([PROGRAMS / "python", NOTEBOOK], capture_output=True, text=True, check=False)  # noqa: S603

    assert done.returncode == 0, done.stderr
    assert "{'team_id': 936506, 'connectors': 3, " in done.stdout
    assert "'authentication': 'oauth2', 'calls': 'https://crm.example.com/api/v2/report'}" in done.stdout


def test_the_notebook_can_be_exported_as_a_page(tmp_path: Path) -> None:
    """`marimo export` fails if a cell does."""
    page = tmp_path / "explore.html"
    command: list[str | Path] = [PROGRAMS / "marimo", "export", "html", NOTEBOOK, "-o", page]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603

    assert done.returncode == 0, done.stderr
    assert "How does each connector log in, and what does it call?" in page.read_text(encoding="utf-8")


def test_dlts_dashboard_lists_and_reads_the_tables(browser: Chromium, dashboard: str) -> None:
    """It finds the pipeline, opens the DuckDB file, and counts the rows."""
    browser.show(height=1600)
    browser.open(dashboard)
    shown = _wait_for_text(browser, r"connector_configurations[\s\S]*team_syncs")
    assert "connectors" in shown

    _wait_for_text(browser, r"connector_configurations\s+6\s", button="Load row counts")
    _wait_for_text(browser, r"connectors\s+7\s")


def _wait_for_text(browser: Chromium, pattern: str, button: str | None = None) -> str:
    """The page's text, when it matches. The button that leads there is clicked again where a click was lost."""
    text = ""
    for attempt in range(400):
        if button and attempt % 20 == 0:  # while a first start still draws the page, nobody sees a click
            browser.click(browser.run(BUTTON % button))
        text = str(browser.run(ALL_TEXT))
        if re.search(pattern, text):
            return text
        time.sleep(0.5)
    raise AssertionError(text[-3000:])
