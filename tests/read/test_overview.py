"""`connector_overview`: facts about configurations of any shape, in Python and in SQL alike."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import duckdb
import psycopg2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supermetrics_loader.cli.main import run
from supermetrics_loader.read.dataset import open_dataset
from supermetrics_loader.read.overview import NO_FACTS, OVERVIEW_COLUMNS, configuration_facts, host_of, overview
from supermetrics_loader.read.overview_sql import overview_query
from tests.read.conftest import FAILING, TEAM, crm

Execute = Callable[..., list[Any]]

URLS = {
    "https://crm.example.com/v1?x=1": "crm.example.com",
    "https://user:pass@crm.example.com:8443/v1": "crm.example.com",
    "https://{{account.region}}.example.com/{{account.id}}": "{{account.region}}.example.com",
    "https://{{ concat('a/b', 'c') }}/x": "{{ concat('a/b', 'c') }}",
    "{{user.base_url}}/v1": "{{user.base_url}}",
    " //crm.example.com#x": "crm.example.com",
    "/v1/products": "",
    "$.url": "",
    "crm.example.com/v1": "",
    "": "",
}
texts = st.sampled_from([*URLS, "static", "secret", "encrypted", "oauth2"]) | st.text("aä€{}@:/. ", max_size=8)
scalars = st.none() | st.booleans() | st.integers(-9, 9) | texts


def lists_of(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Lists of a kind, and what may stand in their place."""
    return st.lists(values | scalars, max_size=4) | scalars | values


