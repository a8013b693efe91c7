"""Texts of third-party errors without the rows that they quote.

An error of a database may contain values of the failing row, and so a configuration. What is stored, posted or printed
is the error's class, its code and the first line without quoted values. The full text goes to the local log only.
Errors of a connection come before any row and stay whole: they quote the host, the user or the file.
"""

import logging
import re
from typing import Any

from dlt.common.exceptions import DltException
from dlt.destinations.exceptions import DatabaseException

from supermetrics_connectors.interface import CHANGES_VIEW, TABLES, redact

logger = logging.getLogger(__name__)

MAX_MESSAGE_CHARS = 500
_QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'?|\"(?:[^\"\\]|\\.)*\"?|`[^`]*`?|\((?:[^()]|\([^()]*\))*\)=\((?:.*)\)?")
_OWN_NAMES = {CHANGES_VIEW, *TABLES, *(column.name for spec in TABLES.values() for column in spec.columns)}
_IDENTIFIERS = re.compile(r"[\w.]+", re.ASCII)


def summarize_error(error: BaseException, is_connecting: bool = False) -> str:
    """The error in a form that is safe to store and to post: class, code and reason.

    Args:
        error: The reason of a failure, without dlt's wrappers.
        is_connecting: Whether a connection could not be opened.
    """
    name = type(error).__name__
    if is_connecting or not _quotes_rows(error):
        return f"{name}: {error}"
    document = [str(error)]
    redact(document)
    logger.info("Full text of %s: %s", name, document[0])
    code = _code(error)
    return f"{name}{f' {code}' if code else ''}: {without_values(str(error))}"


def _quotes_rows(error: BaseException) -> bool:
    """Whether a text may quote rows: errors of database drivers, and dlt's errors that contain them."""
    module = type(error).__module__.partition(".")[0]
    return isinstance(error, DatabaseException) or (
        not isinstance(error, DltException)
        and module not in ("builtins", "supermetrics_loader", "supermetrics_connectors", "filelock")
    )


def _code(error: BaseException) -> str:
    driver: Any = getattr(error, "dbapi_exception", error)
    code = getattr(driver, "pgcode", None) or getattr(driver, "errno", None)
    return str(code) if isinstance(code, (str, int)) else ""


def without_values(text: str) -> str:
    """The first line of a text, without values.

    A value may contain quotation marks, so everything from the first to the last one is left out, unless the line
    quotes nothing but names of ours.
    """
    line = next(iter(text.splitlines()), "")
    quoted = list(_QUOTED.finditer(line))
    if not all(_is_own_name(match[0][1:-1]) for match in quoted):
        line = f"{line[: quoted[0].start()]}…{line[quoted[-1].end() :]}"
    return line[:MAX_MESSAGE_CHARS]


def _is_own_name(text: str) -> bool:
    """Whether a quoted text consists of names of ours, with a dataset or staging dataset before a table."""
    return bool(_IDENTIFIERS.fullmatch(text)) and text.rpartition(".")[2] in _OWN_NAMES
