"""`check`: is the key good, which teams does it see."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from supermetrics_loader.sandbox import Sandbox
from tests.helpers.commands import CRM, LOYALTY, PODCAST, Command


def test_check_asks_for_each_team_once_and_loads_nothing(api: Sandbox, cli: Command) -> None:
    """It answers before the first load, and costs a request a team of the hourly limit."""
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


@pytest.mark.usefixtures("api")
def test_check_shows_every_team_and_why_one_fails(cli: Command) -> None:
    """The good teams are told as well: that is how one finds the wrong id."""
    outcome = cli("check", "--team", "7", "--team", str(CRM))
    assert outcome.code == 65
    assert re.search(rf"^\s*7\s+failed\s+403\s.*\n\s*{CRM}\s+ok\s+200", outcome.out, re.MULTILINE)
    assert outcome.err.startswith("Error HTTP 403 FORBIDDEN for team 7: ")


def test_check_of_a_bad_key_is_one_block(api: Sandbox, cli: Command) -> None:
    """The key is the whole run's: there is no table to show."""
    api.tokens.clear()
    outcome = cli("check")
    assert (outcome.code, outcome.out) == (65, "")
    assert outcome.err.startswith("Error HTTP 401 UNAUTHORIZED for team ")


@pytest.mark.usefixtures("api")
def test_check_json_is_one_object(cli: Command) -> None:
    """The same for a monitor."""
    teams = json.loads(cli("check", "--json").out)["teams"]
    assert [(team["team_id"], team["status"], team["connectors"]) for team in teams] == [
        (CRM, "ok", 3),
        (LOYALTY, "ok", 2),
        (PODCAST, "ok", 2),
    ]
