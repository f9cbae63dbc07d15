"""The page in a real browser: it loads nothing, fits every width, and is read in any light and on paper."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from adgauge.canonical.data_url import data_url
from adgauge.monitor.history import past_run
from adgauge.monitor.report import render
from tests.monitor.browser import Page, browser
from tests.monitor.example_result import DAY_MS, NOW_MS, example_result
from tests.monitor.test_report import HOSTILE, with_hundred_slices

pytestmark = pytest.mark.tool("chromium")

BROKEN_LAYOUT = """(() => {
  const wide = document.documentElement.clientWidth;
  const scrolls = (node) => node.closest('.scroll') !== null;
  return [...document.querySelectorAll('body *')]
    .filter((node) => !scrolls(node) && node.getBoundingClientRect().width > 0)
    .map((node) => [node, node.getBoundingClientRect()])
    .filter(([, box]) => box.right > wide + 1 || box.left < -1)
    .map(([node]) => node.outerHTML.slice(0, 100));
})()"""
TOO_FULL = """[...document.querySelectorAll('.forest td:not(.plot), .forest th, .tiles div')]
  .filter((cell) => cell.scrollWidth > cell.clientWidth + 1).map((cell) => cell.outerHTML.slice(0, 100))"""
CONTRASTS = """(() => {
  const channels = (color) => color.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const light = (color) => {
    const linear = (c) => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = channels(color).map((c) => linear(c / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (node) => {
    for (let each = node; each; each = each.parentElement) {
      const color = getComputedStyle(each).backgroundColor;
      if (color !== 'rgba(0, 0, 0, 0)') return color;
    }
    return 'rgb(255, 255, 255)';
  };
  const found = {};
  for (const node of document.querySelectorAll('h1, p, small, td, th, a, dd, dt, text, figcaption')) {
    const style = getComputedStyle(node);
    const one = light(node.tagName === 'text' ? style.fill : style.color), other = light(behind(node));
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (ratio < 4.5) found[node.tagName + '.' + (node.getAttribute('class') || '')] = ratio;
  }
  return found;
})()"""


@pytest.fixture(scope="module")
def tab() -> Iterator[Page]:
    with browser() as page:
        yield page


def shown(tab: Page, folder: Path, page: str) -> str:
    file = folder / "report.html"
    file.write_text(page, encoding="utf-8")
    tab.open(file.as_uri())
    return file.as_uri()


def full_page() -> str:
    """With a history, a picture and a hundred slices."""
    result = with_hundred_slices()
    history = [
        past_run(result.model_copy(update={"run_at_ms": NOW_MS - days * DAY_MS})) for days in range(1, 30)
    ]
    picture = BytesIO()
    Image.new("RGB", (96, 96), "#c08030").save(picture, "PNG")
    return render(result, history, {"B00EXAMPLE3": data_url(picture.getvalue(), "image/png")})


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 800, 1024, 1600])
def test_it_fits_and_can_be_read_at_every_width_in_every_light(
    tab: Page, tmp_path: Path, width: int, scheme: str
) -> None:
    tab.show(width, scheme)
    shown(tab, tmp_path, full_page())
    assert tab.run("document.documentElement.scrollWidth") == width
    assert tab.run(BROKEN_LAYOUT) == []
    assert tab.run(TOO_FULL) == []
    assert tab.run(CONTRASTS) == {}
    with Image.open(BytesIO(tab.picture())) as picture:
        assert picture.width == width
        corner = picture.convert("L").getpixel((2, 2))
        assert isinstance(corner, (int, float))
        assert (corner > 200) == (scheme == "light")
        assert len(picture.convert("RGB").getcolors(1 << 24) or ()) > 100


def test_nothing_is_asked_for_but_the_page_itself(tab: Page, tmp_path: Path) -> None:
    address = shown(tab, tmp_path, full_page())
    assert [each for each in tab.requests if not each.startswith("data:")] == [address]
    assert tab.complaints == []
    assert tab.run("document.querySelector('img').naturalWidth") == 96


def test_styles_apply_under_the_policy(tab: Page, tmp_path: Path) -> None:
    tab.show(1600, "light")
    shown(tab, tmp_path, render(example_result()))
    assert tab.run("getComputedStyle(document.querySelector('.verdict')).borderLeftWidth") == "8px"


def test_the_policy_stops_what_a_hole_in_the_escaping_would_let_in(tab: Page, tmp_path: Path) -> None:
    hole = '<img src="https://cdn.example/a.jpg" onerror="document.title=1"><script>document.title=2</script>'
    page = render(example_result()).replace("</main>", f"{hole}</main>")
    address = shown(tab, tmp_path, page)
    assert tab.run("document.title").startswith("Alarm · ")
    assert tab.requests == [address] or tab.complaints
    assert any("Content Security Policy" in each for each in tab.complaints)


def test_hostile_titles_run_nothing(tab: Page, tmp_path: Path) -> None:
    result = example_result()
    worst = result.worst[0].model_copy(update={"title": HOSTILE, "picture": f"https://a.example/{HOSTILE}"})
    address = shown(tab, tmp_path, render(result.model_copy(update={"worst": (worst,)})))
    assert tab.run("document.scripts.length + document.images.length") == 0
    assert tab.requests == [address]
    assert tab.complaints == []


def test_rows_of_the_forest_line_up_at_every_width(tab: Page, tmp_path: Path) -> None:
    """One scale for all: gridlines of every row stand at the same place."""
    for width in (360, 1600):
        tab.show(width, "light")
        shown(tab, tmp_path, full_page())
        places = tab.run(
            "[...new Set([...document.querySelectorAll('.forest td.plot svg')]"
            ".map((svg) => Math.round(svg.querySelector('.grid').getBoundingClientRect().left)))]"
        )
        assert len(places) == 1
        assert places[0] > 0


def test_it_prints_in_ink_on_paper_also_from_a_dark_screen(tab: Page, tmp_path: Path) -> None:
    tab.show(1600, "dark", media="print")
    shown(tab, tmp_path, full_page())
    assert tab.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert tab.run("getComputedStyle(document.querySelector('nav')).display") == "none"
    assert tab.printed().startswith(b"%PDF-")
