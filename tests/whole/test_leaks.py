"""The token is nowhere: in no log, exception, traceback, trace, state or file, and at no other address."""

from __future__ import annotations

import gzip
import http.client
import logging
import pickle
import traceback
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import dlt
import pytest
from dlt.common.configuration import get_fun_spec
from dlt.extract.exceptions import ResourceExtractionError
from dlt.pipeline.exceptions import PipelineStepFailed

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
    "401": Fault(401),
    "403": Fault(403),
    "429": Fault(429, retry_after=3600),
    "200 of a gateway": Fault(200, body=b"<html>", content_type="text/html"),
    "JSON that cannot be kept": Fault(body=b'{"%s": NaN}' % ECHO),
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
}
ECHO_IN_A_LISTING = Fault(body=b'{"count": 1, "connectors": [{"connector_identifier": "A", "name": "%s"}]}' % ECHO)
SETTINGS: dict[str, Any] = {
    "include_configs": True,
    "request_backoff_factor": 0,
    "request_timeout": 0.3,
    "request_max_attempts": 2,
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


GIVEN: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({"api_key": TOKEN}, {}),
    ({}, {"SUPERMETRICS_API_KEY": TOKEN}),
    ({}, {"SOURCES__SUPERMETRICS__API_KEY": f"Bearer {TOKEN}"}),
]
"""The key as a script, a scheduler and dlt's configuration give it: arguments and environment."""


