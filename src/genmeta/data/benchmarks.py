"""Few-shot benchmarks with a published split of their classes: CIFAR-FS and miniImageNet.

References:
    Meta-learning with differentiable closed-form solvers (CIFAR-FS). Bertinetto et al., 2019.
    https://arxiv.org/abs/1805.08136
    Optimization as a Model for Few-Shot Learning (the usual split of miniImageNet). Ravi & Larochelle, 2017.
    https://openreview.net/forum?id=rJY0-Kcll
"""

from __future__ import annotations

from genmeta.core.errors import DataError, UsageError
from genmeta.data.classes import ImageClasses
from genmeta.data.folder import open_placed
from genmeta.data.layout import class_folders, split_of_folders
from genmeta.data.pixels import Pixels
from genmeta.data.registry import DatasetInfo, Reader, Request
from genmeta.data.sources import open_source
from genmeta.data.split_files import find_lists, read_lists

_PREFERRED_LISTS = ("splits", "bertinetto", "ravi", "ravi-larochelle", ".")
_LAYOUT = (
    "PATH is a folder or a zip with class folders in train/, val/, test/, or with lists train.txt, val.txt, test.txt "
    "(names of classes) or train.csv, val.csv, test.csv (filename,label), perhaps in splits/, and the images in data/ "
    "or images/."
)
_OPTIONS = {"splits": "folder of lists to take, where there are several (such as bertinetto)"}


def open_benchmark(request: Request) -> ImageClasses:
    """Opens class folders with their published split.

    Raises:
        DataError: neither split folders nor lists, a list that names what is not there, a class in two splits.
    """
    path = request.path
    if path is None:
        raise UsageError(f"Data set {request.spec.name!r} needs a path: write '{request.spec.name}:PATH'.")
    source = open_source(path)
    pixels = Pixels(request.size, request.channels)
    lists = find_lists(source, request.spec.options.get("splits"), _PREFERRED_LISTS)
    if lists is not None:
        listed = read_lists(source, lists)
        return open_placed(request, source, listed.files, listed.places, pixels)
    folders = class_folders(source)
    placed = split_of_folders(folders.files)
    if placed is None:
        raise DataError(
            f"{str(path)!r} does not say which classes are for training and which for testing. {_LAYOUT} "
            f"For a random split, open it as 'folder:{path}'."
        )
    return open_placed(request, source, folders.files, placed, pixels)


CIFAR_FS = Reader(
    DatasetInfo(
        name="cifar-fs",
        summary="CIFAR-FS: 100 classes of 600 small photos, 64 for training, 16 for validation, 20 for testing",
        how_to_get=f"Get cifar100.zip as published with R2-D2 (Bertinetto et al., 2019). {_LAYOUT}",
        path="required",
        size=32,
        channels=3,
        options=_OPTIONS,
    ),
    open_benchmark,
)
MINI_IMAGENET = Reader(
    DatasetInfo(
        name="mini-imagenet",
        summary="miniImageNet: 100 classes of 600 photos, 64 for training, 16 for validation, 20 for testing",
        how_to_get=f"Make it from ImageNet, whose licence keeps it from being handed on. {_LAYOUT}",
        path="required",
        size=84,
        channels=3,
        options=_OPTIONS,
    ),
    open_benchmark,
)
