"""Optional endpoints: their records are checked like listings, and a failing request affects no other."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime, timezone
from typing import Any

import pytest

from supermetrics_connectors.api.endpoints import (
    ENDPOINTS,
    FetchTask,
    fetch_tasks,
    read_records,
)
from supermetrics_connectors.api.fetch import Fetcher
from supermetrics_connectors.api.validation import ColumnNames, UnexpectedError
from supermetrics_connectors.exceptions import (
    SupermetricsResponseTooLargeError,
)
from supermetrics_connectors.records import Record, content_hash
from tests.helpers.clients import LOGS, SECRETS, TEAM_ENDPOINT, response, settings
from tests.helpers.sandbox import Sandbox

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


def test_a_lack_of_memory_fails_one_request(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a lasting failure, not as one of the API. tests/whole/test_optional_tables.py has the other failures."""
    sandbox.add_connector(7, "A")
    sandbox.set_secrets(7, "A", {"sec_1": "key"})
    monkeypatch.setattr(ColumnNames, "rename", lambda *_: (_ for _ in ()).throw(MemoryError))
    with closing(Fetcher(settings(base_url=sandbox.url, api_key=sandbox.token, **ALL), str.lower)) as fetcher:
        (failed,) = fetcher.results([SECRETS_TASK], {}, lambda *_: None)
    assert type(failed.error) is SupermetricsResponseTooLargeError
