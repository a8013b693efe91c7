"""Loads the custom connectors of Supermetrics' Connector Builder, team by team, with their configurations' history."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any, cast

import dlt
import pyarrow as pa
from dlt.common.configuration.container import Container
from dlt.common.pipeline import PipelineContext
from dlt.common.runtime.collector import NULL_COLLECTOR
from dlt.common.typing import TSecretStrValue
from dlt.extract import DltResource

from . import tables
from .cursors import Difference, Fingerprints
from .exceptions import SupermetricsError
from .fetch import Fetcher, OnProgress
from .listing import Listing, Record
from .settings import DEFAULT_BASE_URL, OnTeamError, Settings, SupermetricsConfiguration
from .sync import TeamSync, compare

__all__ = ["SupermetricsError", "failed_sync", "supermetrics_source"]


# `dlt init` writes its slots to [sources.supermetrics_connectors], named for this folder. dlt reads settings there, and
# under the source's name, [sources.supermetrics].
@dlt.source(name="supermetrics", section="supermetrics_connectors", spec=SupermetricsConfiguration)
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
    full_refresh: bool = False,
) -> Iterable[DltResource]:
    """The connectors of some teams, as the tables `connectors`, `connector_configurations` and `team_syncs`.

    One request a team feeds every table. Only what changed since the last run is written.

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
        full_refresh: Whether to forget what is remembered of these teams and write all of their rows anew.

    Returns:
        The resources. `listings`, which they share, is not selected and makes no table.

    Raises:
        SupermetricsConfigurationError: A setting is unusable. No request has been made.
    """
    fetched = listings(Settings.check(SupermetricsConfiguration(**locals())))
    return [fetched, fetched | connectors, fetched | connector_configurations, fetched | team_syncs]


@dlt.resource(selected=False)
def listings(settings: Settings) -> Iterator[list[TeamSync]]:
    """What every team's one request found, compared with what is remembered; in batches that share an Arrow table."""
    fetcher = Fetcher(settings, dlt.current.source_schema().naming.normalize_identifier)
    if settings.full_refresh:  # even if it finds all as it was, it leaves a state in the destination as its mark
        dlt.current.source_state()["refreshed_at"] = datetime.now(timezone.utc).isoformat()
    for batch in fetcher.batches(_progress(len(settings.team_ids))):
        memories = _memory("connectors"), _memory("connector_configurations")
        yield [compare(listing, *memories, settings.full_refresh) for listing in batch]


# The rows of a batch stand for themselves, and a row with the identifier "" for all else of its team.
_IN_SCOPE = (
    "EXISTS (SELECT 1 FROM {staging_table} AS staged WHERE staged.team_id = {table}.team_id"
    " AND staged.connector_identifier IN ({table}.connector_identifier, ''))"
)


# dlt's signature of `transformer` lacks the dict form of write_disposition, which `resource` has
@dlt.transformer(  # type: ignore[call-overload,untyped-decorator]
    write_disposition={"disposition": "merge", "strategy": "delete-insert", "destination_scope": _IN_SCOPE},
    primary_key=("team_id", "connector_identifier"),
    columns={"_deleted": {"hard_delete": True}},
    file_format="parquet",
)
def connectors(batch: list[TeamSync]) -> Iterator[Any]:
    """One row a connector, as the API lists it now."""
    for sync in batch:
        _remember("connectors", sync.team_id, sync.connectors)
    yield from _table("connectors", tables.CONNECTORS, [row for sync in batch for row in sync.connector_rows()])


@dlt.transformer(  # type: ignore[call-overload,untyped-decorator] # as above
    write_disposition={
        "disposition": "merge",
        "strategy": "scd2",
        "row_version_column_name": "_dlt_id",
        "source_filter": "content_hash IS NOT NULL",
        "destination_scope": _IN_SCOPE,
    },
    columns={"configuration_json": {"data_type": "json"}},
    file_format="parquet",
)
def connector_configurations(batch: list[TeamSync]) -> Iterator[Any]:
    """Every version of every configuration ever seen; the current ones have no `_dlt_valid_to`."""
    for sync in batch:
        _remember("connector_configurations", sync.team_id, sync.configurations)
    rows = [row for sync in batch for row in sync.configuration_rows()]
    if rows or any(sync.listing.has_configurations for sync in batch):
        yield from _table("connector_configurations", tables.CONNECTOR_CONFIGURATIONS, rows)


@dlt.transformer(write_disposition="merge", primary_key=("team_id", "started_at"), file_format="parquet")
def team_syncs(batch: list[TeamSync]) -> Iterator[Any]:
    """One row a team and run: what was asked and answered. Merged, so that a load repeated after a kill adds none."""
    yield from _table("team_syncs", tables.TEAM_SYNCS, [sync.summary_row() for sync in batch])


def failed_sync(error: SupermetricsError, started_at: datetime) -> DltResource:
    """The failing team's row of `team_syncs`, for a run that failed as a whole and so loaded none.

    Args:
        error: Why it failed. Its team_id must be known.
        started_at: When the run began, UTC.
    """
    duration_ms = round((datetime.now(timezone.utc) - started_at).total_seconds() * 1000)
    sync = compare(Listing.failed(error, started_at, duration_ms), {}, {})
    return dlt.resource([[sync]], name="failed", selected=False) | team_syncs


def _memory(resource_name: str) -> dict[str, Fingerprints]:
    """A table's fingerprints by team id as text: dlt's state of its resource, which is dropped with the table."""
    return cast("dict[str, Fingerprints]", dlt.current.resource_state(resource_name).setdefault("teams", {}))


def _remember(resource_name: str, team_id: int, changes: Difference) -> None:
    memory = _memory(resource_name)
    if changes.fingerprints:
        memory[str(team_id)] = changes.fingerprints
    else:
        memory.pop(str(team_id), None)


def _table(name: str, schema: pa.Schema, rows: list[Record]) -> Iterator[Any]:
    """The rows as one Arrow table; none for no rows, except that a first run makes the table even so."""
    known = dlt.current.source_schema().tables.get(name, {}).get("columns", {})
    if not rows and known:
        return
    types = {column: str(hints["data_type"]) for column, hints in known.items() if "data_type" in hints}
    table = tables.to_table(rows, schema, types)
    load_id = dlt.current.load_package_state()["load_id"]
    table = table.append_column(
        pa.field("_dlt_load_id", pa.string(), nullable=False), pa.repeat(load_id, len(rows)).cast(pa.string())
    )
    json_columns = {field.name for field in table.schema if types.get(field.name) == "json"} - set(schema.names)
    with _text_may_be_json():
        if json_columns:
            hints = dlt.mark.make_hints(columns={column: {"data_type": "json"} for column in json_columns})
            yield dlt.mark.with_hints(table, hints)
        else:
            yield table


@contextmanager
def _text_may_be_json() -> Iterator[None]:
    """Silences dlt's warning that an Arrow string is declared as JSON: Arrow has no other type for it."""

    def expected(record: logging.LogRecord) -> bool:
        return "when merging arrow schema with dlt schema" not in record.getMessage()

    dlt_logger = logging.getLogger("dlt")
    dlt_logger.addFilter(expected)
    try:
        yield
    finally:
        dlt_logger.removeFilter(expected)


def _progress(total: int) -> OnProgress:
    """Reports to the running pipeline's progress display, if there is one."""
    context = Container()[PipelineContext]
    collector = context.pipeline().collector if context.is_active() else NULL_COLLECTOR
    return lambda done, message: collector.update("Teams", inc=done, total=total, message=message or "")
