"""What is remembered per team between runs, and what follows from it: which rows to write, which to remove.

The cursor of a team is not one high-water mark but a fingerprint a connector: its `updated_at` and a digest of its
content, kept in dlt's resource state (which travels with the load package, so a load that failed moves nothing).
A connector is loaded when its fingerprint is not the remembered one. That loads all that `updated_at` ≥ mark would
(a newer `updated_at` is another fingerprint) and what a mark would miss or repeat: two edits on one day under
date-only timestamps, an old connector shared late, a record without `updated_at`, a change that moved no clock, and
the unchanged connectors at the mark itself.

Nothing here knows of dlt or HTTP.
"""

import hashlib
import zlib
from base64 import b64decode, b64encode
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from datetime import datetime

import orjson

from .listing import Record, canonical_json

Fingerprints = dict[str, str]
"""connector_identifier: fingerprint, for one team."""


WHOLE_TEAM = ""
"""Stands for every connector of a team among identifiers to delete. No connector has it: the API's are not empty.

Among fingerprints it says that any row of the team may be stale, and that a complete listing has to replace them all.
"""
FORGOTTEN: Fingerprints = {WHOLE_TEAM: ""}
"""What counts as remembered of a team that is not: no connector, but rows of any may be there, from a load that was
interrupted or from another pipeline."""
NO_CONFIGURATION = "-"
"""The fingerprint of the configuration of a connector that was listed without one though they were asked for."""


class Memory(MutableMapping[str, Fingerprints]):
    """What a table's resource state remembers: fingerprints by team id as text.

    A team's are one text, their JSON compressed: dlt copies, looks through, parses and compresses a state as a whole,
    several times a run, and strings by the connector were most of what a large run took (see benchmarks/README.md).

    Args:
        state: Where it is kept. What 0.1.0 left there, a dictionary a team, is read as well.
    """

    def __init__(self, state: "dict[str, str | Fingerprints]") -> None:
        self._state = state

    def __getitem__(self, team_id: str) -> Fingerprints:
        kept = self._state[team_id]
        return dict(orjson.loads(zlib.decompress(b64decode(kept)))) if isinstance(kept, str) else kept

    def __setitem__(self, team_id: str, fingerprints: Fingerprints) -> None:
        self._state[team_id] = b64encode(zlib.compress(canonical_json(fingerprints), 1)).decode()

    def __delitem__(self, team_id: str) -> None:
        del self._state[team_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._state)

    def __len__(self) -> int:
        return len(self._state)


@dataclass(frozen=True)
class Difference:
    """What a listing changes against the one before.

    Attributes:
        changed: Identifiers to write: they are new, or their fingerprint is another.
        removed: Identifiers that a complete listing no longer has.
        fingerprints: What to remember.
        rewrite: Whether all of the team's rows make way for what is written.
    """

    changed: list[str]
    removed: list[str]
    fingerprints: Fingerprints
    rewrite: bool = False

    @classmethod
    def none(cls, fingerprints: Fingerprints) -> "Difference":
        """Nothing changes and the same is remembered."""
        return cls([], [], fingerprints)

    @property
    def to_delete(self) -> list[str]:
        """Identifiers whose rows are to go without another in their place."""
        return [WHOLE_TEAM] if self.rewrite else self.removed

    def __bool__(self) -> bool:
        return bool(self.changed or self.to_delete)


def difference(before: Fingerprints, now: Fingerprints, complete: bool, full_refresh: bool = False) -> Difference:
    """Compares a team's fingerprints with those remembered.

    Args:
        before: What is remembered.
        now: What was listed.
        complete: Whether the listing is all there is; what an incomplete one lacks is kept.
        full_refresh: Whether to write all that was listed, and to delete all else if the listing is complete.
    """
    rewrite = full_refresh or (WHOLE_TEAM in before and WHOLE_TEAM not in now)
    changed = [name for name, fingerprint in now.items() if rewrite or before.get(name) != fingerprint]
    if not complete:
        return Difference(changed, [], {**before, **now})
    return Difference(changed, [name for name in before if name not in now and name != WHOLE_TEAM], now, rewrite)


def connector_fingerprint(connector: Record) -> str:
    """`updated_at` (empty when there is none) and 64 bits over all fields but the configuration."""
    fields = dict(connector)
    fields.pop("configuration", None)
    updated_at = connector.get("updated_at")
    return f"{updated_at.isoformat() if updated_at else ''} {_digest(canonical_json(fields), 8)}"


def fingerprint_time(fingerprint: str) -> datetime | None:
    """The `updated_at` in a connector's fingerprint."""
    updated_at = fingerprint.partition(" ")[0]
    return datetime.fromisoformat(updated_at) if updated_at else None


def configuration_fingerprint(configuration: Record) -> str:
    """The version and content. The clocks are left out: they may move without the content, and stay when it changes."""
    return _digest(f"{configuration.get('version')} {configuration['content_hash']}".encode(), 8)


def row_version(*parts: object) -> str:
    """Identifies one version of one connector's configuration among all rows of the table: 128 bits, hexadecimal."""
    return _digest("\n".join(map(str, parts)).encode(), 16)


def _digest(data: bytes, size: int) -> str:
    return hashlib.blake2b(data, digest_size=size).hexdigest()
