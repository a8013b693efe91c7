select
    team_id,
    connector_identifier,
    version_id,
    name,
    description,
    logo_url,
    created_at,
    updated_at,
    content_hash,
    _dlt_valid_from as valid_from,
    _dlt_valid_to as valid_to,
    _dlt_valid_to is null as is_current
from {{ source('supermetrics', 'connector_versions') }}
