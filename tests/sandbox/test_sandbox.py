"""The sandbox answers as the API does, can be changed over HTTP, and answers no web page."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import orjson
import pytest
import requests

from supermetrics_loader.sandbox import responses
from supermetrics_loader.sandbox.data import shipped_teams
from tests.helpers.sandbox import Fault, Sandbox

TEAM = 936506
LISTING = f"/v1/teams/{TEAM}/connector_builder/connectors"
ADMIN = f"/sandbox/teams/{TEAM}/connectors"

Ask = Callable[..., requests.Response]


@pytest.fixture
def shipped() -> Iterator[Sandbox]:
    """A running sandbox with the shipped teams."""
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def ask(shipped: Sandbox) -> Iterator[Ask]:
    """Sends requests: `ask(path, method="GET", body=None, **headers)`. None leaves a header out."""
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {shipped.token}"

        def ask(path: str, method: str = "GET", body: Any = None, **headers: str | None) -> requests.Response:
            port = shipped.url.rpartition(":")[2]
            filled = {name: value and value.format(port=port) for name, value in headers.items()}
            data = body if isinstance(body, str) else json.dumps(body)
            return session.request(method, shipped.url + path, data=data, headers=filled, timeout=5)

        yield ask


@pytest.fixture
def sdk() -> Any:
    """The official SDK; it does not exist for Python 3.10."""
    return pytest.importorskip("supermetrics")


@pytest.fixture
def official(sdk: Any, shipped: Sandbox) -> Iterator[Any]:
    """The official SDK's client for the sandbox. It does not retry."""
    with sdk.SupermetricsClient(api_key=shipped.token, base_url=shipped.url, timeout=5) as client:
        yield client


def assert_refused(reply: requests.Response, status: int, code: str) -> None:
    """The error envelope of the API."""
    assert (reply.status_code, reply.json()["error"]["code"]) == (status, code)
    assert reply.json().keys() == {"meta", "error"}
    assert re.fullmatch(r"[A-Za-z0-9_-]{8,64}", reply.json()["meta"]["request_id"])
    assert reply.headers["X-Request-Id"] == reply.json()["meta"]["request_id"]
    assert reply.headers["content-type"] == "application/json"


# --- web pages --------------------------------------------------------------------------------------------------------

PAGES = [
    {"Host": "rebound.example:{port}"},
    {"Host": "127.0.0.1:1"},
    {"Host": "localhost"},
    {"Host": ""},
    {"Origin": "https://page.example"},
    {"Origin": "http://localhost:3000"},
    {"Host": "localhost:{port}", "Origin": "https://localhost:{port}"},
    {"Origin": "null"},
]


@pytest.mark.parametrize("headers", PAGES, ids=str)
def test_a_web_page_reads_and_changes_nothing(shipped: Sandbox, ask: Ask, headers: dict[str, str]) -> None:
    """A browser sends the requests of any page, to any name that leads to 127.0.0.1."""
    before = shipped.connectors(TEAM)
    for method, path in (("GET", LISTING), ("POST", ADMIN), ("DELETE", f"{ADMIN}/T3S70"), ("OPTIONS", ADMIN)):
        reply = ask(path, method, {"connector_identifier": "EVIL"}, **headers)
        assert_refused(reply, 403, "FORBIDDEN")
        assert not [name for name in reply.headers if name.lower().startswith("access-control-")]
    assert (shipped.connectors(TEAM), shipped.requests) == (before, [])


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_a_program_on_this_machine_is_answered(ask: Ask, host: str) -> None:
    """By each of the machine's own names, and from the sandbox's own origin."""
    for headers in ({}, {"Origin": f"http://{host}:{{port}}"}):
        assert ask(LISTING, Host=f"{host}:{{port}}", **headers).status_code == 200


# --- changes ----------------------------------------------------------------------------------------------------------


