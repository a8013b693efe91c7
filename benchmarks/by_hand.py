"""What the load is measured against: the same rows by hand with requests, orjson, pyarrow and duckdb.

It is what a careful person writes in an afternoon: as many threads as the load has workers, but no state, no history,
no retries and no schema that evolves. Each team's rows are deleted and inserted again. Run it as
`python -m benchmarks.by_hand URL TEAMS CONFIGS FILE WORKERS`.
"""

import hashlib
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

import duckdb
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import requests

_TABLES = """
create schema if not exists by_hand_tables;
create table if not exists by_hand_tables.connectors (
    team_id bigint, connector_identifier varchar, name varchar, description varchar, logo_url varchar,
    created_at timestamptz, updated_at timestamptz);
create table if not exists by_hand_tables.connector_configurations (
    team_id bigint, connector_identifier varchar, version varchar, configuration_json json,
    created_at timestamptz, updated_at timestamptz, content_hash varchar);
"""


_Tables = dict[str, pa.Table]


def main(url: str, teams: int, with_configs: bool, path: str, workers: int) -> None:
    """Loads teams 1 … `teams` into the DuckDB file at `path`."""
    connection = duckdb.connect(path)
    connection.execute(_TABLES)
    for team_id, tables in enumerate(_fetch_all(url, teams, with_configs, workers), start=1):
        for name, rows in tables.items():
            _replace(connection, name, team_id, rows)
    connection.close()


def _fetch_all(url: str, teams: int, with_configs: bool, workers: int) -> Iterator[_Tables]:
    """Yields the tables of each team in order, and fetches at most `workers` teams ahead."""
    session = requests.Session()
    session.headers["Authorization"] = "Bearer api_benchmark"
    with ThreadPoolExecutor(workers) as threads:
        tasks = (threads.submit(_fetch, session, url, team_id, with_configs) for team_id in range(1, teams + 1))
        waiting: list[Future[_Tables]] = list(islice(tasks, workers))
        while waiting:
            yield waiting.pop(0).result()
            waiting += islice(tasks, 1)


def _fetch(session: requests.Session, url: str, team_id: int, with_configs: bool) -> _Tables:
    response = session.get(
        f"{url}/v1/teams/{team_id}/connector_builder/connectors",
        params={"include_configs": str(with_configs).lower()},
        timeout=60,
    )
    response.raise_for_status()
    records = orjson.loads(response.content)["connectors"]
    tables = {"connectors": _connectors(team_id, records)}
    return tables | ({"connector_configurations": _configurations(team_id, records)} if with_configs else {})


def _connectors(team_id: int, records: list[dict[str, str]]) -> pa.Table:
    names = ("connector_identifier", "name", "description", "logo_url")
    columns = {"team_id": pa.repeat(team_id, len(records))}
    columns |= {name: pa.array([record[name] for record in records]) for name in names}
    return pa.table(columns | {name: _times(records, name) for name in ("created_at", "updated_at")})


def _configurations(team_id: int, records: list[dict[str, dict[str, str]]]) -> pa.Table:
    configurations = [record["configuration"] for record in records]
    texts = [orjson.dumps(c["configuration_json"], option=orjson.OPT_SORT_KEYS) for c in configurations]
    columns = {"team_id": pa.repeat(team_id, len(records))}
    columns["connector_identifier"] = pa.array([record["connector_identifier"] for record in records])
    columns["version"] = pa.array([c["version"] for c in configurations])
    columns["configuration_json"] = pa.array([text.decode() for text in texts])
    columns |= {name: _times(configurations, name) for name in ("created_at", "updated_at")}
    columns["content_hash"] = pa.array([hashlib.sha256(text).hexdigest() for text in texts])
    return pa.table(columns)


def _times(records: list[dict[str, str]], name: str) -> pa.Array:
    return pc.cast(pa.array([record[name] for record in records]), pa.timestamp("us", tz="UTC"))


def _replace(connection: duckdb.DuckDBPyConnection, table: str, team_id: int, rows: pa.Table) -> None:
    connection.register("rows", rows)
    connection.execute(f"delete from by_hand_tables.{table} where team_id = ?", [team_id])  # noqa: S608 - as below
    connection.execute(f"insert into by_hand_tables.{table} select * from rows")  # noqa: S608 - the names are ours


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3] == "true", sys.argv[4], int(sys.argv[5]))
