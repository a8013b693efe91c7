"""The file of a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dlt
import duckdb
import pytest
from dlt.common.configuration.specs import ConnectionStringCredentials
from dlt.destinations.impl.ducklake.configuration import DuckLakeCredentials
from dlt.destinations.impl.postgres.configuration import PostgresCredentials

from supermetrics_loader.run.pipeline import DATASET, database_file, named_dataset


def of_a_lake(catalog: str) -> Any:
    """Credentials of a DuckLake."""
    return DuckLakeCredentials("lake", catalog=ConnectionStringCredentials(catalog), storage="lake")


def of_sqlalchemy(url: str, dataset: str = DATASET) -> Any:
    """Credentials as dlt has resolved them."""
    return named_dataset(dlt.destinations.sqlalchemy(url), dataset).destination_client.config.credentials


@pytest.mark.parametrize(
    ("dataset", "file"),
    [(DATASET, "warehouse__supermetrics.sqlite"), ("other", "warehouse__other.sqlite"), ("main", "warehouse.sqlite")],
)
@pytest.mark.parametrize("dialect", ["sqlite", "sqlite+pysqlite"])
def test_sqlite_has_one_file_per_dataset(dialect: str, dataset: str, file: str, tmp_path: Path) -> None:
    """Except `main`, which is in the configured file."""
    credentials = of_sqlalchemy(f"{dialect}:///{tmp_path}/warehouse.sqlite", dataset)
    assert database_file(credentials, dataset) == tmp_path / file


def test_duckdb_has_one_file(tmp_path: Path) -> None:
    """For every dataset."""
    for dataset in (DATASET, "other"):
        client = named_dataset(dlt.destinations.duckdb(str(tmp_path / "warehouse.duckdb")), dataset).destination_client
        assert database_file(client.config.credentials, dataset) == tmp_path / "warehouse.duckdb"


@pytest.mark.parametrize("kind", ["sqlite", "duckdb"])
def test_a_lake_has_the_file_of_its_catalog(kind: str) -> None:
    """For every dataset, also in SQLite."""
    assert database_file(of_a_lake(f"{kind}:////there/catalog.db"), DATASET) == Path("/there/catalog.db")


def test_servers_and_memory_have_no_file() -> None:
    """Nor does a connection that somebody has opened."""
    assert database_file(of_a_lake("postgresql://loader:pass@localhost/catalog"), DATASET) is None
    assert database_file(PostgresCredentials("postgresql://loader:pass@localhost/warehouse"), DATASET) is None
    assert database_file(of_sqlalchemy("sqlite:///:memory:"), DATASET) is None
    with duckdb.connect() as connection:
        client = named_dataset(dlt.destinations.duckdb(connection), DATASET).destination_client
        assert database_file(client.config.credentials, DATASET) is None
    assert database_file(None, DATASET) is None
