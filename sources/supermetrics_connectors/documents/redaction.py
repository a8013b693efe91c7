"""Secrets that somebody typed into a configuration, replaced by a marker before anything is hashed, written or logged.

What is replaced is text, never a name, a number or the shape of the document:

1.  Every text whose name ends in a word for a credential (`client_secret`, `apiKey`, `X-Auth-Token`, `password`,
    `Authorization`, …, however it is spelled), and the texts of a list of such a name.
2.  The `value` or `default` of an object whose `name` (or `key`, `id`, `header`, …) or `type` is such a name, which is
    how headers, parameters and inputs are listed; and that, or the `text`, of an object of such a name. Not if the
    object says by its `source` that the value is a reference, or encrypted by the Connector Builder.
3.  The second of two texts in a list of lists, if the first is such a name: headers as pairs.
4.  Within any text, what stands behind such a name: in a query string or a form, in a body of JSON, GraphQL, YAML, XML
    or several parts, among headers. JSON within a text is read by all of these rules, and so is JSON within that. The
    rest of the text stays.
5.  Wherever it stands, what is known by its beginning (`ghp_`, `sk_live_`, a private key, a JSON Web Token, …), the
    password or token before the `@` of a URL, and what is secret in the address of a webhook.

What stays is what is no literal: an empty text, `{{placeholder}}` and `${placeholder}` (also behind a scheme, as in
`Bearer {{token}}`, or two of them), the id of a secret of the Connector Builder (`sec_a23f23d26`), a JSONPath
(`$.access_token`), a web address, a reference (`#/definitions/Token`), a version, words that say what a credential is
or where it goes (`header`, `api_key`), and labels (`Forgot your password?`). `token_url`, `access_token_path`,
`client_id` and `next_page_token` do not name credentials. Names that often do not (`key`, `auth`, `signature`, …) count
only with a text that looks generated. See `credentials.py`.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc

from .credentials import (
    AMBIGUOUS,
    CREDENTIAL,
    JSON_PATH,
    KNOWN,
    KNOWN_IN_PATHS,
    MARKER,
    PLACEHOLDER,
    ROOTS,
    is_literal,
    is_phrase,
    kind_of,
    letters,
    looks_generated,
    names_credential,
    without_scheme,
)
from .json_paths import Path, render

__all__ = ["MARKER", "is_literal", "names_credential", "redact", "suspects"]

_NAMING = ("name", "key", "id", "header", "field", "parameter", "param")
_TYPING = ("type", "classification")
_TYPED_SOURCES = frozenset({"static", "literal", "constant", ""})
_IN_A_LIST = "[]"
"""What a list in a list is called."""


def redact(document: Any) -> list[str]:
    """Replaces the secrets of a JSON document, in place.

    Returns:
        The paths of the texts that held one, in order.
    """
    found: list[Path] = []
    if isinstance(document, (dict, list)):
        _redact_members(document, "", (), found, among_labels=False)
    return [render(path) for path in found]


# --- Documents --------------------------------------------------------------------------------------------------------


def _redact_members(node: Any, name: str, path: Path, found: list[Path], *, among_labels: bool) -> None:
    """Redacts what is in an object or a list of this name.

    Args:
        node: The object or list.
        name: What it is called.
        path: Where it is.
        found: Takes the paths of the texts that held a secret.
        among_labels: Whether it is in an object of texts for people, such as `translations`.
    """
    among_labels = among_labels or kind_of(name) == "labels"
    for key, called, member in _called(node, name):
        if isinstance(member, str):
            if (redacted := _redact_text(member, called, among_labels=among_labels)) != member:
                node[key] = redacted
                found.append((*path, key))
        elif isinstance(member, (dict, list)):
            _redact_members(member, called, (*path, key), found, among_labels=among_labels)


def _called(node: Any, name: str) -> Iterator[tuple[Any, str, Any]]:
    """The keys or indexes of what may hold a secret in an object or list, what it is called, and it."""
    if isinstance(node, dict):
        for key, member in node.items():
            kind = kind_of(key)
            if kind in ("value", "text"):
                yield key, _described(node, name, kind) or key, member
            elif kind or not isinstance(member, str) or _may_hold(member):
                yield key, key, member
        return
    is_pair = name == _IN_A_LIST and len(node) == 2 and isinstance(node[0], str)
    for index, member in enumerate(node):
        called = ("", node[0])[index] if is_pair else name
        if isinstance(member, list) and not names_credential(called):
            called = _IN_A_LIST
        elif isinstance(member, dict) and not name.lower().endswith("s") and _has_name(member):
            called = ""  # as in `"jwt": [{"key": "algorithm", "value": "HS256"}]`
        yield index, called, member


def _described(node: Mapping[str, Any], name: str, kind: str) -> str:
    """What the value or text of an object is called by its other members or its own name; "" if by neither."""
    source = node.get("source", "")
    if isinstance(source, str) and source.lower() not in _TYPED_SOURCES:
        return ""
    if kind == "text":
        return name if names_credential(name) else ""
    names = [given for each in (*_NAMING, *_TYPING) if isinstance(given := node.get(each), str)] + [name]
    return next((n for kind in ("credential", "ambiguous") for n in names if kind_of(n) == kind), "")


def _has_name(node: Mapping[str, Any]) -> bool:
    """Whether an object has a name of its own; `value` is none."""
    return any(isinstance(given := node.get(each), str) and kind_of(given) != "value" for each in _NAMING)


def _is_secret(name: str, text: str, *, among_labels: bool = False) -> bool:
    kind = kind_of(name)
    if kind != "credential":
        return kind == "ambiguous" and looks_generated(text) and is_literal(text)
    is_label = (among_labels and is_phrase(text)) or letters(text) == letters(name)
    return not is_label and is_literal(text)


# --- Texts ------------------------------------------------------------------------------------------------------------


def _redact_text(text: str, name: str, *, among_labels: bool = False) -> str:
    if _is_secret(name, text, among_labels=among_labels):
        return MARKER
    if not _may_hold(text) or (text[0] == "$" and JSON_PATH.fullmatch(text)):
        return text
    redacted = _redact_parts(text, name, among_labels=among_labels)
    # A marker ends what is before it, which can then be seen to be a secret too.
    return text if redacted == text else _redact_text(redacted, name, among_labels=among_labels)


def _redact_parts(text: str, name: str, *, among_labels: bool) -> str:
    if text.lstrip()[:1] in _JSON_BEGINS:
        try:
            return _redact_json(text, name, among_labels=among_labels)
        except (ValueError, RecursionError):
            pass  # it only begins like JSON
    return _redact_within(text, are_headers=kind_of(name) == "headers")


def _may_hold(text: str) -> bool:
    """Whether a text may hold names and values, or what is known by its beginning, of which nothing is shorter."""
    return len(text) >= 20 or "=" in text or ":" in text or "<" in text or "@" in text


_JSON_BEGINS = ("{", "[", '"')


def _redact_json(text: str, name: str, *, among_labels: bool) -> str:
    """Redacts the JSON document that a text is, and leaves all else of the text as it is.

    Raises:
        ValueError: It is none.
        RecursionError: It is nested too deeply.
    """
    document = [json.loads(_STRING_OR_HOLE.sub(_filled, text), object_pairs_hook=_distinct)]
    before = list(_strings(document))
    _redact_members(document, name, (), [], among_labels=among_labels)
    strings = zip(before, _strings(document), strict=True)

    def replaced(match: re.Match[str]) -> str:
        if match["hole"]:
            return match[0]
        old, new = next(strings)
        return match[0] if old == new else json.dumps(new, ensure_ascii=False)

    return _STRING_OR_HOLE.sub(replaced, text)


_STRING_OR_HOLE = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\\?\Z)|(?P<hole>\{\{[^{}"]*\}\}|\$\{[^{}"]*\})', re.DOTALL)
"""A hole is a placeholder where JSON wants a value: `{"limit": {{limit}}}`."""


def _filled(match: re.Match[str]) -> str:
    return "null" if match["hole"] else match[0]


def _distinct(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object that keeps all members of one name: further ones get a number, which a credential's name may end in."""
    document: dict[str, Any] = {}
    for name, member in members:
        document[f"{name} {len(document)}" if name in document else name] = member
    return document


