"""A load into each kind of destination prints nothing to mail, and a command that shows the rows."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.commands import SCRIPT, Command, cli  # noqa: F401 - a fixture

NEWEST = ("LYL09", "PDC11", "RTL-2025", "WHS44", "K8W21")
"""Connectors of the shipped teams; snapshots have each twice."""
LOAD = ("load", "--sandbox", "--include-configs")
FOLDER = '100%41/it\'s $HOME "here"/\N{GRINNING FACE} Käyttö/`tick` $(id) &/line\nbreak\x1b'
DESTINATIONS = {
    "--destination duckdb --dataset look": "",
    "--destination postgres --dataset look": "",
    "--destination sqlalchemy --dataset look": "",
    "--destination filesystem --dataset tables": "--table-format delta",
    "--destination filesystem --dataset files": "--snapshot",
}
"""Where a load goes, and how."""


def main_of(commands: list[list[str]]) -> subprocess.CompletedProcess[str]:
    """Runs commands one after the other in one process, as the console script does; the first failure ends it."""
    code = f"""
import sys
from supermetrics_loader.cli.main import main
for arguments in {commands!r}:
    sys.argv[1:] = arguments
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise
"""
    return subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", timeout=300, check=False
    )


def printed_commands(printed: str) -> list[str]:
    """The commands that loads printed."""
    return re.findall(r"^Look at: (.*)$", printed, re.MULTILINE)


def test_good_loads_are_silent_and_the_printed_command_shows_the_rows(
    cli: Command,  # noqa: F811 - the fixture
    postgres_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Cron mails standard error. The command needs nothing that the load did not need.

    Each load follows one into another destination: dlt's working folder still knows that destination.
    """
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", postgres_url)
    monkeypatch.setenv("DESTINATION__SQLALCHEMY__CREDENTIALS", f"sqlite:///{tmp_path / 'warehouse.sqlite'}")
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", (tmp_path / "lake").as_uri())
    done = main_of([[*LOAD, *f"{where} {how}".split()] for _ in range(2) for where, how in DESTINATIONS.items()])
    assert (done.returncode, done.stderr) == (0, "")
    looks = printed_commands(done.stdout)[len(DESTINATIONS) :]
    for (where, how), look in zip(DESTINATIONS.items(), looks, strict=True):
        shown = cli(*shlex.split(look)[1:])
        assert (shown.code, shown.err) == (0, ""), where
        assert [identifier for identifier in NEWEST if identifier not in shown.out] == [], where
        report = cli("report", *where.split())
        if how == "--snapshot":
            assert report.code == 64
            assert "holds snapshots" in report.err
        else:
            assert (report.code, report.err) == (0, ""), where


def test_the_printed_command_works_from_a_folder_of_any_name(
    cli: Command,  # noqa: F811 - the fixture
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The command is pasted into a shell. It also finds a configured file."""
    (tmp_path / FOLDER).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / FOLDER)
    monkeypatch.setattr(sys, "argv", [SCRIPT])  # not on the PATH
    printed = cli(*LOAD, "--dataset", "select")
    assert (printed.code, printed.err) == (0, "")
    assert "\x1b" not in printed.out
    [look] = printed_commands(printed.out)
    shown = subprocess.run(  # noqa: S602 - that it runs in a shell is what is tested
        look, shell=True, capture_output=True, encoding="utf-8", timeout=120, check=False
    )
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "T3S70" in shown.stdout
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", str(tmp_path / "a %20 warehouse \N{GRINNING FACE}.db"))
    [look] = printed_commands(cli(*LOAD).out)
    assert "T3S70" in cli(*shlex.split(look)[1:]).out
