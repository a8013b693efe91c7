-- Versions of a connector that overlap, or end before they begin.
{% set histories = ["stg_supermetrics__connector_versions", "stg_supermetrics__connector_configurations"] %}

{% for history in histories %}
select team_id, connector_identifier, valid_from, valid_to
from (
    select
        team_id,
        connector_identifier,
        valid_from,
        valid_to,
        lead(valid_from) over (partition by team_id, connector_identifier order by valid_from) as next_from
    from {{ ref(history) }}
) as versions
where valid_to < valid_from or valid_to > next_from or (valid_to is null and next_from is not null)
{{ 'union all' if not loop.last }}
{% endfor %}
