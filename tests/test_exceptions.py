"""Errors say all they know in one line, carry it as attributes, and tell dlt whether a repetition helps."""

from __future__ import annotations

import pickle
import re
from datetime import datetime, timedelta, timezone

import pytest
from dlt.common.exceptions import TerminalException, TransientException

from supermetrics_connectors import exceptions
from supermetrics_connectors.exceptions import (
    SupermetricsApiError,
    SupermetricsConfigurationError,
    SupermetricsConnectionError,
    SupermetricsContractError,
    SupermetricsError,
    SupermetricsForbiddenError,
    SupermetricsNotFoundError,
    SupermetricsRateLimitError,
    SupermetricsRequestError,
    SupermetricsServerError,
    SupermetricsUnauthorizedError,
    SupermetricsUnreadableError,
    api_error_class,
)

EVERY_CLASS = [
    kind for kind in vars(exceptions).values() if isinstance(kind, type) and issubclass(kind, SupermetricsError)
]


def test_an_error_reads_as_one_line_with_everything_in_it() -> None:
    """A failure's text is often all that reaches the person on call."""
    error = SupermetricsForbiddenError(
        "You do not have access to this resource.",
        team_id=936506,
        status_code=403,
        code="FORBIDDEN",
        description="The token's owner left the team",
        request_id="BXaEFVtjc7TXaJxgZhmFgSUD9edqq_CN",
    )
    assert str(error) == (
        "HTTP 403 FORBIDDEN for team 936506: You do not have access to this resource. The token's owner left the team. "
        "Check that the API key's owner belongs to this team. (request_id=BXaEFVtjc7TXaJxgZhmFgSUD9edqq_CN)"
    )


def test_an_error_that_knows_little_says_no_none() -> None:
    """Parts that are unknown are left out, not printed as None."""
    assert str(SupermetricsServerError("Bad Gateway", status_code=502)) == "HTTP 502: Bad Gateway."
    assert str(SupermetricsError("Why?")) == "Why?"


def test_a_rate_limit_says_when_to_come_back() -> None:
    """An hour is normal; the clock time saves the reader from adding it to the time of the log line."""
    before = datetime.now(timezone.utc)
    error = SupermetricsRateLimitError("Slow down.", team_id=1, status_code=429, retry_after=3600.0)
    told = re.fullmatch(
        r"HTTP 429 for team 1: Slow down\. The limit resets at (.{19}) UTC \(retry_after=3600 s\)\.", str(error)
    )
    assert told is not None
    resets_at = datetime.fromisoformat(told[1]).replace(tzinfo=timezone.utc)
    assert timedelta(seconds=-1) <= resets_at - (before + timedelta(hours=1)) < timedelta(seconds=10)


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
        (SupermetricsRequestError, TerminalException),
        (SupermetricsUnauthorizedError, TerminalException),
        (SupermetricsForbiddenError, TerminalException),
        (SupermetricsNotFoundError, TerminalException),
        (SupermetricsRateLimitError, TransientException),
        (SupermetricsServerError, TransientException),
    ],
)
def test_dlt_knows_whether_a_repetition_helps(kind: type[SupermetricsError], nature: type[BaseException]) -> None:
    """`retry_load` and orchestrators repeat what is transient and give up on what is terminal."""
    assert issubclass(kind, nature)
    assert not issubclass(kind, {TerminalException, TransientException}.difference({nature}).pop())


@pytest.mark.parametrize(
    ("status_code", "kind"),
    [
        (400, SupermetricsRequestError),
        (401, SupermetricsUnauthorizedError),
        (403, SupermetricsForbiddenError),
        (404, SupermetricsNotFoundError),
        (409, SupermetricsRequestError),
        (418, SupermetricsRequestError),
        (422, SupermetricsRequestError),
        (429, SupermetricsRateLimitError),
        (500, SupermetricsServerError),
        (503, SupermetricsServerError),
        (599, SupermetricsServerError),
    ],
)
def test_every_status_has_its_class(status_code: int, kind: type[SupermetricsApiError]) -> None:
    """Also a status that the API has never sent so far."""
    assert api_error_class(status_code) is kind


def test_the_tree_that_is_drawn_is_the_tree_there_is() -> None:
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
