"""The overview as one SELECT, for a view in DuckDB or PostgreSQL; the same answers as `overview`.

The macro `configuration_facts` in `dbt/` has the same SQL, which a test compares.
"""

from collections.abc import Callable, Collection
from typing import Any

from ..run.pipeline import make_destination, named_dataset
from .dataset import open_dataset
from .errors import ReadError
from .overview import HOST, HOST_PLACEHOLDER, LOG_DAYS, OVERVIEW_COLUMNS, PORT, USER

OVERVIEW_VIEW = "connector_overview"
_POSTGRES_TYPES = {
    **{name: "timestamptz" if name.endswith("_at") else "text" for name in OVERVIEW_COLUMNS},
    **dict.fromkeys(("team_id", "versions", "report_types", "fields", "static_secrets"), "bigint"),
    **dict.fromkeys(("hosts", "user_inputs"), "text[]"),
    "secrets": "jsonb",
    "error_rate": "numeric",
}


def create_overview_view(destination: Any, dataset: str) -> str:
    """Creates or replaces the view `connector_overview`, with the tables that exist now.

    Args:
        destination: As for `open_dataset`.
        dataset: The dataset's name.

    Returns:
        The view's qualified name.

    Raises:
        NothingLoadedError: Nothing has been loaded there.
        ReadError: The destination is neither DuckDB nor PostgreSQL, or the user has a view or table of that name.
    """
    with open_dataset(destination, dataset) as data:
        data.require("connectors")
        view = data.table(OVERVIEW_VIEW)
        if data.strategy.table_format or data.dialect not in _FACTS:  # of files, DuckDB has no place for a view
            raise ReadError(f"The view is for DuckDB and PostgreSQL, not for {data.location}: use `overview`.")
        if data.columns(OVERVIEW_VIEW) not in ([], list(OVERVIEW_COLUMNS)):
            raise ReadError(f"{view} exists with other columns, and is left alone. Rename it first.")
        dialect, tables, strategy = data.dialect, data.tables, data.strategy
    with named_dataset(make_destination(destination), dataset).sql_client as client:
        sql = overview_query(dialect, lambda table: strategy.view_table_name(client, table), tables)
        strategy.create_view(client, OVERVIEW_VIEW, _POSTGRES_TYPES, sql)
    return view


def overview_query(
    dialect: str,
    table: Callable[[str], str] = str,
    tables: Collection[str] = ("connector_configurations", "teams", "connector_logs"),
) -> str:
    """The SELECT with the columns of `OVERVIEW_COLUMNS`.

    Args:
        dialect: `duckdb` or `postgres`.
        table: Makes the qualified name of a table.
        tables: Which of `connector_configurations`, `teams` and `connector_logs` exist; the columns of others are null.

    Raises:
        KeyError: There is no SELECT for the dialect.
    """
    facts = _FACTS[dialect].format(host=HOST, placeholder=HOST_PLACEHOLDER, user=USER, port=PORT, **_PATHS)
    parts = {
        name: (part if source in tables else _NULLS[name]).format(facts=facts, days=LOG_DAYS, source=table(source))
        for name, (source, part) in _PARTS.items()
    }
    names = {"connectors": table("connectors"), "syncs": table("team_syncs"), "loads": table("_dlt_loads")}
    return _OVERVIEW.format(**names, **parts)


_OVERVIEW = """select
  connectors.team_id,
  teams.team_name,
  connectors.connector_identifier,
  connectors.name,
  greatest(connectors.updated_at, configurations.edited_at) as last_edited_at,
  configurations.version,
  configurations.versions,
  syncs.last_complete_sync_at,
  configurations.authentication_type,
  configurations.hosts,
  configurations.report_types,
  configurations.fields,
  configurations.user_inputs,
  configurations.secrets,
  configurations.static_secrets,
  calls.last_error_at,
  calls.error_rate
from {connectors} as connectors
left join (
{configurations}
) as configurations on configurations.team_id = connectors.team_id
  and configurations.connector_identifier = connectors.connector_identifier
left join (
{teams}
) as teams on teams.team_id = connectors.team_id
left join (
{calls}
) as calls on calls.team_id = connectors.team_id and calls.connector_identifier = connectors.connector_identifier
left join (
  select team_id, max(started_at) as last_complete_sync_at
  from {syncs}
  where status = 'ok' and (
    _dlt_load_id in (select load_id from {loads} where status = 0) or not exists (select 1 from {loads})
  )
  group by team_id
) as syncs on syncs.team_id = connectors.team_id"""

_PARTS = {
    "configurations": (
        "connector_configurations",
        """  select current.team_id, current.connector_identifier, current.updated_at as edited_at, current.version,
    counts.versions,
{facts}
  from (
    select *, configuration_json as document
    from {source}
    where _dlt_valid_to is null
  ) as current
  join (
    select team_id, connector_identifier, count(distinct _dlt_valid_from) as versions
    from {source}
    group by team_id, connector_identifier
  ) as counts on counts.team_id = current.team_id and counts.connector_identifier = current.connector_identifier""",
    ),
    "teams": ("teams", "  select team_id, name as team_name from {source}"),
    "calls": (
        "connector_logs",
        """  select team_id, connector_identifier, max(case when status >= 400 then log_time end) as last_error_at,
    avg(case when log_time < now() - interval '{days} days' then null when status >= 400 then 1.0 else 0.0 end)
      as error_rate
  from {source}
  group by team_id, connector_identifier""",
    ),
}

