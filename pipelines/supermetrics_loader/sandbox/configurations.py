"""Builds configurations of the sandbox's connectors in the documented structure of the Connector Builder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Json = dict[str, Any]


def request(url: str, rows: str, *, headers: Json | None = None, parameters: Json | None = None, **more: Any) -> Json:
    """A request; `rows` is the JSONPath of its data rows, other members such as `type` can be added."""
    return {
        "type": "sync",
        "method": "GET",
        "url": url,
        "headers": named({"Accept": "application/json", **(headers or {})}),
        "parameters": named(parameters or {}),
        "response": {"dataRows": json_path(rows)},
        **more,
    }


def named(values: Json) -> list[Json]:
    """Headers or parameters: an object with `name` and `value` for each."""
    return [{"name": name, "value": value} for name, value in values.items()]


def json_path(path: str) -> Json:
    """A value read from a response."""
    return {"source": "jsonPath", "value": path}


def user_input(identifier: str) -> Json:
    """A value typed by the user."""
    return {"source": "userInput", "value": identifier}


def static(value: str) -> Json:
    """A value that is part of the configuration."""
    return {"source": "static", "value": value}


def account_fetcher(fetch: Json, *, group: str | None = None, properties: Sequence[str] = ()) -> Json:
    """An account fetcher whose rows have `id` and `name`; further properties have the names of their fields."""
    info: Json = {"id": json_path("$.id"), "label": json_path("$.name")}
    if group is not None:
        info["group"] = json_path(group)
    info["properties"] = [{"id": each, **json_path(f"$.{each}")} for each in properties]
    return {"request": fetch, "accountInfo": info}


def report_type(identifier: str, title: str, fetch: Json, fields: Json) -> Json:
    """A report type; `fields` maps the id of a field to its type, such as `metric.currency`."""
    return {
        "id": identifier,
        "title": title,
        "config": {"dateRangeRequired": any(kind == "dimension.date" for kind in fields.values())},
        "request": fetch,
        "fields": [field(each, kind) for each, kind in fields.items()],
    }


def field(identifier: str, kind: str) -> Json:
    """A field that is read from the member of its name."""
    title = identifier.replace("_", " ").capitalize()
    return {"id": identifier, "title": title, "type": kind, **json_path(f"$.{identifier}")}


def response_handler(*retried: int) -> Json:
    """The default response handler, with the statuses that are retried."""
    return {"errors": [{"status": status, "action": "retry", "waitSeconds": 30} for status in retried]}
