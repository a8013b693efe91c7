"""Time limits, proxies and certificates: used for every URL, and named in errors."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from dlt.common.exceptions import TerminalException

from supermetrics_connectors.api.client import SupermetricsClient
from supermetrics_connectors.api.listing import list_connectors
from supermetrics_connectors.exceptions import (
    SupermetricsCertificateError,
    SupermetricsConfigurationError,
    SupermetricsConnectionError,
    SupermetricsError,
)
from tests.helpers.certificates import make_certificate
from tests.helpers.clients import KEY, settings
from tests.helpers.sandbox import Sandbox
from tests.helpers.scripted_server import Request, ScriptedServer, answer, listing, serving

API = "https://api.supermetrics.example"


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test sets the variables of its environment itself."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "requests_ca_bundle", "curl_ca_bundle"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def proxy() -> Iterator[ScriptedServer]:
    """A proxy that refuses tunnels, and answers other requests itself."""

    def script(request: Request) -> bytes:
        refused = answer(b"", "407 Proxy Authentication Required")
        return refused if request.line.startswith("CONNECT") else listing(666)

    with serving(script) as server:
        yield server


def client_of(base_url: str, **given: Any) -> SupermetricsClient:
    """A client that would make three attempts if that could help."""
    usual = {"base_url": base_url, "request_max_attempts": 3, "request_timeout": 5}
    return SupermetricsClient(settings(**{**usual, **given}))


def failure(base_url: str) -> SupermetricsError:
    """The error of a request."""
    with closing(client_of(base_url)) as client, pytest.raises(SupermetricsError) as failed:
        list_connectors(client, 1)
    return failed.value


# --- time limits ------------------------------------------------------------------------------------------------------

SPELLINGS = ["", "/%7Eproxy", "/./proxy", "/pröxy", "//proxy", "/PROXY/../x"]


@pytest.mark.parametrize("path", SPELLINGS)
def test_the_transport_is_used_however_the_base_url_is_spelled(path: str) -> None:
    """The library normalises a URL before it chooses the adapter: dripping bytes end in time, a 103 is skipped."""
    hints = b"HTTP/1.1 103 Early Hints\r\n\r\n"
    stop = threading.Event()

    def script(request: Request) -> Iterator[bytes]:
        if request.team_id == 1:
            yield hints + listing(1)
            return
        yield b"HTTP/1.1 200 OK\r\nX-Drip: "
        while not stop.wait(0.05):
            yield b"x"

    with serving(script) as server:
        url = f"http://127.0.0.1:{server.port}{path}"
        with closing(client_of(url)) as client:
            assert list_connectors(client, 1).payload["count"] == 1
        start = time.monotonic()
        with (
            closing(client_of(url, request_max_attempts=1, request_timeout=0.5)) as client,
            pytest.raises(SupermetricsConnectionError, match=r"timed out|not complete in time"),
        ):
            list_connectors(client, 2)
        assert time.monotonic() - start < 15, "a bound against hanging"
        stop.set()


def test_the_time_limit_covers_all_addresses_of_a_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of many silent addresses would otherwise take the whole time."""
    connected: list[float] = []

    def connect(_address: object, timeout: float, *_: object) -> None:
        connected.append(timeout)
        time.sleep(min(timeout, 0.2))
        raise TimeoutError("timed out")

    addresses = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"192.0.2.{n}", 443)) for n in range(99)]
    monkeypatch.setattr("socket.getaddrinfo", lambda *_: addresses)
    monkeypatch.setattr("urllib3.util.connection.create_connection", connect)
    with (
        closing(client_of(API, request_max_attempts=1, request_timeout=0.5)) as client,
        pytest.raises(SupermetricsConnectionError, match=r"timed out|not complete in time"),
    ):
        list_connectors(client, 1)
    assert 2 <= len(connected) <= 3


# --- proxies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_request_to_this_machine_uses_no_proxy(
    sandbox: Sandbox, proxy: ScriptedServer, monkeypatch: pytest.MonkeyPatch, variable: str, host: str
) -> None:
    """A proxy would receive the key in clear, and resolve the host to its own machine."""
    monkeypatch.setenv(variable, f"http://127.0.0.1:{proxy.port}")
    sandbox.add_connector(1, "A")
    with closing(client_of(sandbox.url.replace("127.0.0.1", host), api_key=sandbox.token)) as client:
        assert list_connectors(client, 1).payload["connectors"][0]["connector_identifier"] == "A"
    assert proxy.requests == []


