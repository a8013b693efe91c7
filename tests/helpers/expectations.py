"""What the tests of the whole source share: configurations to load, and how tables and failures have to look."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dlt
import orjson
import pytest
from dlt.common.pipeline import LoadInfo
from dlt.pipeline.exceptions import PipelineStepFailed

from supermetrics_connectors.exceptions import SupermetricsError
from supermetrics_loader.sandbox import Sandbox

TEAM, OTHER = 936506, 941277

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


def failure(run: Callable[..., Any], *args: Any, **settings: Any) -> SupermetricsError:
    """The source's own error behind the failed step of dlt."""
    with pytest.raises(PipelineStepFailed) as failed:
        run(*args, **settings)
    error: BaseException | None = failed.value
    while error is not None and not isinstance(error, SupermetricsError):
        error = error.__cause__ or error.__context__
    assert error is not None, failed.value
    assert str(error) in str(failed.value), "dlt's own text does not tell the cause"
    return error


def traced(pipeline: dlt.Pipeline) -> list[Any]:
    """What dlt's trace of the last run has about errors of the source."""
    assert pipeline.last_trace is not None
    traces = [trace for step in pipeline.last_trace.steps for trace in step.exception_traces or []]
    return [trace for trace in traces if "Supermetrics" in trace["exception_type"]]


def assert_tables_equal_the_api(sandbox: Sandbox, rows: Rows) -> None:
    """Every connector and every configuration of the sandbox once, and no other."""
    listed = [(team, connector) for team in sandbox.team_ids for connector in sandbox.connectors(team)]
    assert rows("connectors", "team_id", "connector_identifier", "name") == sorted(
        (team, connector["connector_identifier"], connector["name"]) for team, connector in listed
    )
    current = rows(
        "connector_configurations",
        *("team_id", "connector_identifier", "version", "configuration_json::varchar"),
        where="_dlt_valid_to is null",
    )
    configured = [(team, c["connector_identifier"], c["configuration"]) for team, c in listed if c.get("configuration")]
    assert [(team, name, version, orjson.loads(text)) for team, name, version, text in current] == sorted(
        (team, name, held["version"], held["configuration_json"]) for team, name, held in configured
    )
