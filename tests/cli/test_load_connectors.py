"""The command line as a person, a scheduler and a log collector meet it: texts, exit codes, what is left on disk."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest
from dlt.common.configuration.container import Container
from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext
from filelock import FileLock

from supermetrics_loader.cli import console
from supermetrics_loader.cli.main import run
from supermetrics_loader.run.failures import describe
from supermetrics_loader.run.load import LoadFailedError, run_load
from supermetrics_loader.run.targets import make_pipeline
from supermetrics_loader.sandbox import Fault, Sandbox
from supermetrics_loader.sandbox.data import shipped_teams

SCRIPT = str(Path(sys.executable).parent / "supermetrics-connectors")
CRM, LOYALTY, PODCAST = 936506, 941277, 958014
"""The shipped teams: 3, 2 and 2 connectors, 6 of them with a configuration."""
HTML = b"<html><body>502 Bad Gateway</body></html>"

NO_TEAM_IDS = (
    "No team_ids is set. Set --team ID (repeatable), SOURCES__SUPERMETRICS__TEAM_IDS in the environment, "
    "or team_ids under [sources.supermetrics] in .dlt/config.toml."
)
NO_API_KEY = (
    "No api_key is set. Set SUPERMETRICS_API_KEY in the environment, "
    "or api_key under [sources.supermetrics] in .dlt/secrets.toml."
)


@dataclass(frozen=True)
class Outcome:
    """What a command left its caller."""

    code: int
    out: str
    err: str


Command = Callable[..., Outcome]


@pytest.fixture
def api(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """The sandbox with the shipped teams, and the environment that leads to it. Retries do not wait."""
    for team_id, connectors in shipped_teams().items():
        sandbox.add_team(team_id, connectors)
    settings = {
        "BASE_URL": sandbox.url,
        "API_KEY": sandbox.token,
        "TEAM_IDS": ",".join(map(str, sandbox.team_ids)),
        "REQUEST_BACKOFF_FACTOR": "0",
    }
    for name, value in settings.items():
        monkeypatch.setenv(f"SOURCES__SUPERMETRICS__{name}", value)
    return sandbox


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command in this process: `cli("load", "--json")`."""

    def command(*arguments: str) -> Outcome:
        capsys.readouterr()
        code = run(list(arguments))
        return Outcome(code, *capsys.readouterr())

    return command


