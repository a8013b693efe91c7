"""Which of dlt's strategies keeps the tables equal to the API: the table `STRATEGIES`, by destination.

Ways of writing:

mirror      `connectors` by delete-insert on the primary key, the two histories by SCD2.
versions    Where dlt has no SCD2: rows by upsert, versions keyed by their content and when they began. A version is
            closed by writing it once more with its `_dlt_valid_to`, for which the stored one is read (see `delta.py`).
snapshots   Where nothing can be changed or deleted: each run's full listing is appended. Only when asked for.
append      What a mirror does with rows whose keys no stored row has, as in a first load, where that is as safe: there
            is nothing to merge them with, so they go straight to their table, in half the time.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from dlt.common.configuration.container import Container
from dlt.common.destination import Destination, DestinationCapabilitiesContext
from dlt.common.pipeline import PipelineContext

from ..exceptions import SupermetricsConfigurationError

EXACT_TEXT = "x-exact-text"
"""Hint of a table whose texts are to be kept whole and compared byte by byte; see `mysql.py`."""

Way = Literal["mirror", "versions", "snapshots", "append"]


@dataclass(frozen=True)
class Strategy:
    """How one destination is written.

    Attributes:
        way: The way of writing; None when nothing but snapshots would work there.
        file_format: dlt's loader file format; None for the destination's own choice.
        why: The reason, for the log.
        table_format: Format of the tables where a destination knows several.
        json_type: dlt's data type for columns of JSON.
        may_append: Whether what needs no merge may do without: a file is loaded whole or not at all, never twice, and
            nobody else loads at the same time. A merge would forgive all of that.
        view: How `connector_changes` is made: by CREATE OR REPLACE, by DROP and CREATE, or as a view of a function
            where a view would keep the tables under it from being dropped. None where there are no views, or none
            were tried.
        json_constant: How a constant is written that has the type of JSON columns.
        json_text: How a JSON column is read as text, where the driver would parse it, and so lose digits of numbers.
        row_in_list: How a subquery gives rows of several columns to IN.
        table_hints: dlt's hints of every table, beyond those of the contract.
        sorts_histories: Whether histories, which have no key there, are to be sorted by team, as the other tables are.
    """

    way: Way | None
    file_format: str | None
    why: str
    table_format: str | None = None
    json_type: str = "json"
    may_append: bool = False
    view: Literal["replace", "anew", "function"] | None = None
    json_constant: str = "'{}'"
    json_text: str = "{}"
    row_in_list: str = "{}"
    table_hints: Mapping[str, Any] = field(default_factory=dict)
    sorts_histories: bool = False

    def for_new_keys(self) -> "Strategy":
        """How to write rows whose keys no stored row has."""
        return replace(self, way="append") if self.may_append else self


_CAST = "cast('{}' as json)"
_SCD2 = "it has SCD2 and deletes rows"
_CLUSTERED = {"x-bigquery-cluster-columns": ["team_id"]}  # so that reading some teams reads less, which is billed

# By the name of dlt's destination, and of the table format where that matters. File formats are the fastest ones
# for Arrow tables that the destination takes for every column: measured for those in the first block, see
# docs/destinations.md; by dlt's documentation for the others, where None leaves the choice to dlt (staging decides).
STRATEGIES: dict[str, Strategy] = {
    "duckdb": Strategy("mirror", "parquet", _SCD2, view="replace", json_constant=_CAST),
    # the command line's own: it starts every run anew, where dlt would load again a file that a kill came upon
    "duckdb_file": Strategy("mirror", "parquet", _SCD2, may_append=True, view="replace", json_constant=_CAST),
    "ducklake": Strategy("mirror", "parquet", _SCD2, view="replace", json_constant=_CAST),
    # csv takes two thirds of the time, but dlt copies empty strings as nulls; parquet wants a driver and gives json
    "postgres": Strategy(
        "mirror",
        "insert_values",
        _SCD2,
        view="function",
        json_constant="cast('{}' as jsonb)",
        json_text="cast({} as text)",
    ),
    # dlt has SQLAlchemy encode what is text already: a JSON column would hold a string
    "sqlalchemy": Strategy("mirror", "parquet", _SCD2, json_type="text", view="anew", table_hints={EXACT_TEXT: True}),
    "filesystem, delta": Strategy("versions", "parquet", "Delta tables merge but have no SCD2", "delta"),
    "filesystem, iceberg": Strategy(None, "parquet", "dlt deletes no rows of Iceberg tables", "iceberg"),
    "filesystem": Strategy(None, "parquet", "plain files can only be added to"),
    #
    "motherduck": Strategy("mirror", "parquet", _SCD2),
    "athena": Strategy("mirror", "parquet", "its Iceberg tables have SCD2 and delete rows", "iceberg"),
    # text in a file stays text in a JSON column of BigQuery and a VARIANT of Snowflake: no path into it finds anything
    "bigquery": Strategy(
        "mirror",
        "parquet",
        _SCD2,
        json_type="text",
        view="replace",
        row_in_list="({})",
        table_hints=_CLUSTERED,
    ),
    "clickhouse": Strategy("mirror", "parquet", _SCD2, view="replace", sorts_histories=True),
    "databricks": Strategy("mirror", "parquet", _SCD2),
    "dremio": Strategy("mirror", "parquet", _SCD2),
    "fabric": Strategy("mirror", None, _SCD2),
    "mssql": Strategy("mirror", None, _SCD2),
    "redshift": Strategy("mirror", None, _SCD2),
    "snowflake": Strategy("mirror", "parquet", _SCD2, json_type="text", view="replace"),
    "synapse": Strategy("mirror", None, _SCD2),
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
        return replace(strategy, way="snapshots", why="snapshots were asked for", may_append=False)
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
        table_format: As for `choose`.
        snapshot: As for `choose`; None for what works, without refusing.
    """
    context = Container()[PipelineContext]
    pipeline: Any = context.pipeline() if context.is_active() else None
    destination = pipeline.destination if pipeline else None
    in_container = DestinationCapabilitiesContext in Container()
    capabilities = Container()[DestinationCapabilitiesContext] if destination and in_container else None
    if snapshot is None:
        strategy = _look_up(destination, capabilities, table_format)[1]
    else:
        strategy = choose(destination, capabilities, table_format, snapshot)
    if destination is not None and EXACT_TEXT in strategy.table_hints:
        from .mysql import keep_texts_exact  # noqa: PLC0415 - SQLAlchemy is installed where it is needed

        keep_texts_exact()
    return strategy


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
        return names[0], Strategy("mirror", None, _SCD2)
    return names[0], Strategy(None, None, "dlt has neither SCD2 nor another way to keep history there")
