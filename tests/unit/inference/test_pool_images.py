"""Pictures that come in requests: what is read, and what is refused before it can do harm."""

from __future__ import annotations

import io
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from app.inference.errors import BadImage
from app.inference.pool import images

RED, BLUE = (255, 0, 0), (0, 0, 255)


def encoded(picture: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF"])
def test_the_four_formats_are_read_as_rgb(form: str) -> None:
    picture = images.decode(encoded(Image.new("RGB", (8, 6), RED), form))
    assert (picture.mode, picture.size) == ("RGB", (8, 6))
    red, green, blue = picture.getpixel((4, 3))  # type: ignore[misc]  # of RGB: three numbers
    assert red > 240
    assert green + blue < 20


def test_a_picture_stands_upright_and_on_white() -> None:
    sideways = Image.new("RGB", (8, 4), RED)
    exif = sideways.getexif()
    exif[0x0112] = 6  # turned by a quarter
    assert images.decode(encoded(sideways, "JPEG", exif=exif)).size == (4, 8)
    assert images.decode(encoded(Image.new("RGBA", (2, 2), (0, 0, 0, 0)), "PNG")).getpixel((0, 0)) == (255, 255, 255)
    palette = Image.new("P", (2, 2), 0)
    palette.putpalette([0, 0, 255])
    assert images.decode(encoded(palette, "PNG")).getpixel((0, 0)) == BLUE


def test_of_an_animation_the_first_frame_is_seen() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in (RED, BLUE)]
    picture = images.decode(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert picture.getpixel((0, 0)) == RED


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header promises a very large picture."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [7_000, 10_000, 60_000])
def test_a_decompression_bomb_is_refused_by_its_header(side: int) -> None:
    with pytest.raises(BadImage) as caught:
        images.decode(bomb(side, side))
    assert caught.value.hint


def test_the_pixels_are_told() -> None:
    with pytest.raises(BadImage, match="7000 x 7000 pixels; at most 40,000,000"):
        images.decode(bomb(7_000, 7_000))


def test_too_many_bytes() -> None:
    with pytest.raises(BadImage, match="bytes; at most"):
        images.decode(b"\x89PNG\r\n\x1a\n" + bytes(images.MAX_BYTES))


@pytest.mark.parametrize("form", ["BMP", "TIFF", "PPM", "ICO"])
def test_other_formats_are_not_read(form: str) -> None:
    with pytest.raises(BadImage, match="cannot be read"):
        images.decode(encoded(Image.new("RGB", (8, 8), RED), form))


@given(st.binary(max_size=200), st.sampled_from(["PNG", "JPEG", "WEBP", "GIF"]), st.integers(0, 400))
def test_whatever_the_bytes_are_it_is_a_picture_or_a_typed_error(noise: bytes, form: str, at: int) -> None:
    whole = encoded(Image.effect_noise((16, 16), 50).convert("RGB"), form)
    for data in (noise, whole[:at], whole[:at] + noise + whole[at + len(noise) :]):
        try:
            assert images.decode(data).mode == "RGB"
        except BadImage as error:
            assert error.message


@pytest.mark.parametrize("size", [(1000, 1), (1, 1000)])
def test_a_strip_is_refused_before_it_is_blown_up(size: tuple[int, int]) -> None:
    with pytest.raises(BadImage, match="times the other"):
        images.decode(encoded(Image.new("RGB", size, RED), "PNG"))
    assert images.decode(encoded(Image.new("RGB", (500, 10), RED), "PNG")).size == (500, 10)
