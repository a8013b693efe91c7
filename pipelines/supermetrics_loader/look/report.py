"""What `supermetrics-connectors report` writes: one HTML page about what was loaded, which needs nothing but itself.

Each section is a question, its query and a picture or a table. The query stands on the page as it was run, so that its
numbers can be had again. Everything that comes from the data is escaped and harmless; the page's policy (CSP) forbids
all requests and every script but its own.
"""

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any

import sqlglot
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from sqlglot import expressions

from supermetrics_connectors.tables.changes import CHANGES, select
from supermetrics_connectors.tables.changes import COLUMNS as CHANGE_COLUMNS
from supermetrics_connectors.tables.contracts import CONTRACTS
from supermetrics_connectors.tables.stored import as_instant

from ..harmless import harmless
from . import charts, queries
from .missing_secrets import missing_secrets
from .queries import Query
from .reading import Data, NothingLoadedError, columns, open_for_reading
from .team_names import named, team_names

Row = dict[str, Any]

TABLES = (*CONTRACTS, CHANGES)

_LONGEST = 4_000
"""Characters of a text that are shown: more than the API's longest message has. A name may have millions."""
_WITHOUT_ZONES = ("mysql", "sqlite")
"""Dialects whose times have no zone: what is stored is in UTC."""


@dataclass(frozen=True)
class Section:
    """A question with its answer.

    Attributes:
        query: The question; without SQL where the answer was found in another way.
        rows: The answer; None when the dataset lacks what the query needs.
        chart: Its picture; None for a table alone.
        wide: Whether it takes the whole width of the page.
    """

    query: Query
    rows: list[Row] | None
    chart: Markup | None = None
    wide: bool = False


@dataclass(frozen=True)
class Group:
    """What somebody comes to the page with.

    Attributes:
        key: Its name in the page.
        title: The question.
        figures: The numbers that answer it; each query selects one.
        sections: The rest of the answer.
        folds: Whether sections without rows are of no interest: it is good that they are empty.
    """

    key: str
    title: str
    figures: list[Section]
    sections: list[Section]
    folds: bool = False

    @property
    def shown(self) -> list[Section]:
        """The sections that are worth a card."""
        return [section for section in self.sections if section.rows or not self.folds]

    @property
    def folded(self) -> list[Section]:
        """The others."""
        return [section for section in self.sections if self.folds and not section.rows]


class Warehouse:
    """The dataset, read and never written."""

    def __init__(self, data: Data) -> None:
        self._data = data
        self._changes: Any = None
        self.team_names = team_names(data)
        self.columns = {table: names for table in TABLES if (names := columns(data, table))}
        if CHANGES not in self.columns and "connector_versions" in self.columns:  # no view, the same query all the same
            self.columns[CHANGES] = list(CHANGE_COLUMNS)
            self._changes = self._own_changes()

    def ask(self, query: Query) -> list[Row] | None:
        """The rows of a query; None when the dataset lacks what it needs."""
        return self.rows(query.sql, list(query.columns)) if query.fits(self.columns) else None

    def rows(self, sql: str, names: Sequence[str]) -> list[Row]:
        """The rows of a query, their values by these names."""
        _, rows = self._data.ask(self._translated(sql))
        return [
            {name: as_instant(value) if name.endswith("_at") else value for name, value in zip(names, row, strict=True)}
            for row in rows
        ]

    def _own_changes(self) -> Any:
        json_constant = self._data.strategy.json_constant.format
        sql = select(self._data.table, self._data.column, json_constant, "connector_configurations" in self.columns)
        return sqlglot.parse_one(sql, read=self._data.dialect)

    def _translated(self, sql: str) -> str:
        """The query in the destination's dialect, with the dataset before its tables."""
        tree = sqlglot.parse_one(sql, read="postgres")
        if self._data.dialect in _WITHOUT_ZONES:
            for zoned in list(tree.find_all(expressions.AtTimeZone)):
                zoned.replace(zoned.this)
        for table in tree.find_all(expressions.Table):
            if table.name == CHANGES and self._changes:
                table.replace(self._changes.subquery(table.alias_or_name))
            elif table.name in TABLES:
                qualified = sqlglot.to_table(self._data.table(table.name), dialect=self._data.dialect)
                table.replace(expressions.alias_(qualified, table.alias_or_name, table=True))
        return tree.sql(dialect=self._data.dialect)


