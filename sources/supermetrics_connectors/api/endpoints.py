"""The optional endpoints: one table, from which settings, requests, options, plans and tables of the sandbox follow.

To add an endpoint: describe its table in `specs.py`, add an `Endpoint` here, its setting to `settings.py` and to
`supermetrics_source`, and its data to the sandbox.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Literal
from urllib.parse import quote

from dlt.common.exceptions import TransientException

from ..exceptions import (
    SupermetricsContractError,
    SupermetricsError,
    SupermetricsRateLimitError,
    SupermetricsUnauthorizedError,
)
from ..records import Record, content_hash, shift
from ..settings import Settings
from ..specs import CONNECTOR_LOGS, CONNECTOR_SECRETS, TEAMS, TableSpec
from .budget import RequestBudgetExhaustedError
from .client import ApiResponse, SupermetricsClient
from .listing import Listing
from .logs import CLOCK_SKEW, PAGE_LIMIT, LogPage, LogReader, Spool, tick_of, window_start
from .validation import (
    ColumnNames,
    UnexpectedError,
    check_count,
    check_fields,
    check_list,
    check_object,
    refuse_nul,
    refuse_other_team,
)

Watermarks = Mapping[tuple[int, str], datetime]
"""The time of the newest stored log entry, by team and connector."""
_MAX_FAILURES_IN_A_ROW = 5


@dataclass(frozen=True)
class Endpoint:
    """An optional endpoint.

    Attributes:
        name: Its name in the table `fetches`.
        level: Whether it is requested per team or per connector.
        path: Its path below the team's or the connector's.
        table: The table of its records.
        setting: The setting that selects it.
        help: What the setting does, for the command line.
        member: The member of a response that has the records.
        shape: What the member is; a counted list has its length in `count`.
        keeps_added_fields: Whether fields that the API adds are stored.
        is_log: Whether it is a log: paged by time, and only read from the newest stored entry on.
    """

    name: str
    level: Literal["team", "connector"]
    path: str
    table: TableSpec
    setting: str
    help: str
    member: str
    shape: Literal["object", "list", "counted list"]
    keeps_added_fields: bool = True
    is_log: bool = False


ENDPOINTS = (
    Endpoint(
        "team",
        "team",
        "",
        TEAMS,
        "include_teams",
        "Load the names of teams: one request per team.",
        "data",
        "object",
    ),
    Endpoint(
        "secrets",
        "connector",
        "/secrets",
        CONNECTOR_SECRETS,
        "include_secrets",
        "Load the names of connectors' secrets, never a value: one request per connector.",
        "secrets",
        "counted list",
        keeps_added_fields=False,  # one might be the value
    ),
    Endpoint(
        "logs",
        "connector",
        "/logs",
        CONNECTOR_LOGS,
        "include_logs",
        "Load the calls of connectors: at least one request per connector.",
        "logs",
        "list",
        is_log=True,
    ),
)
"""The endpoints, by urgency."""


def selected_endpoints(settings: Settings) -> tuple[Endpoint, ...]:
    """Returns the endpoints that the settings select."""
    return tuple(endpoint for endpoint in ENDPOINTS if getattr(settings, endpoint.setting))


@dataclass(frozen=True)
class FetchTask:
    """A request to make.

    Attributes:
        endpoint: The endpoint.
        team_id: The team.
        connector_identifier: The connector; "" for a request about a team.
    """

    endpoint: Endpoint
    team_id: int
    connector_identifier: str = ""

    @property
    def key(self) -> Record:
        """The columns that identify the team and the connector."""
        return {"team_id": self.team_id, "connector_identifier": self.connector_identifier}

    @property
    def record_key(self) -> Record:
        """The key columns of a record of the endpoint's table that the request determines."""
        return {name: value for name, value in self.key.items() if name in self.endpoint.table.key}

    @property
    def path(self) -> str:
        """The path below the base URL."""
        path = f"/v1/teams/{self.team_id}"
        if self.endpoint.level == "connector":
            path += f"/connector_builder/connectors/{quote(self.connector_identifier, safe='')}"
        return path + self.endpoint.path


