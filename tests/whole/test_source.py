"""The source from HTTP to DuckDB: its tables, its failures, its settings and its log."""

from __future__ import annotations

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

from supermetrics_connectors import create_changes_view, supermetrics_source
from supermetrics_connectors.api import fetch
from supermetrics_connectors.exceptions import (
    SupermetricsConfigurationError,
    SupermetricsContractError,
    SupermetricsError,
    SupermetricsForbiddenError,
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
    configuration,
    failure,
    traced,
)
from tests.helpers.sandbox import OMIT, Fault, Sandbox

# --- the tables -------------------------------------------------------------------------------------------------------


def test_one_request_per_team_feeds_every_table(sandbox: Sandbox, load: Load, rows: Rows) -> None:
    """The API limits requests per hour, and one response has everything."""
    for team in (1, 2, 3):
        sandbox.add_connector(team, "A", configuration=configuration(team=team))
    load(include_configs=True)
    assert sorted(request.team_id or 0 for request in sandbox.requests) == [1, 2, 3]
    assert all(request.query == {"include_configs": "true"} for request in sandbox.requests)
    assert [team for (team,) in rows("team_syncs", "team_id")] == [1, 2, 3]
    assert_tables_equal_the_api(sandbox, rows)


def test_a_team_given_twice_is_fetched_once(sandbox: Sandbox, load: Load, rows: Rows) -> None:
    """Its rows are written once."""
    sandbox.add_connector(TEAM, "A")
    load(team_ids=[TEAM, str(TEAM), TEAM])
    assert len(sandbox.requests) == len(rows("connectors", "*")) == 1


def test_columns_have_the_types_promised(sandbox: Sandbox, load: Load, query: Query, pipeline: dlt.Pipeline) -> None:
    """Types are an interface for queries and models."""
    sandbox.add_connector(TEAM, "A", configuration=configuration())
    load(include_configs=True)
    assert create_changes_view(pipeline)
    columns = {
        table: {name: type_ for name, type_, *_ in query(f"describe {table}")}
        for table in ("connectors", "connector_versions", "connector_configurations", "connector_changes", "team_syncs")
    }
    timestamp = "TIMESTAMP WITH TIME ZONE"
    assert columns["connectors"] == {
        "team_id": "BIGINT",
        "connector_identifier": "VARCHAR",
        "name": "VARCHAR",
        "description": "VARCHAR",
        "logo_url": "VARCHAR",
        "created_at": timestamp,
        "updated_at": timestamp,
        "content_hash": "VARCHAR",
        "_deleted": "BOOLEAN",
        "_dlt_load_id": "VARCHAR",
    }
    assert columns["connector_versions"] == {
        **{name: type_ for name, type_ in columns["connectors"].items() if name != "_deleted"},
        "version_id": "VARCHAR",
        "_dlt_valid_from": timestamp,
        "_dlt_valid_to": timestamp,
    }
    assert columns["connector_configurations"] == {
        "team_id": "BIGINT",
        "connector_identifier": "VARCHAR",
        "version": "VARCHAR",
        "configuration_json": "JSON",
        "created_at": timestamp,
        "updated_at": timestamp,
        "content_hash": "VARCHAR",
        **dict.fromkeys(("paths_added", "paths_removed", "paths_changed"), "JSON"),
        "version_id": "VARCHAR",
        "_dlt_load_id": "VARCHAR",
        "_dlt_valid_from": timestamp,
        "_dlt_valid_to": timestamp,
    }
    assert columns["team_syncs"] == {
        "team_id": "BIGINT",
        "started_at": timestamp,
        "status": "VARCHAR",
        "duration_ms": "BIGINT",
        "request_id": "VARCHAR",
        "http_status": "BIGINT",
        "error_code": "VARCHAR",
        "error_message": "VARCHAR",
        "latest_updated_at": timestamp,
        "connectors_reported": "BIGINT",
        "connectors_received": "BIGINT",
        "connectors_changed": "BIGINT",
        "connectors_removed": "BIGINT",
        "configurations_changed": "BIGINT",
        "rate_limit_remaining": "BIGINT",
        "secrets_redacted": "BIGINT",
        "redacted_paths": "JSON",
        "connectors_postponed": "BIGINT",
        "connectors_failing": "BIGINT",
        "_dlt_load_id": "VARCHAR",
    }
    assert columns["connector_changes"] == {
        "team_id": "BIGINT",
        "connector_identifier": "VARCHAR",
        "change": "VARCHAR",
        "detected_at": timestamp,
        "baseline": "BOOLEAN",
        "name": "VARCHAR",
        "updated_at": timestamp,
        "previous_updated_at": timestamp,
        "paths_added": "JSON",
        "paths_removed": "JSON",
        "paths_changed": "JSON",
    }
    keys = [
        column["name"]
        for column in pipeline.default_schema.tables["connectors"]["columns"].values()
        if column.get("primary_key")
    ]
    assert keys == ["team_id", "connector_identifier"]
    assert set(pipeline.default_schema.data_table_names()) == set(columns) - {"connector_changes"}