def write_report(output: Path, destination: Any, dataset: str, now: datetime | None = None) -> None:
    """Writes the page.

    Args:
        output: The file; one that is there is replaced.
        destination: As for `open_for_reading`.
        dataset: Where the tables are.
        now: When the report is made; the clock's time by default.

    Raises:
        NothingLoadedError: There are no syncs in the dataset.
        SupermetricsConfigurationError: The dataset is not one that can be read.
    """
    now = now or datetime.now(timezone.utc)
    try:
        with open_for_reading(destination, dataset) as data:
            page = _page(Warehouse(data), now, {"dataset": dataset, "location": data.location})
    except FileNotFoundError as error:
        raise NothingLoadedError(dataset, str(error)) from None
    output.write_text(page, encoding="utf-8")


def _page(warehouse: Warehouse, now: datetime, about: Mapping[str, str]) -> str:
    has_syncs = "team_syncs" in warehouse.columns
    last_sync = warehouse.rows(queries.last_sync(), ["started_at"])[0]["started_at"] if has_syncs else None
    if last_sync is None:
        raise NothingLoadedError(about["dataset"], about["location"])
    folder = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"utc": _utc, "moment": _moment, "paths": _paths, "thousands": "{:,}".format}
    # our own files, whose hashes the page's policy names: nothing of the data is in them
    style, script = (Markup((folder / name).read_text(encoding="utf-8")) for name in ("report.css", "report.js"))  # noqa: S704
    return environment.get_template("report.html").render(
        about=about,
        now=now,
        last_sync=last_sync,
        groups=[_needs(warehouse, now), _changed(warehouse, now), _stock(warehouse, now)],
        teams=warehouse.team_names,
        style=style,
        script=script,
        hashes={"style": _sha256(style), "script": _sha256(script)},
    )


def _shown(value: Any) -> Any:
    """What the template writes: text made harmless and cut where it is long, unless it is our own markup."""
    return harmless(_cut(value)) if isinstance(value, str) and not isinstance(value, Markup) else value


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text):,} characters)"


def _section(
    warehouse: Warehouse, query: Query, draw: Callable[[list[Row]], Markup] | None = None, wide: bool = True
) -> Section:
    rows = warehouse.ask(query)
    return Section(query, rows, draw(rows) if draw and rows else None, wide)


def _needs(warehouse: Warehouse, now: datetime) -> Group:
    """What somebody has to do something about, the most urgent first; silent of what was never asked for."""
    figures = [queries.failing_teams_count(), queries.stale_teams_count(now)]
    asked = [queries.failing_teams(), queries.stale_teams(now)]
    if "connector_logs" in warehouse.columns:
        figures.append(queries.failing_connectors_count(now))
        asked.append(queries.failing_connectors(now))
    sections = [_section(warehouse, query) for query in asked]
    if "connector_secrets" in warehouse.columns:
        sections.append(_missing_secrets(warehouse))
    if "fetches" in warehouse.columns:
        sections.append(_section(warehouse, queries.failed_fetches()))
    sections.append(_section(warehouse, queries.redacted_secrets()))
    if "connector_secrets" in warehouse.columns:
        sections.append(_section(warehouse, queries.unused_secrets()))
    return Group("needs", "What needs me?", _figures(warehouse, figures), sections, folds=True)


def _changed(warehouse: Warehouse, now: datetime) -> Group:
    return Group(
        "changed",
        "What changed?",
        _figures(warehouse, [queries.changed_count(now, warehouse.columns)]),
        [
            _section(warehouse, queries.changes(now), lambda rows: _change_days(rows, now)),
            _section(warehouse, queries.latest_changes(warehouse.columns)),
            _section(warehouse, queries.failed_syncs()),
        ],
    )


