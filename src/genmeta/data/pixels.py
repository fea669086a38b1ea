"""From an image file's bytes to a square uint8 array of the asked size and channels."""

from __future__ import annotations

import functools
import io
import struct
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

# Formats that run other programs, are only stubs in Pillow, or are not images in practice.
_REFUSED = frozenset({"BUFR", "EPS", "FITS", "GRIB", "HDF5", "MPEG", "WMF"})
# What Pillow's plugins raise on damaged files.
_DAMAGE = (
    OSError, SyntaxError, ValueError, EOFError, TypeError, LookupError, OverflowError, RuntimeError, MemoryError,
    struct.error, zlib.error,
)  # fmt: skip
PIXELS_VERSION = 1
_ORIENTATION = 0x0112
_TURNED = (5, 6, 7, 8)  # values of the orientation tag that exchange width and height


class BadImageError(Exception):
    """One image that cannot be used; the message is the reason."""


@dataclass(frozen=True)
class Pixels:
    """How images become arrays.

    Attributes:
        size: side of the square result; the shorter side is resized to it and the centre is cut out.
        channels: 1 (luminance) or 3.
        invert: dark strokes on white become bright strokes on black; ``"auto"`` does so where the border is bright.
        background: what shows through transparent pixels.
        fit: ``crop`` as above, or ``stretch`` to resize both sides to ``size``, so that nothing is cut off.
    """

    size: int
    channels: int
    invert: bool | Literal["auto"] = False
    background: Literal["white", "black"] = "white"
    fit: Literal["crop", "stretch"] = "crop"

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(H, W, C)``."""
        return self.size, self.size, self.channels

    def identity(self) -> dict[str, object]:
        """Everything the pixels depend on, for the key of the cache."""
        known: dict[str, object] = {"pixels": PIXELS_VERSION, "invert": self.invert, "background": self.background}
        return known if self.fit == "crop" else {**known, "fit": self.fit}

    def decode(self, data: bytes) -> np.ndarray:
        """Decodes one file.

        Returns:
            ``[H W C]`` uint8.

        Raises:
            BadImageError: the bytes are not an image that can be read, or one of absurd size.
        """
        return self.decode_sized(data)[0]

    def decode_sized(self, data: bytes) -> tuple[np.ndarray, tuple[int, int]]:
        """As :meth:`decode`, with the ``(width, height)`` in pixels that the upright image has in the file."""
        return decoded(data, self.size, self.of)

    def of(self, image: Image.Image) -> np.ndarray:
        """An image that Pillow holds, as ``[H W C]`` uint8."""
        image = _opaque(_eight_bit(_upright(image)), self.background)
        image = image.convert("L" if self.channels == 1 else "RGB")
        width, height = image.size
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        box = (left, top, left + side, top + side) if self.fit == "crop" else (0.0, 0.0, float(width), float(height))
        if image.size != (self.size, self.size):
            # Pillow's filters average over all source pixels that fall on one pixel of the result
            image = image.resize((self.size, self.size), Image.Resampling.BICUBIC, box=box)
        return self._polarity(np.asarray(image, dtype=np.uint8).reshape(self.shape))

    def _polarity(self, array: np.ndarray) -> np.ndarray:
        invert = self.invert
        if invert == "auto":
            border = np.concatenate([array[0], array[-1], array[1:-1, 0], array[1:-1, -1]])
            invert = bool(np.median(border) > 127)
        return 255 - array if invert else array


def decoded(
    data: bytes,
    size: int,
    use: Callable[[Image.Image], np.ndarray],
    check: Callable[[Image.Image], None] | None = None,
) -> tuple[np.ndarray, tuple[int, int]]:
    """What ``use`` makes of the image in a file, and the ``(width, height)`` that the upright image has there.

    Args:
        data: content of the file.
        size: side of the result, for the scale at which a large JPEG is decoded.
        use: image, perhaps not yet upright -> array.
        check: may refuse the image by what its header says, before anything is decoded.

    Raises:
        BadImageError: the bytes are not an image that can be read, or one of absurd size.
    """
    if not data:
        raise BadImageError("the file is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks on metadata; the pixels are what is wanted
            with Image.open(io.BytesIO(data), formats=_formats()) as image:
                if check is not None:
                    check(image)
                seen = upright_size(image)
                image.draft(None, (2 * size, 2 * size))  # a large JPEG is decoded at a smaller scale
                _refuse_bombs(image)
                image.load()
                return use(image), seen
    except Image.DecompressionBombError as error:
        raise BadImageError(f"a decompression bomb: {error}") from error
    except UnidentifiedImageError as error:
        raise BadImageError("not an image that Pillow can read") from error
    except _DAMAGE as error:
        raise BadImageError(str(error) or type(error).__name__) from error


def upright_size(image: Image.Image) -> tuple[int, int]:
    """``(width, height)`` in pixels, of an image turned as its metadata asks."""
    width, height = image.size
    try:
        turned = image.getexif().get(_ORIENTATION) in _TURNED
    except _DAMAGE:
        turned = False  # as in _upright
    return (height, width) if turned else (width, height)


@functools.cache
def image_extensions() -> frozenset[str]:
    """Lower-case extensions, with the dot, of the image files that are read."""
    formats = set(_formats())
    return frozenset(end for end, name in Image.registered_extensions().items() if name in formats)


def _formats() -> list[str]:
    Image.init()
    return [name for name in Image.OPEN if name not in _REFUSED]


def _refuse_bombs(image: Image.Image) -> None:
    width, height = image.size
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and width * height > limit:
        raise BadImageError(
            f"a decompression bomb: {width}x{height} pixels, more than the {limit / 1e6:.0f} million that are decoded; "
            "scale it down"
        )


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except _DAMAGE:
        return image  # damaged metadata does not make the pixels bad


def _eight_bit(image: Image.Image) -> Image.Image:
    """Scales 16-bit, 32-bit and floating-point grey images to 8 bits."""
    if not (image.mode.startswith("I") or image.mode == "F"):
        return image
    values = np.asarray(image, dtype=np.float64)
    if not np.isfinite(values).all():
        raise BadImageError("holds values that are not finite")
    top = float(values.max(initial=0.0))
    if image.mode == "F":
        full = 1.0 if top <= 1 else 255.0 if top <= 255 else top
    else:
        full = 65535.0 if top <= 65535 else top
    return Image.fromarray(np.clip(np.rint(values * (255 / full)), 0, 255).astype(np.uint8))


def _opaque(image: Image.Image, background: str) -> Image.Image:
    if not image.has_transparency_data:
        return image
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, background), image)
