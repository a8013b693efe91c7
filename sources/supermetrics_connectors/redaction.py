"""Secrets that somebody typed into a configuration, replaced by a marker before anything is hashed, written or logged.

What is replaced is text, never a name, a number or the shape of the document:

1.  Every text whose name ends in a word for a credential (`client_secret`, `apiKey`, `X-Auth-Token`, `password`,
    `Authorization`, …, however it is spelled; see `names_credential`), and the texts of a list of such a name.
2.  The `value` or `default` of an object whose `name` (or `key`, `id`, `header`, …) or `type` is such a name, which is
    how headers, parameters and inputs are listed, and that of an object of such a name. Not if the object says by its
    `source` that the value is a reference, or encrypted by the Connector Builder.
3.  The second of two texts in a list of lists, if the first is such a name: headers as pairs.
4.  Within any text, what stands behind such a name: `name=…` of a query string or a form, `"name": "…"` of a JSON body,
    `<name>…</name>` of an XML one, `Name: …` among headers, and the password of a URL. The rest of the text stays.

What stays is what is no literal: an empty text, `{{placeholder}}` and `${placeholder}` (also behind a scheme, as in
`Bearer {{token}}`, or two of them), the id of a secret of the Connector Builder (`sec_a23f23d26`), a JSONPath
(`$.access_token`), a web address, and words that say what a credential is or where it goes (`header`, `api_key`).
`token_url`, `access_token_path`, `client_id` and `next_page_token` do not name credentials. Names that often do not
(`key`, `auth`, `signature`, …) count only with a text that looks generated.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from .json_paths import Path, render

MARKER = "[redacted]"

_GAP = "[ _.-]?"
_CREDENTIAL = (
    "(?:secrets?|pass(?:word|wd|phrase|code)s?|pwd|tokens?|authorization|credentials?|cookies?|jwt|bearer"
    f"|session{_GAP}id|x{_GAP}auth|basic{_GAP}auth"
    "|(?:api|access|secret|private|signing|encryption|shared|auth|subscription|consumer|app|application|licen[cs]e"
    rf"|master|account|client|functions?|security){_GAP}keys?)(?:\]|\[\])?"
)
"""How the name of a credential ends."""
_IS_CREDENTIAL = re.compile(rf"{_CREDENTIAL}\Z", re.IGNORECASE | re.ASCII)
_IS_PLACE_IN_A_LIST = re.compile(
    rf"(?:page|next|previous|continuation|sync|delta|cursor|pagination|scroll){_GAP}tokens?\Z", re.IGNORECASE | re.ASCII
)
_AMBIGUOUS = "(?:key|auth|pass|sig|signature|sid)"
_IS_AMBIGUOUS = re.compile(rf"{_AMBIGUOUS}\Z", re.IGNORECASE | re.ASCII)
_GENERATED = re.compile(
    r"(?=(?:\D*\d){3})(?:(?=[^A-Z]*[A-Z])(?=[^a-z]*[a-z])[\w.+/=-]{20,}|[0-9A-Fa-f]{24,})", re.ASCII
)
_NAMES_HEADERS = re.compile(r"headers?\Z", re.IGNORECASE)

_NAMING = ("name", "key", "id", "header", "field", "parameter", "param", "type", "classification")
_VALUES = ("value", "default")
_TYPED_SOURCES = frozenset({"static", "literal", "constant", ""})
_IN_A_LIST = "[]"
"""What a list in a list is called."""
_WORDS = re.compile(
    r"headers?|query|body|cookies?|path|url|form|field|parameter|user[_ ]?input|user|input|basic|bearer|digest"
    r"|oauth[12]?|single_step_oauth2|api[_-]?key|(?:access_|refresh_|id_)?token|client_secret|client_credentials|authorization_code"
    r"|password|secret|credentials|authorization|jwt|session|custom|none|null|true|false|yes|no|required|optional"
    r"|string|text|number|integer|boolean|date|datetime|dimension|metric|encrypted|static|json|jsonpath|xpath",
    re.IGNORECASE,
)
"""What says where a credential goes or what it is, and so is none."""
_SCHEMES = frozenset(["basic", "bearer", "token", "digest", "apikey", "oauth", "jwt", "negotiate", "key"])

_PLACEHOLDER_TEXT = r"\{\{.{0,500}?\}\}|\$\{[^{}]{0,500}\}|%7[Bb]%7[Bb].{0,500}?%7[Dd]%7[Dd]"
_PLACEHOLDER = re.compile(_PLACEHOLDER_TEXT, re.DOTALL)
_REFERENCE = re.compile(
    r"sec_[0-9a-f]{6,16}|\$(?:\.{1,2}[\w*-]+|\[['\w*:,-]*\])+|https?://\S+", re.IGNORECASE | re.ASCII
)
_ASSIGNED = re.compile(r"([\w.-]+)\s*=")

_ASSIGNMENT = re.compile(
    rf"(?<![\w.%\[\]-])([\w.%\[\]-]+)(\s?=\s?[\"']?)((?:{_PLACEHOLDER_TEXT}|[^&\s\"'<>#;,\\])+)", re.DOTALL
)
_JSON_MEMBER = re.compile(r"(?<=\")([^\"\\]+)(\"\s*:\s*\")((?:[^\"\\]|\\.)+)(?=\")", re.DOTALL)
_XML_ELEMENT = re.compile(r"(?<=[<:])([\w.-]+)((?:\s[^<>]*)?>)([^<>]+)(?=</)")
_HEADER_LINE = re.compile(r"^[ \t]*([\w-]+)(\s*:\s*)(\S.*?)\s*$", re.MULTILINE)
_URL_PASSWORD = re.compile(r"(://[^/\s:@\"']*:)([^/\s@\"']+)(?=@)")


def redact(document: Any) -> list[str]:
    """Replaces the secrets of a JSON document, in place.

    Returns:
        The paths of the texts that held one, in order.
    """
    found: list[Path] = []
    if isinstance(document, (dict, list)):
        _redact_members(document, "", (), found)
    return [render(path) for path in found]


class _Names(dict[str, str]):
    """What each name that was met calls what has it: `credential`, `ambiguous`, `headers` or nothing in particular."""

    def __missing__(self, name: str) -> str:
        kind = ""
        if _IS_CREDENTIAL.search(name):
            kind = "" if _IS_PLACE_IN_A_LIST.search(name) else "credential"
        elif _IS_AMBIGUOUS.match(name):
            kind = "ambiguous"
        elif _NAMES_HEADERS.search(name):
            kind = "headers"
        if len(self) < 100_000:
            self[name] = kind
        return kind


_KINDS = _Names()


def names_credential(name: str) -> bool:
    """Whether what has this name is a credential, in any case and with any separators."""
    return _KINDS[name] == "credential"


def is_literal(text: str) -> bool:
    """Whether a text that should be a placeholder is, or holds, something else."""
    text = text.strip()
    if not text or text == MARKER or _WORDS.fullmatch(text) or _REFERENCE.fullmatch(text):
        return False
    rest = _PLACEHOLDER.sub(" ", text)
    if rest == text:
        return True
    rest = _ASSIGNED.sub(lambda match: " " if _may_be_assigned(match[1]) else match[0], rest)
    return any(word.lower() not in _SCHEMES for word in re.findall(r"[^\W_]+", rest))


def _may_be_assigned(name: str) -> bool:
    return names_credential(name) or name.lower().startswith("oauth_")


def _redact_members(node: Any, name: str, path: Path, found: list[Path]) -> None:
    """Redacts what is in an object or a list of this name."""
    if isinstance(node, dict):
        described = _described(node, name) if "value" in node or "default" in node else ""
        for key, member in node.items():
            _redact_member(node, key, described if described and key in _VALUES else key, member, path, found)
        return
    is_pair = name == _IN_A_LIST and len(node) == 2 and isinstance(node[0], str)
    for index, member in enumerate(node):
        called = ("", node[0])[index] if is_pair else name
        if isinstance(member, list) and not names_credential(called):
            called = _IN_A_LIST
        _redact_member(node, index, called, member, path, found)


def _redact_member(node: Any, key: str | int, name: str, member: Any, path: Path, found: list[Path]) -> None:
    if isinstance(member, str):
        if (_KINDS[name] or _may_hold(member)) and (redacted := _redact_text(member, name)) != member:
            node[key] = redacted
            found.append((*path, key))
    elif isinstance(member, (dict, list)):
        _redact_members(member, name, (*path, key), found)


def _described(node: Mapping[str, Any], name: str) -> str:
    """What the value of an object is called by the object's other members or its own name; "" if by neither."""
    source = node.get("source", "")
    if isinstance(source, str) and source.lower() not in _TYPED_SOURCES:
        return ""
    names = [given for each in _NAMING if isinstance(given := node.get(each), str)] + [name]
    return next((n for kind in ("credential", "ambiguous") for n in names if _KINDS[n] == kind), "")


