"""Random years of one customer: after every run the tables equal the API, or are unchanged."""

from __future__ import annotations

import itertools
import os
from typing import Any

import dlt
import orjson
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from supermetrics_connectors import supermetrics_source
from supermetrics_connectors.settings import OnTeamError
from supermetrics_loader.run.load import LoadFailedError, run_load
from tests.helpers.histories import History, try_histories
from tests.helpers.sandbox import OMIT, Fault, Sandbox
from tests.helpers.warehouse import listed_configurations, listed_connectors

YEARS = int(os.environ.get("MODEL_TEST_YEARS", "6"))
"""Histories tried; each has up to 30 events."""

TEAMS = (1, 2, 3)
VALIDITY = ("_dlt_valid_from", "_dlt_valid_to")
ATTEMPTS = 2

teams = st.sampled_from(TEAMS)
identifiers = st.sampled_from(["A", "B-2", "c_3"])
tables = st.sampled_from(["connectors", "connector_versions", "connector_configurations"])
stamps = st.sampled_from(
    ["2025-01-01", "2025-01-01T00:00:00Z", "2024-02-29T23:59:59+0000", "2026-04-06T10:59:04+00:00", None, OMIT]
)
texts = st.sampled_from(["Shop", "Kauppa ä€😀", "", None])
fields = st.fixed_dictionaries(
    {}, optional={"name": texts, "description": texts, "created_at": stamps, "updated_at": stamps, "tier": texts}
)
definitions = st.sampled_from([{}, {"a": 1, "b": {"c": []}}, {"b": {"c": []}, "a": 1}, {"a": 1.0}, {"a": [None, "'"]}])
configurations = st.one_of(
    st.sampled_from([None, OMIT]),
    st.fixed_dictionaries(
        {"configuration_json": definitions},
        optional={
            "version": st.sampled_from(["1.0.0", "1.0.1", None]),
            "updated_at": stamps.filter(lambda stamp: stamp is not OMIT),
        },
    ),
)
PASSING = {
    "429": Fault(429, retry_after=0),
    "503": Fault(503),
    "502 of a gateway": Fault(502, body=b"<html>", content_type="text/html"),
    "200 of a gateway": Fault(200, body=b"<html>", content_type="text/html"),
    "reset before headers": Fault(stage="before_headers"),
    "reset in headers": Fault(stage="in_headers"),
    "reset in body": Fault(stage="mid_body"),
}
LASTING = {
    "429 for an hour": Fault(429, retry_after=3600),
    "400": Fault(400),
    "403": Fault(403),
    "404": Fault(404),
    "redirect": Fault(302, location="http://127.0.0.1:9/"),
    "no object": Fault(body=b"[]"),
    "no identifier": Fault(body=b'{"count": 1, "connectors": [{"name": "none"}]}'),
    "no date": Fault(body=b'{"count": 1, "connectors": [{"connector_identifier": "A", "updated_at": "yesterday"}]}'),
}


def current(table: str) -> str:
    """The condition of current rows."""
    return "true" if table == "connectors" else "_dlt_valid_to is null"


