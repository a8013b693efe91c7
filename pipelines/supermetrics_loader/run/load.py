"""One run, the same for the command line and every orchestrator: load, record a failure, and summarize.

A run begins with what the destination holds, not with what a working folder remembers: it may run on another machine,
with another DuckDB file, or in the folder of a run that was killed. So the folder is cleared and every table is
compared with its rows. `team_syncs` is written in the same load package as the other tables: a sync is complete when
dlt has recorded its load in `_dlt_loads`.
"""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from datetime import datetime, timezone
from itertools import takewhile
from pathlib import Path
from typing import Any, TypeVar, cast

import dlt
from dlt.common.exceptions import TerminalException
from dlt.common.pipeline import LoadInfo
from dlt.common.schema import Schema
from dlt.destinations.exceptions import DestinationConnectionError
from dlt.destinations.impl.filesystem.filesystem import FilesystemClient
from dlt.pipeline.exceptions import PipelineStepFailed
from dlt.pipeline.helpers import retry_load, retry_schema_update
from filelock import FileLock, Timeout
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from supermetrics_connectors import SupermetricsError, create_changes_view, supermetrics_source
from supermetrics_connectors.interface import (
    DestinationStrategy,
    DuplicateRowsError,
    Listing,
    Target,
    causes,
    choose_strategy,
    sync_row,
    team_syncs_resource,
)

from .duckdb_file import duckdb_file, is_out_of_memory
from .error_text import summarize_error
from .locks import AlreadyRunningError, team_locks
from .pipeline import named_dataset
from .result import LoadResult, RunRecorder, with_settings_of

logger = logging.getLogger(__name__)

T = TypeVar("T")


class LoadFailedError(Exception):
    """A run failed and loaded nothing, or not all. The reason comes first, then dlt's step.

    Attributes:
        cause: The reason: a SupermetricsError, or another exception.
        step: dlt's step: extract, normalize, load or sync; None outside of these.
        terminal: Whether a repetition cannot help.
        summary: The reason's class and text, without rows that a database's error quotes.

    Args:
        cause: The reason.
        step: dlt's step.
        pipeline_name: The pipeline.
        is_connecting: Whether a connection to the destination could not be opened.
    """

    def __init__(self, cause: BaseException, step: str | None, pipeline_name: str, is_connecting: bool = False) -> None:
        self.cause = cause
        self.summary = summarize_error(cause, is_connecting)
        self.step = step
        self.terminal = isinstance(cause, TerminalException)
        where = f"dlt's {step} step" if step else "dlt"
        super().__init__(f"{self.summary}\n(in {where} of pipeline {pipeline_name})")

    def __reduce__(self) -> Any:
        """Pickles without the arguments of the constructor, as dlt's exceptions do."""
        return type(self).__new__, (type(self), *self.args), self.__dict__


@with_settings_of(supermetrics_source)
def run_load(pipeline: dlt.Pipeline, **settings: Any) -> LoadResult:
    """Loads the connectors of the configured teams.

    Args:
        pipeline: Where to load to. Its working folder is cleared.
        settings: Arguments of `supermetrics_source`; settings that are left out come from dlt's configuration.

    Raises:
        SupermetricsConfigurationError: A setting or the dataset's name is unusable. No request has been made.
        AlreadyRunningError: Another process runs this pipeline.
        LoadFailedError: The run failed. The failing team has a row in `team_syncs`, unless the destination failed or
            the run was the first one into a new DuckDB file, which is deleted.
    """
    recorder = RunRecorder.attach(settings)
    destination: Any = pipeline.destination
    if destination is not None and pipeline.dataset_name:
        named_dataset(destination, pipeline.dataset_name)
    with exclusive_pipeline(pipeline):
        try:
            info = _load(pipeline.drop(), recorder)
        except Exception as error:  # noqa: BLE001 - re-raised as LoadFailedError
            failure = failed(error, pipeline.pipeline_name)
            if not isinstance(destination, duckdb_file) or destination.file_exists:
                record_failure(pipeline, failure, recorder)
            raise failure from failure.cause
    location = info.destination_displayable_credentials
    return recorder.result(pipeline, info.destination_name, location, list(info.loads_ids))


