"""What teams are called, where the table `teams` was loaded."""

from collections.abc import Mapping

from .reading import Data, columns


def team_names(data: Data) -> dict[int, str]:
    """The names by team id; none where nobody asked the API for them."""
    if not {"team_id", "name"} <= {*columns(data, "teams")}:
        return {}
    name = data.column("name")
    _, rows = data.ask(f"SELECT team_id, {name} FROM {data.table('teams')} WHERE {name} IS NOT NULL")  # noqa: S608 - our own names
    return dict(map(tuple, rows))


def named(team_id: int, names: Mapping[int, str]) -> str:
    """The team as a text has it: its id, and its name if that is known."""
    return f"team {team_id} {names[team_id]}" if names.get(team_id) else f"team {team_id}"
