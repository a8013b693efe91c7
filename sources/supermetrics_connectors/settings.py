"""The settings of a run, checked and normalised before any request is made."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Literal, get_type_hints

from dlt.common.configuration import resolve_configuration
from dlt.common.configuration.specs import BaseConfiguration

from .credentials import SECTIONS, ApiKey
from .exceptions import SupermetricsConfigurationError
from .parsers import (
    boolean,
    choice,
    integer,
    number,
    parse_api_key,
    parse_base_url,
    parse_since,
    parse_team_ids,
)

DEFAULT_BASE_URL = "https://api.supermetrics.com"
DEFAULT_MAX_RESPONSE_BYTES = 2**30
"""A GiB: a thousand connectors, the most that the API lists, with configurations of a megabyte each."""
DEFAULT_LOGS_SINCE = "30d"

OnTeamError = Literal["raise", "skip"]
TableFormat = Literal["delta", "iceberg"]


@dataclass(frozen=True)
class Settings:
    """The arguments of `supermetrics_source`, checked. Its docstring says what each means.

    An annotation has the type of a checked value, and the parser that makes it of an argument.
    """

    team_ids: Annotated[list[int], parse_team_ids]
    api_key: Annotated[ApiKey, parse_api_key]
    include_configs: Annotated[bool, boolean]
    base_url: Annotated[str, parse_base_url]
    on_team_error: Annotated[OnTeamError, choice("raise", "skip")]
    max_retry_wait: Annotated[float, number(0, 86_400)]  # the longest Retry-After that the API sends is a day
    workers: Annotated[int, integer(1, 100)]
    request_timeout: Annotated[float, number(0.001, 86_400)]
    request_max_attempts: Annotated[int, integer(1, 100)]
    request_backoff_factor: Annotated[float, number(0, 3600)]
    request_max_retry_delay: Annotated[float, number(0, 86_400)]
    max_response_bytes: Annotated[int, integer(1, 2**40)]
    full_refresh: Annotated[bool, boolean]
    redact_secrets: Annotated[bool, boolean]
    table_format: Annotated[TableFormat | None, choice("delta", "iceberg", None)]
    snapshot: Annotated[bool, boolean]
    include_teams: Annotated[bool, boolean]
    include_logs: Annotated[bool, boolean]
    logs_since: Annotated[timedelta, parse_since]
    include_secrets: Annotated[bool, boolean]
    rate_limit_reserve: Annotated[float, number(0, 1)]

    @classmethod
    def from_arguments(cls, arguments: Mapping[str, object]) -> "Settings":
        """Checks and normalises every setting.

        Args:
            arguments: All arguments of `supermetrics_source`, by name.

        Raises:
            SupermetricsConfigurationError: A setting is unusable. It is named, with its value unless that may be a key.
        """
        hints = get_type_hints(cls, include_extras=True)
        settings = cls(**{name: hint.__metadata__[0](arguments[name], name) for name, hint in hints.items()})
        if settings.snapshot and settings.include_logs:
            raise SupermetricsConfigurationError(
                "include_logs and snapshot exclude each other: a run finds new log entries by comparing them with the "
                "stored ones, and snapshots are not compared. Load the logs into a database (another --destination)"
            )
        return settings


def resolve(spec: type[BaseConfiguration], **given: Any) -> Settings:
    """Resolves the settings of a run as the source does.

    Args:
        spec: dlt's specification of the source: `get_fun_spec(supermetrics_source)`.
        given: Arguments of `supermetrics_source`; the other settings come from dlt's configuration.

    Raises:
        ConfigFieldMissingException: A required setting is not set anywhere.
        SupermetricsConfigurationError: A setting is unusable.
    """
    return Settings.from_arguments(resolve_configuration(spec(), sections=SECTIONS, explicit_value=given))
