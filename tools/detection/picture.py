"""Draws one detection task: ``python tools/detection/picture.py RUN DATA OUT.png [--episode 0]``."""

from __future__ import annotations

import argparse

import torch
from matplotlib.figure import Figure

from genmeta.core.randomness import seeded
from genmeta.data import open_scenes
from genmeta.engine import load
from genmeta.engine.evaluation import episodes
from genmeta.reports import detection_picture
from genmeta.tasks import DetectionTasks
from genmeta.vision import Detection


def main() -> None:
    """Adapts to an episode and draws what is found in its query images."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("data")
    parser.add_argument("out")
    parser.add_argument("--split", default="test")
    parser.add_argument("--ways", type=int, default=3)
    parser.add_argument("--shots", type=int, default=1)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--episode", type=int, default=0)
    options = parser.parse_args()
    it = load(options.run).meta_learner.eval()
    vision, config = it.vision, it.learner.config
    if not isinstance(vision, Detection):
        raise SystemExit(f"{options.run} is a checkpoint of {vision.name}")
    data = open_scenes(options.data, size=config.size, channels=config.channels)
    tasks = DetectionTasks(data, options.split, ways=options.ways, shots=options.shots, queries=3)
    task = episodes(tasks, options.episode, options.episode + 1, 0)
    with torch.no_grad():
        outputs, *_ = it.answers(task, options.steps, seeded(0))
        pooled = it.pooled(outputs[options.steps], 1)
    heat = torch.softmax(pooled[0, ..., :-4], -1)[..., 1:].permute(0, 3, 1, 2)
    found = type(vision.detect(pooled))(*(leaf[0] for leaf in vision.detect(pooled)))
    names = [tasks.class_name(int(k)) for k in task.class_ids[0, 1:]]
    picture = detection_picture(task.support, task.query, found, heat, names)
    if not isinstance(picture.image, Figure):
        raise SystemExit("no figure")
    picture.image.set_facecolor("#ffffff")
    picture.image.savefig(options.out, dpi=90)


if __name__ == "__main__":
    main()