def fetch_tasks(settings: Settings, connectors: Mapping[int, Iterable[str]]) -> Iterator[FetchTask]:
    """Yields the request of each selected endpoint for each team and connector; a log may take more than one.

    Args:
        settings: Select the endpoints.
        connectors: The identifiers of the listed connectors, by team.
    """
    for team_id, identifiers in connectors.items():
        for identifier in ("", *identifiers):
            for endpoint in selected_endpoints(settings):
                if (endpoint.level == "team") == (identifier == ""):
                    yield FetchTask(endpoint, team_id, identifier)


def planned_requests(settings: Settings, listings: Iterable[Listing]) -> int:
    """Returns how many requests a load makes at least, from the listings that it will read.

    Args:
        settings: Settings of the load.
        listings: The listings of its teams, as they are now.
    """
    listed = {listing.team_id: list(listing.connectors) for listing in listings if not listing.error}
    return len(settings.team_ids) + sum(1 for _ in fetch_tasks(settings, listed))


@dataclass
class FetchResult:
    """The outcome of a task.

    Attributes:
        task: The task.
        fetched_at: When the request was made, UTC.
        status: `ok`; `incomplete` if the API has more than it sent; `failed` with an error; `interrupted` if the rate
            limit was reached before everything was read; `postponed` if no request was made.
        records: Rows of the endpoint's table: key, fields and `content_hash`. Empty for logs.
        spool: Rows of a log, as far as no older entry is missing; they may be stored with any status.
        error: Why the task failed.
        note: What is missing, and why.
        request_id: The API's request id of the last request.
        http_status: HTTP status of the last request.
    """

    task: FetchTask
    fetched_at: datetime
    status: Literal["ok", "incomplete", "failed", "interrupted", "postponed"] = "ok"
    records: list[Record] = field(default_factory=list)
    spool: Spool | None = None
    error: SupermetricsError | None = None
    note: str | None = None
    request_id: str | None = None
    http_status: int | None = None

    def interrupt(self, reason: str) -> None:
        """Ends the task because of the rate limit."""
        self.status, self.note = "interrupted" if self.http_status else "postponed", reason

    def fail(self, error: SupermetricsError) -> None:
        """Ends the task by an error."""
        self.status, self.error = "failed", error
        self.http_status, self.request_id = error.status_code, error.request_id


class EndpointFetcher:
    """Executes tasks; safe to use from several threads. An error of a task does not affect the others.

    Args:
        client: The client.
        settings: The settings.
        column_names: Names the columns of fields that the API has added.
        watermarks: Where logs are continued.
    """

    def __init__(
        self, client: SupermetricsClient, settings: Settings, column_names: ColumnNames, watermarks: Watermarks
    ) -> None:
        self._client = client
        self._settings = settings
        self._column_names = column_names
        self._watermarks = watermarks
        self._lock = threading.Lock()
        self._long_log = threading.Lock()
        self._failures = 0

    def __call__(self, task: FetchTask) -> FetchResult:
        """Executes a task.

        Raises:
            SupermetricsUnauthorizedError: The API does not accept the key any more, so every further task would fail.
        """
        result = FetchResult(task, datetime.now(timezone.utc))
        try:
            self._execute(result)
        except SupermetricsUnauthorizedError:
            raise
        except RequestBudgetExhaustedError as reached:
            result.interrupt(str(reached))
        except SupermetricsRateLimitError as error:
            self._client.budget.stop(str(error))
            result.interrupt(str(error))
        except UnexpectedError as unexpected:
            message = str(unexpected)
            result.fail(
                SupermetricsContractError(
                    message, team_id=task.team_id, status_code=result.http_status, request_id=result.request_id
                )
            )
            self._client.disconnect()
        except SupermetricsError as error:
            result.fail(error)
        except MemoryError:
            result.fail(self._client.out_of_memory(task.team_id))
            self._client.disconnect()
        self._count_failures(result)
        return result

    def _count_failures(self, result: FetchResult) -> None:
        """Stops all tasks when the API itself seems to be down."""
        error: BaseException | None = result.error
        with self._lock:
            self._failures = self._failures + 1 if isinstance(error, TransientException) else 0
            if self._failures >= _MAX_FAILURES_IN_A_ROW:
                self._client.budget.stop(f"the API failed {self._failures} times in a row, at last: {result.error}")

    def _execute(self, result: FetchResult) -> None:
        task = result.task
        if task.endpoint.is_log:
            self._read_log(result)
            return
        result.records, is_complete = read_records(task, self._get(result, {}), self._column_names)
        if not is_complete:
            result.status = "incomplete"
            result.note = f"The API counts another number of {task.endpoint.name} than it lists."

    def _read_log(self, result: FetchResult) -> None:
        result.spool = Spool(result.task.endpoint.table)
        key = result.task.team_id, result.task.connector_identifier
        watermark = None if self._settings.full_refresh else self._watermarks.get(key)
        available = self._client.budget.available
        reader = LogReader(
            fetch=lambda before: self._log_page(result, before),
            append=result.spool.add,
            start=window_start(result.fetched_at, self._settings.logs_since, watermark),
            end=shift(result.fetched_at, CLOCK_SKEW),
            watermark=watermark,
            allowance=PAGE_LIMIT if available is None else available,
            lock=self._long_log,
        )
        reader.read()
        if reader.crowded:
            times = ", ".join(moment.isoformat() for moment in reader.crowded[:3])
            result.status = "incomplete"
            result.note = f"More entries share one time than the API can be asked for; some may be missing at {times}."

    def _log_page(self, result: FetchResult, before: datetime | None) -> LogPage:
        params = {"limit": str(PAGE_LIMIT), **({"before": before.isoformat()} if before else {})}
        return read_log_page(result.task, self._get(result, params), self._column_names, self._settings.redact_secrets)

    def _get(self, result: FetchResult, params: Mapping[str, str]) -> ApiResponse:
        self._client.budget.reserve()
        response = self._client.get(result.task.team_id, result.task.path, params)
        result.http_status, result.request_id = response.status_code, response.request_id
        return response


