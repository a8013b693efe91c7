"""The DuckDB file: how it is made and named, within which memory it is loaded, and who opens it."""

from __future__ import annotations

import base64
import json
import os
import random
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import dlt
import duckdb
import pyarrow.parquet as pq
import pytest
from dlt.common.configuration.exceptions import ConfigFieldMissingException
from dlt.destinations import duckdb as stock
from dlt.destinations.exceptions import (
    DatabaseTerminalException,
    DatabaseTransientException,
    DestinationConnectionError,
)
from dlt.destinations.impl.duckdb.configuration import DuckDbClientConfiguration

from supermetrics_connectors import supermetrics_source
from supermetrics_connectors.tables.write import PIECE_BYTES
from supermetrics_loader.cli.main import run
from supermetrics_loader.run import duckdb_file
from supermetrics_loader.run.targets import make_pipeline, named_dataset
from supermetrics_loader.sandbox import Sandbox
from tests.helpers.expectations import TEAM, configuration

DEFAULT = Path("supermetrics_connectors.duckdb")
MIB = 2**20


@pytest.fixture(autouse=True)
def _limit_of_a_new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit that a test has lifted is lifted for its process."""
    monkeypatch.setattr(duckdb_file._DuckDbFileSqlClient, "too_low", False)


@pytest.fixture
def api(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """The sandbox without teams, and the environment that leads to it."""
    settings = {
        "BASE_URL": sandbox.url,
        "API_KEY": sandbox.token,
        "INCLUDE_CONFIGS": "true",
        "REDACT_SECRETS": "false",  # which would look for them in megabytes
        "REQUEST_BACKOFF_FACTOR": "0",
    }
    for name, value in settings.items():
        monkeypatch.setenv(f"SOURCES__SUPERMETRICS__{name}", value)
    return sandbox


def load(sandbox: Sandbox) -> int:
    """Loads every team; returns the exit code."""
    return run(["load", *(argument for team in sandbox.team_ids for argument in ("--team", str(team)))])


def query(sql: str, file: Path = DEFAULT) -> list[tuple[Any, ...]]:
    """Asks the file."""
    with duckdb.connect(str(file), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def identical(size: int, edition: int) -> Callable[[int], str]:
    """The same text for each connector, as in an agency that clones a template."""
    return lambda _number: f"value {edition} of a template, " * (size // 25)


def incompressible(size: int, edition: int) -> Callable[[int], str]:
    """Texts that have nothing in common."""

    def text(number: int) -> str:
        seeded = random.Random(f"{edition} {number}")  # noqa: S311 - the same texts in every run
        return base64.b64encode(seeded.randbytes(size * 3 // 4)).decode()

    return text


def fill(sandbox: Sandbox, teams: int, connectors: int, text: Callable[[int], str], fields: int = 0) -> None:
    """Gives the teams connectors with such configurations, and so many fields that the API has added."""
    for team in range(1, teams + 1):
        sandbox.add_team(team)
        for number in range(connectors):
            added = {f"added_{each}": text(number * fields + each) for each in range(fields)}
            words = text(number)
            parts = [words[at : at + 1000] for at in range(0, len(words), 1000)]
            sandbox.add_connector(team, f"C{number}", configuration=configuration(parts=parts), **added)


# --- memory -----------------------------------------------------------------------------------------------------------

SHAPES = {
    "300 x 50 KB, identical": ("96MiB", 1, 300, 50_000, identical, 0),
    "1000 x 20 KB, identical": ("96MiB", 1, 1000, 20_000, identical, 0),
    "one of 10 MB, identical": ("96MiB", 1, 1, 10_000_000, identical, 0),
    "200 x 50 KB": ("48MiB", 1, 200, 50_000, incompressible, 0),
    "1000 x 50 KB, to be read in one piece": ("48MiB", 1, 1000, 50_000, identical, 0),
    "10 teams x 100 x 10 KB": ("48MiB", 10, 100, 10_000, incompressible, 0),
    "200 added fields": ("48MiB", 1, 60, 50, incompressible, 200),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_rows_of_any_size_are_loaded_and_changed(api: Sandbox, shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a limit that does not look at them, or beyond it where one row is too large."""
    limit, teams, connectors, size, kind, fields = SHAPES[shape]
    monkeypatch.setattr(duckdb_file, "MEMORY_LIMIT", limit)
    for edition in (1, 2):
        monkeypatch.setattr(duckdb_file._DuckDbFileSqlClient, "too_low", False)  # as in a process of its own
        fill(api, teams, connectors, kind(size, edition), fields)
        assert load(api) == 0
        counted = "select count(*), count(*) filter (_dlt_valid_to is null) from supermetrics.connector_configurations"
        assert query(counted) == [(teams * connectors * edition, teams * connectors)]


