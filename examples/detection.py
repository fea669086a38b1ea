"""Detection: a hypernetwork writes the kernels of a detector from a few images with boxes.

Meta-trains on painted scenes, then fits a detector of two new classes from five scenes and says what it finds in
others. The 150 meta-steps, some minutes, show the calls and not what can be reached; docs/detection.md says what longer
trainings do.
"""

import argparse
import tempfile

import numpy as np

import genmeta
from genmeta.data import open_scenes
from genmeta.estimators import FewShotDetector


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=150, help="meta-steps")
    parser.add_argument("--data", default="scenes?size=64", help="scenes, coco:PATH or voc:PATH")
    parser.add_argument("--width", type=int, default=16, help="channels of the first block of the U-Net")
    parser.add_argument("--threshold", type=float, default=0.2, help="least score of what is said")
    options = parser.parse_args(arguments)

    with tempfile.TemporaryDirectory() as runs:
        config = genmeta.TrainConfig(
            method="hypernet", vision="detection", data=options.data, run=f"{runs}/hypernet", ways="2", shots="1-5",
            queries=2, steps=options.steps, tasks_per_batch=2, width=options.width, lr=3e-3, validate_tasks=4,
        )  # fmt: skip
        genmeta.train(config)
        detector = FewShotDetector(config.run, threshold=options.threshold)

        # a task of the test split: classes of scripts that meta-training has never seen
        source = open_scenes(options.data)
        classes = source.splits["test"][:2]
        scenes = source.draw("test", classes[None], shots=5, queries=5, random=np.random.default_rng(0))
        names = [source.class_names[k] for k in classes]
        boxes, labels = [], []
        for of_image, numbers in zip(scenes.boxes[0], scenes.labels[0], strict=True):
            boxes.append(of_image[numbers >= 0])  # the rest is padding
            labels.append([names[k] for k in numbers[numbers >= 0]])
        detector.fit(scenes.images[0, :5], boxes[:5], labels[:5])
        print("classes", detector.classes_.tolist(), "boxes of each", detector.n_support_.tolist())

        told = 0
        for at, found in enumerate(detector.predict(scenes.images[0, 5:])):
            print(f"query image {at}: there is {labels[5 + at]}")
            for box, label, score in zip(found.boxes, found.labels, found.scores, strict=True):
                print(f"  found {label} at {box.round().astype(int).tolist()}, score {score:.2f}")
                told += 1
    return told


if __name__ == "__main__":
    main()
