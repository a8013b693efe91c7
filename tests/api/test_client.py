"""One request a team, over real HTTP: an answer, or a typed error that support can trace."""

from __future__ import annotations

import gzip
import logging
import pickle
import re
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import pytest

from supermetrics_connectors.api.client import SupermetricsClient
from supermetrics_connectors.api.listing import list_connectors
from supermetrics_connectors.exceptions import (
    SupermetricsApiError,
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
from supermetrics_connectors.settings import resolve
from supermetrics_loader.sandbox import Fault, Sandbox

TEAM = 936506
PATH = f"/v1/teams/{TEAM}/connector_builder/connectors"
EMPTY = b'{"count":0,"connectors":[]}'
CHUNKED = {"Content-Length": None, "Transfer-Encoding": "chunked"}
REPEATABLE = "the run can be repeated as it is."

Connect = Callable[..., SupermetricsClient]


@pytest.fixture
def connect(sandbox: Sandbox) -> Iterator[Connect]:
    """Makes clients of the sandbox, which has one team with one connector. They try once unless told otherwise."""
    sandbox.add_connector(TEAM, "A", configuration={"version": "1", "configuration_json": {}})
    clients = []

    def make(**given: Any) -> SupermetricsClient:
        settings = {
            "team_ids": [TEAM],
            "api_key": sandbox.token,
            "base_url": sandbox.url,
            "request_max_attempts": 1,
            "request_backoff_factor": 0,
            **given,
        }
        clients.append(SupermetricsClient(resolve(**settings)))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


def failure(client: SupermetricsClient) -> SupermetricsError:
    """The error that asking for the team ends in."""
    with pytest.raises(SupermetricsError) as failed:
        list_connectors(client, TEAM)
    return failed.value


# --- the request and its answer ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("include_configs", [True, False])
def test_the_request_is_the_documented_one(sandbox: Sandbox, connect: Connect, include_configs: bool) -> None:
    """Path, the lower-case boolean and the bearer token are all the API is asked with."""
    list_connectors(connect(), TEAM, *([True] if include_configs else []))
    (request,) = sandbox.requests
    assert (request.method, request.path) == ("GET", PATH)
    assert request.query == {"include_configs": "true" if include_configs else "false"}
    assert request.headers["authorization"] == f"Bearer {sandbox.token}"
    assert "cookie" not in request.headers


def test_a_key_with_bearer_is_sent_with_one(sandbox: Sandbox, connect: Connect) -> None:
    """Not `Bearer Bearer`."""
    list_connectors(connect(api_key=f"Bearer {sandbox.token}"), TEAM)
    assert sandbox.requests[0].headers["authorization"] == f"Bearer {sandbox.token}"


def test_a_base_url_may_have_a_path(sandbox: Sandbox, connect: Connect) -> None:
    """Company proxies put the API below a folder."""
    failure(connect(base_url=f"{sandbox.url}/proxy/"))
    assert sandbox.requests[0].path == f"/proxy{PATH}"


@pytest.mark.parametrize("fault", [Fault(hang=True), Fault(drip=5.0), Fault(delay=200)], ids=["head", "body", "late"])
def test_a_client_that_is_closed_awaits_nothing(sandbox: Sandbox, connect: Connect, fault: Fault) -> None:
    """Whoever stops a run leaves at once, and its threads with it: the process would wait for them."""
    client = connect(request_timeout=300, request_max_attempts=5)
    sandbox.fault(fault, times=5)
    failures: list[SupermetricsError] = []
    threads = [threading.Thread(target=lambda: failures.append(failure(client)), daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    while len(sandbox.requests) < len(threads):
        time.sleep(0.01)
    client.close()
    for thread in threads:
        thread.join(timeout=20)
    assert [type(error) for error in failures] == [SupermetricsConnectionError] * 3
    assert len(sandbox.requests) == 3


def test_the_answer_has_the_payload_and_what_the_headers_say(sandbox: Sandbox, connect: Connect) -> None:
    """Request id and remaining requests end in `team_syncs`; the size bounds the memory of a batch."""
    answer = list_connectors(connect(), TEAM, include_configs=True)
    assert answer.payload == {"count": 1, "connectors": sandbox.connectors(TEAM)}
    assert (answer.status_code, answer.request_id) == (200, sandbox.requests[0].request_id)
    assert (answer.rate_limit_remaining, answer.size > 100) == (4999, True)


@pytest.mark.parametrize("value", [None, "soon", "-1", ""])
def test_an_answer_without_helpful_headers_is_an_answer(sandbox: Sandbox, connect: Connect, value: str | None) -> None:
    """No data depends on them."""
    sandbox.fault(Fault(headers={"X-RateLimit-Remaining": value, "X-Request-Id": None}))
    answer = list_connectors(connect(), TEAM)
    assert (answer.rate_limit_remaining, answer.request_id) == (None, None)


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (gzip.compress(EMPTY), {"Content-Encoding": "gzip"}),
        (b"5\r\n" + EMPTY[:5] + b"\r\n%x\r\n" % len(EMPTY[5:]) + EMPTY[5:] + b"\r\n0\r\n\r\n", CHUNKED),
        (EMPTY, {"Content-Length": None}),
    ],
    ids=["gzip", "chunked", "until the connection closes"],
)
def test_a_body_is_read_however_it_is_sent(
    sandbox: Sandbox, connect: Connect, body: bytes, headers: dict[str, str | None]
) -> None:
    """The server chooses; which way must not show."""
    sandbox.fault(Fault(body=body, headers=headers))
    assert list_connectors(connect(), TEAM).payload == {"count": 0, "connectors": []}


def test_connections_are_kept(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    """A handshake for each of a hundred teams would cost more than the answers."""
    caplog.set_level(logging.DEBUG, "urllib3")
    client = connect()
    for _ in range(3):
        list_connectors(client, TEAM)
    assert caplog.text.count("Starting new HTTP connection") == 1


def test_a_connection_closed_in_the_meantime_is_replaced(sandbox: Sandbox, connect: Connect) -> None:
    """Servers close idle connections; the next team must not suffer for it."""
    sandbox.fault(Fault(stage="after"))
    client = connect(request_max_attempts=2)
    assert [list_connectors(client, TEAM).payload["count"] for _ in range(2)] == [1, 1]


# --- errors of the API ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind", "text"),
    [
        (400, SupermetricsRequestError, "HTTP 400 BAD_REQUEST for team 936506: The request was invalid."),
        (
            401,
            SupermetricsUnauthorizedError,
            (
                "HTTP 401 UNAUTHORIZED for team 936506: The access token is missing or not valid. "
                "The key came from the argument api_key. Check the API key: it may be mistyped, expired or revoked."
            ),
        ),
        (
            403,
            SupermetricsForbiddenError,
            (
                "HTTP 403 FORBIDDEN for team 936506: You do not have access to this resource. "
                "Check that the API key's owner belongs to this team."
            ),
        ),
        (
            404,
            SupermetricsNotFoundError,
            "HTTP 404 NOT_FOUND for team 936506: The requested resource was not found. Check the team id and base_url.",
        ),
        (
            409,
            SupermetricsRequestError,
            "HTTP 409 CONFLICT_ERROR for team 936506: The request conflicts with what is already there.",
        ),
        (
            422,
            SupermetricsRequestError,
            "HTTP 422 UNPROCESSABLE_ENTITY for team 936506: The request was understood but cannot be processed.",
        ),
        (
            429,
            SupermetricsRateLimitError,
            "HTTP 429 TOO_MANY_REQUESTS for team 936506: Rate limit exceeded. Retry later.",
        ),
        (
            500,
            SupermetricsServerError,
            "HTTP 500 INTERNAL_SERVER_ERROR for team 936506: Something went wrong on our side.",
        ),
        (502, SupermetricsServerError, "HTTP 502 BAD_GATEWAY for team 936506: Bad Gateway."),
        (
            503,
            SupermetricsServerError,
            "HTTP 503 SERVICE_UNAVAILABLE for team 936506: The service is temporarily unavailable.",
        ),
    ],
)
def test_every_status_becomes_its_error(
    sandbox: Sandbox, connect: Connect, status: int, kind: type[SupermetricsApiError], text: str
) -> None:
    """The exact text: it is an interface for whoever reads logs."""
    sandbox.fault(Fault(status, request_id="BXaEFVtjc7TXaJxgZhmFgSUD9edqq_CN"))
    error = failure(connect())
    assert type(error) is kind
    assert str(error) == f"{text} (request_id=BXaEFVtjc7TXaJxgZhmFgSUD9edqq_CN)"


def test_an_error_has_all_that_the_envelope_says(sandbox: Sandbox, connect: Connect) -> None:
    """As attributes, for programs, and still there after pickling."""
    sandbox.fault(
        Fault(
            429, code="SLOW_DOWN", message="Slow.", description="Why so fast", retry_after=3600, request_id="req-0001"
        )
    )
    error = failure(connect())
    assert {name: getattr(error, name) for name in vars(error) if not name.startswith("_")} == {
        "status_code": 429,
        "code": "SLOW_DOWN",
        "message": "Slow.",
        "description": "Why so fast",
        "request_id": "req-0001",
        "team_id": TEAM,
        "retry_after": 3600.0,
        "key_from": None,
    }
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - written on the left
    assert (str(copy), vars(copy)) == (str(error), vars(error))
    assert "Slow. Why so fast. The limit resets at " in str(error)


@pytest.mark.parametrize(
    ("fault", "request_id"),
    [
        (Fault(500, request_id="in-body-1", headers={"X-Request-Id": "in-header"}), "in-body-1"),
        (Fault(500, request_id="in-body-1", headers={"X-Request-Id": None}), "in-body-1"),
        (Fault(500, body=b"<html>", content_type="text/html", headers={"X-Request-Id": "in-header"}), "in-header"),
        (Fault(500, request_id=None, headers={"X-Request-Id": "in-header"}), "in-header"),
        (Fault(500, request_id=None), None),
        (Fault(500, request_id="not an id", headers={"X-Request-Id": "<script>"}), None),
    ],
    ids=["both", "body", "header of html", "header of envelope", "nowhere", "nonsense"],
)
def test_the_request_id_is_taken_from_wherever_it_is(
    sandbox: Sandbox, connect: Connect, fault: Fault, request_id: str | None
) -> None:
    """The envelope's own is the one support knows; behind a gateway only the header has it."""
    sandbox.fault(fault)
    error = failure(connect())
    assert error.request_id == request_id
    assert str(error).endswith(f" (request_id={request_id})") is (request_id is not None)


@pytest.mark.parametrize(
    ("body", "content_type", "described"),
    [
        (b"<html><h1>502</h1></html>", "text/html; charset=utf-8", "25 bytes of text/html"),
        (b"", "text/plain", "0 bytes of text/plain"),
        (b"\xff\xfe", "application/json", "2 bytes of application/json"),
        (b'"oops"', "application/json", "6 bytes of application/json"),
        (b"[]", "application/json", "2 bytes of application/json"),
        (b'{"error": "broken", "meta": 7}', "application/json", "30 bytes of application/json"),
        (b'{"error": {"message": 5, "code": {}}}', "application/json", "37 bytes of application/json"),
    ],
)
def test_an_error_that_is_not_the_envelope_is_described(
    sandbox: Sandbox, connect: Connect, body: bytes, content_type: str, described: str
) -> None:
    """Gateways write their own pages: what came is told, never the page itself."""
    sandbox.fault(Fault(502, body=body, content_type=content_type, request_id="behind-it"))
    error = failure(connect())
    assert str(error) == f"HTTP 502 for team 936506: Bad Gateway ({described}). (request_id=behind-it)"
    assert (error.code, error.description) == (None, None)


def test_what_the_server_says_is_scrubbed_of_the_token(sandbox: Sandbox, connect: Connect) -> None:
    """Some servers quote the credential they refuse."""
    said = f"The token {sandbox.token} is revoked"
    sandbox.fault(Fault(401, message=said, description=said))
    error = failure(connect())
    assert (error.message, error.description) == ("The token *** is revoked", "The token *** is revoked")
    assert sandbox.token not in str(error)


# --- answers that are none --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "content_type", "arrived"),
    [
        (b"<html>Sign in to the guest Wi-Fi</html>", "text/html", "39 bytes of text/html"),
        (b"", "application/json", "0 bytes of application/json"),
        (b'{"count": 1, "connectors": [{"connec', "application/json", "36 bytes of application/json"),
        (b"null", "application/json", "4 bytes of application/json"),
        (b'{"count": 01}', "application/json", "13 bytes of application/json"),
        (b"\xef\xbb\xbf<html>", "application/json", "9 bytes of application/json"),
        ('{"count": 0}'.encode("utf-16"), "application/json", "26 bytes of application/json"),
        (b'{"name": "\xed\xa0\x80"}', "application/json", "15 bytes of application/json"),
    ],
)
def test_a_200_that_is_not_json_is_unreadable(
    sandbox: Sandbox, connect: Connect, body: bytes, content_type: str, arrived: str
) -> None:
    """A gateway's page is not the API's fault, and may be gone in a moment."""
    sandbox.fault(Fault(body=body, content_type=content_type, request_id="behind-it"))
    error = failure(connect())
    assert type(error) is SupermetricsUnreadableError
    assert str(error) == (
        f"HTTP 200 for team 936506: Expected JSON, {arrived} arrived. "
        f"A gateway or proxy in front of the API is the likely author; {REPEATABLE} (request_id=behind-it)"
    )


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b'{"count": NaN}', "NaN arrived in $.count"),
        (
            b'{"connectors": [{}, {"x": -Infinity}]}',
            "a number beyond what a double can hold arrived in $.connectors[1].x",
        ),
        (b'{"x": {"a b": [1e400]}}', 'a number beyond what a double can hold arrived in $.x["a b"][0]'),
        (b'{"x": -1E+999}', "a number beyond what a double can hold arrived in $.x"),
        (b'{"x": 1e-400}', "a number beyond what a double can hold arrived in $.x"),
        (b'{"x": %s}' % (b"9" * 5000), "a number beyond what a double can hold arrived in $.x"),
        (rb'{"name": "\ud83d"}', "a text with half of a surrogate pair arrived in $.name"),
        (rb'["\ude00\ud83d"]', "a text with half of a surrogate pair arrived in $[0]"),
        (rb'{"x": [{"\ud83d": 1}]}', "a name with half of a surrogate pair arrived in $.x[0]"),
        (b"[" * 1500 + b"]" * 1500, "more levels of nesting than can be read arrived in $"),
    ],
)
def test_json_that_cannot_be_kept_is_the_apis_and_named(
    sandbox: Sandbox, connect: Connect, body: bytes, what: str
) -> None:
    """No gateway wrote it and no repetition makes it another; whoever maintains the connector has to find the place."""
    sandbox.fault(Fault(body=body), times=99)
    error = failure(connect(request_max_attempts=5))
    assert type(error) is SupermetricsContractError
    assert error.message == f"Expected JSON that can be stored, {what}"
    assert len(sandbox.requests) == 1


