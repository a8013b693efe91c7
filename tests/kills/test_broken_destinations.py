"""A destination that fails in the middle of a load: the run reports it, and the next good one corrects the tables."""

from __future__ import annotations

import resource
import secrets
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from dlt.common.runtime.collector import NullCollector

from supermetrics_connectors import supermetrics_source
from supermetrics_connectors.specs import CONNECTORS
from supermetrics_connectors.tables.destinations.reader import Reader
from supermetrics_connectors.tables.target import Target
from supermetrics_loader.run.load import LoadFailedError
from tests.helpers.destinations import Place, destination_at
from tests.helpers.expectations import OTHER, TEAM, configuration
from tests.helpers.sandbox import Sandbox
from tests.helpers.warehouse import listed_configurations, listed_connectors

# dlt's own use of deltalake and of PostgreSQL's driver warns; this project's code is held to silence by other tests
pytestmark = pytest.mark.filterwarnings("default")

Breakage = Callable[["Customer"], AbstractContextManager[None]]


class Customer:
    """Two teams, loaded once and changed since."""

    def __init__(self, sandbox: Sandbox, place: Place) -> None:
        self.sandbox, self.place, self.dataset = sandbox, place, f"broken_{uuid.uuid4().hex}"
        for team in (TEAM, OTHER):
            for name in "ABC":
                sandbox.add_connector(team, name, configuration=configuration(name=name))
        self.load()
        sandbox.edit_connector(TEAM, "A", name="edited", configuration=configuration(edited=True))
        sandbox.delete_connector(TEAM, "B")
        # incompressible, and so the one large file of the load
        sandbox.add_connector(OTHER, "NEW", name="refused", configuration=configuration(new=secrets.token_hex(100_000)))

    def load(self, progress: Any = None) -> None:
        """Loads with an empty working folder."""
        pipeline = self.place.pipeline(dataset=self.dataset)
        pipeline.collector = progress or pipeline.collector
        self.place.load(self.sandbox, on=pipeline)

    def sql(self, *statements: str) -> None:
        """Executes statements in PostgreSQL, with the dataset as the first schema."""
        with self.place.pipeline(dataset=self.dataset).sql_client() as client:
            client.execute_sql(f"SET search_path TO {self.dataset}, public")
            for statement in statements:
                client.execute_sql(statement)

    def syncs(self) -> list[tuple[str, str]]:
        """Status and error of the rows that the last run wrote into `team_syncs`."""
        rows = sorted(self.place.rows("team_syncs", self.dataset), key=lambda row: row["started_at"])
        return [(row["status"], row["error_message"] or "") for row in rows[2:]]

    def assert_right(self) -> None:
        """The tables equal the API's listings, and each change appears once."""
        warehouse = self.place.copied(self.place.folder / "copy.duckdb", self.dataset)
        for team in (TEAM, OTHER):
            assert warehouse.connectors(team) == listed_connectors(self.sandbox, team)
            assert warehouse.configurations(team) == listed_configurations(self.sandbox, team)
        assert (warehouse.doubled(), warehouse.overlapping_versions()) == ({}, [])
        changes = [row for row in self.place.rows("connector_changes", self.dataset) if not row["baseline"]]
        assert sorted((row["connector_identifier"], row["change"]) for row in changes) == [
            ("A", "configuration_changed"),
            ("A", "updated"),
            ("B", "removed"),
            ("NEW", "added"),
        ]


@pytest.fixture
def postgres(sandbox: Sandbox, tmp_path: Path, postgres_url: str) -> Customer:
    """In PostgreSQL."""
    return Customer(sandbox, Place("postgres", lambda: destination_at(postgres_url), tmp_path, uri=postgres_url))


@pytest.fixture
def delta(sandbox: Sandbox, tmp_path: Path) -> Customer:
    """In Delta tables."""
    uri = f"file:{tmp_path / 'lake'}"
    return Customer(sandbox, Place("delta", lambda: destination_at(uri), tmp_path, {"table_format": "delta"}, uri))


@contextmanager
def a_trigger(customer: Customer, table: str, code: str) -> Iterator[None]:
    """Makes PostgreSQL execute code before each new row of a table."""
    function = f"CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {code}; RETURN NEW; END $$"
    trigger = f"CREATE TRIGGER broken BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION broken()"
    customer.sql("CREATE SEQUENCE times", function, trigger)
    yield
    customer.sql(f"DROP TRIGGER broken ON {table}")


