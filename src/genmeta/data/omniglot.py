"""Omniglot: 1,623 characters of 50 alphabets, each drawn by 20 people.

References:
    Human-level concept learning through probabilistic program induction. Lake, Salakhutdinov, Tenenbaum, 2015.
    https://github.com/brendenlake/omniglot
    Matching Networks for One Shot Learning. Vinyals et al., 2016 (1,200 classes for training, the rest for testing,
    every class turned by 90, 180 and 270 degrees is one more class). https://arxiv.org/abs/1606.04080
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from genmeta.core.errors import DataError
from genmeta.data.classes import ImageClasses
from genmeta.data.download import Remote, download_file
from genmeta.data.loading import Item, load_groups
from genmeta.data.pixels import Pixels, image_extensions
from genmeta.data.registry import DatasetInfo, Reader, Request
from genmeta.data.sources import Source, open_source

_ADDRESS = "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/"
PARTS = {
    "images_background": Remote(_ADDRESS + "images_background.zip", "68d2efa1b9178cc56df9314c21c6e718"),
    "images_evaluation": Remote(_ADDRESS + "images_evaluation.zip", "6b91aef0f799c5bb55b94e3f2daec811"),
}
# Held out of the 30 background alphabets for validation: 136 characters of scripts and an invention that differ much.
VALIDATION_ALPHABETS = ("Armenian", "Bengali", "Braille", "Cyrillic", "Futurama")
_SHUFFLE_SEED = 1606_04080
_TRAIN_AND_VAL, _VAL = 1200, 100

INFO = DatasetInfo(
    name="omniglot",
    summary="1,623 handwritten characters of 50 alphabets, 20 drawings each",
    how_to_get=(
        "Pass --download, or put images_background.zip and images_evaluation.zip of "
        "https://github.com/brendenlake/omniglot (folder python) into PATH, by default $GENMETA_DATA/omniglot or "
        "~/.cache/genmeta/data/omniglot."
    ),
    path="optional",
    size=28,
    channels=1,
    options={
        "split": "official (by alphabet: background trains, evaluation tests; default) or vinyals (random)",
        "turns": "yes or no: each class turned by 90, 180, 270 degrees is a class too (default: yes for vinyals)",
    },
)


def data_directory() -> Path:
    """``$GENMETA_DATA``, else ``~/.cache/genmeta/data``: where data sets are looked for and downloaded to."""
    named = os.environ.get("GENMETA_DATA")
    return Path(named).expanduser() if named else Path.home() / ".cache" / "genmeta" / "data"


def open_omniglot(request: Request) -> ImageClasses:
    """Opens Omniglot; its black strokes on white become bright strokes on black.

    ``split=official``: the 964 background characters without five alphabets are ``train``, those five (see
    ``VALIDATION_ALPHABETS``) are ``val``, the 659 evaluation characters are ``test``. ``split=vinyals``: all 1,623
    characters in a fixed random order, 1,100 ``train``, 100 ``val``, 423 ``test``; the list of Vinyals et al. is a
    random one too, so this has its law but not its classes.

    Raises:
        DataError: the files are absent or damaged.
    """
    official = request.choice("split", ("official", "vinyals"), "official") == "official"
    turns = request.flag("turns", not official)
    root = request.path or data_directory() / "omniglot"
    groups: dict[str, list[Item]] = {}
    evaluation: set[str] = set()
    for part in PARTS:
        found = _characters(_open_part(request, root, part), part)
        groups.update(found)
        if part == "images_evaluation":
            evaluation.update(found)
    # bicubic averaging keeps the strokes, 2 to 3 of 105 pixels wide, visible at 28 pixels
    stored = load_groups(request, groups, Pixels(request.size, request.channels, invert=True))
    names = stored.class_names
    if official:
        place = [
            "test" if name in evaluation else "val" if name.split("/")[0] in VALIDATION_ALPHABETS else "train"
            for name in names
        ]
        splits = {split: np.flatnonzero(np.array(place) == split) for split in ("train", "val", "test")}
    else:
        # a stable order of names and an old, frozen generator: the same classes with every version of numpy
        order = np.random.RandomState(_SHUFFLE_SEED).permutation(len(names))
        train, val, test = np.split(order, [_TRAIN_AND_VAL - _VAL, _TRAIN_AND_VAL])
        splits = {"train": np.sort(train), "val": np.sort(val), "test": np.sort(test)}
    return ImageClasses(
        name=request.text,
        images=stored.images,
        offsets=stored.offsets,
        class_names=names,
        splits=splits,
        quarter_turns=frozenset(splits if turns else ()),
        skipped=stored.skipped,
    )


def _open_part(request: Request, root: Path, part: str) -> Source:
    for place in (root / part, root / f"{part}.zip"):
        if place.exists():
            return open_source(place)
    if request.download:
        target = root / f"{part}.zip"
        download_file(PARTS[part], target)
        return open_source(target)
    raise DataError(
        f"Omniglot is not complete: neither {part}.zip nor the folder {part} is in {str(root)!r}. "
        f"Put images_background.zip and images_evaluation.zip there (from {_ADDRESS}), or pass --download."
    )


def _characters(source: Source, part: str) -> dict[str, list[Item]]:
    """Files by ``Alphabet/character01``, whether or not the tree stands below a folder of the part's name."""
    groups: dict[str, list[Item]] = {}
    for name in source.names:
        folders = [folder for folder in name.split("/")[:-1] if folder != part]
        if len(folders) == 2 and os.path.splitext(name)[1].lower() in image_extensions():
            groups.setdefault("/".join(folders), []).append(Item(source, name))
    if not groups:
        raise DataError(
            f"{str(source.path)!r} holds no <alphabet>/<character>/*.png. Expected Omniglot's {part}.zip: get it again."
        )
    return groups


READER = Reader(INFO, open_omniglot)
