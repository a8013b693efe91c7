"""A load that is killed, wherever it is, is repeated by the next one: nothing lost, doubled or left over."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from supermetrics_loader.cli.main import run
from supermetrics_loader.sandbox import Fault, Sandbox
from tests.helpers.warehouse import Warehouse, listed_configurations, listed_connectors

KILLS = int(os.environ.get("KILL_TEST_KILLS", "15"))
TEAMS = (1, 2, 3)
ARGUMENTS = ("load", "--include-configs", "--json")


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


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    """The file that the command line writes to."""
    return Warehouse(tmp_path / "supermetrics_connectors.duckdb")


def killed_load(sandbox: Sandbox, after: float) -> bool:
    """Starts the command line and kills it so many seconds after its first request; whether it was still running."""
    seen = len(sandbox.requests)
    with started("-m", "supermetrics_loader", *ARGUMENTS) as child:
        while child.poll() is None and len(sandbox.requests) == seen:
            time.sleep(0.002)
        time.sleep(after)
        child.kill()
        return child.wait() == -signal.SIGKILL


@contextmanager
def started(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A Python of its own, which does not outlive its use."""
    command = [sys.executable, *arguments]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:  # noqa: S603
        try:
            yield child
        finally:
            child.kill()


def assert_tables_are_the_api_s(sandbox: Sandbox, warehouse: Warehouse) -> None:
    """Rule 1: nothing missing, stale, doubled or left over."""
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


def test_killed_loads_are_repeated_without_loss_or_doubling(
    customer: Sandbox, warehouse: Warehouse, tmp_path: Path
) -> None:
    """Whenever the kill comes, whatever the API lists by then (also what it listed before), and on a new worker too."""
    chance = random.Random(20250406)  # noqa: S311 - the same history in every run, if not the same moments
    span = 0.5  # seconds from the first request to the end; found out as we go, so that most kills find something
    kills = 0
    while kills < KILLS:
        before = {team_id: customer.connectors(team_id) for team_id in TEAMS}
        change_something(customer, chance)
        killed = killed_load(customer, after=chance.uniform(0, span))
        kills += killed
        span *= 1.05 if killed else 0.8
        if chance.random() < 0.4:
            for team_id, connectors in before.items():
                customer.add_team(team_id, connectors)
        if chance.random() < 0.3:
            shutil.rmtree(tmp_path / "dlt", ignore_errors=True)
        if kills < KILLS and chance.random() < 0.4:
            continue  # and killed again
        assert run([*ARGUMENTS]) == 0
        assert_tables_are_the_api_s(customer, warehouse)


KILLED_WITHIN_THE_LOAD = """
import os, signal, sys, threading
from dlt.common.destination.client import RunnableLoadJob
from supermetrics_loader.cli.main import run

held, last = sys.argv[1], sys.argv[2]
run_managed = RunnableLoadJob.run_managed

def run_until_the_last(job, *args):
    kind = "merge of " if job.file_name().endswith(".sql") else "rows of "
    if kind + job.job_file_info().table_name == held:
        threading.Event().wait()
    run_managed(job, *args)
    if kind + job.job_file_info().table_name == last:
        os.kill(os.getpid(), signal.SIGKILL)

RunnableLoadJob.run_managed = run_until_the_last
run(sys.argv[3:])
"""
"""The command line, with one of dlt's jobs never begun and the end after another."""


def killed_within_the_load(held: str, last: str) -> None:
    """Loads without the job `held`, and is killed as soon as the job `last` is done."""
    with started("-c", KILLED_WITHIN_THE_LOAD, held, last, *ARGUMENTS) as child:
        assert child.wait(60) == -signal.SIGKILL


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


_TABLES = ("connectors", "connector_versions", "connector_configurations")
MOMENTS = [
    *((f"merge of {held}", f"merge of {last}") for held in _TABLES for last in _TABLES if held != last),
    *((f"rows of {held}", f"merge of {last}") for held in _TABLES for last in _TABLES if held != last),
    *(("rows of team_syncs", f"merge of {last}") for last in _TABLES),
    ("nothing", "rows of team_syncs"),
]
"""Each boundary between two commits of a load that merges: what has not begun, and what is done at the kill."""
FIRST_MOMENTS = [
    *((f"rows of {held}", f"rows of {last}") for held in _TABLES for last in _TABLES if held != last),
    *((f"rows of {held}", "rows of _dlt_pipeline_state") for held in _TABLES),
    *(("rows of team_syncs", f"rows of {last}") for last in _TABLES),
    ("nothing", "rows of team_syncs"),
]
"""The same of a first load, which merges nothing."""