def test_connectors_are_added_edited_configured_and_deleted_over_http(ask: Ask) -> None:
    """The API lists each change, and dates that are given are kept."""
    added = ask(ADMIN, "POST", {"connector_identifier": "A", "team_id": 1})
    assert (added.status_code, added.json()["team_id"]) == (201, 1)
    edited = ask(f"{ADMIN}/A", "PATCH", {"name": "B", "updated_at": "2025-01-01"}).json()
    assert edited == {**added.json(), "name": "B", "updated_at": "2025-01-01"}
    configured = ask(f"{ADMIN}/A/configuration", "PUT", {"configuration_json": {"a": 1}, "version": "7"}).json()
    assert configured == {**edited, "configuration": configured["configuration"]}
    assert configured["configuration"].items() >= {"configuration_json": {"a": 1}, "version": "7"}.items()
    assert ask(f"{LISTING}?include_configs=true").json()["connectors"][-1] == configured
    assert ask(f"{ADMIN}/A", "DELETE").json() == configured
    assert ask(LISTING).json()["count"] == 3
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", ask(f"{ADMIN}/T3S70", "PATCH", {}).json()["updated_at"])


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "description"),
    [
        ("POST", ADMIN, "{", 400, "The body must be JSON: "),
        ("POST", ADMIN, "[]", 400, "The body must be a JSON object, got list."),
        ("POST", ADMIN, '{"connector_identifier": "T3S70"}', 409, "Team 936506 already has a connector 'T3S70'."),
        ("POST", ADMIN, '{"connector_identifier": 5}', 422, "connector_identifier must be 1 to 100 of "),
        ("POST", "/sandbox/teams/0/connectors", "{}", 422, "team_id must be 1 to 9223372036854775807, got 0."),
        ("PATCH", f"{ADMIN}/NONE", "{}", 404, "Team 936506 has no connector 'NONE'."),
        ("PATCH", f"{ADMIN}/T3S70", '{"connector_identifier": "B"}', 400, "connector_identifier cannot be changed"),
        ("PUT", f"{ADMIN}/T3S70/configuration", "{}", 400, 'The body must look like {"configuration_json": {...}}.'),
        ("GET", f"{ADMIN}/T3S70", "", 405, "GET is not offered here, only PATCH, DELETE."),
        ("POST", "/sandbox/teams", "{}", 404, "The sandbox is changed at /sandbox/teams/{team_id}/connectors"),
        ("DELETE", "/sandbox/teams/5/connectors/T3S70", "", 404, "Team 5 is not in the sandbox. Its teams: 936506, "),
    ],
)
def test_refused_changes_say_why(
    shipped: Sandbox, ask: Ask, method: str, path: str, body: str, status: int, description: str
) -> None:
    """A mistyped command changes nothing."""
    before = {team_id: shipped.connectors(team_id) for team_id in shipped.team_ids}
    reply = ask(path, method, body)
    assert_refused(reply, status, reply.json()["error"]["code"])
    assert reply.json()["error"]["description"].startswith(description)
    assert before == {team_id: shipped.connectors(team_id) for team_id in shipped.team_ids}


# --- the shipped data -------------------------------------------------------------------------------------------------

SHIPPED = [each for team in shipped_teams().values() for each in team if "configuration" in each]
DEFINITIONS: dict[str, Any] = {
    each["connector_identifier"]: each["configuration"]["configuration_json"] for each in SHIPPED
}


