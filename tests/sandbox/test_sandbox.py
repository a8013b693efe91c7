"""The sandbox answers as the API does: everything that the other tests conclude from it rests on these."""

from __future__ import annotations

import http.client
import importlib
import json
import re
import shlex
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest

from supermetrics_loader.sandbox import DEFAULT_TOKEN, MAX_CONNECTORS, OMIT, Fault, Sandbox, SandboxError, usage

TEAM = 936506
LISTING = f"/v1/teams/{TEAM}/connector_builder/connectors"
ADMIN = f"/sandbox/teams/{TEAM}/connectors"

REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")
CODE = re.compile(r"[A-Z][A-Z0-9_]{0,99}")
DATES = ("%Y-%m-%d", "%Y-%m-%dT%H:%M:%S%z")


@dataclass(frozen=True)
class Reply:
    """An HTTP answer as a client reads it, with lower-case header names."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The decoded body."""
        return json.loads(self.body)


@pytest.fixture
def shipped() -> Iterator[Sandbox]:
    """A running sandbox with the shipped teams."""
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def connection(shipped: Sandbox) -> Iterator[http.client.HTTPConnection]:
    """A connection to the shipped sandbox that is kept between requests."""
    with closing(_connect(shipped)) as connection:
        yield connection


def _connect(sandbox: Sandbox) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(sandbox.url.removeprefix("http://"), timeout=5)


def _ask(
    sandbox: Sandbox, target: str = LISTING, *, method: str = "GET", token: str = DEFAULT_TOKEN, body: str | None = None
) -> Reply:
    with closing(_connect(sandbox)) as connection:
        connection.request(method, target, body, {"Authorization": f"Bearer {token}"})
        return _reply(connection)


def _reply(connection: http.client.HTTPConnection) -> Reply:
    response = connection.getresponse()
    return Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())


def _received(sandbox: Sandbox) -> bytes:
    """Every byte the sandbox sends for one listing until it closes the connection."""
    host, port = sandbox.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(f"GET {LISTING} HTTP/1.1\r\nAuthorization: Bearer {sandbox.token}\r\n\r\n".encode())
        return b"".join(iter(lambda: connection.recv(65536), b""))


def _assert_refused(reply: Reply, status: int, code: str) -> None:
    """The error envelope of the API, to the letter."""
    assert (reply.status, reply.json["error"]["code"]) == (status, code)
    assert reply.json.keys() == {"meta", "error"}
    assert reply.json["error"].keys() <= {"code", "message", "description"}
    assert CODE.fullmatch(reply.json["error"]["code"])
    assert len(reply.json["error"]["message"]) <= 255
    assert "\n" not in reply.json["error"]["message"]
    assert REQUEST_ID.fullmatch(reply.json["meta"]["request_id"])
    assert reply.headers["x-request-id"] == reply.json["meta"]["request_id"]
    assert reply.headers["content-type"] == "application/json"


# --- the listing ------------------------------------------------------------------------------------------------------


def test_listing_is_the_whole_answer_of_the_contract(shipped: Sandbox) -> None:
    """What the sandbox holds is what a client reads, in the envelope the API uses."""
    reply = _ask(shipped, LISTING + "?include_configs=true")
    assert reply.status == 200
    assert reply.json == {"count": 3, "connectors": shipped.connectors(TEAM)}
    assert REQUEST_ID.fullmatch(reply.headers["x-request-id"])


@pytest.mark.parametrize("query", ["", "?include_configs=false"])
def test_configurations_are_left_out_unless_asked_for(shipped: Sandbox, query: str) -> None:
    """include_configs is false by default."""
    connectors = _ask(shipped, LISTING + query).json["connectors"]
    assert connectors == shipped.connectors(TEAM, include_configs=False)
    assert not any("configuration" in connector for connector in connectors)


def test_a_connector_may_have_no_configuration_or_a_null_one() -> None:
    """The API does both, so a client must be shown both."""
    with Sandbox(teams={}) as sandbox:
        sandbox.add_connector(TEAM, "absent")
        sandbox.add_connector(TEAM, "null", configuration=None)
        absent, null = _ask(sandbox, LISTING + "?include_configs=true").json["connectors"]
    assert "configuration" not in absent
    assert null["configuration"] is None


def test_fields_can_be_new_or_missing() -> None:
    """The API may add a field one day, and sends some fields only when there is something to say."""
    with Sandbox(teams={}) as sandbox:
        sandbox.add_connector(TEAM, "A", owner={"email": "ada@example.com"}, updated_at=OMIT)
        sandbox.add_connector(TEAM, "B")
        sandbox.edit_connector(TEAM, "B", logo_url=OMIT)
        first, second = _ask(sandbox).json["connectors"]
    assert first["owner"] == {"email": "ada@example.com"}
    assert "updated_at" not in first
    assert "logo_url" not in second


