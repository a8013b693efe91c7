"""The tables of an open dataset as the report queries them, and the SQL that differs between destinations."""

import json
from collections.abc import Mapping
from decimal import Decimal
from functools import cached_property
from typing import Any

from supermetrics_connectors.interface import CHANGES_VIEW, to_utc

from ..read.dataset import Dataset
from ..read.team_names import team_names

Row = dict[str, Any]

_UTC_DAY = {
    "bigquery": "date({}, 'UTC')",
    "clickhouse": "toDate({}, 'UTC')",
    "duckdb": "cast({} at time zone 'UTC' as date)",
    "mysql": "date({})",
    "postgres": "cast({} at time zone 'UTC' as date)",
    "snowflake": "cast(convert_timezone('UTC', {}) as date)",
    "sqlite": "date({})",
}
"""The day of a timestamp in UTC, by dialect. MySQL and SQLite store UTC without a zone."""


class Tables:
    """The tables of a dataset.

    Attributes:
        data: The open dataset.
        columns: Names of columns by table, of the tables that exist and were loaded.
    """

    def __init__(self, data: Dataset) -> None:
        self.data = data
        self.columns = {table: data.columns(table) for table in data.tables}
        if "configurations_changed" in self.columns.get("team_syncs", ()) and not self._has_configurations():
            self.columns.pop("connector_configurations", None)
        self.changes = data.table(CHANGES_VIEW)
        if CHANGES_VIEW not in self.columns and "connector_versions" in self.columns:  # its SELECT gives the same
            self.changes = f"(\n{data.changes_query}\n)"
            self.columns[CHANGES_VIEW] = ["detected_at"]

    def _has_configurations(self) -> bool:
        """Whether a sync included configurations. Their table exists in any case, because the view reads it."""
        syncs = self["team_syncs"]
        [row] = self.rows(f"select count(*) as syncs from {syncs} where configurations_changed is not null")
        return bool(row["syncs"])

    def has(self, *tables: str, **columns: str) -> bool:
        """Whether the dataset has these tables, and these columns by table."""
        return {*tables} <= self.columns.keys() and all(
            {*names.split()} <= {*self.columns.get(table, ())} for table, names in columns.items()
        )

    def __getitem__(self, table: str) -> str:
        return self.data.table(table)

    def column(self, name: str) -> str:
        """The quoted name of a column whose name is reserved on some destination."""
        return self.data.column(name)

    def utc_day(self, timestamp: str) -> str:
        """SQL for the day of a timestamp, UTC."""
        return _UTC_DAY.get(self.data.dialect, "cast({} as date)").format(timestamp)

    def rows(self, sql: str) -> list[Row]:
        """The rows of a query: names ending in `_at` are times in UTC, whole numbers are `int`."""
        columns, rows = self.data.query(sql)
        names = [name.lower() for name in columns]
        return [{name: _value(name, value) for name, value in zip(names, row, strict=True)} for row in rows]

    @cached_property
    def team_names(self) -> Mapping[int, str]:
        """Names of teams by id; empty if the table `teams` is not loaded."""
        return team_names(self.data)

    @cached_property
    def with_syncs(self) -> str:
        """The beginning of every query about syncs: the CTE `syncs`.

        `outcome` is the status, or `unfinished` if the load of the row is not complete. `age` is 1 for the team's
        latest sync. `complete_at` is when the team's last complete sync began, `first_at` when the first sync began.
        """
        optional = [name for name in ("secrets_redacted", "redacted_paths") if name in self.columns["team_syncs"]]
        columns = ", ".join(["http_status", "error_code", "error_message", "request_id", *optional])
        return f"""with outcomes as (
  select team_id, started_at, {columns},
    case when {self.data.complete_sync} then 'ok' when status = 'ok' then 'unfinished' else status end as outcome
  from {self["team_syncs"]}
), syncs as (
  select outcomes.*,
    row_number() over (partition by team_id order by started_at desc) as age,
    max(case when outcome = 'ok' then started_at end) over (partition by team_id) as complete_at,
    min(started_at) over (partition by team_id) as first_at
  from outcomes
)"""


def _value(name: str, value: Any) -> Any:
    if name.endswith("_at"):
        return to_utc(value)
    return int(value) if isinstance(value, (Decimal, float)) and value == int(value) else value


def items(value: Any) -> list[str]:
    """The texts of a JSON list, one by one; those of an object follow its keys."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return [value]
    if isinstance(value, Mapping):
        return [f"{name}: {text}" for name, under in value.items() for text in items(under)]
    if isinstance(value, (list, tuple)):
        return [text for under in value for text in items(under)]
    return [] if value is None else [str(value)]
