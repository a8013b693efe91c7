"""The exit codes of the command line: BSD sysexits, as the vendor's own command line uses them."""

from enum import IntEnum


class Exit(IntEnum):
    """What a scheduler can go by."""

    OK = 0
    OTHER = 1
    USAGE = 64
    AUTH = 65
    UNAVAILABLE = 69
    INTERRUPTED = 130

    @classmethod
    def of_status(cls, status_code: int | None) -> "Exit":
        """The code for a team that failed with this HTTP status; without an answer (None) the API was unavailable."""
        if status_code in (401, 403):
            return cls.AUTH
        return cls.UNAVAILABLE if status_code is None or status_code == 429 or status_code >= 500 else cls.OTHER
