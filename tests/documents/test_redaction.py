"""Secrets typed into a configuration are replaced, and nothing else is."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supermetrics_connectors.documents import redaction
from supermetrics_connectors.documents.credentials import AMBIGUOUS, CREDENTIAL, ROOTS
from supermetrics_connectors.documents.redaction import MARKER, is_literal, names_credential, redact, suspects
from supermetrics_loader.cli.main import run
from supermetrics_loader.sandbox import Sandbox
from supermetrics_loader.sandbox.data import shipped_teams
from tests.redaction_corpus.__main__ import judge, without_marks
from tests.redaction_corpus.harmless import HARMLESS
from tests.redaction_corpus.planted import PLANTED

SECRET = "hunter2-Xy77Zz"  # what must not survive

OAUTH_2: dict[str, Any] = {
    "authentication": {
        "type": "oauth2",
        "description": "Sign in with the token of your account.",
        "oauth2": {
            "clientId": "my-application",
            "clientSecret": SECRET,
            "tokenLifetime": 3600,
            "tokenJsonPath": "$.access_token",
            "authorization": {
                "request": {
                    "url": "https://crm.example.com/oauth/authorize",
                    "parameters": [{"name": "client_id", "value": "my-application"}],
                }
            },
            "tokenExchange": {
                "request": {
                    "url": "https://crm.example.com/oauth/token",
                    "method": "POST",
                    "body": f"grant_type=authorization_code&code={{{{code}}}}&client_secret={SECRET}",
                    "headers": [{"name": "Authorization", "value": "Bearer {{oauth2.token}}"}],
                }
            },
        },
    }
}
OAUTH_1: dict[str, Any] = {
    "authentication": {
        "type": "oauth1",
        "oauth1": {
            "consumerKey": SECRET,
            "consumerSecret": SECRET,
            "requestTokenEndpoint": {"request": {"url": "https://api.example.com/request_token", "method": "POST"}},
        },
    }
}
IN_A_HEADER: dict[str, Any] = {
    "authentication": {
        "type": "user_input",
        "userInputs": [{"id": "api_key", "label": "API key", "type": "password"}],
        "validation": {"request": {"headers": [{"name": "X-Api-Key", "value": SECRET}], "parameters": []}},
    },
    "reporting": {"request": {"headers": {"X-Api-Key": SECRET, "Accept": "application/json"}}},
}
IN_THE_QUERY: dict[str, Any] = {
    "authentication": {"type": "api_key", "placement": "query", "name": "api_key", "value": SECRET},
    "reporting": {
        "request": {
            "url": f"https://api.example.com/v1/report?from={{{{start}}}}&api_key={SECRET}&to=2025-01-31#top",
            "parameters": [{"name": "api_key", "value": SECRET}, {"name": "page", "value": "1"}],
        }
    },
}
CUSTOM: dict[str, Any] = {
    "authentication": {
        "type": "custom",
        "headers": {"Authorization": f"Basic {SECRET}", "X-Tenant": "nordic"},
        "basic": {"username": "reports", "password": SECRET},
        "login": {"body": f'{{"user": "reports", "password": "{SECRET}", "remember": true}}'},
        "soap": {"body": f"<s:Login><s:User>reports</s:User><s:Password>{SECRET}</s:Password></s:Login>"},
        "raw": {"headers": ["Accept: */*", f"Cookie: session={SECRET}"]},
        "pairs": [["X-Auth-Token", SECRET], ["Accept", "*/*"]],
        "url": f"https://reports:{SECRET}@ftp.example.com/daily.csv",
        "jwt": {"privateKey": f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----"},
        "s3": {"accessKeyId": "AKIAEXAMPLE", "secretAccessKey": SECRET, "tokens": [SECRET, "{{token}}"]},
    }
}


@pytest.mark.parametrize(
    ("configuration", "paths"),
    [
        (
            OAUTH_2,
            [
                "$.authentication.oauth2.clientSecret",
                "$.authentication.oauth2.tokenExchange.request.body",
            ],
        ),
        (OAUTH_1, ["$.authentication.oauth1.consumerKey", "$.authentication.oauth1.consumerSecret"]),
        (
            IN_A_HEADER,
            ["$.authentication.validation.request.headers[0].value", '$.reporting.request.headers["X-Api-Key"]'],
        ),
        (
            IN_THE_QUERY,
            ["$.authentication.value", "$.reporting.request.url", "$.reporting.request.parameters[0].value"],
        ),
        (
            CUSTOM,
            [
                "$.authentication.headers.Authorization",
                "$.authentication.basic.password",
                "$.authentication.login.body",
                "$.authentication.soap.body",
                "$.authentication.raw.headers[1]",
                "$.authentication.pairs[0][1]",
                "$.authentication.url",
                "$.authentication.jwt.privateKey",
                "$.authentication.s3.secretAccessKey",
                "$.authentication.s3.tokens[0]",
            ],
        ),
    ],
    ids=["OAuth 2", "OAuth 1", "API key in a header", "API key in the query", "custom"],
)
def test_each_kind_of_authentication_loses_its_secrets_only(configuration: dict[str, Any], paths: list[str]) -> None:
    """What is no secret is left exactly as it was, and where one was is told."""
    redacted = copy.deepcopy(configuration)
    assert redact(redacted) == paths
    text = orjson.dumps(redacted).decode()
    assert SECRET not in text
    assert text.replace(MARKER, "") == _without_secrets(configuration)


def _without_secrets(configuration: dict[str, Any]) -> str:
    """The text without what stands in the place of a marker: a secret within a text, or the whole text of one."""
    text = orjson.dumps(configuration).decode()
    whole = (f"Basic {SECRET}", f"-----BEGIN PRIVATE KEY-----\\n{SECRET}\\n-----END PRIVATE KEY-----")
    for secret in (*whole, f"session={SECRET}", SECRET):
        text = text.replace(secret, "")
    return text


def test_within_a_text_only_the_value_is_replaced() -> None:
    """The rest of a URL or body is what a reader compares two versions for."""
    document = copy.deepcopy(IN_THE_QUERY)
    redact(document)
    assert document["reporting"]["request"]["url"] == (
        "https://api.example.com/v1/report?from={{start}}&api_key=[redacted]&to=2025-01-31#top"
    )


STAYING = [
    {"token_url": "https://example.com/token", "access_token_path": "$.access_token", "tokenJsonPath": "$.token"},
    {"authentication": {"type": "api_key"}},
    {"access_token": "https://example.com/token", "token": "$.data[0]['access_token']"},
    {"client_secret": "{{secret_client_secret}}", "password": "${PASSWORD}", "api_key": "sec_a23f23d26"},
    {"Authorization": "Bearer {{token}}", "X-Auth": "Basic {{user}}:{{password}}", "token": "", "secret": None},
    {"headers": {"Authorization": 'OAuth oauth_token="{{token}}", oauth_consumer_key="{{key}}"'}},
    {"url": "https://example.com/?api_key={{key}}&token=%7B%7Btoken%7D%7D&access_token=${token}"},
    {"url": "https://{{user}}:{{password}}@example.com/"},
    {"userInputs": [{"id": "api_key", "label": "API key", "type": "password"}]},
    {"fields": [{"id": "token", "name": "token", "type": "dimension", "path": "$.token"}]},
    {"fields": {"token": "dimension", "cookie": "metric"}},
    {"pagination": {"next_page_token": "cursor", "pageToken": "after", "name": "continuation_token", "value": "next"}},
    {"placement": {"token": "header"}, "grant": {"name": "secret", "value": "client_credentials"}},
    {"secrets": {"items": [{"id": "api_key", "classification": "secret", "source": "encrypted", "value": "b64=="}]}},
    {"token": {"source": "jsonPath", "value": "access"}, "client_id": "my-application", "accessKeyId": "AKIAEXAMPLE"},
    {"tokenLifetime": 3600, "has_password": True, "password": 1, "tokens": [1, None, "{{token}}"]},
    {"key": "campaign_id", "primary_key": "campaign_id", "auth": "basic", "url": "https://example.com/?key=campaign"},
    {"description": "Ask for a token: it is shown once. Password and API key go into the form."},
    {"body": '{"password": "{{password}}", "name": "reports"}', "soap": "<Password>{{password}}</Password>"},
]


@pytest.mark.parametrize("document", STAYING, ids=str)
def test_what_is_no_literal_secret_stays(document: dict[str, Any]) -> None:
    """Addresses, places, placeholders and the names of fields are what a configuration is kept for."""
    before = copy.deepcopy(document)
    assert redact(document) == []
    assert document == before


def test_the_shipped_teams_have_one_secret_to_hide() -> None:
    """The others are placeholders, as the Connector Builder would have them."""
    connectors = [each for team in shipped_teams().values() for each in team if each.get("configuration")]
    found = {each["connector_identifier"]: redact(each["configuration"]["configuration_json"]) for each in connectors}
    assert {name: paths for name, paths in found.items() if paths} == {
        "RTL-2025": ['$.authentication.headers["X-Api-Key"]']
    }


@pytest.mark.parametrize(
    "name",
    [
        "client_secret",
        "clientSecret",
        "CLIENT-SECRET",
        "password",
        "db.password",
        "passwd",
        "token",
        "accessToken",
        "X-Auth-Token",
        "apikey",
        "api_key",
        "API-Key",
        "x-api-key",
        "Ocp-Apim-Subscription-Key",
        "Authorization",
        "Proxy-Authorization",
        "secretAccessKey",
        "private_key",
        "cookie",
        "session_id",
        "jwt",
        "credentials",
        "x-auth",
        "credentials[password]",
    ],
)
def test_a_credential_is_known_by_the_end_of_its_name(name: str) -> None:
    """In whatever style it is written."""
    assert names_credential(name)
    assert redact({name: SECRET}) == redact({name: SECRET}) != []


@pytest.mark.parametrize(
    "name",
    [
        "token_url",
        "tokenType",
        "token_path",
        "secret_name",
        "secretPlaceholder",
        "password_field",
        "key",
        "id",
        "client_id",
        "username",
        "auth",
        "tokenizer",
        "authorizationUrl",
        "page_token",
        "nextPageToken",
        "keyword",
        "monkey",
    ],
)
def test_what_only_mentions_a_credential_is_none(name: str) -> None:
    """It says where one is, or of what kind."""
    assert not names_credential(name)
    assert redact({name: SECRET}) == []


def test_a_generated_text_under_a_doubtful_name_is_a_secret() -> None:
    """`key` and `auth` name many things; a text that no person made up names itself."""
    generated = "AIzaSyDaGmWKa4JsXZ-HjGw7ISLn_3namBGewQe"
    document = {
        "key": generated,
        "url": f"https://example.com/?key={generated}",
        "p": {"name": "key", "value": generated},
    }
    assert redact(document) == ["$.key", "$.url", "$.p.value"]


@pytest.mark.parametrize(
    ("text", "literal"),
    [
        ("{{a}}", False),
        ("Bearer {{a}}", False),
        ("{{a}}:{{b}}", False),
        ("{{a}}x", True),
        ("Bearer x", True),
        ("{{unclosed", True),
        ("$.a.b", False),
        ("$.a b", True),
        ("Pa$$word", True),
        ("sec_a23f23d26", False),
        ("sec_hunter2", True),
        (MARKER, False),
        ("  ", False),
        ("header", False),
    ],
)
def test_a_literal_is_told_from_a_placeholder(text: str, literal: bool) -> None:
    """A text of both is a literal."""
    assert is_literal(text) is literal


def _json(document: Any) -> str:
    return json.dumps(document, ensure_ascii=False)


credential_names = st.sampled_from(["client_secret", "apiKey", "X-Auth-Token", "Authorization", "password"])
harmless_names = st.sampled_from(["name", "url", "headers", "fields", "type", "value", "path", "body", "id", "source"])
secrets = st.from_regex(r"[A-Za-z0-9!+/_.~-]{6,30}", fullmatch=True).map(lambda text: f"S3cr3t{text}")
texts = st.one_of(
    st.text(max_size=10),
    st.sampled_from(
        ["{{a}}", "Bearer {{a}}", "$.a", "https://a.b/?c=d&token={{e}}", "token", "Authorization", "=", '"']
    ),
)
leaves = st.one_of(texts, st.integers(-(2**63), 2**63 - 1), st.booleans(), st.none())
documents = st.recursive(
    leaves,
    lambda children: st.one_of(
        st.lists(children, max_size=4),
        st.dictionaries(st.one_of(harmless_names, credential_names, st.text(max_size=5)), children, max_size=4),
    ),
    max_leaves=20,
)
PLACES: list[Any] = [
    lambda name, secret: {name: secret},
    lambda name, secret: {name: [secret, "{{a}}"]},
    lambda name, secret: {name: {"value": secret}},
    lambda name, secret: {name: f"Bearer {secret}"},
    lambda name, secret: {"headers": [{"name": name, "required": True, "value": secret}]},
    lambda name, secret: {"headers": [[name, secret]]},
    lambda name, secret: {"headers": [f"{name}: {secret}"]},
    lambda name, secret: {"url": f"https://a.b/c?d=e&{name}={secret}&f=g"},
    lambda name, secret: {"body": f'{{"a": "b", "{name}": "{secret}"}}'},
    lambda name, secret: {"body": f"<a><{name}>{secret}</{name}></a>"},
    lambda name, secret: {"body": f"{name}={secret}"},
    lambda name, secret: {"parameter": name, "default": secret},
    lambda name, secret: {"url": f"ftp://{name}:{quote(secret, safe='')}@a.b/c"},
    lambda name, secret: {name: 1, "url": f"https://{quote(secret, safe='')}@a.b/c"},
    lambda name, secret: {f"{name} ": secret},
    lambda name, secret: {name: {"text": secret, "type": "string"}},
    lambda name, secret: {"headers": f"Accept:\n{name}: {secret}\nX-Empty:"},
    lambda name, secret: {"body": _json({"a": _json({"b": _json([{"name": name, "value": secret}])})})},
    lambda name, secret: {"body": f"POST {_json({'a': _json({name: secret})})}"},
    lambda name, secret: {"body": f"<a><b:{name} c='d'><![CDATA[{secret}]]></b:{name}></a>"},
    lambda name, secret: {"body": f"auth:\n  user: a\n  {name}: {secret}\n"},
    lambda name, secret: {"body": f'mutation {{ login(user: "a", {name}: "{secret}") {{ b }} }}'},
    lambda name, secret: {"body": f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{secret}\r\n--b--\r\n'},
]


@given(documents, st.lists(st.tuples(st.sampled_from(PLACES), credential_names, secrets), min_size=1, max_size=3))
def test_no_secret_survives_and_its_document_is_suspected(document: Any, planted: list[Any]) -> None:
    """Wherever it is, and whatever is around it."""
    whole = {"around": document, "planted": [place(name, secret) for place, name, secret in planted]}
    before = copy.deepcopy(whole)
    assert _is_suspect(whole)
    assert len(redact(whole)) >= len(planted)
    text = orjson.dumps(whole).decode()
    assert not [secret for _, _, secret in planted if secret in text]
    assert _shape(whole) == _shape(before)


# What bodies, addresses and headers are written with; at random, texts near to those that the rules are about.
pieces = st.sampled_from(
    [
        *(
            "password",
            "api_key",
            "token",
            "Authorization",
            "key",
            "sig",
            "client_secret ",
            "token_url",
            "oauth2",
            "user",
        ),
        *("name", "value", "default", "code", "curl -u ", "thin:", "hooks/", "form-data; name=", "x", "text"),
        *(
            "=",
            ":",
            ": ",
            '"',
            "'",
            '\\"',
            '\\\\\\"',
            ",",
            ";",
            "&",
            "?",
            "/",
            "//",
            "@",
            "#",
            " ",
            "\n",
            "\r\n\r\n",
            "\n  ",
            "-- ",
            "- ",
        ),
        *(
            "{",
            "}",
            "[",
            "]",
            "(",
            ")",
            "<",
            ">",
            "</",
            "&lt;",
            "&gt;",
            "<![CDATA[",
            "]]>",
            "|",
            "%22",
            "%5D",
            "%3A",
            "=>",
        ),
        *(
            "{{a}}",
            "${b}",
            "{{",
            "}}",
            "$.c",
            "sec_a23f23d26",
            MARKER,
            "Bearer ",
            "Basic ",
            "https://",
            "ftp://",
            "\\u0070",
            "é",
        ),
        *("hunter2", "s3cr3t", "Xa81bC99dE23fG45hI67jK89", "9f86d081884c7d659a2feaa0c55ad015", "1.2.3", "words only"),
        *("ghp_16C7e42F292c6912E7710c838347Ae178B4a", "AKIAQ3EGRIGTESTKEY77", "eyJhbGciOiJIU.eyJzdWIiOiJy.c2ln"),
        *("-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----", "sk_" + "live_4eC39HqLyjWDarjtT1"),
    ]
)
written = st.lists(pieces, max_size=14).map("".join)
within_json = st.one_of(written, written.map(_json), written.map(lambda text: _json({"a": [{"password": text}, text]})))
written_documents = st.recursive(
    st.one_of(within_json, within_json.map(_json), st.booleans()),
    lambda children: st.one_of(
        st.lists(children, max_size=3),
        st.dictionaries(st.one_of(harmless_names, credential_names, written), children, max_size=3),
    ),
    max_leaves=6,
)


@settings(max_examples=1_000)
@given(st.one_of(documents, written_documents))
def test_a_second_time_changes_nothing(document: Any) -> None:
    """The marker is no secret, or a version would differ from itself."""
    redact(document)
    before = copy.deepcopy(document)
    assert redact(document) == []
    assert document == before


@settings(max_examples=1_000)
@given(st.one_of(documents, written_documents))
def test_what_is_not_suspected_has_no_secret(document: Any) -> None:
    """The quick look spares most documents the search; it may be too careful, but never the opposite."""
    before = copy.deepcopy(document)
    found = redact(document)
    assert not found or _is_suspect(before)
    assert _shape(document) == _shape(before)


@given(st.from_regex(re.compile(f"{CREDENTIAL}|{AMBIGUOUS}", re.IGNORECASE | re.ASCII), fullmatch=True))
def test_each_name_has_a_root(name: str) -> None:
    """A text without any is not read for names."""
    assert any(root in name.lower() for root in ROOTS)


@pytest.mark.parametrize("kind", [*PLANTED, *HARMLESS])
def test_the_corpus_is_suspected_where_something_is_found(kind: str) -> None:
    """As each document is loaded by itself."""
    for marked in PLANTED.get(kind) or HARMLESS[kind]:
        document = without_marks(marked)
        before = copy.deepcopy(document)
        assert not redact(document) or _is_suspect(before), marked
        assert redact(document) == []
        assert _shape(document) == _shape(before)


@pytest.mark.parametrize("kind", [kind for kind in PLANTED if kind != "what is not found"])
def test_planted_secrets_go_and_nothing_else_does(kind: str) -> None:
    """Of every kind of authentication, in every shape that is known."""
    for document in PLANTED[kind]:
        result = judge(document)
        assert result.found == result.secrets > 0, document
        assert result.false == 0, document


@pytest.mark.parametrize("kind", HARMLESS)
def test_documents_without_secrets_stay(kind: str) -> None:
    """However many credentials they name."""
    for document in HARMLESS[kind]:
        assert judge(document).false == 0, document


def test_the_page_has_the_table_that_its_command_prints() -> None:
    """Recall and precision are measured, not claimed."""
    page = (Path(__file__).parents[2] / "docs" / "redaction.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"`python (-m tests\.redaction_corpus)`", page)
    printed = subprocess.run(  # noqa: S603 - our own module
        [sys.executable, *command.split()],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        check=True,
        encoding="utf-8",
    ).stdout
    assert f"\n\n{printed}\n" in page


REFERENCES = [
    *("{{a}}", "${A}", "Bearer {{a}}", "{{a}}:{{b}}", "%7B%7Ba%7D%7D", "sec_a23f23d26"),
    *("$.access_token", "$['a']['b']", "$.data[?(@.name=='token')].value", "$..token"),
]


@pytest.mark.parametrize("reference", REFERENCES)
@pytest.mark.parametrize("name", ["password", "Authorization", "url", "headers", "value"])
def test_a_reference_is_never_touched(reference: str, name: str) -> None:
    """Under any name, and wherever a text holds one behind the name of a credential."""
    texts = [reference, _json({"password": reference}), _json([{"name": "token", "value": reference}])]
    texts += [f"<token>{reference}</token>", f"token: {reference}\nuser: a", f"Cookie:\nX-Api-Key: {reference}"]
    for text in texts if name in ("url", "headers", "value") else texts[:1]:
        assert redact({name: text}) == [], text


@pytest.mark.parametrize("within", ["{{ get('token', default='hunter2') }}", "{{#if password='x'}}", "${PASSWORD:-x}"])
def test_nothing_is_looked_for_in_a_placeholder(within: str) -> None:
    """What is between its braces is not of this document."""
    document = {"body": f"a={within}&password=hunter2", "url": f"https://a.b/{within}"}
    redact(document)
    assert document == {"body": f"a={within}&password={MARKER}", "url": f"https://a.b/{within}"}


VERSIONS = ["1.2.3", "^0.6.0", "~1.2", ">=1.0.0 <2.0.0", "^3.0.0 || ^4.0.0", "9.x", "v7.1.0", "==1.0.2", "0.6.0-beta.1"]
POINTERS = ["#/definitions/Token", "#/components/schemas/ApiKey", "schemas.json#/Jwt", "/oauth/token", "../token.yaml"]


@pytest.mark.parametrize("text", [*VERSIONS, *POINTERS])
@pytest.mark.parametrize("name", ["cookie", "token", "js-tokens", "jsonwebtoken", "password"])
def test_versions_and_pointers_are_no_secrets(name: str, text: str) -> None:
    """Packages and schemas are named after what they are for."""
    assert redact({"dependencies": {name: text}}) == []


@pytest.mark.parametrize("text", ["1234", "123456", "12.Mai", "v1llage", "#hunter2", "1.2.3!x", "^hunter", "/hunter2"])
def test_a_password_that_is_near_to_a_version_or_a_pointer_is_found(text: str) -> None:
    """What excuses a text is narrow."""
    assert redact({"password": text}) == ["$.password"]


def test_words_are_labels_only_where_labels_are() -> None:
    """A password may be a word."""
    document = {"password": "Sommer", "labels": {"password": "Kennwort", "token": "hunter2"}}
    assert redact(document) == ["$.password", "$.labels.token"]


def test_a_text_in_json_keeps_its_spelling() -> None:
    """Only the strings that held a secret are written anew."""
    text = '{ "a\\/b" : 1.50, "\\u00e9": [1e3, "\\u00e9"],\n"password" : "hunter2", "password": "hunter3" }'
    document = {"body": text}
    redact(document)
    assert document["body"] == text.replace("hunter2", MARKER).replace("hunter3", MARKER)


UNITS = [
    *(
        '"a":"',
        '\\"a\\":\\"',
        'password="',
        "password=",
        '"password":"',
        "token=a://",
        "key=",
        "a=",
        "<password ",
        "<password>",
    ),
    *("&lt;password ", "&lt;password&gt;", "<password><![CDATA[", 'name="password" value=', 'name: password, value: "'),
    *(
        'form-data; name="password"\n',
        "form-data; name=secret_",
        "-----BEGIN PRIVATE KEY-----",
        "eyJaaaaaaaaaa.",
        "eyJxoxb-",
    ),
    *(
        "https://a",
        "https://a:",
        "://",
        "a:b@",
        "{{",
        "${",
        "{{a}}",
        '"',
        "\\",
        '\\"',
        "'",
        " ",
        "\n",
        "password ",
        "password: ",
    ),
    *(
        "password: |\n  ",
        "password:\n  ",
        "password%3D",
        "Basic aaaaaaaa ",
        " -u a:",
        "thin:a/",
        "hooks/a/",
        "%22password%22%3A%22",
        "%",
        "token.",
        "1.2 ",
    ),
    *("/a", "a#/", "(a:", "{password: ", "[", "$[[", "session id ", "secret_", "Aa1", "key key ", "é"),
]


@pytest.mark.parametrize("unit", UNITS, ids=repr)
@pytest.mark.parametrize("before", ["", '{"', "curl "])
def test_no_text_takes_more_than_its_length(before: str, unit: str) -> None:
    """At this size, one that took the square of its length would not end."""
    text = before + unit * (100_000 // len(unit))
    for document in ({"a": text}, {"headers": text}, {text: "a"}, {"token": text}):
        redact(document)


@pytest.mark.parametrize(
    "nested", ["[" * 50_000, '{"a":' * 50_000, "[" * 400 + "]" * 400, '{"password":"x","a":' + "[" * 20_000]
)
def test_json_that_is_nested_too_deeply_is_read_as_text(nested: str) -> None:
    """Python gives up at some depth; a secret is found nevertheless."""
    document = {"body": nested}
    redact(document)
    assert '"x"' not in document["body"]


def test_few_bytes_are_not_worth_a_look() -> None:
    """Small teams would wait for its preparation."""
    assert suspects(["{}", "[]"]) == [0, 1]


def _is_suspect(document: Any) -> bool:
    large = "x" * redaction._WORTH_A_LOOK
    return suspects([orjson.dumps(document, option=orjson.OPT_SORT_KEYS).decode(), large]) == [0]


def _shape(value: Any) -> Any:
    """Names, types and order of a document, its texts left out."""
    if isinstance(value, dict):
        return {name: _shape(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_shape(element) for element in value]
    return "" if isinstance(value, str) else value


# --- from HTTP to DuckDB ----------------------------------------------------------------------------------------------

TEAM = 936506

Rows = Callable[..., list[tuple[Any, ...]]]


def configured(definition: dict[str, Any], **added: Any) -> dict[str, Any]:
    """A configuration in the API's wire shape."""
    return {"version": "1.0.0", "configuration_json": definition, **added}


