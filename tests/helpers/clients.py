"""Settings, responses and tasks for tests of the API's side."""

from __future__ import annotations

from typing import Any

from dlt.common.configuration import get_fun_spec

from supermetrics_connectors import supermetrics_source
from supermetrics_connectors.api.client import ApiResponse
from supermetrics_connectors.api.endpoints import ENDPOINTS
from supermetrics_connectors.settings import Settings, resolve

TEAM_ENDPOINT, SECRETS, LOGS = ENDPOINTS
KEY = "api_5ecret_5ecret"


def settings(**given: Any) -> Settings:
    """Settings that are good unless the given ones are not; retries do not wait."""
    usual = {"team_ids": [1], "api_key": KEY, "request_backoff_factor": 0}
    return resolve(get_fun_spec(supermetrics_source), **{**usual, **given})


def response(payload: Any, *, may_have_nul: bool = True) -> ApiResponse:
    """A 200 with this payload."""
    return ApiResponse(payload, 200, "request-0001", 4999, 100, may_have_nul)
