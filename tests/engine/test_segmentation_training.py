"""A generator learns to segment classes it has never seen, and its start beats as many steps from scratch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from genmeta.core.settings import TrainConfig
from genmeta.data import open_scenes
from genmeta.engine import evaluate, paired, train
from genmeta.tasks import SegmentationTasks


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty classes: bars, rings and wedges of different colours."""
    root = tmp_path_factory.mktemp("pictures")
    for k in range(30):
        colour = tuple(int(v) for v in np.random.default_rng(k).integers(0, 256, 3))
        (root / f"class{k:02}").mkdir()
        image = Image.new("RGBA", (32, 32))
        draw = ImageDraw.Draw(image)
        if k % 3 == 0:
            draw.rectangle((2, 8, 30, 24), fill=colour)
        elif k % 3 == 1:
            draw.ellipse((2, 2, 30, 30), outline=colour, width=7)
        else:
            draw.polygon([(2, 30), (16, 2), (30, 30)], fill=colour)
        image.save(root / f"class{k:02}" / "0.png")
    return root


def test_a_trained_generator_segments_unseen_classes(pictures: Path, tmp_path: Path) -> None:
    data = f"scenes:{pictures}?size=24&test=0.4"
    common = {"vision": "segmentation", "ways": "2", "queries": 2, "width": 16, "validate_tasks": 2, "threads": 1}
    trained = train(
        TrainConfig("hypernet", data, str(tmp_path / "h"), steps=60, tasks_per_batch=3, lr=0.004, **common),  # type: ignore[arg-type]
        progress=False,
    )
    untrained = train(
        TrainConfig("hypernet", data, str(tmp_path / "u"), steps=1, tasks_per_batch=1, lr=1e-9, **common),  # type: ignore[arg-type]
        progress=False,
    )
    scratch = train(
        TrainConfig(
            "scratch",
            data,
            str(tmp_path / "s"),
            options={"inner_rule": "adam", "inner_lr": 0.01},
            **common,  # type: ignore[arg-type]
        ),
        progress=False,
    )
    tasks = SegmentationTasks(open_scenes(data), "test", ways=2, shots=1, queries=2)
    scores = {
        name: evaluate(it.meta_learner, tasks, n_tasks=16, steps=(0, 5), time_tasks=0)
        for name, it in (("trained", trained), ("untrained", untrained), ("scratch", scratch))
    }
    for other, step in (("untrained", 0), ("scratch", 0), ("scratch", 5)):
        gain = paired(scores["trained"][0].accuracy, scores[other][step].accuracy)
        assert gain.mean - gain.half_width > 0, (other, step, gain)
