"""Texts of third-party errors without the rows that they quote.

An error of a database may contain values of the failing row, and so a configuration, quoted or not. What is stored,
posted or printed is the error's class, its code and the beginning of its text, as far as it consists of words that
databases use in messages and of our own names. The full text goes to the local log only.
Errors of a connection come before any row and stay whole: they quote the host, the user or the file.
"""

import errno
import logging
import os
import re
from typing import Any

from dlt.common.exceptions import DltException
from dlt.destinations.exceptions import DatabaseException

from supermetrics_connectors.interface import CHANGES_VIEW, TABLES, redact

logger = logging.getLogger(__name__)

MAX_MESSAGE_CHARS = 500
_OWN_NAMES = {CHANGES_VIEW, *TABLES, *(column.name for spec in TABLES.values() for column in spec.columns)}
_MESSAGE_WORDS = """
a aborted access account address after allocate already an and another any argument array arrow as at attempt
attempted authentication authorization bad be because been before between bigint bigquery binary binder blob block
boolean both broken bucket busy but by can can't canceled canceling cannot cast catalog certificate change changed
char characters check closed code column columns command commit committed concurrent concurrently conflict connect
connection constraint contains conversion convert converted converting corrupt could couldn't create credentials
current data database dataset date datetime db deadlock decimal default delete delta deltatable denied depend
dependency depends detail detected device did different digit disk does doesn't double drop due duplicate duplicated
during element empty encountered entry error exceeded exceeds exception exist exists expected expression external
failed failing failure field file files find float for foreign format found from full function generic get given got
grant group has have host hostname http iceberg if image import in incompatible incorrect index input insert
insufficient int int16 int32 int64 int8 integer internal invalid io is isn't it iteration its json kernel key lacks
language large left length less limit line list load local lock locked login long lost malformed maximum memory
merge message mismatch missing mode more must name named network new no not null number numeric object of on one
only open operation operations operator or other out outside overflow own owner parquet parse parser parsing part
partition password permission permissions pipe port precision primary privilege privileges process protocol provided
query quota quoted range reached read read-only reading readonly reason recognized record reference referenced
refused region relation released requested required reset resource resources result retry role row rows runtime
schema select serialize server session set short size smallint source space sql ssl state statement stopped storage
store string support supported syntax table tables target temporary terminated text than that the there these this
time timed timeout timestamp timestamptz tinyint tls to token too transaction transactioncontext truncated try two
type types unable underlying unexpected unexpectedly unique unknown unreachable unsupported update use used user
uuid valid validation value values varchar version view violates violation warehouse was which while width window
with without write write-write writing wrong
"""
"""A value that consists of these says nothing about its row."""
_WORDS = frozenset(_MESSAGE_WORDS.split())
_SYSTEM_REASONS = [
    os.strerror(code)
    for code in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EMFILE, errno.ECONNREFUSED)
]
"""What the operating system says, anywhere in a text."""
_DRIVER_CODE = re.compile(r"(?:\([\w.]+\) )?\((\d{1,5}), ['\"]")
"""How drivers of MySQL begin, also below SQLAlchemy: `(1406, "Data too long`."""
_PUNCTUATION = ".,:;!()[]"
_QUOTES = "'\"`"


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
    text = without_values(str(error))
    reasons = [reason for reason in _SYSTEM_REASONS if reason in str(error) and reason not in text]
    return f"{name}{f' {code}' if code else ''}: {' '.join([text, *(f'({reason})' for reason in reasons)])}"


def _quotes_rows(error: BaseException) -> bool:
    """Whether a text may quote rows: errors of database drivers, and dlt's errors that contain them."""
    module = type(error).__module__.partition(".")[0]
    return isinstance(error, DatabaseException) or (
        not isinstance(error, DltException)
        and module not in ("builtins", "supermetrics_loader", "supermetrics_connectors", "filelock")
    )


def _code(error: BaseException) -> str:
    driver: Any = getattr(error, "dbapi_exception", error)
    codes = [getattr(driver, name, None) for name in ("pgcode", "errno")]
    if match := _DRIVER_CODE.match(str(error)):
        codes.append(match[1])
    return next((str(code) for code in codes if code and isinstance(code, (str, int))), "")


def without_values(text: str) -> str:
    """The beginning of a text, up to the first word that may be a value, or to the end of its first line."""
    line = _DRIVER_CODE.sub("", next(iter(text.splitlines()), ""), count=1)
    kept = []
    for word in line.split():
        if not _is_safe(word):
            kept.append("…")
            break
        kept.append(word)
    return " ".join(kept)[:MAX_MESSAGE_CHARS]


def _is_safe(word: str) -> bool:
    bare = word.strip(_PUNCTUATION)
    return not bare or bare.lower() in _WORDS or bare.strip(_QUOTES) in _OWN_NAMES


def shorten_record(text: str) -> str:
    """The first line of a text of dlt, without what is quoted; where it may end with an error, without values."""
    line = next(iter(text.splitlines()), "")
    about, colon, reason = line.partition(": ") if _MAY_HAVE_ERROR.search(line) else (line, "", "")
    return f"{_FROM_QUOTE.sub('…', about)}{colon}{without_values(reason)}"[:MAX_MESSAGE_CHARS]


_MAY_HAVE_ERROR = re.compile("error|exception|fail|retry|problem", re.IGNORECASE)
_FROM_QUOTE = re.compile(r"['\"`].*")
