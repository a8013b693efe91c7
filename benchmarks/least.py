"""The least that dlt can do: rows that need no request, merged by key into stock DuckDB or PostgreSQL.

Run it as `python -m benchmarks.least TARGET ROWS BYTES TABLES`. Each row has a JSON document of that size, or none.
Each table gets all rows.
"""

import sys
from collections.abc import Iterator

import dlt
import orjson
import pyarrow as pa

from benchmarks.api import connector

_ROWS_PER_TABLE = 1000


@dlt.resource(write_disposition="merge", primary_key="number")
def rows(count: int, size: int) -> Iterator[pa.Table]:
    """Yields Arrow tables of up to 1000 rows."""
    for first in range(0, count, _ROWS_PER_TABLE):
        numbers = range(first, min(first + _ROWS_PER_TABLE, count))
        columns = [pa.array(numbers)]
        fields = [pa.field("number", pa.int64(), nullable=False)]
        if size:
            columns.append(
                pa.array([orjson.dumps(connector(number, size)["configuration"]).decode() for number in numbers])
            )
            fields.append(pa.field("document", pa.string()))
        yield pa.table(columns, schema=pa.schema(fields))


def main(target: str, count: int, size: int, tables: int) -> None:
    """Loads `count` rows into each table of the DuckDB file or PostgreSQL server `target`."""
    is_server = target.startswith("postgresql:")
    destination = dlt.destinations.postgres(target) if is_server else dlt.destinations.duckdb(target)
    resources = [rows(count, size).with_name(f"rows_{number}") for number in range(tables)]
    dlt.pipeline("least", destination=destination, dataset_name="loaded").run(resources)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
