"""The command line: load connectors into DuckDB or a warehouse, check a key, run a sandbox of the API."""

import errno
import io
import logging
import os
import re
import sys
import traceback
import warnings
from pathlib import Path

import click

from ..run.exit_codes import Exit
from ..sanitize import SanitizedRecord, sanitize, sanitize_lines
from .changes import changes
from .check import check
from .diff import diff
from .export import export
from .load import load
from .options import FailureOutput
from .overview import overview
from .report import report
from .sandbox import sandbox
from .show import show
from .sql import sql
from .streams import replace_streams


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

    Options you leave out fall back to dlt's configuration: environment variables, then .dlt/secrets.toml, then
    .dlt/config.toml. [sources.supermetrics] team_ids is SOURCES__SUPERMETRICS__TEAM_IDS in the environment.

    \b
    Exit codes: 0 done, 64 usage or configuration, 65 authentication or authorization,
    69 API unavailable or rate limited, 130 interrupted, 1 any other failure.
    """  # noqa: D301 - \b is click's mark for lines that it must not wrap
    _check_folder()


for _command in (load, check, sql, show, overview, changes, diff, report, export, sandbox):
    cli.add_command(_command)


def _check_folder() -> None:
    """Refuses a current folder that cannot be named: dlt and DuckDB need its path as text."""
    try:
        folder = Path.cwd()
        os.fsencode(folder).decode()
    except FileNotFoundError:
        raise click.ClickException("The current folder has been deleted. Change to another folder.") from None
    except UnicodeDecodeError:
        raise click.ClickException(
            f"The name of the current folder is not UTF-8: {sanitize(folder)}. Change to another folder, or rename it."
        ) from None


# Warnings of dlt and SQLAlchemy in every good run, which cron would mail.
_KNOWN_WARNINGS = (
    # PostgreSQL is loaded with inserts, because dlt's CSV turns empty strings into nulls
    "native writer could not be found",
    # a run clears dlt's working folder (see run/load.py), so a state of another destination has no effect
    "in state differs from destination",
    # a run refuses such a name itself, and suggests another (see run/pipeline.py)
    "Due to normalization dataset name got changed",
    # the reason why a package was not loaded is printed as the error of the run, or has passed
    "was not fully loaded",
    "Terminal exception in job",
    "failed terminally in load",
)
# Tracebacks of each of dlt's attempts, where DuckDB's memory limit is lifted or the disk is full.
_KNOWN_FAILURES = ("SET memory_limit", *map(os.strerror, (errno.ENOSPC, errno.EFBIG)))


def _filter_known_warnings() -> None:
    logging.getLogger("dlt").addFilter(_shorten)
    # each skipped team is an error at the end of the command
    logging.getLogger("supermetrics_connectors.api.fetch").addFilter(lambda record: "Team skipped" not in record.msg)
    # dlt's merge by SQLAlchemy orders rows by a constant, in an old notation
    warnings.filterwarnings(
        "ignore", "implicitly coercing SELECT object", module=r"dlt\.destinations\.impl\.sqlalchemy"
    )


def _shorten(record: logging.LogRecord) -> bool:
    """Reduces a record of dlt to its first line without values, because it may contain a database's error."""
    from ..run.error_text import shorten_record

    reason = record.exc_info[1] if record.exc_info else ""
    if any(known in f"{record.msg} {reason}" for known in (*_KNOWN_WARNINGS, *_KNOWN_FAILURES)):
        return False
    text = logging.LogRecord.getMessage(record).partition("Traceback (most recent call last)")[0]
    record.msg, record.args, record.exc_info, record.exc_text = shorten_record(text), (), None, None
    return True


def main() -> None:
    """Runs the command line and exits with one of the documented codes. A failure is one block on standard error."""
    replace_streams()
    logging.setLogRecordFactory(SanitizedRecord)
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.WARNING)
    _filter_known_warnings()
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Runs one command and returns its exit code.

    Args:
        arguments: As on the command line, without the program's name.
    """
    output = FailureOutput()
    try:
        return cli.main(arguments, prog_name="supermetrics-connectors", standalone_mode=False, obj=output) or Exit.OK
    except click.exceptions.Abort:
        return Exit.INTERRUPTED
    except click.ClickException as error:
        message = io.StringIO()
        error.show(message)
        for line in _without_keys(message.getvalue(), arguments).rstrip("\n").split("\n"):
            click.echo(sanitize(line), err=True)
        return Exit.USAGE
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - every failure becomes a block for the person and a code for the caller
        from ..run.failures import describe, exit_code, failure_details
        from .console import show_error, show_json

        if (code := exit_code(error)) == Exit.INTERRUPTED:
            return code
        if output.debug:
            click.echo(sanitize_lines(_without_keys(traceback.format_exc(), arguments)), err=True)
        show_error(_without_keys(describe(error), arguments))
        if output.as_json:
            details = failure_details(error)
            details["message"] = _without_keys(details["message"], arguments)
            show_json({"error": details | {"exit_code": code}})
        return code


_MAY_BE_KEY = re.compile(
    r"(?<![a-z0-9])(?:api_|otok_)[\w~+/=.-]{12,}|(?=[a-z]*[0-9])(?=[0-9]*[a-z])[a-z0-9]{20,}", re.IGNORECASE
)


def _without_keys(text: str, arguments: list[str]) -> str:
    """A message without the arguments in it that may be a key: people paste keys into the wrong place.

    Also without a dataset's name that dlt makes of it, in small letters and with underscores.
    """
    for argument in arguments:
        for key in _MAY_BE_KEY.findall("\n".join([argument, *argument.split("/")])):  # a path is shown in parts too
            text = re.sub(r"[\W_]*".join(filter(str.isalnum, key)), "***", text, flags=re.IGNORECASE)
    return text