def test_one_connector_can_be_read(shipped: Sandbox) -> None:
    """The neighbour of the listing sends the connector alone, always with its configuration."""
    assert _ask(shipped, f"{LISTING}/T3S70").json == shipped.connectors(TEAM)[0]
    _assert_refused(_ask(shipped, f"{LISTING}/NONE"), 404, "NOT_FOUND")


def test_a_reported_count_differs_until_it_is_taken_back(shipped: Sandbox) -> None:
    """A count that is not the list's length is how the API shows that the list is not the whole truth."""
    shipped.report_count(TEAM, 5)
    short = _ask(shipped).json
    shipped.report_count(TEAM, None)
    assert (short["count"], len(short["connectors"])) == (5, 3)
    assert _ask(shipped).json["count"] == 3


def test_no_more_than_the_api_s_maximum_is_listed() -> None:
    """The API promises at most 1000 items; the count tells the rest."""
    with Sandbox(teams={TEAM: [{"connector_identifier": f"C{n}"} for n in range(MAX_CONNECTORS + 1)]}) as sandbox:
        listing = _ask(sandbox).json
        assert (listing["count"], len(listing["connectors"])) == (MAX_CONNECTORS + 1, MAX_CONNECTORS)
        assert listing["connectors"] == sandbox.connectors(TEAM)


def test_shipped_data_keeps_the_limits_of_the_contract() -> None:
    """People try the source out on it: it must be no easier and no harder than the API's own."""
    sandbox = Sandbox()
    connectors = [connector for team_id in sandbox.team_ids for connector in sandbox.connectors(team_id)]
    assert (len(sandbox.team_ids), len(connectors)) == (3, 7)
    for connector in connectors:
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,100}", connector["connector_identifier"])
        assert len(connector["name"]) <= 255
        assert len(connector["description"] or "") <= 1000
        configuration = connector.get("configuration", {"created_at": "2025-01-01", "updated_at": "2025-01-01"})
        for date in (each[name] for each in (connector, configuration) for name in ("created_at", "updated_at")):
            assert len(date) <= 30
            assert any(_parses(date, form) for form in DATES), date


def test_shipped_data_shows_every_shape_a_loader_meets() -> None:
    """Each date shape, a null description, a null logo and a missing configuration occur."""
    sandbox = Sandbox()
    connectors = [connector for team_id in sandbox.team_ids for connector in sandbox.connectors(team_id)]
    endings = {re.sub(r"\d\d:\d\d:\d\d", "", connector["updated_at"][10:]) for connector in connectors}
    assert endings == {"", "TZ", "T+00:00", "T+0000"}
    assert [c["connector_identifier"] for c in connectors if c["description"] is None] == ["call-tracking_EU"]
    assert [c["connector_identifier"] for c in connectors if c["logo_url"] is None] == ["RTL-2025"]
    assert [c["connector_identifier"] for c in connectors if "configuration" not in c] == ["WHS44"]


def test_shipped_data_is_the_same_in_every_sandbox(shipped: Sandbox) -> None:
    """One sandbox's changes must not leak into the next one's data."""
    before = Sandbox().connectors(TEAM)
    shipped.edit_configuration(TEAM, "T3S70", {"changed": True})
    shipped.connectors(TEAM)[0]["name"] = "changed"
    assert Sandbox().connectors(TEAM) == before


def _parses(date: str, form: str) -> bool:
    try:
        datetime.strptime(date, form)  # noqa: DTZ007 - whether it parses, not what it means
    except ValueError:
        return False
    return True


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_a_bearer_token_is_required(shipped: Sandbox) -> None:
    """No token, another scheme and a wrong token all end in 401."""
    for header in ({}, {"Authorization": DEFAULT_TOKEN}, {"Authorization": "Bearer api_wrong"}):
        with closing(_connect(shipped)) as connection:
            connection.request("GET", LISTING, headers=header)
            _assert_refused(_reply(connection), 401, "UNAUTHORIZED")


def test_keys_rotate(shipped: Sandbox) -> None:
    """A new key works at once and the old one no longer does."""
    shipped.tokens = {"api_next"}
    assert _ask(shipped, token="api_next").status == 200
    _assert_refused(_ask(shipped), 401, "UNAUTHORIZED")


def test_foreign_teams_are_forbidden(shipped: Sandbox) -> None:
    """A team the token cannot see and a team that was taken away look the same."""
    shipped.remove_team(941277)
    for team_id in (1, 941277, 2**63 - 1):
        _assert_refused(_ask(shipped, f"/v1/teams/{team_id}/connector_builder/connectors"), 403, "FORBIDDEN")


@pytest.mark.parametrize("team_id", ["0", "-1", "abc", "1.0", "9223372036854775808", "%20"])
def test_team_ids_out_of_range_are_bad_requests(shipped: Sandbox, team_id: str) -> None:
    """A team id is a positive int64."""
    _assert_refused(_ask(shipped, f"/v1/teams/{team_id}/connector_builder/connectors"), 400, "BAD_REQUEST")


