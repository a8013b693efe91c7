"""Which secrets a configuration uses and its connector lacks, and which secrets no configuration uses.

Both are differences of two sets: the ids in the text of a configuration, and the ids of the connector's secrets. The
texts are read, because databases search them in different ways.
"""

import re
from collections import defaultdict
from dataclasses import dataclass, field

from .tables import Row, Tables

SECRET_ID = re.compile(r"(?<![0-9A-Za-z_])sec_[0-9a-z]{5,96}(?![0-9A-Za-z_])")
"""An id that a configuration uses in place of a secret, such as sec_a23f23d26."""
_BATCH_TEAMS = 100
"""Teams whose configurations are in memory together."""


@dataclass
class SecretUse:
    """Secrets by team, connector and id.

    Attributes:
        missing: Ids that a current configuration uses and its connector does not have.
        unused: Secrets that the current configuration of their connector does not use.
        connectors: Number of examined connectors: with a current configuration and a complete list of secrets.
    """

    missing: list[Row] = field(default_factory=list)
    unused: list[Row] = field(default_factory=list)
    connectors: int = 0


def secret_use(tables: Tables) -> SecretUse:
    """Compares the secrets of every connector with its current configuration."""
    use = SecretUse()
    fetches = tables["fetches"]
    found = tables.rows(f"select distinct team_id from {fetches} where endpoint = 'secrets' and status = 'ok'")
    teams = sorted(row["team_id"] for row in found)
    for start in range(0, len(teams), _BATCH_TEAMS):
        _compare(tables, f"team_id in ({', '.join(map(str, teams[start : start + _BATCH_TEAMS]))})", use)
    return use


def _compare(tables: Tables, among: str, use: SecretUse) -> None:
    """Adds what the connectors of some teams miss and do not use."""
    secrets: defaultdict[tuple[int, str], dict[str, str]] = defaultdict(dict)
    columns = "team_id, connector_identifier, secret_placeholder, secret_name"
    for row in tables.rows(f"select {columns} from {tables['connector_secrets']} where {among}"):
        secrets[row["team_id"], row["connector_identifier"]][row["secret_placeholder"]] = row["secret_name"]
    for row in tables.rows(_texts(tables, among)):
        use.connectors += 1
        used = {*SECRET_ID.findall(row.pop("configuration_text") or "")}
        known = secrets[row["team_id"], row["connector_identifier"]]
        use.missing += [row | {"secret_placeholder": each} for each in sorted(used - known.keys())]
        use.unused += [
            row | {"secret_name": known[each], "secret_placeholder": each}
            for each in sorted(known.keys() - used)
            if SECRET_ID.fullmatch(each)  # nothing is known about the use of an id of another form
        ]


def _texts(tables: Tables, among: str) -> str:
    """Current configurations of connectors whose secrets were listed; the text only if it may hold an id.

    The pattern leaves out the s of `sec_`, because drivers take `%s` for a parameter.
    """
    text = tables.data.json_text("configuration_json")
    name = tables.column("name")
    return f"""select configurations.team_id as team_id, connectors.{name} as {name},
  configurations.connector_identifier as connector_identifier, configuration_text
from (
  select team_id, connector_identifier, case when {text} like '%ec_%' then {text} end as configuration_text
  from {tables["connector_configurations"]}
  where _dlt_valid_to is null and {among}
) as configurations
join {tables["fetches"]} as fetches on fetches.team_id = configurations.team_id
  and fetches.connector_identifier = configurations.connector_identifier
  and fetches.endpoint = 'secrets' and fetches.status = 'ok'
join {tables["connectors"]} as connectors on connectors.team_id = configurations.team_id
  and connectors.connector_identifier = configurations.connector_identifier
order by configurations.team_id, configurations.connector_identifier"""
