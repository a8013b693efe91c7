"""Who may load a team: one run at a time, where the destination can say so across machines.

Two runs of one team at the same moment would each write what they found. The next run mends what comes of that; a
lease spares it. PostgreSQL, MySQL and MariaDB keep one as long as a connection lasts: a killed run leaves none behind.
"""

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import dlt
from dlt.destinations.exceptions import DatabaseException
from dlt.destinations.sql_client import SqlClientBase

logger = logging.getLogger(__name__)

LONGEST_WAIT = 600
"""Seconds until a run gives up on another one of the same teams."""
_MOST_LOCKS = 2_000
"""PostgreSQL has room for 6,400 locks by default, for all its clients."""


class AlreadyRunningError(Exception):
    """Another run loads the same, on this machine or another."""


@contextmanager
def leased(client: SqlClientBase[Any] | None, pipeline: dlt.Pipeline, team_ids: Sequence[int]) -> Iterator[None]:
    """Waits until no other run loads these teams, or through the same staging tables, and keeps others waiting.

    Does nothing where a destination has no such lock.

    Args:
        client: A connection to the destination that lasts as long as the run.
        pipeline: The pipeline.
        team_ids: The teams.

    Raises:
        AlreadyRunningError: Another run has not ended in `LONGEST_WAIT`.
    """
    destination: Any = pipeline.destination
    locks = _locks_of(getattr(client, "dialect_name", destination.destination_name))
    if client is None or locks is None:
        yield
        return
    names = [f"pipeline {pipeline.pipeline_name}", *(f"team {team_id}" for team_id in team_ids)]
    if len(names) > _MOST_LOCKS:
        logger.warning("%s teams are too many to lock each: do not run two loads of them at once", len(team_ids))
        names = names[:1]
    take, give_back = locks
    try:
        # in one order, or two runs wait for each other
        if not take(client, sorted(_key(pipeline.dataset_name, name) for name in names)):
            raise AlreadyRunningError(
                f"Another run loads the same teams into {pipeline.dataset_name}, and has not ended in {LONGEST_WAIT} "
                "s. Wait until it is done; if it hangs, end it: its lease ends with it."
            )
        yield
    finally:
        try:
            client.execute_sql(give_back)
        except DatabaseException as error:  # whatever came of the run matters more
            logger.warning("The connection that held the lease was lost, and the lease with it: %s", error)


_Take = Callable[[SqlClientBase[Any], Sequence[int]], bool]


def _locks_of(database: str) -> tuple[_Take, str] | None:
    """How a database's locks are taken, and the statement that gives them back; None where it has none."""
    if database == "postgres":
        return _take_of_postgres, "SELECT pg_advisory_unlock_all()"
    if database in ("mysql", "mariadb"):
        return _take_of_mysql, "DO RELEASE_ALL_LOCKS()"
    return None


def _take_of_postgres(client: SqlClientBase[Any], keys: Sequence[int]) -> bool:
    client.execute_sql(f"SET lock_timeout = '{LONGEST_WAIT}s'")
    try:
        client.execute_sql("SELECT count(pg_advisory_lock(key)) FROM unnest(%s::bigint[]) AS key", list(keys))
    except DatabaseException as error:
        if "lock timeout" not in str(error):
            raise
        return False
    return True


def _take_of_mysql(client: SqlClientBase[Any], keys: Sequence[int]) -> bool:
    return all(client.execute_sql(f"SELECT GET_LOCK('supermetrics {key}', {LONGEST_WAIT})") == [(1,)] for key in keys)


def _key(dataset: str, name: str) -> int:
    """A lock's number, 64 bits."""
    digest = hashlib.blake2b(f"supermetrics {dataset} {name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