@pytest.mark.parametrize("value", ["True", "1", "yes", ""])
def test_include_configs_takes_lower_case_booleans_only(shipped: Sandbox, value: str) -> None:
    """Python's str(True) on the wire is a defect that a lenient stand-in would hide."""
    _assert_refused(_ask(shipped, f"{LISTING}?include_configs={value}"), 400, "BAD_REQUEST")
    assert shipped.requests[-1].include_configs is None


@pytest.mark.parametrize("path", ["/", "/v1/teams", "/v2" + LISTING, LISTING + "/", "/sandboxes"])
def test_other_paths_are_not_found(shipped: Sandbox, path: str) -> None:
    """A mistyped base URL must fail the way it would at the API."""
    _assert_refused(_ask(shipped, path), 404, "NOT_FOUND")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_the_listing_is_read_only(shipped: Sandbox, method: str) -> None:
    """Nothing here may change the API's data, and the sandbox would notice if something tried."""
    reply = _ask(shipped, method=method, body="{}")
    _assert_refused(reply, 405, "METHOD_NOT_ALLOWED")
    assert reply.headers["allow"] == "GET"


# --- web pages --------------------------------------------------------------------------------------------------------

CONNECTORS = "/sandbox/teams/936506/connectors"
STRANGERS = {
    "another name for this machine": {"Host": "rebound.example:{port}"},
    "a name that begins like ours": {"Host": "localhost.example:{port}"},
    "another port": {"Host": "127.0.0.1:1"},
    "no port": {"Host": "localhost"},
    "another address": {"Host": "192.168.1.7:{port}"},
    "no name": {"Host": ""},
    "a page": {"Host": "127.0.0.1:{port}", "Origin": "https://page.example"},
    "a page on this machine": {"Host": "127.0.0.1:{port}", "Origin": "http://localhost:3000"},
    "a page of the same name": {"Host": "localhost:{port}", "Origin": "https://localhost:{port}"},
    "a page without an origin": {"Host": "localhost:{port}", "Origin": "null"},
}
FRIENDS: dict[str, dict[str, str]] = {
    "by address": {"Host": "127.0.0.1:{port}"},
    "by name": {"Host": "localhost:{port}"},
    "by IPv6 address": {"Host": "[::1]:{port}"},
    "from its own origin": {"Host": "localhost:{port}", "Origin": "http://localhost:{port}"},
}


@pytest.mark.parametrize("headers", STRANGERS.values(), ids=STRANGERS)
@pytest.mark.parametrize(
    ("method", "target"),
    [("GET", LISTING), ("POST", CONNECTORS), ("DELETE", f"{CONNECTORS}/T3S70"), ("OPTIONS", CONNECTORS)],
)
def test_a_web_page_reads_and_changes_nothing(
    shipped: Sandbox, method: str, target: str, headers: dict[str, str]
) -> None:
    """A browser sends what any page asks for, by whatever name leads to 127.0.0.1; the head gives the page away."""
    before = shipped.connectors(936506)
    reply = _ask_as(shipped, headers, method, target)
    _assert_refused(reply, 403, "FORBIDDEN")
    assert not [name for name in reply.headers if name.startswith("access-control-")]
    assert shipped.connectors(936506) == before
    assert shipped.requests == []


@pytest.mark.parametrize("headers", FRIENDS.values(), ids=FRIENDS)
def test_a_program_on_this_machine_is_answered(shipped: Sandbox, headers: dict[str, str]) -> None:
    """By each of the names that this machine has for itself."""
    assert _ask_as(shipped, headers, "GET", LISTING).status == 200
    assert _ask_as(shipped, headers, "DELETE", f"{CONNECTORS}/T3S70").status == 200


def _ask_as(sandbox: Sandbox, headers: dict[str, str], method: str, target: str) -> Reply:
    """Sends the request with these headers, in which {port} stands for the sandbox's, and no Host but theirs."""
    port = sandbox.url.rpartition(":")[2]
    body = '{"connector_identifier": "EVIL"}'
    with closing(_connect(sandbox)) as connection:
        connection.putrequest(method, target, skip_host=True)
        for name, value in headers.items():
            connection.putheader(name, value.format(port=port))
        connection.putheader("Authorization", f"Bearer {sandbox.token}")
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body.encode())
        return _reply(connection)


# --- the connection, the requests seen and the rate limit -------------------------------------------------------------


def test_a_connection_is_kept_between_requests(connection: http.client.HTTPConnection) -> None:
    """Clients pool connections; refusals, bodies sent in vain and HEAD must not break theirs."""
    used = set()
    for method, body, status in (("GET", None, 401), ("POST", "x" * 9, 401), ("HEAD", None, 401), ("GET", None, 401)):
        connection.request(method, LISTING, body)
        assert _reply(connection).status == status
        used.add(connection.sock)
    assert len(used) == 1


