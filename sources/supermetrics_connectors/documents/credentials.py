"""What names a credential, and which values are literal credentials.

The last words of a name decide, in any style of writing: `client_secret`, `clientSecret`, `X-Client-Secret`. How much
evidence the value must give depends on the name. Randomness alone is no evidence, because configurations are full of
hashes, identifiers and pictures.
"""

import re
from functools import lru_cache

MARKER = "[redacted]"
_FLAGS = re.IGNORECASE | re.ASCII | re.DOTALL

# --- Names ------------------------------------------------------------------------------------------------------------

_GAP = "[ _.-]?"
_KEY_OWNERS = (
    "api|access|secret|private|sign(?:ing|ature)|(?:en|de)cryption|crypto(?:graphy)?|cipher|aes|hmac|rsa|ssh|pgp|shared"
    "|auth(?:entication|orization)?|subscription|consumer|app|application|licen[cs]e|master|account|client|functions?"
    "|security|service|storage|webhook|developer|write|user|principal|integration|ingest(?:ion)?|instrumentation"
    "|deploy(?:ment)?|admin|root|partner|merchant|bot|server|gateway|sas|jwt|session|activation|otp"
)
CREDENTIAL = (
    "(?:secrets?|pass?wor[dt]s?|passwd|kennwort|senha|salasana|wachtwoord|pass(?:phrase|code)s?|pwd|tokens?|authorization"
    f"|contrase\\S{{1,3}}a|mot{_GAP}de{_GAP}passe|credentials?|creds|cookies?|jwt|bearer|mnemonic|identified by"
    f"|sess(?:ion)?{_GAP}id|x{_GAP}auth|basic{_GAP}auth|shared{_GAP}access{_GAP}signature|client{_GAP}assertion"
    f"|(?:seed|recovery){_GAP}phrase|otp{_GAP}seed|secure{_GAP}(?:json{_GAP}data|settings|string)|pass{_GAP}keys?|(?:api|user|db|admin|smtp|s?ftp|login|require){_GAP}pass"
    f"|(?:{_KEY_OWNERS}){_GAP}keys?)"
    f"(?:{_GAP}(?:values?|string|plain(?:{_GAP}text)?|base(?:64)?|pem|confirmation))?"
)
AMBIGUOUS = "(?:key|auth|sig|signature|sid|assertion|sas|pass|pw|psk)"
"""How names end. RE2 understands these patterns as well."""
ROOT = re.compile(
    "sec|pass|wor|pw|psk|token|auth|cred|cookie|jwt|bearer|sess|key|seed|sig|sid|sas|assertion|mnemonic|phrase"
    "|identified by|senha|salasana|wachtwoord|contrase|user|log|account|basic"
)
"""Each of the names below, from `credential` to `login`, contains one of these, in lower case."""
_POSITION = (  # the position in a list or a text, the number of a request, how many there may be
    "(?:page|next|previous|forward|backward|continuation|sync|delta|cursor|pagination|scroll|input|output|start(?:ing)?"
    f"|end|[bep]os|pad|unk|sep|cls|mask|stop|client{_GAP}request|change|public{_GAP}key|idempotency|cancell?ation"
    rf"|(?:max|min|num|total|used)(?:{_GAP}\w+)?){_GAP}tokens?"
)
_OTHER_KEYS = (
    "primary|foreign|sort|partition|row|cache|object|public|publishable|site|group|hash|range|unique|idempotency|s3|image"
    r"|file|folder|blob|asset|component|style|project|issue|translation|i18n|react|data|label|message|dedup\w*"
)
_END = r"_?(?:%5D|[\W\d])*\Z"  # `token_2`, `login[password]`, `Authorization: `
_WORD = r"(?:\A|.*[\W_\d])"  # what stands before a whole word
_LABELS = (
    r"(?:labels?|captions?|titles|translations?|i18n|l10n|locales?|messages?|strings|texts|placeholders?|hints?|tooltips?"
    r"|errors?|(?:ar|cs|da|de|el|en|es|fi|fr|he|hi|hu|it|ja|ko|nb|nl|pl|pt|ro|ru|sv|th|tr|uk|vi|zh)(?:[-_][a-z]{2,4})?)\Z"
)

