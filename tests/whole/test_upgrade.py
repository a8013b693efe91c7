"""A dataset written by an earlier release loads on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dlt
import duckdb
import pytest

from supermetrics_loader.run.load import run_load
from supermetrics_loader.sandbox import Sandbox

RELEASES = sorted((Path(__file__).parents[1] / "data").glob("release_*"))


def test_there_is_a_dataset_of_a_release() -> None:
    """Or the tests below would pass by not running."""
    assert RELEASES


@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.name)
def test_a_dataset_of_an_earlier_release_loads_on(release: Path, tmp_path: Path, sandbox: Sandbox) -> None:
    """What changed is written, what did not is known to be there, history is kept."""
    file = tmp_path / "warehouse.duckdb"
    with duckdb.connect(str(file)) as connection:
        for name in ("schema.sql", "load.sql"):
            text = (release / name).read_text(encoding="utf-8").replace("@FOLDER@", str(release))
            connection.execute(text)
    definition = {
        "version": "1.0.0",
        "configuration_json": {"a": 1},
        "created_at": "2025-01-01",
        "updated_at": "2025-01-01",
    }
    clocks: dict[str, Any] = {"created_at": "2025-01-01", "updated_at": "2025-01-01"}
    sandbox.add_connector(
        1, "A", configuration={**definition, "configuration_json": {"a": 3}, "version": "2"}, **clocks
    )
    sandbox.add_connector(1, "B", configuration=definition, extra="a field of the future", **clocks)
    sandbox.add_connector(2, "E", **clocks)
    pipeline = dlt.pipeline(
        "supermetrics",
        destination=dlt.destinations.duckdb(str(file)),
        dataset_name="supermetrics",
        pipelines_dir=str(tmp_path / "pipelines"),
    )
    result = run_load(pipeline, team_ids=[1, 2], api_key=sandbox.token, base_url=sandbox.url, include_configs=True)
    counted = {row["team_id"]: (row["connectors_changed"], row["configurations_changed"]) for row in result.teams}
    assert counted == {1: (0, 1), 2: (1, 0)}
    with duckdb.connect(str(file)) as connection:
        rows = connection.execute("from supermetrics.connectors select team_id, connector_identifier order by all")
        assert rows.fetchall() == [(1, "A"), (1, "B"), (2, "E")]
        versions = connection.execute(
            "select connector_identifier, configuration_json->>'a', _dlt_valid_to is null"
            " from supermetrics.connector_configurations order by 1, 2"
        )
        assert versions.fetchall() == [("A", "1", False), ("A", "2", False), ("A", "3", True), ("B", "1", True)]
