"""`supermetrics-connectors report`."""

from pathlib import Path

import click

from ..harmless import harmless
from ..run.exit_codes import Exit
from .options import dataset_option, debug_option, destination_option


@click.command()
@click.option(
    "--output",
    default="report.html",
    type=click.Path(dir_okay=False, path_type=Path),
    show_default=True,
    help="The file to write.",
)
@destination_option
@dataset_option
@debug_option
def report(output: Path, destination: str, dataset: str) -> int:
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
