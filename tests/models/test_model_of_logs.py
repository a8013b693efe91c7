"""Random months of a team whose connectors make calls and have secrets: no gap, no entry twice."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from supermetrics_connectors.api import logs
from supermetrics_loader.run.load import run_load
from tests.helpers.histories import History, try_histories
from tests.helpers.sandbox import Fault, Sandbox

MONTHS = int(os.environ.get("MODEL_TEST_MONTHS", "4"))
"""Histories tried; each has up to 20 events."""
TEAM = 7
PAGE = 5
IDENTIFIERS = ["A", "B-2"]
identifiers = st.sampled_from(IDENTIFIERS)
usually = st.sampled_from([True, True, True, False])
workers = st.sampled_from([1, 1, 3])
gaps = st.sampled_from([timedelta(seconds=0.5), timedelta(minutes=10)])
minutes = st.sampled_from([0, 1, 30, 240]).map(lambda count: timedelta(minutes=count))


class Owner(History):
    """A team's connectors in the API, and the pipeline that loads their logs and secrets."""

    def __init__(self) -> None:
        super().__init__(Sandbox(teams={TEAM: [{"connector_identifier": name} for name in IDENTIFIERS]}))
        self.ids = itertools.count()
        self.clock = datetime.now(timezone.utc).replace(microsecond=0) - timedelta(days=25)
        self.sandbox.log_page = PAGE
        self.calls: dict[tuple[str, str], datetime] = {}

    @initialize()
    def begin(self) -> None:
        """Each owner begins with an empty warehouse, and logs of some hours."""
        self.folder.mkdir()
        for name in IDENTIFIERS:
            self.sandbox.set_secrets(TEAM, name, {})
            self._log(name, [self.clock + timedelta(minutes=20 * number) for number in range(40)])
        self.clock += timedelta(hours=14)

    @rule(name=identifiers, count=st.integers(1, 40), gap=gaps, pause=minutes)
    def call(self, name: str, count: int, gap: timedelta, pause: timedelta) -> None:
        """Calls of a connector, two at each moment."""
        self.clock += pause
        self._log(name, [self.clock + number // 2 * 2 * gap for number in range(count)])
        self.clock += count * gap

    @rule(name=identifiers, late=st.integers(0, 50 * 60), is_loaded=st.booleans())
    def log_late(self, name: str, late: int, is_loaded: bool) -> None:
        """A call that appears in the log up to an hour after others, which may have been loaded by then."""
        if is_loaded:
            self.run(True, False, 5000, 1)
        self._log(name, [self.clock - timedelta(seconds=late, milliseconds=500)])

    def _log(self, name: str, times: list[datetime]) -> None:
        if name not in self._names():
            return
        for moment in times:
            id_ = f"{next(self.ids)}-x"
            self.sandbox.add_log(TEAM, name, {"id": id_, "log_time": moment.isoformat(), "status": 200})
            self.calls[name, id_] = moment

    @rule(name=identifiers, secrets=st.dictionaries(st.sampled_from("xyz"), st.sampled_from(["key", "token"])))
    def set_secrets(self, name: str, secrets: dict[str, str]) -> None:
        """Other secrets, or other names of them."""
        if name in self._names():
            self.sandbox.set_secrets(TEAM, name, secrets)

    @rule(name=identifiers)
    def delete(self, name: str) -> None:
        """Deletes a connector, except the last one."""
        if name in self._names() and len(self._names()) > 1:
            self.sandbox.delete_connector(TEAM, name)

    @rule(name=identifiers, table=st.sampled_from(["connector_logs", "connector_secrets", "fetches"]))
    def lose_rows(self, name: str, table: str) -> None:
        """A user deletes the rows of a connector."""
        self.touch(f"delete from {table} where connector_identifier = '{name}'")

    @rule(name=identifiers, hours=st.integers(0, 24))
    def lose_the_newest(self, name: str, hours: int) -> None:
        """A user deletes the end of a log."""
        newest = f"(select max(log_time) from connector_logs where connector_identifier = '{name}')"
        beyond = f"log_time >= {newest} - interval {hours} hour"
        self.touch(f"delete from connector_logs where connector_identifier = '{name}' and {beyond}")

    @rule(table=st.sampled_from(["connector_logs", "connector_secrets", "fetches"]))
    def drop_a_table(self, table: str) -> None:
        """A user drops a table."""
        self.touch(f"drop table if exists {table}")

    @rule(
        with_logs=usually, secrets=st.booleans(), limit=st.sampled_from([10, 24, 60, 5000, 5000, 5000]), workers=workers
    )
    def run(self, with_logs: bool, secrets: bool, limit: int, workers: int) -> None:
        """A run, often with few requests left in the hour."""
        self.sandbox.rate_limit, self.sandbox._window_ends = limit, 0.0
        self._run(with_logs, secrets, workers)

    @rule(name=identifiers, answered=st.integers(0, 3))
    def run_while_a_log_fails(self, name: str, answered: int) -> None:
        """A run in which a connector's log fails, at the beginning or between two pages."""
        self.sandbox.rate_limit = 5000
        if answered:
            self.sandbox.fault(Fault(200), path=f"/{name}/logs", times=answered)
        self.sandbox.fault(Fault(403), path=f"/{name}/logs", times=100)
        self._run(True, True)
        self.sandbox.clear_faults()

    def _names(self) -> list[str]:
        return [each["connector_identifier"] for each in self.sandbox.connectors(TEAM)]

    def _run(self, with_logs: bool, secrets: bool, workers: int = 1) -> None:
        pipeline = self.new_pipeline("model", "worker")
        given: dict[str, Any] = {
            "team_ids": [TEAM],
            "api_key": self.sandbox.token,
            "base_url": self.sandbox.url,
            "workers": workers,
        }
        result = run_load(pipeline, **given, include_logs=with_logs, include_secrets=secrets)
        is_whole = result.postponed_reason is None and not result.failing_count
        if with_logs:
            self._check_logs(is_whole)
        if secrets and is_whole:
            self._check_secrets()

    def _check_logs(self, is_whole: bool) -> None:
        rows = self.warehouse.query("select connector_identifier as name, id, log_time from connector_logs")
        stored = Counter((row["name"], row["id"]) for row in rows)
        assert max(stored.values(), default=1) == 1, "stored twice"
        assert stored.keys() <= self.calls.keys()
        for name in self._names():
            newest = max((row["log_time"] for row in rows if row["name"] == name), default=None)
            until = self.clock + timedelta(days=1) if is_whole else newest and newest - logs.OVERLAP
            expected = {key for key, moment in self.calls.items() if key[0] == name and until and moment < until}
            assert expected <= stored.keys(), "a gap"

    def _check_secrets(self) -> None:
        rows = self.warehouse.query(
            "select connector_identifier, secret_placeholder, secret_name from connector_secrets"
        )
        listed = [
            {"connector_identifier": name, **secret}
            for name in self._names()
            for secret in self.sandbox.optional_data("secrets", TEAM, name)
        ]
        assert sorted(map(_values, rows)) == sorted(map(_values, listed))


def _values(row: dict[str, Any]) -> tuple[str, ...]:
    return tuple(row[name] for name in ("connector_identifier", "secret_placeholder", "secret_name"))


def test_logs_have_no_gap_and_secrets_are_the_apis(monkeypatch: pytest.MonkeyPatch) -> None:
    """After edits of connectors and tables, under every rate limit, and with failures between pages."""
    monkeypatch.setattr(logs, "MIN_FULL_PAGE", PAGE)
    try_histories(Owner, MONTHS, 20)