def members(**values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Objects with some of these members, and what may stand in their place."""
    return st.fixed_dictionaries({}, optional={name: value | scalars for name, value in values.items()}) | scalars


requests = members(url=texts, headers=lists_of(members(url=texts)))
documents = members(
    authentication=members(type=texts, userInputs=lists_of(members(id=texts)), request=requests),
    reporting=members(reportTypes=lists_of(members(id=texts, request=requests, fields=lists_of(members(id=texts))))),
    secrets=members(items=lists_of(members(id=texts, source=texts, classification=texts))),
    url=texts,
)


@pytest.mark.parametrize(("url", "host"), URLS.items())
def test_hosts_keep_their_placeholders(url: str, host: str) -> None:
    """User and port are no part of a host; a relative URL has none."""
    assert host_of(url) == host


def test_facts_of_a_documented_configuration() -> None:
    """The structure that the vendor documents."""
    assert configuration_facts(crm()) == {
        "authentication_type": "oauth2",
        "hosts": ["crm.example.com", "{{account.region}}.example.com"],
        "report_types": 2,
        "fields": 3,
        "user_inputs": ["account_name", "subdomain"],
        "secrets": {"encrypted secret": 1, "static public": 1, "static secret": 1},
        "static_secrets": 1,
    }


@pytest.fixture(scope="module", params=["duckdb", "postgres"])
def view(request: pytest.FixtureRequest, own_database: str) -> Iterator[tuple[str, Execute]]:
    """A dialect, and a database with empty tables of the dataset."""
    dialect: str = request.param
    # PostgreSQL's tables are in a transaction that is never committed
    with closing(duckdb.connect() if dialect == "duckdb" else psycopg2.connect(own_database)) as connection:
        cursor: Any = connection if dialect == "duckdb" else connection.cursor()

        def execute(sql: str, *values: Any) -> list[Any]:
            cursor.execute(sql.replace("?", "%s") if values and dialect == "postgres" else sql, values or None)
            return list(cursor.fetchall()) if sql.startswith("select") else []

        key = "team_id bigint, connector_identifier text"
        times = "updated_at timestamptz, _dlt_valid_from timestamptz, _dlt_valid_to timestamptz"
        document = "configuration_json json" if dialect == "duckdb" else "configuration_json jsonb"
        execute(f"create table connectors ({key}, name text, updated_at timestamptz)")
        execute("create table team_syncs (team_id bigint, started_at timestamptz, status text, _dlt_load_id text)")
        execute("create table _dlt_loads (load_id text, status bigint)")
        execute(f"create table connector_configurations ({key}, version text, {times}, {document})")
        yield dialect, execute


@settings(max_examples=60)
@given(st.lists(documents, min_size=1, max_size=20))
def test_sql_and_python_agree_on_every_document(view: tuple[str, Execute], found: list[Any]) -> None:
    """Missing and mistyped members, elements of any type, texts that are no URLs."""
    dialect, execute = view
    for table in ("connectors", "connector_configurations"):
        execute(f"delete from {table}")
    for number, document in enumerate(found):
        execute("insert into connectors values (1, ?, 'name', now())", str(number))
        row = "(1, ?, '1', now(), now(), null, ?)"
        execute(f"insert into connector_configurations values {row}", str(number), json.dumps(document))
    for row in execute(overview_query(dialect, tables=["connector_configurations"])):
        values = dict(zip(OVERVIEW_COLUMNS, row, strict=True))
        facts = {name: values[name] for name in NO_FACTS}
        if isinstance(facts["secrets"], str):
            facts["secrets"] = json.loads(facts["secrets"])
        document = found[int(values["connector_identifier"])]
        assert facts == configuration_facts(document), document


@pytest.mark.parametrize("dialect", ["duckdb", "postgres"])
def test_dbt_has_the_same_sql(dialect: str) -> None:
    """The macro is a copy for projects without this program: the same expressions, apart from line breaks."""
    macros = (Path(__file__).parents[2] / "dbt" / "macros" / "configuration_facts.sql").read_text("utf-8")
    facts = re.search(rf"{dialect}__configuration_facts.*?connector_identifier,(.*?)from {{{{ conf", macros, re.DOTALL)
    patterns = re.findall(r"'(\w+)': '(.*)',\n", macros)
    assert facts
    assert patterns
    copied = facts[1].replace("configuration_json", "document").replace("{{ elements }}", '? (@.type() == "array")[*]')
    for name, pattern in patterns:
        copied = copied.replace(f"{{{{ url.{name} }}}}", pattern.replace(r"\\", "\\"))
    assert "".join(copied.split()) in "".join(overview_query(dialect).split())


def test_the_overview_is_the_same_in_python_and_in_sql(destination: str) -> None:
    """One row per connector: edits, versions, syncs, errors; null is unknown."""
    with open_dataset(destination, "supermetrics") as data:
        rows = list(overview(data, datetime.now(timezone.utc)))
        answer = data.query(overview_query(destination, data.table)).rows
    stored = [dict(zip(OVERVIEW_COLUMNS, row, strict=True)) for row in sorted(answer, key=list)]
    assert len(rows) == 3
    for row, in_sql in zip(rows, stored, strict=True):
        secrets = in_sql["secrets"]
        in_sql["secrets"] = json.loads(secrets) if isinstance(secrets, str) else secrets
        in_sql["error_rate"] = None if in_sql["error_rate"] is None else pytest.approx(float(in_sql["error_rate"]))
        assert row == in_sql
    by_name = {row["connector_identifier"]: row for row in rows}
    assert f"{by_name['CRM']['last_edited_at']:%Y-%m-%d}" == "2025-04-01"
    assert (by_name["CRM"]["version"], by_name["CRM"]["versions"], by_name["CRM"]["fields"]) == ("1.1.0", 2, 4)
    assert by_name["CRM"]["error_rate"] == pytest.approx(1 / 3)
    assert by_name["CRM"]["team_name"]
    assert (by_name["bare"]["authentication_type"], by_name["bare"]["report_types"]) == (None, 0)
    assert (by_name["OTHER"]["versions"], by_name["OTHER"]["report_types"], by_name["OTHER"]["hosts"]) == (None,) * 3
    assert by_name["OTHER"]["last_complete_sync_at"] < by_name["CRM"]["last_complete_sync_at"]


def test_the_view_answers_as_the_command_and_lets_its_tables_be_dropped(
    destination: str, own_database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is created again with the tables that exist then. A view of the user's stays."""
    to = ["--destination", destination]
    create = ["overview", "--create-view", *to]

    def execute(statement: str) -> None:
        if destination == "duckdb":
            with duckdb.connect("supermetrics_connectors.duckdb") as file:
                file.execute(statement)
            return
        with closing(psycopg2.connect(own_database)) as connection, connection:
            connection.cursor().execute(statement)

    def identifiers(condition: str) -> list[str]:
        capsys.readouterr()
        query = f"select connector_identifier from connector_overview where {condition} order by 1"
        assert run(["sql", query, "--csv", *to]) == 0
        return capsys.readouterr().out.split()[1:]

    execute("create view supermetrics.connector_overview as select 1 as mine")
    assert run(create) == 64
    assert "exists with other columns, and is left alone" in capsys.readouterr().err
    execute("drop view supermetrics.connector_overview")
    assert run(create) == run(create) == 0
    assert identifiers("report_types = 2 and error_rate > 0.3 and team_name is not null") == ["CRM"]
    execute("alter table supermetrics.connector_logs rename to kept_logs")
    execute("alter table supermetrics.connector_configurations rename to kept_configurations")
    assert run(create) == 0
    assert identifiers("fields is null and secrets is null and error_rate is null") == ["CRM", "OTHER", "bare"]
    execute("alter table supermetrics.kept_logs rename to connector_logs")
    execute("alter table supermetrics.kept_configurations rename to connector_configurations")
    execute("begin; drop table supermetrics.teams; rollback")
    execute("drop view supermetrics.connector_overview")


@pytest.mark.parametrize("destination", ["filesystem"], indirect=True)
def test_a_destination_without_the_view_is_a_usage_error(destination: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The command itself answers on every destination."""
    assert run(["overview", "--create-view", "--destination", destination]) == 64
    assert "use `overview`." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("statement", "syncs"),
    [
        ("update _dlt_loads set status = 1", []),
        ("delete from _dlt_loads", [TEAM, FAILING]),
        ("drop table _dlt_loads", [TEAM, FAILING]),
    ],
)
@pytest.mark.parametrize("destination", ["duckdb"], indirect=True)
def test_a_sync_is_complete_with_its_load_package(statement: str, syncs: list[int], destination: str) -> None:
    """Nothing is concluded from a missing or empty `_dlt_loads`."""
    with duckdb.connect("supermetrics_connectors.duckdb") as connection:
        connection.execute(f"use supermetrics; {statement}")
    with open_dataset(destination, "supermetrics") as data:
        found = {row["team_id"] for row in overview(data, datetime.now(timezone.utc)) if row["last_complete_sync_at"]}
    assert sorted(found) == syncs


def test_the_command_prints_json_and_a_table(destination: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The JSON has every column."""
    assert run(["overview", "--json", "--destination", destination]) == 0
    connectors = json.loads(capsys.readouterr().out)["connectors"]
    assert [set(row) for row in connectors] == [set(OVERVIEW_COLUMNS)] * 3
    assert run(["overview", "--destination", destination]) == 0
    assert "{{account.region}}.example.com" in capsys.readouterr().out
