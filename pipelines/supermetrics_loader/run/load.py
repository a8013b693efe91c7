"""One run, the same for the command line and every orchestrator: load, evidence of a failure, and what happened.

A run begins with what the destination says, not with what a working folder remembers: it may be another machine,
another DuckDB file or the folder of a run that was killed. So the folder is cleared, and each table is compared with
what it holds. `team_syncs` is written when the rest is in: an `ok` there tells of a load that is complete.
"""

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from datetime import datetime, timezone
from itertools import takewhile
from pathlib import Path
from typing import Any, cast

import dlt
from dlt.common.exceptions import TerminalException
from dlt.common.pipeline import LoadInfo
from dlt.destinations.exceptions import DestinationConnectionError
from dlt.destinations.impl.filesystem.filesystem import FilesystemClient
from dlt.pipeline.exceptions import PipelineStepFailed
from dlt.pipeline.helpers import retry_load, retry_schema_update
from filelock import FileLock, Timeout
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from supermetrics_connectors import SupermetricsError, record_syncs, supermetrics_source
from supermetrics_connectors.api.listing import Listing
from supermetrics_connectors.exceptions import causes
from supermetrics_connectors.settings import TableFormat
from supermetrics_connectors.tables.batch import sync_row
from supermetrics_connectors.tables.changes import is_shown, show

from .duckdb_file import duckdb_file, is_out_of_memory
from .leases import AlreadyRunningError, leased
from .result import LoadResult, Noted, with_settings_of
from .targets import SCHEMA, named_dataset

logger = logging.getLogger(__name__)


class LoadFailedError(Exception):
    """A run failed and loaded nothing, or not all. The reason comes first, then where dlt met it.

    Attributes:
        cause: The reason: a SupermetricsError, or what else was thrown.
        step: dlt's step: extract, normalize, load or sync; None when it was none of these.
        request_id: What Supermetrics support asks for; None when the reason has none.
        team_id: The team; None when the reason has none.
        status_code: HTTP status; None when the reason has none.
        code: The API's stable `error.code`; None when the reason has none.
        retry_after: Seconds until the rate limit resets; None when unknown.
        terminal: Whether a repetition cannot help.
    """

    def __init__(self, cause: BaseException, step: str | None, pipeline_name: str) -> None:
        self.cause = cause
        self.step = step
        self.request_id: str | None = getattr(cause, "request_id", None)
        self.team_id: int | None = getattr(cause, "team_id", None)
        self.status_code: int | None = getattr(cause, "status_code", None)
        self.code: str | None = getattr(cause, "code", None)
        self.retry_after: float | None = getattr(cause, "retry_after", None)
        self.terminal = isinstance(cause, TerminalException)
        where = f"dlt's {step} step" if step else "dlt"
        super().__init__(f"{type(cause).__name__}: {cause}\n(in {where} of pipeline {pipeline_name})")

    def __reduce__(self) -> Any:
        """Pickles without the arguments of the constructor, as dlt's exceptions do."""
        return type(self).__new__, (type(self), *self.args), self.__dict__


@with_settings_of(supermetrics_source)
def run_load(pipeline: dlt.Pipeline, **settings: Any) -> LoadResult:
    """Loads the connectors of the configured teams.

    Args:
        pipeline: Where to load to. Its working folder is cleared.
        settings: Arguments of `supermetrics_source`; the rest comes from dlt's configuration.

    Raises:
        SupermetricsConfigurationError: A setting or the dataset's name is unusable. No request has been made.
        AlreadyRunningError: Another process runs this pipeline.
        LoadFailedError: The run failed. The failing team has a row in `team_syncs`, unless the destination failed.
    """
    noted = Noted.of(settings)
    destination: Any = pipeline.destination
    if destination is not None and pipeline.dataset_name:
        named_dataset(destination, pipeline.dataset_name)
    with _only_run(pipeline):
        try:
            # a connection held all the while spares dlt from opening the DuckDB file anew for each of its steps
            with ExitStack() as held:
                client = _CONNECTION_RETRIES(lambda: held.enter_context(_connected(pipeline.drop())))
                if isinstance(pipeline.destination, duckdb_file):
                    pipeline.destination.remember_file(pipeline, Path(client.credentials.database))
                held.enter_context(leased(client, pipeline, noted.team_ids))
                info = _DESTINATION_RETRIES(_run, pipeline, noted.source)
                load_ids = list(info.loads_ids)  # none, where nothing differed
                info = _finish(pipeline, noted, load_ids, settings.get("table_format"))
        except Exception as error:  # noqa: BLE001 - whatever it was is the reason of the failure raised here
            failure = failed(error, pipeline.pipeline_name)
            _leave_evidence(pipeline, failure, noted, settings.get("table_format"))
            raise failure from failure.cause
    return noted.result(
        pipeline, info.destination_name, info.destination_displayable_credentials, load_ids or list(info.loads_ids)
    )


def _connected(pipeline: dlt.Pipeline) -> AbstractContextManager[Any, bool | None]:
    """A connection to the destination; to files dlt has one only for reading them, which need not be possible."""
    destination: Any = pipeline.destination
    if destination is not None and issubclass(destination.client_class, FilesystemClient):
        return nullcontext()
    return cast("AbstractContextManager[Any, bool | None]", pipeline.sql_client())