def test_every_request_is_noted_as_it_was_asked_and_answered(shipped: Sandbox) -> None:
    """Tests conclude from `requests` what a client did."""
    before = time.monotonic()
    first = _ask(shipped, LISTING + "?include_configs=true&page=2")
    second = _ask(shipped, "/v1/teams/7/connector_builder/connectors")
    _ask(shipped, ADMIN + "/NONE", method="DELETE")
    one, two = shipped.requests
    assert (one.method, one.path, one.team_id, one.include_configs) == ("GET", LISTING, TEAM, True)
    assert one.query == {"include_configs": "true", "page": "2"}
    assert one.headers["authorization"] == f"Bearer {shipped.token}"
    assert (one.status, one.request_id) == (200, first.headers["x-request-id"])
    assert (two.team_id, two.include_configs, two.status) == (7, None, 403)
    assert two.request_id == second.json["meta"]["request_id"]
    assert before <= one.at <= two.at <= time.monotonic()


def test_every_answer_tells_what_is_left_of_the_hour(shipped: Sandbox) -> None:
    """The limit counts refusals too."""
    replies = [_ask(shipped), _ask(shipped, token="api_wrong"), _ask(shipped)]
    assert [reply.headers["x-ratelimit-limit"] for reply in replies] == ["5000"] * 3
    assert [reply.headers["x-ratelimit-remaining"] for reply in replies] == ["4999", "4998", "4997"]
    assert not any("retry-after" in reply.headers for reply in replies)


def test_an_exhausted_limit_asks_to_wait_for_the_rest_of_the_hour() -> None:
    """An hour's Retry-After is normal for this API, not an exception."""
    with Sandbox(rate_limit=1) as sandbox:
        assert _ask(sandbox).headers["x-ratelimit-remaining"] == "0"
        reply = _ask(sandbox)
    _assert_refused(reply, 429, "TOO_MANY_REQUESTS")
    assert reply.headers["x-ratelimit-remaining"] == "0"
    assert 3590 <= int(reply.headers["retry-after"]) <= 3600


def test_a_limit_resets_when_its_window_ends() -> None:
    """A client that waits as long as it was told gets its answer."""
    with Sandbox(rate_limit=1, rate_window=0.5) as sandbox:
        assert [_ask(sandbox).status, _ask(sandbox).status] == [200, 429]
        time.sleep(0.5)
        assert _ask(sandbox).status == 200


# --- changes ----------------------------------------------------------------------------------------------------------


def test_editing_a_connector_moves_its_date_and_nothing_else(shipped: Sandbox) -> None:
    """An edit shows in updated_at; a date that is given is kept, to stage edits in the past."""
    before = shipped.connectors(TEAM)[0]
    edited = shipped.edit_connector(TEAM, "T3S70", name="CRM")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", edited["updated_at"])
    assert edited == {**before, "name": "CRM", "updated_at": edited["updated_at"]}
    assert shipped.edit_connector(TEAM, "T3S70", updated_at="2025-03-15")["updated_at"] == "2025-03-15"
    assert _ask(shipped).json["connectors"][0]["updated_at"] == "2025-03-15"


def test_editing_a_configuration_moves_its_own_date_and_version(shipped: Sandbox) -> None:
    """The configuration has a clock of its own: the connector's updated_at stays."""
    before = shipped.connectors(TEAM)[0]
    after = shipped.edit_configuration(TEAM, "T3S70", {"accounts": []})
    configuration = after["configuration"]
    assert after == {**before, "configuration": configuration}
    assert (before["configuration"]["version"], configuration["version"]) == ("1.4.0", "1.4.1")
    assert configuration["configuration_json"] == {"accounts": []}
    assert configuration["created_at"] == before["configuration"]["created_at"]
    assert configuration["updated_at"] > before["configuration"]["updated_at"]
    assert _ask(shipped, LISTING + "?include_configs=true").json["connectors"][0] == after


def test_a_configuration_can_be_edited_behind_its_clock_s_back(shipped: Sandbox) -> None:
    """Content may change under an old date and version, and a loader has to notice all the same."""
    old = shipped.connectors(TEAM)[0]["configuration"]
    kept = {"version": old["version"], "updated_at": old["updated_at"]}
    assert shipped.edit_configuration(TEAM, "T3S70", {}, **kept)["configuration"] == {**old, "configuration_json": {}}


def test_a_first_configuration_starts_at_version_one(shipped: Sandbox) -> None:
    """A connector drafted without a configuration gets one later."""
    configuration = shipped.edit_configuration(941277, "WHS44", {"a": 1})["configuration"]
    assert configuration.keys() == {"version", "configuration_json", "created_at", "updated_at"}
    assert configuration["version"] == "1.0.0"


