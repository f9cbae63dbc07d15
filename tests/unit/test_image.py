import io
import struct
import zlib
from base64 import b64decode
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms

from adgauge.canonical.image import DecodeLimits, ImageError, ImageReason, decode
from tests.contracts import image_spec

LIMITS = DecodeLimits(max_bytes=1 << 20, max_pixels=1_000_000)
SPEC = image_spec(side=16)
Pixels = npt.NDArray[np.uint8]


# A gradient of 32 x 24, and what it is in 4 x 4.
JPEG = (
    b"/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDABsSFBcUERsXFhceHBsgKEIrKCUlKFE6PTBCYFVlZF9VXVtqeJmBanGQc1tdhbWGkJ6j"
    b"q62rZ4C8ybqmx5moq6T/2wBDARweHigjKE4rK06kbl1upKSkpKSkpKSkpKSkpKSkpKSkpKSkpKSkpKSkpKSkpKSkpKSkpKSkpKSk"
    b"pKSkpKSkpKT/wAARCAAYACADASIAAhEBAxEB/8QAFwABAQEBAAAAAAAAAAAAAAAAAwQABf/EAB0QAAIDAQEAAwAAAAAAAAAAAAAD"
    b"AQJhIREEEnH/xAAXAQEBAQEAAAAAAAAAAAAAAAACBQMG/8QAHBEAAwEAAgMAAAAAAAAAAAAAAAECAxESEzFB/9oADAMBAAIRAxEA"
    b"PwDhUTg9EYULThStGBhdg57ElEYPT4+FULivPPZFoq05+Crxy+PbKOWzCUnCiF/WI8jsmMYRTnJtHO50+RVoGquZ5WOGMCn1SlfS"
    b"llTP/9k="
)
PIXELS = [
    [[32, 89, 154, 222], [27, 89, 151, 214], [26, 93, 155, 220], [32, 92, 160, 223]],
    [[26, 28, 28, 24], [85, 85, 85, 86], [148, 147, 147, 149], [204, 200, 203, 198]],
    [[7, 29, 52, 91], [31, 101, 166, 145], [58, 163, 123, 118], [82, 153, 125, 145]],
]


