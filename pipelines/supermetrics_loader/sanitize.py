r"""Makes text from outside safe to print: in tables, errors, logs, differences and the report.

Nobody who names a connector can clear a screen, forge a line of a log or reverse text. Such characters are written as
in a Python string: `\x1b`, `\n`, `\u202e`. Stored data and JSON output keep the text unchanged.
"""

import logging
import re
from typing import Any

_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # C0, DEL and C1 move cursors, and XML allows few of them
    "\u2028\u2029"  # line and paragraph separators
    "\u202a-\u202e\u2066-\u2069"  # change the direction in which text is read
    "\ud800-\udfff\ufffe\uffff]"  # no characters: cannot be encoded, or drawn as SVG
)


def sanitize(text: object) -> str:
    """The text on one line, with every character that acts on a terminal or a page written as an escape."""
    return _UNSAFE.sub(lambda found: ascii(found[0])[1:-1], str(text))


def sanitize_lines(text: object) -> str:
    """A text of several lines, such as a database's error, sanitized line by line.

    Lines after the first are indented, so that none looks like a line of this program.
    """
    return "\n  ".join(map(sanitize, str(text).rstrip("\n").split("\n")))


class SanitizedRecord(logging.LogRecord):
    """A log record with a sanitized message and traceback, for every handler: dlt has its own handlers."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.exc_info and self.exc_info[0]:
            self.exc_text = sanitize_lines(logging.Formatter().formatException(self.exc_info))

    def getMessage(self) -> str:  # noqa: N802 - logging's name
        """The message with its arguments, on one line."""
        return sanitize(super().getMessage())
