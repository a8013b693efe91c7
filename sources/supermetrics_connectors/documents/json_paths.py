"""Compares JSON documents and names places in them with JSONPaths (RFC 9535), such as `$.fields[2].name`.

List elements are matched by `id` where every element of both lists is an object whose `id`, a string or an integer, is
distinct in its list; elements of all other lists are matched by content.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from difflib import SequenceMatcher
from typing import Any, Literal

import orjson

from .json_text import canonical_json

Path = tuple[str | int, ...]
"""Names of members and indexes of elements, from the document's root."""
Members = Mapping[Any, Any]
"""Members of an object by name, or elements of a list by `id`."""

_PLAIN_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
MAX_MATCHED_BY_CONTENT = 2_000
"""Elements of a list matched by content. The time grows with the square; longer lists are matched by index."""


@dataclass(frozen=True)
class JsonChange:
    """One place at which two documents differ.

    Attributes:
        kind: `added` for a place that only the second document has, `removed` for a place that only the first has,
            `changed` for a place with different content in both.
        path: The place in the second document; for a removed place, the place in the first document.
        before: The content in the first document; None if added.
        after: The content in the second document; None if removed.
    """

    kind: Literal["added", "removed", "changed"]
    path: Path
    before: Any = None
    after: Any = None


def render(path: Path) -> str:
    """The path as text."""
    return "$" + "".join(map(_segment, path))


def is_same_json(stored: Any, sent: Any) -> bool:
    """Whether a stored document equals a sent one.

    Numbers compare by value, as in `compare_json`: PostgreSQL writes `1e22` with all its zeros.
    """
    return next(_compare(_with_plain_numbers(stored), _with_plain_numbers(sent), ()), None) is None


def compare_json(before: Any, after: Any) -> Iterator[JsonChange]:
    """Yields the places at which two JSON documents differ; of a subtree added or removed as a whole, only its top.

    An element inserted into a list changes no other element. If elements matched by `id` are in another order, the list
    itself is one changed place, beside the changes inside its elements.

    Numbers compare by value, because some databases write `1` back as `1.0`. If the documents differ in nothing else,
    the notation of numbers counts, so that every edit has a place.
    """
    found = list(_compare(_with_plain_numbers(before), _with_plain_numbers(after), ()))
    yield from found or _compare(before, after, ())


def _compare(before: Any, after: Any, path: Path) -> Iterator[JsonChange]:
    if isinstance(before, dict) and isinstance(after, dict):
        yield from _compare_members(before, after, {name: (*path, name) for name in sorted({*before, *after})})
    elif isinstance(before, list) and isinstance(after, list):
        yield from _compare_lists(before, after, path)
    elif type(before) is not type(after) or before != after:
        yield JsonChange("changed", path, before, after)


def _compare_members(before: Members, after: Members, paths: Mapping[str | int, Path]) -> Iterator[JsonChange]:
    for name, path in paths.items():
        if name not in after:
            yield JsonChange("removed", path, before=before[name])
        elif name not in before:
            yield JsonChange("added", path, after=after[name])
        else:
            yield from _compare(before[name], after[name], path)


def _compare_lists(before: Sequence[Any], after: Sequence[Any], path: Path) -> Iterator[JsonChange]:
    old, new = _by_id(before), _by_id(after)
    if not (old and new):
        yield from _compare_by_content(before, after, path)
        return
    if [each for each in old if each in new] != [each for each in new if each in old]:
        yield JsonChange("changed", path, before, after)
    paths = [{each: (*path, index) for index, each in enumerate(elements)} for elements in (old, new)]
    yield from _compare_members(old, new, paths[0] | paths[1])


def _by_id(elements: Sequence[Any]) -> Members:
    """Elements by `id`, in their order; empty if an element has no `id` or two elements share one."""
    found = {each["id"]: each for each in elements if isinstance(each, dict) and type(each.get("id")) in (str, int)}
    return found if len(found) == len(elements) else {}


def _compare_by_content(before: Sequence[Any], after: Sequence[Any], path: Path) -> Iterator[JsonChange]:
    differing: Sequence[tuple[str, int, int, int, int]] = [("replace", 0, len(before), 0, len(after))]
    if max(len(before), len(after)) <= MAX_MATCHED_BY_CONTENT:
        old, new = ([canonical_json(element) for element in elements] for elements in (before, after))
        differing = SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    for tag, start, end, new_start, new_end in differing:
        if tag == "equal":
            continue
        both = min(end - start, new_end - new_start)
        for index in range(both):
            yield from _compare(before[start + index], after[new_start + index], (*path, new_start + index))
        for index in range(start + both, end):
            yield JsonChange("removed", (*path, index), before=before[index])
        for index in range(new_start + both, new_end):
            yield JsonChange("added", (*path, index), after=after[index])


def _with_plain_numbers(value: Any) -> Any:
    """A copy in which each number without a fraction is an integer, whatever its notation."""
    if isinstance(value, dict):
        return {name: _with_plain_numbers(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_with_plain_numbers(element) for element in value]
    if isinstance(value, (float, Decimal)):
        exact = Decimal(repr(value)) if isinstance(value, float) else value
        return int(exact) if exact == exact.to_integral_value() else value
    return value


def _segment(part: str | int) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    return f".{part}" if _PLAIN_NAME.fullmatch(part) else f"[{orjson.dumps(part).decode()}]"
