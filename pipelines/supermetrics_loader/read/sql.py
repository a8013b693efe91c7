"""Runs a query of the user, read-only, and says how to look at the data."""

import re
import shlex
import shutil
import sys
from pathlib import Path

import sqlglot
from sqlglot import expressions
from sqlglot.errors import SqlglotError

from .dataset import Dataset, QueryResult
from .errors import ReadError

PROGRAM = "supermetrics-connectors"
NEWEST = "select team_id, name, connector_identifier, updated_at from connectors order by updated_at desc limit 10"
"""The query of `look_command`."""
_QUERIES = {"SELECT", "WITH", "FROM", "VALUES", "TABLE", "SHOW", "DESCRIBE", "SUMMARIZE"}
"""First words of a query, where the session itself refuses writes to the database."""
_FILE_WRITES = re.compile(r"\b(?:AS|MATERIALIZED) \( COPY\b|\bINTO (?:OUTFILE|DUMPFILE)\b")
"""What writes a file within a query, in DuckDB and in MySQL. No read-only session refuses it."""
_MYSQL_MINUSES = re.compile(r"--(?![\s\x00-\x1f])")
"""Two minus signs, which begin a comment in MySQL only before a space or control character, and elsewhere always."""
_WRITES = (expressions.DML, expressions.DDL, expressions.Into, expressions.Command)


def run_query(data: Dataset, sql: str) -> QueryResult:
    """Runs a query in a read-only session. Tables of the dataset need no schema.

    Args:
        data: The open dataset; it may hold snapshots.
        sql: One query in the destination's SQL.

    Raises:
        ReadError: It is not a query, or the database refused it.
    """
    _refuse_writes(sql, data)
    return data.answer(sql)


def how_to_open(data: Dataset, destination: str) -> list[str]:
    """Lines that name the data's place, its tables and ways to open it.

    Args:
        data: The open dataset.
        destination: The name of its destination.
    """
    program = "sqlite3" if data.dialect == "sqlite" else "duckdb"
    lines = {
        "Data": f"{data.location}, dataset {data.name}",
        "Tables": ", ".join(data.tables),
        "Query": look_command(destination, data.name),
        "Open": f"{program} -readonly {shlex.quote(str(data.file))}" if data.file else "",
        "Names": f"In other programs the table connectors is {data.table('connectors')}",
    }
    return [f"{title + ':':<9}{text}" for title, text in lines.items() if text]


def look_command(destination: str, dataset: str) -> str:
    """The command that shows the connectors edited last, quoted for a shell.

    Args:
        destination: The name of a dlt destination.
        dataset: The dataset's name.
    """
    options = ["--destination", destination] if destination != "duckdb" else []
    options += ["--dataset", dataset] if dataset != "supermetrics" else []
    return " ".join([_program(), "sql", f'"{NEWEST}"', *map(shlex.quote, options)])


def _program() -> str:
    """The program as the user started it, where its name alone would not find it."""
    started = Path(sys.argv[0])
    if started.name != PROGRAM or shutil.which(PROGRAM) == str(started.absolute()):
        return PROGRAM
    return shlex.quote(str(started))


def _refuse_writes(sql: str, data: Dataset) -> None:
    """Makes sure that the text is one query. EXPLAIN is none, as it can execute a statement.

    DuckDB files, PostgreSQL, SQLite and MySQL refuse writes to the database themselves. For other destinations the
    query is parsed.
    """
    try:
        text = _MYSQL_MINUSES.sub("- -", sql) if data.dialect == "mysql" else sql
        tokens = sqlglot.tokenize(text, read=data.dialect)
        trees = [] if data.is_guarded else sqlglot.parse(sql, read=data.dialect)
    except SqlglotError as error:
        raise ReadError(f"The query cannot be parsed: {error}") from None
    kinds = [token.token_type.name for token in tokens]
    words = [token.text.upper() for token in tokens if token.text != "("]
    if "SEMICOLON" in kinds[:-1]:
        raise ReadError("There is more than one statement. `sql` runs one query.")
    allowed = _QUERIES if data.is_guarded else {"SELECT", "WITH"}
    writes = any(tree is None or next(tree.find_all(*_WRITES), None) for tree in trees)
    code = " ".join(token.text.upper() for token in tokens if token.token_type.name != "STRING")
    writes |= _FILE_WRITES.search(code) is not None
    if data.dialect == "mysql" and any(each.startswith(("!", "M!")) for token in tokens for each in token.comments):
        raise ReadError("MySQL executes comments that begin with `/*!` or `/*M!`. `sql` does not run them.")
    if writes or not words or words[0] not in allowed:
        raise ReadError(f"`sql` reads and never writes. A query begins with {' or '.join(sorted(allowed))}.")
