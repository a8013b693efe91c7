"""Collations and errors of MySQL and MariaDB."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from supermetrics_loader.read.dataset import open_dataset
from supermetrics_loader.read.errors import ReadError
from supermetrics_loader.read.sql import run_query
from supermetrics_loader.run.failures import describe
from supermetrics_loader.run.load import LoadFailedError
from tests.helpers.destinations import Place, destination_at
from tests.helpers.expectations import TEAM, configuration
from tests.helpers.sandbox import Sandbox

pytestmark = pytest.mark.filterwarnings("default")  # dlt's own use of the drivers warns


@pytest.fixture
def place(mariadb_url: str, tmp_path: Path) -> Iterator[Place]:
    """A dataset in MariaDB, dropped afterwards."""
    place = Place("mariadb", lambda: destination_at(mariadb_url), tmp_path)
    yield place
    execute(place, "DROP DATABASE supermetrics", "DROP DATABASE IF EXISTS supermetrics_staging_suite")


def execute(place: Place, *statements: str) -> None:
    """Runs statements as they are."""
    with place.pipeline().sql_client() as client:
        for statement in statements:
            client.execute_sql(statement)


def test_tables_with_a_case_insensitive_collation_are_refused(place: Place, sandbox: Sandbox) -> None:
    """Tables that dlt's own types created are refused until the statement in the message has converted them."""
    sandbox.add_connector(TEAM, "A", configuration=configuration(a=1))
    place.load(sandbox)
    tables = ("connectors", "connector_versions", "connector_configurations")
    convert = "ALTER TABLE `supermetrics`.`{}` CONVERT TO CHARACTER SET utf8mb4 COLLATE {}"
    execute(place, *(convert.format(table, "utf8mb4_general_ci") for table in tables))
    before = len(sandbox.requests)
    with pytest.raises(LoadFailedError) as refused:
        place.load(sandbox)
    repair = "; ".join(convert.format(table, "utf8mb4_bin") for table in sorted(tables))
    assert describe(refused.value).startswith(
        "`supermetrics`.`connector_configurations` has a collation for which "
        "identifiers that differ only in case are equal, so that a connector would be lost. "
        f"Convert the tables with: {repair}."
    )
    assert len(sandbox.requests) == before
    execute(place, *repair.split("; "))
    sandbox.add_connector(TEAM, "a")
    place.load(sandbox)
    assert sorted(row["connector_identifier"] for row in place.rows("connectors")) == ["A", "a"]


def test_the_reported_cause_is_the_server_s_message(
    place: Place, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the message of a library that wraps it."""
    monkeypatch.setenv("LOAD__RAISE_ON_MAX_RETRIES", "1")
    sandbox.add_connector(TEAM, "A")
    place.load(sandbox)
    execute(place, "ALTER TABLE supermetrics.connectors MODIFY name VARCHAR(20)")
    execute(place, "ALTER TABLE supermetrics_staging_suite.connectors MODIFY name VARCHAR(20)")
    sandbox.edit_connector(TEAM, "A", name="longer than twenty characters")
    with pytest.raises(LoadFailedError) as failed:
        place.load(sandbox)
    assert describe(failed.value) == "DataError 1406: Data too long for column 'name' at row …"
    (sync,) = [row for row in place.rows("team_syncs") if row["status"] == "failed"]
    assert "Data too long for column 'name'" in sync["error_message"]


@pytest.mark.parametrize(
    "query",
    [
        "select 1 into outfile '{}'",
        "select 1 /*!50000 into outfile '{}' */",
        "select 1 into /*M!100000 dumpfile */ '{}'",
        "select 1 --1 into outfile '{}'",
        "select 1; drop table connectors",
        "with one as (select 1) delete from connectors",
    ],
)
def test_a_query_writes_no_table_and_no_file(place: Place, sandbox: Sandbox, tmp_path: Path, query: str) -> None:
    """The server writes files in a read-only transaction, and executes what elsewhere is a comment."""
    sandbox.add_connector(TEAM, "A")
    place.load(sandbox)
    file = tmp_path / "written.csv"
    with open_dataset(place.destination(), "supermetrics") as data:
        with pytest.raises(ReadError):
            run_query(data, query.format(file))
        assert not file.exists()
        query = "select count(*) --1, '/*! x */' from connectors -- into outfile"
        assert [tuple(row) for row in run_query(data, query).rows] == [(2, "/*! x */")]
