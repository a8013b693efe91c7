"""Loads the custom connectors of Supermetrics' Connector Builder, team by team, with their configurations' history."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any

import dlt
from dlt.common.configuration.container import Container
from dlt.common.pipeline import PipelineContext
from dlt.common.runtime.collector import NULL_COLLECTOR
from dlt.common.typing import TSecretStrValue
from dlt.extract import DltResource

from .api.checks import Record
from .api.fetch import Fetcher, OnProgress
from .exceptions import SupermetricsError
from .settings import (
    DEFAULT_BASE_URL,
    DEFAULT_LOGS_SINCE,
    DEFAULT_MAX_ANSWER_BYTES,
    OnTeamError,
    Settings,
    TableFormat,
    dlt_source,
)
from .tables.batch import Batch, Run
from .tables.changes import show_changes, told_apart
from .tables.contracts import (
    CONNECTOR_CONFIGURATIONS,
    CONNECTOR_LOGS,
    CONNECTOR_SECRETS,
    CONNECTOR_VERSIONS,
    CONNECTORS,
    FETCHES,
    TEAM_SYNCS,
    TEAMS,
    Contract,
    syncs_contract,
)
from .tables.write import (
    arrow,
    as_it_is,
    column_name,
    refuse_inexact_texts,
    refuse_mixture,
    refuse_other_dispositions,
    set_extraction,
)

logger = logging.getLogger(__name__)


__all__ = ["SupermetricsError", "record_syncs", "supermetrics_source"]


@dlt_source
def supermetrics_source(
    team_ids: Any = dlt.config.value,
    api_key: TSecretStrValue = dlt.secrets.value,
    include_configs: bool = False,
    base_url: str = DEFAULT_BASE_URL,
    on_team_error: OnTeamError = "raise",
    max_retry_wait: float = 120.0,
    workers: int = 10,
    request_timeout: float = 60.0,
    request_max_attempts: int = 5,
    request_backoff_factor: float = 0.5,
    request_max_retry_delay: float = 20.0,
    max_answer_bytes: int = DEFAULT_MAX_ANSWER_BYTES,
    full_refresh: bool = False,
    redact_secrets: bool = True,
    table_format: TableFormat | None = None,
    snapshot: bool = False,
    include_teams: bool = False,
    include_logs: bool = False,
    logs_since: str = DEFAULT_LOGS_SINCE,
    include_secrets: bool = False,
    rate_limit_reserve: float = 0.5,
) -> Iterable[DltResource]:
    """The tables `connectors`, `connector_versions`, `connector_configurations` and `team_syncs` of some teams.

    One request a team feeds every table. Each table is compared with what it holds, and only the difference is written.

    Args:
        team_ids: Team ids (1 … 2^63-1): a list, one id, or a string such as `"1,2"` or `"[1, 2]"`.
        api_key: API key or OAuth token from the Supermetrics Hub, with or without a leading `Bearer `. Without one
            in dlt's configuration the environment's `SUPERMETRICS_API_KEY` is taken.
        include_configs: Whether to load each connector's JSON configuration as well.
        base_url: Where the API is; https, or http for a loopback host.
        on_team_error: `raise` loads nothing when a team fails; `skip` loads the other teams, keeps what the failing one
            had and records the failure in `team_syncs`. A 401 fails the run in any case.
        max_retry_wait: Seconds, 0 … 86400. The longest Retry-After that is waited out; a longer one fails at once.
        workers: Requests in flight, 1 … 100.
        request_timeout: Seconds for one answer, from the first byte sent to the last byte read.
        request_max_attempts: Requests made for one answer before giving up, 1 … 100.
        request_backoff_factor: Seconds. The first delay between attempts is drawn from 0 … this; it doubles each time.
        request_max_retry_delay: Seconds. The longest such delay.
        max_answer_bytes: The largest answer that is read, in bytes, packed or unpacked.
        full_refresh: Whether to write all rows of `connectors` anew, and to look at every cell of the current versions:
            a cell that somebody has edited by hand is as listed afterwards.
        redact_secrets: Whether secrets that somebody typed into a configuration are replaced before anything is hashed,
            written or logged, see `redaction.py`.
        table_format: `delta`, for Delta tables where dlt's `filesystem` destination would write plain files.
        snapshot: Whether to append each run's full listing, with `snapshot_at`, instead of keeping the tables equal to
            what the API lists. For destinations that cannot change a row.
        include_teams: Whether to load `teams`: what each is called. One request a team and run.
        include_logs: Whether to load `connector_logs`: what each connector did. At least one request a connector and
            run, and one more for every thousand entries that are new.
        logs_since: How far back logs are asked for, such as `30d`, `12h` or `30m`. What is stored is not asked for
            again.
        include_secrets: Whether to load `connector_secrets`: what each connector's secrets are called, never a value.
            One request a connector and run.
        rate_limit_reserve: The share of the API's hourly limit, 0 … 1, that is kept for listings: what else is asked
            for ends when no more is left, and goes on in a later run with what was not asked for the longest.

    Returns:
        The resources. `listings`, which they share, is not selected and makes no table.

    Raises:
        SupermetricsConfigurationError: A setting is unusable, or (when it is run) the destination cannot be kept equal.
            No request has been made.
    """
    settings = Settings.check(**locals())
    set_extraction()
    fetched = listings(settings)
    return [
        fetched,
        *(fetched | table for table in (connectors, connector_versions, connector_configurations, team_syncs)),
        *(fetched | table for table in _added(settings)),
    ]


@dlt.resource(selected=False)
def listings(settings: Settings) -> Iterator[Batch]:
    """What every team's one request found; in batches that share an Arrow table."""
    run = Run.here(settings)
    refuse_other_dispositions(run)
    refuse_mixture(run)
    refuse_inexact_texts(run)
    logger.info("Tables are written as %s: %s", run.strategy.way, run.strategy.why)
    on_progress = _progress(len(settings.team_ids))
    with closing(Fetcher(settings, column_name())) as fetcher:
        for batch in fetcher.batches(on_progress):
            if run.neighbours:
                run.neighbours.note(batch)
            yield Batch(run, batch)
        if more := run.neighbours:
            for part in more.parts(fetcher.neighbours(more.wishes(), more.newest, on_progress)):
                yield Batch(run, [], part)


