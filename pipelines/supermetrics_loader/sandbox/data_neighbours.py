"""What the sandbox makes up for its shipped teams besides connectors: a believable log, and the secrets they use."""

from __future__ import annotations

import json
import random
import re
import uuid
from datetime import datetime, timedelta
from typing import Any

DAYS = 10
"""How far back the logs go."""
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


def team_name(team_id: int) -> str:
    """What a team is called."""
    return _NAMES.get(team_id, f"Team {team_id}")


def made_up_secrets(connector: dict[str, Any]) -> list[dict[str, Any]]:
    """The secrets that the connector's configuration uses, and one that it does not."""
    used = dict.fromkeys(_PLACEHOLDER.findall(json.dumps(connector.get("configuration"))))
    named = [{"secret_placeholder": each, "secret_name": _SECRETS.get(each, each)} for each in used]
    return [*named, _UNUSED] if named else []


def made_up_logs(connector: dict[str, Any], now: datetime) -> list[dict[str, Any]]:
    """What the connector did in the last days: a run every few hours, of which some fail; the same on every run.

    Args:
        connector: In the API's wire shape; one without a configuration has done nothing.
        now: When the log ends, UTC.
    """
    if not connector.get("configuration"):
        return []
    chance = random.Random(connector["connector_identifier"])  # noqa: S311 - made up, not secret
    reliability = chance.choice([0.995, 0.97, 0.85])
    at = now.replace(microsecond=0) - timedelta(days=DAYS)
    entries: list[dict[str, Any]] = []
    while (at := at + timedelta(minutes=chance.randint(150, 260))) < now:
        for event, request in _calls(chance, at):
            status = 200 if chance.random() < reliability else chance.choice([401, 429, 500, 503])
            taken = round(min(chance.lognormvariate(6.2, 0.9), 60_000)) * (20 if status >= 500 else 1)
            entries.append(
                {
                    "id": f"{len(entries) + 1}-{chance.getrandbits(24):06x}",
                    "log_time": at.strftime("%Y-%m-%dT%H:%M:%S+00:00"),
                    "status": status,
                    "event": event,
                    "request": request,
                    "duration_ms": taken,
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
