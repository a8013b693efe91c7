"""`supermetrics-connectors changes`: what a mail says, what a script goes by."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from supermetrics_loader.cli.main import run
from supermetrics_loader.sandbox import Sandbox
from tests.helpers.commands import lead_to
from tests.helpers.isolation import isolate

TEAM = 936506


def load(*arguments: str) -> None:
    """Loads the sandbox's team."""
    assert run(["load", "--include-configs", "--json", *arguments]) == 0


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a load of two connectors, and one after every kind of change; one name would clear a screen."""
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
    """That folder as the current one, and nothing printed yet."""
    monkeypatch.chdir(loaded)
    capsys.readouterr()


@pytest.mark.usefixtures("history")
def test_one_line_tells_a_change(capsys: pytest.CaptureFixture[str]) -> None:
    """With the paths of a configuration, and what would act on a terminal made visible."""
    assert run(["changes"]) == 0
    said = capsys.readouterr()
    assert sorted(line[16:] for line in said.out.splitlines()) == [
        "  added                  team 936506 Nordic Marketing  NEW  \\x1b[2J",
        "  configuration_changed  team 936506 Nordic Marketing  A  Name A: +$.c, -$.b, $.a",
        "  removed                team 936506 Nordic Marketing  GONE  Name GONE",
    ]
    assert said.err == ""


@pytest.mark.usefixtures("history")
def test_json_has_the_columns_of_connector_changes(capsys: pytest.CaptureFixture[str]) -> None:
    """With lists of paths, names as they are, and from when on."""
    assert run(["changes", "--json", "--since", "2026-01-01"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["since"] == "2026-01-01T00:00:00+00:00"
    rows: dict[str, Any] = {row["change"]: row for row in told["changes"]}
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
    capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, lines: int
) -> None:
    """As with `git diff`, if it is asked to. Where there are none nothing is printed: cron mails nothing."""
    assert run(["changes", *arguments]) == code
    assert len(capsys.readouterr().out.splitlines()) == lines


@pytest.mark.parametrize("when", ["yesterday", "24", "-1h", "1.5h", "2026-13-01", ""])
def test_a_since_that_cannot_be_read_is_refused(capsys: pytest.CaptureFixture[str], when: str) -> None:
    """Taken for no limit at all it would mail a year of changes."""
    assert run(["changes", "--since", when]) == 64
    assert "is neither a duration such as 30m, 24h, 7d or 2w nor a time" in capsys.readouterr().err


def test_where_nothing_was_loaded_nothing_is_made(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither a DuckDB file nor a folder of Delta tables; and what to load is said."""
    assert run(["changes"]) == 64
    assert "Nothing has been loaded to the dataset supermetrics of duckdb:" in capsys.readouterr().err
    assert list(Path.cwd().iterdir()) == []


def test_snapshots_are_said_to_have_no_changes(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: Any
) -> None:
    """Each is a full listing, in files as well as in a database."""
    monkeypatch.setenv("SUPERMETRICS_API_KEY", sandbox.token)
    monkeypatch.setenv("SOURCES__SUPERMETRICS__BASE_URL", sandbox.url)
    monkeypatch.setenv("SOURCES__SUPERMETRICS__TEAM_IDS", str(TEAM))
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", str(tmp_path / "files"))
    sandbox.add_connector(TEAM, "A")
    for destination in ("duckdb", "filesystem"):
        load("--snapshot", "--destination", destination)
        assert [each for each in caplog.records if each.name.startswith("supermetrics")] == []
        assert run(["changes", "--destination", destination]) == 64
        assert "holds snapshots, in which each run's full listing" in capsys.readouterr().err
