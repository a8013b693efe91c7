"""Secrets that a configuration counts on in vain: it names them, and its connector has none of that name.

No query finds names in texts on every destination, so the texts are read: those in which there may be one.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

Row = dict[str, Any]
Rows = Callable[[str, Sequence[str]], list[Row]]
"""Asks a query in the report's SQL, with names for its columns."""

_PLACEHOLDER = re.compile(r"(?<![0-9A-Za-z_])sec_[0-9a-z]{5,96}(?![0-9A-Za-z_])")
_TEAMS_AT_ONCE = 100  # so that the texts in memory are theirs, and not those of all teams


def missing_secrets(rows: Rows, most: int) -> list[Row]:
    """The first of them, in order: team, connector, placeholder.

    Args:
        rows: Asks the dataset.
        most: How many.
    """
    return list(islice(_missing(rows), most))


def _missing(rows: Rows) -> Iterator[Row]:
    teams = [row["team_id"] for row in rows(_TEAMS, ["team_id"])]
    for start in range(0, len(teams), _TEAMS_AT_ONCE):
        among = ", ".join(map(str, teams[start : start + _TEAMS_AT_ONCE]))
        secrets = rows(_HELD.format(teams=among), ["team_id", "connector_identifier", "placeholder"])
        held = {tuple(row.values()) for row in secrets}
        for row in rows(_TEXTS.format(teams=among), ["team_id", "name", "connector_identifier", "text"]):
            for placeholder in sorted({*_PLACEHOLDER.findall(row.pop("text"))}):
                if (row["team_id"], row["connector_identifier"], placeholder) not in held:
                    yield row | {"secret_placeholder": placeholder}


_TEAMS = "select distinct team_id from fetches where endpoint = 'secrets' and status = 'ok' order by team_id"
_HELD = "select team_id, connector_identifier, secret_placeholder from connector_secrets where team_id in ({teams})"
# of a connector whose secrets could not be had, none is known to be missing
_TEXTS = """
select configurations.team_id, connectors.name, configurations.connector_identifier, cast(configuration_json as text)
from connector_configurations as configurations
join fetches on fetches.team_id = configurations.team_id
  and fetches.connector_identifier = configurations.connector_identifier
  and endpoint = 'secrets' and status = 'ok'
left join connectors on connectors.team_id = configurations.team_id
  and connectors.connector_identifier = configurations.connector_identifier
where _dlt_valid_to is null and position('sec_' in cast(configuration_json as text)) > 0
  and configurations.team_id in ({teams})
order by configurations.team_id, configurations.connector_identifier"""
