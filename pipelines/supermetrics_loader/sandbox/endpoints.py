"""The table of the API's optional endpoints in the sandbox: a new endpoint is one entry and its data."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from . import optional_data
from .responses import Request, SandboxError

MAX_LOG_PAGE = 1000
TEAM = "/v1/teams/{team_id}"
CONNECTORS = f"{TEAM}/connector_builder/connectors"
CONNECTOR = f"{CONNECTORS}/{{connector_identifier}}"


@dataclass(frozen=True)
class Endpoint:
    """An optional endpoint.

    Attributes:
        path: With `{team_id}`, and `{connector_identifier}` if there is a response per connector.
        data: Makes up the data of a team id and a connector (None if the path has none). Called once for each.
        content: The response's content, from the data and the request.
    """

    path: str
    data: Callable[[int, Any], Any]
    content: Callable[[Any, Request], Any]


def path_pattern(path: str) -> re.Pattern[str]:
    """The pattern of a path, with a group for each part in braces."""
    return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path))


def with_meta(data: Any, request: Request) -> Any:
    """The envelope of the API's newer endpoints."""
    return {"meta": {"request_id": request.request_id}, "data": data}


def log_page(log: list[dict[str, Any]], request: Request) -> Any:
    """The newest entries before the requested time, newest first.

    Args:
        log: Entries in any order; of entries with the same time, a later one is newer.
        request: Its query may have `limit` and `before`.

    Raises:
        SandboxError: A parameter is malformed (400).
    """
    limit, before = request.query.get("limit", "100"), request.query.get("before")
    if not limit.isdecimal() or not 1 <= int(limit) <= MAX_LOG_PAGE:
        raise SandboxError(400, f"limit must be 1 to {MAX_LOG_PAGE}, got {limit!r}.")
    entries = sorted(log, key=_log_time)[::-1]
    if before is not None:
        try:
            end = _instant(before)
        except ValueError:
            raise SandboxError(400, f"before must be a time in ISO 8601, got {before!r}.") from None
        entries = [each for each in entries if _log_time(each) < end]
    return {"logs": entries[: int(limit)]}


def _log_time(entry: Mapping[str, Any]) -> datetime:
    return _instant(entry["log_time"])


def _instant(text: str) -> datetime:
    moment = datetime.fromisoformat(re.sub(r"Z$", "+00:00", text))
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


OPTIONAL_ENDPOINTS = {
    "teams": Endpoint(TEAM, optional_data.team, with_meta),
    "logs": Endpoint(f"{CONNECTOR}/logs", optional_data.logs, log_page),
    "secrets": Endpoint(
        f"{CONNECTOR}/secrets", optional_data.secrets, lambda data, _: {"count": len(data), "secrets": data}
    ),
}
