"""Errors say everything in one line, carry it as attributes, and say whether a repetition helps."""

from __future__ import annotations

import errno
import pickle
import re
from datetime import datetime, timedelta, timezone

import pytest
from dlt.common.exceptions import TerminalException, TransientException

from supermetrics_connectors import exceptions
from supermetrics_connectors.exceptions import (
    OTHER_4XX,
    OTHER_5XX,
    STATUS_RULES,
    SupermetricsApiError,
    SupermetricsConfigurationError,
    SupermetricsConnectionError,
    SupermetricsContractError,
    SupermetricsError,
    SupermetricsForbiddenError,
    SupermetricsNotFoundError,
    SupermetricsRateLimitError,
    SupermetricsRequestError,
    SupermetricsResponseTooLargeError,
    SupermetricsServerError,
    SupermetricsUnauthorizedError,
    SupermetricsUnreadableError,
    code_rule,
    is_out_of_memory,
    status_rule,
)

EVERY_CLASS = [
    kind for kind in vars(exceptions).values() if isinstance(kind, type) and issubclass(kind, SupermetricsError)
]


def test_unknown_parts_are_left_out() -> None:
    """They are not printed as None."""
    assert str(SupermetricsServerError("Bad Gateway", status_code=502)) == "HTTP 502: Bad Gateway."
    assert str(SupermetricsError("Why?")) == "Why?"


def test_a_rate_limit_says_when_it_resets() -> None:
    """An hour is normal; the clock time saves the reader from adding it to the time of the log line."""
    before = datetime.now(timezone.utc)
    error = SupermetricsRateLimitError("Slow down.", team_id=1, status_code=429, retry_after=3600.0)
    match = re.fullmatch(
        r"HTTP 429 for team 1: Slow down\. The limit resets at (.{19}) UTC \(retry_after=3600 s\)\.", str(error)
    )
    assert match is not None
    resets_at = datetime.fromisoformat(match[1]).replace(tzinfo=timezone.utc)
    assert timedelta(seconds=-1) <= resets_at - (before + timedelta(hours=1)) < timedelta(seconds=10)


@pytest.mark.parametrize("seconds", [1e12, 1e300, float("inf"), float("nan")])
def test_a_wait_beyond_the_calendar_is_no_error_of_its_own(seconds: float) -> None:
    """A foreign number must not fail the message."""
    assert "The limit does not reset in any foreseeable time" in str(SupermetricsError("m", retry_after=seconds))


@pytest.mark.parametrize("field", ["message", "description"])
def test_a_server_s_text_stays_on_its_line(field: str) -> None:
    """Text from outside must not forge log lines or move a terminal's cursor."""
    forged = "one\r\ntwo\x1b[2J\tthree\x00 \u2028four\x85five "
    texts = {"message": "m", "description": "d", field: forged}
    error = SupermetricsError(texts["message"], description=texts["description"])
    assert getattr(error, field) == "one two [2J three four five"
    assert str(error).isprintable()


@pytest.mark.parametrize("kind", EVERY_CLASS)
def test_every_error_pickles(kind: type[SupermetricsError]) -> None:
    """Process pools and dlt's trace carry errors across processes."""
    error = kind("m", team_id=1, status_code=429, code="C", description="d", request_id="request-1", retry_after=7.5)
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - written on the left
    assert type(copy) is kind
    assert (str(copy), vars(copy)) == (str(error), vars(error))


@pytest.mark.parametrize(
    ("kind", "nature"),
    [
        (SupermetricsConfigurationError, TerminalException),
        (SupermetricsConnectionError, TransientException),
        (SupermetricsUnreadableError, TransientException),
        (SupermetricsContractError, TerminalException),
        (SupermetricsResponseTooLargeError, TerminalException),
        (SupermetricsRequestError, TerminalException),
        (SupermetricsRateLimitError, TransientException),
        (SupermetricsServerError, TransientException),
    ],
)
def test_dlt_knows_whether_a_repetition_helps(kind: type[SupermetricsError], nature: type[BaseException]) -> None:
    """`retry_load` and orchestrators repeat transient errors and give up on terminal ones."""
    assert issubclass(kind, nature)
    assert not issubclass(kind, {TerminalException, TransientException}.difference({nature}).pop())


@pytest.mark.parametrize(
    ("kind", "statuses"),
    [
        (SupermetricsRequestError, [400, 405, 409, 410, 418, 422, 499]),
        (SupermetricsUnauthorizedError, [401]),
        (SupermetricsForbiddenError, [403]),
        (SupermetricsNotFoundError, [404]),
        (SupermetricsRateLimitError, [429]),
        (SupermetricsServerError, [408, 425, 500, 501, 502, 503, 504, 520, 599]),
    ],
)
def test_every_status_has_its_class(kind: type[SupermetricsApiError], statuses: list[int]) -> None:
    """Also a status that the API has never sent so far."""
    assert {status_rule(status).error for status in statuses} == {kind}


def test_every_rule_has_a_reason_and_a_code_has_one_rule() -> None:
    """A contributor adds a status in this table only."""
    rules = [*STATUS_RULES.values(), OTHER_4XX, OTHER_5XX]
    assert all(rule.reason for rule in rules)
    codes = [code for rule in rules for code in rule.codes]
    assert len(codes) == len(set(codes))
    assert {code_rule(code) for code in (None, "", "SOMETHING_NEW")} == {None}


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), True),
        (OSError(errno.ECONNRESET, "reset"), False),
        (ValueError(), False),
    ],
)
def test_a_lack_of_memory_is_recognised(error: BaseException, expected: bool) -> None:
    """Also as the cause of another error."""
    outer = RuntimeError("wrapped")
    outer.__cause__ = error
    assert is_out_of_memory(error) is is_out_of_memory(outer) is expected


def test_the_drawn_tree_is_the_tree_of_the_classes() -> None:
    """Readers choose what to catch from the drawing at the top of the module."""
    parents: list[str] = []
    drawn = {}
    for indent, name in re.findall(r"^    ([│├└─ ]*)(Supermetrics\w+)", exceptions.__doc__ or "", re.MULTILINE):
        depth = len(indent) // 4
        parents[depth:] = [name]
        drawn[name] = parents[depth - 1] if depth else None
    names = {kind: kind.__name__ for kind in EVERY_CLASS}
    real = {name: names.get(kind.__bases__[0]) for kind, name in names.items()}
    assert drawn == real
