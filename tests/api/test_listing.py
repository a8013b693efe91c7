"""A response is either what the API's documentation says, or a typed error that names the place."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supermetrics_connectors.api import validation
from supermetrics_connectors.api.fetch import Fetcher
from supermetrics_connectors.api.listing import Listing, read_listing
from supermetrics_connectors.api.validation import ColumnNames
from supermetrics_connectors.documents.json_text import parse_json
from supermetrics_connectors.exceptions import SupermetricsContractError, SupermetricsServerError
from supermetrics_connectors.records import Record
from supermetrics_connectors.specs import CONNECTOR_CONFIGURATIONS, CONNECTORS, RESERVED_COLUMNS, TIMESTAMP, ColumnSpec
from tests.documents.test_json_text import json_values
from tests.helpers.clients import response
from tests.helpers.clients import settings as checked_settings
from tests.helpers.sandbox import Sandbox

TEAM = 936506
TIMESTAMP_EXPECTED = "Expected an ISO 8601 timestamp such as 2025-01-01T00:00:00Z in "
NOW = datetime(2026, 4, 6, 10, 59, 4, tzinfo=timezone.utc)


def read(
    payload: Any,
    *,
    include_configs: bool = True,
    redact_secrets: bool = True,
    column_name: Callable[[str], str] = str.lower,
) -> Listing:
    """The listing of a payload; column names are the fields' in lower case."""
    return read_listing(
        TEAM,
        response(payload),
        started_at=NOW,
        duration_ms=7,
        include_configs=include_configs,
        column_names=ColumnNames(column_name),
        redact_secrets=redact_secrets,
    )


def read_one(connector: Any) -> Record:
    """The record of the one connector of a listing, without its hash."""
    (record,) = read({"count": 1, "connectors": [connector]}).connectors.values()
    assert len(record.pop("content_hash")) == 64
    return record


def read_configuration(connector: Any, **options: Any) -> Record:
    """The configuration of the one connector of a listing."""
    (configuration,) = read({"count": 1, "connectors": [connector]}, **options).configurations.values()
    return configuration


def hashes(connector: Any) -> tuple[str, str]:
    """The content hashes of a connector and of its configuration."""
    listing = read({"count": 1, "connectors": [connector]})
    return listing.connectors["A"]["content_hash"], listing.configurations["A"]["content_hash"]


def refusal(payload: Any) -> SupermetricsContractError:
    """The error of a payload."""
    with pytest.raises(SupermetricsContractError) as refused:
        read(payload)
    return refused.value


def configured(**fields: Any) -> dict[str, Any]:
    """A connector A whose configuration has these fields beside an empty definition."""
    return {"connector_identifier": "A", "configuration": {"configuration_json": {}, **fields}}


# --- listings ---------------------------------------------------------------------------------------------------------


def test_a_listing_holds_the_response() -> None:
    """Counts, request id and rate limit go to `team_syncs`; the records to their tables."""
    connector = {
        "connector_identifier": "A",
        "name": "Å",
        "description": None,
        "updated_at": "2026-04-06T10:59:04+0000",
    }
    listing = read({"count": 1, "connectors": [connector], "later": "addition"})
    (digest,) = (record.pop("content_hash") for record in listing.connectors.values())
    assert listing.connectors == {"A": {**connector, "updated_at": NOW}}
    assert len(digest) == 64
    assert (listing.team_id, listing.started_at, listing.duration_ms, listing.size) == (TEAM, NOW, 7, 100)
    assert (listing.status_code, listing.request_id, listing.rate_limit_remaining) == (200, "request-0001", 4999)
    assert (listing.reported, listing.received, listing.has_configurations, listing.error) == (1, 1, True, None)
    assert listing.latest_updated_at == NOW


def test_a_team_may_have_no_connectors() -> None:
    """The listing is complete, and empties the team."""
    listing = read({"count": 0, "connectors": []})
    assert (listing.connectors, listing.complete, listing.received) == ({}, True, 0)
    assert listing.latest_updated_at is None


