"""What the user sets, checked and normalised before any request is made."""

import inspect
import ipaddress
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, ParamSpec
from urllib.parse import urlsplit

import dlt
import orjson
from dlt.common.configuration import configspec, get_fun_spec, resolve_configuration
from dlt.common.configuration.providers import EnvironProvider
from dlt.common.configuration.specs import BaseConfiguration
from dlt.common.configuration.utils import get_resolved_traces
from dlt.common.reflection.spec import spec_from_signature
from dlt.extract import DltResource, DltSource
from dlt.extract.reference import SourceFactory

from .exceptions import SupermetricsConfigurationError

DEFAULT_BASE_URL = "https://api.supermetrics.com"
API_KEY_VARIABLE = "SUPERMETRICS_API_KEY"
"""The environment variable of the vendor's own tools, the fallback for the key."""
SECTIONS = ("sources", "supermetrics_connectors", "supermetrics")
"""Where dlt looks for a setting, most specific first: also in the first two and in the first and last of these."""
_PLACEHOLDER = re.compile(r"(?:bearer +)?(?:(?:api|otok)_)?(?:\.\.\.|…|<.*>)", re.IGNORECASE)
"""What examples have in the place of a key: `api_...`, and dlt's own `<configure me>`."""
MAX_TEAM_ID = 2**63 - 1
DEFAULT_MAX_ANSWER_BYTES = 2**30
"""A GiB: a thousand connectors, the most that the API lists, with configurations of a megabyte each."""

DEFAULT_LOGS_SINCE = "30d"
_LONGEST = timedelta(days=36525)
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_P = ParamSpec("_P")

OnTeamError = Literal["raise", "skip"]
TableFormat = Literal["delta", "iceberg"]


class ApiKey(str):
    """An API key or OAuth token that does not show itself in a repr, a traceback's locals or a log of arguments.

    Attributes:
        came_from: Where it was set, in words.
    """

    came_from: str = "the argument api_key"

    @classmethod
    def found(cls, key: str, came_from: str) -> "ApiKey":
        """A key with where it was set."""
        made = cls(key)
        made.came_from = came_from
        return made

    def __repr__(self) -> str:
        return "'***'"


@configspec
class SupermetricsConfiguration(BaseConfiguration):
    """How the key is found and hidden. `dlt_source` adds the fields, the arguments of `supermetrics_source`."""

    def on_partial(self) -> None:
        """Takes the key from the vendor's own variable when dlt's configuration has none."""
        if from_environment := os.environ.get(API_KEY_VARIABLE):
            self["api_key"] = self["api_key"] or _vendors_key(from_environment)
        if not self.is_partial():
            self.resolve()

    def on_resolved(self) -> None:
        """Hides the key from reprs from here on, and prefers the vendor's own variable to an example's placeholder."""
        if not isinstance(self["api_key"], ApiKey):
            self["api_key"] = ApiKey.found(self["api_key"], _where_dlt_found_the_key(self))
        if _PLACEHOLDER.fullmatch(self["api_key"]) and (from_environment := os.environ.get(API_KEY_VARIABLE)):
            self["api_key"] = _vendors_key(from_environment)


def _vendors_key(key: str) -> ApiKey:
    return ApiKey.found(key, f"{API_KEY_VARIABLE} in the environment")


def _where_dlt_found_the_key(config: SupermetricsConfiguration) -> str:
    """In words; dlt notes each value that it finds, and an argument, which it does not look for, nowhere."""
    for found in reversed(get_resolved_traces().resolved_traces):
        if found.config is config and found.key == "api_key":
            if found.provider_name == EnvironProvider().name:
                return f"{EnvironProvider.get_key_name(found.key, *found.sections)} in the environment"
            section = f" under [{'.'.join(found.sections)}]" if found.sections else ""
            return f"api_key{section} in {found.provider_name}"
    return ApiKey.came_from


_UNCHECKED: dict[Any, Any] = {OnTeamError: str, TableFormat | None: str | None}
"""As what they are looked up: of a Literal dlt refuses another text without saying which ones are expected."""


def dlt_source(function: Callable[_P, Iterable[DltResource]]) -> SourceFactory[_P, DltSource]:
    """Makes a dlt source of a function, whose arguments are the settings: names, types and defaults are told there.

    `dlt init` writes its slots to [sources.supermetrics_connectors], named for this folder. dlt reads settings there,
    and under the source's name, [sources.supermetrics].
    """
    told = inspect.signature(function)
    arguments = [
        each.replace(annotation=_UNCHECKED.get(each.annotation, each.annotation)) for each in told.parameters.values()
    ]
    spec, _ = spec_from_signature(function, told.replace(parameters=arguments), base=SupermetricsConfiguration)
    _, section, name = SECTIONS
    return dlt.source(function, name=name, section=section, spec=spec)


