"""Teams, logs and secrets: what lands, what is asked for, and what of it when something goes wrong."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import dlt
import duckdb
import pytest
from dlt.common.pipeline import LoadInfo

from supermetrics_connectors import supermetrics_source
from supermetrics_connectors.api import neighbours
from supermetrics_connectors.exceptions import SupermetricsConfigurationError, SupermetricsUnauthorizedError
from supermetrics_connectors.tables.contracts import ADDED, CONTRACTS
from supermetrics_loader.cli.main import run
from supermetrics_loader.run.load import run_load
from supermetrics_loader.sandbox import OMIT, Fault, Sandbox
from tests.helpers.expectations import OTHER, TEAM, Load, Query, Rows, configuration, failure
from tests.helpers.kills import Moment, killed_between

ALL = {"include_teams": True, "include_logs": True, "include_secrets": True}
ONE_BY_ONE = {"workers": 1}
NOW = datetime.now(timezone.utc).replace(microsecond=0)


def entry(id_: str, ago: timedelta = timedelta(0), **fields: Any) -> dict[str, Any]:
    """A log entry as the API sends it."""
    return {"id": id_, "log_time": (NOW - ago).isoformat(), "status": 200, **fields}


def minutes(count: float) -> timedelta:
    """So many of them."""
    return timedelta(minutes=count)


@pytest.fixture
def api(sandbox: Sandbox) -> Sandbox:
    """A team with two connectors, of which one has a log and secrets."""
    sandbox.add_connector(TEAM, "CRM")
    sandbox.add_connector(TEAM, "SHOP")
    sandbox.add_log(TEAM, "CRM", entry("1-a", minutes(90)), entry("2-b", minutes(80)), entry("3-c", minutes(80)))
    sandbox.set_secrets(TEAM, "CRM", {"sec_a23f23d26": "client_id", "sec_5b0c1f7e2": "client_secret"})
    return sandbox


def asked(api: Sandbox, since: int = 0) -> list[str]:
    """What was asked for besides listings, the end of each path."""
    return [request.path.partition("connectors/")[2] or "team" for request in api.requests[since:] if _is_more(request)]


def _is_more(request: Any) -> bool:
    return not request.path.endswith("/connectors")


def logged(rows: Rows) -> list[str]:
    """The ids of the stored log entries, doubled ones twice."""
    return [id_ for (id_,) in rows("connector_logs", "id")]


# --- what lands -------------------------------------------------------------------------------------------------------


def test_without_a_wish_nothing_is_asked_and_made(api: Sandbox, load: Load, query: Query) -> None:
    """One request a team, and the tables of before."""
    load()
    assert len(api.requests) == 1
    tables = {name for (name,) in query("select table_name from duckdb_tables() where schema_name = 'supermetrics'")}
    assert not tables & {*ADDED}
    assert ("connectors_postponed",) not in query(
        "select column_name from duckdb_columns() where table_name='team_syncs'"
    )


def test_each_table_holds_what_the_api_tells(api: Sandbox, load: Load, rows: Rows) -> None:
    """A row a team, a log entry, a secret; and what was asked for."""
    api.set_team(TEAM, name="Nordic", status=OMIT)
    api.add_log(TEAM, "CRM", entry("4-d", minutes(5), request="GET /x?api_key=a8f7e6d5c4b3a2918f7e", event=None))
    load(**ALL)
    assert rows("teams", "team_id", "display_id", "name", "status", "created_at") == [
        (TEAM, f"SM_{TEAM}", "Nordic", None, datetime(2024, 11, 1, 8, tzinfo=timezone.utc))
    ]
    assert logged(rows) == ["1-a", "2-b", "3-c", "4-d"]
    [late] = rows("connector_logs", "log_time", "status", "event", "request", where="id = '4-d'")
    assert late == (NOW - minutes(5), 200, None, "GET /x?api_key=[redacted]")
    assert rows("connector_secrets", "connector_identifier", "secret_placeholder", "secret_name") == [
        ("CRM", "sec_5b0c1f7e2", "client_secret"),
        ("CRM", "sec_a23f23d26", "client_id"),
    ]
    assert rows("fetches", "connector_identifier", "endpoint", "status", "http_status") == [
        ("", "team", "ok", 200),
        *[(name, endpoint, "ok", 200) for name in ("CRM", "SHOP") for endpoint in ("logs", "secrets")],
    ]
    assert rows("team_syncs", "status", "connectors_postponed", "connectors_failing") == [("ok", 0, 0)]


def test_a_second_run_writes_what_differs(api: Sandbox, load: Load, rows: Rows, query: Query) -> None:
    """A renamed team, new entries, a renamed, a new and a deleted secret; the rest is left as it is."""
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
    newest = "select max(_dlt_load_id) from teams union all select max(_dlt_load_id) from connector_secrets"
    before = query(newest)
    at = len(api.requests)
    load(**ALL)
    assert before == query(
        "select max(_dlt_load_id) from teams union all select max(_dlt_load_id) from connector_secrets"
    )
    assert logged(rows) == ["1-a", "2-b", "3-c", "5-e"]
    assert len(api.requests) - at == 2 + 4  # the listing, the team, and each connector's logs and secrets


def test_of_a_removed_connector_the_log_stays(api: Sandbox, load: Load, rows: Rows) -> None:
    """Its secrets are no longer, and what it did has been."""
    load(**ALL)
    api.delete_connector(TEAM, "CRM")
    load(**ALL)
    assert logged(rows) == ["1-a", "2-b", "3-c"]
    assert rows("connector_secrets", "*") == []
    assert rows("fetches", "connector_identifier", "endpoint") == [("", "team"), ("SHOP", "logs"), ("SHOP", "secrets")]


def test_what_is_not_the_whole_takes_nothing_away(api: Sandbox, load: Load, rows: Rows) -> None:
    """Neither secrets that the API counts and does not list, nor those of a connector that a short listing lacks."""
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
def test_tables_that_somebody_dropped_or_emptied_are_as_before(load: Load, query: Query, rows: Rows) -> None:
    """The tables are the memory: nothing else says that something is stored."""

    def held() -> list[Any]:
        return [
            rows(name, *(c.name for c in CONTRACTS[name].columns if c.name not in ("fetched_at", "request_id")))
            for name in ADDED
        ]

    load(**ALL)
    before = held()
    for table in ADDED:
        query(f"drop table {table}")
    load(**ALL)
    assert held() == before
    for table in ADDED:
        query(f"delete from {table}")
    load(**ALL)
    assert held() == before


@pytest.mark.usefixtures("api")
def test_full_refresh_goes_back_to_the_beginning(load: Load, query: Query, rows: Rows) -> None:
    """A hole that somebody made below the mark is filled, and nothing doubled."""
    load(**ALL)
    query("delete from connector_logs where id = '1-a'")
    query("update connector_secrets set secret_name = 'edited'")
    load(**ALL, full_refresh=True)
    assert logged(rows) == ["1-a", "2-b", "3-c"]
    assert ("edited",) not in rows("connector_secrets", "secret_name")


def test_snapshots_cannot_take_logs(api: Sandbox) -> None:
    """Each run would append them all once more."""
    with pytest.raises(SupermetricsConfigurationError, match="include_logs cannot go with snapshot"):
        supermetrics_source([TEAM], api.token, base_url=api.url, include_logs=True, snapshot=True)


# --- logs -------------------------------------------------------------------------------------------------------------


def test_entries_that_arrive_late_are_found(api: Sandbox, load: Load, rows: Rows) -> None:
    """The log may show a call only after later ones."""
    api.add_log(TEAM, "CRM", entry("9-z", minutes(1)))
    load(include_logs=True)
    api.add_log(TEAM, "CRM", entry("7-late", minutes(55)), entry("8-same", minutes(1)))
    load(include_logs=True)
    assert logged(rows) == ["1-a", "2-b", "3-c", "7-late", "8-same", "9-z"]


def test_only_so_far_back_as_wished(api: Sandbox, load: Load, rows: Rows) -> None:
    """A log of years need not be paged through."""
    api.add_log(TEAM, "CRM", *[entry(f"{n}-old", timedelta(days=8, minutes=n)) for n in range(50)])
    api.log_page = 10
    load(include_logs=True, logs_since="7d")
    assert logged(rows) == ["1-a", "2-b", "3-c"]
    assert [path for path in asked(api) if path == "CRM/logs"] == ["CRM/logs"]


def test_an_entry_of_the_future_hides_none(api: Sandbox, load: Load, rows: Rows) -> None:
    """Stored, it would be the mark, and all that comes before its time would be taken for stored."""
    api.add_log(TEAM, "CRM", entry("0-clock", -timedelta(days=365)))
    load(include_logs=True)
    api.add_log(TEAM, "CRM", entry("4-d", minutes(0.1)))
    load(include_logs=True)
    assert logged(rows) == ["1-a", "2-b", "3-c", "4-d"]


@pytest.mark.parametrize("fault", [Fault(403), Fault(200, body=b"{}")], ids=["refused", "odd"])
def test_no_gap_after_a_failure_between_two_pages(api: Sandbox, load: Load, rows: Rows, fault: Fault) -> None:
    """Half of the new entries, the newer half, would be taken for all of them by the next run."""
    load(include_logs=True)
    api.log_page = 2
    api.add_log(TEAM, "CRM", *[entry(f"n{n}", minutes(n)) for n in range(6)])
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


def test_a_share_of_the_limit_is_kept_for_listings(fleet: Sandbox, load: Load, rows: Rows) -> None:
    """The run ends well, says what it left, and the next ones go on where it stopped, with every team in turn."""
    wish = {"api_key": fleet.token, "base_url": fleet.url, "include_secrets": True, **ONE_BY_ONE}
    load(TEAM, OTHER, **wish)
    assert len(fleet.requests) == 10  # half of the limit
    first = [request.path for request in fleet.requests if _is_more(request)]
    assert [path.split("/")[3] for path in first] == [str(TEAM), str(OTHER)] * 4
    assert rows("team_syncs", "status", "connectors_postponed") == [("ok", 1), ("ok", 1)]

    load(TEAM, OTHER, **wish)
    assert len(fleet.requests) == 12  # listings only
    assert rows("team_syncs", "status", "connectors_postponed", where="connectors_postponed = 5") == [("ok", 5)] * 2

    fleet._window_ends = 0.0  # an hour later
    load(TEAM, OTHER, **wish)
    second = [request.path for request in fleet.requests[12:] if _is_more(request)]
    assert len(second) == 8
    assert not set(second[:2]) & set(first)
    assert second[2:] == first[:6]


def test_what_is_left_is_said(fleet: Sandbox, pipeline: dlt.Pipeline) -> None:
    """To whoever reads the summary."""
    wish: dict[str, Any] = {"team_ids": fleet.team_ids, "api_key": fleet.token, "base_url": fleet.url, **ONE_BY_ONE}
    result = run_load(pipeline, **wish, include_teams=True, include_secrets=True)
    assert result.left == "10 of 20 requests are left of this hour and 10 are kept for listings"
    assert result.team_names == {
        TEAM: f"Team {TEAM}" if TEAM != 936506 else "Nordic Marketing",
        OTHER: "Loyalty & Retail",
    }
    assert result.failed == []


def test_a_log_that_the_limit_cuts_short_leaves_no_gap(fleet: Sandbox, load: Load, rows: Rows) -> None:
    """It is not written, and asked for from its beginning when there is room again."""
    fleet.log_page = 2
    fleet.add_log(TEAM, "C0", *[entry(f"n{n:02}", minutes(n)) for n in range(25)])
    wish = {"api_key": fleet.token, "base_url": fleet.url, "include_logs": True, **ONE_BY_ONE}
    load(TEAM, **wish)
    assert rows("connector_logs", "connector_identifier") == []
    assert rows("fetches", "connector_identifier", "status") == [("C0", "interrupted")]
    fleet.rate_limit, fleet._window_ends = 200, 0.0
    load(TEAM, **wish)
    assert len(rows("connector_logs", "id", where="connector_identifier = 'C0'")) == 26
    assert len(rows("connector_logs", "id")) == 30


def test_a_log_longer_than_the_limit_is_had_in_several_hours(
    fleet: Sandbox, load: Load, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its older part first, so that whenever a run ends nothing is missing before what is there."""
    monkeypatch.setattr(neighbours, "LONG", 3)
    fleet.log_page, fleet.rate_limit = 5, 120
    fleet.add_log(TEAM, "C0", *[entry(f"n{n:03}", minutes(3 * n + 1)) for n in range(400)])
    ages = {"0-x": 600} | {f"n{n:03}": 3 * n + 1 for n in range(400)}
    everything = sorted(ages, key=ages.__getitem__, reverse=True)
    wish = {"api_key": fleet.token, "base_url": fleet.url, "include_logs": True, "logs_since": "1d", **ONE_BY_ONE}
    stored: list[list[str]] = [[]]
    while len(stored[-1]) < len(everything):
        assert len(stored) < 12
        fleet._window_ends = 0.0  # an hour later
        load(TEAM, **wish)
        stored.append([id_ for (id_,) in rows("connector_logs", "id", where="connector_identifier = 'C0'")])
        assert sorted(stored[-1]) == sorted(everything[: len(stored[-1])])
    assert len(stored) > 3
    load(TEAM, **wish)
    assert rows("fetches", "status", where="connector_identifier = 'C0'") == [("ok",)]
    assert len(rows("connector_logs", "id", where="connector_identifier = 'C0'")) == len(everything)


