"""What the sandbox holds when it is started without teams of its own: three believable teams, the same on every run.

Dates come in every shape the API is known to send (`2025-01-01`, `…Z`, `…+00:00`, `…+0000`). One connector has no
configuration, one no description, one no logo; into the configuration of one somebody has typed a secret.
"""

from __future__ import annotations

from typing import Any

LOGOS = "https://assets.supermetrics.com/images/dsLogos/"
DEFAULT_LOGO = LOGOS + "Custom_Connector_Default.png"

API_KEY = {"type": "api_key", "placement": "header", "name": "X-Api-Key", "value": "{{sec_77d1e90b4}}"}
BASIC = {"type": "custom", "headers": {"Authorization": "Basic {{sec_c4418aa05}}", "X-Tenant": "nordic"}}
TYPED = {"type": "custom", "headers": {"X-Api-Key": "kmq3Zt8wRr5vNc2LxYp7BdHs", "X-Tenant": "nordic"}}
"""As nobody should: for what `check --secrets` and a load do about it. The key is made up."""


def shipped_teams() -> dict[int, list[dict[str, Any]]]:
    """The teams of a sandbox started without `teams`, by team id.

    Returns:
        Connectors in the API's wire shape; every call builds new ones, so a caller may change them.
    """
    return {
        936506: [_crm(), _web_shop(), _call_tracking()],
        941277: [_loyalty(), _warehouse()],
        958014: [_podcast(), _retail_panel()],
    }


def edited_later() -> tuple[int, str, dict[str, Any]]:
    """What somebody edits in the shipped teams, for `diff` to show: the team, the connector, its new configuration."""
    configuration = _crm()["configuration"]
    reporting = configuration["configuration_json"]["reporting"]
    reporting["pagination"]["page_size"] = 1000
    reporting["fields"].append(
        {"id": "close_date", "name": "close_date", "type": "dimension.date", "path": "$.close_date"}
    )
    return 936506, "T3S70", configuration | {"version": "1.5.0", "updated_at": "2025-03-17"}


def _crm() -> dict[str, Any]:
    """An internal CRM behind OAuth 2.0, with a date alone as its updated_at."""
    return _connector(
        "T3S70",
        "Internal CRM",
        "Deals, owners and pipeline stages of the in-house CRM, for marketing attribution.",
        created="2025-01-01",
        updated="2025-03-14",
        configuration=_configuration(
            _oauth2("https://crm.example.com/oauth"),
            "https://crm.example.com/api/v2",
            {"deal_id": "dimension", "stage": "dimension", "owner": "dimension", "deal_value": "metric.currency"},
            version="1.4.0",
            created="2025-01-01",
            updated="2025-03-14",
        ),
    )


def _web_shop() -> dict[str, Any]:
    """A shop whose configuration was edited later than the connector itself."""
    return _connector(
        "K8W21",
        "Nordic Web Shop",
        "Orders, refunds and baskets of the web shop, by market and campaign.",
        created="2025-02-03T08:15:30Z",
        updated="2025-06-20T12:00:00Z",
        logo=LOGOS + "custom_nordic_web_shop.png",
        configuration=_configuration(
            API_KEY,
            "https://shop.example.com/reports/v1",
            {"order_date": "dimension.date", "market": "dimension", "orders": "metric", "revenue": "metric.currency"},
            version="2.0.3",
            created="2025-02-03T08:15:30Z",
            updated="2025-08-01T09:41:12Z",
        ),
    )


def _call_tracking() -> dict[str, Any]:
    """Call tracking without a description."""
    return _connector(
        "call-tracking_EU",
        "Call Tracking (EU)",
        None,
        created="2024-11-18T00:00:00+00:00",
        updated="2025-05-05T16:42:10+00:00",
        configuration=_configuration(
            BASIC,
            "https://calls.example.com/export",
            {"call_start": "dimension.datetime", "number_dialled": "dimension", "duration_seconds": "metric"},
            version="1.0.0",
            created="2024-11-18T00:00:00+00:00",
            updated="2025-05-05T16:42:10+00:00",
        ),
    )


