"""Where dlt will write the tables of the running source: pipeline, schema, dataset and table names.

Nothing here is a constant or a default of the pipeline: a user may rename tables, add a second source to the pipeline,
or keep a dataset per source.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dlt.common.configuration.container import Container
from dlt.common.pipeline import PipelineContext
from dlt.common.schema import Schema
from dlt.dataset.utils import get_destination_clients
from dlt.destinations.job_client_impl import SqlJobClientBase

from ..specs import TABLES, TableSpec

TABLE_HINT = "x-supermetrics-table"
"""Hint of a resource and its table: the specification, whatever the user calls resource and table."""

CHANGES_VIEW = "connector_changes"
CHANGES_COLUMNS = {
    "team_id": "bigint",
    "connector_identifier": "text",
    "change": "text",
    "detected_at": "timestamptz",
    "baseline": "boolean",
    "name": "text",
    "updated_at": "timestamptz",
    "previous_updated_at": "timestamptz",
    "paths_added": "jsonb",
    "paths_removed": "jsonb",
    "paths_changed": "jsonb",
}
"""The columns of the view, in order, with their types in PostgreSQL."""


def running_pipeline() -> Any:
    """The active pipeline, or None; `dlt.current.pipeline()` resolves its settings anew each time, for 4 ms."""
    context = Container()[PipelineContext]
    return context.pipeline() if context.is_active() else None


@dataclass(frozen=True)
class Target:
    """The tables of one source in one dataset.

    Attributes:
        pipeline: The dlt pipeline.
        schema: The schema of the source, whose naming convention applies.
        names: Names of tables that differ from their specification, before normalization.
    """

    pipeline: Any
    schema: Schema
    names: Mapping[str, str]

    @classmethod
    def of_pipeline(cls, pipeline: Any, schema_name: str | None = None) -> "Target":
        """The tables that a pipeline has loaded, with the names that the source's schema has recorded.

        Args:
            pipeline: The dlt pipeline.
            schema_name: Name of the source's schema; the pipeline's default schema by default.
        """
        schema = pipeline.schemas[schema_name] if schema_name else pipeline.default_schema
        names = {str(table[TABLE_HINT]): name for name, table in schema.tables.items() if TABLE_HINT in table}
        return cls(pipeline, schema, names)

    @property
    def table_format(self) -> str | None:
        """`delta` where the schema has recorded Delta tables."""
        formats = {self.schema.tables.get(name, {}).get("table_format") for name in self.tables.values()}
        return "delta" if "delta" in formats else None

    def table(self, spec: TableSpec | str) -> str:
        """The table's name at the destination, without its dataset."""
        name = spec if isinstance(spec, str) else spec.name
        return str(self.schema.naming.normalize_table_identifier(self.names.get(name, name)))

    def column(self, name: str) -> str:
        """The column's name at the destination; the name of a variant, such as `status__v_text`, is a path for dlt."""
        return str(self.schema.naming.normalize_path(name))

    @property
    def tables(self) -> dict[str, str]:
        """The names at the destination of all tables, by the names of their specifications."""
        return {name: self.table(name) for name in TABLES}

    def client(self) -> Any:
        """A new dlt client of the dataset, not connected, with times in UTC."""
        pipeline = self.pipeline
        default_schema: Any = None if pipeline.config.use_single_dataset else pipeline.default_schema_name
        client, _ = get_destination_clients(
            schema=self.schema,
            destination=pipeline.destination,
            destination_dataset_name=pipeline.dataset_name,
            multi_dataset_default_schema_name=default_schema,
        )
        if isinstance(client, SqlJobClientBase):  # not a client of plain files
            use_utc(client.sql_client)
        return client


def use_utc(client: Any) -> Any:
    """Sets a dlt SQL client, before it connects, to times in UTC.

    In the zone of the server, role or database a time of the year 1 or 9999 may be one that Python cannot represent,
    and then no row can be read.

    Args:
        client: The client.

    Returns:
        The same client.
    """
    credentials: Any = getattr(client, "credentials", None)
    if hasattr(credentials, "session_timezone"):  # a startup option: unlike SET, it outlasts the reset after an error
        credentials.session_timezone = "UTC"
    return client
