"""Data of the sandbox's optional endpoints, generated for its teams and connectors: team names, logs and secrets."""

from __future__ import annotations

import json
import random
import re
import uuid
from datetime import datetime, timedelta, timezone
from typing import Any

DAYS = 10
"""The age of the oldest log entries."""
_NAMES = {936506: "Nordic Marketing", 941277: "Loyalty & Retail", 958014: "Media Lab"}
_PLACEHOLDER = re.compile(r"\{\{(sec_[0-9a-z]+)\}\}")
_SECRETS = {
    "sec_5b0c1f7e2": "client_id",
    "sec_a23f23d26": "client_secret",
    "sec_77d1e90b4": "api_key",
    "sec_c4418aa05": "basic_credentials",
}
"""Names of the secrets that the shipped configurations use, by placeholder."""
_UNUSED = {"secret_placeholder": "sec_0f9e8d7c6", "secret_name": "old_api_key"}


def team(team_id: int, _connector: Any = None) -> dict[str, Any]:
    """What the API says about a team."""
    return {
        "team_id": team_id,
        "display_id": f"SM_{team_id}",
        "name": _NAMES.get(team_id, f"Team {team_id}"),
        "status": 1,
        "created_at": "2024-11-01T08:00:00+00:00",
    }


def secrets(_team_id: int, connector: dict[str, Any]) -> list[dict[str, Any]]:
    """The secrets that the connector's configuration uses, and one that it does not use."""
    used = dict.fromkeys(_PLACEHOLDER.findall(json.dumps(connector.get("configuration"))))
    named = [{"secret_placeholder": each, "secret_name": _SECRETS.get(each, each)} for each in used]
    return [*named, _UNUSED] if named else []


def logs(_team_id: int, connector: dict[str, Any]) -> list[dict[str, Any]]:
    """The log of the last days, oldest entry first: a run every few hours, of which some fail.

    The calls depend on the connector's identifier only. A connector without a configuration has made none.
    """
    if not connector.get("configuration"):
        return []
    chance = random.Random(connector["connector_identifier"])  # noqa: S311 - sample data, not secret
    reliability = chance.choice([0.995, 0.97, 0.85])
    now = datetime.now(timezone.utc)
    at = now.replace(microsecond=0) - timedelta(days=DAYS)
    entries: list[dict[str, Any]] = []
    while (at := at + timedelta(minutes=chance.randint(150, 260))) < now:
        for event, request in _calls(chance, at):
            status = 200 if chance.random() < reliability else chance.choice([401, 429, 500, 503])
            duration = round(min(chance.lognormvariate(6.2, 0.9), 60_000)) * (20 if status >= 500 else 1)
            entries.append(
                {
                    "id": f"{len(entries) + 1}-{chance.getrandbits(24):06x}",
                    "log_time": at.strftime("%Y-%m-%dT%H:%M:%S+00:00"),
                    "status": status,
                    "event": event,
                    "request": request,
                    "duration_ms": duration,
                    "request_id": str(uuid.UUID(int=chance.getrandbits(128), version=4)),
                }
            )
            if status != 200:
                break
    return entries


def _calls(chance: random.Random, at: datetime) -> list[tuple[str, str]]:
    """The calls of one run, several of them within one second."""
    pages = [
        ("report.fetch", f"GET /report?from={at:%Y-%m-%d}&to={at:%Y-%m-%d}&page={page + 1}")
        for page in range(chance.randint(1, 4))
    ]
    token = [("auth.token.refresh", "POST /api/oauth/token_refresh")] if chance.random() < 0.3 else []
    return [*token, ("accounts.list", "GET /accounts"), *pages]
