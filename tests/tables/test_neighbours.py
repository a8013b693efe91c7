"""What a run adds to the logs, by random histories: over real HTTP, with a table that is a list."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from supermetrics_connectors.api.fetch import Fetcher
from supermetrics_connectors.settings import resolve
from supermetrics_connectors.tables.contracts import Contract
from supermetrics_connectors.tables.neighbours import Neighbours
from supermetrics_connectors.tables.stored import Among, Newest, Reader
from supermetrics_loader.sandbox import Fault, Sandbox

TEAM = 936506
START = datetime.now(timezone.utc).replace(microsecond=0) - timedelta(hours=12)
KEY = ("team_id", "connector_identifier", "id")


@dataclass
class Stored:
    """The rows of `connector_logs`, and what has been written to it."""

    entries: list[dict[str, Any]] = field(default_factory=list)

    def newest(self, _contract: Contract, column: str, _team_ids: Sequence[int]) -> Iterator[Newest]:
        """As a reader of a database does."""
        for name in {row["connector_identifier"] for row in self.entries}:
            yield TEAM, name, max(row[column] for row in self.entries if row["connector_identifier"] == name)

    def rows(self, _contract: Contract, columns: Sequence[str], _team_ids: Sequence[int], among: Among) -> Any:
        """As a reader of a database does."""
        column, values = among
        return ({name: row[name] for name in columns} for row in self.entries if row[column] in values)

    def every(self, *_asked: Any) -> Iterator[Any]:
        """The other tables are empty."""
        return iter(())

    def load(self, api: Sandbox, workers: int = 2) -> None:
        """One run: all that is found is written at its end."""
        checked = resolve(
            team_ids=[TEAM],
            api_key=api.token,
            base_url=api.url,
            include_logs=True,
            logs_since="7d",
            request_max_attempts=1,
            workers=workers,
        )
        found = Neighbours(checked, lambda: cast("Reader", self))
        with closing(Fetcher(checked, str.lower)) as fetcher:
            found.note(fetcher.listings(lambda _done, _message: None))
            answers = fetcher.neighbours(found.wishes(), found.newest, lambda _done, _message: None)
            self.entries += [entry for part in found.parts(answers) for entry in part.entries]


RUNS = st.lists(
    st.tuples(
        st.lists(st.tuples(st.sampled_from("AB"), st.integers(0, 40)), max_size=25),  # whose, and how late
        st.sampled_from([None, None, Fault(403), Fault(503), Fault(stage="mid_body")]),
        st.integers(0, 4),  # requests that go well before the fault
    ),
    max_size=5,
)


@pytest.fixture(scope="module")
def server() -> Iterator[Sandbox]:
    """One for all examples."""
    with Sandbox(teams={}) as api:
        yield api


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(runs=RUNS, page=st.integers(3, 8), strict=st.booleans())
def test_every_entry_is_stored_once(server: Sandbox, runs: list[Any], page: int, strict: bool) -> None:
    """Entries of one time, late ones, any pages, failures between them: after a good run all are there, none twice."""
    server.add_team(TEAM, [{"connector_identifier": name, "name": name} for name in "AB"])
    server.log_page, server.before_is_strict = page, strict
    written: dict[tuple[str, str], datetime] = {}
    stored = Stored()
    for run, (made, fault, good) in enumerate(runs):
        for number, (name, late) in enumerate(made):
            at = START + timedelta(minutes=50 * run - late)
            sharing = [other for other, time in written.items() if other[0] == name and time == at]
            if len(sharing) < page - 1:  # more of one time cannot be asked for
                written[name, f"{run}-{number}"] = at
                server.add_log(TEAM, name, {"id": f"{run}-{number}", "log_time": at.isoformat()})
        if fault:
            server.fault(Fault(), path="/logs", times=good + 1)
            server.fault(fault, path="/logs")
        stored.load(server)
        server.clear_faults()
    stored.load(server)
    found = [(row["connector_identifier"], row["id"]) for row in stored.entries]
    assert sorted(found) == sorted(written)


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_long_logs_get_on_in_each_hour(workers: int) -> None:
    """From their beginning, whatever else is asked for at the time; and in one run hardly a page is asked for twice."""
    names = "ABCDE"
    stored = Stored()
    with Sandbox(teams={TEAM: [{"connector_identifier": name} for name in names]}, rate_limit=160) as api:
        api.log_page = 5
        written = {name: [f"{name}{n:03}" for n in range(300)] for name in names}
        for name, ids in written.items():
            times = [START - timedelta(minutes=10 * n) for n in reversed(range(len(ids)))]
            made = zip(ids, times, strict=True)
            api.add_log(TEAM, name, *[{"id": id_, "log_time": time.isoformat()} for id_, time in made])
        before = -1
        while len(stored.entries) < sum(map(len, written.values())):
            assert len(stored.entries) > before, "an hour was of no use"
            before, asked = len(stored.entries), len(api.requests)
            api._window_ends = 0.0  # an hour later
            stored.load(api, workers)
            pages = [(request.path, request.query.get("before")) for request in api.requests[asked:]]
            assert len(pages) - len(set(pages)) <= 1  # where a part has one time only, to see that this is all of it
            for name, ids in written.items():
                found = sorted(row["id"] for row in stored.entries if row["connector_identifier"] == name)
                assert found == ids[: len(found)]