NAMES = (  # kind, names with `_` between their words, exceptions
    # Any literal is a secret.
    ("credential", rf".*{CREDENTIAL}{_END}", rf".*{_POSITION}{_END}|.*(?:checksum|hash|sha\d+)[/_.-]"),
    # A literal that mixes letters with digits or symbols is a secret.
    ("pass", rf"{_WORD}(?:pass|pw|psk)\W*\Z", ""),
    # A literal that looks generated is a secret, and so is the password of `user:password`.
    ("auth", rf"{_WORD}auth(?:entication)?_?\W*\Z", ""),
    # A literal that looks generated is a secret.
    ("ambiguous", rf"{_WORD}{AMBIGUOUS}_?\W*\Z", rf"{_WORD}(?:(?:{_OTHER_KEYS}){_GAP}key|account{_GAP}sid)\W*\Z"),
    # The password of `user:password` is a secret.
    ("login", rf"{_WORD}(?:basic|log[io]ns?|users?|accounts?|user{_GAP}info|userpwd)\W*\Z", ""),
    # The others are no secrets themselves, but say what is one.
    ("headers", r".*headers?\W*\Z", ""),
    ("parameters", r".*(?:param(?:eter)?s|query)\W*\Z", ""),
    ("value", rf"{_WORD}(?:value|val|default|initial|example|v)\W*\Z", r"\W*(?:min|max|null|missing)_"),
    ("text", r"[_#$@]*(?:text|content|data|literal|plain(?:_?text)?|raw|cdata|t)\Z|[_#$@]+\Z", ""),
    ("labels", _LABELS, ""),
)
SECRET_KINDS = ("credential", "pass", "auth", "ambiguous", "login")
"""Kinds of names whose values may be secrets, the most certain first."""
_PATTERNS = [(kind, re.compile(names, _FLAGS), re.compile(others or "(?!)", _FLAGS)) for kind, names, others in NAMES]
_CAMEL_CASE = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_MAX_NAME_CHARS = 200  # the last characters of a longer name decide
_DESCRIBING = re.compile(
    rf"{_WORD}(?:(?P<name>(?:name|key)(?:_value)?|id|header|field|param(?:eter)?|property|attribute|variable|option|setting"
    r"|k|n)|(?P<label>label|title|type|classification))\W*\Z",
    _FLAGS,
)


@lru_cache(maxsize=50_000)
def kind_of(name: str) -> str:
    """The kind of a name in `NAMES`; "" if the name has no meaning here."""
    words = _CAMEL_CASE.sub("_", name[-_MAX_NAME_CHARS:])
    return next((kind for kind, names, others in _PATTERNS if names.match(words) and not others.match(words)), "")


@lru_cache(maxsize=50_000)
def describes(name: str) -> str:
    """How a member of this name names a value beside it: as a "name", as a "label" for people, or not at all."""
    match = _DESCRIBING.match(_CAMEL_CASE.sub("_", name[-_MAX_NAME_CHARS:]))
    return (match.lastgroup or "") if match else ""


# --- Values -----------------------------------------------------------------------------------------------------------

