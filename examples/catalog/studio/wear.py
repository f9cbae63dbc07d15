"""Things to wear, to carry, to play with and to read. Each draws one product on an easel."""

from __future__ import annotations

from PIL import Image

from .easel import Easel, arc, darker, ink_on, lighter, mix

DARK, GOLD = "#22242a", "#d4a94e"


def book(e: Easel, color: str, accent: str, name: str, line: str, photo: Image.Image | None) -> None:
    """A book; its cover is a photograph or a composition of circles."""
    e.blob([(770, 130), (820, 160), (820, 900), (770, 890)], "#efe8da", "down")
    e.box(230, 110, 775, 890, color, "sheen", 6)
    if photo:
        e.paste(photo, 230, 330, 775, 890)
    else:
        for i, (x, y, r) in enumerate(((420, 620, 190), (600, 540, 130), (560, 740, 110))):
            e.oval(x - r, y - r, x + r, y + r, mix(accent, "#ffffff", i * 0.25), "ball")
    e.box(230, 110, 256, 890, darker(color, 0.3), "down")
    e.fit(name, 515, 200, 460, 84, ink_on(color), 2)
    e.fit(line, 515, 280, 440, 40, ink_on(color))


def backpack(e: Easel, color: str, accent: str) -> None:
    """A day pack."""
    e.stroke(arc(500, 150, 80, 180, 360), darker(color, 0.3), 30)
    e.box(200, 420, 280, 820, darker(color, 0.25), "round", 40)
    e.box(720, 420, 800, 820, darker(color, 0.25), "round", 40)
    e.box(240, 140, 760, 900, color, "round", 170)
    e.box(300, 520, 700, 860, darker(color, 0.12), "round", 60)
    e.box(320, 560, 680, 576, accent)
    e.stroke(arc(500, 460, 230, 190, 350), accent, 12)
    e.box(440, 330, 560, 400, accent, "sheen", 14)


def tote(e: Easel, color: str, accent: str, name: str) -> None:
    """A cotton bag with a print."""
    for x in (400, 600):
        e.stroke([(x - 60, 420), (x - 40, 180), (x + 40, 180), (x + 60, 420)], darker(color, 0.15), 28)
    e.blob([(230, 380), (770, 380), (800, 900), (200, 900)], color, "sheen")
    e.oval(370, 480, 630, 740, accent, "ball")
    e.fit(name, 500, 812, 480, 74, ink_on(color), 1)


def cap(e: Easel, color: str, accent: str) -> None:
    """A baseball cap from the side."""
    e.blob([(560, 600), (960, 640), (930, 720), (520, 690)], accent, "down", 3)
    e.blob([(160, 680), (180, 380), (400, 240), (640, 330), (720, 660)], color, "ball", 3)
    e.stroke([(420, 290), (470, 670)], darker(color, 0.2), 6)
    e.oval(395, 262, 445, 300, accent, "ball")


def scarf(e: Easel, color: str, accent: str) -> None:
    """A striped scarf, folded once."""
    for x0, x1, bottom in ((300, 480, 860), (500, 700, 780)):
        e.box(x0, 180, x1, bottom, color, "round", 20)
        for y in range(260, bottom - 40, 110):
            e.box(x0, y, x1, y + 44, accent, "round")
        for x in range(round(x0) + 12, round(x1), 26):
            e.stroke([(x, bottom - 4), (x, bottom + 46)], color, 10)
    e.box(270, 120, 730, 250, lighter(color, 0.12), "down", 60)


def socks(e: Easel, color: str, accent: str) -> None:
    """A pair of socks."""
    for dx in (0, 250):
        leg = [(230, 130), (400, 130), (400, 560), (560, 720), (500, 860), (330, 800), (230, 640)]
        e.blob([(x + dx, y) for x, y in leg], color, "round", 2)
        e.box(226 + dx, 120, 404 + dx, 210, accent, "round", 14)
        e.box(240 + dx, 330, 398 + dx, 370, accent, "round")
        e.box(240 + dx, 410, 398 + dx, 450, lighter(accent), "round")


def sunglasses(e: Easel, color: str, accent: str) -> None:
    """Sunglasses from the front."""
    e.stroke([(120, 420), (60, 470)], color, 30)
    e.stroke([(880, 420), (940, 470)], color, 30)
    e.stroke(arc(500, 470, 74, 200, 340), color, 28)
    for x in (290, 710):
        e.box(x - 200, 370, x + 200, 660, color, "down", 110)
        e.box(x - 172, 396, x + 172, 634, accent, "sheen", 90)