_KEY = "  select cast(null as bigint) as team_id, cast(null as text) as connector_identifier"
_NULLS = {
    "configurations": f"""{_KEY},
    cast(null as timestamp with time zone) as edited_at, cast(null as text) as version,
    cast(null as bigint) as versions, cast(null as text) as authentication_type, cast(null as text[]) as hosts,
    cast(null as bigint) as report_types, cast(null as bigint) as fields, cast(null as text[]) as user_inputs,
    cast(null as json) as secrets, cast(null as bigint) as static_secrets""",
    "teams": "  select cast(null as bigint) as team_id, cast(null as text) as team_name",
    "calls": f"""{_KEY},
    cast(null as timestamp with time zone) as last_error_at, cast(null as numeric) as error_rate""",
}

_FACTS = {
    "duckdb": """    case when json_type(document, '$.authentication.type') = 'VARCHAR'
      then json_extract_string(document, '$.authentication.type') end as authentication_type,
    list_sort(list_distinct(list_filter(
      list_transform(
        list_filter(json_extract(document, '$..url'), lambda url: json_type(url) = 'VARCHAR'),
        lambda url: regexp_replace(regexp_replace(coalesce(
          nullif(regexp_extract(json_extract_string(url, '$'), '{host}', 1), ''),
          regexp_extract(json_extract_string(url, '$'), '{placeholder}', 1)
        ), '{user}', ''), '{port}', '')
      ),
      lambda host: host <> ''
    ))) as hosts,
    len(json_extract(document, '$.reporting.reportTypes[*]')) as report_types,
    len(json_extract(document, '$.reporting.reportTypes[*].fields[*]')) as fields,
    list_sort(list_distinct(list_transform(
      list_filter(json_extract(document, '$.authentication.userInputs[*].id'), lambda id: json_type(id) = 'VARCHAR'),
      lambda id: json_extract_string(id, '$')
    ))) as user_inputs,
    coalesce(to_json(list_histogram(list_transform(
      list_filter(json_extract(document, '$.secrets.items[*]'), lambda item: json_type(item) = 'OBJECT'),
      lambda item:
        case when json_type(item, '$.source') = 'VARCHAR' then json_extract_string(item, '$.source')
          else 'unknown' end
        || ' ' ||
        case when json_type(item, '$.classification') = 'VARCHAR' then json_extract_string(item, '$.classification')
          else 'unknown' end
    ))), cast('{{}}' as json)) as secrets,
    len(list_filter(
      json_extract(document, '$.secrets.items[*]'),
      lambda item: json_extract_string(item, '$.source') = 'static'
        and json_extract_string(item, '$.classification') = 'secret'
    )) as static_secrets""",
    "postgres": """    case when jsonb_typeof(document #> '{{authentication,type}}') = 'string'
      then document #>> '{{authentication,type}}' end as authentication_type,
    array(
      select distinct host collate "C"
      from (
        select regexp_replace(regexp_replace(coalesce(
          substring(url #>> '{{}}' from '{host}'), substring(url #>> '{{}}' from '{placeholder}')
        ), '{user}', ''), '{port}', '') as host
        from jsonb_path_query(document, '{urls}', '{{}}', true) as url
      ) as called
      where host <> ''
      order by 1
    ) as hosts,
    (select count(*) from jsonb_path_query(document, '{report_types}', '{{}}', true)) as report_types,
    (select count(*) from jsonb_path_query(document, '{fields}', '{{}}', true)) as fields,
    array(
      select distinct (id #>> '{{}}') collate "C"
      from jsonb_path_query(document, '{user_inputs}', '{{}}', true) as id
      order by 1
    ) as user_inputs,
    (
      select coalesce(jsonb_object_agg(kind, items), '{{}}')
      from (
        select count(*) as items,
          case when jsonb_typeof(item -> 'source') = 'string' then item ->> 'source' else 'unknown' end || ' ' ||
          case when jsonb_typeof(item -> 'classification') = 'string' then item ->> 'classification'
            else 'unknown' end as kind
        from jsonb_path_query(document, '{secrets}', '{{}}', true) as item
        group by kind
      ) as kinds
    ) as secrets,
    (
      select count(*)
      from jsonb_path_query(document, '{secrets}', '{{}}', true) as item
      where item -> 'source' = '"static"' and item -> 'classification' = '"secret"'
    ) as static_secrets""",
}
# in strict mode a list is not unwrapped and a single value is not taken for a list
_LIST = '? (@.type() == "array")[*]'
_PATHS = {
    "urls": 'strict $.** ? (exists(@.url)).url ? (@.type() == "string")',
    "report_types": f"strict $.reporting.reportTypes {_LIST}",
    "fields": f"strict $.reporting.reportTypes {_LIST} ? (exists(@.fields)).fields {_LIST}",
    "user_inputs": f'strict $.authentication.userInputs {_LIST} ? (exists(@.id)).id ? (@.type() == "string")',
    "secrets": f'strict $.secrets.items {_LIST} ? (@.type() == "object")',
}
