"""A run that only says what it would do: on the command line. tests/destinations tries it on each destination."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from supermetrics_loader.cli.main import run
from supermetrics_loader.sandbox import Fault, Sandbox
from tests.helpers.commands import script
from tests.helpers.expectations import OTHER, TEAM


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
