"""Reads and writes JSON without losing a digit, so that two numbers that differ are stored and hashed differently.

orjson reads and writes nearly everything. It turns a number that does not fit into 64 bits into a double, so the
standard library reads texts with such numbers: integers as `int` of any size, and fractions as `Decimal` if the nearest
double is another number. Values that no database can store are refused: numbers beyond the range of doubles, halves of
surrogate pairs, and `NaN`, which some programs write although it is not JSON.
"""

import codecs
import json
import math
import re
from collections.abc import Iterator
from decimal import Context, Decimal
from typing import Any

import orjson

_MAX_DEPTH = 254
"""Levels of nesting that orjson writes."""
_MAY_LOSE_DIGITS = re.compile(
    rb"[\s:,\[]-?(?:[0-9]{19}"  # an integer that may be beyond 64 bits
    rb"|(?=[0-9]+[.eE])[0-9.]{16}"  # a fraction of more than the 15 digits that every double keeps
    rb"|[0-9.]+[eE]-0*[0-9]{3})"  # so small that a double keeps fewer
)
_SHAPES = bytes.maketrans(b"123456789." + b" \t\r\n,[" + b"E", b"0000000000" + b"::::::" + b"e")
_SHAPES_OF_THESE = b":" + b"0" * 16, b":-" + b"0" * 16, b"0e-0"
"""What to look for before the pattern is tried, a hundred times as fast: most texts have none of these."""


class NotJsonError(ValueError):
    """A text that is no JSON at all."""


class RefusedJsonError(ValueError):
    """JSON with a value that cannot be stored as it was sent.

    Attributes:
        what: Description of the value.
        path: Place of the value: names of members and indexes of elements, from the document's root.
    """

    def __init__(self, what: str, path: tuple[str | int, ...] = ()) -> None:
        super().__init__(what, path)
        self.what = what
        self.path = path


def parse_json(text: str | bytes) -> Any:
    """Reads JSON, each number exactly.

    Args:
        text: JSON; as bytes in UTF-8. A byte order mark before it is skipped.

    Returns:
        As of `json.loads`, except that a number with a fraction or an exponent is a `Decimal` where the nearest double
        is another number.

    Raises:
        NotJsonError: The text is not JSON.
        RefusedJsonError: The text is JSON with a value that cannot be stored as sent.
    """
    try:
        data = (text.encode() if isinstance(text, str) else text).removeprefix(codecs.BOM_UTF8)
        value = orjson.loads(data)
        if not _may_lose_digits(b":" + data):
            return value
    except orjson.JSONDecodeError:
        pass  # nor does orjson say whether it is JSON
    except UnicodeEncodeError as error:
        raise NotJsonError(str(error)) from None
    return _parse_exactly(data)


def canonical_json(value: Any, *, indented: bool = False) -> bytes:
    """JSON text in UTF-8 with sorted keys, so that equal content has equal text whatever the order of its keys.

    Args:
        value: What `parse_json` returns; datetimes in it are written as ISO 8601.
        indented: Whether to write it for people, a member a line and two spaces a level.

    Raises:
        TypeError: It is nested deeper than 254 levels.
    """
    option = orjson.OPT_SORT_KEYS | (orjson.OPT_INDENT_2 if indented else 0)
    try:
        return orjson.dumps(value, default=_written_decimal, option=option)
    except TypeError:  # too deep, or an integer beyond 64 bits
        return orjson.dumps(_with_written_integers(value, _MAX_DEPTH), default=_written_decimal, option=option)


def _may_lose_digits(data: bytes) -> bool:
    shapes = data.translate(_SHAPES)
    return any(shape in shapes for shape in _SHAPES_OF_THESE) and _MAY_LOSE_DIGITS.search(data) is not None


def _parse_exactly(data: bytes) -> Any:
    try:
        value = json.loads(data.decode(), parse_int=_integer, parse_float=_fraction)
        refused = next(_unkeepable(value, ()), None)
    except RecursionError:
        raise RefusedJsonError("more levels of nesting than can be read") from None
    except ValueError as error:
        raise NotJsonError(str(error)) from None
    if refused:
        raise refused
    return value


def _integer(digits: str) -> int | float:
    """The integer; infinity for one beyond every double, which need not be made first: its digits may be millions."""
    return int(digits) if math.isfinite(float(digits)) else math.inf


def _fraction(text: str) -> float | Decimal:
    """The double, or the number itself where that is another; infinity for one beyond doubles, on either side."""
    double = float(text)
    if double == 0 and _IS_NOT_ZERO.match(text):
        return math.inf
    if double == 0 or not math.isfinite(double):
        return double
    exact = Decimal(text)
    return double if Decimal(repr(double)) == exact else exact.normalize(Context(prec=len(text)))


_IS_NOT_ZERO = re.compile(r"-?[0.]*[1-9]")


def _unkeepable(value: Any, path: tuple[str | int, ...]) -> Iterator[RefusedJsonError]:
    """Yields what cannot be kept; for a member's name, the path is that of the object."""
    if isinstance(value, dict):
        for name, member in value.items():
            if _has_half_a_pair(name):
                yield RefusedJsonError("a name with half of a surrogate pair", path)
            else:
                yield from _unkeepable(member, (*path, name))
    elif isinstance(value, list):
        for index, element in enumerate(value):
            yield from _unkeepable(element, (*path, index))
    elif isinstance(value, str) and _has_half_a_pair(value):
        yield RefusedJsonError("a text with half of a surrogate pair", path)
    elif isinstance(value, float) and not math.isfinite(value):
        yield RefusedJsonError("NaN" if math.isnan(value) else "a number beyond what a double can hold", path)


def _has_half_a_pair(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _written_decimal(value: Any) -> orjson.Fragment:
    """The text of a number that orjson cannot write; with a point or an exponent, by which it is read as one again."""
    if not isinstance(value, Decimal):
        raise TypeError(f"{type(value).__name__} is not JSON")
    text = str(value)
    return orjson.Fragment(text if {".", "E"}.intersection(text) else f"{text}.0")


def _with_written_integers(value: Any, levels: int) -> Any:
    """A copy with each integer beyond 64 bits as its text, which orjson takes as it is."""
    if isinstance(value, (dict, list)) and not levels:
        raise TypeError(f"Nested deeper than {_MAX_DEPTH} levels")
    if isinstance(value, dict):
        return {name: _with_written_integers(member, levels - 1) for name, member in value.items()}
    if isinstance(value, list):
        return [_with_written_integers(element, levels - 1) for element in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return orjson.Fragment(str(value))
    return value
