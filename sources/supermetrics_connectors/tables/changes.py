"""What changed: told by the two histories, and for a configuration by the paths that its version has for itself.

`connector_changes` is one SELECT. So a change can be neither lost nor told twice by a load that broke off between two
tables: what the histories say of it is what is told.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from dlt.destinations.exceptions import DatabaseException

from ..api.checks import Record
from ..api.fetch import BATCH_BYTES
from ..api.listing import LONG_AGO
from .batch import WHOLE_DOCUMENT, Batch, Run, paths
from .contracts import CONNECTOR_CONFIGURATIONS, CONNECTOR_VERSIONS, CONNECTORS, TEAM_SYNCS, VALID_FROM
from .stored import as_instant
from .strategies import Strategy

logger = logging.getLogger(__name__)

CHANGES = "connector_changes"
COLUMNS = (
    "team_id",
    "connector_identifier",
    "change",
    "detected_at",
    "baseline",
    "name",
    "updated_at",
    "previous_updated_at",
    "paths_added",
    "paths_removed",
    "paths_changed",
)
"""What it selects, in order."""

Key = tuple[int, str]


def told_apart(batch: Batch, rows: list[Record]) -> list[Record]:
    """Versions of configurations with the paths at which they differ from the ones that they replace."""
    if not rows or not batch.run.compares:
        return rows
    replaced = {row["_dlt_id"]: _key(row) for row in batch.superseded_rows(CONNECTOR_CONFIGURATIONS)}
    written = {_key(row): row for row in rows}
    known = set()
    for stored in _stored(batch, replaced):
        if key := replaced.get(stored["_dlt_id"]):
            known.add(key)
            if row := written.get(key):
                row.update(paths(stored["configuration_json"], row))
    for key in _were_without(batch, written.keys() - known):
        written[key].update(WHOLE_DOCUMENT)
    return rows


def _stored(batch: Batch, replaced: Mapping[str, Key]) -> Iterable[Record]:
    """The stored versions with these `_dlt_id`s.

    Where they are most of their teams' and not too large to be read at once, the few others are read with them: to look
    up ids takes DuckDB 1.x 0.2 ms each, and whoever has no other index reads all that the teams have for each query.
    """
    teams = sorted({team_id for team_id, _ in replaced.values()})
    are_most = 2 * len(replaced) > batch.run.table(CONNECTOR_CONFIGURATIONS).count(teams)
    are_small = sum(listing.size for listing in batch.listings) <= 2 * BATCH_BYTES
    among = None if are_most and are_small else ("_dlt_id", list(replaced))
    return batch.run.reader.rows(CONNECTOR_CONFIGURATIONS, ["_dlt_id", "configuration_json"], teams, among)


def _were_without(batch: Batch, keys: Iterable[Key]) -> Iterable[Key]:
    """The connectors that are known to have had no configuration: they were listed when it was asked for."""
    before = {key for key in keys if key[1] in batch.run.table(CONNECTORS).of(key[0]).hashes}
    if not before:
        return before
    teams = sorted({team_id for team_id, _ in before})
    syncs = batch.run.reader.rows(TEAM_SYNCS, ["team_id", "started_at", "status", "configurations_changed"], teams)
    asked: dict[int, Any] = {}
    for sync in syncs:
        if sync["configurations_changed"] is not None and sync["status"] != "failed":
            at = as_instant(sync["started_at"]) or LONG_AGO
            asked[sync["team_id"]] = max(asked.get(sync["team_id"], at), at)
    return {key for key, seen in _versions(batch, teams) if key in before and key[0] in asked and seen <= asked[key[0]]}


def _versions(batch: Batch, teams: list[int]) -> Iterable[tuple[Key, Any]]:
    columns = ["team_id", "connector_identifier", VALID_FROM]
    for row in batch.run.reader.rows(CONNECTOR_VERSIONS, columns, teams):
        yield _key(row), as_instant(row[VALID_FROM]) or LONG_AGO


def _key(row: Record) -> Key:
    return row["team_id"], row["connector_identifier"]


def select(
    table: Callable[[str], str],
    name: Callable[[str], str] = '"{}"'.format,
    json: Callable[[str], str] = "'{}'".format,
    configurations: bool = True,
) -> str:
    """The SELECT of `connector_changes`, in SQL that every destination knows.

    Args:
        table: A table's name as the destination writes it, with its dataset.
        name: A column's name, quoted.
        json: A constant of JSON, as the type of JSON columns.
        configurations: Whether there is a table of configurations.
    """
    names = {
        "versions": table("connector_versions"),
        "syncs": table("team_syncs"),
        "change": name("change"),
        "name": name("name"),
        # null, of the type that PostgreSQL would otherwise take for text
        "no_paths": f"case when came < 0 then {json('[]')} end",
    }
    states = _STATES.format(table=names["versions"], more=f", {names['name']}")
    parts = [f"states as ({states})"]
    events = [_CONNECTORS.format(**names)]
    if configurations:
        more = ", paths_added, paths_removed, paths_changed"
        parts.append(f"configured as ({_STATES.format(table=table('connector_configurations'), more=more)})")
        edits = _EDITS.format(whole=json('["$"]'), none=json("[]"))
        parts.append(f"edits as ({edits})")
        events.append(_CONFIGURATIONS.format(**names))
    return f"with {', '.join(parts)}\n{' union all '.join(events)}"


def show_changes(run: Run) -> None:
    """Makes `connector_changes` in the running pipeline's dataset, if the tables that it tells of are there."""
    if run.shows_changes or not run.compares or not run.strategy.view:
        return
    if run.table(CONNECTOR_VERSIONS).is_missing or run.is_missing(TEAM_SYNCS):
        return
    run.shows_changes = True
    with run.reader.connected() as client:
        show(client.sql_client, run.strategy, not run.table(CONNECTOR_CONFIGURATIONS).is_missing)


