"""The notebook, in the environment that has marimo, on the tables that `load --sandbox` leaves."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from supermetrics_loader.cli.main import run

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "notebooks" / "explore.py"
PROGRAMS = ROOT / ".venv-notebook" / "bin"


@pytest.fixture(autouse=True)
def _dataset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATASET", "supermetrics_sandbox")


@pytest.mark.parametrize("options", [[], ["--include-configs"]], ids=["connectors", "configurations"])
def test_the_notebook_prints_its_results_as_a_script(options: list[str]) -> None:
    """Every cell runs, also where configurations are not loaded."""
    assert run(["load", "--sandbox", *options]) == 0

    done = subprocess.run([PROGRAMS / "python", NOTEBOOK], capture_output=True, text=True, check=False)  # noqa: S603

    assert done.returncode == 0, done.stderr
    assert "{'team_id': 936506, 'connectors': 3, " in done.stdout
    assert ("'authentication': 'oauth2', 'report_types': 3, " in done.stdout) == bool(options)


def test_the_notebook_can_be_exported_as_a_page(tmp_path: Path) -> None:
    """`marimo export` fails if a cell does."""
    assert run(["load", "--sandbox", "--include-configs"]) == 0
    page = tmp_path / "explore.html"
    command: list[str | Path] = [PROGRAMS / "marimo", "export", "html", NOTEBOOK, "-o", page]

    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603

    assert done.returncode == 0, done.stderr
    assert "Authentication, report types and fields" in page.read_text(encoding="utf-8")
