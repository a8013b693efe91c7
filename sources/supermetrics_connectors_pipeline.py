"""Loads the connectors of your Supermetrics teams and prints the latest ones. An example to change."""

import dlt

from supermetrics_connectors import create_changes_view, supermetrics_source


def load_connectors() -> None:
    """Loads the connectors of the teams in `.dlt/config.toml`. A second run writes only what changed."""
    pipeline = dlt.pipeline("supermetrics_connectors_pipeline", destination="duckdb", dataset_name="supermetrics")
    print(pipeline.run(supermetrics_source()))
    create_changes_view(pipeline)


def load_connectors_with_configurations() -> None:
    """Loads each connector's JSON configuration as well, and keeps every version."""
    pipeline = dlt.pipeline("supermetrics_connectors_pipeline", destination="duckdb", dataset_name="supermetrics")
    print(pipeline.run(supermetrics_source(include_configs=True)))
    create_changes_view(pipeline)


def show_connectors() -> None:
    """Prints the number of rows per table, and the ten connectors that were updated last."""
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
