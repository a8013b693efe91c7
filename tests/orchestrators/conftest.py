"""Fixtures of the orchestrators' tests: five teams, each with another outcome, and the warehouse they load into."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest

from tests.helpers.sandbox import Fault, ReceivedRequest, Sandbox

# Each tool reads its folder, and whether it may report its use, when it is imported.
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
"""Listings that are requested per team. HEALING: two by its first task, as set below, and one by its second."""


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
        """The request id in the last listing of a team."""
        [*_, last] = [each.request_id for each in self._listings() if each.team_id == team_id]
        assert last
        return last

    def requests(self) -> dict[int | None, int]:
        """The number of requested listings per team."""
        return Counter(each.team_id for each in self._listings())

    def loaded(self, table: str) -> list[int]:
        """The teams with rows in a table of the warehouse."""
        return [row[0] for row in self._query(f"select distinct team_id from {table} order by 1")]

    def failures(self) -> dict[int, tuple[int, str]]:
        """HTTP status and request id of each failed team, as the on-call query finds them."""
        query = "select team_id, http_status, request_id from team_syncs where status = 'failed'"
        return {team_id: (status, request_id) for team_id, status, request_id in self._query(query)}

    def _listings(self) -> list[ReceivedRequest]:
        return [each for each in self.sandbox.requests if each.path.endswith("/connectors")]

    def _query(self, query: str) -> list[tuple[int, int, str]]:
        with duckdb.connect(str(self.database), read_only=True) as connection:
            connection.execute("set schema = 'supermetrics'")
            return connection.execute(query).fetchall()


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    """A good team, a 401, a 403, a 500 that heals and a 429 with an hour's Retry-After, configured for a load."""
    database = tmp_path / "warehouse.duckdb"
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
            "DESTINATION__DUCKDB__CREDENTIALS": str(database),
        }.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(tmp_path)
        duckdb.connect(str(database)).close()  # a failed first load leaves no file, and so no row of the failure
        yield Fleet(sandbox, database)


def check_outcome(fleet: Fleet) -> None:
    """Compares the warehouse and the received requests after a run, the same for every orchestrator."""
    assert fleet.requests() == REQUESTS
    assert fleet.loaded("connectors") == fleet.loaded("teams") == sorted([GOOD, HEALING])
    assert fleet.loaded("connector_configurations") == [GOOD]
    failures = fleet.failures()
    assert failures.pop(HEALING)[0] == 500  # the row of the first task stays
    assert failures == {
        UNAUTHORIZED: (401, fleet.request_id(UNAUTHORIZED)),
        FORBIDDEN: (403, fleet.request_id(FORBIDDEN)),
        LIMITED: (429, fleet.request_id(LIMITED)),
    }
