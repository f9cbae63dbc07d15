"""Makes products.jsonl, images/ and NOTICE from written/*.toml: same source, same Pillow, same bytes.

    python -m examples.catalog.make_catalog PHOTOS [--sheet FILE]

PHOTOS is a folder for tools/photos.py, which fills it. --sheet also writes an overview of the pictures.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageOps

from tools.photos import Package, fetch, packages

from .records import lines
from .source import HERE, Product, photos, products
from .studio import encodings
from .studio.easel import font
from .studio.pictures import picture

NOTICE = """\
Pictures of the sample catalog

Every picture was composed by make_catalog.py and is under the licence of this project, Apache-2.0, except
for the photographs that it shows. Those are named here with package, author and licence; they were cropped,
scaled, set into layouts and, where the catalog wants a bad creative, damaged.
All products, brands, people and texts are invented.
"""
CREATIVE_COMMONS = {
    "CC-BY-2.0": "licenses/by/2.0/",
    "CC-BY-4.0": "licenses/by/4.0/",
    "CC0-1.0 and public domain": "publicdomain/zero/1.0/",
}


def main(arguments: list[str]) -> int:
    """Write the whole catalog beside this file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", type=Path)
    parser.add_argument("--sheet", type=Path)
    options = parser.parse_args(arguments)
    opened = _open_photos(fetch(options.photos))
    shutil.rmtree(HERE / "images", ignore_errors=True)
    (HERE / "images").mkdir()
    for product in products():
        _write_pictures(product, opened)
    (HERE / "products.jsonl").write_text("\n".join(lines()) + "\n")
    (HERE / "NOTICE").write_text(notice(options.photos))
    if options.sheet:
        _overview().save(options.sheet)
    return 0


def _open_photos(paths: list[Path]) -> dict[str, Image.Image]:
    """The photographs of written/photos.toml by alias, cut-outs with their transparency."""
    found = {}
    for alias, entry in photos().items():
        (path,) = (path for path in paths if str(path).endswith(entry["member"]))
        found[alias] = Image.open(path).convert("RGBA")
    return found


def _write_pictures(product: Product, opened: dict[str, Image.Image]) -> None:
    for number, path in enumerate(product.pictures):
        shape, photo = (product.draw, product.photo) if number == 0 else (None, product.more[number - 1])
        made = picture(shape, photo, product.scene, product.size, product.damage, opened)
        encodings.write(made, HERE / path, product.encoding if number == 0 else "jpeg")


def notice(folder: Path) -> str:
    """Licence and origin of every picture; `folder` is where tools/photos.py put the packages' licences."""
    everything = products()
    aliases = sorted({alias for product in everything for alias in _shown(product)})
    origins = "\n".join(_credit(alias) for alias in aliases)
    listing = "\n".join(
        f"{path}: {', '.join(_aliases(product, number)) or 'drawn'}"
        for product in everything
        for number, path in enumerate(product.pictures)
    )
    texts = {_package_of(photos()[alias]["member"]) for alias in aliases}
    licences = "\n\n".join(_licence(package, folder) for package in sorted(texts, key=lambda each: each.name))
    return f"{NOTICE}\nPhotographs\n\n{origins}\n\nPictures\n\n{listing}\n\nLicences\n\n{licences}\n"


def _licence(package: Package, folder: Path) -> str:
    """The text of a short licence, or the address of a Creative Commons one."""
    head = f"{package.name} {package.version}: {package.licence}"
    if "CC" in package.licence:
        return f"{head}, https://creativecommons.org/{CREATIVE_COMMONS[package.licence]}"
    return f"{head}\n\n{(package.folder(folder) / package.evidence).read_text().strip()}"


def _credit(alias: str) -> str:
    entry = photos()[alias]
    package = _package_of(entry["member"])
    author = entry.get("by", "Mirumee Software")
    source = f"{package.name} {package.version} ({'PyPI' if package.registry == 'pypi' else 'npm'})"
    return (
        f"{alias}: by {author}; {package.licence}; {source}, {entry['member']}; licence: {package.evidence}"
    )


def _package_of(member: str) -> Package:
    (package,) = (each for each in packages() if any(photo.endswith(member) for photo in each.photos))
    return package


def _shown(product: Product) -> list[str]:
    return [alias for number in range(len(product.pictures)) for alias in _aliases(product, number)]


def _aliases(product: Product, number: int) -> list[str]:
    """The photographs that picture `number` of a product shows."""
    if number:
        return [product.more[number - 1]]
    named = (product.photo, (product.draw or {}).get("photo"), product.scene.get("photo"))
    return [alias for alias in named if alias]


def _overview(columns: int = 12, cell: int = 150) -> Image.Image:
    """All pictures on one sheet, to look at."""
    paths = [HERE / path for product in products() for path in product.pictures]
    sheet = Image.new("RGB", (columns * cell, -(-len(paths) // columns) * (cell + 14)), "#54565e")
    for number, path in enumerate(paths):
        x, y = number % columns * cell, number // columns * (cell + 14)
        try:
            small = _shown_as(Image.open(path))
        except OSError:
            continue
        small.thumbnail((cell - 4, cell - 4))
        sheet.paste(small, (x, y), small)
        ImageDraw.Draw(sheet).text((x, y + cell - 2), path.stem[6:], "#ffffff", font(12))
    return sheet


def _shown_as(opened: Image.Image) -> Image.Image:
    if opened.mode == "I;16":
        opened = opened.convert("I").point(lambda value: value / 257).convert("L")
    return ImageOps.exif_transpose(opened).convert("RGBA")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
