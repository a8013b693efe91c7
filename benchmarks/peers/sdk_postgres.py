"""The vendor's SDK, and rows upserted into PostgreSQL, one statement per team. Nothing is ever deleted."""

import json
import sys

import psycopg2
from psycopg2.extras import execute_values
from supermetrics import SupermetricsClient

_COLUMNS = ("connector_identifier", "name", "description", "logo_url", "created_at", "updated_at")
_TABLE = """
create schema if not exists peer_sdk;
create table if not exists peer_sdk.connectors (
    team_id bigint, connector_identifier text, name text, description text, logo_url text,
    created_at timestamptz, updated_at timestamptz, configuration jsonb,
    primary key (team_id, connector_identifier))
"""
_UPSERT = (
    f"insert into peer_sdk.connectors (team_id, {', '.join(_COLUMNS)}, configuration) values %s"  # noqa: S608 - our names
    " on conflict (team_id, connector_identifier) do update set"
    f" {', '.join(f'{name} = excluded.{name}' for name in (*_COLUMNS[1:], 'configuration'))}"
)


def main(url: str, teams: int, with_configs: bool, server: str) -> None:
    """Loads teams 1 … `teams` into the PostgreSQL server with this URL."""
    with psycopg2.connect(server) as connection, connection.cursor() as cursor:
        cursor.execute(_TABLE)
        with SupermetricsClient(api_key="api_benchmark", base_url=url) as client:
            for team_id in range(1, teams + 1):
                listed = client.connector_builder.list(team_id, include_configs=with_configs).to_dict()["connectors"]
                rows = [
                    (team_id, *(each.get(name) for name in _COLUMNS), json.dumps(each.get("configuration")))
                    for each in listed
                ]
                execute_values(cursor, _UPSERT, rows, page_size=len(rows))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3] == "true", sys.argv[4])