@pytest.mark.parametrize(
    ("count", "names", "complete", "warning"),
    [
        (2, "AB", True, None),
        (1, "AB", False, "The API reports 1 connectors of team 936506 but lists 2, so no connector is removed"),
        (3, "AB", False, "The API reports 3 connectors of team 936506 but lists 2, so no connector is removed"),
        (3, "ABA", False, "The API lists connector 'A' of team 936506 more than once, so no connector is removed"),
        (2, "ABA", False, "The API lists connector 'A' of team 936506 more than once, so no connector is removed"),
    ],
)
def test_only_a_full_list_without_duplicates_is_complete(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture, count: int, names: str, complete: bool, warning: str | None
) -> None:
    """Absence means removal only when the API says that this is all."""
    sandbox.add_team(TEAM, [{"connector_identifier": name} for name in names])
    sandbox.report_count(TEAM, count)
    caplog.set_level(logging.WARNING, "supermetrics_connectors")
    checked = checked_settings(team_ids=[TEAM], api_key=sandbox.token, base_url=sandbox.url)
    with closing(Fetcher(checked, str.lower)) as fetcher:
        (listing,) = fetcher.listings(lambda _done, _message: None)
    assert (listing.complete, listing.status) == (complete, "ok" if complete else "incomplete")
    assert sorted(listing.connectors) == ["A", "B"]
    assert (warning or "") in caplog.text
    assert bool(caplog.text) is not complete


def test_a_failed_request_is_no_complete_listing() -> None:
    """An unreachable team must not be emptied."""
    error = SupermetricsServerError("down", team_id=1, status_code=503, request_id="request-0001")
    listing = Listing.failed(error, NOW, 5)
    assert (listing.complete, listing.status, listing.connectors, listing.size) == (False, "failed", {}, 0)
    assert (listing.team_id, listing.status_code, listing.request_id) == (1, 503, "request-0001")
    assert (listing.error, listing.reported, listing.redacted) == (error, None, None)
    with pytest.raises(ValueError, match="The error names no team"):
        Listing.failed(SupermetricsServerError("down"), NOW, 5)


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
@pytest.mark.parametrize(
    ("first", "second"), [("2025-01-01T23:00:00-0500", "2025-01-02T05:00:00Z"), (None, "2025-01-01")]
)
def test_of_two_records_with_one_identifier_the_newest_counts(order: list[int], first: str | None, second: str) -> None:
    """There is one row per connector, and it is the one that was edited last."""
    records = [
        {"connector_identifier": "A", "name": "old", "updated_at": first},
        {"connector_identifier": "A", "name": "new", "updated_at": second},
    ]
    listing = read({"count": 2, "connectors": [records[index] for index in order]})
    assert (listing.connectors["A"]["name"], listing.duplicates, listing.received) == ("new", ("A",), 2)


@pytest.mark.parametrize("include_configs", [True, False])
def test_a_configuration_may_be_null_or_not_requested(include_configs: bool) -> None:
    """Null and absent mean the same; without include_configs nothing about configurations is known."""
    connector = configured() if not include_configs else {"connector_identifier": "A", "configuration": None}
    listing = read({"count": 1, "connectors": [connector]}, include_configs=include_configs)
    assert listing.connectors["A"].keys() == {"connector_identifier", "content_hash"}
    assert (listing.configurations, listing.redacted) == ({}, {} if include_configs else None)


@pytest.mark.parametrize("team_id", [TEAM, str(TEAM), None])
def test_a_response_may_name_its_team(team_id: object) -> None:
    """The API does not do so today."""
    listing = read({"count": 1, "team_id": team_id, "connectors": [{"connector_identifier": "A", "team_id": team_id}]})
    assert listing.connectors["A"]["api_team_id"] == team_id


@pytest.mark.parametrize("team_id", [936507, "1", 0, "Marketing"])
@pytest.mark.parametrize("place", ["the response", "connectors[0]", "connectors[2]"])
def test_a_response_that_names_another_team_is_refused(place: str, team_id: object) -> None:
    """A proxy that mixes two requests up must not give a team the connectors of another."""
    records: list[dict[str, Any]] = [{"connector_identifier": name} for name in "ABC"]
    payload: dict[str, Any] = {"count": 3, "connectors": records}
    (payload if place == "the response" else records[int(place[-2])]).update({"team_id": team_id})
    assert refusal(payload).message == f"Expected {place} to be of team 936506, its `team_id` names another"


