{# The relation of a source table; none where the table does not exist, such as an optional table. #}
{% macro existing_source(name) %}
    {{ return(load_relation(source('supermetrics', name))) }}
{% endmacro %}
