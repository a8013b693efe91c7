"""What `supermetrics-connectors check` finds out: one request a team, nothing loaded."""

from typing import Any

from dlt.common.normalizers.naming.snake_case import NamingConvention

from supermetrics_connectors.api.fetch import Fetcher
from supermetrics_connectors.api.listing import Listing
from supermetrics_connectors.settings import resolve

from .exit_codes import Exit
from .failures import exit_code


def check_teams(**settings: Any) -> list[dict[str, Any]]:
    """Asks for each configured team once.

    Args:
        settings: Arguments of `supermetrics_source`; the rest comes from dlt's configuration.

    Returns:
        A row a team: team_id, status (ok, incomplete or failed), http_status, connectors, rate_limit_remaining,
        request_id, error_message, exit_code as of a load that fails by this error, and secrets: where configurations
        hold any, as paths by connector; None when they were not asked for.

    Raises:
        SupermetricsUnauthorizedError: The key is not accepted.
        SupermetricsConfigurationError: A setting is unusable. No request has been made.
    """
    checked = resolve(**{**settings, "on_team_error": "skip", "redact_secrets": True})
    fetcher = Fetcher(checked, NamingConvention().normalize_identifier)
    rows = [_row(listing) for listing in fetcher.listings(lambda _done, _message: None)]
    return sorted(rows, key=lambda row: row["team_id"])


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
