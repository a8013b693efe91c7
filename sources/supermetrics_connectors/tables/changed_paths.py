"""Where a new version of a configuration differs from the version that it replaces."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from ..api.fetch import BATCH_BYTES
from ..documents.json_paths import compare_json, is_same_json, render
from ..documents.json_text import canonical_json, parse_json
from ..records import EARLIEST, ConnectorKey, Record, connector_key, to_utc
from ..specs import CONNECTOR_CONFIGURATIONS, CONNECTOR_VERSIONS, CONNECTORS, TEAM_SYNCS, VALID_FROM
from .rows import ListingBatch, ended_version_rows, parse_document
from .run import Run

_WHOLE_DOCUMENT = {"paths_added": '["$"]', "paths_removed": "[]", "paths_changed": "[]"}
"""The paths of a first configuration, where an earlier listing contained none for the connector."""


def with_changed_paths(batch: ListingBatch, rows: list[Record]) -> list[Record]:
    """Adds the path columns to new versions of configurations, where the replaced version is stored."""
    if not rows or not batch.run.is_compared:
        return rows
    replaced = {row["version_id"]: connector_key(row) for row in ended_version_rows(batch, CONNECTOR_CONFIGURATIONS)}
    written = {connector_key(row): row for row in rows}
    compared = set()
    others = _added_columns(batch.run, rows)
    for stored in _stored_versions(batch, replaced, others):
        if key := replaced.get(stored["version_id"]):
            compared.add(key)
            if row := written.get(key):
                row.update(changed_paths(stored, row, others))
    for key in _keys_without_configuration(batch.run, written.keys() - compared):
        written[key].update(_WHOLE_DOCUMENT)
    return rows


def changed_paths(before: Record, after: Record, others: Mapping[str, str]) -> dict[str, str]:
    """The path columns of a version.

    A field that the API sends beside the JSON has a path such as `configuration.status`. The name of the version has
    one only where nothing else changed, because most edits change it too.

    Args:
        before: The replaced version, as stored.
        after: The new version.
        others: The columns of fields that the API has added, with their dlt data types.
    """
    found: dict[str, list[str]] = {"paths_added": [], "paths_removed": [], "paths_changed": []}
    for change in compare_json(*(parse_document(record["configuration_json"]) for record in (before, after))):
        found[f"paths_{change.kind}"].append(render(change.path))
    fields = [_added_fields(record, others) for record in (before, after)]
    for change in () if is_same_json(*fields) else compare_json(*fields):
        found[f"paths_{change.kind}"].append(f"configuration{render(change.path)[1:]}")
    if not any(found.values()) and before["version"] != after.get("version"):
        found["paths_changed"].append("configuration.version")
    return {column: canonical_json(paths).decode() for column, paths in found.items()}


def _added_columns(run: Run, rows: Iterable[Record]) -> dict[str, str]:
    """The columns of fields that the API has added, with the types of those that exist at the destination."""
    stored = run.columns(CONNECTOR_CONFIGURATIONS)
    if not stored:  # the role may not see the columns: a query for one that does not exist would fail
        return {}
    declared = {column.name for column in CONNECTOR_CONFIGURATIONS.columns}
    names = {name for name in run.known_columns(CONNECTOR_CONFIGURATIONS) if name.lower() in stored}
    names |= {name for row in rows for name in row}
    return {
        name: stored.get(name.lower(), "")
        for name in sorted(names)
        if name not in declared and not name.startswith("_dlt")
    }


def _added_fields(record: Record, others: Mapping[str, str]) -> Record:
    """The fields of a record that the API has added, as every destination returns them; without nulls.

    SQLite and MySQL have no booleans, an added object is text or parsed, and a value of another type than its column's
    has a column of its own.
    """
    found = {}
    for name, type_ in others.items():
        if (value := record.get(name)) is None:
            continue
        if isinstance(value, bool):
            value = int(value)
        elif type_ == "text" and not isinstance(value, str):
            value = canonical_json(value).decode()
        if isinstance(value, str) and value.startswith(("{", "[", '"')):
            with suppress(ValueError):
                value = parse_json(value)
        found[name.partition("__v_")[0]] = value
    return found


def _stored_versions(
    batch: ListingBatch, replaced: Mapping[str, ConnectorKey], others: Iterable[str]
) -> Iterable[Record]:
    """The stored versions with these ids.

    Where they are most of their teams' versions and small enough, all versions of the teams are read at once: DuckDB
    1.x takes 0.2 ms to look up an id, and a database without an index reads the whole table for each query.
    """
    teams = sorted({team_id for team_id, _ in replaced.values()})
    are_most = 2 * len(replaced) > batch.run.stored(CONNECTOR_CONFIGURATIONS).count(teams)
    are_small = sum(team.listing.size for team in batch.teams) <= 2 * BATCH_BYTES
    among = None if are_most and are_small else ("version_id", list(replaced))
    columns = ["version_id", "version", "configuration_json", *others]
    return batch.run.rows(CONNECTOR_CONFIGURATIONS, columns, teams, among)


def _keys_without_configuration(run: Run, keys: Iterable[ConnectorKey]) -> set[ConnectorKey]:
    """The connectors that an earlier listing with configurations contained without one."""
    stored = {key for key in keys if key[1] in run.stored(CONNECTORS).of(key[0]).contents}
    if not stored:
        return set()
    teams = sorted({team_id for team_id, _ in stored})
    corrected = {(sync["team_id"], to_utc(sync["started_at"])): sync for sync in run.corrected_syncs or ()}
    examined_at: dict[int, Any] = {}
    for sync in run.rows(TEAM_SYNCS, ["team_id", "started_at", "status", "configurations_changed"], teams):
        team_id, at = sync["team_id"], to_utc(sync["started_at"]) or EARLIEST
        status = corrected.get((team_id, at), sync)["status"]
        if sync["configurations_changed"] is not None and status != "failed":
            examined_at[team_id] = max(examined_at.get(team_id, at), at)
    return {
        key
        for row in run.rows(CONNECTOR_VERSIONS, ["team_id", "connector_identifier", VALID_FROM], teams)
        if (key := connector_key(row)) in stored
        and key[0] in examined_at
        and (to_utc(row[VALID_FROM]) or EARLIEST) <= examined_at[key[0]]
    }