def test_small_rows_that_become_large_are_loaded(api: Sandbox) -> None:
    """990 of 1000: what they were says nothing of what they are."""
    for size in (200, 18_000):
        fill(api, 1, 1000, lambda number, size=size: "x" * (size if number < 990 else 200))  # type: ignore[misc]  # mypy knows no default of a lambda
        assert load(api) == 0
    (count,) = query("select count(*) from supermetrics.connector_configurations where _dlt_valid_to is null")
    assert count == (1000,)


def test_a_limit_that_is_too_low_is_lifted(
    api: Sandbox, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A row larger than that is loaded, first and again, and nobody is told of it; by DuckDB 1.x as well."""
    monkeypatch.setattr(duckdb_file, "MEMORY_LIMIT", "24MiB")
    for edition in (1, 2):
        monkeypatch.setattr(duckdb_file._DuckDbFileSqlClient, "too_low", False)
        fill(api, 1, 2, incompressible(5_000_000, edition))
        assert load(api) == 0
        assert duckdb_file._DuckDbFileSqlClient.too_low
    assert query("select count(*) from supermetrics.connector_configurations") == [(4,)]
    assert capfd.readouterr().err == ""


def test_a_limit_that_is_exceeded_already_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """By what another job holds: the connection that could not set it is given back, and the next one lifts it."""
    pipeline = make_pipeline("holding")
    with pipeline.sql_client() as holding:
        holding.native_connection.execute("select repeat('x', 1000) || range from range(20000)")  # and is not fetched
        monkeypatch.setattr(duckdb_file, "MEMORY_LIMIT", "1MiB")
        with pytest.raises(DestinationConnectionError, match="SET memory_limit"), pipeline.sql_client():
            pass
        with pipeline.sql_client() as next_one:
            assert next_one.execute_sql("select 1") == [(1,)]
    assert query("select 1") == [(1,)]


def test_a_plain_pipeline_gets_its_rows_in_small_groups_too(sandbox: Sandbox, pipeline: dlt.Pipeline) -> None:
    """What a destination has in hand at a time does not depend on how many rows a team has."""
    fill(sandbox, 1, 300, incompressible(50_000, 1))
    source = supermetrics_source([1], sandbox.token, include_configs=True, base_url=sandbox.url, redact_secrets=False)
    pipeline.extract(source)
    (file,) = Path(pipeline.working_dir).rglob("connector_configurations*.parquet")
    written = pq.read_metadata(file)
    groups = [written.row_group(number).total_byte_size for number in range(written.num_row_groups)]
    assert sum(groups) > 3 * PIECE_BYTES
    assert max(groups) < PIECE_BYTES * 1.1


# --- however the file is named ----------------------------------------------------------------------------------------

NAMES = {
    "default": {},
    "a path": {"DESTINATION__DUCKDB__CREDENTIALS": "{folder}/warehouse.duckdb"},
    "a relative path": {"DESTINATION__DUCKDB__CREDENTIALS": "sub/warehouse.duckdb"},
    "a URL": {"DESTINATION__DUCKDB__CREDENTIALS": "duckdb:///{folder}/warehouse.duckdb"},
    "a database": {"DESTINATION__DUCKDB__CREDENTIALS__DATABASE": "{folder}/warehouse.duckdb"},
}


@pytest.fixture(params=NAMES)
def file(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file, named in one of the ways."""
    (tmp_path / "sub").mkdir()
    for variable, value in NAMES[request.param].items():
        monkeypatch.setenv(variable, value.format(folder=tmp_path / "sub"))
    return tmp_path / (DEFAULT if request.param == "default" else "sub/warehouse.duckdb")


@pytest.fixture
def loaded(api: Sandbox, file: Path) -> Path:
    """The file, loaded twice with some compressible configurations."""
    fill(api, 1, 300, lambda number: f"connector {number} " * 400)
    for _ in range(2):
        assert load(api) == 0
    return file


def test_a_file_is_the_same_however_it_is_named(loaded: Path) -> None:
    """In the format of DuckDB 1.2, which every DuckDB since then opens, and compressed by its Zstandard."""
    query_tags = "select tags['storage_version'] from duckdb_databases() where not internal"
    assert query(query_tags, loaded) == [("v1.2.0+",)]
    query_compression = (
        "select distinct compression from pragma_storage_info('supermetrics.connector_configurations')"
        " where column_name = 'configuration_json' and segment_type not in ('VALIDITY')"
    )
    assert query(query_compression, loaded) == [("ZSTD",)]
    assert sorted(Path.cwd().rglob("*.duckdb")) == [loaded]


ATTACH = """
import sys
sys.modules["pipelines"] = sys.modules["sources"] = None  # as where this project is not installed
import dlt
pipeline = dlt.attach("supermetrics")
print(pipeline.dataset()["connectors"].select("team_id").fetchall().__len__(), pipeline.destination_client().config)
"""


def test_dlt_attach_opens_the_file_that_was_loaded(
    loaded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From another folder, without this project and without the setting; no empty file is made anywhere."""
    for variable in [name for name in os.environ if name.startswith("DESTINATION__")]:
        monkeypatch.delenv(variable)
    (tmp_path / "elsewhere").mkdir()
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", ATTACH], cwd=tmp_path / "elsewhere", capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, f"300 duckdb:///{loaded}"), done.stderr
    assert sorted(tmp_path.rglob("*.duckdb")) == [loaded]


@pytest.mark.parametrize(
    ("given", "limit", "threads"),
    [
        ({}, "96.0 MiB", 1),
        ({"threads": 3}, "96.0 MiB", 3),
        ({"worker_threads": 3}, "96.0 MiB", 3),
        ({"memory_limit": "100MiB"}, "100.0 MiB", 1),
    ],
)
def test_what_dlt_is_told_of_duckdb_comes_first(
    given: dict[str, Any], limit: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`global_config` is where a person sets the one number."""
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS__GLOBAL_CONFIG", json.dumps(given))
    with make_pipeline("settings").sql_client() as client:
        assert client.execute_sql("select current_setting('memory_limit')") == [(limit,)]
        assert client.execute_sql("select current_setting('threads')") == [(threads,)]


def test_a_file_of_the_old_default_name_is_mentioned(api: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    """Renamed, it goes on as it was: the view in it too."""
    fill(api, 1, 2, identical(100, 1))
    assert load(api) == 0
    DEFAULT.rename("supermetrics.duckdb")
    assert caplog.messages == []
    assert load(api) == 0
    old = Path.cwd() / "supermetrics.duckdb"
    assert caplog.messages == [
        f"{old} is no longer the default and is left as it is. To go on with it, rename it to {DEFAULT}; or delete it"
    ]
    old.replace(DEFAULT)
    caplog.clear()
    assert load(api) == 0
    assert caplog.messages == []
    assert query("select distinct baseline from supermetrics.connector_changes") == [(True,)]


# --- no room ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def fuller(api: Sandbox) -> Iterator[Sandbox]:
    """A team of 6 MB that is loaded, and one of 4 MB that is not; in the end both are, by a run with room."""
    fill(api, 1, 60, incompressible(100_000, 1))
    assert load(api) == 0
    for number in range(40):
        api.add_connector(TEAM, f"C{number}", configuration=configuration(text=incompressible(100_000, 2)(number)))
    yield api
    assert query(ROWS) == [(60, 1)]
    assert load(api) == 0
    assert query(ROWS) == [(100, 2)]


ROWS = "select count(*), count(distinct team_id) from supermetrics.connector_configurations"
KEPT = "What was loaded before is kept, and the next run with more of it brings the rest.\n"


@pytest.mark.parametrize("room", [MIB, None], ids=["for rows on their way", "for the DuckDB file"])
def test_a_full_disk_is_one_line(fuller: Sandbox, room: int | None, capfd: pytest.CaptureFixture[str]) -> None:
    """Whoever meets it: dlt with the file that it is to load, or DuckDB."""
    no_limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    capfd.readouterr()
    resource.setrlimit(resource.RLIMIT_FSIZE, (room or DEFAULT.stat().st_size, no_limit[1]))
    try:
        code = load(fuller)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, no_limit)
    told = capfd.readouterr().err
    assert code == 1
    assert told.startswith("Error The disk is full (")
    assert "File too large" in told
    assert told.endswith(KEPT)
    assert len(told.splitlines()) == 1


def test_too_little_memory_is_one_line(
    fuller: Sandbox, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A limit that a person has set is not lifted."""
    capfd.readouterr()
    with monkeypatch.context() as limited:
        limited.setenv("DESTINATION__DUCKDB__CREDENTIALS__GLOBAL_CONFIG", json.dumps({"memory_limit": "5MB"}))
        code = load(fuller)
    told = capfd.readouterr().err
    assert code == 1
    assert told.startswith("Error DuckDB has too little memory (")
    assert "memory_limit under [destination.duckdb.credentials.global_config]" in told
    assert told.endswith(KEPT)
    assert len(told.splitlines()) == 1


# --- what dlt's own does: where one of these fails, what mends it in duckdb_file.py can go ----------------------------


class Counting(stock):
    """Dlt's own, which counts how often its settings are asked for: to be used, and only to know what it can do."""

    asked: ClassVar[list[bool]] = []

    def configuration(
        self, initial_config: DuckDbClientConfiguration, accept_partial: bool = False
    ) -> DuckDbClientConfiguration:
        """Settings, looked up anew."""
        self.asked.append(accept_partial)
        return super().configuration(initial_config, accept_partial)


class WithDefaults(stock):
    """Dlt's own with an `__init__` that is not its, and without `__orig_base__`."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)


def loaded_by(destination: Any) -> None:
    """Loads a row."""
    dlt.pipeline("stock", destination=destination, dataset_name="some").run([{"id": 1}], table_name="rows")


def test_dlt_looks_its_settings_up_again_and_again() -> None:
    """A tenth of a second a run; ours are looked up once."""
    loaded_by(Counting("stock.duckdb"))
    assert Counting.asked.count(False) > 5
    assert Counting.asked.count(True) > 10


def test_dlt_makes_files_that_not_every_duckdb_reads_or_that_are_not_compressed() -> None:
    """In DuckDB's newest format, or in one from before Zstandard; and a column of JSON is like any other."""
    loaded_by(stock("stock.duckdb"))
    tags = "select tags['storage_version'] from duckdb_databases() where not internal"
    assert query(tags, Path("stock.duckdb")) != [("v1.2.0+",)]
    client: Any = named_dataset(stock("stock.duckdb"), "some").destination_client
    assert "COMPRESSION" not in client._get_column_def_sql({"name": "a", "data_type": "json"})


def test_dlt_takes_defaults_of_a_subclass_for_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which win over those of the environment, so that there is no file; not with ours."""
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", "some.duckdb")
    found: Any = named_dataset(duckdb_file.duckdb_file(), "some").destination_client.config
    assert Path(found.credentials.database).name == "some.duckdb"
    with pytest.raises(ConfigFieldMissingException, match="credentials"):
        _ = named_dataset(WithDefaults(), "some").destination_client


@pytest.mark.parametrize(
    ("kind", "failure"), [(stock, DatabaseTransientException), (duckdb_file.duckdb_file, DatabaseTerminalException)]
)
def test_dlt_would_try_a_full_disk_again(kind: Any, failure: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    """Four times, with waits; with ours the first is told."""
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", "full.duckdb")
    pipeline = dlt.pipeline("full", destination=kind(), dataset_name="some")
    with pipeline.sql_client() as client, pytest.raises(failure, match="No space left on device"):
        client.execute_sql("copy (from range(100000)) to '/dev/full' (format csv)")
