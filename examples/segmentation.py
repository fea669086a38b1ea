"""Segmentation: a hypernetwork writes a classifier of pixels from a few masks, for glyphs of scripts never seen.

Meta-trains on painted scenes, then fits a new task of two classes from five scenes with masks, as an estimator does
it: arrays in, arrays out. The 150 meta-steps, some two minutes, show the calls and not what can be reached;
docs/segmentation.md says what longer trainings do.
"""

import argparse
import tempfile

import numpy as np

import genmeta
from genmeta.data import open_scenes


def main(arguments: list[str] | None = None) -> float:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=150, help="meta-steps")
    parser.add_argument("--data", default="scenes?size=48", help="scenes, scenes:PATH or masks:PATH")
    parser.add_argument("--width", type=int, default=16, help="channels of the first block of the U-Net")
    parser.add_argument("--tasks", type=int, default=20, help="episodes to score")
    options = parser.parse_args(arguments)

    with tempfile.TemporaryDirectory() as runs:
        config = genmeta.TrainConfig(
            method="hypernet", vision="segmentation", data=options.data, run=f"{runs}/hypernet", ways="2", shots="1-5",
            queries=2, steps=options.steps, tasks_per_batch=2, width=options.width, lr=3e-3, validate_tasks=4,
        )  # fmt: skip
        genmeta.train(config)
        segmenter = genmeta.FewShotSegmenter(config.run)

        # a task of the test split: classes of scripts that meta-training has never seen
        source = open_scenes(options.data)
        classes = source.splits["test"][None, :2]
        scenes = source.draw("test", classes, shots=5, queries=5, random=np.random.default_rng(0))
        images, masks = scenes.images[0], scenes.masks[0]
        segmenter.fit(images[:5], list(masks[:5]))
        answers = segmenter.predict(images[5:])
        print("classes", segmenter.classes_.tolist(), "labelled pixels", segmenter.n_support_.tolist())
        for at, (answer, truth) in enumerate(zip(answers, masks[5:], strict=True)):
            of = [(answer == k) & (truth == k) for k in (1, 2)]
            either = [(answer == k) | (truth == k) for k in (1, 2)]
            shares = [o.sum() / e.sum() for o, e in zip(of, either, strict=True) if e.any()]
            print(f"query image {at}: mean IoU of the objects {100 * np.mean(shares):.0f} %")

        (scored,) = genmeta.compare(
            {"hypernet": config},
            [genmeta.EvaluationConfig(data=options.data, ways=2, shots=5, queries=3, tasks=options.tasks,
                                      adapt_steps="0,1")],
        )  # fmt: skip
    for step, scores in scored.evaluations["hypernet"].items():
        print(f"{options.tasks} tasks of unseen scripts, {step} steps: mean IoU {100 * scores.accuracy.mean():.1f} %")
    return float(scored.evaluations["hypernet"][0].accuracy.mean())


if __name__ == "__main__":
    main()