@pytest.fixture(params=GIVEN, ids=["argument", "environment", "dlt's secrets"])
def given(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The arguments of a run, after the environment was set."""
    arguments, environment = request.param
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return dict(arguments)


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


@pytest.fixture
def assert_nowhere(
    pipeline: dlt.Pipeline,
    database: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> Callable[[], None]:
    """Checks that the token is neither printed or logged, nor in a file, a table, the trace or the state."""

    def check() -> None:
        printed = capfd.readouterr()
        assert TOKEN not in printed.out + printed.err
        assert {"dlt", "urllib3.connectionpool"} <= {record.name for record in caplog.records}, "no logger is at DEBUG"
        assert TOKEN not in caplog.text
        assert TOKEN not in "".join(f"{record.args!r} {record.exc_text}" for record in caplog.records)
        trace = pipeline.last_trace
        assert TOKEN not in f"{trace} {trace.asdict() if trace else ''}"
        assert TOKEN.encode() not in pickle.dumps(trace)
        assert TOKEN not in f"{pipeline!r} {pipeline.state}"
        warehouse = Warehouse(database)
        for table in warehouse.query("select table_schema || '.' || table_name as name from information_schema.tables"):
            assert TOKEN not in str(warehouse.query(f"select * from {table['name']}"))
        assert files_with_the_token(tmp_path) == []

    return check


def test_a_run_shows_the_token_nowhere(
    customer: Sandbox,
    pipeline: dlt.Pipeline,
    assert_nowhere: Callable[[], None],
    given: dict[str, Any],
) -> None:
    """After a good load and after a failure, with each way to set the token."""
    settings = {**SETTINGS, "team_ids": [TEAM], "base_url": customer.url, **given}
    outcomes: list[Any] = [run_load(pipeline, **settings)]
    assert_nowhere()
    customer.fault(Fault(403, code=TOKEN, message=f"Not with {TOKEN}"))
    with pytest.raises(LoadFailedError) as failed:
        run_load(pipeline, **settings)
    outcomes.append(failed.value)
    assert TOKEN not in repr(outcomes[0]) + shown(failed.value)
    assert TOKEN.encode() not in pickle.dumps(outcomes)
    assert_nowhere()


def test_no_failure_shows_the_token(
    customer: Sandbox, pipeline: dlt.Pipeline, assert_nowhere: Callable[[], None]
) -> None:
    """Each fault of the API ends a run."""
    for name, fault in FAULTS.items():
        customer.fault(fault, times=9)
        with pytest.raises(PipelineStepFailed) as failed:
            pipeline.extract(supermetrics_source([TEAM], TOKEN, base_url=customer.url, **SETTINGS))
        assert TOKEN not in shown(failed.value), name
        assert TOKEN not in str(pipeline.last_trace and pipeline.last_trace.asdict()), name
        assert TOKEN.encode() not in pickle.dumps(pipeline.last_trace), name
        customer.clear_faults()
    assert_nowhere()


def test_no_skipped_team_shows_the_token(
    customer: Sandbox, pipeline: dlt.Pipeline, assert_nowhere: Callable[[], None]
) -> None:
    """One team per fault. A refused key would end the run."""
    faults = {**FAULTS, "echo in a listing": ECHO_IN_A_LISTING}
    del faults["401"]
    for team_id, fault in enumerate(faults.values(), start=1):
        customer.add_connector(team_id, "A")
        customer.fault(fault, team_id=team_id, times=9)
    settings = {**SETTINGS, "base_url": customer.url, "api_key": TOKEN, "on_team_error": "skip"}
    result = run_load(pipeline, team_ids=customer.team_ids, **settings)
    assert len(result.failed) == len(faults) - 1
    assert TOKEN not in repr(result)
    assert TOKEN.encode() not in pickle.dumps(result)
    assert_nowhere()


@pytest.mark.parametrize(
    "unusable",
    [{"team_ids": ["1/../2"]}, {"team_ids": []}, {"base_url": "http://example.com"}, {"request_timeout": "soon"}],
    ids=str,
)
def test_an_unusable_setting_shows_the_token_nowhere(
    pipeline: dlt.Pipeline, given: dict[str, Any], unusable: dict[str, Any]
) -> None:
    """Not even where local variables are printed."""
    settings: dict[str, Any] = {"team_ids": [TEAM], **given, **unusable}
    with pytest.raises(Exception) as failed:  # noqa: PT011 - dlt's own for what is no number
        run_load(pipeline, **settings)
    assert TOKEN not in shown(failed.value)


@pytest.mark.parametrize(
    "call",
    [
        lambda: supermetrics_source(api_key=TOKEN, team_ids=[]),
        lambda: supermetrics_source([], TOKEN),
        lambda: supermetrics_source(api_key=TOKEN),
        lambda: supermetrics_source([TEAM], TOKEN, **dict[str, Any](no_setting=1)),
        lambda: supermetrics_source.with_args(name="other")(api_key=TOKEN, team_ids="x"),
    ],
    ids=["keyword", "position", "nothing else", "unknown", "another name"],
)
def test_no_frame_of_dlt_holds_the_token_of_an_argument(call: Callable[[], Any]) -> None:
    """Error trackers send the variables of every frame."""
    with pytest.raises(Exception) as failed:  # noqa: PT011 - also dlt's own for what is missing
        call()
    assert TOKEN not in shown(failed.value)


@pytest.mark.parametrize("key", [f"{TOKEN}\n{TOKEN}", f"{TOKEN} {TOKEN}", f"{TOKEN}ä"])
def test_an_unusable_key_is_not_shown(pipeline: dlt.Pipeline, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    """The error says what is wrong with it, not what it is."""
    monkeypatch.setenv("SUPERMETRICS_API_KEY", key)
    with pytest.raises(SupermetricsError, match="api_key") as failed:
        run_load(pipeline, team_ids=[TEAM])
    assert TOKEN not in shown(failed.value)


def test_the_token_follows_no_redirect(customer: Sandbox) -> None:
    """Neither to another host or port nor to another scheme."""
    with Sandbox(token=TOKEN) as elsewhere:
        for scheme, status in product(("http", "https"), (301, 302, 303, 307, 308)):
            url = f"{scheme}://localhost:{elsewhere.url.rpartition(':')[2]}"
            customer.fault(Fault(status, location=f"{url}/v1/teams/{TEAM}/connector_builder/connectors"))
            with pytest.raises(ResourceExtractionError, match="redirect"):
                list(supermetrics_source([TEAM], TOKEN, base_url=customer.url).connectors)
        assert elsewhere.requests == []
    assert len(customer.requests) == 10


def test_objects_with_the_token_hide_it() -> None:
    """A repr ends up in logs sooner or later."""
    given: dict[str, Any] = {"team_ids": [TEAM], "api_key": TOKEN}
    config = get_fun_spec(supermetrics_source)(**given)
    settings = clients.settings(**given)
    client, source = SupermetricsClient(settings), supermetrics_source(**given)
    holders = [config, settings, client, client._transport.session(), Fetcher(settings, str), source]
    holders += [*source.resources.values(), settings.api_key, vars(settings), vars(client)]
    assert TOKEN not in "".join(f"{holder!r} {holder}" for holder in holders if not isinstance(holder, str))
    assert repr(settings.api_key) == "'***'"
    client.close()
