{% set loads = existing_source('_dlt_loads') %}

select
    syncs.team_id,
    syncs.started_at,
    syncs.status,
    syncs.duration_ms,
    syncs.request_id,
    syncs.http_status,
    syncs.error_code,
    syncs.error_message,
    syncs.latest_updated_at,
    syncs.connectors_reported,
    syncs.connectors_received,
    syncs.connectors_changed,
    syncs.connectors_removed,
    syncs.configurations_changed,
    syncs.rate_limit_remaining,
    syncs.secrets_redacted,
    syncs.redacted_paths,
    syncs.connectors_postponed,
    syncs.connectors_failing,
    {% if loads %}
    -- a missing or empty table of loads proves nothing
    syncs.status = 'ok'
    and (complete_loads.load_id is not null or (select count(*) from {{ loads }}) = 0) as is_complete
    {% else %}
    syncs.status = 'ok' as is_complete
    {% endif %}
from {{ source('supermetrics', 'team_syncs') }} as syncs
{% if loads %}
left join (
    select distinct load_id
    from {{ loads }}
    where status = 0
) as complete_loads on syncs._dlt_load_id = complete_loads.load_id
{% endif %}
