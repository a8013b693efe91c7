"""The sandbox tells of teams, logs and secrets as the API does; the vendor's own client is the judge."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import orjson
import pytest
import requests

from supermetrics_loader.sandbox import Sandbox

TEAM = 936506
CONNECTORS = f"/v1/teams/{TEAM}/connector_builder/connectors"

needs_official_sdk = pytest.mark.skipif(sys.version_info < (3, 11), reason="the official SDK needs Python 3.11")


@pytest.fixture(scope="module")
def shipped() -> Iterator[Sandbox]:
    """The sandbox with its own teams."""
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def official(shipped: Sandbox) -> Iterator[Any]:
    """The official SDK's client; imported late because it does not exist for Python 3.10."""
    sdk = importlib.import_module("supermetrics")
    with sdk.SupermetricsClient(api_key=shipped.token, base_url=shipped.url, timeout=5) as client:
        yield client


def get(api: Sandbox, path: str, **params: Any) -> requests.Response:
    """A GET with the token."""
    headers = {"Authorization": f"Bearer {api.token}"}
    return requests.get(api.url + path, params=params, headers=headers, timeout=5)


@needs_official_sdk
def test_official_sdk_reads_a_team(official: Any) -> None:
    """In the envelope with `data`."""
    team = official.teams.get(TEAM)
    team = getattr(team, "data", team)
    assert (team.team_id, team.name, team.display_id) == (TEAM, "Nordic Marketing", f"SM_{TEAM}")


def test_a_team_comes_in_an_envelope_with_the_request_id(shipped: Sandbox) -> None:
    """As newer endpoints of the API have it."""
    answer = get(shipped, f"/v1/teams/{TEAM}")
    assert answer.json()["meta"] == {"request_id": answer.headers["X-Request-Id"]}


@needs_official_sdk
def test_official_sdk_pages_through_a_log(shipped: Sandbox, official: Any) -> None:
    """Its models take every entry, and its `before` is understood."""
    everything = shipped.logs(TEAM, "T3S70")
    page = official.connector_builder_logs.list(TEAM, "T3S70", limit=1000).logs
    assert [entry.id for entry in page] == [entry["id"] for entry in everything]
    assert {type(entry.duration_ms) for entry in page} == {int}
    middle = page[len(page) // 2].log_time
    older = official.connector_builder_logs.list(TEAM, "T3S70", limit=5, before=middle).logs
    assert [entry.id for entry in older] == [e["id"] for e in everything if at(e) < middle][:5]
    assert official.connector_builder_logs.get(TEAM, "T3S70", page[0].id).request == page[0].request


@needs_official_sdk
def test_official_sdk_reads_secrets(official: Any) -> None:
    """What they are called."""
    listing = official.connector_builder_secrets.list(TEAM, "T3S70")
    names = [(secret.secret_placeholder, secret.secret_name) for secret in listing.secrets]
    assert names[:2] == [("sec_5b0c1f7e2", "client_id"), ("sec_a23f23d26", "client_secret")]
    assert listing.count == len(names)


def test_the_shipped_logs_are_believable_and_the_same_on_every_run(shipped: Sandbox) -> None:
    """Within the limits of the contract, with failures and entries of one time, up to about now."""
    log = shipped.logs(TEAM, "K8W21")
    assert len({entry["id"] for entry in log}) == len(log) > 100
    times = [entry["log_time"] for entry in log]
    assert len(set(times)) < len(times)
    assert (datetime.now(timezone.utc) - at(log[0])).total_seconds() < 6 * 3600
    assert {entry["status"] for entry in log} > {200}
    assert all(0 <= entry["duration_ms"] < 2**31 and len(entry["request"]) <= 1000 for entry in log)
    assert [e["id"] for e in Sandbox().logs(TEAM, "K8W21")][-50:] == [entry["id"] for entry in log][-50:]


def test_the_shipped_secrets_are_those_of_the_configurations_and_one_more(shipped: Sandbox) -> None:
    """So that a report has something to say."""
    for connector in shipped.connectors(TEAM):
        used = set(re.findall(rb"sec_[0-9a-f]+", orjson.dumps(connector.get("configuration"))))
        told = get(shipped, f"{CONNECTORS}/{connector['connector_identifier']}/secrets").json()["secrets"]
        assert {secret["secret_placeholder"].encode() for secret in told} == used | (
            {b"sec_0f9e8d7c6"} if used else set()
        )


@pytest.mark.parametrize(
    ("path", "params", "status"),
    [
        (f"{CONNECTORS}/T3S70/logs", {"limit": 0}, 400),
        (f"{CONNECTORS}/T3S70/logs", {"limit": 1001}, 400),
        (f"{CONNECTORS}/T3S70/logs", {"before": "yesterday"}, 400),
        (f"{CONNECTORS}/NONE/logs", {}, 404),
        (f"{CONNECTORS}/NONE/secrets", {}, 404),
        (f"{CONNECTORS}/T3S70/logs/none", {}, 404),
        ("/v1/teams/5", {}, 403),
        ("/v1/teams/none", {}, 400),
    ],
)
def test_what_the_api_refuses_is_refused(shipped: Sandbox, path: str, params: dict[str, Any], status: int) -> None:
    """With the envelope, as everywhere."""
    answer = get(shipped, path, **params)
    assert answer.status_code == status
    assert answer.json()["meta"]["request_id"] == answer.headers["X-Request-Id"]


def test_a_page_has_a_hundred_entries_unless_said_otherwise(shipped: Sandbox) -> None:
    """The contract's default."""
    assert len(get(shipped, f"{CONNECTORS}/T3S70/logs").json()["logs"]) == 100


def at(entry: dict[str, Any]) -> datetime:
    """When an entry was."""
    return datetime.fromisoformat(entry["log_time"])