def umbrella(e: Easel, color: str, accent: str) -> None:
    """An open umbrella."""
    e.box(490, 470, 510, 840, DARK, "round")
    e.stroke(arc(450, 840, 50, 0, 170), accent, 24)
    edge = [point for x in (820, 660, 500, 340, 180) for point in arc(x, 570, 80, 0, -180)]
    e.blob([(90, 570), *arc(500, 560, 410, 180, 360), (910, 570), *edge], color, "ball")
    e.blob([(410, 530), (440, 300), (500, 150), (560, 300), (590, 530)], accent, "down")


def watch_classic(e: Easel, color: str, accent: str) -> None:
    """A wrist watch with hands."""
    e.blob([(400, 40), (600, 40), (620, 320), (380, 320)], color, "round")
    e.blob([(380, 680), (620, 680), (600, 960), (400, 960)], color, "round")
    e.oval(270, 270, 730, 730, GOLD, "ball")
    e.oval(310, 310, 690, 690, accent, "sheen")
    e.stroke([(500, 500), (412, 440)], ink_on(accent), 14)
    e.stroke([(500, 500), (616, 430)], ink_on(accent), 9)
    e.oval(486, 486, 514, 514, GOLD, "ball")


def ball(e: Easel, color: str, accent: str) -> None:
    """A ball with two seams."""
    e.oval(170, 170, 830, 830, color, "ball")
    e.stroke(arc(60, 500, 400, -50, 50), accent, 16)
    e.stroke(arc(940, 500, 400, 130, 230), accent, 16)
    e.stroke([(500, 172), (500, 828)], accent, 16)
    e.stroke([(172, 500), (828, 500)], accent, 16)


def dumbbells(e: Easel, color: str, accent: str) -> None:
    """A pair of dumbbells."""
    for dy in (-150, 150):
        e.box(300, 470 + dy, 700, 530 + dy, "#b4b9c0", "down")
        for x0 in (150, 690):
            e.box(x0, 380 + dy, x0 + 160, 620 + dy, color, "down", 36)
        e.write("8 kg", 230, 500 + dy, 54, accent, 1)


def yoga_mat(e: Easel, color: str, accent: str) -> None:
    """A rolled mat with straps."""
    e.box(170, 380, 860, 640, color, "down", 20)
    e.oval(100, 380, 250, 640, darker(color, 0.3), "ball")
    for r in (100, 70, 40):
        e.stroke(arc(175, 510, r * 0.7, 0, 360), lighter(color, 0.3), 10)
    for x in (370, 650):
        e.box(x, 374, x + 50, 646, accent, "down", 8)
    e.turn(16)


def tent(e: Easel, color: str, accent: str) -> None:
    """A two-person tent."""
    e.blob([(500, 220), (900, 800), (640, 800)], darker(color, 0.25), "down")
    e.blob([(500, 220), (640, 800), (100, 800)], color, "down")
    e.blob([(440, 320), (520, 800), (250, 800)], darker(accent, 0.1), "down")
    e.stroke([(500, 220), (930, 840)], "#8b8f95", 6)
    e.stroke([(500, 220), (70, 840)], "#8b8f95", 6)


def bicycle_helmet(e: Easel, color: str, accent: str) -> None:
    """A helmet with vents."""
    e.stroke([(260, 640), (420, 880), (600, 700)], DARK, 20)
    e.blob(
        [(120, 650), (160, 330), (460, 180), (780, 300), (890, 620), (600, 690), (320, 680)], color, "ball", 3
    )
    for x, top in ((300, 330), (460, 270), (620, 300)):
        e.blob([(x, top), (x + 70, top + 20), (x + 90, 560), (x + 20, 560)], DARK, "down", 2)
    e.stroke([(150, 630), (860, 610)], accent, 18)


def blocks(e: Easel, color: str, accent: str) -> None:
    """A tower of building blocks with studs."""
    rows = ((200, 700, color), (320, 520, accent), (200, 340, "#f4c430"), (420, 160, "#3a86ff"))
    for x, y, hue in rows:
        for stud in range(3):
            e.box(x + 40 + stud * 130, y - 44, x + 130 + stud * 130, y + 10, lighter(hue, 0.15), "round", 12)
        e.box(x, y, x + 430, y + 184, hue, "down", 14)


