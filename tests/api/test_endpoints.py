"""Optional endpoints: their records are checked like listings, and a failing request affects no other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timezone
from typing import Any

import pytest

from supermetrics_connectors.api.endpoints import (
    ENDPOINTS,
    FetchResult,
    FetchTask,
    fetch_tasks,
    planned_requests,
    read_records,
    selected_endpoints,
)
from supermetrics_connectors.api.fetch import Fetcher
from supermetrics_connectors.api.validation import ColumnNames, UnexpectedError
from supermetrics_connectors.exceptions import (
    SupermetricsContractError,
    SupermetricsForbiddenError,
    SupermetricsResponseTooLargeError,
    SupermetricsServerError,
    SupermetricsUnauthorizedError,
)
from supermetrics_connectors.records import Record, content_hash
from tests.helpers.clients import LOGS, SECRETS, TEAM_ENDPOINT, response, settings
from tests.helpers.sandbox import Fault, Sandbox

ALL = {endpoint.setting: True for endpoint in ENDPOINTS}
TEAM_TASK, SECRETS_TASK, LOGS_TASK = FetchTask(TEAM_ENDPOINT, 7), FetchTask(SECRETS, 7, "A"), FetchTask(LOGS, 7, "A")


def read(task: FetchTask, payload: Any) -> tuple[list[Record], bool]:
    """The records of a payload, and whether they are complete."""
    return read_records(task, response(payload), ColumnNames(str.lower))


# --- records ----------------------------------------------------------------------------------------------------------


def test_a_team_has_its_fields_and_the_hash_of_what_was_sent() -> None:
    """A time is in UTC, and a field under a name of ours takes another column."""
    team = {"team_id": 7, "name": "A", "status": 1, "created_at": "2026-04-06T10:59:04+0000", "content_hash": "x"}
    assert read(TEAM_TASK, {"meta": {"request_id": "r"}, "data": team}) == (
        [
            {
                "team_id": 7,
                "name": "A",
                "status": 1,
                "created_at": datetime(2026, 4, 6, 10, 59, 4, tzinfo=timezone.utc),
                "api_content_hash": "x",
                "content_hash": content_hash(team),
            }
        ],
        True,
    )


@pytest.mark.parametrize("data", [{}, {"team_id": "7"}, {"team_id": None}])
def test_every_field_of_a_team_may_be_missing(data: Record) -> None:
    """The request determines the id."""
    ((team,), _) = read(TEAM_TASK, {"data": data})
    assert team == {"team_id": 7, "content_hash": content_hash(data)}


def test_of_a_secret_only_the_documented_fields_are_stored() -> None:
    """A field that the API adds might be the value, also in a hash."""
    named = {"secret_placeholder": "sec_a23f23d26", "secret_name": "client_id"}
    secrets = [named | {"secret_value": "hunter2"}, {"secret_placeholder": "sec_2"}]
    key = {"team_id": 7, "connector_identifier": "A"}
    assert read(SECRETS_TASK, {"count": 2, "secrets": secrets}) == (
        [
            {**key, **named, "content_hash": content_hash(named)},
            {**key, **secrets[1], "content_hash": content_hash(secrets[1])},
        ],
        True,
    )


@pytest.mark.parametrize(("count", "placeholders"), [(1, []), (0, ["a"]), (2, ["a", "a"])])
def test_another_count_or_a_duplicate_is_incomplete(count: int, placeholders: list[str]) -> None:
    """Then no stored row may be removed."""
    secrets = [{"secret_placeholder": name} for name in placeholders]
    records, is_complete = read(SECRETS_TASK, {"count": count, "secrets": secrets})
    assert (len(records), is_complete) == (len(set(placeholders)), False)


def log_entry(**fields: Any) -> Record:
    """The payload of a log with one entry."""
    return {"logs": [{"id": "1", "log_time": "2026-01-01", **fields}]}


@pytest.mark.parametrize(
    ("task", "payload", "message"),
    [
        (TEAM_TASK, [], "Expected an object in the response, a list arrived"),
        (TEAM_TASK, {"meta": {}}, "Expected an object in data, nothing arrived"),
        (TEAM_TASK, {"data": {"team_id": 8}}, "Expected data to be of team 7, its `team_id` names another"),
        (TEAM_TASK, {"data": {"name": 5}}, "Expected a string in data.name, a number arrived"),
        (TEAM_TASK, {"data": {"status": "active"}}, "Expected an integer in data.status, a string arrived"),
        (TEAM_TASK, {"data": {"status": 2**63}}, "Expected an integer in data.status, a number arrived"),
        (TEAM_TASK, {"data": {"created_at": "soon"}}, "in data.created_at, 'soon' arrived"),
        (TEAM_TASK, {"data": {"name": "a\0"}}, "a NUL character arrived"),
        (SECRETS_TASK, {"count": 0}, "Expected a list in `secrets`, nothing arrived"),
        (SECRETS_TASK, {"secrets": []}, "Expected an integer ≥ 0 in `count`, nothing arrived"),
        (SECRETS_TASK, {"count": 1, "secrets": ["a"]}, "Expected an object in secrets[0], a string arrived"),
        (
            SECRETS_TASK,
            {"count": 1, "secrets": [{}]},
            "Expected a non-empty string in secrets[0].secret_placeholder, nothing arrived",
        ),
        (LOGS_TASK, {"logs": None}, "Expected a list in `logs`, nothing arrived"),
        (LOGS_TASK, log_entry(id=7), "Expected a non-empty string in logs[0].id, a number arrived"),
        (LOGS_TASK, log_entry(log_time=None), "in logs[0].log_time, nothing arrived"),
        (LOGS_TASK, log_entry(status="200"), "Expected an integer in logs[0].status, a string arrived"),
        (LOGS_TASK, log_entry(duration_ms=True), "Expected an integer in logs[0].duration_ms, a boolean arrived"),
    ],
)
def test_a_malformed_response_is_named(task: FetchTask, payload: Any, message: str) -> None:
    """With its place, and what was expected."""
    with pytest.raises(UnexpectedError) as raised:
        read(task, payload)
    assert message in str(raised.value)


# --- tasks ------------------------------------------------------------------------------------------------------------


def test_tasks_follow_from_the_settings_and_the_listed_connectors() -> None:
    """Each selected endpoint once per team or connector; an identifier stays one segment of the path."""
    listed = {1: ["a/../b?c"], 2: []}
    connector = "/v1/teams/1/connector_builder/connectors/a%2F..%2Fb%3Fc"
    assert [task.path for task in fetch_tasks(settings(**ALL), listed)] == [
        "/v1/teams/1",
        f"{connector}/secrets",
        f"{connector}/logs",
        "/v1/teams/2",
    ]
    assert [task.path for task in fetch_tasks(settings(include_logs=True), listed)] == [f"{connector}/logs"]
    assert list(fetch_tasks(settings(), listed)) == []


@pytest.mark.parametrize("selected", [{}, {"include_logs": True}, ALL])
def test_a_plan_has_as_many_requests_as_the_load_of_short_logs(sandbox: Sandbox, selected: dict[str, bool]) -> None:
    """`check` announces what a load makes."""
    sandbox.add_connector(1, "A")
    sandbox.add_connector(2, "B")
    sandbox.add_connector(2, "C")
    sandbox.add_log(2, "B", {"id": "1", "log_time": datetime.now(timezone.utc).isoformat()})
    for name in ("A", "B", "C"):
        sandbox.set_secrets(1 if name == "A" else 2, name, {})
    checked = settings(team_ids=[1, 2], base_url=sandbox.url, api_key=sandbox.token, **selected)
    with closing(Fetcher(checked, str.lower)) as fetcher:
        listings = list(fetcher.listings(_silent))
        tasks = fetch_tasks(checked, {listing.team_id: listing.connectors for listing in listings})
        assert all(result.status == "ok" for result in fetcher.results(tasks, {}, _silent))
    assert planned_requests(checked, listings) == len(sandbox.requests)


# --- results ----------------------------------------------------------------------------------------------------------


def _silent(_done: int, _message: str | None) -> None:
    pass


@contextmanager
def fetching(sandbox: Sandbox, **given: Any) -> Iterator[Fetcher]:
    """A fetcher of a sandbox whose team 7 has the connectors A and B, one request at a time."""
    for name in "AB":
        sandbox.add_connector(7, name)
        sandbox.set_secrets(7, name, {"sec_1": "key"})
    usual = {"base_url": sandbox.url, "api_key": sandbox.token, "request_max_attempts": 1, "workers": 1}
    with closing(Fetcher(settings(**{**usual, **ALL, **given}), str.lower)) as fetcher:
        yield fetcher


def results(fetcher: Fetcher, *tasks: FetchTask) -> list[FetchResult]:
    """The results in the order of the tasks."""
    return list(fetcher.results(tasks, {}, _silent))


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault(403, request_id="req-0001"), SupermetricsForbiddenError),
        (Fault(503, request_id="req-0001"), SupermetricsServerError),
        (Fault(body=b'{"secrets": []}', request_id="req-0001"), SupermetricsContractError),
    ],
)
def test_a_failing_request_affects_no_other(sandbox: Sandbox, fault: Fault, kind: type[Exception]) -> None:
    """Its result has the error, with all that support needs."""
    with fetching(sandbox) as fetcher:
        sandbox.fault(fault, path="/A/secrets")
        failed, good = results(fetcher, SECRETS_TASK, FetchTask(SECRETS, 7, "B"))
    assert type(failed.error) is kind
    assert (failed.status, failed.request_id, failed.error.team_id) == ("failed", "req-0001", 7)
    assert failed.http_status == failed.error.status_code
    assert (good.status, [record["secret_name"] for record in good.records]) == ("ok", ["key"])


def test_a_lack_of_memory_fails_one_request(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a lasting failure, not as one of the API."""
    with fetching(sandbox) as fetcher:
        monkeypatch.setattr(ColumnNames, "rename", lambda *_: (_ for _ in ()).throw(MemoryError))
        (failed,) = results(fetcher, SECRETS_TASK)
    assert type(failed.error) is SupermetricsResponseTooLargeError


