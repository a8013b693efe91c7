"""The source from HTTP to DuckDB: its tables, its failures, its settings and its log."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import dlt
import pytest
from dlt.common.configuration.container import Container
from dlt.common.configuration.exceptions import ConfigFieldMissingException
from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext
from dlt.common.exceptions import TerminalException, TransientException
from dlt.extract.exceptions import ResourceExtractionError

from supermetrics_connectors import supermetrics_source
from supermetrics_connectors.api import fetch
from supermetrics_connectors.exceptions import (
    SupermetricsConfigurationError,
    SupermetricsContractError,
    SupermetricsError,
    SupermetricsForbiddenError,
    SupermetricsRateLimitError,
    SupermetricsServerError,
    SupermetricsUnauthorizedError,
)
from tests.helpers.expectations import (
    COMPARED,
    OTHER,
    TEAM,
    Load,
    Query,
    Rows,
    assert_tables_equal_the_api,
    cause_of,
    configuration,
    failure,
    make_source,
    traced,
)
from tests.helpers.sandbox import OMIT, Fault, Sandbox

ALL_TABLES = (*COMPARED, "team_syncs")

# --- the tables -------------------------------------------------------------------------------------------------------


def test_one_request_per_team_feeds_every_table(
    sandbox: Sandbox, load: Load, rows: Rows, query: Query, pipeline: dlt.Pipeline
) -> None:
    """In one load package of Parquet files, whose id is in every row; `_dlt_load_id` joins `_dlt_loads`."""
    for team in (1, 2, 3):
        sandbox.add_connector(team, "A", configuration=configuration(team=team))
    info = load(include_configs=True, team_ids=[1, "2", 2, 3, 1])
    assert sorted(request.team_id or 0 for request in sandbox.requests) == [1, 2, 3]
    assert all(request.query == {"include_configs": "true"} for request in sandbox.requests)
    assert rows("team_syncs", "team_id") == [(1,), (2,), (3,)]
    assert_tables_equal_the_api(sandbox, rows)
    (first,) = info.loads_ids
    for table in ALL_TABLES:
        assert set(query(f"select _dlt_load_id from {table} join _dlt_loads on load_id = _dlt_load_id")) == {(first,)}
    jobs = {(job.job_file_info.table_name, job.job_file_info.file_format) for job in _completed(info)}
    assert jobs >= {(table, "parquet") for table in ALL_TABLES}
    assert {kind for table, kind in jobs if table in ALL_TABLES} == {"parquet", "sql"}, "the latter merges the former"
    columns = pipeline.default_schema.tables["connectors"]["columns"].items()
    assert [name for name, hints in columns if hints.get("primary_key")] == ["team_id", "connector_identifier"]
    assert set(pipeline.default_schema.data_table_names()) == set(ALL_TABLES)
    sandbox.edit_connector(1, "A", name="edited")
    (second,) = load(include_configs=True).loads_ids
    loads = {table: rows(table, "_dlt_load_id", where="team_id = 1") for table in ALL_TABLES}
    assert loads == {
        "connectors": [(second,)],
        "connector_versions": [(first,), (second,)],
        "connector_configurations": [(first,)],
        "team_syncs": [(first,), (second,)],
    }


def _completed(info: Any) -> list[Any]:
    return [job for package in info.load_packages for job in package.jobs["completed_jobs"]]


def test_the_first_load_makes_every_table(sandbox: Sandbox, load: Load, rows: Rows, query: Query) -> None:
    """Queries written beforehand run on a new customer's warehouse, also without a connector or a configuration."""
    sandbox.add_team(TEAM)
    load()
    assert [rows(table, "*") for table in COMPARED] == [[], [], []]
    assert rows("team_syncs", "team_id", "status", "connectors_received") == [(TEAM, "ok", 0)]
    sandbox.add_connector(OTHER, "A", configuration=configuration())
    load()
    assert "configuration" not in {name for name, *_ in query("describe connectors")}
    assert rows("connector_configurations", "*") == []


