"""Three teams with seven connectors for a sandbox started without teams of its own; the same on every run.

Dates have every shape that the API is known to send (`2025-01-01`, `…Z`, `…+00:00`, `…+0000`). One connector has no
configuration, one has no description and one has no logo. The configurations show OAuth 2.0 with three report types, a
typed API key with account fetchers, an asynchronous report, no authentication, 1,500 fields, and a secret that
somebody typed into the configuration.
"""

from __future__ import annotations

from itertools import product
from typing import Any

from .configurations import (
    Json,
    account_fetcher,
    field,
    json_path,
    named,
    report_type,
    request,
    response_handler,
    static,
    user_input,
)

LOGOS = "https://assets.supermetrics.com/images/dsLogos/"
DEFAULT_LOGO = LOGOS + "Custom_Connector_Default.png"

_DATES = {"from": "{{date_range.start}}", "to": "{{date_range.end}}"}
_ENCRYPTED = "bjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB1L9RIvNEVUxTveLruM0rfj0WAK1jHDhaXXzOI8d4VFmg=="
_BEARER = {"Authorization": "Bearer {{user.access_token}}"}


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
    """An edit of the shipped teams for `diff` to show: the team, the connector and its new configuration."""
    edited: dict[str, Any] = _crm()["configuration"]
    deals = edited["configuration_json"]["reporting"]["reportTypes"][0]
    deals["request"]["parameters"][-1]["value"] = "1000"
    deals["fields"].insert(2, field("close_date", "dimension.date"))
    return 936506, "T3S70", edited | {"version": "1.5.0", "updated_at": "2025-03-17"}


def _crm() -> Json:
    """An internal CRM with OAuth 2.0 and three report types; its updated_at is a date alone."""
    api, login = "https://crm.example.com/api/v2", "https://login.crm.example.com/oauth"

    def report(identifier: str, title: str, fields: Json) -> Json:
        parameters = {**_DATES, "account": "{{account.id}}", "page_size": "500"}
        fetch = request(f"{api}/reports/{identifier}", "$.data.*", headers=_BEARER, parameters=parameters)
        return report_type(identifier, title, fetch, fields)

    return _connector(
        "T3S70",
        "Internal CRM",
        "Deals, owners and pipeline stages of the in-house CRM, for marketing attribution.",
        {
            "authentication": {
                "type": "oauth2",
                "description": "Sign in with your <b>CRM</b> account.",
                "oauth2": {
                    "authorizationUrl": f"{login}/authorize",
                    "tokenUrl": f"{login}/token",
                    "clientId": "{{sec_5b0c1f7e2}}",
                    "clientSecret": "{{sec_a23f23d26}}",
                    "scopes": ["reports.read", "accounts.read"],
                },
            },
            "dataSourceUser": {
                "request": request(f"{api}/me", "$", headers=_BEARER),
                "userInfo": {"id": json_path("$.id"), "label": json_path("$.email")},
            },
            "accounts": {
                "fetchers": [account_fetcher(request(f"{api}/accounts", "$.data.*", headers=_BEARER), group="$.region")]
            },
            "reporting": {
                "reportTypes": [
                    report(
                        "deals",
                        "Deals",
                        {
                            "deal_id": "dimension",
                            "stage": "dimension",
                            "owner": "dimension",
                            "deal_value": "metric.currency",
                        },
                    ),
                    report(
                        "activities",
                        "Activities",
                        {"activity_date": "dimension.date", "activity_type": "dimension", "activities": "metric"},
                    ),
                    report(
                        "pipelines", "Pipelines", {"pipeline": "dimension", "stage": "dimension", "deals": "metric"}
                    ),
                ]
            },
            "secrets": {
                "items": [{"id": "signing_key", "classification": "secret", "source": "encrypted", "value": _ENCRYPTED}]
            },
            "defaultResponseHandler": response_handler(429, 503),
        },
        version="1.4.0",
        created="2025-01-01",
        updated="2025-03-14",
    )


