"""A dataset with something for every section of the report, and the report's page as a program reads it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from html.parser import HTMLParser
from typing import Any

import dlt

from supermetrics_loader.sandbox import Fault, Sandbox

SCRIPT = "<script>document.title = 'broken into'</script>"
NONE = "\N{EN DASH}"
BIG, SMALL, FAILING = 936506, 941277, 958014

_CHANGES_TABLE = (
    "create table connector_changes (team_id bigint, connector_identifier text, name text, change text,"
    " updated_at timestamp with time zone, previous_updated_at timestamp with time zone,"
    " detected_at timestamp with time zone, baseline boolean, paths_changed text)"
)


def load_everything(sandbox: Sandbox, load: Callable[..., Any], pipeline: dlt.Pipeline, **more: Any) -> None:
    """Three teams, one of which fails in the end; versions, changes, a redacted secret and a name that is a script.

    With what else is asked for: a connector whose log has errors, that lacks one secret and does not use another.
    """
    now = datetime.now(timezone.utc)
    for team_id, ages in {BIG: (1, 3, 20, 60, 200, 500), SMALL: (2, 400), FAILING: (5,)}.items():
        sandbox.add_team(team_id)
        for age in ages:
            sandbox.add_connector(
                team_id,
                name=f"Connector of {age} days",
                updated_at=(now - timedelta(days=age)).strftime("%Y-%m-%dT%H:%M:%SZ"),
                configuration={"version": "1", "configuration_json": {"text": "x" * age}},
            )
    first = {"version": "1", "configuration_json": {}}
    hostile = sandbox.add_connector(BIG, name=SCRIPT, configuration=first)["connector_identifier"]
    sandbox.set_secrets(BIG, hostile, {"sec_0f9e8d7c6": SCRIPT})
    failed = {"id": "1", "log_time": now.isoformat(), "status": 500, "duration_ms": 10, "request_id": "of-1"}
    sandbox.add_log(BIG, hostile, failed)
    sandbox.edit_configuration(BIG, hostile, configuration_json={"key": "{{sec_0000missing}}"})
    load(on=pipeline, include_configs=True, **more)
    sandbox.edit_configuration(BIG, hostile, configuration_json={"text": SCRIPT * 20, "key": "{{sec_0000missing}}"})
    sandbox.report_count(SMALL, 9)
    sandbox.fault(Fault(403), team_id=FAILING)
    load(on=pipeline, include_configs=True, on_team_error="skip")
    _note_changes(pipeline, hostile, now)


def _note_changes(pipeline: dlt.Pipeline, identifier: str, now: datetime) -> None:
    """Changes of the last weeks, as no test can wait for them; and what a redaction leaves in `team_syncs`."""
    paths = json.dumps([f"/reports/0/{SCRIPT}", "/authentication/type"])
    rows = [
        (90, "added", True, None),
        (40, "added", False, None),
        (9, "updated", False, None),
        (2, "configuration_changed", False, paths),
        (1, "removed", False, None),
    ]
    with pipeline.sql_client() as client:
        client.execute_sql("drop view if exists connector_changes")
        client.execute_sql(_CHANGES_TABLE)
        for age, change, baseline, changed in rows:
            client.execute_sql(
                "insert into connector_changes values (%s, %s, %s, %s, null, null, %s, %s, %s)",
                *(BIG, identifier, SCRIPT, change, now - timedelta(days=age), baseline, changed),
            )
        if "secrets_redacted" not in pipeline.default_schema.tables["team_syncs"]["columns"]:
            client.execute_sql("alter table team_syncs add column secrets_redacted bigint")
            client.execute_sql("alter table team_syncs add column redacted_paths text")
        redacted = json.dumps([f"{SCRIPT}: /authentication/client_secret"])
        client.execute_sql(
            f"update team_syncs set secrets_redacted = 1, redacted_paths = '{redacted.replace(chr(39), chr(39) * 2)}'"
            f" where team_id = {BIG}"
        )


class Page(HTMLParser):
    """The page as a program reads it: what each query is and what was answered.

    Attributes:
        sql: The queries, by key.
        figures: The tiles' numbers as shown, by key.
        tables: Rows of cells as shown, by key.
        tags: Every tag with its attributes.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.sql: dict[str, str] = {}
        self.figures: dict[str, str] = {}
        self.tables: dict[str, list[list[str]]] = {}
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._table = ""
        self._in_figure = False
        self._text: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begins a query, a number, a table, a row or a cell."""
        self.tags.append((tag, dict(attrs)))
        if key := dict(attrs).get("data-query") or "":
            self._table = key
        self._in_figure = tag == "p" and bool(key)
        if tag == "table":
            self.tables[key] = []
        if tag == "tr":
            self.tables[self._table].append([])
        if tag in ("pre", "p", "td"):
            self._text = []
        if tag == "br":
            self._text.append("\n")

    def handle_data(self, data: str) -> None:
        """Collects text."""
        self._text.append(data)

    def handle_endtag(self, tag: str) -> None:
        """Ends a query, a number or a cell."""
        text = "".join(self._text)
        if tag == "pre":
            self.sql[self._table] = text
        if tag == "p" and self._in_figure:
            self.figures[self._table] = text
        if tag == "td":
            self.tables[self._table][-1].append(text.strip().removesuffix(" Copy"))
        if tag == "thead":
            self.tables[self._table].clear()


def shown(value: Any) -> str:
    """A value of a query's answer, as the page shows it."""
    if value is None:
        return NONE
    if isinstance(value, datetime):
        return f"{value.astimezone(timezone.utc):%Y-%m-%d %H:%M}"
    paths = json.loads(value) if isinstance(value, str) and value.startswith("[") else value
    if isinstance(paths, list):
        return "\n".join(paths) or NONE
    return str(value).replace("configuration_changed", "configuration changed")