def test_values_are_stored_as_the_api_sends_them(
    sandbox: Sandbox, load: Load, rows: Rows, query: Query, pipeline: dlt.Pipeline
) -> None:
    """Timestamps of every shape, missing fields, text of every script, and definitions of any depth."""
    shapes = [
        "2025-01-01",
        "2025-01-01T00:00:00Z",
        "2025-01-01T00:00:00+00:00",
        "2025-01-01T00:00:00+0000",
        "2025-01-01T05:30:00+05:30",
    ]
    for number, shape in enumerate(shapes):
        sandbox.add_connector(1, f"C{number}", created_at=shape, updated_at=shape)
    columns = ("name", "description", "logo_url", "created_at", "updated_at")
    sandbox.add_connector(2, "A", **dict.fromkeys(columns, OMIT))
    sandbox.add_connector(2, "B", **dict.fromkeys(columns, None))
    text = """Ä "quoted" 'name'; drop table x -- \\ \n\t東京 🦆 {"a": 1}"""
    deep: dict[str, Any] = {}
    for level in range(200):
        deep = {"level": level, "below": deep, "list": [[{"a": [1, 2]}], None]}
    sandbox.add_connector(3, "A", name=text, configuration=configuration(text=text, deep=deep))
    for _ in range(2):
        load(include_configs=True)
        assert_tables_equal_the_api(sandbox, rows)
    instant = datetime(2025, 1, 1, tzinfo=timezone.utc)
    assert rows("connectors", "created_at", "updated_at", where="team_id = 1") == [(instant, instant)] * len(shapes)
    assert rows("connectors", *columns, where="team_id = 2") == [(None,) * 5] * 2
    stored = "select configuration_json->>'text', configuration_json->>'$.deep.below.level' from"
    assert query(f"{stored} connector_configurations") == [(text, "198")]
    assert not any("__" in table for table in pipeline.default_schema.data_table_names())


def test_team_syncs_have_the_outcome_of_each_request(sandbox: Sandbox, load: Load, rows: Rows) -> None:
    """One row per team and run, with the request id for the vendor's support and the latest update as a watermark."""
    for name, updated_at in (("A", "2025-01-01"), ("B", "2026-02-02T10:00:00+0200"), ("C", None)):
        sandbox.add_connector(TEAM, name, updated_at=updated_at, configuration=configuration() if name == "A" else None)
    before = datetime.now(timezone.utc)
    load(include_configs=True)
    counts = ("connectors_reported", "connectors_received", "connectors_changed", "connectors_removed")
    columns = ("team_id", "status", "http_status", "request_id", *counts, "configurations_changed")
    more = ("rate_limit_remaining", "error_code", "error_message", "latest_updated_at::varchar")
    expected = (TEAM, "ok", 200, sandbox.requests[0].request_id, 3, 3, 3, 0, 1)
    assert rows("team_syncs", *columns, *more) == [(*expected, 4999, None, None, "2026-02-02 08:00:00+00")]
    ((started_at, duration_ms),) = rows("team_syncs", "started_at", "duration_ms")
    assert before <= started_at <= datetime.now(timezone.utc)
    assert 0 <= duration_ms < 10_000
    for name in "BCA":
        sandbox.delete_connector(TEAM, name)
    load()
    later = rows("team_syncs", *columns[4:], "latest_updated_at", where=f"started_at > '{started_at}'")
    assert later == [(0, 0, 0, 3, None, None)]


