"""Requests over real HTTP: a response, or a typed error that support can trace."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import pytest

from supermetrics_connectors.api.client import SupermetricsClient
from supermetrics_connectors.api.listing import list_connectors
from supermetrics_connectors.api.retries import MAX_RETRY_AFTER
from supermetrics_connectors.exceptions import (
    STATUS_RULES,
    SupermetricsConnectionError,
    SupermetricsContractError,
    SupermetricsError,
    SupermetricsUnreadableError,
    status_rule,
)
from tests.helpers.clients import settings
from tests.helpers.sandbox import Fault, Sandbox

TEAM = 936506
PATH = f"/v1/teams/{TEAM}/connector_builder/connectors"
EMPTY = b'{"count":0,"connectors":[]}'
CHUNKED = {"Content-Length": None, "Transfer-Encoding": "chunked"}


REPEATABLE = "a later run may succeed."

Connect = Callable[..., SupermetricsClient]


@pytest.fixture
def connect(sandbox: Sandbox) -> Iterator[Connect]:
    """Makes clients of the sandbox, which has one team with one connector. They make one attempt by default."""
    sandbox.add_connector(TEAM, "A", configuration={"version": "1", "configuration_json": {}})
    clients = []

    def make(**given: Any) -> SupermetricsClient:
        usual = {"api_key": sandbox.token, "base_url": sandbox.url, "request_max_attempts": 1}
        clients.append(SupermetricsClient(settings(**{**usual, **given})))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


def failure(client: SupermetricsClient) -> SupermetricsError:
    """The error of a request for the team."""
    with pytest.raises(SupermetricsError) as failed:
        list_connectors(client, TEAM)
    return failed.value


# --- the request and its response -------------------------------------------------------------------------------------


@pytest.mark.parametrize("include_configs", [True, False])
@pytest.mark.parametrize("scheme", ["", "Bearer "])
def test_the_request_is_the_documented_one(
    sandbox: Sandbox, connect: Connect, scheme: str, include_configs: bool
) -> None:
    """Path, the lower-case boolean and the bearer token, which people may have copied with its scheme."""
    list_connectors(connect(api_key=scheme + sandbox.token), TEAM, include_configs)
    (request,) = sandbox.requests
    assert (request.method, request.path) == ("GET", PATH)
    assert request.query == {"include_configs": "true" if include_configs else "false"}
    assert request.headers["authorization"] == f"Bearer {sandbox.token}"
    assert "cookie" not in request.headers


def test_a_base_url_may_have_a_path(sandbox: Sandbox, connect: Connect) -> None:
    """Company proxies put the API below a folder."""
    failure(connect(base_url=f"{sandbox.url}/proxy/"))
    assert sandbox.requests[0].path == f"/proxy{PATH}"


@pytest.mark.parametrize("fault", [Fault(hang=True), Fault(drip=5.0), Fault(delay=200)], ids=["head", "body", "late"])
def test_a_closed_client_waits_for_no_response(sandbox: Sandbox, connect: Connect, fault: Fault) -> None:
    """A stopped run ends at once, and its threads with it: the process would wait for them."""
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


def test_a_response_has_the_payload_and_the_values_of_its_headers(sandbox: Sandbox, connect: Connect) -> None:
    """Request id and remaining requests end in `team_syncs`; the size bounds the memory of a batch."""
    response = list_connectors(connect(), TEAM, include_configs=True)
    assert response.payload == {"count": 1, "connectors": sandbox.connectors(TEAM)}
    assert (response.status_code, response.request_id) == (200, sandbox.requests[0].request_id)
    assert (response.rate_limit_remaining, response.size > 100) == (4999, True)


@pytest.mark.parametrize("value", [None, "soon", "-1", ""])
def test_a_response_without_helpful_headers_is_a_response(
    sandbox: Sandbox, connect: Connect, value: str | None
) -> None:
    """No data depends on them."""
    sandbox.fault(Fault(headers={"X-RateLimit-Remaining": value, "X-Request-Id": None}))
    response = list_connectors(connect(), TEAM)
    assert (response.rate_limit_remaining, response.request_id) == (None, None)


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (gzip.compress(EMPTY), {"Content-Encoding": "gzip"}),
        (b"5\r\n" + EMPTY[:5] + b"\r\n%x\r\n" % len(EMPTY[5:]) + EMPTY[5:] + b"\r\n0\r\n\r\n", CHUNKED),
        (EMPTY, {"Content-Length": None}),
        (b"\xef\xbb\xbf" + EMPTY, {}),
    ],
    ids=["gzip", "chunked", "until the connection closes", "byte order mark"],
)
def test_a_body_is_read_however_it_is_sent(
    sandbox: Sandbox, connect: Connect, body: bytes, headers: dict[str, str | None]
) -> None:
    """The server chooses, and the result is the same."""
    sandbox.fault(Fault(body=body, headers=headers))
    assert list_connectors(connect(), TEAM).payload == {"count": 0, "connectors": []}


def test_a_connection_that_the_server_closed_is_replaced(sandbox: Sandbox, connect: Connect) -> None:
    """Servers close idle connections; the next team must not suffer for it."""
    sandbox.fault(Fault(stage="after"))
    client = connect(request_max_attempts=2)
    assert [list_connectors(client, TEAM).payload["count"] for _ in range(2)] == [1, 1]


# --- errors of the API ------------------------------------------------------------------------------------------------

CHECK_KEY = "Check the API key: it may be mistyped, expired or revoked."
STATUSES = {
    401: (
        "UNAUTHORIZED",
        f"The access token is missing or not valid. The key came from the argument api_key. {CHECK_KEY}",
    ),
    403: (
        "FORBIDDEN",
        "You do not have access to this resource. Check that the API key's owner belongs to this team.",
    ),
    404: ("NOT_FOUND", "The requested resource was not found. Check the team id and base_url."),
    422: ("UNPROCESSABLE_ENTITY", "The request was understood but cannot be processed."),
    429: ("TOO_MANY_REQUESTS", "Rate limit exceeded. Retry later."),
    502: ("BAD_GATEWAY", "Bad Gateway."),
}


@pytest.mark.parametrize("status", STATUSES)
def test_every_status_becomes_its_error(sandbox: Sandbox, connect: Connect, status: int) -> None:
    """The exact text: people read it in logs."""
    sandbox.fault(Fault(status, request_id="BXaEFVtjc7TXaJxgZhmFgSUD9edqq_CN"))
    error = failure(connect())
    code, text = STATUSES[status]
    assert type(error) is status_rule(status).error
    assert str(error) == f"HTTP {status} {code} for team 936506: {text} (request_id=BXaEFVtjc7TXaJxgZhmFgSUD9edqq_CN)"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        *((code, rule.error) for rule in STATUS_RULES.values() for code in rule.codes),
        ("SOMETHING_NEW", SupermetricsContractError),
    ],
)
@pytest.mark.parametrize("more", ["", '"count": 0, "connectors": [], '])
def test_an_error_envelope_in_a_200_is_the_error_of_its_code(
    sandbox: Sandbox, connect: Connect, code: str, kind: type[SupermetricsError], more: str
) -> None:
    """A gateway may lose the status; an empty list beside the error must not empty the team."""
    envelope = f'{{{more}"meta": {{"request_id": "req-0001"}}, "error": {{"code": "{code}", "message": "No."}}}}'
    sandbox.fault(Fault(200, body=envelope.encode(), headers={"X-Request-Id": None}))
    error = failure(connect())
    assert (type(error), error.code, error.message) == (kind, code, "No.")
    assert (error.status_code, error.request_id) == (200, "req-0001")


@pytest.mark.parametrize("value", ["null", "{}", '"text"', '{"code": 7}'])
def test_a_member_that_is_called_error_is_no_error_by_itself(sandbox: Sandbox, connect: Connect, value: str) -> None:
    """The API may add such a field."""
    sandbox.fault(Fault(200, body=f'{{"count": 0, "connectors": [], "error": {value}}}'.encode()))
    assert list_connectors(connect(), TEAM).payload["count"] == 0


def test_an_error_has_everything_of_the_envelope(sandbox: Sandbox, connect: Connect) -> None:
    """As attributes, for programs."""
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
        "key_source": None,
    }
    assert "Slow. Why so fast. The limit resets at " in str(error)


@pytest.mark.parametrize(
    ("fault", "request_id"),
    [
        (Fault(500, request_id="in-body-1", headers={"X-Request-Id": "in-header"}), "in-body-1"),
        (Fault(500, request_id="in-body-1", headers={"X-Request-Id": None}), "in-body-1"),
        (Fault(500, body=b"<html>", content_type="text/html", headers={"X-Request-Id": "in-header"}), "in-header"),
        (Fault(500, request_id=None, headers={"X-Request-Id": "in-header"}), "in-header"),
        (Fault(500, request_id=None, headers={"X-Request-Id": "first-one, second-one"}), "first-one"),
        (Fault(500, request_id=None, headers={"X-Request-Id": "<nonsense>, second-one"}), "second-one"),
        (Fault(500, request_id=None), None),
        (Fault(500, request_id="not an id", headers={"X-Request-Id": "<script>"}), None),
    ],
    ids=["both", "body", "header of html", "header of envelope", "twice", "one valid", "nowhere", "nonsense"],
)
def test_the_request_id_is_found(sandbox: Sandbox, connect: Connect, fault: Fault, request_id: str | None) -> None:
    """The envelope's own is the one that support knows; behind a gateway only the header has it."""
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
        (b'{"error": "broken", "meta": 7}', "application/json", "30 bytes of application/json"),
        (b'{"error": {"message": 5, "code": {}}}', "application/json", "37 bytes of application/json"),
    ],
)
def test_an_error_that_is_not_the_envelope_is_described(
    sandbox: Sandbox, connect: Connect, body: bytes, content_type: str, described: str
) -> None:
    """Gateways write their own pages; the message describes the page and does not quote it."""
    sandbox.fault(Fault(502, body=body, content_type=content_type, request_id="behind-it"))
    error = failure(connect())
    assert str(error) == f"HTTP 502 for team 936506: Bad Gateway ({described}). (request_id=behind-it)"
    assert (error.code, error.description) == (None, None)