def test_no_file_has_the_secret(sandbox: Sandbox, load: Callable[..., Any], rows: Rows, tmp_path: Path) -> None:
    """Neither the database nor anything that dlt keeps; and how many there were, and where, is known."""
    for name, definition in {"OAUTH2": OAUTH_2, "QUERY": IN_THE_QUERY, "CUSTOM": CUSTOM}.items():
        sandbox.add_connector(TEAM, name, configuration=configured(definition))
    sandbox.add_connector(TEAM, "ADDED", configuration=configured({}, draft={"api_key": SECRET}, password=SECRET))
    sandbox.add_connector(TEAM, "NONE")
    load(include_configs=True)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []
    assert rows("connector_configurations", "count(*)", where=f"configuration_json::varchar like '%{MARKER}%'") == [
        (3,)
    ]
    ((count, paths),) = rows("team_syncs", "secrets_redacted", "redacted_paths::varchar")
    found = orjson.loads(paths)
    assert count == sum(map(len, found.values())) == 2 + 3 + 10 + 2
    assert found["OAUTH2"] == [
        "$.authentication.oauth2.clientSecret",
        "$.authentication.oauth2.tokenExchange.request.body",
    ]
    assert found["ADDED"] == ["configuration.draft.api_key", "configuration.password"]
    assert "NONE" not in found


