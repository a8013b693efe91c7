"""Secrets that somebody typed into a configuration, replaced by a marker before anything is hashed, written or logged.

Only texts change, never names, the order or the shape of the document; the one number that changes is a `static` value
of classification `secret`. A value is a secret because of

1.  its name: the member's own, that of the object or list it is in, or what a member beside it or beside that object
    says (`name`, `key`, `headerName`, …); `NAMES` in `credentials.py` says which names, and how much evidence the value
    must give;
2.  a name within a text: in a query string, a body, a script, a header, …; `RULES` below says in which forms. JSON
    within a text is read as a document of its own;
3.  its form: `KNOWN` in `credentials.py`.

A configuration has a documented structure. Its placeholders, JSONPaths, ids of user inputs and encrypted values are
never secrets, values of classification `pii` are left alone, and a literal `static` value of classification `secret` is
always a secret.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from .credentials import (
    AMBIGUOUS,
    CREDENTIAL,
    HOLE,
    JSON_PATH,
    KNOWN,
    MARKER,
    PHRASE,
    PLAIN,
    ROOT,
    SECRET_KINDS,
    describes,
    kind_of,
    without_secret,
)
from .json_paths import Path, render

__all__ = ["MARKER", "indexes_to_redact", "redact"]


def redact(document: Any) -> list[str]:
    """Replaces the secrets of a JSON document, in place.

    Returns:
        The paths of the values that held a secret, in order.
    """
    found: list[Path] = []
    if isinstance(document, (dict, list)):
        _redact_members(document, "", "", (), found)
    return [render(path) for path in found]


# --- Documents --------------------------------------------------------------------------------------------------------

_Member = tuple[Any, str, str, Any]
"""A key or index, what the member is called, the kind of this name, and the member."""
_LITERAL_SOURCES = frozenset({"static", "literal", "constant", ""})
_RANKS = {kind: rank for rank, kind in enumerate((*SECRET_KINDS, ""))}
_NO_SECRET = re.compile(r"(?:id|name|hash|print|sum|digest|ur[il]|user|mail|type)s?\Z", re.IGNORECASE)
"""Names of what is no secret in an object of credentials."""
_IN_A_LIST = "[]"
"""What a list in a list is called."""


def _redact_members(
    node: Any, name: str, kind: str, path: Path, found: list[Path] | None, *, labels: bool = False
) -> None:
    """Redacts the members of an object or list of this name.

    Args:
        node: The object or list.
        name: What it is called.
        kind: The kind of this name, or one that overrides it.
        path: Where it is.
        found: Takes the paths of the values that held a secret; None within a text, where numbers stay.
        labels: Whether it is within texts for people, such as `translations`.
    """
    labels = labels or kind == "labels"
    for key, called, member_kind, member in (_object if isinstance(node, dict) else _list)(node, name, kind):
        redacted = member
        if isinstance(member, str):
            if not (labels and member_kind == "credential" and PHRASE.fullmatch(member)):
                redacted = _redact_text(member, called, member_kind)
        elif isinstance(member, (dict, list)):
            _redact_members(member, called, member_kind, (*path, key), found, labels=labels)
        elif member_kind == "static" and found is not None and type(member) in (int, float, Decimal):
            redacted = MARKER
        if redacted is not member:
            node[key] = redacted
            if found is not None:
                found.append((*path, key))


def _object(node: Mapping[str, Any], name: str, kind: str) -> Iterator[_Member]:
    if kind == "credential" and isinstance(node.get("items"), list):
        kind = ""  # the section `secrets` of a configuration
    for key, member in node.items():
        own = _kind_within(kind, key, kind_of(key))
        if kind == "static":
            yield key, key, kind, member
        elif own in ("value", "text"):
            if described := _described(node, name, kind, own):
                yield key, described[0] or key, described[1], member
        elif own or not isinstance(member, (str, dict)):
            yield key, key, own, member
        elif isinstance(member, dict):
            inherited = "" if _has_name(member) else name if kind == "named" else _credential_name(node)
            yield key, inherited or key, "named" if inherited else "", member
        elif kind == "credential" and not _NO_SECRET.search(key):
            yield key, key, "ambiguous", member
        elif _may_hold(member):
            yield key, key, "", member


def _kind_within(outer: str, name: str, kind: str) -> str:
    """The kind of a name among headers, parameters or credentials, where an ambiguous name needs less evidence."""
    is_certain = outer == "credential" or (outer in ("headers", "parameters") and name.lower() != "key")
    return "key" if kind == "ambiguous" and is_certain else kind


def _credential_name(node: Mapping[str, Any]) -> str:
    """The credential that an object is about, as in `{"name": "token", "schema": {"default": …}}`; "" if none."""
    names = (given for key, given in node.items() if isinstance(given, str) and describes(key) == "name")
    return next((given for given in names if kind_of(given) == "credential"), "")


def _described(node: Mapping[str, Any], name: str, kind: str, own: str) -> tuple[str, str] | None:
    """What the value or text in an object is called, and the kind of this name; None if it is left alone."""
    source, classification = str(node.get("source", "")).lower(), str(node.get("classification", "")).lower()
    if own == "value" and (source == "encrypted" or classification == "pii"):
        return None
    if source not in _LITERAL_SOURCES:
        return "", ""
    if own == "value" and classification == "secret":
        return "", "static"
    if own == "text":
        return (name, kind) if kind == "credential" else ("", "")
    names = [(name, "pass" if kind == "named" else kind)]
    for key, given in node.items():
        if isinstance(given, str) and (role := describes(key)):
            is_label = role == "label" and kind_of(given) == "credential"
            names.insert(0, (given, "pass" if is_label else kind_of(given)))
    called, found = min(names, key=lambda each: _RANKS.get(each[1], len(_RANKS)))
    return called, _kind_within(kind, called, found)


def _list(node: Sequence[Any], name: str, kind: str) -> Iterator[_Member]:
    is_pair = name == _IN_A_LIST and len(node) == 2 and isinstance(node[0], str)
    is_plural = name.lower().endswith("s")
    previous = ""
    for index, member in enumerate(node):
        called, member_kind = name, kind
        if isinstance(member, str):
            is_header = kind == "headers" and ":" not in previous + member
            is_argument = previous.startswith("-") and not member.startswith("-")
            if index and (is_pair or is_header or is_argument) and kind_of(previous) == "credential":
                called, member_kind = previous, "credential"
            elif kind == "credential" and PLAIN.fullmatch(member):
                member_kind = ""  # a list of names
            previous = member
        elif isinstance(member, list) and kind not in ("credential", "static"):
            called, member_kind = _IN_A_LIST, ""
        elif isinstance(member, dict) and kind == "credential" and not is_plural and _has_name(member):
            called, member_kind = "", ""  # as in `"jwt": [{"key": "algorithm", "value": "HS256"}]`
        yield index, called, member_kind, member


def _has_name(node: Mapping[str, Any]) -> bool:
    """Whether an object has a name of its own; `value` is none."""
    names = [given for key, given in node.items() if describes(key) == "name" and isinstance(given, str)]
    return any(kind_of(name) != "value" for name in names)


# --- Texts ------------------------------------------------------------------------------------------------------------

_FIRST_HOLE, _LAST_HOLE = 0xF0000, 0xFFFFD
_HOLE = re.compile(HOLE)
_BRACES = r"(?:[^{}]|\{[^{}]{0,200}\})"
_PLACEHOLDER = re.compile(
    rf"\{{\{{{_BRACES}{{0,500}}?\}}\}}|[$#@%]\{{{_BRACES}{{0,500}}\}}|<%.{{0,500}}?%>|\{{%.{{0,500}}?%\}}"
    rf"|%7[Bb]%7[Bb].{{0,500}}?%7[Dd]%7[Dd]|{HOLE}",
    re.DOTALL,
)
"""What the Connector Builder, a shell or a template replaces. Nothing is looked for in it."""
_PLACEHOLDER_BEGINS = re.compile(rf"\{{[{{%]|[$#@%]\{{|<%|%7[Bb]|{HOLE}")
_NEVER_SECRET = re.compile(rf"[\s{HOLE[1:-1]}]*|sec_[0-9A-Fa-f]{{6,16}}|{JSON_PATH.pattern}|{re.escape(MARKER)}")
_JSON_BEGINS = re.compile(r"=?\s*(?=[{\[\"])")
_STRING_OR_HOLE = re.compile(rf'"(?:[^"\\]|\\.)*(?:"|\\?\Z)|(?P<hole>{HOLE})', re.DOTALL)
_MARKS = frozenset("=:<@")


def _may_hold(text: str) -> bool:
    """Whether a text may hold names and values, or a value of a known form, of which none is shorter."""
    return len(text) >= 20 or not _MARKS.isdisjoint(text)


def _redact_text(text: str, name: str, kind: str) -> str:
    """The text without its secrets; the same object if it has none."""
    if not kind and not _may_hold(text):
        return text
    holes: list[str] = []

    def hole(match: re.Match[str]) -> str:
        holes.append(match[0])
        return chr(_FIRST_HOLE + len(holes) - 1)

    masked = text
    if _PLACEHOLDER_BEGINS.search(text):  # then quotes and names within a placeholder mean nothing
        masked = _PLACEHOLDER.sub(hole, text, count=_LAST_HOLE - _FIRST_HOLE)
    redacted = _redact_masked(masked, name, kind)
    if redacted == masked:
        return text
    redacted = _HOLE.sub(lambda match: holes[ord(match[0]) - _FIRST_HOLE], redacted)
    return _redact_text(redacted, name, kind)  # a marker ends what is before it, which can then be seen to be a secret


def _redact_masked(text: str, name: str, kind: str) -> str:
    if kind == "static":
        return text if _NEVER_SECRET.fullmatch(text) else MARKER
    if kind and (redacted := without_secret(text, name, kind)) != text:
        return redacted
    if not _may_hold(text) or (text[0] == "$" and JSON_PATH.fullmatch(text)):
        return text
    if begins := _JSON_BEGINS.match(text):
        try:
            return begins[0] + _redact_json(text[begins.end() :], name, kind)
        except (ValueError, RecursionError):
            pass  # it only begins like JSON
    return _redact_within(text, is_headers=kind == "headers")


def _redact_json(text: str, name: str, kind: str) -> str:
    """Redacts the JSON document that a text is, and leaves the spelling of everything else.

    Raises:
        ValueError: The text is no JSON.
        RecursionError: The document is nested too deeply.
    """
    without_holes = _STRING_OR_HOLE.sub(lambda match: "null" if match["hole"] else match[0], text)
    document = [json.loads(without_holes, object_pairs_hook=_distinct)]
    before = list(_strings(document))
    _redact_members(document, name, kind, (), None)
    strings = zip(before, _strings(document), strict=True)

    def replaced(match: re.Match[str]) -> str:
        if match["hole"]:
            return match[0]
        old, new = next(strings)
        return match[0] if old == new else json.dumps(new, ensure_ascii=False)

    return _STRING_OR_HOLE.sub(replaced, text)


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


class Rule(NamedTuple):
    """A form in which a secret stands in a text.

    Attributes:
        kind: What the form is called.
        before: What precedes the value, with its name in one of the groups `names`.
        value: The value, in the group `value`. If a group `weak…` matches, words and numbers are no secrets.
        evidence: The kind of name to assume, as in `NAMES`; that of the name if empty; `static` if each value counts.
        names: The groups of `before` that a name may be in.
    """

    kind: str
    before: re.Pattern[str]
    value: re.Pattern[str]
    evidence: str
    names: list[str]


def _rule(kind: str, before: str, value: str, evidence: str = "") -> Rule:
    flags = re.ASCII | re.IGNORECASE | re.MULTILINE
    names = re.findall(r"\(\?P<(name\w*)>", before)
    return Rule(kind, re.compile(before, flags), re.compile(value, flags | re.DOTALL), evidence, names)


# Quotes are escaped in JSON within JSON. Where the rest of a text could be tried again and again, there is a bound.
_NAME = r"(?<![\w.%\[\]-])(?P<name>[\w.%\[\]-]+)"
_QUOTE = r"\\{0,15}[\"'`]"
_SPACE = r"\s{0,20}"
_IS = rf"[\]\\\"'?]{{0,9}}{_SPACE}(?:=>|:=|[:=](?!=)){_SPACE}"
_QUOTED = r"[bnru]?(?P<quote>\\{0,15}(?:\"{3}|[\"'`]))(?P<value>(?!(?P=quote))[^\r\n]+?)(?<!\\)(?P=quote)"
_CHAR = r"[^&\s\"'`<>#;,\\(){}]"
_WORD = rf"{_CHAR}+(?!{_CHAR}|\()(?<!\[)"
_TAGGED_QUOTED_OR_WORD = (
    rf"(?P<quote>(?<!>){_QUOTE})?(?P<value>(?(quote)(?:(?!(?P=quote))[^\r\n])+|(?:(?<!>){_WORD}|(?<=>)[^<>]+(?=</))))"
    "(?(quote)(?P=quote))"
)
_XML_TEXT = "(?:[^<>&]|&(?!lt;))"
_NAMING = r"(?<!\w)\w{0,20}?(?:name|key|id|header|field|param(?:eter)?|variable|property)"
_USER = r"[^\s/:@\"'<>?#\\()\[\]|*]"
_CODED = r"(?=[\w.+/~-]*(?:[\d=]|(?-i:[a-z][A-Z][\w.+/~-]*[a-z][A-Z])))"
_KNOWN_STARTS = "|".join(start for start, _ in KNOWN)

RULES = (
    # password: "…", 'password' => '…', set("password", "…"), identified by '…'
    _rule(
        "quoted value",
        rf"(?:{_NAME}|(?<!\\)(?P<q>{_QUOTE})(?P<name_2>[^\"'\\\n]{{1,200}})(?P=q)(?=\s*[:=])){_IS}"
        rf"|[(\[]{_SPACE}(?:[\w.$]{{1,40}},{_SPACE})?(?P<q_2>{_QUOTE})(?P<name_3>[\w.$ -]{{1,100}})(?P=q_2){_SPACE}"
        rf"(?P<weak>,){_SPACE}"
        r"|(?<!\w)(?P<name_4>identified by|[a-z_]{3,40})(?P<weak_2>[ \t]{1,5})(?=n?(?P<q_3>[\"'])[^\s\"']+(?P=q_3))",
        _QUOTED,
    ),
    # password=…&, Server=db;Password=…;
    _rule(
        "field of a form",
        r"(?:^[ \t]*(?:export |- |ENV )?|[?&;\"']\s*)(?P<name>[\w.%\[\]-]+)=(?!=)",
        rf"\\{{0,15}}[\"']?(?P<value>(?:[^&;\s\"'`<>\\]|&(?![\w.%\[\]-]*=))+(?=;)|{_WORD}(?=(?P<weak>,[ \t]*$)?))",
    ),
    # password = …, run(password=…), {user: …, password: …}
    _rule(
        "assigned value",
        rf"(?P<weak>)(?:{_NAME}{_SPACE}=(?!=)|[{{,(]{_SPACE}(?P<name_2>[\w.-]+){_SPACE}:(?=[^,;\r\n]{{0,200}}[,}})]))"
        rf"{_SPACE}(?![\[$])",
        rf"\\{{0,15}}[\"']?(?P<value>{_WORD})",
    ),
    # --password …, login reports password …, proxy_set_header Authorization …
    _rule(
        "argument of a command",
        r"(?P<weak>)(?:(?:login|user(?:name)?)\s{1,9}\S{1,100}\s{1,9}|(?:header|set)\s{1,9}|(?<!\S)--?)(?P<name>[\w-]+)\s{1,9}",
        _TAGGED_QUOTED_OR_WORD,
    ),
    # -H 'Authorization: …', <code>X-Api-Key: …</code>
    _rule(
        "line within quotes or tags",
        r"(?:(?<=[\"'])|(?P<weak>(?<=>)))(?P<name>[\w-]+): ?",
        r"(?P<value>[^\"'\r\n\\<>]+)(?=\\{0,15}[\"']|</)",
    ),
    # %22password%22%3A%22…, password%3D…
    _rule(
        "percent-encoded",
        r"(?:%22(?P<name>[\w.-]+)%22(?:%20|\+)?%3A(?:%20|\+)?%22|(?<![\w.-])(?P<name_2>[\w.-]+)%3D)",
        r"(?P<value>(?:[^&\s\"'%]|%(?!2[26]))+)",
    ),
    # <password>…</password>, &lt;password&gt;…, <password><![CDATA[…]]>
    _rule(
        "XML element",
        rf"(?:<|&lt;)(?:[\w-]+:)?(?P<name>[\w.-]+)(?:\s{_XML_TEXT}{{0,500}})?(?:>|&gt;)(?:{_SPACE}<!\[CDATA\[)?",
        rf"(?P<value>(?<=<!\[CDATA\[).+?(?=\]\]>|\Z)|{_XML_TEXT}+(?=(?:<|&lt;)/))",
    ),
    # name: password⏎ value: …, <header name="password">…</header>, <name>password</name><value>…</value>
    _rule(
        "name and value",
        rf"{_NAMING}(?:{_IS}[\\\"'`]{{0,9}}(?P<name>[\w.-]+)[\\\"'`]{{0,9}}(?:[^<>{{}}&]{{0,60}}?(?<![a-z])\w{{0,20}}?value"
        rf"{_IS}|[^<>]{{0,200}}>)|>{_SPACE}(?P<name_2>[\w.-]{{1,200}}){_SPACE}</[^<>]{{1,60}}>{_SPACE}<[^<>]{{0,100}}value>)",
        _TAGGED_QUOTED_OR_WORD,
    ),
    # Content-Disposition: form-data; name="password"
    _rule(
        "part of a form",
        r"form-data;\s{0,9}name=[\"']?(?P<name>[^\"'\r\n;]{1,200})[\"']?(?:;[^\r\n]{0,200})?"
        r"(?:\r?\n[^\r\n]{1,500}){0,9}(?:\r?\n){2}",
        r"(?P<value>.+?)(?=\r?\n--|\Z)",
    ),
    # hmac.new(b'…', text), jwt.encode(claims, "…")
    _rule(
        "key of a function",
        r"(?:hmac|jwt)[\w.]{0,30}\([^()\r\n]{0,200}?(?=[bnru]?[\"'`][^\s\"'`]{12,200}[\"'`])",
        _QUOTED,
        "key",
    ),
    # postgres://reports:…@db, jdbc:oracle:thin:reports/…@//db, https://…@example.com
    _rule(
        "user of a URL",
        rf"(?<![\w+.-])[a-z][\w+.-]*:\\{{0,15}}/\\{{0,15}}/(?:{_USER}*:(?!(?:x|x-oauth-basic)?@)"
        rf"|(?=(?:(?:(?!\d){_USER})*\d+(?:(?!\d){_USER})+){{2}}|{_USER}{{25}})(?={_USER}+(?::(?:x|x-oauth-basic)?)?@))"
        r"|(?<=thin:)[^\s/@]+/",
        rf"(?P<value>{_USER}+(?=:(?:x|x-oauth-basic)?@)|[^\s/\"'<>?#\\]+(?=@))",
        "credential",
    ),
    # Basic …, Bearer …
    _rule(
        "authorization",
        rf"(?<![\w-])(?:(?:basic|bearer) {_CODED}|(?:token|ssws) (?=(?:[^\s\d]*\d){{4}}))",
        r"(?P<value>[\w.+/~=-]{8,})",
        "credential",
    ),
    # curl -u reports:…, login -u reports -p …, auth=("reports", "…"), connect(url, "reports", "…")
    _rule(
        "user of a command",
        r"(?:\s(?:-u|--user)[ =][\"']?[^\s:\"']+:| -u ?[^\s:-]{1,100} -p ?(?=\S{3})|sshpass -p ?[\"']?"
        r"|(?:basic_?auth\w{0,20}[(\[]|\bauth ?= ?[(\[]|connect(?:ion)?\([^()\r\n]{1,200}?,)\s{0,9}"
        r"[\"'][^\s\"']{1,100}[\"'],\s{0,9}[\"'])",
        r"(?P<value>[^\s\"']+)",
        "credential",
    ),
    # https://hooks.slack.com/services/…, /bot…/sendMessage, ?code=…
    _rule(
        "address with a secret",
        r"(?:hooks\.slack\.com/(?:services|workflows|triggers)/|/services/(?=T\w+/B\w+/)|/webhooks/(?=\d+/[\w-]{8})"
        r"|/webhookb2/|/IncomingWebhook/|/hooks/catch/|/bot(?=\d+:)"
        r"|[?&]code=(?=(?:[^\d&]*\d){3}[\w%/+=.-]*)(?=[\w%/+=.-]{20}))",
        r"(?P<value>\d+:[\w-]{8,}|[\w@/+=%~.-]+)",
        "static",
    ),
    # /token/…, hook.example.com/…, /private-…
    _rule(
        "segment of a path",
        r"(?:/(?!hooks?/)(?P<name>[\w-]{1,100})/|/private-|hooks?[a-z0-9.]{0,100}/(?:[\w-]{1,40}/){0,4})(?=[\w.~%+=-]{20})",
        r"(?P<value>[\w.~%+=-]+)",
        "ambiguous",
    ),
    # ghp_…, sk_live_…, -----BEGIN PRIVATE KEY-----
    _rule(
        "known form",
        rf"(?<![a-z0-9])(?=[\w.:-]{{18}}|-----BEGIN )(?-i:(?={_KNOWN_STARTS}))",
        f"(?P<value>(?-i:{'|'.join(start + rest for start, rest in KNOWN)}))",
        "static",
    ),
    # X-Api-Key: …, among headers
    _rule("header", r"^[ \t]*(?P<name>[\w.-]+)[ \t]*:[ \t]*", r"(?P<value>\S[^\r\n]*)"),
    # password: …, password: |⏎ …
    _rule(
        "line",
        r"^[ \t]*(?:- )?[\"']?(?P<name>[\w.-]+(?: key)?)[\"']?:"
        r"(?:(?P<weak>(?: ?[|>][+-]?)?[ \t]{0,20}\r?\n[ \t]{1,200}(?:- )?)|[ \t]+)",
        r"(?P<value>(?:(?:basic|bearer|token) )?[^\s\"'`|>{\[&*#!]\S*?)(?<![,;:])(?=(?P<weak_2>[ \t]*[,;])?[ \t]*"
        r"(?: #[^\r\n]*)?(?:[\r\n]|\Z))",
    ),
)
*_ANYWHERE, _HEADER, _LINE = RULES
_NAMED = [rule for rule in _ANYWHERE if not rule.evidence]
_OTHERS = [rule for rule in _ANYWHERE if rule.evidence]
_REQUEST = re.compile(r"\s*(?:[A-Z]{3,7} \S+ )?HTTP/\d")
_BLANK_LINE = re.compile(r"(?<=\S)[ \t]*\r?\n[ \t]*\r?\n")


def _redact_within(text: str, *, is_headers: bool) -> str:
    """Redacts what the rules find within a text."""
    if ROOT.search(text.lower()):
        end = 0
        if is_headers or _REQUEST.match(text):
            end = blank.start() if (blank := _BLANK_LINE.search(text)) else len(text)  # a body follows
        # A text with a single name may be prose.
        is_prose = len(_LINE.before.findall(text[end:])) < 2
        text = _apply(_HEADER, text[:end]) + _apply(_LINE, text[end:], is_weak=is_prose)
        for rule in _NAMED:
            text = _apply(rule, text)
    for rule in _OTHERS:
        text = _apply(rule, text)
    return text


def _apply(rule: Rule, text: str, *, is_weak: bool = False) -> str:
    """Puts the marker in the place of each secret that a rule finds."""
    parts = []
    done = position = 0
    while found := rule.before.search(text, position):
        position = max(found.end(), position + 1)
        group = next((group for group in rule.names if found[group]), "")
        name = found[group] if group else ""
        kind = kind_of(name)
        if (name or not rule.evidence) and kind not in SECRET_KINDS:
            position = found.end(group or 0)  # another name may stand within what was found
            continue
        if not (match := rule.value.match(text, found.end())):
            continue
        position = max(position, match.end())
        value = match["value"]
        if PLAIN.fullmatch(value) and (is_weak or _has_weak(found) or _has_weak(match)):
            continue
        redacted = MARKER if rule.evidence == "static" else without_secret(value, name, rule.evidence or kind)
        if redacted != value:
            parts += [text[done : match.start("value")], redacted]
            done = match.end("value")
    return "".join((*parts, text[done:]))


def _has_weak(match: re.Match[str]) -> bool:
    return any(part is not None for group, part in match.groupdict().items() if group.startswith("weak"))


# --- Many documents ---------------------------------------------------------------------------------------------------

_MIN_CHARS = 30_000
"""Characters. It takes longer to prepare the patterns than to search fewer."""
# For RE2, which reads each character once, whatever the pattern.
_SHORT = r"[\w .-]{0,19}"  # `_may_hold` nothing
_NO_VALUE = r'"=?(?:Bearer |Basic )?\{\{[^{}"\\]{0,99}\}\}"'
_NO_LITERAL = (
    rf'(?:":)?\{{(?:"(?:id|label|name|type|classification)":"{_SHORT}",?)*(?:"source":"encrypted","value":"[^"\\]*"'
    rf'|"source":"(?:userInput|jsonPath)","value":"(?:{_SHORT}|\$(?:\.\w+|\.\*|\[\d+\]|\[\*\])+)"'
    rf'|(?:"source":"static",)?"value":{_NO_VALUE})?\}}|":{_NO_VALUE}|"secrets":\{{"items":\['
)
"""Parts of the documented structure in which no literal is named."""
_SUSPICIOUS = "|".join(
    (
        rf"(?i:{CREDENTIAL}_?[^a-z_\n])",
        rf"(?i:{AMBIGUOUS}_?[^a-z0-9_\n])",
        r"[\w.@%+-]:(?:[^\s/]|/[^/])",  # user:password
        r"(?i:(?:hmac|jwt)[\w.]*\(|auth\w* ?=? ?[(\[]|connect(?:ion)?\(|sshpass)",
        r":\\*/\\*/[^/\s\"]*@",  # a URL with a user
        r"(?i:(?:basic|bearer|token|ssws) |curl| -u|thin:)",
        r"(?i:/services/T|/webhooks/|/webhookb2/|/IncomingWebhook/|/bot[0-9]|hooks?[a-z0-9.]*/|/private-|[?&]code=)",
        r'(?i:"classification":"secret")',
        r"\\\\u",  # a letter of JSON within JSON, written as an escape
        f"(?:{_KNOWN_STARTS})",
    )
)


def indexes_to_redact(texts: Sequence[str]) -> list[int]:
    """Indexes of the documents in which `redact` may find something. Others need not be parsed.

    Args:
        texts: JSON without spaces between its parts.
    """
    if sum(map(len, texts)) < _MIN_CHARS:
        return list(range(len(texts)))
    # JSON on one line has no line break. Here one says that a name has no literal.
    without_references = pc.replace_substring_regex(pa.array(texts, pa.binary()), _NO_LITERAL, b"\n")
    found = pc.match_substring_regex(without_references, _SUSPICIOUS)
    return [int(index) for index in pc.indices_nonzero(found).to_pylist()]
