"""Options that several commands have, and the settings that they make."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import click


@dataclass
class Wishes:
    """How a failure is to be told, whichever command failed.

    Attributes:
        debug: Whether with a traceback.
        as_json: Whether as JSON too.
    """

    debug: bool = False
    as_json: bool = False


def _noted(context: click.Context, parameter: click.Parameter, value: bool) -> bool:
    """Keeps a wish for when the command has failed."""
    if isinstance(context.obj, Wishes):
        setattr(context.obj, str(parameter.name), value)
    return value


def not_empty(_context: click.Context, _parameter: click.Parameter, name: str) -> str:
    """Refuses the empty name of an unset variable: dlt would take the name it used last."""
    if not name:
        raise click.BadParameter("The name is empty.")
    return name


destination_option = click.option(
    "--destination", default="duckdb", show_default=True, metavar="NAME", help="A dlt destination."
)
dataset_option = click.option(
    "--dataset",
    default="supermetrics",
    callback=not_empty,
    show_default=True,
    metavar="NAME",
    help="Dataset (schema) with the tables.",
)
debug_option = click.option(
    "--debug", is_flag=True, expose_value=False, callback=_noted, help="Show the traceback of a failure."
)


def _be_quiet(_context: click.Context, _parameter: click.Parameter, value: bool) -> bool:
    if value:
        logging.getLogger().setLevel(logging.ERROR)
    return value


def _be_verbose(_context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    for package in ("supermetrics_connectors", "supermetrics_loader") if value else ():
        logging.getLogger(package).setLevel(logging.INFO)


quiet_option = click.option(
    "--quiet", "-q", is_flag=True, callback=_be_quiet, help="Print failures only, on standard error."
)
verbose_option = click.option(
    "--verbose",
    "-v",
    is_flag=True,
    expose_value=False,
    callback=_be_verbose,
    help="Log what is written, and how and why, on standard error.",
)
json_option = click.option(
    "--json", "as_json", is_flag=True, callback=_noted, help="Print one JSON object instead of a table."
)


def source_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What every command that asks the API can be told."""
    options = [
        click.option(
            "--team", "team_ids", multiple=True, metavar="ID", help="A team's id. Repeat it for several teams."
        ),
        click.option("--base-url", metavar="URL", help="Where the API is. Default: https://api.supermetrics.com"),
        click.option(
            "--sandbox",
            "sandbox",
            flag_value="now",
            help="Use a local sandbox of the API with made-up teams. Needs no key.",
        ),
        click.option(
            "--sandbox-later", "sandbox", flag_value="later", help="The same after somebody has edited a configuration."
        ),
        json_option,
        debug_option,
    ]
    for option in reversed(options):
        command = option(command)
    return command


_more_options = [
    click.option("--include-teams", is_flag=True, default=None, help="What each team is called: one request a team."),
    click.option(
        "--include-logs", is_flag=True, default=None, help="What each connector did: at least one request a connector."
    ),
    click.option("--logs-since", metavar="AGE", help="How far back the logs go: 7d, 12h, 30m. Default: 30d"),
    click.option(
        "--include-secrets",
        is_flag=True,
        default=None,
        help="What each connector's secrets are called, never a value: one request a connector.",
    ),
]


def more_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What can be asked for besides the listings."""
    for option in reversed(_more_options):
        command = option(command)
    return command


@contextmanager
def settings_of(sandbox: str | None, options: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Arguments for the source: those that were given, and for the sandbox its own, while it runs.

    Args:
        sandbox: None for the API itself, `now` for the sandbox, `later` for it after an edit.
        options: Those that are settings of the source, by its names for them. None and () were not given.
    """
    given = {name: value for name, value in options.items() if value not in (None, ())}
    if not sandbox:
        yield given
        return
    if given.get("base_url"):
        raise click.UsageError("--sandbox and --base-url exclude each other")
    from ..sandbox import Sandbox
    from ..sandbox.data import edited_later

    with Sandbox() as running:
        if sandbox == "later":
            team_id, connector, configuration = edited_later()
            running.edit_configuration(team_id, connector, **configuration)
        yield {"team_ids": running.team_ids, **given, "base_url": running.url, "api_key": running.token}
