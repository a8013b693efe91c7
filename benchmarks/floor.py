"""What the load is measured against: the same rows by hand with requests, orjson, pyarrow and duckdb.

As a careful person writes it in an afternoon: team by team, no state, no history, no retries, no schema that evolves;
each team's rows are deleted and inserted anew. Run it as `python -m benchmarks.floor URL TEAMS CONFIGS FILE`.
"""

import hashlib
import sys

import duckdb
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import requests

_TABLES = """
create schema if not exists supermetrics_floor;
create table if not exists supermetrics_floor.connectors (
    team_id bigint, connector_identifier varchar, name varchar, description varchar, logo_url varchar,
    created_at timestamptz, updated_at timestamptz);
create table if not exists supermetrics_floor.connector_configurations (
    team_id bigint, connector_identifier varchar, version varchar, configuration_json json,
    created_at timestamptz, updated_at timestamptz, content_hash varchar);
"""


def main(url: str, teams: int, with_configs: bool, path: str) -> None:
    """Loads teams 1 … `teams` into the DuckDB file at `path`."""
    connection = duckdb.connect(path)
    connection.execute(_TABLES)
    session = requests.Session()
    session.headers["Authorization"] = "Bearer api_benchmark"
    for team_id in range(1, teams + 1):
        answer = session.get(
            f"{url}/v1/teams/{team_id}/connector_builder/connectors",
            params={"include_configs": str(with_configs).lower()},
            timeout=60,
        )
        answer.raise_for_status()
        records = orjson.loads(answer.content)["connectors"]
        _replace(connection, "connectors", team_id, _connectors(team_id, records))
        if with_configs:
            _replace(connection, "connector_configurations", team_id, _configurations(team_id, records))
    connection.close()


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
    connection.execute(f"delete from supermetrics_floor.{table} where team_id = ?", [team_id])  # noqa: S608 - as below
    connection.execute(f"insert into supermetrics_floor.{table} select * from rows")  # noqa: S608 - the names are ours


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3] == "true", sys.argv[4])
