"""`check`: is the key good, which teams does it see, what does a load cost."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.helpers.commands import CRM, LOYALTY, PODCAST, Command
from tests.helpers.sandbox import Sandbox


def test_check_requests_each_team_once_and_loads_nothing(api: Sandbox, cli: Command) -> None:
    """It costs one request per team and works before the first load. Its JSON, for a monitor, is one object."""
    outcome = cli("check")
    assert outcome.code == 0
    assert sorted(request.team_id or 0 for request in api.requests) == api.team_ids
    assert not Path("supermetrics_connectors.duckdb").exists()
    remaining = {request.team_id: str(5000 - n) for n, request in enumerate(api.requests, start=1)}
    ids = {request.team_id: request.request_id for request in api.requests}
    rows = [line.split() for line in outcome.out.splitlines() if re.match(r"\s*\d{6}\s", line)]
    assert rows == [
        [str(team_id), "ok", "200", str(len(api.connectors(team_id))), remaining[team_id], ids[team_id]]
        for team_id in api.team_ids
    ]
    result = json.loads(cli("check", "--json").out)
    assert [(team["team_id"], team["status"], team["connectors"]) for team in result["teams"]] == [
        (CRM, "ok", 3),
        (LOYALTY, "ok", 2),
        (PODCAST, "ok", 2),
    ]
    assert "plan" not in result


@pytest.mark.usefixtures("api")
def test_check_shows_every_team_and_why_one_fails(cli: Command) -> None:
    """The good teams are shown too: this is how a wrong id is found."""
    outcome = cli("check", "--team", "7", "--team", str(CRM))
    assert outcome.code == 65
    assert re.search(rf"^\s*7\s+failed\s+403\s.*\n\s*{CRM}\s+ok\s+200", outcome.out, re.MULTILINE)
    assert outcome.err.startswith("Error: HTTP 403 FORBIDDEN for team 7: ")


def test_check_announces_the_requests_of_a_load_with_optional_tables(api: Sandbox, cli: Command) -> None:
    """The announced number is the number that the load makes."""
    options = ("--include-teams", "--include-logs", "--include-secrets")
    plan = json.loads(cli("check", *options, "--json").out)["plan"]
    made = len(api.requests)
    assert made == 3 + 3  # listings, and names for the table
    assert (plan["listings"], plan["remaining"]) == (3, 5000 - made)
    text = cli("check", *options).out
    assert f"A load makes at least {plan['requests']} requests, 3 of them for listings. " in text
    assert "Nordic Marketing" in text
    before = len(api.requests)
    assert cli("load", *options).code == 0
    assert len(api.requests) - before == plan["requests"]
    api.rate_limit = len(api.requests) + 20
    assert cli("check", *options).out.endswith(": optional tables will take more than one load.\n")
