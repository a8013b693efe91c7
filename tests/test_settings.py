"""Settings are refused or normalised before any request is made."""

from __future__ import annotations

import inspect
import re
from dataclasses import fields
from datetime import timedelta

import pytest
from dlt.common.configuration import get_fun_spec
from hypothesis import given
from hypothesis import strategies as st

from supermetrics_connectors import supermetrics_source
from supermetrics_connectors.credentials import ApiKey
from supermetrics_connectors.exceptions import SupermetricsConfigurationError
from supermetrics_connectors.parsers import MAX_TEAM_ID, parse_api_key, parse_base_url, parse_since, parse_team_ids
from supermetrics_connectors.settings import Settings
from tests.helpers.clients import settings

TOKEN = "api_5ecret"
HIDDEN = ", not shown because it may be a key]"

ids = st.lists(st.integers(1, MAX_TEAM_ID), min_size=1, max_size=5, unique=True)


# --- team ids ---------------------------------------------------------------------------------------------------------


@given(ids)
def test_team_ids_mean_the_same_in_every_shape(team_ids: list[int]) -> None:
    """A caller gives a list, TOML a list of numbers, the environment a string."""
    listed = ",".join(map(str, team_ids))
    for shape in (team_ids, tuple(team_ids), list(map(str, team_ids)), listed, f" {listed.replace(',', ' , ')} "):
        assert parse_team_ids(shape) == team_ids
    assert parse_team_ids(f"[{listed}]") == parse_team_ids(f" [{listed.replace(',', ', ')}] ") == team_ids
    assert parse_team_ids(team_ids[0]) == parse_team_ids(str(team_ids[0])) == team_ids[:1]


def test_team_ids_are_kept_once_in_the_order_given() -> None:
    """A team named twice costs one request."""
    assert parse_team_ids([3, "1", 3, 1, 2]) == [3, 1, 2]


@pytest.mark.parametrize(
    ("team_ids", "shown"),
    [
        (True, "True"),
        ([False], "False"),
        (1.5, "1.5"),
        ("1.0", "'1.0'"),
        ("[1.5]", "1.5"),
        (0, "0"),
        ("+1", "'+1'"),
        (MAX_TEAM_ID + 1, "9223372036854775808"),
        ("1/../2", "'1/../2'"),
        ("1_000", "'1_000'"),
        ("٣", "'٣'"),
        ("1 2", "'1 2'"),
        ("1,,2", "''"),
        ("[1, 2", "'[1, 2'"),
        ("[[1]]", "[1]"),
        ([None], "None"),
        ({"id": 1}, "{'id': 1}"),
        (b"1", "b'1'"),
        ("api_x", f"[a text{HIDDEN}"),
        ([1, "otok_x"], f"[a text{HIDDEN}"),
        ("1, Bearer x", f"[a text{HIDDEN}"),
        ('["api_x"]', f"[a text{HIDDEN}"),
        ("[1, api_x", f"[a text{HIDDEN}"),
        ("0123456789abcdef", f"[a text{HIDDEN}"),
        ("k3y-4567", f"[a text{HIDDEN}"),
        ("1 kEyLetters", f"[a text{HIDDEN}"),
        ("everything", "'everything'"),
        ("k3y-456", "'k3y-456'"),
        ({"id": "api_x"}, f"[a table{HIDDEN}"),
        ([["0123456789abcdef"]], f"[a list{HIDDEN}"),
        (b"api_x", f"[a value of type bytes{HIDDEN}"),
        (object(), "a value of type object"),
    ],
)
def test_an_unusable_team_id_is_shown_unless_it_may_be_a_key(team_ids: object, shown: str) -> None:
    """An id becomes part of a URL, and people paste keys into the wrong setting."""
    with pytest.raises(SupermetricsConfigurationError) as refused:
        parse_team_ids(team_ids)
    assert str(refused.value) == f"Team id {shown} is not an integer in 1 … 9223372036854775807."


@pytest.mark.parametrize("team_ids", [None, [], (), "", " ", "[]"])
def test_no_team_id_at_all_says_where_to_set_one(team_ids: object) -> None:
    """Loading nothing without a word would look like success."""
    with pytest.raises(SupermetricsConfigurationError) as refused:
        parse_team_ids(team_ids)
    assert str(refused.value) == (
        f"team_ids is empty ({team_ids!r}), expected at least one team id. "
        "Set team_ids in [sources.supermetrics] of .dlt/config.toml or SOURCES__SUPERMETRICS__TEAM_IDS."
    )


@given(st.one_of(st.text(), st.text("0123456789,[] ")))
def test_no_text_yields_a_team_id_out_of_range(text: str) -> None:
    """Only ids that are written in the text are requested."""
    try:
        parsed = parse_team_ids(text)
    except SupermetricsConfigurationError:
        return
    assert set(parsed) == {int(number) for number in re.findall(r"[0-9]+", text)}
    assert all(1 <= team_id <= MAX_TEAM_ID for team_id in parsed)


