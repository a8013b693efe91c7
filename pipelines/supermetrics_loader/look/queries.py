"""What the report asks: a query, what it answers, and which tables and columns it needs, section by section.

Queries are written in PostgreSQL's dialect, as far as DuckDB reads it the same. Where nulls go is always said, since
the two differ; tables have no dataset before them, so that a query can be pasted where the dataset is the search path.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

CHANGES_DAYS = 84
"""Days, the length of "changes over time": twelve weeks."""

AGES = {
    7: "up to 7 days",
    30: "8 to 30 days",
    90: "31 to 90 days",
    365: "91 to 365 days",
}
"""The groups of "age of the last update" by their end in days."""
MOST = 25
"""Rows of what the report looks for by itself."""
OLDER, UNKNOWN = "more than a year", "unknown"
STALE_DAYS = 2
"""Days without a complete sync after which a team is out of date: loads are meant to run every day, or every hour."""


@dataclass(frozen=True)
class Query:
    """A question to the dataset.

    Attributes:
        key: Its name in the page.
        title: What it answers.
        about: One sentence on how to read the answer.
        sql: The query, as it is run and shown.
        columns: Titles of what it selects, by name, in order.
        needs: Columns that must exist, by table; the query is left out of the page's numbers otherwise.
        missing: What the page says then.
        none: What the page says when there are no rows.
    """

    key: str
    title: str
    about: str
    sql: str
    columns: Mapping[str, str]
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    missing: str = ""
    none: str = "Nothing."

    def fits(self, columns: Mapping[str, list[str]]) -> bool:
        """Whether the dataset, of which these are the columns by table, has all that is needed."""
        return _has(columns, self.needs)


_NO_CHANGES = (
    "The history of the connectors is not there yet: the next load makes it, and the first change after that is shown."
)
_NO_CONFIGURATIONS = "No configurations are loaded. Load them with: supermetrics-connectors load --include-configs"
_CHANGES = {"connector_changes": ("change", "detected_at", "baseline")}
_CONFIGURATIONS = {"connector_configurations": ("configuration_json", "_dlt_valid_from", "_dlt_valid_to")}
_CONNECTORS = {"connectors": ("team_id", "name", "updated_at")}


def failing_teams_count() -> Query:
    """How many teams fail."""
    return Query(
        "failing",
        "Failing teams",
        "whose latest sync failed or was incomplete",
        f"""select count(*) as failing
from (
{_latest_syncs()}
) as syncs
where latest = 1 and status <> 'ok'""",
        {"failing": "failing"},
    )


def stale_teams_count(now: datetime) -> Query:
    """How many teams have not been loaded for some time."""
    return Query(
        "stale-count",
        "Stale teams",
        f"without a complete sync in {STALE_DAYS} days",
        f"select count(*) as stale\nfrom (\n{_stale_teams(now)}\n) as stale",
        {"stale": "stale"},
    )


def failing_connectors_count(now: datetime) -> Query:
    """How many connectors have failed."""
    return Query(
        "failing-connectors-count",
        "Failing connectors",
        f"with a failed call in {_LOG_DAYS} days",
        f"""select count(*) as failing
