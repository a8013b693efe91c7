"""What the API tells of a team, checked."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from supermetrics_connectors.api.checks import UnexpectedError
from supermetrics_connectors.api.client import Answer
from supermetrics_connectors.api.teams import read_team


def answer(payload: Any) -> Answer:
    """A 200 with this."""
    return Answer(payload, 200, "req_12345678", 100, 100)


def test_a_team_is_read_with_its_time_in_utc() -> None:
    """And a field that the API adds under a name of the source's own gets another."""
    team = {"team_id": 7, "name": "A", "status": 1, "created_at": "2026-04-06T10:59:04+0000", "content_hash": "x"}
    assert read_team(7, answer({"meta": {"request_id": "r"}, "data": team}), str) == {
        "team_id": 7,
        "name": "A",
        "status": 1,
        "created_at": datetime(2026, 4, 6, 10, 59, 4, tzinfo=timezone.utc),
        "api_content_hash": "x",
    }


def test_every_field_may_be_missing() -> None:
    """The id is known anyway."""
    assert read_team(7, answer({"data": {}}), str) == {"team_id": 7}


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ([], "Expected an object in the answer, a list arrived"),
        ({"meta": {}}, "Expected an object in data, nothing arrived"),
        ({"data": {"team_id": 8}}, "Expected team 7, the answer's `team_id` names another"),
        ({"data": {"name": 5}}, "Expected a string in data.name, a number arrived"),
        ({"data": {"status": "active"}}, "Expected an integer in data.status, a string arrived"),
        ({"data": {"created_at": "soon"}}, "in data.created_at, 'soon' arrived"),
        ({"data": {"name": "a\0"}}, "a NUL character arrived"),
    ],
)
def test_what_is_not_as_documented_is_named(payload: Any, message: str) -> None:
    """Where, and what was expected."""
    with pytest.raises(UnexpectedError) as raised:
        read_team(7, answer(payload), str)
    assert message in str(raised.value)