# --- the key ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_key", "key"),
    [
        *((f"{scheme}{TOKEN}", TOKEN) for scheme in ("", "Bearer ", "bearer ", " BEARER   ")),
        ("bearer_of_news", "bearer_of_news"),
    ],
)
def test_a_key_is_taken_with_and_without_bearer(given_key: str, key: str) -> None:
    """People copy the whole header value. Only the word of its own is the scheme."""
    assert parse_api_key(given_key) == key


@pytest.mark.parametrize("character", ["\n", "\r\n", "\t", " ", "\0", "\x7f", "é", "\u200b", "\ud800"])
@pytest.mark.parametrize("place", ["{0}" + TOKEN, "api_{0}5ecret", TOKEN + "{0}"])
def test_a_key_that_no_header_can_carry_is_refused_without_showing_it(place: str, character: str) -> None:
    """A line break would let a key write headers."""
    with pytest.raises(SupermetricsConfigurationError) as refused:
        parse_api_key(place.format(character))
    assert str(refused.value) == (
        "The api_key has a space, a line break, a control or a non-ASCII character; "
        "expected an API key or OAuth token as the Supermetrics Hub shows it."
    )


@pytest.mark.parametrize(
    ("given_key", "message"),
    [
        *((each, "is empty, from the argument api_key. Put") for each in ("", "Bearer", "Bearer ")),
        *(
            (ApiKey(each, "secrets.toml"), "is the placeholder of an example, from secrets.toml. Put")
            for each in ("api_...", "<configure me>", "Bearer otok_…")
        ),
    ],
)
def test_an_empty_key_and_a_placeholder_are_refused_by_their_source(given_key: str, message: str) -> None:
    """An unset variable in a shell script becomes an empty string. The person has to find the file."""
    with pytest.raises(SupermetricsConfigurationError) as refused:
        parse_api_key(given_key)
    assert str(refused.value).startswith(f"The api_key {message} a key from the Supermetrics Hub in its place")


def test_a_key_does_not_show_itself() -> None:
    """Tracebacks with locals, debug logs of arguments and dataclass reprs all call repr."""
    checked = settings(api_key=TOKEN)
    assert checked.api_key == TOKEN
    assert repr(ApiKey(TOKEN)) == "'***'"
    assert TOKEN not in f"{checked!r} {checked}"


# --- the base URL -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_url", "url"),
    [
        ("https://api.supermetrics.com", "https://api.supermetrics.com"),
        ("https://api.supermetrics.com/", "https://api.supermetrics.com"),
        ("https://gateway.example.com:8443/supermetrics/", "https://gateway.example.com:8443/supermetrics"),
        ("http://localhost:8931", "http://localhost:8931"),
        ("http://127.8.9.1:80", "http://127.8.9.1:80"),
        ("http://[::1]:8931", "http://[::1]:8931"),
    ],
)
def test_https_and_loopback_urls_are_taken(given_url: str, url: str) -> None:
    """Proxies with a path and the sandbox are both real; a doubled slash would be another path."""
    assert parse_base_url(given_url) == url


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://api.supermetrics.com", "would send the token unencrypted"),
        ("http://localhost.example.com", "would send the token unencrypted"),
        ("http://127.0.0.1.example.com", "would send the token unencrypted"),
        ("http://10.0.0.1", "would send the token unencrypted"),
        ("ftp://a.example", "would send the token unencrypted"),
        ("a.example.com", "is not a plain URL"),
        ("https://", "is not a plain URL"),
        ("", "is not a plain URL"),
        ("https://api.supermetrics.com?team=1", "is not a plain URL"),
        ("https://api.supermetrics.com/#", "is not a plain URL"),
        ("https://api .com", "is not a plain URL"),
        ("https://a.com\n", "is not a plain URL"),
        ("https://api.supermetrics.com:port", "is not a URL (Port could not be cast to integer value as 'port')"),
        ("https://[::1", "is not a URL (Invalid IPv6 URL)"),
    ],
)
def test_a_base_url_that_would_leak_or_mislead_is_refused(url: str, why: str) -> None:
    """The token travels in a header of every request to it."""
    with pytest.raises(SupermetricsConfigurationError) as refused:
        parse_base_url(url)
    expected = "expected something like https://api.supermetrics.com (http only for localhost)"
    assert str(refused.value) == f"base_url {url!r} {why}, {expected}."


@pytest.mark.parametrize(
    "url",
    [
        f"https://user:{TOKEN}@a.example",
        TOKEN,
        "0123456789abcdef",
        f"https://a:{TOKEN}",
        f"https://{TOKEN}",
        f"https://a.example/{TOKEN}0123456789abcdef",
        7,
    ],
)
def test_no_message_shows_credentials_of_a_base_url(url: object) -> None:
    """The message names what is expected."""
    with pytest.raises(SupermetricsConfigurationError, match="expected something like https://api") as refused:
        parse_base_url(url)
    assert TOKEN not in str(refused.value)
    assert "0123456789abcdef" not in str(refused.value)