def encoded(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def corners() -> Image.Image:
    """Four quarters of different colours, so that every orientation looks different."""
    picture = Image.new("RGB", (32, 32), "red")
    picture.paste("lime", (16, 0, 32, 16))
    picture.paste("blue", (0, 16, 16, 32))
    picture.paste("white", (16, 16, 32, 32))
    return picture


def pixels(data: bytes) -> Pixels:
    return decode(data, SPEC, LIMITS)


def colour(data: bytes) -> list[int]:
    """The colour of the middle of the decoded picture."""
    middle: list[int] = pixels(data)[:, 8, 8].tolist()
    return middle


def reason(data: bytes, limits: DecodeLimits = LIMITS) -> ImageReason:
    with pytest.raises(ImageError) as caught:
        decode(data, SPEC, limits)
    assert "\n" not in str(caught.value)
    assert "0x" not in str(caught.value)
    return caught.value.reason


class TestPixels:
    def test_a_picture_is_squashed_to_the_contract_s_size_channels_first(self) -> None:
        wide = Image.new("RGB", (300, 20), (10, 20, 30))

        found = decode(encoded(wide), SPEC, LIMITS)

        assert found.shape == (3, 16, 16)
        assert found.dtype == np.uint8
        assert found[:, 0, 0].tolist() == [10, 20, 30]

    def test_resizing_is_antialiased_by_the_contract_s_filter(self) -> None:
        stripes = Image.fromarray(np.tile(np.array([0, 255], dtype=np.uint8), (64, 32))).convert("RGB")
        bicubic = SPEC.model_copy(update={"interpolation": "bicubic"})

        assert decode(encoded(stripes), SPEC, LIMITS)[0, 8, 8] in range(100, 156)
        assert not np.array_equal(
            decode(encoded(corners()), SPEC, LIMITS), decode(encoded(corners()), bicubic, LIMITS)
        )

    def test_one_jpeg_has_these_very_pixels_on_every_machine(self) -> None:
        spec = image_spec(side=4).model_copy(update={"interpolation": "bicubic"})

        assert decode(b64decode(JPEG), spec, LIMITS).tolist() == PIXELS

    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
    def test_accepted_formats_are_known_by_their_content(self, kind: str) -> None:
        found = colour(encoded(Image.new("RGB", (40, 40), (200, 100, 50)), kind))

        assert found == pytest.approx([200, 100, 50], abs=8)

    def test_broken_exif_says_nothing(self) -> None:
        data = encoded(corners(), "JPEG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff")

        assert pixels(data).shape == (3, 16, 16)


STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""How a camera held that way stores a picture."""


def blocks() -> Image.Image:
    """Squares of 16 in as many colours, which JPEG keeps whichever way they are turned."""
    colours = np.random.default_rng(1).integers(0, 256, (9, 14, 3), dtype=np.uint8)
    return Image.fromarray(colours.repeat(16, axis=0).repeat(16, axis=1))


def held(orientation: int, kind: str, **options: Any) -> bytes:
    """`blocks` as stored with this orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    turn = STORED[orientation]
    stored = blocks() if turn is None else blocks().transpose(turn)
    return encoded(stored, kind, exif=exif, **options)


class TestOrientation:
    @pytest.mark.parametrize("scaling", [False, True])
    @pytest.mark.parametrize(
        ("kind", "options"),
        [
            ("PNG", {}),
            ("TIFF", {}),
            ("TIFF", {"compression": "tiff_lzw"}),
            ("WEBP", {"lossless": True}),
            ("JPEG", {"subsampling": 0}),
            ("JPEG", {"subsampling": 0, "progressive": True, "quality": 60}),
        ],
        ids=str,
    )
    def test_all_eight_of_one_picture_give_the_same_pixels(
        self, kind: str, options: dict[str, Any], scaling: bool
    ) -> None:
        spec = SPEC.model_copy(update={"width": 20, "height": 12, "jpeg_scaling": scaling})

        found = [decode(held(orientation, kind, **options), spec, LIMITS) for orientation in STORED]

        assert len(found) == 8
        assert all(np.array_equal(each, found[0]) for each in found)

    @pytest.mark.parametrize("scaling", [False, True])
    def test_halved_chroma_is_smoothed_in_the_order_it_is_stored(self, scaling: bool) -> None:
        spec = SPEC.model_copy(update={"width": 20, "height": 12, "jpeg_scaling": scaling})

        found = [decode(held(orientation, "JPEG", quality=95), spec, LIMITS) for orientation in STORED]

        assert max(np.abs(each.astype(int) - found[0]).max() for each in found) <= 2

    @pytest.mark.parametrize("orientation", STORED)
    def test_upright_is_what_a_viewer_shows(self, orientation: int) -> None:
        assert np.array_equal(pixels(held(orientation, "PNG")), pixels(encoded(blocks(), "PNG")))

    @pytest.mark.parametrize("orientation", [0, 9, 65535])
    def test_one_that_does_not_exist_says_nothing(self, orientation: int) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation

        assert np.array_equal(pixels(encoded(corners(), exif=exif)), pixels(encoded(corners())))


class TestJpegScaling:
    SCALING = SPEC.model_copy(update={"jpeg_scaling": True, "interpolation": "bicubic"})
    WHOLE = SPEC.model_copy(update={"interpolation": "bicubic"})

    @staticmethod
    def photo(width: int, height: int, mode: str = "RGB", **options: Any) -> bytes:
        """Soft shapes with grain; an even or odd size."""
        rng = np.random.default_rng(2)
        soft = Image.fromarray(rng.integers(0, 256, (6, 9, 3), dtype=np.uint8)).resize((width, height))
        grain = np.asarray(soft, dtype=np.float64) + rng.normal(0, 8, (height, width, 3))
        picture = Image.fromarray(grain.clip(0, 255).astype(np.uint8)).convert(mode)
        return encoded(picture, "JPEG", quality=90, **options)

    @pytest.mark.parametrize("size", [(513, 257), (256, 999), (130, 131), (40, 700)])
    @pytest.mark.parametrize(
        "options",
        [{}, {"progressive": True}, {"subsampling": 0}, {"mode": "L"}, {"mode": "CMYK"}],
        ids=str,
    )
    def test_it_changes_pixels_slightly(self, size: tuple[int, int], options: dict[str, Any]) -> None:
        data = self.photo(*size, **options)

        whole, scaled = (decode(data, spec, LIMITS) for spec in (self.WHOLE, self.SCALING))

        difference = np.abs(whole.astype(int) - scaled.astype(int))
        assert difference.mean() < 1.0
        assert difference.max() <= 6

    @pytest.mark.parametrize("size", [(63, 600), (600, 63), (16, 16), (1, 1)])
    def test_a_picture_less_than_four_times_the_wanted_size_is_decoded_whole(
        self, size: tuple[int, int]
    ) -> None:
        data = self.photo(*size)

        assert np.array_equal(decode(data, self.WHOLE, LIMITS), decode(data, self.SCALING, LIMITS))

    def test_both_sides_stay_twice_the_wanted_ones_whichever_way_the_picture_lies(self) -> None:
        spec = self.SCALING.model_copy(update={"width": 8, "height": 64})
        exif = Image.Exif()
        exif[0x0112] = 6
        lying, upright = self.photo(512, 64, exif=exif), self.photo(64, 512)

        for data in (lying, upright):
            whole = decode(data, spec.model_copy(update={"jpeg_scaling": False}), LIMITS)
            assert not np.array_equal(decode(data, spec, LIMITS), whole)
            assert np.abs(decode(data, spec, LIMITS).astype(int) - whole).max() <= 6

    @pytest.mark.parametrize("orientation", STORED)
    @pytest.mark.parametrize("size", [(521, 265), (513, 257), (257, 513)])
    def test_what_fills_the_last_blocks_is_no_part_of_a_picture_that_was_turned(
        self, size: tuple[int, int], orientation: int
    ) -> None:
        upright = Image.open(io.BytesIO(self.photo(*size)))
        exif, turn = Image.Exif(), STORED[orientation]
        exif[0x0112] = orientation
        stored = upright if turn is None else upright.transpose(turn)
        data = encoded(stored, "JPEG", quality=90, exif=exif)

        whole, scaled = (decode(data, spec, LIMITS).astype(int) for spec in (self.WHOLE, self.SCALING))

        assert np.abs(whole - scaled).mean() < 1.0
        assert np.abs(whole - scaled).max() <= 6

    def test_other_formats_are_decoded_whole(self) -> None:
        big = Image.open(io.BytesIO(self.photo(400, 400)))
        for kind in ("PNG", "WEBP", "TIFF"):
            data = encoded(big, kind)

            assert np.array_equal(decode(data, self.WHOLE, LIMITS), decode(data, self.SCALING, LIMITS))

    def test_the_limit_of_pixels_is_that_of_the_header(self) -> None:
        limits = DecodeLimits(max_pixels=399 * 400)
        with pytest.raises(ImageError, match="400 x 400"):
            decode(self.photo(400, 400), self.SCALING, limits)


class TestModes:
    @pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "LA", "YCbCr", "LAB", "I", "F"])
    def test_any_mode_becomes_rgb(self, mode: str) -> None:
        picture = _converted(corners(), mode)
        kind = "TIFF" if mode in ("CMYK", "YCbCr", "LAB", "I", "F") else "PNG"

        assert pixels(encoded(picture, kind)).shape == (3, 16, 16)

    def test_transparency_is_over_white(self) -> None:
        clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
        half = Image.new("RGBA", (8, 8), (255, 0, 0, 128))

        assert colour(encoded(clear)) == [255, 255, 255]
        assert colour(encoded(half)) == pytest.approx([255, 127, 127], abs=1)

    def test_a_transparent_palette_entry_is_white(self) -> None:
        picture = Image.new("P", (8, 8), 1)
        picture.putpalette([0, 0, 0, 255, 0, 0])

        assert colour(encoded(picture, transparency=1)) == [255, 255, 255]
        assert colour(encoded(picture, transparency=b"\xff\x80")) == pytest.approx([255, 127, 127], abs=1)
        assert colour(encoded(picture)) == [255, 0, 0]

    def test_a_transparent_colour_is_white(self) -> None:
        picture = Image.new("RGB", (8, 8), (1, 2, 3))

        assert colour(encoded(picture, transparency=(1, 2, 3))) == [255, 255, 255]

    def test_sixteen_bits_keep_their_brightness(self) -> None:
        grey = Image.fromarray(np.full((8, 8), 0x8080, dtype=np.uint16))

        assert colour(encoded(grey)) == [128, 128, 128]

    @pytest.mark.parametrize("channels", [1, 2, 3, 4])
    def test_sixteen_bits_of_any_channels_keep_their_brightness(self, channels: int) -> None:
        colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
        head = struct.pack(">IIBBBBB", 8, 8, 16, colour_type, 0, 0, 0)
        pixel = b"\x80\x80" * channels if channels in (1, 3) else b"\x80\x80" * (channels - 1) + b"\xff\xff"
        rows = zlib.compress((b"\0" + pixel * 8) * 8)
        data = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", rows) + _chunk(b"IEND", b"")

        assert colour(data) == [128, 128, 128]

    @pytest.mark.parametrize("order", ["<u2", ">u2"])
    def test_sixteen_bits_of_either_byte_order_keep_their_brightness(self, order: str) -> None:
        grey = Image.fromarray(np.full((8, 8), 0x8080, dtype=order))

        assert colour(encoded(grey, "TIFF")) == [128, 128, 128]

    def test_cmyk_is_inverted_as_adobe_has_it_with_and_without_its_marker(self) -> None:
        data = encoded(Image.new("RGB", (16, 16), (200, 30, 60)).convert("CMYK"), "JPEG", quality=100)
        at = data.index(b"Adobe") - 4
        plain = data[:at] + data[at + 16 :]

        assert data[at : at + 2] == b"\xff\xee"
        assert colour(data) == pytest.approx([200, 30, 60], abs=3)
        assert colour(plain) == pytest.approx([200, 30, 60], abs=3)

    @pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
    def test_interlaced_is_the_same_picture(self, mode: str) -> None:
        picture = corners().convert(mode)

        for kind in ("PNG", "GIF"):
            plain, interlaced = (encoded(picture, kind, interlace=each) for each in (0, 1))
            assert np.array_equal(pixels(plain), pixels(interlaced))

    def test_transparency_of_a_large_picture_is_over_white_everywhere(self) -> None:
        tall = Image.new("RGBA", (16, 1024), (255, 0, 0, 0))
        tall.paste((0, 0, 255, 255), (0, 512, 16, 1024))

        found = pixels(encoded(tall))

        assert found[:, 0:7].min() == 255
        assert found[:, 9, 8].tolist() == [0, 0, 255]

    def test_one_pixel_is_a_picture(self) -> None:
        for kind in ("PNG", "GIF", "BMP", "TIFF"):
            found = pixels(encoded(Image.new("RGB", (1, 1), (9, 99, 199)), kind))

            assert found.shape == (3, 16, 16)
            assert [(channel.min(), channel.max()) for channel in found] == [(9, 9), (99, 99), (199, 199)]

    def test_floats_are_stretched_over_their_own_range(self) -> None:
        ramp = np.linspace(-3.0, 5.0, 16 * 16, dtype=np.float32).reshape(16, 16)
        ramp[0, 0] = np.nan
        found = pixels(encoded(Image.fromarray(ramp), "TIFF"))

        assert (found.min(), found.max()) == (0, 255)
        assert pixels(encoded(Image.new("F", (4, 4), 7.5), "TIFF")).max() == 0

    def test_the_first_frame_of_an_animation_counts(self) -> None:
        frames = [Image.new("RGB", (8, 8), name) for name in ("red", "lime", "blue")]
        for kind in ("GIF", "WEBP", "PNG", "TIFF", "MPO"):
            data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=10)

            assert colour(data) == pytest.approx([255, 0, 0], abs=3)


