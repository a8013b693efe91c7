"""Settings are refused or normalised before any request is made."""

from __future__ import annotations

import inspect
import re
from dataclasses import fields
from datetime import timedelta
from typing import Any

import pytest
from dlt.common.configuration import get_fun_spec
from hypothesis import given
from hypothesis import strategies as st

from supermetrics_connectors import supermetrics_source
from supermetrics_connectors.exceptions import SupermetricsConfigurationError
from supermetrics_connectors.settings import (
    MAX_TEAM_ID,
    ApiKey,
    Settings,
    parse_api_key,
    parse_base_url,
    parse_since,
    parse_team_ids,
    resolve,
)

TOKEN = "api_5ecret"

ids = st.lists(st.integers(1, MAX_TEAM_ID), min_size=1, max_size=5, unique=True)


def checked(**given: Any) -> Settings:
    """Settings that are good unless the given ones are not."""
    return resolve(**{"team_ids": [1], "api_key": TOKEN, **given})


# --- team ids ---------------------------------------------------------------------------------------------------------


@given(ids)
def test_team_ids_mean_the_same_in_every_shape(team_ids: list[int]) -> None:
    """A caller gives a list, TOML a list of numbers, the environment a string."""
    listed = ",".join(map(str, team_ids))
    for shape in (team_ids, tuple(team_ids), list(map(str, team_ids)), listed, f" {listed.replace(',', ' , ')} "):
        assert parse_team_ids(shape) == team_ids
    assert parse_team_ids(f"[{listed}]") == parse_team_ids(f" [{listed.replace(',', ', ')}] ") == team_ids


@pytest.mark.parametrize("team_id", [936506, "936506", MAX_TEAM_ID, str(MAX_TEAM_ID)])
def test_one_team_id_needs_no_list(team_id: int | str) -> None:
    """Most people have one team."""
    assert parse_team_ids(team_id) == [int(team_id)]


def test_team_ids_are_kept_once_in_the_order_given() -> None:
    """A team named twice costs one request."""
    assert parse_team_ids([3, "1", 3, 1, 2]) == [3, 1, 2]


@pytest.mark.parametrize(
    ("team_ids", "named"),
    [
        (True, "True"),
        ([False], "False"),
        (1.5, "1.5"),
        ("1.0", "'1.0'"),
        ("[1.5]", "1.5"),
        (0, "0"),
        (-1, "-1"),
        ("+1", "'+1'"),
        (MAX_TEAM_ID + 1, "9223372036854775808"),
        ("9" * 20, repr("9" * 20)),
        ("1/../2", "'1/../2'"),
        ("1_000", "'1_000'"),
        ("٣", "'٣'"),
        ("1 2", "'1 2'"),
        ("1,,2", "''"),
        ("1;2", "'1;2'"),
        ("[1, 2", "'[1, 2'"),
        ("[[1]]", "[1]"),
        ([None], "None"),
        ({"id": 1}, "{'id': 1}"),
        (b"1", "b'1'"),
    ],
)
def test_a_team_id_that_is_none_is_refused_by_name(team_ids: object, named: str) -> None:
    """An id becomes part of a URL: what is not plainly an id must not get there, and the user must find it."""
    with pytest.raises(SupermetricsConfigurationError) as refused:
        parse_team_ids(team_ids)
    assert str(refused.value) == f"Team id {named} is not an integer in 1 … 9223372036854775807."


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
    """Whatever the environment holds, only ids that are written there are ever asked for."""
    try:
        parsed = parse_team_ids(text)
    except SupermetricsConfigurationError:
        return
    assert set(parsed) == {int(number) for number in re.findall(r"[0-9]+", text)}
    assert all(1 <= team_id <= MAX_TEAM_ID for team_id in parsed)


# --- the key ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given_key", [TOKEN, f"Bearer {TOKEN}", f"bearer {TOKEN}", f" BEARER   {TOKEN}"])
def test_a_key_is_taken_with_and_without_bearer(given_key: str) -> None:
    """People copy the whole header value."""
    assert parse_api_key(given_key) == TOKEN


def test_a_key_that_begins_like_bearer_stays_whole() -> None:
    """Only the word of its own is the scheme."""
    assert parse_api_key("bearer_of_news") == "bearer_of_news"


@pytest.mark.parametrize("character", ["\n", "\r\n", "\t", " ", "\0", "\x7f", "é", "\u200b", "\ud800"])
@pytest.mark.parametrize("place", ["{0}" + TOKEN, "api_{0}5ecret", TOKEN + "{0}"])
def test_a_key_that_no_header_can_carry_is_refused_without_showing_it(place: str, character: str) -> None:
    """A line break would let a key write headers; a message that quotes it would leak it to the log."""
    with pytest.raises(SupermetricsConfigurationError) as refused:
        parse_api_key(place.format(character))
    assert str(refused.value) == (
        "The api_key has a space, a line break, a control or a non-ASCII character; "
        "expected an API key or OAuth token as the Supermetrics Hub shows it."
    )


@pytest.mark.parametrize("given_key", ["", "Bearer", "Bearer "])
def test_an_empty_key_is_refused(given_key: str) -> None:
    """An unset variable in a shell script becomes an empty string."""
    with pytest.raises(SupermetricsConfigurationError, match=r"^The api_key is empty\.$"):
        parse_api_key(given_key)


