"""The number of statements of a run, and of connections: on a warehouse, each takes up to a second."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import dlt
import duckdb
import psycopg2
import pytest

from supermetrics_connectors import supermetrics_source
from supermetrics_loader.run.load import run_load
from supermetrics_loader.run.pipeline import make_pipeline
from tests.helpers.expectations import configuration
from tests.helpers.sandbox import Sandbox

DATASET = "counted"
FILE = "supermetrics_connectors.duckdb"
TEAMS = list(range(1, 31))
FEW = TEAMS[:3]

# the driver's own: settings of a connection, and an empty text after each result in Arrow
_OF_THE_DRIVER = ("SET ", "PRAGMA ", "SELECT current_database()")

Load = Callable[..., None]


def load_by_command_line(destination: str, **settings: Any) -> None:
    """Loads as the command line does."""
    run_load(make_pipeline("supermetrics", destination, DATASET), **settings)


def load_by_own_pipeline(destination: str, **settings: Any) -> None:
    """Loads as a script of a user does."""
    target = dlt.destinations.duckdb(FILE) if destination == "duckdb" else dlt.destinations.postgres()
    dlt.pipeline("own", destination=target, dataset_name=DATASET).run(supermetrics_source(**settings))


@pytest.mark.parametrize(
    ("load", "expected"),
    [
        (load_by_command_line, {"nothing": (20, 5), "connector": (38, 9), "configuration": (32, 8)}),
        (load_by_own_pipeline, {"nothing": (17, 5), "connector": (35, 9), "configuration": (29, 8)}),
    ],
)
@pytest.mark.filterwarnings("default")  # dlt's own use of the driver warns
def test_run_sends_few_statements_over_few_connections_by_postgresqls_own_log(
    sandbox: Sandbox,
    load: Load,
    expected: dict[str, tuple[int, int]],
    postgres_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As few for thirty teams as for three."""
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", postgres_url)
    given = settings_of(sandbox)
    with logged_statements(postgres_url) as counts:
        load("postgres", **given, team_ids=TEAMS)
        counts()
        for name, teams in (("few", FEW), ("all", TEAMS)):
            sent = {}
            load("postgres", **given, team_ids=teams)
            sent["nothing"] = counts()
            sandbox.edit_connector(1, "A", name=name)
            load("postgres", **given, team_ids=teams)
            sent["connector"] = counts()
            sandbox.edit_configuration(1, "A", {"name": name})
            load("postgres", **given, team_ids=teams)
            sent["configuration"] = counts()
            assert sent == expected


@pytest.mark.parametrize(
    ("load", "unchanged", "changed"), [(load_by_command_line, 10, 26), (load_by_own_pipeline, 10, 23)]
)
def test_run_sends_as_many_statements_to_duckdb_for_thirty_teams_as_for_three(
    sandbox: Sandbox, load: Load, unchanged: int, changed: int
) -> None:
    """DuckDB counts no connections: one file is open."""
    given = settings_of(sandbox)
    load("duckdb", **given, team_ids=TEAMS)
    sandbox.edit_connector(1, "A", name="first")
    load("duckdb", **given, team_ids=TEAMS)  # creates the staging tables
    with recorded_statements(Path(FILE)) as statements:
        for name, teams in (("few", FEW), ("all", TEAMS)):
            load("duckdb", **given, team_ids=teams)
            sent = statements()
            assert len(sent) == unchanged, sent
            sandbox.edit_connector(1, "A", name=name)
            load("duckdb", **given, team_ids=teams)
            sent = statements()
            assert len(sent) == changed, sent


def settings_of(sandbox: Sandbox) -> dict[str, Any]:
    """The settings of every load, after a connector has been added to each team."""
    for team_id in TEAMS:
        sandbox.add_connector(team_id, "A", configuration=configuration(name="A"))
    return {"api_key": sandbox.token, "base_url": sandbox.url, "include_configs": True}


@contextmanager
def logged_statements(url: str) -> Iterator[Callable[[], tuple[int, int]]]:
    """Yields a function that returns the numbers of statements and connections since its last call.

    PostgreSQL sends each message to its log before it answers the client.
    """
    log = Path(parse_qs(urlsplit(url).query)["host"][0]) / "log"
    settings = {"log_statement": "all", "log_connections": "on"}
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        offset = 0

        def counts() -> tuple[int, int]:
            nonlocal offset
            text = log.read_text(errors="replace")
            new, offset = text[offset:], len(text)
            return new.count(" LOG:  statement: "), new.count(" LOG:  connection authorized: ")

        for name, value in settings.items():
            cursor.execute(f"ALTER SYSTEM SET {name} = '{value}'")
        cursor.execute("SELECT pg_reload_conf()")
        try:
            yield counts
        finally:
            for name in settings:
                cursor.execute(f"ALTER SYSTEM RESET {name}")
            cursor.execute("SELECT pg_reload_conf()")
            cursor.execute(f"DROP SCHEMA IF EXISTS {DATASET} CASCADE")


@contextmanager
def recorded_statements(file: Path) -> Iterator[Callable[[], list[str]]]:
    """Yields a function that returns the statements of this process since its last call."""
    with duckdb.connect(str(file)) as connection:
        connection.execute("CALL enable_logging('QueryLog')")

        def statements() -> list[str]:
            query = "SELECT message FROM duckdb_logs WHERE type = 'QueryLog' ORDER BY timestamp"
            messages = [str(message).strip() for (message,) in connection.execute(query).fetchall()]
            connection.execute("CALL truncate_duckdb_logs()")
            own = (query, "CALL truncate_duckdb_logs()")
            return [sql for sql in messages if sql and not sql.startswith((*_OF_THE_DRIVER, *own))]

        yield statements
