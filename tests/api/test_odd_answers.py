"""Odd but honest answers, all the way into the tables: what is stored is what was sent, and the next load goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from supermetrics_connectors.tables.contracts import OWN_COLUMNS
from supermetrics_loader.sandbox import Fault, Sandbox

Rows = Callable[..., list[tuple[Any, ...]]]


def answering(sandbox: Sandbox, body: str) -> None:
    """Has the sandbox answer so, numbers as they are written."""
    sandbox.add_team(1)
    sandbox.clear_faults()
    sandbox.fault(Fault(body=body.encode()), times=9)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("12345678901234567890123", "12345678901234567890124"),
        ("18446744073709551616", "18446744073709551617"),
        ("-99999999999999999999", "-99999999999999999998"),
        ("0.10000000000000000001", "0.1"),
    ],
)
def test_a_digit_that_no_double_holds_is_stored_and_its_edit_is_a_version(
    sandbox: Sandbox, load: Callable[..., Any], rows: Rows, first: str, second: str
) -> None:
    """Also where the same number is a field of the connector that the API has added."""
    for number in (first, second, second):
        answering(
            sandbox,
            f'{{"count": 1, "connectors": [{{"connector_identifier": "A", "quota": [{number}],'
            f' "configuration": {{"configuration_json": {{"limit": {number}}}}}}}]}}',
        )
        load(1, include_configs=True)
        ((quota,),) = rows("connectors", "quota::varchar")
        assert quota == f"[{number}]"
    versions = rows("connector_configurations", "configuration_json::varchar", "content_hash")
    assert {text for text, _ in versions} == {f'{{"limit":{number}}}' for number in (first, second)}
    assert len({content_hash for _, content_hash in versions}) == len(versions) == 2


def test_fields_under_names_of_our_own_stop_no_load(sandbox: Sandbox, load: Callable[..., Any], rows: Rows) -> None:
    """One after the other, and all of them in every load after that."""
    names = sorted(
        {*OWN_COLUMNS, "_dlt_load_id", "_dlt_id", "_dlt_valid_to", "_dlt_root_id"} - {"connector_identifier"}
    )
    fields = ""
    for number, name in enumerate(names):
        value = 1 if name == "team_id" else number
        fields += f', "{name}": {value}'
        more = fields.replace(', "configuration_json"', ', "other"')
        answering(
            sandbox,
            f'{{"count": 1, "connectors": [{{"connector_identifier": "A"{fields},'
            f' "configuration": {{"configuration_json": {{}}{more}}}}}]}}',
        )
        load(1, include_configs=True)
        column = f"api_{name.lstrip('_')}"
        assert rows("connectors", "connector_identifier", column) == [("A", value)]
    assert rows("connector_configurations", "count(*)", where="_dlt_valid_to is null") == [(1,)]
    assert rows("team_syncs", "distinct status") == [("ok",)]