# How a table is written depends on the destination: its disposition, keys and formats come as hints with the rows, see
# contracts.py and strategies.py.
@dlt.transformer(write_disposition="merge", primary_key=CONNECTORS.key)
def connectors(batch: Batch) -> Iterator[Any]:
    """One row a connector, as the API lists it now."""
    if batch.run.strategy.way == "versions":
        from .tables.delta import delete_doubled  # noqa: PLC0415 - deltalake is installed where it is needed

        delete_doubled(CONNECTORS, batch.doubled(CONNECTORS))
    yield from arrow(batch.run, CONNECTORS, list(batch.connector_rows()))


@dlt.transformer(write_disposition="merge")
def connector_versions(batch: Batch) -> Iterator[Any]:
    """Every state of every connector's record ever seen; the current ones have no `_dlt_valid_to`."""
    if batch.run.strategy.way != "snapshots":  # which say themselves what was when
        yield from _versions(batch, CONNECTOR_VERSIONS, list(batch.version_rows(CONNECTOR_VERSIONS)))


@dlt.transformer(write_disposition="merge")
def connector_configurations(batch: Batch) -> Iterator[Any]:
    """Every version of every configuration ever seen; the current ones have no `_dlt_valid_to`."""
    rows = told_apart(batch, list(batch.version_rows(CONNECTOR_CONFIGURATIONS)))
    asked = any(listing.has_configurations for listing in batch.listings)
    if asked or batch.changes(CONNECTOR_CONFIGURATIONS):
        yield from _versions(batch, CONNECTOR_CONFIGURATIONS, rows)


