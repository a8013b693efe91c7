"""What a DuckDB file holds and what the sandbox lists, in one shape, so that a test can compare the two."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pendulum

from tests.helpers.sandbox import Sandbox

Rows = dict[str, dict[str, Any]]
"""One team's rows by connector_identifier, without what is null."""

KEYS = {
    "connectors": "team_id, connector_identifier",
    "connector_versions": "version_id, _dlt_valid_from",
    "connector_configurations": "version_id, _dlt_valid_from",
    "team_syncs": "team_id, started_at",
    "_dlt_loads": "load_id",
}
"""What no two rows of a table may share."""


@dataclass
class Warehouse:
    """The tables of a DuckDB file, read as they are."""

    path: Path
    schema: str = "supermetrics"

    @contextmanager
    def held_open(self) -> Iterator[None]:
        """Has the file open in the block: it takes DuckDB 20 ms to open one that its process has not open."""
        with duckdb.connect(str(self.path)):
            yield

    def query(self, sql: str) -> list[dict[str, Any]]:
        """Rows as dicts, timestamps in UTC; no rows of a table that is not there."""
        with duckdb.connect(str(self.path)) as connection:
            connection.execute("set timezone = 'UTC'")
            try:
                connection.execute(f"set schema = '{self.schema}'")
                result = connection.execute(sql)
            except duckdb.CatalogException:
                return []
            names = [column[0] for column in result.description or ()]
            return [dict(zip(names, row, strict=True)) for row in result.fetchall()]

    def connectors(self, team_id: int) -> Rows:
        """The team's connectors."""
        return _by_identifier(
            self.query(f"select * exclude (_dlt_load_id, content_hash) from connectors where team_id = {team_id}")
        )

    def configurations(self, team_id: int) -> Rows:
        """The team's current configurations, version and content."""
        rows = self.query(
            "select connector_identifier, version, configuration_json from connector_configurations"
            f" where team_id = {team_id} and _dlt_valid_to is null"
        )
        return _by_identifier({**row, "configuration_json": json.loads(row["configuration_json"])} for row in rows)

    def contents(self) -> list[list[dict[str, Any]]]:
        """Everything in the tables but the notes of what was tried."""
        tables = ("connectors", "connector_versions", "connector_configurations")
        with self.held_open():
            return [self.query(f"select * from {table} order by all") for table in tables]

    def doubled(self) -> dict[str, list[dict[str, Any]]]:
        """Keys that two rows share, by table; empty if all is well."""
        with self.held_open():
            found = {
                table: self.query(f"select {key}, count(*) as times from {table} group by all having times > 1")
                for table, key in KEYS.items()
            }
        return {table: rows for table, rows in found.items() if rows}

    def overlapping_versions(self) -> list[dict[str, Any]]:
        """Versions that hold at a time when another one does, or end before they begin; empty if all is well."""
        return [
            row
            for table in ("connector_versions", "connector_configurations")
            for row in self.query(
                f"select * from {table} qualify _dlt_valid_to < _dlt_valid_from"
                " or coalesce(_dlt_valid_to, 'infinity') >"
                " lead(_dlt_valid_from) over (partition by team_id, connector_identifier order by _dlt_valid_from)"
            )
        ]


def listed_connectors(sandbox: Sandbox, team_id: int) -> Rows:
    """The connectors that the API lists, as the table should have them."""
    return _by_identifier({**_instants(each), "team_id": team_id} for each in sandbox.connectors(team_id, False))


def listed_configurations(sandbox: Sandbox, team_id: int) -> Rows:
    """The configurations that the API lists, version and content."""
    return _by_identifier(
        {
            "connector_identifier": each["connector_identifier"],
            "version": each["configuration"].get("version"),
            "configuration_json": each["configuration"]["configuration_json"],
        }
        for each in sandbox.connectors(team_id)
        if each.get("configuration")
    )


def _instants(record: dict[str, Any]) -> dict[str, Any]:
    clocks = {name: pendulum.parse(record[name]) for name in ("created_at", "updated_at") if record.get(name)}
    return {**record, **clocks}


def _by_identifier(rows: Any) -> Rows:
    present = [{name: value for name, value in row.items() if value is not None} for row in rows]
    counted = Counter(row["connector_identifier"] for row in present)
    assert not counted or max(counted.values()) == 1, f"Doubled rows: {counted.most_common(1)}"
    return {row["connector_identifier"]: row for row in present}
