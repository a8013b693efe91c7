"""The DuckDB file: its name and format, the memory of its loads, and the connections to it."""

from __future__ import annotations

import base64
import json
import random
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pyarrow.parquet as pq
import pytest
from dlt.destinations.exceptions import (
    DatabaseTerminalException,
    DestinationConnectionError,
)

from supermetrics_connectors import supermetrics_source
from supermetrics_connectors.tables.items import MAX_ITEM_BYTES
from supermetrics_loader.cli.main import run
from supermetrics_loader.run import duckdb_file
from supermetrics_loader.run.pipeline import make_pipeline
from tests.helpers.expectations import TEAM, configuration
from tests.helpers.sandbox import Sandbox

DEFAULT = Path("supermetrics_connectors.duckdb")
MIB = 2**20


@pytest.fixture(autouse=True)
def _limit_of_a_new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lifted limit stays lifted for the process."""
    monkeypatch.setattr(duckdb_file._DuckDbFileSqlClient, "memory_limit_was_too_low", False)


@pytest.fixture
def api(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """The sandbox without teams."""
    settings = {
        "BASE_URL": sandbox.url,
        "API_KEY": sandbox.token,
        "INCLUDE_CONFIGS": "true",
        "REDACT_SECRETS": "false",  # redaction of megabytes takes long
        "REQUEST_BACKOFF_FACTOR": "0",
    }
    for name, value in settings.items():
        monkeypatch.setenv(f"SOURCES__SUPERMETRICS__{name}", value)
    return sandbox


def load(sandbox: Sandbox) -> int:
    """Loads every team; returns the exit code."""
    return run(["load", *(argument for team in sandbox.team_ids for argument in ("--team", str(team)))])


def query(sql: str, file: Path = DEFAULT) -> list[tuple[Any, ...]]:
    """Queries the file."""
    with duckdb.connect(str(file), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def incompressible(size: int, edition: int) -> Callable[[int], str]:
    """Texts without common parts."""

    def text(number: int) -> str:
        seeded = random.Random(f"{edition} {number}")  # noqa: S311 - the same texts in every run
        return base64.b64encode(seeded.randbytes(size * 3 // 4)).decode()

    return text


def fill(sandbox: Sandbox, teams: int, connectors: int, text: Callable[[int], str], fields: int = 0) -> None:
    """Adds connectors with such configurations and `fields` additional fields to the teams."""
    for team in range(1, teams + 1):
        sandbox.add_team(team)
        for number in range(connectors):
            added = {f"added_{each}": text(number * fields + each) for each in range(fields)}
            words = text(number)
            parts = [words[at : at + 1000] for at in range(0, len(words), 1000)]
            sandbox.add_connector(team, f"C{number}", configuration=configuration(parts=parts), **added)


# --- memory -----------------------------------------------------------------------------------------------------------

SHAPES = {
    "200 x 50 KB": (1, 200, 50_000, 0),
    "10 teams x 100 x 10 KB": (10, 100, 10_000, 0),
    "200 added fields": (1, 60, 50, 200),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_rows_of_any_size_are_loaded_and_changed(api: Sandbox, shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a limit that does not depend on the rows, or beyond the limit where one row is too large."""
    teams, connectors, size, fields = SHAPES[shape]
    monkeypatch.setattr(duckdb_file, "MEMORY_LIMIT", "48MiB")
    for edition in (1, 2):
        monkeypatch.setattr(duckdb_file._DuckDbFileSqlClient, "memory_limit_was_too_low", False)  # as in a new process
        fill(api, teams, connectors, incompressible(size, edition), fields)
        assert load(api) == 0
        counted = "select count(*), count(*) filter (_dlt_valid_to is null) from supermetrics.connector_configurations"
        assert query(counted) == [(teams * connectors * edition, teams * connectors)]


