{{ config(enabled=target.type in ('duckdb', 'postgres')) }}
{% set teams = existing_source('teams') %}
{% set logs = existing_source('connector_logs') %}

with versions as (
    select team_id, connector_identifier, count(distinct valid_from) as versions
    from {{ ref('stg_supermetrics__connector_configurations') }}
    group by team_id, connector_identifier
),

facts as (
    {{ configuration_facts(ref('stg_supermetrics__current_configurations')) }}
),

{% if logs %}
calls as (
    select
        team_id,
        connector_identifier,
        max(case when status >= 400 then log_time end) as last_error_at,
        avg(
            case when log_time >= now() - interval '7 days' then case when status >= 400 then 1.0 else 0.0 end end
        ) as error_rate
    from {{ logs }}
    group by team_id, connector_identifier
),
{% endif %}

syncs as (
    select team_id, max(started_at) as last_complete_sync_at
    from {{ ref('stg_supermetrics__team_syncs') }}
    where is_complete
    group by team_id
)

select
    connectors.team_id,
    {{ 'teams.name' if teams else 'cast(null as text)' }} as team_name,
    connectors.connector_identifier,
    connectors.name,
    greatest(connectors.updated_at, configurations.updated_at) as last_edited_at,
    configurations.version,
    versions.versions,
    syncs.last_complete_sync_at,
    facts.authentication_type,
    facts.hosts,
    facts.report_types,
    facts.fields,
    facts.user_inputs,
    facts.secrets,
    facts.static_secrets,
    {{ 'calls.last_error_at' if logs else 'cast(null as timestamp with time zone)' }} as last_error_at,
    {{ 'calls.error_rate' if logs else 'cast(null as double precision)' }} as error_rate
from {{ ref('stg_supermetrics__connectors') }} as connectors
left join {{ ref('stg_supermetrics__current_configurations') }} as configurations
    on connectors.team_id = configurations.team_id
    and connectors.connector_identifier = configurations.connector_identifier
left join versions
    on connectors.team_id = versions.team_id
    and connectors.connector_identifier = versions.connector_identifier
left join facts
    on connectors.team_id = facts.team_id
    and connectors.connector_identifier = facts.connector_identifier
left join syncs on connectors.team_id = syncs.team_id
{% if teams %}
left join {{ teams }} as teams on connectors.team_id = teams.team_id
{% endif %}
{% if logs %}
left join calls
    on connectors.team_id = calls.team_id
    and connectors.connector_identifier = calls.connector_identifier
{% endif %}
