"""An answer is either what the API's documentation says or a typed error that names the place."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supermetrics_connectors.api.checks import Record, parse_timestamp
from supermetrics_connectors.api.client import Answer
from supermetrics_connectors.api.listing import Listing, read_listing
from supermetrics_connectors.compare import connector_hash
from supermetrics_connectors.documents.json_text import parse_json
from supermetrics_connectors.exceptions import SupermetricsContractError, SupermetricsServerError
from supermetrics_connectors.tables.contracts import OWN_COLUMNS

TIMESTAMP_EXPECTED = "Expected an ISO 8601 timestamp such as 2025-01-01T00:00:00Z in "
NOW = datetime(2026, 4, 6, 10, 59, 4, tzinfo=timezone.utc)

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    # JSON text cannot carry lone surrogates
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text("abcÄ", max_size=3), children, max_size=4)
    ),
    max_leaves=10,
)


def read(payload: Any, *, include_configs: bool = True, may_have_nul: bool = False) -> Listing:
    """What becomes of a payload, with column names folded to lower case."""
    return read_listing(
        936506,
        Answer(payload, 200, "request-0001", 4999, 100, may_have_nul),
        started_at=NOW,
        duration_ms=7,
        include_configs=include_configs,
        column_name=str.lower,
    )


def read_one(connector: Any, **options: Any) -> Record:
    """What becomes of the one connector of a listing."""
    (record,) = read({"count": 1, "connectors": [connector]}, **options).connectors.values()
    return record


def read_configuration(connector: Any) -> Record:
    """What becomes of the configuration of the one connector of a listing."""
    (configuration,) = read({"count": 1, "connectors": [connector]}).configurations.values()
    return configuration


def refusal(payload: Any) -> SupermetricsContractError:
    """Why a payload is refused."""
    with pytest.raises(SupermetricsContractError) as refused:
        read(payload)
    return refused.value


def configured(**fields: Any) -> dict[str, Any]:
    """A connector A whose configuration has these fields besides an empty definition."""
    return {"connector_identifier": "A", "configuration": {"configuration_json": {}, **fields}}


# --- timestamps -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2025-01-01", datetime(2025, 1, 1, tzinfo=timezone.utc)),
        ("2025-01-01T00:00:00Z", datetime(2025, 1, 1, tzinfo=timezone.utc)),
        ("2025-01-01T00:00:00+00:00", datetime(2025, 1, 1, tzinfo=timezone.utc)),
        ("2025-01-01T00:00:00+0000", datetime(2025, 1, 1, tzinfo=timezone.utc)),
        ("2025-01-01T00:00:00", datetime(2025, 1, 1, tzinfo=timezone.utc)),
        ("2025-01-01 02:00", datetime(2025, 1, 1, 2, tzinfo=timezone.utc)),
        ("2025-01-01T02:30:00+02", datetime(2025, 1, 1, 0, 30, tzinfo=timezone.utc)),
        ("2024-12-31T18:15:00-0545", datetime(2025, 1, 1, tzinfo=timezone.utc)),
        ("2025-01-01T00:00:00.5Z", datetime(2025, 1, 1, microsecond=500_000, tzinfo=timezone.utc)),
        ("2025-01-01T00:00:00.123456789Z", datetime(2025, 1, 1, microsecond=123_456, tzinfo=timezone.utc)),
        ("2024-02-29", datetime(2024, 2, 29, tzinfo=timezone.utc)),
    ],
)
def test_timestamps_are_read_in_every_shape(text: str, instant: datetime) -> None:
    """The API documents "ISO 8601" and sends a date, `Z`, `+00:00` and `+0000`."""
    assert parse_timestamp(text) == instant
    assert parse_timestamp(text).tzinfo is timezone.utc


@given(
    st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29)),  # noqa: DTZ001 - hypothesis wants the bounds naive
    st.integers(-23 * 60, 23 * 60),
    st.sampled_from("T "),
    st.sampled_from([":", ""]),
)
def test_every_shape_of_an_instant_means_that_instant(
    naive: datetime, offset_minutes: int, separator: str, colon: str
) -> None:
    """Which shape the API picks must not move a connector in time."""
    instant = naive.replace(tzinfo=timezone.utc)
    hours, minutes = divmod(abs(offset_minutes), 60)
    sign = "-" if offset_minutes < 0 else "+"
    elsewhere = (naive + timedelta(minutes=offset_minutes)).isoformat(separator)
    assert parse_timestamp(f"{elsewhere}{sign}{hours:02}{colon}{minutes:02}") == instant
    assert parse_timestamp(naive.isoformat(separator) + "Z") == parse_timestamp(naive.isoformat(separator)) == instant
    assert parse_timestamp(naive.date().isoformat()) == instant.replace(hour=0, minute=0, second=0, microsecond=0)


@pytest.mark.parametrize(
    "text",
    [
        *("now", "yesterday", "10:30", "2025", "2025-01", "2025-1-1", "2025-W01", "2025-001", "20250101", "P1D"),
        *("2025-02-29", "2025-13-01", "2025-01-01T25:00:00Z", "2025-01-01T00:00:00z", "2025-01-01T00:00:00 Z"),
        *("2025-01-01/2025-01-02", "2025-01-01T00:00:00+99:99", "9999-12-31T23:59:59-01:00", "0001-01-01T00:00+01:00"),
        *(" 2025-01-01", "2025-01-01\n", "२०२५-०१-०१", "1735689600"),
    ],
)
def test_what_is_no_timestamp_is_refused(text: str) -> None:
    """A lenient parser would make today's date of a time, or the first of January of a year."""
    with pytest.raises(ValueError, match=re.escape(text)):
        parse_timestamp(text)


