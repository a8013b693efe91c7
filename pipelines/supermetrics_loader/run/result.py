"""What a run did: recorded while the source is extracted, summarized when the run has ended."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Concatenate, Literal, ParamSpec

import dlt

from supermetrics_connectors import SupermetricsError, supermetrics_source
from supermetrics_connectors.interface import (
    CONNECTOR_CONFIGURATIONS,
    CONNECTORS,
    HANDLES_FAILED_JOBS,
    ApiKey,
    ListingBatch,
    OptionalTables,
    Settings,
    TeamDiff,
    listing_sync_rows,
    selected_endpoints,
)

from ..sanitize import sanitize

MAX_NAMED_CHANGES = 20
"""Changes that are listed one by one; more would not fit on a screen or in a chat message."""

ChangeKind = Literal["added", "changed", "removed", "configured"]


@dataclass(frozen=True)
class ChangedConnector:
    """One connector that a run changes.

    Attributes:
        kind: `configured` is a new version of the configuration without any other change.
        team_id: The team.
        connector_identifier: The connector.
        name: The connector's name; None for a removed connector.
    """

    kind: ChangeKind
    team_id: int
    connector_identifier: str
    name: str | None = None

    def __str__(self) -> str:
        kind = "new configuration" if self.kind == "configured" else self.kind
        return f"{kind}: team {self.team_id} {self.connector_identifier} {self.name or ''}".rstrip()


@dataclass
class RunChanges:
    """The connectors that a run changes.

    Attributes:
        first: The first `MAX_NAMED_CHANGES` of them.
        count: How many there are.
    """

    first: list[ChangedConnector] = field(default_factory=list)
    count: int = 0

    def add(self, batch: ListingBatch) -> None:
        """Counts the changes of a batch. A snapshot is compared with nothing, and so has none."""
        if not batch.run.is_compared:
            return
        for team in batch.teams:
            for change in _changes_of(team):
                self.count += 1
                if self.count <= MAX_NAMED_CHANGES:
                    self.first.append(change)

    def lines(self) -> list[str]:
        """A line per connector, sanitized, and how many there are beyond those."""
        shown = [sanitize(change) for change in self.first]
        return [*shown, f"… and {self.count - len(shown):,} more"] if self.count > len(shown) else shown


def _changes_of(team: TeamDiff) -> Iterator[ChangedConnector]:
    team_id, names = team.listing.team_id, team.listing.connectors
    connectors, configurations = team.of(CONNECTORS), team.of(CONNECTOR_CONFIGURATIONS)
    for identifier in connectors.upserted:
        kind: ChangeKind = "changed" if identifier in connectors.stored.contents else "added"
        yield ChangedConnector(kind, team_id, identifier, names[identifier].get("name"))
    for identifier in connectors.deleted:
        yield ChangedConnector("removed", team_id, identifier)
    for identifier in configurations.upserted:
        if identifier not in connectors.upserted:
            yield ChangedConnector("configured", team_id, identifier, names[identifier].get("name"))


@dataclass(frozen=True)
class LoadResult:
    """What a run did.

    Attributes:
        pipeline_name: The dlt pipeline.
        destination: Name of dlt's destination.
        location: Where the destination keeps its data, without credentials.
        dataset_name: The dataset (schema) with the tables.
        load_ids: dlt's load packages, as in `_dlt_load_id`.
        started_at: When the run began, UTC.
        finished_at: When the run ended, UTC.
        teams: One row per team, as in `team_syncs`.
        changes: The connectors that changed.
        errors: The errors of teams that failed while others were loaded (`on_team_error="skip"`); not in `as_dict`.
        team_names: Names of teams by id, where the run has requested them.
        postponed_reason: Why optional requests were left to a later run; None if none was.
        failing_count: The number of teams and connectors with a failed optional request.
        rows: Rows per optional table that the run has written.
    """

    pipeline_name: str
    destination: str
    location: str
    dataset_name: str
    load_ids: list[str]
    started_at: datetime
    finished_at: datetime
    teams: list[dict[str, Any]] = field(default_factory=list)
    changes: RunChanges = field(default_factory=RunChanges)
    errors: list[SupermetricsError] = field(default_factory=list)
    team_names: dict[int, str] = field(default_factory=dict)
    postponed_reason: str | None = None
    failing_count: int = 0
    rows: dict[str, int] = field(default_factory=dict)

    @property
    def failed(self) -> list[dict[str, Any]]:
        """The teams that failed while others were loaded (`on_team_error="skip"`)."""
        return [team for team in self.teams if team["status"] == "failed"]

    def as_dict(self) -> dict[str, Any]:
        """For JSON: without the single connectors, which `connector_changes` has, and without the errors."""
        optional = ("team_names", "postponed_reason", "failing_count", "rows")
        left_out = {"changes", "errors", *(name for name in optional if not getattr(self, name))}
        return {name: value for name, value in vars(self).items() if name not in left_out}


@dataclass
class RunRecorder:
    """Collects what a run did while its source is extracted.

    Attributes:
        source: The source, whose batches are recorded.
        started_at: When the run began, UTC.
        syncs: Rows of `team_syncs`.
        changes: The connectors that changed.
        errors: The errors of teams that were skipped.
        optional: The optional tables of the run; None without any.
        has_duplicates: Whether a history has duplicates to delete after the load.
        changes_view_exists: Whether the view exists already.
    """

    source: dlt.sources.DltSource
    started_at: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    syncs: list[dict[str, Any]] = field(default_factory=list)
    changes: RunChanges = field(default_factory=RunChanges)
    errors: list[SupermetricsError] = field(default_factory=list)
    optional: OptionalTables | None = None
    has_duplicates: bool = False
    changes_view_exists: bool = False

    @classmethod
    def attach(cls, settings: dict[str, Any]) -> "RunRecorder":
        """Makes the source of a run and records its batches. Settings are checked before anything is touched.

        Args:
            settings: Arguments of `supermetrics_source`. The key among them is replaced by one that no traceback with
                local variables shows.

        Raises:
            SupermetricsConfigurationError: A setting is unusable.
        """
        if "api_key" in settings:
            settings["api_key"] = ApiKey(settings["api_key"])
        recorder = cls(supermetrics_source(**settings))
        listings = recorder.source.resources["listings"]
        listings.apply_hints(additional_table_hints={HANDLES_FAILED_JOBS: True})
        listings.add_map(recorder.record)
        return recorder

    @property
    def settings(self) -> Settings:
        """The checked settings of the run."""
        settings: Settings = self.source.resources["listings"].explicit_args["settings"]
        return settings

    def record(self, batch: ListingBatch) -> ListingBatch:
        """Records one batch and returns it."""
        self.optional = batch.optional
        if batch.is_first:
            self.has_duplicates = batch.run.has_duplicates
            self.changes_view_exists = batch.run.changes_view_exists
        self.syncs.extend(listing_sync_rows(batch))
        self.changes.add(batch)
        self.errors.extend(team.listing.error for team in batch.teams if team.listing.error)
        return batch

    def result(self, pipeline: dlt.Pipeline, destination: str, location: str, load_ids: list[str]) -> LoadResult:
        """The summary of the run, which ends now."""
        normalized = pipeline.last_trace.last_normalize_info if load_ids and pipeline.last_trace else None
        counts = normalized.row_counts if normalized else {}
        optional = {endpoint.table.name for endpoint in selected_endpoints(self.settings)}
        return LoadResult(
            pipeline_name=pipeline.pipeline_name,
            destination=destination,
            location=location,
            dataset_name=pipeline.dataset_name,
            load_ids=load_ids,
            started_at=self.started_at,
            finished_at=datetime.now(timezone.utc),
            teams=sorted(self.syncs, key=lambda row: row["team_id"]),
            changes=self.changes,
            errors=self.errors,
            team_names=self.optional.team_names if self.optional else {},
            postponed_reason=self.optional.postponed_reason if self.optional else None,
            failing_count=self.optional.failing_count if self.optional else 0,
            rows={name: count for name, count in counts.items() if name in optional and count},
        )


_P = ParamSpec("_P")
_Run = Callable[Concatenate[dlt.Pipeline, _P], LoadResult]


def with_settings_of(_source: Callable[_P, Any]) -> Callable[[Callable[..., LoadResult]], _Run[_P]]:
    """Types a run's settings as the arguments of the source."""
    return lambda run: run
