"""Loads the custom connectors of Supermetrics' Connector Builder, team by team, with their configurations' history."""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from functools import partial
from typing import Any

import dlt
from dlt.common.runtime.collector import NULL_COLLECTOR
from dlt.common.typing import TSecretStrValue
from dlt.extract import DltResource

from .api.endpoints import Endpoint, selected_endpoints
from .api.fetch import Fetcher, OnProgress
from .credentials import dlt_source
from .exceptions import SupermetricsError
from .settings import (
    DEFAULT_BASE_URL,
    DEFAULT_LOGS_SINCE,
    DEFAULT_MAX_RESPONSE_BYTES,
    OnTeamError,
    Settings,
    TableFormat,
)
from .specs import (
    CONNECTOR_CONFIGURATIONS,
    CONNECTOR_VERSIONS,
    CONNECTORS,
    FETCHES,
    TEAM_SYNCS,
    TableSpec,
)
from .tables import preconditions
from .tables.changed_paths import with_changed_paths
from .tables.changes_view import create_changes_view, deduplicate
from .tables.items import column_name, configure_extraction, history_items, items
from .tables.optional import OptionalTables
from .tables.rows import (
    ListingBatch,
    connector_rows,
    diff_team,
    ended_version_rows,
    new_version_rows,
    sync_rows,
)
from .tables.run import Run
from .tables.target import TABLE_HINT, running_pipeline

logger = logging.getLogger(__name__)

__all__ = ["SupermetricsError", "create_changes_view", "deduplicate", "supermetrics_source"]


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
    max_response_bytes: int = DEFAULT_MAX_RESPONSE_BYTES,
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

    One request per team feeds every table. Each table is compared with what it holds, and only the difference is
    written.

    Args:
        team_ids: Team ids (1 … 2^63-1): a list, one id, or a string such as `"1,2"` or `"[1, 2]"`.
        api_key: API key or OAuth token from the Supermetrics Hub, with or without a leading `Bearer `. Without a key in
            dlt's configuration, the environment variable `SUPERMETRICS_API_KEY` is used.
        include_configs: Whether to load each connector's JSON configuration as well.
        base_url: URL of the API; https, or http for a loopback host.
        on_team_error: `raise` loads nothing when a team fails. `skip` loads the other teams, keeps the stored rows of
            the failing team and records the failure in `team_syncs`. A 401 fails the run in any case.
        max_retry_wait: Seconds, 0 … 86400. The longest Retry-After that is waited out; a longer one fails at once.
        workers: Requests in flight, 1 … 100.
        request_timeout: Seconds for one response, from the first byte sent to the last byte read.
        request_max_attempts: Attempts for one response, 1 … 100.
        request_backoff_factor: Seconds. The first delay between attempts is drawn from 0 … this; the range doubles
            with each attempt.
        request_max_retry_delay: Seconds. The longest such delay.
        max_response_bytes: The largest response that is read, in bytes, packed or unpacked.
        full_refresh: Whether to write all rows of `connectors` and of the optional tables again, and to compare every
            cell of the current versions, so that manual edits are undone.
        redact_secrets: Whether secrets that somebody typed into a configuration are replaced before anything is hashed,
            written or logged, see `documents/redaction.py`.
        table_format: `delta`, for Delta tables where dlt's `filesystem` destination would write plain files.
        snapshot: Whether to append each run's full listing, with `snapshot_at`, instead of keeping the tables equal to
            the API. For destinations that cannot change a row.
        include_teams: Whether to load `teams`, the names of teams. One request per team and run.
        include_logs: Whether to load `connector_logs`, the calls of connectors. At least one request per connector and
            run, and one more per thousand new entries.
        logs_since: The age of the oldest log entries that are requested, such as `30d`, `12h` or `30m`.
        include_secrets: Whether to load `connector_secrets`, the names of connectors' secrets, never a value. One
            request per connector and run.
        rate_limit_reserve: The share of the API's hourly limit, 0 … 1, that is reserved for listings. Optional requests
            stop when no more is left; a later run continues with those that ran the longest ago.

    Returns:
        The resources. `listings`, which feeds them, is not selected and has no table.

    Raises:
        SupermetricsConfigurationError: A setting is unusable, or (when the source runs) the destination or a hint would
            not keep the tables equal to the API. No request has been made.
    """
    settings = Settings.from_arguments(locals())
    configure_extraction()
    return _resources(settings)


def _resources(settings: Settings) -> Iterator[DltResource]:
    """The resources of one source. Nothing of them is shared with another source, pipeline or thread."""
    fetched = dlt.resource(_listings, name="listings", selected=False)(settings)
    yield fetched
    yield _table(fetched, CONNECTORS, connectors)
    yield _table(fetched, CONNECTOR_VERSIONS, connector_versions)
    yield _table(fetched, CONNECTOR_CONFIGURATIONS, connector_configurations)
    yield _table(fetched, TEAM_SYNCS, team_syncs)
    if endpoints := selected_endpoints(settings):
        yield from (_table(fetched, each.table, partial(optional_table, endpoint=each)) for each in endpoints)
        yield _table(fetched, FETCHES, fetches)


def _listings(settings: Settings) -> Iterator[ListingBatch]:
    """What every team's one request returned; in batches that share an Arrow table."""
    declared = preconditions.declared_tables()
    run = Run.current(settings, declared.names, declared.selected)
    preconditions.check(run, declared)
    logger.info("Write mode %s: %s", run.strategy.mode.name, run.strategy.reason)
    optional = OptionalTables(run) if selected_endpoints(settings) else None
    on_progress = _progress(len(settings.team_ids))
    with closing(Fetcher(settings, column_name())) as fetcher:
        is_first = True
        for fetched in fetcher.batches(on_progress):
            if optional:
                optional.add_listings(fetched)
            yield ListingBatch(run, [diff_team(run, each) for each in fetched], optional, is_first=is_first)
            is_first = False
        if optional:
            results = fetcher.results(optional.tasks(), optional.watermarks, on_progress)
            for batch in optional.batches(results):
                yield ListingBatch(run, [], optional, batch)