# --- responses that are not the API's ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "content_type", "arrived"),
    [
        (b"<html>Sign in to the guest Wi-Fi</html>", "text/html", "39 bytes of text/html"),
        (b"", "application/json", "0 bytes of application/json"),
        (b'{"count": 1, "connectors": [{"connec', "application/json", "36 bytes of application/json"),
        (b"null", "application/json", "4 bytes of application/json"),
        (b'{"count": 01}', "application/json", "13 bytes of application/json"),
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
        f"A gateway or proxy in front of the API has probably sent the response; {REPEATABLE} (request_id=behind-it)"
    )


TOO_LARGE = "a number beyond what a double can hold arrived in"


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b'{"count": NaN}', "NaN arrived in $.count"),
        (b'{"connectors": [{}, {"x": -Infinity}]}', f"{TOO_LARGE} $.connectors[1].x"),
        (b'{"x": {"a b": [1e400]}}', f'{TOO_LARGE} $.x["a b"][0]'),
        (b'{"x": 1e-400}', f"{TOO_LARGE} $.x"),
        (b'{"x": %s}' % (b"9" * 5000), f"{TOO_LARGE} $.x"),
        (rb'["\ude00\ud83d"]', "a text with half of a surrogate pair arrived in $[0]"),
        (rb'{"x": [{"\ud83d": 1}]}', "a name with half of a surrogate pair arrived in $.x[0]"),
        (b"[" * 1500 + b"]" * 1500, "more levels of nesting than can be read arrived in $"),
    ],
)
def test_json_that_cannot_be_stored_names_its_place(sandbox: Sandbox, connect: Connect, body: bytes, what: str) -> None:
    """No repetition changes it; the connector's maintainer has to find the place."""
    sandbox.fault(Fault(body=body), times=99)
    error = failure(connect(request_max_attempts=5))
    assert type(error) is SupermetricsContractError
    assert error.message == f"Expected JSON that can be stored, {what}"
    assert len(sandbox.requests) == 1