def test_how_dlt_extracts_is_the_users_to_set(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """The source's own value is a default."""
    sandbox.add_team(TEAM)
    name = "data_writer.buffer_max_items"
    for section, expected in (("", None), ("sources.supermetrics_connectors.", 7)):
        monkeypatch.setenv(f"{section}{name}".upper().replace(".", "__"), "7")
        make_source(sandbox)
        assert dlt.config.get(f"sources.supermetrics_connectors.{name}", int) == expected


# --- failures ---------------------------------------------------------------------------------------------------------

FAULTS: dict[str, tuple[Fault, type[SupermetricsError]]] = {
    "no list": (Fault(body=b'{"count": 1}'), SupermetricsContractError),
    "no identifier": (Fault(body=b'{"count": 1, "connectors": [{"name": "A"}]}'), SupermetricsContractError),
    "html": (Fault(body=b"<html>", content_type="text/html"), SupermetricsError),
    "redirect": (Fault(302, location="/elsewhere"), SupermetricsContractError),
    "403": (Fault(403), SupermetricsForbiddenError),
    "401": (Fault(401), SupermetricsUnauthorizedError),
    "429": (Fault(429, retry_after=3600), SupermetricsRateLimitError),
    "500": (Fault(500, delay=0.1), SupermetricsServerError),
    "cut": (Fault(stage="mid_body"), SupermetricsError),
}


def test_a_failing_team_fails_the_run_and_nothing_is_loaded_or_removed(
    sandbox: Sandbox, load: Load, rows: Rows, pipeline: dlt.Pipeline
) -> None:
    """By default that holds for every team of the run. A change that the run saw is new to the next run."""
    for team in (TEAM, OTHER):
        sandbox.add_connector(team, "A", configuration=configuration())
    load(include_configs=True)
    before = [rows(table, "*") for table in ALL_TABLES]
    for team in (TEAM, OTHER):
        sandbox.edit_connector(team, "A", name="edited")
    for name, (fault, kind) in FAULTS.items():
        sandbox.fault(fault, team_id=TEAM)
        error = failure(load, include_configs=True, request_max_attempts=1)
        assert isinstance(error, kind), name
        assert error.team_id == TEAM
        assert error.request_id == next(r.request_id for r in reversed(sandbox.requests) if r.team_id == TEAM)
        assert [rows(table, "*") for table in ALL_TABLES] == before
        # `retry_load` looks at the class of the exception behind the failed step
        may_pass = name in ("html", "429", "500", "cut")
        assert issubclass(type(error), TransientException if may_pass else TerminalException), name
        assert {trace["is_terminal"] for trace in traced(pipeline)} == {not may_pass}
    load(include_configs=True)
    assert_tables_equal_the_api(sandbox, rows)


def test_a_forbidden_team_fails_the_run_and_names_the_request_id(
    sandbox: Sandbox, load: Load, pipeline: dlt.Pipeline
) -> None:
    """A 403 stops the load with an error that support can trace, in the text, the attributes and dlt's trace."""
    error = failure(load, 5)
    request_id = sandbox.requests[0].request_id
    assert str(error) == (
        "HTTP 403 FORBIDDEN for team 5: You do not have access to this resource. The token's owner does not belong to "
        f"this team. Check that the API key's owner belongs to this team. (request_id={request_id})"
    )
    expected = {
        "team_id": 5,
        "status_code": 403,
        "code": "FORBIDDEN",
        "request_id": request_id,
        "message": "You do not have access to this resource.",
        "description": "The token's owner does not belong to this team.",
    }
    assert traced(pipeline)[0]["exception_attrs"].items() >= expected.items()
    assert str(request_id) in str(pipeline.last_trace)


def test_failing_teams_can_be_skipped(
    sandbox: Sandbox, load: Load, rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    """With on_team_error="skip" the other teams load, its rows stay, and `team_syncs` has the failure."""
    faults = {1: Fault(403), 2: Fault(429, retry_after=3600), 3: Fault(stage="mid_body")}
    for team in (*faults, 4):
        sandbox.add_connector(team, "A", name="first", configuration=configuration(v=1))
    load(include_configs=True)
    for team in (*faults, 4):
        sandbox.edit_connector(team, "A", name="second", configuration=configuration(v=2))
    for team, fault in faults.items():
        sandbox.fault(fault, team_id=team)
    load(include_configs=True, on_team_error="skip", request_max_attempts=1)
    assert rows("connectors", "team_id", "name") == [(1, "first"), (2, "first"), (3, "first"), (4, "second")]
    columns = ("team_id", "http_status", "request_id", "connectors_received", "connectors_changed")
    sent = {request.team_id: request.request_id for request in sandbox.requests}
    failed = rows("team_syncs", *columns, where="status = 'failed'")
    assert failed == [(1, 403, sent[1], None, None), (2, 429, sent[2], None, None), (3, None, sent[3], None, None)]
    messages = rows("team_syncs", "team_id", "error_message", where="status = 'failed'")
    for team, message in messages:
        assert f"team {team}: " in message.lower()
        assert f"(request_id={sent[team]})" in message
    warnings = {f"Team skipped, its stored rows stay as they are: {message}" for _, message in messages}
    assert set(caplog.messages) == warnings
    load(include_configs=True)
    assert_tables_equal_the_api(sandbox, rows)


def _read(sandbox: Sandbox, **settings: Any) -> list[Any]:
    """Fetches every team without a pipeline."""
    return list(make_source(sandbox, **settings).connectors)


def test_a_bad_key_fails_the_run_even_when_teams_are_skipped(sandbox: Sandbox) -> None:
    """Every team would fail, and a run that skipped all of them would look like success."""
    for team in range(1, 51):
        sandbox.add_team(team)
    with pytest.raises(ResourceExtractionError) as failed:
        _read(sandbox, api_key="api_wrong", on_team_error="skip", workers=2)
    assert isinstance(cause_of(failed.value), SupermetricsUnauthorizedError)
    assert len(sandbox.requests) < 10


def test_a_failing_team_ends_the_run_early(sandbox: Sandbox) -> None:
    """Requests that have not begun are not made: the rate limit is the user's."""
    for team in range(1, 101):
        sandbox.add_team(team)
    sandbox.fault(Fault(403), team_id=1)
    with pytest.raises(ResourceExtractionError):
        _read(sandbox, workers=2)
    assert len(sandbox.requests) < 20


def test_an_unusable_setting_is_refused_as_soon_as_the_source_is_made(sandbox: Sandbox) -> None:
    """The script of a user fails where the setting is, and no request is made."""
    with pytest.raises(SupermetricsConfigurationError, match=r"Team id '1/../2' is not"):
        make_source(sandbox, team_ids="1/../2")
    assert sandbox.requests == []


# --- many teams -------------------------------------------------------------------------------------------------------


def test_listings_are_written_in_batches(
    sandbox: Sandbox, load: Load, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory is bounded by a batch and the listings in flight, not by the number of teams.

    An added field may be a number in one batch and an object in another.
    """
    monkeypatch.setattr(fetch, "BATCH_BYTES", 1)
    batches = []
    original = fetch.Fetcher.batches

    def counted(self: fetch.Fetcher, on_progress: fetch.OnProgress) -> Iterator[list[Any]]:
        for batch in original(self, on_progress):
            batches.append((len(batch), len(sandbox.requests)))
            yield batch

    monkeypatch.setattr(fetch.Fetcher, "batches", counted)
    for team, value in zip(range(1, 21), itertools.cycle([1, 6, "text", {"a": 1}, None, 2.5]), strict=False):
        fields: dict[str, Any] = {"added": team, "owner_info": value, "addedByTheAPI": value}
        sandbox.add_connector(team, "A", configuration=configuration(team=team), **fields)
    load(include_configs=True, workers=2)
    assert [size for size, _ in batches] == [1] * 20
    assert all(requested - written <= 3 for written, (_, requested) in enumerate(batches, start=1))
    assert_tables_equal_the_api(sandbox, rows)
    assert rows("connectors", "sum(added)", "count(distinct _dlt_load_id)") == [(210, 1)]
    for name in ("owner_info", "added_by_the_api"):
        columns = (name, f"{name}__v_text", f"{name}__v_json", f"{name}__v_double")
        assert rows("connectors", "team_id", *columns, where="team_id < 7") == [
            (1, 1, None, None, None),
            (2, 6, None, None, None),
            (3, None, "text", None, None),
            (4, None, None, '{"a":1}', None),
            (5, None, None, None, None),
            (6, None, None, None, 2.5),
        ]


def test_teams_are_fetched_in_parallel(sandbox: Sandbox) -> None:
    """All requests arrive before the first response, whose latency is long enough for a busy machine."""
    sandbox.latency = 3.0
    for team in range(1, 11):
        sandbox.add_team(team)
    _read(sandbox, workers=10)
    arrivals = [request.at for request in sandbox.requests]
    assert max(arrivals) - min(arrivals) < sandbox.latency


def test_no_more_requests_are_in_flight_than_workers(sandbox: Sandbox) -> None:
    """Two workers make two requests at a time."""
    sandbox.latency = 0.1
    for team in range(1, 7):
        sandbox.add_team(team)
    _read(sandbox, workers=2)
    arrivals = sorted(request.at for request in sandbox.requests)
    assert all(later - earlier >= 0.09 for earlier, later in zip(arrivals, arrivals[2:], strict=False))


# --- settings from dlt's configuration --------------------------------------------------------------------------------


@pytest.fixture
def read_configured(sandbox: Sandbox) -> Callable[[], Any]:
    """Fetches two teams like a script that leaves every setting to dlt's configuration."""
    for team in (TEAM, OTHER):
        sandbox.add_team(team)
    return lambda: list(supermetrics_source().connectors)


@pytest.mark.parametrize(
    ("section", "team_ids"),
    [("SUPERMETRICS", f"{TEAM},{OTHER}"), ("SUPERMETRICS_CONNECTORS", f"[{TEAM}, {OTHER}]")],
)
def test_settings_come_from_the_environment(
    sandbox: Sandbox, read_configured: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, team_ids: str, section: str
) -> None:
    """Containers are configured so; `dlt init` writes the longer section."""
    settings = {"API_KEY": sandbox.token, "TEAM_IDS": team_ids, "INCLUDE_CONFIGS": "true", "BASE_URL": sandbox.url}
    for name, value in settings.items():
        monkeypatch.setenv(f"SOURCES__{section}__{name}", value)
    read_configured()
    requests = {(request.team_id, request.include_configs, request.status) for request in sandbox.requests}
    assert requests == {(TEAM, True, 200), (OTHER, True, 200)}


@pytest.mark.parametrize("team_ids", [f"[{TEAM}]", f"{TEAM}", f'"{TEAM}"', f'["{TEAM}"]'])
def test_settings_come_from_toml_files(
    sandbox: Sandbox, read_configured: Callable[[], Any], tmp_path: Path, team_ids: str
) -> None:
    """A list, a number or text."""
    (tmp_path / ".dlt").mkdir()
    config = f'[sources.supermetrics]\nteam_ids = {team_ids}\nbase_url = "{sandbox.url}"\ninclude_configs = true\n'
    (tmp_path / ".dlt" / "config.toml").write_text(config)
    (tmp_path / ".dlt" / "secrets.toml").write_text(f'[sources.supermetrics]\napi_key = "{sandbox.token}"\n')
    Container()[PluggableRunContext].reload_providers()
    read_configured()
    assert [(request.team_id, request.include_configs) for request in sandbox.requests] == [(TEAM, True)]


def test_the_vendor_s_variable_is_the_fallback_for_the_key(
    sandbox: Sandbox, read_configured: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The vendor's tools use it; dlt's own configuration goes first. The error without a key is dlt's own."""
    monkeypatch.setenv("SOURCES__SUPERMETRICS__TEAM_IDS", str(TEAM))
    monkeypatch.setenv("SOURCES__SUPERMETRICS__BASE_URL", sandbox.url)
    with pytest.raises(ConfigFieldMissingException, match="SOURCES__SUPERMETRICS__API_KEY"):
        read_configured()
    monkeypatch.setenv("SUPERMETRICS_API_KEY", sandbox.token)
    read_configured()
    monkeypatch.setenv("SOURCES__SUPERMETRICS__API_KEY", "api_other")
    with pytest.raises(ResourceExtractionError, match="HTTP 401"):
        read_configured()
    sent = [request.headers["authorization"] for request in sandbox.requests]
    assert sent == [f"Bearer {sandbox.token}", "Bearer api_other"]


# --- the log ----------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("error")
def test_a_good_run_logs_no_warning(sandbox: Sandbox, load: Load) -> None:
    """Needless warnings hide the others."""
    warnings: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: warnings.append(record.getMessage())  # type: ignore[method-assign]
    sandbox.add_connector(TEAM, "A", owner={"id": 1}, configuration={**configuration(), "author": {"id": 1}})
    sandbox.add_connector(TEAM, "B")
    loggers = [logging.getLogger("dlt"), logging.getLogger()]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        load(include_configs=True)
        sandbox.edit_connector(TEAM, "A", owner={"id": 2}, added=1)
        sandbox.edit_configuration(TEAM, "A", {"a": 1})
        sandbox.delete_connector(TEAM, "B")
        load(include_configs=True)
        load()
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
    assert warnings == []
