"""Failures of the command line: a text for the person, details for a log collector, an exit code for the caller."""

import codecs
import os
import re
from pathlib import Path
from typing import Any, TypeVar

from dlt.common.configuration.exceptions import (
    ConfigFieldMissingException,
    ConfigurationException,
    ConfigValueCannotBeCoercedException,
    ValueNotSecretException,
)
from dlt.common.configuration.providers.toml import TomlProviderReadException
from dlt.common.destination.exceptions import UnknownDestinationModule
from dlt.common.exceptions import MissingDependencyException, TerminalException, TransientException
from dlt.pipeline.exceptions import InvalidPipelineName

from supermetrics_connectors.interface import (
    API_KEY_VARIABLE,
    SupermetricsConfigurationError,
    SupermetricsError,
    SupermetricsForbiddenError,
    SupermetricsUnauthorizedError,
    causes,
    refusal,
)

from ..sanitize import sanitize, sanitize_lines
from .duckdb_file import is_out_of_disk, is_out_of_memory
from .error_text import summarize_error
from .exit_codes import Exit
from .load import LoadFailedError
from .locks import AlreadyRunningError, LockLostError

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
}
"""The extra of this project that installs a module, by the module's top-level name."""

_DUCKDB_IN_USE = "Another process has the DuckDB file open. Close it there, or wait until that process is done."
_DESTINATION_VARIABLE = re.compile(
    r"tried in order:\s+(?:\((?!Environment Variables, DESTINATION__)[^)]*\)\s+)*"
    r"\(Environment Variables, (DESTINATION__\w+)\)"
)
_USAGE_ERRORS = (ConfigurationException, InvalidPipelineName, MissingDependencyException, UnknownDestinationModule)


def describe(error: BaseException) -> str:
    """The failure in words: what is missing and where to set it, or the reason.

    Lines that are not ours are indented.
    """
    if module := _missing_module(error):
        return (
            f"{module} is not installed. Install it, in the clone of this project, with: "
            f"pip install -e '.[{_EXTRAS[module]}]'"
        )
    if (missing := _find(error, ConfigFieldMissingException)) and (text := _missing_setting(missing)):
        return text
    if text := _wrong_setting(error):
        return text
    if isinstance(error, UnknownDestinationModule):
        return (
            f"dlt has no destination {sanitize_lines(repr(error.ref))}. Its destinations: "
            "https://dlthub.com/docs/dlt-ecosystem/destinations"
        )
    if text := _out_of_room(error):
        return text
    cause = _reason(error)
    if isinstance(cause, (AlreadyRunningError, LockLostError, SupermetricsError)):
        return sanitize_lines(cause)
    advice = f"\n{_DUCKDB_IN_USE}" if "Could not set lock on file" in str(cause) else ""
    summary = error.summary if isinstance(error, LoadFailedError) else summarize_error(error)
    return f"{sanitize_lines(summary)}{advice}"


def _reason(error: BaseException) -> BaseException:
    return error.cause if isinstance(error, LoadFailedError) else error


def _out_of_room(error: BaseException) -> str:
    """One line for a destination or a folder without memory or disk space; "" for other failures."""
    cause = _reason(error)
    reason = next(iter(sanitize_lines(cause).splitlines()), "")
    kept = "Rows that were loaded before are kept, and the next run loads the others once there is room"
    if is_out_of_memory(cause):
        return (
            f"DuckDB has too little memory ({reason}). Raise the machine's memory, or memory_limit under "
            f"[destination.duckdb.credentials.global_config] if it is set there. {kept}."
        )
    if is_out_of_disk(cause):
        return f"The disk is full ({reason}). {kept}."
    return ""


def _missing_module(error: BaseException) -> str | None:
    """The top-level name of a missing module, if one of the extras installs it."""
    cause = _reason(error)
    missing = _find(cause, ModuleNotFoundError) if isinstance(cause, ImportError) else None
    name = (missing.name or "").partition(".")[0] if missing else ""
    return name if name in _EXTRAS else None


