"""The time to read the stored state of a loaded DuckDB file: `python -m benchmarks.reading TEAMS` in its folder."""

import sys
import time

import dlt
import pyarrow as pa

from supermetrics_connectors.specs import COMPARED_TABLES
from supermetrics_connectors.tables.destinations.reader import read_table
from supermetrics_connectors.tables.destinations.sql_reader import SqlReader
from supermetrics_connectors.tables.target import Target
from supermetrics_loader.run.pipeline import SCHEMA, make_pipeline


def main(teams: int) -> None:
    """Prints the seconds per table, and the bytes of Arrow per connector that stay allocated and at the peak."""
    pipeline = make_pipeline("supermetrics")
    pipeline.activate()
    team_ids = list(range(1, teams + 1))
    reader = SqlReader(Target(pipeline, dlt.Schema(SCHEMA), {}))
    tables, seconds = [], []
    with reader.connected():
        for spec in COMPARED_TABLES:
            began = time.perf_counter()
            tables.append(read_table(reader, spec, team_ids))
            seconds.append(f"{spec.name} {time.perf_counter() - began:.2f} s")
    connectors = tables[0].count(team_ids)
    kept, peak = pa.total_allocated_bytes() / connectors, pa.default_memory_pool().max_memory() / connectors
    sys.stdout.write(
        f"{connectors} connectors: {', '.join(seconds)}; {kept:.0f} bytes each stay, {peak:.0f} at the peak\n"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]))
