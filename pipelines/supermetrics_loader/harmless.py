r"""Text from outside, made harmless where it is shown: in tables, errors, logs, differences and the report.

Whoever may name a connector must not be able to clear a screen, forge a line of a log or turn text around. What could
is written as Python writes it in a string: `\x1b`, `\n`, `\u202e`. Data is stored, and given out as JSON, as it is.
"""

import logging
import re
from typing import Any

_HARMFUL = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # C0, DEL and C1: they move cursors, and XML has no place for most
    "\u2028\u2029"  # line and paragraph separators
    "\u202a-\u202e\u2066-\u2069"  # they change the direction in which text is read
    "\ud800-\udfff\ufffe\uffff]"  # no characters: they cannot be encoded, or drawn as SVG
)


def harmless(text: object) -> str:
    """The text on one line, what would act on a terminal or a page in visible letters."""
    return _HARMFUL.sub(lambda found: ascii(found[0])[1:-1], str(text))


def harmless_lines(text: object) -> str:
    """The same for a text of several lines, such as a database's error; those after the first are indented.

    So none of them can pass for a line of ours.
    """
    return "\n  ".join(map(harmless, str(text).rstrip("\n").split("\n")))


class HarmlessRecord(logging.LogRecord):
    """A log record whose message and traceback are harmless, whichever handler shows it: dlt has its own."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.exc_info and self.exc_info[0]:
            self.exc_text = harmless_lines(logging.Formatter().formatException(self.exc_info))

    def getMessage(self) -> str:  # noqa: N802 - logging's name
        """The message with its arguments, on one line."""
        return harmless(super().getMessage())
