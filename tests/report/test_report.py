"""The report: its numbers are the database's, unknown is not zero, and nothing in the page acts or makes a request."""

from __future__ import annotations

import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import dlt
import duckdb
import pytest

import supermetrics_loader.report
from supermetrics_loader.cli.main import run
from supermetrics_loader.cli.options import SANDBOX_DATASET
from supermetrics_loader.report.messages import api_sentence
from supermetrics_loader.report.page import make_page
from tests.helpers.expectations import Load, Query, configuration, make_source
from tests.helpers.isolation import isolate
from tests.helpers.report_data import (
    BIG,
    EVERYTHING,
    FAILING,
    NONE,
    SCRIPT,
    SMALL,
    TABLES,
    Page,
    load_everything,
    log_entry,
    replace_changes,
    shown,
)
from tests.helpers.sandbox import Fault, Sandbox

TEAMS = {BIG: "Nordic Marketing", SMALL: "Loyalty & Retail", FAILING: "Media Lab"}
NOW = datetime.now(timezone.utc)

Report = Callable[..., Page]
Answer = Callable[[str], list[dict[str, Any]]]


def page_of(file: Path, days: int = 0) -> Page:
    """The page of a DuckDB file, so many days from now."""
    return Page(make_page(dlt.destinations.duckdb(str(file)), "supermetrics", NOW + timedelta(days=days)))


@pytest.fixture
def report(database: Path) -> Report:
    """Makes the page of the test's DuckDB file: `report(days=…)` so many days from now."""
    return partial(page_of, database)


class Everything(NamedTuple):
    """DuckDB files of `load_everything`, before and after a load that succeeds, and the request id of its failure."""

    file: Path
    resolved: Path
    request_id: str | None


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Everything:
    """Both files, which tests only read."""
    folder = tmp_path_factory.mktemp("everything")
    file, resolved = folder / "everything.duckdb", folder / "resolved.duckdb"
    with pytest.MonkeyPatch.context() as patch, Sandbox(teams={}) as sandbox:
        isolate(patch, folder)
        destination = dlt.destinations.duckdb(str(resolved))
        pipeline = dlt.pipeline("everything", destination=destination, dataset_name="supermetrics")
        load_everything(sandbox, partial(load_from, sandbox), pipeline)
        shutil.copy(resolved, file)
        [request_id] = [each.request_id for each in sandbox.requests if each.status == 403 and "/logs" not in each.path]
        sandbox.report_count(SMALL, None)
        load_from(sandbox, pipeline)
    return Everything(file, resolved, request_id)


def load_from(sandbox: Sandbox, on: dlt.Pipeline, **settings: Any) -> None:
    """Loads every team of a sandbox."""
    on.run(make_source(sandbox, **{"include_configs": False, **settings}))


