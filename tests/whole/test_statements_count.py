"""The number of statements of an unchanged run: on a warehouse, each takes up to a second."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pytest

from supermetrics_connectors import supermetrics_source
from supermetrics_loader.run.load import run_load
from supermetrics_loader.run.pipeline import make_pipeline
from tests.helpers.sandbox import Sandbox

FILE = "supermetrics_connectors.duckdb"
TEAMS = list(range(1, 51))

# the driver's own: settings of a connection, and an empty text after each result in Arrow
_OF_THE_DRIVER = ("SET ", "PRAGMA ", "SELECT current_database()")


def load_by_command_line(settings: dict[str, Any]) -> None:
    """Loads as the command line does."""
    run_load(make_pipeline("supermetrics"), **settings)


def load_by_own_pipeline(settings: dict[str, Any]) -> None:
    """Loads as a script of a user does."""
    pipeline = dlt.pipeline("own", destination=dlt.destinations.duckdb(FILE), dataset_name="supermetrics")
    pipeline.run(supermetrics_source(**settings))


@pytest.mark.parametrize(("load", "most"), [(load_by_command_line, 11), (load_by_own_pipeline, 16)])
def test_run_without_a_change_sends_as_many_statements_for_fifty_teams_as_for_one(
    sandbox: Sandbox, load: Callable[[dict[str, Any]], None], most: int
) -> None:
    """The number is also in docs/reliability.md."""
    for team_id in TEAMS:
        sandbox.add_connector(team_id, "A")
    given = {"api_key": sandbox.token, "base_url": sandbox.url, "include_configs": True}
    load({**given, "team_ids": TEAMS})
    with recorded_statements(Path(FILE)) as statements:
        load({**given, "team_ids": TEAMS[:1]})
        of_one = statements()
        load({**given, "team_ids": TEAMS})
        of_fifty = statements()
    assert len(of_one) == most, of_one
    assert len(of_fifty) == most, of_fifty


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