@dataclass(frozen=True)
class Settings:
    """The arguments of `supermetrics_source`, checked. What each means is told in its docstring."""

    team_ids: list[int]
    api_key: ApiKey
    include_configs: bool
    base_url: str
    on_team_error: OnTeamError
    max_retry_wait: float
    workers: int
    request_timeout: float
    request_max_attempts: int
    request_backoff_factor: float
    request_max_retry_delay: float
    max_answer_bytes: int
    full_refresh: bool
    redact_secrets: bool
    table_format: TableFormat | None
    snapshot: bool
    include_teams: bool
    include_logs: bool
    logs_since: timedelta
    include_secrets: bool
    rate_limit_reserve: float

    @property
    def asks_more(self) -> bool:
        """Whether anything but the listings is to be asked for."""
        return self.include_teams or self.include_logs or self.include_secrets

    @classmethod
    def check(cls, **given: Any) -> "Settings":
        """Checks and normalises every setting.

        Args:
            given: All arguments of `supermetrics_source`.

        Raises:
            SupermetricsConfigurationError: One is unusable; it is named, with its value unless that is the key.
        """
        if (wish := given["on_team_error"]) not in ("raise", "skip"):
            raise SupermetricsConfigurationError(f"on_team_error is {wish!r}, expected 'raise' or 'skip'")
        if (wish := given["table_format"]) not in (None, "delta", "iceberg"):
            raise SupermetricsConfigurationError(f"table_format is {wish!r}, expected 'delta', 'iceberg' or none")
        if given["snapshot"] and given["include_logs"]:
            raise SupermetricsConfigurationError(
                "include_logs cannot go with snapshot: what is new in the logs is told by comparing them with what is "
                "stored, which snapshots are not. Load the logs into a database (another --destination)"
            )
        for name, (low, high) in _RANGES.items():
            if not isinstance(value := given[name], (int, float)) or not low <= value <= high:
                raise SupermetricsConfigurationError(f"{name} is {value!r}, expected a number in {low:g} … {high:g}")
        return cls(**{**given, **{name: parse(given[name]) for name, parse in _PARSERS.items()}})


def resolve(**given: Any) -> Settings:
    """The settings of a run, looked up as the source does it.

    Args:
        given: Arguments of `supermetrics_source`; the rest comes from dlt's configuration.

    Raises:
        ConfigFieldMissingException: A required one is not set anywhere.
        SupermetricsConfigurationError: One is unusable.
    """
    from . import supermetrics_source  # noqa: PLC0415 - it is made with what this module has

    config = resolve_configuration(get_fun_spec(supermetrics_source)(), sections=SECTIONS, explicit_value=given)
    return Settings.check(**config)


_RANGES: dict[str, tuple[float, float]] = {
    "max_retry_wait": (0, 86_400),  # the longest Retry-After that the API sends is a day
    "workers": (1, 100),
    "request_timeout": (0.001, 86_400),
    "request_max_attempts": (1, 100),
    "request_backoff_factor": (0, 3600),
    "request_max_retry_delay": (0, 86_400),
    "max_answer_bytes": (1, 2**40),
    "rate_limit_reserve": (0, 1),
}


def parse_since(text: object) -> timedelta:
    """Reads how far back logs are asked for.

    Args:
        text: A number of weeks, days, hours or minutes: `2w`, `7d`, `12h`, `30m`.

    Raises:
        SupermetricsConfigurationError: It is none of these, or of no length.
    """
    duration = parse_duration(text.strip()) if isinstance(text, str) else None
    if not duration:
        raise SupermetricsConfigurationError(
            f"logs_since is {text!r}, expected a number of weeks, days, hours or minutes, a hundred years at most, "
            "such as 2w, 7d, 12h or 30m"
        )
    return duration


def parse_duration(text: str) -> timedelta | None:
    """Reads `2w`, `7d`, `24h` or `30m`; None of anything else, and of more than a hundred years."""
    match = re.fullmatch(r"([0-9]{1,7})([mhdw])", text)
    duration = timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else None
    return duration if duration is None or duration <= _LONGEST else None