def test_a_request_to_another_host_uses_the_proxy_and_its_error_names_it(
    proxy: ScriptedServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The person on call must look there. The password is not shown, and the proxy does not receive the key."""
    caplog.set_level(logging.INFO, "supermetrics_connectors")
    monkeypatch.setenv("HTTPS_PROXY", f"http://jane:hunter2@127.0.0.1:{proxy.port}")
    error = failure(API)
    assert type(error) is SupermetricsConnectionError
    assert error.message == (
        f"No complete response from {API} through the proxy http://127.0.0.1:{proxy.port}: "
        "OSError: Tunnel connection failed: 407 Proxy Authentication Required"
    )
    assert [request.line.split()[:2] for request in proxy.requests] == [["CONNECT", "api.supermetrics.example:443"]] * 3
    assert not any(KEY in request.head for request in proxy.requests)
    assert "hunter2" not in caplog.text


def test_no_proxy_is_respected(proxy: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in every program that uses requests."""
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
    monkeypatch.setenv("NO_PROXY", ".invalid")
    assert "proxy http" not in str(failure("https://supermetrics.invalid"))
    assert proxy.requests == []


@pytest.mark.parametrize(
    "url",
    [
        "http://jane:hunter2@127.0.0.1:1",
        "jane:hunter2@127.0.0.1:1",
        "http://jane:hun/hunter2@127.0.0.1:1",
        "http://jane:hun@hunter2@127.0.0.1:1",
        "http://jane:hun ter2hunter2@127.0.0.1:1",
        "http://jane:hunter2@[::1",
        f"http://jane:hunter2@{'a' * 70}.example:1",
        "http://jane:hunter2@127.0.0.1:port",
        "socks9://jane:hunter2@127.0.0.1:1",
        "http://jane:hunter2@",
    ],
)
def test_no_proxy_shows_its_password(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """An unreachable proxy is a connection error, a malformed URL is a wrong setting. Both errors name the proxy."""
    monkeypatch.setenv("HTTPS_PROXY", url)
    error = failure(API)
    assert type(error) is SupermetricsConnectionError or "HTTPS_PROXY" in str(error)
    assert isinstance(error, SupermetricsConfigurationError) or "a" * 70 not in url
    assert "hunter2" not in f"{error} {error!r}"
    assert "jane" not in str(error)
    assert "through the proxy " in str(error)


# --- certificates -----------------------------------------------------------------------------------------------------


def test_a_private_certificate_authority_is_trusted(
    proxy: ScriptedServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Proxies that inspect TLS need it. As without TLS, connections are kept, and this machine needs no proxy."""
    context = make_certificate(tmp_path / "certificate.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "certificate.pem"))
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
    with (
        serving(lambda request: listing(request.team_id), context) as server,
        closing(client_of(f"https://127.0.0.1:{server.port}")) as client,
    ):
        assert [list_connectors(client, team_id).payload["count"] for team_id in (1, 2)] == [1, 1]
    assert {request.connection for request in server.requests} == {0}
    assert proxy.requests == []


@pytest.mark.parametrize("surplus", [100, 12_000])
def test_bytes_after_a_response_over_tls_answer_no_other_request(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, surplus: int
) -> None:
    """They may have been decrypted with the response, so the socket does not show them."""
    context = make_certificate(tmp_path / "certificate.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "certificate.pem"))

    def script(request: Request) -> bytes:
        more = answer(b" " * surplus) if request.team_id == 1 else b""
        return listing(request.team_id) + more

    with serving(script, context) as server, closing(client_of(f"https://127.0.0.1:{server.port}")) as client:
        found = [list_connectors(client, team_id).payload["connectors"] for team_id in (1, 2)]
    assert [each["connector_identifier"] for (each,) in found] == ["OF_1", "OF_2"]
    assert [request.connection for request in server.requests] == [0, 1]


@pytest.mark.parametrize(
    ("made", "trusted", "why"),
    [
        ({}, "no authority that we know", "self-signed certificate"),
        ({}, "an empty folder", "self-signed certificate"),
        ({"days": -1}, "itself", "certificate has expired"),
        ({"address": "127.0.0.2"}, "itself", "IP address mismatch"),
    ],
)
def test_a_certificate_that_does_not_verify_fails_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, made: dict[str, Any], trusted: str, why: str
) -> None:
    """A repetition does not help; the message says what to set."""
    file, folder = tmp_path / "certificate.pem", tmp_path / "authorities"
    folder.mkdir()
    context = make_certificate(file, **made)
    if trusted != "no authority that we know":
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(file if trusted == "itself" else folder))
    with serving(lambda request: listing(request.team_id), context) as server:
        url = f"https://127.0.0.1:{server.port}"
        error = failure(url)
    assert type(error) is SupermetricsCertificateError
    assert isinstance(error, TerminalException)
    assert str(error).startswith(f"Team 1: The certificate of {url} does not verify: SSLCertVerificationError: ")
    assert why in str(error)
    assert "set REQUESTS_CA_BUNDLE to a file" in str(error)
    assert server.requests == []


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
@pytest.mark.parametrize("kind", ["missing", "empty", "no certificate", "a key alone"])
def test_unreadable_authorities_are_a_wrong_setting(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str, kind: str
) -> None:
    """Python has several names for the failure; no request is made. A request without TLS needs no authorities."""
    file, good = tmp_path / f"{kind}.pem", tmp_path / "good.pem"
    make_certificate(good)
    key = good.read_text().partition("-----BEGIN PRIVATE")
    texts = {"empty": "", "no certificate": "<html>", "a key alone": "".join(key[1:])}
    if kind in texts:
        file.write_text(texts[kind])
    monkeypatch.setenv(variable, str(file))
    error = failure(API)
    assert type(error) is SupermetricsConfigurationError
    assert error.team_id == 1
    assert error.message.startswith("The certificate authorities to trust cannot be read, see REQUESTS_CA_BUNDLE: ")
    assert str(file) in error.message
    sandbox.add_team(1)
    with closing(client_of(sandbox.url, api_key=sandbox.token)) as client:
        assert list_connectors(client, 1).payload["count"] == 0


# --- host names -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["a" * 64 + ".example", "api..example", ".example", "a." + "b" * 64, "ä" * 64 + ".example"]
)
def test_an_impossible_host_name_is_refused_before_any_request(host: str) -> None:
    """Python's own error is one of a codec."""
    with pytest.raises(SupermetricsConfigurationError, match=r"^base_url .* names an impossible host, "):
        client_of(f"https://{host}")


@pytest.mark.parametrize("host", ["*.example", "api.exam ple", "☃.example", "supermetrics.invalid", "xn--a.example"])
def test_any_other_host_name_fails_by_an_error_of_the_source(host: str) -> None:
    """Some are refused by requests only, and some by name servers only."""
    try:
        error = failure(f"https://{host}")
    except SupermetricsConfigurationError as refused:
        error = refused
    assert isinstance(error, (SupermetricsConfigurationError, SupermetricsConnectionError))
    assert "base_url" in str(error)
