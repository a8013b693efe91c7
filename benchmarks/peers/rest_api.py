"""dlt's own `rest_api` source: the teams as a resource, and each one's listing by its id."""

import sys

import dlt
from dlt.sources.rest_api import rest_api_source


def main(url: str, teams: int, with_configs: bool, path: str) -> None:
    """Loads teams 1 … `teams` into the DuckDB file at `path`, or into the PostgreSQL server with this URL."""
    page = [{"id": team_id} for team_id in range(1, teams + 1)]
    ids = dlt.resource([page], name="teams", selected=False)
    listing = {
        "path": "v1/teams/{resources.teams.id}/connector_builder/connectors",
        "params": {"include_configs": str(with_configs).lower()},
        "data_selector": "connectors",
        "paginator": "single_page",
    }
    connectors = {
        "name": "connectors",
        "endpoint": listing,
        "include_from_parent": ["id"],
        "primary_key": ["_teams_id", "connector_identifier"],
        "write_disposition": "merge",
        "columns": {"configuration": {"data_type": "json"}},
    }
    client = {"base_url": url, "auth": {"type": "bearer", "token": "api_benchmark"}}
    source = rest_api_source({"client": client, "resources": [ids, connectors]})
    is_server = path.startswith("postgresql:")
    destination = dlt.destinations.postgres(path) if is_server else dlt.destinations.duckdb(path)
    dlt.pipeline("peer", destination=destination, dataset_name="peer").run(source)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3] == "true", sys.argv[4])
