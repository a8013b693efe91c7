"""What every table is: columns, keys and content, as Arrow and dlt receive them."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from supermetrics_connectors.specs import (
    COMPARED_TABLES,
    CONNECTORS,
    RESERVED_COLUMNS,
    TABLES,
    TEAM_SYNCS,
    TIMESTAMP,
    TableSpec,
)
from supermetrics_connectors.tables.destinations.modes import APPEND, MIRROR, SNAPSHOT, UPSERT, WriteMode
from supermetrics_connectors.tables.destinations.strategy import MODE_HINT, DestinationStrategy

AT = datetime(2026, 4, 6, tzinfo=timezone.utc)
MODES = (MIRROR, UPSERT, SNAPSHOT, APPEND)


def hints_of(spec: TableSpec, mode: WriteMode) -> dict[str, Any]:
    """The hints of a table at a destination whose JSON is text."""
    return DestinationStrategy(mode, json_type="text").hints(spec, mode, AT)


@pytest.mark.parametrize("spec", TABLES.values(), ids=lambda spec: spec.name)
@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
def test_columns_of_a_table(spec: TableSpec, mode: WriteMode) -> None:
    """Keys are never null, for which dlt would warn in every run; times are instants; names are unique."""
    columns = [*spec.columns, *mode.steering_columns(spec)]
    names = [column.name for column in columns]
    assert len(set(names)) == len(names)
    assert {*spec.key} <= {column.name for column in columns if not column.arrow_field.nullable}
    times = {column.name for column in columns if column.type == TIMESTAMP}
    assert times == {name for name in names if name.endswith(("_at", "_from", "_to", "_time"))}
    assert spec.content_column in ("", *names)
    hints = hints_of(spec, mode)["columns"]
    assert list(hints) == names
    assert {name for name, hint in hints.items() if hint.get("data_type") == "text"} == {
        column.name for column in columns if column.is_json
    }


@pytest.mark.parametrize("spec", TABLES.values(), ids=lambda spec: spec.name)
def test_rows_of_a_key_replace_each_other(spec: TableSpec) -> None:
    """By the key of the table, or of a version; snapshots and new keys are appended."""
    versions = ("version_id", "_dlt_valid_from")
    for mode in (MIRROR, UPSERT):
        hints = hints_of(spec, mode)
        assert hints["write_disposition"]["disposition"] == hints["additional_table_hints"][MODE_HINT] == "merge"
        is_scd2 = hints["write_disposition"]["strategy"] == "scd2"
        assert is_scd2 == (mode is MIRROR and spec.kind == "history")
        if not is_scd2:
            assert hints["primary_key"] == (versions if spec.kind == "history" else spec.key)
    for appending in (SNAPSHOT, APPEND):
        hints = hints_of(spec, appending)
        assert hints["write_disposition"] == hints["additional_table_hints"][MODE_HINT] == "append"


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
def test_only_a_merge_deletes(mode: WriteMode) -> None:
    """Appended rows are kept for every value of `_deleted`, and SCD2 ends only staged versions."""
    deleted = hints_of(CONNECTORS, mode)["columns"].get("_deleted", {})
    assert deleted.get("hard_delete", False) is (mode in (MIRROR, UPSERT))
    for spec in COMPARED_TABLES[1:]:
        disposition = hints_of(spec, mode)["write_disposition"]
        if mode is MIRROR:
            assert disposition["boundary_timestamp"] == AT
            assert "{staging_table}" in disposition["destination_scope"]


def test_a_table_format_of_the_destination_is_a_hint() -> None:
    """Delta tables of dlt's filesystem destination."""
    strategy = DestinationStrategy(UPSERT, table_format="delta", file_format=None)
    assert strategy.hints(TEAM_SYNCS, UPSERT, AT)["table_format"] == "delta"
    assert "table_format" not in hints_of(TEAM_SYNCS, UPSERT)


def test_names_of_our_own_are_reserved_and_names_of_the_api_are_not() -> None:
    """A field that the API adds under a reserved name gets another column."""
    assert {"team_id", "version_id", "content_hash", "_deleted", "snapshot_at", "paths_added"} <= RESERVED_COLUMNS
    fields = {name for spec in COMPARED_TABLES for name in spec.api_fields}
    assert RESERVED_COLUMNS & fields == {"connector_identifier"}, "a field of connectors, and of no configuration"


def test_a_full_refresh_compares_every_column_that_the_listing_determines() -> None:
    """Edits by hand are undone; a configuration's clocks and our own columns are not edits."""
    verified = {spec.name: set(spec.verified_columns) for spec in COMPARED_TABLES}
    connector = {"name", "description", "logo_url", "created_at", "updated_at", "content_hash"}
    assert verified["connectors"] == verified["connector_versions"] == connector
    assert verified["connector_configurations"] == {"version", "configuration_json", "content_hash"}