def is_shown(client: Any) -> bool:
    """Whether there is something of the name `connector_changes` in a dataset."""
    try:
        client.execute_sql(f"SELECT team_id FROM {client.make_qualified_table_name(CHANGES)} WHERE 1 = 0")  # noqa: S608 - our own names
    except DatabaseException:  # no view, or one of a table that was dropped
        return False
    return True


def show(client: Any, strategy: Strategy, configurations: bool) -> None:
    """Makes `connector_changes` in a dataset, where that is a view; says so where it may not be made.

    Args:
        client: dlt's SQL client of the dataset.
        strategy: How the dataset is written.
        configurations: Whether there is a table of configurations.
    """
    try:
        _make_view(client, strategy, configurations)
    except DatabaseException as error:  # the tables are right without it
        logger.warning("The view %s could not be made, its query is in docs/changes.md: %s", CHANGES, error)


def _make_view(client: Any, strategy: Strategy, configurations: bool) -> None:
    table, name = client.make_qualified_table_name, client.escape_column_name
    # SQLite looks for a view's tables in the view's own file, which need not be opened under the dataset's name
    inside = name if getattr(client, "dialect_name", None) == "sqlite" else table
    sql = select(inside, name, strategy.json_constant.format, configurations)
    view = table(CHANGES)
    if strategy.view == "replace":
        client.execute_sql(f"CREATE OR REPLACE VIEW {view} AS {sql}")
    elif strategy.view == "anew":
        client.execute_sql(f"DROP VIEW IF EXISTS {view}")
        client.execute_sql(f"CREATE VIEW {view} AS {sql}")
    elif strategy.view == "function":
        function = table(f"{CHANGES}_now")
        columns = ", ".join(f"{name(column)} {type_}" for column, type_ in zip(COLUMNS, _TYPES, strict=True))
        client.execute_sql(f"DROP VIEW IF EXISTS {view}")
        client.execute_sql(f"DROP FUNCTION IF EXISTS {function}()")
        client.execute_sql(
            f"CREATE FUNCTION {function}() RETURNS TABLE ({columns}) LANGUAGE sql STABLE AS $changes${sql}$changes$"
        )
        client.execute_sql(f"CREATE VIEW {view} AS SELECT * FROM {function}()")  # noqa: S608 - our own names


_TYPES = (
    *("bigint", "text", "text", "timestamptz", "boolean", "text", "timestamptz", "timestamptz"),
    *("jsonb", "jsonb", "jsonb"),
)
"""PostgreSQL's types of `COLUMNS`."""

