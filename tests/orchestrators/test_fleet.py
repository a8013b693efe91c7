"""Many workers and one warehouse: one task per shard on Airflow's CeleryExecutor, and one key for all workers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from threading import Condition
from typing import Any

import psycopg2
import pytest

from supermetrics_loader.run.exit_codes import Exit
from supermetrics_loader.run.shards import shard_number
from tests.helpers.expectations import assert_tables_equal_the_api, configuration
from tests.helpers.sandbox import Fault, Request, Response, Sandbox
from tests.orchestrators.celery_fleet import PATIENCE, CeleryFleet, postgres, wait_for

EXAMPLE = Path(__file__).parents[2] / "pipelines" / "orchestrators" / "airflow_shards_dag.py"
TEAMS = range(900_001, 901_001)
SHARDS, OTHER_SHARDS = 16, 24
HELD = next(team for team in TEAMS if shard_number(team, SHARDS) == SHARDS // 2)
"""A team whose shard is neither among the first nor among the last."""
KEY = ("team_id", "connector_identifier")

Rows = Callable[..., list[tuple[Any, ...]]]


class Gate(Sandbox):
    """A sandbox that holds its responses until every shard has sent a request, after `gather`."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._changed, self._arrived, self._shards = Condition(), set[int](), 0

    def gather(self, shards: int) -> None:
        """Holds responses until this number of shards has sent a request."""
        self._shards = shards
        self._arrived.clear()

    def respond(self, request: Request) -> Response:
        """Responds once every shard has sent a request."""
        with self._changed:
            self._arrived.add(shard_number(int(request.path.split("/")[3]), max(self._shards, 1)))
            self._changed.notify_all()
            self._changed.wait_for(lambda: len(self._arrived) >= self._shards, PATIENCE)
        return super().respond(request)


@pytest.fixture
def sandbox() -> Iterator[Gate]:
    """A thousand teams with two connectors each, one of which has a configuration."""
    sandbox = Gate(teams={}, latency=0.2)
    with sandbox:
        for team in TEAMS:
            sandbox.add_connector(team, "ONE", name=f"One of {team}", configuration=configuration(team=team))
            sandbox.add_connector(team, "TWO", name=f"Two of {team}")
        yield sandbox


@pytest.fixture
def database() -> Iterator[Callable[[str], str]]:
    """A PostgreSQL server; returns the URL of a new database by name."""
    # not in pytest's folder: root starts the server as another user, who may not enter that folder
    with tempfile.TemporaryDirectory(prefix="pg", ignore_cleanup_errors=True) as folder, postgres(Path(folder)) as urls:
        yield urls


@pytest.fixture
def warehouse(database: Callable[[str], str]) -> str:
    """An empty database."""
    return database("warehouse")


@pytest.fixture
def environment(sandbox: Sandbox, warehouse: str) -> dict[str, str]:
    """The environment of every worker."""
    return {
        "SUPERMETRICS_API_KEY": sandbox.token,
        "SOURCES__SUPERMETRICS__BASE_URL": sandbox.url,
        "SOURCES__SUPERMETRICS__TEAM_IDS": json.dumps(list(TEAMS)),
        "DESTINATION__POSTGRES__CREDENTIALS": warehouse,
    }


@pytest.fixture
def rows(warehouse: str) -> Rows:
    """Reads columns of a table, sorted."""

    def read(table: str, *columns: str, where: str = "true") -> list[tuple[Any, ...]]:
        with closing(psycopg2.connect(warehouse)) as connection, connection.cursor() as cursor:
            cursor.execute(f"select {', '.join(columns)} from supermetrics.{table} where {where}")
            return sorted(cursor.fetchall())

    return read


def check(sandbox: Sandbox, rows: Rows) -> None:
    """Every connector and configuration is stored once, and is one current row of its history."""
    assert_tables_equal_the_api(sandbox, rows)
    key = (*KEY, "content_hash")
    assert rows("connector_versions", *key, where="_dlt_valid_to is null") == rows("connectors", *key)


def requests(sandbox: Sandbox) -> Counter[int | None]:
    """The number of requested listings per team since the previous call."""
    counted = Counter(request.team_id for request in sandbox.requests if request.path.endswith("/connectors"))
    sandbox.requests.clear()
    return counted


