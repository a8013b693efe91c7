"""`supermetrics-connectors overview`."""

from datetime import datetime, timezone
from typing import Any

import click

from ..run.exit_codes import Exit
from .reading import reading_command

_TITLES = {
    "team": "team",
    "connector_identifier": "connector",
    "name": "name",
    "last_edited_at": "last edited",
    "versions": "versions",
    "authentication_type": "authentication",
    "hosts": "hosts",
    "report_types": "reports",
    "fields": "fields",
    "static_secrets": "static secrets",
    "error_rate": "errors",
}


@click.command()
@click.option("--create-view", is_flag=True, help="Create the view connector_overview instead (DuckDB, PostgreSQL).")
@reading_command
def overview(create_view: bool, destination: str, dataset: str, as_json: bool) -> int:
    """Print one row per connector: last edit, versions, authentication, hosts, report types, secrets, error rate.

    An empty cell is unknown: configurations need `load --include-configs`, error rates `load --include-logs`.
    """
    from ..read.dataset import open_dataset
    from ..read.overview import overview as read_overview
    from . import console

    if create_view:
        from ..read.overview_sql import create_overview_view

        view = create_overview_view(destination, dataset)
        if as_json:
            console.show_json({"view": view})
        else:
            console.show(f"Created the view {view}.")
        return Exit.OK
    with open_dataset(destination, dataset) as data:
        rows = list(read_overview(data, datetime.now(timezone.utc)))
    if as_json:
        console.show_json({"connectors": rows})
    else:
        named = [row | {"team": row["team_name"] or row["team_id"]} for row in rows]
        console.show_table([{name: _cell(row[name]) for name in _TITLES} for row in named], _TITLES, wrap=True)
    return Exit.OK


def _cell(value: Any) -> Any:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d}"
    if isinstance(value, float):
        return f"{value:.0%}"
    return ", ".join(value) if isinstance(value, list) else value
