"""The one form in which detection data reaches the rest of the library: images, and boxes with classes."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from genmeta.core.errors import DataError, DataWarning, UsageError
from genmeta.data.cache import Block, Stored, stored_images
from genmeta.data.layout import is_image, random_splits
from genmeta.data.loading import bad_image
from genmeta.data.pixels import BadImageError, Pixels
from genmeta.data.progress import track
from genmeta.data.registry import Request
from genmeta.data.sources import Source

#: Options that readers of boxes share.
BOX_OPTIONS = {
    "val": "fraction of the classes for validation (default 0.15)",
    "test": "fraction of the classes for testing (default 0.25)",
    "seed": "of the random split of the classes (default 0)",
}
_LEAST_CLASSES = 10  # with fewer, all are for testing


@dataclass(frozen=True)
class BoxImages:
    """Images with boxes.

    Attributes:
        name: the data spec that opened it, as the user wrote it.
        images: ``[N H W C]`` uint8, read-only (a memory map), both sides resized to the size that was asked for.
        boxes: ``[M 4]`` float32 xyxy in pixels of ``images``, inside the image and with some area.
        labels: ``[M]`` int64 indices of ``class_names``.
        offsets: ``[N+1]`` int64; image ``n`` owns ``boxes[offsets[n]:offsets[n+1]]``, perhaps none.
        class_names: ``K`` names, unique; every class has a box.
        image_names: ``N`` file names.
        splits: ``"train" | "val" | "test"`` -> sorted indices of classes; disjoint. A split may be empty.
        skipped: names of the images that were left out, each with its reason.
        remarks: what was put right or left out of the boxes, in words with counts.
    """

    name: str
    images: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    offsets: np.ndarray
    class_names: tuple[str, ...]
    image_names: tuple[str, ...]
    splits: Mapping[str, np.ndarray]
    skipped: tuple[str, ...] = field(default=())
    remarks: tuple[str, ...] = field(default=())

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """``(C, H, W)``."""
        _, height, width, channels = self.images.shape
        return channels, height, width

    def images_of(self, class_index: int) -> np.ndarray:
        """Sorted numbers of the images that show the class."""
        owner = np.repeat(np.arange(len(self.images)), np.diff(self.offsets))
        return np.unique(owner[self.labels == class_index])


class Annotated(NamedTuple):
    """What an annotation file says of one image.

    Attributes:
        file: name of the image in the source; ``None`` where there is none, then ``wanted`` says what was looked for.
        wanted: the image's name as the annotations have it.
        size: ``(width, height)`` that the boxes refer to, in pixels; ``None`` for the size of the file.
        boxes: xyxy in these pixels.
        classes: name of the class of each box.
    """

    file: str | None
    wanted: str
    size: tuple[float, float] | None
    boxes: list[tuple[float, float, float, float]]
    classes: list[str]


def find_image(source: Source, wanted: str, folders: Sequence[str], by_base: Mapping[str, Sequence[str]]) -> str | None:
    """The source's name of an image: under one of ``folders`` (each ends in ``/``), or the only one so called."""
    wanted = wanted.replace("\\", "/").removeprefix("./")
    known = set(by_base.get(wanted.rpartition("/")[2], ()))
    for folder in folders:
        if folder + wanted in known:
            return folder + wanted
    return next(iter(known)) if len(known) == 1 else None


def by_base_name(source: Source) -> dict[str, list[str]]:
    """Last part of the name -> names, of the source's image files."""
    found: dict[str, list[str]] = {}
    for name in source.names:
        if is_image(name):
            found.setdefault(name.rpartition("/")[2], []).append(name)
    return found


def load_boxes(
    request: Request, source: Source, annotated: Sequence[Annotated], order: Sequence[str], remarks: Sequence[str]
) -> BoxImages:
    """Decodes the images, takes their boxes along, and puts right what can be.

    A box that reaches beyond its image is clipped; one without area is left out; a class without boxes is dropped.

    Args:
        request: what is asked.
        source: where the files are.
        annotated: the images and their boxes.
        order: the classes in the order to number them.
        remarks: what was put right before.

    Raises:
        DataError: a bad image and ``on_bad_image="fail"``; no boxes at all.
    """
    kept = _decoded(request, source, annotated)
    counts: Counter[str] = Counter()
    boxes: list[np.ndarray] = []
    classes: list[str] = []
    owned: list[int] = []
    places = [json.loads(entry) for entry in kept.class_names]
    for index, width, height in places:
        image = annotated[index]
        good, of_class = _clean(image, image.size or (width, height), request.size, counts)
        boxes.append(good)
        classes.extend(of_class)
        owned.append(len(of_class))
    used = set(classes)
    if not used:
        raise DataError(f"{request.text!r} has no box with any area inside its image. Check the annotations.")
    class_names = tuple(name for name in order if name in used)
    number = {name: k for k, name in enumerate(class_names)}
    notes = (*remarks, *_notes(counts, owned, [name for name in order if name not in used]))
    if notes:
        warnings.warn(f"{request.text!r}: {'; '.join(notes)}.", DataWarning, stacklevel=2)
    return BoxImages(
        request.text,
        kept.images,
        np.concatenate(boxes).astype(np.float32),
        np.array([number[name] for name in classes], dtype=np.int64),
        np.concatenate([[0], np.cumsum(owned)]).astype(np.int64),
        class_names,
        tuple(annotated[index].wanted for index, _, _ in places),
        _splits(request, class_names),
        kept.skipped,
        notes,
    )


