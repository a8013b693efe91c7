"""The dbt project over a loaded file: it builds, its tests find what is wrong, and its texts are the contract's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest

from supermetrics_connectors.tables.contracts import CONTRACTS
from supermetrics_loader.cli.main import run
from supermetrics_loader.sandbox import Sandbox

PROJECT = Path(__file__).resolve().parents[2] / "dbt"
PROGRAM = str(Path(sys.executable).parent / "dbt")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a file in which every table has a past."""
    folder = tmp_path_factory.mktemp("dbt")
    with pytest.MonkeyPatch.context() as patch, Sandbox() as sandbox:
        patch.chdir(folder)
        patch.setenv("DLT_DATA_DIR", str(folder / "dlt"))
        patch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
        patch.setenv("SUPERMETRICS_API_KEY", sandbox.token)
        patch.setenv("SOURCES__SUPERMETRICS__BASE_URL", sandbox.url)
        patch.setenv("SOURCES__SUPERMETRICS__TEAM_IDS", str(sandbox.team_ids))
        for name in ("edited", "edited again"):
            assert run(["load", "--include-configs", "--quiet"]) == 0
            sandbox.edit_connector(936506, "T3S70", name=name)
            sandbox.edit_configuration(936506, "K8W21", {"name": name})
        sandbox.delete_connector(941277, "LYL09")
        assert run(["load", "--include-configs", "--quiet"]) == 0
    return folder


def dbt(folder: Path, *arguments: str) -> tuple[int, dict[str, str]]:
    """Runs dbt on the file: its exit code, and the status of every node."""
    done = subprocess.run(  # noqa: S603 - the tests make up the commands themselves
        [
            *(PROGRAM, *arguments, "--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT)),
            *("--target-path", str(folder / "target"), "--log-path", str(folder / "logs")),
        ],
        env={**os.environ, "SUPERMETRICS_DUCKDB": str(folder / "supermetrics_connectors.duckdb")},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert "Traceback" not in done.stdout + done.stderr
    results = folder / "target" / ("sources.json" if "freshness" in arguments else "run_results.json")
    nodes: list[dict[str, Any]] = json.loads(results.read_text())["results"]
    return done.returncode, {node["unique_id"].split(".")[2]: node["status"] for node in nodes}


def test_every_model_is_built_and_every_test_passes(folder: Path) -> None:
    """Over a first load and two with changes; the models hold what the tables hold."""
    code, nodes = dbt(folder, "build")
    assert (code, set(nodes.values())) == (0, {"success", "pass"})
    assert len([name for name in nodes if name.startswith("stg_")]) == 5
    with duckdb.connect(str(folder / "supermetrics_connectors.duckdb"), read_only=True) as connection:
        rows = connection.execute(
            "select (select count(*) from supermetrics_dbt.stg_supermetrics__connectors),"
            " (select count(*) from supermetrics_dbt.stg_supermetrics__current_configurations),"
            " (select count(*) from supermetrics_dbt.stg_supermetrics__connector_versions where is_current),"
            " (select count(*) from supermetrics_dbt.stg_supermetrics__connector_versions where not is_current)"
        ).fetchall()
    assert rows == [(6, 5, 6, 3)]


def test_columns_and_tables_are_described_as_in_the_contract(folder: Path) -> None:
    """One text for dlt's schema, the documents and dbt."""
    manifest = json.loads((folder / "target" / "manifest.json").read_text())
    sources = {source["name"]: source for source in manifest["sources"].values()}
    assert set(sources) == {*CONTRACTS, "connector_changes"}
    for name, contract in CONTRACTS.items():
        assert sources[name]["description"] == contract.about
        described = {column["name"]: column["description"] for column in sources[name]["columns"].values()}
        assert described == {column.name: column.about for column in contract.columns}


def test_freshness_is_that_of_the_newest_good_sync(folder: Path) -> None:
    """A failed one is no news; two days without a good one are an error."""
    assert dbt(folder, "source", "freshness") == (0, {"supermetrics": "pass"})
    with duckdb.connect(str(folder / "supermetrics_connectors.duckdb")) as connection:
        connection.execute("update supermetrics.team_syncs set started_at = started_at - interval 3 day")
        connection.execute(
            "insert into supermetrics.team_syncs (team_id, started_at, status, _dlt_load_id)"
            " values (1, now(), 'failed', '1')"
        )
    assert dbt(folder, "source", "freshness") == (1, {"supermetrics": "error"})


def test_what_is_wrong_with_the_tables_fails(folder: Path) -> None:
    """A key that is there twice, and versions that hold at the same time."""
    with duckdb.connect(str(folder / "supermetrics_connectors.duckdb")) as connection:
        connection.execute("insert into supermetrics.connectors from supermetrics.connectors limit 1")
        connection.execute("update supermetrics.connector_versions set _dlt_valid_to = null")
    code, nodes = dbt(folder, "test")
    assert code == 1
    assert {name for name, status in nodes.items() if status == "fail"} == {
        "one_current_version",
        "source_unique_together_supermetrics_connectors_team_id__connector_identifier",
        "unique_together_stg_supermetrics__connectors_team_id__connector_identifier",
        "versions_follow_each_other",
    }


def test_configurations_can_be_left_out(folder: Path) -> None:
    """As where `include_configs` is off, and there is no such table."""
    code, nodes = dbt(folder, "run", "--vars", "{supermetrics_configurations: false}")
    assert (code, len(nodes)) == (0, 3)
