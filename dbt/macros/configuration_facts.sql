{#
    One row per current configuration with facts from its JSON, in the documented structure of the Connector Builder.
    A member that is missing or has another type counts as absent.
#}
{% macro configuration_facts(configurations) %}
    {{ return(adapter.dispatch('configuration_facts')(configurations)) }}
{% endmacro %}

{# Host, user and port of a URL; a placeholder such as account.domain in double braces stays whole. #}
{% macro url_patterns() %}
    {{ return({
        'host': '^[ \\t\\r\\n]*(?:[A-Za-z][A-Za-z0-9+.-]*:)?//((?:\\{\\{[^{}]*\\}\\}|[^/?#{} \\t\\r\\n])+)',
        'placeholder': '^[ \\t\\r\\n]*(\\{\\{[^{}]*\\}\\})',
        'user': '^(?:[^@]*@)*',
        'port': ':[0-9]*$',
    }) }}
{% endmacro %}

{% macro duckdb__configuration_facts(configurations) %}
{% set url = url_patterns() %}
select
    team_id,
    connector_identifier,
    case
        when json_type(configuration_json, '$.authentication.type') = 'VARCHAR'
            then json_extract_string(configuration_json, '$.authentication.type')
    end as authentication_type,
    list_sort(list_distinct(list_filter(
        list_transform(
            list_filter(json_extract(configuration_json, '$..url'), lambda url: json_type(url) = 'VARCHAR'),
            lambda url: regexp_replace(regexp_replace(coalesce(
                nullif(regexp_extract(json_extract_string(url, '$'), '{{ url.host }}', 1), ''),
                regexp_extract(json_extract_string(url, '$'), '{{ url.placeholder }}', 1)
            ), '{{ url.user }}', ''), '{{ url.port }}', '')
        ),
        lambda host: host <> ''
    ))) as hosts,
    len(json_extract(configuration_json, '$.reporting.reportTypes[*]')) as report_types,
    len(json_extract(configuration_json, '$.reporting.reportTypes[*].fields[*]')) as fields,
    list_sort(list_distinct(list_transform(
        list_filter(
            json_extract(configuration_json, '$.authentication.userInputs[*].id'),
            lambda id: json_type(id) = 'VARCHAR'
        ),
        lambda id: json_extract_string(id, '$')
    ))) as user_inputs,
    coalesce(to_json(list_histogram(list_transform(
        list_filter(
            json_extract(configuration_json, '$.secrets.items[*]'), lambda item: json_type(item) = 'OBJECT'
        ),
        lambda item:
            case
                when json_type(item, '$.source') = 'VARCHAR' then json_extract_string(item, '$.source')
                else 'unknown'
            end
            || ' '
            || case
                when json_type(item, '$.classification') = 'VARCHAR' then json_extract_string(item, '$.classification')
                else 'unknown'
            end
    ))), cast('{}' as json)) as secrets,
    len(list_filter(
        json_extract(configuration_json, '$.secrets.items[*]'),
        lambda item:
            json_extract_string(item, '$.source') = 'static'
            and json_extract_string(item, '$.classification') = 'secret'
    )) as static_secrets
from {{ configurations }}
where configuration_json is not null
{% endmacro %}

{# Strict JSON paths: lax ones take a single value for a list. #}
{% macro postgres__configuration_facts(configurations) %}
{% set url = url_patterns() %}
{% set elements = '? (@.type() == "array")[*]' %}
select
    team_id,
    connector_identifier,
    case
        when jsonb_typeof(configuration_json #> '{authentication,type}') = 'string'
            then configuration_json #>> '{authentication,type}'
    end as authentication_type,
    array(
        select distinct host collate "C"
        from (
            select regexp_replace(regexp_replace(coalesce(
                substring(url #>> '{}' from '{{ url.host }}'), substring(url #>> '{}' from '{{ url.placeholder }}')
            ), '{{ url.user }}', ''), '{{ url.port }}', '') as host
            from jsonb_path_query(
                configuration_json, 'strict $.** ? (exists(@.url)).url ? (@.type() == "string")', '{}', true
            ) as url
        ) as called
        where host <> ''
        order by 1
    ) as hosts,
    (
        select count(*)
        from jsonb_path_query(configuration_json, 'strict $.reporting.reportTypes {{ elements }}', '{}', true)
    ) as report_types,
    (
        select count(*)
        from jsonb_path_query(
            configuration_json,
            'strict $.reporting.reportTypes {{ elements }} ? (exists(@.fields)).fields {{ elements }}', '{}', true
        )
    ) as fields,
    array(
        select distinct (id #>> '{}') collate "C"
        from jsonb_path_query(
            configuration_json,
            'strict $.authentication.userInputs {{ elements }} ? (exists(@.id)).id ? (@.type() == "string")',
            '{}', true
        ) as id
        order by 1
    ) as user_inputs,
    (
        select coalesce(jsonb_object_agg(kind, items), '{}')
        from (
            select
                count(*) as items,
                case when jsonb_typeof(item -> 'source') = 'string' then item ->> 'source' else 'unknown' end
                || ' '
                || case
                    when jsonb_typeof(item -> 'classification') = 'string' then item ->> 'classification'
                    else 'unknown'
                end as kind
            from jsonb_path_query(
                configuration_json, 'strict $.secrets.items {{ elements }} ? (@.type() == "object")', '{}', true
            ) as item
            group by kind
        ) as kinds
    ) as secrets,
    (
        select count(*)
        from jsonb_path_query(
            configuration_json, 'strict $.secrets.items {{ elements }} ? (@.type() == "object")', '{}', true
        ) as item
        where item -> 'source' = '"static"' and item -> 'classification' = '"secret"'
    ) as static_secrets
from {{ configurations }}
where configuration_json is not null
{% endmacro %}
