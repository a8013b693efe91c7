"""Teams, logs and secrets on the command line: what is said before, meanwhile and afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from supermetrics_loader.cli.main import run
from supermetrics_loader.sandbox import Fault, Sandbox

ALL = ("--include-teams", "--include-logs", "--include-secrets")
TEAM = 936506


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """Two teams of three connectors, a limit of forty requests, and the environment that leads there."""
    teams = {team: [{"connector_identifier": f"C{n}", "name": "x"} for n in range(3)] for team in (TEAM, 941277)}
    with Sandbox(teams=teams, rate_limit=40) as sandbox:
        given = {"API_KEY": sandbox.token, "BASE_URL": sandbox.url, "TEAM_IDS": f"{TEAM},941277", "WORKERS": "1"}
        for name, value in given.items():
            monkeypatch.setenv(f"SOURCES__SUPERMETRICS__{name}", value)
        yield sandbox


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command that goes well; what it prints."""

    def command(*arguments: str) -> str:
        capsys.readouterr()
        assert run(list(arguments)) == 0
        out, err = capsys.readouterr()
        assert err == ""
        return out

    return command


def test_check_says_beforehand_what_a_load_takes(api: Sandbox, cli: Callable[..., str]) -> None:
    """From what it has asked for anyway; with names, where they are asked for."""
    said = cli("check", "--include-logs", "--include-secrets")
    assert len(api.requests) == 2
    assert said.endswith(
        "A load of this takes at least 14 requests, 2 of them for listings. "
        "38 are left of this hour, of which 20 are kept for listings.\n"
    )
    said = cli("check", *ALL)
    assert "Nordic Marketing" in said
    assert "takes at least 16 requests" in said
    assert len(api.requests) == 6
    plan = json.loads(cli("check", *ALL, "--json"))["plan"]
    assert plan == {"requests": 16, "listings": 2, "remaining": 30, "kept": 20}
    assert cli("check", *ALL).endswith("are kept for listings: the rest will take more than one load.\n")
    assert "plan" not in json.loads(cli("check", "--json"))


def test_a_load_names_the_teams_and_says_what_it_left(api: Sandbox, cli: Callable[..., str]) -> None:
    """To a person and to a program; it went well all the same."""
    api.fault(Fault(403), path="/C0/secrets")
    api.fault(Fault(404), path=f"/{TEAM}")
    said = cli("load", *ALL)
    assert "Loyalty & Retail" in said
    assert "Could not be had of 2 teams or connectors: table fetches says what, with the request_id.\n" in said
    api.rate_limit = 44
    result = json.loads(cli("load", *ALL, "--json"))
    assert result["left"].endswith("are left of this hour and 22 are kept for listings")
    assert result["team_names"] == {str(TEAM): "Nordic Marketing", "941277": "Loyalty & Retail"}
    assert sum(team["connectors_postponed"] for team in result["teams"]) == 6
    assert "Left for the next load, of 6 connectors: " in cli("load", *ALL)


def test_a_dry_run_asks_for_listings_only(api: Sandbox, cli: Callable[..., str]) -> None:
    """What is not kept would be taken from the limit all the same."""
    cli("load", *ALL, "--dry-run")
    assert len(api.requests) == 2


@pytest.mark.usefixtures("api")
def test_an_age_that_is_none_is_refused_before_any_request(capsys: pytest.CaptureFixture[str], api: Sandbox) -> None:
    """With what was expected."""
    assert run(["load", "--include-logs", "--logs-since", "yesterday"]) == 64
    assert "logs_since is 'yesterday', expected a number of weeks, days, hours or minutes" in capsys.readouterr().err
    assert api.requests == []
