"""Renders the report: one HTML page about a loaded dataset, without any other file and without a request.

Everything from the data is escaped and sanitized. The content security policy of the page forbids all requests, and
every script and style but its own.
"""

import base64
import hashlib
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ..read.dataset import open_dataset
from ..read.errors import NothingLoadedError
from ..read.history import moment_text
from ..read.overview import LOG_DAYS
from ..sanitize import sanitize
from . import sections
from .charts import KINDS
from .sections import Section
from .tables import Tables, items

MAX_TEXT_CHARS = 4_000
"""Characters of a text that are shown: more than the API's longest message has. A name may have millions."""
NUMBERS = (
    *("calls", "changes", "error_rate", "errors", "fields", "http_status", "report_types", "secrets_redacted", "slow"),
    "versions",
)
"""Columns that are aligned to the right."""


class Figure(NamedTuple):
    """A number of the strip, which links to its section.

    Attributes:
        section: The section.
        noun: What is counted, without its plural's s.
        about: When something counts.
        is_bad: Whether somebody has to act if there are any.
    """

    section: Section
    noun: str
    about: str
    is_bad: bool = True


class Group(NamedTuple):
    """The sections that answer one question of a reader."""

    key: str
    title: str
    sections: list[Section]


def make_page(destination: Any, dataset: str, now: datetime | None = None) -> str:
    """Returns the page as HTML.

    Args:
        destination: A dlt destination or its name.
        dataset: The dataset's name.
        now: The time of the report, UTC; the present by default.

    Raises:
        NothingLoadedError: The dataset holds no syncs.
        SupermetricsConfigurationError: The dataset cannot be read.
    """
    with open_dataset(destination, dataset) as data:
        tables = Tables(data)
        first_sync, last_sync = sections.syncs_between(tables)
        if not first_sync or not last_sync:
            raise NothingLoadedError(dataset, data.location)
        about = {"dataset": dataset, "location": data.location}
        return _render(tables, about, now or datetime.now(timezone.utc), first_sync, last_sync)


def _render(tables: Tables, about: Mapping[str, str], now: datetime, first_sync: datetime, last_sync: datetime) -> str:
    failing, stale = sections.failing_teams(tables), sections.stale_teams(tables, now)
    calls, typed = sections.failing_connectors(tables, now), sections.typed_secrets(tables)
    changes, by_day = sections.latest_changes(tables, now, first_sync), sections.changes_by_day(tables, now, first_sync)
    strip = [
        Figure(failing, "failing team", "latest sync not complete"),
        Figure(stale, "stale team", f"no complete sync in {sections.STALE_DAYS} days"),
        Figure(calls, "failing connector", f"failed calls in {LOG_DAYS} days"),
        Figure(typed, "typed secret", "in configurations"),
        Figure(changes, "change", "this week", is_bad=False),
    ]
    needs = [failing, stale, calls, typed, *sections.secrets_in_use(tables)]
    needs += [sections.failed_requests(tables), sections.resolved_failures(tables)]
    groups = [
        Group("changed", "What changed?", [changes, *([by_day] if by_day.rows else [])]),
        Group("needs", "What needs me?", needs),
        Group("stock", "What do we have?", [sections.connectors(tables, now)]),
    ]
    folder = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"minute": moment_text, "items": items, "percent": percent}
    # our own files, whose hashes the page's policy names: nothing of the data is in them
    style, script = (Markup((folder / name).read_text(encoding="utf-8")) for name in ("page.css", "page.js"))  # noqa: S704
    return environment.get_template("page.html").render(
        about=about,
        now=now,
        last_sync=last_sync,
        strip=strip,
        groups=groups,
        kinds=KINDS,
        numbers=NUMBERS,
        teams=tables.team_names,
        style=style,
        script=script,
        hashes={"style": _sha256(style), "script": _sha256(script)},
    )


def _shown(value: Any) -> Any:
    """What the template writes: sanitized text of bounded length, unless the value is markup of ours."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    cut = value if len(value) <= MAX_TEXT_CHARS else f"{value[:MAX_TEXT_CHARS]}… ({len(value):,} characters)"
    return sanitize(cut)


def percent(share: float) -> str:
    """A share as a whole percentage; one that is neither nothing nor everything is not rounded to these."""
    value = 100 * float(share)
    return "< 1 %" if 0 < value < 1 else "> 99 %" if 99 < value < 100 else f"{value:.0f} %"


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
