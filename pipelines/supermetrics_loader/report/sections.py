"""The sections of the report: each runs its query and says what was found, or that nothing was examined.

A query is plain SQL that every destination understands, and it is shown as it ran. Zero and unknown are different
answers: a section whose tables are not loaded says what to load, and a section that covers a part says which.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from typing import NamedTuple

from markupsafe import Markup

from ..plurals import counted
from ..read.overview import LOG_DAYS, overview
from . import charts
from .messages import api_sentence
from .secret_use import secret_use
from .tables import Row, Tables, items

CHANGES_DAYS = 84
"""Days in the chart: twelve weeks."""
MAX_ROWS = 25
SLOW_MS = 10_000
STALE_DAYS = 2
"""Days without a complete sync after which a team is stale: loads run every day or every hour."""

WITH_CONFIGURATIONS = "load with --include-configs"
WITH_SECRETS = "load with --include-secrets --include-configs"
OVERVIEW_TITLES = {
    "connector_identifier": "connector",
    "team_id": "team",
    "last_edited_at": "last edited",
    "version": "version",
    "versions": "versions",
    "authentication_type": "authentication",
    "hosts": "hosts",
    "report_types": "report types",
    "fields": "fields",
}
"""Columns of the overview that the report shows, with their titles."""


class Coverage(NamedTuple):
    """How much of what a section is about was examined: how many, of how many, of what."""

    examined: int
    total: int
    noun: str


@dataclass
class Section:
    """A question to the dataset with its answer.

    Attributes:
        key: The name in the page.
        title: What it answers.
        about: How to read the rows.
        columns: Titles of the columns that are shown, by name. A cell may show further columns of its row.
        rows: The answer.
        total: The number for the strip; None if nothing was examined.
        empty: The sentence that stands for no rows.
        note: What was not examined; "" if everything was.
        sql: The queries that ran, by name in the page.
        chart: Picture of the rows, shown instead of them.
    """

    key: str
    title: str
    about: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    total: int | None = None
    empty: str = ""
    note: str = ""
    sql: dict[str, str] = field(default_factory=dict)
    chart: Markup | None = None

    def run(self, tables: Tables, sql: str, part: str = "") -> list[Row]:
        """Runs a query and shows it in the page."""
        self.sql[f"{self.key}{part}"] = sql
        return tables.rows(sql)

    def run_coverage(self, tables: Tables, noun: str, sql: str) -> Coverage:
        """Runs a query for how much was examined, and of how much."""
        [examined, total] = self.run(tables, sql, "-examined")[0].values()
        return Coverage(examined or 0, total or 0, noun)

    def examine(self, rows: list[Row], coverage: Coverage | None = None, unless: str = "") -> "Section":
        """Takes the answer.

        Args:
            rows: The answer; the first row has the number for the strip as `total`, unless that is the number of rows.
            coverage: How much was examined; None for everything.
            unless: What to do where nothing was examined.
        """
        self.rows = rows
        self.total = rows[0].get("total", len(rows)) if rows else 0
        if coverage and coverage.examined < coverage.total:
            if not rows and not coverage.examined:
                return self.not_examined(unless)
            self.note = f"Examined: {coverage.examined:,} of {counted(coverage.total, coverage.noun)}."
        return self

    def not_examined(self, unless: str) -> "Section":
        """States that the answer is unknown."""
        self.total, self.empty = None, f"Not examined: {unless}."
        return self


_SYNC_COLUMNS = {
    "started_at": "started",
    "team_id": "team",
    "outcome": "status",
    "http_status": "HTTP",
    "error_code": "code",
    "error_message": "message",
    "request_id": "request_id",
}


def failing_teams(tables: Tables) -> Section:
    """Teams whose latest sync is not complete."""
    section = Section(
        "failing-teams",
        "Failing teams",
        "The latest sync failed, received an incomplete listing, or is unfinished: its load was interrupted or still "
        f"runs. The {MAX_ROWS} newest. Supermetrics support asks for the request_id.",
        {**_SYNC_COLUMNS, "complete_at": "last complete"},
        empty="The latest sync of every team is complete.",
    )
    return _syncs(section, tables, "age = 1 and outcome <> 'ok'")


def resolved_failures(tables: Tables) -> Section:
    """Failed syncs of teams that were loaded since."""
    section = Section(
        "resolved-failures",
        "Resolved failures",
        f"Failed, incomplete or unfinished syncs before a complete sync of the same team. The {MAX_ROWS} newest.",
        _SYNC_COLUMNS,
        empty="None.",
    )
    return _syncs(section, tables, "outcome <> 'ok' and complete_at > started_at")


def _syncs(section: Section, tables: Tables, where: str) -> Section:
    rows = section.run(
        tables,
        f"""{tables.with_syncs}
