"""Rows of `team_syncs` for a run that failed."""

from collections.abc import Iterator
from typing import Any

import dlt
from dlt.extract import DltResource

from ..records import Record
from ..settings import Settings
from ..specs import TEAM_SYNCS
from .items import items
from .run import Run
from .target import TABLE_HINT


def team_syncs_resource(rows: list[Record], settings: Settings) -> DltResource:
    """A resource that writes rows of `team_syncs` and nothing else.

    Args:
        rows: The rows; they replace rows of the same team and start.
        settings: The settings of the failed run.
    """

    @dlt.resource(write_disposition="merge", primary_key=TEAM_SYNCS.key)
    def team_syncs() -> Iterator[Any]:
        run = Run.current(settings, {}, frozenset({TEAM_SYNCS.name}))
        yield from items(run, TEAM_SYNCS, rows, mode=run.strategy.mode)

    return team_syncs.apply_hints(additional_table_hints={TABLE_HINT: TEAM_SYNCS.name})
