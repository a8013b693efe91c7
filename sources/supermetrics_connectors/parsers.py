"""Parsers of settings. Each takes a value and the setting's name, and names both if the value is unusable.

A value that may be a key is never shown: people paste keys into the wrong setting.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import orjson

from .credentials import API_KEY_VARIABLE, MIN_KEY_CHARS, ApiKey
from .exceptions import SupermetricsConfigurationError

Parser = Callable[[Any, str], Any]
"""Takes the value and the name of a setting; returns the checked and normalised value."""

MAX_TEAM_ID = 2**63 - 1
MAX_DURATION = timedelta(days=36525)
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_KEY_LIKE = re.compile(r"(?<![a-z0-9])(?:api_|otok_|bearer)", re.IGNORECASE)
_KEY_IN_URL = re.compile(r"//(?:api|otok)_|(?<![a-z0-9])(?:api|otok)_\w{16}", re.IGNORECASE)
"""No host's name begins so."""
_NO_KEY = re.compile(rf"\S{{0,{MIN_KEY_CHARS - 1}}}|(?i:[a-z]+)://[^\s@]*|[a-z.]{{1,15}}")
"""Words that are too short for a key, plain URLs, and words or host names in small letters."""
_KINDS: Mapping[type, str] = {str: "a text", list: "a list", dict: "a table"}


def show(value: object) -> str:
    """Renders a value for a message, unless it may be or hold a key.

    A text may hold a key if it has a beginning of one (`api_`, `otok_`, `bearer`), or a word that is as long as a key,
    unless the word is a URL, or fewer than 16 small letters and dots.
    """
    if value is None or isinstance(value, (bool, int, float)):
        return repr(value)
    if not isinstance(value, (str, bytes, list, tuple, set, frozenset, dict)):
        return _kind(value)
    if _may_be_key(value):
        return f"[{_kind(value)}, not shown because it may be a key]"
    return repr(value)


def _kind(value: object) -> str:
    return _KINDS.get(type(value), f"a value of type {type(value).__name__}")


def _may_be_key(value: object) -> bool:
    if isinstance(value, bytes):
        return _may_be_key(value.decode("latin-1"))
    if isinstance(value, str):
        return bool(_KEY_LIKE.search(value)) or not all(map(_NO_KEY.fullmatch, value.split()))
    if isinstance(value, Mapping):
        return any(map(_may_be_key, (*value.keys(), *value.values())))
    if isinstance(value, (list, tuple, set, frozenset)):
        return any(map(_may_be_key, value))
    return not (value is None or isinstance(value, (bool, int, float)))


def refusal(name: str, value: object, expected: str) -> SupermetricsConfigurationError:
    """Makes the error of a setting that is unusable."""
    return SupermetricsConfigurationError(f"{name} is {show(value)}, expected {expected}")


def boolean(value: object, name: str) -> bool:
    """Checks a switch."""
    if not isinstance(value, bool):
        raise refusal(name, value, "true or false")
    return value


def integer(low: int, high: int) -> Parser:
    """Makes the parser of an integer in a range."""
    return _ranged(low, high, int, f"an integer in {low} … {high}")


def number(low: float, high: float) -> Parser:
    """Makes the parser of a number in a range."""
    return _ranged(low, high, (int, float), f"a number in {low:g} … {high:g}")


def _ranged(low: float, high: float, kinds: Any, expected: str) -> Parser:
    def parse(value: Any, name: str) -> Any:
        if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
            raise refusal(name, value, expected)
        return value

    return parse


def choice(*options: str | None) -> Parser:
    """Makes the parser of one of some texts; None stands for no choice."""
    expected = " or ".join(", ".join("none" if each is None else repr(each) for each in options).rsplit(", ", 1))

    def parse(value: object, name: str) -> object:
        if not isinstance(value, (str, type(None))) or value not in options:
            raise refusal(name, value, expected)
        return value

    return parse


def parse_since(value: object, name: str) -> timedelta:
    """Parses how far back something is read.

    Args:
        value: A number of weeks, days, hours or minutes: `2w`, `7d`, `12h`, `30m`.
        name: The setting's name.

    Raises:
        SupermetricsConfigurationError: The value is none of these, or zero.
    """
    duration = parse_duration(value.strip()) if isinstance(value, str) else None
    if not duration:
        raise refusal(
            name,
            value,
            "a number of weeks, days, hours or minutes, a hundred years at most, such as 2w, 7d, 12h or 30m",
        )
    return duration


