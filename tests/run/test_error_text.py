"""Errors of a destination: no row of a table reaches standard error, a chat or `team_syncs`."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable

import duckdb
import psycopg2
import pytest
from dlt.destinations.exceptions import DatabaseTerminalException

from supermetrics_connectors import SupermetricsError
from supermetrics_loader.run.error_text import MAX_MESSAGE_CHARS, shorten_record, summarize_error, without_values
from tests.helpers.commands import Command, ask
from tests.helpers.expectations import TEAM
from tests.helpers.sandbox import Sandbox
from tests.run.conftest import Chat

VALUE = """it's "hunter2" (hunter2)=(hunter2)
hunter2"""

WITHOUT_WAITING = """
import supermetrics_loader.run.load
from supermetrics_loader.cli.main import main
supermetrics_loader.run.load._LOAD_RETRIES.sleep = lambda _seconds: None
main()
"""
"""The command line, whose attempts to load follow each other at once."""

Execute = Callable[[str], list[tuple[object, ...]]]


@pytest.fixture
def in_postgres(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Execute:
    """Runs a statement in PostgreSQL, into which loads go."""
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", postgres_url)

    def execute(sql: str) -> list[tuple[object, ...]]:
        with psycopg2.connect(postgres_url) as connection, connection.cursor() as cursor:
            cursor.execute(f"set search_path = 'error_text'; {sql}")
            return cursor.fetchall() if cursor.description else []

    return execute


@pytest.mark.parametrize(
    ("destination", "dataset", "refuse", "summary"),
    [
        (
            "duckdb",
            "supermetrics",
            "alter table connectors alter name type integer using 1",
            "ConversionException: Conversion Error: Could not convert string …",
        ),
        (
            "postgres",
            "error_text",
            "alter table connectors add constraint quiet check (name not like '%hunter2%')",
            'CheckViolation 23514: new row for relation "connectors" violates check constraint …',
        ),
    ],
)
def test_a_refused_row_is_quoted_nowhere(
    api: Sandbox,
    chat: Chat,
    cli: Command,
    monkeypatch: pytest.MonkeyPatch,
    in_postgres: Execute,
    destination: str,
    dataset: str,
    refuse: str,
    summary: str,
) -> None:
    """Neither by this program nor by a log record of dlt."""
    execute = in_postgres if destination == "postgres" else ask
    command = ["load", "--destination", destination, "--dataset", dataset]
    assert cli(*command).code == 0
    if destination == "duckdb":
        execute("drop view connector_changes")
    execute(refuse)
    api.edit_connector(TEAM, "A", name=VALUE)
    monkeypatch.setenv("SUPERMETRICS_NOTIFY", chat.webhook)
    arguments = [sys.executable, "-c", WITHOUT_WAITING, *command, "--json"]
    done = subprocess.run(arguments, capture_output=True, encoding="utf-8", timeout=300, check=False)  # noqa: S603 - ours
    code, out, err = done.returncode, done.stdout, done.stderr
    messages = [str(text) for (text,) in execute("select error_message from team_syncs where status = 'failed'")]
    assert code == 1
    assert err.startswith(f"Error: {summary}")
    assert len(err.splitlines()) == 1
    assert messages
    assert all(message.startswith(summary) for message in messages)
    texts = [out, err, *messages, *chat.texts()]
    assert len(texts) == 2 + len(messages) + 1
    assert not [text for text in texts if "hunter2" in text]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Could not convert string 'hunter2' to INT32", "Could not convert string …"),
        (
            'null value in column "name" of relation "connectors"',
            'null value in column "name" of relation "connectors"',
        ),
        ('relation "hunter2.name" does not exist', "relation …"),
        (
            "UNIQUE constraint failed: connector_identifier, hunter2",
            "UNIQUE constraint failed: connector_identifier, …",
        ),
        ("Incorrect value: `hunter2` (x)=(hunter2)", "Incorrect value: …"),
        ("Failing row contains (7, hunter2, null).", "Failing row contains …"),
        ("Cannot parse input: expected , before: hunter2!,7", "Cannot parse input: expected , before: …"),
        ("Type VARCHAR with value hunter can't be cast", "Type VARCHAR with value …"),
        ("100038 (22018): Numeric value hunter is not recognized", "…"),
        ("Bad int64 value: correct horse", "Bad int64 value: …"),
        (
            "(pymysql.err.DataError) (1406, \"Data too long for column 'name' at row 1\")",
            "Data too long for column 'name' at row …",
        ),
        ("refused\nDETAIL: Failing row contains (hunter2).", "refused"),
        ("", ""),
        ("error " * 1000, ("error " * 1000)[:MAX_MESSAGE_CHARS]),
    ],
)
def test_values_and_further_lines_are_left_out(text: str, expected: str) -> None:
    """Also values without quotation marks. Names of tables and columns of ours stay."""
    assert without_values(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "Received exception from worker: Bad int64 value: hunter",
            "Received exception from worker: Bad int64 value: …",
        ),
        ("In resource: teams, when merging `hunter`", "In resource: teams, when merging …"),
    ],
)
def test_a_log_record_of_dlt_has_no_values(text: str, expected: str) -> None:
    """An error of the database follows a text of dlt, which stays."""
    assert shorten_record(text) == expected


@pytest.mark.parametrize(
    ("error", "is_connecting", "expected"),
    [
        (SupermetricsError("it's 'whole'"), False, "SupermetricsError: it's 'whole'."),
        (ValueError("it's 'whole'"), False, "ValueError: it's 'whole'"),
        (DatabaseTerminalException(duckdb.Error("'hunter2'")), False, "DatabaseTerminalException: …"),
        (duckdb.IOException("lock on 'file'"), False, "IOException: lock on …"),
        (duckdb.IOException("lock on 'file'\nby PID 1"), True, "IOException: lock on 'file'\nby PID 1"),
    ],
)
def test_errors_without_rows_stay_whole(
    error: Exception, is_connecting: bool, expected: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The file or host of a failed connection is what the person needs. `--verbose` logs the full text of others."""
    caplog.set_level(logging.INFO, "supermetrics_loader")
    assert summarize_error(error, is_connecting) == expected
    assert caplog.messages == ([f"Full text of {type(error).__name__}: {error}"] if "…" in expected else [])
