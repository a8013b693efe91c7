"""The Prefect example, run by Prefect itself, with a server of its own in a temporary folder."""

from __future__ import annotations

import pytest
from prefect.client.orchestration import get_client
from prefect.testing.utilities import prefect_test_harness

from tests.orchestrators.conftest import FORBIDDEN, GOOD, HEALING, LIMITED, UNAUTHORIZED, Fleet, check_outcome


def test_a_failing_team_is_one_failed_task_and_its_state_carries_the_request_id(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One task per team: retries only where they help. The UI and notifications show the states' messages."""
    from orchestrators import prefect_flow

    quick = prefect_flow.load_team.with_options(retry_delay_seconds=0)
    monkeypatch.setattr(prefect_flow, "load_team", quick)
    with prefect_test_harness(server_startup_timeout=300):
        state = prefect_flow.load_connectors(return_state=True)
        with get_client(sync_client=True) as client:
            runs = {run.name: run for run in client.read_task_runs(limit=100)}

    check_outcome(fleet)
    assert {name: (run.state_name, run.run_count) for name, run in runs.items()} == {
        f"team {GOOD}": ("Completed", 1),
        f"team {UNAUTHORIZED}": ("Failed", 1),
        f"team {FORBIDDEN}": ("Failed", 1),
        f"team {HEALING}": ("Completed", 2),
        f"team {LIMITED}": ("Failed", 1),
    }
    assert state.is_failed()
    assert str(state.message).startswith("3 of 5 teams failed.\n")
    for team_id in (UNAUTHORIZED, FORBIDDEN, LIMITED):
        message = runs[f"team {team_id}"].state.message
        assert f"for team {team_id}: " in message
        assert f"(request_id={fleet.request_id(team_id)})" in message
        assert message in str(state.message)
    assert fleet.sandbox.token not in f"{state!r} {runs!r}"
