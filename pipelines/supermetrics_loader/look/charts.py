"""The report's charts: Vega-Lite, drawn to SVG while the report is written, so that the page needs no chart library.

Colors are the page's CSS variables, and so light or dark with it. Every bar says what it stands for to a screen reader
and to a pointer at rest. Labels come from the data: they reach Vega-Lite as values, which it escapes. They are made
harmless before, and cut: at a control character, and at an emoji where it cuts a label itself, drawing fails.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import vl_convert
from markupsafe import Markup
from rich.text import Text

from ..harmless import harmless

NARROW, WIDE = 520, 1090
"""Pixels, axis labels included: a column of the page, and the whole page."""

CHANGES = {
    "added": "var(--added)",
    "updated": "var(--updated)",
    "configuration_changed": "var(--configured)",
    "removed": "var(--removed)",
}

_FONT_SIZE = 12
_LABEL_WIDTH = 30
"""Letters, of which a wide one counts twice."""
_CONFIG = {
    "background": None,
    "font": "sans-serif",
    "view": {"stroke": None},
    "axis": {
        "aria": False,
        "domainColor": "var(--line)",
        "gridColor": "var(--line)",
        "labelColor": "var(--ink)",
        "labelFontSize": _FONT_SIZE,
        "tickColor": "var(--line)",
        "title": None,
    },
    "legend": {
        "aria": False,
        "columnPadding": 28,
        "layout": {"top": {"anchor": "end"}},
        "labelColor": "var(--ink)",
        "labelFontSize": _FONT_SIZE,
        "orient": "top",
        "symbolType": "square",
        "title": None,
    },
    "text": {"aria": False, "color": "var(--ink)", "fontSize": _FONT_SIZE},
}
_BAR = re.compile(r'<path (aria-label="([^"]*)" role="graphics-symbol"[^>]*)/>')


@dataclass(frozen=True)
class Bar:
    """One bar.

    Attributes:
        label: What stands beside it, cut where it is long.
        value: Its length.
        text: What a screen reader says and a pointer shows.
    """

    label: str
    value: int
    text: str


def bars(rows: Sequence[Bar]) -> Markup:
    """Horizontal bars from top to bottom, each with its value at the end."""
    data = [{"row": number, "value": row.value, "text": harmless(row.text)} for number, row in enumerate(rows)]
    longest = max((row.value for row in rows), default=0)
    value = {"field": "value", "type": "quantitative", "axis": None, "scale": {"domain": [0, max(1, longest) * 1.15]}}
    labels = [_cut(harmless(row.label)) for row in rows]
    # the browser's font may be wider than the one that Vega measures with
    extent = max(map(len, labels), default=0) * _FONT_SIZE * 0.6 + 8
    axis = {
        "labelExpr": f"{json.dumps(labels)}[datum.value]",
        "labelLimit": 0,
        "ticks": False,
        "domain": False,
        "labelPadding": 8,
        "minExtent": extent,
    }
    return _draw(
        {
            "data": {"values": data},
            "width": NARROW,
            "height": {"step": 26},
            "encoding": {"y": {"field": "row", "type": "nominal", "sort": None, "axis": axis}, "x": value},
            "layer": [
                {
                    "mark": {"type": "bar", "color": "var(--bar)", "height": {"band": 0.72}},
                    "encoding": {"description": {"field": "text"}},
                },
                {
                    "mark": {"type": "text", "align": "left", "dx": 5},
                    "encoding": {"text": {"field": "value", "format": ","}},
                },
            ],
        }
    )


def stacked_days(counts: Mapping[tuple[date, str], int], first: date, last: date) -> Markup:
    """A bar a day, stacked by kind of change.

    Args:
        counts: How many changes, by day and kind.
        first: The first day of the axis, UTC.
        last: The last day of the axis, UTC.
    """
    data = [
        {"day": day.isoformat(), "change": words(change), "count": count, "text": f"{day}: {count} {words(change)}"}
        for (day, change), count in counts.items()
    ]
    totals: Counter[date] = Counter()
    for (day, _), count in counts.items():
        totals[day] += count
    most = max(5, *totals.values())  # five ticks, and none of them between two whole numbers
    axis = {"format": "%d %b", "grid": False, "labelFlush": False, "tickCount": 12}
    scale = {"type": "utc", "domain": [_vega_day(first), _vega_day(last + timedelta(days=1))]}
    kinds = {"domain": [words(name) for name in CHANGES], "range": list(CHANGES.values())}
    return _draw(
        {
            "data": {"values": data},
            "width": WIDE,
            "height": 200,
            "mark": {"type": "bar"},
            "encoding": {
                "x": {"field": "day", "type": "temporal", "timeUnit": "utcyearmonthdate", "axis": axis, "scale": scale},
                "y": {
                    "field": "count",
                    "type": "quantitative",
                    "axis": {"format": ",", "orient": "right", "tickCount": 5},
                    "scale": {"domain": [0, most], "nice": True},
                },
                "color": {"field": "change", "type": "nominal", "scale": kinds},
                "description": {"field": "text"},
            },
        }
    )


def _cut(label: str) -> str:
    text = Text(label)
    text.truncate(_LABEL_WIDTH, overflow="ellipsis")
    return text.plain


def words(change: str) -> str:
    """A kind of change as a person writes it."""
    return change.replace("_", " ")


def _vega_day(day: date) -> dict[str, Any]:
    return {"year": day.year, "month": day.month, "date": day.day, "utc": True}


def _draw(spec: dict[str, Any]) -> Markup:
    """The chart as SVG, text and labels escaped by Vega."""
    whole = {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "autosize": {"type": "fit-x", "contains": "padding"},
        "padding": {"top": 2, "bottom": 6, "left": 0, "right": 2},
        **spec,
    }
    svg = vl_convert.vegalite_to_svg(whole, config=_CONFIG, allowed_base_urls=[])
    # a pointer at rest shows <title>; the label is escaped already
    return Markup(_BAR.sub(r"<path \1><title>\2</title></path>", svg))  # noqa: S704 - Vega has escaped it
