"""The dlt pipeline of a run, made the same way for the command line and every orchestrator."""

from pathlib import Path
from typing import Any

import dlt
from dlt.common.destination.client import DestinationClientDwhConfiguration
from dlt.common.destination.reference import DestinationReference

from supermetrics_connectors.interface import SupermetricsConfigurationError, refuse_ambiguous_name

from .duckdb_file import configured_file, duckdb_file

DATASET = SCHEMA = "supermetrics"
"""The dataset's default name, and dlt's name for the schema of the tables, whatever the dataset."""


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
        destination: As for `make_destination`.
        dataset: Where the tables are.
        progress: A dlt progress display; None for none.
        pipelines_dir: Where dlt keeps the pipeline's working folder; dlt's own place by default.
    """
    if destination == "duckdb":
        refuse_ambiguous_names(dataset)
    # dlt's staging tables would be shared by all pipelines of a dataset, which empty and merge each other's rows
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
    _ = destination.client_class  # a missing driver is reported before missing credentials
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
    """The file of a database, which connecting creates if it does not exist; None for a destination without one.

    Args:
        credentials: The credentials of any destination. DuckDB, DuckLake and SQLite have a file.
        dataset: The dataset's name.
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
        SupermetricsConfigurationError: It is, see `refuse_ambiguous_name`.
    """
    if file := configured_file():
        refuse_ambiguous_name(file, dataset)


def make_destination(destination: Any = "duckdb", **for_warehouses: Any) -> Any:
    """Makes a dlt destination from its name.

    Args:
        destination: A dlt destination, or its name. `duckdb` without configured credentials is
            `supermetrics_connectors.duckdb` in the current folder.
        for_warehouses: Settings of those destinations that have datasets.
    """
    if not isinstance(destination, str):
        return destination
    if destination == "duckdb":
        return duckdb_file(**for_warehouses)
    target: Any = DestinationReference.from_reference(destination)
    if for_warehouses and issubclass(target.spec, DestinationClientDwhConfiguration):
        return DestinationReference.from_reference(destination, **for_warehouses)
    return target