from (
  select distinct team_id, connector_identifier
  from connector_logs
  where status >= 400 and log_time >= {_literal(now - timedelta(days=_LOG_DAYS))}
) as failing""",
        {"failing": "failing"},
        needs=_LOGS,
    )


def changed_count(now: datetime, columns: Mapping[str, list[str]]) -> Query:
    """How many connectors have changed lately.

    Args:
        now: When the report is made, UTC.
        columns: The dataset's columns by table.
    """
    week = _literal(now - timedelta(days=7))
    changed = f"""select team_id, connector_identifier
  from connectors
  where updated_at >= {week}"""
    if _has(columns, _CHANGES):
        changed += f"""
  union
  select team_id, connector_identifier
  from connector_changes
  where not baseline and detected_at >= {week}"""
    return Query(
        "changed",
        "Changed this week",
        "connectors added, edited or removed in 7 days",
        f"select count(*) as changed\nfrom (\n  {changed}\n) as changed",
        {"changed": "changed"},
        needs=_CONNECTORS,
    )


def teams_count() -> Query:
    """How many teams there are."""
    return Query(
        "teams",
        "Teams",
        "with at least one sync",
        "select count(distinct team_id) as teams\nfrom team_syncs",
        {"teams": "teams"},
    )


def connectors_count() -> Query:
    """How many connectors there are."""
    return Query(
        "connectors",
        "Connectors",
        "as listed last",
        "select count(*) as connectors\nfrom connectors",
        {"connectors": "connectors"},
        needs=_CONNECTORS,
    )


def connectors_by_team() -> Query:
    """The largest teams."""
    return Query(
        "connectors-by-team",
        "Connectors by team",
        "The 20 teams with the most connectors.",
        """select teams.team_id, count(connectors.connector_identifier) as connectors,
  max(connectors.updated_at) as updated_at
from (select distinct team_id from team_syncs) as teams
left join connectors on connectors.team_id = teams.team_id
group by teams.team_id
order by connectors desc, teams.team_id
limit 20""",
        {"team_id": "team", "connectors": "connectors", "updated_at": "last update"},
        needs=_CONNECTORS,
        missing="No team's connectors have been loaded yet.",
    )


def ages(now: datetime) -> Query:
    """How long ago connectors were updated."""
    cases = "\n".join(
        f"    when updated_at >= {_literal(now - timedelta(days=days))} then '{age}'" for days, age in AGES.items()
    )
    return Query(
        "age",
        "Age of the last update",
        "Connectors by the time since anybody updated them.",
        f"""select age, count(*) as connectors
from (
  select updated_at, case
    when updated_at is null then '{UNKNOWN}'
{cases}
    else '{OLDER}'
  end as age
  from connectors
) as aged
group by age
order by max(updated_at) desc nulls last""",
        {"age": "age", "connectors": "connectors"},
        needs=_CONNECTORS,
        missing="No team's connectors have been loaded yet.",
    )


def stalest() -> Query:
    """The connectors that nobody has touched for the longest time."""
    return Query(
        "stale",
        "Longest without an update",
        "The 10 connectors whose last update is the oldest.",
        """select updated_at, team_id, name, connector_identifier
from connectors
order by updated_at nulls last, team_id, connector_identifier
limit 10""",
        {"updated_at": "last update", "team_id": "team", "name": "connector", "connector_identifier": "identifier"},
        needs=_CONNECTORS,
        missing="No team's connectors have been loaded yet.",
    )


def changes(now: datetime) -> Query:
    """Changes by day and kind."""
    return Query(
        "changes",
        "Changes over time",
        "What differed between one listing and the next, by day (UTC) in the last twelve weeks. "
        "A team's first listing is its baseline and does not count.",
        f"""select cast(detected_at at time zone 'UTC' as date) as day, change, count(*) as changes
from connector_changes
where not baseline and detected_at >= {_literal(first_day(now))}
group by cast(detected_at at time zone 'UTC' as date), change
order by day, change""",
        {"day": "day", "change": "change", "changes": "changes"},
        needs=_CHANGES,
        missing=_NO_CHANGES,
        none="No changes in the last twelve weeks.",
    )


def latest_changes(columns: Mapping[str, list[str]]) -> Query:
    """The changes seen last, with the paths of a configuration that changed."""
    paths = {name: name.replace("_", " ") for name in columns.get("connector_changes", []) if "path" in name}
    selected = ["detected_at", "change", "team_id", "name", "connector_identifier", *paths]
    return Query(
        "latest-changes",
        "Latest changes",
        "The 20 changes seen last.",
        f"""select {", ".join(selected)}
