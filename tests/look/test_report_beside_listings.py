"""What the report says of logs and secrets: its numbers are the database's, and it is silent where none are loaded."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import dlt
import pytest

from supermetrics_loader.look.report import write_report
from supermetrics_loader.sandbox import Fault, Sandbox
from tests.helpers.expectations import Load, Query, configuration
from tests.helpers.report_data import SCRIPT, Page, shown

TEAM = 936506
BESIDE = {"failing-connectors", "missing-secrets", "unused-secrets", "failed-fetches"}
NAMED = f"Nordic Marketing {TEAM}"
MISSING = [[NAMED, SCRIPT, "FAILS", "sec_0000missing"]]
UNUSED = [[NAMED, SCRIPT, "FAILS", SCRIPT, "sec_0f9e8d7c6"]]
ALL = {"include_teams": True, "include_logs": True, "include_secrets": True, "include_configs": True}


def entry(id_: str, hours: int, status: int, duration_ms: int = 100) -> dict[str, Any]:
    """A log entry of so many hours ago, its request_id named for it."""
    at = datetime.now(timezone.utc) - timedelta(hours=hours)
    told = {"id": id_, "log_time": at.isoformat(), "status": status, "duration_ms": duration_ms}
    return {**told, "request_id": f"of-{id_}", "request": f"GET /{SCRIPT}"}


def add_failing(sandbox: Sandbox) -> None:
    """A connector that names a secret that it has not got, has one that it does not name, and names like a secret's."""
    auth = configuration(
        auth="{{sec_a23f23d26}}",
        again="Bearer {{sec_0000missing}} {{sec_77d1e90b4}}",
        timeout_sec_5000000="sec_ sec_1 max_sec_1234567 {{sec_A23F23D26}}",
    )
    sandbox.add_connector(TEAM, "FAILS", name=SCRIPT, configuration=auth)
    sandbox.set_secrets(TEAM, "FAILS", {"sec_a23f23d26": "id", "sec_77d1e90b4": "key", "sec_0f9e8d7c6": SCRIPT})


def without_name(rows: list[list[str]]) -> list[list[str]]:
    """The cells as the query gives them: without the team's name beside its id."""
    return [[str(TEAM) if cell == NAMED else cell for cell in row] for row in rows]


@pytest.fixture
def page(sandbox: Sandbox, load: Load, database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Page:
    """A report of three connectors: one fails, one is slow, of one nothing could be had."""
    add_failing(sandbox)
    sandbox.add_connector(TEAM, "SLOW", name="Slow")
    sandbox.add_connector(TEAM, "SHUT", name="Shut")
    sandbox.add_log(TEAM, "FAILS", entry("1", 30, 500), entry("2", 2, 401), entry("3", 1, 200), entry("4", 300, 500))
    sandbox.add_log(TEAM, "SLOW", entry("1", 3, 200, 20_000))
    sandbox.fault(Fault(403), path="/SHUT/logs")
    load(**ALL)
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", str(database))
    write_report(tmp_path / "page.html", "duckdb", "supermetrics")
    return Page((tmp_path / "page.html").read_text(encoding="utf-8"))


def test_each_section_says_what_the_tables_hold(page: Page, query: Query, sandbox: Sandbox) -> None:
    """The failing one first, with the id to copy; and every number is the answer to the query beside it."""
    assert set(page.tables) >= BESIDE
    for key in BESIDE - {"missing-secrets"}:
        assert without_name(page.tables[key]) == [[shown(value) for value in row] for row in query(page.sql[key])], key
    assert page.figures["failing-connectors-count"] == "1"
    fails, slow = page.tables["failing-connectors"]
    assert fails[:5] == [NAMED, SCRIPT, "FAILS", "2", "0"]
    assert fails[5] == "3"
    assert fails[-1].startswith("of-2")
    assert slow[1:6] == ["Slow", "SLOW", "0", "1", "1"]
    assert page.tables["missing-secrets"] == MISSING
    assert page.tables["unused-secrets"] == UNUSED
    [shut] = page.tables["failed-fetches"]
    [refused] = [request.request_id for request in sandbox.requests if request.status == 403]
    assert shut[1:6] == [NAMED, "SHUT", "logs", "failed", "403"]
    assert shut[-1].startswith(str(refused))


def test_every_section_names_the_team(page: Page) -> None:
    """Beside its id, wherever that is; a bar too."""
    cells = [cell for rows in page.tables.values() for row in rows for cell in row]
    assert cells.count(NAMED) >= 10
    assert str(TEAM) not in cells
    labels = [attrs["aria-label"] or "" for tag, attrs in page.tags if attrs.get("aria-roledescription") == "bar"]
    assert f"team {TEAM} Nordic Marketing: 3 connectors" in labels
    assert any(label.endswith(f"characters, team {TEAM} Nordic Marketing") for label in labels)


@pytest.mark.filterwarnings("ignore:implicitly coercing SELECT object")  # of dlt's own merge, as the command line does
@pytest.mark.parametrize("kind", ["sqlalchemy", "filesystem"])
def test_secrets_are_told_on_every_destination(
    sandbox: Sandbox, load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Missing and unused ones, also where no query takes texts apart: in SQLite, and in Delta tables."""
    monkeypatch.setenv("DESTINATION__SQLALCHEMY__CREDENTIALS", f"sqlite:///{tmp_path / 'warehouse.sqlite'}")
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", (tmp_path / "lake").as_uri())
    add_failing(sandbox)
    delta = {"table_format": "delta"} if kind == "filesystem" else {}
    pipeline = dlt.pipeline("w", destination=kind, dataset_name="supermetrics", pipelines_dir=str(tmp_path / "w"))
    load(on=pipeline, **ALL, **delta)
    write_report(tmp_path / "page.html", kind, "supermetrics")
    page = Page((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert page.tables["missing-secrets"] == MISSING
    assert page.tables["unused-secrets"] == UNUSED


def test_where_none_are_loaded_the_page_is_as_before(
    sandbox: Sandbox, load: Load, database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody asked for them."""
    sandbox.add_connector(TEAM, "A")
    load()
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", str(database))
    write_report(tmp_path / "page.html", "duckdb", "supermetrics")
    assert not set(Page((tmp_path / "page.html").read_text(encoding="utf-8")).sql) & BESIDE