@given(st.from_regex(r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}([+-][0-9]{2}:?[0-9]{2})?)?\Z"))
def test_nothing_that_looks_like_a_timestamp_fails_otherwise(text: str) -> None:
    """An impossible date is a ValueError whatever is impossible about it, so it becomes a contract error."""
    with suppress(ValueError):
        assert parse_timestamp(text).tzinfo is timezone.utc


# --- listings ---------------------------------------------------------------------------------------------------------


def test_a_listing_holds_what_the_api_said() -> None:
    """Counts, request id and rate limit go to `team_syncs`; the records to their tables."""
    connector = {
        "connector_identifier": "A",
        "name": "Å",
        "description": None,
        "updated_at": "2026-04-06T10:59:04+0000",
    }
    listing = read({"count": 1, "connectors": [connector], "later": "addition"})
    assert listing.connectors == {"A": {**connector, "updated_at": NOW}}
    assert (listing.team_id, listing.started_at, listing.duration_ms, listing.size) == (936506, NOW, 7, 100)
    assert (listing.status_code, listing.request_id, listing.rate_limit_remaining) == (200, "request-0001", 4999)
    assert (listing.reported, listing.received, listing.has_configurations, listing.error) == (1, 1, True, None)


@pytest.mark.parametrize(("count", "complete"), [(1, False), (1000, True), (1001, False)])
def test_only_a_count_equal_to_the_list_makes_it_complete(count: int, complete: bool) -> None:
    """Absence means removal only when the API says that this is all; doubles count as what they are."""
    listing = read({"count": count, "connectors": [{"connector_identifier": "A"}] * 1000})
    assert (listing.complete, listing.status) == (complete, "ok" if complete else "incomplete")


def test_a_failed_request_is_no_complete_listing() -> None:
    """Or a team that could not be reached would be emptied."""
    error = SupermetricsServerError("down", team_id=1, status_code=503, request_id="request-0001")
    listing = Listing.failed(error, NOW, 5)
    assert (listing.complete, listing.status, listing.connectors, listing.size) == (False, "failed", {}, 0)
    assert (listing.team_id, listing.status_code, listing.request_id) == (1, 503, "request-0001")
    assert (listing.error, listing.reported, listing.redacted) == (error, None, None)
    assert not listing.has_configurations
    with pytest.raises(ValueError, match="The error names no team"):
        Listing.failed(SupermetricsServerError("down"), NOW, 5)
    with pytest.raises(AttributeError):
        listing.size = 1  # type: ignore[misc]  # nobody who reads a listing changes it


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_of_two_records_with_one_identifier_the_newest_counts(order: list[int]) -> None:
    """One row a connector, and the one that was edited last wherever it stands."""
    twins = [
        {"connector_identifier": "A", "name": "old", "updated_at": "2025-01-01T23:00:00-0500"},
        {"connector_identifier": "A", "name": "new", "updated_at": "2025-01-02T05:00:00Z"},
    ]
    listing = read({"count": 2, "connectors": [twins[index] for index in order]})
    assert listing.connectors["A"]["name"] == "new"


@pytest.mark.parametrize("dates", [("2025-01-01", "2025-01-01"), (None, None), (None, "2025-01-01")])
def test_of_two_as_new_records_the_later_in_the_list_counts(dates: tuple[str | None, str | None]) -> None:
    """There is no better sign; a record without a date is older than any with one."""
    connectors = [{"connector_identifier": "A", "name": str(i), "updated_at": date} for i, date in enumerate(dates)]
    assert read({"count": 2, "connectors": connectors}).connectors["A"]["name"] == "1"


