"""Locks of the destination: one run at a time loads a team, across machines.

Two runs of one team at the same moment would each write what they read. The next run repairs the result; a lock avoids
it. PostgreSQL, MySQL and MariaDB hold locks as long as a connection lasts, so a killed run leaves none behind.
"""

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
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


@contextmanager
def team_locks(
    locks: TeamLocks | None, pipeline: dlt.Pipeline, team_ids: Sequence[int]
) -> Iterator[Callable[[], None]]:
    """Waits until no other run loads these teams, or through the same staging tables, and makes others wait.

    Yields a check that the locks are still held, to be called before anything is written. It raises LockLostError.

    Args:
        locks: The destination's locks; None where it has none.
        pipeline: The pipeline.
        team_ids: The teams.

    Raises:
        AlreadyRunningError: Another run has not ended within `LOCK_TIMEOUT`.
    """
    if locks is None:
        yield lambda: None
        return
    names = [f"pipeline {pipeline.pipeline_name}", *(f"team {team_id}" for team_id in team_ids)]
    if len(names) > MAX_LOCKS:
        logger.warning("%s teams are too many for a lock each: do not run two loads of them at once", len(team_ids))
        names = names[:1]
    # in one order, or two runs wait for each other
    keys = sorted(_lock_key(pipeline.dataset_name, name) for name in names)
    try:
        if not locks.acquire(keys, LOCK_TIMEOUT):
            raise AlreadyRunningError(
                f"Another run loads the same teams into {pipeline.dataset_name} and has not ended in {LOCK_TIMEOUT} s. "
                "Wait until that run ends; if it hangs, end it: its locks end with it."
            )
        yield lambda: _verify(locks, keys)
    finally:
        try:
            locks.release()
        except DatabaseException as error:
            logger.warning("The connection that held the locks was lost: %s", type(error).__name__)


def _verify(locks: TeamLocks, keys: Sequence[int]) -> None:
    try:
        is_held = locks.are_held(keys)
    except DatabaseException:
        is_held = False
    if not is_held:
        raise LockLostError(
            "The connection that held the locks of these teams was lost during the run, so another run may be "
            "loading them. Nothing was written. Run again; for PostgreSQL behind a pooler use a connection that "
            "bypasses it, or a pooler in session mode"
        )


def _lock_key(dataset: str, name: str) -> int:
    """A lock's number, 64 bits."""
    digest = hashlib.blake2b(f"supermetrics {dataset} {name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
