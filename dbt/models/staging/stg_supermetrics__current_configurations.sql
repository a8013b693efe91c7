select
    team_id,
    connector_identifier,
    version_id,
    version,
    configuration_json,
    created_at,
    updated_at,
    content_hash,
    valid_from
from {{ ref('stg_supermetrics__connector_configurations') }}
where is_current
