"""`supermetrics-connectors export`."""

from datetime import datetime
from pathlib import Path

import click

from ..run.exit_codes import Exit
from .options import OutputPath
from .reading import moment_option, reading_command


@click.command()
@click.argument("folder", type=OutputPath())
@moment_option("--at", "Export the connectors as of then:")
@reading_command
def export(folder: Path, at: datetime | None, destination: str, dataset: str, as_json: bool) -> int:
    """Write each connector to FOLDER/<team>/<identifier>.json, and remove the files of connectors that are gone.

    A git repository of the folder shows who changed what. Only files that an export wrote are changed or removed.

    \b
    supermetrics-connectors export connectors
    supermetrics-connectors export connectors --at 7d
    """  # noqa: D301 - \b is click's mark for lines that it must not wrap
    from ..read.dataset import open_dataset
    from ..read.export import export as export_connectors
    from . import console

    with open_dataset(destination, dataset) as data:
        result = export_connectors(data, folder, at)
    if as_json:
        console.show_json({"folder": str(folder.absolute()), **vars(result)})
    else:
        console.show(
            f"Exported to {folder.absolute()}: {result.written} files written, {result.unchanged} unchanged, "
            f"{result.removed} removed."
        )
    return Exit.OK
