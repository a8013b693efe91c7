"""A run that only reports what it would do: the same requests and comparison, and nothing is written anywhere."""

import copy
from pathlib import Path
from typing import Any

import dlt
from dlt.destinations.impl.duckdb.configuration import DuckDbCredentials
from dlt.destinations.impl.filesystem.filesystem import FilesystemClient

from supermetrics_connectors import supermetrics_source
from supermetrics_connectors.interface import ENDPOINTS

from .load import failed
from .pipeline import database_file
from .result import LoadResult, RunRecorder, with_settings_of


@with_settings_of(supermetrics_source)
def dry_run(pipeline: dlt.Pipeline, **settings: Any) -> LoadResult:
    """Fetches, compares and writes nothing: no file, no table, no state. It does not wait for other runs.

    Optional tables are not requested, because their requests count against the rate limit.

    Args:
        pipeline: Where a run would load to. Its working folder is used: give it a temporary one.
        settings: As for `run_load`.

    Returns:
        What `run_load` would return now, without load ids.

    Raises:
        SupermetricsConfigurationError: A setting is unusable. No request has been made.
        LoadFailedError: The run failed.
    """
    settings.update({endpoint.setting: False for endpoint in ENDPOINTS})
    recorder = RunRecorder.attach(settings)
    recorder.source.resources["listings"].add_filter(lambda _batch: False)  # compared by then, and not written
    destination: Any = pipeline.destination
    try:
        location = str(pipeline.destination_client().config)
        pipeline.destination = _read_only(pipeline, copy.copy(destination))
        pipeline.sync_destination()
        pipeline.extract(recorder.source.with_resources("listings"))
    except Exception as error:  # noqa: BLE001 - re-raised as LoadFailedError
        failure = failed(error, pipeline.pipeline_name)
        raise failure from failure.cause
    finally:
        pipeline.destination = destination
    return recorder.result(pipeline, destination.destination_name, location, load_ids=[])


def _read_only(pipeline: dlt.Pipeline, destination: Any) -> Any:
    """Makes a destination read-only if it is DuckDB; an empty one instead where reading would create the file."""
    if issubclass(destination.client_class, FilesystemClient):
        return destination
    pipeline.destination = destination
    config: Any = pipeline.destination_client().config
    file = database_file(config.credentials, pipeline.dataset_name)
    if file and not file.exists():
        return dlt.destinations.duckdb(str(Path(pipeline.working_dir) / "empty.duckdb"))
    if isinstance(config.credentials, DuckDbCredentials):
        config.credentials.read_only = True  # other processes may read the file meanwhile
        destination.config_params = {**destination.config_params, "credentials": config.credentials}
    return destination
