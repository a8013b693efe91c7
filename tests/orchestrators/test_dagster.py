"""The Dagster example, run by Dagster itself: `materialize` in this process, an instance in a temporary folder."""

from __future__ import annotations

import os
import subprocess
import sys

import dagster as dg
import pytest

from tests.orchestrators.conftest import (
    FORBIDDEN,
    GOOD,
    HEALING,
    LIMITED,
    TEAMS,
    UNAUTHORIZED,
    Fleet,
    check_outcome,
)


@pytest.mark.usefixtures("fleet")
def test_definitions_load_without_a_key() -> None:
    """A code location is imported where there may be no key: in CI or in the web server."""
    environment = {name: value for name, value in os.environ.items() if name != "SUPERMETRICS_API_KEY"}
    script = "from orchestrators.dagster_assets import defs; print(defs.resolve_job_def('load_supermetrics').name)"
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], env=environment, check=True, capture_output=True)


def test_a_failing_team_is_one_failed_partition_and_its_failure_carries_the_request_id(fleet: Fleet) -> None:
    """One partition per team, with the failure's details as metadata."""
    from orchestrators.dagster_assets import supermetrics_assets

    with dg.instance_for_test() as instance:
        runs = {
            team_id: dg.materialize(
                [supermetrics_assets], partition_key=str(team_id), instance=instance, raise_on_error=False
            )
            for team_id in TEAMS
        }

    assert {team_id: run.success for team_id, run in runs.items()} == {
        GOOD: True,
        UNAUTHORIZED: False,
        FORBIDDEN: False,
        HEALING: True,
        LIMITED: False,
    }
    check_outcome(fleet)
    for team_id, status, code, error, terminal in (
        (UNAUTHORIZED, 401, "UNAUTHORIZED", "SupermetricsUnauthorizedError", True),
        (FORBIDDEN, 403, "FORBIDDEN", "SupermetricsForbiddenError", True),
        (LIMITED, 429, "TOO_MANY_REQUESTS", "SupermetricsRateLimitError", False),
    ):
        [failed] = [event for event in runs[team_id].all_events if event.is_step_failure]
        data = failed.step_failure_data.user_failure_data
        assert data is not None
        metadata = {name: value.value for name, value in data.metadata.items()}
        assert metadata.pop("message") == data.description
        assert f"(request_id={fleet.request_id(team_id)})" in str(data.description)
        assert metadata.pop("retry_after", None) == (3600 if team_id == LIMITED else None)
        assert metadata == {
            "type": error,
            "team_id": team_id,
            "status_code": status,
            "code": code,
            "request_id": fleet.request_id(team_id),
            "terminal": terminal,
        }
    assert [event.event_type_value for event in runs[HEALING].all_events].count("STEP_UP_FOR_RETRY") == 1
    assert fleet.sandbox.token not in str([run.all_events for run in runs.values()])


def test_asset_metadata_counts_connectors_seen_changed_and_removed(fleet: Fleet) -> None:
    """The asset's metadata answers "did anything change?" without a query."""
    from orchestrators.dagster_assets import supermetrics_assets

    metadata = []
    for identifier in (None, "T3S70"):
        if identifier:
            fleet.sandbox.delete_connector(GOOD, identifier)
        run = dg.materialize([supermetrics_assets], partition_key=str(GOOD))
        [materialized] = [
            event.materialization
            for event in run.get_asset_materialization_events()
            if event.asset_key == dg.AssetKey("dlt_supermetrics_connectors")
        ]
        metadata.append({name: value.value for name, value in materialized.metadata.items()})

    names = ("status", "connectors_received", "connectors_changed", "connectors_removed")
    assert [[each[name] for name in names] for each in metadata] == [["ok", 3, 3, 0], ["ok", 2, 0, 1]]
    assert metadata[1]["request_id"] == fleet.request_id(GOOD)