def _web_shop() -> Json:
    """A shop with a typed API key and two account fetchers; its configuration was edited later than the connector."""
    api = "https://{{user.market}}.shop.example.com/v1"
    key = {"X-Api-Key": "{{user.access_token}}"}
    orders = request(f"{api}/reports/orders", "$.rows.*", headers=key, parameters={**_DATES, "shop": "{{account.id}}"})
    return _connector(
        "K8W21",
        "Nordic Web Shop",
        "Orders, refunds and baskets of the web shop, by market and campaign.",
        {
            "authentication": {
                "type": "user_input",
                "userInputs": [
                    {"id": "market", "label": "Market, such as se or fi", "type": "text"},
                    {"id": "api_key", "label": "API key", "type": "password"},
                ],
                "description": "The key is under <i>Settings, Reports</i> in the shop.",
            },
            "dataSourceUser": {
                "userInfo": {
                    "id": static("{{ identity() }}"),
                    "label": user_input("market"),
                    "accessToken": user_input("api_key"),
                }
            },
            "accounts": {
                "fetchers": [
                    account_fetcher(request(f"{api}/shops", "$.shops.*", headers=key), properties=["currency"]),
                    account_fetcher(
                        request(
                            "https://partners.shop.example.com/v1/shops",
                            "$.items.*",
                            headers={"X-Partner-Key": "{{sec_77d1e90b4}}"},
                        ),
                        group="$.partner.name",
                        properties=["currency", "time_zone"],
                    ),
                ],
                "filter": [{"property": "currency", "operator": "exists"}],
            },
            "reporting": {
                "reportTypes": [
                    report_type(
                        "orders",
                        "Orders",
                        orders,
                        {
                            "order_date": "dimension.date",
                            "market": "dimension",
                            "orders": "metric",
                            "revenue": "metric.currency",
                        },
                    )
                ]
            },
            "secrets": {"items": [{"id": "api_key", "classification": "secret", **user_input("api_key")}]},
        },
        version="2.0.3",
        created="2025-02-03T08:15:30Z",
        updated="2025-06-20T12:00:00Z",
        configured="2025-08-01T09:41:12Z",
        logo=LOGOS + "custom_nordic_web_shop.png",
    )


def _call_tracking() -> Json:
    """Call tracking with an asynchronous report, without a description."""
    api = "https://calls.example.com/export"
    basic = {"Authorization": "Basic {{sec_c4418aa05}}", "X-Tenant": "nordic"}
    export = request(
        f"{api}/jobs",
        "$.calls.*",
        headers=basic,
        type="async",
        method="POST",
        body={"from": "{{date_range.start}}", "to": "{{date_range.end}}", "format": "json"},
        polling={"url": f"{api}/jobs/{{{{job.id}}}}", "headers": named(basic), "completed": json_path("$.finished_at")},
    )
    return _connector(
        "call-tracking_EU",
        "Call Tracking (EU)",
        None,
        {
            "authentication": {"type": "basic"},
            "reporting": {
                "reportTypes": [
                    report_type(
                        "calls",
                        "Calls",
                        export,
                        {
                            "call_start": "dimension.datetime",
                            "number_dialled": "dimension",
                            "duration_seconds": "metric",
                        },
                    )
                ]
            },
            "defaultResponseHandler": response_handler(429),
        },
        version="1.0.0",
        created="2024-11-18T00:00:00+00:00",
        updated="2025-05-05T16:42:10+00:00",
    )


