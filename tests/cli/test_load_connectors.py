"""The command line as a person, a scheduler and a log collector meet it: texts, exit codes, what is left on disk."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import duckdb
import pytest
from dlt.common.configuration.container import Container
from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext

from supermetrics_loader.cli import console
from supermetrics_loader.run.failures import describe
from supermetrics_loader.run.load import LoadFailedError
from supermetrics_loader.sandbox import Fault, Sandbox
from tests.helpers.commands import (
    CRM,
    LOYALTY,
    NO_API_KEY,
    NO_TEAM_IDS,
    PODCAST,
    SCRIPT,
    Command,
    Outcome,
    ask,
    listed,
    loaded,
    running,
    script,
    totals,
    wait_until,
)

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
        wait_until(lambda: len(api.requests) == 3)
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
