"""The command line: load connectors into DuckDB or a warehouse, check a key, run a sandbox of the API."""

import logging
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .exit_codes import Exit

if TYPE_CHECKING:
    import dlt

    from .runs import LoadResult

PIPELINE_NAME = "supermetrics"
DUCKDB_FILE = "supermetrics.duckdb"


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
        click.option("--debug", is_flag=True, help="Show the traceback of a failure."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@cli.command()
@_source_options
@click.option("--include-configs", is_flag=True, default=None, help="Load each connector's JSON configuration as well.")
@click.option("--destination", default="duckdb", show_default=True, metavar="NAME", help="A dlt destination.")
@click.option(
    "--dataset", default="supermetrics", show_default=True, metavar="NAME", help="Dataset (schema) to load to."
)
@click.option("--full-refresh", is_flag=True, default=None, help="Write all rows of these teams anew. History is kept.")
@click.option("--keep-going", is_flag=True, help="Load the other teams when one fails, and exit non-zero at the end.")
@click.option("--pipeline-name", default=PIPELINE_NAME, show_default=True, help="dlt's name for what is remembered.")
def load(
    team_ids: tuple[str, ...],
    base_url: str | None,
    sandbox: bool,
    as_json: bool,
    debug: bool,  # noqa: ARG001 - read by main
    include_configs: bool | None,
    destination: str,
    dataset: str,
    full_refresh: bool | None,
    keep_going: bool,
    pipeline_name: str,
) -> int:
    """Load connectors. Only what changed since the last load is written.

    \b
    supermetrics-connectors load --team 936506 --team 941277
    supermetrics-connectors load --include-configs --destination postgres
    """  # noqa: D301 - as above
    from . import console
    from .runs import run_load

    with _settings(team_ids, base_url, sandbox) as settings:
        settings |= {"include_configs": include_configs, "full_refresh": full_refresh}
        settings["on_team_error"] = "skip" if keep_going else None
        pipeline = _pipeline(pipeline_name, destination, dataset, None if as_json else console.progress())
        result = run_load(pipeline, **{name: value for name, value in settings.items() if value is not None})
    if as_json:
        console.show_json(result.as_dict())
    else:
        console.show_result(result, _how_to_look(result))
    return max((Exit.of_status(team["http_status"]) for team in result.failed), default=Exit.OK)


@cli.command()
@_source_options
def check(
    team_ids: tuple[str, ...],
    base_url: str | None,
    sandbox: bool,
    as_json: bool,
    debug: bool,  # noqa: ARG001 - read by main
) -> int:
    """Ask for each team once and load nothing: is the key good, which teams does it see, what is left of the limit?"""
    from . import console
    from .checks import check_teams

    with _settings(team_ids, base_url, sandbox) as settings:
        teams = check_teams(**settings)
    if as_json:
        console.show_json({"teams": teams})
    else:
        columns = ("team_id", "status", "http_status", "connectors", "rate_limit_remaining", "request_id")
        console.show_table(teams, {name: name.replace("_", " ") for name in columns})
        for team in teams:
            if team["error_message"]:
                console.show_error(team["error_message"])
    return max((Exit.of_status(t["http_status"]) for t in teams if t["status"] == "failed"), default=Exit.OK)


@cli.command()
@click.option("--port", default=8042, show_default=True, help="Port on 127.0.0.1; 0 picks a free one.")
@click.option("--debug", is_flag=True, help="Show the traceback of a failure.")
def sandbox(port: int, debug: bool) -> int:  # noqa: ARG001 - debug is read by main
    """Run a local sandbox of the API until Ctrl-C, and print how to load from it and how to change what it holds."""
    import threading

    from .sandbox import Sandbox, usage

    with Sandbox(port=port) as running:
        click.echo(usage(running.url, running.token))
        threading.Event().wait()
    return Exit.OK


def main() -> None:
    """Runs the command line and exits with one of the documented codes. A failure is one block on standard error."""
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.WARNING)
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
        if "--debug" in arguments:
            traceback.print_exc()
        from .console import show_error
        from .failures import describe, exit_code

        show_error(describe(error))
        return exit_code(error)


@contextmanager
def _settings(team_ids: tuple[str, ...], base_url: str | None, sandbox: bool) -> Iterator[dict[str, Any]]:
    """Arguments for the source: those that were given, and for the sandbox its own, while it runs."""
    given: dict[str, Any] = {"team_ids": list(team_ids) or None, "base_url": base_url}
    if not sandbox:
        yield {name: value for name, value in given.items() if value is not None}
        return
    if base_url:
        raise click.UsageError("--sandbox and --base-url exclude each other")
    from .sandbox import Sandbox

    with Sandbox() as running:
        yield {"team_ids": given["team_ids"] or running.team_ids, "base_url": running.url, "api_key": running.token}


def _pipeline(name: str, destination: str, dataset: str, progress: Any) -> "dlt.Pipeline":
    import dlt

    target: Any = destination
    if destination == "duckdb" and dlt.secrets.get("destination.duckdb.credentials", str) is None:
        from .duckdb_file import duckdb_file

        target = duckdb_file(str(Path.cwd() / DUCKDB_FILE), destination_name="duckdb")
    return dlt.pipeline(name, destination=target, dataset_name=dataset, progress=progress)


def _how_to_look(result: "LoadResult") -> str:
    if result.destination != "duckdb":
        return f"dlt pipeline {result.pipeline_name} show"
    path = result.location.removeprefix("duckdb:///")
    query = f"use {result.dataset_name}; from connectors order by updated_at desc limit 10"
    return f"python -c \"import duckdb; con = duckdb.connect('{path}'); print(con.sql('{query}'))\""


if __name__ == "__main__":
    main()