def test_a_limit_that_is_too_low_is_lifted(
    api: Sandbox, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A row larger than the limit is loaded, first and again, without a message."""
    monkeypatch.setattr(duckdb_file, "MEMORY_LIMIT", "24MiB")
    for edition in (1, 2):
        monkeypatch.setattr(duckdb_file._DuckDbFileSqlClient, "memory_limit_was_too_low", False)
        fill(api, 1, 2, incompressible(5_000_000, edition))
        assert load(api) == 0
        assert duckdb_file._DuckDbFileSqlClient.memory_limit_was_too_low
    assert query("select count(*) from supermetrics.connector_configurations") == [(4,)]
    assert capfd.readouterr().err == ""


def test_a_connection_that_cannot_set_the_limit_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another job holds more memory: the connection is returned, and the next one lifts the limit."""
    pipeline = make_pipeline("holding")
    with pipeline.sql_client() as holding:
        holding.native_connection.execute("select repeat('x', 1000) || range from range(20000)")  # and is not fetched
        monkeypatch.setattr(duckdb_file, "MEMORY_LIMIT", "1MiB")
        with pytest.raises(DestinationConnectionError, match="SET memory_limit"), pipeline.sql_client():
            pass
        with pipeline.sql_client() as next_one:
            assert next_one.execute_sql("select 1") == [(1,)]
    assert query("select 1") == [(1,)]


def test_a_pipeline_of_your_own_gets_small_row_groups(sandbox: Sandbox, pipeline: dlt.Pipeline) -> None:
    """The memory of a destination does not depend on the number of rows of a team."""
    fill(sandbox, 1, 300, incompressible(50_000, 1))
    source = supermetrics_source([1], sandbox.token, include_configs=True, base_url=sandbox.url, redact_secrets=False)
    pipeline.extract(source)
    (file,) = Path(pipeline.working_dir).rglob("connector_configurations*.parquet")
    written = pq.read_metadata(file)
    groups = [written.row_group(number).total_byte_size for number in range(written.num_row_groups)]
    assert sum(groups) > 3 * MAX_ITEM_BYTES
    assert max(groups) < MAX_ITEM_BYTES * 1.1


# --- the name of the file ---------------------------------------------------------------------------------------------

NAMES = {
    "default": {},
    "a path": {"DESTINATION__DUCKDB__CREDENTIALS": "{folder}/warehouse.duckdb"},
    "a relative path": {"DESTINATION__DUCKDB__CREDENTIALS": "sub/warehouse.duckdb"},
    "a URL": {"DESTINATION__DUCKDB__CREDENTIALS": "duckdb:///{folder}/warehouse.duckdb"},
    "a database": {"DESTINATION__DUCKDB__CREDENTIALS__DATABASE": "{folder}/warehouse.duckdb"},
}


ATTACH = """
import sys
sys.modules["supermetrics_loader"] = sys.modules["supermetrics_connectors"] = None  # as without this project
import dlt
for folder in sys.argv[1:]:
    pipeline = dlt.attach("supermetrics", pipelines_dir=folder)
    print(len(pipeline.dataset()["connectors"].select("team_id").fetchall()), pipeline.destination_client().config)
"""


def test_every_configured_file_has_the_same_format_and_is_opened_by_dlt_attach(
    api: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The format of DuckDB 1.2, which later versions open, with configurations in Zstandard.

    dlt opens the file from another folder, without this project and the setting. It creates no empty file.
    """
    fill(api, 1, 300, lambda number: f"connector {number} " * 400)
    expected = {}
    for name, variables in NAMES.items():
        folder = tmp_path / name
        (folder / "sub").mkdir(parents=True)
        with monkeypatch.context() as patch:
            patch.chdir(folder)
            patch.setenv("DLT_DATA_DIR", str(folder / "dlt"))
            for variable, value in variables.items():
                patch.setenv(variable, value.format(folder=folder / "sub"))
            for _ in range(2 if name in ("default", "a relative path") else 1):
                assert load(api) == 0
        file = folder / (DEFAULT if name == "default" else "sub/warehouse.duckdb")
        expected[str(folder / "dlt" / "pipelines")] = f"300 duckdb:///{file}"
        assert query("select tags['storage_version'] from duckdb_databases() where not internal", file) == [
            ("v1.2.0+",)
        ]
        query_compression = (
            "select distinct compression from pragma_storage_info('supermetrics.connector_configurations')"
            " where column_name = 'configuration_json' and segment_type not in ('VALIDITY')"
        )
        assert query(query_compression, file) == [("ZSTD",)]
    files = sorted(tmp_path.rglob("*.duckdb"))
    assert len(files) == len(NAMES)
    (tmp_path / "elsewhere").mkdir()
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", ATTACH, *expected],
        cwd=tmp_path / "elsewhere",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.splitlines()) == (0, [*expected.values()]), done.stderr
    assert sorted(tmp_path.rglob("*.duckdb")) == files


@pytest.mark.parametrize(
    ("given", "limit", "threads"),
    [
        ({}, "96.0 MiB", 1),
        ({"threads": 3}, "96.0 MiB", 3),
        ({"worker_threads": 3}, "96.0 MiB", 3),
        ({"memory_limit": "100MiB"}, "100.0 MiB", 1),
    ],
)
def test_settings_of_duckdb_replace_the_limits(
    given: dict[str, Any], limit: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`global_config` is dlt's place for them."""
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS__GLOBAL_CONFIG", json.dumps(given))
    with make_pipeline("settings").sql_client() as client:
        assert client.execute_sql("select current_setting('memory_limit')") == [(limit,)]
        assert client.execute_sql("select current_setting('threads')") == [(threads,)]


# --- no room ----------------------------------------------------------------------------------------------------------


ROWS = "select count(*), count(distinct team_id) from supermetrics.connector_configurations"
KEPT = "Rows that were loaded before are kept, and the next run loads the others once there is room.\n"


def test_a_full_disk_and_too_little_memory_are_one_line(
    api: Sandbox, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A disk is full in dlt, which writes the rows to load, or in DuckDB. A configured memory limit is not lifted.

    Loaded rows stay, and a run with room loads the others.
    """

    def failing_load() -> str:
        capfd.readouterr()
        assert load(api) == 1
        err = capfd.readouterr().err
        assert err.endswith(KEPT)
        assert len(err.splitlines()) == 1
        assert query(ROWS) == [(60, 1)]
        return err

    fill(api, 1, 60, incompressible(100_000, 1))  # 6 MB, and 4 MB in another team
    assert load(api) == 0
    for number in range(40):
        api.add_connector(TEAM, f"C{number}", configuration=configuration(text=incompressible(100_000, 2)(number)))
    no_limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    for room in (MIB, DEFAULT.stat().st_size):
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, no_limit[1]))
        try:
            err = failing_load()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, no_limit)
        assert err.startswith("Error: The disk is full (")
        assert "File too large" in err
    with monkeypatch.context() as limited:
        limited.setenv("DESTINATION__DUCKDB__CREDENTIALS__GLOBAL_CONFIG", json.dumps({"memory_limit": "5MB"}))
        err = failing_load()
    assert err.startswith("Error: DuckDB has too little memory (")
    assert "memory_limit under [destination.duckdb.credentials.global_config]" in err
    assert load(api) == 0
    assert query(ROWS) == [(100, 2)]


def test_a_full_disk_is_not_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dlt's own destination takes it for a failure that passes, and tries four times with waits."""
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", "full.duckdb")
    pipeline = dlt.pipeline("full", destination=duckdb_file.duckdb_file(), dataset_name="some")
    with pipeline.sql_client() as client, pytest.raises(DatabaseTerminalException, match="No space left on device"):
        client.execute_sql("copy (from range(100000)) to '/dev/full' (format csv)")
