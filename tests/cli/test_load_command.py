"""`load`: its summary, its JSON, its settings, and what a run starts from."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from supermetrics_loader.cli import console
from tests.helpers.commands import CRM, LOYALTY, PODCAST, Command, ask, listed, loaded, totals
from tests.helpers.sandbox import Fault, Sandbox

FILE = "supermetrics_connectors.duckdb"
OPTIONAL = ("--include-teams", "--include-logs", "--include-secrets")

# --- the summary ------------------------------------------------------------------------------------------------------


def test_a_load_writes_changes_and_prints_teams_sums_and_place(api: Sandbox, cli: Command) -> None:
    """The summary answers "what happened?" without a query; its request ids are those of the API.

    Unchanged connectors keep the `_dlt_load_id` of the load that wrote them.
    """
    outcome = cli("load", "--include-configs")
    assert (outcome.code, outcome.err) == (0, "")
    assert loaded(Path.cwd() / FILE) == listed(api)
    assert totals(outcome) == "Loaded 3 of 3 teams: 7 connectors, 7 changed, 0 removed, 6 new configuration versions"
    request_ids = {request.team_id: request.request_id for request in api.requests}
    rows = [line.split() for line in outcome.out.splitlines() if re.match(r"\s*\d{6}\s", line)]
    assert rows == [
        [str(CRM), "ok", "3", "3", "0", "3", request_ids[CRM]],
        [str(LOYALTY), "ok", "2", "2", "0", "1", request_ids[LOYALTY]],
        [str(PODCAST), "ok", "2", "2", "0", "2", request_ids[PODCAST]],
    ]
    assert f"Data:    duckdb:///{Path.cwd() / FILE}, dataset supermetrics\n" in outcome.out
    # no row is in a write-ahead log beside the file, so a copy of the file is complete
    assert [path.name for path in Path.cwd().glob("supermetrics_connectors*")] == [FILE]

    before = ask("select connector_identifier, _dlt_load_id from connectors order by all")
    unchanged = cli("load", "--include-configs")
    assert totals(unchanged) == "Loaded 3 of 3 teams: 7 connectors, 0 changed, 0 removed, 0 new configuration versions"
    assert ask("select connector_identifier, _dlt_load_id from connectors order by all") == before
    api.add_connector(CRM, "NEW01", name="Support desk")
    api.edit_connector(CRM, "T3S70", name="External CRM")
    api.delete_connector(PODCAST, "PDC11")
    api.edit_configuration(LOYALTY, "LYL09", {"reporting": {}})
    changed = cli("load", "--include-configs")
    assert totals(changed) == "Loaded 3 of 3 teams: 7 connectors, 2 changed, 1 removed, 1 new configuration version"
    assert loaded() == listed(api)


def test_incomplete_listings_and_redacted_secrets_are_located(
    api: Sandbox, cli: Command, caplog: pytest.LogCaptureFixture
) -> None:
    """The reader sees why a deleted connector was not removed, and which secret to move to the Connector Builder's."""
    api.report_count(LOYALTY, 5)
    twice = [{"connector_identifier": "POD11"}] * 2
    api.fault(Fault(body=json.dumps({"count": 2, "connectors": twice}).encode()), team_id=PODCAST)
    api.edit_configuration(CRM, "T3S70", {"password": "hunter2-hunter2"})
    outcome = cli("load", "--include-configs")
    assert outcome.code == 0
    assert f"incomplete team {LOYALTY}: the API counts 5 connectors and listed 2, so none was removed\n" in outcome.out
    repeated = "the API listed a connector more than once, which the warning names, so none was removed\n"
    assert f"incomplete team {PODCAST}: {repeated}" in outcome.out
    assert f"The API lists connector 'POD11' of team {PODCAST} more than once" in caplog.text
    assert f"  team {CRM}, T3S70: $.password\n" in outcome.out
    assert re.search(r"^Redacted \d+ secrets? in configurations:$", outcome.out, re.MULTILINE)
    assert "hunter2" not in outcome.out


def test_json_is_one_object_and_a_dataset_is_refreshed_by_itself(api: Sandbox, cli: Command) -> None:
    """A log collector parses standard output without a filter.

    The first load into a second dataset of a file is a first load. A full refresh undoes edits by hand in its dataset,
    and adds no second version.
    """
    outcome = cli("load", "--json")
    assert outcome.err == ""
    assert outcome.out.count("\n") == 1
    result = json.loads(outcome.out)
    assert [(team["team_id"], team["status"], team["connectors_changed"]) for team in result["teams"]] == [
        (CRM, "ok", 3),
        (LOYALTY, "ok", 2),
        (PODCAST, "ok", 2),
    ]
    assert result["location"] == f"duckdb:///{Path.cwd() / FILE}"
    assert {team["request_id"] for team in result["teams"]} == {request.request_id for request in api.requests}

    in_eu = ("load", "--include-configs", "--dataset", "connectors_eu")
    outcome = cli(*in_eu)
    assert "7 connectors, 7 changed" in totals(outcome)
    assert "dataset connectors_eu\n" in outcome.out
    assert loaded(dataset="connectors_eu") == loaded() == listed(api)

    for dataset in ("supermetrics", "connectors_eu"):
        ask("update connectors set name = 'vandalised'", dataset=dataset)
    assert "7 connectors, 7 changed" in totals(cli(*in_eu, "--full-refresh"))
    assert loaded(dataset="connectors_eu") == listed(api)
    assert {name for *_, name in loaded()} == {"vandalised"}
    current = "select count(*) from connector_configurations where _dlt_valid_to is null"
    assert ask(current, dataset="connectors_eu") == [(6,)]
    assert ask("select count(distinct _dlt_load_id) from connectors", dataset="connectors_eu") == [(1,)]