HANG_UP = """
  PERFORM pg_terminate_backend(pid) FROM pg_stat_activity
  WHERE usename = current_user AND backend_type = 'client backend' AND pid <> pg_backend_pid();
  PERFORM pg_terminate_backend(pg_backend_pid())
"""
"""Every connection to the server is dropped, and at last its own."""


@pytest.mark.parametrize("table", ["connectors", "connector_configurations"])
def test_postgres_refuses_one_table(postgres: Customer, table: str) -> None:
    """`team_syncs` has the reason."""
    with a_trigger(postgres, table, "RAISE EXCEPTION 'refused one value' USING ERRCODE = 'check_violation'"):
        with pytest.raises(LoadFailedError, match="CheckViolation 23514: refused one value"):
            postgres.load()
        assert [(status, "refused one value" in error) for status, error in postgres.syncs()] == [("failed", True)] * 2
    postgres.load()
    postgres.assert_right()


def test_postgres_drops_every_connection(postgres: Customer, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle of a merge, at every attempt."""
    monkeypatch.setenv("LOAD__RAISE_ON_MAX_RETRIES", "1")
    with a_trigger(postgres, "connector_versions", HANG_UP):
        with pytest.raises(LoadFailedError) as failed:
            postgres.load()
        assert failed.value.step == "load"
        assert [(status, "closed the connection" in error) for status, error in postgres.syncs()] == [
            ("failed", True)
        ] * 2
    postgres.load()
    postgres.assert_right()


def test_postgres_drops_every_connection_once(postgres: Customer) -> None:
    """The second attempt of the same run succeeds."""
    with a_trigger(
        postgres, "connector_versions", f"IF nextval('{postgres.dataset}.times') = 1 THEN {HANG_UP}; END IF"
    ):
        postgres.load()
        assert [status for status, _ in postgres.syncs()] == ["ok"] * 2
    postgres.assert_right()


def test_postgres_drops_the_connection_between_two_reads(postgres: Customer) -> None:
    """The query runs again over another connection."""
    pipeline = postgres.place.pipeline(dataset=postgres.dataset)
    schema = supermetrics_source([TEAM], postgres.sandbox.token).schema
    reader = Reader(Target(pipeline, schema, {}))
    with reader.connected() as client:
        before = list(reader.rows(CONNECTORS, CONNECTORS.key, [TEAM, OTHER]))
        ((process,),) = client.sql_client.execute_sql("SELECT pg_backend_pid()")
        postgres.sql(f"SELECT pg_terminate_backend({process})")
        for _ in range(2):
            assert list(reader.rows(CONNECTORS, CONNECTORS.key, [TEAM, OTHER])) == before != []


def test_a_delta_table_refuses_rows(delta: Customer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A constraint of the user fails the load, and `team_syncs` says so."""
    monkeypatch.setenv("LOAD__RAISE_ON_MAX_RETRIES", "1")
    path = delta.place.folder / "lake" / delta.dataset / "connector_versions"
    DeltaTable(path).alter.add_constraint({"not_this_one": "name <> 'refused'"})
    with pytest.raises(LoadFailedError) as failed:
        delta.load()
    assert failed.value.step == "load"
    assert [(status, "Invalid data found" in error) for status, error in delta.syncs()] == [("failed", True)] * 2
    DeltaTable(path).alter.drop_constraint("not_this_one")
    delta.load()
    delta.assert_right()


class NoSpace(NullCollector):
    """Limits the size of files when dlt begins to load."""

    def _start(self, step: str) -> None:
        if step.startswith("Load"):
            resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def test_delta_tables_run_out_of_space(delta: Customer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small files can be written, a large file cannot."""
    monkeypatch.setenv("LOAD__RAISE_ON_MAX_RETRIES", "1")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(LoadFailedError) as failed:
            delta.load(progress=NoSpace())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert failed.value.step == "load"
    assert [(status, "File too large" in error) for status, error in delta.syncs()] == [("failed", True)] * 2
    delta.load()
    delta.assert_right()