# --- the other settings -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("workers", 0, "workers is 0, expected an integer in 1 … 100."),
        ("workers", 101, "workers is 101, expected an integer in 1 … 100."),
        ("workers", 2.5, "workers is 2.5, expected an integer in 1 … 100."),
        ("workers", "10", "workers is '10', expected an integer in 1 … 100."),
        ("workers", True, "workers is True, expected an integer in 1 … 100."),
        ("workers", TOKEN, f"workers is [a text{HIDDEN}, expected an integer in 1 … 100."),
        ("workers", [1], "workers is [1], expected an integer in 1 … 100."),
        (
            "max_response_bytes",
            2**40 + 1,
            "max_response_bytes is 1099511627777, expected an integer in 1 … 1099511627776.",
        ),
        ("max_retry_wait", -1, "max_retry_wait is -1, expected a number in 0 … 86400."),
        ("max_retry_wait", float("nan"), "max_retry_wait is nan, expected a number in 0 … 86400."),
        ("max_retry_wait", "60", "max_retry_wait is '60', expected a number in 0 … 86400."),
        ("request_timeout", 0, "request_timeout is 0, expected a number in 0.001 … 86400."),
        ("request_backoff_factor", True, "request_backoff_factor is True, expected a number in 0 … 3600."),
        ("rate_limit_reserve", 1.5, "rate_limit_reserve is 1.5, expected a number in 0 … 1."),
        ("include_configs", "false", "include_configs is 'false', expected true or false."),
        ("include_configs", 1, "include_configs is 1, expected true or false."),
        ("on_team_error", "ignore", "on_team_error is 'ignore', expected 'raise' or 'skip'."),
        ("on_team_error", ["skip"], "on_team_error is ['skip'], expected 'raise' or 'skip'."),
        ("table_format", "csv", "table_format is 'csv', expected 'delta', 'iceberg' or none."),
        ("table_format", TOKEN, f"table_format is [a text{HIDDEN}, expected 'delta', 'iceberg' or none."),
    ],
)
def test_an_unusable_setting_is_named(setting: str, value: object, message: str) -> None:
    """Found in the first second rather than in the middle of a load."""
    arguments = {field.name: getattr(settings(), field.name) for field in fields(Settings)}
    with pytest.raises(SupermetricsConfigurationError) as refused:
        Settings.from_arguments({**arguments, "logs_since": "30d", setting: value})
    assert str(refused.value) == message


@pytest.mark.parametrize("setting", ["on_team_error", "table_format"])
def test_an_unknown_choice_of_the_environment_names_the_known_ones(
    setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without our own check, dlt would only say that the text is no Literal."""
    monkeypatch.setenv(f"SOURCES__SUPERMETRICS__{setting.upper()}", "typo")
    with pytest.raises(SupermetricsConfigurationError, match=f"^{setting} is 'typo', expected '"):
        settings()


def test_snapshots_and_logs_exclude_each_other() -> None:
    """Each run would append all entries once more."""
    with pytest.raises(SupermetricsConfigurationError, match=r"^include_logs and snapshot exclude each other"):
        settings(snapshot=True, include_logs=True)


def test_settings_are_the_arguments_of_the_source() -> None:
    """In the order of its signature, which has their types and defaults."""
    arguments = list(inspect.signature(supermetrics_source).parameters)
    assert [field.name for field in fields(Settings)] == arguments
    assert list(get_fun_spec(supermetrics_source).get_resolvable_fields()) == arguments


def test_settings_are_normalised() -> None:
    """The source reads only checked values."""
    checked = settings(team_ids="2,1", api_key=f"Bearer {TOKEN}", base_url="https://host/", logs_since="2w")
    assert (checked.team_ids, checked.api_key, checked.base_url) == ([2, 1], TOKEN, "https://host")
    assert (checked.logs_since, checked.include_configs, checked.workers) == (timedelta(14), False, 10)


@pytest.mark.parametrize(("text", "days"), [("525600m", 365), (" 8760h ", 365), ("36525d", 36525), ("2w", 14)])
def test_logs_since_is_a_duration(text: str, days: int) -> None:
    """In minutes, hours, days or weeks."""
    assert parse_since(text, "logs_since") == timedelta(days)


@pytest.mark.parametrize("text", ["36526d", "999999w", "0d", "1y", "-1d", "", 7])
def test_an_unusable_duration_is_refused(text: object) -> None:
    """It could not be subtracted from today."""
    with pytest.raises(SupermetricsConfigurationError) as refused:
        parse_since(text, "logs_since")
    assert str(refused.value).startswith(f"logs_since is {text!r}, expected a number of weeks, days, hours or minutes")