@pytest.mark.parametrize("include_configs", [False, True])
def test_the_first_load_makes_every_table(
    sandbox: Sandbox, load: Load, rows: Rows, query: Query, include_configs: bool
) -> None:
    """Queries written beforehand run on a new customer's warehouse, also without a connector or a configuration."""
    sandbox.add_team(TEAM)
    load(include_configs=include_configs)
    assert [rows(table, "*") for table in COMPARED] == [[], [], []]
    assert rows("team_syncs", "team_id", "status", "connectors_received") == [(TEAM, "ok", 0)]
    sandbox.add_connector(OTHER, "A", configuration=configuration())
    load()
    assert "configuration" not in {name for name, *_ in query("describe connectors")}
    assert rows("connector_configurations", "*") == []


def test_timestamps_in_every_shape_are_stored_as_the_same_instant(sandbox: Sandbox, load: Load, rows: Rows) -> None:
    """Text of mixed shapes would sort by spelling."""
    shapes = [
        "2025-01-01",
        "2025-01-01T00:00:00Z",
        "2025-01-01T00:00:00+00:00",
        "2025-01-01T00:00:00+0000",
        "2025-01-01T05:30:00+05:30",
    ]
    for number, shape in enumerate(shapes):
        sandbox.add_connector(TEAM, f"C{number}", created_at=shape, updated_at=shape)
    load()
    instant = datetime(2025, 1, 1, tzinfo=timezone.utc)
    assert rows("connectors", "created_at", "updated_at") == [(instant, instant)] * len(shapes)


def test_a_record_s_optional_fields_may_be_null_or_missing(sandbox: Sandbox, load: Load, rows: Rows) -> None:
    """The API guarantees only the identifier."""
    missing = {"name": OMIT, "description": OMIT, "logo_url": OMIT, "created_at": OMIT, "updated_at": OMIT}
    sandbox.add_connector(TEAM, "A", **missing)
    sandbox.add_connector(TEAM, "B", **dict.fromkeys(missing, None))
    load()
    load()
    columns = ("name", "description", "logo_url", "created_at", "updated_at")
    assert rows("connectors", "connector_identifier", *columns) == [("A", *[None] * 5), ("B", *[None] * 5)]


def test_text_arrives_as_it_was_sent(sandbox: Sandbox, load: Load, rows: Rows, query: Query) -> None:
    """Quotes, line breaks and every script."""
    text = """Ä "quoted" 'name'; drop table x -- \\ \n\t東京 🦆 {"a": 1}"""
    sandbox.add_connector(TEAM, "A", name=text, configuration=configuration(text=text))
    load(include_configs=True)
    assert rows("connectors", "name") == [(text,)]
    assert query("select configuration_json->>'text' from connector_configurations") == [(text,)]


def test_a_configuration_of_any_depth_is_one_column(
    sandbox: Sandbox, load: Load, rows: Rows, query: Query, pipeline: dlt.Pipeline
) -> None:
    """Definitions differ between connectors, so dlt must not make columns and tables of them."""
    deep: dict[str, Any] = {}
    for level in range(200):
        deep = {"level": level, "below": deep, "list": [[{"a": [1, 2]}], None]}
    sandbox.add_connector(TEAM, "A", configuration=configuration(**deep))
    load(include_configs=True)
    assert_tables_equal_the_api(sandbox, rows)
    assert query("select configuration_json->>'$.below.level' from connector_configurations") == [("198",)]
    assert not any("__" in table for table in pipeline.default_schema.data_table_names())