def test_a_secret_that_changes_is_no_new_version(sandbox: Sandbox, load: Callable[..., Any], rows: Rows) -> None:
    """A hash of it would let it be guessed, so none is made."""
    for secret in ("first-secret", "second-secret"):
        sandbox.add_team(TEAM)
        sandbox.add_connector(TEAM, "A", configuration=configured({"client_secret": secret}), updated_at="2025-01-01")
        load(include_configs=True)
    assert rows("connector_configurations", "configuration_json->>'client_secret'") == [(MARKER,)]


def test_redaction_can_be_switched_off(sandbox: Sandbox, load: Callable[..., Any], rows: Rows) -> None:
    """Then the text is as the API sends it, and nobody looked for secrets."""
    sandbox.add_connector(TEAM, "A", configuration=configured(OAUTH_1))
    load(include_configs=True, redact_secrets=False)
    ((text,),) = rows("connector_configurations", "configuration_json::varchar")
    assert orjson.loads(text) == OAUTH_1
    assert rows("team_syncs", "secrets_redacted", "redacted_paths") == [(None, None)]


def test_without_configurations_nobody_looked(sandbox: Sandbox, load: Callable[..., Any], rows: Rows) -> None:
    """Zero would say that there are none."""
    sandbox.add_connector(TEAM, "A", configuration=configured(OAUTH_1))
    load()
    assert rows("team_syncs", "secrets_redacted", "redacted_paths") == [(None, None)]
    load(include_configs=True)
    sandbox.delete_connector(TEAM, "A")
    load(include_configs=True)
    assert rows("team_syncs", "secrets_redacted", where="secrets_redacted is not null") == [(0,), (2,)]