def _wrong_setting(error: BaseException) -> str:
    """What to correct in a setting that dlt refuses, or in a settings file; "" for other failures."""
    if unreadable := _find(error, TomlProviderReadException):
        return _unreadable_files(unreadable)
    if wrong := _find(error, ConfigValueCannotBeCoercedException):
        expected = _EXPECTED.get(wrong.hint, "a value of another type")
        text = sanitize(refusal(wrong.field_name, wrong.field_value, expected))
        return f"{text} Correct it in the environment or in .dlt/config.toml."
    if misplaced := _find(error, ValueNotSecretException):
        return (
            f"{misplaced.key} is in {misplaced.provider_name}, which is no place for secrets: git may keep it. "
            "Move it to .dlt/secrets.toml."
        )
    if invalid := _find(error, InvalidPipelineName):
        return (
            f"The pipeline name `{sanitize(invalid.pipeline_name)}` contains invalid characters, because dlt makes a "
            "folder of that name. Choose another with --pipeline-name, of letters, digits and underscores."
        )
    return ""


_EXPECTED: dict[Any, str] = {bool: "true or false", int: "an integer", float: "a number"}


def _unreadable_files(error: TomlProviderReadException) -> str:
    """Names settings files that are not plain UTF-8, or else the place at which a file is not TOML."""
    files = [path for path in map(Path, error.full_paths) if path.is_file()]
    if encoded := [path for path in files if not _is_plain_utf8(path)]:
        return "\n".join(
            f"{sanitize(path)} is not in UTF-8, or begins with a byte order mark. Save it as UTF-8 without one."
            for path in encoded
        )
    _, _, reason = str(error).partition("\n")
    names = ", ".join(map(sanitize, files or error.full_paths))
    return f"{names} is not TOML. {sanitize(reason).rstrip('.')}. Correct it there."


def _is_plain_utf8(path: Path) -> bool:
    data = path.read_bytes()
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return not data.startswith(codecs.BOM_UTF8) and b"\0" not in data  # UTF-16 of English text has many


def _missing_setting(error: ConfigFieldMissingException) -> str:
    """What to set and where; "" for fields that are neither the source's nor the destination's."""
    if all(name in _WHERE_TO_SET for name in error.fields):
        # dlt looks in its own places only; the vendor's variable may hold the key
        unset = [name for name in error.fields if name != "api_key" or not os.environ.get(API_KEY_VARIABLE)]
        empty = (
            f"{API_KEY_VARIABLE} is empty. " if os.environ.get(API_KEY_VARIABLE) == "" and "api_key" in unset else ""
        )
        return empty + "\n".join(f"No {name} is set. Set {_WHERE_TO_SET[name]}." for name in unset)
    # dlt's text has a line for each place in which it looked; the destination's own place is what to set
    looked_for: dict[str, None] = dict.fromkeys(_DESTINATION_VARIABLE.findall(str(error)))
    if not looked_for:
        return ""
    section = next(iter(looked_for)).split("__")[1].lower()
    return (
        f"The destination {section} is not configured. Set {', '.join(looked_for)} in the environment, "
        f"or the same under [destination.{section}] in .dlt/secrets.toml."
    )


def failure_details(error: BaseException) -> dict[str, Any]:
    """What a log collector or an orchestrator keeps of a failure, beyond the text; None where the reason has no value.

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
    """The exit code of a failure, by the class of its reason."""
    if _find(error, KeyboardInterrupt):
        return Exit.INTERRUPTED
    cause = _find(error, SupermetricsError)
    if (
        _missing_module(error)
        or isinstance(cause, SupermetricsConfigurationError)
        or any(_find(error, kind) for kind in _USAGE_ERRORS)
    ):
        return Exit.USAGE
    if isinstance(cause, (SupermetricsUnauthorizedError, SupermetricsForbiddenError)):
        return Exit.AUTH
    return Exit.UNAVAILABLE if issubclass(type(cause), TransientException) else Exit.OTHER


def _find(error: BaseException | None, kind: type[TError]) -> TError | None:
    """The first error of a kind in a chain of causes."""
    return next((cause for cause in causes(error) if isinstance(cause, kind)), None)
