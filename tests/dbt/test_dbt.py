"""The dbt project on a loaded file: it builds, its tests find errors, and its descriptions are those of the source."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest

from supermetrics_connectors.specs import TABLES
from supermetrics_loader.run.load import run_load
from supermetrics_loader.run.pipeline import make_pipeline
from tests.helpers.expectations import OTHER, TEAM, configuration
from tests.helpers.sandbox import Sandbox

PROJECT = Path(__file__).resolve().parents[2] / "dbt"
PROGRAM = str(Path(sys.executable).parent / "dbt")
MODELS = sorted(path.stem for path in PROJECT.glob("models/**/*.sql"))

REQUEST = {"url": "https://{{user.market}}.shop.example.com:8443/v1/orders"}
DOCUMENTED = {
    "authentication": {"type": "user_input", "userInputs": [{"id": "market"}, {"id": "api_key"}]},
    "accounts": {"fetchers": [{"request": {"url": "//me@accounts.example.com"}}, {"request": REQUEST}]},
    "reporting": {
        "reportTypes": [
            {"id": "orders", "request": REQUEST, "fields": [{"id": "day"}, {"id": "revenue"}]},
            {"id": "shops", "request": {"url": "{{account.url}}/shops"}, "fields": [{"id": "shop"}]},
        ]
    },
    "secrets": {
        "items": [
            {"id": "api_key", "classification": "secret", "source": "userInput", "value": "api_key"},
            {"id": "region", "classification": "public", "source": "static", "value": "north"},
            {"id": "typed", "classification": "secret", "source": "static", "value": "hunter2hunter2"},
            {"id": "unclassified", "source": "static"},
        ]
    },
}
MISTYPED = {
    "authentication": {"type": 7, "userInputs": {"id": "market"}},
    "accounts": {"fetchers": [{"request": {"url": ["https://list.example.com"]}}, "fetcher"]},
    "reporting": {"reportTypes": [{"fields": {"id": "day"}}, None]},
    "secrets": {"items": "none"},
}
FACTS = f"""
    select connector_identifier, versions, authentication_type, hosts, report_types, fields, user_inputs,
        secrets::varchar, static_secrets
    from supermetrics_dbt.supermetrics__connector_overview
    where team_id = {OTHER} and connector_identifier <> 'WHS44'
    order by 1
"""
COMPLETE = "select count(*) from supermetrics_dbt.stg_supermetrics__team_syncs where is_complete"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DuckDB file after a first load, three loads with changes, and `dbt build`, which passes."""
    file = tmp_path_factory.mktemp("dbt") / "warehouse.duckdb"
    with pytest.MonkeyPatch.context() as patch, Sandbox() as sandbox:
        for name, value in {
            "DLT_DATA_DIR": str(file.parent / "dlt"),
            "RUNTIME__DLTHUB_TELEMETRY": "false",
            "SUPERMETRICS_API_KEY": sandbox.token,
            "SOURCES__SUPERMETRICS__BASE_URL": sandbox.url,
            "DESTINATION__DUCKDB__CREDENTIALS": str(file),
        }.items():
            patch.setenv(name, value)

        def load() -> None:
            selected: dict[str, Any] = {"include_configs": True, "include_teams": True, "include_logs": True}
            run_load(make_pipeline("dbt"), team_ids=sandbox.team_ids, **selected)

        load()
        sandbox.add_connector(OTHER, "SHOP", configuration=configuration(**DOCUMENTED))
        sandbox.add_connector(OTHER, "ODD", configuration=configuration(**MISTYPED))
        sandbox.add_connector(OTHER, "EMPTY", configuration=configuration())
        sandbox.add_connector(OTHER, "NONE")
        for name in ("edited", "edited again"):
            sandbox.edit_connector(TEAM, "T3S70", name=name)
            sandbox.edit_configuration(TEAM, "K8W21", {"name": name})
            load()
        sandbox.delete_connector(OTHER, "LYL09")
        load()
    code, nodes = dbt(file, "build")
    assert (code, set(nodes.values())) == (0, {"success", "pass"}), nodes
    assert nodes.keys() >= set(MODELS)
    shutil.copy(file, file.with_suffix(".built"))
    return file


@pytest.fixture
def file(built: Path) -> Path:
    """The built file, in which the test may change everything. Its path stays, so dbt parses the project once."""
    shutil.copy(built.with_suffix(".built"), built)
    return built


