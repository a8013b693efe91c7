"""What every table is: its columns with their meaning, its key, and what identifies the content of a row.

Arrow schemas, dlt's hints, queries and documents follow from these specifications. Nothing here depends on dlt, on a
destination or on the API client.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import pyarrow as pa

TIMESTAMP = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True)
class ColumnSpec:
    """A declared column.

    Attributes:
        name: Column name.
        type: Arrow type; text for JSON.
        description: Meaning of the value.
        required: Whether every row has a value.
        is_json: Whether the text is JSON.
        is_api_field: Whether the column holds the API's field of the same name.
    """

    name: str
    type: pa.DataType
    description: str
    required: bool = False
    is_json: bool = False
    is_api_field: bool = False

    @property
    def arrow_field(self) -> pa.Field:
        """The column in an Arrow schema."""
        return pa.field(self.name, self.type, nullable=not self.required)


@dataclass(frozen=True)
class TableSpec:
    """A table.

    Attributes:
        name: Table name.
        description: Meaning of a row.
        kind: `current` has one row per thing that exists now, `history` one per version, `log` one per event.
        key: Columns that identify a row; of a history, a current row.
        columns: Columns that every write mode has. A write mode may add columns that steer the merge.
        content_column: Column that identifies the content of a row; "" for tables that are not compared.
        unhashed: API fields that are not part of the content hash.
    """

    name: str
    description: str
    kind: Literal["current", "history", "log"]
    key: tuple[str, ...]
    columns: tuple[ColumnSpec, ...]
    content_column: str = ""
    unhashed: frozenset[str] = frozenset()

    @property
    def verified_columns(self) -> tuple[str, ...]:
        """Columns of a current version that equal the listing unless somebody edited them, for `full_refresh`."""
        return tuple(
            column.name
            for column in self.columns
            if (column.is_api_field or column.name == "content_hash")
            and column.name not in self.key
            and column.name not in self.unhashed
        )

    @property
    def api_fields(self) -> frozenset[str]:
        """Names of the API's fields that are declared."""
        return frozenset(column.name for column in self.columns if column.is_api_field)


VALID_FROM, VALID_TO = "_dlt_valid_from", "_dlt_valid_to"
DELETED_COLUMN = ColumnSpec("_deleted", pa.bool_(), "Marks staged rows that dlt deletes; never set in the table.")
SNAPSHOT_COLUMN = ColumnSpec("snapshot_at", TIMESTAMP, "When the run began that appended the row, UTC.", required=True)
VALIDITY_COLUMNS = (
    ColumnSpec(VALID_FROM, TIMESTAMP, "When the version was first seen, UTC.", required=True),
    ColumnSpec(VALID_TO, TIMESTAMP, "When the version ended, UTC; null for the current version."),
)
_TEAM_ID = ColumnSpec("team_id", pa.int64(), "The team's id in the API.", required=True)
_CONNECTOR_IDENTIFIER = ColumnSpec(
    "connector_identifier", pa.string(), "The connector's identifier, unique within its team.", required=True
)
_CONNECTOR_KEY = (_TEAM_ID, replace(_CONNECTOR_IDENTIFIER, is_api_field=True))
_VERSION_ID = ColumnSpec(
    "version_id", pa.string(), "Identifies the version among all rows of the table.", required=True
)
_api = partial(ColumnSpec, is_api_field=True)

_CONNECTOR = (
    _api("name", pa.string(), "The connector's name."),
    _api("description", pa.string(), "The connector's description."),
    _api("logo_url", pa.string(), "URL of the connector's logo."),
    _api("created_at", TIMESTAMP, "When the connector was created, UTC."),
    _api("updated_at", TIMESTAMP, "When the connector was last edited, UTC; two edits on one day may share a value."),
    ColumnSpec("content_hash", pa.string(), "SHA-256 of the record as the API sent it, without its configuration."),
)

