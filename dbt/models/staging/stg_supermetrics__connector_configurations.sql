select
    team_id,
    connector_identifier,
    version_id,
    version,
    configuration_json,
    created_at,
    updated_at,
    content_hash,
    paths_added,
    paths_removed,
    paths_changed,
    _dlt_valid_from as valid_from,
    _dlt_valid_to as valid_to,
    _dlt_valid_to is null as is_current
from {{ source('supermetrics', 'connector_configurations') }}
