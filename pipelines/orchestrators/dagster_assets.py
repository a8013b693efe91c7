"""Dagster: one asset per table with one partition per team. `dagster dev -f dagster_assets.py` shows and runs them.

Needs `pip install ".[dagster]"` in the clone and SOURCES__SUPERMETRICS__TEAM_IDS. A run also needs
SUPERMETRICS_API_KEY.
"""

from collections.abc import Iterator

import dagster as dg
from dagster_dlt import build_dlt_asset_specs

from supermetrics_connectors import supermetrics_source
from supermetrics_loader.run.failures import failure_details
from supermetrics_loader.run.load import run_load
from supermetrics_loader.run.pipeline import make_pipeline
from supermetrics_loader.run.shards import configured_team_ids

DESTINATION = "duckdb"  # any dlt destination; its credentials are DESTINATION__DUCKDB__CREDENTIALS and the like
TEAMS = dg.StaticPartitionsDefinition([str(team_id) for team_id in configured_team_ids()])
SPECS = build_dlt_asset_specs(  # reads the names of the tables; makes no request
    supermetrics_source(team_ids=[1], api_key="unused", include_configs=True, include_teams=True),
    make_pipeline("supermetrics", DESTINATION),
)
RETRIES = dg.RetryPolicy(max_retries=3, delay=15, backoff=dg.Backoff.EXPONENTIAL)
METADATA = (
    *("status", "connectors_received", "connectors_changed", "connectors_removed", "configurations_changed"),
    "request_id",
)


# DuckDB takes one writer at a time: give the pool a limit of 1 (`dagster instance concurrency set supermetrics 1`).
@dg.multi_asset(name="supermetrics", specs=SPECS, partitions_def=TEAMS, retry_policy=RETRIES, pool="supermetrics")
def supermetrics_assets(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult]:
    """Loads one team in a dlt pipeline of its own. A failing team does not affect the other partitions."""
    team_id = int(context.partition_key)
    pipeline = make_pipeline(f"supermetrics_team_{team_id}", DESTINATION)
    try:
        [team] = run_load(pipeline, team_ids=[team_id], include_configs=True, include_teams=True).teams
    except Exception as error:
        failure = {name: value for name, value in failure_details(error).items() if value is not None}
        # A retry within the run would occupy its slot until the rate limit resets: the next scheduled run loads it.
        may_pass = not failure["terminal"] and "retry_after" not in failure
        raise dg.Failure(failure["message"], metadata=failure, allow_retries=may_pass) from error
    for spec in SPECS:
        yield dg.MaterializeResult(spec.key, metadata={name: team[name] for name in METADATA})


load_supermetrics = dg.define_asset_job("load_supermetrics", [supermetrics_assets])


@dg.schedule(cron_schedule="17 * * * *", job=load_supermetrics)
def hourly() -> list[dg.RunRequest]:
    """One run per team."""
    return [dg.RunRequest(partition_key=team_id) for team_id in TEAMS.get_partition_keys()]


defs = dg.Definitions(assets=[supermetrics_assets], jobs=[load_supermetrics], schedules=[hourly])
