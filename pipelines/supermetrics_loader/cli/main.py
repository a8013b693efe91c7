"""The command line: load connectors into DuckDB or a warehouse, check a key, run a sandbox of the API."""

import atexit
import errno
import gc
import logging
import os
import sys
import traceback
import warnings

import click

from ..harmless import HarmlessRecord, harmless_lines
from ..run.exit_codes import Exit
from .changes import changes
from .check import check
from .diff import diff
from .load import load
from .options import Wishes
from .report import report
from .sandbox import sandbox
from .streams import make_streams_robust


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


for _command in (load, check, changes, diff, report, sandbox):
    cli.add_command(_command)


# What dlt and SQLAlchemy say of every good run; cron would mail it.
_KNOWN_WARNINGS = (
    # PostgreSQL is loaded with inserts, since by CSV dlt makes nulls of empty strings; that this is slower is known
    "native writer could not be found",
    # a run begins by clearing dlt's working folder (see run/load.py): that it is another destination's says nothing
    "in state differs from destination",
    # a run refuses such a name itself, and says what to call the dataset (see targets.py)
    "Due to normalization dataset name got changed",
    # whatever kept a package from being loaded is said in our own words, or has passed
    "was not fully loaded",
)
# Tracebacks of each of dlt's attempts, where we lift DuckDB's memory limit or say in a line what ran out.
_KNOWN_FAILURES = ("SET memory_limit", *map(os.strerror, (errno.ENOSPC, errno.EFBIG)))


def _keep_quiet_about_what_is_known() -> None:
    logging.getLogger("dlt").addFilter(lambda record: not _is_known(record))
    # dlt's merge by SQLAlchemy orders rows that have nothing to order them by: with a select of null, spelt the old way
    warnings.filterwarnings(
        "ignore", "implicitly coercing SELECT object", module=r"dlt\.destinations\.impl\.sqlalchemy"
    )


def _is_known(record: logging.LogRecord) -> bool:
    reason = record.exc_info[1] if record.exc_info else ""
    return any(known in f"{record.msg} {reason}" for known in (*_KNOWN_WARNINGS, *_KNOWN_FAILURES))


def main() -> None:
    """Runs the command line and exits with one of the documented codes. A failure is one block on standard error.

    The process is short, imports much and parses much that is garbage at once, which needs no collector: with a rare
    collection a small load saves 0.1 s and a hundred teams with configurations 0.4 s.
    """
    codes: list[int] = []
    atexit.register(_end, codes)  # first, so that it is called after all others
    make_streams_robust()
    gc.set_threshold(200_000)
    logging.setLogRecordFactory(HarmlessRecord)
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.WARNING)
    _keep_quiet_about_what_is_known()
    codes.append(run(sys.argv[1:]))
    sys.exit(codes[0])


def _end(codes: list[int]) -> None:
    """Ends the process as soon as threads and exit handlers are done.

    Python would take apart all that was imported, module by module: 0.3 s after each load.
    """
    if codes:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(codes[0])


def run(arguments: list[str]) -> int:
    """Runs one command and returns its exit code.

    Args:
        arguments: As on the command line, without the program's name.
    """
    wishes = Wishes()
    try:
        return cli.main(arguments, prog_name="supermetrics-connectors", standalone_mode=False, obj=wishes) or Exit.OK
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
        if wishes.debug:
            click.echo(harmless_lines(traceback.format_exc()), err=True)
        show_error(describe(error))
        if wishes.as_json:
            show_json({"error": evidence(error) | {"exit_code": code}})
        return code
