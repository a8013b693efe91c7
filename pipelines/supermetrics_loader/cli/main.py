"""The command line: load connectors into DuckDB or a warehouse, check a key, run a sandbox of the API."""

import gc
import logging
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from ..harmless import HarmlessRecord, harmless, harmless_lines
from ..run.exit_codes import Exit
from .streams import make_streams_robust

PIPELINE_NAME = "supermetrics"


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="supermetrics-connectors")
def cli() -> None:
    """Load the custom connectors of your Supermetrics teams into DuckDB or a warehouse.

    \b
    Try it without a key:
      supermetrics-connectors load --sandbox --include-configs
    Then with yours (from the Supermetrics Hub):
      export SUPERMETRICS_API_KEY=api_...
      supermetrics-connectors check --team 936506
      supermetrics-connectors load --team 936506 --include-configs

    Whatever is not given as an option is taken from .dlt/config.toml, .dlt/secrets.toml and the environment, as dlt
    does: [sources.supermetrics] team_ids is SOURCES__SUPERMETRICS__TEAM_IDS.

    \b
    Exit codes: 0 done, 64 usage or configuration, 65 authentication or authorization,
    69 API unavailable or rate limited, 130 interrupted, 1 anything else.
    """  # noqa: D301 - \b is click's mark for lines that it must not wrap


def _not_empty(_context: click.Context, _parameter: click.Parameter, name: str) -> str:
    """Refuses the empty name of an unset variable: dlt would take the name it used last."""
    if not name:
        raise click.BadParameter("The name is empty.")
    return name


_destination_option = click.option(
    "--destination", default="duckdb", show_default=True, metavar="NAME", help="A dlt destination."
)
_dataset_option = click.option(
    "--dataset",
    default="supermetrics",
    callback=_not_empty,
    show_default=True,
    metavar="NAME",
    help="Dataset (schema) with the tables.",
)
_debug_option = click.option("--debug", is_flag=True, help="Show the traceback of a failure.")


def _source_options(command: Callable[..., Any]) -> Callable[..., Any]:
    options = [
        click.option(
            "--team", "team_ids", multiple=True, metavar="ID", help="A team's id. Repeat it for several teams."
        ),
        click.option("--base-url", metavar="URL", help="Where the API is. Default: https://api.supermetrics.com"),
        click.option(
            "--sandbox", is_flag=True, help="Use a local sandbox of the API with made-up teams. Needs no key."
        ),
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table."),
        _debug_option,
    ]
    for option in reversed(options):
        command = option(command)
    return command


@cli.command()
@_source_options
@click.option("--include-configs", is_flag=True, default=None, help="Load each connector's JSON configuration as well.")
@_destination_option
@_dataset_option
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
    callback=_not_empty,
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
    debug: bool,  # noqa: ARG001 - read by main
    include_configs: bool | None,
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
    """  # noqa: D301 - as above
    from supermetrics_connectors.settings import parse_team_ids

    from ..look.how_to_look import how_to_look
    from ..run.load import run_load
    from ..run.shards import Shard, configured_team_ids
    from ..run.targets import make_pipeline
    from . import console

    with _settings(team_ids, base_url, sandbox) as settings:
        settings |= {"include_configs": include_configs, "full_refresh": full_refresh}
        settings |= {"table_format": table_format, "snapshot": snapshot}
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


@cli.command()
@_source_options
@click.option(
    "--secrets",
    is_flag=True,
    help="Ask for the configurations too and list where somebody typed secrets into them. Values are never shown.",
)
def check(
    team_ids: tuple[str, ...],
    base_url: str | None,
    sandbox: bool,
    as_json: bool,
    debug: bool,  # noqa: ARG001 - read by main
    secrets: bool,
) -> int:
    """Ask for each team once and load nothing: is the key good, which teams does it see, what is left of the limit?"""
    from ..run.checks import check_teams
    from . import console

    with _settings(team_ids, base_url, sandbox) as settings:
        teams = check_teams(**settings, **({"include_configs": True} if secrets else {}))
    if as_json:
        console.show_json({"teams": teams})
    else:
        columns = ("team_id", "status", "http_status", "connectors", "rate_limit_remaining", "request_id")
        console.show_table(teams, {name: name.replace("_", " ") for name in columns})
        console.show_secrets(teams)
        for team in teams:
            if team["error_message"]:
                console.show_error(team["error_message"])
    return max((Exit.of_status(t["http_status"]) for t in teams if t["status"] == "failed"), default=Exit.OK)


@cli.command()
@click.option(
    "--output",
    default="report.html",
    type=click.Path(dir_okay=False, path_type=Path),
    show_default=True,
    help="The file to write.",
)
@_destination_option
@_dataset_option
@_debug_option
def report(output: Path, destination: str, dataset: str, debug: bool) -> int:  # noqa: ARG001 - debug is read by main
    """Write one HTML page about what was loaded: teams, changes, ages, configurations, failures.

    The page needs no network and no other file. Needs the extra `report`.
    """
    from ..look.report import NothingLoadedError, write_report

    try:
        write_report(output, destination, dataset)
    except NothingLoadedError as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"Report: {harmless(output.absolute())}")
    return Exit.OK


@cli.command()
@click.argument("team", type=int)
@click.argument("connector")
@click.option("--from", "before", metavar="VERSION", help="Version to compare with. Default: the one before.")
@click.option("--to", "after", metavar="VERSION", help="Version to compare. Default: the newest.")
@_destination_option
@_dataset_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a text.")
@_debug_option
def diff(
    team: int,
    connector: str,
    before: str | None,
    after: str | None,
    destination: str,
    dataset: str,
    as_json: bool,
    debug: bool,  # noqa: ARG001 - read by main
) -> int:
    """Show how two loaded versions of a connector's configuration differ.

    A VERSION is a name such as 1.4.0, or the number in the history where several have one name.

    \b
    supermetrics-connectors diff 936506 T3S70
    supermetrics-connectors diff 936506 T3S70 --from 1.3.0 --to 1.4.0
    """  # noqa: D301 - as above
    from ..look.diff import NoVersionError, compare_versions
    from . import console

    try:
        difference = compare_versions(destination, dataset, team, connector, before, after)
    except NoVersionError as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        console.show_json(difference.as_dict())
    else:
        console.out.print(difference.styled(), soft_wrap=True)
    return Exit.OK


@cli.command()
@click.option(
    "--port",
    default=8042,
    type=click.IntRange(0, 65535),
    show_default=True,
    help="Port on 127.0.0.1; 0 picks a free one.",
)
@_debug_option
def sandbox(port: int, debug: bool) -> int:  # noqa: ARG001 - debug is read by main
    """Run a local sandbox of the API until Ctrl-C, and print how to load from it and how to change what it holds."""
    import threading

    from ..sandbox.server import Sandbox, usage

    running = Sandbox(port=port)
    try:
        running.start()
    except OSError as error:
        raise click.UsageError(
            f"Port {port}: {error.strerror}. Give another with --port; 0 picks a free one."
        ) from None
    with running:
        click.echo(_SANDBOX_INTRODUCTION.format(sandbox=running, teams=",".join(map(str, running.team_ids))))
        click.echo(usage(running.url, running.token))
        threading.Event().wait()
    return Exit.OK


_SANDBOX_INTRODUCTION = """\
Sandbox of the API: {sandbox.url}, token {sandbox.token}, teams {teams}. Ctrl-C ends it.
Paste into another shell:

