"""`supermetrics-connectors changes`."""

import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import click

from ..run.exit_codes import Exit
from .reading import moment_option, reading_command


@click.command()
@moment_option("--since", "Leave out earlier changes:")
@click.option("--exit-code", is_flag=True, help="Exit with 1 if there are changes and with 0 if there are none.")
@reading_command
def changes(since: datetime | None, exit_code: bool, destination: str, dataset: str, as_json: bool) -> int:
    """Print what changed between the loads: one line per change, oldest first. Without changes a pipe gets no text.

    \b
    supermetrics-connectors changes --since 24h
    supermetrics-connectors changes --since 7d --json
    """  # noqa: D301 - \b is click's mark for lines that it must not wrap
    from ..read.changes import read_changes
    from ..read.dataset import open_dataset
    from . import console

    with open_dataset(destination, dataset) as data:
        rows = read_changes(data, since)
    if as_json:
        console.show_json({"since": since, "changes": rows})
    else:
        _show(rows)
    return 1 if exit_code and rows else Exit.OK


def _show(rows: Sequence[dict[str, Any]]) -> None:
    from ..read.changes import PATHS
    from ..read.history import moment_text
    from ..read.team_names import team_label
    from . import console

    for row in rows:
        paths = [f"{mark}{path}" for column, mark in PATHS.items() for path in row[column] or ()]
        team = team_label(row["team_id"], row["team_name"])
        what = f"{team}  {row['connector_identifier']}  {row['name'] or ''}".rstrip()
        line = f"{moment_text(row['detected_at'])}  {row['change']:<21}  {what}{': ' * bool(paths)}{', '.join(paths)}"
        console.show(line)
    if not rows and sys.stdout.isatty():  # cron mails every text
        console.show("No changes.")