def read_records(task: FetchTask, response: ApiResponse, column_names: ColumnNames) -> tuple[list[Record], bool]:
    """Checks a response that is not a log, and returns its rows, each key once, and whether they are complete.

    Raises:
        UnexpectedError: The response is not as documented.
    """
    spec = task.endpoint.table
    sent, records, is_complete = _read(task, response)
    column_names.rename(records, spec)
    for record, each in zip(records, sent, strict=True):
        record.update(task.record_key, content_hash=content_hash(each))
    by_key = {tuple(record[name] for name in spec.key): record for record in records}
    return list(by_key.values()), is_complete and len(by_key) == len(records)


def read_log_page(task: FetchTask, response: ApiResponse, column_names: ColumnNames, redact_secrets: bool) -> LogPage:
    """Checks a page of a log, and returns its rows. Secrets in their texts are replaced if the settings say so.

    Raises:
        UnexpectedError: The response is not as documented.
    """
    sent, entries, _ = _read(task, response)
    if redact_secrets:
        _redact(entries)
    column_names.rename(entries, task.endpoint.table)
    for entry in entries:
        entry.update(task.record_key)
    return LogPage(entries, min((tick_of(each["log_time"]) for each in sent), default=tick_of(None)))


def _read(task: FetchTask, response: ApiResponse) -> tuple[list[Record], list[Record], bool]:
    """Returns the records as they were sent and with converted values, and whether they are complete."""
    endpoint, fields = task.endpoint, task.endpoint.table.api_fields
    payload, name = check_object(response.payload, "the response"), endpoint.member
    if endpoint.shape == "object":
        found = {name: payload.get(name)}
    else:
        found = {f"{name}[{index}]": each for index, each in enumerate(check_list(payload, name))}
    is_complete = endpoint.shape != "counted list" or check_count(payload) == len(found)
    if response.may_have_nul:
        refuse_nul(found)
    known = {name: value for name, value in task.record_key.items() if name in fields}
    sent, records = [], []
    for where, value in found.items():
        each = check_object(value, where)
        refuse_other_team(each, task.team_id, where)
        if not endpoint.keeps_added_fields:
            each = {field: value for field, value in each.items() if field in fields}
        sent.append(each)
        records.append(check_fields(each | known, endpoint.table, where))
    return sent, records, is_complete


def _redact(entries: list[Record]) -> None:
    """Replaces secrets in the texts of log entries: somebody's server may take them in its path."""
    from ..documents.redaction import redact  # noqa: PLC0415 - its patterns take 0.05 s to compile

    for entry in entries:
        texts = {name: value for name, value in entry.items() if name not in ("id", "log_time", "request_id")}
        if redact(texts):
            entry.update(texts)
