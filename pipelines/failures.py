"""What the command line makes of a failure: a text for the person and an exit code for the caller."""

from typing import TypeVar

from dlt.common.configuration.exceptions import ConfigFieldMissingException, ConfigurationException

from sources.supermetrics_connectors.exceptions import (
    SupermetricsConfigurationError,
    SupermetricsError,
    SupermetricsUnreadableError,
)

from .exit_codes import Exit
from .runs import AlreadyRunningError, LoadFailedError

TError = TypeVar("TError", bound=BaseException)

_WHERE_TO_SET = {
    "api_key": "SUPERMETRICS_API_KEY in the environment, or api_key under [sources.supermetrics] in .dlt/secrets.toml",
    "team_ids": "--team ID (repeatable), SOURCES__SUPERMETRICS__TEAM_IDS in the environment, "
    "or team_ids under [sources.supermetrics] in .dlt/config.toml",
}


def describe(error: BaseException) -> str:
    """The failure in words: what is missing and where to set it, or the reason and where dlt met it."""
    missing = _find(error, ConfigFieldMissingException)
    if missing and all(name in _WHERE_TO_SET for name in missing.fields):
        return "\n".join(f"No {name} is set. Set {_WHERE_TO_SET[name]}." for name in missing.fields)
    if isinstance(error, (LoadFailedError, AlreadyRunningError, SupermetricsError)):
        return str(error)
    return f"{type(error).__name__}: {error}"


def exit_code(error: BaseException) -> Exit:
    """The exit code of a failure."""
    if _find(error, KeyboardInterrupt):
        return Exit.INTERRUPTED
    cause = _find(error, SupermetricsError)
    if isinstance(cause, SupermetricsConfigurationError) or _find(error, ConfigurationException):
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
