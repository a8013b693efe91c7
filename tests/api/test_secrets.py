"""What the API tells of a connector's secrets, checked."""

from __future__ import annotations

from typing import Any

import pytest

from supermetrics_connectors.api.checks import UnexpectedError
from supermetrics_connectors.api.client import Answer
from supermetrics_connectors.api.secrets import connector_path, read_secrets


def answer(payload: Any) -> Answer:
    """A 200 with this."""
    return Answer(payload, 200, "req_12345678", 100, 100)


def test_only_what_a_secret_is_called_is_taken() -> None:
    """A field that the API adds might be the value."""
    secret = {"secret_placeholder": "sec_a23f23d26", "secret_name": "client_id", "secret_value": "hunter2"}
    read = read_secrets(answer({"count": 1, "secrets": [secret]}))
    assert read.records == {"sec_a23f23d26": {"secret_placeholder": "sec_a23f23d26", "secret_name": "client_id"}}
    assert read.complete


def test_another_count_is_not_the_whole() -> None:
    """Then nothing may be taken away."""
    assert not read_secrets(answer({"count": 1, "secrets": []})).complete


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ({"count": 0}, "Expected a list in `secrets`, nothing arrived"),
        ({"secrets": []}, "Expected an integer ≥ 0 in `count`, nothing arrived"),
        ({"count": 1, "secrets": ["a"]}, "Expected an object in secrets[0], a string arrived"),
        (
            {"count": 1, "secrets": [{}]},
            "Expected a non-empty string in secrets[0].secret_placeholder, nothing arrived",
        ),
        (
            {"count": 1, "secrets": [{"secret_placeholder": "sec_1", "secret_name": 7}]},
            "Expected a string in secrets[0].secret_name, a number arrived",
        ),
    ],
)
def test_what_is_not_as_documented_is_named(payload: Any, message: str) -> None:
    """Where, and what was expected."""
    with pytest.raises(UnexpectedError) as raised:
        read_secrets(answer(payload))
    assert message in str(raised.value)


def test_an_identifier_stays_in_its_place_of_the_path() -> None:
    """Whatever it is made of."""
    assert connector_path(7, "a/../b?c") == "/v1/teams/7/connector_builder/connectors/a%2F..%2Fb%3Fc"
