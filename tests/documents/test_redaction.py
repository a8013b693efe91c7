"""Secrets typed into a configuration are replaced, and everything else stays."""

from __future__ import annotations

import copy
import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supermetrics_connectors.documents import redaction
from supermetrics_connectors.documents.credentials import NAMES, ROOT, SECRET_KINDS, kind_of
from supermetrics_connectors.documents.redaction import MARKER, RULES, indexes_to_redact, redact
from supermetrics_loader.cli.main import run
from supermetrics_loader.sandbox.data import shipped_teams
from tests.helpers.sandbox import Sandbox
from tests.redaction_corpus.__main__ import CORPORA, PLANTED, documents, judge, table, without_marks

SECRET = "hunter2-Xy77Zz"  # what must not survive
EXAMPLES = {each["kind"]: each for each in documents("rules")}
"""Planted and clean examples of each row of both tables, by its kind. A text stands for a body, or for headers."""
SAMPLES = json.loads((Path(__file__).parents[1] / "redaction_corpus" / "samples.json").read_text(encoding="utf-8"))
CREDENTIALS = SAMPLES["credential names"]


def _json(document: Any) -> str:
    return json.dumps(document, ensure_ascii=False)


def _is_suspect(document: Any) -> bool:
    large = "x" * redaction._MIN_CHARS
    return indexes_to_redact([orjson.dumps(document, option=orjson.OPT_SORT_KEYS).decode(), large]) == [0]


def _shape(value: Any) -> Any:
    """Names, types and order of a document, without its texts and numbers."""
    if isinstance(value, dict):
        return {name: _shape(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_shape(element) for element in value]
    return "" if isinstance(value, (str, int, float)) and not isinstance(value, bool) else value


# --- The tables and the corpus ----------------------------------------------------------------------------------------


def _examples(kind: str, which: str) -> list[Any]:
    member = "headers" if kind == "header" else "body"
    return [{member: each} if isinstance(each, str) else each for each in EXAMPLES[kind][which]]


def test_each_row_of_the_tables_has_examples() -> None:
    """Planted and clean examples; and all examples belong to a row."""
    assert set(EXAMPLES) == {rule.kind for rule in RULES} | set(SECRET_KINDS)
    assert all(each["planted"] and each["clean"] for each in EXAMPLES.values())
    assert [kind for kind, *_ in NAMES][: len(SECRET_KINDS)] == list(SECRET_KINDS)


@pytest.mark.parametrize("kind", EXAMPLES)
def test_planted_examples_are_replaced_and_clean_ones_stay(kind: str) -> None:
    """Exactly the marked texts are replaced."""
    for planted in _examples(kind, "planted"):
        result = judge(planted)
        assert result.found == result.planted > 0, planted
        assert result.false_alarms == 0, planted
        assert _is_suspect(without_marks(planted)), planted
    for clean in _examples(kind, "clean"):
        assert judge(clean).false_alarms == 0, clean


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.kind)
def test_each_rule_alone_finds_its_examples(rule: redaction.Rule) -> None:
    """Each rule is needed."""
    for planted in EXAMPLES[rule.kind]["planted"]:
        assert redaction._apply(rule, without_marks(planted)) == PLANTED.sub(MARKER, planted)


@pytest.mark.parametrize("corpus", CORPORA)
def test_only_planted_secrets_are_replaced(corpus: str) -> None:
    """In every shape of the corpus. A second redaction changes nothing, and the filter skips no such document."""
    for marked in documents(corpus):
        result = judge(marked)
        assert result.found == (0 if corpus == "missed" else result.planted), marked
        assert result.false_alarms == 0, marked
        document = without_marks(marked)
        before = copy.deepcopy(document)
        assert not redact(document) or _is_suspect(before), marked
        assert redact(document) == []
        assert _shape(document) == _shape(before)


def test_the_page_has_the_table_of_the_corpus() -> None:
    """Recall and precision are measured, not claimed."""
    page = (Path(__file__).parents[2] / "docs" / "redaction.md").read_text(encoding="utf-8")
    assert f"\n\n{table()}\n" in page


def test_the_shipped_teams_have_one_secret() -> None:
    """The other credentials are placeholders, as in the Connector Builder."""
    connectors = [each for team in shipped_teams().values() for each in team if each.get("configuration")]
    found = {each["connector_identifier"]: redact(each["configuration"]["configuration_json"]) for each in connectors}
    assert {name: paths for name, paths in found.items() if paths} == {"RTL-2025": ["$.secrets.items[0].value"]}


