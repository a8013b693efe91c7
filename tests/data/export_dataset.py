"""Writes what this release leaves in a dataset, for the tests of later ones: `python -m tests.data.export_dataset`.

Run once a release; the result is a folder of SQL and CSV files (DuckDB's EXPORT DATABASE), which any DuckDB reads.
"""

import shutil
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import dlt
import duckdb

from supermetrics_loader.run.load import run_load
from supermetrics_loader.sandbox import Sandbox

FOLDER = Path(__file__).parent


def fill(sandbox: Sandbox) -> None:
    """What the API lists in the end; the history before it is made by `main`."""
    first: Any = {
        "version": "1.0.0",
        "configuration_json": {"a": 1},
        "created_at": "2025-01-01",
        "updated_at": "2025-01-01",
    }
    clocks: Any = {"created_at": "2025-01-01", "updated_at": "2025-01-01"}
    sandbox.add_connector(1, "A", configuration=first, **clocks)
    sandbox.add_connector(1, "B", configuration=first, extra="a field of the future", **clocks)
    sandbox.add_connector(2, "C", **clocks)


def main() -> None:
    """Loads twice, with an edit and a deletion between, and exports."""
    target = FOLDER / f"release_{version('supermetrics-connectors')}"
    with tempfile.TemporaryDirectory() as folder, Sandbox(teams={}) as sandbox:
        file = Path(folder) / "warehouse.duckdb"
        fill(sandbox)
        sandbox.add_connector(2, "D")
        for _ in range(2):
            pipeline = dlt.pipeline(
                "supermetrics", destination=dlt.destinations.duckdb(str(file)), dataset_name="supermetrics",
                pipelines_dir=str(Path(folder) / "pipelines"),
            )  # fmt: skip
            run_load(pipeline, team_ids=[1, 2], api_key=sandbox.token, base_url=sandbox.url, include_configs=True)
            sandbox.edit_configuration(1, "A", {"a": 2}, version="1.0.1")
        shutil.rmtree(target, ignore_errors=True)
        with duckdb.connect(str(file)) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute(f"EXPORT DATABASE '{target}' (FORMAT csv)")
        load = target / "load.sql"  # where it is read is not where it was written
        load.write_text(load.read_text(encoding="utf-8").replace(str(target), "@FOLDER@"), encoding="utf-8")
    sys.stdout.write(f"{target}\n")


if __name__ == "__main__":
    main()