def test_team_syncs_have_the_outcome_of_each_request(sandbox: Sandbox, load: Load, rows: Rows) -> None:
    """One row per team and run, with the request id for the vendor's support."""
    sandbox.add_connector(TEAM, "A", configuration=configuration())
    sandbox.add_connector(TEAM, "B")
    before = datetime.now(timezone.utc)
    load(include_configs=True)
    columns = (
        "team_id",
        "status",
        "http_status",
        "request_id",
        "connectors_reported",
        "connectors_received",
        "connectors_changed",
        "connectors_removed",
        "configurations_changed",
        "rate_limit_remaining",
        "error_code",
        "error_message",
    )
    request_id = sandbox.requests[0].request_id
    assert rows("team_syncs", *columns) == [(TEAM, "ok", 200, request_id, 2, 2, 2, 0, 1, 4999, None, None)]
    ((started_at, duration_ms),) = rows("team_syncs", "started_at", "duration_ms")
    assert before <= started_at <= datetime.now(timezone.utc)
    assert 0 <= duration_ms < 10_000
    sandbox.delete_connector(TEAM, "B")
    load()
    assert rows("team_syncs", *columns[4:9], where=f"started_at > '{started_at}'") == [(1, 1, 0, 1, None)]


def test_rows_name_the_load_that_wrote_them(sandbox: Sandbox, load: Load, rows: Rows, query: Query) -> None:
    """`_dlt_load_id` joins `_dlt_loads`, as users of dlt expect; one package has every table."""
    sandbox.add_connector(TEAM, "A", configuration=configuration())
    (first,) = load(include_configs=True).loads_ids
    tables = (*COMPARED, "team_syncs")
    for table in tables:
        assert query(f"select _dlt_load_id from {table} join _dlt_loads on load_id = _dlt_load_id") == [(first,)]
    sandbox.edit_connector(TEAM, "A", name="edited")
    (second,) = load(include_configs=True).loads_ids
    loads = {table: [load_id for (load_id,) in rows(table, "_dlt_load_id")] for table in tables}
    assert loads == {
        "connectors": [second],
        "connector_versions": [first, second],
        "connector_configurations": [first],
        "team_syncs": [first, second],
    }


def test_rows_reach_the_destination_as_parquet(sandbox: Sandbox, load: Load) -> None:
    """Rows as SQL text would take five times as long."""
    sandbox.add_connector(TEAM, "A", configuration=configuration())
    (package,) = load(include_configs=True).load_packages[:1]
    files = {(job.job_file_info.table_name, job.job_file_info.file_format) for job in package.jobs["completed_jobs"]}
    tables = (*COMPARED, "team_syncs")
    assert files >= {(table, "parquet") for table in tables}
    assert {kind for table, kind in files if table in tables} == {"parquet", "sql"}  # the latter merges the former


@pytest.mark.parametrize(
    ("name", "value"), [("data_writer.buffer_max_items", 7), ("extract.futures_poll_interval", 0.02)]
)
@pytest.mark.parametrize("section", ["", "sources.supermetrics_connectors."])
def test_how_dlt_extracts_is_the_users_to_set(
    sandbox: Sandbox, load: Load, monkeypatch: pytest.MonkeyPatch, section: str, name: str, value: float
) -> None:
    """The source's own value is a default."""
    monkeypatch.setenv(f"{section}{name}".upper().replace(".", "__"), str(value))
    sandbox.add_connector(TEAM, "A")
    load()
    assert dlt.config.get(f"sources.supermetrics_connectors.{name}", float) == (value if section else None)


