"""Delta tables: dlt merges their rows, but closes no versions."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, cast

import pyarrow as pa

from ...specs import CONNECTORS, HISTORIES, TableSpec
from ..target import Target
from .modes import UPSERT, WriteMode
from .reader import Reader
from .strategy import DestinationStrategy

if TYPE_CHECKING:  # deltalake is installed where it is needed
    from .delta import DeltaReader


@dataclass(frozen=True)
class DeltaStrategy(DestinationStrategy):
    """Delta tables of dlt's `filesystem` destination."""

    mode: WriteMode | None = UPSERT
    reason: str = "Delta tables merge but have no SCD2"
    table_format: str | None = "delta"

    def reader(self, target: Target) -> Reader:
        """See `DestinationStrategy`."""
        from .delta import DeltaReader  # noqa: PLC0415 - deltalake is installed where it is needed

        return DeltaReader(target)

    def ended_versions(
        self, reader: Reader, spec: TableSpec, version_ids: Sequence[str], at: datetime
    ) -> pa.Table | None:
        """See `DestinationStrategy`."""
        found = cast("DeltaReader", reader).ended_versions(spec, version_ids, at)
        return found.drop_columns([name for name in ("_dlt_load_id", "_dlt_id") if name in found.column_names])

    def deduplicate(self, target: Target) -> int:
        """See `DestinationStrategy`. An upsert changes every copy of a row."""
        from .delta import DeltaReader  # noqa: PLC0415 - deltalake is installed where it is needed

        reader = DeltaReader(target)
        for spec in HISTORIES:
            reader.delete_duplicates(spec)
        if keys := reader.duplicated_keys(CONNECTORS):
            reader.delete_keys(CONNECTORS, keys)
        return len(keys)