def test_configurations_have_the_documented_structure() -> None:
    """OAuth 2.0, account fetchers, an asynchronous report, no authentication, a large document and a typed secret."""
    assert {member for each in DEFINITIONS.values() for member in each} == {
        *("$schema", "authentication", "dataSourceUser", "accounts", "reporting", "secrets", "defaultResponseHandler")
    }
    reports = {name: each["reporting"]["reportTypes"] for name, each in DEFINITIONS.items()}
    for report in (report for each in reports.values() for report in each):
        ids = [field["id"] for field in report["fields"]]
        assert len(set(ids)) == len(ids) > 0
        assert re.match(r"https://[\w.{}]*example\.com/", report["request"]["url"])
    authentication = {name: each.get("authentication", {}).get("type") for name, each in DEFINITIONS.items()}
    assert (authentication["T3S70"], len(reports["T3S70"])) == ("oauth2", 3)
    assert (authentication["K8W21"], len(DEFINITIONS["K8W21"]["accounts"]["fetchers"])) == ("user_input", 2)
    assert reports["call-tracking_EU"][0]["request"]["type"] == "async"
    assert authentication["PDC11"] is None
    assert 180_000 < len(orjson.dumps(DEFINITIONS["LYL09"])) < 220_000
    assert sum(len(report["fields"]) for report in reports["LYL09"]) > 1_000
    typed = [
        (name, item["id"])
        for name, each in DEFINITIONS.items()
        for item in each.get("secrets", {}).get("items", [])
        if (item["source"], item["classification"]) == ("static", "secret")
    ]
    assert typed == [("RTL-2025", "panel_key")]


# --- the vendor's own client ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("include_configs", [True, False])
def test_official_sdk_reads_listings(shipped: Sandbox, official: Any, include_configs: bool) -> None:
    """The vendor's models accept every shipped connector and return it unchanged."""
    for team_id in shipped.team_ids:
        listing = official.connector_builder.list(team_id, include_configs=include_configs)
        expected = shipped.connectors(team_id, include_configs)
        for each in expected:  # the SDK writes dates as it reads them
            each |= {name: datetime.fromisoformat(each[name]).isoformat() for name in ("created_at", "updated_at")}
        assert (listing.count, [each.to_dict() for each in listing.connectors]) == (len(expected), expected)


def test_official_sdk_reads_optional_endpoints(shipped: Sandbox, official: Any) -> None:
    """Its models accept every log entry, and its `before` is understood."""
    team = official.teams.get(TEAM)
    assert getattr(team, "data", team).display_id == f"SM_{TEAM}"
    log = shipped.optional_data("logs", TEAM, "T3S70")[::-1]
    page = official.connector_builder_logs.list(TEAM, "T3S70", limit=1000).logs
    assert [{*entry.id} for entry in page] == [{*entry["id"]} for entry in sorted(log, key=_log_time, reverse=True)]
    middle = page[len(page) // 2].log_time
    older = official.connector_builder_logs.list(TEAM, "T3S70", limit=5, before=middle).logs
    assert [entry.id for entry in older] == [entry["id"] for entry in log if _log_time(entry) < middle][:5]
    secrets = official.connector_builder_secrets.list(TEAM, "T3S70").secrets
    assert ("sec_a23f23d26", "client_secret") in [(each.secret_placeholder, each.secret_name) for each in secrets]


ERRORS = {
    400: "ValidationError",
    401: "AuthError",
    403: "ForbiddenError",
    404: "NotFoundError",
    409: "APIError",
    422: "ValidationError",
    429: "RateLimitError",
    500: "ServerError",
    503: "ServerError",
}


@pytest.mark.parametrize(("status", "error"), ERRORS.items())
def test_official_sdk_recognises_every_error(
    shipped: Sandbox, sdk: Any, official: Any, status: int, error: str
) -> None:
    """The vendor's client judges whether an envelope is one."""
    shipped.fault(Fault(status, retry_after=3600))
    with pytest.raises(sdk.SupermetricsAPIError) as raised:
        official.connector_builder.list(TEAM)
    assert type(raised.value).__name__ == f"Supermetrics{error}"
    assert (raised.value.status_code, raised.value.error_code) == (status, responses.ERRORS[status][0])
    assert raised.value.request_id == shipped.requests[-1].request_id
    assert raised.value.retry_after == 3600


def _log_time(entry: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(entry["log_time"])
