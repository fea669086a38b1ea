"""Images with class masks: ``images/`` and ``masks/`` side by side, in a folder or a zip, paired by name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import numpy as np
from PIL import Image

from genmeta.core.errors import DataError, UsageError
from genmeta.data.cache import Block, stored_images
from genmeta.data.layout import SPLIT_FOLDERS, SPLITS, is_image, random_splits
from genmeta.data.masked_images import MaskedImages
from genmeta.data.pixels import BadImageError, Pixels, decoded
from genmeta.data.progress import track
from genmeta.data.registry import DatasetInfo, Request, SceneReader
from genmeta.data.sources import Source, open_source

#: In stored masks: unlabelled.
NO_LABEL = 255
_VERSION = 2  # of how masks are read, for the key of the cache
_LOSSY = ("JPEG", "MPO")  # formats that blur class numbers where classes meet
_FULL_SIZE = 2**20  # asks the decoder for every pixel, of any image that is decoded at all

INFO = DatasetInfo(
    name="masks",
    serves="segmentation",
    summary="Images with masks of class numbers; instance numbers and binary masks too.",
    how_to_get="PATH, a folder or zip, holds images/NAME.jpg and masks/NAME.png, perhaps below train/, val/, test/.",
    path="required",
    size=128,
    channels=3,
    options={
        "background": "class number of what is no object, or none (default 0)",
        "ignore": "class numbers that mean unlabelled, separated by commas (default none)",
        "instances": "yes or no: masks number single objects; all that is not background is one class (default no)",
        "classes": "names of the class numbers 0, 1, ..., separated by commas (default: those of meta.json, if any)",
        "val": "fraction of the images for validation, where folders do not say (default 0.15)",
        "test": "fraction of the images for testing, where folders do not say (default 0.5)",
        "seed": "of the random split of the images (default 0)",
    },
)


@dataclass(frozen=True)
class Reading:
    """How mask values are read.

    Attributes:
        names: of the class numbers; empty where nobody has said how many there are.
        background: the class number that is no object; ``None`` for none.
        ignore: class numbers that mean unlabelled.
        instances: values number single objects.
    """

    names: tuple[str, ...]
    background: int | None
    ignore: frozenset[int]
    instances: bool

    def read(self, data: bytes, size: tuple[int, int]) -> np.ndarray:
        """Class numbers ``[H W]`` uint8 of a mask file, :data:`NO_LABEL` where unlabelled.

        Args:
            data: the file.
            size: width and height of the image it belongs to.

        Raises:
            BadImageError: not a mask, of another size, or with a class number that is not known.
        """
        values = mask_values(data, size)
        unlabelled = np.isin(values, list(self.ignore))
        if self.instances:
            return np.where(unlabelled, NO_LABEL, values != (self.background or 0)).astype(np.uint8)
        found = np.unique(values)
        if set(found.tolist()) <= {0, 255} and len(self.names) <= 2 and 255 not in self.ignore:
            values = np.minimum(values, 1)  # black and white: the usual way to store two classes
            found = np.unique(values)
        most = len(self.names) or NO_LABEL
        unknown = [int(v) for v in found if not 0 <= v < most and int(v) not in self.ignore]
        if unknown:
            known = f"class numbers are 0 to {most - 1}" if self.names else f"at most {NO_LABEL} classes are read"
            raise BadImageError(
                f"the mask holds the value {unknown[0]}, but {known}; name all with classes=, leave it unlabelled with "
                f"ignore={unknown[0]}, or say instances=yes if values number objects"
            )
        return np.where(unlabelled, NO_LABEL, values).astype(np.uint8)


def mask_values(data: bytes, size: tuple[int, int] | None = None) -> np.ndarray:
    """Values ``[H W]`` of a mask file: grey of 1 to 32 bits, or the numbers of palette colours.

    Args:
        data: the file.
        size: the width and height that it must have; a file of another size is not decoded.

    Raises:
        BadImageError: it is not an image, of another size, or has colours rather than numbers.
    """

    def check(image: Image.Image) -> None:
        if image.format in _LOSSY:
            raise _RefusedError("the mask is a JPEG, whose compression changes class numbers; store masks as PNG")
        if size is not None and image.size != size:
            width, height = image.size
            raise _RefusedError(f"the mask is {width} × {height} pixels, its image {size[0]} × {size[1]}")

    try:
        array, _ = decoded(data, _FULL_SIZE, np.asarray, check)
    except _RefusedError as error:
        raise BadImageError(str(error)) from error
    except BadImageError as error:
        raise BadImageError(f"the mask cannot be read ({error})") from error
    if array.ndim == 3:
        bands = array.shape[-1]
        if bands in (3, 4) and all(np.array_equal(array[..., 0], array[..., c]) for c in (1, 2)):
            array = array[..., 0]  # grey, stored as colour
        else:
            raise BadImageError(
                f"the mask has {bands} colour channels; expected class numbers in one channel (grey or palette)"
            )
    if array.dtype.kind == "f":
        raise BadImageError("the mask holds fractions; expected whole class numbers")
    return np.asarray(array, dtype=np.int64)


class _RefusedError(BadImageError):
    """An image that is no mask, or not of the image beside it."""


def open_masks(request: Request) -> MaskedImages:
    """Opens images with masks.

    Raises:
        DataError: no pairs, a bad image or mask (which is named) with ``on_bad_image="fail"``.
        UsageError: an option that is out of range.
    """
    path = request.path
    if path is None:
        raise UsageError("Data set 'masks' needs a path: write 'masks:PATH'.")
    source = open_source(path)
    pairs, alone = pairs_of(source)
    reading = reading_of(request, source)
    pixels = Pixels(request.size, request.channels)
    by_split = _split(request, pairs)
    shape = (request.size, request.size, request.channels + 1)
    identity = {
        "masks": _VERSION,
        "source": source.identity,
        "pairs": {split: [list(pairs[name]) for name in names] for split, names in by_split.items()},
        "reading": repr(replace(reading, ignore=frozenset())) + str(sorted(reading.ignore)),
        **pixels.identity(),
    }
    stored = stored_images(
        identity, shape, lambda: blocks_of(request, source, by_split, pairs, reading), request.cache_dir
    )
    if stored.skipped and request.on_bad_image == "fail":
        raise _bad(request, *stored.skipped[0].split(": ", 1))
    blocks = {name: np.arange(stored.offsets[i], stored.offsets[i + 1]) for i, name in enumerate(stored.class_names)}
    return masked_images(
        request,
        reading,
        stored.images,
        {split: blocks.get(split, np.empty(0, np.int64)) for split in SPLITS},
        hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest(),
        (*stored.skipped, *alone),
    )


def masked_images(
    request: Request,
    reading: Reading,
    pixels: np.ndarray,
    places: Mapping[str, np.ndarray],
    fingerprint: str,
    skipped: tuple[str, ...],
) -> MaskedImages:
    """Images whose last channel is the mask, with the classes that it shows.

    Raises:
        DataError: no object in any of them.
    """
    names, numbers = _object_classes(reading, np.asarray(pixels[..., -1]))
    if not numbers:
        raise DataError(f"The masks of {request.text!r} hold no object at all, only background. Check background=.")
    return MaskedImages(request.text, pixels, names, np.asarray(numbers), places, fingerprint, skipped)


def pairs_of(source: Source) -> tuple[dict[str, tuple[str, str]], list[str]]:
    """``name -> (image file, mask file)``, and the images that have no mask, with the reason.

    The name is the path below ``images/`` or ``masks/`` without extension; where these lie in ``train/``, ``val/`` or
    ``test/``, it begins with that.

    Raises:
        DataError: there are none, or two files of one name.
    """
    images, masks = (_below(source, folder) for folder in ("images", "masks"))
    pairs = {name: (images[name], masks[name]) for name in sorted(images.keys() & masks.keys())}
    if not pairs:
        raise DataError(
            f"{str(source.path)!r} holds no image with a mask: expected images/NAME.jpg and masks/NAME.png, found "
            f"{len(images)} images and {len(masks)} masks with different names."
        )
    return pairs, [f"{images[name]}: has no mask" for name in sorted(images.keys() - masks.keys())]


def _below(source: Source, folder: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in source.names:
        parts = PurePosixPath(name).parts
        if is_image(name) and folder in parts[:-1]:
            at = parts.index(folder)
            above = [part for part in parts[max(at - 1, 0) : at] if part in SPLIT_FOLDERS]
            key = str(PurePosixPath(*above, *parts[at + 1 :]).with_suffix(""))
            if key in found:
                raise DataError(
                    f"{str(source.path)!r} holds both {found[key]!r} and {name!r}, and which is meant by {key!r} "
                    "cannot be told. Rename one, or open one of their folders."
                )
            found[key] = name
    return found


def reading_of(request: Request, source: Source) -> Reading:
    """What a request and the set's ``meta.json`` say of mask values.

    Raises:
        DataError: ``meta.json`` is damaged; more classes than are read.
        UsageError: an option that is out of range.
    """
    options = request.spec.options
    background: int | None = None
    if options.get("background") != "none":
        background = request.integer("background", 0, 0, NO_LABEL - 1)
    try:
        ignore = frozenset(int(value) for value in options.get("ignore", "").split(",") if value)
        if not all(0 <= value < 2**32 for value in ignore):
            raise ValueError("no mask holds it")
    except ValueError:
        raise UsageError(f"Option ignore={options['ignore']!r} in {request.text!r} is not a list of numbers.") from None
    instances = request.flag("instances", False)
    names = tuple(name.strip() for name in options.get("classes", "").split(",") if name.strip())
    if not names and not instances:
        names = _named_in_meta(source)
    if len(names) > NO_LABEL:
        raise DataError(
            f"{request.text!r} names {len(names)} classes; at most {NO_LABEL} are read. Merge some, or name fewer."
        )
    return Reading(names, background, ignore, instances)


def _named_in_meta(source: Source) -> tuple[str, ...]:
    if "meta.json" not in source.names:
        return ()
    try:
        classes = json.loads(source.read("meta.json"))["classes"]
    except (KeyError, TypeError):
        return ()
    except (BadImageError, ValueError, RecursionError) as error:
        raise DataError(
            f"'meta.json' of {str(source.path)!r} cannot be read ({error}). Repair or remove it, or name the classes "
            "with classes=."
        ) from error
    return tuple(map(str, classes)) if isinstance(classes, list) else ()


def _split(request: Request, pairs: Mapping[str, tuple[str, str]]) -> dict[str, list[str]]:
    tops = {name.partition("/")[0] if "/" in name else "" for name in pairs}
    if tops <= SPLIT_FOLDERS.keys():
        out: dict[str, list[str]] = {split: [] for split in SPLITS}
        for name in pairs:
            out[SPLIT_FOLDERS[name.partition("/")[0]]].append(name)
        return out
    names = list(pairs)
    val, test = request.fraction("val", 0.15), request.fraction("test", 0.5)
    if val + test > 1:
        raise UsageError(f"val={val:g} and test={test:g} in {request.text!r} are more than all images. Lower them.")
    places = random_splits(names, val, test, request.integer("seed", 0, 0, 2**32 - 1))
    return {split: [names[i] for i in places[split]] for split in SPLITS}


def blocks_of(
    request: Request,
    source: Source,
    by_split: Mapping[str, list[str]],
    pairs: Mapping[str, tuple[str, str]],
    reading: Reading,
) -> Iterator[Block]:
    """Images and masks of each split, one block a split: ``[N H W C+1]``, the last channel the mask.

    Raises:
        DataError: a bad image or mask, and ``on_bad_image="fail"``.
    """
    todo = [(split, name) for split in by_split for name in by_split[split]]
    images: dict[str, list[np.ndarray]] = {split: [] for split in by_split}
    skipped: dict[str, list[str]] = {split: [] for split in by_split}
    for split, name in track(todo, len(todo), "Reading masks"):
        image_file, mask_file = pairs[name]
        blamed = image_file
        try:
            image, size = Pixels(request.size, request.channels).decode_sized(source.read(image_file))
            blamed = mask_file
            mask = reading.read(source.read(mask_file), size)
        except BadImageError as error:
            if request.on_bad_image == "fail":
                raise _bad(request, blamed, str(error)) from error
            skipped[split].append(f"{blamed}: {error}")
            continue
        images[split].append(np.concatenate([image, middle_square(mask, request.size)[..., None]], -1))
    none = (0, request.size, request.size, request.channels + 1)
    for split in by_split:
        stack = np.stack(images[split]) if images[split] else np.empty(none, np.uint8)
        yield Block(split, stack, tuple(skipped[split]))


def middle_square(mask: np.ndarray, side: int) -> np.ndarray:
    """The middle square of a mask, as :class:`Pixels` cuts it from the image, each pixel the nearest of the mask's."""
    height, width = mask.shape
    least = min(width, height)
    steps = (np.arange(side) + 0.5) / side * least
    rows = np.minimum((steps + (height - least) / 2).astype(int), height - 1)
    columns = np.minimum((steps + (width - least) / 2).astype(int), width - 1)
    return mask[rows[:, None], columns]


def _bad(request: Request, name: str, reason: str) -> DataError:
    return DataError(
        f"File {name!r} of {request.text!r} cannot be used: {reason}. "
        "Repair or remove it, or leave such images out with --on-bad-image skip."
    )


def _object_classes(reading: Reading, masks: np.ndarray) -> tuple[tuple[str, ...], list[int]]:
    """Names and numbers of the classes that are objects."""
    if reading.instances:
        return ("object",), [1] if (masks == 1).any() else []
    there = [int(v) for v in np.unique(masks) if v != NO_LABEL and v != reading.background]
    return tuple(reading.names[v] if v < len(reading.names) else f"class {v}" for v in there), there


READER = SceneReader(INFO, open_masks)
