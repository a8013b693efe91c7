"""A dataset with documents of the vendor's structure, in DuckDB and in PostgreSQL."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from supermetrics_loader.cli.main import run
from tests.helpers.commands import lead_to
from tests.helpers.isolation import isolate
from tests.helpers.sandbox import Fault, Sandbox

TEAM, FAILING = 936506, 941277


def crm(**reporting: Any) -> dict[str, Any]:
    """A connector with OAuth2, an account fetcher, two report types and secrets of three kinds."""
    report_types: list[dict[str, Any]] = [
        {"id": "deals", "title": "Deals", "request": {"url": "https://crm.example.com/{{account.id}}/deals"}},
        {"id": "owners", "title": "Owners", "request": {"url": "https://{{account.region}}.example.com/owners"}},
    ]
    report_types[0]["fields"] = [{"id": "amount"}, {"id": "stage"}, {"id": "won"}]
    return {
        "authentication": {"type": "oauth2", "userInputs": [{"id": "subdomain"}, {"id": "account_name"}]},
        "accounts": {"fetchers": [{"request": {"url": "https://crm.example.com/accounts"}}]},
        "reporting": {"reportTypes": report_types, **reporting},
        "secrets": {
            "items": [
                {"id": "client_secret", "classification": "secret", "source": "encrypted", "value": "AQICAHg"},
                {"id": "tenant", "classification": "public", "source": "static", "value": "nordic"},
                {"id": "api_key", "classification": "secret", "source": "static", "value": "[redacted]"},
            ]
        },
    }


@pytest.fixture(scope="session")
def own_database(postgres_url: str) -> str:
    """A database that no other test loads into."""
    with closing(psycopg2.connect(postgres_url)) as connection:
        connection.autocommit = True
        connection.cursor().execute("create database read_tests")
    return postgres_url.replace("/postgres?", "/read_tests?")


@pytest.fixture(scope="session")
def loaded(tmp_path_factory: pytest.TempPathFactory, own_database: str) -> Callable[[str], tuple[Path, str]]:
    """Loads connectors twice into a destination, once a session; then one is edited, one deleted and one team fails."""
    done: dict[str, Path] = {}

    def load(destination: str) -> tuple[Path, str]:
        if destination not in done:
            done[destination] = folder = tmp_path_factory.mktemp(destination)
            with pytest.MonkeyPatch.context() as patch, Sandbox(teams={}) as sandbox:
                isolate(patch, folder)
                _configure(patch, own_database, folder)
                _load_twice(sandbox, patch, destination)
        return done[destination], destination

    return load


def _load_twice(sandbox: Sandbox, patch: pytest.MonkeyPatch, destination: str) -> None:
    now = datetime.now(timezone.utc)
    first = {"version": "1.0.0", "configuration_json": crm(), "updated_at": "2025-02-01", "state": "draft"}
    added = {"published_at": 1732500000, "moved_from": "OLD", "shared_to": "all", "owner": {"teams": [7]}}
    sandbox.add_connector(TEAM, "CRM", name="Internal CRM", updated_at="2025-01-01", configuration=first, **added)
    bare = {"version": "1", "configuration_json": {"authentication": "none"}, "updated_at": "2025-01-01"}
    sandbox.add_connector(TEAM, "GONE", name="Gone", updated_at="2025-01-01", configuration=bare)
    sandbox.add_connector(TEAM, "bare", name="Bare", updated_at="2025-03-01", configuration=bare)
    sandbox.add_connector(FAILING, "OTHER", name="Other", updated_at="2025-01-01")
    for number, (status, age) in enumerate([(200, 1), (500, 2), (200, 3), (404, 400)]):
        at = (now - timedelta(hours=age)).isoformat()
        sandbox.add_log(TEAM, "CRM", {"id": str(number), "log_time": at, "status": status})
    lead_to(sandbox, patch)
    more = ["--include-configs", "--include-teams", "--include-logs", "--quiet", "--destination", destination]
    more += ["--table-format", "delta"] if destination == "filesystem" else []
    assert run(["load", *more]) == 0
    second = crm(schedule="daily")
    second["reporting"]["reportTypes"][0]["fields"].insert(1, {"id": "closed"})
    sandbox.edit_connector(
        TEAM,
        "CRM",
        configuration={"version": "1.1.0", "configuration_json": second, "updated_at": "2025-04-01", "state": "live"},
        updated_at="2025-01-01",
    )
    sandbox.delete_connector(TEAM, "GONE")
    sandbox.fault(Fault(403), team_id=FAILING)
    assert run(["load", "--keep-going", *more]) == 65


def _configure(patch: pytest.MonkeyPatch, url: str, folder: Path) -> None:
    patch.setenv("DESTINATION__POSTGRES__CREDENTIALS", url)
    patch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", (folder / "lake").as_uri())


@pytest.fixture(params=["duckdb", "postgres"])
def destination(
    request: pytest.FixtureRequest,
    loaded: Callable[[str], tuple[Path, str]],
    own_database: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> str:
    """The name of a destination with that dataset; in DuckDB a copy of it in the current folder.

    `filesystem`, which is no default, has Delta tables.
    """
    folder, name = loaded(request.param)
    _configure(monkeypatch, own_database, folder)
    if name == "duckdb":
        shutil.copy(folder / "supermetrics_connectors.duckdb", tmp_path)
    return name
