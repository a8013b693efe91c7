"""Names for applications that are built on the source, such as this repository's command line.

Everything else in the package is internal and may change without notice. Pipelines of your own need only the names of
`supermetrics_connectors` itself.
"""

from .api.endpoints import ENDPOINTS, Endpoint, FetchTask, planned_requests, selected_endpoints
from .api.fetch import Fetcher
from .api.listing import Listing
from .api.transport import DeadlineAdapter
from .credentials import API_KEY_VARIABLE, SECTIONS, ApiKey
from .documents.json_paths import compare_json, render
from .documents.json_text import NotJsonError, RefusedJsonError, canonical_json, parse_json
from .documents.redaction import redact
from .exceptions import (
    SupermetricsConfigurationError,
    SupermetricsError,
    SupermetricsForbiddenError,
    SupermetricsUnauthorizedError,
    causes,
)
from .parsers import parse_duration, parse_team_ids, refusal
from .records import parse_timestamp, to_utc
from .settings import Settings, resolve
from .specs import CONNECTOR_CONFIGURATIONS, CONNECTORS, SNAPSHOT_COLUMN, TABLES
from .tables.changes_view import changes_query
from .tables.destinations import choose_strategy
from .tables.destinations.databases import refuse_ambiguous_name
from .tables.destinations.delta import open_delta_tables, open_files
from .tables.destinations.reader import MissingTableError
from .tables.destinations.strategy import DestinationStrategy, TeamLocks
from .tables.failures import team_syncs_resource
from .tables.optional import OptionalTables
from .tables.preconditions import HANDLES_FAILED_JOBS, DuplicateRowsError
from .tables.rows import ListingBatch, TeamDiff, listing_sync_rows, sync_row
from .tables.target import CHANGES_COLUMNS, CHANGES_VIEW, Target, use_utc

__all__ = [
    "API_KEY_VARIABLE",
    "CHANGES_COLUMNS",
    "CHANGES_VIEW",
    "CONNECTORS",
    "CONNECTOR_CONFIGURATIONS",
    "ENDPOINTS",
    "HANDLES_FAILED_JOBS",
    "SECTIONS",
    "SNAPSHOT_COLUMN",
    "TABLES",
    "ApiKey",
    "DeadlineAdapter",
    "DestinationStrategy",
    "DuplicateRowsError",
    "Endpoint",
    "FetchTask",
    "Fetcher",
    "Listing",
    "ListingBatch",
    "MissingTableError",
    "NotJsonError",
    "OptionalTables",
    "RefusedJsonError",
    "Settings",
    "SupermetricsConfigurationError",
    "SupermetricsError",
    "SupermetricsForbiddenError",
    "SupermetricsUnauthorizedError",
    "Target",
    "TeamDiff",
    "TeamLocks",
    "canonical_json",
    "causes",
    "changes_query",
    "choose_strategy",
    "compare_json",
    "listing_sync_rows",
    "open_delta_tables",
    "open_files",
    "parse_duration",
    "parse_json",
    "parse_team_ids",
    "parse_timestamp",
    "planned_requests",
    "redact",
    "refusal",
    "refuse_ambiguous_name",
    "render",
    "resolve",
    "selected_endpoints",
    "sync_row",
    "team_syncs_resource",
    "to_utc",
    "use_utc",
]