def test_a_team_of_many_configurations_is_looked_through_quickly(
    sandbox: Sandbox, load: Callable[..., Any], rows: Rows
) -> None:
    """One secret among them is found."""
    for number in range(40):
        definition = {"client_secret": SECRET if number == 7 else "{{client_secret}}", "filler": "x" * 2_000}
        sandbox.add_connector(TEAM, f"C{number}", configuration=configured(definition))
    load(include_configs=True)
    assert rows("team_syncs", "secrets_redacted", "redacted_paths::varchar") == [(1, '{"C7":["$.client_secret"]}')]


@pytest.fixture
def command(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """A sandbox with a secret, and an environment in which the command line asks it."""
    sandbox.add_connector(TEAM, "A", configuration=configured(OAUTH_1))
    monkeypatch.setenv("SUPERMETRICS_API_KEY", sandbox.token)
    monkeypatch.setenv("SOURCES__SUPERMETRICS__BASE_URL", sandbox.url)
    monkeypatch.setenv("SOURCES__SUPERMETRICS__TEAM_IDS", str(TEAM))
    return sandbox


def test_check_lists_where_secrets_are(command: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    """When it is asked to, as that takes the configurations; never what they are."""
    assert run(["check"]) == 0
    assert "consumerKey" not in capsys.readouterr().out
    assert run(["check", "--secrets"]) == 0
    printed = capsys.readouterr().out
    assert "  team 936506, A: $.authentication.oauth1.consumerKey\n" in printed
    assert SECRET not in printed
    assert run(["check", "--secrets", "--json"]) == 0
    (team,) = json.loads(capsys.readouterr().out)["teams"]
    assert team["secrets"] == {"A": ["$.authentication.oauth1.consumerKey", "$.authentication.oauth1.consumerSecret"]}
    assert [request.include_configs for request in command.requests] == [False, True, True]


def test_check_says_that_there_are_no_secrets(command: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    """Silence would leave open whether it looked."""
    command.delete_connector(TEAM, "A")
    assert run(["check", "--secrets"]) == 0
    assert "No secrets are typed into configurations." in capsys.readouterr().out


@pytest.mark.usefixtures("command")
def test_load_takes_no_redact(rows: Rows, database: Path) -> None:
    """The option for whoever needs the raw text."""
    assert run(["load", "--include-configs", "--json", "--no-redact"]) == 0
    (Path.cwd() / "supermetrics_connectors.duckdb").rename(database)
    ((text,),) = rows("connector_configurations", "configuration_json::varchar")
    assert orjson.loads(text) == OAUTH_1