def test_a_configuration_is_stored_as_sorted_json_with_its_hash() -> None:
    """One column of text whatever the definition's shape, and a hash that says whether two are the same."""
    definition = {"b": [1, {"z": None, "a": "ä"}], "a": 1.5}
    given_ = configured(configuration_json=definition, version="1.0.0", updated_at="2026-04-06")
    assert read_configuration(given_) == {
        "configuration_json": '{"a":1.5,"b":[1,{"a":"ä","z":null}]}',
        "content_hash": "f547637840dea05886c562dac7d8746cf86488e118200a6530b0875ba7713249",
        "version": "1.0.0",
        "updated_at": datetime(2026, 4, 6, tzinfo=timezone.utc),
    }


@pytest.mark.parametrize("include_configs", [True, False])
def test_a_null_configuration_is_none(include_configs: bool) -> None:
    """The API may send null or leave it out, which means the same."""
    null = {"connector_identifier": "A", "configuration": None}
    listing = read({"count": 1, "connectors": [null]}, include_configs=include_configs)
    assert (listing.connectors, listing.configurations) == ({"A": {"connector_identifier": "A"}}, {})


def test_a_configuration_nobody_asked_for_is_left() -> None:
    """With include_configs off nothing about configurations is known, whatever the API sends."""
    listing = read({"count": 1, "connectors": [configured()]}, include_configs=False)
    assert (listing.connectors, listing.configurations) == ({"A": {"connector_identifier": "A"}}, {})


@given(st.dictionaries(st.text("abc_", min_size=1).map("x{}".format), json_values))
def test_fields_the_api_adds_pass_through(added: dict[str, Any]) -> None:
    """An API that grows must not break the load, and what is new is not lost."""
    assert read_one({"connector_identifier": "A", **added}) == {"connector_identifier": "A", **added}
    configuration = read_configuration(configured(**added))
    assert {name: configuration[name] for name in added} == added


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ([], "Expected a JSON object with count and connectors, a list arrived."),
        ("text", "Expected a JSON object with count and connectors, a string arrived."),
        ({"error": {}}, "Expected a list in `connectors`, nothing arrived."),
        ({"count": 1, "connectors": {}}, "Expected a list in `connectors`, an object arrived."),
        ({"connectors": []}, "Expected an integer ≥ 0 in `count`, nothing arrived."),
        ({"count": "1", "connectors": []}, "Expected an integer ≥ 0 in `count`, a string arrived."),
        ({"count": -1, "connectors": []}, "Expected an integer ≥ 0 in `count`, a number arrived."),
        ({"count": True, "connectors": []}, "Expected an integer ≥ 0 in `count`, a boolean arrived."),
    ],
)
def test_an_answer_of_another_shape_is_refused(payload: object, message: str) -> None:
    """Nothing of it can be trusted, least of all what it lacks."""
    assert refusal(payload).message + "." == message


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
            {"connector_identifier": 5},
            "Expected a non-empty string in connectors[1].connector_identifier, a number arrived",
        ),
        (
            {"connector_identifier": "A" * 41, "name": 5},
            f"Expected a string in connectors[1] ('{'A' * 40}…').name, a number arrived",
        ),
        (
            {"connector_identifier": "A", "logo_url": {}},
            "Expected a string in connectors[1] ('A').logo_url, an object arrived",
        ),
        (
            {"connector_identifier": "A", "updated_at": "soon"},
            TIMESTAMP_EXPECTED + "connectors[1] ('A').updated_at, 'soon' arrived",
        ),
        (
            {"connector_identifier": "A", "created_at": 1735689600},
            TIMESTAMP_EXPECTED + "connectors[1] ('A').created_at, a number arrived",
        ),
        (
            {"connector_identifier": "A", "configuration": []},
            "Expected an object in connectors[1] ('A').configuration, a list arrived",
        ),
        (
            {"connector_identifier": "A", "configuration": {}},
            "Expected an object in connectors[1] ('A').configuration.configuration_json, nothing arrived",
        ),
        (configured(version=1), "Expected a string in connectors[1] ('A').configuration.version, a number arrived"),
        (
            configured(updated_at="2025-02-30"),
            TIMESTAMP_EXPECTED + "connectors[1] ('A').configuration.updated_at, '2025-02-30' arrived",
        ),
        (
            {"connector_identifier": "A", "owner": 1, "Owner": 2},
            "The fields 'owner' and 'Owner' would share the column 'owner'",
        ),
        (configured(Version="1"), "The fields 'Version' and 'version' would share the column 'version'"),
    ],
)
def test_a_record_that_is_none_is_named(connector: object, message: str) -> None:
    """Among a thousand records the reader must find the one, by place and identifier."""
    error = refusal({"count": 2, "connectors": [{"connector_identifier": "FIRST"}, connector]})
    assert error.message == message


