"""Failures of a load: one error on standard error with the request id, and an exit code for the scheduler."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.commands import (
    CRM,
    HTML,
    LOYALTY,
    PODCAST,
    SCRIPT,
    Command,
    ask,
    listed,
    loaded,
    running,
    shipped,
    totals,
    wait_until,
)
from tests.helpers.sandbox import Fault, Sandbox


@pytest.fixture
def api(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """The sandbox with the shipped teams."""
    return shipped(sandbox, monkeypatch)


FAILURES = {
    "401": (Fault(401), 65, "HTTP 401 UNAUTHORIZED for team 936506: The access token", 1),
    "403": (Fault(403), 65, "HTTP 403 FORBIDDEN for team 936506: You do not have", 1),
    "404": (Fault(404), 1, "HTTP 404 NOT_FOUND for team 936506: The requested", 1),
    "429": (
        Fault(429, retry_after=3600),
        69,
        "HTTP 429 TOO_MANY_REQUESTS for team 936506: Rate limit exceeded. Retry later.",
        1,
    ),
    "500": (Fault(500), 69, "HTTP 500 INTERNAL_SERVER_ERROR for team 936506: Something", 5),
    "503": (Fault(503), 69, "HTTP 503 SERVICE_UNAVAILABLE for team 936506: The service", 5),
    "HTML with 200": (Fault(body=HTML, content_type="text/html"), 69, "HTTP 200 for", 5),
    "undocumented": (Fault(body=b'{"count": 1}'), 1, "HTTP 200 for team 936506: ", 1),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_is_one_line_with_the_request_id_and_its_own_code(api: Sandbox, cli: Command, name: str) -> None:
    """Status, code, message, team and request id, without a traceback, class names or dlt's step."""
    fault, code, text, requests = FAILURES[name]
    api.fault(fault, times=100)
    outcome = cli("load", "--team", str(CRM))
    assert (outcome.code, outcome.out) == (code, "")
    assert outcome.err.startswith(f"Error: {text}")
    assert outcome.err.endswith(f" (request_id={api.requests[-1].request_id})\n")
    assert outcome.err.count("\n") == 1
    assert len(api.requests) == requests
    # an hour is a normal value of this API; a waiting run would block the next run
    reset = r"The limit resets at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC \(retry_after=3600 s\)\. \(request_id="
    assert bool(re.search(reset, outcome.err)) == (name == "429")


