"""One row per connector: edits, versions, syncs, errors, and facts about its configuration.

`configuration_facts` reads the vendor's documented structure of a configuration. Every member may be missing or of
another type, and counts as absent then. `overview_sql` says the same in SQL for DuckDB and PostgreSQL.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import chain, groupby
from typing import Any

from supermetrics_connectors.interface import MissingTableError, NotJsonError, RefusedJsonError, to_utc

from .dataset import Dataset
from .history import parsed_document
from .team_names import team_names

HOST = r"^[ \t\r\n]*(?:[A-Za-z][A-Za-z0-9+.-]*:)?//((?:\{\{[^{}]*\}\}|[^/?#{} \t\r\n])+)"
"""Host, user and port of a URL, in which a placeholder such as `{{account.domain}}` stays whole.

These patterns mean the same to Python, to DuckDB's RE2 and to PostgreSQL.
"""
HOST_PLACEHOLDER = r"^[ \t\r\n]*(\{\{[^{}]*\}\})"
"""A placeholder at the beginning of a URL: it stands for the host, or for the whole URL."""
USER = "^(?:[^@]*@)*"
PORT = ":[0-9]*$"
LOG_DAYS = 7
"""Days of `connector_logs` in the error rate."""
BATCH_TEAMS = 25

OVERVIEW_COLUMNS = {
    "team_id": "The team's id in the API.",
    "team_name": "The team's name; null if the table teams is not loaded.",
    "connector_identifier": "The connector's identifier, unique within its team.",
    "name": "The connector's name.",
    "last_edited_at": "The later updated_at of the connector and of its current configuration, UTC.",
    "version": "The API's name for the current version of the configuration.",
    "versions": "Number of versions of the configuration that loads have seen.",
    "last_complete_sync_at": "When the team's last complete sync began, UTC.",
    "authentication_type": "authentication.type, such as user_input or oauth2.",
    "hosts": "Distinct hosts of all request URLs, sorted; placeholders stay visible.",
    "report_types": "Number of report types.",
    "fields": "Number of fields of all report types.",
    "user_inputs": "Ids of the user inputs, sorted.",
    "secrets": "Number of secrets by source and classification, such as {\"encrypted secret\": 2}.",
    "static_secrets": "Number of secrets of classification secret whose value is written in the configuration.",
    "last_error_at": "When the last logged call was answered with 400 or more, UTC; null if logs are not loaded.",
    "error_rate": f"Share of such calls in the last {LOG_DAYS} days; null without a call.",
}  # fmt: skip
"""Columns of the overview, in order, with their meaning. Without a loaded configuration its columns are null."""

Row = dict[str, Any]
Key = tuple[int, str]


def configuration_facts(document: Any) -> Row:
    """What a configuration says, by the names of `OVERVIEW_COLUMNS`.

    Args:
        document: The parsed `configuration_json`.
    """
    report_types = _list(_member(document, "reporting", "reportTypes"))
    items = [item for item in _list(_member(document, "secrets", "items")) if isinstance(item, dict)]
    kinds = Counter(f"{_text(item.get('source'))} {_text(item.get('classification'))}" for item in items)
    inputs = (_member(each, "id") for each in _list(_member(document, "authentication", "userInputs")))
    authentication_type = _member(document, "authentication", "type")
    return {
        "authentication_type": authentication_type if isinstance(authentication_type, str) else None,
        "hosts": sorted({host for url in _urls(document) if (host := host_of(url))}),
        "report_types": len(report_types),
        "fields": sum(len(_list(_member(each, "fields"))) for each in report_types),
        "user_inputs": sorted({each for each in inputs if isinstance(each, str)}),
        "secrets": dict(sorted(kinds.items())),
        "static_secrets": kinds["static secret"],
    }


def host_of(url: str) -> str:
    """The host of a URL without user and port; "" for a relative URL."""
    found = re.search(HOST, url) or re.search(HOST_PLACEHOLDER, url)
    return re.sub(PORT, "", re.sub(USER, "", found[1])) if found else ""


def overview(data: Dataset, now: datetime) -> Iterator[Row]:
    """Yields the overview of a dataset, by team and identifier.

    Args:
        data: The open dataset.
        now: The end of the days in the error rate, UTC.

    Raises:
        NothingLoadedError: Nothing has been loaded there.
    """
    data.require("connectors")
    names, syncs = team_names(data), _last_syncs(data)
    errors, versions = _errors(data, now), _versions(data)
    name = data.column("name")
    sql = f"SELECT team_id, connector_identifier, {name}, updated_at FROM {data.table('connectors')}"  # noqa: S608 - our own names
    connectors = sorted(data.query(sql).rows, key=lambda row: (row[0], row[1]))
    for some in _batches(connectors):
        current = _configurations(data, sorted({row[0] for row in some}))
        for team_id, identifier, connector_name, updated_at in some:
            key = team_id, identifier
            version, edited_at, facts = current.get(key, (None, None, NO_FACTS))
            edits = [each for each in (to_utc(updated_at), edited_at) if each]
            error_at, error_rate = errors.get(key, (None, None))
            values = [
                *(team_id, names.get(team_id), identifier, connector_name, max(edits, default=None)),
                *(version, versions.get(key), syncs.get(team_id), *facts.values(), error_at, error_rate),
            ]
            yield dict(zip(OVERVIEW_COLUMNS, values, strict=True))


def _batches(connectors: Sequence[Sequence[Any]]) -> Iterator[list[Sequence[Any]]]:
    """Connectors of a few teams at once: their configurations are in memory together."""
    teams = [list(rows) for _, rows in groupby(connectors, key=lambda row: row[0])]
    for start in range(0, len(teams), BATCH_TEAMS):
        yield list(chain.from_iterable(teams[start : start + BATCH_TEAMS]))


def _configurations(data: Dataset, team_ids: Sequence[int]) -> dict[Key, tuple[str | None, datetime | None, Row]]:
    """Name, last edit and facts of the current configurations."""
    text = data.json_text("configuration_json")
    sql = f"SELECT team_id, connector_identifier, version, updated_at, {text}"
    sql += f" FROM {data.table('connector_configurations')} WHERE _dlt_valid_to IS NULL AND team_id IN ({{}})"
    rows = _rows(data, sql.format(", ".join(map(str, team_ids))))
    return {(row[0], row[1]): (row[2], to_utc(row[3]), _facts(row[4])) for row in rows}


def _facts(stored: Any) -> Row:
    try:
        return configuration_facts(parsed_document(stored))
    except (NotJsonError, RefusedJsonError):  # somebody edited it
        return NO_FACTS


def _versions(data: Dataset) -> dict[Key, int]:
    sql = "SELECT team_id, connector_identifier, COUNT(DISTINCT _dlt_valid_from)"
    rows = _rows(data, f"{sql} FROM {data.table('connector_configurations')} GROUP BY team_id, connector_identifier")
    return {(row[0], row[1]): row[2] for row in rows}


def _last_syncs(data: Dataset) -> dict[int, datetime | None]:
    sql = f"SELECT team_id, MAX(started_at) FROM {data.table('team_syncs')} WHERE {data.complete_sync} GROUP BY team_id"  # noqa: S608 - our own names
    return {team_id: to_utc(started_at) for team_id, started_at in _rows(data, sql)}


def _errors(data: Dataset, now: datetime) -> dict[Key, tuple[datetime | None, float | None]]:
    since = (now - timedelta(days=LOG_DAYS)).strftime("%Y-%m-%d %H:%M:%S")
    status = data.column("status")
    sql = (
        f"SELECT team_id, connector_identifier, MAX(CASE WHEN {status} >= 400 THEN log_time END),"  # noqa: S608 - our own names
        f" SUM(CASE WHEN log_time >= '{since}' AND {status} >= 400 THEN 1 ELSE 0 END),"
        f" SUM(CASE WHEN log_time >= '{since}' THEN 1 ELSE 0 END)"
        f" FROM {data.table('connector_logs')} GROUP BY team_id, connector_identifier"
    )
    return {
        (team_id, identifier): (to_utc(at), float(failed) / float(calls) if calls else None)
        for team_id, identifier, at, failed, calls in _rows(data, sql)
    }


def _rows(data: Dataset, sql: str) -> Sequence[Sequence[Any]]:
    """The rows of a query; none if its table does not exist."""
    try:
        return data.query(sql).rows
    except MissingTableError:
        return []


def _member(value: Any, *names: str) -> Any:
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "unknown"


def _urls(value: Any) -> Iterator[str]:
    """Every text of a member named `url`, wherever it is."""
    if isinstance(value, dict):
        if isinstance(value.get("url"), str):
            yield value["url"]
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _urls(each)


NO_FACTS: Row = dict.fromkeys(configuration_facts(None))
"""The facts of a connector without a loaded configuration."""
