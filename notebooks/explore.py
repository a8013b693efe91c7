"""The loaded tables in a notebook: `marimo edit notebooks/explore.py`.

The notebook reads `supermetrics_connectors.duckdb` in the current folder, or the place that the environment variables
DESTINATION and DATASET name. As a script (`python notebooks/explore.py`) it prints each result.
"""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Supermetrics connectors")


@app.cell
def _():
    import os

    import dlt
    import marimo as mo

    from supermetrics_loader.run.pipeline import make_destination

    dataset = dlt.dataset(
        make_destination(os.environ.get("DESTINATION", "duckdb")), os.environ.get("DATASET", "supermetrics")
    )
    return dataset, mo


@app.cell
def _(mo):
    mo.md("""
    # Supermetrics connectors

    Each cell queries the dataset, in DuckDB's SQL and without a schema before the tables. A changed query shows its new
    result at once. Add cells of your own below.
    """)


@app.cell
def _(dataset, mo):
    def show(title, table, sql):
        """The result of a query as a table to sort and filter, or a note without rows."""
        rows, note = [], f"The table {table} is not loaded."
        if table in dataset.tables:
            relation = dataset(sql)
            rows = [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]
            note = "No rows."
        if mo.app_meta().mode == "script":
            print(title, *rows or [note], sep="\n  ")
        return mo.vstack([mo.md(f"## {title}"), mo.ui.table(rows, selection=None) if rows else mo.md(note)])

    return (show,)


@app.cell
def _(show):
    show(
        "Connectors per team",
        "connectors",
        """
        select team_id, count(*) as connectors, max(updated_at) as last_update
        from connectors
        group by team_id
        order by connectors desc, team_id
        """,
    )


@app.cell
def _(show):
    show(
        "Authentication, report types and fields",
        "connector_configurations",
        """
        select team_id, connector_identifier, version,
               configuration_json ->> '$.authentication.type' as authentication,
               len(json_extract(configuration_json, '$.reporting.reportTypes[*]')) as report_types,
               len(json_extract(configuration_json, '$.reporting.reportTypes[*].fields[*]')) as fields
        from connector_configurations
        where _dlt_valid_to is null
        order by team_id, connector_identifier
        """,
    )


@app.cell
def _(show):
    show(
        "Latest changes",
        "connector_changes",
        """
        select detected_at, change, team_id, name, connector_identifier, paths_changed
        from connector_changes
        where not baseline
        order by detected_at desc
        limit 50
        """,
    )


@app.cell
def _(show):
    show(
        "Configurations with several versions",
        "connector_configurations",
        """
        select team_id, connector_identifier, count(*) as versions, max(_dlt_valid_from) as current_since
        from connector_configurations
        group by team_id, connector_identifier
        having count(*) > 1
        order by versions desc, team_id, connector_identifier
        """,
    )


@app.cell
def _(show):
    show(
        "Failed syncs, with the request id for Supermetrics support",
        "team_syncs",
        """
        select team_id, started_at, http_status, error_code, request_id, error_message
        from team_syncs
        where status = 'failed'
        order by started_at desc
        """,
    )


if __name__ == "__main__":
    app.run()
