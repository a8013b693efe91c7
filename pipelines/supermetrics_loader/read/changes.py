"""Reads the rows of `connector_changes`.

The view's SELECT runs here whether or not the view exists, so the answer is the same in every destination, and also
where the view is older than the SELECT.
"""

import json
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from supermetrics_connectors.interface import CHANGES_COLUMNS, to_utc

from .dataset import Dataset
from .team_names import team_names

PATHS = {"paths_added": "+", "paths_removed": "-", "paths_changed": "~"}
"""The columns with paths, and the mark before each of their paths in a text."""
_TIMES = ("detected_at", "updated_at", "previous_updated_at")

Row = dict[str, Any]


def read_changes(data: Dataset, since: datetime | None = None) -> list[Row]:
    """The changes, oldest first, without the baselines of first listings.

    Args:
        data: The open dataset.
        since: Leaves out earlier changes; None for all changes.

    Returns:
        Rows by the columns of `connector_changes`, without `baseline`, and with `team_name` (None if it is not loaded).
        Times are UTC; paths are lists, or None for a change that concerns no configuration.

    Raises:
        NothingLoadedError: Nothing has been loaded there.
    """
    data.require("connector_versions")
    rows = [_plain(row) for row in data.query(data.changes_query).rows]
    names = team_names(data)
    changes = [{"team_id": row["team_id"], "team_name": names.get(row["team_id"])} | row for row in rows]
    changes = [row for row in changes if not row.pop("baseline") and (since is None or row["detected_at"] >= since)]
    return sorted(changes, key=lambda row: (row["detected_at"], row["team_id"], row["connector_identifier"]))


def _plain(row: Sequence[Any]) -> Row:
    found = dict(zip(CHANGES_COLUMNS, row, strict=True))
    found |= {name: at.astimezone(timezone.utc) for name in _TIMES if (at := to_utc(found[name]))}
    found |= {name: json.loads(found[name]) if isinstance(found[name], str) else found[name] for name in PATHS}
    return found