def script(*arguments: str, timeout: float = 60) -> Outcome:
    """Runs the installed console script to its end, in the current folder and environment."""
    done = subprocess.run(  # noqa: S603 - the tests make up the commands themselves
        [SCRIPT, *arguments], capture_output=True, encoding="utf-8", timeout=timeout, check=False
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


@contextmanager
def running(*command: str) -> Iterator[subprocess.Popen[str]]:
    """A process in the background, ended with the block."""
    process = subprocess.Popen(  # noqa: S603 - the tests make up the commands themselves
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def ask(
    sql: str, file: Path | str = "supermetrics_connectors.duckdb", dataset: str = "supermetrics"
) -> list[tuple[Any, ...]]:
    """Asks the DuckDB file that the command line left."""
    with duckdb.connect(str(file)) as connection:
        connection.execute(f"set timezone = 'UTC'; set schema = '{dataset}'")
        return connection.execute(sql).fetchall()


def listed(sandbox: Sandbox) -> list[tuple[int, str, str]]:
    """Team, identifier and name of every connector of the sandbox, sorted."""
    return sorted(
        (team_id, one["connector_identifier"], one["name"])
        for team_id in sandbox.team_ids
        for one in sandbox.connectors(team_id)
    )


def loaded(file: Path | str = "supermetrics_connectors.duckdb", dataset: str = "supermetrics") -> list[tuple[Any, ...]]:
    """The same of every row of `connectors`."""
    return ask("select team_id, connector_identifier, name from connectors order by all", file, dataset)


def totals(outcome: Outcome) -> str:
    """The summary's sentence with the sums, without the seconds."""
    match = re.search(r"^(Loaded \d+ of \d+ teams) in \d+\.\d s: (.*)\.$", outcome.out, re.MULTILINE)
    assert match, outcome
    return f"{match[1]}: {match[2]}"


# --- load: what happened? ---------------------------------------------------------------------------------------------


def test_load_writes_every_connector_to_the_default_file(api: Sandbox, cli: Command) -> None:
    """`supermetrics_connectors.duckdb` here, schema `supermetrics`: what all of the documentation builds on."""
    assert cli("load").code == 0
    assert loaded(Path.cwd() / "supermetrics_connectors.duckdb") == listed(api)


def test_load_tells_the_sums_the_teams_and_where_the_data_is(api: Sandbox, cli: Command) -> None:
    """The summary answers "what happened?" without a query; its request ids are those that the API gave."""
    outcome = cli("load", "--include-configs")
    assert totals(outcome) == ("Loaded 3 of 3 teams: 7 connectors, 7 changed, 0 removed, 6 new configuration versions")
    request_ids = {request.team_id: request.request_id for request in api.requests}
    rows = [line.split() for line in outcome.out.splitlines() if re.match(r"\s*\d{6}\s", line)]
    assert rows == [
        [str(CRM), "ok", "3", "3", "0", "3", request_ids[CRM]],
        [str(LOYALTY), "ok", "2", "2", "0", "1", request_ids[LOYALTY]],
        [str(PODCAST), "ok", "2", "2", "0", "2", request_ids[PODCAST]],
    ]
    assert f"Data:    duckdb:///{Path.cwd() / 'supermetrics_connectors.duckdb'}, dataset supermetrics\n" in outcome.out
    assert outcome.err == ""


def test_configurations_are_compressed(api: Sandbox, cli: Command) -> None:
    """By DuckDB 2, which writes them in the way that suits long texts; a file of DuckDB 1 has none for them."""
    for number in range(300):
        definition = {"fields": [{"id": f"field_{number}_{i}", "path": "$.orders[*].value"} for i in range(100)]}
        api.add_connector(CRM, f"C{number}", configuration={"configuration_json": definition})
    assert cli("load", "--include-configs").code == 0
    with duckdb.connect("supermetrics_connectors.duckdb", read_only=True) as connection:
        found = connection.execute(
            "select distinct compression from pragma_storage_info('supermetrics.connector_configurations')"
            " where column_name = 'configuration_json' and segment_type <> 'VALIDITY'"
        ).fetchall()
    assert found == [("ZSTD",) if duckdb.__version__ >= "2" else ("Uncompressed",)]


@pytest.mark.usefixtures("api")
def test_load_of_what_is_loaded_changes_nothing(cli: Command) -> None:
    """Incremental is the promise: unchanged connectors keep the `_dlt_load_id` of the load that brought them."""
    cli("load", "--include-configs")
    before = ask("select connector_identifier, _dlt_load_id from connectors order by all")
    outcome = cli("load", "--include-configs")
    assert totals(outcome) == ("Loaded 3 of 3 teams: 7 connectors, 0 changed, 0 removed, 0 new configuration versions")
    assert ask("select connector_identifier, _dlt_load_id from connectors order by all") == before


def test_load_counts_what_changed_between_two_runs(api: Sandbox, cli: Command) -> None:
    """One connector added, one edited, one deleted and one configuration edited are told as just that."""
    cli("load", "--include-configs")
    api.add_connector(CRM, "NEW01", name="Support desk")
    api.edit_connector(CRM, "T3S70", name="External CRM")
    api.delete_connector(PODCAST, "PDC11")
    api.edit_configuration(LOYALTY, "LYL09", {"reporting": {}})
    assert totals(cli("load", "--include-configs")) == (
        "Loaded 3 of 3 teams: 7 connectors, 2 changed, 1 removed, 1 new configuration versions"
    )
    assert loaded() == listed(api)


def test_incomplete_listing_is_told_with_both_numbers(api: Sandbox, cli: Command) -> None:
    """Whoever reads the summary must see why a connector that is gone was not removed."""
    api.report_count(LOYALTY, 5)
    outcome = cli("load")
    assert outcome.code == 0
    assert f"incomplete team {LOYALTY}: the API counts 5 connectors and listed 2, so none was removed\n" in outcome.out


def test_json_is_one_object_and_nothing_else(api: Sandbox, cli: Command) -> None:
    """A log collector parses standard output as it is."""
    outcome = cli("load", "--json")
    assert outcome.err == ""
    assert outcome.out.count("\n") == 1
    result = json.loads(outcome.out)
    assert [(team["team_id"], team["status"], team["connectors_changed"]) for team in result["teams"]] == [
        (CRM, "ok", 3),
        (LOYALTY, "ok", 2),
        (PODCAST, "ok", 2),
    ]
    assert result["location"] == f"duckdb:///{Path.cwd() / 'supermetrics_connectors.duckdb'}"
    assert {team["request_id"] for team in result["teams"]} == {request.request_id for request in api.requests}


def test_sandbox_needs_nothing_and_its_second_load_changes_nothing(cli: Command) -> None:
    """The first command of the README: no key, no team, no network."""
    assert totals(cli("load", "--sandbox")).endswith("7 connectors, 7 changed, 0 removed, 0 new configuration versions")
    assert totals(cli("load", "--sandbox")).endswith("7 connectors, 0 changed, 0 removed, 0 new configuration versions")


def test_team_option_is_repeatable_and_wins_over_the_configuration(api: Sandbox, cli: Command) -> None:
    """An option is what the person wants now; a team of the configuration that is not named is not asked for."""
    assert totals(cli("load", "--team", str(CRM), "--team", str(PODCAST), "--team", str(CRM))).startswith(
        "Loaded 2 of 2 teams: 5 connectors"
    )
    assert sorted(request.team_id or 0 for request in api.requests) == [CRM, PODCAST]


def test_full_refresh_writes_every_row_anew(api: Sandbox, cli: Command) -> None:
    """The way out for whoever does not trust the rows: all of them come from the last load, none is doubled."""
    cli("load", "--include-configs")
    with duckdb.connect("supermetrics_connectors.duckdb") as connection:
        connection.execute("update supermetrics.connectors set name = 'vandalised'")
    outcome = cli("load", "--include-configs", "--full-refresh")
    assert "7 connectors, 7 changed" in totals(outcome)
    assert loaded() == listed(api)
    assert ask("select count(*) from connector_configurations where _dlt_valid_to is null") == [(6,)]
    assert ask("select count(distinct _dlt_load_id) from connectors") == [(1,)]


def test_dataset_option_names_the_schema(api: Sandbox, cli: Command) -> None:
    """Two datasets of one file remember for themselves: the second load is a first one for it."""
    cli("load")
    outcome = cli("load", "--dataset", "connectors_eu")
    assert "7 connectors, 7 changed" in totals(outcome)
    assert "dataset connectors_eu\n" in outcome.out
    assert loaded(dataset="connectors_eu") == loaded() == listed(api)


def test_narrow_terminal_shows_every_number_and_request_id_whole(
    api: Sandbox, cli: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Support asks for the request id; an ellipsis in its place helps nobody."""
    monkeypatch.setattr(console.out, "_width", 80)
    lines = cli("load").out.splitlines()
    column = lines[1].index("request_id")
    folded = "".join(line[column:].strip() for line in lines[3:])
    assert all(request.request_id in folded for request in api.requests if request.request_id)
    assert not any("…" in line for line in lines)


# --- what a run starts from -------------------------------------------------------------------------------------------


def test_two_folders_used_in_turn_each_stay_right(
    api: Sandbox, cli: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both share dlt's working folder: a run that went by that would think the one file holds what the other does."""
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    for step in range(3):
        for folder in ("one", "two"):
            api.edit_connector(CRM, "T3S70", name=f"CRM {step} {folder}")
            monkeypatch.chdir(tmp_path / folder)
            assert cli("load").code == 0
            assert loaded() == listed(api)
    assert loaded(tmp_path / "one" / "supermetrics_connectors.duckdb") != listed(api)


def test_deleted_file_is_loaded_whole_again(api: Sandbox, cli: Command) -> None:
    """What was in the file is all that is remembered of it."""
    cli("load")
    Path("supermetrics_connectors.duckdb").unlink()
    assert "7 connectors, 7 changed" in totals(cli("load"))
    assert loaded() == listed(api)


def test_settings_come_from_the_toml_files_and_options_win(
    api: Sandbox, cli: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The README's configuration: the teams in config.toml, the key in secrets.toml, an option before both."""
    for name in ("API_KEY", "BASE_URL", "TEAM_IDS"):
        monkeypatch.delenv(f"SOURCES__SUPERMETRICS__{name}")
    Path(".dlt").mkdir()
    Path(".dlt/config.toml").write_text(
        f'[sources.supermetrics]\nteam_ids = [{CRM}, {LOYALTY}]\nbase_url = "{api.url}"\ninclude_configs = true\n'
    )
    Path(".dlt/secrets.toml").write_text(f'[sources.supermetrics]\napi_key = "{api.token}"\n')
    Container()[PluggableRunContext].reload_providers()
    assert totals(cli("load")) == (
        "Loaded 2 of 2 teams: 5 connectors, 5 changed, 0 removed, 4 new configuration versions"
    )
    assert totals(cli("load", "--team", str(PODCAST))).startswith("Loaded 1 of 1 teams: 2 connectors")


def test_vendors_variable_is_the_fallback_for_the_key(
    api: Sandbox, cli: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has the vendor's own tools set up has nothing to set."""
    monkeypatch.delenv("SOURCES__SUPERMETRICS__API_KEY")
    monkeypatch.setenv("SUPERMETRICS_API_KEY", api.token)
    assert cli("load").code == 0


# --- usage and configuration: 64, before any request ------------------------------------------------------------------


@pytest.mark.parametrize("command", ["load", "check"])
def test_without_key_and_teams_it_says_what_to_set_and_where(cli: Command, command: str) -> None:
    """Both in one go: a second attempt should not be needed to learn of the second one."""
    assert cli(command) == Outcome(64, "", f"Error {NO_TEAM_IDS}\n{NO_API_KEY}\n")


def test_without_key_it_says_what_to_set_and_where(cli: Command) -> None:
    """The variable of the vendor's tools comes first: it may be there already."""
    assert cli("load", "--team", str(CRM)) == Outcome(64, "", f"Error {NO_API_KEY}\n")


def test_without_teams_it_says_what_to_set_and_where(cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """The option is the nearest, the file the lasting place."""
    monkeypatch.setenv("SUPERMETRICS_API_KEY", "api_key")
    assert cli("load") == Outcome(64, "", f"Error {NO_TEAM_IDS}\n")


@pytest.mark.parametrize("command", ["load", "check"])
@pytest.mark.parametrize("team", ["x", "0", "-1", "1.5", "1/../2", "9223372036854775808", ""])
def test_team_that_is_none_is_refused_by_name(api: Sandbox, cli: Command, command: str, team: str) -> None:
    """Before any request, because the value would go into a path."""
    expected = f"Error Team id {team!r} is not an integer in 1 … 9223372036854775807.\n"
    assert cli(command, f"--team={team}") == Outcome(64, "", expected)
    assert api.requests == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["load", "--teem", "1"], "No such option"),
        (["lode"], "No such command 'lode'"),
        (["load", "--dataset", ""], "Invalid value for '--dataset': The name is empty."),
        (["load", "--pipeline-name", ""], "Invalid value for '--pipeline-name': The name is empty."),
        (["load", "--pipeline-name", "a/b"], "The pipeline name `a/b` contains invalid characters"),
        (["load", "--sandbox", "--base-url", "http://127.0.0.1:1"], "--sandbox and --base-url exclude each other"),
        (["load", "--base-url", "http://example.com"], "would send the token unencrypted"),
        (["load", "--table-format", "iceberg"], "'iceberg' is not 'delta'"),
        (["load", "--destination", "nosuch"], "dlt knows no destination 'nosuch'."),
        (["load", "--destination", "filesystem"], "Set DESTINATION__FILESYSTEM__BUCKET_URL in the environment"),
        (["sandbox", "--port", "65536"], "65536 is not in the range 0<=x<=65535"),
    ],
)
def test_unusable_argument_exits_64_and_says_which(api: Sandbox, cli: Command, arguments: list[str], said: str) -> None:
    """A scheduler tells a wrong crontab from a bad day of the API by the code, a person by the text."""
    outcome = cli(*arguments)
    assert (outcome.code, outcome.out) == (64, "")
    assert said in outcome.err
    assert "Traceback" not in outcome.err
    assert api.requests == []


@pytest.mark.usefixtures("api")
def test_unconfigured_destination_names_one_variable_a_field(cli: Command) -> None:
    """What dlt itself says lists every place in which it looked, some forty lines."""
    names = [f"DESTINATION__POSTGRES__CREDENTIALS__{name}" for name in ("DATABASE", "PASSWORD", "USERNAME", "HOST")]
    assert cli("load", "--destination", "postgres").err.splitlines()[-1] == (
        f"Error The destination postgres is not configured. Set {', '.join(names)} in the environment, "
        "or the same under [destination.postgres] in .dlt/secrets.toml."
    )


@pytest.mark.usefixtures("api")
def test_settings_file_that_is_not_toml_is_named() -> None:
    """In a process of its own, since that is read when dlt starts."""
    Path(".dlt").mkdir()
    Path(".dlt/secrets.toml").write_text('[sources.supermetrics]\napi_key = "api_unfinished\n')
    outcome = script("load")
    assert (outcome.code, outcome.out) == (64, "")
    assert "secrets.toml" in outcome.err
    assert "Traceback" not in outcome.err
    assert "api_unfinished" not in outcome.err


# --- failures: one block on standard error, a code for the scheduler --------------------------------------------------

FAILURES = {
    "401": (
        Fault(401),
        65,
        "SupermetricsUnauthorizedError: HTTP 401 UNAUTHORIZED for team 936506: The access token",
        1,
    ),
    "403": (Fault(403), 65, "SupermetricsForbiddenError: HTTP 403 FORBIDDEN for team 936506: You do not have", 1),
    "404": (Fault(404), 1, "SupermetricsNotFoundError: HTTP 404 NOT_FOUND for team 936506: The requested", 1),
    "429": (
        Fault(429, retry_after=3600),
        69,
        "SupermetricsRateLimitError: HTTP 429 TOO_MANY_REQUESTS for team 936506: Rate limit exceeded. Retry later.",
        1,
    ),
    "500": (Fault(500), 69, "SupermetricsServerError: HTTP 500 INTERNAL_SERVER_ERROR for team 936506: Something", 5),
    "503": (Fault(503), 69, "SupermetricsServerError: HTTP 503 SERVICE_UNAVAILABLE for team 936506: The service", 5),
    "HTML with 200": (Fault(body=HTML, content_type="text/html"), 69, "SupermetricsUnreadableError: HTTP 200 for", 5),
    "not the contract": (Fault(body=b'{"count": 1}'), 1, "SupermetricsContractError: HTTP 200 for team 936506: ", 1),
}


@pytest.mark.parametrize("name", FAILURES)
def test_failure_is_one_block_with_the_request_id_and_its_own_code(api: Sandbox, cli: Command, name: str) -> None:
    """Status, code, message, team and request id are what the person on call needs; a traceback is not."""
    fault, code, text, requests = FAILURES[name]
    api.fault(fault, times=100)
    outcome = cli("load", "--team", str(CRM))
    assert (outcome.code, outcome.out) == (code, "")
    assert outcome.err.startswith(f"Error {text}")
    assert outcome.err.endswith(
        f" (request_id={api.requests[-1].request_id})\n(in dlt's extract step of pipeline supermetrics)\n"
    )
    assert "Traceback" not in outcome.err
    assert len(api.requests) == requests


def test_refused_connection_exits_69(cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing listens: no status and no request id to tell, but the reason and the address."""
    monkeypatch.setenv("SUPERMETRICS_API_KEY", "api_key")
    monkeypatch.setenv("SOURCES__SUPERMETRICS__REQUEST_BACKOFF_FACTOR", "0")
    outcome = cli("load", "--team", str(CRM), "--base-url", "http://127.0.0.1:1")
    assert (outcome.code, outcome.out) == (69, "")
    assert "No whole answer from http://127.0.0.1:1: ConnectionRefusedError: " in outcome.err
    assert f"Team {CRM}: " in outcome.err
    assert "Traceback" not in outcome.err


def test_hour_of_rate_limit_fails_at_once_and_names_the_time(api: Sandbox, cli: Command) -> None:
    """An hour is a normal value of this API; a run that slept through it would block the next one."""
    api.fault(Fault(429, retry_after=3600))
    started = time.monotonic()
    outcome = cli("load")
    assert time.monotonic() - started < 10
    assert re.search(
        r"The limit resets at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC \(retry_after=3600 s\)\. \(request_id=", outcome.err
    )


def test_debug_shows_the_traceback_before_the_block(api: Sandbox, cli: Command) -> None:
    """Asked for, it is there; the block stays the last thing on the screen."""
    api.fault(Fault(403))
    outcome = cli("load", "--debug")
    assert outcome.code == 65
    assert outcome.err.startswith("Traceback (most recent call last):")
    assert "\nError SupermetricsForbiddenError: HTTP 403" in outcome.err


def test_json_failure_is_one_object_with_the_evidence(api: Sandbox, cli: Command) -> None:
    """A log collector keeps what it can parse; the block on standard error is for the person."""
    api.fault(Fault(403), team_id=LOYALTY)
    outcome = cli("load", "--json")
    assert outcome.code == 65
    assert outcome.err.startswith("Error SupermetricsForbiddenError: HTTP 403")
    error = json.loads(outcome.out)["error"]
    [request] = [request for request in api.requests if request.team_id == LOYALTY]
    assert (error["team_id"], error["status_code"], error["code"]) == (LOYALTY, 403, "FORBIDDEN")
    assert (error["request_id"], error["exit_code"]) == (request.request_id, 65)


def test_failed_run_loads_nothing_but_its_evidence(api: Sandbox, cli: Command) -> None:
    """The on-call query finds the request id in the warehouse; every team keeps the rows that it had."""
    cli("load")
    before = loaded()
    api.edit_connector(CRM, "T3S70", name="External CRM")
    api.fault(Fault(403, request_id="req_of_the_failure"), team_id=LOYALTY)
    assert cli("load").code == 65
    assert loaded() == before
    assert ask(
        "select team_id, http_status, error_code, request_id, error_message like '%(request_id=req_of_the_failure)'"
        " from team_syncs where status = 'failed'"
    ) == [(LOYALTY, 403, "FORBIDDEN", "req_of_the_failure", True)]


def test_first_run_that_fails_leaves_its_evidence_too(api: Sandbox, cli: Command) -> None:
    """Nothing is there yet, not even the tables."""
    api.fault(Fault(401), times=3)
    assert cli("load").code == 65
    assert ask("select distinct status, http_status from team_syncs") == [("failed", 401)]


@pytest.mark.parametrize("as_json", [(), ("--json",)])
def test_keep_going_loads_the_others_and_names_each_failure(
    api: Sandbox, cli: Command, as_json: tuple[str, ...]
) -> None:
    """One bad team does not cost the others their load, and nobody overlooks it."""
    api.fault(Fault(403), team_id=LOYALTY)
    outcome = cli("load", "--keep-going", *as_json)
    [request] = [request for request in api.requests if request.team_id == LOYALTY]
    assert outcome.code == 65
    assert re.fullmatch(
        rf"Error HTTP 403 FORBIDDEN for team {LOYALTY}: .* \(request_id={request.request_id}\)\n", outcome.err
    )
    assert loaded() == [row for row in listed(api) if row[0] != LOYALTY]
    assert ask("select team_id, request_id from team_syncs where status = 'failed'") == [(LOYALTY, request.request_id)]
    assert as_json or totals(outcome).startswith("Loaded 2 of 3 teams: 5 connectors")


@pytest.mark.parametrize(
    ("faults", "code"),
    [
        ({LOYALTY: Fault(403), PODCAST: Fault(500)}, 69),
        ({LOYALTY: Fault(404), PODCAST: Fault(403)}, 65),
        ({LOYALTY: Fault(body=b"{}")}, 1),
    ],
)
def test_keep_going_exits_with_the_code_of_what_failed(
    api: Sandbox, cli: Command, faults: dict[int, Fault], code: int
) -> None:
    """Where teams failed for different reasons, what may pass by itself comes before what somebody has to mend."""
    for team_id, fault in faults.items():
        api.fault(fault, team_id=team_id, times=100)
    assert cli("load", "--keep-going").code == code


def test_unauthorized_fails_the_whole_run_even_if_told_to_keep_going(api: Sandbox, cli: Command) -> None:
    """The key is every team's: rows of failed teams would only hide that."""
    api.tokens.clear()
    outcome = cli("load", "--keep-going")
    assert (outcome.code, outcome.out) == (65, "")
    assert "HTTP 401 UNAUTHORIZED" in outcome.err


def test_token_is_in_no_output(api: Sandbox, cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Output goes to logs and mails, that of --debug into tickets."""
    token = "api_do_not_print_me"
    monkeypatch.setenv("SOURCES__SUPERMETRICS__API_KEY", f"Bearer {token}")
    outcomes = [cli("load"), cli("check")]
    api.tokens.add(token)
    outcomes += [cli("load"), cli("check")]
    for fault in (Fault(401), Fault(500), Fault(stage="mid_body"), Fault(body=token.encode())):
        api.fault(fault, times=50)
        outcomes += [cli("load", "--debug", "--json"), cli("check", "--debug")]
        api.clear_faults()
    monkeypatch.setenv("SOURCES__SUPERMETRICS__API_KEY", f"{token}\n")
    outcomes.append(cli("load", "--debug"))
    assert {0, 64, 65, 69} <= {outcome.code for outcome in outcomes}
    assert not [outcome for outcome in outcomes if token in outcome.out + outcome.err]


# --- what comes from outside is data, and is shown as such ------------------------------------------------------------

HOSTILE = [
    "wrong :id: :key: :warning: [red]x[/red] [link=https://x.example]y[/link]",
    "\x1b]0;owned\x07\x1b[2J\x9b31mred",
    "one\nError forged\r\x85\u2028two",
    "invoice\u202efdp.exe \u2066isolated",
]


def unseen(text: str) -> set[str]:
    """What acts in a text instead of being seen, but for its line breaks."""
    return {char for char in text if not char.isprintable() and char != "\n"}


@pytest.mark.parametrize("message", HOSTILE, ids=ascii)
def test_message_of_the_api_is_shown_harmlessly_and_told_in_json_as_it_is(
    api: Sandbox, cli: Command, message: str
) -> None:
    """On the screen nothing of it acts or begins a line; a program gets what the error says, emoji codes and all."""
    api.fault(Fault(403, message=message, description=message), team_id=LOYALTY, times=3)
    outcome = cli("load", "--keep-going")
    assert outcome.code == 65
    assert unseen(outcome.out + outcome.err) == set()
    assert len(outcome.err.splitlines()) == 1
    if ":key:" in message:
        assert message in outcome.err
    outcome = cli("load", "--keep-going", "--json")
    [failed] = [team for team in json.loads(outcome.out)["teams"] if team["status"] == "failed"]
    assert outcome.out.isascii()
    assert ask(f"select distinct error_message from team_syncs where request_id = '{failed['request_id']}'") == [
        (failed["error_message"],)
    ]
    outcome = cli("load", "--json")
    assert outcome.code == 65
    assert unseen(outcome.err) == set()
    assert len(outcome.err.splitlines()) == 2
    assert unseen(json.loads(outcome.out)["error"]["message"]) == set()


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_names_within_a_configuration_are_shown_harmlessly(api: Sandbox, cli: Command, name: str) -> None:
    """Where secrets are typed in is told by paths, and those are made of names that anybody may choose."""
    api.edit_configuration(CRM, "T3S70", {name: {"password": "hunter2-hunter2"}})
    outcome = cli("check", "--secrets", "--team", str(CRM))
    assert (outcome.code, outcome.err) == (0, "")
    assert unseen(outcome.out) == set()
    [line] = [line for line in outcome.out.splitlines() if "T3S70:" in line]
    assert "password" in line
    secrets = json.loads(cli("check", "--secrets", "--team", str(CRM), "--json").out)["teams"][0]["secrets"]
    if ":key:" in name:
        assert name in line
        assert name in secrets["T3S70"][0]


@pytest.mark.parametrize("message", HOSTILE, ids=ascii)
def test_the_log_of_a_process_is_harmless(api: Sandbox, message: str) -> None:
    """A warning of the source is one line of the log, whatever it quotes."""
    api.fault(Fault(403, message=message), team_id=LOYALTY)
    outcome = script("load", "--keep-going")
    assert outcome.code == 65
    assert unseen(outcome.out + outcome.err) == set()
    warning, error = outcome.err.splitlines()
    assert warning.startswith("WARNING Team skipped, it keeps what it had: HTTP 403 FORBIDDEN for team")
    assert error.startswith("Error HTTP 403 FORBIDDEN for team")


def test_lines_of_a_destination_s_error_do_not_pass_for_ours() -> None:
    """Databases quote values in errors of several lines."""
    error = LoadFailedError(ValueError("no\nError forged\x1b[2J"), "load", "supermetrics")
    assert describe(error) == ("ValueError: no\n  Error forged\\x1b[2J\n(in dlt's load step of pipeline supermetrics)")


# --- a driver is missing: which extra brings it -----------------------------------------------------------------------


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize(
    ("module", "extra", "arguments"),
    [
        ("psycopg2", "postgres", ["load", "--destination", "postgres"]),
        ("psycopg2", "postgres", ["diff", "1", "A", "--destination", "postgres"]),
        ("psycopg2", "postgres", ["report", "--destination", "postgres"]),
        ("sqlalchemy", "sqlalchemy", ["load", "--destination", "sqlalchemy"]),
        ("deltalake", "deltalake", ["load", "--destination", "filesystem", "--table-format", "delta"]),
        ("snowflake.connector", "snowflake", ["load", "--destination", "snowflake"]),
        ("databricks", "databricks", ["load", "--destination", "databricks"]),
        ("pyathena", "athena", ["load", "--destination", "athena"]),
        ("pyodbc", "fabric", ["load", "--destination", "fabric"]),
        ("jinja2", "report", ["report"]),
        ("vl_convert", "report", ["report"]),
    ],
)
def test_missing_driver_is_named_with_the_extra_that_brings_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, extra: str, arguments: list[str]
) -> None:
    """And with a command that works in the clone: no package of this name is on the index."""
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", "postgresql://loader:password@127.0.0.1:1/warehouse")
    monkeypatch.setenv("DESTINATION__SQLALCHEMY__CREDENTIALS", f"sqlite:///{tmp_path / 'warehouse.sqlite'}")
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", (tmp_path / "lake").as_uri())
    code = (
        f"import sys; sys.modules[{module!r}] = None; sys.argv[1:] = {arguments!r}; "
        "from supermetrics_loader.cli.main import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", timeout=60, check=False)  # noqa: S603 - ours
    assert (done.returncode, done.stdout) == (64, "")
    assert done.stderr.splitlines()[-1] == (
        f"Error {module.partition('.')[0]} is not installed, which this needs. "
        f"Install it, in the clone of this project, with: pip install -e '.[{extra}]'"
    )
    assert "Traceback" not in done.stderr
    extras = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    assert f"\n{extra} = [" in extras


# --- which key was used -----------------------------------------------------------------------------------------------

PLACEHOLDERS = [
    "api_...",
    "otok_...",
    "...",
    "Bearer api_...",
    "api_\N{HORIZONTAL ELLIPSIS}",
    "<configure me>",
    "<token>",
]


def put_secrets(text: str) -> None:
    """Writes `.dlt/secrets.toml`, and has dlt read it."""
    Path(".dlt").mkdir(exist_ok=True)
    Path(".dlt/secrets.toml").write_text(text, encoding="utf-8")
    Container()[PluggableRunContext].reload_providers()


@pytest.mark.parametrize("command", ["load", "check"])
@pytest.mark.parametrize("placeholder", PLACEHOLDERS)
def test_placeholder_of_a_file_gives_way_to_the_real_key(
    api: Sandbox, cli: Command, monkeypatch: pytest.MonkeyPatch, placeholder: str, command: str
) -> None:
    """The example is copied and forgotten, the key is in the environment: that it was meant is beyond doubt."""
    monkeypatch.delenv("SOURCES__SUPERMETRICS__API_KEY")
    monkeypatch.setenv("SUPERMETRICS_API_KEY", api.token)
    put_secrets(f'[sources.supermetrics]\napi_key = "{placeholder}"\n')
    assert cli(command).code == 0


@pytest.mark.parametrize("command", ["load", "check"])
@pytest.mark.parametrize("placeholder", PLACEHOLDERS)
def test_placeholder_alone_is_refused_by_name(
    api: Sandbox, cli: Command, monkeypatch: pytest.MonkeyPatch, placeholder: str, command: str
) -> None:
    """Before any request, which would only be told that its key is wrong."""
    monkeypatch.delenv("SOURCES__SUPERMETRICS__API_KEY")
    put_secrets(f'[sources.supermetrics]\napi_key = "{placeholder}"\n')
    outcome = cli(command)
    assert (outcome.code, outcome.out) == (64, "")
    bare = placeholder.removeprefix("Bearer ")
    assert outcome.err.splitlines()[-1] == (
        f"Error The api_key is the placeholder {bare!r}, from api_key under [sources.supermetrics] in secrets.toml. "
        "Put a key from the Supermetrics Hub in its place, or set SUPERMETRICS_API_KEY in the environment."
    )
    assert api.requests == []


WRONG = "api_is_revoked_by_now"


@pytest.mark.parametrize(
    ("environment", "secrets", "where"),
    [
        ({"SUPERMETRICS_API_KEY": WRONG}, "", "SUPERMETRICS_API_KEY in the environment"),
        ({"SUPERMETRICS_API_KEY": f"Bearer {WRONG}"}, 'api_key = "api_..."', "SUPERMETRICS_API_KEY in the environment"),
        (
            {"SOURCES__SUPERMETRICS__API_KEY": WRONG, "SUPERMETRICS_API_KEY": "api_other"},
            "",
            "SOURCES__SUPERMETRICS__API_KEY in the environment",
        ),
        ({"SOURCES__API_KEY": WRONG}, "", "SOURCES__API_KEY in the environment"),
        (
            {"SUPERMETRICS_API_KEY": "api_other"},
            f'[sources.supermetrics]\napi_key = "{WRONG}"',
            "api_key under [sources.supermetrics] in secrets.toml",
        ),
        ({}, f'api_key = "{WRONG}"', "api_key in secrets.toml"),
    ],
)
@pytest.mark.parametrize("command", ["load", "check"])
def test_401_says_where_the_key_came_from_and_not_the_key(
    api: Sandbox,
    cli: Command,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    secrets: str,
    where: str,
    command: str,
) -> None:
    """Of several places in which one may be set, the wrong one is the hard one to find."""
    monkeypatch.delenv("SOURCES__SUPERMETRICS__API_KEY")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    put_secrets(secrets)
    outcome = cli(command)
    assert outcome.code == 65
    assert f" The key came from {where}. Check the API key: it may be mistyped, expired or revoked." in outcome.err
    assert WRONG not in outcome.err
    assert {request.headers["authorization"] for request in api.requests} == {f"Bearer {WRONG}"}


def test_key_given_by_a_script_is_called_an_argument(api: Sandbox) -> None:
    """It is in no place that dlt knows."""
    with pytest.raises(LoadFailedError, match="The key came from the argument api_key"):
        run_load(make_pipeline("by_script"), api_key=WRONG, team_ids=[CRM], base_url=api.url)


# --- somebody else is at it -------------------------------------------------------------------------------------------


def test_second_run_of_a_pipeline_says_so(api: Sandbox, cli: Command, tmp_path: Path) -> None:
    """Two at once would load each other's packages; the lock is the system's, so a killed run leaves none."""
    lock = tmp_path / "dlt" / "pipelines" / "supermetrics.lock"
    lock.parent.mkdir(parents=True)
    with FileLock(lock):
        outcome = cli("load")
    assert outcome == Outcome(
        1,
        "",
        f"Error Another process runs the pipeline 'supermetrics' ({lock} is locked). Wait until it is done. "
        "Runs that load into different places go side by side with a --pipeline-name each.\n",
    )
    assert api.requests == []
    assert cli("load").code == 0


@pytest.mark.usefixtures("api")
def test_duckdb_file_open_elsewhere_is_told_with_what_to_do(cli: Command) -> None:
    """DuckDB lets one process in: mostly it is somebody's notebook, and DuckDB's text has its process id."""
    hold = (
        "import duckdb, time; c = duckdb.connect('supermetrics_connectors.duckdb'); print(flush=True); time.sleep(60)"
    )
    with running(sys.executable, "-c", hold) as holder:
        assert holder.stdout
        holder.stdout.readline()
        outcome = cli("load")
        assert (outcome.code, outcome.out) == (1, "")
        assert "Could not set lock on file" in outcome.err
        assert f"PID {holder.pid}" in outcome.err
        assert outcome.err.endswith(
            "Another process has the DuckDB file open. Close it there, or wait until that process is done.\n"
        )
        assert "Traceback" not in outcome.err
    assert cli("load").code == 0


@pytest.mark.usefixtures("api")
def test_file_that_is_no_database_is_named_and_left_alone(cli: Command) -> None:
    """A file of that name may be anything, and is not ours to overwrite."""
    Path("supermetrics_connectors.duckdb").write_text("notes of somebody, not a database")
    outcome = cli("load")
    assert (outcome.code, outcome.out) == (1, "")
    assert str(Path.cwd() / "supermetrics_connectors.duckdb") in outcome.err
    assert "Traceback" not in outcome.err
    assert Path("supermetrics_connectors.duckdb").read_text() == "notes of somebody, not a database"


# --- check ------------------------------------------------------------------------------------------------------------


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


# --- the console script -----------------------------------------------------------------------------------------------


def test_help_names_the_commands_and_the_exit_codes() -> None:
    """The installed script answers, and says what a scheduler has to know."""
    outcome = script("--help")
    assert (outcome.code, outcome.err) == (0, "")
    for said in (
        "check ",
        "load ",
        "sandbox ",
        "supermetrics-connectors load --sandbox",
        "64 usage",
        "130 interrupted",
    ):
        assert said in outcome.out


def test_script_exits_with_the_code_and_all_of_its_output(api: Sandbox) -> None:
    """What was printed into a pipe is all there."""
    api.fault(Fault(403), team_id=LOYALTY)
    outcome = script("load", "--keep-going", "--json")
    assert outcome.code == 65
    assert len(json.loads(outcome.out)["teams"]) == 3
    assert outcome.err.count("Error HTTP 403 FORBIDDEN") == 1


def test_interrupted_load_exits_130_without_a_traceback(api: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while an answer is awaited is no failure to explain: nothing on the screen, and nothing is awaited."""
    monkeypatch.setenv("SOURCES__SUPERMETRICS__REQUEST_TIMEOUT", "300")
    api.fault(Fault(hang=True), times=100)
    with running(SCRIPT, "load") as process:
        _wait_until(lambda: len(api.requests) == 3)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (130, "", "")
    assert len(api.requests) == 3


def test_sandbox_command_prints_lines_that_work_in_another_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    """A person pastes them one after the other, and sees each load follow the changes."""
    monkeypatch.setenv("PATH", f"{Path(SCRIPT).parent}{os.pathsep}{os.environ['PATH']}")
    with running(SCRIPT, "sandbox", "--port", "0") as process:
        assert process.stdout
        printed = []
        for line in process.stdout:
            printed.append(line.rstrip("\n"))
            if "supermetrics-connectors diff" in line:
                break
        lines = [line for line in printed[2:] if line and not line.startswith("#")]
        exports, load, changes = lines[:3], lines[3], lines[5:]
        shell = "\n".join(["set -eu", *exports, load, *changes[:3], load, *changes[3:]])
        done = subprocess.run(["bash", "-c", shell], capture_output=True, encoding="utf-8", timeout=60, check=False)  # noqa: S603, S607
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=10)
    assert (process.returncode, err.strip()) == (130, "")
    assert re.match(r"Sandbox of the API: http://127\.0\.0\.1:\d+, token api_sandbox_not_a_real_key, ", printed[0])
    assert done.returncode == 0, done.stderr
    assert re.findall(r"\d+ connectors, \d+ changed, \d+ removed, \d+ new", done.stdout) == [
        "7 connectors, 7 changed, 0 removed, 6 new",
        "8 connectors, 1 changed, 0 removed, 1 new",
        "7 connectors, 0 changed, 1 removed, 1 new",
    ]
    assert "T3S70  Internal CRM: $.reporting.pagination.page_size\n" in done.stdout
    assert re.search(r'^\+ +"page_size": 1000', done.stdout, re.MULTILINE)


def test_sandbox_command_says_that_a_port_is_taken(sandbox: Sandbox, cli: Command) -> None:
    """The usual reason is a sandbox that still runs."""
    port = sandbox.url.rpartition(":")[2]
    outcome = cli("sandbox", "--port", port)
    assert outcome.code == 64
    assert f"Port {port}: Address already in use. Give another with --port; 0 picks a free one." in outcome.err


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
