"""The command with which a load ends: it shows the newest connectors, by nothing that the load has not needed too."""

import shlex
import sys
from typing import Any

import dlt
from dlt.destinations.impl.duckdb.configuration import DuckDbCredentials

_NEWEST = "select team_id, name, connector_identifier, updated_at from connectors order by updated_at desc limit 10"


def how_to_look(pipeline: dlt.Pipeline, destination: str) -> str:
    """The command, quoted for a shell, with the Python that has the packages.

    Args:
        pipeline: What was loaded, and where to.
        destination: The name by which the destination is configured.
    """
    # in ASCII: a path with an emoji is printed, and read again, whatever the encoding
    return shlex.join([sys.executable, "-c", _code(pipeline, destination)])


def _code(pipeline: dlt.Pipeline, destination: str) -> str:
    client: Any = pipeline.destination_client()
    if client.schema.tables["connectors"].get("table_format") == "delta":
        # dlt would read it by an extension that DuckDB has to download, Arrow by Python's files, in threads that may
        # still let go of them when Python has ended: then the process is aborted
        return (
            "import dlt, pyarrow; from deltalake import QueryBuilder; "
            "from dlt.common.libs.deltalake import get_delta_tables; "
            f'table = get_delta_tables(dlt.attach({pipeline.pipeline_name!a}))["connectors"]; '
            f'found = QueryBuilder().register("connectors", table).execute("{_NEWEST}"); '
            'print(*pyarrow.table(found.read_all()).to_pylist(), sep="\\n")'
        )
    credentials: Any = client.config.credentials
    if isinstance(credentials, DuckDbCredentials):
        table = client.sql_client.make_qualified_table_name("connectors")
        query = f"from {table} order by updated_at desc limit 10"
        path = credentials.database
        return f"import duckdb; con = duckdb.connect({path!a}, read_only=True); print(con.sql({query!a}))"
    data = f"dlt.dataset({destination!a}, {pipeline.dataset_name!a})"
    return f'import dlt; print(*{data}({_NEWEST!a}).fetchall(), sep="\\n")'