SECOND = "connectors[1] ('A')"


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ([], "Expected an object in the response, a list arrived"),
        ({"error": {}}, "Expected a list in `connectors`, nothing arrived"),
        ({"count": 1, "connectors": {}}, "Expected a list in `connectors`, an object arrived"),
        ({"connectors": []}, "Expected an integer ≥ 0 in `count`, nothing arrived"),
        ({"count": "1", "connectors": []}, "Expected an integer ≥ 0 in `count`, a string arrived"),
        ({"count": -1, "connectors": []}, "Expected an integer ≥ 0 in `count`, a number arrived"),
        ({"count": True, "connectors": []}, "Expected an integer ≥ 0 in `count`, a boolean arrived"),
        (None, "Expected an object in the response, nothing arrived"),
    ],
)
def test_a_response_of_another_shape_is_refused(payload: object, message: str) -> None:
    """Nothing of it can be trusted, least of all what it lacks."""
    assert refusal(payload).message == message


@pytest.mark.parametrize(
    ("connector", "message"),
    [
        (None, "Expected an object in connectors[1], nothing arrived"),
        ({"name": "A"}, "Expected a non-empty string in connectors[1].connector_identifier, nothing arrived"),
        (
            {"connector_identifier": ""},
            "Expected a non-empty string in connectors[1].connector_identifier, a string arrived",
        ),
        (
            {"connector_identifier": "A" * 41, "name": 5},
            f"Expected a string in connectors[1] ('{'A' * 40}…').name, a number arrived",
        ),
        ({"connector_identifier": "A", "logo_url": {}}, f"Expected a string in {SECOND}.logo_url, an object arrived"),
        (
            {"connector_identifier": "A", "updated_at": "soon"},
            f"{TIMESTAMP_EXPECTED}{SECOND}.updated_at, 'soon' arrived",
        ),
        (
            {"connector_identifier": "A", "created_at": 1735689600},
            f"{TIMESTAMP_EXPECTED}{SECOND}.created_at, a number arrived",
        ),
        (
            {"connector_identifier": "A", "configuration": []},
            f"Expected an object in {SECOND}.configuration, a list arrived",
        ),
        (
            {"connector_identifier": "A", "configuration": {}},
            f"Expected an object in {SECOND}.configuration.configuration_json, nothing arrived",
        ),
        (configured(version=1), f"Expected a string in {SECOND}.configuration.version, a number arrived"),
        (
            configured(updated_at="2025-02-30"),
            f"{TIMESTAMP_EXPECTED}{SECOND}.configuration.updated_at, '2025-02-30' arrived",
        ),
    ],
)
def test_a_malformed_record_is_named(connector: object, message: str) -> None:
    """Among a thousand records the reader must find the one, by place and identifier."""
    error = refusal({"count": 2, "connectors": [{"connector_identifier": "FIRST"}, connector]})
    assert error.message == message
    assert (error.team_id, error.status_code, error.request_id) == (TEAM, 200, "request-0001")


# --- content hashes ---------------------------------------------------------------------------------------------------

BASE = {**configured(version="1", created_at="2025-01-01", updated_at="2025-01-01"), "name": "a"}


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        ({"name": "b"}, (True, False)),
        ({"updated_at": "2025-01-01"}, (True, False)),
        ({"tier": None}, (False, False)),
        ({"tier": {"b": 1, "a": 2}}, (True, False)),
        ({"configuration": {"version": "2"}}, (False, True)),
        ({"configuration": {"status": "draft"}}, (False, True)),
        ({"configuration": {"status": None}}, (False, False)),
        ({"configuration": {"created_at": "2026-01-01", "updated_at": None}}, (False, False)),
        ({"configuration": {"configuration_json": {"a": 1}}}, (False, True)),
    ],
    ids=str,
)
def test_identity_covers_everything_that_the_api_sends(change: dict[str, Any], differs: tuple[bool, bool]) -> None:
    """Each table by itself; of a configuration only the two clocks are excluded, which move without an edit."""
    changed = {**BASE, **change, "configuration": {**BASE["configuration"], **change.get("configuration", {})}}
    before, after = hashes(BASE), hashes(changed)
    assert tuple(one != other for one, other in zip(before, after, strict=True)) == differs


