"""What is stored of teams, logs and secrets, and the rows that a run adds to it: differences, as everywhere.

The mark of a connector's log is the newest entry that its table holds. When a thing was asked for last, and so what is
next when the rate limit does not allow for everything, is what the table `fetches` holds.
"""

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TypeVar

from ..api.checks import Record
from ..api.listing import LONG_AGO, Listing
from ..api.neighbours import Endpoint, Fetched, Wish
from ..documents.json_text import canonical_json
from ..settings import Settings
from .contracts import CONNECTOR_LOGS, CONNECTOR_SECRETS, FETCHES, TEAMS, Contract
from .stored import MissingTableError, Reader, as_instant

logger = logging.getLogger(__name__)

Key = tuple[int, str]
"""team_id and connector_identifier."""

_AT_ONCE = 10_000
"""Log entries, or answers to other wishes, that become one Arrow table."""
TRow = TypeVar("TRow")


@dataclass
class Part:
    """Answers whose rows become one Arrow table each.

    Attributes:
        found: The answers.
        entries: Log entries that are not stored yet.
        last: Whether these are the last answers of the run.
    """

    found: list[Fetched] = field(default_factory=list)
    entries: list[Record] = field(default_factory=list)
    last: bool = False

    @property
    def is_full(self) -> bool:
        """Whether it should be written."""
        return max(len(self.entries), len(self.found)) >= _AT_ONCE


@dataclass
class Neighbours:
    """What the tables hold of the teams of a run, read when it is needed, once; and what the run finds.

    Attributes:
        settings: What is asked for.
        reader: Makes what reads the dataset; None where nothing is compared.
        dropped: Tables that will be gone when the rows arrive.
        full_refresh: Whether rows are written even if they are there.
        names: What teams are called, by id, as far as that is known.
        reason: Why something was left for a later run, in words; None if nothing was.
        syncs: The rows of `team_syncs`, by team: they are whole when the last answer is in.
    """

    settings: Settings
    reader: Callable[[], Reader] | None
    dropped: frozenset[str] = frozenset()
    full_refresh: bool = False
    reason: str | None = None
    names: dict[int, str] = field(default_factory=dict)
    syncs: dict[int, Record] = field(default_factory=dict)
    _missing: set[str] = field(default_factory=set)
    _listed: dict[int, list[str]] = field(default_factory=dict)
    _whole: set[int] = field(default_factory=set)
    _postponed: set[Key] = field(default_factory=set)
    _failing: set[Key] = field(default_factory=set)

    # --- what is stored -----------------------------------------------------------------------------------------------

    @cached_property
    def newest(self) -> dict[Key, datetime]:
        """The time of each connector's newest stored log entry."""
        found = self._ask(
            CONNECTOR_LOGS, lambda reader: list(reader.newest(CONNECTOR_LOGS, "log_time", self.settings.team_ids))
        )
        return {(team_id, name): at for team_id, name, at in found if at is not None}

    @cached_property
    def _teams(self) -> dict[int, list[str]]:
        """The content hashes of the stored rows of each team; more than one where a row is doubled."""
        held: dict[int, list[str]] = {}
        for row in self._rows(TEAMS, "team_id", "name", "content_hash"):
            held.setdefault(row["team_id"], []).append(row["content_hash"])
            self._know(row)
        return held

    @cached_property
    def _secrets(self) -> dict[Key, dict[str, list[str | None]]]:
        """The stored names of each connector's secrets, by placeholder; more than one where a row is doubled."""
        held: dict[Key, dict[str, list[str | None]]] = {}
        for row in self._rows(CONNECTOR_SECRETS, *CONNECTOR_SECRETS.key, "secret_name"):
            names = held.setdefault(_key(row), {}).setdefault(row["secret_placeholder"], [])
            names.append(row["secret_name"])
        return held

    @cached_property
    def _fetches(self) -> dict[tuple[int, str, str], datetime]:
        """When each thing was asked for last."""
        rows = self._rows(FETCHES, *FETCHES.key, "fetched_at")
        return {(*_key(row), row["endpoint"]): as_instant(row["fetched_at"]) or LONG_AGO for row in rows}

    def _rows(self, contract: Contract, *columns: str) -> list[Record]:
        return self._ask(contract, lambda reader: list(reader.every(contract, columns, self.settings.team_ids)))

    def _ask(self, contract: Contract, read: Callable[[Reader], list[TRow]]) -> list[TRow]:
        if self.reader is None or contract.name in self.dropped:
            return []
        try:
            return read(self.reader())
        except MissingTableError:
            self._missing.add(contract.name)
            return []

    def is_missing(self, contract: Contract) -> bool:
        """Whether a table is not there at all."""
        getattr(self, _HELD[contract.name])
        return contract.name in self._missing

    # --- what is asked for --------------------------------------------------------------------------------------------

    def note(self, listings: Iterable[Listing]) -> None:
        """Takes in which connectors there are."""
        for listing in listings:
            if not listing.error:
                self._listed[listing.team_id] = list(listing.connectors)
            if listing.complete:
                self._whole.add(listing.team_id)

    def wishes(self) -> list[Wish]:
        """What to ask for: what was not asked for the longest comes first, and of many teams each has its turn."""
        asked = {"team": self.settings.include_teams, "secrets": self.settings.include_secrets}
        asked["logs"] = self.settings.include_logs
        ranked = [
            ((self._fetches.get((team_id, name, endpoint), LONG_AGO), turn, rank), Wish(endpoint, team_id, name))
            for team_id, names in self._listed.items()
            for turn, name in enumerate(("", *names))
            for rank, endpoint in enumerate(_ENDPOINTS)
            if asked[endpoint] and (endpoint == "team") == (name == "")
        ]
        return [wish for _, wish in sorted(ranked, key=lambda each: each[0])]

    # --- what is found ------------------------------------------------------------------------------------------------

    def parts(self, answers: Iterable[Fetched]) -> Iterator[Part]:
        """Yields what was answered, in parts that fit the memory; the last one tells of the run."""
        part = Part()
        for found in answers:
            self._count(found)
            part.found.append(found)
            for entries in found.entries.pages() if found.entries else ():
                part.entries.extend(entries)
                if part.is_full:
                    yield self._new_only(part)
                    part = Part()
        part.last = True
        yield self._new_only(part)

    def _count(self, found: Fetched) -> None:
        key = found.wish.team_id, found.wish.connector_identifier
        if found.status in ("postponed", "interrupted"):
            self._postponed.add(key)
            self.reason = self.reason or found.note
        if found.error:
            self._failing.add(key)
            logger.info("The %s of %s could not be had: %s", found.wish.endpoint, found.wish, found.error)

    def _new_only(self, part: Part) -> Part:
        """Without the log entries that are stored: of those that are not newer than all stored ones, by their ids."""
        if self.full_refresh or self.reader is None:
            return part
        again = [entry for entry in part.entries if entry["log_time"] <= self.newest.get(_key(entry), LONG_AGO)]
        ids, teams = [entry["id"] for entry in again], sorted({entry["team_id"] for entry in again})
        rows = self.reader().rows(CONNECTOR_LOGS, CONNECTOR_LOGS.key, teams, ("id", ids))
        stored = {(*_key(row), row["id"]) for row in rows}
        part.entries = [entry for entry in part.entries if (*_key(entry), entry["id"]) not in stored]
        return part

    # --- rows ---------------------------------------------------------------------------------------------------------

    def team_rows(self, part: Part) -> Iterator[Record]:
        """Rows for `teams`: those that differ from what is stored."""
        for found in _answered(part, "team"):
            for record in found.records:
                self._know(record)
                row = record | {"content_hash": _hash(record)}
                if self.full_refresh or self._teams.get(row["team_id"]) != [row["content_hash"]]:
                    yield row

    def secret_rows(self, part: Part) -> Iterator[Record]:
        """Rows for `connector_secrets`: those to write, and a `_deleted` one for each that is gone."""
        for found in _answered(part, "secrets"):
            held = self._secrets.get((found.wish.team_id, found.wish.connector_identifier), {})
            for row in found.records:
                if self.full_refresh or held.get(row["secret_placeholder"]) != [row["secret_name"]]:
                    yield row
            if found.status == "ok":
                listed = {row["secret_placeholder"] for row in found.records}
                for placeholder in held.keys() - listed:
                    yield found.wish.key | {"secret_placeholder": placeholder, "_deleted": True}
        if part.last:
            for team_id, name in filter(self._is_gone, self._secrets):
                for placeholder in self._secrets[team_id, name]:
                    key = {"team_id": team_id, "connector_identifier": name}
                    yield key | {"secret_placeholder": placeholder, "_deleted": True}

    def fetch_rows(self, part: Part) -> Iterator[Record]:
        """Rows for `fetches`: what was asked for, and a `_deleted` one for each connector that is gone."""
        for found in part.found:
            if found.status != "postponed":
                yield _fetch_row(found)
        if part.last:
            for team_id, name, endpoint in self._fetches:
                if self._is_gone((team_id, name)):
                    key = {"team_id": team_id, "connector_identifier": name}
                    yield key | {"endpoint": endpoint, "_deleted": True}

    def _is_gone(self, key: Key) -> bool:
        team_id, name = key
        return name != "" and team_id in self._whole and name not in self._listed[team_id]

    def sync_rows(self) -> Iterator[Record]:
        """The rows of `team_syncs`, with what became of the rest."""
        postponed, failing = map(_connectors_by_team, (self._postponed, self._failing))
        for team_id, row in self.syncs.items():
            yield row | {"connectors_postponed": postponed[team_id], "connectors_failing": failing[team_id]}

    @property
    def failing(self) -> int:
        """Of how many teams and connectors something could not be had."""
        return len(self._failing)

    def _know(self, team: Record) -> None:
        if team.get("name"):
            self.names[team["team_id"]] = team["name"]