def parse_team_ids(team_ids: object) -> list[int]:
    """Reads team ids from whatever a caller, a TOML file or the environment gives.

    Args:
        team_ids: A list, tuple or set of ids, one id, or a string: `"936506"`, `"1,2"` or `"[1, 2]"`.

    Returns:
        The ids in the order given, each once.

    Raises:
        SupermetricsConfigurationError: No id, or one that is not an integer in 1 … 2^63-1; the value is named.
    """
    ids = list(dict.fromkeys(_parse_team_id(value) for value in _split_team_ids(team_ids)))
    if not ids:
        raise SupermetricsConfigurationError(
            f"team_ids is empty ({team_ids!r}), expected at least one team id. "
            "Set team_ids in [sources.supermetrics] of .dlt/config.toml or SOURCES__SUPERMETRICS__TEAM_IDS"
        )
    return ids


def _split_team_ids(team_ids: object) -> Iterable[object]:
    if isinstance(team_ids, str):
        text = team_ids.strip()
        if text.startswith("["):
            try:
                return list(orjson.loads(text))
            except orjson.JSONDecodeError:
                return [team_ids]
        return text.split(",") if text else []
    if isinstance(team_ids, (list, tuple, set, frozenset, range)):
        return team_ids
    return [] if team_ids is None else [team_ids]


def _parse_team_id(value: object) -> int:
    text = value.strip() if isinstance(value, str) else str(value)
    is_integer = isinstance(value, (int, str)) and not isinstance(value, bool)
    if is_integer and re.fullmatch(r"[0-9]{1,19}", text) and 1 <= int(text) <= MAX_TEAM_ID:
        return int(text)
    raise SupermetricsConfigurationError(f"Team id {value!r} is not an integer in 1 … {MAX_TEAM_ID}")


def parse_api_key(api_key: str) -> ApiKey:
    """Returns the bare key or token, without a leading `Bearer `.

    Raises:
        SupermetricsConfigurationError: It is empty, an example's placeholder, or has a character that no HTTP header
            may carry. The message never shows a key.
    """
    came_from = getattr(api_key, "came_from", ApiKey.came_from)
    key = ApiKey.found(re.sub(r"\A\s*bearer(?: +|\Z)", "", api_key, flags=re.IGNORECASE), came_from)
    if _PLACEHOLDER.fullmatch(key):
        raise SupermetricsConfigurationError(
            f"The api_key is the placeholder {str(key)!r}, from {came_from}. Put a key from the Supermetrics Hub in "
            f"its place, or set {API_KEY_VARIABLE} in the environment"
        )
    if re.fullmatch(r"[\x21-\x7e]+", key):
        return key
    raise SupermetricsConfigurationError(
        "The api_key is empty"
        if not key
        else "The api_key has a space, a line break, a control or a non-ASCII character; "
        "expected an API key or OAuth token as the Supermetrics Hub shows it"
    )


def parse_base_url(base_url: str) -> str:
    """Returns the base URL without a trailing slash.

    Raises:
        SupermetricsConfigurationError: It is not an https URL (http is accepted for a loopback host only, because the
            token travels in a header), or it carries credentials, a query or a fragment.
    """
    expected = "expected something like https://api.supermetrics.com (http only for localhost)"
    try:
        url = urlsplit(base_url)
        host, _ = url.hostname, url.port  # port: raises when it is none
    except ValueError as error:
        raise SupermetricsConfigurationError(f"base_url {base_url!r} is not a URL ({error}), {expected}") from None
    try:
        (host or "").encode("idna")  # as a connection does: it fails at labels that no name server can know
    except UnicodeError:
        raise SupermetricsConfigurationError(f"base_url {base_url!r} names an impossible host, {expected}") from None
    if url.username is not None or url.password is not None:
        raise SupermetricsConfigurationError(f"base_url carries credentials, {expected}")
    if not host or re.search(r"[?#\s\x00-\x1f\x7f]", base_url):
        raise SupermetricsConfigurationError(f"base_url {base_url!r} is not a plain URL, {expected}")
    if url.scheme != "https" and not (url.scheme == "http" and is_loopback(host)):
        raise SupermetricsConfigurationError(f"base_url {base_url!r} would send the token unencrypted, {expected}")
    return base_url.rstrip("/")


def is_loopback(host: str | None) -> bool:
    """Whether a host, as a URL names it, is this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


_PARSERS: dict[str, Callable[[Any], Any]] = {
    "team_ids": parse_team_ids,
    "api_key": parse_api_key,
    "base_url": parse_base_url,
    "logs_since": parse_since,
}