def test_a_byte_order_mark_is_skipped(sandbox: Sandbox, connect: Connect) -> None:
    """In the listing and in an error; RFC 8259 lets a reader do so."""
    mark = b"\xef\xbb\xbf"
    sandbox.fault(Fault(body=mark + EMPTY))
    sandbox.fault(Fault(403, body=mark + b'{"error": {"code": "FORBIDDEN", "message": "No."}}'))
    client = connect()
    assert list_connectors(client, TEAM).payload == {"count": 0, "connectors": []}
    assert failure(client).code == "FORBIDDEN"


def test_a_redirect_is_not_followed(sandbox: Sandbox, connect: Connect) -> None:
    """The API never redirects, and a token must not go where somebody else points."""
    with Sandbox(teams={TEAM: []}) as elsewhere:
        sandbox.fault(Fault(302, location=elsewhere.url + PATH, request_id="moved-001"))
        error = failure(connect())
        assert elsewhere.requests == []
    assert type(error) is SupermetricsContractError
    assert str(error) == (
        "HTTP 302 for team 936506: Expected status 200, the API answered 302 (a redirect, which is not followed). "
        "Nothing of this team was loaded or removed. Report it to Supermetrics support with the request id. "
        "(request_id=moved-001)"
    )


def test_another_success_than_200_is_no_listing(sandbox: Sandbox, connect: Connect) -> None:
    """A 204 or 206 is not the whole truth about a team."""
    sandbox.fault(Fault(206))
    error = failure(connect())
    assert (type(error), error.status_code) == (SupermetricsContractError, 206)
    assert error.message == "Expected status 200, the API answered 206"