def test_the_paths_of_secrets_are_returned_in_order() -> None:
    """As JSONPath, with quotes where a name needs them."""
    document = {
        "headers": {"X-Api-Key": SECRET, "Accept": "*/*"},
        "parameters": [{"name": "page", "value": "1"}, {"name": "token", "value": SECRET}],
        "pairs": [["Accept", "*/*"], ["X-Auth-Token", SECRET]],
        "tokens": ["{{token}}", SECRET],
        "body": f"a=b&password={SECRET}",
    }
    paths = ['$.headers["X-Api-Key"]', "$.parameters[1].value", "$.pairs[1][1]", "$.tokens[1]", "$.body"]
    assert redact(document) == paths


# --- Names ------------------------------------------------------------------------------------------------------------


def test_a_credential_is_known_by_the_end_of_its_name() -> None:
    """In any style of writing; a name that only mentions a credential says where it is or of what kind."""
    for name in (*CREDENTIALS, *SAMPLES["other names"]):
        is_credential = name in CREDENTIALS
        assert (kind_of(name) == "credential") is is_credential, name
        for document in ({name: SECRET}, {"body": f'set "{name}": "{SECRET}"'}):
            assert bool(redact(document)) is is_credential, name


@pytest.mark.parametrize("kind", SECRET_KINDS)
def test_each_name_of_a_secret_contains_a_root(kind: str) -> None:
    """A text without a root is not searched for names."""
    (pattern,) = (names for each, names, _ in NAMES if each == kind)
    names = _matching(re.findall(r"\(\?:|\[.+?\]|\\.|.", pattern))
    assert [name for name in names if not ROOT.search(name.lower())] == []


def _matching(tokens: list[str]) -> list[str]:
    """Texts that match the tokens of a pattern, one for each choice that the pattern leaves; nothing is repeated."""
    found: list[str] = []
    texts = [""]
    while tokens and (token := tokens.pop(0)) != ")":
        if token == "|":
            found += texts
            texts = [""]
            continue
        if token == "(?:":
            choices = _matching(tokens)
        elif token.startswith("["):
            choices = ["_"] if "\\" in token else list(token[1:-1])
        else:
            choices = [token] if len(token) == 1 else [""]
        if tokens and tokens[0] in "?*":
            choices = [*choices, ""] if tokens.pop(0) == "?" else [""]
        texts = [text + choice for text in texts for choice in choices]
    return found + texts


# --- Values -----------------------------------------------------------------------------------------------------------

REFERENCES = [
    *("{{a}}", "${A}", "Bearer {{a}}", "{{a}}:{{b}}", "%7B%7Ba%7D%7D", "sec_a23f23d26", "Basic ${base64(${u}:${p})}"),
    *("$.access_token", "$['a']['b']", "$.data[?(@.name=='token')].value", "$..token"),
]


def test_a_reference_is_never_changed() -> None:
    """Under any name, and behind the name of a credential within a text."""
    for reference in REFERENCES:
        within = [_json({"password": reference}), _json([{"name": "token", "value": reference}])]
        within += [f"<token>{reference}</token>", f"token: {reference}\nuser: a", f"Cookie:\nX-Api-Key: {reference}"]
        documents_ = [{name: reference} for name in ("password", "Authorization", "url", "headers", "value")]
        documents_ += [{name: text} for name in ("url", "headers", "value") for text in within]
        for document in documents_:
            assert redact(document) == [], document


VERSIONS = ["1.2.3", "^0.6.0", "~1.2", ">=1.0.0 <2.0.0", "^3.0.0 || ^4.0.0", "9.x", "v7.1.0", "==1.0.2", "0.6.0-beta.1"]
POINTERS = ["#/definitions/Token", "#/components/schemas/ApiKey", "schemas.json#/Jwt", "/oauth/token", "../token.yaml"]
WORDS = ["", "  ", MARKER, "header", "access_token", "YOUR_API_KEY", "<token>", "sk-xxxxxxxx", "Forgot your password?"]
NEAR = ["1234", "123456", "12.Mai", "v1llage", "#hunter2", "1.2.3!x", "^hunter", "/hunter2", "{{a}}x", "{{unclosed"]
NEAR += ["Pa$$word", "sec_hunter2", "Bearer xyz", "{{user}}:s3cr3t", "correct horse battery staple", "my_secret_pa55"]
NEAR += ["$.a b"]


