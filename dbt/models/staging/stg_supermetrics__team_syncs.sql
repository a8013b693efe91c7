select
    team_id,
    started_at,
    status,
    duration_ms,
    request_id,
    http_status,
    error_code,
    error_message,
    connectors_reported,
    connectors_received,
    connectors_changed,
    connectors_removed,
    configurations_changed,
    rate_limit_remaining,
    secrets_redacted,
    redacted_paths
from {{ source('supermetrics', 'team_syncs') }}