def test_connectors_come_and_go_in_the_next_answer(shipped: Sandbox) -> None:
    """Answers are kept encoded, and must not outlive what they tell."""
    _ask(shipped)
    added = shipped.add_connector(TEAM, name="Late", updated_at="2020-01-01")
    assert _ask(shipped).json["connectors"][-1] == added
    shipped.delete_connector(TEAM, "T3S70")
    identifiers = [connector["connector_identifier"] for connector in _ask(shipped).json["connectors"]]
    assert identifiers == ["K8W21", "call-tracking_EU", added["connector_identifier"]]


def test_a_team_can_be_added_while_running(shipped: Sandbox) -> None:
    """A team joins later, with connectors older than anything loaded so far, or with none at all."""
    shipped.add_team(42, [{"connector_identifier": "OLD", "updated_at": "2019-01-01"}])
    shipped.add_team(43)
    shipped.add_connector(44, "NEW")
    assert shipped.team_ids == [936506, 941277, 958014, 42, 43, 44]
    assert _ask(shipped, "/v1/teams/42/connector_builder/connectors").json["count"] == 1
    assert _ask(shipped, "/v1/teams/43/connector_builder/connectors").json == {"count": 0, "connectors": []}


def test_impossible_changes_say_what_is_wrong(shipped: Sandbox) -> None:
    """A test or a person that mistypes an identifier must not change something else in silence."""
    with pytest.raises(SandboxError, match=r"^Team 936506 has no connector 'NONE'\.$"):
        shipped.edit_connector(TEAM, "NONE", name="x")
    with pytest.raises(SandboxError, match=r"^Team 5 is not in the sandbox\. Its teams: 936506, 941277, 958014\.$"):
        shipped.delete_connector(5, "T3S70")
    with pytest.raises(SandboxError, match=r"^Team 936506 already has a connector 'T3S70'\.$"):
        shipped.add_connector(TEAM, "T3S70")
    with pytest.raises(SandboxError, match=r"^connector_identifier must be 1 to 100 of A-Z a-z 0-9 _ -, got 'a b'\.$"):
        shipped.add_connector(TEAM, "a b")


def test_changes_over_http_are_the_same_as_in_python(shipped: Sandbox) -> None:
    """A person with curl sees each change, and the API lists it."""
    added = _ask(shipped, ADMIN, method="POST", body='{"connector_identifier": "A", "team_id": 1}')
    edited = _ask(shipped, f"{ADMIN}/A", method="PATCH", body='{"name": "B", "updated_at": "2025-01-01"}')
    body = '{"configuration_json": {"a": 1}, "version": "7"}'
    configured = _ask(shipped, f"{ADMIN}/A/configuration", method="PUT", body=body)
    assert [added.status, edited.status, configured.status] == [201, 200, 200]
    assert (added.json["team_id"], edited.json["name"], edited.json["updated_at"]) == (1, "B", "2025-01-01")
    assert configured.json["configuration"]["version"] == "7"
    assert _ask(shipped, LISTING + "?include_configs=true").json["connectors"][-1] == configured.json
    assert _ask(shipped, f"{ADMIN}/A", method="DELETE").json == configured.json
    assert _ask(shipped).json["count"] == 3


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
        ("GET", f"{ADMIN}/T3S70", None, 405, "GET is not offered here, only PATCH, DELETE."),
        ("POST", "/sandbox/teams", "{}", 404, "The sandbox is changed at /sandbox/teams/{team_id}/connectors"),
    ],
)
def test_changes_over_http_that_cannot_be_made_say_why(
    shipped: Sandbox, method: str, path: str, body: str | None, status: int, description: str
) -> None:
    """Whoever mistypes a curl line reads what was wrong with it, and nothing has changed."""
    before = {team_id: shipped.connectors(team_id) for team_id in shipped.team_ids}
    reply = _ask(shipped, path, method=method, body=body)
    _assert_refused(reply, status, reply.json["error"]["code"])
    assert reply.json["error"]["description"].startswith(description)
    assert before == {team_id: shipped.connectors(team_id) for team_id in shipped.team_ids}


def test_the_lines_of_usage_work_as_they_are(shipped: Sandbox) -> None:
    """They are there to be pasted; curl may be missing where the tests run, so its few options are read here."""
    commands = [shlex.split(line) for line in usage(shipped.url, shipped.token).splitlines() if line[0] != "#"]
    replies = [_curl(command) for command in commands]
    listed, added, edited, configured, reconfigured, deleted = (reply.json for reply in replies)
    assert [reply.status for reply in replies] == [200, 201, 200, 200, 200, 200]
    assert listed == {"count": 3, "connectors": Sandbox().connectors(TEAM)}
    assert (added["connector_identifier"], added["name"], edited["name"]) == ("NEW01", "Support desk", "Service desk")
    assert configured["configuration"]["configuration_json"] == {"authentication": {"type": "api_key"}}
    assert deleted["connector_identifier"] == "NEW01"
    before, *others = Sandbox().connectors(TEAM)
    after = before["configuration"]
    after["configuration_json"]["reporting"]["pagination"]["page_size"] = 1000
    assert shipped.connectors(TEAM) == [reconfigured, *others]
    assert reconfigured == before | {
        "configuration": after | {"version": "1.4.1", "updated_at": reconfigured["configuration"]["updated_at"]}
    }


