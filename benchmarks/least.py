"""The least that dlt can do: rows that need no request, merged by key into stock DuckDB.

Run it as `python -m benchmarks.least FILE ROWS BYTES`. Each row has a JSON document of that size, or none.
"""

import sys
from collections.abc import Iterator

import dlt
import orjson
import pyarrow as pa

from benchmarks.api import connector

_ROWS_PER_TABLE = 1000


@dlt.resource(file_format="parquet", write_disposition="merge", primary_key="number")
def rows(count: int, size: int) -> Iterator[pa.Table]:
    """Yields Arrow tables of up to 1000 rows."""
    for first in range(0, count, _ROWS_PER_TABLE):
        numbers = range(first, min(first + _ROWS_PER_TABLE, count))
        columns = {"number": pa.array(numbers)}
        if size:
            documents = [orjson.dumps(connector(number, size)["configuration"]).decode() for number in numbers]
            columns["document"] = pa.array(documents)
        yield pa.table(columns)


def main(path: str, count: int, size: int) -> None:
    """Loads `count` rows into the DuckDB file at `path`."""
    dlt.pipeline("least", destination=dlt.destinations.duckdb(path), dataset_name="loaded").run(rows(count, size))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
