"""Loads that began and never completed: how they are known, and what follows.

A database tells by the staging tables, from where rows are merged, and by dlt's own tables. Beside tables of files
there is a mark while a load writes them: a row deleted from a Delta table leaves nothing behind.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

import dlt
from dlt.destinations.exceptions import DatabaseUndefinedRelation
from dlt.destinations.impl.filesystem.filesystem import FilesystemClient
from dlt.destinations.sql_client import SqlClientBase
from dlt.pipeline.exceptions import PipelineStepFailed

from sources.supermetrics_connectors import forget_teams, retract_changes

logger = logging.getLogger(__name__)


def forget_if_interrupted(pipeline: dlt.Pipeline, table_format: str | None) -> None:
    """Has every team written anew after a load that began and never completed.

    That is a load of its own, completed before the next one touches the traces by which the interruption is known.
    """
    known = pipeline.state.get("sources", {}).get("supermetrics", {}).get("interrupted_loads", [])
    interrupted = _interrupted_loads(pipeline)
    if interrupted.issubset(known):
        return
    logger.warning("A load of %s was interrupted, all rows are written anew", pipeline.pipeline_name)
    loads = sorted(interrupted)
    pipeline.run([forget_teams(loads), retract_changes(loads, table_format)], schema=dlt.Schema("supermetrics"))


def _interrupted_loads(pipeline: dlt.Pipeline) -> set[str]:
    """Loads without a row in `_dlt_loads` that left rows in a staging table, from where they are merged, or a state.

    The state alone would not do: dlt writes it beside the merges, before or after them.
    """
    if (marked_loads := _marked_loads(pipeline)) is not None:
        return marked_loads
    with pipeline.sql_client() as client:
        loads = client.make_qualified_table_name("_dlt_loads")
        state = client.make_qualified_table_name("_dlt_pipeline_state")
        with client.with_staging_dataset():
            merged = ("connectors", "connector_configurations", "connector_changes")
            staged = [client.make_qualified_table_name(name) for name in merged]
        traces = [f"SELECT DISTINCT _dlt_load_id FROM {table}" for table in staged]  # noqa: S608 - our own names
        newest_state = f"SELECT _dlt_load_id FROM {state} WHERE pipeline_name = %s ORDER BY 1 DESC LIMIT 1"  # noqa: S608
        found = {row[0] for trace in traces for row in _rows(client, trace)}
        found.update(row[0] for row in _rows(client, newest_state, pipeline.pipeline_name))
        if not found:
            return found
        marks = ", ".join(["%s"] * len(found))
        sql = f"SELECT load_id FROM {loads} WHERE status = 0 AND load_id IN ({marks})"  # noqa: S608 - as above
        completed = _rows(client, sql, *found)
    return found.difference(row[0] for row in completed)


def _rows(client: SqlClientBase[Any], sql: str, *parameters: Any) -> Sequence[Sequence[Any]]:
    """The rows of a query; none of a table that is not there."""
    try:
        return client.execute_sql(sql, *parameters) or ()
    except DatabaseUndefinedRelation:
        return ()


@contextmanager
def marked(pipeline: dlt.Pipeline) -> Iterator[None]:
    """Leaves a mark in a destination of files until the load is through; does nothing elsewhere."""
    if not is_made_of_files(pipeline):
        yield
        return
    _write(pipeline, datetime.now(timezone.utc).isoformat())
    try:
        yield
    except PipelineStepFailed as error:
        if error.step != "load":  # nothing was written
            _write(pipeline, None)
        raise
    _write(pipeline, None)


def _marked_loads(pipeline: dlt.Pipeline) -> set[str] | None:
    """When loads began that never ended; None if the destination is not made of files."""
    if not is_made_of_files(pipeline):
        return None
    with pipeline.destination_client() as client:
        files, path = _place(client, pipeline)
        return {files.read_text(path)} if files.exists(path) else set()


def is_made_of_files(pipeline: dlt.Pipeline) -> bool:
    """Whether the destination is dlt's `filesystem`, which has tables but no database."""
    destination: Any = pipeline.destination
    return destination is not None and issubclass(destination.client_class, FilesystemClient)


def _place(client: Any, pipeline: dlt.Pipeline) -> tuple[Any, str]:
    # beside the dataset's folder, which dlt wants to make itself
    return client.fs_client, f"{client.dataset_path.rstrip('/')}.{pipeline.pipeline_name}.running"


def _write(pipeline: dlt.Pipeline, text: str | None) -> None:
    with pipeline.destination_client() as client:
        files, path = _place(client, pipeline)
        if text is None:
            files.rm_file(path)
        else:
            files.makedirs(files._parent(path), exist_ok=True)
            files.write_text(path, text)
