"""Early maps, in the views that adaptation uses, of the held-out sets and of open sets that only serve to choose.

Nothing is trained or chosen on the held-out ones. The ``choose-`` sets are domains that meta-training has not seen
either: crops of playing cards and blood cells, and the choosing classes of Caltech-101 as they are and in styles of
their own, some close to photos.

python tools/photos/held_out.py --data ../shared/data --out HELD_OUT
"""

from __future__ import annotations

import argparse
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import torch
from episodes import CHOOSE, TRAIN, part_of
from PIL import Image, ImageFilter
from styles import SIDE, STYLES
from views import caltech_photos

from genmeta.core.randomness import seeded
from genmeta.data import open_dataset
from genmeta.learners import LearnerConfig, build_learner
from genmeta.learners.base import Pass
from genmeta.tasks.augment import fixed_views

#: Set -> data spec below the data folder.
SETS = {
    "pacs-photo": "folder:{}/pacs_84.zip?within=photo",
    "pacs-art": "folder:{}/pacs_84.zip?within=art_painting",
    "pacs-cartoon": "folder:{}/pacs_84.zip?within=cartoon",
    "pacs-sketch": "folder:{}/pacs_84.zip?within=sketch",
    "gtsrb": "folder:{}/gtsrb_32_3pertrack.zip",
    "digits": "digits",
}
CHOOSING = (
    "choose-cards",
    "choose-cells",
    "choose-emboss",
    "choose-halftone",
    "choose-plain",
    "choose-near",
    "choose-nearer",
    "choose-among",
    *(f"choose-made-{number}" for number in range(100, 106)),
)
#: Choosing sets of photos seen from nearer -> the part of a side that is seen.
WINDOWS = {"near": (0.5, 0.7), "nearer": (0.3, 0.5)}
#: Most images of a class, drawn at random: enough for many different episodes.
CAP = 90
Groups = dict[str, list[np.ndarray]]


def crops(root: Path, name: str) -> Groups:
    """Boxes of a COCO file by category, with a margin, as squares."""
    file = zipfile.ZipFile(root / "detection" / f"{name}.zip")
    listing = json.loads(file.read(next(n for n in file.namelist() if n.endswith("annotations.json"))))
    names = {image["id"]: image["file_name"] for image in listing["images"]}
    kinds = {kind["id"]: kind["name"] for kind in listing["categories"]}
    places = {n.rpartition("/")[2]: n for n in file.namelist()}
    groups: Groups = {}
    for box in listing["annotations"]:
        have = groups.setdefault(kinds[box["category_id"]], [])
        x, y, w, h = box["bbox"]
        if len(have) < CAP and min(w, h) >= 12:
            picture = Image.open(io.BytesIO(file.read(places[names[box["image_id"]].rpartition("/")[2]]))).convert(
                "RGB"
            )
            m = 0.1 * max(w, h)
            piece = picture.crop((round(x - m), round(y - m), round(x + w + m), round(y + h + m)))
            have.append(np.asarray(piece.resize((SIDE, SIDE), Image.Resampling.BICUBIC)))
    return groups


def caltech_in(root: Path, style: str) -> Groups:
    """The choosing classes of Caltech-101 in a style that meta-training does not know."""
    groups: Groups = {}
    rng = np.random.default_rng(0)
    photos = caltech_photos(root)
    others = [image for name, images in photos.items() if part_of(name) == TRAIN for image in images[:3]]
    for name, images in photos.items():
        for image in images[:25] if part_of(name) == CHOOSE else []:
            picture = Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
            if style in STYLES:
                drawn = STYLES[style](np.asarray(picture, np.float32) / 255, rng)
                picture = Image.fromarray((drawn * 255).round().clip(0, 255).astype(np.uint8))
            elif style in WINDOWS:  # a part of it
                side = int(rng.uniform(*WINDOWS[style]) * SIDE)
                x, y = (int(v) for v in rng.integers(0, SIDE - side + 1, 2))
                picture = picture.crop((x, y, x + side, y + side)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
            elif style == "among":  # on another photo
                side = int(rng.uniform(0.5, 0.75) * SIDE)
                x, y = (int(v) for v in rng.integers(0, SIDE - side + 1, 2))
                back = Image.fromarray(others[rng.integers(len(others))]).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
                back.paste(picture.resize((side, side), Image.Resampling.BICUBIC), (x, y))
                picture = back
            elif style == "emboss":
                picture = picture.filter(ImageFilter.EMBOSS).filter(ImageFilter.GaussianBlur(0.7))
            else:  # dots, larger where it is darker
                grey = np.asarray(picture.convert("L"), np.float32) / 255
                y, x = np.mgrid[:SIDE, :SIDE]
                screen = (np.sin(x * 1.2 + y * 0.6) * np.sin(y * 1.2 - x * 0.6) + 1) / 2
                picture = Image.fromarray(((grey > screen) * 255).astype(np.uint8)).convert("RGB")
            groups.setdefault(name, []).append(np.asarray(picture))
    return groups


def chosen(name: str, args: argparse.Namespace) -> tuple[np.ndarray, list[str], list[int]]:
    """Images, classes and their numbers of a ``choose-`` set."""
    kind = name.removeprefix("choose-")
    files = {"cards": "cards", "cells": "bccd"}
    groups = crops(args.data, files[kind]) if kind in files else caltech_in(args.data, kind)
    return np.concatenate([np.stack(g) for g in groups.values()]), list(groups), [len(g) for g in groups.values()]


def held_out(name: str, args: argparse.Namespace) -> tuple[np.ndarray, list[str], list[int]]:
    """Images, classes and their numbers of a held-out set."""
    data = open_dataset(SETS[name].format(args.data), size=SIDE, channels=3)
    rng = np.random.default_rng(0)
    picked = []
    for k in range(len(data.class_names)):
        # three frames of each passing of a sign are three times the same picture: one of them
        every = slice(1, None, 3) if name == "gtsrb" else slice(None)
        inside = rng.permutation(np.arange(data.offsets[k], data.offsets[k + 1])[every])[:CAP]
        picked.append(np.sort(inside))
    return data.images[np.concatenate(picked)], list(data.class_names), [len(p) for p in picked]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sets", default=",".join([*SETS, *CHOOSING]))
    args = parser.parse_args()
    torch.set_num_threads(1)
    learner = build_learner(LearnerConfig("efficientnet-lite0", 3, 112), seeded(0))
    run = Pass(learner, {}, 1, None)
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.sets.split(","):
        if (args.out / f"{name}.json").exists():
            continue
        pixels, classes, counts = (chosen if name in CHOOSING else held_out)(name, args)
        maps = np.lib.format.open_memmap(args.out / f"{name}.maps.npy", "w+", np.float16, (len(pixels), 3, 14, 14, 40))
        features = np.zeros((len(pixels), 1280), np.float32)
        for at in range(0, len(pixels), 32):
            images = torch.from_numpy(pixels[at : at + 32]).permute(0, 3, 1, 2).float().div(255)
            with torch.no_grad():
                for v, view in enumerate(fixed_views(images[None])):
                    early = learner.early(run, view[0])
                    maps[at : at + 32, v] = early.permute(0, 2, 3, 1).half().numpy()
                    if v == 0:
                        features[at : at + 32] = learner.late(run, early).numpy()
        maps.flush()
        np.save(args.out / f"{name}.features.npy", features)
        meta = {"classes": classes, "counts": counts, "data": SETS.get(name, name).format("../shared/data")}
        (args.out / f"{name}.json").write_text(json.dumps(meta))
        print(name, len(pixels), flush=True)


if __name__ == "__main__":
    main()
