"""What names a credential, and which texts are one.

A name tells by its last words, in whatever style it is written. A text tells by what it is not, if it stands under such
a name (no placeholder, no reference, no word for people to read), and by how it begins, wherever it stands: the issuers
of keys give them prefixes so that they can be found. Randomness alone tells nothing here: configurations are full of
hashes, identifiers and pictures, which are as random as a key.
"""

import re

MARKER = "[redacted]"

_ANY_CASE = re.IGNORECASE | re.ASCII
_GAP = "[ _.-]?"
CREDENTIAL = (
    "(?:secrets?|passwor[dt]s?|passwd|pass(?:phrase|code)s?|pwd|tokens?|authorization|credentials?|creds|cookies?|jwt|bearer"
    f"|session{_GAP}id|x{_GAP}auth|basic{_GAP}auth|pass{_GAP}keys?|(?:api|user|db|admin|smtp|s?ftp|login){_GAP}pass"
    "|(?:api|access|secret|private|signing|encryption|shared|auth|subscription|consumer|app|application|licen[cs]e"
    f"|master|account|client|functions?|security|hmac|service|storage|webhook|developer){_GAP}keys?)"
    f"(?:{_GAP}(?:values?|string|plain(?:{_GAP}text)?|base64|pem|confirmation))?"
)
"""How the name of a credential ends. Understood by RE2 as well."""
AMBIGUOUS = "(?:key|auth|pass|sig|signature|sid)"
"""How a name ends that often means something else. Understood by RE2 as well."""
ROOTS = (
    "secret",
    "pass",
    "pwd",
    "token",
    "auth",
    "cred",
    "cookie",
    "jwt",
    "bearer",
    "session",
    "key",
    "sig",
    "sid",
)
"""Each of these names has one of these in it, in lower case."""

# A name may end in a number, a bracket, a colon or a space: `token_2`, `login[password]`, `Authorization: `.
_END = r"_?(?:%5D|[\W\d])*\Z"
_IS_CREDENTIAL = re.compile(CREDENTIAL + _END, _ANY_CASE)
_IS_AMBIGUOUS = re.compile(rf"\W*(?:(?:.*[\W_])?signature|{AMBIGUOUS})_?\W*\Z", _ANY_CASE)
_IS_PLACE_IN_A_LIST = re.compile(
    "(?:page|next|previous|forward|backward|continuation|sync|delta|cursor|pagination|scroll|input|output|start(?:ing)?)"
    f"{_GAP}tokens?{_END}",
    _ANY_CASE,
)
_IS_HASH = re.compile(r".*(?:checksum|hash|sha\d+)[/_.-]", _ANY_CASE)  # `checksum/secret`
_NAMES_HEADERS = re.compile(r"headers?\W*\Z", _ANY_CASE)
VALUES = ("value", "default", "defaultvalue", "initial", "initialvalue", "currentvalue")
"""Members that hold what the rest of an object describes: their letters, in lower case."""
_NAMES_TEXT = re.compile(r"[_#$@]*(?:text|content|data|literal|plain(?:_?text)?|raw|cdata|t|)\Z", _ANY_CASE)
_NAMES_LABELS = re.compile(
    r"labels?|captions?|titles|translations?|i18n|l10n|locales?|messages?|strings|texts|placeholders?|hints?|tooltips?"
    r"|errors?|(?:ar|cs|da|de|el|en|es|fi|fr|he|hi|hu|it|ja|ko|nb|nl|pl|pt|ro|ru|sv|th|tr|uk|vi|zh)(?:[-_][a-z]{2,4})?",
    _ANY_CASE,
)


_LONGEST_NAME = 200
"""Letters. Of a longer name, these last ones tell."""


class _Names(dict[str, str]):
    """What each name that was met says of what has it: the kinds of `kind_of`."""

    def __missing__(self, name: str) -> str:
        kind = _kind(name[-_LONGEST_NAME:])
        if len(self) < 100_000 and len(name) <= _LONGEST_NAME:
            self[name] = kind
        return kind


def _kind(name: str) -> str:
    if _IS_CREDENTIAL.search(name):
        return "" if _IS_PLACE_IN_A_LIST.search(name) or _IS_HASH.match(name) else "credential"
    if _IS_AMBIGUOUS.match(name):
        return "ambiguous"
    if _NAMES_HEADERS.search(name):
        return "headers"
    if letters(name) in VALUES:
        return "value"
    if name and _NAMES_TEXT.match(name):
        return "text"
    return "labels" if _NAMES_LABELS.fullmatch(name) else ""


_KINDS = _Names()
kind_of = _KINDS.__getitem__
"""What a name says of what has it.

`credential`; `ambiguous`, one if it looks generated; `headers`; `value`, that of the name beside it; `text`, that of
the object that it is in; `labels`, words for people; or nothing in particular.
"""


def letters(text: str) -> str:
    """A text without separators, in lower case."""
    return re.sub(r"[\W_]", "", text).lower()