select started_at, team_id, outcome, http_status, error_code, error_message, request_id, complete_at,
  count(*) over () as total
from syncs
where {where}
order by started_at desc, team_id
limit {MAX_ROWS}""",
    )
    return section.examine([row | {"error_message": api_sentence(row)} for row in rows])


def stale_teams(tables: Tables, now: datetime) -> Section:
    """Teams that no load completes."""
    section = Section(
        "stale-teams",
        "Stale teams",
        f"No complete sync in {STALE_DAYS} days: the job does not run, no longer loads the team, or fails. The "
        f"{MAX_ROWS} oldest.",
        {"team_id": "team", "complete_at": "last complete sync", "started_at": "latest sync"},
        empty=f"Every team has a complete sync in the last {STALE_DAYS} days.",
    )
    rows = section.run(
        tables,
        f"""{tables.with_syncs}
select team_id, complete_at, started_at, count(*) over () as total
from syncs
where age = 1 and coalesce(complete_at, first_at) < {_literal(now - timedelta(days=STALE_DAYS))}
order by case when complete_at is null then 0 else 1 end, complete_at, team_id
limit {MAX_ROWS}""",
    )
    return section.examine(rows)


def failing_connectors(tables: Tables, now: datetime) -> Section:
    """Connectors whose calls fail or are slow, by their logs."""
    section = Section(
        "failing-connectors",
        "Failing connectors",
        f"Logged calls of the last {LOG_DAYS} days with a status of 400 or more, or longer than {SLOW_MS // 1000} "
        f"seconds. The {MAX_ROWS} highest error rates. The request_id is that of the latest error.",
        {
            "connector_identifier": "connector",
            "team_id": "team",
            "error_rate": "error rate",
            "errors": "errors",
            "calls": "calls",
            "slow": "slow",
            "last_error_at": "last error",
            "request_id": "request_id",
        },
        empty=f"No call failed or was slow in the last {LOG_DAYS} days.",
    )
    unless = "load with --include-logs"
    if not tables.has("connectors", "fetches", connector_logs="log_time status duration_ms request_id"):
        return section.not_examined(unless)
    name = tables.column("name")
    rows = section.run(
        tables,
        f"""with entries as (
  select team_id, connector_identifier, status, duration_ms, log_time, request_id,
    row_number() over (
      partition by team_id, connector_identifier
      order by case when status >= 400 then 0 else 1 end, log_time desc, id desc
    ) as place
  from {tables["connector_logs"]}
  where log_time >= {_literal(now - timedelta(days=LOG_DAYS))}
), logged as (
  select team_id, connector_identifier, count(*) as calls,
    sum(case when status >= 400 then 1 else 0 end) as errors,
    sum(case when duration_ms > {SLOW_MS} then 1 else 0 end) as slow,
    max(case when status >= 400 then log_time end) as last_error_at,
    max(case when status >= 400 and place = 1 then request_id end) as error_request_id
  from entries
  group by team_id, connector_identifier
)
select logged.team_id as team_id, connectors.{name} as {name}, logged.connector_identifier as connector_identifier,
  1.0 * errors / calls as error_rate, errors, calls, slow, last_error_at, error_request_id as request_id,
  sum(case when errors > 0 then 1 else 0 end) over () as total
from logged
join {tables["connectors"]} as connectors on connectors.team_id = logged.team_id
  and connectors.connector_identifier = logged.connector_identifier
where errors > 0 or slow > 0
order by 1.0 * errors / calls desc, errors desc, slow desc, logged.team_id, logged.connector_identifier
limit {MAX_ROWS}""",
    )
    since = _literal(now - timedelta(days=STALE_DAYS))
    coverage = _of_connectors(tables, section, f"endpoint = 'logs' and status = 'ok' and fetched_at >= {since}")
    return section.examine(rows, coverage, unless)


def _of_connectors(tables: Tables, section: Section, where: str) -> Coverage:
    return section.run_coverage(
        tables,
        "connector",
        f"""select (
  select count(*)
  from {tables["connectors"]} as connectors
  join (
    select team_id, connector_identifier
    from {tables["fetches"]}
    where {where}
  ) as fetched on fetched.team_id = connectors.team_id
    and fetched.connector_identifier = connectors.connector_identifier
) as examined, (
  select count(*)
  from {tables["connectors"]}
) as connectors""",
    )


def typed_secrets(tables: Tables) -> Section:
    """Secrets that somebody typed into a configuration."""
    section = Section(
        "typed-secrets",
        "Secrets typed into configurations",
        "Values that were redacted before anything was written, by the latest sync of each team with configurations. "
        "Move them to the secrets of the Connector Builder. Only their paths are known here.",
        {"team_id": "team", "secrets_redacted": "secrets", "redacted_paths": "paths", "started_at": "seen"},
        empty="No secret was found.",
    )
    if not tables.has(team_syncs="secrets_redacted redacted_paths"):
        return section.not_examined(WITH_CONFIGURATIONS)
    rows = section.run(
        tables,
        f"""select team_id, secrets_redacted, redacted_paths, started_at,
  sum(secrets_redacted) over () as total
