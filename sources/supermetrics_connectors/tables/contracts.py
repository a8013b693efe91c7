"""What each table is: its columns with their meaning, its key, and how it is written by each of the strategies.

The only place that says so: Arrow schemas, dlt's hints, queries and documents follow from it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, get_args

import pyarrow as pa

from .strategies import Strategy, Way

TableName = Literal[
    "connectors",
    "connector_versions",
    "connector_configurations",
    "team_syncs",
    "teams",
    "connector_logs",
    "connector_secrets",
    "fetches",
]

TIMESTAMP = pa.timestamp("us", tz="UTC")
SNAPSHOT_AT = "snapshot_at"
VALID_FROM, VALID_TO = "_dlt_valid_from", "_dlt_valid_to"


@dataclass(frozen=True)
class Column:
    """A declared column.

    Attributes:
        name: Its name.
        type: Its Arrow type; text for JSON.
        about: What it says.
        required: Whether every row has a value.
        is_json: Whether its text is JSON.
    """

    name: str
    type: pa.DataType
    about: str
    required: bool = False
    is_json: bool = False

    @property
    def field(self) -> pa.Field:
        """For an Arrow schema."""
        return pa.field(self.name, self.type, nullable=not self.required)


@dataclass(frozen=True)
class Contract:
    """A table.

    Attributes:
        name: Its name.
        about: What a row is.
        kind: `current` has a row for what there is now, `history` one for each version, `log` one for each event.
        key: The columns of which no two rows have the same; of a history, no two current ones.
        columns: Those that are written whatever the destination.
        content: The column that says which content a row has; "" where nothing is compared.
        listed: Of a history, the columns of a current row that are as the API lists it, if nobody has edited them.
    """

    name: TableName
    about: str
    kind: Literal["current", "history", "log"]
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    content: str = ""
    listed: tuple[str, ...] = ()

    def schema(self, way: Way) -> pa.Schema:
        """The declared columns as Arrow has them, for one way of writing."""
        return pa.schema([column.field for column in (*self.columns, *self._added(way))])

    def hints(self, strategy: Strategy, at: datetime) -> dict[str, Any]:
        """What `dlt.mark.make_hints` takes to have the table written.

        Args:
            strategy: How.
            at: When versions begin and end, UTC.
        """
        way = strategy.way or "snapshots"
        is_history = self.kind == "history"
        hints: dict[str, Any] = {**self._disposition(way, at), "file_format": strategy.file_format}
        hints["columns"] = {
            column.name: {
                "description": column.about,
                **({"data_type": strategy.json_type} if column.is_json else {}),
                **({"sort": True} if column.name == "team_id" and strategy.sorts_histories and is_history else {}),
                **({"hard_delete": True} if column is _DELETED and way != "append" else {}),
            }
            for column in (*self.columns, *self._added(way))
        }
        hints["additional_table_hints"] = {"description": self.about, **strategy.table_hints}
        if strategy.table_format:
            hints["table_format"] = strategy.table_format
        return hints

    def _added(self, way: Way) -> tuple[Column, ...]:
        """Columns that steer the way in which the table is written."""
        if way == "snapshots":
            return () if self.kind == "log" else (_SNAPSHOT,)
        if self.kind == "current":
            return (_DELETED,)
        if self.kind == "history" and way != "mirror":  # in a mirror dlt writes them as it merges
            return _VALIDITY
        return ()

    def _disposition(self, way: Way, at: datetime) -> Mapping[str, Any]:
        if way == "snapshots":
            return {"write_disposition": "append", "primary_key": ""}
        if way == "append":
            return {"write_disposition": "append"} | ({} if self.kind == "history" else {"primary_key": self.key})
        if way == "versions":
            key = ("_dlt_id", VALID_FROM) if self.kind == "history" else self.key
            return {"write_disposition": {"disposition": "merge", "strategy": "upsert"}, "primary_key": key}
        if self.kind == "history":
            return {"write_disposition": {**_SCD2, "boundary_timestamp": at}}
        return {"write_disposition": {"disposition": "merge", "strategy": "delete-insert"}, "primary_key": self.key}


# Staged are the new versions, and without content the stored ones that are current no longer: only a stored version
# that is staged too may be closed, so that a team or connector without a change need not be sent.
_SCD2 = {
    "disposition": "merge",
    "strategy": "scd2",
    "row_version_column_name": "_dlt_id",
    "source_filter": "content_hash IS NOT NULL",
    "destination_scope": "_dlt_id IN (SELECT _dlt_id FROM {staging_table})",
}

_DELETED = Column("_deleted", pa.bool_(), "Tells dlt which rows to delete; never set in the table.")
_SNAPSHOT = Column(SNAPSHOT_AT, TIMESTAMP, "When the run began that appended the row, UTC.", required=True)
_VALIDITY = (
    Column(VALID_FROM, TIMESTAMP, "When the version was first seen, UTC.", required=True),
    Column(VALID_TO, TIMESTAMP, "When another one, or none, was seen instead, UTC; null for the current one."),
)
_KEY = (
    Column("team_id", pa.int64(), "The team's id in the API.", required=True),
    Column("connector_identifier", pa.string(), "The connector's identifier, unique within its team.", required=True),
)
_VERSION_KEY = (*_KEY, Column("_dlt_id", pa.string(), "Identifies the content among all rows.", required=True))
_CONNECTOR = (
    Column("name", pa.string(), "The connector's name."),
    Column("description", pa.string(), "What it is for, in the words of its owner."),
    Column("logo_url", pa.string(), "Where its logo is."),
    Column("created_at", TIMESTAMP, "When it was created, UTC."),
    Column("updated_at", TIMESTAMP, "When it was last edited, UTC; two edits on one day may carry one value."),
    Column("content_hash", pa.string(), "SHA-256 of the record as it is written, without its configuration."),
)

CONNECTORS = Contract(
    "connectors",
    "One row a connector, as the API lists it now.",
    "current",
    ("team_id", "connector_identifier"),
    (*_KEY, *_CONNECTOR),
    content="content_hash",
)
CONNECTOR_VERSIONS = Contract(
    "connector_versions",
    "Every state of every connector's record ever seen; the current ones have no _dlt_valid_to.",
    "history",
    ("team_id", "connector_identifier"),
    (*_VERSION_KEY, *_CONNECTOR),
    content="_dlt_id",
    listed=tuple(column.name for column in _CONNECTOR),
)
CONNECTOR_CONFIGURATIONS = Contract(
    "connector_configurations",
    "Every version of every configuration ever seen; the current ones have no _dlt_valid_to.",
    "history",
    ("team_id", "connector_identifier"),
    (
        *_VERSION_KEY,
        Column("version", pa.string(), "What the API calls the version, such as 1.0.0."),
        Column("configuration_json", pa.string(), "The connector's whole definition, keys sorted.", is_json=True),
        Column("created_at", TIMESTAMP, "When the configuration was created, UTC."),
        Column("updated_at", TIMESTAMP, "When the configuration was last edited, UTC: a clock of its own."),
        Column("content_hash", pa.string(), "SHA-256 of configuration_json."),
        Column("paths_added", pa.string(), "JSONPaths that the version before did not have.", is_json=True),
        Column("paths_removed", pa.string(), "JSONPaths that only the version before had.", is_json=True),
        Column("paths_changed", pa.string(), "JSONPaths under which it had another value.", is_json=True),
    ),
    content="_dlt_id",
    listed=("version", "configuration_json", "content_hash"),  # the clocks may move without the content
)
TEAM_SYNCS = Contract(
    "team_syncs",
    "One row a team and run: what was asked and answered.",
    "log",
    ("team_id", "started_at"),
    (
        Column("team_id", pa.int64(), "The team's id in the API.", required=True),
        Column("started_at", TIMESTAMP, "When the team's request was begun, UTC.", required=True),
        Column("status", pa.string(), "ok, incomplete (fewer connectors than counted) or failed.", required=True),
        Column("duration_ms", pa.int64(), "Milliseconds until the answer was read, waiting and retries included."),
        Column("request_id", pa.string(), "What Supermetrics support asks for."),
        Column("http_status", pa.int64(), "HTTP status; null when no answer came."),
        Column("error_code", pa.string(), "The API's error.code, such as TOO_MANY_REQUESTS."),
        Column("error_message", pa.string(), "Why the sync failed: the request's error, or the destination's."),
        Column("connectors_reported", pa.int64(), "The API's own count."),
        Column("connectors_received", pa.int64(), "How many connectors it listed."),
        Column("connectors_changed", pa.int64(), "Rows written to connectors."),
        Column("connectors_removed", pa.int64(), "Connectors deleted from connectors."),
        Column("configurations_changed", pa.int64(), "Versions written; null when configurations were not asked for."),
        Column("rate_limit_remaining", pa.int64(), "Requests left in the hour of the sync."),
        Column("secrets_redacted", pa.int64(), "Secrets replaced; null when configurations were not looked at."),
        Column("redacted_paths", pa.string(), "Where they stood, by connector.", is_json=True),
    ),
)
POSTPONED = (
    Column("connectors_postponed", pa.int64(), "Connectors not asked for everything: the rate limit was reached."),
    Column("connectors_failing", pa.int64(), "Connectors of which something could not be had, see fetches."),
)
"""Columns of `team_syncs` in a run that asks for more than listings."""


def syncs_contract(rows: Iterable[Mapping[str, Any]]) -> Contract:
    """What `team_syncs` is for these rows."""
    asked_more = any(POSTPONED[0].name in row for row in rows)
    return replace(TEAM_SYNCS, columns=(*TEAM_SYNCS.columns, *POSTPONED)) if asked_more else TEAM_SYNCS


TEAMS = Contract(
    "teams",
    "One row a team, as the API tells of it now.",
    "current",
    ("team_id",),
    (
        Column("team_id", pa.int64(), "The team's id in the API.", required=True),
        Column("display_id", pa.string(), "The id that people are shown, such as SM_ABC123."),
        Column("name", pa.string(), "The team's name."),
        Column("status", pa.int64(), "A number whose meaning is not documented."),
        Column("created_at", TIMESTAMP, "When it was created, UTC."),
        Column("content_hash", pa.string(), "SHA-256 of the record as it is written."),
    ),
)
CONNECTOR_LOGS = Contract(
    "connector_logs",
    "One row a call that a connector made, as its log has it.",
    "log",
    ("team_id", "connector_identifier", "id"),
    (
        *_KEY,
        Column("id", pa.string(), "The entry's id, unique within its connector.", required=True),
        Column("log_time", TIMESTAMP, "When it was, UTC; several entries may share one.", required=True),
        Column("status", pa.int64(), "HTTP status that was answered to the connector."),
        Column("event", pa.string(), "What the connector was doing, such as auth.token.refresh."),
        Column("request", pa.string(), "Method and path of the call; secrets in it are replaced."),
        Column("duration_ms", pa.int64(), "Milliseconds that the call took."),
        Column("request_id", pa.string(), "The logged call's own."),
    ),
)
CONNECTOR_SECRETS = Contract(
    "connector_secrets",
    "One row a secret that a connector has now, never its value.",
    "current",
    ("team_id", "connector_identifier", "secret_placeholder"),
    (
        *_KEY,
        Column(
            "secret_placeholder", pa.string(), "What a configuration calls it, such as sec_a23f23d26.", required=True
        ),
        Column("secret_name", pa.string(), "What people call it, such as client_id."),
    ),
)
FETCHES = Contract(
    "fetches",
    "One row a thing that was asked for besides listings: when last, and what came of it.",
    "current",
    ("team_id", "connector_identifier", "endpoint"),
    (
        Column("team_id", pa.int64(), "The team's id in the API.", required=True),
        Column("connector_identifier", pa.string(), "The connector; empty for the team itself.", required=True),
        Column("endpoint", pa.string(), "team, secrets or logs.", required=True),
        Column("fetched_at", TIMESTAMP, "When it was asked for last, UTC."),
        Column("status", pa.string(), "ok, incomplete, failed or interrupted (by the rate limit)."),
        Column("http_status", pa.int64(), "HTTP status; null when no answer came."),
        Column("error_code", pa.string(), "The API's error.code, such as FORBIDDEN."),
        Column("message", pa.string(), "Why it failed, or what is missing."),
        Column("request_id", pa.string(), "What Supermetrics support asks for."),
    ),
)

CONTRACTS: dict[TableName, Contract] = {
    contract.name: contract
    for contract in (
        *(CONNECTORS, CONNECTOR_VERSIONS, CONNECTOR_CONFIGURATIONS, TEAM_SYNCS),
        *(TEAMS, CONNECTOR_LOGS, CONNECTOR_SECRETS, FETCHES),
    )
}
"""Every table that the source writes, by name."""

OWN_COLUMNS = frozenset(
    name
    for contract in (CONNECTORS, CONNECTOR_VERSIONS, CONNECTOR_CONFIGURATIONS)
    for way in get_args(Way)
    for name in contract.schema(way).names
) - {"name", "description", "logo_url", "version", "created_at", "updated_at"}
"""Columns to which the tables of connectors give a meaning of their own, and not that of the API's field.

A field that the API adds under such a name gets another column: it neither steers a merge nor stands in for what was
computed here.
"""
ADDED: tuple[TableName, ...] = (TEAMS.name, CONNECTOR_LOGS.name, CONNECTOR_SECRETS.name, FETCHES.name)
"""Those of them that are only there when they are asked for."""