def _may_hold(text: str) -> bool:
    """Whether a text may hold names and values of its own."""
    return "=" in text or "<" in text or '"' in text or "@" in text


def _is_secret(name: str, text: str) -> bool:
    kind = _KINDS[name]
    return is_literal(text) if kind == "credential" else kind == "ambiguous" and bool(_GENERATED.fullmatch(text))


def _redact_text(text: str, name: str) -> str:
    if _is_secret(name, text):
        return MARKER
    if _KINDS[name] == "headers":
        text = _HEADER_LINE.sub(_redact_match, text)
    if _may_hold(text):
        for pattern in (_ASSIGNMENT, _JSON_MEMBER, _XML_ELEMENT):
            text = pattern.sub(_redact_match, text)
        text = _URL_PASSWORD.sub(lambda match: match[1] + (MARKER if is_literal(match[2]) else match[2]), text)
    return text


def _redact_match(match: re.Match[str]) -> str:
    """Name, what is between, and the value, or the marker in its place."""
    name, between, value = match.groups()
    return f"{name}{between}{MARKER}" if _is_secret(name, value) else match[0]


def suspects(documents: Sequence[str]) -> list[int]:
    """Indexes of the documents in which `redact` might find something: a quick look, sometimes too careful.

    Args:
        documents: JSON with sorted keys and no spaces between.
    """
    if sum(map(len, documents)) < _WORTH_A_LOOK:
        return list(range(len(documents)))
    found = pc.match_substring_regex(pa.array(documents, pa.binary()), _SUSPICIOUS, ignore_case=True)
    return [int(index) for index in pc.indices_nonzero(found).to_pylist()]


