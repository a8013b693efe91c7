"""A response belongs to its request, even if the connection carries further bytes."""

from __future__ import annotations

import gzip
import logging
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from supermetrics_connectors.api.client import SupermetricsClient
from supermetrics_connectors.api.fetch import Fetcher
from supermetrics_connectors.api.listing import list_connectors
from supermetrics_connectors.exceptions import (
    SupermetricsConnectionError,
    SupermetricsContractError,
    SupermetricsError,
)
from tests.helpers.clients import settings
from tests.helpers.sandbox import Fault, Sandbox
from tests.helpers.scripted_server import Request, answer, listing, serving

HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\nX-Request-Id: hints-0001\r\n\r\n"
PROCESSING = b"HTTP/1.1 102 Processing\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@contextmanager
def client_of(port: int, **given: Any) -> Iterator[SupermetricsClient]:
    """A client of a scripted server, which makes one attempt by default."""
    usual = {"base_url": f"http://127.0.0.1:{port}", "request_max_attempts": 1}
    with closing(SupermetricsClient(settings(**{**usual, **given}))) as client:
        yield client


def identifiers(client: SupermetricsClient, team_id: int) -> list[str]:
    """The identifiers that the client reads for a team."""
    return [each["connector_identifier"] for each in list_connectors(client, team_id).payload["connectors"]]


# --- informational responses ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "interim",
    [HINTS, PROCESSING, CONTINUE + HINTS, HINTS + CONTINUE, HINTS * 3 + PROCESSING * 2, HINTS.replace(b"103", b"199")],
    ids=["103", "102", "100 and 103", "103 and 100", "many", "unknown"],
)
@pytest.mark.parametrize("apart", [True, False])
def test_an_informational_response_is_skipped(interim: bytes, apart: bool) -> None:
    """Taken for the response, it leaves the real one to the next team."""

    def script(request: Request) -> list[bytes]:
        whole = listing(request.team_id)
        return [interim, whole] if apart else [interim + whole]

    with serving(script) as server, client_of(server.port) as client:
        assert [identifiers(client, team_id) for team_id in (1, 2, 3)] == [["OF_1"], ["OF_2"], ["OF_3"]]
    assert {request.connection for request in server.requests} == {0}


def test_hints_without_an_end_are_no_response() -> None:
    """The time limit covers the whole exchange."""
    stop = threading.Event()

    def script(_request: Request) -> Iterator[bytes]:
        while not stop.is_set():
            yield HINTS

    with serving(script) as server, client_of(server.port, request_timeout=0.3) as client:
        with pytest.raises(SupermetricsConnectionError, match=r"timed out|not complete in time"):
            list_connectors(client, 1)
        stop.set()


def test_switching_protocols_is_no_listing() -> None:
    """The client requests no other protocol and speaks none."""
    switching = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n"

    def script(request: Request) -> bytes:
        return switching + listing(1) if request.team_id == 1 else listing(request.team_id)

    with serving(script) as server, client_of(server.port) as client:
        with pytest.raises(SupermetricsContractError, match="Expected status 200, the API answered 101"):
            list_connectors(client, 1)
        assert identifiers(client, 2) == ["OF_2"]
    assert [request.connection for request in server.requests] == [0, 1]


# --- more than one response -------------------------------------------------------------------------------------------


def chunked(body: bytes) -> bytes:
    """A 200 in one chunk."""
    return answer(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body), Content_Length=None, Transfer_Encoding="chunked")


SURPLUS = {
    "two responses": listing(1) + listing(1),
    "another team's as well": listing(1) + listing(3),
    "a long one": listing(1) + answer(b'{"count": 0, "connectors": []}' + b" " * 100_000),
    "bytes after a chunked body": chunked(b'{"count":1,"connectors":[{"connector_identifier":"OF_1"}]}') + listing(1),
    "bytes after the body": listing(1) + b"\r\n\r\n",
    "half a head": listing(1) + b"HTTP/1.1 200 OK\r\nContent-",
    "a body that is longer than it says": answer(
        b'{"count":1,"connectors":[{"connector_identifier":"OF_1"}]}' + b" " * 10, Content_Length=58
    ),
}


@pytest.mark.parametrize("name", SURPLUS)
@pytest.mark.parametrize("apart", [True, False])
def test_bytes_after_a_response_answer_no_other_request(name: str, apart: bool) -> None:
    """They may come with the response or a little later: the connection is not used again."""
    sent = threading.Event()
    first = len(listing(1))

    def script(request: Request) -> Iterator[bytes]:
        whole = SURPLUS[name] if request.team_id == 1 else listing(request.team_id)
        yield from [whole[:first], whole[first:]] if apart else [whole]
        sent.set()

    with serving(script) as server, client_of(server.port) as client:
        assert identifiers(client, 1) == ["OF_1"]
        assert sent.wait(10)
        assert identifiers(client, 2) == ["OF_2"]
    assert [request.connection for request in server.requests] == [0, 1]


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_a_forbidden_body_answers_no_other_request(status: str) -> None:
    """http.client reads no body of these, and leaves the bytes in the connection."""

    def script(request: Request) -> bytes:
        hidden = answer(listing(3), status) if request.team_id == 1 else b""
        return hidden or listing(request.team_id)

    with serving(script) as server, client_of(server.port) as client:
        with pytest.raises(SupermetricsContractError):
            list_connectors(client, 1)
        assert identifiers(client, 2) == ["OF_2"]
    assert [request.connection for request in server.requests] == [0, 1]


# --- connections on which something went wrong ------------------------------------------------------------------------

WRONG = {
    "a page of a gateway": Fault(body=b"<html>", content_type="text/html"),
    "JSON that cannot be stored": Fault(body=b'{"count": NaN}'),
    "no listing": Fault(body=b"[]"),
    "a malformed record": Fault(body=b'{"count": 1, "connectors": [{}]}'),
    "another success": Fault(206),
    "a redirect": Fault(302, location="https://elsewhere.example/"),
    "an error of the API": Fault(403),
    "an error of a gateway": Fault(502, body=b"<html>", content_type="text/html"),
    "a body cut short": Fault(stage="mid_body"),
    "too late": Fault(delay=60),
    "no gzip": Fault(body=b"no gzip", headers={"Content-Encoding": "gzip"}),
    "gzip cut short": Fault(
        body=gzip.compress(b'{"count": 0, "connectors": []}')[:20], headers={"Content-Encoding": "gzip"}
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_connection_is_not_used_again_after_anything_abnormal(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """Further bytes may be on it."""
    caplog.set_level(logging.DEBUG, "urllib3")
    for team_id in (1, 2, 3, 4):
        sandbox.add_connector(team_id, f"OF_{team_id}")
    sandbox.fault(WRONG[name], team_id=3)
    given = {"team_ids": [1, 2, 3, 4], "api_key": sandbox.token, "on_team_error": "skip", "request_max_attempts": 1}
    checked = settings(base_url=sandbox.url, workers=1, request_timeout=2, **given)
    with closing(Fetcher(checked, str.lower)) as fetcher:
        found = {each.team_id: each for each in fetcher.listings(lambda _done, _message: None)}
    assert isinstance(found[3].error, SupermetricsError)
    assert [list(found[team_id].connectors) for team_id in (1, 2, 4)] == [["OF_1"], ["OF_2"], ["OF_4"]]
    assert caplog.text.count("Starting new HTTP connection") == 2
