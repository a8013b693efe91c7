"""Text from outside does nothing where it is shown: no line, no colour, no direction but ours."""

from __future__ import annotations

import io
import logging
import unicodedata
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supermetrics_loader.harmless import HarmlessRecord, harmless, harmless_lines

DIRECTIONS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
HARMFUL = [chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) in ("Cc", "Cs", "Zl", "Zp")]
HARMFUL += [*DIRECTIONS, "\ufffe", "\uffff"]
texts = st.text(st.one_of(st.characters(), st.sampled_from(HARMFUL)))


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
def test_what_acts_is_written_out_and_the_rest_is_as_it_is(text: object, shown: str) -> None:
    """By letters that can be looked up, and nothing else changes: emoji and other scripts are names like any."""
    assert harmless(text) == shown


@given(texts)
def test_nothing_harmful_is_left(text: str) -> None:
    """Whatever the text, it is one line that can be encoded; and to be made harmless twice changes nothing."""
    shown = harmless(text)
    assert not set(shown) & set(HARMFUL)
    assert len(shown.splitlines()) <= 1
    assert shown.encode().decode() == shown
    assert harmless(shown) == shown
    assert (shown == text) == set(text).isdisjoint(HARMFUL)


def test_lines_of_others_are_indented() -> None:
    """A database's error keeps its lines, of which none begins as one of ours."""
    assert harmless_lines("one\nError: forged\x1b[2J\r\n") == "one\n  Error: forged\\x1b[2J\\r"


@given(texts)
def test_every_line_of_others_but_the_first_is_indented(text: str) -> None:
    """Whatever else breaks lines is written out."""
    _, *rest = harmless_lines(text).splitlines() or [""]
    assert all(line.startswith("  ") for line in rest)


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What a logger prints in the way of the command line."""
    printed = io.StringIO()
    handler = logging.StreamHandler(printed)
    logger = logging.getLogger("test_harmless")
    logger.addHandler(handler)
    logging.setLogRecordFactory(HarmlessRecord)
    yield printed
    logging.setLogRecordFactory(logging.LogRecord)
    logger.removeHandler(handler)


def test_a_record_is_one_line(log: io.StringIO) -> None:
    """Whether the text came as the message or as an argument of it."""
    logging.getLogger("test_harmless").warning("Team %s:\n%s", 7, "gone\u202e\nERROR forged")
    assert log.getvalue() == "Team 7:\\ngone\\u202e\\nERROR forged\n"


def test_a_traceback_in_a_log_is_indented(log: io.StringIO) -> None:
    """An exception's text may be a server's."""
    error = ValueError("no\x1b[2J\nERROR forged")
    logging.getLogger("test_harmless").error("It failed", exc_info=error)
    assert log.getvalue() == "It failed\nValueError: no\\x1b[2J\n  ERROR forged\n"
