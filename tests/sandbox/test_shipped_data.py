"""The shipped teams: within the limits of the API, in every shape that a loader meets, the same in every sandbox."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import Any

import orjson

from supermetrics_loader.sandbox.data import shipped_teams
from tests.helpers.sandbox import Sandbox

CONNECTORS = {each["connector_identifier"]: each for team in shipped_teams().values() for each in team}
DEFINITIONS: dict[str, Any] = {
    name: each["configuration"]["configuration_json"] for name, each in CONNECTORS.items() if "configuration" in each
}


def test_connectors_keep_the_limits_of_the_api_and_have_every_shape() -> None:
    """Each date shape, a null description, a null logo and a missing configuration occur."""
    dates = set()
    for name, each in CONNECTORS.items():
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,100}", name)
        assert len(each["name"]) <= 255
        for record in (each, each.get("configuration", each)):
            dates |= {record["created_at"], record["updated_at"]}
    assert {re.sub(r"T\d\d:\d\d:\d\d", "T", date)[10:] for date in dates} == {"", "TZ", "T+00:00", "T+0000"}
    assert all(datetime.fromisoformat(re.sub(r"(Z|\+0000)$", "+00:00", date)) for date in dates)
    assert [name for name, each in CONNECTORS.items() if each["description"] is None] == ["call-tracking_EU"]
    assert [name for name, each in CONNECTORS.items() if each["logo_url"] is None] == ["RTL-2025"]
    assert set(CONNECTORS) - set(DEFINITIONS) == {"WHS44"}


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


def test_every_sandbox_has_the_same_data() -> None:
    """Changes of one sandbox are not in the next one."""
    Sandbox().edit_configuration(936506, "T3S70", {"changed": True})
    assert Sandbox().connectors(936506) == shipped_teams()[936506]


def test_logs_are_plausible_and_the_same_in_every_sandbox() -> None:
    """Within the limits of the API, with failures and entries of one time, up to about now."""
    log = Sandbox().optional_data("logs", 936506, "K8W21")
    assert len({entry["id"] for entry in log}) == len(log) > 100
    times = [entry["log_time"] for entry in log]
    assert len(set(times)) < len(times)
    assert (datetime.now(timezone.utc) - datetime.fromisoformat(times[-1])).total_seconds() < 6 * 3600
    assert {entry["status"] for entry in log} > {200}
    assert all(0 <= entry["duration_ms"] < 2**31 and len(entry["request"]) <= 1000 for entry in log)
    assert [each["id"] for each in Sandbox().optional_data("logs", 936506, "K8W21")][:50] == [e["id"] for e in log][:50]


def test_secrets_are_those_of_the_configuration_and_an_unused_one() -> None:
    """So a report has something to show."""
    for name in ("T3S70", "K8W21", "call-tracking_EU"):
        used = dict.fromkeys(re.findall(r"sec_[0-9a-f]+", orjson.dumps(DEFINITIONS[name]).decode()))
        secrets = Sandbox().optional_data("secrets", 936506, name)
        assert [secret["secret_placeholder"] for secret in secrets] == [*used, "sec_0f9e8d7c6"]
