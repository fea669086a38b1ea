"""From the bytes of an upload to pixels and a thumbnail, in memory: nothing is written, no name is looked at."""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import io
import struct
import warnings
import zlib
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from genmeta.serve.limits import Limits
from genmeta.serve.refusal import Refusal

#: Only what cameras, phones and browsers make; each is decoded by Pillow itself, none runs another program.
FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "GIF", "BMP", "AVIF")
THUMBNAIL = 128
_DAMAGE = (
    OSError, SyntaxError, ValueError, EOFError, TypeError, LookupError, OverflowError, RuntimeError, MemoryError,
    struct.error, zlib.error,
)  # fmt: skip


class Picture(NamedTuple):
    """One image of a visitor.

    Attributes:
        pixels: ``[H W 3]`` uint8, the shorter side reduced to `Limits.side`.
        thumbnail: a small WebP as a data URI, for the page.
        digest: the same for the same pixels.
    """

    pixels: np.ndarray
    thumbnail: str
    digest: bytes


def read_picture(data: bytes, limits: Limits) -> Picture:
    """Decodes one upload.

    Raises:
        Refusal: the bytes are no image of a kind that is read, a damaged one, or one with too many pixels.
    """
    if not data:
        raise Refusal("That file is empty.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks on metadata; size is checked below
            with Image.open(io.BytesIO(data), formats=_formats()) as opened:
                _check_size(opened.size, limits)
                opened.draft(None, (2 * limits.side, 2 * limits.side))  # a large JPEG is decoded at a smaller scale
                opened.load()
                return picture(_plain(opened), limits.side)
    except UnidentifiedImageError as error:
        raise Refusal(_unknown(data), 415) from error
    except Refusal:
        raise
    except Image.DecompressionBombError as error:
        raise _too_large("That image has", limits) from error
    except _DAMAGE as error:
        raise Refusal("That image is damaged: it begins like one, but cannot be read to its end.") from error


def picture(image: Image.Image, side: int = Limits.side) -> Picture:
    """Keeps an image: reduced in size, and with its thumbnail.

    Args:
        image: any mode that converts to RGB.
        side: pixels of the shorter side, where it is longer.
    """
    image = image.convert("RGB")
    width, height = image.size
    scale = side / min(width, height)
    # a strip so thin that its longer side stays huge is squeezed along that side
    wide, high = (min(max(1, round(length * min(scale, 1.0))), 4 * side) for length in (width, height))
    size = wide, high
    if size != image.size:
        image = image.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)
    pixels = np.asarray(image, dtype=np.uint8)
    return Picture(pixels, _thumbnail(image), hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).digest())


@functools.cache
def _formats() -> list[str]:
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]  # AVIF is not in every build of Pillow


def _check_size(size: tuple[int, int], limits: Limits) -> None:
    width, height = size
    if width * height > limits.megapixels * 1e6:
        raise _too_large(f"That image has {width} × {height} pixels,", limits)
    if min(size) < 2:
        raise Refusal(f"That image has {width} × {height} pixels; there is nothing to see.")


def _too_large(beginning: str, limits: Limits) -> Refusal:
    return Refusal(
        f"{beginning} more than the {limits.megapixels:g} million pixels that are allowed. Scale it down.", 413
    )


def _plain(image: Image.Image) -> Image.Image:
    """Upright, 8 bits a channel, transparency on white."""
    with contextlib.suppress(*_DAMAGE):  # damaged metadata does not make the pixels bad
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        values = np.asarray(image, dtype=np.float64)
        image = Image.fromarray(np.clip(values / 257, 0, 255).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _thumbnail(image: Image.Image) -> str:
    small = ImageOps.fit(image, (THUMBNAIL, THUMBNAIL), Image.Resampling.BICUBIC)
    packed = io.BytesIO()
    small.save(packed, "WEBP", quality=80)
    return "data:image/webp;base64," + base64.b64encode(packed.getvalue()).decode("ascii")


def _unknown(data: bytes) -> str:
    if data[4:8] == b"ftyp" and data[8:12] in (b"heic", b"heix", b"mif1", b"msf1", b"heim", b"heis"):
        return "That is a HEIC photo, which cannot be read here. Export it as JPEG first."
    return "That file is no image that can be read here. JPEG, PNG, WebP, GIF, BMP and AVIF work."