class Customer(History):
    """A customer's teams in the API, and the pipeline that loads them."""

    def __init__(self) -> None:
        super().__init__(Sandbox(teams={team_id: [] for team_id in TEAMS}))
        self.workers = itertools.count()
        self.deleted: dict[tuple[int, str], dict[str, Any]] = {}
        self.failing: set[int] = set()
        self.name = "model"
        self.key = self.sandbox.token

    def _edit(self, team_id: int, identifier: str, changes: dict[str, Any]) -> None:
        known = any(each["connector_identifier"] == identifier for each in self.sandbox.connectors(team_id))
        if known:
            self.sandbox.edit_connector(team_id, identifier, **{"updated_at": "2025-01-01", **changes})
        else:
            self.sandbox.add_connector(team_id, identifier, **changes)

    @initialize()
    def a_first_worker(self) -> None:
        """Each customer begins with an empty warehouse."""
        self.folder.mkdir()
        self._new_worker()

    @rule(team_id=teams, identifier=identifiers, changes=fields)
    def edit(self, team_id: int, identifier: str, changes: dict[str, Any]) -> None:
        """Creates or edits a connector with any date: shared late, twice on a day, a clock that stands still."""
        self._edit(team_id, identifier, changes)

    @rule(team_id=teams, identifier=identifiers, configuration=configurations)
    def configure(self, team_id: int, identifier: str, configuration: Any) -> None:
        """Edits, adds or removes a configuration; the connector's clock stands still."""
        self._edit(team_id, identifier, {"configuration": configuration})

    @rule(team_id=teams, identifier=identifiers)
    def delete(self, team_id: int, identifier: str) -> None:
        """Deletes a connector, if it exists."""
        for connector in self.sandbox.connectors(team_id):
            if connector["connector_identifier"] == identifier:
                self.deleted[team_id, identifier] = connector
                self.sandbox.delete_connector(team_id, identifier)

    @precondition(lambda self: self.deleted)
    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        """Restores a deleted connector with its dates."""
        (team_id, identifier) = data.draw(st.sampled_from(sorted(self.deleted)))
        connector = self.deleted.pop((team_id, identifier))
        if identifier not in listed_connectors(self.sandbox, team_id):
            self.sandbox.add_team(team_id, [connector, *self.sandbox.connectors(team_id)])

    @rule(table=tables, identifier=identifiers)
    def lose_rows(self, table: str, identifier: str) -> None:
        """A user deletes current rows of some connectors."""
        self.touch(f"delete from {table} where connector_identifier = '{identifier}' and {current(table)}")

    @rule(table=tables)
    def empty_a_table(self, table: str) -> None:
        """A user deletes all current rows."""
        self.touch(f"delete from {table} where {current(table)}")

    @rule(table=tables)
    def drop_a_table(self, table: str) -> None:
        """A user drops a table."""
        self.touch(f"drop table if exists {table}")

    @rule(hours=st.sampled_from([1, 24 * 30]))
    def be_ahead_of_the_clock(self, hours: int) -> None:
        """The versions of the histories were dated by a clock that was ahead."""
        for table in ("connector_versions", "connector_configurations"):
            moved = ", ".join(f"{column} = {column} + interval {hours} hour" for column in VALIDITY)
            self.touch(f"update {table} set {moved}")

    @rule(name=st.sampled_from(["model", "another", "model_1_of_2", "model_2_of_3"]))
    def take_another_pipeline(self, name: str) -> None:
        """Another name, or another number of shards."""
        self.name = name
        self._new_worker()

    @rule()
    def rotate_the_key(self) -> None:
        """Revokes the old key; the next run fails."""
        self.sandbox.tokens = {f"{self.key}_next"}

    @rule(team_id=teams, fault=st.sampled_from(list(PASSING)))
    def fail_once(self, team_id: int, fault: str) -> None:
        """One bad response; the next attempt succeeds."""
        if team_id not in self.failing:
            self.failing.add(team_id)
            self.sandbox.fault(PASSING[fault], team_id=team_id, times=ATTEMPTS - 1)

    @rule(team_ids=st.sets(teams, min_size=1), include_configs=st.booleans(), skip=st.booleans(), fresh=st.booleans())
    def run(self, team_ids: set[int], include_configs: bool, skip: bool, fresh: bool) -> None:
        """A run with passing faults at most."""
        self._run(team_ids, set(), {}, include_configs, skip, fresh)

    @rule(
        team_ids=st.sets(teams, min_size=2),
        fault=st.sampled_from([*PASSING, *LASTING]),
        include_configs=st.booleans(),
        skip=st.booleans(),
    )
    def run_while_a_team_fails(self, team_ids: set[int], fault: str, include_configs: bool, skip: bool) -> None:
        """A run with a failing team."""
        broken = min(team_ids)
        self.sandbox.clear_faults()
        self.sandbox.fault({**PASSING, **LASTING}[fault], team_id=broken, times=ATTEMPTS)
        self._run(team_ids, {broken}, {}, include_configs, skip, False)

    @rule(team_ids=st.sets(teams, min_size=1), include_configs=st.booleans(), shown=st.sets(identifiers))
    def run_with_a_short_listing(self, team_ids: set[int], include_configs: bool, shown: set[str]) -> None:
        """A run with a team whose count is higher than the length of its list."""
        short = min(team_ids)
        connectors = [
            each for each in self.sandbox.connectors(short, include_configs) if each["connector_identifier"] in shown
        ]
        body = orjson.dumps({"count": len(connectors) + 1, "connectors": connectors})
        self.sandbox.clear_faults()
        self.sandbox.fault(Fault(body=body), team_id=short)
        self._run(team_ids, set(), {short: shown}, include_configs, False, False)

    @rule(team_ids=st.sets(teams, min_size=1), include_configs=st.booleans())
    def run_beside_another(self, team_ids: set[int], include_configs: bool) -> None:
        """A run between the extraction and the load of another run; the next run repairs the tables."""
        self.key = min(self.sandbox.tokens)
        self.failing.clear()
        self.sandbox.clear_faults()
        beside = self._pipeline("beside")
        beside.extract(supermetrics_source(**self._settings(team_ids, include_configs)))
        self._run(team_ids, set(), {}, include_configs, False, False)
        beside.normalize()
        beside.load()
        self._run(team_ids, set(), {}, True, False, False)

    def _new_worker(self) -> None:
        self.pipeline = self._pipeline(self.name)

    def _pipeline(self, name: str) -> dlt.Pipeline:
        return self.new_pipeline(name, f"worker_{next(self.workers)}")

    def _settings(self, team_ids: set[int], include_configs: bool) -> dict[str, Any]:
        return {
            "team_ids": sorted(team_ids),
            "api_key": self.key,
            "base_url": self.sandbox.url,
            "include_configs": include_configs,
            "request_backoff_factor": 0,
            "request_max_attempts": ATTEMPTS,
            "workers": 2,
        }

    def _run(
        self,
        team_ids: set[int],
        broken: set[int],
        short: dict[int, set[str]],
        include_configs: bool,
        skip: bool,
        fresh: bool,
    ) -> None:
        if fresh:
            self._new_worker()
        before = self._snapshot()
        unauthorized = self.key not in self.sandbox.tokens
        try:
            how: OnTeamError = "skip" if skip else "raise"
            result = run_load(self.pipeline, **self._settings(team_ids, include_configs), on_team_error=how)
        except LoadFailedError as error:
            failure: LoadFailedError | None = error
        else:
            failure = None
        finally:
            self.key = min(self.sandbox.tokens)
            self.failing.clear()
            self.sandbox.clear_faults()
        if failure:
            assert unauthorized or (broken and not skip)
            assert self._snapshot() == before
            self._assert_failure_is_recorded(failure)
        else:
            assert broken == {row["team_id"] for row in result.failed}
            with self.warehouse.held_open():
                self._check(team_ids, broken, short, include_configs, before)
        with self.warehouse.held_open():
            assert self.warehouse.doubled() == {}
            assert self.warehouse.overlapping_versions() == []

    def _snapshot(self) -> tuple[Any, ...]:
        """Connectors and current configurations by team, and the contents of all tables."""
        with self.warehouse.held_open():
            current = {team: (self.warehouse.connectors(team), self.warehouse.configurations(team)) for team in TEAMS}
            return current, self.warehouse.contents()

    def _assert_failure_is_recorded(self, error: LoadFailedError) -> None:
        newest = self.warehouse.query("select * from team_syncs order by started_at desc limit 1")[0]
        assert (newest["status"], newest["team_id"], newest["request_id"]) == (
            "failed",
            getattr(error.cause, "team_id", None),
            getattr(error.cause, "request_id", None),
        )

    def _check(
        self,
        team_ids: set[int],
        broken: set[int],
        short: dict[int, set[str]],
        include_configs: bool,
        before: Any,
    ) -> None:
        """A loaded team equals its listing, a short one keeps its stored connectors too, others are unchanged."""
        for team, (connectors, configurations) in before[0].items():
            expected = connectors, configurations
            if team in team_ids - broken:
                expected = self._expected(team, short.get(team), include_configs, connectors, configurations)
            assert (self.warehouse.connectors(team), self.warehouse.configurations(team)) == expected

    def _expected(
        self, team: int, shown: set[str] | None, include_configs: bool, connectors: Any, configurations: Any
    ) -> tuple[Any, Any]:
        listed, current = listed_connectors(self.sandbox, team), listed_configurations(self.sandbox, team)
        if not include_configs:  # unchanged until they are requested again; those of deleted connectors end
            current = {name: row for name, row in configurations.items() if name in listed}
        if shown is None:
            return listed, current
        return (
            {**connectors, **{name: listed[name] for name in shown & listed.keys()}},
            {**configurations, **{name: current[name] for name in shown & current.keys()}},
        )


def test_tables_equal_the_api_or_are_unchanged() -> None:
    """After any sequence of edits, keys, workers and failures."""
    try_histories(Customer, YEARS, 30)