def cube(e: Easel, color: str, accent: str) -> None:
    """A colour puzzle cube."""
    faces = (color, accent, "#f6f6f6", "#f4d35e", "#2a9d8f")
    for row in range(3):
        for column in range(3):
            x, y = 170 + column * 160, 330 + row * 170
            hue = faces[(row * 2 + column) % 5]
            e.box(x, y, x + 150, y + 160, hue, "sheen", 20)
            side = [
                (660 + column * 70, 330 + row * 170 - column * 46),
                (726 + column * 70, 284 + row * 170 - column * 46),
            ]
            down = [(side[1][0], side[1][1] + 158), (side[0][0], side[0][1] + 160)]
            e.blob(side + down, darker(faces[(row + column * 3) % 5], 0.25))
    for row in range(3):
        for column in range(3):
            x, y = 180 + column * 160 + row * 70, 316 - row * 46
            e.blob(
                [(x, y), (x + 148, y), (x + 210, y - 40), (x + 62, y - 40)],
                lighter(faces[(row * 3 + column) % 5], 0.3),
            )


def teddy(e: Easel, color: str, accent: str) -> None:
    """A stuffed bear with a bow."""
    for x in (300, 700):
        e.oval(x - 90, 110, x + 90, 290, color, "ball")
        e.oval(x - 120, 560, x + 120, 760, color, "ball")
        e.oval(x - 120, 730, x + 90, 930, darker(color, 0.05), "ball")
    e.oval(300, 460, 700, 900, color, "ball")
    e.oval(270, 130, 730, 540, color, "ball")
    e.oval(400, 330, 600, 500, lighter(color, 0.55), "ball")
    e.oval(462, 350, 538, 410, DARK, "ball")
    for x in (400, 600):
        e.oval(x - 22, 280, x + 22, 324, DARK, "ball")
    e.blob([(500, 560), (380, 500), (380, 620)], accent, "down", 1)
    e.blob([(500, 560), (620, 500), (620, 620)], accent, "down", 1)
    e.oval(470, 530, 530, 590, darker(accent), "ball")


def car(e: Easel, color: str, accent: str) -> None:
    """A toy car."""
    e.blob([(290, 520), (380, 350), (640, 350), (740, 520)], lighter(accent, 0.6), "sheen", 1)
    e.box(90, 500, 910, 700, color, "down", 80)
    e.box(500, 360, 520, 520, color)
    for x in (270, 730):
        e.oval(x - 110, 600, x + 110, 820, DARK, "ball")
        e.oval(x - 50, 660, x + 50, 760, "#d9dce0", "ball")
    e.oval(850, 540, 910, 600, "#ffe08a", "ball")


def collar(e: Easel, color: str, accent: str, name: str) -> None:
    """A dog collar with a tag."""
    e.stroke(arc(500, 400, 270, 0, 360), color, 74, "sheen")
    e.box(440, 110, 560, 180, "#c8ccd1", "sheen", 14)
    e.oval(474, 690, 526, 742, "#c8ccd1", "ball")
    e.oval(400, 720, 600, 920, accent, "ball")
    e.fit(name, 500, 820, 170, 56, ink_on(accent), 1)


def pet_bed(e: Easel, color: str, accent: str) -> None:
    """A round bed for a cat or a small dog."""
    e.oval(90, 380, 910, 840, darker(color, 0.15), "ball")
    e.oval(90, 330, 910, 780, color, "ball")
    e.oval(220, 410, 780, 690, accent, "ball")
    e.blob([(480, 500), (540, 500), (560, 560), (510, 610), (460, 560)], lighter(accent, 0.4), "flat", 2)


def guitar(e: Easel, color: str, accent: str) -> None:
    """An acoustic guitar."""
    e.box(470, 60, 530, 520, "#4a3222", "round")
    e.box(455, 40, 545, 150, darker(accent, 0.3), "round", 10)
    body = [(330, 480), (500, 440), (670, 480), (640, 620), (740, 800), (500, 950), (260, 800), (360, 620)]
    e.blob(body, color, "ball", 3)
    e.oval(425, 580, 575, 730, DARK, "ball")
    e.box(420, 810, 580, 836, "#4a3222")
    for x in (482, 494, 506, 518):
        e.stroke([(x, 90), (x, 820)], "#efe6d2", 2)
