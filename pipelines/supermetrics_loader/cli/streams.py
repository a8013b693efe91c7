"""Standard output and standard error as the command line writes to them: whoever listens has no say in what it does.

A load is done, and ends with its own exit code, also where nobody reads the summary: into a closed descriptor, a pipe
whose reader has left, a full disk. What an encoding has no letters for is written as an escape.
"""

import contextlib
import io
import os
import select
import sys
from typing import Any


class _Unheard(io.FileIO):
    def write(self, data: Any) -> int:
        """Writes what can be written, and drops what cannot. Waits for a pipe that is full and does not block."""
        try:
            while (written := super().write(data)) is None:
                select.select((), (self,), ())
        except OSError:
            return len(data)
        return written


def make_streams_robust() -> None:
    """Replaces `sys.stdout` and `sys.stderr`. To be called before any file is opened."""
    for descriptor in range(3):
        _open(descriptor)
    sys.stdout = _robust(1, sys.stdout)
    sys.stderr = _robust(2, sys.stderr)


def _open(descriptor: int) -> None:
    """Opens what the caller has closed: the next file, a database perhaps, would get its number and be written into."""
    try:
        os.fstat(descriptor)
    except OSError:
        os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free


def _robust(descriptor: int, stream: Any) -> io.TextIOWrapper:
    """The stream of a descriptor, in the encoding of the one that Python made (None for a closed one)."""
    if stream:
        with contextlib.suppress(OSError):
            stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_Unheard(descriptor, "w", closefd=False)),
        encoding=getattr(stream, "encoding", "utf-8"),
        errors="backslashreplace",
        line_buffering=descriptor == 2 or os.isatty(descriptor),
    )
