"""Errors say everything in one line, carry it as attributes, and say whether a repetition helps."""

from __future__ import annotations

import errno
import pickle
import re
from datetime import datetime, timedelta, timezone

import pytest

from supermetrics_connectors import exceptions
from supermetrics_connectors.exceptions import (
    SupermetricsError,
    SupermetricsRateLimitError,
    SupermetricsServerError,
    is_out_of_memory,
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
