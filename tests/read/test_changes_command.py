"""`supermetrics-connectors changes`: lines for a mail, JSON and an exit code for a script."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from supermetrics_loader.cli.main import run
from tests.helpers.commands import lead_to
from tests.helpers.isolation import isolate
from tests.helpers.sandbox import Sandbox

TEAM = 936506


def load(*arguments: str) -> None:
    """Loads the sandbox's team."""
    assert run(["load", "--include-configs", "--json", *arguments]) == 0


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a load of two connectors and a load after every kind of change; one name would clear a screen."""
    folder = tmp_path_factory.mktemp("changes")
    with pytest.MonkeyPatch.context() as patch, Sandbox(teams={}) as sandbox:
        isolate(patch, folder)
        for name in ("A", "GONE"):
            configuration = {"configuration_json": {"a": 1, "b": 2}}
            sandbox.add_connector(TEAM, name, name=f"Name {name}", configuration=configuration)
        lead_to(sandbox, patch)
        load()
        sandbox.edit_configuration(TEAM, "A", {"a": 2, "c": 3})
        sandbox.delete_connector(TEAM, "GONE")
        sandbox.add_connector(TEAM, "NEW", name="\x1b[2J")
        load("--include-teams")
    return folder


@pytest.fixture
def history(loaded: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """That folder as the current folder, with nothing printed yet."""
    monkeypatch.chdir(loaded)
    capsys.readouterr()


@pytest.mark.usefixtures("history")
def test_each_change_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A line has the paths of a configuration, and escapes for characters that act on a terminal."""
    assert run(["changes"]) == 0
    said = capsys.readouterr()
    assert sorted(line[16:] for line in said.out.splitlines()) == [
        "  added                  team 936506 Nordic Marketing  NEW  \\x1b[2J",
        "  configuration_changed  team 936506 Nordic Marketing  A  Name A: +$.c, -$.b, ~$.a",
        "  removed                team 936506 Nordic Marketing  GONE  Name GONE",
    ]
    assert said.err == ""


@pytest.mark.usefixtures("history")
def test_json_has_the_columns_of_connector_changes(capsys: pytest.CaptureFixture[str]) -> None:
    """Paths are lists, names are unchanged, and `since` is a time."""
    assert run(["changes", "--json", "--since", "2026-01-01"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["since"] == "2026-01-01T00:00:00+00:00"
    rows: dict[str, Any] = {row["change"]: row for row in printed["changes"]}
    assert rows["added"]["name"] == "\x1b[2J"
    assert {row["team_name"] for row in rows.values()} == {"Nordic Marketing"}
    assert (rows["removed"]["paths_removed"], rows["configuration_changed"]["paths_removed"]) == (None, ["$.b"])
    assert set(rows["added"]) >= {"team_id", "connector_identifier", "detected_at", "previous_updated_at"}
    assert "baseline" not in rows["added"]


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize(
    ("arguments", "code", "lines"),
    [
        ([], 0, 3),
        (["--exit-code"], 1, 3),
        (["--exit-code", "--since", "30m"], 1, 3),
        (["--exit-code", "--since", "2w"], 1, 3),
        (["--exit-code", "--since", "9999-01-01T00:00:00Z"], 0, 0),
    ],
)
def test_the_exit_code_says_whether_there_are_changes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, lines: int
) -> None:
    """As in `git diff`. Without changes a pipe gets no text, also under FORCE_COLOR: cron mails every text."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert run(["changes", *arguments]) == code
    assert len(capsys.readouterr().out.splitlines()) == lines


@pytest.mark.parametrize("when", ["yesterday", "24", "-1h", "1.5h", "2026-13-01", "99999999999d", ""])
def test_an_unreadable_since_is_refused(capsys: pytest.CaptureFixture[str], when: str) -> None:
    """Without the limit, cron would mail a year of changes."""
    assert run(["changes", "--since", when]) == 64
    assert "is neither a duration such as 30m, 24h, 7d or 2w nor a time" in capsys.readouterr().err
