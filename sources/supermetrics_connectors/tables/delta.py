"""Delta tables, read where dlt's merge needs to be told: what is there, which versions to close."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from dlt.common.libs.deltalake import deltalake_storage_options

from ..api.checks import Record
from .contracts import VALID_FROM, VALID_TO, Contract
from .sessions import running_pipeline
from .stored import TWICE, Among, MissingTableError, Newest, newer_loads

_KEY = ["team_id", "connector_identifier"]


class DeltaReader:
    """Reads Delta tables; see `stored.Reader`."""

    def connected(self) -> AbstractContextManager[None]:
        """See `stored.Reader`: files have no connection."""
        return nullcontext()

    def current(self, contract: Contract, team_ids: Sequence[int]) -> Iterator[pa.Table]:
        """See `stored.Reader`."""
        with _table(contract.name) as table:
            columns: list[str] = [*_KEY, contract.content]
            if contract.kind != "history":
                yield _rows(table, columns, pc.field("team_id").isin(team_ids))
                return
            columns += [VALID_FROM, VALID_TO, "_dlt_load_id"]
            rows = _rows(table, columns, pc.field("team_id").isin(team_ids))
        names = [*_KEY, "content", "moment"]
        yield rows.filter(pc.field(VALID_TO).is_null()).drop_columns([VALID_TO, "_dlt_load_id"]).rename_columns(names)
        ends = rows.group_by("team_id").aggregate([(VALID_TO, "max")])
        nothing = pa.repeat("", ends.num_rows)
        yield pa.table([ends["team_id"], nothing, nothing, ends[f"{VALID_TO}_max"]], names=names)
        if _copies(rows):
            yield pa.table([team_ids[:1], [""], [TWICE], ends[f"{VALID_TO}_max"][:1]], names=names)

    def delete_copies(self, contract: Contract, team_ids: Sequence[int]) -> None:
        """See `stored.Reader`."""
        with _table(contract.name) as table:
            rows = _rows(table, ["_dlt_id", VALID_TO, "_dlt_load_id"], pc.field("team_id").isin(team_ids))
            copies = [f"(_dlt_id = '{id_}' AND _dlt_load_id = '{load_id}')" for id_, load_id in _copies(rows)]
            if copies:
                table.delete(" OR ".join(copies))

    def rows(
        self,
        contract: Contract,
        columns: Sequence[str],
        team_ids: Sequence[int],
        among: Among | None = None,
    ) -> Iterator[Record]:
        """See `stored.Reader`."""
        try:
            with _table(contract.name) as table:
                condition = _is_in(table, "team_id", team_ids)
                if among:
                    condition &= _is_in(table, *among)
                if contract.kind == "history":
                    condition &= pc.field(VALID_TO).is_null()
                yield from _rows(table, columns, condition).to_pylist()
        except MissingTableError:
            return

    def every(self, contract: Contract, columns: Sequence[str], team_ids: Sequence[int]) -> Iterator[Record]:
        """See `stored.Reader`."""
        with _table(contract.name) as table:
            yield from _rows(table, columns, _is_in(table, "team_id", team_ids)).to_pylist()

    def newest(self, contract: Contract, column: str, team_ids: Sequence[int]) -> Iterator[Newest]:
        """See `stored.Reader`."""
        with _table(contract.name) as table:
            rows = _rows(table, [*_KEY, column], _is_in(table, "team_id", team_ids))
        for row in rows.group_by(_KEY).aggregate([(column, "max")]).to_pylist():
            yield row["team_id"], row["connector_identifier"], row[f"{column}_max"]

    def column_types(self, contract: Contract) -> dict[str, str]:
        """See `stored.Reader`."""
        try:
            with _table(contract.name) as table:
                schema = table.to_pyarrow_dataset().schema
        except MissingTableError:
            return {}
        return {field.name: _data_type(field.type) for field in schema}

    def unfinished_syncs(self, contract: Contract, team_ids: Sequence[int]) -> list[Record]:
        """See `stored.Reader`."""
        columns = [column.name for column in contract.columns]
        with _table(contract.name) as table:
            rows = _rows(table, [*columns, "_dlt_load_id"], _is_in(table, "team_id", team_ids))
        newer = rows.filter((pc.field("status") != "failed") & (pc.field("_dlt_load_id") >= newer_loads()))
        unfinished = _uncompleted(newer["_dlt_load_id"].unique().to_pylist())
        found: list[Record] = (
            newer.filter(pc.field("_dlt_load_id").isin(pa.array(unfinished, pa.string()))).select(columns).to_pylist()
        )
        return found


def _copies(rows: pa.Table) -> list[tuple[str, str]]:
    """`_dlt_id` and load of the versions that an earlier load has brought too, and that have the same end."""
    contents = pc.utf8_slice_codeunits(rows["_dlt_id"], 0, 32)
    versions = rows.select(["_dlt_id", VALID_TO, "_dlt_load_id"]).append_column("content", contents)
    loads = versions.group_by(["content", VALID_TO]).aggregate([("_dlt_load_id", "count_distinct")])
    doubled = loads.filter(pc.field("_dlt_load_id_count_distinct") > 1)["content"].cast(pa.string()).combine_chunks()
    candidates = versions.filter(pc.field("content").isin(doubled)).sort_by("_dlt_load_id").to_pylist()
    firsts: dict[tuple[str, Any], str] = {}
    return [
        (row["_dlt_id"], row["_dlt_load_id"])
        for row in candidates
        if firsts.setdefault((row["content"], row[VALID_TO]), row["_dlt_load_id"]) != row["_dlt_load_id"]
    ]


def _uncompleted(load_ids: Iterable[str]) -> list[str]:
    """Of these loads, those of which dlt keeps no note that they were completed."""
    with running_pipeline().destination_client() as client:
        folder = client.get_table_dir(client.schema.loads_table_name)
        return [id_ for id_ in load_ids if not client.fs_client.exists(f"{folder}{client.schema.name}__{id_}.jsonl")]


def _data_type(type_: pa.DataType) -> str:
    kinds = {"bool": "bool", "int64": "bigint", "double": "double"}
    return "timestamp" if pa.types.is_timestamp(type_) else kinds.get(str(type_), "text")


def closed(contract: Contract, ids: Sequence[str], at: datetime) -> pa.Table:
    """The stored versions that are current and have one of these `_dlt_id`s, with their end; each once.

    Args:
        contract: The history.
        ids: Which versions.
        at: When they end, UTC.
    """
    try:
        with _table(contract.name) as table:
            found = _rows(table, None, _is_in(table, "_dlt_id", ids) & pc.field(VALID_TO).is_null())
    except MissingTableError:
        return pa.table({})
    firsts = found.append_column("row", pa.array(range(found.num_rows), pa.int64()))
    firsts = firsts.group_by(["_dlt_id", VALID_FROM]).aggregate([("row", "min")])["row_min"]
    found = found.take(firsts)
    end = pa.array([at] * found.num_rows, pa.timestamp("us", tz="UTC"))
    return found.set_column(found.schema.get_field_index(VALID_TO), VALID_TO, end)


def delete_doubled(contract: Contract, keys: Iterable[tuple[int, str]]) -> None:
    """Deletes all rows of these connectors, to be written once anew: a merge would change every copy."""
    wanted = {(team_id, identifier) for team_id, identifier in keys}
    if not wanted:
        return
    conditions = [f"(team_id = {team_id} AND connector_identifier = '{_escaped(name)}')" for team_id, name in wanted]
    with _table(contract.name) as table:
        table.delete(" OR ".join(sorted(conditions)))


def _escaped(text: str) -> str:
    return text.replace("'", "''")


@contextmanager
def _table(name: str) -> Iterator[DeltaTable]:
    """The table in the running pipeline's dataset, found by where it is and not by what dlt remembers.

    Raises:
        MissingTableError: There is none.
    """
    with running_pipeline().destination_client() as client:
        yield open_table(client, name)


def open_table(client: Any, name: str) -> DeltaTable:
    """The table of a dataset.

    Args:
        client: dlt's client of the dataset's files.
        name: The table's.

    Raises:
        MissingTableError: There is none.
    """
    location = client.get_open_table_location("delta", name)
    options = deltalake_storage_options(client.config.credentials, client.config.deltalake_storage_options)
    if not DeltaTable.is_deltatable(location, options):
        raise MissingTableError(name)
    return DeltaTable(location, storage_options=options)


def _rows(table: DeltaTable, columns: Sequence[str] | None, condition: Any) -> pa.Table:
    return _plain(table.to_pyarrow_dataset().to_table(columns and list(columns), filter=condition))


def _is_in(table: DeltaTable, column: str, values: Sequence[Any]) -> Any:
    is_text = not pa.types.is_integer(table.to_pyarrow_dataset().schema.field(column).type)
    # cast, or Arrow compares the text with Delta's statistics, which have another layout, and fails
    name = pc.field(column).cast(pa.string()) if is_text else pc.field(column)
    return name.isin(pa.array(values, pa.string() if is_text else pa.int64()))


def _plain(table: pa.Table) -> pa.Table:
    """Strings as the source writes them: a reader may hand them out in Arrow's other layouts."""
    texts = (pa.types.is_large_string, getattr(pa.types, "is_string_view", pa.types.is_large_string))
    fields = [f.with_type(pa.string()) if any(is_text(f.type) for is_text in texts) else f for f in table.schema]
    return table.cast(pa.schema(fields))
