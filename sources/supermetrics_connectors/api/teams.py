"""`GET /v1/teams/{team_id}`: what a team is called."""

from collections.abc import Callable

from .checks import (
    Record,
    UnexpectedError,
    check_depth,
    check_integers,
    check_texts,
    checked_object,
    is_of_another,
    name_columns,
    read_timestamps,
    refuse_nul,
)
from .client import Answer, SupermetricsClient

FIELDS = frozenset({"team_id", "display_id", "name", "status", "created_at"})


def ask_team(client: SupermetricsClient, team_id: int) -> Answer:
    """Asks for a team.

    Raises:
        SupermetricsError: As its subclass for what went wrong.
    """
    return client.get(team_id, f"/v1/teams/{team_id}", {})


def read_team(team_id: int, answer: Answer, column_name: Callable[[str], str]) -> Record:
    """Checks an answer: an envelope with `data`, any field of which may be missing.

    Raises:
        UnexpectedError: It is not what the documentation says.
    """
    team = checked_object(checked_object(answer.payload, "the answer").get("data"), "data")
    refuse_nul([team], "data")
    if is_of_another(team, team_id):
        raise UnexpectedError(f"Expected team {team_id}, the answer's `team_id` names another")
    check_texts(team, ("display_id", "name"), "data")
    check_integers(team, ("status",), "data")
    read_timestamps(team, ("created_at",), "data")
    check_depth(team, "data")
    name_columns([team], FIELDS, column_name)
    return team | {"team_id": team_id}
