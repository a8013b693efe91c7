"""`…/connectors/{connector_identifier}/secrets`: what a connector's secrets are called. Values are never sent."""

from dataclasses import dataclass
from urllib.parse import quote

from .checks import Record, check_texts, checked_object, checked_text, counted_list, refuse_nul
from .client import Answer, SupermetricsClient

FIELDS = ("secret_placeholder", "secret_name")
"""What is taken of a secret. A field that the API adds is left out: it might be the value."""


@dataclass(frozen=True)
class Secrets:
    """The secrets of a connector.

    Attributes:
        records: By placeholder.
        complete: Whether these are all: only then does one's absence mean that it is gone.
    """

    records: dict[str, Record]
    complete: bool


def ask_secrets(client: SupermetricsClient, team_id: int, connector_identifier: str) -> Answer:
    """Asks for the secrets of a connector.

    Raises:
        SupermetricsError: As its subclass for what went wrong.
    """
    return client.get(team_id, f"{connector_path(team_id, connector_identifier)}/secrets", {})


def connector_path(team_id: int, connector_identifier: str) -> str:
    """Where a connector is, below the base URL."""
    return f"/v1/teams/{team_id}/connector_builder/connectors/{quote(connector_identifier, safe='')}"


def read_secrets(answer: Answer) -> Secrets:
    """Checks an answer.

    Raises:
        UnexpectedError: It is not what the documentation says.
    """
    count, listed = counted_list(checked_object(answer.payload, "the answer"), "secrets")
    refuse_nul(listed, "secrets")
    records = [_read(each, f"secrets[{index}]") for index, each in enumerate(listed)]
    return Secrets({record["secret_placeholder"]: record for record in records}, count == len(listed))


def _read(value: object, where: str) -> Record:
    record = checked_object(value, where)
    checked_text(record, "secret_placeholder", where)
    check_texts(record, ("secret_name",), where)
    return {name: record.get(name) for name in FIELDS}