def test_a_configuration_is_changed_in_part(shipped: Sandbox) -> None:
    """Objects are merged, null takes away, anything else is put in the place; so a line of curl is enough."""
    path = f"{ADMIN}/T3S70/configuration"
    _ask(shipped, path, method="PUT", body='{"configuration_json": {"a": {"b": 1, "c": [1, 2]}, "d": 1}}')
    body = '{"configuration_json": {"a": {"b": null, "c": [3], "e": {"f": null, "g": 2}}, "d": {"h": 1}, "i": null}}'
    merged = _ask(shipped, path, method="PATCH", body=body).json["configuration"]
    assert merged["configuration_json"] == {"a": {"c": [3], "e": {"g": 2}}, "d": {"h": 1}}
    assert merged["version"] == "1.4.2"
    assert (
        _ask(shipped, "/sandbox/teams/941277/connectors/WHS44/configuration", method="PATCH", body=body).status == 200
    )


def _curl(command: list[str]) -> Reply:
    """What curl would do with these words."""
    assert command[:2] == ["curl", "-sS"]
    words = iter(command[2:])
    method, body, headers, url = "GET", None, {}, ""
    for word in words:
        if word == "-X":
            method = next(words)
        elif word == "-d":
            body = next(words)
        elif word == "-H":
            name, _, value = next(words).partition(": ")
            headers[name] = value
        else:
            url = word
    host, slash, path = url.removeprefix("http://").partition("/")
    with closing(http.client.HTTPConnection(host, timeout=5)) as connection:
        connection.request(method, slash + path, body, headers)
        return _reply(connection)


# --- faults -----------------------------------------------------------------------------------------------------------


def test_a_fault_is_an_error_envelope_by_default(shipped: Sandbox) -> None:
    """A status is enough to script an error that looks like the API's."""
    for status, code in ((409, "CONFLICT_ERROR"), (500, "INTERNAL_SERVER_ERROR"), (502, "BAD_GATEWAY")):
        shipped.fault(Fault(status))
        _assert_refused(_ask(shipped), status, code)


def test_a_fault_can_say_everything_an_envelope_can(shipped: Sandbox) -> None:
    """Code, message, description, request id and Retry-After arrive as scripted."""
    shipped.fault(Fault(429, code="SLOW_DOWN", message="m", description="d", request_id="support-0001", retry_after=""))
    reply = _ask(shipped)
    error = {"code": "SLOW_DOWN", "message": "m", "description": "d"}
    assert reply.json == {"meta": {"request_id": "support-0001"}, "error": error}
    assert (reply.headers["x-request-id"], reply.headers["retry-after"]) == ("support-0001", "")
    assert shipped.requests[-1].request_id == "support-0001"


def test_a_request_id_can_be_in_the_body_or_the_header_or_nowhere(shipped: Sandbox) -> None:
    """Each is a place a client has to look for it."""
    shipped.fault(Fault(500, headers={"x-request-id": None}))
    shipped.fault(Fault(502, body=b"<html>", content_type="text/html"))
    shipped.fault(Fault(500, request_id=False))
    in_body, in_header, nowhere = _ask(shipped), _ask(shipped), _ask(shipped)
    assert "x-request-id" not in in_body.headers
    assert REQUEST_ID.fullmatch(in_body.json["meta"]["request_id"])
    assert (in_header.body, in_header.headers["content-type"]) == (b"<html>", "text/html")
    assert REQUEST_ID.fullmatch(in_header.headers["x-request-id"])
    assert (nowhere.json["meta"], "x-request-id" in nowhere.headers) == ({}, False)
    noted = [request.request_id for request in shipped.requests]
    assert noted == [in_body.json["meta"]["request_id"], in_header.headers["x-request-id"], None]


def test_a_200_can_carry_a_body_that_is_no_listing(shipped: Sandbox) -> None:
    """Gateways answer 200 with HTML, and an envelope under a 200 is no listing either."""
    shipped.fault(Fault(body=b"<html>", content_type="text/html"))
    shipped.fault(Fault(code="INTERNAL_SERVER_ERROR"))
    html, envelope = _ask(shipped), _ask(shipped)
    assert (html.status, html.body) == (200, b"<html>")
    assert (envelope.status, envelope.json["error"]["code"]) == (200, "INTERNAL_SERVER_ERROR")


def test_a_redirect_has_a_location_and_no_body(shipped: Sandbox) -> None:
    """A client must not follow with its token to wherever it is sent."""
    shipped.fault(Fault(302, location="http://127.0.0.1:9/elsewhere"))
    reply = _ask(shipped)
    assert (reply.status, reply.headers["location"], reply.body) == (302, "http://127.0.0.1:9/elsewhere", b"")


