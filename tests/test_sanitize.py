"""Printed text from outside adds no line, no colour and no change of direction."""

from __future__ import annotations

import io
import logging
import unicodedata
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supermetrics_loader.sanitize import SanitizedRecord, sanitize, sanitize_lines

DIRECTIONS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
UNSAFE = [chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) in ("Cc", "Cs", "Zl", "Zp")]
UNSAFE += [*DIRECTIONS, "\ufffe", "\uffff"]
texts = st.text(st.one_of(st.characters(), st.sampled_from(UNSAFE)))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("Error\r\nforged", r"Error\r\nforged"),
        ("\x9b2J\x85\x7f\t", r"\x9b2J\x85\x7f\t"),
        ("invoice\u202efdp.exe", r"invoice\u202efdp.exe"),
        ("\u2066isolated\u2069\u2028", r"\u2066isolated\u2069\u2028"),
        ("\ud83d half", r"\ud83d half"),
        (":id: [red]Käyttö[/red] 漢字 👩‍👩‍👧 שלום", ":id: [red]Käyttö[/red] 漢字 👩‍👩‍👧 שלום"),
        (936506, "936506"),
    ],
)
def test_unsafe_characters_become_escapes_and_all_others_stay(text: object, shown: str) -> None:
    """Emoji and other scripts are ordinary names."""
    assert sanitize(text) == shown


@given(texts)
def test_no_unsafe_character_is_left(text: str) -> None:
    """Every text becomes one line that can be encoded; sanitizing it again changes nothing."""
    shown = sanitize(text)
    assert not set(shown) & set(UNSAFE)
    assert len(shown.splitlines()) <= 1
    assert shown.encode().decode() == shown
    assert sanitize(shown) == shown
    assert (shown == text) == set(text).isdisjoint(UNSAFE)


def test_lines_after_the_first_are_indented() -> None:
    """A database's error keeps its lines, and none of them looks like a line of this program."""
    assert sanitize_lines("one\nError: forged\x1b[2J\r\n") == "one\n  Error: forged\\x1b[2J\\r"


@given(texts)
def test_every_line_after_the_first_is_indented(text: str) -> None:
    """Other characters that break lines become escapes."""
    _, *rest = sanitize_lines(text).splitlines() or [""]
    assert all(line.startswith("  ") for line in rest)


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What a logger prints, set up as the command line does."""
    printed = io.StringIO()
    handler = logging.StreamHandler(printed)
    logger = logging.getLogger("test_sanitize")
    logger.addHandler(handler)
    logging.setLogRecordFactory(SanitizedRecord)
    yield printed
    logging.setLogRecordFactory(logging.LogRecord)
    logger.removeHandler(handler)


def test_a_record_is_one_line(log: io.StringIO) -> None:
    """For text in the message and for text in its arguments."""
    logging.getLogger("test_sanitize").warning("Team %s:\n%s", 7, "gone\u202e\nERROR forged")
    assert log.getvalue() == "Team 7:\\ngone\\u202e\\nERROR forged\n"


def test_a_traceback_in_a_log_is_indented(log: io.StringIO) -> None:
    """The text of an exception may come from a server."""
    error = ValueError("no\x1b[2J\nERROR forged")
    logging.getLogger("test_sanitize").error("It failed", exc_info=error)
    assert log.getvalue() == "It failed\nValueError: no\\x1b[2J\n  ERROR forged\n"