def _stock(warehouse: Warehouse, now: datetime) -> Group:
    return Group(
        "stock",
        "What do we have?",
        _figures(warehouse, [queries.teams_count(), queries.connectors_count()]),
        [
            _section(warehouse, queries.connectors_by_team(), lambda rows: _team_bars(warehouse, rows), False),
            _section(warehouse, queries.ages(now), _age_bars, False),
            _section(warehouse, queries.stalest()),
            _section(
                warehouse,
                queries.largest_configurations(),
                lambda rows: _configuration_bars(warehouse, rows, "characters"),
                False,
            ),
            _section(
                warehouse, queries.most_versions(), lambda rows: _configuration_bars(warehouse, rows, "versions"), False
            ),
        ],
    )


def _figures(warehouse: Warehouse, asked: Sequence[Query]) -> list[Section]:
    return [Section(query, warehouse.ask(query)) for query in asked]


def _missing_secrets(warehouse: Warehouse) -> Section:
    query = queries.missing_secrets()
    found = missing_secrets(warehouse.rows, queries.MOST) if query.fits(warehouse.columns) else None
    return Section(query, found, wide=True)


def _team_bars(warehouse: Warehouse, rows: list[Row]) -> Markup:
    return _connector_bars([(named(row["team_id"], warehouse.team_names), row["connectors"]) for row in rows])


def _age_bars(rows: list[Row]) -> Markup:
    """Every age in its order, also those that no connector has; the unknown only if there are some."""
    counts = {row["age"]: row["connectors"] for row in rows}
    ages = [*queries.AGES.values(), queries.OLDER, *({queries.UNKNOWN} & counts.keys())]
    return _connector_bars([(age, counts.get(age, 0)) for age in ages])


def _connector_bars(counts: list[tuple[str, int]]) -> Markup:
    return charts.bars(
        [charts.Bar(label, count, f"{label}: {count} connector{'s' * (count != 1)}") for label, count in counts]
    )


def _change_days(rows: list[Row], now: datetime) -> Markup:
    counts = {(_day(row["day"]), row["change"]): row["changes"] for row in rows}
    return charts.stacked_days(counts, queries.first_day(now).date(), now.date())


def _configuration_bars(warehouse: Warehouse, rows: list[Row], column: str) -> Markup:
    """Labelled by name; where two of a team share it, by identifier as well."""
    names = [f"{_cut(row['name'] or row['connector_identifier'])} ({row['team_id']})" for row in rows]
    shared = Counter(names)
    labels = [
        f"{name} {row['connector_identifier']}" if shared[name] > 1 else name
        for name, row in zip(names, rows, strict=True)
    ]
    return charts.bars(
        [
            charts.Bar(
                label,
                row[column],
                f"{label}: {row[column]} {column}" + _of_team(row["team_id"], warehouse.team_names),
            )
            for label, row in zip(labels, rows, strict=True)
        ]
    )


def _of_team(team_id: int, names: Mapping[int, str]) -> str:
    return f", {named(team_id, names)}" if team_id in names else ""


def _day(value: Any) -> date:
    return (
        value.date() if isinstance(value, datetime) else value if isinstance(value, date) else date.fromisoformat(value)
    )


def _utc(value: Any) -> datetime | None:
    """The time in UTC, if it is one; what has no zone is taken to be in UTC."""
    if not isinstance(value, datetime):
        return None
    return value.replace(tzinfo=timezone.utc) if value.tzinfo is None else value.astimezone(timezone.utc)


def _moment(value: datetime) -> str:
    return f"{_utc(value):%Y-%m-%d %H:%M}"


def _paths(value: Any) -> list[str]:
    """The paths in a JSON column, one by one; those of an object with what they are grouped by."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return [value]
    if isinstance(value, Mapping):
        return [f"{name}: {path}" for name, under in value.items() for path in _paths(under)]
    if isinstance(value, (list, tuple)):
        return [path for under in value for path in _paths(under)]
    return [] if value is None else [str(value)]


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