from (
  select team_id, started_at, secrets_redacted, redacted_paths,
    row_number() over (partition by team_id order by started_at desc) as age
  from {tables["team_syncs"]}
  where secrets_redacted is not null
) as syncs
where age = 1 and secrets_redacted > 0
order by secrets_redacted desc, team_id
limit {MAX_ROWS}""",
    )
    coverage = _of_teams(tables, section, "started_at = complete_at and secrets_redacted is not null")
    return section.examine(rows, coverage, WITH_CONFIGURATIONS)


def _of_teams(tables: Tables, section: Section, where: str) -> Coverage:
    return section.run_coverage(
        tables,
        "team",
        f"""{tables.with_syncs}
select sum(case when {where} then 1 else 0 end) as examined, sum(case when age = 1 then 1 else 0 end) as teams
from syncs""",
    )


def secrets_in_use(tables: Tables) -> list[Section]:
    """Secrets that configurations lack, and secrets that none uses."""
    columns = {"connector_identifier": "connector", "team_id": "team", "secret_placeholder": "id"}
    read = f"The first {MAX_ROWS}, found by reading the current configurations instead of a query."
    missing = Section(
        "missing-secrets",
        "Missing secrets",
        f"Ids such as sec_a23f23d26 that a configuration uses and that its connector does not have. {read}",
        columns,
        empty="No secret is missing.",
    )
    unused = Section(
        "unused-secrets",
        "Unused secrets",
        f"Secrets whose id is not in the configuration of their connector. {read}",
        {**columns, "secret_name": "secret"},
        empty="Every secret is used.",
    )
    if not tables.has("connectors", "connector_secrets", "fetches", connector_configurations="configuration_json"):
        return [section.not_examined(WITH_SECRETS) for section in (missing, unused)]
    use = secret_use(tables)
    connectors = tables.rows(f"select count(*) as connectors from {tables['connectors']}")[0]["connectors"]
    coverage = Coverage(use.connectors, connectors, "connector")
    return [
        section.examine(rows[:MAX_ROWS], coverage, WITH_SECRETS)
        for section, rows in ((missing, use.missing), (unused, use.unused))
    ]


def failed_requests(tables: Tables) -> Section:
    """Optional requests that failed."""
    section = Section(
        "failed-requests",
        "Failed requests for optional tables",
        f"The latest answer of the API to requests for logs, secrets and team names. The {MAX_ROWS} newest.",
        {
            "fetched_at": "requested",
            "endpoint": "table",
            "connector_identifier": "connector",
            "team_id": "team",
            "outcome": "status",
            "http_status": "HTTP",
            "error_code": "code",
            "message": "message",
            "request_id": "request_id",
        },
        empty="Every request was answered.",
    )
    if not tables.has("connectors", fetches="endpoint status message"):
        return section.not_examined("load with --include-teams, --include-logs or --include-secrets")
    name = tables.column("name")
    rows = section.run(
        tables,
        f"""select fetched_at, endpoint, connectors.{name} as {name}, fetches.team_id as team_id,
  fetches.connector_identifier as connector_identifier, fetches.status as outcome, http_status, error_code, message,
  request_id
from {tables["fetches"]} as fetches
left join {tables["connectors"]} as connectors on connectors.team_id = fetches.team_id
  and connectors.connector_identifier = fetches.connector_identifier
