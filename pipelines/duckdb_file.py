"""dlt's DuckDB destination for a file of the dataset's own name: `supermetrics.duckdb` with the dataset `supermetrics`.

DuckDB names a file's catalog after the file, and `supermetrics.connectors` could then mean the table of the schema or
of the catalog: it is refused as ambiguous. dlt 1.31 writes names in two parts; here the catalog stands before them.
"""

from pathlib import Path

from dlt.common.destination import DestinationCapabilitiesContext
from dlt.common.schema import Schema
from dlt.destinations import duckdb
from dlt.destinations.impl.duckdb.configuration import DuckDbClientConfiguration
from dlt.destinations.impl.duckdb.duck import DuckDbClient
from dlt.destinations.impl.duckdb.sql_client import DuckDbSqlClient


class duckdb_file(duckdb):  # noqa: N801 - dlt's destinations are named in lower case, and configured by that name
    """The DuckDB destination, with names in three parts."""

    @property
    def client_class(self) -> type[DuckDbClient]:
        """The job client that dlt makes."""
        return _DuckDbFileClient


class _DuckDbFileClient(DuckDbClient):
    def __init__(
        self, schema: Schema, config: DuckDbClientConfiguration, capabilities: DestinationCapabilitiesContext
    ) -> None:
        super().__init__(schema, config, capabilities)
        stock = self.sql_client
        self.sql_client = _DuckDbFileSqlClient(
            stock.dataset_name, stock.staging_dataset_name, config.credentials, capabilities
        )


class _DuckDbFileSqlClient(DuckDbSqlClient):
    def catalog_name(self, quote: bool = True, casefold: bool = True) -> str:  # noqa: ARG002 - dlt's signature
        name = Path(self.credentials.database).stem
        return self.capabilities.escape_identifier(name) if quote else name

    def warn_if_catalog_equals_dataset_name(self) -> None:
        """They may be equal here."""


duckdb_file.register()
