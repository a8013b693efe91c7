"""Where a run loads to: a dlt pipeline, made the same way for the command line and every orchestrator."""

import logging
from pathlib import Path
from typing import Any

import dlt
from dlt.common.destination.client import DestinationClientDwhConfiguration
from dlt.common.destination.reference import DestinationReference

from supermetrics_connectors.exceptions import SupermetricsConfigurationError

from .duckdb_file import DUCKDB_FILE, configured_file, duckdb_file

DATASET = SCHEMA = "supermetrics"
"""The dataset's default name, and dlt's name for the schema of the tables, whatever the dataset."""
_OLD_FILE = "supermetrics.duckdb"

logger = logging.getLogger(__name__)

_SETTINGS = {
    # what was merged is not kept twice: it halves the DuckDB file
    "load.truncate_staging_dataset": True,
}
"""dlt's settings that suit these tables, where the user has set none."""


def make_pipeline(
    name: str,
    destination: str = "duckdb",
    dataset: str = DATASET,
    progress: Any = None,
    pipelines_dir: str | None = None,
) -> dlt.Pipeline:
    """Makes a pipeline. Many may load to one dataset at the same time, if each has a name and teams of its own.

    Args:
        name: The pipeline's.
        destination: A dlt destination. `duckdb` without configured credentials is `supermetrics_connectors.duckdb` in
            the current folder.
        dataset: Where the tables are.
        progress: A dlt progress display; None for none.
        pipelines_dir: Where dlt keeps the pipeline's working folder; dlt's own place by default.
    """
    for setting, value in _SETTINGS.items():
        if dlt.config.get(setting) is None:
            dlt.config[setting] = value
    if destination == "duckdb":
        refuse_ambiguous_names(dataset)
    # dlt would have all pipelines of a dataset share one set of staging tables: each empties or merges what another has
    # put there, without an error (four at once into PostgreSQL: in one round of four, 2000 rows became 2920).
    target = make_destination(destination, staging_dataset_name_layout=f"%s_staging_{name}")
    own: Any = pipelines_dir  # dlt's default is None, which its annotation does not say
    return dlt.pipeline(name, destination=target, dataset_name=dataset, progress=progress, pipelines_dir=own)


def named_dataset(destination: Any, dataset: str) -> dlt.Dataset:
    """The dataset of this name, which is not opened yet.

    Args:
        destination: dlt's destination.
        dataset: The name.

    Raises:
        SupermetricsConfigurationError: dlt would give the dataset another name there: two names would be one dataset,
            which nothing that goes by the name would notice.
    """
    _ = destination.client_class  # its driver is missed before its credentials are: what to install comes first
    data = dlt.dataset(destination, dataset, schema=dlt.Schema(SCHEMA))
    client = data.destination_client
    config = client.config
    if isinstance(config, DestinationClientDwhConfiguration) and config.enable_dataset_name_normalization:
        name = client.schema.naming.normalize_table_identifier(dataset)
        if name != dataset:
            raise SupermetricsConfigurationError(
                f"The dataset {dataset!r} would be called {name!r} there. Name it so (--dataset {name}), or otherwise "
                "with small letters, digits and underscores, and no digit first"
            )
    return data


def database_file(credentials: Any, dataset: str) -> Path | None:
    """The file that a dataset of a database is in, and that connecting would make; None where there is a server.

    Args:
        credentials: The destination's: of DuckDB, a DuckLake or what SQLAlchemy speaks, or any other's.
        dataset: Where the tables are.
    """
    catalog = getattr(credentials, "catalog", credentials)  # a DuckLake's
    kind, _, _ = (getattr(catalog, "drivername", None) or "").partition("+")
    # `:memory:`, `:external:` and SQLite's URLs are no paths
    if kind not in ("duckdb", "sqlite") or not catalog.database or catalog.database.startswith((":", "file:")):
        return None
    file = Path(catalog.database)
    # dlt has SQLite keep each dataset in a file of its own, all but `main`
    own = kind == "sqlite" and catalog is credentials and dataset != "main"
    return file.with_stem(f"{file.stem}__{dataset}") if own else file


def refuse_ambiguous_names(dataset: str) -> None:
    """Makes sure that the configured DuckDB file is not called like the dataset.

    Raises:
        SupermetricsConfigurationError: It is. `supermetrics.connectors` could be a table of the schema or of the file,
            and DuckDB refuses to guess.
    """
    file = configured_file()
    if file and Path(file.partition("?")[0]).stem == dataset:
        raise SupermetricsConfigurationError(
            f"The DuckDB file {file!r} and the dataset {dataset!r} have one name, which DuckDB calls ambiguous. Give "
            f"the file another one, such as {dataset}_connectors.duckdb, or the dataset (--dataset)"
        )


def make_destination(destination: Any = "duckdb", **for_warehouses: Any) -> Any:
    """Makes a dlt destination from its name, as `make_pipeline` does.

    Args:
        destination: A dlt destination, or its name. `duckdb` without configured credentials is
            `supermetrics_connectors.duckdb` in the current folder.
        for_warehouses: Settings of those destinations that have datasets.
    """
    if not isinstance(destination, str):
        return destination
    if destination == "duckdb":
        _mention_old_file()
        return duckdb_file(**for_warehouses)
    target: Any = DestinationReference.from_reference(destination)
    if for_warehouses and issubclass(target.spec, DestinationClientDwhConfiguration):
        return DestinationReference.from_reference(destination, **for_warehouses)
    return target


def _mention_old_file() -> None:
    """Tells of a file that versions before 0.1 made where `supermetrics_connectors.duckdb` is made now."""
    if Path(_OLD_FILE).exists() and configured_file() is None:
        logger.warning(
            "%s is no longer the default and is left as it is. To go on with it, rename it to %s; or delete it",
            *(Path.cwd() / _OLD_FILE, DUCKDB_FILE),
        )