@pytest.mark.parametrize(
    "fault",
    [
        Fault(stage="before_headers"),
        Fault(stage="mid_body"),
        Fault(stage="mid_body", body=b"1b\r\n" + EMPTY + b"\r\n0\r\n\r\n", headers=CHUNKED),
        Fault(body=b"no gzip", headers={"Content-Encoding": "gzip"}),
    ],
    ids=["before", "in the middle", "in a chunk", "no gzip"],
)
def test_an_answer_cut_short_is_a_connection_error(sandbox: Sandbox, connect: Connect, fault: Fault) -> None:
    """Half a listing must never count as one."""
    sandbox.fault(fault)
    error = failure(connect())
    assert type(error) is SupermetricsConnectionError
    assert (error.team_id, error.status_code) == (TEAM, None)
    assert str(error).startswith(f"Team 936506: No whole answer from {sandbox.url}: ")
    assert f". Check base_url, the network and any proxy; {REPEATABLE}" in str(error)
    assert error.request_id == sandbox.requests[0].request_id, "its head had come"


def test_an_answer_cut_in_its_headers_is_unreadable(sandbox: Sandbox, connect: Connect) -> None:
    """Python's http.client takes it for a whole answer without a body; either way it can be repeated."""
    sandbox.fault(Fault(stage="in_headers"))
    error = failure(connect())
    assert type(error) is SupermetricsUnreadableError
    assert error.message.startswith("Expected JSON, 0 bytes of ")


