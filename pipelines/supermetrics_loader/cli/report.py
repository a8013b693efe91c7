"""`supermetrics-connectors report`."""

from pathlib import Path

import click

from ..files import write_file_atomically
from ..run.exit_codes import Exit
from ..sanitize import sanitize
from .options import OutputPath, dataset_option, debug_option, destination_option


def _writable_path(_context: click.Context, _parameter: click.Parameter, output: Path) -> Path:
    if not output.parent.is_dir():
        raise click.BadParameter(f"The folder {sanitize(output.parent)} does not exist.")
    try:
        output.stat()
    except FileNotFoundError:
        return output.resolve()
    except OSError as error:  # a name that is too long, a loop of links
        raise click.BadParameter(f"{sanitize(output)} cannot be written: {error.strerror}.") from None
    if not output.is_file():
        raise click.BadParameter(
            f"{sanitize(output)} is not a file, but {'a folder' if output.is_dir() else 'a device'}."
        )
    return output.resolve()


@click.command()
@click.option(
    "--output",
    default="report.html",
    type=OutputPath(),
    callback=_writable_path,
    show_default=True,
    help="The file to write.",
)
@destination_option
@dataset_option
@debug_option
def report(output: Path, destination: str, dataset: str) -> int:
    """Write one HTML page about a loaded dataset: changes, failures, secrets, connectors.

    The page makes no request and needs no other file. Needs the extra `report`.
    """
    from ..read.errors import NothingLoadedError
    from ..report.page import make_page

    try:
        page = make_page(destination, dataset)
    except NothingLoadedError as error:
        raise click.ClickException(str(error)) from None
    try:
        write_file_atomically(output, page)
    except OSError as error:
        click.echo(f"Error: The report could not be written to {sanitize(output)}: {error.strerror}.", err=True)
        return Exit.OTHER
    click.echo(f"Report: {sanitize(output)}")
    return Exit.OK
