"""Many runs that each change one connector: the time of the last runs, and the growth of the DuckDB file.

Run it as `python -m benchmarks.edits URL TEAMS RUNS` against `benchmarks.api`; the first run loads all teams. The runs
share one process, so that the times do not include the import of dlt.
"""

import statistics
import sys
import time
from pathlib import Path

import requests

from supermetrics_loader.run.load import run_load
from supermetrics_loader.run.pipeline import make_pipeline

_FILE = Path("supermetrics_connectors.duckdb")
_ENDS = 5
"""Runs at the beginning and at the end whose median is printed."""


def main(url: str, teams: int, runs: int) -> None:
    """Prints the time and growth of the runs after the first.

    Raises:
        RuntimeError: A run did not write exactly one connector.
    """
    seconds, processor, sizes = [], [], []
    for number in range(runs + 1):
        began, busy = time.perf_counter(), time.process_time()
        result = run_load(
            make_pipeline("supermetrics"), team_ids=list(range(1, teams + 1)), api_key="api_benchmark", base_url=url
        )
        seconds.append(time.perf_counter() - began)
        processor.append(time.process_time() - busy)
        sizes.append(_FILE.stat().st_size / 2**10)
        changed = sum(team["connectors_changed"] for team in result.teams)
        if number and changed != 1:
            raise RuntimeError(f"Run {number} wrote {changed} connectors, expected 1")
        requests.post(f"{url}/edit/{1 + number % teams}", timeout=60)
    grown = (sizes[-1] - sizes[1]) / max(1, runs - 1)
    sys.stdout.write(
        f"{runs} edits: {_ends(seconds)} s, of the processor {_ends(processor)} (the first and the last {_ENDS}); "
        f"the file {sizes[1] / 2**10:.1f} MiB after one, {sizes[-1] / 2**10:.1f} after all, {grown:.1f} KiB a run\n"
    )


def _ends(times: list[float]) -> str:
    return f"{statistics.median(times[1 : 1 + _ENDS]):.2f} and {statistics.median(times[-_ENDS:]):.2f}"


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
