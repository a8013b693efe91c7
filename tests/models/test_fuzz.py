"""Any bytes as a response: the rows that they state, or a `SupermetricsError`, and nothing else."""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timezone
from typing import Any

import pyarrow as pa
import pytest
from dlt.common.normalizers.naming.snake_case import NamingConvention
from dlt.pipeline.exceptions import PipelineStepFailed
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from supermetrics_connectors.api.client import ApiResponse, SupermetricsClient
from supermetrics_connectors.api.listing import Listing, list_connectors, read_listing
from supermetrics_connectors.api.validation import ColumnNames
from supermetrics_connectors.exceptions import SupermetricsError
from supermetrics_connectors.specs import CONNECTOR_CONFIGURATIONS, CONNECTOR_VERSIONS, CONNECTORS
from supermetrics_connectors.tables.arrow import to_arrow
from supermetrics_connectors.tables.destinations import STRATEGIES
from supermetrics_connectors.tables.rows import ListingBatch, connector_rows, diff_team, new_version_rows
from supermetrics_connectors.tables.run import Run
from supermetrics_loader.run.load import root_cause
from tests.helpers import clients
from tests.helpers.expectations import Load, Rows
from tests.helpers.sandbox import Fault, Sandbox

TEAM = 1
column_name = NamingConvention().normalize_identifier
EXAMPLES = int(os.environ.get("FUZZ_TEST_EXAMPLES", "500"))
LARGE = settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
SMALL = settings(max_examples=EXAMPLES // 20, suppress_health_check=list(HealthCheck))

# Every character, also NUL and halves of surrogate pairs: json.dumps escapes them, so any can be sent.
anything = st.text(st.characters(exclude_categories=()), max_size=12)
numbers = st.one_of(
    st.integers(-(2**70), 2**70),
    st.sampled_from([2**63 - 1, 2**63, -(2**63), 2**53 + 1, 0]),
    st.floats(allow_nan=False),
)
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, anything),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(anything, inner, max_size=3)),
    max_leaves=8,
)
known_names = ["name", "Name", "description", "logo_url", "created_at", "updated_at", "configuration", "team_id"]
odd_names = [
    "",
    "_deleted",
    "_dlt_id",
    "_dlt_parent_id",
    "content_hash",
    "snapshot_at",
    "a b",
    "a_b",
    "aB",
    "tier",
    "count",
    "\x00",
    "ä",
    "select",
    "x" * 300,
    "__",
    "1",
]
field_names = st.one_of(st.sampled_from(known_names + odd_names), anything)
stamps = st.one_of(st.sampled_from(["2025-01-01", "2025-01-01T00:00:00Z", None]), anything, st.datetimes().map(str))
identifiers = st.one_of(st.sampled_from(["A", "B", "C"]), st.sampled_from(["A", "B", "C"]), anything)


def nested(depth: int) -> Any:
    """A list in a list in a list …, as text that json.dumps need not descend into."""
    return f"\x00{depth}"


definitions = st.one_of(
    st.dictionaries(anything, json_values, max_size=3),
    st.sampled_from([1, 100, 252, 253, 254, 255, 1023, 1025, 100_000]).map(lambda depth: {"deep": nested(depth)}),
)
connectors = st.builds(
    lambda known, more: {**more, **known},
    st.fixed_dictionaries(
        {"connector_identifier": identifiers},
        optional={
            "name": st.one_of(anything, st.none()),
            "updated_at": stamps,
            "configuration": st.one_of(
                st.none(), st.fixed_dictionaries({"configuration_json": definitions}, optional={"version": anything})
            ),
        },
    ),
    st.dictionaries(field_names, st.one_of(json_values, definitions), max_size=3),
)
listings = st.builds(
    lambda connectors, lie: {"count": len(connectors) if lie is None else lie, "connectors": connectors},
    st.lists(connectors, max_size=4),
    st.one_of(st.none(), st.none(), st.none(), st.integers(0, 5), json_values),
)


