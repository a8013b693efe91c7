"""Prefect 3: one mapped task per team. `python prefect_flow.py` serves the flow every hour.

Needs `pip install ".[prefect]"` in the clone, SUPERMETRICS_API_KEY and SOURCES__SUPERMETRICS__TEAM_IDS.
"""

from typing import Any

from prefect import flow, task
from prefect.futures import wait
from prefect.states import Completed, Failed, State
from prefect.task_runners import ThreadPoolTaskRunner

from supermetrics_loader.run.failures import failure_details
from supermetrics_loader.run.load import run_load
from supermetrics_loader.run.pipeline import make_pipeline
from supermetrics_loader.run.shards import configured_team_ids

DESTINATION = "duckdb"  # any dlt destination; its credentials are DESTINATION__DUCKDB__CREDENTIALS and the like
MAX_PARALLEL_LOADS = 1  # threads: DuckDB takes one writer at a time, a warehouse takes several


def may_pass(_task: Any, _run: Any, state: State) -> bool:
    """Whether a retry within this run can help. After a rate limit, the next run loads the team."""
    error = state.result(raise_on_failure=False)
    if not isinstance(error, Exception):
        return True
    failure = failure_details(error)
    return not failure["terminal"] and failure["retry_after"] is None


@task(task_run_name="team {team_id}", retries=3, retry_delay_seconds=[15, 30, 60], retry_condition_fn=may_pass)
def load_team(team_id: int) -> dict[str, Any]:
    """Loads one team in a dlt pipeline of its own."""
    pipeline = make_pipeline(f"supermetrics_team_{team_id}", DESTINATION)
    return run_load(pipeline, team_ids=[team_id], include_configs=True, include_teams=True).teams[0]


@flow(name="supermetrics connectors", task_runner=ThreadPoolTaskRunner(max_workers=MAX_PARALLEL_LOADS))
def load_connectors() -> State:
    """Loads every team. A failing team does not affect the other tasks; the flow's state names the failed teams."""
    loads = load_team.map(configured_team_ids())
    wait(loads)
    failures = [str(load.state.message) for load in loads if not load.state.is_completed()]
    if failures:
        return Failed(message=f"{len(failures)} of {len(loads)} teams failed.\n" + "\n".join(failures))
    return Completed(message=f"{len(loads)} teams loaded.")


if __name__ == "__main__":
    load_connectors.serve(name="hourly", cron="17 * * * *", limit=1)
