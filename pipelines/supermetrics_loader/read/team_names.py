"""Names of teams, if the table `teams` is loaded, and the form in which messages name teams and connectors."""

from dataclasses import dataclass

from ..sanitize import sanitize
from .dataset import Dataset


@dataclass(frozen=True)
class ConnectorKey:
    """A connector, with the name of its team.

    Attributes:
        team_id: The team.
        team_name: The team's name; None if it is not loaded.
        connector_identifier: The connector.
    """

    team_id: int
    team_name: str | None
    connector_identifier: str

    def __str__(self) -> str:
        team = team_label(self.team_id, self.team_name)
        return f"connector {sanitize(self.connector_identifier)} of {team}"


def team_names(data: Dataset) -> dict[int, str]:
    """The names by team id; empty if the table `teams` is not loaded."""
    if not {"team_id", "name"} <= {*data.columns("teams")}:
        return {}
    name = data.column("name")
    rows = data.query(f"SELECT team_id, {name} FROM {data.table('teams')} WHERE {name} IS NOT NULL").rows  # noqa: S608 - our own names
    return dict(map(tuple, rows))


def team_label(team_id: int, name: str | None) -> str:
    """The team's id, followed by its name if that is known; safe to print."""
    return f"team {team_id} {sanitize(name)}" if name else f"team {team_id}"