CONNECTORS = TableSpec(
    "connectors",
    "One row per connector, as the API lists it now.",
    "current",
    ("team_id", "connector_identifier"),
    (*_CONNECTOR_KEY, *_CONNECTOR),
    content_column="content_hash",
)
CONNECTOR_VERSIONS = TableSpec(
    "connector_versions",
    "One row per state of a connector's record; the current state has no _dlt_valid_to.",
    "history",
    ("team_id", "connector_identifier"),
    (*_CONNECTOR_KEY, _VERSION_ID, *_CONNECTOR),
    content_column="version_id",
)
CONNECTOR_CONFIGURATIONS = TableSpec(
    "connector_configurations",
    "One row per version of a configuration; the current version has no _dlt_valid_to.",
    "history",
    ("team_id", "connector_identifier"),
    (
        _TEAM_ID,
        _CONNECTOR_IDENTIFIER,
        _VERSION_ID,
        _api("version", pa.string(), "The API's name of the version, such as 1.0.0."),
        _api("configuration_json", pa.string(), "The connector's whole definition, keys sorted.", is_json=True),
        _api("created_at", TIMESTAMP, "When the configuration was created, UTC."),
        _api("updated_at", TIMESTAMP, "When the configuration was last edited, UTC; independent of the connector's."),
        ColumnSpec("content_hash", pa.string(), "SHA-256 of the configuration as sent, without its two timestamps."),
        ColumnSpec("paths_added", pa.string(), "JSONPaths that the previous version did not have.", is_json=True),
        ColumnSpec("paths_removed", pa.string(), "JSONPaths that only the previous version had.", is_json=True),
        ColumnSpec(
            "paths_changed", pa.string(), "JSONPaths whose value differs from the previous version.", is_json=True
        ),
    ),
    content_column="version_id",
    # The two clocks may move without an edit, and stay the same when the content changes.
    unhashed=frozenset({"created_at", "updated_at"}),
)
TEAM_SYNCS = TableSpec(
    "team_syncs",
    "One row per team and run: the request and its outcome.",
    "log",
    ("team_id", "started_at"),
    (
        _TEAM_ID,
        ColumnSpec("started_at", TIMESTAMP, "When the team's request began, UTC.", required=True),
        ColumnSpec("status", pa.string(), "ok, incomplete (not all connectors were listed) or failed.", required=True),
        ColumnSpec("duration_ms", pa.int64(), "Milliseconds until the response was read, with waits and retries."),
        ColumnSpec("request_id", pa.string(), "The API's request id; Supermetrics support asks for it."),
        ColumnSpec("http_status", pa.int64(), "HTTP status; null without a response."),
        ColumnSpec("error_code", pa.string(), "The API's error.code, such as TOO_MANY_REQUESTS."),
        ColumnSpec(
            "error_message", pa.string(), "Why the sync failed: the error of the request or of the destination."
        ),
        ColumnSpec("latest_updated_at", TIMESTAMP, "The highest updated_at that the API listed for the team, UTC."),
        ColumnSpec("connectors_reported", pa.int64(), "The API's own count."),
        ColumnSpec("connectors_received", pa.int64(), "Length of the API's list."),
        ColumnSpec("connectors_changed", pa.int64(), "Rows written to connectors."),
        ColumnSpec("connectors_removed", pa.int64(), "Rows deleted from connectors."),
        ColumnSpec("configurations_changed", pa.int64(), "New configuration versions; null without include_configs."),
        ColumnSpec("rate_limit_remaining", pa.int64(), "Requests left in the hour of the sync."),
        ColumnSpec("secrets_redacted", pa.int64(), "Secrets replaced; null where configurations were not examined."),
        ColumnSpec("redacted_paths", pa.string(), "JSONPaths of the replaced secrets, by connector.", is_json=True),
        ColumnSpec(
            "connectors_postponed",
            pa.int64(),
            "Connectors with optional requests left to a later run; null without optional tables.",
        ),
        ColumnSpec(
            "connectors_failing",
            pa.int64(),
            "Connectors with a failed optional request, see fetches; null without optional tables.",
        ),
    ),
)
TEAMS = TableSpec(
    "teams",
    "One row per team, as the API describes it now.",
    "current",
    ("team_id",),
    (
        _api("team_id", pa.int64(), "The team's id in the API.", required=True),
        _api("display_id", pa.string(), "The id that people see, such as SM_ABC123."),
        _api("name", pa.string(), "The team's name."),
        _api("status", pa.int64(), "A number whose meaning is not documented."),
        _api("created_at", TIMESTAMP, "When the team was created, UTC."),
        ColumnSpec("content_hash", pa.string(), "SHA-256 of the record as the API sent it."),
    ),
    content_column="content_hash",
)
CONNECTOR_LOGS = TableSpec(
    "connector_logs",
    "One row per call that a connector made.",
    "log",
    ("team_id", "connector_identifier", "id"),
    (
        _TEAM_ID,
        _CONNECTOR_IDENTIFIER,
        _api("id", pa.string(), "The entry's id, unique within its connector.", required=True),
        _api("log_time", TIMESTAMP, "When the call was made, UTC; several entries may share a time.", required=True),
        _api("status", pa.int64(), "HTTP status that the connector received."),
        _api("event", pa.string(), "The connector's activity, such as auth.token.refresh."),
        _api("request", pa.string(), "Method and path of the call; secrets in it are replaced."),
        _api("duration_ms", pa.int64(), "Milliseconds that the call took."),
        _api("request_id", pa.string(), "The logged call's own request id."),
    ),
)
CONNECTOR_SECRETS = TableSpec(
    "connector_secrets",
    "One row per secret that a connector has now, never its value.",
    "current",
    ("team_id", "connector_identifier", "secret_placeholder"),
    (
        _TEAM_ID,
        _CONNECTOR_IDENTIFIER,
        _api(
            "secret_placeholder",
            pa.string(),
            "The secret's id in configurations, such as sec_a23f23d26.",
            required=True,
        ),
        _api("secret_name", pa.string(), "The secret's name, such as client_id."),
        ColumnSpec("content_hash", pa.string(), "SHA-256 of the record as the API sent it."),
    ),
    content_column="content_hash",
)
FETCHES = TableSpec(
    "fetches",
    "One row per optional request: when it last ran and how it ended.",
    "current",
    ("team_id", "connector_identifier", "endpoint"),
    (
        _TEAM_ID,
        ColumnSpec(
            "connector_identifier", pa.string(), "The connector; empty for a request about a team.", required=True
        ),
        ColumnSpec("endpoint", pa.string(), "Name of the endpoint: team, secrets or logs.", required=True),
        ColumnSpec("fetched_at", TIMESTAMP, "When the latest request was made, UTC."),
        ColumnSpec("status", pa.string(), "ok, incomplete, failed or interrupted (by the rate limit)."),
        ColumnSpec("http_status", pa.int64(), "HTTP status; null without a response."),
        ColumnSpec("error_code", pa.string(), "The API's error.code, such as FORBIDDEN."),
        ColumnSpec("message", pa.string(), "Why the request failed, or what is missing."),
        ColumnSpec("request_id", pa.string(), "The API's request id; Supermetrics support asks for it."),
    ),
)

OPTIONAL_TABLES = (TEAMS, CONNECTOR_LOGS, CONNECTOR_SECRETS, FETCHES)
"""Tables that exist only where their endpoint was selected."""
COMPARED_TABLES = (CONNECTORS, CONNECTOR_VERSIONS, CONNECTOR_CONFIGURATIONS)
"""Tables whose stored rows are compared with each listing."""
HISTORIES = (CONNECTOR_VERSIONS, CONNECTOR_CONFIGURATIONS)
"""Tables with a row per version."""
TABLES: Mapping[str, TableSpec] = {spec.name: spec for spec in (*COMPARED_TABLES, TEAM_SYNCS, *OPTIONAL_TABLES)}
"""Every table that the source writes, by name."""

RESERVED_COLUMNS = frozenset(
    column.name
    for columns in (*(spec.columns for spec in COMPARED_TABLES), (DELETED_COLUMN, SNAPSHOT_COLUMN))
    for column in columns
    if not column.is_api_field
)
"""Columns with a meaning of our own, in lower case.

An added field of the API under such a name, or under one that begins with `_dlt`, gets another column.
"""
