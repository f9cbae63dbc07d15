"""Things for house, kitchen, desk and garden. Each draws one product on an easel."""

from __future__ import annotations

from PIL import Image

from .easel import Easel, arc, darker, ink_on, lighter, mix

STEEL, WOOD, DARK = "#b9bec5", "#b98552", "#2a2c31"


def mug(e: Easel, color: str, accent: str, name: str) -> None:
    """A mug with a word on it."""
    e.stroke(arc(660, 560, 130, -80, 80), darker(color, 0.12), 56, "round")
    e.box(270, 300, 670, 850, color, "round", 46)
    e.oval(270, 262, 670, 346, lighter(color, 0.3), "flat")
    e.oval(290, 274, 650, 334, accent, "sheen")
    e.fit(name, 465, 580, 320, 92, ink_on(color), 2)


def pan(e: Easel, color: str, accent: str) -> None:
    """A frying pan from above."""
    e.stroke([(640, 390), (900, 140)], accent, 62, "round")
    e.oval(860, 110, 920, 170, darker(accent))
    e.oval(110, 250, 730, 870, darker(color), "ball")
    e.oval(150, 290, 690, 830, color, "sheen")
    e.oval(200, 340, 640, 780, lighter(color, 0.08), "ball")


def knife(e: Easel, color: str, accent: str) -> None:
    """A chef's knife."""
    e.blob([(80, 500), (590, 410), (600, 560), (430, 600), (220, 580)], STEEL, "sheen")
    e.blob([(80, 500), (600, 535), (600, 560), (430, 600), (220, 580)], lighter(STEEL, 0.6))
    e.box(590, 400, 640, 570, "#d7dade", "down")
    e.box(630, 412, 930, 520, color, "down", 40)
    for x in (690, 780, 870):
        e.oval(x - 14, 452, x + 14, 480, accent, "ball")
    e.turn(18)


def board(e: Easel, color: str, accent: str) -> None:
    """A cutting board with bread-and-herb colours on it."""
    e.box(170, 270, 830, 880, color, "sheen", 50)
    e.box(420, 120, 580, 300, color, "sheen", 50)
    e.oval(470, 160, 530, 220, "#f3f1ec")
    for y in range(330, 860, 46):
        e.box(176, y, 824, y + 3, darker(color, 0.14))
    e.oval(300, 420, 520, 640, "#d64933", "ball")
    e.oval(500, 500, 690, 690, "#e0563f", "ball")
    e.blob([(560, 400), (680, 330), (720, 420), (620, 480)], accent, "down", 3)


def kettle(e: Easel, color: str, accent: str) -> None:
    """A stove kettle."""
    e.stroke(arc(500, 400, 220, 200, 340), accent, 40, "round")
    e.blob([(700, 560), (880, 380), (910, 420), (760, 700)], darker(color, 0.1), "down", 1)
    e.blob([(360, 400), (640, 400), (760, 760), (700, 850), (300, 850), (240, 760)], color, "round")
    e.oval(360, 350, 640, 440, lighter(color, 0.2), "sheen")
    e.oval(470, 310, 530, 370, accent, "ball")


def bowls(e: Easel, color: str, accent: str) -> None:
    """Two stacked bowls."""
    for y, shade in ((120, accent), (-60, color)):
        e.blob(
            [(190, 480 + y), (810, 480 + y), (700, 700 + y), (620, 790 + y), (380, 790 + y), (300, 700 + y)],
            shade,
            "round",
        )
        e.oval(190, 420 + y, 810, 550 + y, lighter(shade, 0.35))
        e.oval(220, 435 + y, 780, 538 + y, darker(shade, 0.15), "down")


def lamp(e: Easel, color: str, accent: str) -> None:
    """A table lamp, lit."""
    e.box(480, 430, 520, 850, accent, "round")
    e.oval(330, 820, 670, 900, accent, "down")
    e.blob([(360, 140), (640, 140), (760, 460), (240, 460)], color, "round")
    e.oval(240, 430, 760, 490, "#fff3c4", "flat")


def clock(e: Easel, color: str, accent: str) -> None:
    """A wall clock at ten past ten."""
    e.oval(150, 150, 850, 850, darker(color, 0.2), "ball")
    e.oval(195, 195, 805, 805, "#fbfaf6", "sheen")
    for hour in range(12):
        (x, y) = arc(500, 500, 262, hour * 30, hour * 30)[0]
        r = 15 if hour % 3 == 0 else 8
        e.oval(x - r, y - r, x + r, y + r, DARK)
    e.stroke([(500, 500), (372, 420)], DARK, 20)
    e.stroke([(500, 500), (668, 390)], DARK, 14)
    e.oval(476, 476, 524, 524, accent, "ball")


def vase(e: Easel, color: str, accent: str) -> None:
    """A vase with three stems."""
    for x, y in ((380, 130), (500, 90), (620, 140)):
        e.stroke([(500, 480), (x, y + 60)], "#5c7a4a", 12)
        for turn in range(0, 360, 72):
            (px, py) = arc(x, y + 50, 44, turn, turn)[0]
            e.oval(px - 36, py - 36, px + 36, py + 36, accent, "ball")
        e.oval(x - 24, y + 26, x + 24, y + 74, "#f7d25c", "ball")
    neck = [(440, 440), (560, 440), (570, 560), (680, 700), (620, 900), (380, 900), (320, 700), (430, 560)]
    e.blob(neck, color, "round", 3)


