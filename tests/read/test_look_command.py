"""A load into each kind of destination prints nothing to mail, and a command that shows the rows."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from supermetrics_loader.cli.options import SANDBOX_DATASET

SCRIPT = str(Path(sys.executable).parent / "supermetrics-connectors")
NEWEST = ("LYL09", "PDC11", "RTL-2025", "WHS44", "K8W21")
"""Connectors of the shipped teams; snapshots have each twice."""

KINDS = ("postgres", "sqlalchemy", "filesystem")
FOLDERS = ["100%41", 'it\'s $HOME "here"', "\N{GRINNING FACE} Käyttö", "`tick` $(id) &", "line\nbreak\x1b"]


@pytest.fixture(params=["duckdb", "duckdb, configured", "postgres", "sqlalchemy", "delta", "parquet"])
def arguments(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The options and settings for one of the destinations that run on this machine."""
    kind: str = request.param
    if kind == "duckdb":
        return []
    if kind == "duckdb, configured":
        monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", str(tmp_path / "a %20 warehouse \N{GRINNING FACE}.db"))
        return []
    if kind in ("delta", "parquet"):
        monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", (tmp_path / "lake").as_uri())
        how = ["--table-format", "delta"] if kind == "delta" else ["--snapshot"]
        return ["--destination", "filesystem", *how]
    uri = (
        f"sqlite:///{tmp_path / 'warehouse.sqlite'}"
        if kind == "sqlalchemy"
        else request.getfixturevalue("postgres_url")
    )
    monkeypatch.setenv(f"DESTINATION__{kind.upper()}__CREDENTIALS", uri)
    return ["--destination", kind]


def load(*arguments: str) -> str:
    """Loads the shipped teams in a process, which must be silent on standard error; returns its output."""
    done = subprocess.run(  # noqa: S603 - the tests make up the commands themselves
        [SCRIPT, "load", "--sandbox", "--include-configs", *arguments],
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def look(printed: str) -> str:
    """Runs the command that a load printed, in a shell; returns its output."""
    command = re.search(r"^Look at: (.*)$", printed, re.MULTILINE)
    assert command
    shown = subprocess.run(  # noqa: S602 - that it runs in a shell is what is tested
        command[1], shell=True, capture_output=True, encoding="utf-8", timeout=120, check=False
    )
    assert (shown.returncode, shown.stderr) == (0, "")
    return shown.stdout


def test_good_loads_are_silent_and_the_printed_command_shows_the_rows(arguments: list[str]) -> None:
    """Cron mails standard error. The command needs nothing that the load did not need."""
    load(*arguments)
    shown = look(load(*arguments))
    assert [identifier for identifier in NEWEST if identifier not in shown] == []
    where = [each for each in arguments if each in ("--destination", *KINDS)]
    done = subprocess.run(  # noqa: S603 - the command that this project printed
        [SCRIPT, "report", "--dataset", SANDBOX_DATASET, *where],
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    if "--snapshot" in arguments:
        assert done.returncode == 64
        assert "holds snapshots" in done.stderr
    else:
        assert (done.returncode, done.stderr) == (0, "")


def test_another_destination_is_loaded_as_silently(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """First the file, then the warehouse: dlt's folder still knows the file."""
    monkeypatch.setenv("DESTINATION__SQLALCHEMY__CREDENTIALS", f"sqlite:///{tmp_path / 'warehouse.sqlite'}")
    load()
    load("--destination", "sqlalchemy")
    load()


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_printed_command_works_from_a_folder_of_any_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    """The command is pasted into a shell."""
    (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / folder)
    printed = load("--dataset", "select")
    assert "T3S70" in look(printed)
    assert "\x1b" not in printed
