"""What was loaded, as a notebook to change: `marimo edit notebooks/explore.py`.

It reads `supermetrics_connectors.duckdb` of the folder in which it is started, or what DESTINATION and DATASET name.
Run as a script (`python notebooks/explore.py`) it prints each answer.
"""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Supermetrics connectors")


@app.cell
def _():
    import os

    import dlt
    import marimo as mo

    from supermetrics_loader.run.targets import make_destination

    return dlt, make_destination, mo, os


@app.cell
def _(mo):
    mo.md("""
    # Supermetrics connectors

    Each cell asks the dataset, in SQL without a schema before the tables. Change a query and its answer changes; add
    cells of your own below.
    """)


@app.cell
def _(dlt, make_destination, os):
    dataset = dlt.dataset(
        make_destination(os.environ.get("DESTINATION", "duckdb")), os.environ.get("DATASET", "supermetrics")
    )
    return (dataset,)


@app.cell
def _(dataset, mo):
    def ask(title, table, sql):
        """The answer to a query as a table to sort and filter; says so where the table is not loaded."""
        if table not in dataset.tables:
            answer = mo.md(f"The table {table} is not loaded.")
        else:
            relation = dataset(sql)
            rows = [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]
            answer = mo.ui.table(rows, selection=None) if rows else mo.md("No rows.")
            if mo.app_meta().mode == "script":
                print(title, *rows, sep="\n  ")
        return mo.vstack([mo.md(f"## {title}"), answer])

    return (ask,)


@app.cell
def _(ask):
    ask(
        "Which connectors has each team?",
        "connectors",
        """
        select team_id, count(*) as connectors, max(updated_at) as last_update
        from connectors
        group by team_id
        order by connectors desc, team_id
        """,
    )


@app.cell
def _(ask):
    ask(
        "What was edited last?",
        "connectors",
        """
        select team_id, name, connector_identifier, updated_at
        from connectors
        order by updated_at desc
        limit 10
        """,
    )


@app.cell
def _(ask):
    ask(
        "What changed between two listings?",
        "connector_changes",
        """
        select detected_at, change, team_id, name, connector_identifier
        from connector_changes
        where not baseline
        order by detected_at desc
        limit 50
        """,
    )


@app.cell
def _(ask):
    ask(
        "How does each connector log in, and what does it call?",
        "connector_configurations",
        """
        select c.team_id, c.name,
               f.configuration_json ->> '$.authentication.type' as authentication,
               f.configuration_json ->> '$.reporting.request.url' as calls
        from connectors c
        left join connector_configurations f
               on f.team_id = c.team_id and f.connector_identifier = c.connector_identifier and f._dlt_valid_to is null
        order by c.team_id, c.name
        """,
    )


@app.cell
def _(ask):
    ask(
        "Which configurations have changed since they were first loaded, and when?",
        "connector_configurations",
        """
        select team_id, connector_identifier, version, _dlt_valid_from as seen_from, _dlt_valid_to as seen_to
        from connector_configurations
        qualify count(*) over (partition by team_id, connector_identifier) > 1
        order by team_id, connector_identifier, seen_from
        """,
    )


@app.cell
def _(ask):
    ask(
        "What did every configuration look like at some moment, say last night?",
        "connector_configurations",
        """
        select team_id, connector_identifier, version, configuration_json
        from connector_configurations
        where _dlt_valid_from <= current_date::timestamptz
          and (_dlt_valid_to is null or _dlt_valid_to > current_date::timestamptz)
        """,
    )


@app.cell
def _(ask):
    ask(
        "What failed, and what do I tell support?",
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
