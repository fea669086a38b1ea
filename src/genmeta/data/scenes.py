"""Scenes: several glyphs (or cut-out pictures) on textured or photo backgrounds, with exact masks and boxes.

Made on demand, so there are as many as one likes; nothing to download. The splits are those of the glyphs: meta-testing
is on scripts that meta-training never sees.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from genmeta.core.errors import UsageError
from genmeta.data import glyphs
from genmeta.data.cut_outs import open_backgrounds, open_cut_outs
from genmeta.data.registry import DatasetInfo, Request, SceneReader
from genmeta.data.scene_objects import CutOuts
from genmeta.data.scene_paint import VISIBLE, boxes_of, colours, place, scribble, textures
from genmeta.data.scene_source import UNLABELLED, Scenes, SceneSource
from genmeta.data.spec import DataSpec

#: Cells of the grid that objects are placed on, along each side: they may touch and overlap a little, not cover.
GRID = 3
_MOST_CELLS = 8
#: The most objects of other classes in an image: clutter, which is background.
CLUTTER = 2
#: Images are made on demand; this many is "as many as anybody asks for".
PLENTY = 10**6
_CUT = 64  # pixels of a glyph before it is placed


@dataclass(frozen=True)
class PaintedScenes(SceneSource):
    """Scenes that are painted when they are asked for.

    A support image has one object of every class of the task; a query image of each class with chance 0.7, and of at
    least one. Both have up to two objects of other classes of the split, which count as background.

    Attributes:
        objects: what is painted.
        backgrounds: ``[N H W 3]`` uint8; ``None`` for painted textures.
        labelled: fraction of the pixels of support masks that keep their label.
        cells: of the grid that objects are placed on, along each side; more, where there are more objects.
    """

    name: str
    image_shape: tuple[int, int, int]
    objects: CutOuts
    backgrounds: np.ndarray | None
    fingerprint: str
    labelled: float = 1.0
    cells: int = GRID
    skipped: tuple[str, ...] = ()
    annotates: frozenset[str] = frozenset(("masks", "boxes"))

    @property
    def class_names(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.objects.class_names

    @property
    def splits(self) -> Mapping[str, np.ndarray]:  # type: ignore[override]
        return self.objects.splits

    def fewest_images(self, split: str) -> int:
        return PLENTY

    def draw(self, split: str, classes: np.ndarray, shots: int, queries: int, random: np.random.Generator) -> Scenes:
        n_tasks, ways = classes.shape
        per_task = shots + queries
        shown = random.random((n_tasks, per_task, ways)) < 0.7
        shown[:, :shots] = True
        shown[..., 0] |= ~shown.any(-1)
        of_class = np.broadcast_to(classes[:, None], shown.shape)
        n_clutter = min(CLUTTER, self.cells**2 - ways) if ways < self.cells**2 else 0
        strangers, is_there = self._clutter(split, classes, per_task, max(n_clutter, 0), random)
        # what comes first is painted first: clutter lies below
        what = np.concatenate([strangers, of_class], -1).reshape(n_tasks * per_task, -1)
        there = np.concatenate([is_there, shown], -1).reshape(n_tasks * per_task, -1)
        number = np.concatenate([np.full(strangers.shape[-1], UNLABELLED), np.arange(ways)])
        images, owner = self._paint(what, there, random)
        n_objects = what.shape[1]
        label_of = np.concatenate([np.maximum(number + 1, 0), [0]]).astype(np.int16)  # the last place: background
        masks = label_of[owner.numpy()]
        boxes = boxes_of(owner, n_objects)[:, n_objects - ways :]
        labels = np.where(boxes[..., 2] > boxes[..., 0], np.arange(ways), UNLABELLED)
        shape = (n_tasks, per_task)
        masks = masks.reshape(*shape, *masks.shape[1:])
        if self.labelled < 1:
            scribble(masks[:, :shots], self.labelled, random)
        return Scenes(
            images.reshape(*shape, *images.shape[1:]),
            masks,
            boxes.reshape(*shape, ways, 4),
            labels.reshape(*shape, ways).astype(np.int64),
        )

    def _clutter(
        self, split: str, classes: np.ndarray, per_task: int, count: int, random: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Classes of the split that are not of the task, ``[T n count]``, and which of them are there."""
        pool, shape = self.splits[split], (len(classes), per_task, count)
        picks = pool[(random.random(shape) * len(pool)).astype(np.int64)]
        there = random.random(shape) < 0.5
        return picks, there & ~(picks[..., None] == classes[:, None, None]).any(-1)

    def _paint(
        self, what: np.ndarray, there: np.ndarray, random: np.random.Generator
    ) -> tuple[np.ndarray, torch.Tensor]:
        """Images ``[B H W C]`` uint8 and the number of the object that each pixel shows, ``[B H W]``; -1 for none."""
        count, n_objects = what.shape
        channels, size, _ = self.image_shape
        canvas = self._backgrounds(count, size, random)
        owner = torch.full((count, size, size), -1, dtype=torch.int64)
        grid = max(self.cells, int(np.ceil(n_objects**0.5)))
        cells = random.random((count, grid**2)).argsort(1)[:, :n_objects]
        jitter = 0.25 * (random.random((count, n_objects, 2)) - 0.5)
        centres = (np.stack([cells % grid, cells // grid], -1) + 0.5 + jitter) / grid
        scales = (0.95 + 0.6 * random.random((count, n_objects))) / grid
        angles = np.deg2rad(60) * (random.random((count, n_objects)) - 0.5)
        for k in range(n_objects):
            cut = torch.from_numpy(self.objects.pick(what[:, k], random)).permute(0, 3, 1, 2).float() / 255
            scale, angle, centre = (torch.from_numpy(part[:, k]).float() for part in (scales, angles, centres))
            if cut.shape[1] == 4:
                # colour is averaged with its opacity, or the black of see-through pixels would run into the edges
                cut = torch.cat([cut[:, :3] * cut[:, 3:], cut[:, 3:]], 1)
            placed = place(cut, scale, angle, centre, size) * torch.from_numpy(there[:, k]).float()[:, None, None, None]
            opacity = placed[:, -1:]
            colour = placed[:, :3] if cut.shape[1] == 4 else colours(canvas, random)[:, :, None, None] * opacity
            canvas = canvas * (1 - opacity) + colour
            owner = torch.where(opacity[:, 0] > VISIBLE, k, owner)
        if channels == 1:
            canvas = canvas.mean(1, keepdim=True)
        pixels = (canvas * 255).round().clamp(0, 255).to(torch.uint8)
        return pixels.permute(0, 2, 3, 1).contiguous().numpy(), owner

    def _backgrounds(self, count: int, size: int, random: np.random.Generator) -> torch.Tensor:
        if self.backgrounds is None:
            return textures(count, size, random)
        picks = self.backgrounds[(random.random(count) * len(self.backgrounds)).astype(np.int64)]
        turned = [np.rot90(image, turn) for image, turn in zip(picks, random.integers(0, 4, count), strict=True)]
        return torch.from_numpy(np.stack(turned)).permute(0, 3, 1, 2).float() / 255


INFO = DatasetInfo(
    name="scenes",
    serves="segmentation, detection",
    summary="Several glyphs of unseen scripts, or cut-out pictures, on backgrounds; exact masks and boxes.",
    how_to_get="Glyphs come with matplotlib. PATH: class folders (or a zip of them) of pictures with transparency.",
    path="optional",
    size=64,
    channels=3,
    options={
        "backgrounds": "folder or zip of photos to put objects on (default: painted textures)",
        "class": "folder or file: what names the class of a picture of PATH (default folder)",
        "val": "fraction of the classes of PATH for validation (default 0.15)",
        "test": "fraction of the classes of PATH for testing (default 0.25)",
        "seed": "of the random split of the classes of PATH (default 0)",
        "grid": f"objects stand on so many cells along each side: fewer, larger objects (default {GRID})",
        "scribbles": "fraction of the pixels of support masks that keep their label, in patches (default 1)",
    },
)


def open_scenes(request: Request) -> PaintedScenes:
    """Opens painted scenes.

    Raises:
        DataError: no pictures, or a bad one with ``on_bad_image="fail"``.
        UsageError: an option that is out of range, or that needs a path.
    """
    skipped: tuple[str, ...] = ()
    if request.path is None:
        if given := [key for key in ("class", "val", "test", "seed") if key in request.spec.options]:
            raise UsageError(f"Option {given[0]!r} in {request.text!r} is about pictures: write 'scenes:PATH?...'.")
        spec = DataSpec("glyphs")
        drawn = glyphs.READER.open(Request(str(spec), spec, _CUT, 1, cache_dir=request.cache_dir))
        objects = CutOuts(np.asarray(drawn.images), drawn.offsets, drawn.class_names, drawn.splits)
    else:
        objects, skipped = open_cut_outs(request, request.path, _CUT)
    backgrounds = None
    if place := request.spec.options.get("backgrounds"):
        backgrounds = open_backgrounds(request, Path(place).expanduser(), request.size)
    digest = hashlib.sha256(f"{request.size} {request.channels} {request.spec.options}".encode())
    for array in (objects.offsets, objects.pixels[::64], *([] if backgrounds is None else [backgrounds[::64]])):
        digest.update(np.ascontiguousarray(array).tobytes())
    return PaintedScenes(
        name=request.text,
        image_shape=(request.channels, request.size, request.size),
        objects=objects,
        backgrounds=backgrounds,
        fingerprint=digest.hexdigest(),
        labelled=request.fraction("scribbles", 1.0),
        cells=request.integer("grid", GRID, 1, _MOST_CELLS),
        skipped=skipped,
    )


READER = SceneReader(INFO, open_scenes)
