"""Every destination that runs on this machine holds the same tables: one suite for all strategies."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path
from typing import Any

import dlt
import pendulum
import pytest

from supermetrics_connectors.api import logs
from supermetrics_connectors.exceptions import SupermetricsConfigurationError
from supermetrics_connectors.tables.destinations import STRATEGIES, reader
from supermetrics_connectors.tables.destinations.modes import MIRROR, SNAPSHOT, UPSERT
from supermetrics_loader.read.changes import read_changes
from supermetrics_loader.read.dataset import open_dataset
from supermetrics_loader.read.errors import NothingLoadedError
from supermetrics_loader.run.dry_run import dry_run
from supermetrics_loader.run.load import LoadFailedError
from tests.helpers.destinations import Place, destination_at, empty, parsed
from tests.helpers.expectations import OTHER, TEAM, configuration
from tests.helpers.report_data import NONE, Page, shown
from tests.helpers.sandbox import OMIT, Fault, Sandbox
from tests.helpers.servers import WAREHOUSES

# dlt's own use of SQLAlchemy, of pgserver's platformdirs and of others warns; this project's code is held to silence
# by every other test.
pytestmark = pytest.mark.filterwarnings("default")

EMPTIED = 7


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """An S3 on loopback; the address of its endpoint."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    boto3.client("s3", endpoint_url=f"http://{host}:{port}", **S3_KEYS, region_name="us-east-1").create_bucket(
        Bucket="lake"
    )
    yield f"http://{host}:{port}"
    server.stop()


S3_KEYS = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
HAS_DUCKLAKE = importlib.util.find_spec("duckdb_extension_ducklake") is not None


def _place(name: str, request: pytest.FixtureRequest, folder: Path) -> Place:
    uris = {
        "duckdb": f"duckdb:{folder / 'warehouse.duckdb'}",
        "sqlite": f"sqlite:///{folder / 'warehouse.sqlite'}",
        "delta": f"file:{folder / 'lake'}",
        "ducklake": f"ducklake:{folder}",
    }
    uri = uris.get(name) or request.getfixturevalue(f"{name}_url")
    settings = {"table_format": "delta"} if name == "delta" else {}
    return Place(name, lambda: destination_at(uri), folder, settings, uri=uri)


MIRRORS = ["duckdb", "ducklake", "postgres"] if HAS_DUCKLAKE else ["duckdb", "postgres", "sqlite", "delta"]
MIRRORS = WAREHOUSES or MIRRORS