# --- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault(body=b'{"count": 1}'), SupermetricsContractError),
        (Fault(body=b'{"count": 1, "connectors": [{"name": "A"}]}'), SupermetricsContractError),
        (
            Fault(body=b'{"count": 1, "connectors": [{"connector_identifier": "A", "updated_at": "soon"}]}'),
            SupermetricsContractError,
        ),
        (Fault(body=b"<html>", content_type="text/html"), SupermetricsError),
        (Fault(302, location="/elsewhere"), SupermetricsContractError),
        (Fault(403), SupermetricsForbiddenError),
        (Fault(401), SupermetricsUnauthorizedError),
        (Fault(500), SupermetricsServerError),
        (Fault(stage="mid_body"), SupermetricsError),
    ],
    ids=["no list", "no identifier", "no timestamp", "html", "redirect", "403", "401", "500", "cut"],
)
def test_a_failing_team_fails_the_run_and_nothing_is_loaded_or_removed(
    sandbox: Sandbox, load: Load, rows: Rows, fault: Fault, kind: type[SupermetricsError]
) -> None:
    """By default that holds for every team of the run."""
    for team in (TEAM, OTHER):
        sandbox.add_connector(team, "A", configuration=configuration())
    load(include_configs=True)
    tables = (*COMPARED, "team_syncs")
    before = [rows(table, "*") for table in tables]
    for team in (TEAM, OTHER):
        sandbox.edit_connector(team, "A", name="edited")
    sandbox.fault(fault, team_id=TEAM, times=99)
    error = failure(load, include_configs=True, request_max_attempts=1)
    assert isinstance(error, kind)
    assert error.team_id == TEAM
    sent = next(request.request_id for request in reversed(sandbox.requests) if request.team_id == TEAM)
    assert error.request_id == sent
    assert [rows(table, "*") for table in tables] == before


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
    attributes = traced(pipeline)[0]["exception_attrs"]
    assert {
        name: attributes[name] for name in ("team_id", "status_code", "code", "request_id", "message", "description")
    } == {
        "team_id": 5,
        "status_code": 403,
        "code": "FORBIDDEN",
        "request_id": request_id,
        "message": "You do not have access to this resource.",
        "description": "The token's owner does not belong to this team.",
    }
    assert str(request_id) in str(pipeline.last_trace)


@pytest.mark.parametrize(("status", "nature"), [(403, TerminalException), (503, TransientException)])
def test_dlt_s_retries_see_whether_a_repetition_can_help(
    sandbox: Sandbox, load: Load, pipeline: dlt.Pipeline, status: int, nature: type[BaseException]
) -> None:
    """`retry_load` looks at the class of the exception behind the failed step."""
    sandbox.add_team(TEAM)
    sandbox.fault(Fault(status), times=99)
    assert isinstance(failure(load, request_max_attempts=1), nature)
    assert {trace["is_terminal"] for trace in traced(pipeline)} == {nature is TerminalException}


def test_a_failed_run_changes_nothing_that_the_next_run_needs(sandbox: Sandbox, load: Load, rows: Rows) -> None:
    """A change that a run saw and did not load is new to the next run."""
    sandbox.add_connector(TEAM, "A", name="first", configuration=configuration(v=1))
    sandbox.add_team(OTHER)
    load(include_configs=True)
    sandbox.edit_connector(TEAM, "A", name="second", configuration=configuration(v=2))
    sandbox.fault(Fault(500, delay=0.1), team_id=OTHER)
    failure(load, include_configs=True, request_max_attempts=1)
    assert rows("connectors", "name") == [("first",)]
    load(include_configs=True)
    assert_tables_equal_the_api(sandbox, rows)


@pytest.mark.parametrize("fault", [Fault(403), Fault(429, retry_after=3600), Fault(stage="mid_body")])
def test_a_failing_team_can_be_skipped(
    sandbox: Sandbox, load: Load, rows: Rows, caplog: pytest.LogCaptureFixture, fault: Fault
) -> None:
    """With on_team_error="skip" the other teams load, its rows stay, and `team_syncs` has the failure."""
    for team in (TEAM, OTHER):
        sandbox.add_connector(team, "A", name="first", configuration=configuration(v=1))
    load(include_configs=True)
    for team in (TEAM, OTHER):
        sandbox.edit_connector(team, "A", name="second", configuration=configuration(v=2))
    sandbox.fault(fault, team_id=TEAM, times=99)
    load(include_configs=True, on_team_error="skip", request_max_attempts=1)
    assert rows("connectors", "team_id", "name") == [(TEAM, "first"), (OTHER, "second")]
    columns = ("team_id", "http_status", "request_id", "connectors_received", "connectors_changed")
    request = next(r for r in reversed(sandbox.requests) if r.team_id == TEAM)
    status = fault.status if fault.stage is None else None
    assert rows("team_syncs", *columns, where="status = 'failed'") == [(TEAM, status, request.request_id, None, None)]
    ((message,),) = rows("team_syncs", "error_message", where="status = 'failed'")
    assert f"team {TEAM}: " in message.lower()
    assert caplog.messages == [f"Team skipped, its stored rows stay as they are: {message}"]
    assert f"(request_id={request.request_id})" in message
    sandbox.clear_faults()
    load(include_configs=True)
    assert_tables_equal_the_api(sandbox, rows)


