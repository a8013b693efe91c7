"""The exit codes of the command line: BSD sysexits, like the vendor's own command line."""

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes that a scheduler can act on."""

    OK = 0
    OTHER = 1
    USAGE = 64
    AUTH = 65
    UNAVAILABLE = 69
    INTERRUPTED = 130