def encoded(value: Any) -> bytes:
    """The JSON text, with the nested lists spelled out."""
    text = json.dumps(value)
    for depth in (1, 100, 252, 253, 254, 255, 1023, 1025, 100_000):
        text = text.replace(json.dumps(nested(depth)), "[" * depth + "]" * depth)
    return text.encode()


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Bytes, JSON, or a listing: whole, cut short, or with a key renamed, perhaps to another's."""
    body = draw(st.one_of(listings, listings, listings, json_values).map(encoded) | st.binary(max_size=20))
    renamed = draw(st.sampled_from([b"", b"", b'"name"', b'"count"', b'"connectors"', b'"updated_at"']))
    if renamed:
        body = body.replace(renamed, draw(st.sampled_from([b'"connector_identifier"', b'"count"', b'""'])))
    if draw(st.integers(0, 9)) == 0:
        body = body[: draw(st.integers(0, len(body)))]
    return body


@pytest.fixture
def client_for(sandbox: Sandbox) -> Iterator[Callable[[Fault], SupermetricsClient]]:
    """Makes the sandbox respond with a fault, and returns a client that makes one attempt."""
    given = {"api_key": sandbox.token, "base_url": sandbox.url, "max_retry_wait": 0, "request_max_attempts": 1}
    with closing(SupermetricsClient(clients.settings(**given))) as client:

        def make(fault: Fault) -> SupermetricsClient:
            sandbox.clear_faults()
            sandbox.fault(fault)
            return client

        yield make


def read(client: SupermetricsClient) -> Listing | None:
    """The listing of the client; None after an error of the source."""
    try:
        return read_listing(
            TEAM,
            list_connectors(client, TEAM),
            started_at=datetime.now(timezone.utc),
            duration_ms=1,
            include_configs=True,
            column_names=ColumnNames(column_name),
        )
    except SupermetricsError as error:
        return None if str(error) else pytest.fail("The error has no text")


@LARGE
@given(body=bodies())
@example(body=encoded({"count": 1, "connectors": [{"connector_identifier": "A", "x": nested(100_000)}]}))
@example(body=b'{"count": 1, "connectors": [{"connector_identifier": "A", "x": "\\ud800"}]}')
@example(body=b'{"count": 1, "connectors": [{"connector_identifier": "A", "connector_identifier": "B"}]}')
@example(body=b'{"count": 1, "connectors": [{"connector_identifier": "A\\u0000", "x": 1e400}]}')
def test_any_body_makes_its_rows_or_an_error(client_for: Callable[[Fault], SupermetricsClient], body: bytes) -> None:
    """Records are as sent, down to the Arrow tables."""
    listing = read(client_for(Fault(body=body)))
    if listing is None:
        return
    sent = decoded(body)["connectors"]
    assert set(listing.connectors) == {each["connector_identifier"] for each in sent}
    assert listing.received == len(sent)
    run = Run(clients.settings(team_ids=[TEAM]), STRATEGIES["duckdb"])
    batch = ListingBatch(run, [diff_team(run, listing)])
    for rows, spec in (
        (list(connector_rows(batch)), CONNECTORS),
        (list(new_version_rows(batch, CONNECTOR_VERSIONS)), CONNECTOR_VERSIONS),
        (list(new_version_rows(batch, CONNECTOR_CONFIGURATIONS)), CONNECTOR_CONFIGURATIONS),
    ):
        schema = pa.schema([column.arrow_field for column in spec.columns])
        assert all(row["team_id"] == TEAM for row in rows)
        for row, written in zip(rows, to_arrow(rows, schema, {}, {}).to_pylist(), strict=True):
            assert_written(row, written)
    added = {name for each in sent for name in each} - CONNECTORS.api_fields - {"configuration"}
    columns = ColumnNames(column_name).columns(added, CONNECTORS)
    for identifier, connector in listing.connectors.items():
        if identifier in listing.configurations:
            connector["configuration"] = listing.configurations[identifier]
        assert any(is_as_sent(connector, each, columns) for each in sent if each["connector_identifier"] == identifier)


def decoded(body: bytes) -> Any:
    """The body as Python reads it, integers of any size exactly."""
    return json.loads(body)


