"""The time to read the stored state of a loaded DuckDB file: `python -m benchmarks.reading TEAMS` in its folder."""

import sys
import time

import dlt
import pyarrow as pa

from supermetrics_connectors.specs import COMPARED_TABLES, CONNECTORS
from supermetrics_connectors.tables.destinations.reader import Reader
from supermetrics_connectors.tables.destinations.stored import read_tables
from supermetrics_connectors.tables.target import Target
from supermetrics_loader.run.pipeline import SCHEMA, make_pipeline


def main(teams: int) -> None:
    """Prints the seconds, and the bytes of Arrow per connector that stay allocated and at the peak."""
    pipeline = make_pipeline("supermetrics")
    pipeline.activate()
    team_ids = list(range(1, teams + 1))
    reader = Reader(Target(pipeline, dlt.Schema(SCHEMA), {}))
    began = time.perf_counter()
    tables = read_tables(reader, COMPARED_TABLES, team_ids)
    seconds = time.perf_counter() - began
    connectors = tables[CONNECTORS.name].count(team_ids)
    kept, peak = pa.total_allocated_bytes() / connectors, pa.default_memory_pool().max_memory() / connectors
    sys.stdout.write(f"{connectors} connectors: {seconds:.2f} s; {kept:.0f} bytes each stay, {peak:.0f} at the peak\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))
