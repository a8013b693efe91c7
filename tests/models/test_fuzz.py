"""Whatever bytes come as an answer: they make the rows that they say, or a `SupermetricsError`, and nothing else."""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from dlt.common.normalizers.naming.snake_case import NamingConvention
from dlt.pipeline.exceptions import PipelineStepFailed
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from supermetrics_connectors.api.checks import parse_timestamp
from supermetrics_connectors.api.client import Answer, SupermetricsClient
from supermetrics_connectors.api.listing import (
    CONNECTOR_FIELDS,
    Listing,
    list_connectors,
    read_listing,
)
from supermetrics_connectors.exceptions import SupermetricsError
from supermetrics_connectors.settings import resolve
from supermetrics_connectors.tables.arrow import to_table
from supermetrics_connectors.tables.batch import Batch, Run
from supermetrics_connectors.tables.contracts import (
    CONNECTOR_CONFIGURATIONS,
    CONNECTOR_VERSIONS,
    CONNECTORS,
    OWN_COLUMNS,
)
from supermetrics_connectors.tables.strategies import STRATEGIES
from supermetrics_loader.run.load import root_cause
from supermetrics_loader.sandbox import Fault, Sandbox

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
def asking(sandbox: Sandbox) -> Iterator[Callable[[Fault], SupermetricsClient]]:
    """Has the sandbox answer so, and gives a client that asks once."""
    settings = resolve(
        team_ids=[TEAM],
        api_key=sandbox.token,
        base_url=sandbox.url,
        include_configs=True,
        max_retry_wait=0,
        request_max_attempts=1,
    )
    with closing(SupermetricsClient(settings)) as client:

        def answered(fault: Fault) -> SupermetricsClient:
            sandbox.clear_faults()
            sandbox.fault(fault)
            return client

        yield answered


def read(client: SupermetricsClient) -> Listing | None:
    """The listing that the client gets; None if it gets an error of the source."""
    try:
        return read_listing(
            TEAM,
            list_connectors(client, TEAM),
            started_at=datetime.now(timezone.utc),
            duration_ms=1,
            include_configs=True,
            column_name=column_name,
        )
    except SupermetricsError as error:
        return None if str(error) else pytest.fail("The error says nothing")


@LARGE
@given(body=bodies())
@example(body=encoded({"count": 1, "connectors": [{"connector_identifier": "A", "x": nested(100_000)}]}))
@example(body=b'{"count": 1, "connectors": [{"connector_identifier": "A", "x": "\\ud800"}]}')
@example(body=b'{"count": 1, "connectors": [{"connector_identifier": "A", "connector_identifier": "B"}]}')
@example(body=b'{"count": 1, "connectors": [{"connector_identifier": "A\\u0000", "x": 1e400}]}')
def test_any_body_makes_its_rows_or_an_error(asking: Callable[[Fault], SupermetricsClient], body: bytes) -> None:
    """What is read is what was sent, down to the Arrow tables."""
    listing = read(asking(Fault(body=body)))
    if listing is None:
        return
    sent = decoded(body)["connectors"]
    assert set(listing.connectors) == {each["connector_identifier"] for each in sent}
    assert listing.received == len(sent)
    batch = Batch(Run([TEAM], STRATEGIES["duckdb"]), [listing])
    for rows, contract in (
        (list(batch.connector_rows()), CONNECTORS),
        (list(batch.version_rows(CONNECTOR_VERSIONS)), CONNECTOR_VERSIONS),
        (list(batch.version_rows(CONNECTOR_CONFIGURATIONS)), CONNECTOR_CONFIGURATIONS),
    ):
        assert all(row["team_id"] == TEAM for row in rows)
        for row, written in zip(rows, to_table(rows, contract.schema("mirror"), {}).to_pylist(), strict=True):
            assert_written(row, written)
    for identifier, connector in listing.connectors.items():
        if identifier in listing.configurations:
            connector["configuration"] = listing.configurations[identifier]
        assert any(is_as_sent(connector, each) for each in sent if each["connector_identifier"] == identifier)


