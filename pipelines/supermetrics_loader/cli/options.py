"""Options that several commands have, and the settings that they make."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

SANDBOX_DATASET = "supermetrics_sandbox"


@dataclass
class FailureOutput:
    """How the failure of a command is printed.

    Attributes:
        debug: Whether with a traceback.
        as_json: Whether as JSON too.
    """

    debug: bool = False
    as_json: bool = False


def _keep(context: click.Context, parameter: click.Parameter, value: bool) -> bool:
    """Keeps an option for the case that the command fails."""
    if isinstance(context.obj, FailureOutput):
        setattr(context.obj, str(parameter.name), value)
    return value


def not_empty(_context: click.Context, _parameter: click.Parameter, name: str | None) -> str | None:
    """Refuses the empty name of an unset variable: dlt would use the last name."""
    if name == "":
        raise click.BadParameter("The name is empty.")
    return name


class OutputPath(click.Path):
    """A file or folder that the command writes; no empty path, and none that no file system has."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | os.PathLike[str]:
        """Refuses the path, or makes it a `Path`."""
        if not (path := os.fspath(value)):
            self.fail("The name is empty.", param, ctx)
        if "\0" in path:
            self.fail("A path cannot contain a NUL character.", param, ctx)
        return super().convert(value, param, ctx)


destination_option = click.option(
    "--destination", default="duckdb", show_default=True, metavar="NAME", help="A dlt destination."
)
dataset_option = click.option(
    "--dataset",
    default="supermetrics",
    envvar="SUPERMETRICS_DATASET",
    callback=not_empty,
    show_default=True,
    show_envvar=True,
    metavar="NAME",
    help="Dataset (schema) with the tables.",
)
debug_option = click.option(
    "--debug", is_flag=True, expose_value=False, callback=_keep, help="Show the traceback of a failure."
)
json_option = click.option(
    "--json", "as_json", is_flag=True, callback=_keep, help="Print one JSON object instead of a table."
)


def _set_quiet(_context: click.Context, _parameter: click.Parameter, value: bool) -> bool:
    if value:
        logging.getLogger().setLevel(logging.ERROR)
    return value


def _set_verbose(_context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    for package in ("supermetrics_connectors", "supermetrics_loader") if value else ():
        logging.getLogger(package).setLevel(logging.INFO)


quiet_option = click.option(
    "--quiet", "-q", is_flag=True, callback=_set_quiet, help="Print failures only, on standard error."
)
verbose_option = click.option(
    "--verbose",
    "-v",
    is_flag=True,
    expose_value=False,
    callback=_set_verbose,
    help="Log what is written, how and why, on standard error.",
)
sandbox_option = click.option(
    "--sandbox", is_flag=True, help="Use a local sandbox of the API with made-up teams. Needs no key."
)
team_option = click.option(
    "--team", "team_ids", multiple=True, metavar="ID", help="A team's id. Repeat the option for several teams."
)
base_url_option = click.option(
    "--base-url", metavar="URL", help="URL of the API. Default: https://api.supermetrics.com"
)


# A copy of the help texts of the source's `ENDPOINTS`, which a test compares: `--help` answers before dlt is imported.
ENDPOINT_HELP = {
    "include_teams": "Load the names of teams: one request per team.",
    "include_logs": "Load the calls of connectors: at least one request per connector.",
    "include_secrets": "Load the names of connectors' secrets, never a value: one request per connector.",
}
ENDPOINT_OPTIONS = [*(f"--{setting.replace('_', '-')}" for setting in ENDPOINT_HELP), "--logs-since"]
"""Options of the optional tables, in the order of the help text."""


def endpoint_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options of the optional tables to a command."""
    about = "Age of the oldest log entries: 7d, 12h, 30m. Default: 30d"
    command = click.option("--logs-since", metavar="AGE", help=about)(command)
    for setting, text in reversed(ENDPOINT_HELP.items()):
        option = click.option(f"--{setting.replace('_', '-')}", setting, is_flag=True, default=None, help=text)
        command = option(command)
    return command


class GroupedCommand(click.Command):
    """A command whose `--help` shows its options in groups.

    Args:
        groups: The options' first names by the title of their group. Other options come last.
    """

    def __init__(self, *args: Any, groups: dict[str, list[str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._groups = groups

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the groups."""
        records = {
            parameter.opts[0]: record
            for parameter in self.get_params(ctx)
            if (record := parameter.get_help_record(ctx)) is not None
        }
        for title, names in self._groups.items():
            with formatter.section(title):
                formatter.write_dl([records.pop(name) for name in names if name in records])
        if records:
            with formatter.section("Output"):
                formatter.write_dl(list(records.values()))


@contextmanager
def source_settings(sandbox: bool, is_later: bool, options: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Arguments for the source: the given options, and for the sandbox its own while it runs.

    Args:
        sandbox: Whether the sandbox stands in for the API.
        is_later: Whether somebody has edited a configuration in the sandbox.
        options: Options that are settings of the source, by the names of the settings. None and () mean not given.
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
        if is_later:
            team_id, connector, configuration = edited_later()
            running.edit_configuration(team_id, connector, **configuration)
        yield {"team_ids": running.team_ids, **given, "base_url": running.url, "api_key": running.token}