from connector_changes
where not baseline
order by detected_at desc nulls last, team_id, connector_identifier, change
limit 20""",
        {
            "detected_at": "seen",
            "change": "change",
            "team_id": "team",
            "name": "connector",
            "connector_identifier": "identifier",
            **paths,
        },
        needs={"connector_changes": (*selected, "baseline")},
        missing=_NO_CHANGES,
        none="No changes so far.",
    )


def configurations(key: str, title: str, about: str, order: str) -> Query:
    """Configurations, first those that have the most of something.

    Args:
        key: The query's.
        title: The query's.
        about: The query's.
        order: `characters` or `versions`.
    """
    return Query(
        key,
        title,
        about,
        f"""select team_id, name, connector_identifier, characters, versions, latest_version_at
from (
  select configurations.team_id, configurations.connector_identifier, min(connectors.name) as name,
    max(case when _dlt_valid_to is null then length(cast(configuration_json as text)) end) as characters,
    count(*) as versions, max(_dlt_valid_from) as latest_version_at
  from connector_configurations as configurations
  left join connectors on connectors.team_id = configurations.team_id
    and connectors.connector_identifier = configurations.connector_identifier
  group by configurations.team_id, configurations.connector_identifier
) as configurations
where characters is not null
order by {order} desc, team_id, connector_identifier
limit 15""",
        {
            "team_id": "team",
            "name": "connector",
            "connector_identifier": "identifier",
            "characters": "characters",
            "versions": "versions",
            "latest_version_at": "latest version since",
        },
        needs=_CONNECTORS | _CONFIGURATIONS,
        missing=_NO_CONFIGURATIONS,
        none=_NO_CONFIGURATIONS,
    )


def largest_configurations() -> Query:
    """The configurations with the most text."""
    return configurations(
        "configuration-size",
        "Largest configurations",
        "The 15 current configurations with the most text, in characters of JSON.",
        "characters",
    )


def most_versions() -> Query:
    """The configurations that changed most often."""
    return configurations(
        "configuration-versions",
        "Most edited configurations",
        "The 15 current configurations with the most versions seen.",
        "versions",
    )


def failing_teams() -> Query:
    """Which teams cannot be loaded now, for the person who writes to support."""
    return Query(
        "failing-teams",
        "Teams that fail",
        "Whose latest sync failed or got an incomplete listing: the 25 newest. Supermetrics support asks for the "
        "request_id.",
        f"""select started_at, syncs.team_id, status, http_status, error_code, error_message, request_id, complete_at
from (
{_latest_syncs("status, http_status, error_code, error_message, request_id")}
) as syncs
left join (
{_COMPLETE_SYNCS}
) as complete on complete.team_id = syncs.team_id
where latest = 1 and status <> 'ok'
order by started_at desc, syncs.team_id
limit 25""",
        {
            "started_at": "started",
            "team_id": "team",
            "status": "status",
            "http_status": "HTTP",
            "error_code": "code",
            "error_message": "message",
            "request_id": "request_id",
            "complete_at": "last complete",
        },
        none="No team's latest sync has failed.",
    )


def stale_teams(now: datetime) -> Query:
    """Which teams nobody loads any more."""
    return Query(
        "stale-teams",
        "Teams that are out of date",
        f"Without a complete sync in {STALE_DAYS} days: the job does not run, no longer has them, or fails. "
        "The 25 oldest.",
        f"""select team_id, complete_at, latest_at
from (
{_stale_teams(now)}
) as stale
order by complete_at nulls first, team_id
limit 25""",
        {"team_id": "team", "complete_at": "last complete sync", "latest_at": "latest sync"},
        none=f"Every team has had a complete sync in the last {STALE_DAYS} days.",
    )


def failed_syncs() -> Query:
    """What went wrong, and is over."""
    return Query(
        "failed-syncs",
        "Failures that are over",
        "The 25 latest syncs that failed or were incomplete, of teams that have had a complete one since.",
        f"""select started_at, syncs.team_id, status, http_status, error_code, error_message, request_id