def test_a_bad_key_fails_the_run_even_when_teams_are_skipped(sandbox: Sandbox, load: Load) -> None:
    """Every team would fail, and a run that skipped all of them would look like success."""
    for team in range(1, 51):
        sandbox.add_team(team)
    assert isinstance(
        failure(load, api_key="api_wrong", on_team_error="skip", workers=2), SupermetricsUnauthorizedError
    )
    assert len(sandbox.requests) < 10


def test_a_failing_team_ends_the_run_early(sandbox: Sandbox, load: Load) -> None:
    """Requests that have not begun are not made: the rate limit is the user's."""
    for team in range(1, 101):
        sandbox.add_team(team)
    sandbox.fault(Fault(403), team_id=1)
    failure(load, workers=2)
    assert len(sandbox.requests) < 20


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"team_ids": [0]}, "Team id 0 is not"),
        ({"team_ids": "1/../2"}, "Team id '1/../2' is not"),
        ({"team_ids": []}, "team_ids is empty"),
        ({"api_key": "api_\nX-Injected: 1"}, "The api_key has"),
        ({"base_url": "http://example.com"}, "base_url 'http://example.com' would send the token unencrypted"),
        ({"on_team_error": "ignore"}, "on_team_error is 'ignore'"),
    ],
)
def test_an_unusable_setting_is_refused_before_any_request(
    sandbox: Sandbox, load: Load, settings: dict[str, Any], named: str
) -> None:
    """As soon as the source is made, and never with the key in the message."""
    sandbox.add_team(TEAM)
    with pytest.raises(SupermetricsConfigurationError) as refused:
        load(**settings)
    assert str(refused.value).startswith(named)
    assert "Injected" not in str(refused.value)
    assert sandbox.requests == []


# --- many teams -------------------------------------------------------------------------------------------------------


