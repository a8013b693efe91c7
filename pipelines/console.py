"""What the command line shows a person: progress, the summary of a run, an error as one block."""

import json
import sys
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from dlt.common.runtime.collector_base import Collector
from rich import box
from rich.console import Console
from rich.table import Table

from .runs import LoadResult

_PIPED_WIDTH = 160  # in a log or a mail there is no screen whose width would matter

out = Console(highlight=False, width=None if sys.stdout.isatty() else _PIPED_WIDTH)
err = Console(stderr=True, highlight=False)

_TEAM_COLUMNS = {
    "team_id": "team",
    "status": "status",
    "connectors_received": "connectors",
    "connectors_changed": "changed",
    "connectors_removed": "removed",
    "configurations_changed": "new versions",
    "request_id": "request_id",
}


class TerminalProgress(Collector):
    """dlt's progress as one line of the terminal: teams fetched, or why nothing moves."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        note = TextColumn("[yellow]{task.fields[note]}")
        self._progress = Progress(*columns, TimeElapsedColumn(), note, console=err, transient=True)
        self._task = self._progress.add_task("Starting", total=None, note="")

    def update(
        self,
        name: str,
        inc: int = 1,
        total: int | None = None,
        inc_total: int | None = None,  # noqa: ARG002 - dlt's signature
        message: str | None = None,
        label: str | None = None,  # noqa: ARG002 - dlt's signature
    ) -> None:
        """Moves the bar of the teams; what else dlt counts is over too soon to be worth a line."""
        if name == "Teams":
            self._progress.update(self._task, advance=inc, total=total, note=message or "")

    def _start(self, step: str) -> None:
        self._progress.reset(self._task, total=None, description=step.split(maxsplit=1)[0], note="")
        self._progress.start()

    def _stop(self) -> None:
        self._progress.stop()


def progress() -> Collector | None:
    """The progress display, where standard error is a terminal; None in cron's mail or a log."""
    return TerminalProgress() if err.is_terminal else None


def show_json(value: Any) -> None:
    """Prints one JSON object on one line, times in ISO 8601."""
    out.print(json.dumps(value, default=datetime.isoformat, ensure_ascii=False), soft_wrap=True, markup=False)


def show_result(result: LoadResult, look: str) -> None:
    """Answers "what happened?": a line a team, the sums, where the data is and how to look at it.

    Args:
        result: What the run did.
        look: The one command that shows the data.
    """
    show_table(result.teams, _TEAM_COLUMNS)
    for team in result.failed:
        out.print(f"[red]failed[/red] team {team['team_id']}: ", end="")
        out.print(team["error_message"], markup=False, soft_wrap=True)
    for team in result.teams:
        if team["status"] == "incomplete":
            out.print(
                f"[yellow]incomplete[/yellow] team {team['team_id']}: the API counts {team['connectors_reported']} "
                f"connectors and listed {team['connectors_received']}, so none was removed",
                soft_wrap=True,
            )
    seconds = (result.finished_at - result.started_at).total_seconds()
    loaded = len(result.teams) - len(result.failed)
    out.print(
        f"Loaded {loaded} of {len(result.teams)} teams in {seconds:.1f} s: {_total(result, 'connectors_received')} "
        f"connectors, {_total(result, 'connectors_changed')} changed, {_total(result, 'connectors_removed')} removed, "
        f"{_total(result, 'configurations_changed')} new configuration versions.",
        soft_wrap=True,
    )
    out.print(f"Data:    {result.location}, dataset {result.dataset_name}", soft_wrap=True, markup=False)
    out.print(f"Look at: {look}", soft_wrap=True, markup=False)


def show_error(text: str) -> None:
    """Prints a failure as one block on standard error."""
    err.print("[red]Error[/red] ", end="")
    err.print(text, markup=False, soft_wrap=True)


def _total(result: LoadResult, column: str) -> int:
    return sum(team[column] or 0 for team in result.teams)


def show_table(rows: Iterable[Mapping[str, Any]], columns: Mapping[str, str]) -> None:
    """Prints the columns, by their titles, of each row."""
    table = Table(box=box.SIMPLE_HEAD)
    for name, title in columns.items():
        table.add_column(title, justify="left" if name in ("status", "request_id") else "right", no_wrap=True)
    for row in rows:
        table.add_row(*("" if row[name] is None else str(row[name]) for name in columns))
    out.print(table)
