"""`supermetrics-connectors show`."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from ..run.exit_codes import Exit
from .reading import moment_option, reading_command

if TYPE_CHECKING:  # slow to import, and not needed for --help
    from ..read.show import ConnectorState


@click.command()
@click.argument("team", type=int)
@click.argument("connector")
@moment_option("--at", "Show the connector as of then:")
@click.option("--version", metavar="VERSION", help="Show this version of the configuration, by name or number.")
@reading_command
def show(
    team: int,
    connector: str,
    at: datetime | None,
    version: str | None,
    destination: str,
    dataset: str,
    as_json: bool,
) -> int:
    """Show a connector and its configuration, now or as of a moment.

    \b
    supermetrics-connectors show 936506 T3S70
    supermetrics-connectors show 936506 T3S70 --at 2026-11-25
    supermetrics-connectors show 936506 T3S70 --version 1.3.0 --json
    """  # noqa: D301 - \b is click's mark for lines that it must not wrap
    if at and version:
        raise click.UsageError("--at and --version exclude each other")
    from ..read.dataset import open_dataset
    from ..read.show import read_connector
    from . import console

    with open_dataset(destination, dataset) as data:
        state = read_connector(data, team, connector, at, version)
    if as_json:
        console.show_json(state.as_dict())
    else:
        _show(state)
    return Exit.OK


def _show(state: "ConnectorState") -> None:
    from ..read.history import pretty_json
    from . import console

    title = str(state.key)
    console.show(f"{title[0].upper()}{title[1:]}")
    _show_fields(state.record)
    if not state.version:
        console.show("No configuration is loaded for that moment.")
        return
    console.show(f"Configuration {state.version}")
    _show_fields(state.version.other_fields)
    for name, value in state.facts.items():
        items = [f"{count} {kind}" for kind, count in value.items()] if isinstance(value, dict) else value
        text = ", ".join(map(str, items)) if isinstance(items, list) else items
        if text not in ("", None):
            console.show(f"  {name:<20}  {text}")
    for line in pretty_json(state.document).split("\n"):
        console.show(line)


def _show_fields(fields: dict[str, Any]) -> None:
    from ..read.history import moment_text, pretty_json
    from . import console

    for name, value in fields.items():
        if value is not None:
            text = pretty_json(value, indented=False) if isinstance(value, (dict, list)) else value
            console.show(f"  {name:<20}  {moment_text(value) if isinstance(value, datetime) else text}")