def _load(pipeline: dlt.Pipeline, recorder: RunRecorder) -> LoadInfo:
    settings = recorder.settings
    strategy = choose_strategy(cast(Any, pipeline.destination), settings.table_format, settings.snapshot)
    pipeline.config.restore_from_destination = False  # dlt's state holds nothing of this source
    with ExitStack() as stack:
        # a connection held during the run spares dlt from opening the DuckDB file for each of its steps
        connection = _CONNECTION_RETRIES(lambda: _connect(stack, pipeline, recorder.source.schema))
        client: Any = connection.sql_client if connection else None
        if isinstance(pipeline.destination, duckdb_file):
            pipeline.destination.remember_file(pipeline, Path(client.credentials.database))
            stack.push(lambda kind, *_: client.delete_new_file() if kind else None)
        # before the locks, which PostgreSQL's client releases when a table does not exist
        _restore_schema(pipeline, recorder.source.schema, connection)
        locks = strategy.locks(client) if client else None
        verify_locks = stack.enter_context(team_locks(locks, pipeline, settings.team_ids))
        pipeline.activate()
        _extract(pipeline, recorder, strategy)
        pipeline.normalize()
        verify_locks()
        info: LoadInfo = _LOAD_RETRIES(lambda: pipeline.load(raise_on_failed_jobs=True))
    if client is not None and strategy.mode.is_compared and not recorder.changes_view_exists:
        create_changes_view(pipeline, replaces=False)
    if recorder.has_duplicates:
        strategy.deduplicate(Target.of_pipeline(pipeline))
    return info


def _restore_schema(pipeline: dlt.Pipeline, schema: Schema, connection: Any) -> None:
    """Adds the tables of the stored schema to the source's, so that it describes tables without new rows too.

    `dlt.attach` and other readers know the dataset by this schema.
    """
    with nullcontext(connection) if connection else Target(pipeline, schema, {}).client() as client:
        stored = client.get_stored_schema(schema.name)
    if stored:
        for table in Schema.from_dict(json.loads(stored.schema)).data_tables():
            schema.update_table(table)


def _extract(pipeline: dlt.Pipeline, recorder: RunRecorder, strategy: DestinationStrategy) -> None:
    try:
        pipeline.extract(recorder.source)
    except PipelineStepFailed as error:
        if not isinstance(root_cause(error), DuplicateRowsError):
            raise
        target = Target(pipeline, recorder.source.schema, {})
        logger.warning("Duplicate rows were deleted; %s connectors are written again", strategy.deduplicate(target))
        pipeline.extract(recorder.source)


def _connect(stack: ExitStack, pipeline: dlt.Pipeline, schema: Schema) -> Any:
    """Connects dlt's client of a run; None for files, which dlt connects to only for reading, if that is possible.

    dlt's own error of a failed connection is missing for PostgreSQL.
    """
    destination: Any = pipeline.destination
    if destination is not None and issubclass(destination.client_class, FilesystemClient):
        return None
    connection: Any = Target(pipeline, schema, {}).client()
    try:
        return stack.enter_context(connection)
    except DestinationConnectionError:
        raise
    except Exception as error:
        raise DestinationConnectionError(type(connection).__name__, pipeline.dataset_name, str(error), error) from error


def root_cause(error: BaseException) -> BaseException:
    """The source's own error below dlt's wrappers, or else the innermost reason."""
    outermost, *inner = causes(error)
    # the end of an iteration explains nothing
    reasons = [outermost, *takewhile(lambda cause: not isinstance(cause, StopIteration), inner)]
    return next((cause for cause in reasons if isinstance(cause, SupermetricsError)), reasons[-1])


