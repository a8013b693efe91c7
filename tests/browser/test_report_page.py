"""The report in a real browser: what a person sees, in light and dark, and what the browser complains about."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dlt
import pytest

from supermetrics_loader.cli.main import run
from supermetrics_loader.sandbox import Sandbox
from tests.browser.chromium import Chromium
from tests.helpers.report_data import BIG, SCRIPT, load_everything, shown

READ_NUMBERS = """({
  sql: Object.fromEntries([...document.querySelectorAll("pre[data-query]")].map(e => [e.dataset.query, e.textContent])),
  figures: [...document.querySelectorAll("p[data-query]")].map(e => [e.dataset.query, e.innerText]),
  tables: [...document.querySelectorAll("table[data-query]")].map(table => [table.dataset.query,
    [...table.tBodies[0].rows].map(row => [...row.cells].map(
      cell => (cell.querySelector(".team-id") || cell).innerText.trim().replace(/ Copy$/, "")))]),
})"""

# Every element with text of its own, and every text of a chart: its color, the one behind it, its size on the screen.
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
      const drawn = e.ownerSVGElement;
      const scale = drawn ? drawn.getBoundingClientRect().width / drawn.viewBox.baseVal.width : 1;
      return {text: own(e), color: rgb(drawn ? style.fill : style.color).slice(0, 3), behind: behind(e),
        size: parseFloat(style.fontSize) * scale};
    });
})()"""

# What axe-core finds in the open page, by its rules for WCAG 2.2 AA and its own of good practice.
FIND_BY_AXE = """axe.run(document, {resultTypes: ["violations"]}).then(found => ({
  passed: found.passes.length,
  wrong: found.violations.map(each => [each.id, each.nodes.map(node => node.html)]),
}))"""

# What can be operated, and what of it the Tab key has reached with an outline around it.
OPERABLE = """[...document.querySelectorAll("a[href], button, summary, .scroll, .chart")]
  .filter(each => each.checkVisibility() && (each.tabIndex === 0 || each.scrollWidth > each.clientWidth)).length"""
FOCUSED = """(() => {
  const at = document.activeElement, style = getComputedStyle(at);
  if (at === document.body) return null;
  window.reached = (window.reached || new Set()).add(at);
  return [window.reached.size, style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2, at.outerHTML];
})()"""

CUT_OFF = """[...document.querySelectorAll(".scroll, .chart, .card, .tile, pre, body")]
  .filter(each => each.scrollWidth > each.clientWidth).map(each => each.outerHTML.slice(0, 200))"""

READ_BARS = """[...document.querySelectorAll("svg [aria-roledescription=bar]")].map(bar => {
  const color = getComputedStyle(bar).fill.match(/[\\d.]+/g);
  return {color: (color || [0, 0, 0]).map(Number), label: bar.getAttribute("aria-label")};
})"""

OUTSIDE = """[...document.querySelectorAll("svg text")].filter(text => {
  const drawn = text.ownerSVGElement.getBoundingClientRect(), at = text.getBoundingClientRect();
  return at.left < drawn.left - 1 || at.right > drawn.right + 1 || at.bottom > drawn.bottom + 1;
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
    load_everything(sandbox, load, pipeline, include_teams=True, include_logs=True, include_secrets=True)
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


def test_the_browser_has_nothing_to_complain_about_and_asks_for_nothing(page: Chromium, tmp_path: Path) -> None:
    """No error, no warning, nothing that the page's own policy forbade; and the one request is the file."""
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


def test_the_numbers_on_the_screen_are_the_databases(
    page: Chromium, query: Callable[[str], list[tuple[Any, ...]]]
) -> None:
    """As the browser shows them, next to the answers to the queries that it shows."""
    page.run("document.querySelectorAll('details').forEach(each => each.open = true)")
    seen = page.run(READ_NUMBERS)

    assert len(seen["figures"]) == 6
    assert len(seen["tables"]) == 12
    for key, figure in seen["figures"]:
        assert figure == f"{query(seen['sql'][key])[0][0]:,}", key
    for key, rows in seen["tables"]:
        if key == "missing-secrets":  # which no query tells
            assert rows == [[str(BIG), SCRIPT, rows[0][2], "sec_0000missing"]]
            continue
        assert rows == [[shown(value) for value in row] for row in query(seen["sql"][key])], key


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_can_be_read(page: Chromium, scheme: str) -> None:
    """Text has the contrast that WCAG AA asks for and a size that can be read; bars stand out from their ground."""
    page.show(scheme)
    page.run("document.querySelectorAll('details').forEach(each => each.open = true)")
    texts, bars = page.run(READ_TEXTS), page.run(READ_BARS)
    ground = page.run("getComputedStyle(document.querySelector('.card')).backgroundColor.match(/\\d+/g).map(Number)")

    assert len(texts) > 100
    assert [each for each in texts if contrast(each["color"], each["behind"]) < 4.5] == []
    assert [each for each in texts if each["size"] < 11] == []
    assert len(bars) > 20
    assert [each for each in bars if contrast(each["color"], ground) < 3] == []
    assert (sum(ground) > 600) == (scheme == "light")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_axe_finds_nothing_that_keeps_people_from_reading_it(page: Chromium, scheme: str, width: int) -> None:
    """Names, roles, headings, landmarks, contrast, what scrolls: with everything unfolded."""
    page.show(scheme, width)
    page.run("document.querySelectorAll('details').forEach(each => each.open = true)")
    page.run(AXE.read_text(encoding="utf-8") + "; null")
    found = page.run(FIND_BY_AXE)

    assert found["wrong"] == []
    assert found["passed"] > 40