def test_a_server_that_is_not_there_is_named(sandbox: Sandbox, connect: Connect) -> None:
    """The innermost reason in words, instead of three wrapped exceptions."""
    client = connect()
    sandbox.stop()
    assert failure(client).message == (
        f"No whole answer from {sandbox.url}: ConnectionRefusedError: [Errno 111] Connection refused"
    )


@pytest.mark.parametrize(
    "fault", [Fault(hang=True), Fault(delay=30), Fault(drip=0.25)], ids=["silent", "late", "dripping"]
)
def test_an_answer_ends_after_the_timeout(sandbox: Sandbox, connect: Connect, fault: Fault) -> None:
    """Seconds for the whole answer: a server that sends a byte now and then must not hold a run for ever."""
    sandbox.fault(fault)
    start = time.monotonic()
    error = failure(connect(request_timeout=0.3))
    assert type(error) is SupermetricsConnectionError
    assert re.search(r"timed out|not complete in time", str(error))
    assert time.monotonic() - start < 15


# --- retries ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        Fault(429),
        Fault(500),
        Fault(503, retry_after=0),
        Fault(599),
        Fault(body=b"<html>", content_type="text/html"),
        Fault(stage="mid_body"),
        Fault(stage="before_headers"),
    ],
    ids=["429", "500", "503", "599", "html", "cut", "reset"],
)
def test_what_may_pass_is_tried_again(sandbox: Sandbox, connect: Connect, fault: Fault) -> None:
    """Short outages are nobody's business."""
    sandbox.fault(fault, times=2)
    assert list_connectors(connect(request_max_attempts=3), TEAM).payload["count"] == 1
    assert len(sandbox.requests) == 3


