"""`supermetrics-connectors changes`."""

from datetime import datetime, timezone
from typing import Any

import click

from ..run.exit_codes import Exit
from .options import dataset_option, debug_option, destination_option, json_option


def _moment(_context: click.Context, _parameter: click.Parameter, text: str | None) -> datetime | None:
    from ..look.changes import since

    if text is None:
        return None
    try:
        return since(text, datetime.now(timezone.utc))
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is neither a duration such as 30m, 24h, 7d or 2w nor a time such as 2026-11-25T08:00:00Z."
        ) from None


@click.command()
@click.option(
    "--since", callback=_moment, metavar="WHEN", help="Only from then on: 30m, 24h, 7d, 2w ago, or a time in ISO 8601."
)
@click.option("--exit-code", is_flag=True, help="Exit with 1 if there are changes and with 0 if there are none.")
@destination_option
@dataset_option
@json_option
@debug_option
def changes(since: datetime | None, exit_code: bool, destination: str, dataset: str, as_json: bool) -> int:
    """Print what changed between the loads: one line a change, oldest first, and nothing where nothing changed.

    \b
    supermetrics-connectors changes --since 24h
    supermetrics-connectors changes --since 7d --json
    """  # noqa: D301 - \b is click's mark for lines that it must not wrap
    from ..look.changes import NothingLoadedError, read_changes
    from . import console

    try:
        rows = read_changes(destination, dataset, since)
    except NothingLoadedError as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        console.show_json({"since": since, "changes": [_told(row) for row in rows]})
    else:
        console.show_changes(rows)
    return 1 if exit_code and rows else Exit.OK


def _told(row: dict[str, Any]) -> dict[str, Any]:
    """The row without the mark of first listings, of which none is told."""
    return {name: value for name, value in row.items() if name != "baseline"}