HOLE = "[\U000f0000-\U000ffffd]"
"""A character that stands for a placeholder while a text is searched."""
JSON_PATH = re.compile(r"\$(?:\.{1,2}[\w*-]+|(?:\.\.)?\[(?:[^\[\]]|\[[^\[\]]*\])*\])+", re.ASCII)
PHRASE = re.compile(r"[^\W\d_]+(?:[ '\u2019,.:;!?()/…&-]+[^\W\d_]+)*[ .:;!?…*)]*")
"""Words without a digit, as in a label."""
PLAIN = re.compile(
    r"(?:(?:basic|bearer|token) )?(?:[a-z_$][a-z_.$\[\]|?-]*[.,;:!?]*|(?:[a-z_$]\w*\.)+[a-z_]\w*"
    r"|(?-i:[a-z]+(?:[ _-][a-z]+)+\d?)|[a-z]+(?:[ _-][a-z]+)+)|[\d.,:%-]+",
    _FLAGS,
)
"""What may be words, an identifier of a program or a number."""
_MIXED = re.compile(r"(?=\S*[A-Za-z])(?=\S*[\d!@#$%^&*?~+=])\S{5,}")  # as most passwords are
# as a key among headers, parameters or credentials
_LONG_MIXED = re.compile(r"(?=\S*[a-z])(?=\S*[A-Z])(?=\S*\d)\S{12,}")
_GENERATED = re.compile(
    r"(?=(?:\D*\d){3}|(?=\D*\d)(?:.*?(?<![a-z])[a-z]{1,3}[A-Z]){4})(?:(?=\D*\d)(?=[^A-Z]*[A-Z])(?=[^a-z]*[a-z])[\w.+/=%~-]{20,}|[0-9A-Fa-f]{24,})"
    r"|(?=(?:\D*\d){5})(?:(?:[a-z]{2,8}_)?[0-9a-z]{24,}|[0-9A-Z]{24,})",
    re.ASCII,
)
_SCHEMES = r"(?:basic|bearer|token|digest|apikey|oauth|jwt|negotiate|key) +(?=\S)"
_SCHEME = re.compile(rf"\A{_SCHEMES}", re.IGNORECASE)
_WORDS = re.compile(  # that say what a credential is or where it goes, without separators
    r"(?:headers?|query|body|cookies?|path|url|form|fields?|parameters?|users?|input|names?|basic|bearer|digest|oauth[12]?"
    r"|api|apps?|keys?|access|refresh|id|tokens?|auth|client|secrets?|credentials?|authorization|authentication|code"
    r"|password|pass|pwd|jwt|session|custom|none|null|nil|undefined|true|false|yes|no|required|optional|string|text|number"
    r"|integer|int|bool(?:ean)?|str|any|object|date|datetime|dimension|metric|encrypted|static|json|xpath|read|write|files"
    r"|include|omit|same|origin|cursor|x|private|public|types?|value|default|single|step|grant|service|account|generic|http"
    r"|predefined|negotiate|trace|debug|info|information|warn|warning|error|critical|seconds|minutes|hours|days)+",
    re.IGNORECASE,
)
_FOR_PEOPLE = re.compile(  # `YOUR_API_KEY`, `<token>`, `sk-xxxxxxxx`, `abc...`
    r"\D*(?<![A-Za-z])(?i:your|insert|enter|replace|paste|here|example|dummy|change_?me|placeholder|todo|redacted)(?![A-Za-z])\D*\d?"
    r"|your[A-Z][A-Za-z]*|[\w.-]*([xX*•.])\1{3,}[\w.-]*|[\w-]{0,16}(?:\.{3}|…)|\W{1,3}|[*xX.•·_-]{3,}",
    re.DOTALL,
)
_VERSION = (
    r"(?:[\^~<>=!]{1,3} ?|v)?\d{1,5}(?:\.(?:\d{1,5}|[xX*])){1,3}(?:[-+.]?(?:alpha|beta|rc|next|canary|dev|post|pre|a|b)"
    r"[-.\d]*)?(?:\+[\w.]+)?|(?:[\^~<>=!]{1,3} ?|v)\d{1,5}"
)
_REFERENCE = re.compile(  # to where the value is kept; settings; placeholders of other programs
    r"sec_[0-9A-Fa-f]{6,16}"
    rf"|{JSON_PATH.pattern}"
    r"|[A-Za-z][A-Za-z0-9+.-]*:/\S+|(?:arn|urn|npm|workspace|file|link|github|vault|env):\S+"
    r"|[\w./-]*#(?:/[^\s/]+)+"  # `#/definitions/Token`
    r"|[~.]{0,2}(?:/(?:[a-z][a-z_.-]*|v\d))+|(?:/[A-Za-z_.-]+){2,}"  # `/oauth/token`, `/Users/Shared`
    r"|[A-Za-z_-]+(?:/[A-Za-z_-]+)+(?:/\d+)?(?:#\w+)?"  # `secret/data/db#password`
    r"|[\w./\\:~-]+\.(?:pem|key|crt|p12|pfx|json|ya?ml|txt|env)"
    r"|\[[a-z_ -]+\]{1,2}|\[\w+\(.*\]|<[^<>]+>|\{[A-Za-z_][\w. \[\]\"']*\}|\$\([\w. -]+\)|%[A-Z_]{2,}%"
    r"|(?:%(?:\(\w+\))?s:?)+|__\w+__|[:@][a-z_]+|\?|\$[A-Za-z_]\w*|\$[\w.]*[a-z]\.\w[\w.]*|@[\w.]+\(.*|(?:ENC|enc)[\[(].*"
    rf"|\{{cipher\}}.*|!\w+ .*|(?:{_VERSION})(?:(?: ?(?:\|\||,|-) ?| )(?:{_VERSION}))*|latest|\*"
    r"|\d+(?:\.\d+)? ?(?:ms|s|m|h|d|sec|min|minutes?|hours?|days?)"
    r"|sha\d{1,3}[:-]\S+|#[0-9A-Fa-f]{3,8}"
    r"|-----BEGIN (?:[A-Z0-9]+ ){0,3}(?:PUBLIC KEY|CERTIFICATE)-----.*|ssh-\w+ AAAA\S+"
    r"|MI(?:GfMA0GCSqGSIb3DQEBAQUAA4GN|I[BC]IjANBgkqhkiG9w0BAQEFAAOCA)\S+",  # a public RSA key
    re.ASCII | re.DOTALL,
)
_CODE = re.compile(  # `settings.password`, `vault.read('db')`, `" + token + "`
    r"[A-Za-z_$]\w*(?:(?:\?\.|\.|->|::)[A-Za-z_]\w*)*[(\[].*[)\]]\S*|[A-Za-z_$]+(?:(?:\?\.|\.|->|::)[A-Za-z_]+)+"
    r"|[+.&]\s?.*\s?[+.&]|[+,;)].*[()\[\]{};].*|/\*.*",
    re.ASCII | re.DOTALL,
)
_SENTENCE = re.compile(r"(?:[\"'(]*(?:[^\W\d_][^\W\d_'\u2019/-]*|\d{1,4})[\"').,:;!?…]*(?:\s+(?:- +)?|\Z))+")
_PROSE_WORD = re.compile(r"(?:^|(?<=\s))[^\W\d_]+[.,:;]?(?=\s|\Z)")
_MENTION = re.compile(
    rf"(?<![a-z]){CREDENTIAL}(?![a-z])|\b(?:is|are|be|the|your|this|must|please|should|will|for|with)\b", _FLAGS
)
_SEPARATORS = re.compile(r"[\W_]")
_TEMPLATE = re.compile(rf"[\w.-]+\s*=[\"']?(?={HOLE})|{HOLE}|{_SCHEMES}", _FLAGS)
_LOGIN = re.compile(r"(?P<user>(?:^|(?<=[\s,;]))[\w.@%+-]+:)(?P<password>(?!//)[^\s,;]+)", re.ASCII)
_LOGINS = re.compile(r"(?:[\w.@%+-]+:(?!//)[^\s,;]+(?:[\s,;]+|\Z))+", re.ASCII)


