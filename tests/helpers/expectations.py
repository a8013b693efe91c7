"""What tests of the whole source share: configurations to load, and what tables and failures must look like."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dlt
import orjson
import pytest
from dlt.common.exceptions import TerminalException
from dlt.common.pipeline import LoadInfo
from dlt.pipeline.exceptions import PipelineStepFailed

from supermetrics_connectors import supermetrics_source
from supermetrics_connectors.exceptions import SupermetricsConfigurationError, SupermetricsError, causes
from tests.helpers.sandbox import Sandbox
from tests.helpers.warehouse import Warehouse

TEAM, OTHER = 936506, 941277
COMPARED = ("connectors", "connector_versions", "connector_configurations")
HISTORIES = COMPARED[1:]

Load = Callable[..., LoadInfo]
Query = Callable[[str], list[tuple[Any, ...]]]
Rows = Callable[..., list[tuple[Any, ...]]]
NewWorker = Callable[[], dlt.Pipeline]


def configuration(**definition: Any) -> dict[str, Any]:
    """A configuration in the API's wire shape with this definition."""
    return {
        "version": "1.0.0",
        "configuration_json": definition,
        "created_at": "2025-01-01",
        "updated_at": "2025-01-01T00:00:00+0000",
    }


def make_source(sandbox: Sandbox, *team_ids: int, **settings: Any) -> dlt.sources.DltSource:
    """A source of some teams of the sandbox, of all by default, with configurations; retries do not wait."""
    given: dict[str, Any] = {
        "team_ids": list(team_ids) or sandbox.team_ids,
        "api_key": sandbox.token,
        "base_url": sandbox.url,
        "include_configs": True,
        "request_backoff_factor": 0,
        **settings,
    }
    return supermetrics_source(**given)


def change(sandbox: Sandbox) -> Callable[[], None]:
    """Edits a connector and its configuration, deletes or restores another, adds or edits a third; returns the undo."""
    before = {team: sandbox.connectors(team) for team in sandbox.team_ids}
    names = {each["connector_identifier"]: each.get("name") for each in before[TEAM]}
    name = f"{names['A']}!"
    sandbox.edit_connector(TEAM, "A", name=name, configuration=configuration(name=name))
    if "B" in names:
        sandbox.delete_connector(TEAM, "B")
    else:
        sandbox.add_connector(TEAM, "B", name="Name B", configuration=configuration(name="B"))
    if "NEW" in names:
        sandbox.edit_connector(TEAM, "NEW", name=name)
    else:
        sandbox.add_connector(TEAM, "NEW", configuration=configuration(new=True))

    def undo() -> None:
        for team, connectors in before.items():
            sandbox.add_team(team, connectors)

    return undo


def failure(run: Callable[..., Any], *args: Any, **settings: Any) -> SupermetricsError:
    """The source's own error behind the failed step of dlt."""
    with pytest.raises(PipelineStepFailed) as failed:
        run(*args, **settings)
    return cause_of(failed.value)


def cause_of(failed: BaseException) -> SupermetricsError:
    """The source's own error behind an error of dlt, whose text has to show the cause."""
    error = next((cause for cause in causes(failed) if isinstance(cause, SupermetricsError)), None)
    assert error is not None, failed
    assert str(error) in str(failed), "dlt's own text does not show the cause"
    return error


@contextmanager
def refused(sandbox: Sandbox, match: str | None = None) -> Iterator[None]:
    """Expects that the block is refused before any request, and that no repetition helps."""
    requests = len(sandbox.requests)
    with pytest.raises(PipelineStepFailed, match=match) as failed:
        yield
    cause = cause_of(failed.value)
    assert isinstance(cause, SupermetricsConfigurationError)
    assert isinstance(cause, TerminalException)
    assert len(sandbox.requests) == requests


def traced(pipeline: dlt.Pipeline) -> list[Any]:
    """The errors of the source in dlt's trace of the last run."""
    assert pipeline.last_trace is not None
    traces = [trace for step in pipeline.last_trace.steps for trace in step.exception_traces or []]
    return [trace for trace in traces if "Supermetrics" in trace["exception_type"]]


def rows_of(warehouse: Warehouse, names: dict[str, str] | None = None) -> Rows:
    """Reads columns of a table, sorted: `rows("connectors", "team_id", "name")`.

    Args:
        warehouse: The file.
        names: Names of tables that differ.
    """

    def read(table: str, *columns: str, where: str = "true") -> list[tuple[Any, ...]]:
        name = (names or {}).get(table, table)
        found = warehouse.query(f"select {', '.join(columns)} from {name} where {where} order by all")
        return [tuple(row.values()) for row in found]

    return read


def assert_tables_equal_the_api(sandbox: Sandbox, rows: Rows) -> None:
    """Every connector, current version and current configuration of the sandbox is stored once, and no other."""
    listed = [(team, connector) for team in sandbox.team_ids for connector in sandbox.connectors(team)]
    columns = ("team_id", "connector_identifier", "name")
    expected = sorted((team, each["connector_identifier"], each.get("name")) for team, each in listed)
    assert rows("connectors", *columns) == expected
    assert rows("connector_versions", *columns, where="_dlt_valid_to is null") == expected
    current = rows(
        "connector_configurations",
        *("team_id", "connector_identifier", "version", "configuration_json::varchar"),
        where="_dlt_valid_to is null",
    )
    configured = [(team, c["connector_identifier"], c["configuration"]) for team, c in listed if c.get("configuration")]
    assert [(team, name, version, orjson.loads(text)) for team, name, version, text in current] == sorted(
        (team, name, each["version"], each["configuration_json"]) for team, name, each in configured
    )


def assert_right(sandbox: Sandbox, rows: Rows, database: Path) -> None:
    """The current rows are the API's, and no version ends before it begins."""
    assert_tables_equal_the_api(sandbox, rows)
    for table in HISTORIES:
        assert Warehouse(database).query(f"select * from {table} where _dlt_valid_to < _dlt_valid_from") == []
