"""A dataset with rows for every section of the report, and the page as a program reads it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from html.parser import HTMLParser
from typing import Any

import dlt

from supermetrics_loader.report.messages import api_sentence
from supermetrics_loader.report.page import percent
from tests.helpers.sandbox import Fault, Sandbox

SCRIPT = "<script>document.title = 'broken into'</script>"
NONE = "\N{EN DASH}"
BIG, SMALL, FAILING = 936506, 941277, 958014
TABLES = {
    *("latest-changes", "changes-by-day", "failing-teams", "failing-connectors", "typed-secrets", "missing-secrets"),
    *("unused-secrets", "failed-requests", "connectors"),
}
"""Sections with rows after `load_everything`."""
EVERYTHING = {"include_teams": True, "include_logs": True, "include_secrets": True, "include_configs": True}

_CHANGES_TABLE = (
    "create table connector_changes (team_id bigint, connector_identifier text, name text, change text,"
    " detected_at timestamp with time zone, baseline boolean,"
    " paths_added text, paths_removed text, paths_changed text)"
)
PATHS = {"paths_added": ["$.b"], "paths_removed": [], "paths_changed": [f"$[{SCRIPT!r}]", "$.authentication.type"]}


def log_entry(id_: str, hours: float, status: int, duration_ms: int = 100) -> dict[str, Any]:
    """A log entry of some hours ago, whose request id contains its id."""
    at = datetime.now(timezone.utc) - timedelta(hours=hours)
    entry = {"id": id_, "log_time": at.isoformat(), "status": status, "duration_ms": duration_ms}
    return {**entry, "request_id": f"of-{id_}", "request": f"GET /{SCRIPT}"}


def load_everything(sandbox: Sandbox, load: Callable[..., Any], pipeline: dlt.Pipeline) -> None:
    """Three teams, of which two fail in the end; changes of twelve weeks, a typed secret, a name that is a script.

    One connector has errors in its log, lacks one secret and does not use another; one connector denies its log.
    """
    now = datetime.now(timezone.utc)
    for team_id, ages in {BIG: (1, 3, 20, 500), SMALL: (2, 400), FAILING: (5,)}.items():
        sandbox.add_team(team_id)
        for age in ages:
            sandbox.add_connector(
                team_id,
                name=f"Connector of {age} days",
                updated_at=(now - timedelta(days=age)).strftime("%Y-%m-%dT%H:%M:%SZ"),
                configuration={"version": "1", "configuration_json": {"text": "x" * age}, "updated_at": "2020-01-01"},
            )
    document = {"key": "{{sec_0000missing}}", "client_secret": "k7Qw9zLm2Xv4Bn8Rt6Yp"}
    first = {"version": "1", "configuration_json": document}
    hostile = sandbox.add_connector(BIG, name=SCRIPT, configuration=first)["connector_identifier"]
    sandbox.set_secrets(BIG, hostile, {"sec_0f9e8d7c6": SCRIPT})
    sandbox.add_log(BIG, hostile, log_entry("1", 1, 500), log_entry("2", 2, 200))
    denied = sandbox.add_connector(SMALL, name="Denied")["connector_identifier"]
    load(on=pipeline, **EVERYTHING)
    sandbox.fault(Fault(403), path=f"/{denied}/logs")
    sandbox.report_count(SMALL, 9)
    sandbox.fault(Fault(403), team_id=FAILING)
    load(on=pipeline, **EVERYTHING, on_team_error="skip")
    replace_changes(
        pipeline,
        [
            (now - timedelta(days=90), "added", hostile, SCRIPT, {}),
            (now - timedelta(days=40), "added", hostile, SCRIPT, {}),
            (now - timedelta(days=9), "updated", hostile, SCRIPT, {}),
            (now - timedelta(days=2), "configuration_changed", hostile, SCRIPT, PATHS),
            (now - timedelta(days=1), "removed", "GONE", "", {}),
        ],
    )


Change = tuple[datetime, str, str, str, Mapping[str, list[str]]]


def replace_changes(pipeline: dlt.Pipeline, changes: list[Change], first_sync_days: int = 100) -> None:
    """Replaces the view by a table of changes of the team BIG, and adds syncs of so many days ago."""
    with pipeline.sql_client() as client:
        client.execute_sql("drop view if exists connector_changes")
        client.execute_sql(_CHANGES_TABLE)
        for at, change, identifier, name, paths in changes:
            texts = [json.dumps(paths[column]) if column in paths else None for column in PATHS]
            values = (BIG, identifier, name, change, at, False, *texts)
            client.execute_sql("insert into connector_changes values (%s, %s, %s, %s, %s, %s, %s, %s, %s)", *values)
        client.execute_sql(
            "insert into team_syncs (team_id, started_at, status, _dlt_load_id) "
            f"select team_id, started_at - interval '{first_sync_days} day', status, _dlt_load_id from team_syncs"
            " where status = 'ok'"
        )


class Page(HTMLParser):
    """The page as a program reads it.

    Attributes:
        sql: The queries, by key.
        figures: The numbers of the strip as shown, by key of their section.
        labels: The nouns below these numbers.
        tables: Rows as shown, each by name of its column, by key of their section.
        sentences: The paragraphs of every section, by key.
        bars: The label of every bar of the chart.
        tags: Every tag with its attributes.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.sql: dict[str, str] = {}
        self.figures: dict[str, str] = {}
        self.labels: dict[str, str] = {}
        self.tables: dict[str, list[dict[str, str]]] = {}
        self.sentences: dict[str, list[str]] = {}
        self.bars: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._section = self._query = self._figure = ""
        self._open: list[tuple[str, dict[str, str | None]]] = []
        self._text: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begins a section, a query, a number, a table, a row or a cell."""
        given = dict(attrs)
        self.tags.append((tag, given))
        self._open.append((tag, given))
        if tag == "h3":
            self._section = given["id"] or ""
            self.sentences[self._section] = []
        if tag == "footer":
            self._section = ""
        self._query = given.get("data-query") or self._query
        self._figure = given.get("data-figure") or self._figure
        if tag == "rect":
            self.bars.append(given["aria-label"] or "")
        if tag == "tbody":
            self.tables[self._query] = []
        if tag == "tr" and self._query in self.tables:
            self.tables[self._query].append({})
        if tag in ("pre", "p", "td", "span") and not self._is_in("td"):
            self._text = []
        if tag == "li":
            self._text.append("\n")

    def handle_data(self, data: str) -> None:
        """Collects text."""
        self._text.append(data)

    def handle_endtag(self, tag: str) -> None:
        """Ends a paragraph, a query, a number or a cell."""
        while self._open and self._open.pop()[0] != tag:
            pass
        text = "".join(self._text).strip()
        if tag == "pre":
            self.sql[self._query] = text
        if tag == "p" and self._section:
            self.sentences[self._section].append(text)
        if tag == "td":
            name = (self.tags_of("td")[-1]["class"] or "").split()[0]
            self.tables[self._query][-1][name] = text.removesuffix(" Copy")
        if tag == "span" and self._figure and self._figure not in self.figures:
            self.figures[self._figure] = text
        elif tag == "span" and self._figure and self._figure not in self.labels:
            self.labels[self._figure] = text

    def tags_of(self, name: str) -> list[dict[str, str | None]]:
        """The attributes of every tag of a name."""
        return [attributes for tag, attributes in self.tags if tag == name]

    def _is_in(self, name: str) -> bool:
        return any(tag == name for tag, _ in self._open[:-1])


def shown(name: str, row: Mapping[str, Any], teams: Mapping[int, str] | None = None) -> str:
    """A cell of the page for a row of a query's answer."""
    value = row.get(name)
    if name == "connector_identifier":
        return f"{row.get('name') or ''} {value}".strip()
    if name == "paths":
        signs = {"paths_added": "+", "paths_removed": "\N{MINUS SIGN}", "paths_changed": "~"}
        return "\n".join(f"{sign} {path}" for key, sign in signs.items() for path in _listed(row[key])) or NONE
    if name == "redacted_paths":
        found = json.loads(value) if isinstance(value, str) else value or {}
        return "\n".join(f"{key}: {path}" for key, paths in found.items() for path in paths)
    if name == "error_message":
        value = api_sentence(row)
    if name == "team_id" and teams and isinstance(value, int) and value in teams:
        return f"{teams[value]} {value}"
    if isinstance(value, datetime):
        return f"{value.astimezone(timezone.utc):%Y-%m-%d %H:%M}"
    if name == "error_rate":
        return percent(float(value or 0))
    if value is None:
        return "never" if name == "complete_at" else NONE
    return str(value).replace("configuration_changed", "configuration changed")


def _listed(value: Any) -> list[str]:
    found: list[str] = json.loads(value) if isinstance(value, str) else value or []
    return found
