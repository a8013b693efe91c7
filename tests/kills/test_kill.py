"""The load after a killed one makes the tables equal to the API: nothing lost, duplicated or left over."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import pytest

from supermetrics_loader.cli.main import run
from supermetrics_loader.read.dataset import open_dataset
from tests.helpers.destinations import Place, destination_at, parsed
from tests.helpers.kills import Moment, killed_between, started
from tests.helpers.sandbox import Fault, Sandbox
from tests.helpers.warehouse import Warehouse, listed_configurations, listed_connectors

# dlt's own use of deltalake and of PostgreSQL's driver warns; this project's code is held to silence by other tests
pytestmark = pytest.mark.filterwarnings("default")

KILLS = int(os.environ.get("KILL_TEST_KILLS", "15"))
"""Kills at random moments, for each destination a third."""
TEAMS = (1, 2, 3)
TABLES = ("connectors", "connector_versions", "connector_configurations")


@dataclass
class Target:
    """Where the command line loads to.

    Attributes:
        name: Of the destination.
        options: Options of the command line.
        place: To read it.
        dataset: The dataset.
    """

    name: str
    options: tuple[str, ...]
    place: Place
    dataset: str = "supermetrics"

    @property
    def arguments(self) -> list[str]:
        """Of a load."""
        return ["load", "--include-configs", "--json", *self.options, "--dataset", self.dataset]

    def load(self, *more: str) -> int:
        """Loads; the exit code."""
        return run([*self.arguments, *more])

    def warehouse(self) -> Warehouse:
        """The tables in a DuckDB file."""
        if self.name == "duckdb":
            return Warehouse(Path("supermetrics_connectors.duckdb").absolute(), self.dataset)
        return self.place.copied(self.place.folder / "copy.duckdb", self.dataset)

    def complete_syncs(self) -> list[list[object]]:
        """Team and start of the syncs that readers count as complete."""
        with open_dataset(self.place.destination(), self.dataset) as data:
            if "team_syncs" not in data.tables:
                return []
            sql = f"select team_id, started_at from {data.table('team_syncs')} where {data.complete_sync}"
            return sorted(list(row) for row in data.query(sql).rows)

    def commits(self, tables: tuple[str, ...], first: bool) -> frozenset[str]:
        """The jobs that change these tables: rows go there by themselves, or by way of a staging table."""
        straight = self.name == "delta" or tables == ("team_syncs",) or (self.name == "duckdb" and first)
        return frozenset(f"{'rows' if straight else 'merge'} of {table}" for table in tables)

    def moments(self, first: bool) -> list[Moment]:
        """Boundaries between two commits: some tables are changed, the others are not yet.

        All of them in the fastest destination; in another each kind once, in a first load or in one that merges.
        """
        moments = []
        for number in range(1, len(TABLES) + 1):
            for done in combinations(TABLES, number):
                rest = tuple(table for table in TABLES if table not in done) or ("team_syncs",)
                # where two are changed, the third is not even staged
                held = frozenset(f"rows of {table}" for table in rest) if number > 1 else self.commits(rest, first)
                staged = {name.replace("merge", "rows") for name in held} - held
                moments.append(Moment(held, self.commits(done, first) | staged))
        moments.append(Moment(frozenset(), self.commits(("team_syncs",), first)))
        return moments if self.name == "duckdb" else moments[first::2]


def target(name: str, request: pytest.FixtureRequest, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Target:
    """A destination to load to, empty."""
    if name == "postgres":
        uri = request.getfixturevalue("postgres_url")
        monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", uri)
        place = Place(name, lambda: destination_at(uri), folder, uri=uri)
        return Target(name, ("--destination", "postgres"), place, f"killed_{time.time_ns()}")
    if name == "delta":
        uri = f"file:{folder / 'lake'}"
        monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", str(folder / "lake"))
        place = Place(name, lambda: destination_at(uri), folder, {"table_format": "delta"}, uri)
        return Target(name, ("--destination", "filesystem", "--table-format", "delta"), place)
    uri = f"duckdb:{folder / 'supermetrics_connectors.duckdb'}"
    return Target(name, (), Place(name, lambda: destination_at(uri), folder, uri=uri))


@pytest.fixture(params=["duckdb", "postgres", "delta"])
def anywhere(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Target:
    """Each destination; their commits differ."""
    return target(request.param, request, tmp_path, monkeypatch)


@pytest.fixture
def duckdb(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Target:
    """The fastest destination."""
    return target("duckdb", request, tmp_path, monkeypatch)


@pytest.fixture
def customer(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """A sandbox with teams of ten connectors each, and an environment in which the command line loads them."""
    for team_id in TEAMS:
        for number in range(10):
            configuration = {"version": "1.0.0", "configuration_json": {"number": number}}
            sandbox.add_connector(team_id, f"C{number}", configuration=configuration, updated_at="2025-01-01")
    monkeypatch.setenv("SUPERMETRICS_API_KEY", sandbox.token)
    monkeypatch.setenv("SOURCES__SUPERMETRICS__BASE_URL", sandbox.url)
    monkeypatch.setenv("SOURCES__SUPERMETRICS__TEAM_IDS", ",".join(map(str, TEAMS)))
    monkeypatch.setenv("SOURCES__SUPERMETRICS__REQUEST_BACKOFF_FACTOR", "0")
    return sandbox


def killed_load(sandbox: Sandbox, target: Target, after: float) -> bool:
    """Starts the command line and kills it so many seconds after its first request; whether it was still running."""
    seen = len(sandbox.requests)
    with started(target.arguments) as child:
        while child.is_alive() and len(sandbox.requests) == seen:
            time.sleep(0.002)
        child.join(after)
        child.kill()
        child.join()
        return child.exitcode == -signal.SIGKILL


def assert_tables_are_the_api_s(sandbox: Sandbox, warehouse: Warehouse) -> None:
    """Nothing is missing, stale, duplicated or left over."""
    for team_id in TEAMS:
        assert warehouse.connectors(team_id) == listed_connectors(sandbox, team_id)
        assert warehouse.configurations(team_id) == listed_configurations(sandbox, team_id)
    assert warehouse.doubled() == {}
    assert warehouse.overlapping_versions() == []


def change_something(sandbox: Sandbox, random: random.Random) -> None:
    """Edits, deletes, adds or configures a few connectors."""
    for _ in range(random.randint(1, 4)):
        team_id, number = random.choice(TEAMS), random.randint(0, 11)
        known = {each["connector_identifier"] for each in sandbox.connectors(team_id)}
        identifier = f"C{number}"
        if identifier not in known:
            sandbox.add_connector(team_id, identifier, updated_at="2025-01-01")
        elif random.random() < 0.4:
            sandbox.delete_connector(team_id, identifier)
        elif random.random() < 0.5:
            sandbox.edit_connector(team_id, identifier, name=random.choice("abc"), updated_at="2025-01-01")
        else:
            sandbox.edit_configuration(team_id, identifier, {"number": random.randint(0, 3)}, version="1.0.0")


def test_the_load_after_a_killed_load_has_no_loss_and_no_duplicates(
    customer: Sandbox, anywhere: Target, tmp_path: Path
) -> None:
    """For kills at any time, also if the API lists earlier content again, and on a new worker."""
    chance = random.Random(20250406)  # noqa: S311 - the same history in every run, if not the same moments
    span = 0.5  # seconds from the first request to the end; found out as we go, so that most kills find something
    kills = 0
    while kills < KILLS / 3:
        before = {team_id: customer.connectors(team_id) for team_id in TEAMS}
        change_something(customer, chance)
        killed = killed_load(customer, anywhere, after=chance.uniform(0, span))
        kills += killed
        span *= 1.05 if killed else 0.8
        if chance.random() < 0.4:
            for team_id, connectors in before.items():
                customer.add_team(team_id, connectors)
        if chance.random() < 0.3:
            shutil.rmtree(tmp_path / "dlt", ignore_errors=True)
        if kills < KILLS / 3 and chance.random() < 0.4:
            continue  # and killed again
        assert anywhere.load() == 0
        assert_tables_are_the_api_s(customer, anywhere.warehouse())


def change_and_back(sandbox: Sandbox) -> Callable[[], None]:
    """Changes a connector of each kind of change; returns what undoes it all."""
    before = {team_id: sandbox.connectors(team_id) for team_id in TEAMS}
    for team_id in TEAMS:
        sandbox.edit_connector(team_id, "C0", name="Edited")
        sandbox.edit_configuration(team_id, "C1", {"edited": True})
        sandbox.delete_connector(team_id, "C2")
        sandbox.add_connector(team_id, "NEW", configuration={"configuration_json": {}})

    def back() -> None:
        for team_id, connectors in before.items():
            sandbox.add_team(team_id, connectors)

    return back


def test_a_partly_merged_load_is_corrected(customer: Sandbox, anywhere: Target) -> None:
    """Rows that it merged and that the API no longer lists disappear; the load after that writes no rows again."""
    assert anywhere.load() == 0
    for moment in anywhere.moments(first=False):
        before = anywhere.complete_syncs()
        undo = change_and_back(customer)
        killed_between(anywhere.arguments, moment)
        assert anywhere.complete_syncs() == before, moment
        undo()
        assert anywhere.load() == 0
        warehouse = anywhere.warehouse()
        assert_tables_are_the_api_s(customer, warehouse)
    contents = warehouse.contents()
    assert anywhere.load() == 0
    assert anywhere.warehouse().contents() == contents


def test_a_first_load_is_killed_and_repeated(customer: Sandbox, anywhere: Target) -> None:
    """Some tables exist and some do not. The sync of the killed load never counts as complete afterwards."""
    dataset = anywhere.dataset
    for number, moment in enumerate(anywhere.moments(first=True)):
        anywhere.dataset = f"{dataset}_{number}"
        undo = change_and_back(customer)
        killed_between(anywhere.arguments, moment)
        undo()
        assert anywhere.load() == 0
        assert [team_id for team_id, _ in anywhere.complete_syncs()] == list(TEAMS), moment
        warehouse = anywhere.warehouse()
        assert_tables_are_the_api_s(customer, warehouse)
        rows = anywhere.place.rows("connector_changes", anywhere.dataset)
        baselines = sorted((row["team_id"], row["change"]) for row in rows if row["baseline"])
        assert baselines == [(team_id, kind) for team_id in TEAMS for kind in ("added", "configuration_changed")]
        contents = warehouse.contents()
    assert anywhere.load() == 0
    assert anywhere.warehouse().contents() == contents


CHANGED = [("C0", "updated"), ("C1", "configuration_changed"), ("C2", "removed"), ("NEW", "added")]


def test_changes_of_a_killed_load_appear_once(customer: Sandbox, anywhere: Target) -> None:
    """For every set of merged tables, and after later runs."""
    dataset = anywhere.dataset
    most = 6 if anywhere.name == "duckdb" else 2  # the other moments leave the same histories
    for number, moment in enumerate(anywhere.moments(first=False)[:most]):
        anywhere.dataset = f"{dataset}_{number}"
        assert anywhere.load() == 0
        undo = change_and_back(customer)
        killed_between(anywhere.arguments, moment)
        assert anywhere.load() == 0
        assert anywhere.load() == 0
        rows = anywhere.place.rows("connector_changes", anywhere.dataset)
        changes = sorted((row["connector_identifier"], row["change"]) for row in rows if not row["baseline"])
        assert changes == sorted(CHANGED * len(TEAMS)), moment
        assert len(rows) == len(changes) + 2 * len(TEAMS), moment
        found = {row["paths_added"] and str(parsed(row["paths_added"])) for row in rows}
        assert found == {None, "['$.edited']"}, moment
        undo()


def a_run_fails(sandbox: Sandbox, target: Target) -> None:
    """Only the failure is recorded."""
    sandbox.fault(Fault(403), team_id=2)
    assert target.load() == 65


def a_team_fails(sandbox: Sandbox, target: Target) -> None:
    """The others are loaded."""
    sandbox.fault(Fault(403), team_id=2)
    assert target.load("--keep-going") == 65


def a_listing_is_short(sandbox: Sandbox, target: Target) -> None:
    """An incomplete listing removes no rows of the killed load."""
    sandbox.report_count(2, 99)
    assert target.load() == 0
    sandbox.report_count(2, None)


def other_teams_are_loaded(sandbox: Sandbox, target: Target) -> None:  # noqa: ARG001 - as the others
    """The other teams are corrected by a later load."""
    assert target.load("--team", "1") == 0


def configurations_are_left_out(sandbox: Sandbox, target: Target) -> None:  # noqa: ARG001 - as the others
    """They are corrected by a later load that includes them."""
    assert run(["load", "--json", *target.options]) == 0


def the_repair_is_killed(sandbox: Sandbox, target: Target) -> None:  # noqa: ARG001 - as the others
    """Half of the tables are merged."""
    rows, merge = "rows of connector_configurations", "merge of connector_configurations"
    killed_between(target.arguments, Moment(frozenset({merge}), frozenset({rows})))


@pytest.mark.parametrize(
    "meanwhile",
    [
        a_run_fails,
        a_team_fails,
        a_listing_is_short,
        other_teams_are_loaded,
        configurations_are_left_out,
        the_repair_is_killed,
    ],
)
def test_other_runs_in_between_do_not_prevent_the_correction(
    customer: Sandbox, duckdb: Target, meanwhile: Callable[[Sandbox, Target], None]
) -> None:
    """The next complete listing of a team corrects its rows."""
    duckdb.load()
    undo = change_and_back(customer)
    held, done = "merge of connector_versions", "merge of connector_configurations"
    killed_between(duckdb.arguments, Moment(frozenset({held}), frozenset({done})))
    undo()
    meanwhile(customer, duckdb)
    assert duckdb.load() == 0
    assert_tables_are_the_api_s(customer, duckdb.warehouse())