def test_a_429_ends_the_rest_in_good_order(api: Sandbox, load: Load, rows: Rows) -> None:
    """Another program with the same key may have used up the hour."""
    api.fault(Fault(429, retry_after=3600), path="/logs", times=9)
    load(include_logs=True, **ONE_BY_ONE)
    assert rows("connectors", "connector_identifier") == [("CRM",), ("SHOP",)]
    assert rows("team_syncs", "status", "connectors_postponed") == [("ok", 2)]
    assert len(asked(api)) == 1


def test_an_api_that_is_gone_is_not_asked_for_every_connector(fleet: Sandbox, load: Load, rows: Rows) -> None:
    """Each would be retried, for hours."""
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
    assert len(asked(fleet)) == 5
    assert rows("team_syncs", "connectors_failing", "connectors_postponed") == [(2, 3), (3, 2)]


# --- one connector's matter -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "endpoint"), [(403, "logs"), (404, "secrets")])
def test_what_a_connector_answers_is_its_own_matter(
    api: Sandbox, load: Load, rows: Rows, status: int, endpoint: str
) -> None:
    """It is noted with the request id, the others go on, and what it had stays."""
    load(**ALL)
    held = rows("connector_secrets", "*")
    api.fault(Fault(status, description="Not this one."), path=f"/CRM/{endpoint}")
    load(**ALL)
    [refused] = [request for request in api.requests if request.status == status]
    [(code, message, request_id)] = rows("fetches", "error_code", "message", "request_id", where="status = 'failed'")
    assert request_id == refused.request_id
    assert message.endswith("Not this one.")
    assert code == {403: "FORBIDDEN", 404: "NOT_FOUND"}[status]
    assert rows("connector_secrets", "*") == held
    assert rows("team_syncs", "status", "connectors_failing") == [("ok", 0), ("ok", 1)]


