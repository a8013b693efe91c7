"""What the command line prints: progress, the summary of a run and an error for people; JSON for programs."""

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dlt.common.runtime.collector_base import Collector
from rich import box
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from supermetrics_connectors.interface import canonical_json

from ..plurals import counted
from ..run.result import LoadResult
from ..sanitize import sanitize

MAX_TEAM_LINES = 40
PIPED_WIDTH = 160
"""Characters per line in a log or a mail, which have no screen."""

# data is printed: brackets and colons in it are neither styles nor emoji
out = Console(markup=False, emoji=False, highlight=False, width=None if sys.stdout.isatty() else PIPED_WIDTH)
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
_CHECK_COLUMNS = {
    "team_id": "team",
    "status": "status",
    "http_status": "HTTP",
    "connectors": "connectors",
    "rate_limit_remaining": "left",
    "request_id": "request_id",
}
_STYLES = {"ok": "green", "incomplete": "yellow", "failed": "red"}


class TerminalProgress(Collector):
    """dlt's progress as one line of the terminal: teams fetched, or why nothing moves.

    dlt calls `_start` and `_stop` of its subclasses.
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
        """Moves the bar of the teams. dlt's other counters end too soon to be worth a line."""
        if name == "Teams":
            self._progress.update(self._task, advance=inc, total=total, note=message or "")

    def _start(self, step: str) -> None:
        self._progress.reset(self._task, total=None, description=step.split(maxsplit=1)[0], note="")
        self._progress.start()

    def _stop(self) -> None:
        self._progress.stop()


def progress() -> Collector | None:
    """The progress display, where a person watches standard error; None in cron's mail or a log."""
    return TerminalProgress() if sys.stderr.isatty() else None


def show_json(value: Any) -> None:
    """Prints one JSON object on one line, times in ISO 8601.

    The line is ASCII, which every locale has. A control character in a name becomes an escape.
    """
    try:
        text = canonical_json(value).decode()
    except TypeError:  # nested deeper than canonical JSON, or with a path that is not UTF-8
        text = json.dumps(value, default=str)
    sys.stdout.write(_NOT_ASCII.sub(lambda found: json.dumps(found[0])[1:-1], text) + "\n")


_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")


def show_result(result: LoadResult, look_command: str) -> None:
    """Answers "what happened?": a line per team, the sums, where the data is and how to look at it.

    Args:
        result: What the run did.
        look_command: The command that shows the data.
    """
    _show_teams(result)
    seconds = (result.finished_at - result.started_at).total_seconds()
    show(f"Loaded {_teams(result)} in {seconds:.1f} s: {_sums(result)}.")
    for table, rows in result.rows.items():
        show(f"Wrote {counted(rows, 'row')} to {table}.")
    _show_redacted(result)
    if result.failing_count:
        failing = counted(result.failing_count, "team or connector", "teams or connectors")
        show(f"Requests failed for {failing}: see the table fetches.")
    if result.postponed_reason:
        postponed = counted(_total(result, "connectors_postponed"), "connector")
        show(f"Left to the next load, for {postponed}: {result.postponed_reason}.")
    show(f"Data:    {result.location}, dataset {result.dataset_name}")
    show(f"Look at: {look_command}")


def show_dry_run(result: LoadResult) -> None:
    """Answers "what would happen?": a line per team, a line per connector, and the sums.

    Args:
        result: What a dry run found.
    """
    _show_teams(result)
    for line in result.changes.lines():
        show(line)
    show(f"Would load {_teams(result)}: {_sums(result)}. Nothing was written.")


def _show_teams(result: LoadResult) -> None:
    teams = result.teams
    if len(teams) > MAX_TEAM_LINES:
        teams = [team for team in teams if team["status"] != "ok" or _changes(team)][:MAX_TEAM_LINES]
    named = [team | {"name": result.team_names.get(team["team_id"])} for team in teams]
    show_table(named, ({"name": "name"} if result.team_names else {}) | _TEAM_COLUMNS)
    if more := len(result.teams) - len(teams):
        show(f"… and {counted(more, 'more team')}, all in the table team_syncs")
    for team in result.teams:
        if team["status"] == "incomplete":
            out.print("incomplete ", style="yellow", end="")
            show(f"team {team['team_id']}: {_incompleteness(team)}, so none was removed")


