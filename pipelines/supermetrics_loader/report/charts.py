"""The chart of the report, drawn as SVG: bars scale with the page, texts do not, and colors are the page's."""

from collections.abc import Mapping
from datetime import date, timedelta
from itertools import count

from markupsafe import Markup

KINDS = ("added", "updated", "configuration_changed", "removed")
"""Kinds of changes from the bottom of a bar to its top; each is a class of the page's style."""

_HEIGHT, _TOP, _BELOW = 180, 8, 26
"""Pixels: the bars, the space above them, and the labels below them."""
_MAX_TICKS = 4
_MAX_LABELS = 12
_WIDEST = 4.0
"""Percent of the width that a bar has at most, so that one day alone is a bar and not a wall."""


def stacked_days(counts: Mapping[tuple[date, str], int], first: date, last: date) -> Markup:
    """One bar per day, stacked by kind of change, each part with its number for screen readers and pointers.

    Args:
        counts: Number of changes by day and kind.
        first: The first day of the axis, UTC.
        last: The last day of the axis, UTC.
    """
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    totals = [sum(counts.get((day, kind), 0) for kind in KINDS) for day in days]
    step = _step(max(totals, default=0))
    top = step * -(-max(*totals, 1) // step)
    slot = 100 / len(days)
    parts = [_grid_line(value, top) for value in range(0, top + 1, step)]
    every = -(-len(days) // _MAX_LABELS)
    parts += [_label(number, day, slot * number, every) for number, day in enumerate(days) if number % every == 0]
    for number, day in enumerate(days):
        below = 0
        for kind in KINDS:
            if value := counts.get((day, kind), 0):
                parts.append(_bar(day, kind, value, below, top, slot * number, slot))
                below += value
    height = _TOP + _HEIGHT + _BELOW
    return Markup('<svg role="group" width="100%" height="{}">{}</svg>').format(height, Markup("").join(parts))


def _step(most: int) -> int:
    """The distance of grid lines: 1, 2 or 5 times a power of ten."""
    steps = (factor * int(10**power) for power in count() for factor in (1, 2, 5))
    return next(step for step in steps if step * _MAX_TICKS >= most)


def _y(value: float, top: int) -> float:
    return round(_TOP + _HEIGHT * (1 - value / top), 1)


def _grid_line(value: int, top: int) -> Markup:
    y = _y(value, top)
    return Markup(
        '<line class="grid" x1="0" x2="100%" y1="{y}" y2="{y}"/><text x="100%" dx="8" y="{y}" dy="4">{value}</text>'
    ).format(y=y, value=f"{value:,}")


def _label(number: int, day: date, x: float, every: int) -> Markup:
    return Markup('<text{} x="{:.2f}%" y="{}">{}</text>').format(
        Markup("") if number % (3 * every) == 0 else Markup(' class="spare"'), x, _TOP + _HEIGHT + 20, f"{day:%d %b}"
    )


def _bar(day: date, kind: str, value: int, below: int, top: int, x: float, slot: float) -> Markup:
    y = _y(below + value, top)
    text = f"{day}: {value:,} {kind.replace('_', ' ')}"
    return Markup(
        '<rect class="{kind}" role="img" aria-label="{text}" x="{x:.2f}%" y="{y}" width="{width:.2f}%"'
        ' height="{height}"><title>{text}</title></rect>'
    ).format(kind=kind, text=text, x=x, y=y, width=min(slot * 0.8, _WIDEST), height=round(_y(below, top) - y, 1))
