"""Locks of PostgreSQL: one run at a time per team, also for a role whose statements and sessions are limited."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
import pytest

from supermetrics_connectors.interface import choose_strategy
from supermetrics_loader.cli.main import run
from supermetrics_loader.run import locks
from supermetrics_loader.run.pipeline import make_pipeline
from tests.helpers.commands import SCRIPT, Command, running, wait_until
from tests.helpers.expectations import OTHER, TEAM
from tests.helpers.sandbox import Sandbox

DATASET = "locks"
LOAD = ["load", "--destination", "postgres", "--dataset", DATASET]

Execute = Callable[[str], list[tuple[Any, ...]]]


@pytest.fixture
def execute(postgres_url: str, api: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Execute]:
    """Runs statements as the owner of the server; loads run as a role with short limits."""
    assert api.team_ids == [TEAM, OTHER]
    connection = psycopg2.connect(postgres_url)
    connection.autocommit = True

    def run_statement(sql: str) -> list[tuple[Any, ...]]:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else []

    run_statement("create role limited login superuser password 'x'")
    for limit in ("statement_timeout", "idle_session_timeout"):
        run_statement(f"alter role limited set {limit} = '1s'")
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", postgres_url.replace("postgres:x@", "limited:x@"))
    yield run_statement
    run_statement("drop owned by limited cascade; drop role limited")
    connection.close()


def rows(execute: Execute) -> list[tuple[Any, ...]]:
    """The syncs in the order of their times."""
    return execute(f"select team_id, status, connectors_changed from {DATASET}.team_syncs order by started_at, team_id")


def test_a_second_run_of_a_team_waits_for_the_first_longer_than_the_limits_of_its_role(
    api: Sandbox, execute: Execute
) -> None:
    """The connection with the locks waits and idles by design, and lifts both limits for itself."""
    api.latency = 3.0
    with running(SCRIPT, *LOAD) as first:
        wait_until(lambda: bool(api.requests))
        assert run([*LOAD, "--pipeline-name", "second"]) == 0
        first.communicate(timeout=60)
        assert first.returncode == 0
    assert [(team_id, changed) for team_id, _, changed in rows(execute)] == [
        (TEAM, 1),
        (OTHER, 1),
        (TEAM, 0),
        (OTHER, 0),
    ]


def test_a_run_whose_locks_were_lost_writes_nothing(
    api: Sandbox, execute: Execute, cli: Command, caplog: pytest.LogCaptureFixture
) -> None:
    """A server, a pooler or an administrator may end the connection while the API responds."""
    assert cli(*LOAD).code == 0
    before = rows(execute)
    api.edit_connector(TEAM, "A", name="edited")
    api.latency = 1.0
    seen = len(api.requests)

    def end_connection() -> None:
        wait_until(lambda: len(api.requests) > seen)
        execute("select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory'")

    thread = threading.Thread(target=end_connection)
    thread.start()
    outcome = cli(*LOAD)
    thread.join()
    assert outcome.code == 1
    assert outcome.err.startswith("Error: The connection that held the locks of these teams was lost during the run")
    assert "Nothing was written. Run again" in outcome.err
    assert rows(execute) == before
    assert execute(f"select count(*) from {DATASET}.connectors where name = 'edited'") == [(0,)]
    api.latency = 0.0
    caplog.clear()
    assert cli(*LOAD).code == 0
    assert execute(f"select count(*) from {DATASET}.connectors where name = 'edited'") == [(1,)]


def test_a_run_gives_up_waiting_and_names_the_dataset(
    api: Sandbox, execute: Execute, cli: Command, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Other teams are not locked. More teams than locks share the lock of the pipeline, with a warning."""
    assert execute("select 1")
    other = make_pipeline("other", "postgres", DATASET)
    with other.sql_client() as client:
        held = choose_strategy(other.destination, None).locks(client)
        with locks.team_locks(held, other, [TEAM]):
            monkeypatch.setattr(locks, "LOCK_TIMEOUT", 1)
            assert cli(*LOAD, "--team", str(OTHER)).code == 0
            outcome = cli(*LOAD)
            assert outcome.code == 1
            assert outcome.err == (
                f"Error: Another run loads the same teams into {DATASET} and has not ended in 1 s. Wait until that run "
                "ends; if it hangs, end it: its locks end with it.\n"
            )
            assert len(api.requests) == 1
            monkeypatch.setattr(locks, "MAX_LOCKS", 1)
            caplog.clear()
            assert cli(*LOAD).code == 0
    assert "2 teams are too many for a lock each: do not run two loads of them at once" in caplog.messages


def test_a_failed_connection_is_reported_whole(cli: Command, execute: Execute, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's reason contains no row, and the person needs the user or the host."""
    [(url,)] = execute("select current_setting('unix_socket_directories')")
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", f"postgresql://nobody:x@localhost/postgres?host={url}")
    outcome = cli(*LOAD)
    assert outcome.code == 1
    assert 'FATAL:  role "nobody" does not exist' in outcome.err
