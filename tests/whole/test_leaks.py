"""The token is nowhere: in no log, exception, traceback, trace, state or file, and at no other address."""

from __future__ import annotations

import gzip
import http.client
import logging
import pickle
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dlt
import pytest
from dlt.common.configuration import get_fun_spec

from supermetrics_connectors import SupermetricsError, supermetrics_source
from supermetrics_connectors.api.client import SupermetricsClient
from supermetrics_connectors.api.fetch import Fetcher
from supermetrics_connectors.exceptions import causes
from supermetrics_loader.run.load import LoadFailedError, run_load
from tests.helpers import clients
from tests.helpers.sandbox import Fault, Sandbox
from tests.helpers.warehouse import Warehouse

TOKEN = "api_canary_0123456789_ABCDEFGHIJ"
TEAM = 936506

ECHO = TOKEN.encode()
FAULTS = {
    "none": Fault(),
    "400": Fault(400),
    "401": Fault(401),
    "403": Fault(403),
    "404": Fault(404),
    "429": Fault(429, retry_after=3600),
    "500": Fault(500),
    "502 of a gateway": Fault(502, body=b"<html>", content_type="text/html"),
    "200 of a gateway": Fault(200, body=b"<html>", content_type="text/html"),
    "no listing": Fault(body=b"[]"),
    "JSON that cannot be kept": Fault(body=b'{"%s": NaN}' % ECHO),
    "a record without identifier": Fault(body=b'{"count": 1, "connectors": [{}]}'),
    "reset before headers": Fault(stage="before_headers"),
    "reset in headers": Fault(stage="in_headers"),
    "reset in body": Fault(stage="mid_body"),
    "timeout": Fault(delay=5),
    "redirect": Fault(302, location="/elsewhere"),
    "echo in the error": Fault(403, code=TOKEN, message=f"Not with {TOKEN}", description=f"x {TOKEN}" * 90),
    "echo at a limit": Fault(403, message="x" * 980 + TOKEN),
    "echo as request id": Fault(403, request_id=TOKEN),
    "echo in the headers": Fault(200, body=ECHO, content_type=TOKEN, headers={"X-Echo": TOKEN, "X-Request-Id": TOKEN}),
    "echo in the body": Fault(500, body=ECHO * 40),
    "echo in a reset": Fault(stage="mid_body", request_id=TOKEN),
    "echo in a record": Fault(body=b'{"count": 1, "connectors": [{"connector_identifier": "%s", "name": 1}]}' % ECHO),
    "echo in a date": Fault(
        body=b'{"count": 1, "connectors": [{"connector_identifier": "A", "updated_at": "%s"}]}' % ECHO
    ),
    "echo in a listing": Fault(
        body=b'{"count": 1, "connectors": [{"connector_identifier": "A", "name": "%s"}]}' % ECHO
    ),
}


