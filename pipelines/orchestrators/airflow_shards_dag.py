"""Airflow 3.3 or newer with many workers (Celery or Kubernetes): one mapped task per shard of the teams.

For thousands of teams; `airflow_dag.py` has one task per team. Copy this file into your DAGs folder. Every worker needs
`pip install ".[airflow,postgres]"` in the clone and, in its environment, SUPERMETRICS_API_KEY,
SOURCES__SUPERMETRICS__TEAM_IDS and the warehouse's credentials. Workers need no shared disk.
"""

import os
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow.sdk import Param, RetryDecision, RetryPolicy, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from supermetrics_loader.run.failures import failure_details
from supermetrics_loader.run.load import run_load
from supermetrics_loader.run.pipeline import make_pipeline
from supermetrics_loader.run.shards import Shard, configured_team_ids

DESTINATION = "postgres"  # one that takes several writers; its credentials are DESTINATION__POSTGRES__CREDENTIALS
SHARDS = 16  # may change from run to run: each run reads the stored state of its teams from the warehouse

# dlt looks up each of its settings as an Airflow variable, hundreds of requests to Airflow's API per task. With this
# setting dlt reads only variables that hold parts of a secrets.toml, such as dlt_secrets_toml.
os.environ.setdefault("PROVIDERS__AIRFLOW_SECRETS__ONLY_TOML_FRAGMENTS", "true")


class RetryAfterRateLimit(RetryPolicy):
    """Retries when the rate limit resets; after any other error, after the task's own delay. No worker waits."""

    def evaluate(self, exception: BaseException, *_: Any, **__: Any) -> RetryDecision:
        """When to retry after an exception."""
        retry_after = failure_details(exception)["retry_after"]
        if retry_after is None:
            return RetryDecision.default()
        return RetryDecision.retry(timedelta(seconds=retry_after), reason=f"rate limited for {retry_after:g} s")


def load_teams(shard: Shard, team_ids: list[int]) -> dict[str, Any]:
    """Loads every team that can be loaded, then raises the error that a retry is most likely to help with."""
    pipeline = make_pipeline(shard.pipeline_name("supermetrics"), DESTINATION)
    result = run_load(pipeline, team_ids=team_ids, include_configs=True, include_teams=True, on_team_error="skip")
    if result.errors:
        failures = [(failure_details(error), error) for error in result.errors]
        raise max(failures, key=lambda failure: (not failure[0]["terminal"], failure[0]["retry_after"] or 0))[1]
    # Airflow stores what a task returns: counts here, as team_syncs has the row of each team
    counts = {"teams": len(result.teams), "changes": result.changes.count}
    return {name: value for name, value in result.as_dict().items() if name != "team_names"} | counts


@dag(
    schedule="@hourly",
    start_date=datetime(2025, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
    params={"shards": Param(SHARDS, type="integer", minimum=1, maximum=1000)},
)
def supermetrics_shards() -> None:
    """Loads every shard in a task and a dlt pipeline of its own, in parallel."""

    @task
    def shards(params: dict[str, Any]) -> list[str]:  # Airflow passes the run's params to an argument of this name
        return [f"{number}/{params['shards']}" for number in range(1, params["shards"] + 1)]

    @task(
        multiple_outputs=False,
        map_index_template="shard {{ shard }}",
        retries=3,
        retry_delay=timedelta(seconds=30),
        retry_policy=RetryAfterRateLimit(),
    )
    def load(shard: str) -> dict[str, Any]:
        get_current_context()["shard"] = shard
        part = Shard.parse(shard)
        team_ids = part.pick(configured_team_ids())
        if not team_ids:
            raise AirflowSkipException(f"Shard {shard} has no team")
        try:
            return load_teams(part, team_ids)
        except Exception as error:
            failure = failure_details(error)
            if failure["terminal"]:  # such as a wrong key: no retry can help
                raise AirflowFailException(failure["message"]) from error
            raise

    load.expand(shard=shards())


loading = supermetrics_shards()
