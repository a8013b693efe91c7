"""A team's listing and what is remembered of it make the rows of the three tables."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from sources.supermetrics_connectors.exceptions import SupermetricsForbiddenError
from sources.supermetrics_connectors.listing import Listing
from sources.supermetrics_connectors.strategies import TableName
from sources.supermetrics_connectors.sync import TeamSync, compare

NOW = datetime(2026, 4, 6, 10, 59, 4, tzinfo=timezone.utc)


def connector(identifier: str, content: str | None = None, **fields: Any) -> dict[str, Any]:
    """A connector as a listing holds it; with content, it has a configuration."""
    record = {"connector_identifier": identifier, "updated_at": NOW, **fields}
    if content is not None:
        record["configuration"] = {"version": "1", "configuration_json": content, "content_hash": content}
    return record


def listing(*connectors: dict[str, Any], configurations: bool = True, missing: int = 0) -> Listing:
    """A listing of team 7, as many connectors short as said."""
    return Listing(
        7,
        NOW,
        12,
        connectors={record["connector_identifier"]: record for record in connectors},
        reported=len(connectors) + missing,
        received=len(connectors),
        status_code=200,
        request_id="request-0001",
        rate_limit_remaining=4999,
        has_configurations=configurations,
    )


def after(*listings: Listing, full_refresh: bool = False) -> TeamSync:
    """The last of several runs, each remembering the one before; only that one may be a full refresh."""
    *earlier, last = listings
    memory: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
    for each in earlier:
        sync = compare(each, *memory)
        memory = {"7": sync.connectors.fingerprints}, {"7": sync.configurations.fingerprints}
    return compare(last, *memory, full_refresh)


def written(sync: TeamSync) -> tuple[list[str], list[str]]:
    """Identifiers of the rows for `connectors`, and of those for `connector_configurations`; deletions with a minus."""
    connectors = [("-" if row.get("_deleted") else "") + row["connector_identifier"] for row in sync.connector_rows()]
    versions = [
        ("" if row.get("content_hash") else "-") + row["connector_identifier"] for row in sync.configuration_rows()
    ]
    return connectors, versions


FIRST = listing(connector("A", "a"), connector("B", "b"), connector("C"))


def test_an_empty_table_has_no_rows_to_make_way() -> None:
    """Of a team that is not remembered any row may be there, but not in a table without one."""
    tables: list[TableName] = ["connectors", "connector_configurations"]
    sync = compare(FIRST, {}, {}, empty=frozenset(tables))
    assert written(sync) == (["A", "B", "C"], ["A", "B"])
    assert written(compare(FIRST, {}, {}, empty=frozenset(tables[:1]))) == (["A", "B", "C"], ["A", "B", "-"])
    assert written(compare(FIRST, {}, {})) == (["A", "B", "C", "-"], ["A", "B", "-"])
    assert sync.connectors.fingerprints == after(FIRST).connectors.fingerprints
    assert sync.changes == after(FIRST).changes


@pytest.mark.parametrize(
    ("then", "connectors", "configurations"),
    [
        (FIRST, [], []),
        (listing(connector("C"), connector("B", "b"), connector("A", "a")), [], []),
        (listing(connector("A", "a", name="n"), connector("B", "b"), connector("C")), ["A"], []),
        (listing(connector("A", "x"), connector("B", "b"), connector("C")), [], ["A"]),
        (listing(connector("A", "a"), connector("B", "b"), connector("C", "c")), [], ["C"]),
        (listing(connector("A", "a"), connector("B"), connector("C")), [], ["-B"]),
        (listing(connector("B", "b"), connector("C")), ["-A"], ["-A"]),
        (listing(connector("B", "b"), connector("C"), missing=1), [], []),
        (listing(connector("A"), connector("B", "b"), connector("D", "d"), missing=1), ["D"], ["D"]),
        (listing(), ["-A", "-B", "-C"], ["-A", "-B"]),
        (listing(connector("A"), connector("B"), connector("C"), configurations=False), [], []),
        (listing(connector("B"), connector("C"), connector("D"), configurations=False), ["D", "-A"], ["-A"]),
        (listing(configurations=False), ["-A", "-B", "-C"], ["-A", "-B"]),
        (listing(connector("B"), configurations=False, missing=1), [], []),
    ],
)
def test_the_second_run_writes_what_has_changed(
    then: Listing, connectors: list[str], configurations: list[str]
) -> None:
    """Edits, additions, removals, short listings and runs without configurations, each alone."""
    assert written(after(FIRST, then)) == (connectors, configurations)


def test_configurations_asked_for_later_are_all_new() -> None:
    """What is known of the connectors says nothing about their configurations."""
    without = listing(connector("A"), connector("B"), configurations=False)
    assert written(after(without, listing(connector("A", "a"), connector("B", "b")))) == ([], ["A", "B", "-"])


def test_a_team_of_which_nothing_is_remembered_replaces_all_its_rows() -> None:
    """Another pipeline, or a load that was interrupted, may have left some: connectors that are gone since."""
    assert written(after(FIRST)) == (["A", "B", "C", "-"], ["A", "B", "-"])
    assert written(after(listing(connector("A", "a"), missing=1))) == (["A"], ["A"])


def test_runs_without_configurations_forget_none() -> None:
    """Or the next run with them would write every version again."""
    without = listing(connector("A"), connector("B"), connector("C"), configurations=False)
    assert written(after(FIRST, without, FIRST)) == ([], [])
    edited = listing(connector("A", "x"), connector("B", "b"), connector("C"))
    assert written(after(FIRST, without, edited)) == ([], ["A"])


@pytest.mark.parametrize(
    ("then", "connectors", "configurations"),
    [
        (listing(connector("A", "a")), ["A", "-"], ["A", "-"]),
        (listing(), ["-"], ["-"]),
        (listing(connector("A", "a"), missing=1), ["A"], ["A"]),
        (listing(connector("A"), configurations=False), ["A", "-"], ["-B"]),
    ],
)
def test_a_full_refresh_replaces_the_whole_team(
    then: Listing, connectors: list[str], configurations: list[str]
) -> None:
    """The identifier "" stands for all else of the team; an incomplete listing gives no right to that."""
    assert written(after(FIRST, then, full_refresh=True)) == (connectors, configurations)


def test_rows_carry_their_key_and_not_the_configuration() -> None:
    """The configuration has a table of its own."""
    sync = after(listing(), listing(connector("A", "a", added=1)))
    assert list(sync.connector_rows()) == [
        {"team_id": 7, "connector_identifier": "A", "updated_at": NOW, "added": 1},
    ]
    (row,) = sync.configuration_rows()
    assert {**row, "_dlt_id": None} == {
        "team_id": 7,
        "connector_identifier": "A",
        "_dlt_id": None,
        "version": "1",
        "configuration_json": "a",
        "content_hash": "a",
    }


def test_a_row_s_key_is_ours_whatever_the_record_says() -> None:
    """A record that names another team must not be written into it."""
    sync = after(listing(connector("A", team_id=8)))
    assert next(sync.connector_rows())["team_id"] == 7


def test_the_summary_counts_what_was_done() -> None:
    """`team_syncs` answers what happened, for an auditor who has only the warehouse."""
    sync = after(FIRST, listing(connector("A", "x", name="n"), connector("B", "b")))
    assert sync.summary_row() == {
        "team_id": 7,
        "started_at": NOW,
        "status": "ok",
        "duration_ms": 12,
        "request_id": "request-0001",
        "http_status": 200,
        "error_code": None,
        "error_message": None,
        "connectors_reported": 2,
        "connectors_received": 2,
        "connectors_changed": 1,
        "connectors_removed": 1,
        "configurations_changed": 1,
        "rate_limit_remaining": 4999,
        "secrets_redacted": None,
        "redacted_paths": None,
    }


def test_the_summary_tells_an_incomplete_listing() -> None:
    """Both numbers are there, and a status to alert on."""
    summary = after(listing(connector("A"), missing=2, configurations=False)).summary_row()
    assert (summary["status"], summary["connectors_reported"], summary["connectors_received"]) == ("incomplete", 3, 1)
    assert summary["configurations_changed"] is None


def test_the_summary_of_a_failed_team_says_why() -> None:
    """A row with the request id, and no numbers that nobody knows."""
    error = SupermetricsForbiddenError("No.", team_id=7, status_code=403, code="FORBIDDEN", request_id="request-0001")
    failed = Listing(7, NOW, 12, status_code=403, request_id="request-0001", error=error)
    sync = after(FIRST, failed)
    assert written(sync) == ([], [])
    assert (sync.connectors.fingerprints, sync.configurations.fingerprints) == (
        after(FIRST).connectors.fingerprints,
        after(FIRST).configurations.fingerprints,
    )
    assert {name: value for name, value in sync.summary_row().items() if value is not None} == {
        "team_id": 7,
        "started_at": NOW,
        "status": "failed",
        "duration_ms": 12,
        "request_id": "request-0001",
        "http_status": 403,
        "error_code": "FORBIDDEN",
        "error_message": str(error),
    }
