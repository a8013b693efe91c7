"""The view `connector_changes`: what changed between the listings of a team.

The view is one SELECT over the two histories, so an interrupted load can neither lose a change nor report it twice.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from dlt.destinations.exceptions import DatabaseException, DatabaseUndefinedRelation
from dlt.destinations.job_client_impl import SqlJobClientBase

from ..specs import CONNECTOR_CONFIGURATIONS, CONNECTOR_VERSIONS, TEAM_SYNCS
from .destinations import choose_strategy
from .destinations.strategy import DestinationStrategy
from .target import CHANGES_COLUMNS, CHANGES_VIEW, Target

logger = logging.getLogger(__name__)


def changes_query(
    table: Callable[[str], str],
    column: Callable[[str], str] = '"{}"'.format,
    json_constant: Callable[[str], str] = "'{}'".format,
    *,
    has_loads: bool = True,
) -> str:
    """The SELECT of `connector_changes`, in SQL that every destination accepts.

    Args:
        table: Makes a table's name as the destination writes it, with its dataset.
        column: Quotes a column's name.
        json_constant: Makes a constant of the type of JSON columns.
        has_loads: Whether the dataset has dlt's table `_dlt_loads`.
    """
    change, name = column("change"), column("name")
    # null, of the type that PostgreSQL would otherwise take for text
    no_paths = f"case when came < 0 then {json_constant('[]')} end"
    states = _STATES.format(table=table(CONNECTOR_VERSIONS.name), more=f", {name}")
    configured = _STATES.format(table=table(CONNECTOR_CONFIGURATIONS.name), more=_PATHS)
    edits = _EDITS.format(whole=json_constant('["$"]'), none=json_constant("[]"))
    syncs = _SYNCS.format(syncs=table(TEAM_SYNCS.name))
    if has_loads:
        syncs += _IN_COMPLETED_LOADS.format(loads=table("_dlt_loads"))
    return (
        f"with states as ({states}), configured as ({configured}), edits as ({edits}), syncs as ({syncs})\n"
        f"{_CONNECTORS.format(change=change, name=name, no_paths=no_paths)} union all "
        f"{_CONFIGURATIONS.format(change=change, name=name)}"
    )


def create_changes_view(pipeline: Any, schema_name: str | None = None, *, replaces: bool = True) -> bool:
    """Creates the view `connector_changes` in a pipeline's dataset. Call it after `pipeline.run`.

    The view needs the tables `connector_versions`, `connector_configurations` and `team_syncs`. A view or table of your
    own under that name is left alone. A view that cannot be created is a warning: the tables are right without it.

    Args:
        pipeline: The dlt pipeline that has loaded the source.
        schema_name: Name of the source's schema; the pipeline's default schema by default.
        replaces: Whether an existing view is replaced, as it may read tables of earlier names.

    Returns:
        Whether the view exists. False for destinations without views.
    """
    target = Target.of_pipeline(pipeline, schema_name)
    strategy = choose_strategy(pipeline.destination, target.table_format)
    if not isinstance(client := target.client(), SqlJobClientBase):
        return False
    name = target.table(CHANGES_VIEW)
    try:
        with client.sql_client as sql_client:
            return _create_view(sql_client, strategy, target, name, replaces)
    except DatabaseException as error:
        logger.warning("The view %s cannot be created; `changes` needs no view: %s", name, type(error).__name__)
        return False


def _create_view(client: Any, strategy: DestinationStrategy, target: Target, name: str, replaces: bool) -> bool:
    with suppress(DatabaseUndefinedRelation):
        with client.execute_query(f"SELECT * FROM {client.make_qualified_table_name(name)} WHERE 1 = 0") as cursor:  # noqa: S608 - our own names
            is_ours = [column.lower() for column in cursor.columns_schema] == [*CHANGES_COLUMNS]
        if not is_ours:
            logger.info("%s is not a view of this source and is left alone; `changes` needs no view", name)
        if not is_ours or not replaces:
            return is_ours
    sql = changes_query(
        lambda table: strategy.view_table_name(client, target.table(table)),
        client.escape_column_name,
        strategy.json_constant.format,
    )
    return strategy.create_view(client, name, CHANGES_COLUMNS, sql)


def deduplicate(pipeline: Any, schema_name: str | None = None) -> int:
    """Deletes duplicates that two runs at the same time, or somebody by hand, have left.

    Ended versions keep the row of the earliest load. Current rows need no call, because the next run replaces
    duplicates; only the rows of connectors that a Delta table has twice are deleted, and written by the next run.

    Args:
        pipeline: The dlt pipeline that has loaded the source.
        schema_name: Name of the source's schema; the pipeline's default schema by default.

    Returns:
        The number of connectors whose rows were deleted.
    """
    target = Target.of_pipeline(pipeline, schema_name)
    return choose_strategy(pipeline.destination, target.table_format).deduplicate(target)


_PATHS = ", paths_added, paths_removed, paths_changed"

# A version was current from valid_from to valid_to. Duplicates of a version, which two runs at the same time may leave,
# count once. Versions with the same content that follow each other without a gap are one state. Neither is a change.
# Content and valid_from are never null, but have nullable types: with another type, ClickHouse returns a default value
# where lag finds no row.
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
    select team_id, connector_identifier, nullif(substr(version_id, 1, 32), '') as content, updated_at{more},
      case when team_id > 0 then _dlt_valid_from end as valid_from,
      case
        when count(*) over (partition by team_id, connector_identifier, substr(version_id, 1, 32), _dlt_valid_from)
          = count(_dlt_valid_to)
            over (partition by team_id, connector_identifier, substr(version_id, 1, 32), _dlt_valid_from)
        then max(_dlt_valid_to)
          over (partition by team_id, connector_identifier, substr(version_id, 1, 32), _dlt_valid_from)
      end as valid_to,
      row_number() over (
        partition by team_id, connector_identifier, substr(version_id, 1, 32), _dlt_valid_from order by _dlt_load_id
      ) as duplicate_number
    from {table}
  ) as numbered
  where duplicate_number = 1
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

# A configuration without a previous one is a change only if its row has paths: otherwise no earlier listing included
# configurations.
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

_SYNCS = """
  select team_id, started_at
  from {syncs}
  where status <> 'failed'
"""
# dlt records a load in `_dlt_loads` when it is complete. An empty `_dlt_loads` says nothing.
_IN_COMPLETED_LOADS = """    and (
      _dlt_load_id in (select load_id from {loads} where status = 0) or not exists (select 1 from {loads})
    )
"""

# A configuration was lost if a completed sync listed its connector without one. A configuration that an interrupted
# load closed before its connector is not a change of its own.
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
    from syncs
    where syncs.team_id = named.team_id and syncs.started_at >= named.detected_at
      and known_from is not null and (known_to is null or syncs.started_at < known_to)
  ))
  union all
  select team_id, '', 'configuration_changed', min(team_from), true, null, null, null, null, null, null
  from configured
  group by team_id
"""
