"""Devices. Each draws one product on an easel."""

from __future__ import annotations

from PIL import Image

from .easel import Easel, arc, darker, ink_on, lighter, mix

DARK, STEEL = "#1f2126", "#c3c8ce"


def headphones(e: Easel, color: str, accent: str) -> None:
    """Over-ear headphones."""
    e.stroke(arc(500, 520, 320, 180, 360), darker(color, 0.1), 70, "down")
    e.stroke(arc(500, 520, 300, 200, 340), lighter(color, 0.15), 22)
    for x0, x1 in ((110, 300), (700, 890)):
        e.box(x0, 470, x1, 830, color, "round", 90)
    for x0, x1 in ((250, 330), (670, 750)):
        e.box(x0, 490, x1, 810, DARK, "round", 40)
    for x in (180, 820):
        e.oval(x - 46, 600, x + 46, 692, accent, "ball")


def earbuds(e: Easel, color: str, accent: str) -> None:
    """Earbuds above their charging case."""
    for x in (360, 640):
        e.box(x - 32, 240, x + 32, 470, color, "round", 30)
        e.oval(x - 84, 140, x + 84, 308, color, "ball")
        e.oval(x - 34, 190, x + 34, 258, DARK, "ball")
    e.box(230, 500, 770, 880, color, "round", 150)
    e.box(230, 620, 770, 630, darker(color, 0.3))
    e.oval(484, 690, 516, 722, accent, "ball")


def phone(e: Easel, color: str, photo: Image.Image) -> None:
    """A phone that shows a photograph."""
    e.box(290, 70, 710, 930, color, "sheen", 70)
    e.box(308, 90, 692, 910, DARK, radius=54)
    e.paste(photo, 322, 112, 678, 888)
    e.write("9:41", 500, 220, 96, "#ffffff", 1)
    e.box(440, 850, 560, 860, "#ffffff", radius=5)


def laptop(e: Easel, color: str, photo: Image.Image) -> None:
    """An open laptop that shows a photograph."""
    e.box(190, 190, 810, 660, DARK, "flat", 24)
    e.paste(photo, 212, 214, 788, 634)
    e.blob([(190, 656), (810, 656), (930, 760), (70, 760)], color, "down")
    e.box(70, 756, 930, 786, darker(color, 0.2), "down", 14)
    e.blob([(400, 716), (600, 716), (620, 750), (380, 750)], darker(color, 0.12))


def monitor(e: Easel, color: str, photo: Image.Image) -> None:
    """A desk monitor that shows a photograph."""
    e.box(460, 660, 540, 840, STEEL, "round")
    e.box(320, 830, 680, 870, STEEL, "down", 14)
    e.box(70, 180, 930, 700, color, "sheen", 18)
    e.paste(photo, 88, 198, 912, 662)


def speaker(e: Easel, color: str, accent: str) -> None:
    """A portable loudspeaker."""
    e.box(250, 120, 750, 890, color, "round", 110)
    for y in range(200, 560, 24):
        for x in range(320, 700, 24):
            e.oval(x, y, x + 9, y + 9, darker(color, 0.45))
    e.oval(340, 580, 660, 860, DARK, "ball")
    e.oval(400, 640, 600, 800, accent, "ball")


def watch(e: Easel, color: str, accent: str) -> None:
    """A smart watch with activity rings."""
    e.blob([(390, 60), (610, 60), (640, 330), (360, 330)], accent, "round")
    e.blob([(360, 680), (640, 680), (610, 950), (390, 950)], accent, "round")
    e.box(290, 270, 710, 740, color, "sheen", 100)
    e.box(312, 292, 688, 718, "#0b0c0f", radius=84)
    for r, hue, stop in ((120, "#ff375f", 220), (86, "#a4ff3c", 150), (52, "#2de2e6", 80)):
        e.stroke(arc(500, 505, r, -90, stop), hue, 24)


def keyboard(e: Easel, color: str, accent: str) -> None:
    """A small keyboard with one coloured key."""
    e.box(70, 350, 930, 740, darker(color, 0.15), "down", 30)
    for row in range(4):
        for column in range(12):
            x, y = 96 + column * 68, 374 + row * 88
            hue = accent if (row, column) in ((0, 0), (2, 11)) else lighter(color, 0.25)
            e.box(x, y, x + 60, y + 78, hue, "down", 12)


def camera(e: Easel, color: str, accent: str) -> None:
    """A camera from the front."""
    e.box(330, 210, 560, 330, DARK, "down", 20)
    e.box(720, 250, 810, 320, accent, "round", 12)
    e.box(110, 300, 890, 800, DARK, "down", 50)
    e.box(110, 370, 890, 720, color, "down")
    e.oval(310, 330, 730, 750, "#0d0e10", "ball")
    e.oval(360, 380, 680, 700, "#33373d", "ball")
    e.oval(420, 440, 620, 640, "#1c3a5c", "ball")
    e.oval(470, 470, 530, 530, "#bcd7f2", "ball")
    e.box(160, 330, 250, 360, "#f2f2f2", radius=8)


def powerbank(e: Easel, color: str, accent: str, name: str) -> None:
    """A power bank with a charge display."""
    e.box(330, 120, 670, 880, color, "sheen", 54)
    e.box(400, 200, 600, 310, "#0c0d10", radius=18)
    e.write("87%", 500, 254, 72, accent, 1)
    e.fit(name, 500, 760, 260, 56, ink_on(color), 1)


def console(e: Easel, color: str, accent: str) -> None:
    """A game pad."""
    body = [(170, 340), (830, 340), (960, 780), (800, 830), (640, 640), (360, 640), (200, 830), (40, 780)]
    e.blob(body, color, "ball", 3)
    e.box(230, 430, 350, 466, DARK, "down", 8)
    e.box(272, 388, 308, 508, DARK, "down", 8)
    for dx, dy, hue in ((0, -60, "#f4d35e"), (60, 0, "#ee4266"), (0, 60, "#3bceac"), (-60, 0, accent)):
        e.oval(710 + dx - 30, 448 + dy - 30, 710 + dx + 30, 448 + dy + 30, hue, "ball")
    for x in (400, 600):
        e.oval(x - 62, 540, x + 62, 664, DARK, "ball")


def bulb(e: Easel, color: str, accent: str) -> None:
    """A light bulb."""
    e.blob([(300, 380), (360, 160), (640, 160), (700, 380), (600, 620), (400, 620)], color, "ball", 4)
    e.stroke([(430, 600), (450, 420), (500, 470), (550, 420), (570, 600)], accent, 12)
    for y in (640, 700, 760):
        e.box(400, y, 600, y + 50, STEEL, "round", 20)
    e.oval(450, 800, 550, 870, "#4a4d52", "ball")


def vinyl(e: Easel, color: str, accent: str, name: str, photo: Image.Image | None) -> None:
    """A record half out of its sleeve."""
    e.oval(330, 190, 950, 810, "#141416", "ball")
    for r in range(150, 300, 24):
        e.stroke(arc(640, 500, r, -70, 70), "#2d2d31", 4)
    e.oval(540, 400, 740, 600, accent, "ball")
    e.box(60, 190, 680, 810, color, "sheen")
    if photo:
        e.paste(photo, 60, 190, 680, 810)
    else:
        for i in range(7):
            e.stroke(arc(370, 760, 90 + i * 70, 200, 340), mix(accent, color, i / 8), 22)
    e.fit(name, 370, 290, 520, 92, "#ffffff", 3)
