"""A first task: a shipped generator writes a classifier of handwritten digits, which it has never seen, from 50 images.

The five lines of every method, one by one: sample a task, write a start, adapt it, answer the query images, score.
Takes a few seconds. ``python examples/first_task.py --shots 1`` tries it with one image of each digit.
"""

import argparse

import torch

import genmeta


def main(arguments: list[str] | None = None) -> float:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="characters", help="a name, a file or a run directory")
    parser.add_argument("--shots", type=int, default=5, help="images of each digit")
    parser.add_argument("--tasks", type=int, default=50, help="tasks to score")
    options = parser.parse_args(arguments)

    # the generator was meta-trained on printed and handwritten characters; digits are new to it
    generator = genmeta.from_pretrained(options.checkpoint).meta_learner
    digits = genmeta.ClassificationTasks(
        genmeta.open_dataset("digits"), "test", ways=10, shots=options.shots, queries=5
    )

    task = digits.sample(1, rng=genmeta.seeded(0))  # images are [tasks, examples, channels, height, width]
    print("support", list(task.support.images.shape), "query", list(task.query.images.shape))

    with torch.no_grad():
        start = generator.start(task.support, task.ways, genmeta.seeded(1))
        print("written:", {name: list(weights.shape) for name, weights in start.weights.items()})
        adapted = generator.adapt(task.support, task.ways, genmeta.seeded(1), steps=1)
        logits = generator.pooled(generator.respond(task.query.images, adapted), task.n_tasks)
    right = (logits.argmax(-1) == task.query.labels).double().mean().item()
    print(f"this task, after one step: {100 * right:.0f} % of the query images are right")

    scores = genmeta.evaluate(generator, digits, n_tasks=options.tasks, steps=(0, 1, 5))
    for step, at in scores.items():
        summary = at.summary()
        print(f"{options.tasks} tasks, {step} steps: {summary['accuracy']} ± {summary['accuracy_ci95']} %")
    return float(scores[0].accuracy.mean())


if __name__ == "__main__":
    main()