def is_literal(text: str) -> bool:
    """Whether a text, in which placeholders are holes, is or holds a value that somebody typed."""
    text = _SCHEME.sub("", text.strip().lstrip("=").strip("\"'` "))
    if not text or text == MARKER or _REFERENCE.fullmatch(text) or _FOR_PEOPLE.fullmatch(text) or _CODE.fullmatch(text):
        return False
    if rest := _TEMPLATE.sub(" ", text) if re.search(HOLE, text) else "":
        return bool(_SEPARATORS.sub("", rest))
    if " " in text and (_SENTENCE.fullmatch(text) or len(_PROSE_WORD.findall(text)) >= 6) and _MENTION.search(text):
        return False
    letters = _SEPARATORS.sub("", text)
    is_words = len(letters) <= 60 and _WORDS.fullmatch(letters) and not re.search(r"[^\w .:/,|-]", text)
    is_position = text.isidentifier() and re.search(rf"{_POSITION}\Z", text, _FLAGS)
    is_variable = letters.isalpha() and text.isupper() and text.isidentifier() and kind_of(text) == "credential"
    return not (is_words or is_position or is_variable)


def without_secret(text: str, name: str, kind: str) -> str:
    """The value of a name with the marker in the place of a secret.

    Args:
        text: The value, with holes in the place of placeholders.
        name: What the value is called.
        kind: The kind of this name, or one that overrides it.
    """
    if kind == "credential":
        is_count = text.isdecimal() and name.rstrip("_ :\"'").lower().endswith("s")
        repeats = _SEPARATORS.sub("", text).lower() == _SEPARATORS.sub("", name).lower()
        return text if is_count or repeats or not is_literal(text) else MARKER
    is_secret = (
        (kind == "pass" and _MIXED.fullmatch(text))
        or (kind in ("ambiguous", "auth", "key") and _GENERATED.fullmatch(text))
        or (kind == "key" and _LONG_MIXED.fullmatch(text))
    )
    if is_secret and is_literal(text):
        return MARKER
    if kind in ("login", "auth") and ":" in text and _LOGINS.fullmatch(text) and is_literal(text):
        return _LOGIN.sub(_without_password, text)
    return text


