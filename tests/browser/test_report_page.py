"""The report in a real browser, in light and dark: readable, accessible, and without errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dlt
import pytest

from supermetrics_loader.cli.main import run
from tests.browser.chromium import Chromium
from tests.helpers.report_data import SCRIPT, TABLES, load_everything
from tests.helpers.sandbox import Sandbox

# Every element with text: its color, the color behind it, its size on the screen.
READ_TEXTS = """(() => {
  const rgb = (color) => (color.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = rgb(getComputedStyle(at).backgroundColor);
      if (color.length === 3 || color[3] === 1) return color.slice(0, 3);
    }
    return [255, 255, 255];
  };
  const own = (element) => [...element.childNodes].filter(n => n.nodeType === 3).map(n => n.data).join("").trim();
  return [...document.querySelectorAll("body *")]
    .filter(e => own(e) && e.checkVisibility() && !["TITLE", "title", "SCRIPT"].includes(e.tagName))
    .map(e => {
      const style = getComputedStyle(e);
      return {text: own(e), color: rgb(e.ownerSVGElement ? style.fill : style.color).slice(0, 3), behind: behind(e),
        size: parseFloat(style.fontSize)};
    });
})()"""

# What axe-core finds in the open page, by its rules for WCAG 2.2 AA and its own of good practice.
FIND_BY_AXE = """axe.run(document, {resultTypes: ["violations"]}).then(found => ({
  passed: found.passes.length,
  wrong: found.violations.map(each => [each.id, each.nodes.map(node => node.html)]),
}))"""

# What can be operated, and what of it the Tab key has reached with an outline around it.
OPERABLE = """[...document.querySelectorAll("a[href], button, summary, .scroll")]
  .filter(each => each.checkVisibility() && (each.tabIndex === 0 || each.scrollWidth > each.clientWidth)).length"""
FOCUSED = """(() => {
  const at = document.activeElement, style = getComputedStyle(at);
  if (at === document.body) return null;
  window.reached = (window.reached || new Set()).add(at);
  return [window.reached.size, style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2, at.outerHTML];
})()"""

CUT_OFF = """[...document.querySelectorAll(".scroll, .chart, .card, .strip a, pre, body")]
  .filter(each => each.scrollWidth > each.clientWidth).map(each => each.outerHTML.slice(0, 200))"""

READ_BARS = """[...document.querySelectorAll("rect, .key")].map(bar => {
  const style = getComputedStyle(bar);
  return (bar.tagName === "rect" ? style.fill : style.backgroundColor).match(/[\\d.]+/g).map(Number);
})"""

# Texts of the chart that are not within its card, or that overlap the text before.
MISPLACED = """[...document.querySelectorAll("svg text")].filter(e => e.checkVisibility()).filter((text, n, all) => {
  const card = text.closest(".card").getBoundingClientRect(), at = text.getBoundingClientRect();
  const before = n && all[n - 1].getBoundingClientRect();
  return at.left < card.left || at.right > card.right || at.bottom > card.bottom
    || before && at.top === before.top && at.left < before.right + 4;
}).map(text => text.textContent)"""

SHOWN = "[...document.querySelectorAll('table')].filter(each => each.checkVisibility()).length"

AXE = Path(__file__).resolve().parents[2] / ".venv-axe" / "axe_playwright_python" / "axe.min.js"
A4 = 718
"""Its width in CSS pixels without the margins."""


@pytest.fixture
def page(
    browser: Chromium,
    sandbox: Sandbox,
    load: Callable[..., Any],
    pipeline: dlt.Pipeline,
    database: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Chromium:
    """The report of a dataset that has everything, open from disk."""
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", str(database))
    load_everything(sandbox, load, pipeline)
    assert run(["report", "--output", str(tmp_path / "report.html")]) == 0
    browser.show()
    browser.open((tmp_path / "report.html").as_uri())
    return browser


def contrast(one: list[float], other: list[float]) -> float:
    """The contrast of two colors (WCAG 2, relative luminance): 1 … 21."""

    def luminance(color: list[float]) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (part / 255 for part in color)]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_the_page_causes_no_browser_messages_and_no_requests(page: Chromium, tmp_path: Path) -> None:
    """No error, no warning, no violation of the page's policy; the only request is for the file."""
    page.run("document.querySelectorAll('details').forEach(each => each.open = true)")
    complaints = [
        parameters
        for name, parameters in page.events
        if name
        in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded", "Page.javascriptDialogOpening")
    ]
    requested = [each["request"]["url"] for name, each in page.events if name == "Network.requestWillBeSent"]

    assert complaints == []
    assert requested == [(tmp_path / "report.html").as_uri()]
    assert page.run("performance.getEntriesByType('resource').map(each => each.name)") == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_is_readable(page: Chromium, scheme: str) -> None:
    """Text has the contrast of WCAG AA and a sufficient size; bars have contrast to their background."""
    page.show(scheme)
    page.run("document.querySelectorAll('details').forEach(each => each.open = true)")
    texts, bars = page.run(READ_TEXTS), page.run(READ_BARS)
    ground = page.run("getComputedStyle(document.querySelector('.card')).backgroundColor.match(/\\d+/g).map(Number)")

    assert len(texts) > 100
    assert [each for each in texts if contrast(each["color"], each["behind"]) < 4.5] == []
    assert [each for each in texts if each["size"] < 11] == []
    assert len(bars) == 4 + 4  # the legend, and four days
    assert [each for each in bars if contrast(each, ground) < 3] == []
    assert (sum(ground) > 600) == (scheme == "light")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_axe_finds_no_violation(page: Chromium, scheme: str, width: int) -> None:
    """With all sections unfolded."""
    page.show(scheme, width)
    page.run("document.querySelectorAll('details').forEach(each => each.open = true)")
    page.run(AXE.read_text(encoding="utf-8") + "; null")
    found = page.run(FIND_BY_AXE)

    assert found["wrong"] == []
    assert found["passed"] > 40