def _loyalty() -> dict[str, Any]:
    """A loyalty programme, dated the way other endpoints of the API date things."""
    return _connector(
        "LYL09",
        "Kanta-asiakas Loyalty",
        "Members, points and redemptions of the loyalty programme. Käyttö vain sisäisesti.",
        created="2025-04-06T10:59:04+0000",
        updated="2026-04-06T10:59:04+0000",
        configuration=_configuration(
            API_KEY,
            "https://loyalty.example.com/v3",
            {"member_tier": "dimension", "points_earned": "metric", "points_redeemed": "metric"},
            version="1.2.0",
            created="2025-04-06T10:59:04+0000",
            updated="2026-04-06T10:59:04+0000",
        ),
    )


def _warehouse() -> dict[str, Any]:
    """A connector somebody named but has not configured: the API sends no `configuration` for it."""
    return _connector(
        "WHS44",
        "Warehouse stock levels",
        "Draft. Stock by warehouse and day.",
        created="2025-09-30",
        updated="2025-09-30",
    )


def _podcast() -> dict[str, Any]:
    """Podcast downloads behind OAuth 2.0."""
    return _connector(
        "PDC11",
        "Podcast downloads",
        "Downloads and completion rates of every episode, by app and country.",
        created="2025-07-07T07:07:07Z",
        updated="2025-12-31T23:59:59Z",
        configuration=_configuration(
            _oauth2("https://podcasts.example.com/auth"),
            "https://podcasts.example.com/api",
            {"episode": "dimension", "country": "dimension", "downloads": "metric", "completion": "metric.percentage"},
            version="1.0.7",
            created="2025-07-07T07:07:07Z",
            updated="2025-12-31T23:59:59Z",
        ),
    )


def _retail_panel() -> dict[str, Any]:
    """A retail panel without a logo, whose key stands in its configuration."""
    return _connector(
        "RTL-2025",
        "Retail panel",
        "Weekly sell-out of the retail panel: units, value and share by category.",
        created="2025-01-01T00:00:00Z",
        updated="2025-10-12T04:30:00+0000",
        logo=None,
        configuration=_configuration(
            TYPED,
            "https://panel.example.com/weekly",
            {"week": "dimension.date", "category": "dimension", "units": "metric", "value_share": "metric.percentage"},
            version="3.1.0",
            created="2025-01-01T00:00:00Z",
            updated="2025-10-12T04:30:00+0000",
        ),
    )


def _connector(
    identifier: str,
    name: str,
    description: str | None,
    *,
    created: str,
    updated: str,
    logo: str | None = DEFAULT_LOGO,
    configuration: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """A connector in the API's wire shape, without the `configuration` key when there is none."""
    connector = {
        "connector_identifier": identifier,
        "name": name,
        "description": description,
        "logo_url": logo,
        "created_at": created,
        "updated_at": updated,
    }
    return connector if configuration is None else {**connector, "configuration": configuration}


def _configuration(
    authentication: dict[str, Any], base_url: str, fields: dict[str, str], *, version: str, created: str, updated: str
) -> dict[str, Any]:
    """A configuration in the API's wire shape; `fields` maps a field's name to its kind, as in `metric.currency`."""
    definition = {
        "authentication": authentication,
        "data_source_user": {"request": _get(base_url + "/me"), "id": "$.id", "display_name": "$.email"},
        "accounts": {"request": _get(base_url + "/accounts"), "items": "$.data", "id": "$.id", "name": "$.name"},
        "reporting": {
            "request": {
                **_get(base_url + "/report"),
                "query": {"from": "{{date_range.start}}", "to": "{{date_range.end}}", "account": "{{account.id}}"},
            },
            "pagination": {"type": "cursor", "parameter": "after", "next": "$.paging.next", "page_size": 500},
            "fields": [{"id": name, "name": name, "type": kind, "path": f"$.{name}"} for name, kind in fields.items()],
        },
        "response_handler": {"rows": "$.data", "errors": [{"status": 429, "action": "retry", "wait_seconds": 30}]},
    }
    return {"version": version, "configuration_json": definition, "created_at": created, "updated_at": updated}


def _get(url: str) -> dict[str, Any]:
    """A GET request of a connector's definition."""
    return {"method": "GET", "url": url, "headers": {"Accept": "application/json"}}


def _oauth2(base_url: str) -> dict[str, Any]:
    """An OAuth 2.0 authentication whose secrets are placeholders, as the API lists them."""
    return {
        "type": "oauth2",
        "authorization_url": base_url + "/authorize",
        "token_url": base_url + "/token",
        "client_id": "{{sec_5b0c1f7e2}}",
        "client_secret": "{{sec_a23f23d26}}",
        "scopes": ["reports.read", "accounts.read"],
    }
