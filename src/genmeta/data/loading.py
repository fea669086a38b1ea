"""From named files, grouped by class, to stored images: decoding, bad images, the cache."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from genmeta.core.errors import DataError, DataWarning
from genmeta.data.cache import Block, Stored, stored_images
from genmeta.data.pixels import BadImageError
from genmeta.data.progress import track
from genmeta.data.registry import Request
from genmeta.data.sources import Source


class Item(NamedTuple):
    """One image file."""

    source: Source
    name: str


Groups = Mapping[str, Sequence[Item]]


class Decoder(Protocol):
    """How files become arrays of one shape; `Pixels` is one."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(H, W, C)``."""
        ...

    def identity(self) -> dict[str, object]:
        """Everything the pixels depend on, for the key of the cache."""
        ...

    def decode(self, data: bytes) -> np.ndarray:
        """``[H W C]`` uint8; raises `BadImageError` with the reason."""
        ...


def load_groups(request: Request, groups: Groups, pixels: Decoder, extra_skipped: Sequence[str] = ()) -> Stored:
    """Decodes every file once, or takes the images from the cache.

    Args:
        request: says what to do with bad images and where the cache is.
        groups: class name -> its files, in order.
        pixels: how files become arrays.
        extra_skipped: what was left out before, as ``name: reason``.

    Raises:
        DataError: a bad image and ``on_bad_image="fail"``, or no good image at all.
    """
    sources = {id(item.source): item.source for items in groups.values() for item in items}
    identity = {
        "sources": [source.identity for source in sources.values()],
        "groups": [[name, [item.name for item in items]] for name, items in groups.items()],
        **pixels.identity(),
    }
    stored = stored_images(identity, pixels.shape, lambda: _blocks(request, groups, pixels), request.cache_dir)
    if stored.skipped and request.on_bad_image == "fail":
        # the entry was made by an earlier call that skipped
        raise bad_image(request, *stored.skipped[0].split(": ", 1))
    if stored.copies:
        count, classes = sum(stored.copies.values()), len(stored.copies)
        warnings.warn(
            f"{request.text!r} holds copies of images within a class: {count}, in {classes} of its classes, such as "
            f"{next(iter(stored.copies))!r}. A task may show one to learn from and ask for the other. Remove them.",
            DataWarning,
            stacklevel=2,
        )
    return dataclasses.replace(stored, skipped=(*stored.skipped, *extra_skipped))


def _blocks(request: Request, groups: Groups, pixels: Decoder) -> Iterator[Block]:
    total = sum(len(items) for items in groups.values())

    def decoded() -> Iterator[tuple[str, str, np.ndarray | BadImageError]]:
        for class_name, items in groups.items():
            for item in items:
                try:
                    yield class_name, item.name, pixels.decode(item.source.read(item.name))
                except BadImageError as error:
                    yield class_name, item.name, error

    results = track(decoded(), total, f"Reading {request.spec.name}")
    for class_name, items in groups.items():
        images: list[np.ndarray] = []
        skipped: list[str] = []
        for _, (_, name, result) in zip(items, results, strict=False):
            if not isinstance(result, BadImageError):
                images.append(result)
            elif request.on_bad_image == "fail":
                raise bad_image(request, name, str(result))
            else:
                skipped.append(f"{name}: {result}")
        if not images:
            skipped.append(f"{class_name}: the class is left out, for none of its {len(items)} images can be read")
        yield Block(class_name, np.stack(images) if images else np.empty((0, *pixels.shape), np.uint8), tuple(skipped))


def bad_image(request: Request, name: str, reason: str) -> DataError:
    """Returns (not raises) the error for an image that cannot be used, ``on_bad_image="fail"``."""
    return DataError(
        f"Image {name!r} of {request.text!r} cannot be used: {reason}. "
        "Repair or remove it, or leave such images out with --on-bad-image skip."
    )
