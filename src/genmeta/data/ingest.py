"""Images in whatever form they are at hand: files, Pillow images, arrays, tensors; one way in for every caller."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from genmeta.core.errors import DataError, UsageError
from genmeta.data.pixels import BadImageError, Pixels, upright_size
from genmeta.data.sources import MAX_FILE_BYTES

#: What :func:`read_image` takes.
ImageLike = str | os.PathLike[str] | Image.Image | np.ndarray | torch.Tensor

_CHANNELS = (1, 3, 4)


def read_image(image: ImageLike, pixels: Pixels) -> np.ndarray:
    """One image.

    Args:
        image: a path; a Pillow image; an array ``[H W]`` or ``[H W C]``; a tensor ``[H W]`` or ``[C H W]``. Numbers are
            uint8 in 0..255, uint16 in 0..65535, or floats in [0, 1]; ``C`` is 1, 3 (RGB) or 4 (RGBA).
        pixels: the form asked for.

    Returns:
        ``[H W C]`` uint8.

    Raises:
        BadImageError: it is none of these, cannot be read, or is of absurd size.
    """
    return read_sized_image(image, pixels)[0]


def read_sized_image(image: ImageLike, pixels: Pixels) -> tuple[np.ndarray, tuple[int, int]]:
    """As :func:`read_image`, with the ``(width, height)`` in pixels that the upright image had."""
    if isinstance(image, str | os.PathLike):
        return pixels.decode_sized(_bytes(Path(image)))
    if isinstance(image, Image.Image):
        try:
            return pixels.of(image), upright_size(image)
        except (OSError, ValueError) as error:
            raise BadImageError(str(error) or type(error).__name__) from error
    if isinstance(image, np.ndarray | torch.Tensor):
        picture = _picture(_channels_last(image))
        return pixels.of(picture), picture.size
    raise BadImageError(
        f"is a {type(image).__name__}; expected a path, a Pillow image, an array [H W] or [H W C], or a tensor [C H W]"
    )


def read_images(images: Iterable[ImageLike], pixels: Pixels) -> np.ndarray:
    """Many images, one after the other, so that memory holds one at its full size.

    Args:
        images: a sequence of what :func:`read_image` takes, mixed as you like; or an array ``[N H W]`` or
            ``[N H W C]``, or a tensor ``[N H W]`` or ``[N C H W]``.
        pixels: the form asked for.

    Returns:
        ``[N H W C]`` uint8.

    Raises:
        UsageError: not a sequence of images.
        DataError: an image cannot be used; says which one and why.
    """
    return read_sized_images(images, pixels)[0]


def read_sized_images(images: Iterable[ImageLike], pixels: Pixels) -> tuple[np.ndarray, np.ndarray]:
    """As :func:`read_images`, with the ``[N 2]`` widths and heights in pixels that the upright images had."""
    result: list[np.ndarray] = []
    sizes: list[tuple[int, int]] = []
    for i, image in enumerate(as_sequence(images)):
        try:
            array, size = read_sized_image(image, pixels)
        except BadImageError as error:
            raise DataError(f"Image {name_of(image, i)} cannot be used: {error}. Repair it or leave it out.") from error
        result.append(array)
        sizes.append(size)
    stacked = np.stack(result) if result else np.empty((0, *pixels.shape), np.uint8)
    return stacked, np.array(sizes, dtype=np.int64).reshape(-1, 2)


def as_sequence(images: Any) -> Sequence[ImageLike]:
    """The images one by one.

    Raises:
        UsageError: a single image or path, or an array that is not a batch of images.
    """
    if isinstance(images, str | bytes | os.PathLike | Image.Image):
        raise UsageError(f"Expected a list of images, got one {type(images).__name__}. Put it into a list: [image].")
    if isinstance(images, np.ndarray | torch.Tensor) and images.ndim != 1 and images.ndim not in (3, 4):
        raise UsageError(
            f"Expected a batch of images [N H W], [N H W C] (arrays) or [N C H W] (tensors), got shape "
            f"{tuple(images.shape)}. Reshape flat rows to pictures first."
        )
    try:
        return list(images)
    except TypeError:
        raise UsageError(f"Expected a list of images, got {type(images).__name__}.") from None


def name_of(image: ImageLike, number: int) -> str:
    """How messages call an image: its path, or its place in the list."""
    return repr(os.fspath(image)) if isinstance(image, str | os.PathLike) else f"number {number}"


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        raise BadImageError(getattr(error, "strerror", None) or str(error)) from error
    if len(data) > MAX_FILE_BYTES:
        raise BadImageError(f"the file is larger than {MAX_FILE_BYTES // 2**20} MiB")
    return data


def _channels_last(image: np.ndarray | torch.Tensor) -> np.ndarray:
    """``[H W]`` or ``[H W C]``; where a shape allows both orders, tensors have channels first and arrays last."""
    first_before_last = isinstance(image, torch.Tensor)
    try:
        array = image.detach().cpu().numpy() if isinstance(image, torch.Tensor) else image
    except (TypeError, RuntimeError) as error:  # sparse, bfloat16, or without storage
        raise BadImageError(
            f"is a tensor that numpy cannot hold ({str(error)[:100]}); give a dense float32 one"
        ) from error
    if array.ndim == 2:
        return array
    shape = array.shape
    if array.ndim == 3:
        order = (0, -1) if first_before_last else (-1, 0)
        for axis in order:
            if shape[axis] in _CHANNELS:
                return np.moveaxis(array, axis, -1)
    raise BadImageError(f"has shape {shape}; expected [H W], [H W C] (arrays) or [C H W] (tensors) with C of 1, 3 or 4")


def _picture(array: np.ndarray) -> Image.Image:
    if 0 in array.shape:
        raise BadImageError(f"has shape {array.shape}, which holds no pixels")
    array = _eight_bit(array)
    return Image.fromarray(array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else np.ascontiguousarray(array))


def _eight_bit(array: np.ndarray) -> np.ndarray:
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * 255
    if array.dtype == np.uint16:
        return np.rint(array / 257).astype(np.uint8)
    if not (np.issubdtype(array.dtype, np.integer) or np.issubdtype(array.dtype, np.floating)):
        raise BadImageError(f"holds {array.dtype} values; expected uint8, uint16 or floats")
    if not np.isfinite(array).all():
        raise BadImageError("holds values that are not finite")
    low, high = float(array.min()), float(array.max())
    floats = np.issubdtype(array.dtype, np.floating)
    full = 1 if floats else 255
    slack = 1e-3 if floats else 0  # resizing overshoots a little
    if low < -slack or high > full + slack:
        kind = "floats in [0, 1]" if floats else "integers in 0..255"
        raise BadImageError(f"holds values from {low:g} to {high:g}; expected {kind}: scale it first")
    return np.rint(np.clip(array, 0, full) * (255 / full)).astype(np.uint8)
