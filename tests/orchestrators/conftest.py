"""What the tests of the orchestrators share: five teams, each of which meets another fate, and where they land."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest

from supermetrics_loader.sandbox import Fault, Sandbox

# Each tool reads where it keeps its things, and whether it may report its use, when it is imported.
_HOME = Path(tempfile.mkdtemp(prefix="orchestrators_"))
os.environ |= {
    "DAGSTER_HOME": str(_HOME),
    "DAGSTER_DISABLE_TELEMETRY": "yes",
    "DO_NOT_TRACK": "1",  # Prefect
    "PREFECT_HOME": str(_HOME / "prefect"),
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
    "PREFECT_LOGGING_TO_API_ENABLED": "false",
    "AIRFLOW_HOME": str(_HOME / "airflow"),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
    "AIRFLOW__CORE__DAGS_FOLDER": str(_HOME / "airflow" / "dags"),
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "false",
    "DLT_DATA_DIR": str(_HOME / "dlt"),
    "RUNTIME__DLTHUB_TELEMETRY": "false",
}
(_HOME / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")

GOOD, UNAUTHORIZED, FORBIDDEN, HEALING, LIMITED = TEAMS = [936506, 1001, 1002, 1003, 1004]
REQUESTS = {GOOD: 1, UNAUTHORIZED: 1, FORBIDDEN: 1, HEALING: 3, LIMITED: 1}
"""HEALING is asked twice by its first task, as set below, and once by its second. No other is ever asked again."""


@dataclass
class Fleet:
    """The teams of a test.

    Attributes:
        sandbox: The API.
        database: The DuckDB file to load to.
    """

    sandbox: Sandbox
    database: Path

    def request_id(self, team_id: int) -> str:
        """What the API's last answer for a team carried."""
        [*_, last] = [each.request_id for each in self.sandbox.requests if each.team_id == team_id]
        assert last
        return last

    def requests(self) -> dict[int | None, int]:
        """How often each team was asked for."""
        return Counter(each.team_id for each in self.sandbox.requests)

    def landed(self) -> list[int]:
        """The teams with connectors in the warehouse."""
        return [row[0] for row in self._ask("select distinct team_id from connectors order by 1")]

    def on_call(self) -> list[tuple[int, int, str]]:
        """What the on-call query finds of each failure: team, status and request_id."""
        query = "select team_id, http_status, request_id from team_syncs where status = 'failed' order by 1"
        return self._ask(query)

    def _ask(self, query: str) -> list[tuple[int, int, str]]:
        with duckdb.connect(str(self.database), read_only=True) as connection:
            connection.execute("set schema = 'supermetrics'")
            return connection.execute(query).fetchall()


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    """A good team, a 401, a 403, a 500 that heals and a 429 with an hour's Retry-After, configured for a load."""
    with Sandbox() as sandbox:
        for team_id in (UNAUTHORIZED, HEALING, LIMITED):
            sandbox.add_connector(team_id)
        sandbox.fault(Fault(401), team_id=UNAUTHORIZED, times=100)
        sandbox.fault(Fault(500), team_id=HEALING, times=2)
        sandbox.fault(Fault(429, retry_after=3600), team_id=LIMITED, times=100)
        for name, value in {
            "SUPERMETRICS_API_KEY": sandbox.token,
            "SOURCES__SUPERMETRICS__BASE_URL": sandbox.url,
            "SOURCES__SUPERMETRICS__TEAM_IDS": str(TEAMS),
            "SOURCES__SUPERMETRICS__REQUEST_MAX_ATTEMPTS": "2",
            "SOURCES__SUPERMETRICS__REQUEST_BACKOFF_FACTOR": "0",
            "DESTINATION__DUCKDB__CREDENTIALS": str(tmp_path / "warehouse.duckdb"),
        }.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(tmp_path)
        yield Fleet(sandbox, tmp_path / "warehouse.duckdb")


def check_what_is_left(fleet: Fleet) -> None:
    """The warehouse and the API after a run, the same whatever ran it."""
    assert fleet.requests() == REQUESTS
    assert fleet.landed() == sorted([GOOD, HEALING])
    failures = {team_id: (status, request_id) for team_id, status, request_id in fleet.on_call()}
    assert failures.pop(HEALING)[0] == 500  # the first task's evidence stays
    assert failures == {
        UNAUTHORIZED: (401, fleet.request_id(UNAUTHORIZED)),
        FORBIDDEN: (403, fleet.request_id(FORBIDDEN)),
        LIMITED: (429, fleet.request_id(LIMITED)),
    }
