"""The queries of docs/queries.md run in their dialects, and find what they ask for."""

from __future__ import annotations

import re
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest

from supermetrics_loader.read.dataset import open_dataset
from supermetrics_loader.read.sql import run_query

TEAM, FAILING = 936506, 941277
TEXT = (Path(__file__).resolve().parents[2] / "docs" / "queries.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sql( duckdb| postgres|)\n(.*?);\n```$", TEXT, re.MULTILINE | re.DOTALL)
ANY = object()
"""A time, or a text that differs between runs."""

ANSWERS: list[list[tuple[Any, ...]]] = [
    [
        (TEAM, "Internal CRM", "CRM", "2025-04-01"),
        (TEAM, "Bare", "bare", "2025-03-01"),
        (FAILING, "Other", "OTHER", "2025-01-01"),
    ],
    [
        (ANY, "configuration_changed", TEAM, "Internal CRM", ANY, ANY, ANY),
        (ANY, "removed", TEAM, "Gone", None, None, None),
    ],
    [(TEAM, "CRM", 2, ANY)],
    [(TEAM, "CRM", "1.1.0", ANY), (TEAM, "bare", "1", ANY)],
    [
        (ANY, TEAM, "CRM", "added", "$.reporting.reportTypes[0].fields[1]"),
        (ANY, TEAM, "CRM", "added", "$.reporting.schedule"),
    ],
    [(TEAM, "CRM", "https://crm.example.com/accounts"), (TEAM, "CRM", "https://crm.example.com/{{account.id}}/deals")],
    [(TEAM, "CRM", "deals", "Deals", 4), (TEAM, "CRM", "owners", "Owners", None)],
    [(TEAM, "CRM", "oauth2"), (TEAM, "bare", None)],
    [(TEAM, "CRM", "api_key")],
    [(FAILING, ANY), (TEAM, ANY)],
    [(FAILING, ANY, 403, "FORBIDDEN", ANY, ANY)],
]


@pytest.mark.parametrize("destination", ["duckdb", "postgres", "filesystem"], indirect=True)
def test_documented_queries_find_what_they_ask_for(destination: str) -> None:
    """Every query of the page, unchanged, in the order of the page. DuckDB reads Delta tables."""
    own = "postgres" if destination == "postgres" else "duckdb"
    queries = [query for dialect, query in BLOCKS if dialect.strip() in ("", own)]
    assert len(queries) == len(ANSWERS)
    with open_dataset(destination, "supermetrics") as data:
        answers = [run_query(data, query).rows for query in queries]
    found = [
        [matched(row, expected) for row, expected in zip_longest(rows, answer, fillvalue=())]
        for rows, answer in zip(answers, ANSWERS, strict=True)
    ]
    assert found == ANSWERS


def matched(row: Any, expected: tuple[Any, ...]) -> tuple[Any, ...]:
    """The row with days for times, and `ANY` where any value will do."""
    days = [f"{value:%Y-%m-%d}" if hasattr(value, "tzinfo") else value for value in row]
    return tuple(ANY if wanted is ANY else value for value, wanted in zip_longest(days, expected))
