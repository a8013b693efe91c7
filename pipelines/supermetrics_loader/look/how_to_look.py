"""The command with which a load ends: it shows the newest connectors, by nothing that the load has not needed too."""

import shlex
import sys
from typing import Any

import dlt
from dlt.destinations.impl.duckdb.configuration import DuckDbCredentials

_COLUMNS = ["team_id", "name", "connector_identifier", "updated_at"]


def how_to_look(pipeline: dlt.Pipeline, destination: str) -> str:
    """The command, quoted for a shell, with the Python that has the packages.

    Args:
        pipeline: What was loaded, and where to.
        destination: The name by which the destination is configured.
    """
    # in ASCII: a path with an emoji is printed, and read again, whatever the encoding
    return shlex.join([sys.executable, "-c", _code(pipeline, destination)])


def _code(pipeline: dlt.Pipeline, destination: str) -> str:
    if pipeline.default_schema.tables["connectors"].get("table_format") == "delta":
        return (  # dlt would read it by an extension that DuckDB has to download
            "import dlt; from dlt.common.libs.deltalake import get_delta_tables; "
            f'table = get_delta_tables(dlt.attach({pipeline.pipeline_name!a}))["connectors"]; '
            f'rows = table.to_pyarrow_table(columns={_COLUMNS}).sort_by([("updated_at", "descending")]); '
            'print(*rows.slice(0, 10).to_pylist(), sep="\\n")'
        )
    credentials: Any = pipeline.destination_client().config.credentials
    if isinstance(credentials, DuckDbCredentials):
        table = pipeline.sql_client().make_qualified_table_name("connectors")
        query = f"from {table} order by updated_at desc limit 10"
        path = credentials.database
        return f"import duckdb; con = duckdb.connect({path!a}, read_only=True); print(con.sql({query!a}))"
    query = f"select {', '.join(_COLUMNS)} from connectors order by updated_at desc limit 10"  # noqa: S608 - our own names
    data = f"dlt.dataset({destination!a}, {pipeline.dataset_name!a})"
    return f'import dlt; print(*{data}({query!a}).fetchall(), sep="\\n")'
