"""What `supermetrics-connectors check` finds out: one request a team, nothing loaded."""

from contextlib import closing
from dataclasses import dataclass
from typing import Any

from dlt.common.normalizers.naming.snake_case import NamingConvention

from supermetrics_connectors.api.fetch import Fetcher
from supermetrics_connectors.api.listing import Listing
from supermetrics_connectors.api.neighbours import Wish
from supermetrics_connectors.settings import Settings, resolve

from .exit_codes import Exit
from .failures import exit_code


@dataclass(frozen=True)
class Plan:
    """What a load with these settings will ask for.

    Attributes:
        requests: How many requests it takes at least: logs take one more for every thousand entries.
        listings: How many of them are for listings.
        remaining: Requests that are left of this hour; None when that is not known.
        kept: How many of those are kept for listings.
    """

    requests: int
    listings: int
    remaining: int | None
    kept: int

    @property
    def told(self) -> str:
        """In a sentence."""
        takes = f"A load of this takes at least {self.requests} requests, {self.listings} of them for listings"
        if self.remaining is None:
            return f"{takes}."
        left = f"{takes}. {self.remaining} are left of this hour, of which {self.kept} are kept for listings"
        runs_out = self.requests - self.listings > self.remaining - self.listings - self.kept
        return f"{left}: the rest will take more than one load." if runs_out else f"{left}."


def check_teams(**settings: Any) -> tuple[list[dict[str, Any]], Plan | None]:
    """Asks for each configured team once; where `include_teams` is set also what it is called.

    Args:
        settings: Arguments of `supermetrics_source`; the rest comes from dlt's configuration.

    Returns:
        A row a team: team_id, status (ok, incomplete or failed), http_status, connectors, rate_limit_remaining,
        request_id, error_message, exit_code as of a load that fails by this error, and secrets: where configurations
        hold any, as paths by connector; None when they were not asked for; name, where that was asked for. And the plan
        of a load, where it asks for more.

    Raises:
        SupermetricsUnauthorizedError: The key is not accepted.
        SupermetricsConfigurationError: A setting is unusable. No request has been made.
    """
    checked = resolve(**{**settings, "on_team_error": "skip", "redact_secrets": True})
    with closing(Fetcher(checked, NamingConvention().normalize_identifier)) as fetcher:
        rows = [_row(listing) for listing in fetcher.listings(_silent)]
        rows.sort(key=lambda row: row["team_id"])
        if checked.include_teams:
            _name(rows, fetcher)
        return rows, _plan(rows, checked, fetcher) if checked.asks_more else None


def _silent(_done: int, _message: str | None) -> None:
    """Nobody is told how far it is."""


def _name(rows: list[dict[str, Any]], fetcher: Fetcher) -> None:
    wishes = [Wish("team", row["team_id"]) for row in rows if row["status"] != "failed"]
    found = {each.wish.team_id: each.records for each in fetcher.neighbours(wishes, {}, _silent)}
    for row in rows:
        records = found.get(row["team_id"])
        row["name"] = records[0].get("name") if records else None


def _plan(rows: list[dict[str, Any]], settings: Settings, fetcher: Fetcher) -> Plan:
    asked = [row for row in rows if row["status"] != "failed"]
    a_connector = settings.include_logs + settings.include_secrets
    more = len(asked) * settings.include_teams + sum(row["connectors"] for row in asked) * a_connector
    budget = fetcher.budget
    return Plan(len(rows) + more, len(rows), budget.remaining, budget.kept)


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