def test_attempts_end(sandbox: Sandbox, connect: Connect) -> None:
    """The last error is the one that is told."""
    sandbox.fault(Fault(500), times=2)
    sandbox.fault(Fault(503), times=99)
    assert failure(connect(request_max_attempts=3)).status_code == 503
    assert len(sandbox.requests) == 3


@pytest.mark.parametrize("fault", [Fault(400), Fault(401), Fault(403), Fault(404), Fault(409), Fault(422), Fault(302)])
def test_what_cannot_heal_is_not_tried_again(sandbox: Sandbox, connect: Connect, fault: Fault) -> None:
    """Repeating it costs rate limit and time, and hides the answer."""
    sandbox.fault(fault, times=99)
    failure(connect(request_max_attempts=5))
    assert len(sandbox.requests) == 1


@pytest.mark.parametrize("retry_after", [3600, 121])
def test_a_long_retry_after_fails_at_once(sandbox: Sandbox, connect: Connect, retry_after: int) -> None:
    """An hour is normal for this API: the scheduler should wait, not a process."""
    sandbox.fault(Fault(429, retry_after=retry_after), times=99)
    error = failure(connect(request_max_attempts=5, max_retry_wait=120))
    assert (type(error), error.retry_after) == (SupermetricsRateLimitError, retry_after)
    assert len(sandbox.requests) == 1