@pytest.fixture(params=["duckdb", "postgres"])
def warehouse(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dlt.Pipeline:
    """A pipeline to a dataset of `load_everything` in each of the destinations."""
    if request.param == "duckdb":
        destination = dlt.destinations.duckdb(str(request.getfixturevalue("everything").file))
        return dlt.pipeline("reader", destination=destination, dataset_name="supermetrics")
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", request.getfixturevalue("postgres_url"))
    pipeline = dlt.pipeline("pg", destination="postgres", dataset_name="warehouse", pipelines_dir=str(tmp_path / "pg"))
    sandbox = request.getfixturevalue("sandbox")
    load_everything(sandbox, partial(load_from, sandbox), pipeline)
    return pipeline


def check_numbers(page: Page, answer: Answer) -> None:
    """Runs every query of the page unchanged, and compares."""
    for key, rows in page.tables.items():
        if key in page.sql:  # not the two sections that read texts
            wanted = answer(page.sql[key])
            if key == "connectors":
                wanted.sort(key=lambda row: (row["last_edited_at"], row["team_id"], row["connector_identifier"]))
            assert rows == [{name: shown(name, row, TEAMS) for name in rows[0]} for row in wanted[: len(rows)]], key
    for key in page.figures.keys() & page.tables.keys():
        assert int(page.figures[key]) == answer(page.sql[key])[0]["total"], key


@pytest.mark.filterwarnings("default")  # pgserver's own use of platformdirs warns
def test_every_number_is_the_answer_to_the_query_beside_it(warehouse: dlt.Pipeline) -> None:
    """A query can be copied from the page, runs unchanged, and gives the same answer."""
    page = Page(make_page(warehouse.destination, warehouse.dataset_name))

    def answer(sql: str) -> list[dict[str, Any]]:
        with warehouse.sql_client() as client, client.execute_query(sql) as cursor:
            names = [column[0] for column in cursor.native_cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    assert set(page.tables) == TABLES
    check_numbers(page, answer)
    assert page.figures == {
        "failing-teams": "2",
        "stale-teams": "0",
        "failing-connectors": "1",
        "typed-secrets": "1",
        "latest-changes": "2",
    }
    assert page.sentences["connectors"] == ["9 connectors in 3 teams with a complete sync."]
    assert {row["outcome"] for row in page.tables["failing-teams"]} == {"incomplete", "failed"}
    assert [row["error_message"] for row in page.tables["failing-teams"] if row["http_status"] == "403"] == [
        "You do not have access to this resource."
    ]
    [missing], [unused] = page.tables["missing-secrets"], page.tables["unused-secrets"]
    assert missing["secret_placeholder"] == "sec_0000missing"
    assert (unused["secret_placeholder"], unused["secret_name"]) == ("sec_0f9e8d7c6", SCRIPT)
    [request] = page.tables["failed-requests"]
    assert request["request_id"] in [tag.get("data-copy") for tag in page.tags_of("button")]
    assert page.tables["latest-changes"][1]["paths"].startswith("+ $.b\n~ $[")


NOT_EXAMINED = {
    "typed-secrets": "Not examined: load with --include-configs.",
    "failing-connectors": "Not examined: load with --include-logs.",
    "missing-secrets": "Not examined: load with --include-secrets --include-configs.",
    "unused-secrets": "Not examined: load with --include-secrets --include-configs.",
    "failed-requests": "Not examined: load with --include-teams, --include-logs or --include-secrets.",
}
NOTHING_FOUND = {
    "typed-secrets": "No secret was found.",
    "failing-connectors": "No call failed or was slow in the last 7 days.",
    "missing-secrets": "No secret is missing.",
    "unused-secrets": "Every secret is used.",
    "failed-requests": "Every request was answered.",
}


@pytest.mark.parametrize(
    ("settings", "found", "note"),
    [
        ({}, (), " Changes of configurations are not examined: load with --include-configs."),
        ({"include_configs": True}, ("typed-secrets",), ""),
        (
            {"include_logs": True},
            ("failing-connectors", "failed-requests"),
            " Changes of configurations are not examined: load with --include-configs.",
        ),
        ({"include_secrets": True, "include_configs": True}, NOTHING_FOUND.keys() - {"failing-connectors"}, ""),
        (EVERYTHING, NOTHING_FOUND.keys(), ""),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else "",
)
def test_zero_is_apart_from_unknown(
    sandbox: Sandbox, load: Load, report: Report, settings: dict[str, Any], found: Any, note: str
) -> None:
    """A section without data names the option that loads it, and its number in the strip is a dash."""
    sandbox.add_connector(BIG, configuration=configuration(a=1))
    load(**settings)
    page = report()

    for key in NOTHING_FOUND:
        assert page.sentences[key] == [(NOTHING_FOUND if key in found else NOT_EXAMINED)[key]]
    for key in ("typed-secrets", "failing-connectors"):
        assert page.figures[key] == ("0" if key in found else NONE)
    assert page.sentences["latest-changes"] == [f"No changes since the first sync on {NOW:%Y-%m-%d}.{note}"]
    assert page.figures["latest-changes"] == "0"
    without = "Configurations and their edits are not examined: load with --include-configs."
    wanted = ["1 connector in 1 team with a complete sync.", *([without] if note else [])]
    assert page.sentences["connectors"] == wanted
    assert set(page.tables) == {"connectors"}


def test_a_part_that_was_not_examined_is_stated(
    sandbox: Sandbox, load: Load, report: Report, database: Path, tmp_path: Path
) -> None:
    """One log is denied, one connector has no configuration, one team was loaded without configurations.

    Shards share a dataset, and the newest schema may be one without configurations: the tables count.
    """
    for identifier, document in (("A", configuration(a=1)), ("B", None)):
        sandbox.add_connector(BIG, identifier, configuration=document)
    sandbox.add_connector(SMALL, "C", configuration=configuration(a=1))
    sandbox.fault(Fault(403), path="/B/logs")
    load(BIG, **EVERYTHING)
    destination = dlt.destinations.duckdb(str(database))
    other = dlt.pipeline("other", destination=destination, dataset_name="supermetrics", pipelines_dir=str(tmp_path))
    load(SMALL, on=other)
    page = report()

    assert page.sentences["failing-connectors"] == [
        f"{NOTHING_FOUND['failing-connectors']} Examined: 1 of 3 connectors."
    ]
    assert page.sentences["missing-secrets"] == ["No secret is missing. Examined: 1 of 3 connectors."]
    assert page.sentences["typed-secrets"] == ["No secret was found. Examined: 1 of 2 teams."]
    assert page.figures["typed-secrets"] == page.figures["failing-connectors"] == "0"
    assert "1" in [row["versions"] for row in page.tables["connectors"]]
    assert (
        report(days=5).figures["failing-connectors"] == NONE
    )  # what was read five days ago says nothing of these days


def test_a_sync_is_complete_when_its_load_is(sandbox: Sandbox, load: Load, database: Path, tmp_path: Path) -> None:
    """A row that says `ok` of an interrupted load is not believed; an empty or missing table concludes nothing."""
    sandbox.add_connector(BIG)
    load()
    for statement, status in (
        ("update _dlt_loads set status = 1", "unfinished"),
        ("delete from _dlt_loads where load_id in (select _dlt_load_id from team_syncs)", "unfinished"),
        ("delete from _dlt_loads", "ok"),
        ("drop table _dlt_loads", "ok"),
    ):
        copy = Path(shutil.copy(database, tmp_path / "copy.duckdb"))
        with duckdb.connect(str(copy)) as connection:
            connection.execute("set schema = 'supermetrics'")
            connection.execute("insert into _dlt_loads (load_id, status, inserted_at) values ('another', 0, now())")
            connection.execute(statement)
        page = page_of(copy, days=3)

        rows = page.tables.get("failing-teams", [])
        assert [(row["outcome"], row["complete_at"]) for row in rows] == [("unfinished", "never")] * (status != "ok")
        assert page.figures["failing-teams"] == str(len(rows))
        assert page.labels["failing-teams"] == ("failing teams" if status == "ok" else "failing team")
        assert (page.tables["stale-teams"][0]["complete_at"] == "never") == bool(rows)
        teams = "0 teams" if rows else "1 team"
        assert page.sentences["connectors"][0] == f"1 connector in {teams} with a complete sync."


SENTENCE = "You do not have access: 5 of team 7 (yet)."
ADVICE = "Check the API key: it may be mistyped, expired or revoked."
RESET = "The limit resets at 2026-11-25 10:00:00 UTC (retry_after=3600 s)."


@pytest.mark.parametrize(
    ("prefix", "suffix", "code"),
    [
        ("HTTP 401 NO for team 1: ", f" {ADVICE} (request_id=r1)", "NO"),
        ("HTTP 401 NO for team 1: ", f" The key came from ~/.dlt/secrets.toml. {ADVICE} (request_id=r1)", "NO"),
        ("HTTP 418 odd: code (x) for team 1: ", " (request_id=r1)", "odd: code (x)"),
        ("HTTP 429 LIMIT for team 1: ", f" {RESET} (request_id=r1)", "LIMIT"),
        ("HTTP 502 for team 1: ", "", None),
        ("Team 1: ", "", None),
        ("", "", None),
    ],
)
def test_the_message_is_the_sentence_of_the_api(prefix: str, suffix: str, code: str | None) -> None:
    """Status, code, team and request id have columns of their own; texts of another form stay unchanged."""
    row = {"error_message": f"{prefix}{SENTENCE}{suffix}", "error_code": code, "request_id": "r1"}
    assert api_sentence(row) == SENTENCE
    for other in ("relation: team 7: is missing", "ok (request_id=another)", None):
        assert api_sentence({**row, "error_message": other}) == other


def test_failing_connectors_come_by_error_rate_and_others_by_their_last_edit(
    sandbox: Sandbox, load: Load, report: Report
) -> None:
    """One error in two calls is worse than two in nine. Removed connectors are left out, nameless ones identified.

    The last edit is the later of two: a connector whose configuration was edited this morning does not come first.
    """
    logs = {
        "OFTEN": [log_entry(str(hour), hour, 500 if hour < 3 else 200) for hour in range(1, 10)],
        "HALF": [log_entry("1", 5, 401), log_entry("2", 1, 200), log_entry("3", 300, 500)],
        "SLOW": [log_entry("1", 3, 200, 20_000)],
        "GONE": [log_entry("1", 3, 500)],
    }
    for identifier, entries in logs.items():
        sandbox.add_connector(BIG, identifier, name=None if identifier == "HALF" else identifier.title())
        sandbox.add_log(BIG, identifier, *entries)
    edits = {
        "A": ("2020-01-01", "2026-01-01"),
        "B": ("2024-01-01", "2021-01-01"),
        "C": ("2025-01-01", None),
        "D": (None, None),
    }
    for identifier, (record, document) in edits.items():
        given = {**configuration(a=1), "updated_at": document} if document else None
        sandbox.add_connector(SMALL, identifier, updated_at=record, configuration=given)
    load(include_logs=True, include_configs=True)
    sandbox.delete_connector(BIG, "GONE")
    load(include_logs=True, include_configs=True)
    page = report()

    rows = [list(row.values()) for row in page.tables["failing-connectors"]]
    assert [row[:1] + row[2:6] for row in rows] == [
        ["HALF", "50 %", "1", "2", "0"],
        ["Often OFTEN", "22 %", "2", "9", "0"],
        ["Slow SLOW", "0 %", "0", "1", "1"],
    ]
    assert rows[1][-1].endswith("of-1")
    assert page.figures["failing-connectors"] == "2"
    assert [row["change"] for row in page.tables["latest-changes"]] == ["removed"]
    edited = [row for row in page.tables["connectors"] if str(SMALL) in row["team_id"]]
    assert [(row["connector_identifier"][-1], row["last_edited_at"][:10]) for row in edited] == [
        *(("B", "2024-01-01"), ("C", "2025-01-01"), ("A", "2026-01-01"), ("D", NONE)),
    ]


@pytest.mark.filterwarnings("ignore:implicitly coercing SELECT object")  # of dlt's own merge, as the command line does
@pytest.mark.parametrize("kind", ["duckdb", "sqlalchemy", "filesystem"])
def test_missing_and_unused_secrets_are_found_everywhere(
    sandbox: Sandbox, load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """An id is used if the text has it whole: neither as the beginning of another id, nor with another letter for _."""
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", str(tmp_path / "secrets.duckdb"))
    monkeypatch.setenv("DESTINATION__SQLALCHEMY__CREDENTIALS", f"sqlite:///{tmp_path / 'secrets.sqlite'}")
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", (tmp_path / "lake").as_uri())
    used = "{{sec_a23f23d26}} {{sec_0000missing}} sec_12345678 secXabcdef1 sec_ sec_1 max_sec_1234567 {{sec_A23F23D26}}"
    sandbox.add_connector(BIG, "A", name=SCRIPT, configuration=configuration(url=used))
    sandbox.set_secrets(BIG, "A", {"sec_a23f23d26": "id", "sec_12345": "prefix", "sec_abcdef1": SCRIPT, "odd form": ""})
    sandbox.add_connector(BIG, "B", configuration=configuration(url="{{sec_unknown1}}"))
    sandbox.fault(Fault(403), path="/B/secrets")
    pipeline = dlt.pipeline("w", destination=kind, dataset_name="supermetrics", pipelines_dir=str(tmp_path / "w"))
    load(on=pipeline, **EVERYTHING, **({"table_format": "delta"} if kind == "filesystem" else {}))
    page = Page(make_page(kind, "supermetrics"))

    connector = {"connector_identifier": f"{SCRIPT} A", "team_id": f"{TEAMS[BIG]} {BIG}"}
    assert page.tables["missing-secrets"] == [
        {**connector, "secret_placeholder": each} for each in ("sec_0000missing", "sec_12345678")
    ]
    assert page.tables["unused-secrets"] == [
        {**connector, "secret_placeholder": each, "secret_name": name}
        for each, name in (("sec_12345", "prefix"), ("sec_abcdef1", SCRIPT))
    ]
    assert page.sentences["missing-secrets"][-1] == "Examined: 1 of 2 connectors."


def test_the_chart_starts_at_the_first_sync(
    sandbox: Sandbox, load: Load, report: Report, pipeline: dlt.Pipeline, query: Query
) -> None:
    """Of one day, of some, and of more than twelve weeks: each bar with its number, and dates that are in the data."""
    sandbox.add_connector(BIG)
    load()
    for first_day, days in ((0, 1), (11, 12), (100, 84)):
        ages = [age for age in (0, 0, 5, 11, 83, 84, 99) if age <= first_day]
        replace_changes(pipeline, [(NOW - timedelta(days=age), "updated", "A", "A", {}) for age in ages], first_day)
        page = report()
        query("drop table connector_changes")

        counts = {age: ages.count(age) for age in ages if age < days}
        expected = [f"{NOW - timedelta(days=age):%Y-%m-%d}: {count} updated" for age, count in counts.items()]
        assert page.bars == expected[::-1]
        positions = [float((tag["x"] or "").rstrip("%")) for tag in page.tags_of("rect")]
        assert positions == pytest.approx([100 * (days - 1 - age) / days for age in counts][::-1], abs=0.01)
        assert page.sentences["latest-changes"] == [
            "The 20 newest. Paths of a configuration: + added, \N{MINUS SIGN} removed, ~ changed.",
            "Changes of configurations are not examined: load with --include-configs.",
        ]
        assert page.figures["latest-changes"] == str(sum(age < 7 for age in ages))
        assert page.labels["latest-changes"] == "changes"


NAMES = {
    SCRIPT: SCRIPT,
    "\x1b]0;title\x07": r"\x1b]0;title\x07",
    "a\nb\r\x85c": r"a\nb\r\x85c",
    "\u202egpj.exe\u2066\ufffe\uffff\u2028": r"\u202egpj.exe\u2066\ufffe\uffff\u2028",
    "{{ now }}{% raw %}": "{{ now }}{% raw %}",
    "\U0001f469\u200d" * 1_000_000: "\U0001f469\u200d" * 2_000 + "… (2,000,000 characters)",
}
"""How the page shows a name."""


def test_a_name_is_text(sandbox: Sandbox, load: Load, database: Path) -> None:
    """The name of a connector can neither run a script nor move a cursor nor fill the reader's memory."""
    for number, name in enumerate(NAMES):
        document = {"version": name[:20], "configuration_json": {name[:99]: 1}}
        sandbox.add_connector(BIG, str(number), name=name, configuration=document)
        sandbox.set_secrets(BIG, str(number), {"sec_0f9e8d7c6": name[:99]})
    load(**EVERYTHING)
    for number in range(len(NAMES)):
        sandbox.edit_configuration(BIG, str(number), configuration_json={"b": 1})
    load(**EVERYTHING)
    html = make_page(dlt.destinations.duckdb(str(database)), "supermetrics")
    page = Page(html)

    for key in ("connectors", "latest-changes", "unused-secrets"):
        assert sorted(row["connector_identifier"] for row in page.tables[key]) == sorted(
            f"{wanted} {number}" for number, wanted in enumerate(NAMES.values())
        )
    assert len(page.tags_of("script")) == 1
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufffe\uffff]", html)


def test_the_page_makes_no_request(everything: Everything) -> None:
    """It opens from disk, in a mail, behind a firewall: it contains all that it needs, and its policy says so."""
    html = make_page(dlt.destinations.duckdb(str(everything.file)), "supermetrics")
    page = Page(html)

    policy = "default-src 'none'; base-uri 'none'; form-action 'none'; style-src 'sha256'; script-src 'sha256'"
    assert [
        re.sub("sha256-[^']+", "sha256", tag["content"] or "") for tag in page.tags_of("meta") if "http-equiv" in tag
    ] == [policy]
    assert not [attrs for _, attrs in page.tags if {"src", "xlink:href", "srcset", "action", "style"} & attrs.keys()]
    ids = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    assert {str(tag["href"]).removeprefix("#") for tag in page.tags_of("a")} == page.figures.keys() <= ids
    assert not re.search(r"url\(|@import|fetch\(", html)
    assert len(html.encode()) < 150_000


def test_a_resolved_failure_moves_to_a_section_of_its_own(everything: Everything) -> None:
    """After the next complete sync. The section shows the request id."""
    page = page_of(everything.resolved)

    assert page.figures["failing-teams"] == "0"
    assert page.sentences["failing-teams"] == ["The latest sync of every team is complete."]
    assert everything.request_id in [row["request_id"] for row in page.tables["resolved-failures"]]


def test_a_team_that_never_loaded_is_reported(
    sandbox: Sandbox, load: Load, report: Report, pipeline: dlt.Pipeline
) -> None:
    """The first run may fail: there are syncs and no connectors, and the page is about the failure."""
    sandbox.add_team(FAILING)
    sandbox.fault(Fault(403), team_id=FAILING)
    load(on_team_error="skip")
    with pipeline.sql_client() as client:
        for table in ("connectors", "connector_versions"):
            client.execute_sql(f"drop table if exists {table}")
    page = report()

    assert page.figures["failing-teams"] == "1"
    assert page.tables["failing-teams"][0]["complete_at"] == "never"
    assert page.sentences["connectors"] == ["Not examined: no team has a complete sync."]
    assert page.sentences["latest-changes"][0].startswith(
        "Not examined: the next load writes the history of connectors."
    )
    assert page.figures["latest-changes"] == NONE


def test_a_page_made_next_year_counts_from_then(everything: Everything) -> None:
    """The numbers are those of the page's time, and every team is stale."""
    page = page_of(everything.file, days=400)

    assert page.figures["latest-changes"] == "0"
    assert page.figures["stale-teams"] == "3"
    assert page.sentences["latest-changes"][1] == "Examined: 0 of 3 teams."
    assert "changes-by-day" not in page.tables
    with duckdb.connect(str(everything.file)) as connection:
        assert len(connection.execute(page.sql["stale-teams"]).fetchall()) == 3


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("none/page.html", "The folder none does not exist."),
        ("file/page.html", "The folder file does not exist."),
        (".", ". is not a file, but a folder."),
        ("/dev/null", "/dev/null is not a file, but a device."),
    ],
)
def test_an_output_that_is_no_file_is_a_usage_error(output: str, message: str, capsys: Any) -> None:
    """Before anything is read, with the name."""
    Path("file").touch()
    assert run(["report", "--output", output]) == 64
    assert message in capsys.readouterr().err
    assert [path.name for path in Path.cwd().iterdir()] == ["file"]


def test_a_missing_package_is_named_with_the_extra(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """The command is there without its packages; it says what to install."""
    monkeypatch.delitem(sys.modules, "supermetrics_loader.report.page")
    monkeypatch.delattr(supermetrics_loader.report, "page")
    monkeypatch.setitem(sys.modules, "jinja2", None)

    assert run(["report"]) == 64
    assert "pip install -e '.[report]'" in capsys.readouterr().err


def test_the_default_file_is_reported_while_others_read_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The report only reads. On a full disk the earlier report stays."""
    monkeypatch.setenv("TZ", "America/New_York")
    assert run(["load", "--sandbox", "--include-configs", "--quiet"]) == 0
    code = "import duckdb, sys; duckdb.connect('supermetrics_connectors.duckdb', read_only=True); print(); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as reader:  # noqa: S603
        assert reader.stdout
        reader.stdout.readline()
        capsys.readouterr()
        assert run(["report", "--dataset", SANDBOX_DATASET]) == 0
        reader.communicate(b"\n")
    assert capsys.readouterr().out == f"Report: {tmp_path / 'report.html'}\n"
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert Page(html).sentences["connectors"] == ["7 connectors in 3 teams with a complete sync."]

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        assert run(["report", "--dataset", SANDBOX_DATASET]) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    error = f"Error: The report could not be written to {tmp_path / 'report.html'}: File too large.\n"
    assert capsys.readouterr().err == error
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == html
    assert not list(tmp_path.glob(".report*"))