def parse_duration(text: str) -> timedelta | None:
    """Parses `2w`, `7d`, `24h` or `30m`; None for anything else, and for more than a hundred years."""
    match = re.fullmatch(r"([0-9]{1,7})([mhdw])", text)
    duration = timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else None
    return duration if duration is None or duration <= MAX_DURATION else None


def parse_team_ids(team_ids: object, name: str = "team_ids") -> list[int]:
    """Parses team ids in any form that a caller, a TOML file or the environment gives.

    Args:
        team_ids: A list, tuple or set of ids, one id, or a string: `"936506"`, `"1,2"` or `"[1, 2]"`.
        name: The setting's name.

    Returns:
        The ids in the order given, each once.

    Raises:
        SupermetricsConfigurationError: There is no id, or one that is not an integer in 1 … 2^63-1.
    """
    ids = list(dict.fromkeys(_parse_team_id(value) for value in _split_team_ids(team_ids)))
    if not ids:
        raise SupermetricsConfigurationError(
            f"{name} is empty ({team_ids!r}), expected at least one team id. "
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
    raise SupermetricsConfigurationError(f"Team id {show(value)} is not an integer in 1 … {MAX_TEAM_ID}")


def parse_api_key(api_key: object, name: str = "api_key") -> ApiKey:
    """Returns the bare key or token, without a leading `Bearer `.

    Raises:
        SupermetricsConfigurationError: The key is empty, an example's placeholder, or has a character that no HTTP
            header may carry. The message never shows a key.
    """
    if not isinstance(api_key, str):
        raise SupermetricsConfigurationError(f"The {name} is {_kind(api_key)}, expected a text")
    # no variable holds the bare text: a traceback may show the locals of this frame
    source = getattr(api_key, "source", None)
    key = ApiKey(re.sub(r"\A\s*bearer(?: +|\Z)", "", api_key, flags=re.IGNORECASE), source)
    if not key or key.is_placeholder:
        found = "the placeholder of an example" if key else "empty"
        elsewhere = f", or set {API_KEY_VARIABLE} in the environment" if key else ""
        raise SupermetricsConfigurationError(
            f"The {name} is {found}, from {key.source}. Put a key from the Supermetrics Hub in its place{elsewhere}"
        )
    if not re.fullmatch(r"[\x21-\x7e]+", key):
        raise SupermetricsConfigurationError(
            f"The {name} has a space, a line break, a control or a non-ASCII character; "
            "expected an API key or OAuth token as the Supermetrics Hub shows it"
        )
    return key


def parse_base_url(base_url: object, name: str = "base_url") -> str:
    """Returns the base URL without a trailing slash.

    Raises:
        SupermetricsConfigurationError: The value is not an https URL (http is accepted for a loopback host only,
            because the token travels in a header), or it carries credentials, a query or a fragment.
    """
    if fault := _url_fault(base_url):
        raise SupermetricsConfigurationError(
            f"{name} {fault}, expected something like https://api.supermetrics.com (http only for localhost)"
        )
    return str(base_url).rstrip("/")


def _url_fault(value: object) -> str:
    """Says why a value cannot be the base URL; "" if it can."""
    shown = show(value)
    if not isinstance(value, str):
        return f"is {shown}"
    try:
        url = urlsplit(value)
        host, _ = url.hostname, url.port  # `port` raises for a port that is not a number
    except ValueError as error:
        return f"{shown} is not a URL" + ("" if _may_be_key(value) else f" ({error})")
    if _KEY_IN_URL.search(value):
        return "contains what may be a key"
    if url.username is not None or url.password is not None:
        return "carries credentials"
    try:
        (host or "").encode("idna")  # as a connection does: it fails at labels that no name server can know
    except UnicodeError:
        return f"{shown} names an impossible host"
    if not host or re.search(r"[?#\s\x00-\x1f\x7f]", value):
        return f"{shown} is not a plain URL"
    if url.scheme != "https" and not (url.scheme == "http" and is_loopback(host)):
        return f"{shown} would send the token unencrypted"
    return ""


def is_loopback(host: str | None) -> bool:
    """Whether a host, as a URL names it, is this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False
