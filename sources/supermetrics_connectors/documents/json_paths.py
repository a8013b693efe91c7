"""Places in a JSON document, and where two documents differ; as JSONPath (RFC 9535), such as `$.fields[2].name`."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from difflib import SequenceMatcher
from typing import Any, Literal

import orjson

from .json_text import canonical_json

Path = tuple[str | int, ...]
"""Names of members and indexes of elements, from the document's root."""

_PLAIN_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_MOST_ALIGNED = 2_000
"""Elements of a list that are matched by content. The time grows with the square; longer lists are matched by index."""


@dataclass(frozen=True)
class Change:
    """One place at which two documents differ.

    Attributes:
        kind: Whether only the second has it, only the first, or both with different content.
        path: The place in the second document; a removed element has the index that it had in its list.
        before: What the first document has there; None for what was added.
        after: What the second document has there; None for what was removed.
    """

    kind: Literal["added", "removed", "changed"]
    path: Path
    before: Any = None
    after: Any = None


def render(path: Path) -> str:
    """The path as text."""
    return "$" + "".join(map(_segment, path))


def same(stored: Any, sent: Any) -> bool:
    """Whether a document that was stored is one that was sent.

    Its numbers may be written otherwise, as in `changes`: PostgreSQL writes `1e22` with all its noughts.
    """
    return next(_changes(_with_plain_numbers(stored), _with_plain_numbers(sent), ()), None) is None


def changes(before: Any, after: Any) -> Iterator[Change]:
    """Yields where two JSON documents differ, in order; of what was added or removed as a whole only the top.

    Elements of a list count as the same by content, whatever their place, so that one put in front moves no other.
    `1` and `1.0` are one number, because some databases write the one back as the other; unless nothing else differs
    between the documents, so that no edit is without a place.
    """
    found = list(_changes(_with_plain_numbers(before), _with_plain_numbers(after), ()))
    yield from found or _changes(before, after, ())


def _changes(before: Any, after: Any, path: Path) -> Iterator[Change]:
    if isinstance(before, dict) and isinstance(after, dict):
        for name in sorted({*before, *after}):
            here = (*path, name)
            if name not in after:
                yield Change("removed", here, before=before[name])
            elif name not in before:
                yield Change("added", here, after=after[name])
            else:
                yield from _changes(before[name], after[name], here)
    elif isinstance(before, list) and isinstance(after, list):
        yield from _changes_of_lists(before, after, path)
    elif type(before) is not type(after) or before != after:
        yield Change("changed", path, before, after)


def _with_plain_numbers(value: Any) -> Any:
    """A copy in which a number without a fraction is an integer, however it was written."""
    if isinstance(value, dict):
        return {name: _with_plain_numbers(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_with_plain_numbers(element) for element in value]
    if isinstance(value, (float, Decimal)):
        exact = Decimal(repr(value)) if isinstance(value, float) else value
        return int(exact) if exact == exact.to_integral_value() else value
    return value


def _changes_of_lists(before: Sequence[Any], after: Sequence[Any], path: Path) -> Iterator[Change]:
    for start, end, new_start, new_end in _unmatched(before, after):
        both = min(end - start, new_end - new_start)
        for index in range(both):
            yield from _changes(before[start + index], after[new_start + index], (*path, new_start + index))
        for index in range(start + both, end):
            yield Change("removed", (*path, index), before=before[index])
        for index in range(new_start + both, new_end):
            yield Change("added", (*path, index), after=after[index])


def _unmatched(before: Sequence[Any], after: Sequence[Any]) -> Iterator[tuple[int, int, int, int]]:
    """Ranges of the first list, each with the range of the second that is in its place."""
    if max(len(before), len(after)) > _MOST_ALIGNED:
        yield 0, len(before), 0, len(after)
        return
    matcher = SequenceMatcher(None, _contents(before), _contents(after), autojunk=False)
    for tag, start, end, new_start, new_end in matcher.get_opcodes():
        if tag != "equal":
            yield start, end, new_start, new_end


def _contents(elements: Sequence[Any]) -> list[bytes]:
    return [canonical_json(element) for element in elements]


def _segment(part: str | int) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    return f".{part}" if _PLAIN_NAME.fullmatch(part) else f"[{orjson.dumps(part).decode()}]"