def _strings(node: Any) -> Iterator[str]:
    """Every string of a document, names too, in the order of its text."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, (dict, list)):
        for part in node if isinstance(node, list) else (part for member in node.items() for part in member):
            yield from _strings(part)


def _redact_within(text: str, *, are_headers: bool) -> str:
    """Redacts what stands behind a name within a text, or is known by its beginning."""
    text = _KNOWN.sub(lambda match: match[0] if match["known"] is None else MARKER, text)
    if "/" in text:
        text = _KNOWN_IN_PATH.sub(lambda match: match[match.lastindex or 0] + MARKER, text)
        text = _USER_INFO.sub(_redact_user_info, text)
    lowered = text.lower()
    if any(root in lowered for root in ROOTS):
        text = _redact_lines(text, are_headers=are_headers)
        for form in _FORMS:
            if form.needle in text:
                text = _redact_form(text, form)
    for needle, anonymous in _ANONYMOUS:
        if needle in text:
            text = anonymous.sub(_redact_anonymous, text)
    return text


_WITHIN_PLACEHOLDER = r"\{\{[^{}]{0,500}\}\}|\$\{[^{}]{0,500}\}"
"""Taken first wherever one begins, so that nothing is looked for in it."""
_KNOWN = re.compile(
    rf"{_WITHIN_PLACEHOLDER}|(?<![A-Za-z0-9])(?P<known>{'|'.join(start + rest for start, rest in KNOWN)})",
    re.ASCII | re.DOTALL,
)
_KNOWN_IN_PATH = re.compile(
    "|".join(f"({start}{between}){secret}" for start, between, secret in KNOWN_IN_PATHS), re.ASCII | re.IGNORECASE
)


class _Form(NamedTuple):
    """A way to write a name and its value.

    Attributes:
        needle: What a text that is written so has in it.
        name: The name and all that is before the value.
        value: The value, from its beginning.
    """

    needle: str
    name: re.Pattern[str]
    value: re.Pattern[str]


def _form(needle: str, name: str, value: str) -> _Form:
    before = re.compile(f"{_WITHIN_PLACEHOLDER}|{name}", re.ASCII | re.IGNORECASE)
    return _Form(needle, before, re.compile(value, re.ASCII))


def _redact_form(text: str, form: _Form) -> str:
    """Puts the marker in the place of each value that its name makes a secret."""
    parts = []
    done = position = 0
    while found := form.name.search(text, position):
        position = found.end()
        if (name := found["name"]) is None or kind_of(name) not in ("credential", "ambiguous"):
            continue
        if value := form.value.match(text, position):
            position = value.end()
            if _is_secret(name, value["value"]):
                parts += [text[done : value.start("value")], MARKER]
                done = value.end("value")
    return "".join((*parts, text[done:]))


# Quotes are escaped in JSON within JSON. Where the rest of a text could be tried again and again, there is a bound.
_NAME = r"(?<![\w.%\[\]-])(?P<name>[\w.%\[\]-]+)"
_SPACE = r"\s{0,20}"
_QUOTES = r"[\\\"']{0,9}"
_IS = rf"[\]\\\"']{{0,9}}{_SPACE}(?:=>|[:=](?!=)){_SPACE}"
_OTHER_IS_NAME = rf"(?<!\w)(?:name|key|id|header|field|param(?:eter)?){_IS}{_QUOTES}(?P<name>[\w.-]+){_QUOTES}"
_VALUE_IS = rf"{_SPACE}[,;]?{_SPACE}{_QUOTES}value{_IS}"
_QUOTED = r"(?P<quote>\\{0,15}(?:\"{3}|[\"']))(?P<value>(?!(?P=quote)).+?)(?<!\\)(?P=quote)"
_BARE = rf"\\{{0,15}}[\"']?(?P<value>(?:{PLACEHOLDER}|[^&\s\"'<>#;,\\])+)"
_XML_TEXT = "(?:[^<>&]|&(?!lt;))"
_XML_START = rf"(?:<|&lt;)(?:[\w-]+:)?(?P<name>[\w.-]+)(?:\s{_XML_TEXT}*)?(?:>|&gt;)"
_FORMS = (
    # "The password": "…"
    _form('"', rf"(?<!\\)(?P<q>\\{{0,15}}\")(?P<name>[^\"\\]+)(?P=q){_SPACE}:{_SPACE}(?=(?P=q))", _QUOTED),
    # password: "…", password = '…', 'password' => '…'
    _form('"', _NAME + _IS, _QUOTED),
    _form("'", _NAME + _IS, _QUOTED),
    # password=…
    _form("=", rf"{_NAME}{_SPACE}=(?!=){_SPACE}", _BARE),
    # {user: …, password: …}, (password: …)
    _form(
        ":",
        rf"[{{,(]{_SPACE}(?P<name>[\w.-]+){_SPACE}:{_SPACE}",
        rf"(?![A-Z]\w*!)(?P<value>[^\s,{{}}()\"'\[\]$\\]+)(?={_SPACE}[,}})])",
    ),
    # 'password: …', "password: …"
    _form("'", r"(?<=')(?P<name>[\w-]+): ?", r"(?P<value>[^\"'\r\n\\]+)(?=')"),
    _form('"', r"(?<=\")(?P<name>[\w-]+): ?", r"(?P<value>[^\"'\r\n\\]+)(?=\\{0,15}\")"),
    # password: |
    _form("\n", rf"{_NAME}[\"']?: ?[|>][+-]?[ \t]{{0,20}}\r?\n[ \t]{{1,200}}", r"(?P<value>\S[^\r\n]*)"),
    # password: ⏎ …
    _form(
        "\n",
        rf"{_NAME}[\"']?:[ \t]{{0,20}}\r?\n[ \t]{{1,200}}(?:- )?",
        r"(?P<value>(?=[^\s:]*[^A-Za-z_\s:-])[^\s:]+)(?=[ \t]{0,20}(?:[\r\n]|\Z))",
    ),
    # name: password, value: …
    _form("value", _OTHER_IS_NAME + _VALUE_IS, _QUOTED),
    _form("value", _OTHER_IS_NAME + _VALUE_IS, _BARE),
    # %22password%22%3A%22…
    _form(
        "%22",
        r"%22(?P<name>[\w.-]+)%22(?:%20|\+)?%3A(?:%20|\+)?%22",
        r"(?P<value>(?:[^&\s\"'%]|%(?!22))+)",
    ),
    # password%3D…
    _form("%3", r"(?P<name>[\w.-]+)%3D", r"(?P<value>(?:[^&\s\"'%]|%(?!2[26]))+)"),
    # <password>…</password>, also as &lt;password&gt;…
    _form("/", _XML_START, rf"(?P<value>{_XML_TEXT}+)(?=(?:<|&lt;)/)"),
    # <password><![CDATA[…]]></password>
    _form("<![CDATA[", rf"{_XML_START}{_SPACE}<!\[CDATA\[", r"(?P<value>(?s:.+?))(?:\]\]>|\Z)"),
    # <header name="password">…</header>
    _form("</", rf"{_OTHER_IS_NAME}[^<>]*>", "(?P<value>[^<>]+)(?=</)"),
    # Content-Disposition: form-data; name="password"
    _form(
        "form-data",
        r"form-data;[^\r\n]{0,200}?\bname=[\"']?(?P<name>[^\"'\r\n;]{1,200})(?=[\"'\r\n;])[^\r\n]{0,500}"
        r"(?:\r?\n[^\r\n]{1,500}){0,9}(?:\r?\n){2}",
        r"(?P<value>(?s:.+?))(?=\r?\n--|\Z)",
    ),
)
_ANONYMOUS = (
    # Authorization of a header whose name is elsewhere
    (" ", re.compile(r"(?<![\w-])(?i:basic|bearer) (?P<value>(?=\S*(?:[\d=]|[a-z][A-Z]\S*[a-z][A-Z]))[\w.+/~=-]{8,})")),
    ("curl", re.compile(r"\s(?:-u|--user)[ =][\"']?[^\s:\"']+:(?P<value>[^\s\"']+)")),
    ("thin:", re.compile(r"(?<=thin:)[^\s/@]+/(?P<value>[^\s/@]+)(?=@)")),  # Oracle's JDBC
)


def _redact_anonymous(match: re.Match[str]) -> str:
    return _with_marker(match, "value") if is_literal(match["value"]) else match[0]


def _with_marker(match: re.Match[str], group: str) -> str:
    start, end = match.start(group) - match.start(), match.end(group) - match.start()
    return match[0][:start] + MARKER + match[0][end:]


_USER_INFO = re.compile(
    r"(?<![\w+.-])(?P<scheme>[A-Za-z][\w+.-]*):\\{0,15}/\\{0,15}/(?P<user>[^\s/:@\"'<>?#\\()\[\]|*]*)(?::(?P<password>[^\s/\"'<>?#\\]*))?@",
    re.ASCII,
)
_NO_PASSWORDS = ("", "x", "x-oauth-basic")
"""What stands for a password where the user is a token."""


def _redact_user_info(match: re.Match[str]) -> str:
    """A URL up to its host, without the password, or the token that stands in its place."""
    user, password = unquote(match["user"]), match["password"] or ""
    if password.lower() not in _NO_PASSWORDS:
        return _with_marker(match, "password") if is_literal(password) else match[0]
    is_token = is_literal(user) and (
        any(map(str.isdigit, user)) or len(user) > 24
        if match["scheme"].lower().endswith(("http", "https"))
        else looks_generated(user)
    )
    return _with_marker(match, "user") if is_token else match[0]


def _redact_lines(text: str, *, are_headers: bool) -> str:
    """Redacts what stands behind a name on a line of its own: among headers, in YAML.

    A header's value is the rest of its line, which may be nothing. Elsewhere a line may be a sentence: there the value
    is one word, and no plain one if no other line has a name.
    """
    are_headers = are_headers or bool(_REQUEST.match(text))
    pattern = _HEADER if are_headers else _LINE
    lines = text.splitlines(keepends=True)
    matches = [pattern.match(line) for line in lines]
    is_prose = sum(match is not None for match in matches) < 2
    for index, (line, match) in enumerate(zip(lines, matches, strict=True)):
        if match is None:
            are_headers = are_headers and (index == 0 or not line.isspace())  # a body follows
            continue
        value = match["value"].rstrip() if are_headers else match["value"].split(" #")[0].rstrip(" \t,")
        if _is_secret(match["name"], value) and (are_headers or _is_word(value, may_be_plain=not is_prose)):
            start = match.start("value")
            lines[index] = line[:start] + MARKER + line[start + len(value) :]
    return "".join(lines)


_REQUEST = re.compile(r"\s*(?:[A-Z]{3,7} \S+ )?HTTP/\d")
_HEADER = re.compile(r"[ \t]*(?P<name>[\w.-]+)[ \t]*:[ \t]*(?P<value>[^\r\n]*)", re.ASCII)
_LINE = re.compile(
    r"[ \t]*(?:- )?[\"']?(?P<name>[\w.-]+(?: [Kk]ey)?)[\"']?:[ \t]+(?P<value>[^\s\"'|>{\[&*#!][^\r\n]*)", re.ASCII
)


def _is_word(text: str, *, may_be_plain: bool) -> bool:
    word = without_scheme(text)
    return not re.search(r"\s", word) and (may_be_plain or not word.strip(".,;:!?").isalpha())


# --- Many documents ---------------------------------------------------------------------------------------------------


def suspects(documents: Sequence[str]) -> list[int]:
    """Indexes of the documents in which `redact` might find something: a quick look, often too careful.

    Args:
        documents: JSON with no spaces between.
    """
    if sum(map(len, documents)) < _WORTH_A_LOOK:
        return list(range(len(documents)))
    # A line break is never in JSON that is written on one line. Here it says that a name has nothing but a placeholder.
    texts = pc.replace_substring_regex(pa.array(documents, pa.binary()), _PLACEHOLDER_ONLY, b"\n")
    found = pc.match_substring_regex(texts, _SUSPICIOUS)
    return [int(index) for index in pc.indices_nonzero(found).to_pylist()]


_WORTH_A_LOOK = 30_000
"""Bytes. Below, it takes longer to prepare the look than to search the documents."""

# For RE2, which reads each character once, whatever the expression. Whatever `redact` finds stands behind the name of a
# credential, which no letter follows, or begins as a known one does, or is in a URL. JSON within JSON can write letters
# as escapes.
_PLACEHOLDER_ONLY = r'":"(?:Bearer |Basic )?\{\{[A-Za-z][\w.]*\}\}"'
_SUSPICIOUS = "|".join(
    (
        rf"(?i:{CREDENTIAL}_?[^a-z_\n])",
        rf"(?i:{AMBIGUOUS}_?[^a-z0-9_\n])",
        *(start for start, _ in KNOWN),
        *(f"(?i:{start})" for start, _, _ in KNOWN_IN_PATHS),
        r":\\*/\\*/[^/\s\"]*@",
        r"(?i:basic) |curl|thin:",
        r"\\\\u",
    )
)