def test_a_key_that_is_refused_meanwhile_fails_the_run(api: Sandbox, load: Load) -> None:
    """Nothing would be answered any more."""
    api.fault(Fault(401), path="/CRM/secrets")
    assert isinstance(failure(load, include_secrets=True), SupermetricsUnauthorizedError)


def test_a_team_that_fails_is_asked_for_nothing_else(api: Sandbox, load: Load, rows: Rows) -> None:
    """Nobody knows its connectors."""
    api.add_connector(OTHER, "X")
    api.fault(Fault(403), team_id=TEAM)
    load(TEAM, OTHER, **ALL, on_team_error="skip")
    assert {request.team_id for request in api.requests if _is_more(request)} == {OTHER}
    assert rows("team_syncs", "team_id", "status", "connectors_postponed") == [(TEAM, "failed", 0), (OTHER, "ok", 0)]


def test_a_secrets_value_is_never_stored(api: Sandbox, load: Load, query: Query) -> None:
    """Even if the API should send one, one day."""
    told = b'{"count":1,"secrets":[{"secret_placeholder":"sec_1","secret_name":"a","secret_value":"hunter2-value"}]}'
    api.fault(Fault(200, body=told), path="/CRM/secrets")
    load(**ALL)
    assert "secret_value" not in {name for name, *_ in query("describe connector_secrets")}


