"""The vendor's SDK, and rows inserted into DuckDB by Arrow, team by team."""

import json
import sys

import duckdb
import pyarrow as pa
from supermetrics import SupermetricsClient

_TABLE = """
create schema if not exists peer;
create table if not exists peer.connectors (
    team_id bigint, connector_identifier varchar, name varchar, description varchar, logo_url varchar,
    created_at timestamptz, updated_at timestamptz, configuration json)
"""


def main(url: str, teams: int, with_configs: bool, path: str) -> None:
    """Loads teams 1 … `teams` into the DuckDB file at `path`."""
    connection = duckdb.connect(path)
    connection.execute(_TABLE)
    with SupermetricsClient(api_key="api_benchmark", base_url=url) as client:
        for team_id in range(1, teams + 1):
            listed = client.connector_builder.list(team_id, include_configs=with_configs).to_dict()["connectors"]
            for record in listed:
                record |= {"team_id": team_id, "configuration": json.dumps(record.get("configuration"))}
            connection.register("listed", pa.Table.from_pylist(listed))
            connection.execute("delete from peer.connectors where team_id = ?", [team_id])
            connection.execute("insert into peer.connectors by name select * from listed")
    connection.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3] == "true", sys.argv[4])