def dbt(file: Path, *arguments: str) -> tuple[int, dict[str, str]]:
    """Runs dbt on the file; its exit code, and the status of every node."""
    target = file.parent / "target"
    folders = ("--project-dir", PROJECT, "--profiles-dir", PROJECT, "--target-path", target, "--log-path", target)
    done = subprocess.run(  # noqa: S603 - the tests make up the commands themselves
        [PROGRAM, *arguments, *folders],
        env={**os.environ, "SUPERMETRICS_DUCKDB": str(file)},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert "Traceback" not in done.stdout + done.stderr
    results = target / ("sources.json" if "freshness" in arguments else "run_results.json")
    nodes: list[dict[str, Any]] = json.loads(results.read_text())["results"]
    return done.returncode, {node["unique_id"].split(".")[2]: node["status"] for node in nodes}


def query(file: Path, *statements: str) -> list[tuple[Any, ...]]:
    """Runs statements on the file; the rows of the last one."""
    with duckdb.connect(str(file)) as connection:
        connection.execute("set schema = 'supermetrics'")
        for statement in statements:
            rows = connection.execute(statement).fetchall()
    return rows


def test_models_hold_the_rows_of_the_tables(file: Path) -> None:
    """Histories keep the versions that ended."""
    counts = [
        query(file, f"select count(*) from supermetrics_dbt.{condition}")[0][0]
        for condition in (
            "stg_supermetrics__connectors",
            "supermetrics__connector_overview",
            "stg_supermetrics__current_configurations",
            "stg_supermetrics__connector_versions where is_current",
            "stg_supermetrics__connector_versions where not is_current",
        )
    ]
    assert counts == [10, 10, 8, 10, 3]


def test_descriptions_are_those_of_the_source(file: Path) -> None:
    """The schema, the documents and dbt share one text."""
    manifest = json.loads((file.parent / "target" / "manifest.json").read_text())
    sources = {source["name"]: source for source in manifest["sources"].values()}

    assert set(sources) == {*TABLES, "connector_changes", "_dlt_loads"}
    for name, table in TABLES.items():
        assert sources[name]["description"] == table.description
        described = {column["name"]: column["description"] for column in sources[name]["columns"].values()}
        assert described == {column.name: column.description for column in table.columns}


def test_the_overview_distinguishes_absent_from_unknown(file: Path) -> None:
    """Members that are missing or have another type count as absent; without a configuration the facts are null."""
    facts = {row[0]: row[1:] for row in query(file, FACTS)}

    secrets = json.loads(facts["SHOP"][6])
    assert secrets == {"static public": 1, "static secret": 1, "static unknown": 1, "userInput secret": 1}
    hosts = ["accounts.example.com", "{{account.url}}", "{{user.market}}.shop.example.com"]
    assert facts == {
        "EMPTY": (1, None, [], 0, 0, [], "{}", 0),
        "NONE": (None,) * 8,
        "ODD": (1, None, [], 2, 0, [], "{}", 0),
        "SHOP": (1, "user_input", hosts, 2, 3, ["api_key", "market"], facts["SHOP"][6], 1),
    }


def test_the_overview_joins_edits_syncs_and_optional_tables(file: Path) -> None:
    """The last edit is the later one: a configuration has a clock of its own."""
    assert query(
        file,
        f"""
        select connector_identifier, last_edited_at = updated_at, versions, team_name,
            error_rate between 0 and 1, last_complete_sync_at =
                (select max(started_at) from team_syncs where team_syncs.team_id = connectors.team_id)
        from supermetrics_dbt.supermetrics__connector_overview join connectors using (team_id, connector_identifier)
        where team_id = {TEAM} and connector_identifier in ('T3S70', 'K8W21')
        order by 1
        """,
    ) == [
        ("K8W21", False, 3, "Nordic Marketing", True, True),
        ("T3S70", True, 1, "Nordic Marketing", True, True),
    ]


def test_a_sync_is_complete_when_its_load_is(file: Path) -> None:
    """A killed run leaves `ok` rows of a load that dlt has not recorded. If dlt's table is empty, rows count."""
    last_load = "(select max(load_id) from _dlt_loads)"
    assert query(file, COMPLETE) == [(12,)]
    assert query(file, f"delete from _dlt_loads where load_id = {last_load}", COMPLETE) == [(9,)]
    assert query(file, f"update _dlt_loads set status = 1 where load_id = {last_load}", COMPLETE) == [(6,)]
    assert query(file, "delete from _dlt_loads", COMPLETE) == [(12,)]


def test_optional_tables_may_be_missing(file: Path) -> None:
    """So may dlt's table of loads."""
    facts = query(file, FACTS)
    query(file, *(f"drop table {name} cascade" for name in ("teams", "connector_logs", "_dlt_loads")))

    assert dbt(file, "run") == (0, dict.fromkeys(MODELS, "success"))

    assert query(file, FACTS) == facts
    assert query(file, COMPLETE) == [(12,)]
    columns = "count(*), count(team_name), count(last_error_at), count(error_rate)"
    assert query(file, f"select {columns} from supermetrics_dbt.supermetrics__connector_overview") == [(10, 0, 0, 0)]


def test_freshness_is_the_age_of_the_latest_complete_sync(file: Path) -> None:
    """Neither a failed run nor one that was killed counts; two days without a complete sync are an error."""
    assert dbt(file, "source", "freshness") == (0, {"supermetrics": "pass"})
    query(
        file,
        "update team_syncs set started_at = started_at - interval 3 day",
        "insert into team_syncs (team_id, started_at, status, _dlt_load_id)"
        " values (1, now(), 'failed', (select max(load_id) from _dlt_loads)), (2, now(), 'ok', 'killed')",
    )
    assert dbt(file, "source", "freshness") == (1, {"supermetrics": "error"})


def test_errors_in_the_tables_fail(file: Path) -> None:
    """A duplicated key, versions that overlap, and connectors older than the last listing."""
    query(
        file,
        "insert into connectors from connectors limit 1",
        "update connector_versions set _dlt_valid_to = null",
        "update connectors set updated_at = '2020-01-01'",
    )
    code, nodes = dbt(file, "test")
    assert code == 1
    assert {name for name, status in nodes.items() if status == "fail"} == {
        "connectors_reach_latest_updated_at",
        "one_current_version",
        "source_unique_together_supermetrics_connectors_team_id__connector_identifier",
        "unique_together_stg_supermetrics__connectors_team_id__connector_identifier",
        "versions_follow_each_other",
    }
