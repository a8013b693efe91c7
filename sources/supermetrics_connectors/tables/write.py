"""Rows on their way to the destination: as Arrow tables, with the hints by which dlt writes them."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import dlt
import pyarrow as pa
from dlt.common.normalizers.naming.snake_case import NamingConvention
from dlt.common.schema import Schema
from dlt.extract.exceptions import CurrentSourceSchemaNotAvailable

from ..api.checks import Record
from ..exceptions import SupermetricsConfigurationError
from .arrow import to_table
from .batch import Run
from .contracts import CONNECTORS, CONTRACTS, SNAPSHOT_AT, VALID_FROM, Contract
from .strategies import EXACT_TEXT

logger = logging.getLogger(__name__)
PIECE_BYTES = 4 * 2**20
"""What reaches the destination's file in one piece, in bytes of Arrow."""


def arrow(run: Run, contract: Contract, rows: list[Record], load_id: str | None = None) -> Iterator[Any]:
    """Yields the rows as one Arrow table; none for no rows, unless the table is yet to be made.

    Args:
        run: The run.
        contract: Which table.
        rows: Records by column name.
        load_id: For `_dlt_load_id`; that of the running load by default.
    """
    strategy = run.strategy_for(contract)
    known = _known_columns(contract)
    is_missing = run.compares and run.is_missing(contract)
    if not rows and not (run.load_id and (is_missing or not known)):
        return
    logger.info("%s: %s rows to be written, as %s", contract.name, len(rows), strategy.way or "snapshots")
    schema = contract.schema(strategy.way or "snapshots")
    types = {column: str(hints["data_type"]) for column, hints in known.items() if "data_type" in hints}
    if set().union(*rows) - {*schema.names, *types}:  # columns of which another pipeline may know more
        types = {**run.reader.column_types(contract), **types} if run.compares else types
    at = run.at if contract.kind == "history" else run.began
    table = to_table(rows, schema, types, constants=dict.fromkeys((SNAPSHOT_AT, VALID_FROM), at))
    hints = contract.hints(strategy, at)
    json_columns = {field.name for field in table.schema if types.get(field.name) == "json"} - set(schema.names)
    hints["columns"] |= {column: {"data_type": strategy.json_type} for column in json_columns}
    if known and is_missing:
        # dlt makes what a schema lacks only for a schema that it has not stored before
        hints["additional_table_hints"] |= {"x-missing-in": run.load_id}
    yield from _marked(run, table, hints, load_id)


def as_it_is(run: Run, contract: Contract, table: pa.Table) -> Iterator[Any]:
    """Yields rows that were read from the destination, to be written once more; none for no rows."""
    if table.num_rows:
        yield from _marked(run, table.drop_columns(["_dlt_load_id"]), contract.hints(run.strategy, run.at), None)


def _marked(run: Run, table: pa.Table, hints: dict[str, Any], load_id: str | None) -> Iterator[Any]:
    if load_id := load_id or run.load_id:
        ids = pa.repeat(load_id, table.num_rows).cast(pa.string())
        table = table.append_column(pa.field("_dlt_load_id", pa.string(), nullable=False), ids)
    with _text_may_be_json():
        for piece in _pieces(table):
            yield dlt.mark.with_hints(piece, dlt.mark.make_hints(**hints))


def _pieces(table: pa.Table) -> Iterator[pa.Table]:
    """The table in pieces of at most `PIECE_BYTES`, or of one row: each becomes a row group of the parquet file.

    Whoever loads the file has a row group in hand at a time. DuckDB takes four to six times its size: 512 MiB were too
    little for a team of a thousand configurations of 100 KB in one group, 256 are enough for fifty such in pieces.
    """
    if table.nbytes <= PIECE_BYTES or table.num_rows <= 1:
        yield table
    else:
        half = table.num_rows // 2
        yield from _pieces(table.slice(0, half))
        yield from _pieces(table.slice(half))


def _source_schema() -> Schema | None:
    try:
        return dlt.current.source_schema()
    except CurrentSourceSchemaNotAvailable:
        return None


def column_name() -> Callable[[str], str]:
    """Dlt's naming convention of the running source: what a field's column is called."""
    schema = _source_schema()
    return schema.naming.normalize_identifier if schema else NamingConvention().normalize_identifier


def _known_columns(contract: Contract) -> dict[str, Any]:
    """The columns of a table that the running pipeline's schema knows."""
    schema = _source_schema()
    return dict(schema.tables.get(contract.name, {}).get("columns", {})) if schema else {}


@contextmanager
def _text_may_be_json() -> Iterator[None]:
    """Silences dlt's warning that an Arrow string is declared as JSON: Arrow has no other type for it."""

    def expected(record: logging.LogRecord) -> bool:
        return "when merging arrow schema with dlt schema" not in record.getMessage()

    dlt_logger = logging.getLogger("dlt")
    dlt_logger.addFilter(expected)
    try:
        yield
    finally:
        dlt_logger.removeFilter(expected)


_OF_EXTRACTION: dict[str, Any] = {
    # each piece is written as it comes: dlt would collect 5000 rows, of any size, for one row group
    "data_writer.buffer_max_items": 1,
    # seconds that dlt waits when a source has no more to extract
    "extract.futures_poll_interval": 0.001,
}


def set_extraction() -> None:
    """Has dlt extract as suits large pieces from few generators, where nobody has configured it otherwise."""
    for name, value in _OF_EXTRACTION.items():
        setting = f"sources.supermetrics_connectors.{name}"
        if dlt.config.get(name) is None and dlt.config.get(setting) is None:
            dlt.config[setting] = value


def refuse_other_dispositions(run: Run) -> None:
    """Makes sure that nobody has set another write disposition: what is written is a difference, not the whole.

    Raises:
        SupermetricsConfigurationError: Somebody has; the table is named.
    """
    if run.load_id is None:
        return
    resources = dlt.current.source().resources
    for name in CONTRACTS:
        given = resources[name].write_disposition if name in resources else "merge"
        if given != "merge":
            raise SupermetricsConfigurationError(
                f"The write_disposition of {name!r} is {given!r}, which the source sets itself: it writes what differs "
                "from the table, so that another one would lose rows or double them. Leave it out; full_refresh=True "
                "writes all rows anew, and snapshot=True appends each run's full listing"
            )


def refuse_mixture(run: Run) -> None:
    """Makes sure that a dataset holds either the mirror or snapshots.

    Raises:
        SupermetricsConfigurationError: It holds the other.
    """
    columns = run.columns(CONNECTORS)  # of files, those of dlt's schema, which is all that says what is in them
    if "team_id" in columns and (SNAPSHOT_AT in columns) != (run.strategy.way == "snapshots"):
        holds, wanted = ("snapshots", "a mirror") if SNAPSHOT_AT in columns else ("a mirror", "snapshots")
        raise SupermetricsConfigurationError(
            f"The dataset holds {holds} of the connectors and cannot hold {wanted} as well: the same rows would mean "
            "two things. Load into another dataset (--dataset), or keep to what is there"
        )


def refuse_inexact_texts(run: Run) -> None:
    """Makes sure that the tables that are there tell every two connectors apart; see `mysql.refuse_inexact_tables`."""
    if run.compares and EXACT_TEXT in run.strategy.table_hints:
        from .mysql import refuse_inexact_tables  # noqa: PLC0415 - SQLAlchemy is installed where it is needed

        with run.reader.connected() as client:
            refuse_inexact_tables(client.sql_client)