@pytest.fixture(params=MIRRORS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A destination that is kept equal to the API, empty."""
    place = _place(request.param, request, tmp_path)
    if place.name == "bigquery":  # the emulator reads no compressed files
        monkeypatch = request.getfixturevalue("monkeypatch")
        for section in ("DATA_WRITER", "NORMALIZE__DATA_WRITER"):
            monkeypatch.setenv(f"{section}__DISABLE_COMPRESSION", "true")
    yield place
    empty(place)


def assert_equal_to_the_api(place: Place, sandbox: Sandbox) -> None:
    """Each connector and each current configuration is stored once, as listed, and no other."""
    listed = {(team, c["connector_identifier"]): c for team in sandbox.team_ids for c in sandbox.connectors(team)}
    stored = place.rows("connectors")
    assert len(stored) == len(listed)
    for row in stored:
        wanted = listed[row["team_id"], row["connector_identifier"]]
        assert {name: row[name] for name in ("name", "description", "logo_url")} == {
            name: wanted.get(name) for name in ("name", "description", "logo_url")
        }
        assert row["updated_at"] == pendulum.parse(wanted["updated_at"])
    versions = place.rows("connector_configurations")
    current = [row for row in versions if row["_dlt_valid_to"] is None]
    configured = {key: c["configuration"] for key, c in listed.items() if c.get("configuration")}
    assert len(current) == len(configured)
    for row in current:
        wanted = configured[row["team_id"], row["connector_identifier"]]
        assert parsed(row["configuration_json"]) == wanted["configuration_json"]
        assert row["version"] == wanted["version"]


def contents(place: Place) -> list[list[str]]:
    """The rows of two tables, sorted: destinations return rows in any order."""
    return [sorted(map(str, place.rows(table))) for table in ("connectors", "connector_configurations")]


def versions_of(place: Place, team_id: int, identifier: str) -> list[tuple[Any, bool]]:
    """The history of one configuration: content, and whether it is closed."""
    rows = [
        r
        for r in place.rows("connector_configurations")
        if (r["team_id"], r["connector_identifier"]) == (team_id, identifier)
    ]
    rows.sort(key=lambda row: row["_dlt_valid_from"])
    for earlier, later in pairwise(rows):
        assert earlier["_dlt_valid_to"] <= later["_dlt_valid_from"]
    return [(parsed(row["configuration_json"]), row["_dlt_valid_to"] is not None) for row in rows]


def test_tables_equal_the_api_over_a_sequence_of_runs(place: Place, sandbox: Sandbox) -> None:
    """After every kind of run, each with an empty working folder."""
    sandbox.add_connector(TEAM, "A", configuration=configuration(a=1), description="", updated_at="2025-01-01")
    sandbox.add_connector(TEAM, "B", configuration=configuration(a="ü\n\"';\\", deep={"b": [1, None, {"c": 2.5}]}))
    sandbox.add_connector(TEAM, "C", description=None, logo_url=None)
    sandbox.add_connector(OTHER, "A", configuration=configuration(a=10))
    sandbox.add_connector(OTHER, "1A")
    sandbox.add_connector(EMPTIED, "last", configuration=configuration(a=0))
    place.load(sandbox, include_configs=False)
    assert len(place.rows("connectors")) == 6
    place.load(sandbox)
    assert_equal_to_the_api(place, sandbox)

    sandbox.edit_connector(TEAM, "A", name="edited", updated_at="2025-01-01")
    sandbox.edit_configuration(TEAM, "B", {"a": 2})
    sandbox.add_connector(TEAM, "D", configuration=configuration(a=4), updated_at="2001-02-03T04:05:06.789012+0200")
    sandbox.delete_connector(TEAM, "C")
    sandbox.delete_connector(EMPTIED, "last")
    place.load(sandbox)
    assert_equal_to_the_api(place, sandbox)
    assert [closed for _, closed in versions_of(place, TEAM, "B")] == [True, False]
    assert versions_of(place, EMPTIED, "last") == [({"a": 0}, True)]

    sandbox.edit_configuration(TEAM, "B", {"a": 3})
    sandbox.delete_connector(TEAM, "D")
    place.load(sandbox, include_configs=False)
    assert versions_of(place, TEAM, "D") == [({"a": 4}, True)]
    sandbox.fault(Fault(403), team_id=OTHER)
    before = contents(place)
    with pytest.raises(LoadFailedError):
        place.load(sandbox)
    assert contents(place) == before
    failed = [row for row in place.rows("team_syncs") if row["status"] == "failed"]
    assert [(row["team_id"], row["http_status"]) for row in failed] == [(OTHER, 403)]

    place.load(sandbox)
    assert_equal_to_the_api(place, sandbox)
    sandbox.edit_configuration(TEAM, "B", {"a": 2})  # an earlier content
    result = place.load(sandbox, full_refresh=True)
    assert_equal_to_the_api(place, sandbox)
    assert [closed for _, closed in versions_of(place, TEAM, "B")] == [True, True, True, False]
    assert len(versions_of(place, TEAM, "A")) == 1, "a full refresh keeps the versions that still hold"
    assert {team["status"] for team in result.teams} == {"ok"}
    syncs = [(row["team_id"], row["started_at"]) for row in place.rows("team_syncs")]
    assert len(syncs) == len(set(syncs))


def test_a_dry_run_reports_the_changes_of_a_run_and_writes_nothing(place: Place, sandbox: Sandbox) -> None:
    """Before the first load, and for every kind of change."""
    for name in "ABC":
        sandbox.add_connector(TEAM, name, configuration=configuration(a=1))
    assert dry_run_changes(place, sandbox) == [("added", name) for name in "ABC"]
    assert not [path for path in place.folder.iterdir() if not path.name.startswith(("worker", "extensions"))]
    assert not any(all_rows(place))
    place.load(sandbox)
    before = all_rows(place)
    sandbox.edit_connector(TEAM, "A", name="edited", configuration=configuration(a=2))
    sandbox.edit_configuration(TEAM, "B", {"a": 2})
    sandbox.delete_connector(TEAM, "C")
    assert dry_run_changes(place, sandbox) == [("changed", "A"), ("configured", "B"), ("removed", "C")]
    assert all_rows(place) == before
    intended = dry_run(place.pipeline(), **place.given(sandbox)).as_dict()
    done = place.load(sandbox).as_dict()
    assert without_run_details(intended) == without_run_details(done)
    assert dry_run_changes(place, sandbox) == []


def dry_run_changes(place: Place, sandbox: Sandbox) -> list[tuple[str, str]]:
    """Kind and connector of each change that a dry run reports."""
    found = dry_run(place.pipeline(), **place.given(sandbox)).changes
    return sorted(((each.kind, each.connector_identifier) for each in found.first), key=lambda each: each[1])


def all_rows(place: Place) -> list[list[dict[str, Any]]]:
    """Every row, also of dlt's tables."""
    own = [] if place.name == "delta" else ["_dlt_loads", "_dlt_version", "_dlt_pipeline_state"]
    tables = ["connectors", "connector_versions", "connector_configurations", "team_syncs", *own]
    return [sorted(place.rows(table), key=str) for table in tables]


def without_run_details(result: dict[str, Any]) -> dict[str, Any]:
    """A result without the members that differ between two equal runs: times, and ids of requests and loads."""
    details = {"started_at", "finished_at", "load_ids", "duration_ms", "request_id", "rate_limit_remaining"}
    teams = [{name: value for name, value in team.items() if name not in details} for team in result["teams"]]
    return {name: value for name, value in result.items() if name not in details} | {"teams": teams}


def test_texts_are_kept_and_compared_byte_by_byte(place: Place, sandbox: Sandbox) -> None:
    """Collations may equate two identifiers, short types may cut a document, character sets may lose letters."""
    large = configuration(text="日本 🎈 é" * 30_000)
    sandbox.add_connector(TEAM, "Ab", name="日本 🎈", description="é" * 1000, configuration=large)
    sandbox.add_connector(TEAM, "aB", name="É", configuration=configuration(a=1))
    place.load(sandbox)
    assert_equal_to_the_api(place, sandbox)
    sandbox.edit_connector(TEAM, "aB", name="é")
    sandbox.edit_configuration(TEAM, "Ab", {"text": "日本"})
    place.load(sandbox)
    assert_equal_to_the_api(place, sandbox)
    sandbox.delete_connector(TEAM, "aB")
    place.load(sandbox)
    assert_equal_to_the_api(place, sandbox)
    place.load(sandbox, full_refresh=True)
    assert_equal_to_the_api(place, sandbox)
    changes = [(row["connector_identifier"], row["change"]) for row in place.rows("connector_changes")]
    assert sorted(changes) == [
        *(("", "added"), ("", "configuration_changed"), ("Ab", "configuration_changed")),
        *(("aB", "removed"), ("aB", "updated")),
    ]


@pytest.fixture(params=["folder", "s3"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Plain parquet files, in a folder and in a bucket."""
    if request.param == "folder":
        return Place("files", lambda: dlt.destinations.filesystem(str(tmp_path / "files")), tmp_path)
    credentials = {**S3_KEYS, "endpoint_url": request.getfixturevalue("s3"), "region_name": "us-east-1"}
    bucket = f"s3://lake/{tmp_path.name}"
    return Place("s3", lambda: dlt.destinations.filesystem(bucket, credentials=credentials), tmp_path)


def changes_of(place: Place) -> list[tuple[Any, ...]]:
    """Connector, change, name, previous update time and paths of each change."""
    rows = [row for row in place.rows("connector_changes") if not row["baseline"]]
    rows.sort(key=lambda row: (row["detected_at"], row["connector_identifier"]))
    columns = ("connector_identifier", "change", "name", "previous_updated_at")
    return [(*(row[name] for name in columns), parsed(row["paths_changed"])) for row in rows]


def test_changes_are_listed_with_previous_values(place: Place, sandbox: Sandbox) -> None:
    """The two histories of every destination are enough to list the changes."""
    for name in "ABC":
        sandbox.add_connector(
            TEAM, name, name=f"Name {name}", updated_at="2025-01-01", configuration=configuration(a=1)
        )
    place.load(sandbox)
    first = pendulum.datetime(2025, 1, 1)
    edited = {**configuration(a=2), "updated_at": "2025-02-02"}
    sandbox.edit_connector(TEAM, "A", configuration=edited, updated_at="2025-01-01")
    sandbox.delete_connector(TEAM, "B")
    place.load(sandbox)
    expected = [("A", "configuration_changed", "Name A", first, ["$.a"]), ("B", "removed", "Name B", first, None)]
    assert changes_of(place) == expected
    sandbox.edit_connector(TEAM, "A", configuration=configuration(a=3), updated_at="2025-01-01")
    place.load(sandbox)
    clock = pendulum.datetime(2025, 2, 2)
    assert changes_of(place) == [*expected, ("A", "configuration_changed", "Name A", clock, ["$.a"])]
    with open_dataset(place.destination(), "supermetrics") as data:  # as the command line prints them
        listed = read_changes(data)
        newest = read_changes(data, listed[-1]["detected_at"])
    columns = ("connector_identifier", "change", "name", "previous_updated_at", "paths_changed")
    assert [tuple(row[name] for name in columns) for row in listed] == changes_of(place)
    assert newest == listed[-1:]


def listing_of(number: str, fraction: str, version: str) -> Fault:
    """A response with numbers beyond 64 bits and doubles, numbers that databases rewrite, and the extreme times."""
    times = '"created_at": "0001-01-01", "updated_at": "9999-12-31T23:59:59Z"'
    kept = f'"kept": [18446744073709551616, 1.0, 1e22, 1e300, 1.50, {TINY}], "client_secret": "hunter2hunter2"'
    definition = f'{{"exact": [{number}, {fraction}], {kept}}}'
    configuration = f'{{"version": "{version}", {times}, "configuration_json": {definition}}}'
    connectors = [f'{{"connector_identifier": "A", "name": "Far", {times}, "configuration": {configuration}}}']
    if version == "1.0.0":
        connectors.append('{"connector_identifier": "GONE", "name": "Gone"}')
    return Fault(200, body=f'{{"count": {len(connectors)}, "connectors": [{", ".join(connectors)}]}}'.encode())


TINY = "0." + "3" * 400
NUMBER, FRACTION = "12345678901234567890123", "0.12345678901234567890123"


def test_changes_are_listed_without_a_table_of_configurations(
    place: Place, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    """A load without configurations creates no such table."""
    sandbox.add_connector(TEAM, "A")
    place.load(sandbox, include_configs=False)
    sandbox.edit_connector(TEAM, "A", name="edited")
    place.load(sandbox, include_configs=False)
    with open_dataset(place.destination(), "supermetrics") as data:
        assert [row["change"] for row in read_changes(data)] == ["updated"]
    if place.name != "delta":
        assert sorted(row["change"] for row in place.rows("connector_changes")) == ["added", "updated"]
    assert [message for message in caplog.messages if "connector_changes" in message] == []


def test_every_reader_reads_what_was_loaded(place: Place, sandbox: Sandbox) -> None:
    """To the last digit, in every year and time zone of the server, and in every section of the report."""
    sandbox.add_team(TEAM)
    sandbox.add_connector(OTHER, "A", configuration=configuration(a=1))
    sandbox.fault(listing_of(NUMBER, FRACTION, "1.0.0"), team_id=TEAM)
    place.load(sandbox)
    number, fraction = f"{NUMBER[:-1]}4", f"{FRACTION[:-1]}4"
    # far in the east the last year is another one, far in the west the first
    for zone, again in (("Pacific/Kiritimati", False), ("America/St_Johns", True)):
        if place.name == "postgres":
            place.execute(f"ALTER ROLE postgres SET timezone = '{zone}'")
        sandbox.fault(listing_of(number, fraction, "1.1.0"), team_id=TEAM)
        if again:
            sandbox.fault(Fault(403), team_id=OTHER)
        result = place.load(sandbox, on_team_error="skip", full_refresh=again)
        page, difference = place.read(TEAM, "A")
        lines = list(difference.lines())
        assert [line[1:].strip(" ,") for line in lines if line.startswith("+ ")] == [number, fraction]
        assert {change["path"] for change in difference.as_dict()["changes"]} == {"$.exact[0]", "$.exact[1]"}
        assert str(difference.documents[1]["kept"][-1]) == TINY
    assert [team["configurations_changed"] for team in result.teams] == [0, None], "numbers as a database writes them"
    changes = [row for row in place.rows("connector_changes") if not row["baseline"]]
    assert [parsed(row["paths_changed"]) for row in changes if row["paths_changed"]] == [["$.exact[0]", "$.exact[1]"]]
    check_report(page, changes)


def check_report(page: Page, changes: list[dict[str, Any]]) -> None:
    """The report's numbers are those of the tables, read without it."""
    assert page.figures == {
        "failing-teams": "1",
        "stale-teams": "0",
        "failing-connectors": NONE,
        "typed-secrets": "1",
        "latest-changes": str(len(changes)),
    }
    found = [(row["team_id"], row["connector_identifier"], row["versions"]) for row in page.tables["connectors"]]
    assert sorted(found) == [(str(TEAM), "Far A", "2"), (str(OTHER), "Sandbox connector A", "1")]
    assert page.sentences["connectors"] == ["2 connectors in 2 teams with a complete sync."]
    days = page.tables["changes-by-day"]
    assert sum(int(row["changes"]) for row in days) == len(changes) == 2
    assert {row["change_day"] for row in days} == {str(row["detected_at"].date()) for row in changes}
    assert sorted(row["change"] for row in page.tables["latest-changes"]) == ["configuration changed", "removed"]
    assert {row["paths"] for row in page.tables["latest-changes"]} == {"~ $.exact[0]\n~ $.exact[1]", NONE}
    [failed] = page.tables["failing-teams"]
    assert (failed["http_status"], failed["error_message"]) == ("403", "You do not have access to this resource.")
    assert [row["redacted_paths"] for row in page.tables["typed-secrets"]] == ["A: $.client_secret"]
    assert page.tables.keys() == {*page.figures, "changes-by-day", "connectors"} - {"stale-teams", "failing-connectors"}


LONGEST = {"postgres": 63, "mariadb": 64}
"""The length limit of a name in characters; other destinations allow longer names than the test uses."""
NORMALISED = {"supermetrics-prod": "supermetrics_prod", "2026": "_2026", "a.b": "a_b", "Prod": "prod"}


def test_a_dataset_name_that_dlt_would_change_is_refused(place: Place, sandbox: Sandbox) -> None:
    """Two names could otherwise mean one dataset, with two locks. The message contains a name that dlt keeps."""
    sandbox.add_connector(TEAM, "A", configuration=configuration(a=1))
    longest = LONGEST.get(place.name)
    names = {**NORMALISED, **({"long" * 18: rf"\w{{{longest}}}"} if longest else {})}
    for name, instead in names.items():
        for attempt in (_load_into, _read_from):
            with pytest.raises(SupermetricsConfigurationError) as refused:
                attempt(place, sandbox, name)
            suggested = re.findall(rf"\(--dataset ({instead})\)", str(refused.value))
            assert len(suggested) == 1, refused.value
    assert sandbox.requests == []
    name = suggested[0] if longest else "long" * 18
    place.load(sandbox, on=place.pipeline(dataset=name))
    sandbox.edit_configuration(TEAM, "A", {"a": 2})
    place.load(sandbox, on=place.pipeline(dataset=name))
    page, difference = place.read(TEAM, "A", name)
    assert [change["path"] for change in difference.as_dict()["changes"]] == ["$.a"]
    assert [row["change"] for row in page.tables["latest-changes"]] == ["configuration changed"]
    assert page.figures["latest-changes"] == "1"


def _load_into(place: Place, sandbox: Sandbox, dataset: str) -> None:
    place.load(sandbox, on=place.pipeline(dataset=dataset))


def _read_from(place: Place, _: Sandbox, dataset: str) -> None:
    place.read(TEAM, "A", dataset)


def test_reading_an_empty_destination_creates_nothing(place: Place, sandbox: Sandbox) -> None:
    """Neither a database nor, in an existing database, a second dataset."""
    sandbox.add_connector(TEAM, "A", configuration=configuration(a=1))
    for dataset in ("supermetrics", "other"):
        destination = place.destination()
        before = sorted(place.folder.rglob("*"))
        with pytest.raises(NothingLoadedError), open_dataset(destination, dataset) as data:
            read_changes(data)
        assert sorted(place.folder.rglob("*")) == before
        place.load(sandbox)


def test_readers_refuse_snapshots(files: Place, tmp_path: Path, sandbox: Sandbox) -> None:
    """Their queries would count the rows of each run again."""
    sandbox.add_connector(TEAM, "A", configuration=configuration(a=1))
    for place in (files, _duckdb(tmp_path)):
        place.load(sandbox, snapshot=True)
        with pytest.raises(SupermetricsConfigurationError, match="holds snapshots"):
            place.read(TEAM, "A")


@pytest.mark.parametrize("place", sorted({"sqlite"} & {*MIRRORS}), indirect=True)
def test_an_invalid_stored_value_stops_no_load(place: Place, sandbox: Sandbox) -> None:
    """SQLite stores JSON and times as text, so a user can write invalid values. All teams are still loaded."""
    sandbox.add_connector(TEAM, "A", configuration=configuration(a=1))
    sandbox.add_connector(OTHER, "A", configuration=configuration(a=1))
    place.load(sandbox)
    table = "supermetrics.connector_configurations"
    place.execute(f"UPDATE {table} SET configuration_json = '{{' WHERE team_id = {TEAM}")
    place.execute(f"UPDATE {table} SET _dlt_valid_from = 'soon', updated_at = 'later' WHERE team_id = {TEAM}")
    for team in (TEAM, OTHER):
        sandbox.edit_configuration(team, "A", {"a": 2})
    place.load(sandbox)
    place.execute(f"DELETE FROM {table} WHERE updated_at = 'later'")
    assert_equal_to_the_api(place, sandbox)
    assert {parsed(row["paths_changed"])[0] for row in place.rows("connector_changes") if row["paths_changed"]} == {
        "$",
        "$.a",
    }


def test_plain_files_hold_snapshots(files: Place, sandbox: Sandbox) -> None:
    """Each run appends its full listing with a time, whether or not the listing has changed."""
    sandbox.add_connector(TEAM, "A", configuration=configuration(a=1), description="")
    sandbox.add_connector(TEAM, "B", description=None)
    for _ in range(2):
        files.load(sandbox, snapshot=True)
    sandbox.delete_connector(TEAM, "A")
    sandbox.fault(Fault(403))
    with pytest.raises(LoadFailedError):
        files.load(sandbox, snapshot=True)
    files.load(sandbox, snapshot=True, include_configs=False)
    stored = files.read_parquet("connectors")
    snapshots = sorted({row["snapshot_at"] for row in stored})
    assert [sorted(r["connector_identifier"] for r in stored if r["snapshot_at"] == at) for at in snapshots] == [
        ["A", "B"],
        ["A", "B"],
        ["B"],
    ]
    assert {row["connector_identifier"]: row["description"] for row in stored} == {"A": "", "B": None}
    assert "_deleted" not in stored[0]
    versions = files.read_parquet("connector_configurations")
    assert [parsed(row["configuration_json"]) for row in versions] == [{"a": 1}, {"a": 1}]
    assert [row["status"] for row in files.read_parquet("team_syncs")] == ["ok", "ok", "failed", "ok"]


def test_plain_files_are_refused_before_any_request(tmp_path: Path, sandbox: Sandbox) -> None:
    """Plain files cannot hold a mirror."""
    sandbox.add_connector(TEAM, "A")
    place = Place("files", lambda: dlt.destinations.filesystem(str(tmp_path / "files")), tmp_path)
    with pytest.raises(LoadFailedError) as refused:
        place.load(sandbox)
    assert str(refused.value).startswith(
        "SupermetricsConfigurationError: The destination 'filesystem' cannot hold the connectors as the API lists them:"
        " plain files can only be added to. Set table_format='delta' (--table-format delta) for Delta tables, choose a "
        "database such as duckdb or postgres, or set snapshot=True (--snapshot) to append each run's full listing."
    )
    assert sandbox.requests == []


def test_a_dataset_holds_a_mirror_or_snapshots(tmp_path: Path, sandbox: Sandbox) -> None:
    """In a mixed dataset, the current rows could not be identified."""
    sandbox.add_connector(TEAM, "A")
    place = _duckdb(tmp_path)
    place.load(sandbox)
    with pytest.raises(LoadFailedError, match="The dataset holds a mirror of the connectors and cannot hold snapshots"):
        place.load(sandbox, snapshot=True)
    place.load(sandbox, on=place.pipeline(dataset="snapshots"), snapshot=True)
    # the check reads the table itself: dlt's schema still contains a dropped table
    for table in ("connectors", "connector_versions", "connector_configurations", "team_syncs"):
        place.execute(f"DROP TABLE supermetrics.{table} CASCADE")
    place.load(sandbox, snapshot=True)
    with pytest.raises(LoadFailedError, match="The dataset holds snapshots of the connectors and cannot hold a mirror"):
        place.load(sandbox)


def _duckdb(folder: Path) -> Place:
    return Place("duckdb", lambda: dlt.destinations.duckdb(str(folder / "warehouse.duckdb")), folder)


def test_the_next_load_repairs_an_interrupted_delta_load(
    tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row that the killed load deleted, and that the API lists again, is written again."""
    sandbox.add_connector(TEAM, "A", name="a", configuration=configuration(a=1), updated_at="2025-01-01")
    sandbox.add_connector(TEAM, "B")
    uri = f"file:{tmp_path / 'lake'}"
    place = Place("delta", lambda: destination_at(uri), tmp_path, {"table_format": "delta"}, uri)
    place.load(sandbox)
    (gone,) = (each for each in sandbox.connectors(TEAM) if each["connector_identifier"] == "A")
    sandbox.delete_connector(TEAM, "A")
    with monkeypatch.context() as patched:  # killed after the tables, before the load is noted as complete
        patched.setattr("dlt.destinations.impl.filesystem.filesystem.FilesystemClient.complete_load", _killed)
        with pytest.raises(BaseException, match="killed"):
            place.load(sandbox)
    sandbox.add_connector(TEAM, **gone)
    place.load(sandbox)
    assert_equal_to_the_api(place, sandbox)


def _killed(*_: Any) -> None:
    raise KeyboardInterrupt("killed")


def test_types_are_as_documented(place: Place, sandbox: Sandbox) -> None:
    """In dlt's schema, and in the rows that the destination returns."""
    sandbox.add_connector(TEAM, "A", configuration=configuration(a=1), added=2**53 + 1, nested={"x": [1]})
    pipeline = place.pipeline()
    place.load(sandbox, on=pipeline)
    tables = pipeline.default_schema.tables
    json_type = "text" if place.name in ("sqlite", "mariadb", "bigquery", "snowflake") else "json"
    types = {name: c["data_type"] for name, c in tables["connectors"]["columns"].items() if not name.startswith("_dlt")}
    assert types == {
        "team_id": "bigint",
        **dict.fromkeys(("connector_identifier", "name", "description", "logo_url"), "text"),
        **dict.fromkeys(("created_at", "updated_at"), "timestamp"),
        "content_hash": "text",
        "_deleted": "bool",
        "added": "bigint",
        "nested": json_type,
    }
    configured = tables["connector_configurations"]["columns"]
    assert configured["configuration_json"]["data_type"] == json_type
    assert {configured[name]["data_type"] for name in ("_dlt_valid_from", "_dlt_valid_to")} == {"timestamp"}
    (row,) = place.rows("connectors")
    assert (row["added"], parsed(row["nested"])) == (2**53 + 1, {"x": [1]})
    assert place.value_in_json(tables) == "1"


# The others have one writer at a time, or are an engine or emulator that only this process reaches.
@pytest.mark.parametrize("place", sorted({"ducklake", "mariadb", "postgres"} & {*MIRRORS}), indirect=True)
def test_many_writers_share_a_dataset(place: Place, sandbox: Sandbox, request: pytest.FixtureRequest) -> None:
    """Many processes load different teams into an empty dataset: every row is stored once."""
    if place.name == "ducklake":  # SQLite, its default catalog, would be locked
        url = request.getfixturevalue("postgres_url")
        uri = f"{place.uri}?{url.partition('host=')[2]}"
        place = Place("ducklake", lambda: destination_at(uri), place.folder, uri=uri)
    writers = 4 if place.name == "ducklake" else 8  # whose commits a lake's catalog lets through one by one
    for team in range(1, 2 * writers + 1):
        extra: dict[str, Any] = {f"field_{team % 3}": 1}
        for number in range(5):
            sandbox.add_connector(team, f"C{number}", configuration=configuration(a=number), **extra)
    for _ in range(2):
        shares = [[team for team in sandbox.team_ids if team % writers == share] for share in range(writers)]
        run_writers(place, sandbox, shares)
        assert_equal_to_the_api(place, sandbox)
        sandbox.edit_connector(1, "C1", name="edited")
        sandbox.edit_configuration(2, "C1", {"a": 100})
        sandbox.delete_connector(3, sandbox.connectors(3)[0]["connector_identifier"])
    assert len(place.rows("team_syncs")) == 2 * len(sandbox.team_ids)


@pytest.mark.parametrize(
    ("place", "writer"),
    [
        *(("postgres", writer) for writer in ("run_load", "plain pipelines") if "postgres" in MIRRORS),
        *(("mariadb", "run_load") for name in MIRRORS if name == "mariadb"),
    ],
    indirect=["place"],
)
def test_two_runs_at_once_of_the_same_teams(place: Place, sandbox: Sandbox, writer: str) -> None:
    """Afterwards, or after the next run, each row and each change is stored once."""
    for team in (1, 2, 3):
        for number in range(5):
            sandbox.add_connector(team, f"C{number}", configuration=configuration(a=number))
    place.load(sandbox)
    for turn in range(3):
        sandbox.edit_connector(1, "C1", name=f"edited {turn}", updated_at="2025-01-01")
        sandbox.edit_configuration(2, "C1", {"a": f"edited {turn}"})
        sandbox.add_connector(3, f"NEW{turn}")
        run_writers(place, sandbox, [sandbox.team_ids] * 2, writer)
        if writer == "run_load":
            assert_equal_to_the_api(place, sandbox)
        place.load(sandbox)
        assert_equal_to_the_api(place, sandbox)
        changes = [row for row in place.rows("connector_changes") if not row["baseline"]]
        assert len(changes) == 3 * (turn + 1)
        assert place.copied(place.folder / "copy.duckdb").overlapping_versions() == []


def test_duplicates_are_deleted_and_are_no_change(place: Place, sandbox: Sandbox) -> None:
    """Two simultaneous runs may both write the same rows."""
    for name in "AB":
        sandbox.add_connector(TEAM, name, configuration=configuration(a=name))
    place.load(sandbox)
    sandbox.edit_connector(TEAM, "A", name="edited", configuration=configuration(a="edited"))
    place.load(sandbox)
    changes = changes_of(place)
    for table in ("connectors", "connector_versions", "connector_configurations"):
        place.add_copies(table)
        place.load(sandbox)
        assert_equal_to_the_api(place, sandbox)
        assert changes_of(place) == changes
        for history in ("connector_versions", "connector_configurations"):
            ended = [(row["version_id"][:32], row["_dlt_valid_to"]) for row in place.rows(history)]
            assert len(ended) == len(set(ended))


def run_writers(place: Place, sandbox: Sandbox, shares: list[list[int]], how: str = "run_load") -> None:
    """Runs one process per share, all at the same time."""
    python = [sys.executable, "-W", "ignore", "-c", WRITER]
    running = [
        subprocess.Popen(  # noqa: S603 - our own code
            [*python, place.uri, sandbox.url, str(number), ",".join(map(str, share)), how],
            cwd=place.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for number, share in enumerate(shares)
    ]
    failures = [process.communicate(timeout=400)[1] for process in running]
    codes = [process.returncode for process in running]
    assert not any(codes), [text for text, code in zip(failures, codes, strict=True) if code]


ROOT = Path(__file__).resolve().parents[2]
WRITER = """
import sys, dlt
from supermetrics_connectors import supermetrics_source
from supermetrics_loader.run.load import run_load
from tests.helpers.destinations import destination_at
uri, url, number, teams, how = sys.argv[1:]
layout = f"%s_staging_{number}"
target = destination_at(uri, staging_dataset_name_layout=layout)
pipeline = dlt.pipeline(f"writer_{number}", destination=target, dataset_name="supermetrics", pipelines_dir=f"p{number}")
settings = dict(team_ids=teams, api_key="api_sandbox_not_a_real_key", base_url=url, include_configs=True)
run_load(pipeline, **settings) if how == "run_load" else pipeline.run(supermetrics_source(**settings))
"""


def test_a_field_can_change_its_type_or_disappear(place: Place, sandbox: Sandbox) -> None:
    """A new type gets a column `…__v_type`; the column of a missing field becomes null."""
    sandbox.add_connector(TEAM, "A", added=1, gone="x", configuration=configuration(a=1))
    place.load(sandbox)
    sandbox.edit_connector(TEAM, "A", added="text", gone=OMIT)
    place.load(sandbox)
    (row,) = place.rows("connectors")
    assert (row["added"], row["added__v_text"], row["gone"]) == (None, "text", None)


@pytest.mark.parametrize("name", [name for name in STRATEGIES if name != "duckdb_file"])
def test_strategies_match_the_capabilities_of_dlt_s_destinations(name: str) -> None:
    """An upgrade of dlt that changes one fails here."""
    strategy = STRATEGIES[name]
    kind, _, table_format = name.partition(", ")
    destination = getattr(dlt.destinations, kind)
    capabilities = destination("x")._raw_capabilities() if kind == "filesystem" else destination()._raw_capabilities()
    formats = [*capabilities.supported_loader_file_formats, *(capabilities.supported_staging_file_formats or [])]
    assert strategy.file_format is None or strategy.file_format in formats
    supported = set(capabilities.supported_merge_strategies)
    if capabilities.merge_strategies_selector:
        table: Any = {"name": "connectors", "table_format": strategy.table_format}
        supported = set(capabilities.merge_strategies_selector(sorted(supported), table_schema=table))
    needed: dict[Any, set[str]] = {MIRROR: {"delete-insert", "scd2"}, UPSERT: {"upsert"}, SNAPSHOT: set()}
    assert needed[strategy.mode] <= supported
    if strategy.mode is not MIRROR:
        assert "scd2" not in supported, "dlt has learned SCD2 there: use it"
    if kind == "filesystem" and not table_format:
        assert not supported
    if strategy.mode is MIRROR and strategy.file_format and kind != "databricks":
        mapper = capabilities.get_type_mapper()
        for data_type in (strategy.json_type, "timestamp", "bigint", "bool", "text"):
            column: Any = {"name": "x", "data_type": data_type}
            mapper.ensure_supported_type(column, {"name": "t", "columns": {}}, strategy.file_format)


def test_every_destination_of_dlt_has_a_strategy_or_a_reason() -> None:
    """A destination that dlt adds fails this test until somebody decides how to write it."""
    others = {"dummy", "destination", "qdrant", "weaviate", "lancedb", "lance", "hf"}
    assert STRATEGIES["duckdb_file"] == replace(STRATEGIES["duckdb"], appends_new_keys=True)
    known = {name.partition(", ")[0] for name in STRATEGIES} | others
    names = {name for name in dlt.destinations.__all__ if name.islower() and not name.endswith("adapter")}
    assert names <= known, names - known


def test_optional_tables_are_kept_equal_to_the_api(
    place: Place, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every kind of difference, and a watermark that is read from the destination's own type of times."""
    now = datetime.now(timezone.utc).replace(microsecond=0)
    more: dict[str, Any] = {"include_teams": True, "include_logs": True, "include_secrets": True}
    auth = configuration(auth="{{sec_a23f23d26}} {{sec_0000missing}}")

    def entry(id_: str, minutes: int) -> dict[str, Any]:
        return {"id": id_, "log_time": (now - timedelta(minutes=minutes)).isoformat(), "status": 200}

    sandbox.add_connector(TEAM, "CRM", configuration=auth)
    sandbox.add_connector(TEAM, "SHOP")
    sandbox.log_page = 2
    monkeypatch.setattr(logs, "MIN_FULL_PAGE", 2)
    sandbox.add_log(TEAM, "CRM", entry("1-a", 90), entry("2-b", 80), entry("3-'c", 70))
    sandbox.set_secrets(TEAM, "CRM", {"sec_a23f23d26": "client_id", "sec_5b0c1f7e2": "client_secret"})
    place.load(sandbox, **more)
    first = {row["_dlt_load_id"] for row in place.rows("connector_logs")}
    sandbox.set_team(TEAM, name="Renamed")
    sandbox.set_secrets(TEAM, "CRM", {"sec_a23f23d26": "renamed", "sec_77d1e90b4": "spare"})
    sandbox.add_log(
        TEAM, "CRM", {**entry("n1", 0), "status": 500, "request_id": "of-n1"}, entry("n2", 2), entry("l-late", 100)
    )
    place.load(sandbox, **more)
    logged = {row["id"]: row for row in place.rows("connector_logs")}
    assert sorted(logged) == ["1-a", "2-b", "3-'c", "l-late", "n1", "n2"]
    assert len(place.rows("connector_logs")) == 6
    assert {logged[name]["_dlt_load_id"] for name in ("1-a", "2-b", "3-'c")} == first
    assert logged["n2"]["log_time"] == now - timedelta(minutes=2)
    assert [row["name"] for row in place.rows("teams")] == ["Renamed"]
    secrets = [(row["secret_placeholder"], row["secret_name"]) for row in place.rows("connector_secrets")]
    assert sorted(secrets) == [("sec_77d1e90b4", "spare"), ("sec_a23f23d26", "renamed")]
    assert len(place.rows("fetches")) == 5
    page, _ = place.read(TEAM, "CRM")
    [failing] = page.tables["failing-connectors"]
    crm = {"connector_identifier": "Sandbox connector CRM", "team_id": f"Renamed {TEAM}"}
    counts = {"errors": "1", "slow": "0", "calls": "6", "error_rate": "17 %", "request_id": "of-n1"}
    assert failing == {**crm, **counts, "last_error_at": shown("log_time", logged["n1"])}
    assert len(page.sentences["failing-connectors"]) == 1  # everything was examined
    assert page.sentences["failed-requests"] == ["Every request was answered."]
    assert page.tables["unused-secrets"] == [{**crm, "secret_placeholder": "sec_77d1e90b4", "secret_name": "spare"}]
    assert page.tables["missing-secrets"] == [{**crm, "secret_placeholder": "sec_0000missing"}]
    sandbox.delete_connector(TEAM, "CRM")
    place.load(sandbox, **more)
    assert place.rows("connector_secrets") == []
    assert len(place.rows("connector_logs")) == 6
    assert sorted(row["connectors_failing"] for row in place.rows("team_syncs")) == [0, 0, 0]


@pytest.mark.parametrize("place", WAREHOUSES or ["sqlite"], indirect=True)
def test_stored_rows_are_read_in_parts(place: Place, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where dlt converts rows to Arrow, so that a column without values in a part has no type (SQLite)."""
    monkeypatch.setattr(reader, "CHUNK_ROWS", 2)
    for name in "ab":
        sandbox.add_connector(TEAM, name, configuration=configuration(name=name))
    place.load(sandbox)
    assert [place.load(sandbox).teams[0][name] for name in ("connectors_changed", "connectors_removed")] == [0, 0]
    assert_equal_to_the_api(place, sandbox)
