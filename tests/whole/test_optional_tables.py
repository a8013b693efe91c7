"""Optional tables: their rows, their requests within the rate limit, and failures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import dlt
import duckdb
import pytest
from dlt.common.pipeline import LoadInfo

from supermetrics_connectors import supermetrics_source
from supermetrics_connectors.api import logs
from supermetrics_connectors.exceptions import SupermetricsUnauthorizedError
from supermetrics_connectors.specs import OPTIONAL_TABLES
from supermetrics_loader.cli.main import run
from supermetrics_loader.run.load import run_load
from tests.helpers.expectations import OTHER, TEAM, Load, Query, Rows, failure
from tests.helpers.kills import Moment, killed_between
from tests.helpers.sandbox import OMIT, Fault, Sandbox

ALL = {"include_teams": True, "include_logs": True, "include_secrets": True}
ONE_BY_ONE = {"workers": 1}
NOW = datetime.now(timezone.utc).replace(microsecond=0)


def entry(id_: str, ago: timedelta = timedelta(0), **fields: Any) -> dict[str, Any]:
    """A log entry as the API sends it."""
    return {"id": id_, "log_time": (NOW - ago).isoformat(), "status": 200, **fields}


def minutes(count: float) -> timedelta:
    """A duration."""
    return timedelta(minutes=count)


@pytest.fixture
def set_page(monkeypatch: pytest.MonkeyPatch) -> Callable[[Sandbox, int], None]:
    """Makes the pages of logs small: `set_page(sandbox, 2)`."""

    def set_size(sandbox: Sandbox, size: int) -> None:
        sandbox.log_page = size
        monkeypatch.setattr(logs, "MIN_FULL_PAGE", size)

    return set_size


@pytest.fixture
def api(sandbox: Sandbox) -> Sandbox:
    """A team with two connectors, of which one has a log and secrets."""
    sandbox.add_connector(TEAM, "CRM")
    sandbox.add_connector(TEAM, "SHOP")
    sandbox.add_log(TEAM, "CRM", entry("1-a", minutes(90)), entry("2-b", minutes(80)), entry("3-c", minutes(80)))
    sandbox.set_secrets(TEAM, "CRM", {"sec_a23f23d26": "client_id", "sec_5b0c1f7e2": "client_secret"})
    return sandbox


def optional_requests(api: Sandbox, since: int = 0) -> list[Any]:
    """The requests that are no listings."""
    return [request for request in api.requests[since:] if not request.path.endswith("/connectors")]


def logged(rows: Rows) -> list[str]:
    """The ids of the stored log entries."""
    return [id_ for (id_,) in rows("connector_logs", "id")]


# --- rows -------------------------------------------------------------------------------------------------------------


def test_without_a_setting_there_is_neither_a_request_nor_a_table(
    api: Sandbox, load: Load, rows: Rows, query: Query
) -> None:
    """One request per team, and the counts of optional requests are unknown."""
    load()
    assert len(api.requests) == 1
    tables = {name for (name,) in query("select table_name from duckdb_tables() where schema_name = 'supermetrics'")}
    assert not tables & {spec.name for spec in OPTIONAL_TABLES}
    assert rows("team_syncs", "connectors_postponed", "connectors_failing") == [(None, None)]


def test_each_table_holds_the_api_s_records(api: Sandbox, load: Load, rows: Rows, query: Query) -> None:
    """One row per team, log entry, secret and request; added fields become columns, except values of secrets."""
    api.set_team(TEAM, name="Nordic", status=OMIT, plan={"tier": 3})
    late = {"request": "GET /x?api_key=a8f7e6d5c4b3a2918f7e", "event": None, "region": "eu"}
    api.add_log(TEAM, "CRM", entry("4-d", minutes(5), **late))
    body = b'{"count":1,"secrets":[{"secret_placeholder":"sec_1","secret_name":"a","secret_value":"hunter2-value"}]}'
    api.fault(Fault(200, body=body), path="/SHOP/secrets")
    load(**ALL)
    assert rows("teams", "team_id", "display_id", "name", "status", "created_at", "plan->>'tier'") == [
        (TEAM, f"SM_{TEAM}", "Nordic", None, datetime(2024, 11, 1, 8, tzinfo=timezone.utc), "3")
    ]
    assert logged(rows) == ["1-a", "2-b", "3-c", "4-d"]
    [stored] = rows("connector_logs", "log_time", "status", "event", "request", "region", where="id = '4-d'")
    assert stored == (NOW - minutes(5), 200, None, "GET /x?api_key=[redacted]", "eu")
    assert rows("connector_secrets", "connector_identifier", "secret_placeholder", "secret_name") == [
        ("CRM", "sec_5b0c1f7e2", "client_secret"),
        ("CRM", "sec_a23f23d26", "client_id"),
        ("SHOP", "sec_1", "a"),
    ]
    assert "secret_value" not in {name for name, *_ in query("describe connector_secrets")}
    assert rows("fetches", "connector_identifier", "endpoint", "status", "http_status") == [
        ("", "team", "ok", 200),
        *[(name, endpoint, "ok", 200) for name in ("CRM", "SHOP") for endpoint in ("logs", "secrets")],
    ]
    assert rows("team_syncs", "status", "connectors_postponed", "connectors_failing") == [("ok", 0, 0)]


def test_a_second_run_writes_differences(api: Sandbox, load: Load, rows: Rows, query: Query) -> None:
    """A renamed team, new entries, a renamed, a new and a deleted secret; other rows stay as they are."""
    load(**ALL)
    [(first,)] = query("select distinct _dlt_load_id from connector_logs")
    api.set_team(TEAM, name="Renamed")
    api.add_log(TEAM, "CRM", entry("5-e", minutes(1)))
    api.set_secrets(TEAM, "CRM", {"sec_a23f23d26": "id of the client", "sec_77d1e90b4": "api_key"})
    load(**ALL)
    assert rows("teams", "name") == [("Renamed",)]
    assert rows("connector_logs", "id", where=f"_dlt_load_id <> '{first}'") == [("5-e",)]
    assert rows("connector_secrets", "secret_placeholder", "secret_name") == [
        ("sec_77d1e90b4", "api_key"),
        ("sec_a23f23d26", "id of the client"),
    ]
    before = [rows(table, "*") for table in ("teams", "connector_logs", "connector_secrets")]
    at = len(api.requests)
    load(**ALL)
    assert [rows(table, "*") for table in ("teams", "connector_logs", "connector_secrets")] == before
    assert len(api.requests) - at == 2 + 4  # the listing, the team, and each connector's logs and secrets
    api.delete_connector(TEAM, "CRM")
    load(**ALL)
    assert logged(rows) == ["1-a", "2-b", "3-c", "5-e"], "the log of a removed connector stays"
    assert rows("connector_secrets", "*") == []
    assert rows("fetches", "connector_identifier", "endpoint") == [("", "team"), ("SHOP", "logs"), ("SHOP", "secrets")]


def test_an_incomplete_response_removes_nothing(api: Sandbox, load: Load, rows: Rows) -> None:
    """Neither secrets that the API counts and does not list, nor secrets of a connector that a short listing lacks."""
    load(**ALL)
    short = b'{"count": 2, "secrets": [{"secret_placeholder": "sec_a23f23d26", "secret_name": "client_id"}]}'
    api.fault(Fault(200, body=short), path="/CRM/secrets")
    load(**ALL)
    assert len(rows("connector_secrets", "secret_placeholder")) == 2
    assert rows("fetches", "status", "message", where="endpoint = 'secrets' and connector_identifier = 'CRM'") == [
        ("incomplete", "The API counts another number of secrets than it lists.")
    ]
    api.delete_connector(TEAM, "CRM")
    api.report_count(TEAM, 2)
    load(**ALL)
    assert len(rows("connector_secrets", "secret_placeholder")) == 2


@pytest.mark.usefixtures("api")
def test_dropped_and_emptied_tables_are_loaded_again(load: Load, query: Query, rows: Rows) -> None:
    """The tables are the only memory. A full refresh reads logs from the beginning and fills gaps."""

    def contents() -> list[Any]:
        varying = ("fetched_at", "request_id")
        return [rows(spec.name, *(c.name for c in spec.columns if c.name not in varying)) for spec in OPTIONAL_TABLES]

    load(**ALL)
    before = contents()
    for statement in ("drop table", "delete from"):
        for spec in OPTIONAL_TABLES:
            query(f"{statement} {spec.name}")
        load(**ALL)
        assert contents() == before
    query("delete from connector_logs where id = '1-a'")
    query("update connector_secrets set secret_name = 'edited'")
    load(**ALL, full_refresh=True)
    assert contents() == before


# --- logs -------------------------------------------------------------------------------------------------------------


def test_entries_that_arrive_late_are_found_and_an_entry_of_the_future_hides_no_other(
    api: Sandbox, load: Load, rows: Rows, query: Query
) -> None:
    """The log may show a call after later ones. An entry of the future, also one written by hand, is no watermark."""
    api.add_log(TEAM, "CRM", entry("9-z", minutes(1)), entry("0-clock", -timedelta(days=365)))
    load(include_logs=True)
    entries = "select * replace ('x' as id, '2099-01-01' as log_time) from connector_logs limit 1"
    query(f"insert into connector_logs by name {entries}")
    api.add_log(TEAM, "CRM", entry("7-late", minutes(55)), entry("8-same", minutes(1)), entry("4-d", minutes(0.1)))
    expected = ["1-a", "2-b", "3-c", "4-d", "7-late", "8-same", "9-z", "x"]
    load(include_logs=True)
    assert logged(rows) == expected
    api.add_log(TEAM, "CRM", entry("a-later"))
    load(include_logs=True, full_refresh=True)
    assert logged(rows) == sorted([*expected, "a-later"])


def test_logs_since_bounds_the_first_load(
    api: Sandbox, load: Load, rows: Rows, set_page: Callable[[Sandbox, int], None]
) -> None:
    """A log of years is not paged through."""
    api.add_log(TEAM, "CRM", *[entry(f"{n}-old", timedelta(days=8, minutes=n)) for n in range(50)])
    set_page(api, 10)
    load(include_logs=True, logs_since="7d")
    assert logged(rows) == ["1-a", "2-b", "3-c"]
    assert len([request for request in optional_requests(api) if request.path.endswith("/CRM/logs")]) == 1


def test_no_gap_after_a_failure_between_two_pages(
    api: Sandbox, load: Load, rows: Rows, set_page: Callable[[Sandbox, int], None]
) -> None:
    """The next run would not look for entries older than the stored ones."""
    load(include_logs=True)
    set_page(api, 2)
    api.add_log(TEAM, "CRM", *[entry(f"n{n}", minutes(n)) for n in range(6)])
    for fault in (Fault(403), Fault(200, body=b"{}")):
        api.fault(Fault(), path="/CRM/logs")
        api.fault(fault, path="/CRM/logs", times=2)
        load(include_logs=True, request_max_attempts=1)
        assert logged(rows) == ["1-a", "2-b", "3-c"]
        assert rows("fetches", "status", where="connector_identifier = 'CRM'") == [("failed",)]
        api.clear_faults()
    load(include_logs=True)
    assert logged(rows) == ["1-a", "2-b", "3-c", *(f"n{n}" for n in range(6))]


# --- the rate limit ---------------------------------------------------------------------------------------------------


@pytest.fixture
def fleet() -> Iterator[Sandbox]:
    """Two teams of five connectors with a log entry each, and a limit of twenty requests."""
    teams = {team: [{"connector_identifier": f"C{n}", "name": "x"} for n in range(5)] for team in (TEAM, OTHER)}
    with Sandbox(teams=teams, rate_limit=20) as api:
        for team in api.team_ids:
            for n in range(5):
                api.add_log(team, f"C{n}", entry(f"{n}-x", minutes(600)))
        yield api


def test_a_share_of_the_limit_is_reserved_for_listings(fleet: Sandbox, load: Load, rows: Rows) -> None:
    """The run ends well and counts postponed connectors; the next runs continue, with every team in turn."""
    settings = {"api_key": fleet.token, "base_url": fleet.url, "include_secrets": True, **ONE_BY_ONE}
    load(TEAM, OTHER, **settings)
    assert len(fleet.requests) == 10  # half of the limit
    first = [request.path for request in optional_requests(fleet)]
    assert [path.split("/")[3] for path in first] == [str(TEAM), str(OTHER)] * 4
    assert rows("team_syncs", "status", "connectors_postponed") == [("ok", 1), ("ok", 1)]

    load(TEAM, OTHER, **settings)
    assert len(fleet.requests) == 12  # listings only
    assert rows("team_syncs", "status", "connectors_postponed", where="connectors_postponed = 5") == [("ok", 5)] * 2

    fleet._window_ends = 0.0  # an hour later
    load(TEAM, OTHER, **settings)
    second = [request.path for request in optional_requests(fleet, 12)]
    assert len(second) == 8
    assert not set(second[:2]) & set(first)
    assert second[2:] == first[:6]


def test_the_summary_says_why_requests_were_postponed(fleet: Sandbox, pipeline: dlt.Pipeline, rows: Rows) -> None:
    """With the names of the teams, as far as they were requested.

    After a 429 there is no further request: another program with the same key may have used up the hour.
    """
    settings: dict[str, Any] = {"team_ids": fleet.team_ids, "api_key": fleet.token, "base_url": fleet.url, **ONE_BY_ONE}
    result = run_load(pipeline, **settings, include_teams=True, include_secrets=True)
    assert result.postponed_reason == "10 of 20 requests are left in this hour and 10 are reserved for listings"
    assert result.team_names == {TEAM: "Nordic Marketing", OTHER: "Loyalty & Retail"}
    assert result.failed == []
    fleet.rate_limit = 5000
    fleet.fault(Fault(429, retry_after=3600), path="/logs", times=9)
    before = len(optional_requests(fleet))
    result = run_load(pipeline, **settings, include_logs=True)
    assert "429" in (result.postponed_reason or "")
    assert len(optional_requests(fleet)) == before + 1
    assert rows("team_syncs", "status", "connectors_postponed", where="connectors_postponed = 5") == [("ok", 5)] * 2


def test_a_log_that_the_limit_cuts_short_is_continued_in_the_next_hours(
    fleet: Sandbox, load: Load, rows: Rows, set_page: Callable[[Sandbox, int], None]
) -> None:
    """The oldest entries first: whenever a run ends, nothing is missing before a stored entry."""
    set_page(fleet, 2)
    fleet.add_log(TEAM, "C0", *[entry(f"n{n:03}", minutes(n + 1)) for n in range(100)])
    everything = ["0-x", *[f"n{n:03}" for n in reversed(range(100))]]
    before = 0
    for limit, status in ((60, "interrupted"), (60, "interrupted"), (500, "ok")):
        fleet.rate_limit, fleet._window_ends = limit, 0.0  # an hour later
        load(TEAM, api_key=fleet.token, base_url=fleet.url, include_logs=True, **ONE_BY_ONE)
        stored = [id_ for (id_,) in rows("connector_logs", "id", where="connector_identifier = 'C0'")]
        assert sorted(stored) == sorted(everything[: len(stored)])
        assert len(stored) > before
        assert rows("fetches", "status", where="connector_identifier = 'C0'") == [(status,)]
        before = len(stored)
    assert set(rows("fetches", "status")) == {("ok",)}
    assert rows("connector_logs", "count(*)") == [(105,)]


def test_requests_stop_when_the_api_fails_again_and_again(fleet: Sandbox, load: Load, rows: Rows) -> None:
    """Retries for every connector would take hours."""
    fleet.rate_limit = 5000
    fleet.fault(Fault(503), path="/secrets", times=99)
    load(
        *fleet.team_ids,
        api_key=fleet.token,
        base_url=fleet.url,
        include_secrets=True,
        request_max_attempts=1,
        **ONE_BY_ONE,
    )
    assert len(optional_requests(fleet)) == 5
    assert rows("team_syncs", "connectors_failing", "connectors_postponed") == [(2, 3), (3, 2)]


# --- failures ---------------------------------------------------------------------------------------------------------


def test_a_failure_of_one_connector_is_recorded_and_changes_nothing_else(api: Sandbox, load: Load, rows: Rows) -> None:
    """`fetches` has the request id, other connectors are loaded, and stored rows stay."""
    load(**ALL)
    before = rows("connector_secrets", "*")
    api.fault(Fault(403, description="Not this log."), path="/SHOP/logs")
    api.fault(Fault(404, description="Not these secrets."), path="/CRM/secrets")
    api.add_log(TEAM, "CRM", entry("4-d", minutes(1)))
    load(**ALL)
    sent = {request.status: request.request_id for request in api.requests}
    failed = rows("fetches", "connector_identifier", "error_code", "request_id", where="status = 'failed'")
    assert failed == [("CRM", "NOT_FOUND", sent[404]), ("SHOP", "FORBIDDEN", sent[403])]
    messages = [message for (message,) in rows("fetches", "message", where="status = 'failed'")]
    assert {" ".join(message.split()[-2:]) for message in messages} == {"this log.", "these secrets."}
    assert rows("connector_secrets", "*") == before
    assert logged(rows) == ["1-a", "2-b", "3-c", "4-d"]
    assert rows("team_syncs", "status", "connectors_failing") == [("ok", 0), ("ok", 2)]


def test_a_key_that_is_revoked_during_a_run_fails_the_run(api: Sandbox, load: Load) -> None:
    """Every further request would fail."""
    api.fault(Fault(401), path="/CRM/secrets")
    assert isinstance(failure(load, include_secrets=True), SupermetricsUnauthorizedError)


def test_a_failing_team_has_no_optional_requests(api: Sandbox, load: Load, rows: Rows) -> None:
    """Its connectors are unknown."""
    api.add_connector(OTHER, "X")
    api.fault(Fault(403), team_id=TEAM)
    load(TEAM, OTHER, **ALL, on_team_error="skip")
    assert {request.team_id for request in optional_requests(api)} == {OTHER}
    assert rows("team_syncs", "team_id", "status", "connectors_postponed") == [(TEAM, "failed", 0), (OTHER, "ok", 0)]


# --- own pipelines and interrupted loads ------------------------------------------------------------------------------


def test_a_user_s_own_pipeline_loads_the_same_tables(
    api: Sandbox, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With settings from the environment, as after `dlt init`."""
    for name in ALL:
        monkeypatch.setenv(f"SOURCES__SUPERMETRICS__{name.upper()}", "true")
    passed = round((datetime.now(timezone.utc) - NOW) / minutes(1))
    monkeypatch.setenv("SOURCES__SUPERMETRICS__LOGS_SINCE", f"{85 + passed}m")
    pipeline = dlt.pipeline("mine", destination=dlt.destinations.duckdb(str(tmp_path / "mine.duckdb")))
    info: LoadInfo = pipeline.run(supermetrics_source([TEAM], api.token, base_url=api.url))
    with pipeline.sql_client() as client:
        assert client.execute_sql("select id from connector_logs order by id") == [("2-b",), ("3-c",)]
    assert info.has_failed_jobs is False


