"""Views of the open data sets, decoded and passed through the backbone's fixed early blocks once.

    python tools/photos/views.py --data ../shared/data --out VIEWS --worker 0 --workers 2

One folder per source: ``maps.<worker>.npy`` ``[N V 14 14 40]`` half precision, ``features.<worker>.npy``
``[N S 1280]`` (the untouched network's, one per style), ``meta.<worker>.json`` (classes, styles and their views).
"""

from __future__ import annotations

import argparse
import io
import json
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from episodes import CHOOSE, FRESH, part_of
from PIL import Image
from styles import STYLES, drawn, ground, jittered, on_ground, resized

from genmeta.core.randomness import seeded
from genmeta.data import open_dataset
from genmeta.learners import LearnerConfig, build_learner
from genmeta.learners.base import Pass

#: Styles that the start is not trained in, for step sizes and corrections to learn what a new domain needs.
NEW_STYLES = ("thermal", "solarised", "woodcut", "mosaic", "grainy")
#: And these, a third of them close to photos (see ``made_styles.py``).
MADE_STYLES = tuple(f"made-{number}" for number in (*range(10), *range(11, 21)))
#: Source -> (style, number of views).
VIEWS = {
    "caltech": [("plain", 3), ("sketch", 2), ("cartoon", 2), ("paint", 2), ("few_pixels", 2)],
    "emoji": [("plain", 3), ("sketch", 2), ("few_pixels", 2)],
    "omniglot": [("drawn", 2)],
    "glyphs": [("drawn", 2)],
    "mnist": [("drawn", 2)],
    "new-caltech": [(style, 2) for style in NEW_STYLES],
    "new-emoji": [(style, 2) for style in NEW_STYLES],
    "made-caltech": [(style, 2) for style in MADE_STYLES],
    "made-emoji": [(style, 2) for style in MADE_STYLES],
}
#: Most images of a class.
CAPS = {
    "caltech": 50,
    "emoji": 5,
    "omniglot": 6,
    "glyphs": 6,
    "mnist": 100,
    "new-caltech": 14,
    "new-emoji": 4,
    "made-caltech": 9,
    "made-emoji": 4,
}
#: One class in so many of the emoji, in the styles that the start is not trained in.
EMOJI_EVERY = {"new-emoji": 5, "made-emoji": 10}
Item = tuple[str, Callable[[np.random.Generator, str], np.ndarray]]


def capped(source: str, groups: dict[str, list]) -> Iterator[tuple[str, object]]:
    """At most so many images of each class; of the fresh ones twice as many, of the choosing ones none."""
    for name in sorted(groups):
        items, cap = groups[name], CAPS[source]
        if source == "made-caltech":
            cap *= {FRESH: 2, CHOOSE: 0}.get(part_of(name), 1)
        order = np.random.default_rng(len(name)).permutation(len(items))[:cap]
        yield from ((name, items[i]) for i in order)


def caltech_photos(root: Path) -> dict[str, list[np.ndarray]]:
    file = zipfile.ZipFile(root / "caltech101_84.zip")
    groups: dict[str, list] = defaultdict(list)
    for name in sorted(file.namelist()):
        if name.endswith(".jpg"):
            groups[name.split("/")[-2]].append(name)
    return {
        name: [np.asarray(Image.open(io.BytesIO(file.read(n))).convert("RGB")) for n in names]
        for name, names in groups.items()
    }


