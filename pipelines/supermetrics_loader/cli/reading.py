"""What the commands that read a dataset share: their options, and the form of an error."""

from collections.abc import Callable
from datetime import datetime, timezone
from functools import wraps
from typing import Any

import click

from ..read.errors import ReadError
from ..run.exit_codes import Exit
from .options import dataset_option, debug_option, destination_option, json_option
from .streams import output_failure


def reading_command(command: Callable[..., int]) -> Callable[..., int]:
    """Adds `--destination`, `--dataset`, `--json` and `--debug`; a question without an answer is a usage error.

    The command fails if its answer cannot be written, for example to a full disk.
    """

    @wraps(command)
    def read(**arguments: Any) -> int:
        try:
            code = command(**arguments)
        except ReadError as error:
            raise click.ClickException(str(error)) from None
        if failure := output_failure():
            click.echo(f"Error: The output could not be written: {failure.strerror}.", err=True)
            return Exit.OTHER
        return code

    for option in (debug_option, json_option, dataset_option, destination_option):
        read = option(read)
    return read


def moment_option(name: str, about: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """An option for a moment: `24h`, `7d` or a time in ISO 8601."""
    return click.option(
        name, callback=_moment, metavar="WHEN", help=f"{about} 30m, 24h, 7d, 2w, or a time in ISO 8601."
    )


def _moment(_context: click.Context, _parameter: click.Parameter, text: str | None) -> datetime | None:
    from supermetrics_connectors.interface import parse_duration, parse_timestamp

    if text is None:
        return None
    duration = parse_duration(text)
    try:
        return parse_timestamp(text) if duration is None else datetime.now(timezone.utc) - duration
    except (ValueError, OverflowError):  # neither, or beyond the calendar
        raise click.BadParameter(
            f"{text!r} is neither a duration such as 30m, 24h, 7d or 2w nor a time such as 2026-11-25T08:00:00Z."
        ) from None