def test_a_refused_connection_exits_69(cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing listens: no status and no request id, but the reason and the address."""
    monkeypatch.setenv("SUPERMETRICS_API_KEY", "api_key")
    monkeypatch.setenv("SOURCES__SUPERMETRICS__REQUEST_BACKOFF_FACTOR", "0")
    outcome = cli("load", "--team", str(CRM), "--base-url", "http://127.0.0.1:1")
    assert (outcome.code, outcome.out) == (69, "")
    assert outcome.err.startswith(
        f"Error: Team {CRM}: No complete response from http://127.0.0.1:1: ConnectionRefusedError"
    )
    assert "Traceback" not in outcome.err


def test_json_of_a_failure_is_one_object_with_its_details(api: Sandbox, cli: Command) -> None:
    """A log collector keeps the object. The error on standard error is for a person, and comes after a traceback."""
    api.fault(Fault(403), team_id=LOYALTY)
    outcome = cli("load", "--json", "--debug")
    assert outcome.code == 65
    assert outcome.err.startswith("Traceback (most recent call last):")
    assert outcome.err.splitlines()[-1].startswith("Error: HTTP 403")
    error = json.loads(outcome.out)["error"]
    [request] = [request for request in api.requests if request.team_id == LOYALTY]
    assert error.pop("message").startswith("HTTP 403 FORBIDDEN")
    assert error == {
        "type": "SupermetricsForbiddenError",
        "team_id": LOYALTY,
        "status_code": 403,
        "code": "FORBIDDEN",
        "request_id": request.request_id,
        "retry_after": None,
        "terminal": True,
        "exit_code": 65,
    }


def test_a_failed_run_writes_a_row_of_team_syncs_and_nothing_else(api: Sandbox, cli: Command) -> None:
    """The on-call query finds the request id in the warehouse; every team keeps its rows."""
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


def test_keep_going_loads_the_others_and_names_each_failure(api: Sandbox, cli: Command) -> None:
    """One failing team does not delay the others, and is visible."""
    api.fault(Fault(403), team_id=LOYALTY)
    outcome = cli("load", "--keep-going")
    [request] = [request for request in api.requests if request.team_id == LOYALTY]
    assert outcome.code == 65
    assert re.fullmatch(
        rf"Error: HTTP 403 FORBIDDEN for team {LOYALTY}: .* \(request_id={request.request_id}\)\n", outcome.err
    )
    assert loaded() == [row for row in listed(api) if row[0] != LOYALTY]
    assert ask("select team_id, request_id from team_syncs where status = 'failed'") == [(LOYALTY, request.request_id)]
    assert totals(outcome).startswith("Loaded 2 of 3 teams: 5 connectors")


@pytest.mark.parametrize(
    ("faults", "code"),
    [
        ({LOYALTY: Fault(403), PODCAST: Fault(500)}, 69),
        ({LOYALTY: Fault(404), PODCAST: Fault(403)}, 65),
        ({LOYALTY: Fault(body=b"{}")}, 1),
    ],
)
def test_keep_going_exits_with_the_highest_code(
    api: Sandbox, cli: Command, faults: dict[int, Fault], code: int
) -> None:
    """A failure that may pass comes before a failure that somebody has to correct."""
    for team_id, fault in faults.items():
        api.fault(fault, team_id=team_id, times=100)
    assert cli("load", "--keep-going").code == code


def test_the_key_is_in_no_output(api: Sandbox, cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Output is copied to logs and mails, and the output of --debug to tickets."""
    token = "api_do_not_print_me"
    monkeypatch.setenv("SUPERMETRICS_API_KEY", f"Bearer {token}")
    monkeypatch.setenv("SOURCES__SUPERMETRICS__REQUEST_MAX_ATTEMPTS", "1")
    outcomes = [cli("load"), cli("check")]
    api.tokens.add(token)
    outcomes += [cli("load"), cli("check")]
    for fault in (Fault(401), Fault(500), Fault(stage="mid_body"), Fault(body=token.encode())):
        api.fault(fault, times=50)
        outcomes += [cli("load", "--debug", "--json"), cli("check", "--debug")]
        api.clear_faults()
    monkeypatch.setenv("SUPERMETRICS_API_KEY", f"{token}\n{token}")
    outcomes.append(cli("load", "--debug"))
    assert {0, 64, 65, 69} <= {outcome.code for outcome in outcomes}
    assert not [outcome for outcome in outcomes if token in outcome.out + outcome.err]


# --- missing drivers --------------------------------------------------------------------------------------------------


MISSING = {
    "load --destination postgres": ("psycopg2", "postgres"),
    "diff 1 A --destination postgres": ("psycopg2", "postgres"),
    "report --destination postgres": ("psycopg2", "postgres"),
    "load --destination sqlalchemy": ("sqlalchemy", "sqlalchemy"),
    "load --destination filesystem --table-format delta": ("deltalake", "deltalake"),
    "load --destination snowflake": ("snowflake", "snowflake"),
    "load --destination databricks": ("databricks", "databricks"),
    "load --destination athena": ("pyathena", "athena"),
    "load --destination fabric": ("pyodbc", "fabric"),
}
"""Module and extra by command. tests/report has the packages of `report`."""
WITHOUT_DRIVERS = """
import sys
modules = {"psycopg2", "sqlalchemy", "deltalake", "snowflake.connector", "databricks", "pyathena", "pyodbc"}
sys.modules.update(dict.fromkeys(modules))
from supermetrics_loader.cli.main import run
for command in sys.argv[1:]:
    print(run(command.split()))
    print(file=sys.stderr)
"""


@pytest.mark.usefixtures("api")
def test_a_missing_driver_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command works in the clone: no package of this name is on the index."""
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", "postgresql://loader:password@127.0.0.1:1/warehouse")
    monkeypatch.setenv("DESTINATION__SQLALCHEMY__CREDENTIALS", f"sqlite:///{tmp_path / 'warehouse.sqlite'}")
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", (tmp_path / "lake").as_uri())
    command = [sys.executable, "-c", WITHOUT_DRIVERS, *MISSING]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=300, check=False)  # noqa: S603 - ours
    assert done.stdout.split() == ["64"] * len(MISSING), done.stderr
    extras = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    for (module, extra), text in zip(MISSING.values(), done.stderr.split("\n\n")[:-1], strict=True):
        assert text.splitlines()[-1] == (
            f"Error: {module} is not installed. "
            f"Install it, in the clone of this project, with: pip install -e '.[{extra}]'"
        )
        assert "Traceback" not in text
        assert f"\n{extra} = [" in extras


# --- a pipeline or file that another process uses ---------------------------------------------------------------------


def test_a_second_run_of_a_pipeline_names_the_lock(api: Sandbox, cli: Command, tmp_path: Path) -> None:
    """The second run makes no request and does not disturb the first one."""
    lock = tmp_path / "dlt" / "pipelines" / "supermetrics.lock"
    api.latency = 3.0
    with running(SCRIPT, "load") as first:
        wait_until(lambda: len(api.requests) == 3)
        outcome = cli("load", "--json")
        assert first.wait(300) == 0
    assert outcome.code == 1
    assert outcome.err == (
        f"Error: Another process runs the pipeline 'supermetrics' ({lock} is locked). Wait until that process ends. "
        "Runs that load into different places need a --pipeline-name each.\n"
    )
    assert json.loads(outcome.out)["error"]["type"] == "AlreadyRunningError"
    assert len(api.requests) == 3
    assert loaded() == listed(api)


@pytest.mark.usefixtures("api")
def test_an_open_duckdb_file_is_reported_with_its_process(cli: Command) -> None:
    """DuckDB admits one process, often somebody's notebook; DuckDB's text contains the process id."""
    hold = (
        "import duckdb, time; c = duckdb.connect('supermetrics_connectors.duckdb'); print(flush=True); time.sleep(600)"
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
def test_a_file_that_is_no_database_is_named_and_not_changed(cli: Command) -> None:
    """A file of the default name may belong to somebody else."""
    Path("supermetrics_connectors.duckdb").write_text("notes of somebody, not a database")
    outcome = cli("load")
    assert (outcome.code, outcome.out) == (1, "")
    assert str(Path.cwd() / "supermetrics_connectors.duckdb") in outcome.err
    assert "Traceback" not in outcome.err
    assert Path("supermetrics_connectors.duckdb").read_text() == "notes of somebody, not a database"