def _decoded(request: Request, source: Source, annotated: Sequence[Annotated]) -> Stored:
    """The images; each is a block of its own, named by its place in ``annotated`` and its size in pixels as JSON."""
    pixels = Pixels(request.size, request.channels, fit="stretch")
    files = [[image.file, image.size] for image in annotated]
    identity = {"source": source.identity, "boxes": files, **pixels.identity()}

    def blocks() -> Iterator[Block]:
        for index, image in enumerate(track(annotated, len(annotated), f"Reading {request.spec.name}")):
            try:
                array, size = _decode(source, image, pixels)
            except BadImageError as error:
                if request.on_bad_image == "fail":
                    raise bad_image(request, image.wanted, str(error)) from error
                yield Block("", np.empty((0, *pixels.shape), np.uint8), (f"{image.wanted}: {error}",))
            else:
                yield Block(json.dumps([index, *size]), array[None])

    stored = stored_images(identity, pixels.shape, blocks, request.cache_dir)
    if stored.skipped and request.on_bad_image == "fail":
        # the entry was made by an earlier call that skipped
        raise bad_image(request, *stored.skipped[0].split(": ", 1))
    return stored


def _decode(source: Source, image: Annotated, pixels: Pixels) -> tuple[np.ndarray, tuple[int, int]]:
    if image.file is None:
        raise BadImageError("there is no such file, or several of this name")
    array, size = pixels.decode_sized(source.read(image.file))
    if image.size is not None:
        stated = image.size[0] / image.size[1]
        # a copy at another scale is fine, one that was turned or cut is not
        if not 0.97 < stated / (size[0] / size[1]) < 1.03:
            raise BadImageError(
                f"it has {size[0]} x {size[1]} pixels, but its boxes are for {image.size[0]:g} x {image.size[1]:g}"
            )
    return array, size


def _clean(
    image: Annotated, size: tuple[float, float], side: int, counts: Counter[str]
) -> tuple[np.ndarray, list[str]]:
    """The image's boxes in pixels of the resized image, clipped to it, without those that are empty."""
    boxes = np.asarray(image.boxes, dtype=np.float64).reshape(-1, 4)
    limits = np.array([*size, *size], dtype=np.float64)
    inside = np.clip(boxes, 0.0, limits)
    # rounding in the file is not worth a word
    outside = (np.abs(inside - boxes) > 1.0).any(1)
    scaled = inside * (side / limits)
    # an unscaled box under a hundredth of a pixel is empty too: its centre and its size would be noise
    full = np.asarray(((scaled[:, 2:] - scaled[:, :2]) > 1e-2).all(1))
    counts["clipped"] += int((outside & full).sum())
    counts["empty"] += int((~full).sum())
    return scaled[full], [name for name, good in zip(image.classes, full.tolist(), strict=True) if good]


def _notes(counts: Counter[str], owned: Sequence[int], unused: Sequence[str]) -> Iterator[str]:
    if counts["clipped"]:
        yield f"{counts['clipped']} boxes reach beyond their image and were clipped"
    if counts["empty"]:
        yield f"{counts['empty']} boxes without area inside their image were left out"
    if bare := sum(count == 0 for count in owned):
        yield f"{bare} images show no object"
    if unused:
        yield f"{len(unused)} classes have no box and were left out, such as {unused[0]!r}"


def _splits(request: Request, class_names: Sequence[str]) -> dict[str, np.ndarray]:
    asked = {"val", "test", "seed"} & request.spec.options.keys()
    val, test = request.fraction("val", 0.15), request.fraction("test", 0.25)
    seed = request.integer("seed", 0, 0, 2**32 - 1)
    if val + test > 1:
        raise UsageError(f"val={val:g} and test={test:g} in {request.text!r} are more than all classes. Lower them.")
    if len(class_names) < _LEAST_CLASSES and not asked:
        none = np.empty(0, np.int64)
        return {"train": none, "val": none, "test": np.arange(len(class_names))}
    return random_splits(class_names, val, test, seed)