def _table(fetched: DltResource, spec: TableSpec, rows: Callable[[ListingBatch], Iterator[Any]]) -> DltResource:
    """A resource that writes one table.

    Its disposition, keys and formats depend on the destination and come as hints with the rows, see
    tables/destinations. The hint `TABLE_HINT` finds the table under any name that a user gives it.
    """
    key: Any = spec.key if spec.kind != "history" else None

    @dlt.transformer(name=spec.name, data_from=fetched, write_disposition="merge", primary_key=key)
    def table(batch: ListingBatch) -> Iterator[Any]:
        yield from rows(batch)

    resource: DltResource = table.apply_hints(additional_table_hints={TABLE_HINT: spec.name})
    return resource


def connectors(batch: ListingBatch) -> Iterator[Any]:
    """One row per connector, as the API lists it now."""
    yield from items(batch.run, CONNECTORS, list(connector_rows(batch)))


def connector_versions(batch: ListingBatch) -> Iterator[Any]:
    """One row per state of a connector's record; the current state has no `_dlt_valid_to`."""
    if batch.run.strategy.mode.is_compared:
        rows = list(new_version_rows(batch, CONNECTOR_VERSIONS))
        ended = list(ended_version_rows(batch, CONNECTOR_VERSIONS))
        yield from history_items(batch.run, CONNECTOR_VERSIONS, rows, ended)


def connector_configurations(batch: ListingBatch) -> Iterator[Any]:
    """One row per version of a configuration; the current version has no `_dlt_valid_to`."""
    if batch.run.strategy.mode.is_compared or batch.run.settings.include_configs:
        rows = with_changed_paths(batch, list(new_version_rows(batch, CONNECTOR_CONFIGURATIONS)))
        ended = list(ended_version_rows(batch, CONNECTOR_CONFIGURATIONS))
        yield from history_items(batch.run, CONNECTOR_CONFIGURATIONS, rows, ended)


def team_syncs(batch: ListingBatch) -> Iterator[Any]:
    """One row per team and run: the request and its outcome."""
    yield from items(batch.run, TEAM_SYNCS, list(sync_rows(batch)))


def optional_table(batch: ListingBatch, endpoint: Endpoint) -> Iterator[Any]:
    """The rows of one optional endpoint."""
    if batch.optional:
        yield from items(batch.run, endpoint.table, list(batch.optional.rows(endpoint, batch.fetches)))


def fetches(batch: ListingBatch) -> Iterator[Any]:
    """One row per optional request: when it last ran and how it ended."""
    if batch.optional:
        yield from items(batch.run, FETCHES, list(batch.optional.fetch_rows(batch.fetches)))


def _progress(total: int) -> OnProgress:
    """Reports to the progress display of the running pipeline, if there is one."""
    pipeline = running_pipeline()
    collector = pipeline.collector if pipeline else NULL_COLLECTOR
    return lambda done, message: collector.update("Teams", inc=done, total=total, message=message or "")
