"""What a failed run says and exits with: one block with the request id, a code for the scheduler."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

from supermetrics_loader.sandbox import Fault, Sandbox
from tests.helpers.commands import (
    CRM,
    HTML,
    LOYALTY,
    PODCAST,
    Command,
    Outcome,
    ask,
    listed,
    loaded,
    running,
    shipped,
    totals,
)


@pytest.fixture
def api(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """The sandbox with the shipped teams, and the environment that leads to it."""
    return shipped(sandbox, monkeypatch)


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
    assert time.monotonic() - started < 60
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
