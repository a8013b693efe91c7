"""Each fault at each stage of a response: retried with success, or explained by an error that support can trace."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from email.utils import format_datetime
from itertools import product
from typing import Any

import pytest

from supermetrics_connectors.api.client import SupermetricsClient
from supermetrics_connectors.api.listing import list_connectors
from supermetrics_connectors.exceptions import (
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
)
from tests.helpers.clients import settings
from tests.helpers.expectations import TEAM, make_source
from tests.helpers.sandbox import Fault, Sandbox

ATTEMPTS = 3
HTML = b"<html><h1>Bad gateway</h1></html>"

PASSING: dict[str, tuple[Fault, type[SupermetricsError]]] = {
    "429 with seconds": (Fault(429, retry_after=0), SupermetricsRateLimitError),
    "429 with a date": (
        Fault(429, retry_after=format_datetime(datetime.now(timezone.utc), usegmt=True)),
        SupermetricsRateLimitError,
    ),
    "429 without Retry-After": (Fault(429), SupermetricsRateLimitError),
    **{str(status): (Fault(status), SupermetricsServerError) for status in (408, 425, 500, 504, 599)},
    "502 of a gateway": (Fault(502, body=HTML, content_type="text/html"), SupermetricsServerError),
    "503 with Retry-After": (Fault(503, retry_after=0), SupermetricsServerError),
    "200 of a gateway": (Fault(200, body=HTML, content_type="text/html"), SupermetricsUnreadableError),
    "200 with an error": (
        Fault(body=b'{"error": {"code": "INTERNAL_SERVER_ERROR", "message": "Oops."}}'),
        SupermetricsServerError,
    ),
    "200 with garbage": (Fault(200, body=b"\xff\x00\xfe"), SupermetricsUnreadableError),
    "200 with half of the JSON": (Fault(200, body=b'{"count": 1, "conn'), SupermetricsUnreadableError),
    "timeout": (Fault(delay=60), SupermetricsConnectionError),
}
LASTING: dict[str, tuple[Fault, type[SupermetricsError]]] = {
    "redirect": (Fault(302, location="https://elsewhere.example/"), SupermetricsContractError),
    "200 with a lasting error": (
        Fault(body=b'{"error": {"code": "FORBIDDEN", "message": "No."}}'),
        SupermetricsForbiddenError,
    ),
    **{str(status): (Fault(status), SupermetricsRequestError) for status in (400, 409, 418, 422)},
    "401": (Fault(401), SupermetricsUnauthorizedError),
    "403": (Fault(403), SupermetricsForbiddenError),
    "404": (Fault(404), SupermetricsNotFoundError),
}
STAGES = ("before_headers", "in_headers", "mid_body", "after")
CASES = [
    *((name, None) for name in (*PASSING, *LASTING)),
    *product(("500", "200 of a gateway", "timeout", "403", "redirect"), STAGES),
]


@pytest.fixture(autouse=True)
def team(sandbox: Sandbox) -> None:
    """The sandbox has one team with a connector."""
    sandbox.add_connector(TEAM, "A", description="long enough to be cut in its middle")


@contextmanager
def client(base_url: str, token: str = "api_sandbox_not_a_real_key", **given: Any) -> Iterator[SupermetricsClient]:
    """A client whose retries do not wait."""
    usual = {"team_ids": [TEAM], "api_key": token, "base_url": base_url, "request_max_attempts": ATTEMPTS}
    with closing(SupermetricsClient(settings(**{**usual, **given}))) as made:
        yield made


def cut(name: str, stage: Any) -> tuple[Fault, type[SupermetricsError], bool]:
    """The fault with its response cut at a stage, the expected error, and whether a retry may help."""
    fault, expected = {**PASSING, **LASTING}[name]
    may_pass = name in PASSING
    has_body = not 300 <= fault.status < 400
    if stage == "before_headers" or (stage == "mid_body" and has_body):
        expected, may_pass = SupermetricsConnectionError, True
    if stage == "in_headers" and fault.status == 200 and not fault.delay:
        expected = SupermetricsUnreadableError
    return replace(fault, stage=stage), expected, may_pass


@pytest.mark.parametrize(("name", "stage"), CASES)
def test_a_fault_that_stays_is_explained(sandbox: Sandbox, name: str, stage: str | None) -> None:
    """The attempts are bounded and made only where they may help; a request id that was sent is in the error."""
    fault, expected, may_pass = cut(name, stage)
    sandbox.fault(fault, team_id=TEAM, times=99)
    began = time.monotonic()
    with client(sandbox.url, request_timeout=_timeout(fault)) as api, pytest.raises(SupermetricsError) as failed:
        list_connectors(api, TEAM)
    error = failed.value
    seen = len(sandbox.requests)
    if stage == "after" and may_pass:  # an attempt may find the connection closed only once it has been sent
        assert type(error) in (expected, SupermetricsConnectionError)
        assert 1 <= seen <= ATTEMPTS
    else:
        assert (type(error), seen) == (expected, ATTEMPTS if may_pass else 1)
    answered = type(error) is not SupermetricsConnectionError or (stage == "mid_body" and not fault.delay)
    assert error.request_id == (sandbox.requests[-1].request_id if answered else None)
    assert str(error).endswith(f"(request_id={error.request_id})") or error.request_id is None
    assert error.team_id == TEAM
    assert time.monotonic() - began < 30, "a guard against hanging, no measurement"


@pytest.mark.parametrize(("name", "stage"), [case for case in CASES if case[0] in {*PASSING, "403"}])
def test_a_fault_that_passes_is_retried(sandbox: Sandbox, name: str, stage: str | None) -> None:
    """One more request returns the listing; a response that was cut short passes with every status."""
    fault, expected, may_pass = cut(name, stage)
    sandbox.fault(fault, team_id=TEAM)
    with client(sandbox.url, request_timeout=_timeout(fault)) as api:
        if may_pass:
            assert list_connectors(api, TEAM).payload["count"] == 1
        else:
            with pytest.raises(expected):
                list_connectors(api, TEAM)
    assert len(sandbox.requests) == (2 if may_pass else 1)


def _timeout(fault: Fault) -> float:
    """Short only where a test waits for it: a busy machine may take longer to respond."""
    return 0.5 if fault.delay else 60


def test_a_refused_connection_is_retried_and_named(sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    """The server may be restarting. The message has the innermost reason instead of three wrapped exceptions."""
    sandbox.stop()
    caplog.set_level("INFO", "supermetrics_connectors")
    with client(sandbox.url) as api, pytest.raises(SupermetricsConnectionError) as failed:
        list_connectors(api, TEAM)
    assert failed.value.message == (
        f"No complete response from {sandbox.url}: ConnectionRefusedError: [Errno 111] Connection refused"
    )
    assert [f"Attempt {n} of {ATTEMPTS} failed" in caplog.text for n in range(1, 5)] == [True, True, True, False]


def test_a_retry_after_up_to_the_longest_wait_is_waited_out(sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    """As long as the API asks, not shorter and not longer."""
    caplog.set_level("INFO", "supermetrics_connectors")
    sandbox.fault(Fault(429, retry_after=1))
    with client(sandbox.url, max_retry_wait=1) as api:
        list_connectors(api, TEAM)
    first, second = (request.at for request in sandbox.requests)
    assert second - first >= 1
    (logged,) = caplog.messages
    assert logged.startswith(f"Attempt 1 of {ATTEMPTS} failed, next one in 1.0 s: ")


def test_a_retry_after_beyond_the_longest_wait_fails_at_once(sandbox: Sandbox) -> None:
    """With the seconds for a scheduler and words for a person."""
    sandbox.fault(Fault(429, retry_after=2))
    with client(sandbox.url, max_retry_wait=1) as api, pytest.raises(SupermetricsRateLimitError) as failed:
        list_connectors(api, TEAM)
    assert len(sandbox.requests) == 1
    assert failed.value.retry_after == 2
    assert "The limit resets at 20" in str(failed.value)
    assert f"(request_id={sandbox.requests[0].request_id})" in str(failed.value)


def test_a_pause_for_one_team_is_a_pause_for_all(sandbox: Sandbox) -> None:
    """The limit is the token's: no thread makes a further request before the pause is over."""
    teams = list(range(1, 41))
    for team_id in teams:
        sandbox.add_connector(team_id, "A")
    sandbox.fault(Fault(429, retry_after=2), team_id=1)
    for team_id in teams[1:10]:
        sandbox.fault(Fault(delay=1), team_id=team_id)  # the pause is known long before they are answered
    (table,) = list(make_source(sandbox, *teams, workers=10).connectors)
    assert table.num_rows == 40
    assert len(sandbox.requests) == 41
    (paused_at,) = [request.at for request in sandbox.requests if request.status == 429]
    early = [r.team_id for r in sandbox.requests if r.at < paused_at + 2]
    assert set(early) <= set(teams[:10])
    assert len(early) == len(set(early))


@pytest.mark.parametrize("fault", [Fault(hang=True), Fault(drip=0.05), Fault(delay=60)])
def test_a_server_that_hangs_or_drips_does_not_hold_the_run(sandbox: Sandbox, fault: Fault) -> None:
    """An attempt ends when its time is up, also if bytes keep coming; one more read may be added."""
    sandbox.fault(fault, times=99)
    began = time.monotonic()
    with client(sandbox.url, request_timeout=0.3) as api, pytest.raises(SupermetricsConnectionError):
        list_connectors(api, TEAM)
    assert 0.3 * ATTEMPTS <= time.monotonic() - began < 0.3 * 2 * ATTEMPTS + 10
