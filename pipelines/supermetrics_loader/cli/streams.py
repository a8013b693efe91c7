"""Standard output and standard error of the command line: a reader that leaves does not decide the result of a load.

A load ends with its own exit code also where nobody reads the summary: with a closed descriptor, a closed pipe or a
full disk. A command whose result is its output asks for `output_failure`. Characters outside the encoding are written
as escapes.
"""

import contextlib
import io
import os
import select
import sys
from typing import Any


class _TolerantFile(io.FileIO):
    failure: OSError | None = None
    """Why something was not written; None also for a reader that has left."""

    def write(self, data: Any) -> int:
        """Writes, and drops what cannot be written. Waits for a full pipe that does not block."""
        try:
            while (written := super().write(data)) is None:
                select.select((), (self,), ())
        except OSError as error:
            if not isinstance(error, BrokenPipeError):
                self.failure = error
            return len(data)
        return written


def output_failure() -> OSError | None:
    """Why standard output is incomplete; None if it is complete, or if its reader has left."""
    sys.stdout.flush()
    file = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return file.failure if isinstance(file, _TolerantFile) else None


def replace_streams() -> None:
    """Replaces `sys.stdout` and `sys.stderr`. Call it before any file is opened."""
    for descriptor in range(3):
        _open_if_closed(descriptor)
    sys.stdout = tolerant(1, sys.stdout)
    sys.stderr = tolerant(2, sys.stderr)


def _open_if_closed(descriptor: int) -> None:
    """Opens a closed descriptor: the next file, perhaps a database, would get its number and be written into."""
    try:
        os.fstat(descriptor)
    except OSError:
        os.open(os.devnull, os.O_RDWR)  # gets the lowest free number


def tolerant(descriptor: int, stream: Any) -> io.TextIOWrapper:
    """The stream of a descriptor, in the encoding of Python's own stream (None for a closed one)."""
    if stream:
        with contextlib.suppress(OSError):
            stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_TolerantFile(descriptor, "w", closefd=False)),
        encoding=getattr(stream, "encoding", "utf-8"),
        errors="backslashreplace",
        line_buffering=descriptor == 2 or os.isatty(descriptor),
    )
