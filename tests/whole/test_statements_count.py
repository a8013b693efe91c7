"""How many statements a run in which nothing changed sends: on a warehouse, each takes up to a second."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pytest

from supermetrics_connectors import supermetrics_source
from supermetrics_loader.run.load import run_load
from supermetrics_loader.run.targets import make_pipeline
from supermetrics_loader.sandbox import Sandbox

FILE = "supermetrics_connectors.duckdb"
TEAMS = list(range(1, 51))

# the driver's own: settings of a connection, and what DuckDB logs after it has given out Arrow, which is empty
_OF_THE_DRIVER = ("SET ", "PRAGMA ", "SELECT current_database()")


def _by_the_loader(settings: dict[str, Any]) -> None:
    run_load(make_pipeline("supermetrics"), **settings)


def _by_a_users_own_pipeline(settings: dict[str, Any]) -> None:
    pipeline = dlt.pipeline("own", destination=dlt.destinations.duckdb(FILE), dataset_name="supermetrics")
    pipeline.run(supermetrics_source(**settings))


@pytest.mark.parametrize(("load", "most"), [(_by_the_loader, 13), (_by_a_users_own_pipeline, 16)])
def test_run_without_a_change_sends_as_many_statements_for_fifty_teams_as_for_one(
    sandbox: Sandbox, load: Callable[[dict[str, Any]], None], most: int
) -> None:
    """More of them would be hours a year; fewer are welcome, and are written down here and in docs/reliability.md."""
    for team_id in TEAMS:
        sandbox.add_connector(team_id, "A")
    given = {"api_key": sandbox.token, "base_url": sandbox.url, "include_configs": True}
    load({**given, "team_ids": TEAMS})
    with _noted(Path(FILE)) as statements:
        load({**given, "team_ids": TEAMS[:1]})
        of_one = statements()
        load({**given, "team_ids": TEAMS})
        of_fifty = statements()
    assert len(of_one) == most, of_one
    assert len(of_fifty) == most, of_fifty


@contextmanager
def _noted(file: Path) -> Iterator[Callable[[], list[str]]]:
    """Has DuckDB note what is sent to it in this process; gives out what was noted since the last call."""
    with duckdb.connect(str(file)) as connection:
        connection.execute("CALL enable_logging('QueryLog')")

        def statements() -> list[str]:
            query = "SELECT message FROM duckdb_logs WHERE type = 'QueryLog' ORDER BY timestamp"
            noted = [str(message).strip() for (message,) in connection.execute(query).fetchall()]
            connection.execute("CALL truncate_duckdb_logs()")
            own = (query, "CALL truncate_duckdb_logs()")
            return [sql for sql in noted if sql and not sql.startswith((*_OF_THE_DRIVER, *own))]

        yield statements
