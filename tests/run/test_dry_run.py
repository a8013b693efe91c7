"""Dry runs on the command line. tests/destinations tests them on each destination."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dlt
import pytest

from supermetrics_loader.cli.main import run
from supermetrics_loader.run.dry_run import dry_run
from supermetrics_loader.run.duckdb_file import duckdb_file
from supermetrics_loader.run.load import run_load
from tests.helpers.commands import Command
from tests.helpers.expectations import OTHER, TEAM
from tests.helpers.sandbox import Fault, Sandbox


@pytest.mark.parametrize("destination", [duckdb_file, lambda: dlt.destinations.duckdb("warehouse.duckdb")])
def test_a_pipeline_loads_after_its_dry_run(customer: Sandbox, destination: Callable[[], Any]) -> None:
    """A dry run opens the file read-only, and leaves the destination as it was."""
    pipeline = dlt.pipeline("p", pipelines_dir=".", destination=destination(), dataset_name="supermetrics")
    settings: dict[str, Any] = {"api_key": customer.token, "base_url": customer.url, "team_ids": customer.team_ids}
    run_load(pipeline, **settings)
    customer.edit_connector(TEAM, "A", name="edited")
    results = [each(pipeline, **settings) for each in (dry_run, run_load, dry_run)]
    assert [result.teams[0]["connectors_changed"] for result in results] == [1, 1, 0]


@pytest.mark.usefixtures("api")
def test_a_dry_run_leaves_no_file(cli: Command, tmp_path: Path) -> None:
    """Neither a DuckDB file nor a file of dlt; the output says what a load would write."""
    code, out, err = cli("load", "--include-configs", "--dry-run")
    assert (code, err) == (0, "")
    assert f"added: team {TEAM} A Name A\n" in out
    assert out.endswith(
        "Would load 2 of 2 teams: 2 connectors, 2 changed, 0 removed, 2 new configuration versions. "
        "Nothing was written.\n"
    )
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_dry_run_does_not_change_an_existing_file(
    api: Sandbox, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its JSON and exit code equal those of the next load, also with a failing team."""
    assert run(["load", "--json"]) == 0
    file = tmp_path / "supermetrics_connectors.duckdb"
    before = file.read_bytes()
    api.edit_connector(TEAM, "A", name="edited")
    results = []
    for arguments in (["--dry-run"], []):
        api.fault(Fault(403), team_id=OTHER)
        capsys.readouterr()
        assert run(["load", "--json", "--keep-going", *arguments]) == 65
        result = json.loads(capsys.readouterr().out)
        results.append([(team["team_id"], team["status"], team["connectors_changed"]) for team in result["teams"]])
        if arguments:
            assert (file.read_bytes(), result["load_ids"]) == (before, [])
    assert results[0] == results[1] == [(TEAM, "ok", 1), (OTHER, "failed", None)]


def test_a_dry_run_names_the_first_of_many(api: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    """A screen of names is readable; a thousand names are not."""
    for number in range(30):
        api.add_connector(TEAM, f"N{number:02}")
    assert run(["load", "--dry-run", "--include-teams", "--include-logs", "--include-secrets"]) == 0
    assert len(api.requests) == 2, "optional tables are not requested"
    out = capsys.readouterr().out
    assert out.count("\nadded: ") == 20
    assert "… and 12 more\n" in out