def is_retryable(error: BaseException) -> bool:
    """Whether the destination may accept the same load later: it was out of reach, or another run created a table."""
    may_pass = retry_schema_update()(error) or retry_load(("load",))(error)
    gave_up = is_out_of_memory(root_cause(error))  # dlt has tried with all of the machine's memory
    return isinstance(error, PipelineStepFailed) and error.step == "load" and may_pass and not gave_up


def _log_retry(attempt: RetryCallState) -> None:
    if attempt.outcome and (error := attempt.outcome.exception()):
        wait = attempt.upcoming_sleep
        logger.warning("The destination failed, next attempt in %.1f s: %s", wait, summarize_error(root_cause(error)))


_LOAD_RETRIES = Retrying(
    retry=retry_if_exception(is_retryable),
    stop=stop_after_attempt(4),
    wait=wait_random_exponential(multiplier=0.5, max=10),
    before_sleep=_log_retry,
    reraise=True,
)


def _is_lost_race(error: BaseException) -> bool:
    """Whether another run created a new lake's catalog at the same moment: it exists by now."""
    return isinstance(error, DestinationConnectionError) and "already exists" in str(error)


_CONNECTION_RETRIES: Callable[[Callable[[], T]], T] = _LOAD_RETRIES.copy(
    retry=retry_if_exception(_is_lost_race), stop=stop_after_attempt(10), wait=wait_random_exponential(max=5)
)


@contextmanager
def exclusive_pipeline(pipeline: dlt.Pipeline) -> Iterator[None]:
    """Keeps a second process out of the working folder. The system releases the lock when a process is killed.

    Raises:
        AlreadyRunningError: Another process runs the pipeline.
    """
    folder = Path(pipeline.pipelines_dir)
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f"{pipeline.pipeline_name}.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise AlreadyRunningError(
            f"Another process runs the pipeline {pipeline.pipeline_name!r} ({lock.lock_file} is locked). "
            "Wait until that process ends. Runs that load into different places need a --pipeline-name each."
        ) from None
    try:
        yield
    finally:
        lock.release()


def failed(error: BaseException, pipeline_name: str) -> LoadFailedError:
    """The failure of a run, without dlt's wrappers."""
    is_connecting = any(isinstance(cause, DestinationConnectionError) for cause in causes(error))
    failure = LoadFailedError(root_cause(error), getattr(error, "step", None), pipeline_name, is_connecting)
    logger.info("%s in dlt's step %s", type(failure.cause).__name__, failure.step)
    return failure


def record_failure(pipeline: dlt.Pipeline, failure: LoadFailedError, recorder: RunRecorder) -> None:
    """Writes rows of `team_syncs` for teams that failed, so that the on-call query finds them in the warehouse.

    A failed request concerns its team; a failed load concerns every team of the run.
    """
    cause = failure.cause
    if isinstance(cause, SupermetricsError) and cause.team_id is not None:
        duration_ms = round((datetime.now(timezone.utc) - recorder.started_at).total_seconds() * 1000)
        rows = [sync_row(Listing.failed(cause, recorder.started_at, duration_ms))]
    elif failure.step == "load":
        rows = [
            row | {"status": "failed", "error_message": row["error_message"] or failure.summary}
            for row in recorder.syncs
        ]
    else:
        return
    has_trace = pipeline.config.enable_runtime_trace
    pipeline.config.enable_runtime_trace = False  # `dlt pipeline … trace` is to show the run that failed
    try:
        if failure.step == "load":  # or the failed package would be loaded again instead of these rows
            pipeline.abort_packages()
        schema = recorder.source.schema
        pipeline.run(team_syncs_resource(rows, recorder.settings), schema=schema)
    except Exception as error:  # noqa: BLE001 - the run's own failure matters more
        logger.warning("The failure could not be recorded in team_syncs: %s", summarize_error(root_cause(error)))
    finally:
        pipeline.config.enable_runtime_trace = has_trace
