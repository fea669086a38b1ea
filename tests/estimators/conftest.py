"""Tiny checkpoints, and pictures of classes that can be told apart."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from toys import make_learner, perturb, tiny_options

from genmeta.engine.checkpoint import learner_header, save_model
from genmeta.methods import build_method

Checkpoint = Callable[..., Path]


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """Makes the file of a small meta-learner."""
    made: dict[tuple[object, ...], Path] = {}

    def make(method: str = "hypernet", channels: int = 3, norm: str = "group", card: bool = True) -> Path:
        key = (method, channels, norm, card)
        if key not in made:
            options = tiny_options(method)
            learner = make_learner(channels=channels, norm=norm)
            meta_learner = perturb(build_method(method, learner, options=options), 0.05)
            header = {"method": method, "options": options, "learner": learner_header(learner.config)}
            if card:
                header["card"] = {"summary": "a toy", "data": "noise", "licence": "none", "strokes": channels == 1}
            made[key] = tmp_path_factory.mktemp("checkpoint") / f"{method}.safetensors"
            save_model(made[key], meta_learner, header)
        return made[key]

    return make


@dataclasses.dataclass(frozen=True)
class Pictures:
    """Images ``[N H W C]`` uint8 and their labels."""

    images: np.ndarray
    labels: np.ndarray


@pytest.fixture
def pictures() -> Callable[..., Pictures]:
    """Noisy copies of one random coarse picture a class, dark at the border."""

    def make(names: tuple[str, ...] = ("ant", "bee", "cat"), each: int = 3, seed: int = 0, size: int = 24) -> Pictures:
        images, labels = [], []
        for name in names:
            # the class's picture comes from its name, so that other calls show the same classes
            coarse = np.random.default_rng([ord(letter) for letter in name]).integers(0, 256, (4, 4, 3))
            noise = np.random.default_rng([seed, *map(ord, name)])
            for _ in range(each):
                picture = np.kron(coarse, np.ones((size // 4, size // 4, 1))) + noise.normal(0, 20, (size, size, 3))
                images.append(np.clip(picture, 0, 255).astype(np.uint8))
                labels.append(name)
        return Pictures(np.stack(images), np.asarray(labels))

    return make