@pytest.fixture(autouse=True)
def debugging(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every logger logs at DEBUG; dlt's logger does not propagate and gets the handler itself."""
    monkeypatch.setattr(http.client.HTTPConnection, "debuglevel", 1)
    monkeypatch.setenv("RUNTIME__LOG_LEVEL", "DEBUG")
    dlt_logger = logging.getLogger("dlt")
    dlt_logger.addHandler(caplog.handler)
    for name in (None, "dlt", "urllib3", "requests", "supermetrics_connectors", "supermetrics_loader", "filelock"):
        caplog.set_level(logging.DEBUG, name)
    yield
    dlt_logger.removeHandler(caplog.handler)


@pytest.fixture
def customer() -> Iterator[Sandbox]:
    """A sandbox that knows the token, with a team of one connector."""
    with Sandbox(teams={}, token=TOKEN) as sandbox:
        sandbox.add_connector(TEAM, "A", configuration={"configuration_json": {"a": 1}})
        yield sandbox


def through_the_environment(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The key as a scheduler gives it."""
    monkeypatch.setenv("SUPERMETRICS_API_KEY", TOKEN)
    return {}


def through_dlts_secrets(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The key as dlt looks for it."""
    monkeypatch.setenv("SOURCES__SUPERMETRICS__API_KEY", f"Bearer {TOKEN}")
    return {}


def as_an_argument(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:  # noqa: ARG001 - as the others
    """The key as a script gives it."""
    return {"api_key": TOKEN}


def shown(error: BaseException) -> str:
    """Everything that may be printed of an error: itself, its chain, attributes, and every frame with its variables.

    The frames of this module are left out: a caller who has the token in a variable shows it there.
    """
    report = traceback.TracebackException.from_exception(error, capture_locals=True)
    links: list[traceback.TracebackException] = [report]
    while links:
        link = links.pop()
        link.stack = traceback.StackSummary.from_list([f for f in link.stack if f.filename != __file__])
        links += [each for each in (link.__cause__, link.__context__) if each]
    attributes = [f"{seen!r} {seen} {vars(seen)}" for seen in causes(error)]
    return "".join(report.format()) + "\n".join(attributes)


def files_with_the_token(folder: Path) -> list[Path]:
    """Files whose bytes, unpacked, have the token."""
    found = []
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
            if TOKEN.encode() in content:
                found.append(path)
    return found


def assert_nowhere(
    pipeline: dlt.Pipeline,
    warehouse: Warehouse,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Neither printed or logged, nor in a file, a table, the trace or the state."""
    printed = capfd.readouterr()
    assert TOKEN not in printed.out + printed.err
    assert {"dlt", "urllib3.connectionpool"} <= {record.name for record in caplog.records}, "no logger is at DEBUG"
    assert TOKEN not in caplog.text
    assert TOKEN not in "".join(f"{record.args!r} {record.exc_text}" for record in caplog.records)
    trace = pipeline.last_trace
    assert TOKEN not in f"{trace} {trace.asdict() if trace else ''}"
    assert TOKEN.encode() not in pickle.dumps(trace)
    assert TOKEN not in f"{pipeline!r} {pipeline.state}"
    for table in warehouse.query("select table_schema || '.' || table_name as name from information_schema.tables"):
        assert TOKEN not in str(warehouse.query(f"select * from {table['name']}"))
    assert files_with_the_token(tmp_path) == []


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        *((as_an_argument, fault) for fault in FAULTS),
        *((through_the_environment, fault) for fault in ("none", "401", "500", "reset in body", "timeout")),
    ],
)
def test_a_run_shows_the_token_nowhere(
    customer: Sandbox,
    pipeline: dlt.Pipeline,
    database: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    given: Callable[[pytest.MonkeyPatch], dict[str, Any]],
    fault: str,
) -> None:
    """After a good load and after a failure, with each way to set the token."""
    settings: dict[str, Any] = {"team_ids": [TEAM], "base_url": customer.url, "include_configs": True}
    settings |= {"request_backoff_factor": 0, "request_timeout": 0.3, "request_max_attempts": 2, **given(monkeypatch)}
    customer.fault(FAULTS[fault], times=9)
    outcome: object
    try:
        outcome = run_load(pipeline, **settings)
    except LoadFailedError as error:
        outcome = error
    assert isinstance(outcome, LoadFailedError) is (fault not in ("none", "echo in a listing"))
    assert TOKEN not in (shown(outcome) if isinstance(outcome, BaseException) else repr(outcome))
    assert TOKEN.encode() not in pickle.dumps(outcome)
    assert_nowhere(pipeline, Warehouse(database), tmp_path, caplog, capfd)


UNUSABLE = [
    {"team_ids": ["1/../2"]},
    {"team_ids": []},
    {"base_url": "http://example.com"},
    {"on_team_error": "explode"},
    {"workers": 0},
    {"request_timeout": "soon"},
]


@pytest.mark.parametrize("unusable", UNUSABLE, ids=str)
@pytest.mark.parametrize("given", [as_an_argument, through_the_environment, through_dlts_secrets])
def test_an_unusable_setting_shows_the_token_nowhere(
    pipeline: dlt.Pipeline,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    given: Callable[[pytest.MonkeyPatch], dict[str, Any]],
    unusable: dict[str, Any],
) -> None:
    """Not even where local variables are printed."""
    settings = {"team_ids": [TEAM], **given(monkeypatch), **unusable}
    with pytest.raises(Exception) as failed:  # noqa: PT011 - dlt's own for what is no number
        run_load(pipeline, **settings)
    assert TOKEN not in shown(failed.value)
    assert TOKEN not in caplog.text


@pytest.mark.parametrize("key", [f"{TOKEN}\n{TOKEN}", f"{TOKEN} {TOKEN}", f"{TOKEN}ä"])
def test_an_unusable_key_is_not_shown(pipeline: dlt.Pipeline, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    """The error says what is wrong with it, not what it is."""
    monkeypatch.setenv("SUPERMETRICS_API_KEY", key)
    with pytest.raises(SupermetricsError, match="api_key") as failed:
        run_load(pipeline, team_ids=[TEAM])
    assert TOKEN not in shown(failed.value)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_token_follows_no_redirect(customer: Sandbox, pipeline: dlt.Pipeline, status: int, scheme: str) -> None:
    """Neither to another host or port nor to another scheme."""
    with Sandbox(token=TOKEN) as elsewhere:
        location = (
            f"{scheme}://localhost:{elsewhere.url.rpartition(':')[2]}/v1/teams/{TEAM}/connector_builder/connectors"
        )
        customer.fault(Fault(status, location=location))
        with pytest.raises(LoadFailedError, match="redirect"):
            run_load(pipeline, team_ids=[TEAM], api_key=TOKEN, base_url=customer.url)
        assert elsewhere.requests == []
    assert len(customer.requests) == 1


def test_objects_with_the_token_hide_it() -> None:
    """A repr ends up in logs sooner or later."""
    given: dict[str, Any] = {"team_ids": [TEAM], "api_key": TOKEN}
    config = get_fun_spec(supermetrics_source)(**given)
    settings = clients.settings(**given)
    client, source = SupermetricsClient(settings), supermetrics_source(**given)
    holders = [config, settings, client, client._auth, client._transport.session(), Fetcher(settings, str), source]
    holders += [*source.resources.values(), settings.api_key, vars(settings), vars(client)]
    assert TOKEN not in "".join(f"{holder!r} {holder}" for holder in holders if not isinstance(holder, str))
    assert repr(settings.api_key) == "'***'"
    client.close()
