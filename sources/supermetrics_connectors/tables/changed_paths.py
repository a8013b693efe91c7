"""Where a new version of a configuration differs from the version that it replaces."""

from collections.abc import Iterable, Mapping
from typing import Any

from ..api.fetch import BATCH_BYTES
from ..documents.json_paths import compare_json, render
from ..documents.json_text import canonical_json
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
    for stored in _stored_versions(batch, replaced):
        if key := replaced.get(stored["version_id"]):
            compared.add(key)
            if row := written.get(key):
                row.update(changed_paths(stored["configuration_json"], row["configuration_json"]))
    for key in _keys_without_configuration(batch.run, written.keys() - compared):
        written[key].update(_WHOLE_DOCUMENT)
    return rows


def changed_paths(before: Any, after: Any) -> dict[str, str]:
    """The path columns of a version.

    Args:
        before: The replaced document, as text or parsed.
        after: The new document, as text or parsed.
    """
    found: dict[str, list[str]] = {"paths_added": [], "paths_removed": [], "paths_changed": []}
    for change in compare_json(parse_document(before), parse_document(after)):
        found[f"paths_{change.kind}"].append(render(change.path))
    return {column: canonical_json(paths).decode() for column, paths in found.items()}


def _stored_versions(batch: ListingBatch, replaced: Mapping[str, ConnectorKey]) -> Iterable[Record]:
    """The stored versions with these ids.

    Where they are most of their teams' versions and small enough, all versions of the teams are read at once: DuckDB
    1.x takes 0.2 ms to look up an id, and a database without an index reads the whole table for each query.
    """
    teams = sorted({team_id for team_id, _ in replaced.values()})
    are_most = 2 * len(replaced) > batch.run.stored(CONNECTOR_CONFIGURATIONS).count(teams)
    are_small = sum(team.listing.size for team in batch.teams) <= 2 * BATCH_BYTES
    among = None if are_most and are_small else ("version_id", list(replaced))
    return batch.run.rows(CONNECTOR_CONFIGURATIONS, ["version_id", "configuration_json"], teams, among)


def _keys_without_configuration(run: Run, keys: Iterable[ConnectorKey]) -> set[ConnectorKey]:
    """The connectors that an earlier listing with configurations contained without one."""
    stored = {key for key in keys if key[1] in run.stored(CONNECTORS).of(key[0]).contents}
    if not stored:
        return set()
    teams = sorted({team_id for team_id, _ in stored})
    incomplete = {
        (sync["team_id"], to_utc(sync["started_at"]))
        for sync in run.corrected_syncs or ()
        if sync["status"] == "failed"
    }
    examined_at: dict[int, Any] = {}
    for sync in run.rows(TEAM_SYNCS, ["team_id", "started_at", "status", "configurations_changed"], teams):
        at = to_utc(sync["started_at"]) or EARLIEST
        is_complete = sync["status"] != "failed" and (sync["team_id"], at) not in incomplete
        if sync["configurations_changed"] is not None and is_complete:
            examined_at[sync["team_id"]] = max(examined_at.get(sync["team_id"], at), at)
    return {
        key
        for row in run.rows(CONNECTOR_VERSIONS, ["team_id", "connector_identifier", VALID_FROM], teams)
        if (key := connector_key(row)) in stored
        and key[0] in examined_at
        and (to_utc(row[VALID_FROM]) or EARLIEST) <= examined_at[key[0]]
    }
