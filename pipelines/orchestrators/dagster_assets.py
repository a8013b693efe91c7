"""Dagster: three assets with a partition for each team. `dagster dev -f dagster_assets.py` shows and runs them.

Needs `pip install ".[dagster]"` in the clone and SOURCES__SUPERMETRICS__TEAM_IDS; a run also needs
SUPERMETRICS_API_KEY.
"""

from collections.abc import Iterator

import dagster as dg
from dagster_dlt import build_dlt_asset_specs

from supermetrics_connectors import supermetrics_source
from supermetrics_loader.run.failures import evidence
from supermetrics_loader.run.load import run_load
from supermetrics_loader.run.shards import configured_team_ids
from supermetrics_loader.run.targets import make_pipeline

DESTINATION = "duckdb"  # any dlt destination; its credentials are DESTINATION__DUCKDB__CREDENTIALS and the like
TEAMS = dg.StaticPartitionsDefinition([str(team_id) for team_id in configured_team_ids()])
SPECS = build_dlt_asset_specs(
    supermetrics_source(team_ids=[1], api_key="not-needed-for-the-shape"), make_pipeline("supermetrics", DESTINATION)
)
PUT_OFF = dg.RetryPolicy(max_retries=3, delay=15, backoff=dg.Backoff.EXPONENTIAL)


# DuckDB takes one writer at a time: give the pool a limit of 1 (`dagster instance concurrency set supermetrics 1`).
@dg.multi_asset(name="supermetrics", specs=SPECS, partitions_def=TEAMS, retry_policy=PUT_OFF, pool="supermetrics")
def supermetrics_assets(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult]:
    """Loads a team in a dlt pipeline of its own: a team that fails leaves the others green."""
    pipeline = make_pipeline(f"supermetrics_team_{context.partition_key}", DESTINATION)
    try:
        [team] = run_load(pipeline, team_ids=[int(context.partition_key)], include_configs=True).teams
    except Exception as error:
        about = {name: value for name, value in evidence(error).items() if value is not None}
        # A retry within the run would hold its place until the limit resets: that is left to the next tick.
        may_pass = not about["terminal"] and "retry_after" not in about
        raise dg.Failure(about["message"], metadata=about, allow_retries=may_pass) from error
    told = ("status", "connectors_received", "connectors_changed", "connectors_removed", "configurations_changed")
    for spec in SPECS:
        yield dg.MaterializeResult(spec.key, metadata={name: team[name] for name in (*told, "request_id")})


load_supermetrics = dg.define_asset_job("load_supermetrics", [supermetrics_assets])


@dg.schedule(cron_schedule="17 * * * *", job=load_supermetrics)
def hourly() -> list[dg.RunRequest]:
    """A run for each team."""
    return [dg.RunRequest(partition_key=team_id) for team_id in TEAMS.get_partition_keys()]


defs = dg.Definitions(assets=[supermetrics_assets], jobs=[load_supermetrics], schedules=[hourly])
