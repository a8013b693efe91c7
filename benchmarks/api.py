"""A local API that answers as fast as it can: the listings of any team, made from one template.

Run it as `python -m benchmarks.api CONNECTORS CONFIGURATION_BYTES LATENCY`: it prints its URL and serves until it is
killed. It accepts any token and any team id, and has none of the API's limits and errors; the sandbox has them. A POST
to `/edit/TEAM` renames the team's first connector.
"""

import sys
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count

import orjson

from supermetrics_loader.sandbox.configurations import (
    account_fetcher,
    report_type,
    request,
    response_handler,
    static,
    user_input,
)

_TEAM = b"7777777"  # stands for the team's id in the template, so that teams differ


def connector(number: int, configuration_bytes: int) -> dict[str, object]:
    """One connector in the API's wire shape.

    Args:
        number: Its number within the team.
        configuration_bytes: Size of its configuration's JSON, roughly; 0 for none.
    """
    stamp = f"2025-{1 + number % 12:02}-{1 + number % 28:02}T{number % 24:02}:{number % 60:02}:{number * 7 % 60:02}Z"
    record: dict[str, object] = {
        "connector_identifier": f"C{_TEAM.decode()}_{number}",
        "name": f"Connector {number} of team {_TEAM.decode()}",
        "description": "Orders, refunds and baskets of a web shop, by market and campaign.",
        "logo_url": "https://assets.supermetrics.com/images/dsLogos/Custom_Connector_Default.png",
        "created_at": "2025-01-01T00:00:00Z",
        "updated_at": stamp,
    }
    if configuration_bytes:
        record["configuration"] = {
            "version": f"1.{number}.0",
            "configuration_json": _definition(number, configuration_bytes),
            "created_at": "2025-01-01T00:00:00Z",
            "updated_at": stamp,
        }
    return record


def _definition(number: int, size: int) -> dict[str, object]:
    """A definition in the vendor's documented structure, padded to its size with fields of one report type."""
    count = max(1, (size - 1_600) // 126)
    fields = {f"order_value_{number}_{i}": "metric.currency" for i in range(count)}
    headers = {"Authorization": "Bearer {{user.access_token}}"}
    orders = request(
        f"https://api.example.com/{_TEAM.decode()}/{{{{account.id}}}}/orders", "$.orders.*", headers=headers
    )
    accounts = request("https://api.example.com/v2/accounts", "$.accounts.*", headers=headers)
    return {
        "$schema": "https://api.supermetrics.com/cc/v1/schema/connector",
        "authentication": {
            "type": "oauth2",
            "userInputs": [{"id": "account_name", "label": "Account name", "type": "text"}],
            "description": "Sign in with the account of the web shop.",
        },
        "dataSourceUser": {"userInfo": {"id": static("{{ identity() }}"), "label": user_input("account_name")}},
        "accounts": {"fetchers": [account_fetcher(accounts, group="$.market", properties=["currency"])]},
        "reporting": {"reportTypes": [report_type("orders", "Orders", orders, fields)]},
        "secrets": {"items": [{"id": "client_id", "classification": "secret", **user_input("account_name")}]},
        "defaultResponseHandler": response_handler(429, 503),
    }


def listing(connectors: int, configuration_bytes: int) -> bytes:
    """The template of a team's answer."""
    records = [connector(number, configuration_bytes) for number in range(connectors)]
    return orjson.dumps({"count": connectors, "connectors": records})


def serve(connectors: int, configuration_bytes: int, latency: float) -> None:
    """Serves on a free port of 127.0.0.1, whose URL is printed first.

    Args:
        connectors: Connectors a team.
        configuration_bytes: Size of each configuration; it is sent whatever is asked for.
        latency: Seconds before each answer.
    """
    template = listing(connectors, configuration_bytes)
    edits: Counter[str] = Counter()
    answers = count()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            time.sleep(latency)
            team = self.path.split("/")[3]
            body = template
            if team in edits:
                body = body.replace(b"Connector 0 ", f"Connector 0, edit {edits[team]} ".encode())
            self._answer(body.replace(_TEAM, team.encode()))

        def do_POST(self) -> None:
            edits[self.path.split("/")[2]] += 1
            self._answer(b"{}")

        def _answer(self, body: bytes) -> None:
            head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Request-Id: benchmark_{next(answers)}"
            self.wfile.write(f"{head}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)

        def log_message(self, *_: object) -> None:
            """Logs nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    sys.stdout.write(f"http://127.0.0.1:{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
