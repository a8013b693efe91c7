"""Which of dlt's strategies keeps the tables equal to the API: the table `STRATEGIES`, by destination.

Ways of writing:

mirror      `connectors` by delete-insert on the primary key, the two histories by SCD2.
versions    Where dlt has no SCD2: rows by upsert, versions keyed by their content and when they began. A version is
            closed by writing it once more with its `_dlt_valid_to`, for which the stored one is read (see `delta.py`).
snapshots   Where nothing can be changed or deleted: each run's full listing is appended. Only when asked for.
append      What a mirror does with rows whose keys no stored row has, as in a first load, where that is as safe: there
            is nothing to merge them with, so they go straight to their table, in half the time.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

from dlt.common.configuration.container import Container
from dlt.common.destination import Destination, DestinationCapabilitiesContext
from dlt.common.pipeline import PipelineContext

from ..exceptions import SupermetricsConfigurationError

Way = Literal["mirror", "versions", "snapshots", "append"]


@dataclass(frozen=True)
class Strategy:
    """How one destination is written.

    Attributes:
        way: See above; None when nothing but snapshots would work there.
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

    def for_new_keys(self) -> "Strategy":
        """How to write rows whose keys no stored row has."""
        return replace(self, way="append") if self.may_append else self


_CAST = "cast('{}' as json)"
_SCD2 = "it has SCD2 and deletes rows"
_LIKE_SCD2 = f"{_SCD2}; JSON columns cannot be loaded from parquet"

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
    "sqlalchemy": Strategy("mirror", "parquet", _SCD2, json_type="text", view="anew"),
    "filesystem, delta": Strategy("versions", "parquet", "Delta tables merge but have no SCD2", "delta"),
    "filesystem, iceberg": Strategy(None, "parquet", "dlt deletes no rows of Iceberg tables", "iceberg"),
    "filesystem": Strategy(None, "parquet", "plain files can only be added to"),
    #
    "motherduck": Strategy("mirror", "parquet", _SCD2),
    "athena": Strategy("mirror", "parquet", "its Iceberg tables have SCD2 and delete rows", "iceberg"),
    "bigquery": Strategy("mirror", "jsonl", _LIKE_SCD2),
    "clickhouse": Strategy("mirror", "parquet", _SCD2),
    "databricks": Strategy("mirror", "parquet", _SCD2),
    "dremio": Strategy("mirror", "parquet", _SCD2),
    "fabric": Strategy("mirror", None, _SCD2),
    "mssql": Strategy("mirror", None, _SCD2),
    "redshift": Strategy("mirror", None, _SCD2),
    "snowflake": Strategy("mirror", "jsonl", _LIKE_SCD2),
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
        return names[0], Strategy("mirror", None, _SCD2)
    return names[0], Strategy(None, None, "dlt has neither SCD2 nor another way to keep history there")
