"""Loads the connectors of your Supermetrics teams, then shows some of what is there. Keep what you need of it."""

import dlt

from supermetrics_connectors import supermetrics_source


def load_connectors() -> None:
    """Loads the connectors of the teams in `.dlt/config.toml`. Run again, it writes only what changed since."""
    pipeline = dlt.pipeline("supermetrics_connectors_pipeline", destination="duckdb", dataset_name="supermetrics")
    print(pipeline.run(supermetrics_source()))


def load_connectors_with_configurations() -> None:
    """Loads each connector's JSON configuration as well, into a table that keeps every version."""
    pipeline = dlt.pipeline("supermetrics_connectors_pipeline", destination="duckdb", dataset_name="supermetrics")
    print(pipeline.run(supermetrics_source(include_configs=True)))


def show_connectors() -> None:
    """Prints how many rows each table has, and the ten connectors that were updated last."""
    pipeline = dlt.attach("supermetrics_connectors_pipeline")
    tables = pipeline.dataset()
    print(*tables.row_counts().fetchall(), sep="\n")
    query = "SELECT team_id, name, updated_at FROM connectors ORDER BY updated_at DESC LIMIT 10"
    for team_id, name, updated_at in tables(query).fetchall():
        print(f"team {team_id}: {name}, updated {updated_at}")


if __name__ == "__main__":
    load_connectors()
    # load_connectors_with_configurations()
    show_connectors()