KILLED = [
    Moment(frozenset({"merge of connector_logs"}), frozenset({"rows of connector_logs"})),
    Moment(frozenset({"merge of fetches"}), frozenset({"merge of connector_logs"})),
    Moment(frozenset({"merge of connector_logs"}), frozenset({"merge of fetches", "merge of connector_secrets"})),
]


def test_a_load_that_is_killed_leaves_no_gap(api: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a first load too: entries reach their table all at once, and the watermark is read from the table."""
    settings = {"API_KEY": api.token, "BASE_URL": api.url, "TEAM_IDS": str(TEAM)}
    for name, value in settings.items():
        monkeypatch.setenv(f"SOURCES__SUPERMETRICS__{name}", value)
    command = ["load", "--json", "--include-teams", "--include-logs", "--include-secrets"]
    for number, moment in enumerate(KILLED):
        api.add_log(TEAM, "CRM", *[entry(f"{number}-{n}", minutes(90 - 20 * number + n / 10)) for n in range(9)])
        api.set_secrets(TEAM, "SHOP", {f"sec_{number}": "a"})
        killed_between(command, moment)
        assert run(command) == 0
    with duckdb.connect("supermetrics_connectors.duckdb") as connection:
        stored = connection.execute("select id from supermetrics.connector_logs order by id").fetchall()
        secrets = connection.execute("select secret_placeholder from supermetrics.connector_secrets").fetchall()
    assert [id_ for (id_,) in stored] == sorted(each["id"] for each in api.optional_data("logs", TEAM, "CRM"))
    assert ("sec_2",) in secrets
    assert len(secrets) == 3
