"""What a run did: noted while its source is extracted, told when it has ended."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Concatenate, ParamSpec

import dlt

from supermetrics_connectors import SupermetricsError, supermetrics_source
from supermetrics_connectors.settings import ApiKey
from supermetrics_connectors.tables.batch import Batch, Run
from supermetrics_connectors.tables.contracts import CONNECTOR_CONFIGURATIONS

from .differences import Changes


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
        finished_at: When it ended, UTC.
        teams: One row a team, as in `team_syncs`.
        changes: What became of single connectors.
        errors: Those of the teams that failed while others were loaded (`on_team_error="skip"`), not in `as_dict`.
        team_names: What teams are called, by id; of a run that asks for that.
        left: Why something besides the listings was left for a later run; None if nothing was.
        failing: Of how many teams and connectors something besides the listings could not be had.
    """

    pipeline_name: str
    destination: str
    location: str
    dataset_name: str
    load_ids: list[str]
    started_at: datetime
    finished_at: datetime
    teams: list[dict[str, Any]] = field(default_factory=list)
    changes: Changes = field(default_factory=Changes)
    errors: list[SupermetricsError] = field(default_factory=list)
    team_names: dict[int, str] = field(default_factory=dict)
    left: str | None = None
    failing: int = 0

    @property
    def failed(self) -> list[dict[str, Any]]:
        """The teams that failed while others were loaded (`on_team_error="skip"`)."""
        return [team for team in self.teams if team["status"] == "failed"]

    def as_dict(self) -> dict[str, Any]:
        """For JSON: all but the single connectors, which `connector_changes` has, and the errors."""
        told = vars(self)
        left_out = {"changes", "errors", *(name for name in ("team_names", "left", "failing") if not told[name])}
        return {name: value for name, value in told.items() if name not in left_out}


@dataclass
class Noted:
    """What is noted of a run.

    Attributes:
        source: The source that is run, without `team_syncs`: it is written when the rest is in.
        started_at: When the run began, UTC.
        syncs: The rows of `team_syncs`.
        changes: What became of single connectors.
        errors: Those of the teams that were skipped.
        run: What the source knows of its run, from the first listing on.
        has_new_configurations: Whether `connector_changes` may have to tell of configurations from now on.
    """

    source: dlt.sources.DltSource
    started_at: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    syncs: list[dict[str, Any]] = field(default_factory=list)
    changes: Changes = field(default_factory=Changes)
    errors: list[SupermetricsError] = field(default_factory=list)
    run: Run | None = None
    has_new_configurations: bool = False

    @classmethod
    def of(cls, settings: dict[str, Any]) -> "Noted":
        """Begins a run: its settings are checked before anything is touched.

        Args:
            settings: Arguments of `supermetrics_source`. The key among them is replaced by one that no traceback with
                local variables shows.

        Raises:
            SupermetricsConfigurationError: One is unusable.
        """
        if "api_key" in settings:
            settings["api_key"] = ApiKey(settings["api_key"])
        noted = cls(supermetrics_source(**settings))
        noted.source.resources["listings"].add_map(noted._note)
        noted.source.resources["team_syncs"].selected = False
        return noted

    @property
    def team_ids(self) -> list[int]:
        """The teams of the run."""
        team_ids: list[int] = self.source.resources["listings"].explicit_args["settings"].team_ids
        return team_ids

    def _note(self, batch: Batch) -> Batch:
        self.run = batch.run
        self.syncs.extend(batch.sync_rows())
        self.changes.add(batch)
        self.errors.extend(listing.error for listing in batch.listings if listing.error)
        self.has_new_configurations |= batch.changes(CONNECTOR_CONFIGURATIONS)
        return batch

    def result(self, pipeline: dlt.Pipeline, destination: str, location: str, load_ids: list[str]) -> LoadResult:
        """What is told of the run, which ends here."""
        more = self.run.neighbours if self.run else None
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
            team_names=more.names if more else {},
            left=more.reason if more else None,
            failing=more.failing if more else 0,
        )


_P = ParamSpec("_P")
_Run = Callable[Concatenate[dlt.Pipeline, _P], LoadResult]


def with_settings_of(_source: Callable[_P, Any]) -> Callable[[Callable[..., LoadResult]], _Run[_P]]:
    """Has a type checker know a run's settings: they are the arguments of the source."""
    return lambda run: run