# A version held from valid_from to valid_to. Copies of one, which a crossing of two runs has left, are one version; and
# versions of one content that follow each other without a gap are one state: neither is a change. Content and
# valid_from are never null, but of types that can be: ClickHouse makes up a value of others where nothing comes before.
_STATES = """
  select team_id, connector_identifier, valid_from, valid_to, updated_at{more},
    min(valid_from) over (partition by team_id) as team_from,
    lag(content) over (partition by team_id, connector_identifier order by valid_from, content) as content_before,
    lag(updated_at) over (partition by team_id, connector_identifier order by valid_from, content) as updated_before,
    lead(valid_from) over (partition by team_id, connector_identifier order by valid_from, content) as next_from,
    case
      when lag(content) over (partition by team_id, connector_identifier order by valid_from, content) is null then 1
      when lag(valid_to) over (partition by team_id, connector_identifier order by valid_from, content) < valid_from
        then 1
      else 0
    end as came,
    content
  from (
    select team_id, connector_identifier, nullif(substr(_dlt_id, 1, 32), '') as content, updated_at{more},
      case when team_id > 0 then _dlt_valid_from end as valid_from,
      case
        when count(*) over (partition by team_id, connector_identifier, substr(_dlt_id, 1, 32), _dlt_valid_from)
          = count(_dlt_valid_to)
            over (partition by team_id, connector_identifier, substr(_dlt_id, 1, 32), _dlt_valid_from)
        then max(_dlt_valid_to)
          over (partition by team_id, connector_identifier, substr(_dlt_id, 1, 32), _dlt_valid_from)
      end as valid_to,
      row_number() over (
        partition by team_id, connector_identifier, substr(_dlt_id, 1, 32), _dlt_valid_from order by _dlt_load_id
      ) as copy
    from {table}
  ) as copies
  where copy = 1
"""

_CONNECTORS = """
  select team_id, connector_identifier, case when came = 1 then 'added' else 'updated' end as {change},
    valid_from as detected_at, false as baseline, {name}, updated_at,
    case when came = 0 then updated_before end as previous_updated_at,
    {no_paths} as paths_added, {no_paths} as paths_removed, {no_paths} as paths_changed
  from states
  where valid_from > team_from and (came = 1 or content_before <> content)
  union all
  select team_id, connector_identifier, 'removed', valid_to, false, {name}, null, updated_at, null, null, null
  from states
  where valid_to is not null and (next_from is null or next_from > valid_to)
  union all
  select team_id, '', 'added', min(team_from), true, null, null, null, null, null, null
  from states
  group by team_id
"""

# A configuration that came without one before it is a change only if its row says so: else nobody had asked for it.
_EDITS = """
  select team_id, connector_identifier, valid_from as detected_at, updated_at,
    case when came = 0 then updated_before end as previous_updated_at,
    paths_added, paths_removed, paths_changed, 0 as lost
  from configured
  where (came = 0 and content_before <> content) or (came = 1 and paths_added is not null)
  union all
  select team_id, connector_identifier, valid_to, null, updated_at, {none}, {whole}, {none}, 1
  from configured
  where valid_to is not null and (next_from is null or next_from > valid_to)
"""

# A configuration is lost if a whole load has seen its connector without one; one that a broken load has closed before
# its connector is no change of its own.
_CONFIGURATIONS = """
  select team_id, connector_identifier, 'configuration_changed' as {change}, detected_at, false as baseline, {name},
    updated_at, previous_updated_at, paths_added, paths_removed, paths_changed
  from (
    select edits.team_id, edits.connector_identifier, edits.detected_at, states.{name}, edits.updated_at,
      edits.previous_updated_at, edits.paths_added, edits.paths_removed, edits.paths_changed, edits.lost,
      states.valid_from as known_from, states.valid_to as known_to,
      row_number() over (
        partition by edits.team_id, edits.connector_identifier, edits.detected_at, edits.lost
        order by states.valid_from desc
      ) as nearest
    from edits
    left join states on states.team_id = edits.team_id
      and states.connector_identifier = edits.connector_identifier
      and states.valid_from <= edits.detected_at
      and (states.valid_to is null or states.valid_to > edits.detected_at)
  ) as named
  where nearest = 1 and (lost = 0 or exists (
    select 1
    from {syncs} as syncs
    where syncs.team_id = named.team_id and syncs.status <> 'failed' and syncs.started_at >= named.detected_at
      and known_from is not null and (known_to is null or syncs.started_at < known_to)
  ))
  union all
  select team_id, '', 'configuration_changed', min(team_from), true, null, null, null, null, null, null
  from configured
  group by team_id
"""
