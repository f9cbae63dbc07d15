"""The page of a run: what it says, and that it is safe to open whatever the data say."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from typing import Any

import pytest

from adgauge.monitor.history import past_run
from adgauge.monitor.report import render
from adgauge.monitor.result import (
    Coverage,
    Figure,
    Result,
    Slice,
    SliceFigures,
    Status,
    Verdict,
)
from adgauge.quality.leaderboard import published_rows
from tests.monitor.example_result import DAY_MS, NOW_MS, example_result, figures, too_few
from tests.monitor.parsed_page import Node, parsed

HOSTILE = "</style></title></svg><script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
ACTIVE = {"script", "iframe", "object", "embed", "form", "base", "link", "audio", "video", "foreignobject"}
PIXEL = "data:image/png;base64,iVBORw0KGgo="


def page_of(result: Result, **given: Any) -> Node:
    return parsed(render(result, **given))


def section(page: Node, heading: str) -> Node:
    return next(each for each in page.all("section") if each.one("h2").text == heading)


def with_hundred_slices() -> Result:
    """Three dimensions, some of their slices too small."""
    slices = [
        SliceFigures(
            slice=Slice(dimension=f"dimension {number % 3}", value=f"value {number}"),
            judged=number % 5 != 0,
            coverage=Coverage(labels=number + 3, compared=number),
            figures=figures(number + 60, 0.3 + number / 500, 0.1) if number % 5 else too_few(number),
        )
        for number in range(100)
    ]
    return example_result().model_copy(update={"slices": tuple(slices)})


def assert_inert(page: Node) -> None:
    """Nothing that runs, and nothing that is loaded from anywhere."""
    for node in page.all():
        assert node.tag not in ACTIVE, node
        assert not [name for name in node.attributes if name.startswith("on") or name == "style"], node
        assert node.attributes.get("src", PIXEL).startswith("data:image/"), node
        if "href" in node.attributes:
            assert node.tag == "a"
            assert re.match(r"https?://|#[a-z]+$", node.attributes["href"]), node


def test_a_page_is_inert_and_its_policy_forbids_the_rest() -> None:
    page = page_of(example_result(), thumbnails={"B00EXAMPLE3": PIXEL})
    assert_inert(page)
    css = "".join(map(str, page.one("style").contents))
    assert "url(" not in css
    assert "@import" not in css
    policies = [
        each.attributes["content"]
        for each in page.all("meta")
        if each.attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    digest = b64encode(hashlib.sha256(css.encode()).digest()).decode()
    assert policies == [
        f"default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; style-src 'sha256-{digest}'"
    ]


def test_hostile_texts_stay_texts_wherever_they_stand() -> None:
    document = example_result().model_dump_json()
    named = set(
        re.findall(r'"([^"]*Beauty[^"]*|Rose water[^"]*|[^"]*B00EXAMPLE\d[^"]*|labels\.[a-z]+)"', document)
    )
    assert len(named) > 6
    escaped = HOSTILE.replace("\\", "\\\\").replace('"', '\\"')
    for text in sorted(named, key=len, reverse=True):
        document = document.replace(f'"{text}"', f'"{escaped}"')
    hostile = Result.model_validate_json(document)
    hostile = hostile.model_copy(
        update={"model": hostile.model.model_copy(update={"name": HOSTILE, "contract": HOSTILE})}
    )
    page = page_of(hostile, history=[past_run(hostile)])
    assert_inert(page)
    assert page.text.count("<script>alert(1)</script>") > 10


@pytest.mark.parametrize(
    ("picture", "is_link"),
    [
        ("https://cdn.example/a.jpg", True),
        ("http://cdn.example/a.jpg?b=1&c=2", True),
        ("javascript:alert(1)", False),
        ("JaVaScRiPt:alert(1)", False),
        ("\x01javascript:alert(1)", False),
        ("java\nscript:alert(1)", False),
        ("vbscript:x", False),
        ("file:///etc/passwd", False),
        ("//cdn.example/a.jpg", False),
        ("https://", False),
        ("https://[broken", False),
        ("pictures/a.jpg", False),
        ("data:text/html,<script>alert(1)</script>", False),
    ],
)
def test_only_web_addresses_of_pictures_are_links(picture: str, is_link: bool) -> None:
    result = example_result()
    worst = result.worst[0].model_copy(update={"picture": picture})
    page = page_of(result.model_copy(update={"worst": (worst,)}))
    links = [each.attributes["href"] for each in section(page, "Worst residuals").all("a")]
    assert links == ([picture] if is_link else [])
    assert not list(page.all("img"))


def test_thumbnails_are_shown_and_can_only_be_data() -> None:
    page = page_of(example_result(), thumbnails={"B00EXAMPLE3": PIXEL})
    assert page.one("img").attributes["src"] == PIXEL
    with pytest.raises(ValueError, match="no data: URL of a picture"):
        render(example_result(), thumbnails={"B00EXAMPLE3": "https://cdn.example/a.jpg"})


@pytest.mark.parametrize(
    ("status", "words"), [(Status.OK, "✓ OK"), (Status.ALARM, "▲ Alarm"), (Status.NO_DATA, "? No data")]
)
def test_the_verdict_is_said_in_a_sign_a_word_and_a_sentence(status: Status, words: str) -> None:
    verdict = Verdict(status=status, headline="So it is.")
    page = page_of(example_result().model_copy(update={"verdict": verdict}))
    assert page.one("div", "verdict").text == f"{words} So it is."
    assert page.one("div", str(status))
    assert words.split(" ", 1)[1] in page.one("head").one("title").text


def test_every_slice_has_its_row_with_its_figures_and_its_judgement() -> None:
    result = with_hundred_slices()
    rows = {
        row.one("th").text: row
        for row in page_of(result).one("table", "forest").all("tr")
        if list(row.all("td"))
    }
    assert len(rows) == 101
    for each in result.slices:
        row = rows[each.slice.value]
        plot, plcc, pairs, _, judgement = (cell.text for cell in row.all("td"))
        assert pairs == f"{each.figures.n:,} pairs"
        if each.judged:
            found = each.figures.plcc
            assert plcc == f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"
            assert judgement == "no alarm"
            assert next(row.all("circle", "judged"))
        else:
            assert plcc == "—"
            assert judgement == f"too few pairs ({each.figures.n} of 50)"
            assert "not defined" in plot


def test_slices_that_alarm_are_marked_by_shape_and_words() -> None:
    page = page_of(example_result())
    (row,) = page.one("table", "forest").all("tr", "alarmed")
    assert row.one("th").text == "Beauty"
    assert "▲ PLCC fell, drift" in row.text
    assert row.one("path", "alarmed")
    alarms = section(page, "Alarms").text
    assert all(alarm.words in alarms for alarm in example_result().alarms)


def test_what_is_undefined_is_a_dash_and_never_a_word_of_the_machine() -> None:
    result = example_result()
    nothing = result.overall.model_copy(update={"figures": too_few(0), "comparisons": ()})
    model = result.model.model_copy(update={"cost": None, "name": None, "contract": None})
    empty = result.model_copy(
        update={
            "overall": nothing.model_copy(
                update={"coverage": Coverage(labels=0, compared=0), "judged": False}
            ),
            "model": model,
            "slices": (),
            "calibration": (),
            "scatter": (),
            "worst": (),
            "drift": (),
            "alarms": (),
            "bad_rows": (),
            "reference": None,
            "training": None,
        }
    )
    page = page_of(empty)
    assert_inert(page)
    assert not re.search(r"\b(nan|inf|None)\b", page.one("body").text)
    assert "P and F of the served contract were not given" in page.text
    assert "generation 3" in page.one("head").one("title").text


def test_images_have_titles_and_tables_have_headings() -> None:
    page = page_of(example_result(), history=[past_run(example_result())])
    images = [each for each in page.all("svg") if each.attributes.get("role") == "img"]
    assert len(images) == 9
    assert all(each.children[0].tag == "title" and each.children[0].text for each in images)
    tables = list(page.all("table"))
    assert len(tables) > 12
    for each in tables:
        assert each.attributes["aria-label"]
        assert all(head.attributes["scope"] for head in each.all("th"))


def test_links_of_the_page_lead_to_its_sections() -> None:
    page = page_of(example_result())
    anchors = [each.attributes["href"].removeprefix("#") for each in page.one("nav").all("a")]
    assert anchors == [each.attributes["id"] for each in page.all("h2")]


def test_the_trend_is_of_earlier_runs_in_their_order_and_of_this_one() -> None:
    now = example_result()
    earlier = [
        past_run(now.model_copy(update={"run_at_ms": NOW_MS - days * DAY_MS})) for days in (1, 3, 2, -1)
    ]
    page = page_of(now, history=[*earlier, past_run(now)])
    listed = [
        row.one("th").text for row in section(page, "Trend").one("table").all("tr") if list(row.all("td"))
    ]
    assert listed == [
        f"{day}, 00:00 UTC" for day in ("30 Nov 2026", "29 Nov 2026", "28 Nov 2026", "27 Nov 2026")
    ]
    charts = [each for each in section(page, "Trend").all("svg") if each.attributes.get("role") == "img"]
    assert [each.children[0].text for each in charts] == [
        "PLCC of all products over 4 runs",
        "PLCC of main_category Beauty over 4 runs",
    ]
    assert len(list(charts[0].all("circle"))) == 4


def test_a_change_of_the_generation_stands_in_the_trend() -> None:
    now = example_result()
    model = now.model.model_copy(update={"generation": 2})
    before = past_run(now.model_copy(update={"run_at_ms": NOW_MS - DAY_MS, "model": model}))
    assert "generation 3" in section(page_of(now, history=[before]), "Trend").text


def test_the_first_run_has_no_trend_and_says_so() -> None:
    assert "first run in the history" in section(page_of(example_result()), "Trend").text


def test_the_leaderboard_stands_behind_the_model() -> None:
    text = section(page_of(example_result()), "CES against cost").text
    assert all(row.team in text for row in published_rows())
    assert "effimini_lite0" in text
    assert "would be 3 (1 to 6)" in text


def test_coverage_bad_rows_and_rules_are_told() -> None:
    page = page_of(example_result())
    coverage = section(page, "Coverage").text
    assert "scored later 120 5.7%" in coverage
    assert "main_category Books 1,300 1,200" in coverage
    assert "rating out of range 7" in section(page, "What was read").text
    assert "B00EXAMPLE2: average_rating 11" in section(page, "What was read").text
    assert "floor of PLCC 0.30" in section(page, "Rules").text


def test_right_to_left_overrides_end_where_the_text_ends() -> None:
    result = example_result()
    worst = result.worst[0].model_copy(update={"title": "\u202egnp.exe", "id": "a\x00b\x1b[31m"})
    page = page_of(result.model_copy(update={"worst": (worst,)}))
    assert any(each.text == "\u202egnp.exe" for each in page.all("bdi"))
    assert any(each.text == "a\ufffdb\ufffd[31m" for each in page.all("bdi"))


def test_a_negative_interval_is_drawn_inside_its_chart() -> None:
    result = example_result()
    low = result.overall.figures.model_copy(update={"plcc": Figure(value=-0.2, low=-0.5, high=0.1)})
    page = page_of(result.model_copy(update={"overall": result.overall.model_copy(update={"figures": low})}))
    for node in page.all("line"):
        for name in ("x1", "x2"):
            assert 0 <= float(node.attributes[name].removesuffix("%")) <= 100
    assert "−0.20 [−0.50, 0.10]" in page.text
