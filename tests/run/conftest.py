"""A sandbox that `load` is led to by its environment."""

from __future__ import annotations

import pytest

from supermetrics_loader.sandbox import Sandbox
from tests.helpers.expectations import OTHER, TEAM


@pytest.fixture
def api(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """The sandbox with a connector in each of two teams, and the environment that leads to it."""
    for team_id in (TEAM, OTHER):
        sandbox.add_connector(team_id, "A", name="Name A", configuration={"configuration_json": {"a": 1}})
        monkeypatch.setenv("SOURCES__SUPERMETRICS__TEAM_IDS", ",".join(map(str, sandbox.team_ids)))
    monkeypatch.setenv("SUPERMETRICS_API_KEY", sandbox.token)
    monkeypatch.setenv("SOURCES__SUPERMETRICS__BASE_URL", sandbox.url)
    return sandbox
