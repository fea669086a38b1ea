"""What the blocks of the pages find when they are run: folders of images, annotations, and names in Python."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

#: Data that pages name -> small data of the same form. Omniglot needs a download, and printed glyphs are slow to draw:
#: class folders of turned digits stand in for both, and coloured shapes for the objects of scenes.
STAND_INS = {
    "glyphs": "folder:folder?size=12&color=gray",
    "digits": "folder:folder?size=12&color=gray",
    "omniglot": "folder:folder?size=12&color=gray",
    "glyph-styles": "domains:domains?size=12",
    "rotated-digits": "domains:domains?size=12",
    "scenes": "scenes:shapes?size=32",
}
KINDS = ("folder", "domains", "masks", "coco")
#: Words that stand for something of the reader's.
OWN = {"FOLDER": "mine", "IMAGES...": "new", "MODEL": "model.safetensors"}


def stand_in(argument: str) -> str:
    """An argument as the tests give it."""
    if argument in STAND_INS:
        return STAND_INS[argument]
    kind, colon, _ = argument.partition(":")
    if colon and kind in KINDS:
        return f"{kind}:{kind}?size={32 if kind in ('masks', 'coco') else '12&color=gray' if kind == 'folder' else 12}"
    return OWN.get(argument, argument)


@functools.cache
def _digits(count: int) -> list[tuple[int, np.ndarray]]:
    found = load_digits()
    return [(digit, (16 * image).clip(0, 255).astype(np.uint8)) for digit in range(10)
            for image in found.images[found.target == digit][:count]]  # fmt: skip


def _write(folder: Path, per_class: int, classes: dict[str, int]) -> None:
    for name, digit in classes.items():
        (folder / name).mkdir(parents=True)
        for n, (_, pixels) in enumerate(it for it in _digits(per_class) if it[0] == digit):
            Image.fromarray(pixels).resize((24, 24)).save(folder / name / f"{n}.png")


def build(root: Path) -> None:
    """Makes everything below ``root``."""
    _write(root / "mine", 3, {"cat": 0, "dog": 4, "fox": 7})
    _write(root / "new", 2, {"unsorted": 4})
    Image.fromarray(_digits(1)[0][1]).resize((24, 24)).save(root / "one.jpg")
    _turned(root / "folder")
    _shapes(root / "shapes")
    for at, style in enumerate(("photo", "sketch", "cartoon")):
        _write(root / "domains" / style, 70 + at, {"zero": 0, "one": 1})
    _scenes(root)


def _turned(folder: Path) -> None:
    """Digits, turned and mirrored ones as classes of their own: 24 to train on, 8 to choose by, 16 to test on."""
    splits = {"train": (0, 1, 4), "val": (7,), "test": (2, 3)}
    for split, digits in splits.items():
        for digit in digits:
            for turn in range(8):
                at = folder / split / f"digit{digit}-{turn}"
                at.mkdir(parents=True)
                for n, (_, pixels) in enumerate(it for it in _digits(8) if it[0] == digit):
                    turned = np.rot90(pixels if turn < 4 else pixels.T, turn % 4)
                    Image.fromarray(np.ascontiguousarray(turned)).resize((12, 12)).save(at / f"{n}.png")


def _shapes(folder: Path) -> None:
    """Cut-out shapes, by class."""
    for k in range(16):
        (folder / f"shape{k:02}").mkdir(parents=True)
        pixels = np.zeros((12, 12, 4), np.uint8)
        pixels[2:10, 2 : 4 + k // 2] = [200, 10 * k, 255 - 10 * k, 255]
        Image.fromarray(pixels).save(folder / f"shape{k:02}" / "0.png")


def _scenes(root: Path) -> None:
    """Six images of one or two bright squares each: masks in folders, boxes in a COCO file."""
    (root / "masks" / "images").mkdir(parents=True)
    (root / "masks" / "masks").mkdir()
    (root / "coco").mkdir()
    images, boxes = [], []
    for n in range(12):
        image, mask = np.full((32, 32, 3), 20 + n, np.uint8), np.zeros((32, 32), np.uint8)
        for k, (x, y) in enumerate(((3, 4), (18, 17), (18, 3))):
            image[y : y + 9, x : x + 9] = [[220, 40, 40], [40, 220, 40], [40, 40, 220]][k]
            mask[y : y + 9, x : x + 9] = k + 1
            boxes.append({"id": len(boxes), "image_id": n, "category_id": k + 1, "bbox": [x, y, 9, 9], "area": 81,
                          "iscrowd": 0})  # fmt: skip
        for folder in (root / "masks" / "images", root / "coco"):
            Image.fromarray(image).save(folder / f"{n:02}.png")
        Image.fromarray(mask).save(root / "masks" / "masks" / f"{n:02}.png")
        images.append({"id": n, "file_name": f"{n:02}.png", "width": 32, "height": 32})
    categories = [{"id": k + 1, "name": name} for k, name in enumerate(("red", "green", "blue"))]
    content = {"images": images, "annotations": boxes, "categories": categories}
    (root / "coco" / "annotations.json").write_text(json.dumps(content), encoding="utf-8")


def names(page: str) -> dict[str, Any]:
    """What the Python of a page takes for granted."""
    if page.endswith(("segmentation.md", "detection.md", "visual-tasks.md")):
        images = [np.full((32, 32, 3), 30 + n, np.uint8) for n in range(4)]
        masks = [np.zeros((32, 32), np.int64) for _ in images]
        for image, mask in zip(images, masks, strict=True):
            image[4:14, 4:14], mask[4:14, 4:14] = 220, 1
        common = {"images": images[:2], "other_images": images[2:], "more_images": images[2:]}
        return {**common, "masks": masks[:2], "boxes": [[[4, 4, 14, 14]]] * 2, "labels": [["square"]] * 2}
    shown = [image for _, image in _digits(3)[:9]]
    labels = [f"digit {digit}" for digit, _ in _digits(3)[:9]]
    more = [(f"digit {digit}", image) for digit, image in _digits(3)[9:15]]
    return {
        "images": shown, "labels": labels, "new_images": shown[:2],
        "more_images": [image for _, image in more], "more_labels": [label for label, _ in more],
    }  # fmt: skip