def decoded(body: bytes) -> Any:
    """The answer as Python reads it, integers of any size exactly."""
    return json.loads(body)


def is_as_sent(connector: dict[str, Any], sent: dict[str, Any]) -> bool:
    """Whether a record has the fields that were sent, the clocks apart."""
    content = (connector.get("configuration") or {}).get("configuration_json")
    if content is not None and json.loads(content) != (sent.get("configuration") or {}).get("configuration_json"):
        return False
    names = sent.keys() - {"created_at", "updated_at", "configuration"}
    columns = {name: name if name in CONNECTOR_FIELDS else column_of_added(name) for name in names}
    return all(connector.get(column) == sent[name] for name, column in columns.items())


def column_of_added(name: str) -> str:
    """The column of a field that the API does not document: never one with a meaning of its own."""
    column = column_name(name)
    return f"api_{column.lstrip('_')}" if column in OWN_COLUMNS or column.startswith("_dlt") else column


def assert_written(row: dict[str, Any], written: dict[str, Any]) -> None:
    """Each value is in its column, or in a variant of it, as it is or as JSON or as a double."""
    for name, value in row.items():
        cells = [written[column] for column in written if column == name or column.startswith(f"{name}__v_")]
        cells = [cell for cell in cells if cell is not None]
        if value is None:
            assert cells == []
        else:
            assert value in cells or value in [json.loads(cell) for cell in cells if isinstance(cell, str)]


@LARGE
@given(
    utc=st.datetimes(timezones=st.just(timezone.utc)).filter(lambda instant: 1 < instant.year < 9999),
    minutes=st.integers(-1439, 1439),
    colon=st.booleans(),
)
def test_a_timestamp_is_the_instant_that_was_written(utc: datetime, minutes: int, colon: bool) -> None:
    """In each shape of the API, in any zone."""
    local = utc.astimezone(timezone(timedelta(minutes=minutes)))
    text = local.isoformat()
    assert parse_timestamp(text if colon else text[:-3] + text[-2:]) == utc
    assert parse_timestamp(utc.isoformat().replace("+00:00", "Z")) == utc
    assert parse_timestamp(utc.date().isoformat()) == utc.replace(hour=0, minute=0, second=0, microsecond=0)


@LARGE
@given(text=st.one_of(st.text(max_size=30), st.text("0123456789-:TZ+. ,W/P", max_size=30)))
def test_any_other_text_is_no_timestamp(text: str) -> None:
    """It is refused by the one error that a caller expects, or it is an instant in UTC."""
    with suppress(ValueError):
        assert parse_timestamp(text).tzinfo is timezone.utc


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
    asking: Callable[[Fault], SupermetricsClient], status: int, headers: dict[str, str]
) -> None:
    """A header never fails an answer that is good, except by an error of the source."""
    client = asking(Fault(status, headers=headers, body=b'{"count": 0, "connectors": []}'))
    answer: Answer | SupermetricsError
    try:
        answer = list_connectors(client, TEAM)
    except SupermetricsError as error:
        answer = error
    if isinstance(answer, Answer):
        assert status == 200
        assert answer.rate_limit_remaining is None or answer.rate_limit_remaining >= 0
    else:
        assert status != 200 or "Content-Encoding" in headers
        assert answer.retry_after is None or answer.retry_after >= 0
        assert not re.search(r"[\x00-\x1f\x7f-\x9f]", str(answer))
    assert answer.request_id is None or re.fullmatch(r"[!-~]+", answer.request_id)


def identifiers_in(rows: Callable[..., list[tuple[Any, ...]]]) -> set[str]:
    """The connectors of the table, each of which is there once."""
    identifiers = [row[0] for row in rows("connectors", "connector_identifier")]
    assert len(set(identifiers)) == len(identifiers)
    return set(identifiers)


def test_any_listing_lands_as_sent_or_fails_by_an_error_of_the_source(
    sandbox: Sandbox, load: Callable[..., Any], rows: Callable[..., list[tuple[Any, ...]]]
) -> None:
    """All the way into DuckDB, one odd answer after the other into the same tables; a refused one changes nothing."""
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
