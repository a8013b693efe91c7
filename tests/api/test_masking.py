"""The key appears in no text of a server: neither whole, nor encoded, nor as a fragment."""

from __future__ import annotations

import base64
import json
import re
import string
from contextlib import closing
from typing import Any
from urllib.parse import quote, quote_plus

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from supermetrics_connectors.api.client import SupermetricsClient
from supermetrics_connectors.api.listing import list_connectors
from supermetrics_connectors.api.masking import MASK, KeyMask
from supermetrics_connectors.exceptions import SupermetricsError
from tests.helpers.clients import settings
from tests.helpers.sandbox import Fault, Sandbox

KEY = 'api_a/b+c"d\\e~f?g>h0123456789'

PRINTABLE = "".join(chr(code) for code in range(0x21, 0x7F))
keys = st.text(PRINTABLE, min_size=16, max_size=60) | st.text(
    string.ascii_letters + string.digits, min_size=16, max_size=60
).map("api_{}".format)
texts = st.text(max_size=20)


def lower_hex(text: str) -> str:
    """The text with its URL encoding in lower case."""
    return re.sub("%..", lambda code: code[0].lower(), text)


def in_base64(key: str, before: str) -> str:
    """The key in base64, behind other characters."""
    return base64.b64encode(f"{before}{key}".encode()).decode()


def forms(key: str) -> dict[str, tuple[str, int]]:
    """How a server may quote a key, and how much of it may be left at either end."""
    encoded = {
        "plain": key,
        "URL": quote(key, safe=""),
        "URL with slashes": quote(key),
        "URL of a form": quote_plus(key),
        "URL in lower case": lower_hex(quote(key)),
    }
    in_64 = {
        f"base64 {before!r} of {name}": in_base64(text, before)
        for name, text in encoded.items()
        for before in ("", "a", "ab")
    }
    in_64 |= {f"urlsafe {name}": text.replace("+", "-").replace("/", "_") for name, text in in_64.items()}
    encoded |= {f"URL of {name}": quote(text, safe="") for name, text in encoded.items()}
    in_64 |= {f"URL of {name}": quote(text, safe="") for name, text in in_64.items() if name.endswith("plain")}
    # characters at the ends of base64 depend on what is around the key
    return {name: (text, 11) for name, text in encoded.items()} | {name: (text, 21) for name, text in in_64.items()}


def longest_common(text: str, form: str) -> int:
    """Length of the longest fragment of a form that a text has."""
    lengths = [0] * (len(form) + 1)
    longest = 0
    for character in text:
        previous = lengths
        lengths = [0] + [previous[i] + 1 if form[i] == character else 0 for i in range(len(form))]
        longest = max(longest, *lengths)
    return longest


@given(key=keys, before=texts, after=texts, data=st.data())
def test_no_fragment_is_left(key: str, before: str, after: str, data: st.DataObject) -> None:
    """For any key, form, surrounding text and cut."""
    form, allowed = data.draw(st.sampled_from(list(forms(key).values())))
    start = data.draw(st.integers(0, len(form)))
    stop = data.draw(st.integers(start, len(form)))
    masked = KeyMask(key).mask(before + form[start:stop] + after)
    assert longest_common(masked, form) <= allowed
    assert longest_common(masked, key) <= 11


@given(key=keys, text=texts)
def test_other_texts_stay(key: str, text: str) -> None:
    """What is masked is a part of the key."""
    if longest_common(text, key) < 12:
        assert KeyMask(key).mask(text) == text


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (f"The token {KEY} is revoked", "The token *** is revoked"),
        (f"{KEY}{KEY}", "******"),
        (f"[{KEY[:12]}] [{KEY[-12:]}] [{KEY[5:17]}]", "[***] [***] [***]"),
        (f"[{KEY[:11]}]", f"[{KEY[:11]}]"),
        (f"?key={quote(KEY, safe='')}&x=1", "?key=***&x=1"),
        (f"Basic {in_base64(KEY, 'user:')}", "Basic dXNlcjp***Q"),
    ],
)
def test_the_rest_of_a_text_stays(text: str, masked: str) -> None:
    """A message stays readable."""
    assert KeyMask(KEY).mask(text).rstrip("=") == masked


def test_a_short_key_is_not_masked() -> None:
    """It is none of the API's, and would be found in every other word."""
    assert KeyMask("api").mask("https://api.example") == "https://api.example"


def spelled(text: str, spelling: str) -> str:
    """A JSON string, spelled in some way."""
    written = json.dumps(text, ensure_ascii=False)[1:-1]
    if spelling == "slashes":
        return f'"{written}"'.replace("/", "\\/")
    if spelling in ("upper", "lower"):
        code = "\\u{:04X}" if spelling == "upper" else "\\u{:04x}"
        return '"' + "".join(code.format(ord(character)) for character in text) + '"'
    return f'"{written}"'


@given(
    key=keys, spelling=st.sampled_from(["plain", "slashes", "upper", "lower"]), cut=st.integers(0, 3), data=st.data()
)
@example(KEY, "upper", 0, None)
def test_json_is_masked_however_it_is_spelled(key: str, spelling: str, cut: int, data: Any) -> None:
    """JSON can spell each character in several ways, also in names; nothing else of the document changes."""
    form = key if data is None else data.draw(st.sampled_from([text for text, _ in forms(key).values()]))
    form = form[: len(form) - cut] if len(form) > 30 else form
    letters = "éé" if spelling == "plain" else r"é\u00e9"
    name, value = spelled(f"name {form}", spelling), spelled(f"value {form}.", spelling)
    body = f'{{{name}: [1, {{"x": {value}}}], "y": "{letters}"}}'.encode()
    masked = KeyMask(key).mask_json(orjson.loads(body), body)
    written = orjson.dumps(masked).decode()
    assert longest_common(written, key) < 12
    assert MASK in written
    assert masked["y"] == "éé"


ECHOES = {
    "message": Fault(401, message=f"The token {KEY} is revoked", description=f"{in_base64(KEY, 'Bearer ')} is bad"),
    "code in a 200": Fault(body=json.dumps({"error": {"code": "X", "message": KEY}}).encode()),
    "content type": Fault(500, body=b"<html>", content_type=f"text/{KEY}"),
    "request id": Fault(500, headers={"X-Request-Id": quote(KEY)}, request_id=None),
    "place": Fault(body=json.dumps({KEY: float("nan")}).encode()),
    "timestamp": Fault(
        body=json.dumps({"count": 1, "connectors": [{"connector_identifier": "A", "created_at": KEY}]}).encode()
    ),
    "deep nesting": Fault(body=b"[" * 900 + json.dumps(KEY).encode() + b"]" * 900),
}


@pytest.mark.parametrize("name", ECHOES)
def test_no_error_quotes_the_key(sandbox: Sandbox, name: str) -> None:
    """Some servers quote the credential they refuse, in any part of a response."""
    sandbox.add_team(1)
    sandbox.fault(ECHOES[name], times=9)
    with closing(SupermetricsClient(settings(api_key=KEY, base_url=sandbox.url, request_max_attempts=1))) as client:
        try:
            outcome = str(list_connectors(client, 1).payload)
        except SupermetricsError as error:
            outcome = f"{error} {vars(error)}"
    assert longest_common(outcome, KEY) < 12
    assert longest_common(outcome, in_base64(KEY, "Bearer ")) < 16