def _loyalty() -> Json:
    """A loyalty programme with 1,500 fields; its dates have the shape of other endpoints of the API."""
    api = "https://loyalty.example.com/v3"
    measures = ("members", "points_earned", "points_redeemed", "visits", "baskets", "net_sales", "discounts")
    countries = ("fi", "se", "no", "dk", "ee", "is")
    tiers, channels, periods = ("base", "silver", "gold"), ("store", "web", "app"), ("day", "week", "month", "quarter")

    def report(period: str) -> Json:
        fields = {f"{period}_start": "dimension.date"} | {
            "_".join(parts): "metric" for parts in product(measures, tiers, channels, countries)
        }
        fetch = request(f"{api}/members/{period}", "$.rows.*", headers=_BEARER, parameters=_DATES)
        return report_type(f"members_by_{period}", f"Members by {period}", fetch, fields)

    return _connector(
        "LYL09",
        "Kanta-asiakas Loyalty",
        "Members, points and redemptions of the loyalty programme. Käyttö vain sisäisesti.",
        {
            "authentication": {
                "type": "user_input",
                "userInputs": [{"id": "api_token", "label": "API token", "type": "password"}],
            },
            "dataSourceUser": {
                "userInfo": {
                    "id": static("{{ identity() }}"),
                    "label": static("Loyalty"),
                    "accessToken": user_input("api_token"),
                }
            },
            "reporting": {"reportTypes": [report(period) for period in periods]},
            "secrets": {
                "items": [
                    {"id": "api_token", "classification": "secret", **user_input("api_token")},
                    {"id": "contact", "classification": "pii", **static("loyalty@example.com")},
                ]
            },
        },
        version="1.2.0",
        created="2025-04-06T10:59:04+0000",
        updated="2026-04-06T10:59:04+0000",
    )


def _warehouse() -> Json:
    """A connector with a name and no configuration: the API sends no `configuration` for it."""
    return _connector(
        "WHS44",
        "Warehouse stock levels",
        "Draft. Stock by warehouse and day.",
        created="2025-09-30",
        updated="2025-09-30",
    )


def _podcast() -> Json:
    """Podcast downloads, without authentication."""
    fetch = request("https://podcasts.example.com/api/downloads", "$.downloads.*", parameters=_DATES)
    fields = {"episode": "dimension", "country": "dimension", "downloads": "metric", "completion": "metric.percentage"}
    return _connector(
        "PDC11",
        "Podcast downloads",
        "Downloads and completion rates of every episode, by app and country.",
        {"reporting": {"reportTypes": [report_type("downloads", "Downloads", fetch, fields)]}},
        version="1.0.7",
        created="2025-07-07T07:07:07Z",
        updated="2025-12-31T23:59:59Z",
    )


def _retail_panel() -> Json:
    """A retail panel without a logo, with a key typed into its configuration; the vendor forbids that.

    `check --secrets` finds the key, and a load redacts it. It opens nothing.
    """
    fetch = request(
        "https://panel.example.com/weekly",
        "$.sales.*",
        headers={"X-Api-Key": "{{secrets.panel_key}}"},
        parameters=_DATES,
    )
    fields = {"week": "dimension.date", "category": "dimension", "units": "metric", "value_share": "metric.percentage"}
    return _connector(
        "RTL-2025",
        "Retail panel",
        "Weekly sell-out of the retail panel: units, value and share by category.",
        {
            "reporting": {"reportTypes": [report_type("sell_out", "Sell-out", fetch, fields)]},
            "secrets": {
                "items": [
                    {"id": "panel_key", "classification": "secret", **static("kmq3Zt8wRr5vNc2LxYp7BdHs")},
                    {"id": "panel_name", "classification": "public", **static("Nordic households")},
                ]
            },
        },
        version="3.1.0",
        created="2025-01-01T00:00:00Z",
        updated="2025-10-12T04:30:00+0000",
        logo=None,
    )


def _connector(
    identifier: str,
    name: str,
    description: str | None,
    definition: Json | None = None,
    *,
    created: str,
    updated: str,
    configured: str | None = None,
    version: str = "1.0.0",
    logo: str | None = DEFAULT_LOGO,
) -> Json:
    """A connector in the API's wire shape, without the `configuration` key if there is no definition.

    The configuration was created with the connector, and updated with it or at the time `configured`.
    """
    connector: Json = {
        "connector_identifier": identifier,
        "name": name,
        "description": description,
        "logo_url": logo,
        "created_at": created,
        "updated_at": updated,
    }
    if definition is not None:
        connector["configuration"] = {
            "version": version,
            "configuration_json": {"$schema": "https://api.supermetrics.com/cc/v1/schema/connector", **definition},
            "created_at": created,
            "updated_at": configured or updated,
        }
    return connector
