"""What the report says of logs and secrets: its numbers are the database's, and it is silent where none are loaded."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from supermetrics_loader.look.report import write_report
from supermetrics_loader.sandbox import Fault, Sandbox
from tests.helpers.expectations import Load, Query, configuration
from tests.helpers.report_data import SCRIPT, Page, shown

TEAM = 936506
BESIDE = {"failing-connectors", "missing-secrets", "unused-secrets", "failed-fetches"}
ALL = {"include_teams": True, "include_logs": True, "include_secrets": True, "include_configs": True}


def entry(id_: str, hours: int, status: int, duration_ms: int = 100) -> dict[str, Any]:
    """A log entry of so many hours ago, its request_id named for it."""
    at = datetime.now(timezone.utc) - timedelta(hours=hours)
    told = {"id": id_, "log_time": at.isoformat(), "status": status, "duration_ms": duration_ms}
    return {**told, "request_id": f"of-{id_}", "request": f"GET /{SCRIPT}"}


@pytest.fixture
def page(sandbox: Sandbox, load: Load, database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Page:
    """A report of three connectors: one fails, one is slow, of one nothing could be had."""
    auth = configuration(
        auth="{{sec_a23f23d26}}", again="Bearer {{sec_0000missing}} {{sec_77d1e90b4}}", timeout_sec_=""
    )
    sandbox.add_connector(TEAM, "FAILS", name=SCRIPT, configuration=auth)
    sandbox.add_connector(TEAM, "SLOW", name="Slow")
    sandbox.add_connector(TEAM, "SHUT", name="Shut")
    sandbox.set_secrets(TEAM, "FAILS", {"sec_a23f23d26": "id", "sec_77d1e90b4": "key", "sec_0f9e8d7c6": SCRIPT})
    sandbox.add_log(TEAM, "FAILS", entry("1", 30, 500), entry("2", 2, 401), entry("3", 1, 200), entry("4", 300, 500))
    sandbox.add_log(TEAM, "SLOW", entry("1", 3, 200, 20_000))
    sandbox.fault(Fault(403), path="/SHUT/logs")
    load(**ALL)
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", str(database))
    write_report(tmp_path / "page.html", "duckdb", "supermetrics")
    return Page((tmp_path / "page.html").read_text(encoding="utf-8"))


def test_each_section_says_what_the_tables_hold(page: Page, query: Query, sandbox: Sandbox) -> None:
    """The failing one first, with the id to copy; and every number is the answer to the query beside it."""
    assert set(page.sql) >= BESIDE
    for key in BESIDE:
        assert page.tables[key] == [[shown(value) for value in row] for row in query(page.sql[key])], key
    fails, slow = page.tables["failing-connectors"]
    assert fails[:6] == ["Nordic Marketing", str(TEAM), SCRIPT, "FAILS", "2", "0"]
    assert fails[6] == "3"
    assert fails[-1].startswith("of-2")
    assert slow[2:7] == ["Slow", "SLOW", "0", "1", "1"]
    assert page.tables["missing-secrets"] == [[str(TEAM), "FAILS", "sec_0000missing"]]
    assert page.tables["unused-secrets"] == [[str(TEAM), "FAILS", SCRIPT, "sec_0f9e8d7c6"]]
    [shut] = page.tables["failed-fetches"]
    [refused] = [request.request_id for request in sandbox.requests if request.status == 403]
    assert shut[1:6] == [str(TEAM), "SHUT", "logs", "failed", "403"]
    assert shut[-1].startswith(str(refused))


def test_where_none_are_loaded_the_page_is_as_before(
    sandbox: Sandbox, load: Load, database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody asked for them."""
    sandbox.add_connector(TEAM, "A")
    load()
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", str(database))
    write_report(tmp_path / "page.html", "duckdb", "supermetrics")
    assert not set(Page((tmp_path / "page.html").read_text(encoding="utf-8")).sql) & BESIDE
