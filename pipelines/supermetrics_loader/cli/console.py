"""What the command line shows a person: progress, the summary of a run, an error as one block; JSON for a program."""

import json
import re
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from dlt.common.runtime.collector_base import Collector
from rich import box
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from supermetrics_connectors.documents.json_text import canonical_json

from ..harmless import harmless
from ..run.result import LoadResult

_MOST_TEAMS = 20  # lines: more than a screen answers nothing
_PIPED_WIDTH = 160  # in a log or a mail there is no screen whose width would matter

# what is shown is data: brackets and colons in it are neither styles nor emoji
out = Console(markup=False, emoji=False, highlight=False, width=None if sys.stdout.isatty() else _PIPED_WIDTH)
err = Console(markup=False, emoji=False, highlight=False, stderr=True)

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
    """dlt's progress as one line of the terminal: teams fetched, or why nothing moves.

    What dlt asks its subclasses for, `_start` and `_stop`, it has given names of private methods.
    """

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
    """Prints one JSON object on one line, times in ISO 8601.

    In ASCII: every locale has it, and a control character in a name is an escape of JSON, which reads back as it was.
    """
    try:
        text = canonical_json(value).decode()
    except TypeError:  # deeper than it writes, or with a path that is no UTF-8: digits beyond a double's are text then
        text = json.dumps(value, default=str)
    sys.stdout.write(_NOT_ASCII.sub(lambda found: json.dumps(found[0])[1:-1], text) + "\n")


_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")


def show_result(result: LoadResult, look: str) -> None:
    """Answers "what happened?": a line a team, the sums, where the data is and how to look at it.

    Args:
        result: What the run did.
        look: The one command that shows the data.
    """
    _show_teams(result)
    seconds = (result.finished_at - result.started_at).total_seconds()
    show(f"Loaded {_teams(result)} in {seconds:.1f} s: {_sums(result)}.")
    if result.failing:
        show(f"Could not be had of {result.failing} teams or connectors: table fetches says what, with the request_id.")
    if result.left:
        postponed = _connectors(_total(result, "connectors_postponed"))
        show(f"Left for the next load, of {postponed}: {result.left}.")
    show(f"Data:    {result.location}, dataset {result.dataset_name}")
    show(f"Look at: {look}")


def show_intention(result: LoadResult) -> None:
    """Answers "what would happen?": a line a team, a line a connector, and the sums.

    Args:
        result: What a dry run found out.
    """
    _show_teams(result)
    verbs = {"added": "add", "changed": "change", "removed": "remove", "configured": "new configuration"}
    for change in result.changes.first:
        what = f"team {change.team_id}  {change.connector_identifier}  {change.name or ''}".rstrip()
        show(f"{verbs[change.kind]:<17}  {what}")
    if untold := result.changes.count - len(result.changes.first):
        show(f"… and {untold} more")
    show(f"Would load {_teams(result)}: {_sums(result)}. Nothing was written.")


def _show_teams(result: LoadResult) -> None:
    told = [team for team in result.teams if team["status"] != "ok" or _changes(team)] or result.teams
    named = [team | {"name": result.team_names.get(team["team_id"])} for team in told[:_MOST_TEAMS]]
    show_table(named, ({"name": "name"} if result.team_names else {}) | _TEAM_COLUMNS)
    if untold := len(result.teams) - len(told[:_MOST_TEAMS]):
        show(f"… and {untold} teams more, all in the table team_syncs")
    for team in result.teams:
        if team["status"] == "incomplete":
            out.print("incomplete ", style="yellow", end="")
            show(
                f"team {team['team_id']}: the API counts {team['connectors_reported']} connectors "
                f"and listed {team['connectors_received']}, so none was removed"
            )


def _teams(result: LoadResult) -> str:
    return f"{len(result.teams) - len(result.failed)} of {len(result.teams)} teams"


def _sums(result: LoadResult) -> str:
    return (
        f"{_total(result, 'connectors_received')} connectors, {_total(result, 'connectors_changed')} changed, "
        f"{_total(result, 'connectors_removed')} removed, "
        f"{_total(result, 'configurations_changed')} new configuration versions"
    )


def show_nothing_to_do(pipeline_name: str, as_json: bool) -> None:
    """Says that a shard has no teams: no failure where there are more shards than teams."""
    if as_json:
        show_json({"pipeline_name": pipeline_name, "teams": []})
    else:
        show(f"None of the teams is in this shard: nothing to do for {pipeline_name}.")


def show_secrets(teams: Iterable[Mapping[str, Any]]) -> None:
    """Says where secrets are typed into configurations; nothing where that was not looked for."""
    looked_for = [team for team in teams if team["secrets"] is not None]
    found = [(team["team_id"], *each) for team in looked_for for each in team["secrets"].items()]
    if found:
        show("Typed into configurations, though they belong into the Connector Builder's secrets:")
    elif looked_for:
        show("No secrets are typed into configurations.")
    for team_id, identifier, paths in found:
        for path in paths:
            show(f"  team {team_id}, {identifier}: {path}")


def show_changes(rows: Iterable[Mapping[str, Any]]) -> None:
    """Prints one line a change; nothing for none, unless somebody waits for it at a terminal."""
    from ..look.changes import PATHS
    from ..look.team_names import named

    rows = list(rows)
    for row in rows:
        paths = [f"{mark}{path}" for column, mark in PATHS.items() for path in row[column] or ()]
        team = named(row["team_id"], {row["team_id"]: row["team_name"]})
        what = f"{team}  {row['connector_identifier']}  {row['name'] or ''}".rstrip()
        show(f"{row['detected_at']:%Y-%m-%d %H:%M}  {row['change']:<21}  {what}{': ' * bool(paths)}{', '.join(paths)}")
    if not rows and out.is_terminal:
        show("No changes.")


def show(text: str) -> None:
    """Prints one line."""
    out.print(harmless(text), soft_wrap=True)


def show_error(text: str) -> None:
    """Prints a failure as one block on standard error, where its lines are those of the text (see `describe`)."""
    err.print("Error ", style="red", end="")
    for line in text.split("\n"):
        err.print(harmless(line), soft_wrap=True)


def _changes(team: Mapping[str, Any]) -> int:
    columns = ("connectors_changed", "connectors_removed", "configurations_changed")
    return sum(team[column] or 0 for column in columns)


def _connectors(count: int) -> str:
    return f"{count} connector{'s' * (count != 1)}"


def _total(result: LoadResult, column: str) -> int:
    return sum(team.get(column) or 0 for team in result.teams)


def show_table(rows: Iterable[Mapping[str, Any]], columns: Mapping[str, str]) -> None:
    """Prints the columns, by their titles, of each row."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for name, title in columns.items():
        justify: JustifyMethod = "left" if name in ("name", "status", "request_id") else "right"
        table.add_column(title, justify=justify, no_wrap=name != "request_id", overflow="fold")
    for row in rows:
        table.add_row(*(Text("" if row[name] is None else harmless(row[name])) for name in columns))
    out.print(table)
