"""Uploads become pixels, or are refused with a reason."""

from __future__ import annotations

import base64
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from serve_helpers import png

from genmeta.serve.images import read_picture
from genmeta.serve.limits import Limits
from genmeta.serve.refusal import Refusal

LIMITS = Limits(side=32, megapixels=1)


def huge_png(width: int, height: int) -> bytes:
    """A PNG whose header claims a size that its few bytes do not hold."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = (b"IHDR" + header, b"IDAT" + zlib.compress(bytes(99)))
    packed = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


@pytest.mark.parametrize(
    "data",
    [
        png(),
        png(format="JPEG"),
        png(format="WEBP", lossless=True),
        png(format="BMP"),
        png((200, 30, 30, 255), mode="RGBA"),
        png(format="GIF"),
    ],
)
def test_what_browsers_send_is_read(data: bytes) -> None:
    picture = read_picture(data, LIMITS)
    assert picture.pixels.shape == (24, 24, 3)
    assert picture.pixels.dtype == np.uint8
    assert np.abs(picture.pixels.reshape(-1, 3).mean(0) - (200, 30, 30)).max() < 3


def test_pictures_are_reduced_and_keep_their_shape() -> None:
    assert read_picture(png(size=(320, 160)), LIMITS).pixels.shape == (32, 64, 3)
    # a strip that would stay endless is squeezed
    assert read_picture(png(size=(9000, 4)), LIMITS).pixels.shape == (4, 128, 3)


def test_modes_of_cameras_and_scanners() -> None:
    grey = np.full((8, 8), 40000, np.uint16)
    packed = io.BytesIO()
    Image.fromarray(grey).save(packed, "PNG")
    assert read_picture(packed.getvalue(), LIMITS).pixels.mean() == pytest.approx(40000 / 257, abs=1)
    # what is transparent is paper
    assert read_picture(png((9, 9, 9, 0), mode="RGBA"), LIMITS).pixels.min() == 255
    cmyk = read_picture(png((0, 0, 0, 0), mode="CMYK", format="JPEG"), LIMITS)
    assert cmyk.pixels.min() > 250


def test_a_turned_photo_is_set_upright() -> None:
    image = Image.new("RGB", (30, 10), "white")
    exif = image.getexif()
    exif[0x0112] = 6
    packed = io.BytesIO()
    image.save(packed, "JPEG", exif=exif)
    assert read_picture(packed.getvalue(), LIMITS).pixels.shape[:2] == (30, 10)


def test_the_thumbnail_is_small_and_an_image() -> None:
    kind, data = read_picture(png(size=(900, 700)), LIMITS).thumbnail.split(",")
    assert kind == "data:image/webp;base64"
    assert len(data) < 10_000
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (128, 128)


@pytest.mark.parametrize(
    "data, message, status",
    [
        (b"", "is empty", 400),
        (b"just some text", "no image that can be read here", 415),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no image that can be read here", 415),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no image that can be read here", 415),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC photo", 415),
        (png(size=(90, 90), format="JPEG")[:300], "is damaged", 400),
        (png()[:60], "is damaged", 400),
        (png(size=(1200, 900)), "1200 × 900 pixels, more than the 1 million pixels", 413),
        (huge_png(12_000, 12_000), "12000 × 12000 pixels", 413),
        (huge_png(60_000, 60_000), "more than the 1 million pixels", 413),
        (png(size=(1, 9)), "nothing to see", 400),
    ],
)
def test_refusals(data: bytes, message: str, status: int) -> None:
    with pytest.raises(Refusal, match=message) as refused:
        read_picture(data, LIMITS)
    assert refused.value.status == status
