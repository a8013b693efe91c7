"""Which of dlt's strategies keeps the tables equal to the API: the table `STRATEGIES`, by destination.

Ways of writing:

mirror      `connectors` by delete-insert on the primary key, `connector_configurations` by SCD2.
versions    Where dlt has no SCD2: rows by upsert, versions keyed by their content and when they began. A version is
            closed by writing it once more with its `_dlt_valid_to`, for which the stored one is read (see `lake.py`).
snapshots   Where nothing can be changed or deleted: each run's full listing is appended. Only when asked for.
append      What a mirror does with rows whose keys no stored row has, as in a first load, where that is as safe: there
            is nothing to merge them with, so they go straight to their table, in half the time.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import dlt
from dlt.common.configuration.container import Container
from dlt.common.destination import Destination, DestinationCapabilitiesContext
from dlt.common.pipeline import PipelineContext

from .exceptions import SupermetricsConfigurationError

Way = Literal["mirror", "versions", "snapshots", "append"]
TableName = Literal["connectors", "connector_configurations", "connector_changes", "team_syncs"]

# What a load may replace or close: the rows whose key is among the staged ones, and all rows of a team that has a
# staged row with the identifier "". The conditions are equivalent; no one of them is accepted by every destination.

# By names that only the staged table has, so that the bare ones are the table's own.
_BARE = (
    "EXISTS (SELECT 1 FROM (SELECT team_id AS staged_team, connector_identifier AS staged_identifier"
    " FROM {staging_table}) AS staged WHERE staged_team = team_id AND staged_identifier IN (connector_identifier, ''))"
)
_QUALIFIED = (
    "EXISTS (SELECT 1 FROM {staging_table} AS staged WHERE staged.team_id = {table}.team_id"
    " AND staged.connector_identifier IN ({table}.connector_identifier, ''))"
)
_TUPLE = (
    "((team_id, connector_identifier) IN (SELECT team_id, connector_identifier FROM {staging_table})"
    " OR team_id IN (SELECT team_id FROM {staging_table} WHERE connector_identifier = ''))"
)
_STRUCT = _TUPLE.replace("SELECT team_id, connector_identifier", "SELECT STRUCT(team_id, connector_identifier)")


@dataclass(frozen=True)
class Strategy:
    """How one destination is written.

    Attributes:
        way: See above; None when nothing but snapshots would work there.
        file_format: dlt's loader file format; None for the destination's own choice.
        scope: SQL condition for what a load may replace or close; only a mirror has one.
        why: The reason, for the log.
        table_format: Format of the tables where a destination knows several.
        json_type: dlt's data type for columns of JSON.
        may_append: Whether what needs no merge may do without: a file is loaded whole or not at all, never twice, and
            nobody else loads at the same time. A merge would forgive all of that.
    """

    way: Way | None
    file_format: str | None
    scope: str | None
    why: str
    table_format: str | None = None
    json_type: str = "json"
    may_append: bool = False

    def for_new_keys(self) -> "Strategy":
        """How to write rows whose keys no stored row has."""
        return replace(self, way="append", scope=None) if self.may_append else self

    def hints(self, table: TableName) -> dict[str, Any]:
        """What `dlt.mark.make_hints` takes to have a table written this way."""
        hints = {**_HINTS[table, self.way or "snapshots"], "file_format": self.file_format}
        json_columns = {column: {"data_type": self.json_type} for column in _JSON_COLUMNS.get(table, ())}
        hints["columns"] = {**hints.get("columns", {}), **json_columns}
        disposition = hints["write_disposition"]
        if self.scope and table in _SCOPED and isinstance(disposition, Mapping):
            hints["write_disposition"] = {**disposition, "destination_scope": self.scope}
        if self.table_format:
            hints["table_format"] = self.table_format
        return hints


_KEY = ("team_id", "connector_identifier")
_SCOPED = ("connectors", "connector_configurations")
_JSON_COLUMNS: dict[TableName, tuple[str, ...]] = {
    "connector_configurations": ("configuration_json",),
    "connector_changes": ("paths_added", "paths_removed", "paths_changed"),
    "team_syncs": ("redacted_paths",),
}
_SNAPSHOT: dict[str, Any] = {"write_disposition": "append", "primary_key": ""}

_HINTS: dict[tuple[TableName, Way], dict[str, Any]] = {
    ("connectors", "mirror"): {
        "write_disposition": {"disposition": "merge", "strategy": "delete-insert"},
        "primary_key": _KEY,
        "columns": {"_deleted": {"hard_delete": True}},
    },
    ("connectors", "append"): {"write_disposition": "append", "primary_key": _KEY},
    ("connectors", "versions"): {
        "write_disposition": {"disposition": "merge", "strategy": "upsert"},
        "primary_key": _KEY,
        "columns": {"_deleted": {"hard_delete": True}},
    },
    ("connectors", "snapshots"): _SNAPSHOT,
    ("connector_configurations", "mirror"): {
        "write_disposition": {
            "disposition": "merge",
            "strategy": "scd2",
            "row_version_column_name": "_dlt_id",
            "source_filter": "content_hash IS NOT NULL",
        },
    },
    ("connector_configurations", "append"): {"write_disposition": "append"},
    ("connector_configurations", "versions"): {
        "write_disposition": {"disposition": "merge", "strategy": "upsert"},
        "primary_key": ("_dlt_id", "_dlt_valid_from"),
    },
    ("connector_configurations", "snapshots"): _SNAPSHOT,
    # Merged, so that a load repeated after a kill adds none. Only a load that never completed has its changes deleted.
    ("connector_changes", "mirror"): {
        "write_disposition": {"disposition": "merge", "strategy": "delete-insert"},
        "primary_key": (*_KEY, "change", "detected_at"),
        "columns": {"_deleted": {"hard_delete": True}},
    },
    ("connector_changes", "versions"): {
        "write_disposition": {"disposition": "merge", "strategy": "upsert"},
        "primary_key": (*_KEY, "change", "detected_at"),
        "columns": {"_deleted": {"hard_delete": True}},
    },
    ("team_syncs", "mirror"): {
        "write_disposition": {"disposition": "merge", "strategy": "delete-insert"},
        "primary_key": ("team_id", "started_at"),
    },
    ("team_syncs", "append"): {"write_disposition": "append", "primary_key": ("team_id", "started_at")},
    ("team_syncs", "versions"): {
        "write_disposition": {"disposition": "merge", "strategy": "upsert"},
        "primary_key": ("team_id", "started_at"),
    },
    ("team_syncs", "snapshots"): _SNAPSHOT,
}

_SCD2 = "it has SCD2 and deletes rows"
_LIKE_SCD2 = f"{_SCD2}; JSON columns cannot be loaded from parquet"

# By the name of dlt's destination, and of the table format where that matters. File formats are the fastest ones
# for Arrow tables that the destination takes for every column: measured for those in the first block, see
# docs/destinations.md; by dlt's documentation for the others, where None leaves the choice to dlt (staging decides).
STRATEGIES: dict[str, Strategy] = {
    "duckdb": Strategy("mirror", "parquet", _QUALIFIED, _SCD2),
    # the command line's own: it starts every run anew, where dlt would load again a file that a kill came upon
    "duckdb_file": Strategy("mirror", "parquet", _QUALIFIED, _SCD2, may_append=True),
    "ducklake": Strategy("mirror", "parquet", _QUALIFIED, _SCD2),
    # csv takes two thirds of the time, but dlt copies empty strings as nulls; parquet wants a driver and gives json
    "postgres": Strategy("mirror", "insert_values", _QUALIFIED, _SCD2),
    # dlt has SQLAlchemy encode what is text already: a JSON column would hold a string
    "sqlalchemy": Strategy("mirror", "parquet", _BARE, _SCD2, json_type="text"),
    "filesystem, delta": Strategy("versions", "parquet", None, "Delta tables merge but have no SCD2", "delta"),
    "filesystem, iceberg": Strategy(None, "parquet", None, "dlt deletes no rows of Iceberg tables", "iceberg"),
    "filesystem": Strategy(None, "parquet", None, "plain files can only be added to"),
    #
    "motherduck": Strategy("mirror", "parquet", _QUALIFIED, _SCD2),
    "athena": Strategy("mirror", "parquet", _BARE, "its Iceberg tables have SCD2 and delete rows", "iceberg"),
    "bigquery": Strategy("mirror", "jsonl", _STRUCT, _LIKE_SCD2),
    "clickhouse": Strategy("mirror", "parquet", _TUPLE, f"{_SCD2}, but has no correlated subqueries"),
    "databricks": Strategy("mirror", "parquet", _QUALIFIED, _SCD2),
    "dremio": Strategy("mirror", "parquet", _BARE, _SCD2),
    "fabric": Strategy("mirror", None, _BARE, _SCD2),
    "mssql": Strategy("mirror", None, _BARE, _SCD2),
    "redshift": Strategy("mirror", None, _BARE, _SCD2),
    "snowflake": Strategy("mirror", "jsonl", _TUPLE, _LIKE_SCD2),
    "synapse": Strategy("mirror", None, _BARE, _SCD2),
}


def choose(
    destination: "Destination[Any, Any] | None",
    capabilities: DestinationCapabilitiesContext | None,
    table_format: str | None = None,
    snapshot: bool = False,
) -> Strategy:
    """How to write to a destination.

    Args:
        destination: dlt's destination; None when it is not known yet, as in a pipeline that only extracts.
        capabilities: What it can do, for one that `STRATEGIES` does not name.
        table_format: `delta` or `iceberg`, on destinations that know several.
        snapshot: Whether to append each run's full listing instead of mirroring it.

    Raises:
        SupermetricsConfigurationError: It cannot be made equal to the API, and snapshots were not asked for.
    """
    name, strategy = _look_up(destination, capabilities, table_format)
    if snapshot:
        why = "snapshots were asked for"
        return replace(strategy, way="snapshots", scope=None, why=why, may_append=False)
    if strategy.way is None:
        raise SupermetricsConfigurationError(
            f"The destination {name!r} cannot hold the connectors as the API lists them: {strategy.why}. "
            "Set table_format='delta' (--table-format delta) for Delta tables, choose a database such as duckdb or "
            "postgres, or set snapshot=True (--snapshot) to append each run's full listing"
        )
    return strategy


def choose_here(table_format: str | None, snapshot: bool | None) -> Strategy:
    """How to write to the destination of the running pipeline; see `choose`.

    Args:
        table_format: As there.
        snapshot: As there; None for what works, without refusing.
    """
    context = Container()[PipelineContext]
    pipeline: Any = context.pipeline() if context.is_active() else None
    destination = pipeline.destination if pipeline else None
    in_container = DestinationCapabilitiesContext in Container()
    capabilities = Container()[DestinationCapabilitiesContext] if destination and in_container else None
    if snapshot is None:
        return _look_up(destination, capabilities, table_format)[1]
    return choose(destination, capabilities, table_format, snapshot)


def _look_up(
    destination: "Destination[Any, Any] | None",
    capabilities: DestinationCapabilitiesContext | None,
    table_format: str | None,
) -> tuple[str, Strategy]:
    if destination is None:
        return "duckdb", STRATEGIES["duckdb"]
    names = [each.__name__ for each in type(destination).__mro__]  # a destination derived from dlt's is written alike
    formatted = [f"{name}, {table_format}" for name in names] if table_format else []
    for name in formatted + names:
        if name in STRATEGIES:
            return name, STRATEGIES[name]
    supported = set(capabilities.supported_merge_strategies or ()) if capabilities else set()
    if {"delete-insert", "scd2"} <= supported:
        return names[0], Strategy("mirror", None, _BARE, _SCD2)
    return names[0], Strategy(None, None, None, "dlt has neither SCD2 nor another way to keep history there")


def refuse_mixture(strategy: Strategy) -> None:
    """Makes sure that a dataset holds either the mirror or snapshots.

    Raises:
        SupermetricsConfigurationError: It holds the other.
    """
    columns = dlt.current.source_schema().tables.get("connectors", {}).get("columns", {})
    if columns and ("snapshot_at" in columns) != (strategy.way == "snapshots"):
        holds, wanted = ("snapshots", "a mirror") if "snapshot_at" in columns else ("a mirror", "snapshots")
        raise SupermetricsConfigurationError(
            f"The dataset holds {holds} of the connectors and cannot hold {wanted} as well: the same rows would mean "
            "two things. Load into another dataset (--dataset), or keep to what is there"
        )