def _without_password(match: re.Match[str]) -> str:
    is_secret = _MIXED.fullmatch(match["password"]) and is_literal(match["password"])
    return match["user"] + MARKER if is_secret else match[0]


_RANDOM = r"(?=[\w.-]{0,99}?(?:\d|[a-z][A-Z]))[\w.-]{15,}\w"
_PREFIXES = (
    r"(?:gh[opsru]_|github_pat_|gl(?:pat|rt|dt|ptt)-|gl(?:sa|c)_|xox[abeoprs]-|xapp-|[rs]k_(?:live|test|prod)_|whsec_|hf_"
    r"|GOCSPX-|ya29[.]|sq0[a-z]{3}-|shp(?:at|ca|pa|ss)_|npm_|pypi-|do[opr]_v1_|hv[bs][.]|lin_api_|ntn_|PMAK-|figd_|gsk_|r8_"
    r"|sntry[su]_|NRAK-|dckr_pat_|pscale_(?:tkn|pw)_|apify_api_|tvly-|xkeysib-|CFPAT-|sbp_|dp[.]pt[.]|hca[a-z]k_|ATATT3"
    r"|sk-(?:proj|svcacct|admin|ant|or|lf)-|pat-(?:na|eu)\d-)"
)
KNOWN = (
    (_PREFIXES, _RANDOM),
    ("[rs]k_(?:live|test|prod)_", r"[A-Za-z0-9]{12,}"),
    ("sk-[A-Za-z0-9]{4}", r"(?=[A-Za-z0-9]*\d)[A-Za-z0-9]{20,}"),
    ("A(?:KIA|SIA|BIA|CCA)[A-Z0-9]", r"[A-Z0-9]{15}(?!\w)"),
    ("AIza", r"[\w-]{35}"),
    ("SG[.]", r"[\w-]{16,}\.[\w-]{16,}"),
    ("EAA[A-Za-z0-9]{9}", r"[A-Za-z0-9]{71,}"),
    ("dapi[0-9a-f]", r"[0-9a-f]{31}"),
    ("key-[0-9a-f]", r"[0-9a-f]{31}"),
    ("SK[0-9a-f]{4}", r"[0-9a-f]{28}"),
    ("pat[A-Za-z0-9]{14}[.]", r"[0-9a-f]{64}"),
    ("[0-9]{8,10}:AA", r"[\w-]{33}"),  # Telegram
    ("(?:otok|api)_", r"(?=[A-Za-z]*\d)[A-Za-z0-9]{24,}"),  # Supermetrics
    ("eyJ[A-Za-z0-9_-]{8}", r"(?<![\w-]eyJ[\w-]{8})[\w-]{2,}\.[\w-]{10,}(?:\.[\w-]*){1,3}"),  # a JSON Web Token
    ("-----BEGIN ", r"(?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END[^-]*-----|\Z)"),
)
"""How known credentials begin, in a pattern that RE2 understands as well, and how they go on."""