def test_headers_of_a_fault_override_the_usual_ones(shipped: Sandbox) -> None:
    """Even the rate limit and the content length, whatever the case of their names."""
    shipped.fault(Fault(headers={"x-ratelimit-remaining": "soon", "Server": "gateway"}))
    shipped.fault(Fault(body=b"to the end", headers={"content-length": None}))
    listing, unframed = _ask(shipped), _ask(shipped)
    assert listing.json["count"] == 3
    assert (listing.headers["x-ratelimit-remaining"], listing.headers["server"]) == ("soon", "gateway")
    assert (unframed.body, "content-length" in unframed.headers) == (b"to the end", False)


def test_faults_queue_and_wait_for_their_team(shipped: Sandbox) -> None:
    """A test scripts a whole run beforehand: the first fault that fits a request is used up by it."""
    other = "/v1/teams/941277/connector_builder/connectors"
    shipped.fault(Fault(503), team_id=TEAM, times=2)
    shipped.fault(Fault(500))
    assert [_ask(shipped, target).status for target in (other, other, LISTING, LISTING, LISTING)] == [
        *(500, 200),
        *(503, 503, 200),
    ]
    shipped.fault(Fault(500), times=10**9)
    assert [_ask(shipped).status, _ask(shipped).status] == [500, 500]
    shipped.clear_faults()
    assert _ask(shipped).status == 200


def test_a_delayed_answer_is_whole(shipped: Sandbox) -> None:
    """Slow is not broken; latency delays every answer, a fault's delay one."""
    shipped.latency = 0.05
    shipped.fault(Fault(delay=0.05))
    start = time.monotonic()
    assert _ask(shipped).json["count"] == 3
    assert time.monotonic() - start >= 0.1


def test_a_dripping_body_comes_byte_by_byte(shipped: Sandbox) -> None:
    """Each byte resets a client's read timeout, so only a deadline ends it."""
    shipped.fault(Fault(body=b"abcde", drip=0.02))
    start = time.monotonic()
    assert _ask(shipped).body == b"abcde"
    assert time.monotonic() - start >= 0.1


def test_a_connection_cut_before_the_headers_sends_nothing(shipped: Sandbox) -> None:
    """The client cannot know whether the request arrived."""
    shipped.fault(Fault(stage="before_headers"))
    assert _received(shipped) == b""
    assert (shipped.requests[-1].status, shipped.requests[-1].request_id) == (0, None)


def test_a_connection_cut_in_the_headers_never_ends_them(shipped: Sandbox) -> None:
    """A status line arrived, but no answer."""
    shipped.fault(Fault(stage="in_headers"))
    received = _received(shipped)
    assert received.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\n\r\n" not in received
    assert b"Content-Length" not in received
    assert shipped.requests[-1].status == 0


