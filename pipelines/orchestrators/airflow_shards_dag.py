"""Airflow 3.3 or newer, on many workers (Celery's, Kubernetes'): a mapped task for each shard of the teams.

For thousands of teams; `airflow_dag.py` has a task a team. Copy this file into your DAGs folder. Every worker needs
`pip install ".[airflow,postgres]"` in the clone and, in its environment, SUPERMETRICS_API_KEY,
SOURCES__SUPERMETRICS__TEAM_IDS and the warehouse's credentials; no disk that it shares with another.
"""

import os
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow.sdk import Param, RetryDecision, RetryPolicy, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from supermetrics_loader.run.failures import evidence
from supermetrics_loader.run.load import run_load
from supermetrics_loader.run.shards import Shard, configured_team_ids
from supermetrics_loader.run.targets import make_pipeline

DESTINATION = "postgres"  # one that takes several writers; its credentials are DESTINATION__POSTGRES__CREDENTIALS
SHARDS = 16  # may be another with each run: what there is of a team is asked of the warehouse

# dlt would ask Airflow's API for a variable for each of its settings, some 900 requests a task. With this it still
# takes them from variables with parts of a secrets.toml, such as dlt_secrets_toml.
os.environ.setdefault("PROVIDERS__AIRFLOW_SECRETS__ONLY_TOML_FRAGMENTS", "true")


class WhenTheLimitResets(RetryPolicy):
    """Retries when the API said that it will answer again; otherwise after the task's own delay."""

    def evaluate(self, exception: BaseException, *_: Any, **__: Any) -> RetryDecision:
        """The decision on an error that may pass. Meanwhile no worker is occupied."""
        retry_after = evidence(exception)["retry_after"]
        if retry_after is None:
            return RetryDecision.default()
        return RetryDecision.retry(timedelta(seconds=retry_after), reason=f"rate limited for {retry_after:g} s")


def load_teams(shard: Shard, team_ids: list[int]) -> dict[str, Any]:
    """Loads what can be loaded, and fails of the error that is most worth a retry."""
    pipeline = make_pipeline(shard.pipeline_name("supermetrics"), DESTINATION)
    result = run_load(pipeline, team_ids=team_ids, include_configs=True, on_team_error="skip")
    if result.errors:
        failures = [(evidence(error), error) for error in result.errors]
        raise max(failures, key=lambda failure: (not failure[0]["terminal"], failure[0]["retry_after"] or 0))[1]
    # Airflow keeps what a task returns: a number, where team_syncs has a row a team
    return result.as_dict() | {"teams": len(result.teams), "changes": result.changes.count}


@dag(
    schedule="@hourly",
    start_date=datetime(2025, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
    params={"shards": Param(SHARDS, type="integer", minimum=1, maximum=1000)},
)
def supermetrics_shards() -> None:
    """Loads every shard in a task and a dlt pipeline of its own, side by side."""

    @task
    def shards(params: dict[str, Any]) -> list[str]:  # Airflow hands a task what it names: the run's params
        return [f"{number}/{params['shards']}" for number in range(1, params["shards"] + 1)]

    @task(
        multiple_outputs=False,
        map_index_template="shard {{ shard }}",
        retries=3,
        retry_delay=timedelta(seconds=30),
        retry_policy=WhenTheLimitResets(),
    )
    def load(shard: str) -> dict[str, Any]:
        get_current_context()["shard"] = shard
        part = Shard.parse(shard)
        team_ids = part.pick(configured_team_ids())
        if not team_ids:
            raise AirflowSkipException(f"No team falls into shard {shard}")
        try:
            return load_teams(part, team_ids)
        except Exception as error:
            if evidence(error)["terminal"]:  # a wrong key, a team one may not see: no retry will help
                raise AirflowFailException(evidence(error)["message"]) from error
            raise

    load.expand(shard=shards())


loading = supermetrics_shards()