# where the sandbox is, for the commands of that shell
export SOURCES__SUPERMETRICS__BASE_URL={sandbox.url}
export SOURCES__SUPERMETRICS__API_KEY={sandbox.token}
export SOURCES__SUPERMETRICS__TEAM_IDS={teams}
# load from it, and again after each change below
supermetrics-connectors load --include-configs"""


# What dlt and SQLAlchemy say of every good run; cron would mail it.
_KNOWN_WARNINGS = (
    # PostgreSQL is loaded with inserts, since by CSV dlt makes nulls of empty strings; that this is slower is known
    "native writer could not be found",
    # a run begins by clearing dlt's working folder (see runs.py): that it is another destination's says nothing
    "in state differs from destination",
)


def _keep_quiet_about_what_is_known() -> None:
    logging.getLogger("dlt").addFilter(lambda record: not any(known in record.msg for known in _KNOWN_WARNINGS))
    # dlt's merge by SQLAlchemy orders rows that have nothing to order them by: with a select of null, spelt the old way
    warnings.filterwarnings(
        "ignore", "implicitly coercing SELECT object", module=r"dlt\.destinations\.impl\.sqlalchemy"
    )


def main() -> None:
    """Runs the command line and exits with one of the documented codes. A failure is one block on standard error.

    The process is short and imports much: collecting garbage less often while it does saves 0.1 s of a small load.
    """
    make_streams_robust()
    gc.set_threshold(20_000)
    logging.setLogRecordFactory(HarmlessRecord)
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.WARNING)
    _keep_quiet_about_what_is_known()
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Runs one command and returns its exit code.

    Args:
        arguments: As on the command line, without the program's name.
    """
    try:
        return cli.main(arguments, prog_name="supermetrics-connectors", standalone_mode=False) or Exit.OK
    except click.exceptions.Abort:
        return Exit.INTERRUPTED
    except click.ClickException as error:
        error.show()
        return Exit.USAGE
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - whatever failed, the person gets a block and the caller a code
        from ..run.failures import describe, evidence, exit_code
        from .console import show_error, show_json

        if (code := exit_code(error)) == Exit.INTERRUPTED:
            return code
        if "--debug" in arguments:
            click.echo(harmless_lines(traceback.format_exc()), err=True)
        show_error(describe(error))
        if "--json" in arguments:
            show_json({"error": evidence(error) | {"exit_code": code}})
        return code


@contextmanager
def _settings(team_ids: tuple[str, ...], base_url: str | None, sandbox: bool) -> Iterator[dict[str, Any]]:
    """Arguments for the source: those that were given, and for the sandbox its own, while it runs."""
    given: dict[str, Any] = {"team_ids": list(team_ids) or None, "base_url": base_url}
    if not sandbox:
        yield {name: value for name, value in given.items() if value is not None}
        return
    if base_url:
        raise click.UsageError("--sandbox and --base-url exclude each other")
    from ..sandbox.server import Sandbox

    with Sandbox() as running:
        yield {"team_ids": given["team_ids"] or running.team_ids, "base_url": running.url, "api_key": running.token}


if __name__ == "__main__":
    main()
