"""Destinations: which strategy keeps the tables of each equal to the API. The table is `STRATEGIES`."""

from dataclasses import replace
from typing import Any

from dlt.common.destination import Destination

from ...exceptions import SupermetricsConfigurationError
from .databases import EXACT_TEXT, REPLACE_VIEW, DuckDbStrategy, PostgresStrategy, SqlalchemyStrategy
from .delta import DeltaStrategy
from .modes import SNAPSHOT
from .strategy import DestinationStrategy

# By the name of dlt's destination, and of the table format where that matters. File formats are the fastest ones for
# Arrow tables that the destination accepts for every column; None leaves the choice to dlt, where staging decides.
STRATEGIES: dict[str, DestinationStrategy] = {
    "duckdb": DuckDbStrategy(),
    # the command line's own: it starts every run anew, where dlt would load a file again after a kill
    "duckdb_file": DuckDbStrategy(appends_new_keys=True),
    "ducklake": DuckDbStrategy(),
    "postgres": PostgresStrategy(),
    "sqlalchemy": SqlalchemyStrategy(table_hints={EXACT_TEXT: True}),
    "filesystem, delta": DeltaStrategy(),
    "filesystem, iceberg": DestinationStrategy(
        mode=SNAPSHOT, reason="dlt deletes no rows of Iceberg tables", table_format="iceberg"
    ),
    "filesystem": DestinationStrategy(mode=SNAPSHOT, reason="plain files can only be added to"),
    "clickhouse": DestinationStrategy(view_statements=REPLACE_VIEW, sorts_histories=True),
    # Text in a file stays text in a JSON column of BigQuery and a VARIANT of Snowflake, where no path finds anything.
    # Clustering by team makes reading some teams cheaper: BigQuery bills what is scanned.
    "bigquery": DestinationStrategy(
        json_type="text",
        table_hints={"x-bigquery-cluster-columns": ["team_id"]},
        row_in_list="({})",
        view_statements=REPLACE_VIEW,
    ),
    "snowflake": DestinationStrategy(json_type="text", view_statements=REPLACE_VIEW),
    # by dlt's documentation; the project runs no tests against the following
    "motherduck": DestinationStrategy(),
    "athena": DestinationStrategy(reason="its Iceberg tables have SCD2 and delete rows", table_format="iceberg"),
    "databricks": DestinationStrategy(),
    "dremio": DestinationStrategy(),
    **{name: DestinationStrategy(file_format=None) for name in ("fabric", "mssql", "redshift", "synapse")},
}


def choose_strategy(
    destination: "Destination[Any, Any] | None",
    table_format: str | None = None,
    snapshot: bool = False,
) -> DestinationStrategy:
    """Chooses how to write to a destination.

    Args:
        destination: dlt's destination; None while it is unknown, as in a pipeline that only extracts.
        table_format: `delta` or `iceberg`, on destinations that offer several.
        snapshot: Whether to append each run's full listing instead of mirroring it.

    Raises:
        SupermetricsConfigurationError: The tables cannot be kept equal to the API there, and snapshots were not
            requested.
    """
    name, strategy = _find_strategy(destination, table_format)
    if snapshot:
        return replace(strategy, mode=SNAPSHOT, reason="snapshots were requested", appends_new_keys=False)
    if strategy.mode is SNAPSHOT:
        raise SupermetricsConfigurationError(
            f"The destination {name!r} cannot hold the connectors as the API lists them: {strategy.reason}. "
            "Set table_format='delta' (--table-format delta) for Delta tables, choose a database such as duckdb or "
            "postgres, or set snapshot=True (--snapshot) to append each run's full listing"
        )
    return strategy


def _find_strategy(
    destination: "Destination[Any, Any] | None", table_format: str | None
) -> tuple[str, DestinationStrategy]:
    if destination is None:
        return "duckdb", STRATEGIES["duckdb"]
    names = [each.__name__ for each in type(destination).__mro__]  # a destination derived from dlt's is written alike
    for name in [*(f"{name}, {table_format}" for name in names if table_format), *names]:
        if name in STRATEGIES:
            return name, STRATEGIES[name]
    if {"delete-insert", "scd2"} <= {*(destination.capabilities().supported_merge_strategies or ())}:
        return names[0], DestinationStrategy(file_format=None)
    reason = "dlt has neither SCD2 nor another way to keep history there"
    return names[0], DestinationStrategy(mode=SNAPSHOT, reason=reason)