def _incompleteness(team: Mapping[str, Any]) -> str:
    if team["connectors_reported"] == team["connectors_received"]:
        return "the API listed a connector more than once, which the warning names"
    reported = counted(team["connectors_reported"], "connector")
    return f"the API counts {reported} and listed {team['connectors_received']:,}"


def _show_redacted(result: LoadResult) -> None:
    redacted = [team for team in result.teams if team["secrets_redacted"]]
    if redacted:
        count = sum(team["secrets_redacted"] for team in redacted)
        show(f"Redacted {counted(count, 'secret')} in configurations:")
    for team in redacted[:MAX_TEAM_LINES]:
        for identifier, paths in json.loads(team["redacted_paths"] or "{}").items():
            show(f"  team {team['team_id']}, {identifier}: {', '.join(paths)}")


def _teams(result: LoadResult) -> str:
    return f"{len(result.teams) - len(result.failed):,} of {counted(len(result.teams), 'team')}"


def _sums(result: LoadResult) -> str:
    return (
        f"{counted(_total(result, 'connectors_received'), 'connector')}, "
        f"{_total(result, 'connectors_changed'):,} changed, {_total(result, 'connectors_removed'):,} removed, "
        f"{counted(_total(result, 'configurations_changed'), 'new configuration version')}"
    )


def show_nothing_to_do(pipeline_name: str, as_json: bool) -> None:
    """Reports that a shard has no teams, which is no failure where there are more shards than teams."""
    if as_json:
        show_json({"pipeline_name": pipeline_name, "teams": []})
    else:
        show(f"None of the teams is in this shard: nothing to do for {pipeline_name}.")


def show_check(teams: Sequence[dict[str, Any]]) -> None:
    """Prints a line per checked team, in 80 columns without team names."""
    has_names = any(team.get("name") for team in teams)
    show_table(teams, ({"name": "name"} if has_names else {}) | _CHECK_COLUMNS)


def show_secrets(teams: Iterable[Mapping[str, Any]]) -> None:
    """Lists where secrets were typed into configurations; nothing where configurations were not examined."""
    examined = [team for team in teams if team["secrets"] is not None]
    found = [(team["team_id"], *each) for team in examined for each in team["secrets"].items()]
    if found:
        show("Typed into configurations, though they belong into the Connector Builder's secrets:")
    elif examined:
        show("No secrets are typed into configurations.")
    for team_id, identifier, paths in found:
        for path in paths:
            show(f"  team {team_id}, {identifier}: {path}")


def show(text: str) -> None:
    """Prints one line, sanitized."""
    out.print(sanitize(text), soft_wrap=True)


def show_error(text: str) -> None:
    """Prints a failure as one block on standard error, with the lines of the text (see `describe`)."""
    err.print("Error: ", style="red", end="")
    for line in text.split("\n"):
        err.print(sanitize(line), soft_wrap=True)


def _changes(team: Mapping[str, Any]) -> int:
    columns = ("connectors_changed", "connectors_removed", "configurations_changed")
    return sum(team[column] or 0 for column in columns)


def _total(result: LoadResult, column: str) -> int:
    return sum(team.get(column) or 0 for team in result.teams)


def show_table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], *, wrap: bool = False) -> None:
    """Prints the columns of each row, under their titles. Numbers are aligned to the right.

    Args:
        rows: The rows.
        columns: Titles by name.
        wrap: Whether long cells may take several lines; otherwise only request ids do.
    """
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for name, title in columns.items():
        is_number = all(row[name] is None or isinstance(row[name], (int, float)) for row in rows)
        justify: JustifyMethod = "right" if is_number else "left"
        table.add_column(sanitize(title), justify=justify, no_wrap=not wrap and name != "request_id", overflow="fold")
    for row in rows:
        style = _STYLES.get(str(row.get("status")), "")
        table.add_row(
            *(
                Text("" if row[name] is None else sanitize(row[name]), style=style if name == "status" else "")
                for name in columns
            )
        )
    out.print(table)
