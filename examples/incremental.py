"""Incremental learning: classes come in sessions and are never shown again; old rows stay, new ones are written.

The shipped generator of character classifiers meets handwritten digits: four at first, then two at a time. Beside it
stands plain fine-tuning of a classifier on each session's images, which forgets. Takes half a minute.
"""

import argparse

import genmeta
from genmeta.scenarios.incremental import IncrementalLearner, score_incremental
from genmeta.scenarios.incremental_learners import Finetuning, WrittenRows
from genmeta.tasks.sessions import IncrementalTasks


def main(arguments: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="characters", help="of a method that writes rows alone")
    parser.add_argument("--base", type=int, default=4, help="classes of the first session")
    parser.add_argument("--shots", type=int, default=5, help="images of each class")
    parser.add_argument("--streams", type=int, default=5, help="streams, each with another order and other images")
    options = parser.parse_args(arguments)

    generator = genmeta.from_pretrained(options.checkpoint).meta_learner
    shape = generator.learner.config
    digits = genmeta.open_dataset("digits", size=shape.size, channels=shape.channels)
    tasks = IncrementalTasks(
        digits, "test", base_classes=options.base, base_shots=options.shots, sessions=(10 - options.base) // 2, ways=2,
        shots=options.shots, queries=10,
    )  # fmt: skip

    def written() -> IncrementalLearner:
        return WrittenRows(generator)

    def finetuned() -> IncrementalLearner:
        return Finetuning(generator.learner)

    last = {}
    for name, make in (("written rows", written), ("fine-tuning", finetuned)):
        scores = score_incremental(make, tasks, streams=options.streams)
        after = "  ".join(f"{100 * value:.1f}" for value in scores.accuracy.mean(0))
        print(f"{name}: accuracy on all digits so far, in %, after each session: {after}")
        print(f"  forgetting {100 * scores.forgetting.mean():.1f} points; {scores.bytes_per_class:.0f} bytes a class")
        last[name] = float(scores.accuracy[:, -1].mean())
    return last


if __name__ == "__main__":
    main()
