"""Packaging: bottles, tins, cartons, pouches. Each draws one product on an easel."""

from __future__ import annotations

from PIL import Image

from .easel import Easel, arc, darker, ink_on, lighter, mix


def _label(e: Easel, box: tuple[float, float, float, float], color: str, name: str, line: str) -> None:
    """A paper label with a name, a rule and a small line."""
    x0, y0, x1, y1 = box
    e.box(x0, y0, x1, y1, color, "round", 6)
    middle, width, ink = (x0 + x1) / 2, (x1 - x0) * 0.82, ink_on(color)
    height = y1 - y0
    e.fit(name, middle, y0 + height * 0.36, width, 78, ink, 2)
    e.box(middle - width * 0.2, y0 + height * 0.585, middle + width * 0.2, y0 + height * 0.6, ink)
    e.fit(line, middle, y0 + height * 0.75, width, 36, ink)


def bottle(e: Easel, color: str, accent: str, name: str, line: str) -> None:
    """A tall bottle with a label."""
    shoulders = [
        (362, 420),
        (372, 330),
        (440, 230),
        (440, 130),
        (560, 130),
        (560, 230),
        (628, 330),
        (638, 420),
    ]
    e.box(362, 300, 638, 900, color, "round", 40)
    e.blob(shoulders, color, "round")
    e.box(432, 90, 568, 170, accent, "round", 14)
    _label(e, (362, 430, 638, 760), lighter(accent, 0.75), name, line)


def jar(e: Easel, color: str, accent: str, name: str, line: str) -> None:
    """A preserve jar: contents behind glass, a screw lid, a label."""
    e.box(300, 290, 700, 890, lighter(color, 0.55), "round", 60)
    e.box(316, 350, 684, 876, color, "round", 52)
    e.box(288, 200, 712, 320, accent, "round", 22)
    for y in (228, 250, 272, 294):
        e.box(288, y, 712, y + 6, darker(accent, 0.3))
    _label(e, (302, 470, 698, 760), "#faf5ea", name, line)


def can(e: Easel, color: str, accent: str, name: str, line: str) -> None:
    """A drink or food can."""
    e.oval(320, 820, 680, 910, "#9aa0a6", "round")
    e.box(320, 190, 680, 868, color, "round")
    e.blob([(320, 560), (680, 430), (680, 620), (320, 750)], accent, "round")
    e.oval(320, 145, 680, 235, "#c4c9cf", "sheen")
    e.oval(345, 160, 655, 222, "#9ea5ad", "sheen")
    e.fit(name, 500, 360, 300, 84, ink_on(color), 3)
    e.fit(line, 500, 590, 290, 40, ink_on(accent))


def pouch(e: Easel, color: str, accent: str, name: str, line: str) -> None:
    """A stand-up pouch with a round seal: coffee, tea, dog food."""
    sides = [(290, 150), (710, 150), (725, 520), (760, 890), (240, 890), (275, 520)]
    e.blob(sides, color, "round")
    e.box(288, 120, 712, 196, darker(color), "round", 8)
    e.oval(330, 300, 670, 640, accent, "ball")
    e.oval(346, 316, 654, 624, lighter(accent, 0.82))
    e.fit(name, 500, 450, 280, 74, "#2b2622", 2)
    e.fit(line, 500, 528, 240, 34, "#4a423b")
    e.fit("NET WT 340 g", 500, 780, 240, 32, ink_on(color))


def carton(e: Easel, color: str, accent: str, name: str, line: str) -> None:
    """A box seen from a corner: cereal, tea, a game."""
    e.blob([(640, 190), (790, 150), (790, 830), (640, 900)], darker(color, 0.35), "down")
    e.blob([(230, 190), (640, 190), (790, 150), (400, 150)], lighter(color, 0.35))
    e.box(230, 190, 640, 900, color, "down")
    e.oval(280, 430, 590, 740, accent, "ball")
    e.box(230, 250, 640, 380, lighter(color, 0.88))
    e.fit(name, 435, 314, 370, 82, darker(color, 0.35), 3)
    e.fit(line, 435, 830, 360, 40, ink_on(color))


def game(e: Easel, color: str, accent: str, name: str, line: str, photo: Image.Image | None) -> None:
    """A flat game or puzzle box lying towards the viewer, with a picture on its lid."""
    e.blob([(140, 760), (860, 760), (860, 850), (140, 850)], darker(color, 0.45), "down")
    e.box(140, 200, 860, 765, color, "down", 10)
    if photo:
        e.paste(photo, 165, 225, 835, 620)
    else:
        for i in range(24):
            x, y = 165 + i % 6 * 112, 225 + i // 6 * 99
            e.box(x, y, x + 108, y + 95, mix(color, accent, (i * 7 % 10) / 9), "sheen", 8)
    e.fit(name, 500, 672, 640, 84, ink_on(color), 3)
    e.fit(line, 500, 732, 600, 36, ink_on(color))


def tube(e: Easel, color: str, accent: str, name: str, line: str) -> None:
    """A squeeze tube standing on its cap."""
    e.blob([(330, 110), (670, 110), (640, 780), (360, 780)], color, "round")
    e.box(328, 96, 672, 150, darker(color, 0.12), "round", 6)
    e.box(372, 770, 628, 900, accent, "round", 20)
    e.box(345, 330, 655, 344, accent, "round")
    e.fit(name, 500, 440, 250, 76, ink_on(color), 2)
    e.fit(line, 500, 520, 240, 34, ink_on(color))