def test_a_refusal_tells_all_a_support_case_needs() -> None:
    """The exact text, an interface for whoever reads the logs."""
    error = refusal({"count": 1, "connectors": [{"name": "nameless"}]})
    assert (error.team_id, error.status_code, error.request_id) == (936506, 200, "request-0001")
    assert str(error) == (
        "HTTP 200 for team 936506: Expected a non-empty string in connectors[0].connector_identifier, nothing arrived. "
        "Nothing of this team was loaded or removed. Report it to Supermetrics support with the request id. "
        "(request_id=request-0001)"
    )


OWN_NAMES = [*sorted(OWN_COLUMNS), "_Deleted", "Team_Id", "_dlt_id", "_dlt_valid_to", "_Dlt_Valid_From", "_dlt_other"]


@pytest.mark.parametrize("name", [each for each in OWN_NAMES if each != "connector_identifier"])
def test_a_field_cannot_pose_as_one_of_the_tables_own(name: str) -> None:
    """`_deleted: true` from outside would delete a connector, `_dlt_valid_to` end a version; what it says is kept."""
    value = 936506 if name.lower() == "team_id" else True
    assert read_one({"connector_identifier": "A", name: value}) == {
        "connector_identifier": "A",
        f"api_{name.lower().lstrip('_')}": value,
    }


@pytest.mark.parametrize("name", [each for each in OWN_NAMES if each != "configuration_json"])
def test_a_configurations_field_cannot_pose_as_one_of_the_tables_own(name: str) -> None:
    """Nor stand in for the hash that is computed here."""
    written = read_configuration(configured(**{name: "x"}))
    assert written[f"api_{name.lower().lstrip('_')}"] == "x"
    assert written["content_hash"] == read_configuration(configured())["content_hash"]


def test_a_field_with_the_other_name_too_is_one_too_many() -> None:
    """Two fields of one column cannot both be kept, and neither may vanish."""
    error = refusal({"count": 1, "connectors": [{"connector_identifier": "A", "_deleted": 1, "api_deleted": 2}]})
    assert error.message == "The fields 'api_deleted' and '_deleted' would share the column 'api_deleted'"


@pytest.mark.parametrize("team_id", [936506, "936506", None])
def test_an_answer_may_say_that_it_is_this_teams(team_id: object) -> None:
    """It does not today; should it do so later, that is no surprise."""
    listing = read({"count": 1, "team_id": team_id, "connectors": [{"connector_identifier": "A", "team_id": team_id}]})
    assert listing.connectors["A"] == {"connector_identifier": "A", "api_team_id": team_id}


@pytest.mark.parametrize("team_id", [936507, "1", 0, "Marketing"])
@pytest.mark.parametrize("place", ["the answer", "connectors[0]", "connectors[1]", "connectors[2]"])
def test_an_answer_that_names_another_team_is_not_taken_for_this_ones(place: str, team_id: object) -> None:
    """A proxy that mixes two requests up must not give a team the connectors of another."""
    of_team = {"team_id": team_id}
    records: list[dict[str, Any]] = [{"connector_identifier": name} for name in "ABC"]
    payload: dict[str, Any] = {"count": 3, "connectors": records}
    (payload if place == "the answer" else records[int(place[-2])]).update(of_team)
    assert refusal(payload).message == f"Expected {place} to be of team 936506, its `team_id` names another"


# --- numbers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("12345678901234567890123", "12345678901234567890124"),
        ("18446744073709551616", "18446744073709551617"),
        ("-9223372036854775809", "-9223372036854775810"),
        ("1" + "0" * 300, "1" + "0" * 299 + "1"),
        ("0.1", "0.10000000000000000001"),
        ("9007199254740993.0", "9007199254740992.0"),
        ("9007199254740993", "9007199254740993.0"),
        ("1.2345678e-320", "1.2345679e-320"),
        ("1", "1.0"),
    ],
)
def test_two_definitions_that_differ_in_a_digit_differ_in_their_hash(one: str, other: str) -> None:
    """Or an edit of it would be no new version; and what is stored is what was sent."""
    texts, hashes = [], []
    for number in (one, other):
        definition = parse_json(f'{{"limit": {number}}}')
        configuration = read_configuration(configured(configuration_json=definition))
        texts.append(configuration["configuration_json"])
        hashes.append(configuration["content_hash"])
    assert [text.lower() for text in texts] == [f'{{"limit":{number}}}' for number in (one, other)]
    assert hashes[0] != hashes[1]