where fetches.status <> 'ok'
order by fetched_at desc, fetches.team_id, fetches.connector_identifier, endpoint
limit {MAX_ROWS}""",
    )
    return section.examine(rows)


def latest_changes(tables: Tables, now: datetime, first_sync: datetime) -> Section:
    """The newest changes."""
    section = Section(
        "latest-changes",
        "Latest changes",
        "The 20 newest. Paths of a configuration: + added, \N{MINUS SIGN} removed, ~ changed.",
        {
            "detected_at": "seen",
            "change": "change",
            "connector_identifier": "connector",
            "team_id": "team",
            "paths": "paths",
        },
        empty=f"No changes since the first sync on {first_sync:%Y-%m-%d}.",
    )
    if not tables.has("connector_changes"):
        return section.not_examined("the next load writes the history of connectors")
    change, name = map(tables.column, ("change", "name"))
    rows = section.run(
        tables,
        f"""select detected_at, {change}, team_id, {name}, connector_identifier,
  paths_added, paths_removed, paths_changed,
  sum(case when detected_at >= {_literal(now - timedelta(days=7))} then 1 else 0 end) over () as total
from {tables.changes} as changes
where not baseline
order by detected_at desc, team_id, connector_identifier, {change}
limit 20""",
    )
    since = _literal(now - timedelta(days=STALE_DAYS))
    coverage = _of_teams(tables, section, f"age = 1 and complete_at >= {since}")
    rows = [row | {"paths": _signed_paths(row)} for row in rows]
    section.examine(rows, coverage, "no team has a recent complete sync")
    if not tables.has("connector_configurations"):
        section.note = f"{section.note} Changes of configurations are not examined: {WITH_CONFIGURATIONS}.".strip()
    return section


def _signed_paths(row: Row) -> list[tuple[str, str]] | None:
    signs = {"+": "paths_added", "\N{MINUS SIGN}": "paths_removed", "~": "paths_changed"}
    return [(sign, path) for sign, column in signs.items() for path in items(row[column])] or None


def changes_by_day(tables: Tables, now: datetime, first_sync: datetime) -> Section:
    """The number of changes per day and kind."""
    first = max(first_sync, now - timedelta(days=CHANGES_DAYS - 1)).replace(hour=0, minute=0, second=0, microsecond=0)
    section = Section(
        "changes-by-day",
        "Changes by day",
        "Days are UTC. The first listing of a team is no change.",
        {"change_day": "day", "change": "change", "changes": "changes"},
    )
    if not tables.has("connector_changes"):
        return section
    change, day = tables.column("change"), tables.utc_day("detected_at")
    rows = section.run(
        tables,
        f"""select {day} as change_day, {change}, count(*) as changes
from {tables.changes} as changes
where not baseline and detected_at >= {_literal(first)}
group by {day}, {change}
order by change_day, {change}""",
    )
    section.examine(rows)
    if section.rows:
        counts = {(_day(row["change_day"]), row["change"]): row["changes"] for row in section.rows}
        section.chart = charts.stacked_days(counts, first.date(), now.date())
    return section


def connectors(tables: Tables, now: datetime) -> Section:
    """The connectors, first those whose last edit is the oldest."""
    section = Section("connectors", "Connectors", empty="No team has connectors.")
    complete = f"{tables.with_syncs}\nselect count(distinct team_id) as teams\nfrom syncs\nwhere outcome = 'ok'"
    teams = section.run(tables, complete, "-teams")[0]["teams"]
    if not tables.has(connectors="name updated_at"):
        return section.not_examined("no team has a complete sync")
    rows = list(overview(tables.data, now))
    distant = datetime.max.replace(tzinfo=timezone.utc)
    rows.sort(key=lambda row: (row["last_edited_at"] or distant, row["team_id"], row["connector_identifier"]))
    section.columns = {name: title for name, title in OVERVIEW_TITLES.items() if rows and name in rows[0]}
    section.about = f"{counted(len(rows), 'connector')} in {counted(teams, 'team')} with a complete sync."
    if len(rows) > MAX_ROWS:
        section.about += f" The {MAX_ROWS} whose last edit is the oldest."
    section.examine(rows)
    section.rows = rows[:MAX_ROWS]
    if not tables.has("connector_configurations"):
        section.note = f"Configurations and their edits are not examined: {WITH_CONFIGURATIONS}."
    return section


def syncs_between(tables: Tables) -> tuple[datetime | None, datetime | None]:
    """When the first and the latest sync began; nothing without a sync."""
    if "team_syncs" not in tables.columns:
        return None, None
    sql = f"select min(started_at) as first_at, max(started_at) as latest_at from {tables['team_syncs']}"
    [row] = tables.rows(sql)
    return row["first_at"], row["latest_at"]


def _day(value: date | str) -> date:
    return (
        date.fromisoformat(value) if isinstance(value, str) else value.date() if isinstance(value, datetime) else value
    )


def _literal(moment: datetime) -> str:
    """A time as a constant that every destination compares with a timestamp."""
    return f"'{moment.isoformat(sep=' ', timespec='seconds')}'"
