"""A staging dataset for each pipeline.

dlt's default is one staging dataset per dataset. Pipelines that load at the same time would empty its tables before
another pipeline has merged the rows, or merge the rows of another pipeline, and each load would count as complete.
"""

import dlt
from dlt.common.configuration import configspec, resolve_configuration
from dlt.common.configuration.specs import BaseConfiguration

from .target import Target


@configspec
class _StagingSettings(BaseConfiguration):
    """The part of dlt's settings of a destination that names the staging dataset."""

    staging_dataset_name_layout: str | None = None


def separate_staging_dataset(target: Target) -> None:
    """Names the staging dataset for the pipeline, unless the user has configured a layout.

    The setting is one of this pipeline, and of no other: dlt reads it in a section that has the pipeline's name.

    Args:
        target: The tables of the running source.
    """
    pipeline = target.pipeline
    sections = ("destination", pipeline.destination.destination_name)
    if resolve_configuration(_StagingSettings(), sections=sections).staging_dataset_name_layout is None:
        setting = f"{pipeline.pipeline_name}.destination.staging_dataset_name_layout"
        dlt.config[setting] = f"%s_staging_{target.table(pipeline.pipeline_name)}"