def test_a_retry_after_may_be_a_date(sandbox: Sandbox, connect: Connect) -> None:
    """HTTP allows both; a proxy may prefer the other."""
    at = datetime.now(timezone.utc) + timedelta(hours=1)
    sandbox.fault(Fault(503, retry_after=format_datetime(at, usegmt=True)))
    retry_after = failure(connect()).retry_after
    assert retry_after == pytest.approx(3600, abs=5)


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [
        ("1, 2", 2),
        ("120,30", 120),
        ("soon, 7", 7),
        ("5, -5", 5),
        ("Wed, 21 Oct 2015 07:28:00 GMT, 60", 60),
        ("60, Wed, 21 Oct 2015 07:28:00 GMT, 30", 60),
        ("Wed, 21 Oct 2015 07:28:00 GMT, Sun, 06 Nov 1994 08:49:37 GMT", 0),
    ],
)
def test_of_several_retry_afters_the_longest_counts(
    sandbox: Sandbox, connect: Connect, retry_after: str, seconds: float
) -> None:
    """A proxy may add its own to the API's, and whoever waits too short is refused again."""
    sandbox.fault(Fault(429, retry_after=retry_after))
    assert failure(connect()).retry_after == seconds


@pytest.mark.parametrize("retry_after", ["soon", "", "-5", "1e3", "Mon, 99 Foo 2025", ",", "soon, later"])
def test_a_senseless_retry_after_is_none(sandbox: Sandbox, connect: Connect, retry_after: str) -> None:
    """It must neither crash nor decide anything."""
    sandbox.fault(Fault(503, retry_after=retry_after))
    assert failure(connect()).retry_after is None


def test_a_closed_client_waits_for_nothing(sandbox: Sandbox, connect: Connect) -> None:
    """When one team has failed the run is over, and no thread may sleep on."""
    sandbox.fault(Fault(503, retry_after=60), times=99)
    client = connect(request_max_attempts=5)
    client.pause.hold(60)
    client.close()
    start = time.monotonic()
    failure(client)
    assert time.monotonic() - start < 30
    assert len(sandbox.requests) == 1


# --- the token --------------------------------------------------------------------------------------------------------


def test_the_token_is_in_no_repr(sandbox: Sandbox, connect: Connect) -> None:
    """Debuggers and error reporters print objects."""
    client = connect()
    assert repr(client) == f"SupermetricsClient('{sandbox.url}')"
    assert sandbox.token not in "".join(map(repr, vars(client).values()))


@pytest.mark.parametrize("fault", [Fault(403), Fault(stage="mid_body"), Fault(body=b"<html>")])
def test_the_token_is_in_no_traceback(sandbox: Sandbox, connect: Connect, fault: Fault) -> None:
    """Error reporters send the locals of every frame, and urllib3's hold the headers."""
    sandbox.fault(fault)
    client = connect(api_key="api_0f_th1s_t3st_0nly")
    try:
        list_connectors(client, TEAM)
    except SupermetricsError as error:
        report = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert "list_connectors" in report
    assert client._auth.api_key not in report


def test_the_token_is_in_no_log(sandbox: Sandbox, connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    """Also at DEBUG, where some libraries print headers."""
    caplog.set_level(logging.DEBUG)
    sandbox.fault(Fault(503))
    with closing(connect(request_max_attempts=2)) as client:
        list_connectors(client, TEAM)
    assert "Attempt 1 of 2 failed, 0.0 s before a next one: HTTP 503 SERVICE_UNAVAILABLE" in caplog.text
    assert sandbox.token not in caplog.text
