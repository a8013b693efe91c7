"""`supermetrics-connectors load`."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib import import_module
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from ..run.exit_codes import Exit
from .options import (
    dataset_option,
    destination_option,
    more_options,
    not_empty,
    quiet_option,
    settings_of,
    source_options,
    verbose_option,
)

if TYPE_CHECKING:  # slow to import, and not needed for --help
    from ..run.result import LoadResult

PIPELINE_NAME = "supermetrics"


@click.command()
@source_options
@click.option("--include-configs", is_flag=True, default=None, help="Load each connector's JSON configuration as well.")
@more_options
@destination_option
@dataset_option
@click.option(
    "--table-format",
    type=click.Choice(["delta"]),
    help="Tables instead of plain files, with --destination filesystem.",
)
@click.option(
    "--snapshot", is_flag=True, default=None, help="Append each run's full listing, where rows cannot be changed."
)
@click.option(
    "--no-redact",
    "redact_secrets",
    flag_value=False,
    type=bool,
    default=None,
    help="Load configurations as they are, with the secrets that were typed into them.",
)
@click.option(
    "--full-refresh",
    is_flag=True,
    default=None,
    help="Write all rows of these teams anew, and mend cells that were edited by hand. History is kept.",
)
@click.option(
    "--keep-going",
    "on_team_error",
    flag_value="skip",
    help="Load the other teams when one fails, and exit non-zero at the end.",
)
@click.option(
    "--pipeline-name",
    default=PIPELINE_NAME,
    callback=not_empty,
    show_default=True,
    metavar="NAME",
    help="dlt's name for the pipeline.",
)
@click.option(
    "--shard", metavar="N/COUNT", help="Load only this part of the teams, such as 3/16, in a pipeline of its own."
)
@click.option("--dry-run", is_flag=True, help="Fetch and compare, say what would be written, and write nothing.")
@click.option(
    "--notify",
    metavar="URL",
    envvar="SUPERMETRICS_NOTIFY",
    show_envvar=True,
    help="Post changes and failures to this webhook of a chat, in Slack's form. Give it by the environment: it is a "
    "secret, and arguments can be seen by other users of the machine.",
)
@quiet_option
@verbose_option
def load(
    sandbox: str | None,
    as_json: bool,
    destination: str,
    dataset: str,
    pipeline_name: str,
    shard: str | None,
    dry_run: bool,
    notify: str | None,
    quiet: bool,
    **given: Any,
) -> int:
    """Load connectors. Only what changed since the last load is written.

    \b
    supermetrics-connectors load --team 936506 --team 941277
    supermetrics-connectors load --include-configs --destination postgres
    """  # noqa: D301 - \b is click's mark for lines that it must not wrap
    from supermetrics_connectors.settings import parse_team_ids

    from ..run.failures import exit_code
    from ..run.shards import Shard, configured_team_ids
    from ..run.targets import make_pipeline
    from . import console

    with (
        settings_of(sandbox, given) as settings,
        _telling(None if dry_run else notify) as told,
        TemporaryDirectory() if dry_run else nullcontext() as folder,
    ):
        if shard:
            part = Shard.parse(shard)
            pipeline_name = part.pipeline_name(pipeline_name)
            settings["team_ids"] = part.pick(parse_team_ids(settings.get("team_ids") or configured_team_ids()))
            if not settings["team_ids"]:
                if not quiet:
                    console.show_nothing_to_do(pipeline_name, as_json)
                return Exit.OK
        if settings.get("table_format") == "delta":
            import_module("deltalake")  # without it dlt would try for half a minute
        progress = None if as_json or quiet else console.progress()
        pipeline = make_pipeline(pipeline_name, destination, dataset, progress, folder)
        result = _run(pipeline, dry_run, settings)
        told.append(result)
    if as_json and not quiet:
        console.show_json(result.as_dict())
    elif not quiet:
        _show(result, pipeline, destination, dry_run)
        if sandbox == "now" and "include_configs" in settings and not dry_run:
            console.show(_next())
    for team in result.failed:
        console.show_error(team["error_message"])
    return max(map(exit_code, result.errors), default=Exit.OK)


def _run(pipeline: Any, is_dry: bool, settings: dict[str, Any]) -> "LoadResult":
    from ..run.dry_run import dry_run
    from ..run.load import run_load

    return (dry_run if is_dry else run_load)(pipeline, **settings)


def _next() -> str:
    from ..sandbox.data import edited_later

    team_id, connector, _ = edited_later()
    return (
        "Next:    supermetrics-connectors load --sandbox-later --include-configs loads what somebody has edited since, "
        f"and supermetrics-connectors diff {team_id} {connector} shows it"
    )


def _show(result: "LoadResult", pipeline: Any, destination: str, is_dry: bool) -> None:
    from ..look.how_to_look import how_to_look
    from . import console

    if is_dry:
        console.show_intention(result)
    else:
        console.show_result(result, how_to_look(pipeline, destination))


@contextmanager
def _telling(webhook: str | None) -> "Iterator[list[LoadResult]]":
    """Tells a chat of the results that are put into the list, or of the failure that ends the block."""
    told: list[LoadResult] = []
    if not webhook:
        yield told
        return
    from ..run.failures import describe
    from ..run.notify import describe_result, notify

    try:
        yield told
    except click.ClickException:  # a command that was typed wrong
        raise
    except Exception as error:
        notify(webhook, f"Failed: {describe(error)}")
        raise
    for result in told:
        notify(webhook, describe_result(result))