def _versions(batch: Batch, contract: Contract, rows: list[Record]) -> Iterator[Any]:
    """New versions of a history, and the end of the stored ones that they put an end to."""
    ended = list(batch.superseded_rows(contract))
    if ended and batch.run.strategy.way == "versions":
        from .tables.delta import closed  # noqa: PLC0415 - deltalake is installed where it is needed

        yield from as_it_is(batch.run, contract, closed(contract, [row["_dlt_id"] for row in ended], batch.run.at))
        ended = []
    yield from arrow(batch.run, contract, rows + ended)


@dlt.transformer(write_disposition="merge", primary_key=TEAM_SYNCS.key)
def team_syncs(batch: Batch) -> Iterator[Any]:
    """One row a team and run: what was asked and answered."""
    if batch.changes(CONNECTOR_VERSIONS) or batch.changes(CONNECTOR_CONFIGURATIONS):
        show_changes(batch.run)  # for the next reader: here nothing comes after the load
    rows = _corrected(batch.run) + list(batch.sync_rows())
    yield from arrow(batch.run, syncs_contract(rows), rows)


def _added(settings: Settings) -> Iterator[DltResource]:
    """The tables of what else is asked for."""
    if settings.include_teams:
        yield teams
    if settings.include_logs:
        yield connector_logs
    if settings.include_secrets:
        yield connector_secrets
    if settings.asks_more:
        yield fetches


@dlt.transformer(write_disposition="merge", primary_key=TEAMS.key)
def teams(batch: Batch) -> Iterator[Any]:
    """One row a team, as the API tells of it now; with `include_teams`."""
    if batch.run.neighbours:
        yield from arrow(batch.run, TEAMS, list(batch.run.neighbours.team_rows(batch.part)))


@dlt.transformer(write_disposition="merge", primary_key=CONNECTOR_LOGS.key)
def connector_logs(batch: Batch) -> Iterator[Any]:
    """One row a call that a connector made, for ever; with `include_logs`."""
    if batch.run.neighbours:
        yield from arrow(batch.run, CONNECTOR_LOGS, batch.part.entries)


@dlt.transformer(write_disposition="merge", primary_key=CONNECTOR_SECRETS.key)
def connector_secrets(batch: Batch) -> Iterator[Any]:
    """One row a secret that a connector has now, never its value; with `include_secrets`."""
    if batch.run.neighbours:
        yield from arrow(batch.run, CONNECTOR_SECRETS, list(batch.run.neighbours.secret_rows(batch.part)))


@dlt.transformer(write_disposition="merge", primary_key=FETCHES.key)
def fetches(batch: Batch) -> Iterator[Any]:
    """One row a thing that was asked for besides listings: when last, and what came of it."""
    if batch.run.neighbours:
        yield from arrow(batch.run, FETCHES, list(batch.run.neighbours.fetch_rows(batch.part)))


def _corrected(run: Run) -> list[Record]:
    """The rows of loads that never completed, once."""
    unfinished = run.unfinished_syncs or []
    rows = [*unfinished]
    unfinished.clear()
    return rows


def record_syncs(
    rows: list[Record], load_id: str | None = None, table_format: TableFormat | None = None
) -> DltResource:
    """Rows of `team_syncs` for a run that writes them when all else is in, or that failed.

    Args:
        rows: The rows.
        load_id: The load that they tell of; the one that writes them by default.
        table_format: That of `supermetrics_source`.
    """

    @dlt.resource(name="team_syncs", write_disposition="merge", primary_key=TEAM_SYNCS.key)
    def recorded() -> Iterator[Any]:
        run = Run.of_syncs([row["team_id"] for row in rows], table_format)
        yield from arrow(run, syncs_contract(rows), _corrected(run) + rows, load_id)

    return recorded


def _progress(total: int) -> OnProgress:
    """Reports to the running pipeline's progress display, if there is one."""
    context = Container()[PipelineContext]
    collector = context.pipeline().collector if context.is_active() else NULL_COLLECTOR
    return lambda done, message: collector.update("Teams", inc=done, total=total, message=message or "")
