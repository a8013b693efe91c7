"""`supermetrics-connectors load`."""

from importlib import import_module

import click

from ..run.exit_codes import Exit
from .options import dataset_option, destination_option, more_options, not_empty, settings_of, source_options

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
    "--no-redact", is_flag=True, help="Load configurations as they are, with the secrets that were typed into them."
)
@click.option(
    "--full-refresh",
    is_flag=True,
    default=None,
    help="Write all rows of these teams anew, and mend cells that were edited by hand. History is kept.",
)
@click.option("--keep-going", is_flag=True, help="Load the other teams when one fails, and exit non-zero at the end.")
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
def load(
    team_ids: tuple[str, ...],
    base_url: str | None,
    sandbox: bool,
    as_json: bool,
    include_configs: bool | None,
    include_teams: bool | None,
    include_logs: bool | None,
    logs_since: str | None,
    include_secrets: bool | None,
    destination: str,
    dataset: str,
    table_format: str | None,
    snapshot: bool | None,
    no_redact: bool,
    full_refresh: bool | None,
    keep_going: bool,
    pipeline_name: str,
    shard: str | None,
) -> int:
    """Load connectors. Only what changed since the last load is written.

    \b
    supermetrics-connectors load --team 936506 --team 941277
    supermetrics-connectors load --include-configs --destination postgres
    """  # noqa: D301 - \b is click's mark for lines that it must not wrap
    from supermetrics_connectors.settings import parse_team_ids

    from ..look.how_to_look import how_to_look
    from ..run.load import run_load
    from ..run.shards import Shard, configured_team_ids
    from ..run.targets import make_pipeline
    from . import console

    with settings_of(team_ids, base_url, sandbox) as settings:
        settings |= {"include_configs": include_configs, "full_refresh": full_refresh}
        settings |= {"table_format": table_format, "snapshot": snapshot}
        settings |= {"include_teams": include_teams, "include_logs": include_logs}
        settings |= {"include_secrets": include_secrets, "logs_since": logs_since}
        settings["redact_secrets"] = False if no_redact else None
        settings["on_team_error"] = "skip" if keep_going else None
        if shard:
            part = Shard.parse(shard)
            pipeline_name = part.pipeline_name(pipeline_name)
            settings["team_ids"] = part.pick(parse_team_ids(settings.get("team_ids") or configured_team_ids()))
            if not settings["team_ids"]:
                console.show_nothing_to_do(pipeline_name, as_json)
                return Exit.OK
        if table_format == "delta":
            import_module("deltalake")  # without it dlt would try for half a minute
        pipeline = make_pipeline(pipeline_name, destination, dataset, None if as_json else console.progress())
        result = run_load(pipeline, **{name: value for name, value in settings.items() if value is not None})
    if as_json:
        console.show_json(result.as_dict())
    else:
        console.show_result(result, how_to_look(pipeline, destination))
    for team in result.failed:
        console.show_error(team["error_message"])
    return max((Exit.of_status(team["http_status"]) for team in result.failed), default=Exit.OK)