@pytest.mark.parametrize("command", ["load", "check"])
def test_80_columns_show_every_number_and_request_id(
    api: Sandbox, cli: Command, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """Support asks for the request id; an ellipsis in its place is of no use."""
    monkeypatch.setattr(console.out, "_width", 80)
    table = cli(command).out.partition("Loaded")[0]
    lines = [line.rstrip() for line in table.splitlines()]
    assert all(len(line) <= 80 for line in lines)
    column = lines[1].index("request_id") if "request_id" in lines[1] else lines[0].index("request_id")
    folded = "".join(line[column:].strip() for line in lines)
    assert all(request.request_id in folded for request in api.requests if request.request_id)
    assert "…" not in "".join(lines)


def test_many_teams_are_listed_up_to_a_screen(api: Sandbox, cli: Command) -> None:
    """40 teams are all listed; of more, those with changes."""
    for team_id in range(1, 38):
        api.add_team(team_id)
    teams = [f"--team={team_id}" for team_id in [*range(1, 38), CRM, LOYALTY, PODCAST]]
    outcome = cli("load", *teams)
    assert "more team" not in outcome.out
    assert len(re.findall(r"^ +\d+ +ok ", outcome.out, re.MULTILINE)) == 40
    api.add_team(99)
    api.edit_connector(CRM, "T3S70", name="External CRM")
    outcome = cli("load", *teams, "--team=99")
    assert re.findall(r"^ +(\d+) +ok ", outcome.out, re.MULTILINE) == [str(CRM)]
    assert "… and 40 more teams, all in the table team_syncs\n" in outcome.out


# --- options and settings ---------------------------------------------------------------------------------------------


def test_the_sandbox_option_needs_nothing_and_leads_to_a_diff(cli: Command) -> None:
    """The first command of the README, twice: the second load finds an edited configuration."""
    first = cli("load", "--sandbox", "--include-configs")
    assert totals(first).endswith("7 connectors, 7 changed, 0 removed, 6 new configuration versions")
    assert "dataset supermetrics_sandbox\n" in first.out
    assert "Next:    run the same command again." in first.out
    second = cli("load", "--sandbox", "--include-configs")
    assert totals(second).endswith("7 connectors, 0 changed, 0 removed, 1 new configuration version")
    *_, command = second.out.rstrip().splitlines()
    assert command == "Next:    supermetrics-connectors diff 936506 T3S70 --dataset supermetrics_sandbox"
    assert totals(cli("load", "--sandbox", "--include-configs")).endswith("0 new configuration versions")
    lines = cli(*command.split()[2:]).out.splitlines()
    assert '-              "value": "500"' in lines
    assert '+              "value": "1000"' in lines


# --- optional tables --------------------------------------------------------------------------------------------------


def test_a_load_with_optional_tables_names_teams_and_counts_rows_failures_and_postponed_requests(
    api: Sandbox, cli: Command
) -> None:
    """A failed or postponed request does not fail the load."""
    api.fault(Fault(403), path="/T3S70/secrets")
    api.fault(Fault(404), path=f"/{CRM}")
    api.set_secrets(LOYALTY, "LYL09", {"sec_5b0c1f7e2": "client_id"})
    outcome = cli("load", *OPTIONAL)
    assert outcome.code == 0
    assert "Loyalty & Retail" in outcome.out
    assert "Wrote 1 row to connector_secrets.\n" in outcome.out
    assert "Requests failed for 2 teams or connectors: see the table fetches.\n" in outcome.out
    api.rate_limit = len(api.requests) + 5  # two for optional tables after the three listings
    result = json.loads(cli("load", *OPTIONAL, "--json").out)
    assert "reserved for listings" in result["postponed_reason"]
    assert sum(team["connectors_postponed"] for team in result["teams"]) > 0
    api.rate_limit = len(api.requests) + 5
    assert re.search(r"^Left to the next load, for \d+ connectors: ", cli("load", *OPTIONAL).out, re.MULTILINE)


# --- what a run starts from -------------------------------------------------------------------------------------------


def test_two_folders_share_dlts_working_folder_and_each_stays_right(
    api: Sandbox, cli: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run compares with its own file and not with the file of the last run."""
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    for step, folder in enumerate(("one", "two", "one")):
        api.edit_connector(CRM, "T3S70", name=f"CRM {step}")
        monkeypatch.chdir(tmp_path / folder)
        assert cli("load").code == 0
        assert loaded() == listed(api)
    assert loaded(tmp_path / "two" / FILE) != listed(api)


def test_a_failed_first_load_leaves_no_file_and_a_deleted_file_is_loaded_again(
    api: Sandbox, cli: Command, tmp_path: Path
) -> None:
    """A newcomer's wrong key leaves the folder clean; no state outside the file says that its rows were loaded."""
    api.fault(Fault(401), times=99)
    for options in ((), ("--keep-going",)):
        assert cli("load", *options).code == 65
        assert [path.name for path in tmp_path.iterdir()] == ["dlt"]
    api.clear_faults()
    for _ in range(2):
        assert "7 connectors, 7 changed" in totals(cli("load"))
        assert loaded() == listed(api)
        Path(FILE).unlink()
