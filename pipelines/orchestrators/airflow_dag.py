"""Airflow 3.3 or newer: one mapped task per team. Copy this file into your DAGs folder.

The workers need `pip install ".[airflow]"` in the clone and, in their environment, SUPERMETRICS_API_KEY and
SOURCES__SUPERMETRICS__TEAM_IDS.
"""

import os
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow.sdk import RetryDecision, RetryPolicy, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from supermetrics_loader.run.failures import failure_details
from supermetrics_loader.run.load import run_load
from supermetrics_loader.run.pipeline import make_pipeline
from supermetrics_loader.run.shards import configured_team_ids

DESTINATION = "duckdb"  # any dlt destination; its credentials are DESTINATION__DUCKDB__CREDENTIALS and the like
MAX_PARALLEL_LOADS = 1  # DuckDB takes one writer at a time; a warehouse takes as many tasks as you have workers

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


@dag(schedule="@hourly", start_date=datetime(2025, 1, 1, tzinfo=timezone.utc), catchup=False, max_active_runs=1)
def supermetrics_connectors() -> None:
    """Loads every team in a task and a dlt pipeline of its own. A failing team does not affect the other tasks."""

    @task
    def team_ids() -> list[int]:
        return configured_team_ids()

    @task(
        map_index_template="team {{ team_id }}",
        retries=3,
        retry_delay=timedelta(seconds=30),
        retry_policy=RetryAfterRateLimit(),
        max_active_tis_per_dag=MAX_PARALLEL_LOADS,
    )
    def load(team_id: int) -> dict[str, Any]:
        get_current_context()["team_id"] = team_id
        pipeline = make_pipeline(f"supermetrics_team_{team_id}", DESTINATION)
        try:
            return run_load(pipeline, team_ids=[team_id], include_configs=True, include_teams=True).teams[0]
        except Exception as error:
            failure = failure_details(error)
            if failure["terminal"]:  # such as a wrong key: no retry can help
                raise AirflowFailException(failure["message"]) from error
            raise

    load.expand(team_id=team_ids())


loading = supermetrics_connectors()
