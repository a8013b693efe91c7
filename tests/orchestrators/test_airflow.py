"""The Airflow example, run by Airflow itself: `dag.test()` with a metadata database in SQLite."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

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

# Airflow runs in a process of its own, as from a shell
DAG_FILE = Path(__file__).parents[2] / "pipelines" / "orchestrators" / "airflow_dag.py"
AIRFLOW_HOME = Path(os.environ["AIRFLOW_HOME"])
PATIENCE = 900.0  # seconds


@pytest.fixture
def metadata() -> Path:
    """An empty metadata database, and the example in the DAGs folder."""
    (AIRFLOW_HOME / "dags").mkdir(parents=True)
    shutil.copy(DAG_FILE, AIRFLOW_HOME / "dags")
    subprocess.run([Path(sys.executable).with_name("airflow"), "db", "migrate"], check=True, capture_output=True)
    return AIRFLOW_HOME / "airflow.db"


def _loads(metadata: Path) -> dict[int, tuple[str, float | None]]:
    """State and, when a retry policy set one, delay of the next try in seconds, by team."""
    query = "select map_index, state, retry_delay_override from task_instance where task_id = 'load' and map_index >= 0"
    with sqlite3.connect(metadata) as connection:
        return {TEAMS[index]: (state, delay) for index, state, delay in connection.execute(query)}


def _is_over(loads: dict[int, tuple[str, float | None]]) -> bool:
    """Whether nothing more happens within the hour."""
    return len(loads) == len(TEAMS) and all(state in ("success", "failed") or delay for state, delay in loads.values())


def _test_dag(metadata: Path, log: Path) -> dict[int, tuple[str, float | None]]:
    """Runs the DAG until only the task that waits for an hour has not ended."""
    script = f"import runpy; runpy.run_path({str(AIRFLOW_HOME / 'dags' / DAG_FILE.name)!r})['loading'].test()"
    with log.open("wb") as out:
        process: subprocess.Popen[Any] = subprocess.Popen([sys.executable, "-c", script], stdout=out, stderr=out)
        try:
            deadline = time.monotonic() + PATIENCE
            while process.poll() is None and time.monotonic() < deadline and not _is_over(_loads(metadata)):
                time.sleep(0.5)
        finally:
            process.kill()
            process.wait()
    return _loads(metadata)


def test_a_failing_team_is_one_failed_task_and_its_log_names_the_request_id(
    fleet: Fleet, metadata: Path, tmp_path: Path
) -> None:
    """One task per team: retries only where they help, an hour later where the API says so, and no worker waits."""
    log = tmp_path / "airflow.log"

    loads = _test_dag(metadata, log)

    text = log.read_text()
    assert loads == {
        GOOD: ("success", None),
        UNAUTHORIZED: ("failed", None),
        FORBIDDEN: ("failed", None),
        HEALING: ("success", None),
        LIMITED: ("up_for_retry", 3600.0),
    }, text
    check_outcome(fleet)
    for team_id, status in ((UNAUTHORIZED, 401), (FORBIDDEN, 403)):
        [raised] = [line for line in text.splitlines() if f"AirflowFailException: HTTP {status} " in line]
        assert f"for team {team_id}: " in raised
        assert f"(request_id={fleet.request_id(team_id)})" in raised
    [raised] = [line for line in text.splitlines() if "LoadFailedError: " in line and "HTTP 429 " in line]
    assert f"(request_id={fleet.request_id(LIMITED)})" in raised
    assert fleet.sandbox.token not in text