from team_syncs as syncs
join (
{_COMPLETE_SYNCS}
) as complete on complete.team_id = syncs.team_id and complete_at > started_at
where status <> 'ok'
order by started_at desc, syncs.team_id
limit 25""",
        {
            "started_at": "started",
            "team_id": "team",
            "status": "status",
            "http_status": "HTTP",
            "error_code": "code",
            "error_message": "message",
            "request_id": "request_id",
        },
        none="None.",
    )


def redacted_secrets() -> Query:
    """Where somebody typed a secret into a configuration."""
    return Query(
        "redacted",
        "Secrets in configurations",
        "Values that were replaced before anything was written, by each team's latest sync that looked at "
        "configurations. They should move to the Connector Builder's secrets. Only where they stand is known here.",
        f"""select team_id, started_at, secrets_redacted, redacted_paths
from (
{_latest_syncs("secrets_redacted, redacted_paths", "secrets_redacted is not null")}
) as syncs
where latest = 1 and secrets_redacted > 0
order by secrets_redacted desc, team_id
limit 25""",
        {"team_id": "team", "started_at": "seen", "secrets_redacted": "secrets", "redacted_paths": "paths"},
        needs={"team_syncs": ("secrets_redacted", "redacted_paths")},
        missing="This dataset was loaded before secrets were looked for: the next load does.",
        none="None was found.",
    )


# --- what there is besides the listings -------------------------------------------------------------------------------

_LOG_DAYS = 7
_SLOW_MS = 10_000
_LOGS = {"connector_logs": ("log_time", "status", "duration_ms", "request_id")}
_SECRETS = {"connector_secrets": ("secret_placeholder", "secret_name")} | _CONFIGURATIONS


def failing_connectors(now: datetime) -> Query:
    """Which connectors do not work, by their logs."""
    since = _literal(now - timedelta(days=_LOG_DAYS))
    return Query(
        "failing-connectors",
        "Connectors that fail or are slow",
        f"What the logs of the last {_LOG_DAYS} days say: calls answered with 400 or more, calls of more than "
        f"{_SLOW_MS // 1000} seconds, and the request_id of the latest call that failed. The 25 worst.",
        f"""select made.team_id, connectors.name, made.connector_identifier, errors, slow, calls, last_error_at,
  latest.request_id
from (
  select team_id, connector_identifier, count(*) as calls,
    sum(case when status >= 400 then 1 else 0 end) as errors,
    sum(case when duration_ms > {_SLOW_MS} then 1 else 0 end) as slow,
    max(case when status >= 400 then log_time end) as last_error_at
  from connector_logs
  where log_time >= {since}
  group by team_id, connector_identifier
) as made
left join connectors on connectors.team_id = made.team_id
  and connectors.connector_identifier = made.connector_identifier
left join (
  select team_id, connector_identifier, log_time, max(request_id) as request_id
  from connector_logs
  where status >= 400 and log_time >= {since}
  group by team_id, connector_identifier, log_time
) as latest on latest.team_id = made.team_id
  and latest.connector_identifier = made.connector_identifier and latest.log_time = last_error_at
where errors > 0 or slow > 0
order by errors desc, slow desc, made.team_id, made.connector_identifier
limit 25""",
        {
            "team_id": "team",
            "name": "connector",
            "connector_identifier": "identifier",
            "errors": "errors",
            "slow": "slow",
            "calls": "calls",
            "last_error_at": "last error",
            "request_id": "request_id",
        },
        needs=_LOGS | {"connectors": ("team_id", "name")},
        none=f"No call failed or took long in {_LOG_DAYS} days.",
    )


def unused_secrets() -> Query:
    """Secrets that could go."""
    return Query(
        "unused-secrets",
        "Secrets that no configuration uses",
        "Whose placeholder does not occur in the connector's configuration.",
        """select secrets.team_id, connectors.name, secrets.connector_identifier, secret_name, secret_placeholder
from connector_secrets as secrets
join connector_configurations as configurations on configurations.team_id = secrets.team_id
  and configurations.connector_identifier = secrets.connector_identifier and _dlt_valid_to is null
