"""Rows on their way to the destination: Arrow tables with the hints by which dlt writes them."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import dlt
import pyarrow as pa
from dlt.common.configuration import resolve_configuration
from dlt.common.normalizers.naming.snake_case import NamingConvention
from dlt.common.normalizers.utils import generate_dlt_ids
from dlt.extract.exceptions import CurrentSourceSchemaNotAvailable
from dlt.normalize.configuration import ItemsNormalizerConfiguration

from ..records import Record
from ..specs import SNAPSHOT_COLUMN, TABLES, VALID_FROM, TableSpec
from .arrow import to_arrow
from .destinations.modes import WriteMode
from .run import Run

logger = logging.getLogger(__name__)

MAX_ITEM_BYTES = 4 * 2**20
"""Bytes of Arrow that reach the destination's file as one row group."""


def items(run: Run, spec: TableSpec, rows: list[Record], mode: WriteMode | None = None) -> Iterator[Any]:
    """Yields the rows as Arrow tables; none for no rows, unless the table or one of its columns is missing.

    Args:
        run: The run.
        spec: The table.
        rows: Records by column name.
        mode: How the rows are written; the run decides by default.
    """
    known = run.known_columns(spec)
    stored = run.columns(spec) if run.is_compared else {}
    is_missing = run.is_compared and run.is_missing(spec)
    is_created = is_missing if run.is_compared else not known
    lost = run.lost_columns.get(spec.name)
    if not rows and not (run.load_id and (is_created or lost)):
        return
    mode = mode or run.mode(spec)
    logger.info("%s: %s rows to be written, mode %s", spec.name, len(rows), mode.name)
    schema = pa.schema([column.arrow_field for column in (*spec.columns, *mode.steering_columns(spec))])
    types = {**stored, **{name: str(hints["data_type"]) for name, hints in known.items() if "data_type" in hints}}
    at = run.boundary if spec.kind == "history" else run.started_at
    table = to_arrow(rows, schema, types, constants={SNAPSHOT_COLUMN.name: at, VALID_FROM: at})
    hints = run.strategy.hints(spec, mode, run.boundary_hint if spec.kind == "history" else None)
    added_json = {name for name in table.column_names if types.get(name) == "json"} - set(schema.names)
    hints["columns"] |= {name: {"data_type": run.strategy.json_type} for name in added_json}
    if lost or (is_missing and not TABLES.keys().isdisjoint(run.reader.columns)):
        # dlt creates missing tables and columns only for a schema that it has not stored before
        hints["additional_table_hints"] |= {"x-missing-in": run.load_id}
    yield from with_dlt_hints(run, spec, table, hints)


def history_items(run: Run, spec: TableSpec, rows: list[Record], ended: list[Record]) -> Iterator[Any]:
    """Yields new versions of a history, and what ends the stored versions that they replace.

    Args:
        run: The run.
        spec: The history.
        rows: Rows of the new versions.
        ended: Key and `version_id` of the versions that end.
    """
    if ended and run.is_compared:
        ids = [row["version_id"] for row in ended]
        rewritten = run.strategy.ended_versions(run.reader, spec, ids, run.boundary)
        if rewritten is not None:
            ended = []
            for table in rewritten:
                yield from with_dlt_hints(run, spec, table, run.strategy.hints(spec, run.mode(spec), run.boundary_hint))
    yield from items(run, spec, rows + ended)


def with_dlt_hints(run: Run, spec: TableSpec, table: pa.Table, hints: Mapping[str, Any]) -> Iterator[Any]:
    """Yields a table in pieces, with the columns that dlt adds to JSON rows and not to Arrow tables."""
    if run.load_id:
        load_ids = pa.repeat(run.load_id, table.num_rows).cast(pa.string())
        table = table.append_column(pa.field("_dlt_load_id", pa.string(), nullable=False), load_ids)
        if "_dlt_id" in run.known_columns(spec) and not adds_dlt_id():
            # the column is there since a load with dlt's setting add_dlt_id, and has to have values
            ids = pa.array(generate_dlt_ids(table.num_rows), pa.string())
            table = table.append_column(pa.field("_dlt_id", pa.string(), nullable=False), ids)
    with _json_as_text():
        for piece in _pieces(table):
            yield dlt.mark.with_hints(piece, dlt.mark.make_hints(**hints))


def column_name() -> Callable[[str], str]:
    """The naming convention of the running source: makes a field's column name."""
    try:
        return dlt.current.source_schema().naming.normalize_identifier
    except CurrentSourceSchemaNotAvailable:  # resources are read without a pipeline
        return NamingConvention().normalize_identifier


def adds_dlt_id() -> bool:
    """Whether dlt's setting `add_dlt_id` is on."""
    sections = ("normalize", "parquet_normalizer")
    return bool(resolve_configuration(ItemsNormalizerConfiguration(), sections=sections).add_dlt_id)


def _pieces(table: pa.Table) -> Iterator[pa.Table]:
    """Splits a table into pieces of at most `MAX_ITEM_BYTES`, or of one row: each becomes a row group.

    A destination reads one row group at a time. DuckDB takes four to six times its size.
    """
    if table.nbytes <= MAX_ITEM_BYTES or table.num_rows <= 1:
        yield table
    else:
        half = table.num_rows // 2
        yield from _pieces(table.slice(0, half))
        yield from _pieces(table.slice(half))


@contextmanager
def _json_as_text() -> Iterator[None]:
    """Silences dlt's warning that an Arrow string is declared as JSON: Arrow has no other type for it."""

    def is_unexpected(record: logging.LogRecord) -> bool:
        return "when merging arrow schema with dlt schema" not in record.getMessage()

    dlt_logger = logging.getLogger("dlt")
    dlt_logger.addFilter(is_unexpected)
    try:
        yield
    finally:
        dlt_logger.removeFilter(is_unexpected)


def configure_extraction() -> None:
    """Writes each piece as it comes, unless the user has configured otherwise.

    dlt would collect 5,000 rows of any size for one row group. The setting is one of this source, and of no other.
    """
    name = "data_writer.buffer_max_items"
    setting = f"sources.supermetrics_connectors.{name}"
    if dlt.config.get(name) is None and dlt.config.get(setting) is None:
        dlt.config[setting] = 1
