"""A folder of toy images, and the settings of a training that takes a second."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from toys import tiny_options

from genmeta.core.settings import TrainConfig


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six classes to train, three to validate and three to test, seven grey images of 16 pixels each."""
    root, random = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for split, n_classes in (("train", 6), ("val", 3), ("test", 3)):
        for k in range(n_classes):
            folder = root / split / f"{split}{k}"
            folder.mkdir(parents=True)
            centre = random.integers(0, 256, (16, 16))
            for i in range(7):
                pixels = 0.6 * centre + 0.4 * random.integers(0, 256, (16, 16))
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i}.png")
    return root


@pytest.fixture
def config(photos: Path, tmp_path: Path) -> Callable[..., TrainConfig]:
    def make(method: str = "protonet", run: str = "run", **changes: Any) -> TrainConfig:
        settings = {
            "ways": "3",
            "queries": 2,
            "steps": 6,
            "tasks_per_batch": 2,
            "width": 16,
            "validate_every": 2,
            "validate_tasks": 4,
            "device": "cpu",
            "options": tiny_options(method),
            **changes,
        }
        return TrainConfig(method, f"folder:{photos}?size=16&color=gray", str(tmp_path / run), **settings)

    return make
