"""What `supermetrics-connectors changes` prints: the rows of `connector_changes`.

Its SELECT is asked itself, whether or not there is a view of it: so the answer is the same in every destination, and
also where a view is older than the query.
"""

import json
import re
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from supermetrics_connectors.api.listing import parse_timestamp
from supermetrics_connectors.tables.changes import COLUMNS, select
from supermetrics_connectors.tables.stored import as_instant

from .reading import NothingLoadedError, columns, open_for_reading
from .team_names import team_names

PATHS = {"paths_added": "+", "paths_removed": "-", "paths_changed": ""}
"""The columns with paths, and what stands before each of their paths in a text."""
_CLOCKS = ("detected_at", "updated_at", "previous_updated_at")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

Row = dict[str, Any]


def since(text: str, now: datetime) -> datetime:
    """Reads `24h`, `30m`, `7d`, `2w`, or a time in ISO 8601.

    Args:
        text: What was asked for.
        now: What a duration counts back from, UTC.

    Raises:
        ValueError: It is neither.
    """
    if match := re.fullmatch(r"([0-9]{1,5})([mhdw])", text):
        return now - timedelta(**{_UNITS[match[2]]: int(match[1])})
    return parse_timestamp(text)


def read_changes(destination: Any, dataset: str, after: datetime | None = None) -> list[Row]:
    """The changes, oldest first, without what a team's first listing brought.

    Args:
        destination: A dlt destination with SQL or Delta tables, as for `make_pipeline`.
        dataset: Where the tables are.
        after: Leaves out what was detected earlier; None for nothing.

    Returns:
        Rows by the names of `COLUMNS`: times in UTC, paths as lists (None for what is no configuration's change); and
        `team_name`, None where it is not loaded.

    Raises:
        NothingLoadedError: Nothing has been loaded there.
        SupermetricsConfigurationError: The dataset keeps snapshots.
    """
    try:
        with open_for_reading(destination, dataset) as data:
            if not columns(data, "connector_versions"):
                raise NothingLoadedError(dataset, data.location)
            configured = bool(columns(data, "connector_configurations"))
            _, rows = data.ask(select(data.table, data.column, data.strategy.json_constant.format, configured))
            names = team_names(data)
    except FileNotFoundError as missing:
        raise NothingLoadedError(dataset, str(missing)) from None
    changes = [_plain(row) for row in rows]
    changes = [{"team_id": row["team_id"], "team_name": names.get(row["team_id"])} | row for row in changes]
    changes = [row for row in changes if not row["baseline"] and (after is None or row["detected_at"] >= after)]
    return sorted(changes, key=lambda row: (row["detected_at"], row["team_id"], row["connector_identifier"]))


def _plain(row: Sequence[Any]) -> Row:
    found = dict(zip(COLUMNS, row, strict=True))
    found |= {name: at.astimezone(timezone.utc) for name in _CLOCKS if (at := as_instant(found[name]))}
    found |= {name: json.loads(found[name]) if isinstance(found[name], str) else found[name] for name in PATHS}
    return found