def test_a_refused_key_ends_all_requests(sandbox: Sandbox) -> None:
    """Every further request would fail by it."""
    with fetching(sandbox) as fetcher:
        sandbox.tokens.clear()
        with pytest.raises(SupermetricsUnauthorizedError):
            results(fetcher, SECRETS_TASK)


def test_a_rate_limit_postpones_the_remaining_requests(sandbox: Sandbox) -> None:
    """No request is made for them."""
    with fetching(sandbox, max_retry_wait=0) as fetcher:
        sandbox.fault(Fault(429, retry_after=60), path="/A/secrets")
        found = results(fetcher, SECRETS_TASK, TEAM_TASK)
    assert [result.status for result in found] == ["postponed", "postponed"]
    assert "429" in (found[1].note or "")
    assert len(sandbox.requests) == 1


def test_the_reserved_share_postpones_the_remaining_requests(sandbox: Sandbox) -> None:
    """A log that it interrupts keeps what is complete."""
    with fetching(sandbox, rate_limit_reserve=0.5) as fetcher:
        sandbox.rate_limit = 4
        found = results(fetcher, TEAM_TASK, SECRETS_TASK, LOGS_TASK)
    assert [result.status for result in found] == ["ok", "ok", "postponed"]
    assert found[2].note == "2 of 4 requests are left in this hour and 2 are reserved for listings"


def test_a_dead_api_stops_all_requests(sandbox: Sandbox) -> None:
    """After some failures in a row the next run is the better time."""
    with fetching(sandbox) as fetcher:
        sandbox.fault(Fault(503), times=99)
        found = results(fetcher, *[TEAM_TASK] * 9)
    assert [result.status for result in found] == ["failed"] * 5 + ["postponed"] * 4


def test_endpoints_are_consistent() -> None:
    """Names and settings are unique, and a table has the key columns of its level."""
    assert len({endpoint.name for endpoint in ENDPOINTS}) == len({e.setting for e in ENDPOINTS}) == len(ENDPOINTS)
    for endpoint in ENDPOINTS:
        assert ("connector_identifier" in endpoint.table.key) is (endpoint.level == "connector")
        assert endpoint.is_log is (endpoint.table.kind == "log")
        assert selected_endpoints(settings(**{endpoint.setting: True})) == (endpoint,)