_ENDPOINTS: tuple[Endpoint, ...] = ("team", "secrets", "logs")
_HELD = {
    TEAMS.name: "_teams",
    CONNECTOR_SECRETS.name: "_secrets",
    CONNECTOR_LOGS.name: "newest",
    FETCHES.name: "_fetches",
}
"""Where what a table holds is kept."""


def _answered(part: Part, endpoint: Endpoint) -> Iterator[Fetched]:
    return (found for found in part.found if found.wish.endpoint == endpoint and found.status in ("ok", "incomplete"))


def _fetch_row(found: Fetched) -> Record:
    error = found.error
    told = " ".join(text for text in (error.message, error.description) if text) if error else found.note
    return found.wish.key | {
        "endpoint": found.wish.endpoint,
        "fetched_at": found.fetched_at,
        "status": found.status,
        "http_status": found.http_status,
        "error_code": error.code if error else None,
        "message": told,
        "request_id": found.request_id,
    }


def _connectors_by_team(keys: set[Key]) -> Counter[int]:
    return Counter(team_id for team_id, name in keys if name)


def _key(row: Record) -> Key:
    return row["team_id"], row["connector_identifier"]


def _hash(record: Record) -> str:
    """SHA-256, hexadecimal, of a record as it is written."""
    said = {name: value for name, value in record.items() if value is not None}
    return hashlib.sha256(canonical_json(said)).hexdigest()