def pump(e: Easel, color: str, accent: str, name: str, line: str) -> None:
    """A pump bottle: soap, lotion."""
    e.stroke([(500, 190), (500, 130), (640, 130), (650, 160)], accent, 34, "round")
    e.box(470, 150, 530, 300, accent, "round")
    e.box(420, 250, 580, 340, darker(accent, 0.2), "round", 12)
    e.box(330, 330, 670, 900, color, "round", 70)
    _label(e, (332, 460, 668, 770), lighter(color, 0.8), name, line)


def dropper(e: Easel, color: str, accent: str, name: str, line: str) -> None:
    """A small serum bottle with a rubber bulb."""
    e.box(455, 90, 545, 270, "#26262b", "round", 40)
    e.box(420, 250, 580, 380, accent, "round", 8)
    e.box(350, 370, 650, 890, color, "round", 60)
    _label(e, (352, 510, 648, 770), "#f6f1e8", name, line)


def cream(e: Easel, color: str, accent: str, name: str, line: str) -> None:
    """A low jar of cream with a wide lid."""
    e.box(240, 560, 760, 860, color, "round", 60)
    e.box(225, 400, 775, 590, accent, "round", 26)
    e.oval(235, 365, 765, 445, lighter(accent, 0.35), "sheen")
    e.fit(name, 500, 690, 420, 84, ink_on(color), 2)
    e.fit(line, 500, 770, 380, 36, ink_on(color))


def perfume(e: Easel, color: str, accent: str, name: str, line: str) -> None:
    """A square flacon with a heavy stopper."""
    e.box(290, 360, 710, 890, lighter(color, 0.6), "sheen", 40)
    e.box(326, 470, 674, 858, color, "sheen", 24)
    e.box(455, 290, 545, 370, "#c9a24b", "round")
    e.box(400, 130, 600, 300, accent, "round", 18)
    e.fit(name, 500, 640, 300, 78, ink_on(color), 2)
    e.fit(line, 500, 712, 280, 32, ink_on(color))


def lipstick(e: Easel, color: str, accent: str, name: str, line: str) -> None:
    """An open lipstick."""
    e.blob([(440, 250), (560, 160), (560, 480), (440, 480)], color, "round")
    e.box(425, 440, 575, 600, "#d8b45a", "round", 8)
    e.box(395, 580, 605, 890, accent, "round", 14)
    e.fit(name, 500, 740, 190, 52, ink_on(accent), 1)
    e.fit(line, 500, 800, 180, 26, ink_on(accent))


def soap(e: Easel, color: str, accent: str, name: str, line: str) -> None:
    """A bar of soap in a paper band, with bubbles."""
    e.box(170, 470, 830, 800, color, "down", 90)
    e.box(370, 462, 630, 808, lighter(accent, 0.7), "down")
    e.fit(name, 500, 610, 240, 66, darker(accent, 0.45), 2)
    e.fit(line, 500, 680, 220, 30, darker(accent, 0.45))
    for x, y, r in ((250, 380, 56), (340, 300, 34), (690, 390, 44), (770, 310, 28), (610, 330, 22)):
        e.oval(x - r, y - r, x + r, y + r, mix("#ffffff", accent, 0.25), "ball")


def chocolate(e: Easel, color: str, accent: str, name: str, line: str) -> None:
    """A bar of chocolate, half out of its wrapper."""
    e.box(320, 110, 680, 560, "#4b2a1a", "sheen", 12)
    for row in range(3):
        for column in range(3):
            x, y = 332 + column * 114, 122 + row * 118
            e.box(x, y, x + 106, y + 110, "#5d3621", "sheen", 8)
    e.blob(
        [(305, 430), (400, 470), (500, 425), (600, 470), (695, 430), (695, 900), (305, 900)], color, "round"
    )
    e.box(305, 600, 695, 760, accent, "round")
    e.fit(name, 500, 660, 340, 76, ink_on(accent), 2)
    e.fit(line, 500, 722, 320, 32, ink_on(accent))


def paper_cup(e: Easel, color: str, accent: str, name: str, line: str) -> None:
    """A cup with a lid: ice cream, instant soup."""
    e.blob([(300, 300), (700, 300), (640, 890), (360, 890)], color, "round")
    e.blob([(316, 470), (684, 470), (656, 740), (344, 740)], accent, "round")
    e.box(280, 230, 720, 320, "#f4f1ec", "round", 20)
    e.fit(name, 500, 580, 280, 76, ink_on(accent), 2)
    e.fit(line, 500, 660, 260, 34, ink_on(accent))


def candle(e: Easel, color: str, accent: str, name: str, line: str) -> None:
    """A burning candle in a glass."""
    e.blob([(500, 120), (540, 220), (500, 275), (460, 220)], "#ffb53b", "ball", 3)
    e.stroke([(500, 270), (500, 380)], "#3b332c", 10)
    e.box(310, 330, 690, 890, lighter(color, 0.45), "round", 36)
    e.box(326, 400, 674, 876, color, "round", 30)
    _label(e, (350, 540, 650, 770), lighter(accent, 0.8), name, line)


def tin(e: Easel, color: str, accent: str, name: str, line: str) -> None:
    """A round tin seen from above: biscuits, balm, paints."""
    e.oval(190, 260, 810, 870, darker(color, 0.4), "ball")
    e.oval(190, 190, 810, 800, color, "ball")
    e.oval(240, 240, 760, 750, lighter(color, 0.12), "sheen")
    for start in range(0, 360, 30):
        (x, y) = arc(500, 495, 222, start, start)[0]
        e.oval(x - 18, y - 18, x + 18, y + 18, accent, "ball")
    e.fit(name, 500, 480, 360, 92, ink_on(color), 3)
    e.fit(line, 500, 566, 330, 38, ink_on(color))
