"""Names of connectors as names of files that every file system takes, and back."""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import PurePosixPath

_MAX_CHARS = 200
"""Characters of one part of a path, of the 255 that file systems take."""
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])", re.IGNORECASE)
"""Devices on Windows, also with an extension."""
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")
FILE = re.compile(r"-?[0-9]+(/[A-Za-z0-9_%-]+)+\.json")
"""What `file_names` makes."""


Key = tuple[int, str]
"""A connector: its team and identifier."""


def file_names(keys: Iterable[Key]) -> dict[Key, PurePosixPath]:
    """The file of each connector, relative to the export's folder: `<team>/<identifier>.json`.

    Characters other than ASCII letters, digits, `-` and `_` become `%` and the hexadecimal digits of their UTF-8 bytes,
    as in a URL. So do the first letter of a name that Windows reserves, and capitals of names that differ in nothing
    else within a team. A long name continues in a folder, between `%` and `%`.

    Args:
        keys: The connectors.
    """
    plain = {(team_id, identifier): (team_id, _encoded(identifier).lower()) for team_id, identifier in keys}
    spellings = Counter(plain.values())
    return {
        key: PurePosixPath(str(key[0]), *_parts(_encoded(key[1], spellings[name] > 1))) for key, name in plain.items()
    }


def _encoded(identifier: str, is_ambiguous: bool = False) -> str:
    unsafe = re.compile(f"{_UNSAFE.pattern}|[A-Z]") if is_ambiguous else _UNSAFE
    encoded = unsafe.sub(lambda found: _percent(found[0]), identifier)
    if _RESERVED.fullmatch(encoded):
        encoded = _percent(encoded[0]) + encoded[1:]
    return encoded or "%"


def _percent(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode(errors="surrogatepass"))


def _parts(encoded: str) -> list[str]:
    parts = [encoded[start : start + _MAX_CHARS] for start in range(0, len(encoded), _MAX_CHARS)]
    return f"{'%/%'.join(parts)}.json".split("/")