def root_cause(error: BaseException) -> BaseException:
    """The source's own error below dlt's wrappers, or else the innermost reason."""
    outermost, *inner = causes(error)
    # the end of an iteration explains nothing
    told = [outermost, *takewhile(lambda cause: not isinstance(cause, StopIteration), inner)]
    return next((cause for cause in told if isinstance(cause, SupermetricsError)), told[-1])


def _run(pipeline: dlt.Pipeline, data: Any, **settings: Any) -> LoadInfo:
    """Runs a source or resource; once more, it goes on with what is extracted already: no team is asked twice."""
    return pipeline.run(None if pipeline.has_pending_data else data, **settings)


def _is_hiccup(error: BaseException) -> bool:
    """Whether the destination may take it when asked again: it was out of reach, or another run made the same table."""
    may_heal = retry_schema_update()(error) or retry_load(("load",))(error)
    gave_up = is_out_of_memory(root_cause(error))  # dlt has tried with all of the machine's memory
    return isinstance(error, PipelineStepFailed) and error.step == "load" and may_heal and not gave_up


def _log_hiccup(attempt: RetryCallState) -> None:
    if attempt.outcome and (error := attempt.outcome.exception()):
        wait = attempt.upcoming_sleep
        logger.warning("The destination failed, it is asked again in %.1f s: %s", wait, root_cause(error))


_DESTINATION_RETRIES = Retrying(
    retry=retry_if_exception(_is_hiccup),
    stop=stop_after_attempt(4),
    wait=wait_random_exponential(multiplier=0.5, max=10),
    before_sleep=_log_hiccup,
    reraise=True,
)


def _is_lost_race(error: BaseException) -> bool:
    """Whether another run made a new lake's catalog at the same moment: by now it is there."""
    return isinstance(error, DestinationConnectionError) and "already exists" in str(error)


_CONNECTION_RETRIES = _DESTINATION_RETRIES.copy(
    retry=retry_if_exception(_is_lost_race), stop=stop_after_attempt(10), wait=wait_random_exponential(max=5)
)


@contextmanager
def _only_run(pipeline: dlt.Pipeline) -> Iterator[None]:
    """Keeps a second process off the working folder. The system lets go of the lock when a process is killed."""
    folder = Path(pipeline.pipelines_dir)
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f"{pipeline.pipeline_name}.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise AlreadyRunningError(
            f"Another process runs the pipeline {pipeline.pipeline_name!r} ({lock.lock_file} is locked). "
            "Wait until it is done. Runs that load into different places go side by side with a --pipeline-name each."
        ) from None
    try:
        yield
    finally:
        lock.release()


def _finish(pipeline: dlt.Pipeline, noted: Noted, load_ids: list[str], table_format: TableFormat | None) -> LoadInfo:
    """Writes what tells of a load that is complete."""
    told = record_syncs(noted.syncs, next(iter(load_ids), None), table_format)
    info: LoadInfo = _DESTINATION_RETRIES(_run, pipeline, told, schema=_schema(pipeline))
    if noted.run and noted.run.compares and noted.run.strategy.view:  # snapshots have no histories to tell of
        with pipeline.sql_client() as client:
            if noted.has_new_configurations or not is_shown(client):
                configurations = "connector_configurations" in pipeline.default_schema.tables
                show(client, noted.run.strategy, configurations)
    return info


def _schema(pipeline: dlt.Pipeline) -> dlt.Schema:
    """The source's schema: as the pipeline has it, or a new one."""
    return pipeline.schemas[SCHEMA] if SCHEMA in pipeline.schemas else dlt.Schema(SCHEMA)


def failed(error: BaseException, pipeline_name: str) -> LoadFailedError:
    """The failure of a run, whatever dlt has wrapped it in."""
    return LoadFailedError(root_cause(error), getattr(error, "step", None), pipeline_name)


def _leave_evidence(
    pipeline: dlt.Pipeline, failure: LoadFailedError, noted: Noted, table_format: TableFormat | None
) -> None:
    """Writes rows of `team_syncs` for teams that failed, so that the on-call query finds them in the warehouse.

    A request that failed is its team's; a load that failed is that of all teams.
    """
    cause = failure.cause
    if isinstance(cause, SupermetricsError) and cause.team_id is not None:
        duration_ms = round((datetime.now(timezone.utc) - noted.started_at).total_seconds() * 1000)
        rows = [sync_row(Listing.failed(cause, noted.started_at, duration_ms))]
    elif failure.step == "load":
        message = str(cause)[:2000]
        rows = [{**row, "status": "failed", "error_message": row["error_message"] or message} for row in noted.syncs]
    else:
        return
    pipeline.config.enable_runtime_trace = False  # `dlt pipeline … trace` is to show the run that failed
    try:
        if failure.step == "load":  # or what failed would be loaded once more, instead of what is to be told of it
            pipeline.abort_packages()
        pipeline.run(record_syncs(rows, table_format=table_format), schema=_schema(pipeline))
    except Exception as error:  # noqa: BLE001 - the run's own failure matters more than why it could not be noted
        logger.warning("The failure could not be recorded in team_syncs: %s", error)
    finally:
        pipeline.config.enable_runtime_trace = True
