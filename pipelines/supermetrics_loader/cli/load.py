"""`supermetrics-connectors load`."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib import import_module
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from ..run.exit_codes import Exit
from .options import (
    ENDPOINT_OPTIONS,
    SANDBOX_DATASET,
    GroupedCommand,
    base_url_option,
    debug_option,
    destination_option,
    endpoint_options,
    json_option,
    not_empty,
    quiet_option,
    sandbox_option,
    source_settings,
    team_option,
    verbose_option,
)

if TYPE_CHECKING:  # slow to import, and not needed for --help
    from ..run.result import LoadResult


@click.command(
    cls=GroupedCommand,
    groups={
        "Source": ["--team", "--include-configs", "--no-redact", "--base-url", "--sandbox"],
        "Optional tables": ENDPOINT_OPTIONS,
        "Destination": ["--destination", "--dataset", "--table-format", "--snapshot"],
        "Run": ["--keep-going", "--full-refresh", "--dry-run", "--shard", "--pipeline-name", "--notify"],
    },
)
@team_option
@click.option("--include-configs", is_flag=True, default=None, help="Load each connector's JSON configuration as well.")
@click.option(
    "--no-redact",
    "redact_secrets",
    flag_value=False,
    type=bool,
    default=None,
    help="Load configurations with the secrets that were typed into them.",
)
@base_url_option
@sandbox_option
@endpoint_options
@destination_option
@click.option(
    "--dataset",
    envvar="SUPERMETRICS_DATASET",
    callback=not_empty,
    show_envvar=True,
    metavar="NAME",
    help=f"Dataset (schema) for the tables. Default: supermetrics, with --sandbox {SANDBOX_DATASET}",
)
@click.option(
    "--table-format", type=click.Choice(["delta"]), help="Tables instead of plain files, with --destination filesystem."
)
@click.option(
    "--snapshot", is_flag=True, default=None, help="Append each run's full listing, where rows cannot be changed."
)
@click.option(
    "--keep-going",
    "on_team_error",
    flag_value="skip",
    help="Load the other teams when a team fails, and exit non-zero at the end.",
)
@click.option(
    "--full-refresh",
    is_flag=True,
    default=None,
    help="Write all rows of connectors and optional tables again, and undo manual edits of current versions. "
    "History is kept.",
)
@click.option("--dry-run", is_flag=True, help="Fetch and compare, print what would be written, and write nothing.")
@click.option(
    "--shard", metavar="N/COUNT", help="Load only this part of the teams, such as 3/16, in a pipeline of its own."
)
@click.option(
    "--pipeline-name",
    default="supermetrics",
    callback=not_empty,
    show_default=True,
    metavar="NAME",
    help="dlt's name for the pipeline.",
)
@click.option(
    "--notify",
    metavar="URL",
    envvar="SUPERMETRICS_NOTIFY",
    default=lambda: os.environ.get("SUPERMETRICS_NOTIFY"),  # click takes an empty variable for an unset one
    show_envvar=True,
    help="Post changes and failures to this webhook of a chat, in Slack's form. Set it in the environment: it is a "
    "secret, and other users of the machine can see arguments. Empty: post nothing. Default: dlt's "
    "runtime.slack_incoming_hook",
)
@quiet_option
@verbose_option
@json_option
@debug_option
def load(
    sandbox: bool,
    as_json: bool,
    destination: str,
    dataset: str | None,
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
    from supermetrics_connectors.interface import parse_team_ids

    from ..run.dry_run import dry_run as report_changes
    from ..run.failures import exit_code
    from ..run.load import run_load
    from ..run.pipeline import DATASET, make_pipeline
    from ..run.shards import Shard, configured_team_ids
    from . import console

    dataset = dataset or (SANDBOX_DATASET if sandbox else DATASET)
    is_later = sandbox and _has_configurations(destination, dataset)
    with (
        source_settings(sandbox, is_later, given) as settings,
        _notifications("" if dry_run else notify) as results,
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
        result = (report_changes if dry_run else run_load)(pipeline, **settings)
        results.append(result)
    if as_json and not quiet:
        console.show_json(result.as_dict())
    elif dry_run and not quiet:
        console.show_dry_run(result)
    elif not quiet:
        from ..read.sql import look_command

        console.show_result(result, look_command(destination, dataset))
        if sandbox:
            console.show(_next_step(is_later, dataset))
    for team in result.failed:
        console.show_error(team["error_message"])
    return max(map(exit_code, result.errors), default=Exit.OK)


def _has_configurations(destination: str, dataset: str) -> bool:
    from ..read.dataset import open_dataset
    from ..read.errors import NothingLoadedError

    try:
        with open_dataset(destination, dataset, allow_snapshots=True) as data:
            table = "connector_configurations"
            return data.has(table) and bool(data.query(f"select count(*) from {data.table(table)}").rows[0][0])  # noqa: S608 - our own names
    except NothingLoadedError:
        return False


def _next_step(is_later: bool, dataset: str) -> str:
    from ..sandbox.data import edited_later

    if not is_later:
        return (
            "Next:    run the same command again. Somebody edits a configuration of the sandbox before the second load"
        )
    team_id, connector, _ = edited_later()
    return f"Next:    supermetrics-connectors diff {team_id} {connector} --dataset {dataset}"


@contextmanager
def _notifications(webhook: str | None) -> "Iterator[list[LoadResult]]":
    """Posts the results that are put into the list, or the failure that ends the block.

    Args:
        webhook: Where to; "" for nowhere, None for dlt's setting.
    """
    from ..run.notify import configured_webhook, describe_result, notify

    results: list[LoadResult] = []
    if webhook is None:
        webhook = configured_webhook()
    if not webhook:
        yield results
        return
    from ..run.failures import describe

    try:
        yield results
    except click.ClickException:  # a usage error
        raise
    except Exception as error:
        notify(webhook, f"Failed: {describe(error)}")
        raise
    for result in results:
        notify(webhook, describe_result(result))
