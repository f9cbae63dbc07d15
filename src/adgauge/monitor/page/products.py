"""The products whose scores are farthest from their labels, and the leaderboard's rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit
from xml.etree.ElementTree import Element

from adgauge.monitor.page.efficiency import sign
from adgauge.monitor.page.markup import Node, foreign, tag
from adgauge.monitor.page.tables import row, table
from adgauge.monitor.page.wording import NOTHING, count, decimal, signed, with_interval
from adgauge.monitor.result import Residual, Result
from adgauge.quality.ces import CesForm
from adgauge.quality.leaderboard import place, published_rows

THUMBNAIL_PX = 96


def worst_table(worst: Sequence[Residual], thumbnails: Mapping[str, str]) -> Element:
    """With their pictures where those are at hand as `data:` URLs (id → URL), else with a link to them.

    The page itself loads nothing from anywhere.
    """
    rows = [
        tag(
            "tr",
            tag("td", _picture(each, thumbnails.get(each.id)), class_="picture"),
            tag("th", _named(each), scope="row"),
            *(tag("td", text, class_="number") for text in _numbers(each)),
        )
        for each in worst
    ]
    columns = ("picture", "~product", "#score", "#label", "#score − label", "#ratings")
    return table("Worst residuals", columns, rows, class_="worst")


def _numbers(each: Residual) -> tuple[str, ...]:
    ratings = count(each.rating_number) if each.rating_number is not None else NOTHING
    return decimal(each.score), decimal(each.label), signed(each.score - each.label), ratings


def _named(each: Residual) -> Element:
    title = foreign(each.title, 160) if each.title else tag("i", "no title")
    under: list[Node] = [tag("code", foreign(each.id, 60))]
    if each.main_category:
        under += [" · ", foreign(each.main_category, 60)]
    return tag("span", title, tag("br"), tag("small", *under))


def _picture(each: Residual, thumbnail: str | None) -> Element:
    if thumbnail is not None:
        if not thumbnail.startswith("data:image/"):
            raise ValueError(f"the thumbnail of {each.id} is no data: URL of a picture")
        return tag(
            "img", src=thumbnail, alt=f"picture of {each.id[:60]}", width=THUMBNAIL_PX, height=THUMBNAIL_PX
        )
    if not each.picture:
        return tag("i", "no picture")
    if each.picture[:5].lower() == "data:":
        return tag("i", "in the record")
    return _link(each.picture)


def _link(picture: str) -> Element:
    """Only what leads to a web server can be clicked; the rest is text."""
    shown = foreign(picture, 70)
    if not is_web_address(picture):
        return tag("code", shown)
    return tag("a", shown, href=picture, rel="noreferrer noopener nofollow", target="_blank")


def is_web_address(text: str) -> bool:
    """Whether a browser that is given `text` can only ask a web server."""
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and text.isprintable()
    except ValueError:
        return False


def leaderboard_table(result: Result) -> Element:
    """The judged model, then Table 1 as it was printed."""
    figures = result.overall.figures
    own = row(
        foreign(result.model.name or f"generation {result.model.generation}"),
        "◆",
        _rank(result),
        with_interval(figures.ces_leaderboard),
        with_interval(figures.plcc),
        decimal(result.model.cost, 3),
        decimal(result.model.params_m, 1),
        decimal(result.model.flops_g, 1),
        numbers=range(7),
        class_="own",
    )
    published = [
        row(
            each.team,
            sign(each),
            str(each.rank) if each.rank is not None else "baseline",
            decimal(each.ces),
            decimal(each.plcc),
            decimal(each.cost),
            decimal(each.params_m, 1),
            decimal(each.flops_g, 1),
            numbers=range(7),
        )
        for each in published_rows()
    ]
    columns = ("team", "#sign", "#rank", "#CES", "#PLCC", "#cost C", "#P, millions", "#F, GFLOPs")
    return table("The leaderboard", columns, [own, *published])


def _rank(result: Result) -> str:
    """Where its CES would stand, as the interval leaves it open."""
    ces = result.overall.figures.ces_leaderboard
    if ces.value is None:
        return NOTHING
    rank = place(ces.value, CesForm.LEADERBOARD).rank
    if ces.low is None or ces.high is None:
        return f"would be {rank}"
    best, last = (place(end, CesForm.LEADERBOARD).rank for end in (ces.high, ces.low))
    return f"would be {rank}" if best == last else f"would be {rank} ({best} to {last})"