def test_listings_are_written_in_batches(
    sandbox: Sandbox, load: Load, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory is bounded by a batch and the listings in flight, not by the number of teams."""
    monkeypatch.setattr(fetch, "BATCH_BYTES", 1)
    batches = []
    original = fetch.Fetcher.batches

    def counted(self: fetch.Fetcher, on_progress: fetch.OnProgress) -> Iterator[list[Any]]:
        for batch in original(self, on_progress):
            batches.append((len(batch), len(sandbox.requests)))
            yield batch

    monkeypatch.setattr(fetch.Fetcher, "batches", counted)
    for team in range(1, 41):
        sandbox.add_connector(team, "A", added=team, configuration=configuration(team=team))
    load(include_configs=True, workers=2)
    assert [size for size, _ in batches] == [1] * 40
    assert all(requested - written <= 3 for written, (_, requested) in enumerate(batches, start=1))
    assert_tables_equal_the_api(sandbox, rows)
    assert rows("connectors", "sum(added)", "count(distinct _dlt_load_id)") == [(820, 1)]


@pytest.mark.parametrize("name", ["owner_info", "ownerInfo"])
def test_batches_of_a_run_may_differ_in_type(
    sandbox: Sandbox, load: Load, rows: Rows, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """An added field may be a number in one team and an object in another."""
    monkeypatch.setattr(fetch, "BATCH_BYTES", 1)
    for team, value in enumerate([1, "text", {"a": 1}, None, 2.5, 6], start=1):
        added: dict[str, Any] = {name: value}
        sandbox.add_connector(team, "A", **added)
    columns = ("owner_info", "owner_info__v_text", "owner_info__v_json", "owner_info__v_double")
    for full_refresh in (False, True):
        load(workers=1, full_refresh=full_refresh)
        assert rows("connectors", "team_id", *columns) == [
            (1, 1, None, None, None),
            (2, None, "text", None, None),
            (3, None, None, '{"a":1}', None),
            (4, None, None, None, None),
            (5, None, None, None, 2.5),
            (6, 6, None, None, None),
        ]


def test_teams_are_fetched_in_parallel(sandbox: Sandbox, load: Load) -> None:
    """All requests arrive before the first response, whose latency is long enough for a busy machine."""
    sandbox.latency = 3.0
    for team in range(1, 11):
        sandbox.add_team(team)
    load(workers=10)
    arrivals = [request.at for request in sandbox.requests]
    assert max(arrivals) - min(arrivals) < sandbox.latency


def test_no_more_requests_are_in_flight_than_workers(sandbox: Sandbox, load: Load) -> None:
    """Two workers make two requests at a time."""
    sandbox.latency = 0.1
    for team in range(1, 7):
        sandbox.add_team(team)
    load(workers=2)
    arrivals = sorted(request.at for request in sandbox.requests)
    assert all(later - earlier >= 0.09 for earlier, later in zip(arrivals, arrivals[2:], strict=False))


# --- settings from dlt's configuration --------------------------------------------------------------------------------


@pytest.fixture
def extract_configured(pipeline: dlt.Pipeline) -> Callable[[], Any]:
    """Extracts like a script that leaves every setting to dlt's configuration."""
    return lambda: pipeline.extract(supermetrics_source())


@pytest.mark.parametrize(
    ("section", "team_ids"),
    [("SUPERMETRICS", f"{TEAM},{OTHER}"), ("SUPERMETRICS_CONNECTORS", f"[{TEAM}, {OTHER}]")],
)
def test_settings_come_from_the_environment(
    sandbox: Sandbox,
    extract_configured: Callable[[], Any],
    monkeypatch: pytest.MonkeyPatch,
    team_ids: str,
    section: str,
) -> None:
    """Containers are configured so; `dlt init` writes the longer section."""
    for team in (TEAM, OTHER):
        sandbox.add_team(team)
    for name, value in {
        "API_KEY": sandbox.token,
        "TEAM_IDS": team_ids,
        "INCLUDE_CONFIGS": "true",
        "BASE_URL": sandbox.url,
    }.items():
        monkeypatch.setenv(f"SOURCES__{section}__{name}", value)
    extract_configured()
    assert {(request.team_id, request.include_configs, request.status) for request in sandbox.requests} == {
        (TEAM, True, 200),
        (OTHER, True, 200),
    }


@pytest.mark.parametrize("team_ids", [f"[{TEAM}]", f"{TEAM}", f'"{TEAM}"', f'["{TEAM}"]'])
def test_settings_come_from_toml_files(
    sandbox: Sandbox, extract_configured: Callable[[], Any], tmp_path: Path, team_ids: str
) -> None:
    """A list, a number or text."""
    sandbox.add_team(TEAM)
    (tmp_path / ".dlt").mkdir()
    config = f'[sources.supermetrics]\nteam_ids = {team_ids}\nbase_url = "{sandbox.url}"\ninclude_configs = true\n'
    (tmp_path / ".dlt" / "config.toml").write_text(config)
    (tmp_path / ".dlt" / "secrets.toml").write_text(f'[sources.supermetrics]\napi_key = "{sandbox.token}"\n')
    Container()[PluggableRunContext].reload_providers()
    extract_configured()
    assert [(request.team_id, request.include_configs) for request in sandbox.requests] == [(TEAM, True)]


def test_the_vendor_s_variable_is_the_fallback_for_the_key(
    sandbox: Sandbox, extract_configured: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The vendor's tools use it; dlt's own configuration goes first."""
    sandbox.add_team(TEAM)
    monkeypatch.setenv("SOURCES__SUPERMETRICS__TEAM_IDS", str(TEAM))
    monkeypatch.setenv("SOURCES__SUPERMETRICS__BASE_URL", sandbox.url)
    monkeypatch.setenv("SUPERMETRICS_API_KEY", sandbox.token)
    extract_configured()
    monkeypatch.setenv("SOURCES__SUPERMETRICS__API_KEY", "api_other")
    failure(extract_configured)
    sent = [request.headers["authorization"] for request in sandbox.requests]
    assert sent == [f"Bearer {sandbox.token}", "Bearer api_other"]


def test_a_missing_setting_says_where_to_set_it(extract_configured: Callable[[], Any]) -> None:
    """The message is dlt's own and lists every place that dlt has searched."""
    with pytest.raises(ConfigFieldMissingException) as missing:
        extract_configured()
    assert "SOURCES__SUPERMETRICS__API_KEY" in str(missing.value)


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