def test_a_key_does_not_show_itself() -> None:
    """Tracebacks with locals, debug logs of arguments and dataclass reprs all call repr."""
    settings = checked()
    assert settings.api_key == TOKEN
    assert repr(ApiKey(TOKEN)) == "'***'"
    assert TOKEN not in f"{settings!r} {settings}"


# --- the base URL -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_url", "url"),
    [
        ("https://api.supermetrics.com", "https://api.supermetrics.com"),
        ("https://api.supermetrics.com/", "https://api.supermetrics.com"),
        ("https://gateway.example.com:8443/supermetrics/", "https://gateway.example.com:8443/supermetrics"),
        ("http://localhost:8931", "http://localhost:8931"),
        ("http://127.0.0.1", "http://127.0.0.1"),
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
        ("ftp://api.supermetrics.com", "would send the token unencrypted"),
        ("api.supermetrics.com", "is not a plain URL"),
        ("https://", "is not a plain URL"),
        ("", "is not a plain URL"),
        ("https://api.supermetrics.com?team=1", "is not a plain URL"),
        ("https://api.supermetrics.com?", "is not a plain URL"),
        ("https://api.supermetrics.com#top", "is not a plain URL"),
        ("https://api.supermetrics.com/#", "is not a plain URL"),
        ("https://api.super metrics.com", "is not a plain URL"),
        ("https://api.supermetrics.com\n", "is not a plain URL"),
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


def test_credentials_in_a_base_url_are_refused_without_showing_them() -> None:
    """They would end up in logs, and would not be sent anyway: the token takes their header."""
    with pytest.raises(SupermetricsConfigurationError) as refused:
        parse_base_url(f"https://user:{TOKEN}@api.supermetrics.com")
    assert str(refused.value) == (
        "base_url carries credentials, expected something like https://api.supermetrics.com (http only for localhost)."
    )


# --- the rest ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("on_team_error", "ignore", "on_team_error is 'ignore', expected 'raise' or 'skip'."),
        ("workers", 0, "workers is 0, expected a number in 1 … 100."),
        ("workers", 101, "workers is 101, expected a number in 1 … 100."),
        ("max_retry_wait", -1, "max_retry_wait is -1, expected a number in 0 … 86400."),
        ("max_retry_wait", float("nan"), "max_retry_wait is nan, expected a number in 0 … 86400."),
        ("request_timeout", 0, "request_timeout is 0, expected a number in 0.001 … 86400."),
        ("request_max_attempts", 0, "request_max_attempts is 0, expected a number in 1 … 100."),
        ("request_backoff_factor", -0.1, "request_backoff_factor is -0.1, expected a number in 0 … 3600."),
        ("request_max_retry_delay", 1e9, "request_max_retry_delay is 1000000000.0, expected a number in 0 … 86400."),
    ],
)
def test_a_setting_out_of_its_range_is_refused(setting: str, value: object, message: str) -> None:
    """Found in the first second rather than in the middle of a load."""
    with pytest.raises(SupermetricsConfigurationError) as refused:
        checked(**{setting: value})
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("setting", "expected"),
    [("on_team_error", "'raise' or 'skip'"), ("table_format", "'delta', 'iceberg' or none")],
)
def test_a_choice_that_is_none_says_what_was_expected(
    setting: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one of the environment: dlt would only say that it cannot make a Literal of it."""
    monkeypatch.setenv(f"SOURCES__SUPERMETRICS__{setting.upper()}", "typo")
    with pytest.raises(SupermetricsConfigurationError) as refused:
        checked()
    assert str(refused.value) == f"{setting} is 'typo', expected {expected}."


def test_settings_are_the_arguments_of_the_source() -> None:
    """In the order of its signature, which is where their types and defaults are told."""
    arguments = list(inspect.signature(supermetrics_source).parameters)
    assert [field.name for field in fields(Settings)] == arguments
    assert list(get_fun_spec(supermetrics_source).get_resolvable_fields()) == arguments


def test_settings_are_normalised_together() -> None:
    """The rest of the source reads only what came out of this check."""
    settings = checked(team_ids="2,1", api_key=f"Bearer {TOKEN}", base_url="https://host/", logs_since="2w")
    assert (settings.team_ids, settings.api_key, settings.base_url) == ([2, 1], TOKEN, "https://host")
    assert (settings.logs_since, settings.include_configs, settings.full_refresh) == (timedelta(14), False, False)


@pytest.mark.parametrize(("text", "days"), [("525600m", 365), (" 8760h ", 365), ("36525d", 36525), ("2w", 14)])
def test_logs_are_asked_for_as_far_back_as_is_said(text: str, days: int) -> None:
    """In whichever unit."""
    assert parse_since(text) == timedelta(days)


@pytest.mark.parametrize("text", ["36526d", "9999999w", "0d", "1y", "-1d", "", 7])
def test_a_time_that_no_log_has_is_refused(text: object) -> None:
    """Nor could it be subtracted from today."""
    with pytest.raises(SupermetricsConfigurationError) as refused:
        parse_since(text)
    assert str(refused.value).startswith(f"logs_since is {text!r}, expected a number of weeks, days, hours or minutes")