@pytest.mark.parametrize("width", [1280, 360])
def test_the_keyboard_reaches_everything(page: Chromium, width: int) -> None:
    """Tab reaches every control and every scrolling area, and shows the focus."""
    page.show(width=width)
    page.run("new Promise(done => setTimeout(done, 200))")
    operable = page.run(OPERABLE)
    for _ in range(operable):
        page.tab()
        reached, outlined, element = page.run(FOCUSED)
        assert outlined, element

    assert reached == operable
    assert operable > 10


@pytest.mark.parametrize("width", [1280, 360])
def test_the_page_begins_with_figures_and_changes(page: Chromium, width: int) -> None:
    """Five numbers without a half-empty row, each a link to its section, then the latest changes."""
    page.show(width=width)
    boxes = page.run(
        "[...document.querySelectorAll('.strip li')].map(e => e.getBoundingClientRect()).map(e => [e.width, e.height])"
    )
    assert len(boxes) == 5
    assert max(box[0] for box in boxes) - min(box[0] for box in boxes) < 2
    titles = page.run(
        "[...document.querySelectorAll('.strip a')].map(each => document.querySelector(each.hash).innerText)"
    )
    assert titles == [
        *("Failing teams", "Stale teams", "Failing connectors", "Secrets typed into configurations", "Latest changes")
    ]
    assert page.run("document.querySelector('h3').innerText") == "Latest changes"
    questions = page.run("[...document.querySelectorAll('h2')].map(each => each.innerText)")
    assert questions == ["What changed?", "What needs me?", "What do we have?"]
    teams = page.run("[...document.querySelectorAll('td.team_id')].map(each => each.textContent.trim())")
    assert {name.rpartition(" ")[0] for name in teams} == {"Nordic Marketing", "Loyalty & Retail", "Media Lab"}


@pytest.mark.parametrize("width", [1280, 900, 390, 360])
def test_nothing_is_cut_off(page: Chromium, width: int) -> None:
    """The chart keeps its labels apart, tables and queries fit, and the page never scrolls sideways."""
    page.show(width=width)

    assert page.run(MISPLACED) == []
    assert page.run("document.documentElement.scrollWidth") <= width
    if width != 900:  # there a wide table scrolls within its card
        page.run("document.querySelectorAll('details').forEach(each => each.open = true)")
        assert page.run(CUT_OFF) == []


def test_a_name_that_is_a_script_is_shown_as_text(page: Chromium) -> None:
    """The page shows the name unchanged and runs no script."""
    assert page.run("document.title").startswith("Supermetrics connectors")
    assert SCRIPT in page.run("document.querySelector('table[data-query=latest-changes]').innerText")


@pytest.mark.parametrize("clipboard", ["as it is", "closed"])
def test_a_click_copies_the_request_id(page: Chromium, clipboard: str) -> None:
    """Also where the browser denies pages on disk the clipboard API."""
    if clipboard == "closed":
        page.run("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    wanted = page.run("document.querySelector('td.request_id code').textContent")
    page.run("document.addEventListener('copy', () => { window.copied = getSelection().toString(); })")
    if clipboard == "as it is":
        page.run("navigator.clipboard.writeText = async (text) => { window.copied = text; }")

    assert page.run("document.querySelector('td.request_id button').checkVisibility()")
    page.run("document.querySelector('td.request_id button').click(); new Promise(done => setTimeout(done, 100))")
    assert page.run("document.querySelector('td.request_id button').textContent") == "Copied"
    assert page.run("document.querySelector('[role=status]').textContent") == "Copied"  # what a screen reader says
    assert page.run("window.copied") == wanted


def test_the_page_prints_on_white_without_controls(page: Chromium) -> None:
    """Also from a dark screen. The print has all data, and neither buttons nor folded queries."""
    page.show("dark", width=A4, media="print")

    assert page.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.run("[...document.querySelectorAll('button, summary')].some(each => each.checkVisibility())") is False
    assert page.run("[...document.querySelectorAll('svg')].every(each => each.checkVisibility())") is True
    note = f"window.cutOff = {CUT_OFF}; window.shown = {SHOWN};"
    page.run(f"addEventListener('beforeprint', () => {{ {note} }})")
    assert len(page.send("Page.printToPDF", printBackground=True)["data"]) > 10_000
    assert page.run("window.shown") == page.run("document.querySelectorAll('table').length") == len(TABLES)
    assert page.run("window.cutOff") == []
    assert page.run("[...document.querySelectorAll('details')].some(each => each.open)") is False  # on the screen again