def names_credential(name: str) -> bool:
    """Whether what has this name is a credential, in any case and with any separators."""
    return _KINDS[name] == "credential"


# --- Texts that are no credential, whatever their name ----------------------------------------------------------------

PLACEHOLDER = r"\{\{.{0,500}?\}\}|\$\{[^{}]{0,500}\}|%7[Bb]%7[Bb].{0,500}?%7[Dd]%7[Dd]"
"""What the Connector Builder, or a shell, puts something else for."""
JSON_PATH = re.compile(r"\$(?:\.{1,2}[\w*-]+|(?:\.\.)?\[(?:[^\[\]]|\[[^\[\]]*\])*\])+", re.ASCII)

_PLACEHOLDER = re.compile(PLACEHOLDER, re.DOTALL)
_SCHEMES = frozenset(["basic", "bearer", "token", "digest", "apikey", "oauth", "jwt", "negotiate", "key"])
_ASSIGNED = re.compile(r"([\w.-]+)\s*=")
_WORDS = re.compile(
    r"headers?|query|body|cookies?|path|url|form|field|parameter|user[_ ]?input|user|input|basic|bearer|digest"
    r"|oauth[12]?|single_step_oauth2|api[ _-]?key|(?:access_|refresh_|id_)?token|client_secret|client_credentials"
    r"|authorization_code|password|secret|credentials|authorization|jwt|session|custom|none|null|true|false|yes|no|required|optional"
    r"|string!?|text|number|integer|int!?|id!?|boolean!?|date|datetime|dimension|metric|encrypted|static|json|jsonpath"
    r"|xpath|include|omit|same-origin|x-[a-z-]+|cursor",
    re.IGNORECASE,
)
"""What says where a credential goes or what it is, and so is none."""