@pytest.mark.parametrize("name", ["token", "js-tokens", "jsonwebtoken", "password"])
def test_versions_pointers_and_words_are_no_secrets(name: str) -> None:
    """Packages and schemas are named after their purpose. A text that is only similar is a secret."""
    for text in (*VERSIONS, *POINTERS, *WORDS, *NEAR):
        is_count = text.isdecimal() and name.endswith("s")
        assert bool(redact({"dependencies": {name: text}})) is (text in NEAR and not is_count), text


def test_words_are_labels_only_where_labels_are() -> None:
    """A password may be a word."""
    document = {"password": "Sommer", "labels": {"password": "Kennwort", "token": "hunter2"}}
    assert redact(document) == ["$.password", "$.labels.token"]


@pytest.mark.parametrize("within", ["{{ get('token', default='hunter2') }}", "{{#if password='x'}}", "${PASSWORD:-x}"])
def test_placeholders_are_not_searched(within: str) -> None:
    """Their content belongs to another language."""
    document = {"body": f"a={within}&password=hunter2", "url": f"https://a.b/{within}"}
    redact(document)
    assert document == {"body": f"a={within}&password={MARKER}", "url": f"https://a.b/{within}"}


def test_a_static_secret_of_any_type_is_replaced() -> None:
    """Also a number, and words that say where a credential goes. Encrypted values and personal data stay."""
    item = {"id": "a", "classification": "secret", "source": "static"}
    token = "ghp_16C7e42F292c6912E7710c838347Ae178B4a"
    values = [4711, 1.5, "header", "https://a.b/c", {"a": ["b"]}, "{{a}}", "$.a", "sec_a23f23d26", "", True, None]
    document = {"secrets": {"items": [{**item, "value": value} for value in values]}}
    document["secrets"]["items"] += [{**item, "source": "encrypted", "value": token}]
    document["secrets"]["items"] += [{**item, "classification": "pii", "value": token}]
    paths = [f"$.secrets.items[{index}].value" for index in range(4)] + ["$.secrets.items[4].value.a[0]"]
    assert _is_suspect(document)
    assert redact(document) == paths


# --- Texts ------------------------------------------------------------------------------------------------------------


def test_a_text_in_json_keeps_its_spelling() -> None:
    """Only strings that contained a secret are rewritten."""
    text = '{ "a\\/b" : 1.50, "\\u00e9": [1e3, "\\u00e9"],\n"password" : "hunter2", "password": "hunter3" }'
    document = {"body": text}
    redact(document)
    assert document["body"] == text.replace("hunter2", MARKER).replace("hunter3", MARKER)


@pytest.mark.parametrize(
    "nested", ["[" * 50_000, '{"a":' * 50_000, "[" * 400 + "]" * 400, '{"password":"x7y","a":' + "[" * 20_000]
)
def test_json_that_is_nested_too_deeply_is_read_as_text(nested: str) -> None:
    """Python gives up at some depth; a secret is found nevertheless."""
    document = {"body": nested}
    redact(document)
    assert "x7y" not in document["body"]


