"""Loads the custom connectors of Supermetrics' Connector Builder, team by team, with their configurations' history."""

import logging
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from functools import partial
from typing import Any, Protocol

import dlt
import pyarrow as pa
from dlt.common.configuration.container import Container
from dlt.common.pipeline import PipelineContext
from dlt.common.runtime.collector import NULL_COLLECTOR
from dlt.common.typing import TSecretStrValue
from dlt.extract import DltResource

from . import changes, history, lake, tables
from .cursors import WHOLE_TEAM, Difference, Memory
from .exceptions import SupermetricsError
from .fetch import Fetcher, OnProgress
from .listing import Listing, Record
from .settings import DEFAULT_BASE_URL, OnTeamError, Settings, SupermetricsConfiguration, TableFormat
from .strategies import Strategy, TableName, choose_here, refuse_mixture
from .sync import Batch, compare

logger = logging.getLogger(__name__)


class How(Protocol):  # a class: on Python 3.10 dlt fails at Callable[…] in a signature
    """Says how to write to the destination of the running pipeline: the source may be older than the pipeline."""

    def __call__(self) -> Strategy: ...


__all__ = ["SupermetricsError", "failed_sync", "forget_teams", "retract_changes", "supermetrics_source"]


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
    redact_secrets: bool = True,
    table_format: TableFormat | None = None,
    snapshot: bool = False,
) -> Iterable[DltResource]:
    """The tables `connectors`, `connector_configurations`, `connector_changes` and `team_syncs` of some teams.

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
        redact_secrets: Whether secrets that somebody typed into a configuration are replaced before anything is hashed,
            written or logged, see `redaction.py`.
        table_format: `delta`, for Delta tables where dlt's `filesystem` destination would write plain files.
        snapshot: Whether to append each run's full listing, with `snapshot_at`, instead of keeping the tables equal to
            what the API lists. For destinations that cannot change a row.

    Returns:
        The resources. `listings`, which they share, is not selected and makes no table.

    Raises:
        SupermetricsConfigurationError: A setting is unusable, or (when it is run) the destination cannot be kept equal.
            No request has been made.
    """
    settings = Settings.check(SupermetricsConfiguration(**locals()))
    how = partial(choose_here, settings.table_format, settings.snapshot)
    fetched = listings(settings, how)
    loaded = connectors(how), connector_configurations(how), connector_changes(how), team_syncs(how)
    return [fetched, *(fetched | table for table in loaded)]


@dlt.resource(selected=False)
def listings(settings: Settings, how: How) -> Iterator[Batch]:
    """What every team's one request found, compared with what is remembered; in batches that share an Arrow table."""
    strategy = how()
    refuse_mixture(strategy)
    logger.info("Tables are written as %s: %s", strategy.way, strategy.why)
    fetcher = Fetcher(settings, dlt.current.source_schema().naming.normalize_identifier)
    if settings.full_refresh:  # even if it finds all as it was, it leaves a state in the destination as its mark
        dlt.current.source_state()["refreshed_at"] = datetime.now(timezone.utc).isoformat()
    empty = _empty_tables(strategy, settings)
    for batch in fetcher.batches(_progress(len(settings.team_ids))):
        if strategy.way == "snapshots":  # each begins anew
            yield Batch([compare(listing, {}, {}, empty=_COMPARED) for listing in batch])
        else:
            memories = _memory("connectors"), _memory("connector_configurations")
            yield Batch([compare(listing, *memories, settings.full_refresh, empty) for listing in batch], empty)


# How a table is written depends on the destination, see strategies.py: its disposition, keys and formats come as hints
# with the rows.
@dlt.transformer
def connectors(batch: Batch, how: How) -> Iterator[Any]:
    """One row a connector, as the API lists it now."""
    strategy, rows = how(), [row for sync in batch.syncs for row in sync.connector_rows()]
    listed = {sync.team_id for sync in batch.syncs if not sync.listing.error}
    _remember("connectors", strategy, {sync.team_id: sync.connectors for sync in batch.syncs}, listed)
    if strategy.way == "versions":
        rows = lake.name_deletions(rows)
    yield from _table("connectors", strategy, rows, "connectors" in batch.empty)


@dlt.transformer
def connector_configurations(batch: Batch, how: How) -> Iterator[Any]:
    """Every version of every configuration ever seen; the current ones have no `_dlt_valid_to`."""
    strategy, rows = how(), [row for sync in batch.syncs for row in sync.configuration_rows()]
    listed = {sync.team_id for sync in batch.syncs if sync.listing.has_configurations}
    _remember("connector_configurations", strategy, {sync.team_id: sync.configurations for sync in batch.syncs}, listed)
    if not rows and not any(sync.listing.has_configurations for sync in batch.syncs):
        return
    if strategy.way == "versions":
        rows, ended = lake.open_and_close(rows, dlt.current.load_package_state()["state"]["created_at"])
        if ended.num_rows:
            yield dlt.mark.with_hints(ended, dlt.mark.make_hints(**strategy.hints("connector_configurations")))
    yield from _table("connector_configurations", strategy, rows, "connector_configurations" in batch.empty)


@dlt.transformer
def connector_changes(batch: Batch, how: How) -> Iterator[Any]:
    """One row a change seen between two listings, and one a team for the first, before which nothing is known."""
    strategy = how()
    if strategy.way == "snapshots":  # which say themselves what was when
        return
    found = [(sync.listing, change) for sync in batch.syncs for change in sync.changes]
    before = history.before(strategy, [(listing.team_id, change) for listing, change in found])
    unknown = changes.Before()
    rows = [changes.row(each, c, before.get((each.team_id, c.identifier), unknown)) for each, c in found]
    yield from _table("connector_changes", strategy, rows)