def is_as_sent(connector: dict[str, Any], sent: dict[str, Any], columns: dict[str, str]) -> bool:
    """Whether a record has the fields that were sent, except the clocks."""
    content = (connector.get("configuration") or {}).get("configuration_json")
    if content is not None and json.loads(content) != (sent.get("configuration") or {}).get("configuration_json"):
        return False
    names = sent.keys() - {"created_at", "updated_at", "configuration"}
    return all(connector.get(columns.get(name, name)) == sent[name] for name in names)


def assert_written(row: dict[str, Any], written: dict[str, Any]) -> None:
    """Each value is in its column or in a variant of it, unchanged, as JSON or as a double."""
    for name, value in row.items():
        cells = [written[column] for column in written if column == name or column.startswith(f"{name}__v_")]
        cells = [cell for cell in cells if cell is not None]
        if value is None:
            assert cells == []
        else:
            assert value in cells or value in [json.loads(cell) for cell in cells if isinstance(cell, str)]


header_values = st.one_of(
    st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=30),
    st.integers(-(10**12), 10**12).map(str),
    st.sampled_from(["Wed, 21 Oct 2015 07:28:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "Sun, 06 Nov 94 08:49:37 GMT"]),
    st.sampled_from(["Mon, 99 Foo 2025 99:99:99 +9999", "inf", "nan", "1e3", "0x10", "١٢", "", "-0"]).filter(
        str.isascii
    ),
)


@LARGE
@given(
    status=st.sampled_from([200, 200, 301, 403, 429, 429, 503, 599, 204]),
    headers=st.dictionaries(
        st.sampled_from(
            [
                "Retry-After",
                "X-Request-Id",
                "X-RateLimit-Remaining",
                "Content-Type",
                "Location",
                "Content-Encoding",
                "Set-Cookie",
            ]
        ),
        header_values,
    ),
)
def test_any_header_is_understood_or_ignored(
    client_for: Callable[[Fault], SupermetricsClient], status: int, headers: dict[str, str]
) -> None:
    """No header fails a good response, except by an error of the source."""
    client = client_for(Fault(status, headers=headers, body=b'{"count": 0, "connectors": []}'))
    outcome: ApiResponse | SupermetricsError
    try:
        outcome = list_connectors(client, TEAM)
    except SupermetricsError as error:
        outcome = error
    if isinstance(outcome, ApiResponse):
        assert status == 200
        assert outcome.rate_limit_remaining is None or outcome.rate_limit_remaining >= 0
    else:
        assert status != 200 or "Content-Encoding" in headers
        assert outcome.retry_after is None or outcome.retry_after >= 0
        assert not re.search(r"[\x00-\x1f\x7f-\x9f]", str(outcome))
    assert outcome.request_id is None or re.fullmatch(r"[!-~]+", outcome.request_id)


def identifiers_in(rows: Rows) -> set[str]:
    """The connectors of the table, each stored once."""
    identifiers = [row[0] for row in rows("connectors", "connector_identifier")]
    assert len(set(identifiers)) == len(identifiers)
    return set(identifiers)


def test_any_listing_lands_as_sent_or_fails_by_an_error_of_the_source(sandbox: Sandbox, load: Load, rows: Rows) -> None:
    """One odd response after another into the same DuckDB tables; a refused one changes nothing."""
    sandbox.add_team(TEAM)
    runs = itertools.count(1)

    @SMALL
    @given(body=listings.map(encoded))
    def land(body: bytes) -> None:
        before = identifiers_in(rows) if next(runs) > 1 else set()
        sandbox.clear_faults()
        sandbox.fault(Fault(body=body), times=9)
        reason: BaseException | None = None
        expected = before
        try:
            load(TEAM, include_configs=True, request_max_attempts=1)
        except PipelineStepFailed as failed:
            reason = root_cause(failed)
        else:
            answer = decoded(body)
            expected = {each["connector_identifier"] for each in answer["connectors"]}
            if answer["count"] != len(answer["connectors"]):
                expected |= before
        assert reason is None or isinstance(reason, SupermetricsError)
        if reason is None or before:
            assert identifiers_in(rows) == expected

    land()