_OPERATOR = r"(?:[\^~<>=!]{1,3} ?|v)"
_NUMBERS = (
    r"\d{1,5}(?:\.(?:\d{1,5}|[xX*])){1,3}"
    r"(?:[-+.]?(?:alpha|beta|rc|next|canary|dev|post|pre|a|b)[-.\d]*)?(?:\+[\w.]+)?"
)
_VERSION = rf"(?:{_OPERATOR}(?:{_NUMBERS}|\d{{1,5}})|{_NUMBERS})"
_REFERENCE = re.compile(
    r"sec_[0-9A-Fa-f]{6,16}"
    rf"|{JSON_PATH.pattern}"
    r"|[A-Za-z][A-Za-z0-9+.-]*://\S+|(?:arn|urn|npm|workspace|file|link|github):\S+"
    r"|[\w./-]*#(?:/[^\s/]+)+"  # `#/definitions/Token`
    r"|\.{0,2}(?:/(?:[a-z][a-z_-]*|v\d))+"  # `/oauth/token`
    r"|[\w./-]+\.(?:pem|key|crt|json|ya?ml)"
    r"|\[[a-z_ -]+\]{1,2}|<[\w .:-]+>|\{[A-Za-z_][\w.]*\}|\$[A-Z_]{2,}|%[A-Z_]{2,}%|:[a-z_]+|\?"  # of other programs
    r"|(?i:your|insert|enter)(?:[ _-][A-Za-z _-]+)?|[*xX.•·_-]{3,}|\W{1,3}"
    rf"|{_VERSION}(?:(?: ?(?:\|\||,|-) ?| ){_VERSION})*|latest|\*"
    r"|sha\d{1,3}[:-]\S+|#[0-9A-Fa-f]{3,8}"
    r"|-----BEGIN (?:[A-Z0-9]+ ){0,3}(?:PUBLIC KEY|CERTIFICATE)-----.*|ssh-\w+ AAAA\S+"
    r"|MI(?:GfMA0GCSqGSIb3DQEBAQUAA4GN|I[BC]IjANBgkqhkiG9w0BAQEFAAOCA)\S+",  # a public RSA key
    re.ASCII | re.DOTALL,
)
_VARIABLE = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+(?P<call>[(\[].*)?", re.ASCII | re.DOTALL)
_PHRASE = re.compile(r"[^\W\d_]+(?:[ '\u2019,.:;!?()/…&-]+[^\W\d_]+)*[ .:;!?…*)]*")
_MENTION = re.compile(rf"(?<![A-Za-z]){CREDENTIAL}(?![A-Za-z])", _ANY_CASE)


def is_literal(text: str) -> bool:
    """Whether a text that should be a placeholder is, or holds, something else."""
    text = without_scheme(text.strip().strip("\"'"))
    if not text or text == MARKER or _WORDS.fullmatch(text) or _REFERENCE.fullmatch(text) or _is_place(text):
        return False
    rest = _PLACEHOLDER.sub(" ", text)
    if rest == text:
        variable = _VARIABLE.fullmatch(text)  # `settings.password`, `vault.read('db')`
        is_variable = variable is not None and (variable["call"] is not None or names_credential(text))
        is_sentence = " " in text and is_phrase(text) and _MENTION.search(text)  # `Forgot your password?`
        return not (is_variable or is_sentence)
    rest = _ASSIGNED.sub(lambda match: " " if _may_be_assigned(match[1]) else match[0], rest)
    return any(word.lower() not in _SCHEMES for word in re.findall(r"[^\W_]+", rest))


def is_phrase(text: str) -> bool:
    """Whether a text consists of words without a digit, as a label does."""
    return bool(_PHRASE.fullmatch(text))


def _is_place(text: str) -> bool:
    """Whether a text is the name of a place in a list, as `nextPageToken` is."""
    return text.isidentifier() and bool(_IS_PLACE_IN_A_LIST.search(text))


def without_scheme(text: str) -> str:
    """What stands behind `Basic`, `Bearer` and the like; the whole text if none of these begins it."""
    scheme, _, rest = text.partition(" ")
    return rest.strip() if scheme.lower() in _SCHEMES and rest else text


def _may_be_assigned(name: str) -> bool:
    return names_credential(name) or name.lower().startswith("oauth_")


# --- Texts that are one, whatever their name --------------------------------------------------------------------------

_GENERATED = re.compile(
    r"(?=(?:\D*\d){3})(?:(?=[^A-Z]*[A-Z])(?=[^a-z]*[a-z])[\w.+/=%~-]{20,}|[0-9A-Fa-f]{24,})"
    r"|(?=(?:\D*\d){5})(?:[0-9a-z]{24,}|[0-9A-Z]{24,})",
    re.ASCII,
)
KNOWN = (
    ("gh[opsru]_", r"[A-Za-z0-9]{30,}"),
    ("github_pat_", r"\w{22,}"),
    ("glpat-", r"[\w-]{20,}"),
    ("xox[abeoprs]-", r"[\w-]{15,}"),
    ("xapp-", r"[\w-]{15,}"),
    ("[rs]k_(?:live|test|prod)_", r"[A-Za-z0-9]{12,}"),
    ("whsec_", r"[\w+/=]{20,}"),
    ("sk-(?:proj|svcacct|admin|ant)-", r"[\w-]{20,}"),
    ("A(?:KIA|SIA|BIA|CCA)", r"[A-Z0-9]{16}(?!\w)"),
    ("AIza", r"[\w-]{35}"),
    ("ya29[.]", r"[\w-]{20,}"),
    ("GOCSPX-", r"[\w-]{20,}"),
    ("SG[.]", r"[\w-]{16,}\.[\w-]{16,}"),
    ("EAA", r"[A-Za-z0-9]{80,}"),
    ("sq0[a-z]{3}-", r"[\w-]{22,}"),
    ("shp(?:at|ca|pa|ss)_", r"[0-9A-Fa-f]{32}"),
    ("npm_", r"[A-Za-z0-9]{36}"),
    ("pypi-AgEI", r"[\w-]{50,}"),
    ("do[opr]_v1_", r"[0-9a-f]{64}"),
    ("dapi", r"[0-9a-f]{32}"),
    ("hv[bs][.]", r"[\w-]{24,}"),
    ("lin_api_", r"[A-Za-z0-9]{40}"),
    ("ntn_", r"[A-Za-z0-9]{40,}"),
    ("PMAK-", r"[0-9a-f]{24}-[0-9a-f]{34}"),
    ("pat-(?:na|eu)", r"\d-[0-9a-f-]{36}"),
    ("key-", r"[0-9a-f]{32}"),
    ("SK", r"[0-9a-f]{32}"),
    ("(?:otok|api)_", r"(?=[A-Za-z]*\d)[A-Za-z0-9]{24,}"),  # Supermetrics' own
    ("eyJ", r"(?<![\w-]eyJ)[\w-]{10,}\.[\w-]{10,}(?:\.[\w-]*){1,3}"),  # a JSON Web Token
    ("-----BEGIN ", r"(?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END[^-]*-----|\Z)"),
)
"""How known credentials begin, which RE2 understands as well, and how they go on."""
KNOWN_IN_PATHS = (
    ("hooks[.]slack[.]com/", r"(?:services|workflows|triggers)/", r"[\w/-]+"),
    ("/api/webhooks/", "", r"\d+/[\w-]+"),  # Discord
    ("/webhookb2/", "", r"[\w@/-]+"),  # Microsoft Teams
    ("/hooks/catch/", "", r"[\w/-]+"),  # Zapier
    ("api[.]telegram[.]org/", "bot", r"\d+:[\w-]+"),
    ("[?&]code=", "", r"(?=(?:[^\d&]*\d){3})[\w%/+=.-]{20,}"),  # Azure Functions
    ("hooks?[a-z0-9.]*/", r"(?:[\w-]+/){0,4}?", r"(?=[\w-]*\d)(?=[\w-]*[A-Za-z])[\w-]{16,}"),
)
"""Web addresses with a credential in their path: what tells them, for RE2; what else is before it; and it."""


def looks_generated(text: str) -> bool:
    """Whether no person made up a text."""
    return bool(_GENERATED.fullmatch(text))
