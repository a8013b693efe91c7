select
    team_id,
    connector_identifier,
    name,
    description,
    logo_url,
    created_at,
    updated_at,
    content_hash
from {{ source('supermetrics', 'connectors') }}
