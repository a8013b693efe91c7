"""The optional tables: which requests are due, and the rows that their results change.

One mechanism serves every endpoint of `ENDPOINTS`. Records are compared with stored rows by their content hash. Log
entries are added: the watermark of a connector's log is the newest entry that the table holds. The table `fetches`
holds when each request last ran, and so which one is due next when the rate limit does not allow for all of them.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cached_property
from typing import Any

from ..api.endpoints import Endpoint, FetchResult, FetchTask, fetch_tasks, selected_endpoints
from ..api.listing import Listing
from ..api.logs import CLOCK_SKEW
from ..records import EARLIEST, ConnectorKey, Record, connector_key, shift, to_utc
from ..specs import CONNECTOR_LOGS, FETCHES, TEAMS, TableSpec
from .run import Run

logger = logging.getLogger(__name__)

BATCH_ROWS = 10_000
"""Log entries, or results, that become one Arrow table."""


@dataclass
class FetchBatch:
    """Results that are written together.

    Attributes:
        results: Results of optional requests.
        entries: Log entries that are not stored yet.
        is_last: Whether these are the last results of the run.
    """

    results: list[FetchResult] = field(default_factory=list)
    entries: list[Record] = field(default_factory=list)
    is_last: bool = False

    @property
    def is_full(self) -> bool:
        """Whether the batch is to be written before more is added."""
        return max(len(self.entries), len(self.results)) >= BATCH_ROWS


class OptionalTables:
    """The optional tables of one run.

    Args:
        run: The run.

    Attributes:
        team_names: Names of teams by id, as far as the run has requested them.
        postponed_reason: Why requests were left to a later run; None if none was.
        syncs: Rows of `team_syncs` by team. They are complete when the last result is there.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._ranks = {endpoint.name: rank for rank, endpoint in enumerate(selected_endpoints(run.settings))}
        self._listed: dict[int, list[str]] = {}
        self._complete: set[int] = set()
        self._postponed: set[ConnectorKey] = set()
        self._failing: set[ConnectorKey] = set()
        self._contents: dict[str, dict[ConnectorKey, dict[tuple[Any, ...], list[str]]]] = {}
        self.team_names: dict[int, str] = {}
        self.postponed_reason: str | None = None
        self.syncs: dict[int, Record] = {}

    @property
    def failing_count(self) -> int:
        """The number of teams and connectors with a failed request."""
        return len(self._failing)

    # --- due requests -------------------------------------------------------------------------------------------------

    def add_listings(self, listings: Iterable[Listing]) -> None:
        """Notes which connectors exist."""
        for listing in listings:
            if not listing.error:
                self._listed[listing.team_id] = list(listing.connectors)
            if listing.complete:
                self._complete.add(listing.team_id)

    def tasks(self) -> list[FetchTask]:
        """The requests of the run: those that ran the longest ago first, and teams in turn."""
        turns = {
            (team_id, name): turn for team_id, names in self._listed.items() for turn, name in enumerate(("", *names))
        }

        def urgency(task: FetchTask) -> tuple[datetime, int, int]:
            owner = task.team_id, task.connector_identifier
            fetched_at = self._fetched_at.get((*owner, task.endpoint.name), EARLIEST)
            return fetched_at, turns[owner], self._ranks[task.endpoint.name]

        return sorted(fetch_tasks(self._run.settings, self._listed), key=urgency)

    @cached_property
    def watermarks(self) -> Mapping[ConnectorKey, datetime]:
        """The time of each connector's newest stored log entry. Entries of the far future do not count."""
        until = shift(datetime.now(timezone.utc), CLOCK_SKEW)
        if not self._run.reads(CONNECTOR_LOGS):
            return {}
        found = self._run.reader.watermarks(CONNECTOR_LOGS, "log_time", self._run.settings.team_ids, until)
        return {(team_id, name): at for team_id, name, at in found if at is not None}

    # --- results ------------------------------------------------------------------------------------------------------

    def batches(self, results: Iterable[FetchResult]) -> Iterator[FetchBatch]:
        """Yields the results in batches that fit into memory; the last one completes the run."""
        batch = FetchBatch()
        for result in results:
            self._record_outcome(result)
            batch.results.append(result)
            for entries in result.spool.pages() if result.spool else ():
                batch.entries.extend(entries)
                if batch.is_full:
                    yield self._without_stored_entries(batch)
                    batch = FetchBatch()
        batch.is_last = True
        yield self._without_stored_entries(batch)

    def _record_outcome(self, result: FetchResult) -> None:
        key = result.task.team_id, result.task.connector_identifier
        if result.status in ("postponed", "interrupted"):
            self._postponed.add(key)
            self.postponed_reason = self.postponed_reason or result.note
        if result.error:
            self._failing.add(key)
            logger.info("A request for %s failed: %s", result.task.endpoint.name, result.error)
        if result.task.endpoint.table is TEAMS:
            for record in result.records:
                if isinstance(name := record.get("name"), str) and name:
                    self.team_names[record["team_id"]] = name

    def _without_stored_entries(self, batch: FetchBatch) -> FetchBatch:
        """Removes log entries that are stored already; only entries up to the watermark can be."""
        if self._run.settings.full_refresh or not self._run.is_compared:
            return batch
        again = [
            each for each in batch.entries if each["log_time"] <= self.watermarks.get(connector_key(each), EARLIEST)
        ]
        ids, teams = [entry["id"] for entry in again], sorted({entry["team_id"] for entry in again})
        if ids:
            rows = self._run.rows(CONNECTOR_LOGS, CONNECTOR_LOGS.key, teams, ("id", ids))
            stored = {(*connector_key(row), row["id"]) for row in rows}
            batch.entries = [entry for entry in batch.entries if (*connector_key(entry), entry["id"]) not in stored]
        return batch

    # --- rows ---------------------------------------------------------------------------------------------------------

    def rows(self, endpoint: Endpoint, batch: FetchBatch) -> Iterator[Record]:
        """Rows of an endpoint's table: those to write, and a `_deleted` one for each that is gone."""
        if endpoint.is_log:
            yield from batch.entries
            return
        spec = endpoint.table
        stored = self._stored(spec)
        for result in batch.results:
            if result.task.endpoint is not endpoint or result.status not in ("ok", "incomplete"):
                continue
            contents = stored.get((result.task.team_id, result.task.connector_identifier), {})
            for record in result.records:
                key = tuple(record[name] for name in spec.key)
                if self._run.settings.full_refresh or contents.get(key) != [record["content_hash"]]:
                    yield record
            if result.status == "ok":
                listed = {tuple(record[name] for name in spec.key) for record in result.records}
                yield from (_deleted(spec, key) for key in contents if key not in listed)
        if batch.is_last and endpoint.level == "connector":
            for owner in filter(self._is_gone, stored):
                yield from (_deleted(spec, key) for key in stored[owner])

    def fetch_rows(self, batch: FetchBatch) -> Iterator[Record]:
        """Rows of `fetches`: one per request, and a `_deleted` one for each connector that is gone."""
        for result in batch.results:
            if result.status != "postponed":
                yield _fetch_row(result)
        if batch.is_last:
            for key in self._fetched_at:
                if self._is_gone(key[:2]):
                    yield _deleted(FETCHES, key)

    def complete_sync_rows(self) -> Iterator[Record]:
        """The rows of `team_syncs`, with the outcome of optional requests."""
        postponed, failing = (Counter(key[0] for key in keys if key[1]) for keys in (self._postponed, self._failing))
        for team_id, row in self.syncs.items():
            yield row | {"connectors_postponed": postponed[team_id], "connectors_failing": failing[team_id]}

    def _is_gone(self, owner: ConnectorKey) -> bool:
        team_id, name = owner
        return name != "" and team_id in self._complete and name not in self._listed[team_id]

    # --- stored state -------------------------------------------------------------------------------------------------

    @cached_property
    def _fetched_at(self) -> dict[tuple[int, str, str], datetime]:
        rows = self._run.rows(FETCHES, [*FETCHES.key, "fetched_at"], self._run.settings.team_ids)
        return {(*connector_key(row), row["endpoint"]): to_utc(row["fetched_at"]) or EARLIEST for row in rows}

    def _stored(self, spec: TableSpec) -> dict[ConnectorKey, dict[tuple[Any, ...], list[str]]]:
        """Content hashes by key, of each team or connector; several where rows are duplicates."""
        if spec.name not in self._contents:
            found: dict[ConnectorKey, dict[tuple[Any, ...], list[str]]] = {}
            for row in self._run.rows(spec, [*spec.key, "content_hash"], self._run.settings.team_ids):
                owner = row["team_id"], row.get("connector_identifier", "")
                key = tuple(row[name] for name in spec.key)
                found.setdefault(owner, {}).setdefault(key, []).append(row["content_hash"])
            self._contents[spec.name] = found
        return self._contents[spec.name]


def _deleted(spec: TableSpec, key: tuple[Any, ...]) -> Record:
    return dict(zip(spec.key, key, strict=True)) | {"_deleted": True}


def _fetch_row(result: FetchResult) -> Record:
    error = result.error
    message = " ".join(text for text in (error.message, error.description) if text) if error else result.note
    return result.task.key | {
        "endpoint": result.task.endpoint.name,
        "fetched_at": result.fetched_at,
        "status": result.status,
        "http_status": result.http_status,
        "error_code": error.code if error else None,
        "message": message,
        "request_id": result.request_id,
    }
