"""What each table is in each way of writing: columns, keys and dispositions, as dlt is told them."""

from __future__ import annotations

import copy
from datetime import datetime, timezone
from typing import Any

import pytest

from supermetrics_connectors.tables.contracts import CONTRACTS, TIMESTAMP, TableName
from supermetrics_connectors.tables.strategies import Strategy, Way

AT = datetime(2026, 4, 6, tzinfo=timezone.utc)
KEY = ("team_id", "connector_identifier")
SCD2 = {
    "disposition": "merge",
    "strategy": "scd2",
    "row_version_column_name": "_dlt_id",
    "source_filter": "content_hash IS NOT NULL",
    "destination_scope": "_dlt_id IN (SELECT _dlt_id FROM {staging_table})",
    "boundary_timestamp": AT,
}
DELETE_INSERT = {"disposition": "merge", "strategy": "delete-insert"}
UPSERT = {"disposition": "merge", "strategy": "upsert"}
ADDED: dict[tuple[str, Way], list[str]] = {
    ("current", "mirror"): ["_deleted"],
    ("current", "append"): ["_deleted"],
    ("current", "versions"): ["_deleted"],
    ("current", "snapshots"): ["snapshot_at"],
    ("history", "mirror"): [],
    ("history", "append"): ["_dlt_valid_from", "_dlt_valid_to"],
    ("history", "versions"): ["_dlt_valid_from", "_dlt_valid_to"],
    ("history", "snapshots"): ["snapshot_at"],
    ("log", "mirror"): [],
    ("log", "append"): [],
    ("log", "versions"): [],
    ("log", "snapshots"): [],
}
"""Columns besides those of the contract, by kind of table and way."""
LOG_KEY = ("team_id", "started_at")
DISPOSITIONS: dict[tuple[str, Way], dict[str, Any]] = {
    ("current", "mirror"): {"write_disposition": DELETE_INSERT, "primary_key": KEY},
    ("current", "append"): {"write_disposition": "append", "primary_key": KEY},
    ("current", "versions"): {"write_disposition": UPSERT, "primary_key": KEY},
    ("current", "snapshots"): {"write_disposition": "append", "primary_key": ""},
    ("history", "mirror"): {"write_disposition": SCD2},
    ("history", "append"): {"write_disposition": "append"},
    ("history", "versions"): {"write_disposition": UPSERT, "primary_key": ("_dlt_id", "_dlt_valid_from")},
    ("history", "snapshots"): {"write_disposition": "append", "primary_key": ""},
    ("log", "mirror"): {"write_disposition": DELETE_INSERT, "primary_key": LOG_KEY},
    ("log", "append"): {"write_disposition": "append", "primary_key": LOG_KEY},
    ("log", "versions"): {"write_disposition": UPSERT, "primary_key": LOG_KEY},
    ("log", "snapshots"): {"write_disposition": "append", "primary_key": ""},
}
KINDS: dict[TableName, str] = {
    "connectors": "current",
    "connector_versions": "history",
    "connector_configurations": "history",
    "team_syncs": "log",
    "teams": "current",
    "connector_logs": "log",
    "connector_secrets": "current",
    "fetches": "current",
}
KEYS: dict[TableName, tuple[str, ...]] = {
    "teams": ("team_id",),
    "connector_logs": (*KEY, "id"),
    "connector_secrets": (*KEY, "secret_placeholder"),
    "fetches": (*KEY, "endpoint"),
}
"""Those of tables that share the way in which they are written with another one, and not its key."""
WAYS: tuple[Way, ...] = ("mirror", "append", "versions", "snapshots")
JSON = {"configuration_json", "paths_added", "paths_removed", "paths_changed", "redacted_paths"}
REQUIRED = {
    *("team_id", "connector_identifier", "_dlt_id", "started_at", "status", "snapshot_at", "_dlt_valid_from"),
    *("id", "log_time", "secret_placeholder", "endpoint"),
}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("way", WAYS)
def test_a_table_has_its_columns_and_those_that_steer_how_it_is_written(name: TableName, way: Way) -> None:
    """Types and nullability too; times are instants, and a key is never null."""
    contract = CONTRACTS[name]
    schema = contract.schema(way)
    assert schema.names == [column.name for column in contract.columns] + ADDED[KINDS[name], way]
    always = REQUIRED - ({"status"} if name != "team_syncs" else set())
    assert {field.name for field in schema if not field.nullable} == always & set(schema.names)
    instants = {field.name for field in schema if field.type == TIMESTAMP}
    assert instants == {each for each in schema.names if each.endswith(("_at", "_from", "_to", "_time"))}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("way", WAYS)
def test_dlt_is_told_how_to_write_a_table(name: TableName, way: Way) -> None:
    """Disposition and key by kind and way; formats, JSON and descriptions in any."""
    contract = CONTRACTS[name]
    hints = copy.deepcopy(contract.hints(Strategy(way, "parquet", "", json_type="text"), AT))
    columns, table = hints.pop("columns"), hints.pop("additional_table_hints")
    told = DISPOSITIONS[KINDS[name], way]
    key = {"primary_key": KEYS[name]} if name in KEYS and told["primary_key"] else {}
    assert hints == {**told, **key, "file_format": "parquet"}
    assert table == {"description": contract.about}
    assert list(columns) == contract.schema(way).names
    for column in contract.columns:
        assert columns[column.name] == {
            "description": column.about,
            **({"data_type": "text"} if column.name in JSON else {}),
        }
    if "_deleted" in columns:
        assert ("hard_delete" in columns["_deleted"]) == (way != "append")
        assert columns["_deleted"].get("hard_delete", True) is True


def test_a_format_of_tables_is_told_where_there_is_one() -> None:
    """And rows that are written where nothing can be mirrored, to tell of a failure, are appended."""
    contract = CONTRACTS["team_syncs"]
    assert contract.hints(Strategy("versions", None, "", table_format="delta"), AT)["table_format"] == "delta"
    assert contract.hints(Strategy(None, None, ""), AT)["write_disposition"] == "append"


def test_what_is_compared_has_a_column_for_it() -> None:
    """The content of a row is its hash, of a version what identifies it; of an event nothing."""
    assert {name: contract.content for name, contract in CONTRACTS.items()} == {
        "connectors": "content_hash",
        "connector_versions": "_dlt_id",
        "connector_configurations": "_dlt_id",
        "team_syncs": "",
        **dict.fromkeys(("teams", "connector_logs", "connector_secrets", "fetches"), ""),
    }
    assert {name: contract.kind for name, contract in CONTRACTS.items()} == KINDS


def test_a_contract_cannot_be_changed_by_who_reads_it() -> None:
    """It is shared by every run of a process."""
    contract = CONTRACTS["connectors"]
    with pytest.raises(AttributeError):
        contract.key = ()  # type: ignore[misc]  # that is what is tried
    with pytest.raises(AttributeError):
        contract.columns[0].required = False  # type: ignore[misc]  # what is tried