def test_redaction_loses_no_digit() -> None:
    """A definition with a secret is read and written once more."""
    definition = {"limit": 12345678901234567890123, "client_secret": "hunter2hunter2"}
    configuration = read_configuration(configured(configuration_json=definition))
    assert configuration["configuration_json"] == '{"client_secret":"[redacted]","limit":12345678901234567890123}'


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
    """It is the one JSON that can be read but not written, and must fail as a typed error, not in the middle."""
    error = refusal({"count": 1, "connectors": [connector]})
    assert error.message == f"connectors[0] ('A').{place} is nested too deep to be written as JSON"


def test_json_nested_to_the_limit_is_stored() -> None:
    """Only what really cannot be written is refused: 254 levels, of which the record is one."""
    given_ = {**configured(configuration_json=_nested(253)), "added": _nested(253)}
    assert read_configuration(given_)["configuration_json"].count("{") == 253
    assert connector_hash(read_one(given_))


def test_a_field_that_cannot_be_a_column_is_named() -> None:
    """Cut short where it is long: a message is read by a person."""

    def refuse(name: str) -> str:
        raise ValueError(name)

    for length, shown in {40: "x" * 40, 41: "x" * 40 + "…"}.items():
        payload = {"count": 1, "connectors": [{"connector_identifier": "A", "x" * length: 1}]}
        with pytest.raises(SupermetricsContractError, match=f"The field '{shown}' cannot be made the name of a column"):
            read_listing(
                1,
                Answer(payload, 200, None, None, 1),
                started_at=NOW,
                duration_ms=1,
                include_configs=True,
                column_name=refuse,
            )


# --- secrets ----------------------------------------------------------------------------------------------------------


def test_secrets_are_replaced_in_definitions_and_in_what_the_api_has_added() -> None:
    """And told by connector, unless that was not asked for."""
    one, two, three = ({"password": "hunter2hunter2"} for _ in range(3))
    connectors = [
        {"connector_identifier": "A", "configuration": {"configuration_json": one, "more": two}},
        {"connector_identifier": "B", "configuration": {"configuration_json": {}, "more": {"more": three}}},
        {"connector_identifier": "C", "configuration": {"configuration_json": {"a": 1}, "more": 1}},
        {"connector_identifier": "D"},
    ]
    payload = {"count": 4, "connectors": connectors}
    listing = read(payload)
    assert listing.redacted == {
        "A": ["$.password", "configuration.more.password"],
        "B": ["configuration.more.more.password"],
    }
    assert listing.configurations["A"]["configuration_json"] == '{"password":"[redacted]"}'
    assert listing.configurations["A"]["more"] == {"password": "[redacted]"}
    assert listing.configurations["C"]["configuration_json"] == '{"a":1}'
    assert read(payload, include_configs=False).redacted is None


# --- what a database cannot hold --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        {"name": "a\0b"},
        {"added": "\0"},
        {"added": [1, ["\0"]]},
        {"added": {"deep": [{"x": "\0"}]}},
        {"na\0me": 1},
        {"added": {"\0": 1}},
        {"configuration": {"configuration_json": {"a": [{"b\0": None}]}}},
    ],
)
def test_a_nul_character_is_refused_wherever_it_stands(value: dict[str, Any]) -> None:
    """In keys as well as in values: PostgreSQL takes neither, and tables must not depend on where they are."""
    fine = {"connector_identifier": "B", "name": "\\u0000", "added": [{"x": ["y"]}]}
    payload = {"count": 2, "connectors": [fine, {"connector_identifier": "A", **value}]}
    with pytest.raises(SupermetricsContractError, match=r"a database can hold in connectors\[1\], a NUL character"):
        read(payload, may_have_nul=True)
    read({"count": 1, "connectors": [fine]}, may_have_nul=True)


def test_a_team_may_have_no_connectors() -> None:
    """Which is a complete listing, and empties what there was."""
    listing = read({"count": 0, "connectors": []})
    assert (listing.connectors, listing.complete, listing.received) == ({}, True, 0)