def test_redaction_takes_time_in_proportion_to_the_text() -> None:
    """A text of six times the length takes some six times as long, not 36 times."""
    for unit in SAMPLES["units"]:
        for make in TEXTS_OF_DOCUMENTS:
            # Another program may have slowed one measurement down.
            assert any(_seconds(make(unit * (6_000 // len(unit)))) < limit for limit in _limits(make, unit)), unit


TEXTS_OF_DOCUMENTS: list[Callable[[str], Any]] = [
    lambda text: {"a": text},
    lambda text: {"a": '{"' + text},
    lambda text: {"headers": text},
    lambda text: {"token": text},
    lambda text: {text: "a"},
]


def _limits(make: Callable[[str], Any], unit: str) -> Iterator[float]:
    """Twice the seconds that are expected of 6,000 characters, three times measured."""
    for _ in range(3):
        yield 12 * max(_seconds(make(unit * (1_000 // len(unit)))), 0.001)


def _seconds(document: Any) -> float:
    start = time.process_time()
    redact(document)
    return time.process_time() - start


# --- Any document -----------------------------------------------------------------------------------------------------

credential_names = st.sampled_from(["client_secret", "apiKey", "X-Auth-Token", "Authorization", "password"])
other_names = st.sampled_from(SAMPLES["members"])
secrets = st.from_regex(r"[A-Za-z0-9!+/_.~-]{6,30}", fullmatch=True).map(lambda text: f"S3cr3t{text}")
texts = st.one_of(st.text(max_size=10), st.sampled_from(SAMPLES["texts"]))
leaves = st.one_of(texts, st.integers(-(2**63), 2**63 - 1), st.booleans(), st.none())
any_documents = st.recursive(
    leaves,
    lambda children: st.one_of(
        st.lists(children, max_size=4),
        st.dictionaries(st.one_of(other_names, credential_names, st.text(max_size=5)), children, max_size=4),
    ),
    max_leaves=20,
)
PLACES: list[Callable[[str, str], Any]] = [
    lambda name, secret: {name: secret},
    lambda name, secret: {name: [secret, "{{a}}"]},
    lambda name, secret: {name: {"value": secret}},
    lambda name, secret: {name: f"Bearer {secret}"},
    lambda name, secret: {"headers": [{"name": name, "required": True, "value": secret}]},
    lambda name, secret: {"headers": [{"headerName": name, "headerValue": secret}]},
    lambda name, secret: {"headers": [[name, secret]]},
    lambda name, secret: {"headers": [f"{name}: {secret}"]},
    lambda name, secret: {"headers": [name, secret]},
    lambda name, secret: {"args": [f"--{name}", secret]},
    lambda name, secret: {"url": f"https://a.b/c?d=e&{name}={secret}&f=g"},
    lambda name, secret: {"body": f'{{"a": "b", "{name}": "{secret}"}}'},
    lambda name, secret: {"body": f"<a><{name}>{secret}</{name}></a>"},
    lambda name, secret: {"body": f"{name}={secret}"},
    lambda name, secret: {"body": f"set('{name}', '{secret}')"},
    lambda name, secret: {"parameter": name, "default": secret},
    lambda name, secret: {"url": f"ftp://{name}:{quote(secret, safe='')}@a.b/c"},
    lambda name, secret: {"basic.auth.user.info": f"{name}:{secret}"},
    lambda name, secret: {f"{name} ": secret},
    lambda name, secret: {name: {"text": secret, "type": "string"}},
    lambda name, secret: {"id": name[:2], "classification": "secret", "source": "static", "value": secret},
    lambda name, secret: {"headers": f"Accept:\n{name}: {secret}\nX-Empty:"},
    lambda name, secret: {"body": _json({"a": _json({"b": _json([{"name": name, "value": secret}])})})},
    lambda name, secret: {"body": f"POST {_json({'a': _json({name: secret})})}"},
    lambda name, secret: {"body": f"<a><b:{name} c='d'><![CDATA[{secret}]]></b:{name}></a>"},
    lambda name, secret: {"body": f"auth:\n  user: a\n  {name}: {secret}\n"},
    lambda name, secret: {"body": f'mutation {{ login(user: "a", {name}: "{secret}") {{ b }} }}'},
    lambda name, secret: {"body": f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{secret}\r\n--b--\r\n'},
]
written = st.lists(st.sampled_from(SAMPLES["pieces"]), max_size=14).map("".join)
within_json = st.one_of(written, written.map(_json), written.map(lambda text: _json({"a": [{"password": text}, text]})))
written_documents = st.recursive(
    st.one_of(within_json, within_json.map(_json), st.booleans()),
    lambda children: st.one_of(
        st.lists(children, max_size=3),
        st.dictionaries(st.one_of(other_names, credential_names, written), children, max_size=3),
    ),
    max_leaves=6,
)


@given(any_documents, st.lists(st.tuples(st.sampled_from(PLACES), credential_names, secrets), min_size=1, max_size=3))
def test_no_secret_survives_and_its_document_is_suspected(document: Any, planted: list[Any]) -> None:
    """In any place, among any other members."""
    whole = {"around": document, "planted": [place(name, secret) for place, name, secret in planted]}
    before = copy.deepcopy(whole)
    assert _is_suspect(whole)
    assert len(redact(whole)) >= len(planted)
    text = orjson.dumps(whole).decode()
    assert not [secret for _, _, secret in planted if secret in text]
    assert _shape(whole) == _shape(before)


@settings(max_examples=250)
@given(st.one_of(any_documents, written_documents))
def test_a_second_redaction_changes_nothing_and_the_filter_skips_no_secret(document: Any) -> None:
    """If the marker were a secret, a version would differ from itself."""
    before = copy.deepcopy(document)
    assert not redact(document) or _is_suspect(before)
    assert _shape(document) == _shape(before)
    redacted = copy.deepcopy(document)
    assert redact(document) == []
    assert document == redacted


def test_small_documents_are_not_filtered() -> None:
    """For a small team, preparing the filter takes longer than parsing its configurations."""
    assert indexes_to_redact(["{}", "[]"]) == [0, 1]


# --- From HTTP to DuckDB ----------------------------------------------------------------------------------------------

TEAM = 936506

OAUTH_1 = {"authentication": {"type": "oauth1", "oauth1": {"consumerKey": SECRET, "consumerSecret": SECRET}}}
OAUTH_2 = {
    "authentication": {
        "type": "oauth2",
        "clientSecret": SECRET,
        "tokenExchange": {"request": {"method": "POST", "body": f"code={{{{code}}}}&client_secret={SECRET}"}},
    }
}

Rows = Callable[..., list[tuple[Any, ...]]]


def configured(definition: dict[str, Any], **added: Any) -> dict[str, Any]:
    """A configuration in the API's wire shape."""
    return {"version": "1.0.0", "configuration_json": definition, **added}


def test_no_file_has_the_secret(sandbox: Sandbox, load: Callable[..., Any], rows: Rows, tmp_path: Path) -> None:
    """Neither the database nor dlt's working files; the number and paths of the secrets are stored."""
    sandbox.add_connector(TEAM, "OAUTH2", configuration=configured(OAUTH_2))
    sandbox.add_connector(TEAM, "ADDED", configuration=configured({}, draft={"api_key": SECRET}, password=SECRET))
    sandbox.add_connector(TEAM, "NONE")
    load(include_configs=True)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []
    assert rows("connector_configurations", "count(*)", where=f"configuration_json::varchar like '%{MARKER}%'") == [
        (1,)
    ]
    ((count, paths),) = rows("team_syncs", "secrets_redacted", "redacted_paths::varchar")
    found = orjson.loads(paths)
    assert count == sum(map(len, found.values())) == 2 + 2
    assert found["OAUTH2"] == ["$.authentication.clientSecret", "$.authentication.tokenExchange.request.body"]
    assert found["ADDED"] == ["configuration.draft.api_key", "configuration.password"]
    assert "NONE" not in found


def test_a_secret_that_changes_is_no_new_version(sandbox: Sandbox, load: Callable[..., Any], rows: Rows) -> None:
    """The content hash excludes the secret: a hash would allow guessing it."""
    for secret in ("first-secret", "second-secret"):
        sandbox.add_team(TEAM)
        sandbox.add_connector(TEAM, "A", configuration=configured({"client_secret": secret}), updated_at="2025-01-01")
        load(include_configs=True)
    assert rows("connector_configurations", "configuration_json->>'client_secret'") == [(MARKER,)]


def test_without_configurations_nothing_is_counted(sandbox: Sandbox, load: Callable[..., Any], rows: Rows) -> None:
    """Zero would mean that no secrets were found."""
    sandbox.add_connector(TEAM, "A", configuration=configured(OAUTH_1))
    load()
    assert rows("team_syncs", "secrets_redacted", "redacted_paths") == [(None, None)]
    load(include_configs=True)
    sandbox.delete_connector(TEAM, "A")
    load(include_configs=True)
    assert rows("team_syncs", "secrets_redacted", where="secrets_redacted is not null") == [(0,), (2,)]


def test_a_team_of_many_configurations_is_filtered_first(
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
    """A sandbox with a secret, and an environment that points the command line to it."""
    sandbox.add_connector(TEAM, "A", configuration=configured(OAUTH_1))
    monkeypatch.setenv("SUPERMETRICS_API_KEY", sandbox.token)
    monkeypatch.setenv("SOURCES__SUPERMETRICS__BASE_URL", sandbox.url)
    monkeypatch.setenv("SOURCES__SUPERMETRICS__TEAM_IDS", str(TEAM))
    return sandbox


def test_check_lists_where_secrets_are(command: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    """With `--secrets`, which requests the configurations; the secrets themselves are never printed."""
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
    command.delete_connector(TEAM, "A")
    assert run(["check", "--secrets"]) == 0
    assert "No secrets are typed into configurations." in capsys.readouterr().out


@pytest.mark.usefixtures("command")
def test_redaction_can_be_switched_off(rows: Rows, database: Path) -> None:
    """With `--no-redact`, the text is stored as the API sends it, and no secrets are counted."""
    assert run(["load", "--include-configs", "--json", "--no-redact"]) == 0
    (Path.cwd() / "supermetrics_connectors.duckdb").rename(database)
    ((text,),) = rows("connector_configurations", "configuration_json::varchar")
    assert rows("team_syncs", "secrets_redacted", "redacted_paths") == [(None, None)]
    assert orjson.loads(text) == OAUTH_1
