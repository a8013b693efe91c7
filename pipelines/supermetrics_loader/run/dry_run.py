"""A run that only says what it would do: the same requests and the same comparison, and nothing is written anywhere."""

from pathlib import Path
from typing import Any

import dlt
from dlt.destinations.impl.duckdb.configuration import DuckDbCredentials
from dlt.destinations.impl.filesystem.filesystem import FilesystemClient

from supermetrics_connectors import supermetrics_source

from .load import failed
from .result import LoadResult, Noted, with_settings_of
from .targets import database_file

# an answer that is not kept is taken from the rate limit all the same
_ONLY_LISTINGS = {"include_teams": False, "include_logs": False, "include_secrets": False}


@with_settings_of(supermetrics_source)
def dry_run(pipeline: dlt.Pipeline, **settings: Any) -> LoadResult:
    """Fetches, compares, and writes nothing: no file, no table, no state. Other runs are not waited for.

    Teams, logs and secrets are not asked for.

    Args:
        pipeline: Where it would load to. Its working folder is used: give it one that may go.
        settings: As for `run_load`.

    Returns:
        What `run_load` would have returned at this moment, without load ids.

    Raises:
        SupermetricsConfigurationError: A setting is unusable. No request has been made.
        LoadFailedError: The run failed.
    """
    settings.update(_ONLY_LISTINGS)
    noted = Noted.of(settings)
    noted.source.resources["listings"].add_filter(lambda _batch: False)  # compared by then, and nothing comes of it
    try:
        destination: Any = pipeline.destination
        location = str(pipeline.destination_client().config)
        pipeline.sync_destination(destination=_unwritten(pipeline))
        pipeline.extract(noted.source.with_resources("listings"))
    except Exception as error:  # noqa: BLE001 - whatever it was is the reason of the failure raised here
        failure = failed(error, pipeline.pipeline_name)
        raise failure from failure.cause
    return noted.result(pipeline, destination.destination_name, location, load_ids=[])


def _unwritten(pipeline: dlt.Pipeline) -> Any:
    """The destination, so that it is not made by being read: an empty one, beside the pipeline, if it is not there."""
    destination: Any = pipeline.destination
    with_files = issubclass(destination.client_class, FilesystemClient)
    config: Any = None if with_files else pipeline.destination_client().config
    file = None if with_files else database_file(config.credentials, pipeline.dataset_name)
    if file and not file.exists():
        return dlt.destinations.duckdb(str(Path(pipeline.working_dir) / "empty.duckdb"))
    if isinstance(getattr(config, "credentials", None), DuckDbCredentials):
        config.credentials.read_only = True  # as others may read it meanwhile
        destination.config_params["credentials"] = config.credentials
    return destination