def test_a_connection_cut_in_the_body_sends_half_of_it(shipped: Sandbox) -> None:
    """A 200 whose listing is not whole: the length announced is the proper one."""
    whole = _ask(shipped).body
    shipped.fault(Fault(stage="mid_body"))
    with pytest.raises(http.client.IncompleteRead) as cut:
        _ask(shipped)
    assert cut.value.partial == whole[: len(whole) // 2]
    assert shipped.requests[-1].status == 200


def test_a_connection_cut_after_the_answer_fails_the_next_request(
    shipped: Sandbox, connection: http.client.HTTPConnection
) -> None:
    """A pooled connection that the server has closed in the meantime."""
    shipped.fault(Fault(503, stage="after"))
    connection.request("GET", LISTING)
    reply = _reply(connection)
    assert (reply.status, "connection" in reply.headers) == (503, False)
    assert connection.sock.recv(1) == b""


@pytest.mark.parametrize("fault", [Fault(hang=True), Fault(delay=60), Fault(drip=60)], ids=["hang", "delay", "drip"])
def test_stopping_ends_unfinished_answers_at_once(fault: Fault) -> None:
    """A test with a hanging server must end when the test does, leaving no thread behind."""
    threads = set(threading.enumerate())
    with Sandbox() as sandbox, closing(_connect(sandbox)) as connection:
        sandbox.fault(fault)
        connection.request("GET", LISTING, headers={"Authorization": f"Bearer {sandbox.token}"})
        while not sandbox.requests:
            time.sleep(0.005)
        start = time.monotonic()
        sandbox.stop()
        assert time.monotonic() - start < 30
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            _reply(connection)
    assert set(threading.enumerate()) == threads


def test_a_sandbox_comes_back_where_it_was(shipped: Sandbox) -> None:
    """An API that is down for a while returns under the same URL, with what it held."""
    url = shipped.url
    shipped.add_connector(TEAM, "A")
    shipped.stop()
    with pytest.raises(ConnectionRefusedError):
        _ask(shipped)
    shipped.start()
    assert shipped.url == url
    assert _ask(shipped).json["count"] == 4


def test_a_sandbox_without_a_port_has_no_url() -> None:
    """Asking too early must not yield port 0."""
    with pytest.raises(RuntimeError, match=r"^The sandbox has no port yet: start\(\) it first, or give it one\.$"):
        _ = Sandbox().url
    assert Sandbox(port=8931).url == "http://127.0.0.1:8931"


def test_many_clients_are_served_while_teams_change(shipped: Sandbox) -> None:
    """Teams are loaded in parallel: an answer is the state before or after a change, never between."""
    torn: list[Any] = []

    def read() -> None:
        for _ in range(20):
            listing = _ask(shipped).json
            if listing["count"] != len(listing["connectors"]):
                torn.append(listing)

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    for n in range(50):
        shipped.add_connector(TEAM, f"N{n}")
    for reader in readers:
        reader.join()
    assert torn == []
    assert len(shipped.requests) == 80


# --- the vendor's own client ------------------------------------------------------------------------------------------


needs_official_sdk = pytest.mark.skipif(sys.version_info < (3, 11), reason="the official SDK needs Python 3.11")


@pytest.fixture
def sdk() -> Any:
    """The official SDK; imported late because it does not exist for Python 3.10."""
    return importlib.import_module("supermetrics")


@pytest.fixture
def official(sdk: Any, shipped: Sandbox) -> Iterator[Any]:
    """The official SDK's client pointed at the sandbox; it does not retry."""
    with sdk.SupermetricsClient(api_key=shipped.token, base_url=shipped.url, timeout=5) as client:
        yield client


@needs_official_sdk
@pytest.mark.parametrize("include_configs", [True, False])
def test_official_sdk_reads_what_the_sandbox_holds(shipped: Sandbox, official: Any, include_configs: bool) -> None:
    """The vendor's models accept every shipped connector and give it back unchanged."""
    for team_id in shipped.team_ids:
        listing = official.connector_builder.list(team_id, include_configs=include_configs)
        expected = shipped.connectors(team_id, include_configs)
        assert listing.count == len(expected)
        assert [connector.to_dict() for connector in listing.connectors] == [_with_iso_dates(c) for c in expected]
    assert {request.include_configs for request in shipped.requests} == {include_configs}


@needs_official_sdk
def test_official_sdk_reads_one_connector(shipped: Sandbox, official: Any) -> None:
    """Its model of a configuration accepts the sandbox's too."""
    connector = official.connector_builder.get(TEAM, "T3S70")
    expected = shipped.connectors(TEAM)[0]["configuration"]
    assert connector.configuration.configuration_json.to_dict() == expected["configuration_json"]
    assert connector.configuration.version == "1.4.0"


@needs_official_sdk
@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (400, "BAD_REQUEST", "SupermetricsValidationError"),
        (401, "UNAUTHORIZED", "SupermetricsAuthError"),
        (403, "FORBIDDEN", "SupermetricsForbiddenError"),
        (404, "NOT_FOUND", "SupermetricsNotFoundError"),
        (409, "CONFLICT_ERROR", "SupermetricsAPIError"),
        (422, "UNPROCESSABLE_ENTITY", "SupermetricsValidationError"),
        (429, "TOO_MANY_REQUESTS", "SupermetricsRateLimitError"),
        (500, "INTERNAL_SERVER_ERROR", "SupermetricsServerError"),
        (503, "SERVICE_UNAVAILABLE", "SupermetricsServerError"),
    ],
)
def test_official_sdk_recognises_every_error(
    shipped: Sandbox, sdk: Any, official: Any, status: int, code: str, error: str
) -> None:
    """The vendor's client is the judge of whether an envelope is one."""
    shipped.fault(Fault(status, retry_after=3600 if status == 429 else None))
    with pytest.raises(sdk.SupermetricsAPIError) as raised:
        official.connector_builder.list(TEAM)
    assert type(raised.value).__name__ == error
    assert (raised.value.status_code, raised.value.error_code) == (status, code)
    assert raised.value.request_id == shipped.requests[-1].request_id
    assert raised.value.retry_after == (3600 if status == 429 else None)


@needs_official_sdk
def test_official_sdk_is_refused_like_anyone_else(shipped: Sandbox, sdk: Any, official: Any) -> None:
    """The sandbox's own refusals are as good as scripted ones."""
    with pytest.raises(sdk.SupermetricsForbiddenError, match="You do not have access to this resource"):
        official.connector_builder.list(5)
    shipped.tokens = {"api_next"}
    with pytest.raises(sdk.SupermetricsAuthError):
        official.connector_builder.list(TEAM)


def _with_iso_dates(connector: dict[str, Any]) -> dict[str, Any]:
    """The connector with its two dates as the SDK writes the datetimes it has read."""
    dates = {name: datetime.fromisoformat(connector[name]).isoformat() for name in ("created_at", "updated_at")}
    return {**connector, **dates}
