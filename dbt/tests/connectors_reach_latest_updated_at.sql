-- Teams whose stored connectors are older than the latest edit in their last complete sync.
select syncs.team_id, syncs.latest_updated_at, max(connectors.updated_at) as stored_updated_at
from {{ ref('stg_supermetrics__team_syncs') }} as syncs
inner join (
    select team_id, max(started_at) as started_at
    from {{ ref('stg_supermetrics__team_syncs') }}
    where is_complete
    group by team_id
) as last_syncs on syncs.team_id = last_syncs.team_id and syncs.started_at = last_syncs.started_at
left join {{ ref('stg_supermetrics__connectors') }} as connectors on syncs.team_id = connectors.team_id
where syncs.latest_updated_at is not null
group by syncs.team_id, syncs.latest_updated_at
having max(connectors.updated_at) is null or max(connectors.updated_at) < syncs.latest_updated_at
