"""What the command line makes of a failure: a text for the person and an exit code for the caller."""

import os
import re
from typing import Any, TypeVar

from dlt.common.configuration.exceptions import ConfigFieldMissingException, ConfigurationException
from dlt.common.destination.exceptions import UnknownDestinationModule
from dlt.common.exceptions import MissingDependencyException, TerminalException
from dlt.pipeline.exceptions import InvalidPipelineName

from supermetrics_connectors.exceptions import (
    SupermetricsConfigurationError,
    SupermetricsError,
    SupermetricsUnreadableError,
)
from supermetrics_connectors.settings import API_KEY_VARIABLE

from ..harmless import harmless_lines
from .duckdb_file import is_out_of_disk, is_out_of_memory
from .exit_codes import Exit
from .leases import AlreadyRunningError
from .load import LoadFailedError

TError = TypeVar("TError", bound=BaseException)

_WHERE_TO_SET = {
    "api_key": "SUPERMETRICS_API_KEY in the environment, or api_key under [sources.supermetrics] in .dlt/secrets.toml",
    "team_ids": "--team ID (repeatable), SOURCES__SUPERMETRICS__TEAM_IDS in the environment, "
    "or team_ids under [sources.supermetrics] in .dlt/config.toml",
}

_EXTRAS = {
    "clickhouse_connect": "clickhouse",
    "clickhouse_driver": "clickhouse",
    "databricks": "databricks",
    "deltalake": "deltalake",
    "google": "bigquery",
    "jinja2": "report",
    "markupsafe": "report",
    "psycopg2": "postgres",
    "pyathena": "athena",
    "pyodbc": "fabric",
    "s3fs": "s3",
    "snowflake": "snowflake",
    "sqlalchemy": "sqlalchemy",
    "vl_convert": "report",
}
"""This project's extra that brings a module, by the module's first name."""

_DUCKDB_IN_USE = "Another process has the DuckDB file open. Close it there, or wait until that process is done."
_DESTINATION_VARIABLE = re.compile(
    r"tried in order:\s+(?:\((?!Environment Variables, DESTINATION__)[^)]*\)\s+)*"
    r"\(Environment Variables, (DESTINATION__\w+)\)"
)
_USAGE_ERRORS = (ConfigurationException, InvalidPipelineName, MissingDependencyException, UnknownDestinationModule)


def describe(error: BaseException) -> str:
    """The failure in words: what is missing and where to set it, or the reason and where dlt met it.

    Lines that are not ours, such as a database's, are indented.
    """
    if module := _missing_module(error):
        return (
            f"{module} is not installed, which this needs. Install it, in the clone of this project, with: "
            f"pip install -e '.[{_EXTRAS[module]}]'"
        )
    if (missing := _find(error, ConfigFieldMissingException)) and (text := _missing(missing)):
        return text
    if isinstance(error, UnknownDestinationModule):
        return f"dlt knows no destination {error.ref!r}. Those it knows: https://dlthub.com/docs/dlt-ecosystem/destinations"
    if full := _out_of_room(error):
        return full
    advice = f"\n{_DUCKDB_IN_USE}" if "Could not set lock on file" in str(error) else ""
    if isinstance(error, LoadFailedError):
        reason, _, where = str(error).rpartition("\n")
        return f"{harmless_lines(reason)}\n{where}{advice}"
    if isinstance(error, (AlreadyRunningError, SupermetricsError)):
        return f"{harmless_lines(error)}{advice}"
    return harmless_lines(f"{type(error).__name__}: {error}")


def _out_of_room(error: BaseException) -> str:
    """One line for a destination or a folder that has run out of memory or of disk; "" for other failures."""
    cause = error.cause if isinstance(error, LoadFailedError) else error
    reason = next(iter(harmless_lines(cause).splitlines()), "")
    kept = "What was loaded before is kept, and the next run with more of it brings the rest"
    if is_out_of_memory(cause):
        return (
            f"DuckDB has too little memory ({reason}). Give it more: the machine's, or memory_limit under "
            f"[destination.duckdb.credentials.global_config] if it is set there. {kept}."
        )
    if is_out_of_disk(cause):
        return f"The disk is full ({reason}). {kept}."
    return ""


def _missing_module(error: BaseException) -> str | None:
    """The first name of a module whose absence is the failure, if it is one that an extra brings."""
    cause = error.cause if isinstance(error, LoadFailedError) else error
    missing = _find(cause, ModuleNotFoundError) if isinstance(cause, ImportError) else None
    name = (missing.name or "").partition(".")[0] if missing else ""
    return name if name in _EXTRAS else None


def _missing(error: ConfigFieldMissingException) -> str:
    """What to set and where; "" for fields that are neither the source's nor the destination's."""
    if all(name in _WHERE_TO_SET for name in error.fields):
        # dlt looked in its own places; the vendor's variable may hold the key all the same
        unset = [name for name in error.fields if name != "api_key" or not os.environ.get(API_KEY_VARIABLE)]
        return "\n".join(f"No {name} is set. Set {_WHERE_TO_SET[name]}." for name in unset)
    # dlt's text is a line for each place in which it looked: of these, the destination's own one a field
    looked_for: dict[str, None] = dict.fromkeys(_DESTINATION_VARIABLE.findall(str(error)))
    if not looked_for:
        return ""
    section = next(iter(looked_for)).split("__")[1].lower()
    return (
        f"The destination {section} is not configured. Set {', '.join(looked_for)} in the environment, "
        f"or the same under [destination.{section}] in .dlt/secrets.toml."
    )


def evidence(error: BaseException) -> dict[str, Any]:
    """What a log collector or an orchestrator keeps of a failure, besides the text; None where the reason has none.

    `terminal` is whether a repetition cannot help, `retry_after` the seconds until the rate limit resets.
    """
    cause = _find(error, SupermetricsError)
    fields = ("team_id", "status_code", "code", "request_id", "retry_after")
    return {
        "type": type(cause or error).__name__,
        "message": describe(error),
        **{name: getattr(cause, name, None) for name in fields},
        "terminal": error.terminal if isinstance(error, LoadFailedError) else isinstance(error, TerminalException),
    }


def exit_code(error: BaseException) -> Exit:
    """The exit code of a failure."""
    if _find(error, KeyboardInterrupt):
        return Exit.INTERRUPTED
    cause = _find(error, SupermetricsError)
    if (
        _missing_module(error)
        or isinstance(cause, SupermetricsConfigurationError)
        or any(_find(error, kind) for kind in _USAGE_ERRORS)
    ):
        return Exit.USAGE
    if isinstance(cause, SupermetricsUnreadableError):
        return Exit.UNAVAILABLE
    return Exit.of_status(cause.status_code) if cause else Exit.OTHER


def _find(error: BaseException | None, kind: type[TError]) -> TError | None:
    """The first error of a kind in a chain of causes."""
    while error is not None:
        if isinstance(error, kind):
            return error
        error = error.__cause__ or error.__context__
    return None
