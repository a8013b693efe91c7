"""Unattended runs: shards, cron, a workflow, and a destination that fails for a while."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped] # its stubs are a package of their own, for one call
from dlt.destinations.exceptions import DatabaseTransientException
from dlt.load.load import Load

import supermetrics_loader.run.load
from supermetrics_loader.cli.load import load
from supermetrics_loader.cli.main import cli, run
from supermetrics_loader.run.load import LoadFailedError, run_load
from supermetrics_loader.run.pipeline import make_pipeline
from supermetrics_loader.run.shards import Shard
from tests.helpers.commands import SCRIPT, lead_to
from tests.helpers.sandbox import Fault, Sandbox

EXAMPLES = Path(__file__).parents[2] / "pipelines" / "orchestrators"
TEAMS = list(range(1, 13))

Query = Callable[[str], list[tuple[Any, ...]]]


@pytest.fixture
def fleet(sandbox: Sandbox, database: Path, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """Twelve teams with one connector each, and the environment of a worker."""
    for team_id in TEAMS:
        sandbox.add_connector(team_id)
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", str(database))
    lead_to(sandbox, monkeypatch)
    return sandbox


def test_shards_load_all_teams_into_one_dataset(
    fleet: Sandbox, query: Query, capsys: pytest.CaptureFixture[str]
) -> None:
    """Workers with the same configuration request and load each team once, with staging tables of their own."""
    lines = []
    for number in (1, 2):
        assert run(["load", "--json", "--shard", f"{number}/2"]) == 0
        lines.append(json.loads(capsys.readouterr().out))

    assert sorted(each.team_id or 0 for each in fleet.requests) == TEAMS
    assert query("select team_id from connectors order by 1") == [(team_id,) for team_id in TEAMS]
    assert [line["pipeline_name"] for line in lines] == ["supermetrics_1_of_2", "supermetrics_2_of_2"]
    assert [[team["team_id"] for team in line["teams"]] for line in lines] == [
        Shard(number, 2).pick(TEAMS) for number in (1, 2)
    ]
    for team_id in TEAMS:
        fleet.edit_connector(team_id, fleet.connectors(team_id)[0]["connector_identifier"], name="edited")
    assert run(["load", "--shard", "1/2"]) == run(["load", "--shard", "2/2"]) == 0
    schemas = {name for (name,) in query("select schema_name from duckdb_schemas() where not internal")}
    assert {f"supermetrics_staging_supermetrics_{number}_of_2" for number in (1, 2)} <= schemas
    assert "supermetrics_staging" not in schemas


def test_shard_without_teams_has_nothing_to_do(fleet: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    """More shards than teams are no failure, and an empty shard makes no request."""
    empty = next(number for number in range(1, 101) if not Shard(number, 100).pick(TEAMS))

    assert run(["load", "--shard", f"{empty}/100"]) == 0
    assert capsys.readouterr().out == (
        f"None of the teams is in this shard: nothing to do for supermetrics_{empty}_of_100.\n"
    )
    assert run(["load", "--json", "--shard", f"{empty}/100"]) == 0
    assert json.loads(capsys.readouterr().out) == {"pipeline_name": f"supermetrics_{empty}_of_100", "teams": []}
    assert fleet.requests == []


def test_a_destination_is_retried_without_new_requests(
    fleet: Sandbox, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restart of the warehouse costs seconds, and neither a failed run nor requests."""
    monkeypatch.setattr(supermetrics_loader.run.load._LOAD_RETRIES, "sleep", lambda _seconds: None)
    real, failures = Load.load_single_package, iter(range(2))

    def load_single_package(self: Load, *arguments: Any) -> Any:
        if next(failures, None) is not None:
            raise DatabaseTransientException(ConnectionError("server closed the connection unexpectedly"))
        return real(self, *arguments)

    monkeypatch.setattr(Load, "load_single_package", load_single_package)

    result = run_load(make_pipeline("supermetrics"), team_ids=TEAMS)

    assert [team["status"] for team in result.teams] == ["ok"] * len(TEAMS)
    assert len(fleet.requests) == len(TEAMS)
    assert query("select count(*), count(distinct team_id) from connectors") == [(12, 12)]

    # an unavailable destination fails the run after four attempts, and one more for the row of `team_syncs`
    calls = []

    def refuse(_self: Load, *_arguments: Any) -> Any:
        calls.append(1)
        raise DatabaseTransientException(ConnectionError("connection refused"))

    monkeypatch.setattr(Load, "load_single_package", refuse)
    with pytest.raises(LoadFailedError) as caught:
        run_load(make_pipeline("supermetrics"), team_ids=[1])

    assert (caught.value.step, caught.value.terminal, len(calls)) == ("load", False, 4 + 1)


def test_a_misspelt_setting_is_refused(fleet: Sandbox) -> None:
    """Also by a type checker, which needs the comment below."""
    with pytest.raises(TypeError, match="include_confgs"):
        run_load(make_pipeline("supermetrics"), include_confgs=True)  # type: ignore[call-arg]  # the checker's part
    assert not fleet.requests


def test_cron_mails_failures_only_and_logs_every_run(fleet: Sandbox, tmp_path: Path) -> None:
    """A good run prints nothing; a failed one the team and the request id."""
    log = tmp_path / "load.log"
    settings = tmp_path / "supermetrics.env"
    settings.write_text(f"SUPERMETRICS_API_KEY={fleet.token}\n")
    environment = {name: value for name, value in os.environ.items() if name != "SUPERMETRICS_API_KEY"} | {
        "SUPERMETRICS_ENV": str(settings),
        "SUPERMETRICS_LOG": str(log),
        "PATH": f"{Path(SCRIPT).parent}{os.pathsep}{os.environ['PATH']}",
    }

    def cron(*arguments: str) -> subprocess.CompletedProcess[str]:
        script = [str(EXAMPLES / "cron.sh"), *arguments]
        return subprocess.run(  # noqa: S603 - this project's script
            script, env=environment, capture_output=True, text=True, check=False
        )

    good = cron("--keep-going")
    fleet.fault(Fault(403), team_id=7)
    bad = cron()

    assert (good.returncode, good.stdout, good.stderr) == (0, "", "")
    [request_id] = [each.request_id for each in fleet.requests if each.status == 403]
    assert (bad.returncode, bad.stdout) == (65, "")
    assert "The load ended with exit code 65 at " in bad.stderr
    assert f"; its line is in {log}." in bad.stderr
    assert "for team 7: " in bad.stderr
    assert f"(request_id={request_id})" in bad.stderr
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [len(line.get("teams", [])) for line in lines] == [12, 0]
    assert lines[1]["error"]["request_id"] == request_id


def test_the_workflow_is_valid_and_its_command_exists() -> None:
    """A renamed option must not break the file that users copy."""
    workflow = yaml.safe_load((EXAMPLES / "github_actions.yml").read_text())
    job = workflow["jobs"]["load"]
    [step] = [each for each in job["steps"] if "supermetrics-connectors" in each.get("run", "")]

    shards = job["strategy"]["matrix"]["shard"]
    assert shards == [f"{number}/{len(shards)}" for number in range(1, len(shards) + 1)]
    assert job["strategy"]["fail-fast"] is False
    assert job["concurrency"]["cancel-in-progress"] is False
    for shard in shards:
        command = re.sub(r"\$\{\{ *matrix\.shard *\}\}", shard, step["run"])
        program, name, *arguments = shlex.split(command)
        assert (program, cli.commands[name]) == ("supermetrics-connectors", load)
        assert load.make_context(name, arguments).params["shard"] == shard
