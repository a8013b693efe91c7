"""The least that dlt can do: one Arrow table of 100 rows, there already, into stock DuckDB. No API is asked."""

import sys
from collections.abc import Iterator

import dlt
import pyarrow as pa


@dlt.resource(file_format="parquet")
def rows() -> Iterator[pa.Table]:
    """One table."""
    yield pa.table({"number": range(100)})


def main(path: str) -> None:
    """Loads them into the DuckDB file at `path`."""
    dlt.pipeline("least", destination=dlt.destinations.duckdb(path), dataset_name="loaded").run(rows())


if __name__ == "__main__":
    main(sys.argv[1])