def items(source: str, root: Path) -> Iterator[Item]:
    """(class, how to draw a view in a style) of each image."""
    full, source = source, source.rpartition("-")[2]
    if source in ("caltech", "emoji"):
        photos = caltech_photos(root)
    if source == "caltech":
        for name, image in capped(full, photos):
            yield name, lambda rng, style, image=image: STYLES[style](resized(image.astype(np.float32) / 255), rng)
    elif source == "emoji":
        pool = [image for images in photos.values() for image in images[:10]]
        file = zipfile.ZipFile(root / "emoji9_64_rgba.zip")
        groups = defaultdict(list)
        for name in sorted(file.namelist()):
            if name.endswith(".webp"):
                groups[name.split("/")[-1]].append(name)
        groups = {name: groups[name] for name in sorted(groups)[:: EMOJI_EVERY.get(full, 1)]}

        def compose(rng: np.random.Generator, style: str, name: str) -> np.ndarray:
            rgba = np.asarray(Image.open(io.BytesIO(file.read(name))).convert("RGBA"))
            back = ground(rng, lambda: resized(pool[rng.integers(len(pool))].astype(np.float32) / 255))
            if style == "sketch":
                back = np.ones_like(back)
            return STYLES[style](on_ground(rgba, back, rng).clip(0, 1), rng)

        for cls, name in capped(full, groups):
            yield cls, lambda rng, style, name=name: compose(rng, style, name)
    else:
        if source == "omniglot":
            groups = defaultdict(list)
            for part in ("images_background", "images_evaluation"):
                file = zipfile.ZipFile(root / f"{part}.zip")
                for name in sorted(file.namelist()):
                    if name.endswith(".png"):
                        groups["/".join(name.split("/")[:-1])].append((file, name))

            def load(entry: tuple[zipfile.ZipFile, str]) -> np.ndarray:
                picture = Image.open(io.BytesIO(entry[0].read(entry[1]))).convert("L")
                return 1 - np.asarray(picture, np.float32) / 255

        elif source == "glyphs":
            data = open_dataset("glyphs", size=64, channels=1)
            groups = {
                name: [data.images[i, :, :, 0] for i in range(data.offsets[k], data.offsets[k + 1])]
                for k, name in enumerate(data.class_names)
            }

            def load(image: np.ndarray) -> np.ndarray:
                return image.astype(np.float32) / 255

        else:
            arrays = np.load(root / "mnist_t10k.npz")
            images, labels = (arrays[k] for k in arrays.files[:2])
            if images.ndim == 1:
                images, labels = labels, images
            groups = {str(d): list(images[labels == d]) for d in range(10)}

            def load(image: np.ndarray) -> np.ndarray:
                return image.reshape(28, 28).astype(np.float32) / 255

        for cls, entry in capped(full, groups):
            yield cls, lambda rng, style, entry=entry: drawn(load(entry), rng)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--worker", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--sources", default=",".join(VIEWS))
    args = parser.parse_args()
    torch.set_num_threads(1)
    learner = build_learner(LearnerConfig("efficientnet-lite0", 3, 112), seeded(0))
    run = Pass(learner, {}, 1, None)
    for source in args.sources.split(","):
        folder = args.out / source
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / f"meta.{args.worker}.json").exists():
            continue
        mine = [pair for i, pair in enumerate(items(source, args.data)) if i % args.workers == args.worker]
        views = [style for style, count in VIEWS[source] for _ in range(count)]
        firsts = [views.index(style) for style, _ in VIEWS[source]]
        maps = np.lib.format.open_memmap(
            folder / f"maps.{args.worker}.npy", "w+", np.float16, (len(mine), len(views), 14, 14, 40)
        )
        features = np.zeros((len(mine), len(firsts), 1280), np.float16)
        flip = source.rpartition("-")[2] in ("caltech", "emoji")
        for at in range(0, len(mine), 8):
            batch = []
            for i, (_, draw) in enumerate(mine[at : at + 8]):
                for v, style in enumerate(views):
                    rng = np.random.default_rng([args.worker, at + i, v])
                    batch.append(jittered(draw(rng, style), rng, flip=flip))
            count = len(batch) // len(views)
            with torch.no_grad():
                pixels = torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2)
                early = learner.early(run, pixels)
                maps[at : at + count] = early.permute(0, 2, 3, 1).unflatten(0, (count, -1)).half().numpy()
                first = early.unflatten(0, (count, -1))[:, firsts].flatten(0, 1)
                features[at : at + count] = learner.late(run, first).unflatten(0, (count, -1)).half().numpy()
            if at % 400 == 0:
                print(source, at, len(mine), flush=True)
        maps.flush()
        np.save(folder / f"features.{args.worker}.npy", features)
        meta = {"classes": [name for name, _ in mine], "styles": VIEWS[source]}
        (folder / f"meta.{args.worker}.json").write_text(json.dumps(meta))


if __name__ == "__main__":
    main()
