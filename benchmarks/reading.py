"""What it takes to read what a loaded DuckDB file holds: `python -m benchmarks.reading TEAMS` in its folder."""

import sys
import time

import pyarrow as pa

from supermetrics_connectors.tables.contracts import CONTRACTS
from supermetrics_connectors.tables.stored import SqlReader, read
from supermetrics_loader.run.targets import make_pipeline


def main(teams: int) -> None:
    """Prints seconds a table, and the bytes of Arrow a connector that are held of all of them, and taken meanwhile."""
    pipeline = make_pipeline("supermetrics")
    pipeline.activate()
    team_ids = list(range(1, teams + 1))
    compared = [contract for contract in CONTRACTS.values() if contract.content]
    tables, seconds = [], []
    with pipeline.sql_client():  # or the file is opened anew for each
        for contract in compared:
            began = time.perf_counter()
            tables.append(read(SqlReader(), contract, team_ids))
            seconds.append(f"{contract.name} {time.perf_counter() - began:.2f} s")
    connectors = sum(len(tables[0].of(team_id).hashes) for team_id in team_ids)
    held, most = pa.total_allocated_bytes() / connectors, pa.default_memory_pool().max_memory() / connectors
    read_in = ", ".join(seconds)
    sys.stdout.write(f"{connectors} connectors: {read_in}; {held:.0f} bytes each are held, {most:.0f} taken at most\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))