def _converted(picture: Image.Image, mode: str) -> Image.Image:
    if mode != "LAB":
        return picture.convert("L" if mode in ("I", "F") else "RGB").convert(mode)
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    converted = ImageCms.profileToProfile(picture, *profiles, outputMode="LAB")
    assert converted is not None
    return converted


def png_header(width: int, height: int) -> bytes:
    """A PNG that states its size and holds nothing."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", b"")


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


class TestReasons:
    @pytest.mark.parametrize(
        ("data", "expected"),
        [
            (b"", ImageReason.UNSUPPORTED_FORMAT),
            (b"<svg xmlns='http://www.w3.org/2000/svg'/>", ImageReason.UNSUPPORTED_FORMAT),
            (b"<html>404</html>", ImageReason.UNSUPPORTED_FORMAT),
            (b"8BPS\x00\x01", ImageReason.UNSUPPORTED_FORMAT),
            (b"%!PS-Adobe-3.0 EPSF-3.0", ImageReason.UNSUPPORTED_FORMAT),
            (b"\x89PNG\r\n\x1a\n", ImageReason.UNDECODABLE),
            (b"BM" + bytes(60), ImageReason.UNDECODABLE),
            (b"GIF89a", ImageReason.UNDECODABLE),
            (png_header(50_000, 50_000), ImageReason.TOO_MANY_PIXELS),
            (png_header(10_000, 101), ImageReason.TOO_MANY_PIXELS),
            (b"\xff\xd8\xff" + bytes(1 << 20), ImageReason.TOO_LARGE),
        ],
    )
    def test_what_is_no_picture_has_a_named_reason(self, data: bytes, expected: ImageReason) -> None:
        assert reason(data) == expected

    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
    def test_half_a_file_is_no_picture(self, kind: str) -> None:
        noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
        data = encoded(noise, kind)

        found = reason(data[: len(data) // 2])

        assert found in (ImageReason.TRUNCATED, ImageReason.UNDECODABLE)
        if kind in ("PNG", "JPEG", "BMP"):
            assert found == ImageReason.TRUNCATED

    def test_a_damaged_palette_warns_nobody(self, recwarn: pytest.WarningsRecorder) -> None:
        picture = Image.new("P", (8, 8))
        decode(encoded(picture, transparency=b"\x00\x80"), SPEC, LIMITS)

        assert [str(warning.message) for warning in recwarn] == []

    def test_pixels_at_the_limit_are_decoded(self) -> None:
        data = encoded(Image.new("RGB", (10, 10)))

        assert decode(data, SPEC, DecodeLimits(max_bytes=len(data), max_pixels=100)).shape == (3, 16, 16)
        assert reason(data, DecodeLimits(max_bytes=len(data), max_pixels=99)) == ImageReason.TOO_MANY_PIXELS
        assert reason(data, DecodeLimits(max_bytes=len(data) - 1, max_pixels=100)) == ImageReason.TOO_LARGE