def test_another_worker_loads_the_shard_of_a_dead_worker_and_the_next_run_has_more_shards(
    sandbox: Sandbox,
    environment: dict[str, str],
    database: Callable[[str], str],
    rows: Rows,
    tmp_path: Path,
) -> None:
    """A lost machine needs no action, and a slow fleet another number of shards."""
    (tmp_path / "dags").mkdir()
    shutil.copy(EXAMPLE, tmp_path / "dags")
    secrets = f'[sources.supermetrics]\napi_key = "{environment.pop("SUPERMETRICS_API_KEY")}"'
    environment["AIRFLOW_VAR_DLT_SECRETS_TOML"] = secrets  # the variables that the example lets dlt read
    environment["SOURCES__SUPERMETRICS__REQUEST_TIMEOUT"] = "3600"  # the held shard neither ends nor fails
    sandbox.fault(Fault(hang=True), team_id=HELD)
    with CeleryFleet(tmp_path, database("airflow"), environment) as fleet:
        workers = {"worker-1", "worker-2"}
        for name in workers:
            fleet.add_worker(name)

        run = fleet.trigger("supermetrics_shards")  # as a scheduled run: with the number in the file
        wait_for("the held shard", lambda: any(request.team_id == HELD for request in sandbox.requests))
        [(lost,)] = fleet.ask(
            "select unixname from task_instance where run_id = %s and map_index = %s",
            *(run, shard_number(HELD, SHARDS) - 1),
        )
        fleet.kill(lost)

        wait_for("the run that lost a worker", lambda: fleet.state(run) in ("success", "failed"))
        loads = fleet.loads(run)
        assert [state for _, state, _ in loads] == ["success"] * SHARDS, fleet.errors()
        assert loads[shard_number(HELD, SHARDS) - 1] == (2, "success", *(workers - {lost}))
        assert {worker for tries, _, worker in loads if tries > 1} == workers - {lost}
        check(sandbox, rows)
        assert set(requests(sandbox)) == set(TEAMS)

        smaller, emptied, edited, larger = TEAMS[1], TEAMS[2], TEAMS[3], TEAMS[4]
        sandbox.delete_connector(smaller, "TWO")
        for name in ("ONE", "TWO"):
            sandbox.delete_connector(emptied, name)
        sandbox.edit_connector(edited, "TWO", name="Edited")
        sandbox.add_connector(larger, "THREE", name="New")
        first_loads = {load_id for (load_id,) in rows("connectors", "_dlt_load_id")}
        fleet.add_worker("worker-3")  # replaces the lost worker, with an empty disk

        run = fleet.trigger("supermetrics_shards", shards=OTHER_SHARDS)

        wait_for("the run with more shards", lambda: fleet.state(run) in ("success", "failed"))
        assert [(tries, state) for tries, state, _ in fleet.loads(run)] == [(1, "success")] * OTHER_SHARDS, (
            fleet.errors()
        )
        check(sandbox, rows)
        assert requests(sandbox) == Counter(TEAMS)
        written = [
            (team, name) for team, name, load in rows("connectors", *KEY, "_dlt_load_id") if load not in first_loads
        ]
        assert written == [(edited, "TWO"), (larger, "THREE")]
        summaries = fleet.returned(run)
        assert sum(summary["teams"] for summary in summaries) == len(TEAMS)
        assert sum(summary["changes"] for summary in summaries) == 5


def load_side_by_side(environment: dict[str, str], folder: Path, **settings: str) -> list[tuple[int, str]]:
    """Loads all shards in parallel, one process per shard; their exit codes and standard errors."""
    program = [sys.executable, "-m", "supermetrics_loader", "load", "--destination", "postgres", "--include-configs"]
    running = [
        subprocess.Popen(
            [*program, "--json", "--keep-going", "--shard", f"{number}/{SHARDS}"],
            env={**os.environ, **environment, **settings, "DLT_DATA_DIR": str(folder / str(number))},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(1, SHARDS + 1)
    ]
    errors = [process.communicate()[1] for process in running]
    return [(process.returncode, error) for process, error in zip(running, errors, strict=True)]


def test_shards_that_reach_the_rate_limit_of_their_key_fail_cleanly_and_the_next_run_continues(
    sandbox: Gate, environment: dict[str, str], rows: Rows, tmp_path: Path
) -> None:
    """Answered teams are in the warehouse, refused teams are named there; the next run may wait for the limit."""
    sandbox.rate_limit = 600
    sandbox.gather(SHARDS)

    ended = load_side_by_side(environment, tmp_path)

    refused = {request.team_id for request in sandbox.requests if request.status == 429}
    assert len(refused) == len(TEAMS) - 600
    for number, (code, error) in enumerate(ended, 1):
        of_shard = [team for team in refused if team and shard_number(team, SHARDS) == number]
        assert code == (Exit.UNAVAILABLE if of_shard else Exit.OK), error
        assert error.count("The limit resets at") >= len(of_shard)
    assert sum(code == Exit.UNAVAILABLE for code, _ in ended) > SHARDS / 2
    assert rows("connectors", *KEY) == sorted((team, name) for team in set(TEAMS) - refused for name in ("ONE", "TWO"))
    syncs = [(team, 429 if team in refused else 200) for team in TEAMS]
    assert rows("team_syncs", "team_id", "http_status") == syncs

    sandbox._window_ends = 0.0  # an hour later
    sandbox.requests.clear()
    sandbox.rate_limit, sandbox.rate_window = 400, 10.0  # fewer than teams, more than requests in flight
    sandbox.gather(SHARDS)

    ended = load_side_by_side(environment, tmp_path)

    assert [code for code, _ in ended] == [Exit.OK] * SHARDS, ended
    assert any(request.status == 429 for request in sandbox.requests)
    assert rows("team_syncs", "team_id", "http_status") == sorted(syncs + [(team, 200) for team in TEAMS])
    check(sandbox, rows)