@pytest.mark.parametrize(
    ("status", "answered"), [(206, "206"), (302, "302 (a redirect, which is not followed)"), (304, "304")]
)
def test_another_status_than_200_is_no_listing(sandbox: Sandbox, connect: Connect, status: int, answered: str) -> None:
    """A 204 or 206 is not everything about a team, and the API never redirects."""
    sandbox.fault(Fault(status, location="/elsewhere", request_id="req-00001"))
    error = failure(connect())
    assert type(error) is SupermetricsContractError
    assert str(error) == (
        f"HTTP {status} for team 936506: Expected status 200, the API answered {answered}. "
        "Nothing of this team was loaded or removed. Report this message to Supermetrics support. "
        "(request_id=req-00001)"
    )


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
def test_a_response_cut_short_is_a_connection_error(sandbox: Sandbox, connect: Connect, fault: Fault) -> None:
    """Half a listing must never count as one."""
    sandbox.fault(fault)
    error = failure(connect())
    assert type(error) is SupermetricsConnectionError
    assert (error.team_id, error.status_code) == (TEAM, None)
    assert str(error).startswith(f"Team 936506: No complete response from {sandbox.url}: ")
    assert f". Check base_url, the network and any proxy; {REPEATABLE}" in str(error)
    assert error.request_id == sandbox.requests[0].request_id, "the head has arrived"


# --- retries ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [
        ("7", 7),
        ("1, 2", 2),
        ("soon, 7", 7),
        ("5, -5", 5),
        ("Wed, 21 Oct 2015 07:28:00 GMT, 60", 60),
        ("60, Wed, 21 Oct 2015 07:28:00 GMT, 30", 60),
        ("Wed, 21 Oct 2015 07:28:00 GMT, Sun, 06 Nov 1994 08:49:37 GMT", 0),
        pytest.param(
            format_datetime(datetime.now(timezone.utc) + timedelta(days=1), usegmt=True),
            pytest.approx(86_400, abs=3600),
            id="tomorrow",
        ),
        ("999999999", MAX_RETRY_AFTER),
        ("Fri, 31 Dec 9999 23:59:59 -2359", MAX_RETRY_AFTER),
        *((senseless, None) for senseless in ("soon", "", "-5", "1e3", "Mon, 99 Foo 2025", ",", "9" * 30)),
    ],
)
def test_retry_after_is_read(sandbox: Sandbox, connect: Connect, retry_after: str, seconds: object) -> None:
    """HTTP allows seconds and dates, a proxy may add its own, and a senseless one decides nothing."""
    sandbox.fault(Fault(429, retry_after=retry_after))
    error = failure(connect())
    assert error.retry_after == seconds
    assert ("retry_after=" in str(error)) is (seconds is not None)


def test_a_closed_client_waits_for_no_pause(sandbox: Sandbox, connect: Connect) -> None:
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