_WORTH_A_LOOK = 30_000
"""Bytes. Below, it takes longer to prepare the look than to search the documents."""

# For RE2, which reads each character once, whatever the expression, but knows no lookahead. A secret stands behind
# the name of a credential, and begins otherwise than a reference, or goes on behind one.
_STARTS_OTHERWISE = r"[^\"{$b]|\{[^{]|\$[^{.\[]|b[^ea]|be[^a]|ba[^s]|bea[^r]|bas[^i]|bear[^e]|basi[^c]"
_BROKEN = r"\{\{[^{}\"]*(?:[\"{]|\}[^}])|\$\{[^{}\"]*[\"{]"
_GOES_ON = r"\{\{[^{}\"]*\}\}[^\"]|\$\{[^{}\"]*\}[^\"]|\$[.\[][\w.*\[\]'-]*[^\w.*\[\]'\"-]"
_BEHIND_SCHEME = rf"(?:beare|basi)[rc](?:[^ ]| (?:[^{{]|\{{[^{{]|{_BROKEN}|{_GOES_ON}))"
_TEXT = r"\"(?:[^\"\\]|\\.)*\""
_MEMBERS = rf"(?:,{_TEXT}:(?:{_TEXT}|[\w.+-]+))*"
_SUSPICIOUS = (
    rf"{_CREDENTIAL}(?:(?:\":(?:\{{.*\"value\":)?|\"{_MEMBERS},\"value\":)\""
    rf"(?:{_STARTS_OTHERWISE}|{_BROKEN}|{_GOES_ON}|{_BEHIND_SCHEME})"
    rf"|\":\[|\"{_MEMBERS},{_TEXT}:[\[{{]|\",{_TEXT}\]"
    r"|\s?=(?:[^{&\"]|\{(?:[^{]|\{[^{}\"]*(?:[\"{]|\}(?:[^}]|\}[^&\"]))))"
    r"|\s?\\|\s*:\s*[^\"\s\[{]|\s?>|\s[^<>\"]*>)"
    rf"|(?:[\"?&;<:,(]|\\[nrt]){_AMBIGUOUS}\s?[\\\"=>:\s]|\s{_AMBIGUOUS}\s?[=:]|\"default\":\"[^\"]|://[^/\s\"]*@"
)
