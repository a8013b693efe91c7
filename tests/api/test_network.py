"""What the environment says of proxies and certificates: used where it may be, and named where it cannot work."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from dlt.common.exceptions import TerminalException
from dlt.pipeline.exceptions import PipelineStepFailed

from supermetrics_connectors.api.client import SupermetricsClient
from supermetrics_connectors.api.listing import list_connectors
from supermetrics_connectors.exceptions import (
    SupermetricsCertificateError,
    SupermetricsConfigurationError,
    SupermetricsConnectionError,
    SupermetricsError,
)
from supermetrics_connectors.settings import resolve
from supermetrics_loader.cli.main import run
from supermetrics_loader.run.load import root_cause
from supermetrics_loader.sandbox import Sandbox
from tests.helpers.certificates import make_certificate
from tests.helpers.scripted_server import Request, ScriptedServer, answer, listing, serving

KEY = "api_5ecret_5ecret"
API = "https://api.supermetrics.example"


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test says what the environment has."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "requests_ca_bundle", "curl_ca_bundle"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def proxy() -> Iterator[ScriptedServer]:
    """A proxy that lets nobody through, and answers what it is asked for itself."""

    def script(request: Request) -> bytes:
        refused = answer(b"", "407 Proxy Authentication Required")
        return refused if request.line.startswith("CONNECT") else listing(666)

    with serving(script) as server:
        yield server


def client_of(base_url: str, **given: Any) -> SupermetricsClient:
    """A client that would ask three times if that could help."""
    usual = {"team_ids": [1], "api_key": KEY, "base_url": base_url}
    more = {"request_backoff_factor": 0, "request_max_attempts": 3, "request_timeout": 5}
    return SupermetricsClient(resolve(**{**usual, **more, **given}))


def failure(base_url: str) -> SupermetricsError:
    """The error that asking ends in."""
    with closing(client_of(base_url)) as client, pytest.raises(SupermetricsError) as failed:
        list_connectors(client, 1)
    return failed.value


# --- proxies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_this_machine_is_asked_without_a_proxy(
    sandbox: Sandbox, proxy: ScriptedServer, monkeypatch: pytest.MonkeyPatch, variable: str, host: str
) -> None:
    """A proxy would get the key in clear, and its own machine would answer."""
    monkeypatch.setenv(variable, f"http://127.0.0.1:{proxy.port}")
    sandbox.add_connector(1, "A")
    with closing(client_of(sandbox.url.replace("127.0.0.1", host), api_key=sandbox.token)) as client:
        assert list_connectors(client, 1).payload["connectors"][0]["connector_identifier"] == "A"
    assert proxy.requests == []


def test_this_machine_is_asked_without_a_proxy_over_tls_too(
    proxy: ScriptedServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What is on this machine is nobody else's."""
    context = make_certificate(tmp_path / "certificate.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "certificate.pem"))
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
    with (
        serving(lambda request: listing(request.team_id), context) as server,
        closing(client_of(f"https://127.0.0.1:{server.port}")) as client,
    ):
        assert list_connectors(client, 1).payload["count"] == 1
    assert proxy.requests == []


def test_others_are_asked_through_the_proxy_and_an_error_names_it(
    proxy: ScriptedServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Or nobody would look there; its password is nobody's business, and the proxy does not get the key."""
    caplog.set_level(logging.INFO, "supermetrics_connectors")
    monkeypatch.setenv("HTTPS_PROXY", f"http://jane:hunter2@127.0.0.1:{proxy.port}")
    error = failure(API)
    assert type(error) is SupermetricsConnectionError
    assert error.message == (
        f"No whole answer from {API} through the proxy http://127.0.0.1:{proxy.port}: "
        "OSError: Tunnel connection failed: 407 Proxy Authentication Required"
    )
    assert [request.line.split()[:2] for request in proxy.requests] == [["CONNECT", "api.supermetrics.example:443"]] * 3
    assert not any(KEY in request.head for request in proxy.requests)
    assert "hunter2" not in caplog.text


def test_a_proxy_is_left_out_where_the_environment_says_so(
    proxy: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by everything else that uses requests. Nobody is at that address."""
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
    """Be it unreachable or malformed; it is an error of the source in any case, which names the host."""
    monkeypatch.setenv("HTTPS_PROXY", url)
    error = failure(API)
    assert isinstance(error, (SupermetricsConnectionError, SupermetricsConfigurationError))
    assert "hunter2" not in f"{error} {error!r}"
    assert "jane" not in str(error)
    assert "through the proxy " in str(error)


def test_a_proxy_that_is_none_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking again does not make a URL of it; the variable is named."""
    monkeypatch.setenv("HTTPS_PROXY", f"http://jane:hunter2@{'a' * 70}.example:1")
    error = failure(API)
    assert type(error) is SupermetricsConfigurationError
    assert "HTTPS_PROXY" in str(error)


# --- certificates -----------------------------------------------------------------------------------------------------


def test_a_certificate_authority_of_ones_own_is_trusted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where a proxy of the company inspects TLS, this is how it is set up; connections are kept as without TLS."""
    context = make_certificate(tmp_path / "certificate.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "certificate.pem"))
    with (
        serving(lambda request: listing(request.team_id), context) as server,
        closing(client_of(f"https://127.0.0.1:{server.port}")) as client,
    ):
        assert [list_connectors(client, team_id).payload["count"] for team_id in (1, 2)] == [1, 1]
    assert {request.connection for request in server.requests} == {0}


@pytest.mark.parametrize("surplus", [100, 12_000])
def test_what_comes_after_an_answer_over_tls_answers_no_other_request(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, surplus: int
) -> None:
    """It may have been decrypted with the answer, where nobody who looks at the socket sees it."""
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
def test_a_certificate_that_does_not_verify_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, made: dict[str, Any], trusted: str, why: str
) -> None:
    """It does not pass by itself: what to set is said instead."""
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


UNREADABLE = ["missing", "empty", "no certificate", "a key alone"]


@pytest.fixture
def authorities(tmp_path: Path) -> Callable[[str], Path]:
    """Makes a file of that kind, from which no authority can be read."""

    def make(kind: str) -> Path:
        file = tmp_path / f"{kind}.pem"
        make_certificate(tmp_path / "good.pem")
        pem = (tmp_path / "good.pem").read_text()
        texts = {"empty": "", "no certificate": "<html>", "a key alone": pem[pem.index("-----BEGIN PRIVATE") :]}
        if kind in texts:
            file.write_text(texts[kind])
        return file

    return make


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
@pytest.mark.parametrize("kind", UNREADABLE)
def test_authorities_that_cannot_be_read_are_a_setting(
    monkeypatch: pytest.MonkeyPatch, authorities: Callable[[str], Path], variable: str, kind: str
) -> None:
    """Whatever Python calls the failure, and before anybody is asked."""
    file = authorities(kind)
    monkeypatch.setenv(variable, str(file))
    error = failure(API)
    assert type(error) is SupermetricsConfigurationError
    assert error.team_id == 1
    assert error.message.startswith("The certificate authorities to trust cannot be read, see REQUESTS_CA_BUNDLE: ")
    assert str(file) in error.message


@pytest.mark.parametrize("kind", UNREADABLE)
def test_who_asks_without_tls_needs_no_authorities(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, authorities: Callable[[str], Path], kind: str
) -> None:
    """The sandbox must not fail over what it does not use."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authorities(kind)))
    sandbox.add_team(1)
    with closing(client_of(sandbox.url, api_key=sandbox.token)) as client:
        assert list_connectors(client, 1).payload["count"] == 0


def test_a_run_that_skips_failing_teams_records_such_a_failure_too(
    load: Callable[..., Any],
    rows: Callable[..., list[tuple[Any, ...]]],
    monkeypatch: pytest.MonkeyPatch,
    authorities: Callable[[str], Path],
) -> None:
    """Like any other; a run that does not skip them ends in it."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authorities("missing")))
    load(1, 2, base_url=API, api_key=KEY, on_team_error="skip")
    told = rows("team_syncs", "team_id", "status", "error_message")
    assert [row[:2] for row in told] == [(1, "failed"), (2, "failed")]
    assert all("REQUESTS_CA_BUNDLE" in row[2] for row in told)
    with pytest.raises(PipelineStepFailed) as failed:
        load(1, base_url=API, api_key=KEY)
    assert type(root_cause(failed.value)) is SupermetricsConfigurationError


# --- host names -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["a" * 64 + ".example", "api..example", ".example", "a." + "b" * 64, "ä" * 64 + ".example"]
)
def test_a_host_name_that_cannot_be_is_refused_before_any_request(host: str) -> None:
    """Python's own words for it are those of a codec."""
    with pytest.raises(SupermetricsConfigurationError, match=r"^base_url .* names an impossible host, "):
        client_of(f"https://{host}")


@pytest.mark.parametrize("host", ["*.example", "api.exam ple", "☃.example", "supermetrics.invalid", "xn--a.example"])
def test_any_other_host_name_fails_by_an_error_of_the_source(host: str) -> None:
    """Some only requests refuses, and some only the name servers."""
    try:
        error = failure(f"https://{host}")
    except SupermetricsConfigurationError as refused:
        error = refused
    assert isinstance(error, (SupermetricsConfigurationError, SupermetricsConnectionError))
    assert "base_url" in str(error)


def test_a_certificate_that_does_not_verify_is_a_setting_in_every_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """64, and not the 69 that a scheduler repeats: also where other teams go on without the failing one."""
    context = make_certificate(tmp_path / "certificate.pem")
    monkeypatch.setenv("SUPERMETRICS_API_KEY", "api_x")
    with serving(lambda request: listing(request.team_id), context) as server:
        where = ["--team", "1", "--base-url", f"https://127.0.0.1:{server.port}", "--json"]
        codes = {name: run([*name.split(), *where]) for name in ("check", "load", "load --keep-going")}
    assert codes == dict.fromkeys(codes, 64)
    checked, *_ = map(json.loads, capsys.readouterr().out.splitlines())
    assert [team["exit_code"] for team in checked["teams"]] == [64]