def test_a_field_that_is_declared_later_changes_no_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hash covers the text that the API sent, not the instant that it becomes."""
    sent = {**configured(published_at="2025-01-01"), "published_at": "2025-01-01T00:00:00Z"}
    before = hashes(sent)
    column = ColumnSpec("published_at", TIMESTAMP, "When it was published.", is_api_field=True)
    for spec in (CONNECTORS, CONNECTOR_CONFIGURATIONS):
        monkeypatch.setitem(vars(spec), "columns", (*spec.columns, column))
    monkeypatch.setattr(validation, "_checked_columns", validation._checked_columns.__wrapped__)
    assert read_one(sent)["published_at"] == datetime(2025, 1, 1, tzinfo=timezone.utc)
    assert hashes(sent) == before


def test_a_configuration_is_stored_as_sorted_json() -> None:
    """One column of text for every shape of a definition."""
    definition = {"b": [1, {"z": None, "a": "ä"}], "a": 1.5}
    read_ = read_configuration(configured(configuration_json=definition, version="1.0.0", updated_at="2026-04-06"))
    assert read_["configuration_json"] == '{"a":1.5,"b":[1,{"a":"ä","z":null}]}'
    assert (read_["version"], read_["updated_at"]) == ("1.0.0", datetime(2026, 4, 6, tzinfo=timezone.utc))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("12345678901234567890123", "12345678901234567890124"),
        ("18446744073709551616", "18446744073709551617"),
        ("-9223372036854775809", "-9223372036854775810"),
        ("1" + "0" * 300, "1" + "0" * 299 + "1"),
        ("0.1", "0.10000000000000000001"),
        ("9007199254740993", "9007199254740993.0"),
        ("1.2345678e-320", "1.2345679e-320"),
        ("1", "1.0"),
    ],
)
def test_definitions_that_differ_in_a_digit_differ_in_their_hash(one: str, other: str) -> None:
    """An edit of a digit is a new version; the stored text is what was sent."""
    sent = [configured(configuration_json=parse_json(f'{{"limit": {number}}}')) for number in (one, other)]
    texts = [read_configuration(each)["configuration_json"].lower() for each in sent]
    assert texts == [f'{{"limit":{number}}}' for number in (one, other)]
    assert hashes(sent[0]) != hashes(sent[1])


def _nested(levels: int) -> Any:
    value: Any = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("connector", "place"),
    [
        (configured(configuration_json=_nested(300)), "configuration.configuration_json"),
        (configured(added=_nested(300)), "configuration.added"),
        ({"connector_identifier": "A", "added": _nested(300)}, "added"),
    ],
)
def test_json_nested_too_deep_to_store_is_refused(connector: object, place: str) -> None:
    """Such JSON can be read but not written; it fails as a typed error."""
    error = refusal({"count": 1, "connectors": [connector]})
    assert error.message == f"connectors[0] ('A').{place} is nested too deep to be written as JSON"


def test_json_nested_to_the_limit_is_stored() -> None:
    """254 levels can be written, of which the record is one."""
    sent = {**configured(configuration_json=_nested(253), added=_nested(253)), "added": _nested(253)}
    assert read_configuration(sent)["configuration_json"].count("{") == 253


# --- added fields -----------------------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(st.dictionaries(st.text("abc_", min_size=1).map("x{}".format), json_values, max_size=4))
def test_added_fields_pass_through(added: dict[str, Any]) -> None:
    """An API that grows must not break the load, and its new data is not lost."""
    assert read_one({"connector_identifier": "A", **added}) == {"connector_identifier": "A", **added}
    configuration = read_configuration(configured(**added))
    assert {name: configuration[name] for name in added} == added


OWN_NAMES = [*sorted(RESERVED_COLUMNS), "_Deleted", "Team_Id", "_dlt_id", "_dlt_valid_to", "_Dlt_Valid_From", "_dlt_x"]


@pytest.mark.parametrize("name", OWN_NAMES)
def test_a_field_with_a_reserved_name_gets_another_column(name: str) -> None:
    """`_deleted: true` from outside would delete a connector, `_dlt_valid_to` end a version; the value is kept."""
    column = f"api_{name.lower().lstrip('_')}"
    value = TEAM if name.lower() == "team_id" else "x"
    plain = read_configuration(configured())
    written = read_configuration(configured(**{name: value}))
    assert written[column] == value
    assert written.keys() - plain.keys() == {column}
    if name != "connector_identifier":
        assert read_one({"connector_identifier": "A", name: value}) == {"connector_identifier": "A", column: value}


def test_odd_names_of_added_fields_refuse_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """A field without a column of its own gets one, always the same; the log says so once per run."""

    def snake_case(name: str) -> str:
        if not name.strip():
            raise ValueError(name)
        return name.strip().lower().replace("logourl", "logo_url").replace(" ", "_")

    names = ["tier", "Tier", " tier", "", "  ", "logoURL", "Name", "api_team_id", "team_id", "x" * 300, "x" * 299 + "y"]
    connector = {"connector_identifier": "A", **{name: TEAM if name == "team_id" else name for name in names}}
    backwards = dict(reversed(connector.items()))
    caplog.set_level(logging.INFO, "supermetrics_connectors")
    results = [
        read({"count": 1, "connectors": [each]}, column_name=snake_case).connectors["A"]
        for each in (connector, backwards)
    ]
    assert results[0] == results[1]
    assert len(results[0]) == len(connector) + 1
    assert (results[0]["tier"], results[0]["api_team_id"]) == ("tier", "api_team_id")
    columns = {value: column for column, value in results[0].items()}
    assert columns["logoURL"] == "logo_url_" + columns["logoURL"][-8:]
    assert columns[""] == "field_e3b0c442"
    assert "The API's field 'logoURL' of connectors is stored in the column logo_url_" in caplog.text


def test_a_renamed_field_is_logged_once_per_run(caplog: pytest.LogCaptureFixture) -> None:
    """A hundred teams have the same fields. Not as a warning, which cron would mail after each run."""
    caplog.set_level(logging.INFO, "supermetrics_connectors")
    names = ColumnNames(str.lower)
    for _ in range(3):
        names.rename([{"Tier": 1, "tier": 2}], CONNECTORS)
    assert caplog.text.count("The API's field 'Tier' of connectors is stored in the column tier_") == 1
    assert {record.levelname for record in caplog.records} == {"INFO"}


# --- secrets, and texts that no database can hold ---------------------------------------------------------------------


def test_secrets_are_replaced_in_definitions_and_in_added_fields() -> None:
    """Their places are returned by connector; no digit of the document is lost."""
    secret = {"password": "hunter2hunter2"}
    connectors = [
        {
            "connector_identifier": "A",
            "configuration": {"configuration_json": {**secret, "n": 2**70}, "more": {**secret}},
        },
        {"connector_identifier": "B", "configuration": {"configuration_json": {}, "more": {"more": {**secret}}}},
        {"connector_identifier": "C", "configuration": {"configuration_json": {"a": 1}, "more": 1}},
        {"connector_identifier": "D"},
    ]
    listing = read({"count": 4, "connectors": connectors})
    assert listing.redacted == {
        "A": ["$.password", "configuration.more.password"],
        "B": ["configuration.more.more.password"],
    }
    assert listing.configurations["A"]["configuration_json"] == f'{{"n":{2**70},"password":"[redacted]"}}'
    assert listing.configurations["A"]["more"] == {"password": "[redacted]"}
    assert listing.configurations["C"]["configuration_json"] == '{"a":1}'


@pytest.mark.parametrize(
    "value",
    [
        {"name": "a\0b"},
        {"added": [1, ["\0"]]},
        {"added": {"deep": [{"x": "\0"}]}},
        {"na\0me": 1},
        {"configuration": {"configuration_json": {"a": [{"b\0": None}]}}},
    ],
)
def test_a_nul_character_is_refused_anywhere(value: dict[str, Any]) -> None:
    """In names as well as in values: PostgreSQL takes neither, and tables must not depend on the destination."""
    fine = {"connector_identifier": "B", "name": "\\u0000", "added": [{"x": ["y"]}]}
    error = refusal({"count": 2, "connectors": [fine, {"connector_identifier": "A", **value}]})
    assert error.message == "Expected text that a database can hold in connectors[1], a NUL character arrived"
    read({"count": 1, "connectors": [fine]})