def test_a_field_that_the_api_adds_becomes_a_column(api: Sandbox, load: Load, rows: Rows) -> None:
    """As everywhere."""
    api.set_team(TEAM, plan={"tier": 3})
    api.add_log(TEAM, "CRM", entry("4-d", minutes(1), region="eu"))
    load(**ALL)
    assert rows("teams", "plan->>'tier'") == [("3",)]
    assert rows("connector_logs", "region", where="id = '4-d'") == [("eu",)]


# --- elsewhere --------------------------------------------------------------------------------------------------------


def test_a_plain_pipeline_gets_the_same(api: Sandbox, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """By settings alone, as after `dlt init`."""
    for name in ALL:
        monkeypatch.setenv(f"SOURCES__SUPERMETRICS__{name.upper()}", "true")
    passed = round((datetime.now(timezone.utc) - NOW) / minutes(1))
    monkeypatch.setenv("SOURCES__SUPERMETRICS__LOGS_SINCE", f"{85 + passed}m")
    pipeline = dlt.pipeline("mine", destination=dlt.destinations.duckdb(str(tmp_path / "mine.duckdb")))
    info: LoadInfo = pipeline.run(supermetrics_source([TEAM], api.token, base_url=api.url))
    with pipeline.sql_client() as client:
        assert client.execute_sql("select id from connector_logs order by id") == [("2-b",), ("3-c",)]
    assert info.has_failed_jobs is False


def test_configured(api: Sandbox, load: Load, rows: Rows) -> None:
    """With configurations too, in one run."""
    api.add_connector(TEAM, "WITH", configuration=configuration(auth="{{sec_a23f23d26}}"))
    load(**ALL, include_configs=True)
    assert len(rows("connector_configurations", "connector_identifier")) == 1


KILLED = [
    Moment(frozenset({"merge of connector_logs"}), frozenset({"rows of connector_logs"})),
    Moment(frozenset({"merge of fetches"}), frozenset({"merge of connector_logs"})),
    Moment(frozenset({"merge of connector_logs"}), frozenset({"merge of fetches", "merge of connector_secrets"})),
]


def test_a_load_that_is_killed_leaves_no_gap(api: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever that is, in a first load too: entries reach their table all at once, and the table is the mark."""
    settings = {"API_KEY": api.token, "BASE_URL": api.url, "TEAM_IDS": str(TEAM)}
    for name, value in settings.items():
        monkeypatch.setenv(f"SOURCES__SUPERMETRICS__{name}", value)
    api.log_page = 3
    command = ["load", "--json", "--include-teams", "--include-logs", "--include-secrets"]
    for number, moment in enumerate(KILLED):
        api.add_log(TEAM, "CRM", *[entry(f"{number}-{n}", minutes(90 - 20 * number + n / 10)) for n in range(9)])
        api.set_secrets(TEAM, "SHOP", {f"sec_{number}": "a"})
        killed_between(command, moment)
        assert run(command) == 0
    with duckdb.connect("supermetrics_connectors.duckdb") as connection:
        stored = connection.execute("select id from supermetrics.connector_logs order by id").fetchall()
        secrets = connection.execute("select secret_placeholder from supermetrics.connector_secrets").fetchall()
    assert [id_ for (id_,) in stored] == sorted(each["id"] for each in api.logs(TEAM, "CRM"))
    assert ("sec_2",) in secrets
    assert len(secrets) == 3
