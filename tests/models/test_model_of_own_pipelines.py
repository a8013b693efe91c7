"""Random uses of the source in a user's own pipelines: tables equal the API after each good run, or it was refused."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest import mock

import dlt
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from supermetrics_connectors import create_changes_view
from tests.helpers.expectations import (
    COMPARED,
    assert_tables_equal_the_api,
    configuration,
    make_source,
    refused,
    rows_of,
)
from tests.helpers.histories import History, try_histories
from tests.helpers.sandbox import Sandbox
from tests.helpers.warehouse import Warehouse

USES = int(os.environ.get("MODEL_TEST_USES", "4"))
"""Histories tried; each has up to 20 events."""
TEAMS = (1, 2)
RENAMED = {name: f"my_{name}" for name in (*COMPARED, "team_syncs")}

Source = dlt.sources.DltSource

teams = st.sampled_from(TEAMS)
identifiers = st.sampled_from(["A", "B"])
tables = st.sampled_from([*COMPARED, "team_syncs"])
settings_of_dlt = st.sampled_from(
    [
        "NORMALIZE__PARQUET_NORMALIZER__ADD_DLT_ID=true",
        "NORMALIZE__PARQUET_NORMALIZER__ADD_DLT_LOAD_ID=true",
        "NORMALIZE__LOADER_FILE_FORMAT=jsonl",
        "LOAD__TRUNCATE_STAGING_DATASET=true",
        "LOAD__WORKERS=1",
        "EXTRACT__NEXT_ITEM_MODE=round_robin",
        "RESTORE_FROM_DESTINATION=false",
    ]
)
contracts = st.sampled_from(["evolve", "freeze", {"columns": "discard_value"}, {"data_type": "freeze"}])
lossy_contracts = st.sampled_from(["discard_row", {"data_type": "discard_row"}, {"tables": "discard_value"}])


def _renamed(source: Source, names: dict[str, str]) -> Source:
    for resource, name in names.items():
        source.resources[resource].apply_hints(table_name=name)
    return source


class OwnPipelines(History):
    """A customer's teams in the API, and a user's pipelines into one file."""

    def __init__(self) -> None:
        super().__init__(Sandbox(teams={team_id: [] for team_id in TEAMS}))
        self.workers = itertools.count()
        self.edits = itertools.count()

    @initialize()
    def begin(self) -> None:
        """Each user begins with an empty warehouse."""
        self.folder.mkdir()
        self.take_another_worker()

    @rule()
    def take_another_worker(self) -> None:
        """Another machine, with an empty working folder."""
        self.pipeline = self.new_pipeline("own", f"worker_{next(self.workers)}")

    # --- the API and the tables ---------------------------------------------------------------------------------------

    @rule(team_id=teams, identifier=identifiers)
    def edit(self, team_id: int, identifier: str) -> None:
        """Creates a connector, or edits its name and configuration."""
        name = f"edit {next(self.edits)}"
        fields = {"name": name, "configuration": configuration(name=name), "updated_at": "2025-01-01"}
        if identifier in {each["connector_identifier"] for each in self.sandbox.connectors(team_id)}:
            self.sandbox.edit_connector(team_id, identifier, **fields)
        else:
            self.sandbox.add_connector(team_id, identifier, **fields)

    @rule(team_id=teams)
    def delete(self, team_id: int) -> None:
        """Deletes the first connector of a team, if there is one."""
        for connector in self.sandbox.connectors(team_id)[:1]:
            self.sandbox.delete_connector(team_id, connector["connector_identifier"])

    @rule(table=tables, how=st.sampled_from(["drop table if exists", "delete from"]))
    def lose_a_table(self, table: str, how: str) -> None:
        """A user drops or empties a table."""
        self.touch(f"{how} {table}")

    @rule(table=st.sampled_from(COMPARED))
    def write_a_blank_identifier(self, table: str) -> None:
        """A user writes rows of a connector without an identifier."""
        self.touch(f"insert into {table} by name select * replace ('' as connector_identifier) from {table} limit 1")

    @rule()
    def empty_the_table_of_loads(self) -> None:
        """A user empties `_dlt_loads`."""
        self.touch("delete from _dlt_loads")

    # --- runs that have to be right -----------------------------------------------------------------------------------

    @rule()
    def run(self) -> None:
        """An ordinary run, and the view of its changes."""
        self._run(make_source(self.sandbox))
        assert create_changes_view(self.pipeline, "supermetrics")

    @rule(setting=settings_of_dlt)
    def run_with_a_setting(self, setting: str) -> None:
        """A run under one of dlt's settings."""
        name, _, value = setting.partition("=")
        with mock.patch.dict(os.environ, {name: value}):
            self._run(make_source(self.sandbox))

    @rule(is_first=st.booleans())
    def run_beside_a_second_source(self, is_first: bool) -> None:
        """A run before or after another source in the same pipeline."""
        other = dlt.resource([{"id": 1}], name="orders")
        if is_first:
            self.pipeline.run(other, schema=dlt.Schema("shop"))
        self._run(make_source(self.sandbox))
        if not is_first:
            self.pipeline.run(other, schema=dlt.Schema("shop"))

    @rule(names=st.sampled_from([RENAMED, {"connectors": "my_connectors"}, {"connector_versions": "my_versions"}]))
    def run_with_other_names(self, names: dict[str, str]) -> None:
        """A run into tables of other names."""
        self._run(_renamed(make_source(self.sandbox), names), names)

    @rule(name=st.sampled_from(["clone", "renamed", "resources"]))
    def run_a_clone(self, name: str) -> None:
        """A run of a clone, of a renamed source, or of single resources."""
        source = make_source(self.sandbox)
        clones: dict[str, Callable[[], Any]] = {
            "clone": source.clone,
            "renamed": lambda: source.clone(with_name="of_customers"),
            "resources": lambda: [source.resources[table] for table in COMPARED],
        }
        self._run(clones[name]())

    @rule(contract=contracts)
    def run_with_a_contract(self, contract: Any) -> None:
        """A run with a contract that loses no row, where every table and column exists."""
        self._run(make_source(self.sandbox))
        self._run(make_source(self.sandbox), schema_contract=contract)

    @rule(team_id=teams)
    def run_one_source_twice(self, team_id: int) -> None:
        """Two runs of one source object, with an edit between them."""
        source = make_source(self.sandbox)
        self._run(source)
        self.edit(team_id, "A")
        self._run(source)

    @rule()
    def run_a_source_per_team(self) -> None:
        """One run of sources made in threads."""
        with ThreadPoolExecutor(len(TEAMS)) as pool:
            sources = list(pool.map(lambda team_id: make_source(self.sandbox, team_id), TEAMS))
            read = list(pool.map(lambda source: list(source.connector_versions), sources))
        for team_id, parts in zip(TEAMS, read, strict=True):
            assert {team for part in parts for team in part["team_id"].to_pylist()} <= {team_id}
        self._run(sources)

    @rule(team_id=teams, is_loaded_late=st.booleans())
    def load_packages_late(self, team_id: int, is_loaded_late: bool) -> None:
        """Two extractions before one load, or a load after another machine's run; the next run repairs the tables."""
        self.pipeline.extract(make_source(self.sandbox))
        self.edit(team_id, "B")
        if is_loaded_late:
            self.new_pipeline("own", f"worker_{next(self.workers)}").run(make_source(self.sandbox))
        else:
            self.pipeline.extract(make_source(self.sandbox))
        self.pipeline.normalize()
        self.pipeline.load()
        self._run(make_source(self.sandbox))

    # --- runs that have to be refused ---------------------------------------------------------------------------------

    @rule(table=tables)
    def run_with_a_cursor(self, table: str) -> None:
        """An incremental hint."""
        source = make_source(self.sandbox)
        source.resources[table].apply_hints(incremental=dlt.sources.incremental("updated_at"))
        self._expect_refusal(source)

    @rule(contract=lossy_contracts)
    def run_with_a_lossy_contract(self, contract: Any) -> None:
        """A contract that discards rows."""
        self._expect_refusal(make_source(self.sandbox), schema_contract=contract)

    @rule(disposition=st.sampled_from(["append", "replace"]))
    def run_with_a_disposition(self, disposition: str) -> None:
        """Another write disposition."""
        self._expect_refusal(make_source(self.sandbox), write_disposition=disposition)

    @rule()
    def ignore_failed_jobs(self) -> None:
        """A load that would count as complete without a table."""
        with mock.patch.dict(os.environ, LOAD__RAISE_ON_FAILED_JOBS="false"):
            self._expect_refusal(make_source(self.sandbox))

    # --- checks -------------------------------------------------------------------------------------------------------

    def _run(self, data: Any, names: dict[str, str] | None = None, **arguments: Any) -> None:
        self.pipeline.run(data, **arguments)
        with self.warehouse.held_open():
            rows = rows_of(Warehouse(self.warehouse.path), names)
            assert_tables_equal_the_api(self.sandbox, rows)
            assert self.warehouse.overlapping_versions() == []

    def _expect_refusal(self, source: Source, **arguments: Any) -> None:
        before = self.warehouse.contents() if self.warehouse.path.exists() else None
        with refused(self.sandbox):
            self.pipeline.run(source, **arguments)
        assert before is None or self.warehouse.contents() == before


def test_tables_equal_the_api_or_the_run_was_refused() -> None:
    """After any sequence of uses that dlt documents."""
    try_histories(OwnPipelines, USES, 20)
