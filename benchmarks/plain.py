"""The load as a pipeline of your own, as the README of the source shows it, without the command line.

Run it as `python -m benchmarks.plain FILE` for stock DuckDB, or with DuckDB's memory limit as a second argument.
"""

import sys
from pathlib import Path

import dlt

from supermetrics_connectors import supermetrics_source


def main(path: str, memory_limit: str | None = None) -> None:
    """Loads the configured teams into the DuckDB file at `path`."""
    settings = {"memory_limit": memory_limit, "threads": 1} if memory_limit else {}
    destination = dlt.destinations.duckdb(credentials={"database": path, "global_config": settings})
    dlt.pipeline(Path(path).stem, destination=destination, dataset_name="supermetrics").run(supermetrics_source())


if __name__ == "__main__":
    main(*sys.argv[1:])