@dlt.transformer
def team_syncs(batch: Batch, how: How) -> Iterator[Any]:
    """One row a team and run: what was asked and answered."""
    yield from _table("team_syncs", how(), [sync.summary_row() for sync in batch.syncs], keys_are_new=True)


def failed_sync(error: SupermetricsError, started_at: datetime, table_format: str | None = None) -> DltResource:
    """The failing team's row of `team_syncs`, for a run that failed as a whole and so loaded none.

    Args:
        error: Why it failed. Its team_id must be known.
        started_at: When the run began, UTC.
        table_format: That of `supermetrics_source`; by default the configured one.
    """
    duration_ms = round((datetime.now(timezone.utc) - started_at).total_seconds() * 1000)
    sync = compare(Listing.failed(error, started_at, duration_ms), {}, {})
    table_format = table_format or dlt.config.get("sources.supermetrics.table_format", str)
    return dlt.resource([Batch([sync])], name="failed", selected=False) | team_syncs(
        partial(choose_here, table_format, None)
    )


@dlt.resource(name="forgotten")
def forget_teams(interrupted_loads: list[str]) -> Iterator[Any]:
    """Trusts no team's rows, because loads that never completed may have left some of any of them; makes no table.

    Until a complete listing has replaced all of a team's rows, whichever run that will be, they count as stale. What
    the last completed load had listed stays known: the changes since are told when they are loaded.

    Args:
        interrupted_loads: dlt's load packages, noted so that each is dealt with once.
    """
    state = dlt.current.source_state()
    for resource_state in state.get("resources", {}).values():
        memory = Memory(resource_state.get("teams", {}))
        for team_id, fingerprints in memory.items():
            memory[team_id] = {**fingerprints, WHOLE_TEAM: ""}
    state["interrupted_loads"] = interrupted_loads
    yield from ()


def retract_changes(interrupted_loads: list[str], table_format: str | None = None) -> DltResource:
    """Deletes the changes that loads which never completed have left: they are found again, or never happened.

    Args:
        interrupted_loads: dlt's load packages.
        table_format: That of `supermetrics_source`; by default the configured one.
    """
    table_format = table_format or dlt.config.get("sources.supermetrics.table_format", str)

    @dlt.resource(name="connector_changes")
    def retracted() -> Iterator[Any]:
        strategy = choose_here(table_format, None)
        key = ["team_id", "connector_identifier", "change", "detected_at"]
        stored = history.stored(strategy, "connector_changes", key, "_dlt_load_id", interrupted_loads)
        if rows := [{**row, "_deleted": True} for row in stored]:
            yield from _table("connector_changes", strategy, rows)

    return retracted()


_COMPARED: frozenset[TableName] = frozenset({"connectors", "connector_configurations"})
"""Tables of which is remembered what they hold."""


def _memory(resource_name: str) -> Memory:
    """A table's fingerprints: dlt's state of its resource, which is dropped with the table."""
    return Memory(dlt.current.resource_state(resource_name).setdefault("teams", {}))


def _empty_tables(strategy: Strategy, settings: Settings) -> frozenset[TableName]:
    """Tables to which rows can be appended. One of which teams are remembered is none, without asking."""
    if not strategy.may_append or settings.full_refresh:
        return frozenset()
    asked_for = _COMPARED if settings.include_configs else {"connectors"}
    return frozenset(history.empty([name for name in _COMPARED if name in asked_for and not _memory(name)]))


def _remember(resource_name: str, strategy: Strategy, found: dict[int, Difference], listed: Collection[int]) -> None:
    """Keeps what was found of the teams that were listed, or have been before: of others, it is that nobody asked."""
    if strategy.way != "snapshots":  # which compare with nothing
        memory = _memory(resource_name)
        for team_id, change in found.items():
            if team_id in listed or str(team_id) in memory:
                memory[str(team_id)] = change.fingerprints


def _table(name: TableName, strategy: Strategy, rows: list[Record], keys_are_new: bool = False) -> Iterator[Any]:
    """The rows as one Arrow table; none for no rows, except that a first run makes the table even so."""
    strategy = strategy.for_new_keys() if keys_are_new else strategy
    known = dlt.current.source_schema().tables.get(name, {}).get("columns", {})
    if not rows and known:
        return
    schema, package = tables.SCHEMAS[name, strategy.way or "snapshots"], dlt.current.load_package_state()
    began = dict.fromkeys((tables.SNAPSHOT_AT, tables.VALID_FROM), package["state"]["created_at"])
    types = {column: str(hints["data_type"]) for column, hints in known.items() if "data_type" in hints}
    table = tables.to_table(rows, schema, types, constants=began)
    load_id = pa.repeat(package["load_id"], len(rows)).cast(pa.string())
    table = table.append_column(pa.field("_dlt_load_id", pa.string(), nullable=False), load_id)
    hints = strategy.hints(name)
    json_columns = {field.name for field in table.schema if types.get(field.name) == "json"} - set(schema.names)
    hints["columns"] = {
        **hints.get("columns", {}),
        **{column: {"data_type": strategy.json_type} for column in json_columns},
    }
    with _text_may_be_json():
        yield dlt.mark.with_hints(table, dlt.mark.make_hints(**hints))


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
