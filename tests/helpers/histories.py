"""Random histories of a DuckDB file that pipelines load into."""

from __future__ import annotations

import shutil
from pathlib import Path

import dlt
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from tests.helpers.sandbox import Sandbox
from tests.helpers.warehouse import Warehouse


class History(RuleBasedStateMachine):
    """A sandbox, and a DuckDB file in a folder that a machine makes as it begins."""

    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__()
        self.folder = Path.cwd() / "history"
        self.warehouse = Warehouse(self.folder / "warehouse.duckdb")
        self.sandbox = sandbox.start()

    def teardown(self) -> None:
        """Ends the server and deletes the folder."""
        self.sandbox.stop()
        shutil.rmtree(self.folder)

    @rule()
    def back_up(self) -> None:
        """Keeps a copy of the file."""
        if self.warehouse.path.exists():
            shutil.copy(self.warehouse.path, self.folder / "backup")

    @rule()
    def restore_the_backup(self) -> None:
        """Restores the copy; the working folder has later loads."""
        if (self.folder / "backup").exists():
            shutil.copy(self.folder / "backup", self.warehouse.path)

    def touch(self, sql: str) -> None:
        """Edits the file by hand, if it exists."""
        if self.warehouse.path.exists():
            self.warehouse.query(sql)

    def new_pipeline(self, name: str, worker: str) -> dlt.Pipeline:
        """A pipeline to the file, whose working folder is that of a worker."""
        return dlt.pipeline(
            name,
            destination=dlt.destinations.duckdb(str(self.warehouse.path)),
            dataset_name=self.warehouse.schema,
            pipelines_dir=str(self.folder / worker),
        )


def try_histories(machine: type[History], count: int, events: int) -> None:
    """Runs random histories of a machine.

    Args:
        machine: The events.
        count: Histories.
        events: Most events of one history.
    """
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=count,
            stateful_step_count=events,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],  # shrinking a history takes minutes; it is readable as it is
        ),
    )
