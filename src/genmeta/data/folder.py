"""Any folder of class folders, or a zip of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

import numpy as np

from genmeta.core.errors import DataError, UsageError
from genmeta.data.classes import ImageClasses
from genmeta.data.layout import class_folders, index_splits, is_image, random_splits, split_of_folders
from genmeta.data.loading import Item, load_groups
from genmeta.data.pixels import Pixels
from genmeta.data.registry import DatasetInfo, Reader, Request
from genmeta.data.sources import Source, open_source

INFO = DatasetInfo(
    name="folder",
    summary="your own images: a folder of class folders, or a zip of one",
    how_to_get="Put the images of each class into a folder of its own; PATH holds these folders, or is a zip of them.",
    path="required",
    size=84,
    channels=3,
    options={
        "val": "fraction of the classes for validation (default 0.15)",
        "test": "fraction of the classes for testing (default 0.25)",
        "seed": "of the random split of the classes (default 0)",
        "within": "take only what is below this folder of PATH, such as one domain of several",
        "class": "folder or file: what names an image's class; with file, files of one name are one class (folder)",
        "merge": "yes or no: folders of one name, in train/ and test/ or in several domains, are one class (no)",
        "invert": "yes or no: dark strokes on white become bright strokes on black (default no)",
        "background": "white or black: what shows through transparent pixels (default white)",
    },
)
_LEAST_CLASSES = 10  # with fewer, a split would leave no episodes worth the name


def open_folder(request: Request) -> ImageClasses:
    """Opens class folders.

    Every folder that directly holds images is a class, named by its path below ``PATH``; hidden files and files
    that are no images are passed over. Where the top level is ``train/``, ``val/``, ``test/``, these are the splits;
    otherwise classes are split at random, the same way every time, and with fewer than ten classes all are ``test``.

    Raises:
        DataError: no class folders, a class in two splits, or a bad image with ``on_bad_image="fail"``.
        UsageError: an option that is out of range, or that does not go with the layout.
    """
    asked = {"val", "test", "seed"} & request.spec.options.keys()
    val, test = request.fraction("val", 0.15), request.fraction("test", 0.25)
    seed = request.integer("seed", 0, 0, 2**32 - 1)
    if val + test > 1:
        raise UsageError(f"val={val:g} and test={test:g} in {request.text!r} are more than all classes. Lower them.")
    background = request.choice("background", ("white", "black"), "white")
    pixels = Pixels(
        request.size,
        request.channels,
        invert=request.flag("invert", False),
        background="black" if background == "black" else "white",
    )
    path = request.path
    if path is None:
        raise UsageError("Data set 'folder' needs a path: write 'folder:PATH'.")
    merge = request.flag("merge", False)
    source = open_source(path)
    if request.choice("class", ("folder", "file"), "folder") == "file":
        return _open_named_files(request, source, pixels, (val, test, seed))
    folders = class_folders(source, request.spec.options.get("within", ""))
    placed = split_of_folders(folders.files)
    if placed is not None and not merge:
        if asked:
            raise UsageError(
                f"{str(path)!r} has its splits as folders train/, val/, test/, which {', '.join(sorted(asked))} in "
                f"{request.text!r} cannot change. Leave it out, or add merge=yes to split the classes anew."
            )
        return open_placed(request, source, folders.files, placed, pixels)
    groups: dict[str, list[Item]] = {}
    for folder, names in folders.files.items():
        class_name = folder.rpartition("/")[2] if merge else folder
        groups.setdefault(class_name, []).extend(Item(source, name) for name in names)
    outside = [f"{name}: lies in no class folder" for name in folders.outside]
    stored = load_groups(request, groups, pixels, outside)
    names = stored.class_names
    if len(names) < _LEAST_CLASSES and not asked:
        splits = {"train": np.empty(0, np.int64), "val": np.empty(0, np.int64), "test": np.arange(len(names))}
        remark = (
            f"A folder of fewer than {_LEAST_CLASSES} classes is for scoring alone, unless it is said how to split it, "
            "as in 'folder:PATH?val=0.2&test=0.2'. To learn just these classes: genmeta fit."
        )
    else:
        splits, remark = random_splits(names, val, test, seed), ""
    return ImageClasses(
        request.text, stored.images, stored.offsets, names, splits, skipped=stored.skipped, remark=remark
    )


def _open_named_files(
    request: Request, source: Source, pixels: Pixels, split: tuple[float, float, int]
) -> ImageClasses:
    """Opens images whose file name is their class, wherever they lie: one emoji in the styles of several vendors."""
    folders = {"within", "merge"} & request.spec.options.keys()
    if folders:
        raise UsageError(
            f"With class=file the folders of {request.text!r} say nothing, so {', '.join(sorted(folders))} has no use. "
            "Leave it out."
        )
    groups: dict[str, list[Item]] = {}
    for name in source.names:
        if is_image(name):
            groups.setdefault(PurePosixPath(name).stem, []).append(Item(source, name))
    stored = load_groups(request, groups, pixels)
    splits = random_splits(stored.class_names, *split)
    return ImageClasses(request.text, stored.images, stored.offsets, stored.class_names, splits, skipped=stored.skipped)


def open_placed(
    request: Request,
    source: Source,
    files: Mapping[str, Sequence[str]],
    placed: Mapping[str, tuple[str, str]],
    pixels: Pixels,
) -> ImageClasses:
    """Opens class folders whose splits are known.

    Args:
        request: what is asked.
        source: where the files are.
        files: class folder -> its files.
        placed: class folder -> its split and the name of the class.
        pixels: how files become arrays.

    Raises:
        DataError: a class is in two splits; a bad image with ``on_bad_image="fail"``.
    """
    split_by_class: dict[str, str] = {}
    groups: dict[str, list[Item]] = {}
    for folder, names in files.items():
        split, class_name = placed[folder]
        other = split_by_class.setdefault(class_name, split)
        if other != split:
            raise DataError(
                f"Class {class_name!r} of {str(source.path)!r} is in {other} and in {split}, but meta-training and "
                "meta-testing need different classes. With folders, add merge=yes to put such classes together and "
                "split the classes anew."
            )
        groups.setdefault(class_name, []).extend(Item(source, name) for name in names)
    stored = load_groups(request, groups, pixels)
    splits = index_splits(stored.class_names, split_by_class)
    return ImageClasses(request.text, stored.images, stored.offsets, stored.class_names, splits, skipped=stored.skipped)


READER = Reader(INFO, open_folder)