def frame(e: Easel, color: str, photo: Image.Image) -> None:
    """A framed print with a mount."""
    e.box(160, 90, 840, 910, color, "sheen", 4)
    e.box(190, 120, 810, 880, "#faf8f3")
    e.paste(photo, 260, 190, 740, 810)


def print_wide(e: Easel, color: str, photo: Image.Image) -> None:
    """A wide print on canvas."""
    e.box(60, 240, 940, 790, color, "down", 3)
    e.paste(photo, 66, 246, 934, 778)


def chair(e: Easel, color: str, accent: str) -> None:
    """A shell chair on wooden legs."""
    for x0, x1 in ((360, 260), (640, 740), (430, 390), (570, 610)):
        e.stroke([(x0, 600), (x1, 900)], accent, 26, "round")
    e.blob([(290, 160), (500, 110), (710, 160), (730, 560), (270, 560)], color, "ball", 3)
    e.blob([(220, 520), (780, 520), (720, 680), (280, 680)], darker(color, 0.1), "down", 3)


def towels(e: Easel, color: str, accent: str) -> None:
    """A pile of folded towels."""
    for i, shade in enumerate((color, accent, lighter(color, 0.5), darker(accent, 0.2))):
        y = 720 - i * 150
        e.box(180, y, 820, y + 150, shade, "down", 62)
        e.box(180, y + 70, 700, y + 78, darker(shade, 0.2))


def plant(e: Easel, color: str, accent: str) -> None:
    """A leafy plant in a pot."""
    for turn in range(200, 341, 20):
        (x, y) = arc(500, 560, 380, turn, turn)[0]
        side = [(x * 0.6 + 500 * 0.4 - 60, y * 0.6 + 560 * 0.4), (x * 0.6 + 500 * 0.4 + 60, y * 0.6 + 224)]
        e.blob([(500, 600), side[0], (x, y), side[1]], mix(accent, "#2f4b26", (turn % 60) / 90), "sheen", 3)
    e.blob([(320, 560), (680, 560), (630, 900), (370, 900)], color, "round")
    e.box(300, 540, 700, 620, darker(color, 0.08), "round", 12)


def notebook(e: Easel, color: str, accent: str, name: str) -> None:
    """A notebook with an elastic band."""
    e.box(250, 120, 790, 900, darker(color, 0.3), "down", 24)
    e.box(240, 110, 770, 886, color, "sheen", 24)
    e.box(690, 106, 716, 890, accent, "down")
    e.fit(name, 455, 330, 380, 80, ink_on(color), 1)


def pencils(e: Easel, color: str, accent: str) -> None:
    """A fan of coloured pencils."""
    hues = (color, "#f2b134", accent, "#ed553b", "#3caea3", "#8a4fbf", "#20639b")
    for i, hue in enumerate(hues):
        x = 170 + i * 100
        top = 190 + abs(i - 3) * 34
        e.blob([(x + 40, top - 110), (x + 80, top + 20), (x, top + 20)], "#e7c9a0", "round")
        e.blob([(x + 40, top - 110), (x + 54, top - 62), (x + 26, top - 62)], hue)
        e.box(x, top + 16, x + 80, 900, hue, "round")


def screwdriver(e: Easel, color: str, accent: str) -> None:
    """A screwdriver with a two-colour grip."""
    e.box(478, 90, 522, 520, STEEL, "round")
    e.blob([(470, 80), (530, 80), (518, 140), (482, 140)], "#8d949c", "round")
    e.box(420, 500, 580, 900, color, "round", 60)
    for x in (440, 490, 540):
        e.box(x, 560, x + 20, 840, accent, "round", 10)
    e.turn(-32)


def tape(e: Easel, color: str, accent: str) -> None:
    """A tape measure, pulled out a little."""
    e.box(560, 640, 960, 700, "#ffd84d", "down")
    for x in range(590, 950, 30):
        e.box(x, 640, x + 4, 668 if x % 60 else 684, DARK)
    e.box(160, 240, 700, 740, color, "sheen", 110)
    e.oval(270, 330, 590, 650, accent, "ball")
    e.write("5 m", 430, 490, 110, ink_on(accent), 3)


def drill(e: Easel, color: str, accent: str) -> None:
    """A cordless drill."""
    e.box(80, 330, 300, 352, "#c8ccd1", "down")
    e.blob([(250, 290), (370, 260), (370, 430), (250, 395)], DARK, "down")
    e.box(350, 230, 800, 460, color, "down", 60)
    e.blob([(560, 430), (740, 430), (800, 800), (630, 800)], accent, "round", 1)
    e.box(540, 760, 850, 890, DARK, "down", 26)
    e.box(560, 470, 610, 560, DARK, "round", 16)
    e.write("18V", 695, 828, 64, "#ffffff", 2)


def watering_can(e: Easel, color: str, accent: str) -> None:
    """A watering can."""
    e.stroke([(360, 700), (150, 380)], darker(color, 0.1), 60, "round")
    e.blob([(70, 330), (230, 260), (240, 350), (130, 420)], darker(color, 0.2), "down")
    e.stroke(arc(690, 560, 180, -110, 80), accent, 36, "round")
    e.box(340, 420, 740, 880, color, "round", 30)
    e.oval(340, 380, 740, 460, darker(color, 0.25), "down")