@pytest.mark.parametrize("width", [1280, 360])
def test_all_of_it_can_be_had_by_keyboard(page: Chromium, width: int) -> None:
    """Tab reaches whatever can be operated, also what scrolls, and shows where it is."""
    page.show(width=width)
    page.run("new Promise(done => setTimeout(done, 200))")
    operable = page.run(OPERABLE)
    for _ in range(operable):
        page.tab()
        reached, outlined, element = page.run(FOCUSED)
        assert outlined, element

    assert reached == operable
    assert operable > 20


def test_it_opens_by_question(page: Chromium) -> None:
    """In the order in which somebody asks, with what fails first; a name beside each team's id."""
    questions = page.run("[...document.querySelectorAll('h2')].map(each => each.innerText)")
    assert questions == ["What needs me?", "What changed?", "What do we have?"]
    linked = "[...document.querySelectorAll('nav a')].map(each => document.querySelector(each.hash).innerText)"
    assert page.run(linked) == questions
    assert page.run("document.querySelector('main table').dataset.query") == "failing-teams"
    teams = page.run("[...document.querySelectorAll('td.team')].map(each => each.textContent.trim())")
    assert {name.rpartition(" ")[0] for name in teams} == {"Nordic Marketing", "Loyalty & Retail", "Media Lab"}


@pytest.mark.parametrize("width", [1280, 900, 390, 360])
def test_nothing_is_cut_off(page: Chromium, width: int) -> None:
    """Charts keep their labels within them, and the page never scrolls sideways, down to the width of a telephone."""
    page.show(width=width)

    assert page.run(OUTSIDE) == []
    assert page.run("document.documentElement.scrollWidth") <= width
    if width < 400:  # there the tables are folded
        page.run("document.querySelectorAll('details').forEach(each => each.open = true)")
        assert [each for each in page.run(CUT_OFF) if 'class="chart"' not in each] == []


def test_a_name_that_is_a_script_is_shown_and_not_run(page: Chromium) -> None:
    """It stands there as somebody typed it."""
    assert page.run("document.title").startswith("Supermetrics connectors")
    assert SCRIPT in page.run("document.querySelector('table[data-query=latest-changes]').innerText")
    assert any(SCRIPT in each["label"] for each in page.run(READ_BARS))


@pytest.mark.parametrize("clipboard", ["as it is", "closed"])
def test_a_click_copies_the_request_id(page: Chromium, clipboard: str) -> None:
    """Also where the browser keeps the clipboard from pages on disk: then in the old way."""
    if clipboard == "closed":
        page.run("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    wanted = page.run("document.querySelector('td.id code').textContent")
    page.run("document.addEventListener('copy', () => { window.copied = getSelection().toString(); })")
    if clipboard == "as it is":
        page.run("navigator.clipboard.writeText = async (text) => { window.copied = text; }")

    assert page.run("document.querySelector('td.id button').checkVisibility()")
    page.run("document.querySelector('td.id button').click(); new Promise(done => setTimeout(done, 100))")
    assert page.run("document.querySelector('td.id button').textContent") == "Copied"
    assert page.run("document.querySelector('[role=status]').textContent") == "Copied"  # what a screen reader says
    assert page.run("window.copied") == wanted


def test_it_prints_on_white_without_what_only_a_screen_can_do(page: Chromium) -> None:
    """Also from a dark screen; all data is on the paper, whole, while buttons and queries that are folded stay away."""
    page.show("dark", width=A4, media="print")

    assert page.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.run("[...document.querySelectorAll('button, summary')].some(each => each.checkVisibility())") is False
    assert page.run("[...document.querySelectorAll('svg')].every(each => each.checkVisibility())") is True
    note = f"window.cutOff = {CUT_OFF}; window.shown = {SHOWN};"
    page.run(f"addEventListener('beforeprint', () => {{ {note} }})")
    assert len(page.send("Page.printToPDF", printBackground=True)["data"]) > 10_000
    assert page.run("window.shown") == page.run("document.querySelectorAll('table').length") == 12
    assert page.run("window.cutOff") == []
    assert page.run("[...document.querySelectorAll('details')].some(each => each.open)") is False  # on the screen again