def assert_no_sync_is_told_of(warehouse: Warehouse, before: list[dict[str, object]]) -> None:
    """`ok` is only said of a load that is complete."""
    assert warehouse.query("select * from team_syncs where status = 'ok' order by all") == before


@pytest.mark.parametrize(("held", "last"), MOMENTS)
def test_a_half_merged_load_is_evened_out(customer: Sandbox, warehouse: Warehouse, held: str, last: str) -> None:
    """What it merged and the API has since undone is undone in the tables too; after that nothing is written anew."""
    run([*ARGUMENTS])
    syncs = warehouse.query("select * from team_syncs where status = 'ok' order by all")
    undo = change_and_back(customer)
    killed_within_the_load(held, last)
    if last != "rows of team_syncs":
        assert_no_sync_is_told_of(warehouse, syncs)
    undo()
    assert run([*ARGUMENTS]) == 0
    assert_tables_are_the_api_s(customer, warehouse)
    contents = warehouse.contents()
    assert run([*ARGUMENTS]) == 0
    assert warehouse.contents() == contents


@pytest.mark.parametrize(("held", "last"), FIRST_MOMENTS)
def test_a_first_load_is_killed_and_repeated(customer: Sandbox, warehouse: Warehouse, held: str, last: str) -> None:
    """Some tables are there and some are not, and each is asked what it holds."""
    undo = change_and_back(customer)
    killed_within_the_load(held, last)
    if last != "rows of team_syncs":
        assert_no_sync_is_told_of(warehouse, [])
    undo()
    assert run([*ARGUMENTS]) == 0
    assert_tables_are_the_api_s(customer, warehouse)
    told = warehouse.query("select team_id, change from connector_changes where baseline order by all")
    kinds = ("added", "configuration_changed")
    assert [tuple(row.values()) for row in told] == [(team_id, kind) for team_id in TEAMS for kind in kinds]
    contents = warehouse.contents()
    assert run([*ARGUMENTS]) == 0
    assert warehouse.contents() == contents


def a_run_fails(sandbox: Sandbox) -> None:
    """Nothing is loaded but the failure's own note."""
    sandbox.fault(Fault(403), team_id=2)
    assert run([*ARGUMENTS]) == 65


def a_team_fails(sandbox: Sandbox) -> None:
    """The others are loaded."""
    sandbox.fault(Fault(403), team_id=2)
    assert run([*ARGUMENTS, "--keep-going"]) == 65


def a_listing_is_short(sandbox: Sandbox) -> None:
    """It gives no right to remove what the killed load left over."""
    sandbox.report_count(2, 99)
    assert run([*ARGUMENTS]) == 0
    sandbox.report_count(2, None)


def other_teams_are_loaded(sandbox: Sandbox) -> None:  # noqa: ARG001 - as the others
    """The rest has to wait for its turn."""
    assert run([*ARGUMENTS, "--team", "1"]) == 0


def configurations_are_left_out(sandbox: Sandbox) -> None:  # noqa: ARG001 - as the others
    """They have to wait until they are asked for again."""
    assert run(["load", "--json"]) == 0


def the_repair_is_killed(sandbox: Sandbox) -> None:  # noqa: ARG001 - as the others
    """Half of the tables were replaced."""
    killed_within_the_load("merge of connector_configurations", "rows of connector_configurations")


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
def test_the_repair_outlasts_what_comes_between(
    customer: Sandbox, warehouse: Warehouse, meanwhile: Callable[[Sandbox], None]
) -> None:
    """Every team is replaced by its next complete listing, whichever run that is in."""
    run([*ARGUMENTS])
    undo = change_and_back(customer)
    killed_within_the_load("merge of connector_versions", "merge of connector_configurations")
    undo()
    meanwhile(customer)
    assert run([*ARGUMENTS]) == 0
    assert_tables_are_the_api_s(customer, warehouse)
