"""Small pictures of the worst products, from folders on this machine only: a report asks nobody for them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path

from PIL import Image

from adgauge.canonical.data_url import data_url, data_url_bytes
from adgauge.canonical.image import DecodeLimits, ImageError
from adgauge.contract import ImageSpec
from adgauge.errors import BackendUnavailable
from adgauge.images.decoder import Orders
from adgauge.images.decoders import DecoderPool
from adgauge.images.sources import file_path, read_below, scheme_of
from adgauge.monitor.page.products import THUMBNAIL_PX
from adgauge.monitor.result import Residual
from adgauge.records import ImageMissing

log = logging.getLogger(__name__)

_SIDE_PX = 2 * THUMBNAIL_PX  # screens show two pixels for one
_SECONDS, _MEMORY_BYTES = 5.0, 512 * 2**20
_SPEC = ImageSpec(
    count=1,
    candidates=1,
    selection="first",
    height=_SIDE_PX,
    width=_SIDE_PX,
    collage=(),
    interpolation="bicubic",
    fit="squash",  # as the models see it
    jpeg_scaling=True,
    required=False,
)


def thumbnails(worst: Iterable[Residual], folders: Sequence[Path]) -> dict[str, str]:
    """`data:` URLs by id, of pictures below `folders` and of those that are in the record itself.

    What is not there, or no picture, is left out; so are all where no decoding process can be started.
    """
    roots = [folder.resolve() for folder in folders]
    pool = DecoderPool(1, Orders(_SPEC, DecodeLimits(), _SECONDS, _MEMORY_BYTES))
    try:
        found = {each.id: _thumbnail(each.picture, roots, pool) for each in worst if each.picture}
    except BackendUnavailable as exc:
        log.warning("the report has no pictures: %s", exc)
        return {}
    finally:
        pool.close()
    return {id_: url for id_, url in found.items() if url is not None}


def _thumbnail(picture: str, roots: Sequence[Path], pool: DecoderPool) -> str | None:
    try:
        data = _bytes_at_hand(picture, roots)
    except ImageError as exc:
        log.info("no thumbnail of %.80r: %s", picture, exc)
        return None
    pixels = pool.decode(data) if data else None
    if pixels is None or isinstance(pixels, ImageMissing):
        return None
    file = BytesIO()
    Image.fromarray(pixels.transpose(1, 2, 0)).save(file, "JPEG", quality=80)
    return data_url(file.getvalue(), "image/jpeg")


def _bytes_at_hand(picture: str, roots: Sequence[Path]) -> bytes | None:
    limits = DecodeLimits()
    match scheme_of(picture):
        case "data":
            return data_url_bytes(picture, limits.max_bytes)
        case "file" if roots:
            return read_below(file_path(picture), roots, limits.max_bytes)[0]
        case _:
            return None
