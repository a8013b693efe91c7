"""Locks of the destination: one run at a time loads a team, across machines.

Two runs of one team at the same moment would each write what they read. The next run repairs the result; a lock avoids
it. PostgreSQL, MySQL and MariaDB hold locks as long as a connection lasts, so a killed run leaves none behind.
"""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import dlt
from dlt.destinations.exceptions import DatabaseException

from supermetrics_connectors.interface import TeamLocks

logger = logging.getLogger(__name__)

LOCK_TIMEOUT = 600
"""Seconds until a run gives up waiting for another run of the same teams."""
MAX_LOCKS = 2_000
"""PostgreSQL has room for 6,400 locks by default, shared by all clients."""


class AlreadyRunningError(Exception):
    """Another run loads the same teams or uses the same pipeline."""


class LockLostError(Exception):
    """The connection that held the locks was lost during the run."""


class HeldLocks:
    """The locks of a run.

    Args:
        locks: The destination's locks; None where it has none.
        keys: The locks' numbers.
    """

    def __init__(self, locks: TeamLocks | None, keys: Sequence[int]) -> None:
        self._locks = locks
        self._keys = keys

    def verify(self) -> None:
        """Checks that the locks are still held, before anything is written.

        Raises:
            LockLostError: They are not: the server or a pooler ended the connection, and another run may be loading.
        """
        if self._locks is None:
            return
        try:
            is_held = self._locks.are_held(self._keys)
        except DatabaseException:
            is_held = False
        if not is_held:
            raise LockLostError(
                "The connection that held the locks of these teams was lost during the run, so another run may be "
                "loading them. Nothing was written. Run again; for PostgreSQL behind a pooler use a connection that "
                "bypasses it, or a pooler in session mode"
            )


@contextmanager
def team_locks(locks: TeamLocks | None, pipeline: dlt.Pipeline, team_ids: Sequence[int]) -> Iterator[HeldLocks]:
    """Waits until no other run loads these teams, or through the same staging tables, and makes others wait.

    Args:
        locks: The destination's locks; None where it has none.
        pipeline: The pipeline.
        team_ids: The teams.

    Raises:
        AlreadyRunningError: Another run has not ended within `LOCK_TIMEOUT`.
    """
    if locks is None:
        yield HeldLocks(None, ())
        return
    names = [f"pipeline {pipeline.pipeline_name}", *(f"team {team_id}" for team_id in team_ids)]
    if len(names) > MAX_LOCKS:
        logger.warning("%s teams are too many for a lock each: do not run two loads of them at once", len(team_ids))
        names = names[:1]
    keys = sorted(
        _lock_key(pipeline.dataset_name, name) for name in names
    )  # one order, or two runs wait for each other
    try:
        if not locks.acquire(keys, LOCK_TIMEOUT):
            raise AlreadyRunningError(
                f"Another run loads the same teams into {pipeline.dataset_name} and has not ended in {LOCK_TIMEOUT} s. "
                "Wait until that run ends; if it hangs, end it: its locks end with it."
            )
        yield HeldLocks(locks, keys)
    finally:
        try:
            locks.release()
        except DatabaseException as error:
            logger.warning("The connection that held the locks was lost: %s", type(error).__name__)


def _lock_key(dataset: str, name: str) -> int:
    """A lock's number, 64 bits."""
    digest = hashlib.blake2b(f"supermetrics {dataset} {name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
