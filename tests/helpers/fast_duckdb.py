"""dlt's DuckDB destination, without the repeated resolution of its settings."""

from __future__ import annotations

from typing import Any

from dlt.destinations import duckdb


class FastDuckDB(duckdb):
    """dlt's DuckDB destination for a fixed file. dlt resolves its settings seventy times per load, for 0.15 s."""

    __orig_base__ = duckdb  # dlt reads there which arguments are defaults
    destination_type = "dlt.destinations.duckdb"

    def __init__(self, file: str) -> None:
        super().__init__(file, destination_name="duckdb")
        self._resolved: dict[tuple[Any, ...], Any] = {}

    def capabilities(self, config: Any = None, naming: Any = None) -> Any:
        """DuckDB's capabilities, which depend on no setting."""
        return super().capabilities(config or self.spec(), naming)

    def configuration(self, initial_config: Any, accept_partial: bool = False) -> Any:
        """The settings, resolved once for the same arguments."""
        if accept_partial or not initial_config or initial_config.is_resolved():
            return super().configuration(initial_config, accept_partial)
        asked = tuple(initial_config.items())
        if asked not in self._resolved:
            self._resolved[asked] = super().configuration(initial_config)
        return self._resolved[asked]
