"""Episodes from cached views: some classes of one source, all in one style."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

#: Source -> how often it is drawn.
WEIGHTS = {"caltech": 0.42, "emoji": 0.34, "omniglot": 0.12, "glyphs": 0.08, "mnist": 0.04}
#: Fraction of classes that only choose (of MNIST none: it has ten).
HELD_BACK = {"caltech": 0.2, "emoji": 0.12, "omniglot": 0.12, "glyphs": 0.12, "mnist": 0.0}
#: Parts of the classes of Caltech-101: the base is trained on ``train``; the second phase also sees the photos of
#: ``fresh`` classes, which the base has not fitted; ``choose`` classes serve to choose alone.
TRAIN, FRESH, CHOOSE = "train", "fresh", "choose"


def place(name: str) -> float:
    """Where a class falls in ``[0, 1)``, by a hash of its name."""
    return int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) / 2**32


def part_of(name: str) -> str:
    """The part of a class of Caltech-101."""
    held_back = HELD_BACK["caltech"]
    return FRESH if place(name) < held_back / 2 else CHOOSE if place(name) < held_back else TRAIN


class Episode(NamedTuple):
    """Maps are ``[N V 14 14 40]``: every support image in ``V`` views, a query image in one.

    Attributes:
        support: views of the support images.
        targets: their classes.
        frozen: the untouched network's features of the support images, ``[N 1280]``.
        query: ``[Q 14 14 40]``.
        query_targets: their classes.
        ways: number of classes.
        name: source and style.
    """

    support: Tensor
    targets: Tensor
    frozen: Tensor
    query: Tensor
    query_targets: Tensor
    ways: int
    name: str


@dataclass
class Source:
    """Views of one source; images of worker ``w`` and number ``i`` are ``maps[w][i]``."""

    name: str
    maps: list[np.ndarray]
    features: list[np.ndarray]
    styles: list[tuple[str, int]]
    classes: dict[str, list[tuple[int, int]]]

    @classmethod
    def open(cls, folder: Path) -> Source:
        """Reads what ``views.py`` wrote."""
        maps, features, classes, styles = [], [], {}, []
        for w, path in enumerate(sorted(folder.glob("meta.*.json"))):
            meta = json.loads(path.read_text())
            styles = [tuple(s) for s in meta["styles"]]
            maps.append(np.load(folder / f"maps.{w}.npy", mmap_mode="r"))
            features.append(np.load(folder / f"features.{w}.npy"))
            for i, name in enumerate(meta["classes"]):
                classes.setdefault(name, []).append((w, i))
        return cls(folder.name, maps, features, styles, classes)

    def split(self, part: str) -> list[str]:
        """Names of the classes of ``train``, ``val``, ``fresh`` or ``choose``."""
        if part in (FRESH, CHOOSE):
            return sorted(n for n in self.classes if part_of(n) == part)
        part_held = HELD_BACK[self.name.rpartition("-")[2]]
        chosen = [n for n in self.classes if (place(n) < part_held) == (part == "val")]
        return sorted(chosen)

    def episode(
        self, rng: np.random.Generator, names: list[str], style: int, ways: int, shots: int, queries: int, views: int
    ) -> Episode:
        """``ways`` of the classes ``names``; fewer queries where a class has too few images."""
        first = sum(count for _, count in self.styles[:style])
        count = self.styles[style][1]
        picked = rng.choice(len(names), ways, replace=False)
        support, frozen, targets, query, query_targets = [], [], [], [], []
        for label, k in enumerate(picked):
            images = self.classes[names[k]]
            order = rng.permutation(len(images))
            for i in order[:shots]:
                w, n = images[i]
                chosen = rng.permutation(count)
                chosen = [chosen[v % count] for v in range(views)]
                support.append(np.stack([self.maps[w][n, first + v] for v in chosen]))
                frozen.append(self.features[w][n, style])
                targets.append(label)
            for i in order[shots : shots + queries]:
                w, n = images[i]
                query.append(self.maps[w][n, first + rng.integers(count)])
                query_targets.append(label)
        labels, query_labels = torch.tensor(targets), torch.tensor(query_targets)
        name = f"{self.name}/{self.styles[style][0]}"
        return Episode(_stacked(support), labels, _stacked(frozen), _stacked(query), query_labels, ways, name)


def _stacked(arrays: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(arrays)).float()


class Mixture:
    """Episodes of all sources; ``fresh:SOURCE`` are those of the fresh classes of a source."""

    def __init__(self, root: Path, part: str, weights: dict[str, float] | None = None) -> None:
        weights = weights or WEIGHTS
        asked = [name.rpartition(":") for name in weights]
        self.sources = [Source.open(root / source) for _, _, source in asked]
        self.names = [s.split(own or part) for s, (own, _, _) in zip(self.sources, asked, strict=True)]
        p = np.array(list(weights.values()))
        self.p = p / p.sum()

    def training(self, rng: np.random.Generator, *, views: int = 2) -> Episode:
        """Ranged ways and shots, at most 30 support images."""
        s = int(rng.choice(len(self.sources), p=self.p))
        source = self.sources[s]
        style = int(rng.integers(len(source.styles)))
        ways = int(rng.integers(2, min(10, len(self.names[s])) + 1))
        limit = {"caltech": 9, "new-caltech": 6, "made-caltech": 5, "omniglot": 4, "glyphs": 4}.get(source.name, 3)
        limit = min(limit, 30 // ways) if source.name != "mnist" else 30 // ways
        shots = 1 if rng.random() < 0.3 else int(rng.integers(1, max(2, limit + 1)))
        most = {"caltech": 10, "mnist": 10, "new-caltech": 6, "made-caltech": 4, "new-emoji": 1, "made-emoji": 1}
        asked = most.get(source.name, 2)
        asked = max(1, min(asked, 30 // ways))
        return source.episode(rng, self.names[s], style, ways, shots, asked, views)

    def fixed(self, source: int, style: int, shots: int, number: int, *, views: int = 2) -> Episode:
        """Episode ``number`` of a list that is always the same, 5-way."""
        rng = np.random.default_rng([source, style, shots, number, 77])
        return self.sources[source].episode(rng, self.names[source], style, 5, shots, 5, views)
