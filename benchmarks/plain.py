"""The load as a pipeline of one's own, as the README of the source shows it: stock DuckDB, and no command line."""

import sys

import dlt

from supermetrics_connectors import supermetrics_source


def main(path: str) -> None:
    """Loads the configured teams into the DuckDB file at `path`."""
    destination = dlt.destinations.duckdb(path)
    dlt.pipeline("plain", destination=destination, dataset_name="supermetrics").run(supermetrics_source())


if __name__ == "__main__":
    main(sys.argv[1])
