"""What `supermetrics-connectors check` does: one request per team, and nothing is loaded."""

from contextlib import closing
from dataclasses import dataclass
from typing import Any

from dlt.common.configuration import get_fun_spec
from dlt.common.normalizers.naming.snake_case import NamingConvention

from supermetrics_connectors import supermetrics_source
from supermetrics_connectors.interface import (
    ENDPOINTS,
    Fetcher,
    FetchTask,
    Listing,
    planned_requests,
    resolve,
    selected_endpoints,
)

from .exit_codes import Exit
from .failures import exit_code


@dataclass(frozen=True)
class RequestPlan:
    """The requests of a load with these settings.

    Attributes:
        requests: Requests at least: logs need one more per thousand new entries.
        listings: The part of them that is for listings.
        remaining: Requests that are left of this hour; None when unknown.
        reserved: The part of those that is reserved for listings.
    """

    requests: int
    listings: int
    remaining: int | None
    reserved: int

    @property
    def summary(self) -> str:
        """The plan in a sentence."""
        needed = f"A load makes at least {self.requests} requests, {self.listings} of them for listings"
        if self.remaining is None:
            return f"{needed}."
        left = f"{needed}. {self.remaining} are left of this hour, of which {self.reserved} are reserved for listings"
        is_exceeded = self.requests - self.listings > self.remaining - self.listings - self.reserved
        return f"{left}: optional tables will take more than one load." if is_exceeded else f"{left}."


def check_teams(**settings: Any) -> tuple[list[dict[str, Any]], RequestPlan | None]:
    """Requests each configured team once; with `include_teams` also its name.

    Args:
        settings: Arguments of `supermetrics_source`; settings that are left out come from dlt's configuration.

    Returns:
        A row per team: team_id, status (ok, incomplete or failed), http_status, connectors, rate_limit_remaining,
        request_id, error_message, exit_code of a load that fails by this error, and secrets: JSONPaths of typed secrets
        by connector, None when configurations were not requested; name, where it was requested. And the plan of a load
        with optional tables.

    Raises:
        SupermetricsUnauthorizedError: The key is not accepted.
        SupermetricsConfigurationError: A setting is unusable. No request has been made.
    """
    spec = get_fun_spec(supermetrics_source)
    checked = resolve(spec, **{**settings, "on_team_error": "skip", "redact_secrets": True})
    with closing(Fetcher(checked, NamingConvention().normalize_identifier)) as fetcher:
        listings = sorted(fetcher.listings(_no_progress), key=lambda listing: listing.team_id)
        rows = [_row(listing) for listing in listings]
        if checked.include_teams:
            _add_names(rows, fetcher)
        plan = None
        if selected_endpoints(checked):
            budget = fetcher.budget
            requests = planned_requests(checked, listings)
            plan = RequestPlan(requests, len(rows), budget.remaining, budget.reserved)
        return rows, plan


def _no_progress(_done: int, _message: str | None) -> None:
    """Reports no progress."""


def _add_names(rows: list[dict[str, Any]], fetcher: Fetcher) -> None:
    endpoint = next(each for each in ENDPOINTS if each.setting == "include_teams")
    tasks = [FetchTask(endpoint, row["team_id"]) for row in rows if row["status"] != "failed"]
    found = {each.task.team_id: each.records for each in fetcher.results(tasks, {}, _no_progress)}
    for row in rows:
        records = found.get(row["team_id"])
        row["name"] = records[0].get("name") if records else None


def _row(listing: Listing) -> dict[str, Any]:
    return {
        "team_id": listing.team_id,
        "status": listing.status,
        "http_status": listing.status_code,
        "connectors": listing.received,
        "rate_limit_remaining": listing.rate_limit_remaining,
        "request_id": listing.request_id,
        "error_message": str(listing.error) if listing.error else None,
        "exit_code": exit_code(listing.error) if listing.error else Exit.OK,
        "secrets": listing.redacted,
    }