left join connectors on connectors.team_id = secrets.team_id
  and connectors.connector_identifier = secrets.connector_identifier
where cast(configuration_json as text) not like '%' || secret_placeholder || '%'
order by secrets.team_id, secrets.connector_identifier, secret_placeholder
limit 25""",
        {
            "team_id": "team",
            "name": "connector",
            "connector_identifier": "identifier",
            "secret_name": "secret",
            "secret_placeholder": "placeholder",
        },
        needs={**_SECRETS, **_CONNECTORS},
        missing=_NO_CONFIGURATIONS,
        none="Every secret is used.",
    )


def missing_secrets() -> Query:
    """Secrets that a configuration counts on in vain: without SQL, see `look/missing_secrets.py`."""
    return Query(
        "missing-secrets",
        "Secrets that a configuration names and the connector does not have",
        "Placeholders such as sec_a23f23d26 in current configurations, of connectors whose secrets are loaded: the "
        f"first {MOST}. There is no SQL for it, as databases take texts apart in different ways: the report read them.",
        "",
        {
            "team_id": "team",
            "name": "connector",
            "connector_identifier": "identifier",
            "secret_placeholder": "placeholder",
        },
        needs={**_SECRETS, **_CONNECTORS, "fetches": ("endpoint", "status")},
        missing=_NO_CONFIGURATIONS,
        none="None is missing.",
    )


def failed_fetches() -> Query:
    """What could not be had besides the listings, for the person who writes to support."""
    return Query(
        "failed-fetches",
        "Logs, secrets and teams that could not be had",
        "What the API answered last. Supermetrics support asks for the request_id.",
        """select fetched_at, team_id, connector_identifier, endpoint, status, http_status, error_code, message,
  request_id
from fetches
where status <> 'ok'
order by fetched_at desc, team_id, connector_identifier, endpoint
limit 25""",
        {
            "fetched_at": "asked",
            "team_id": "team",
            "connector_identifier": "identifier",
            "endpoint": "what",
            "status": "status",
            "http_status": "HTTP",
            "error_code": "code",
            "message": "message",
            "request_id": "request_id",
        },
        needs={"fetches": ("endpoint", "status", "message")},
        none="Everything was answered.",
    )


def first_day(now: datetime) -> datetime:
    """When "changes over time" begins: midnight, UTC."""
    return (now - timedelta(days=CHANGES_DAYS - 1)).replace(hour=0, minute=0, second=0, microsecond=0)


def last_sync() -> str:
    """The query for when the latest sync began; no row or null when there has been none."""
    return "select max(started_at) as started_at from team_syncs"


def _latest_syncs(more: str = "status", where: str = "") -> str:
    condition = f"\n  where {where}" if where else ""
    return f"""  select team_id, started_at, {more},
    row_number() over (partition by team_id order by started_at desc) as latest
  from team_syncs{condition}"""


_COMPLETE_SYNCS = """  select team_id, max(started_at) as complete_at
  from team_syncs
  where status = 'ok'
  group by team_id"""
"""When each team has been loaded whole for the last time."""


def _stale_teams(now: datetime) -> str:
    since = _literal(now - timedelta(days=STALE_DAYS))
    return f"""  select team_id, max(case when status = 'ok' then started_at end) as complete_at,
    max(started_at) as latest_at
  from team_syncs
  group by team_id
  having coalesce(max(case when status = 'ok' then started_at end), min(started_at)) < {since}"""


def _has(columns: Mapping[str, list[str]], needs: Mapping[str, tuple[str, ...]]) -> bool:
    return all(table in columns and {*names} <= {*columns[table]} for table, names in needs.items())


def _literal(moment: datetime) -> str:
    """A time as a constant that every SQL dialect compares with a timestamp: the same number, whenever it is asked."""
    return f"'{moment.isoformat(sep=' ', timespec='seconds')}'"
