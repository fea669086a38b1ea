"""One meta-learner that classifies, segments and detects: trained on all three, then shown a task of each.

Printed characters to tell apart, scenes painted of them to segment and to detect in; what the generator writes for a
task it writes for the visual task that a token names. Half a minute: the scores are those of a network that has seen
little, on characters of scripts that it has never seen.
"""

import argparse
import tempfile

import genmeta
from genmeta.engine import evaluate
from genmeta.engine.task_sources import make_tasks, open_mixed
from genmeta.methods.multitask import told


def main(arguments: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="glyphs?size=24&color=rgb+scenes", help="data sets joined by +")
    parser.add_argument("--vision", default="classification,segmentation,detection", help="visual tasks")
    parser.add_argument("--steps", type=int, default=90, help="meta-steps, of one visual task after the other")
    parser.add_argument("--tasks", type=int, default=20, help="to score on, of each visual task")
    options = parser.parse_args(arguments)

    with tempfile.TemporaryDirectory() as run:
        config = genmeta.TrainConfig(
            method="hypernet", scenario="multitask", vision=options.vision, data=options.data, run=run, ways="2",
            shots="2", queries=3, steps=options.steps, tasks_per_batch=2, width=16, lr=4e-3,
            options={"inner_steps": 0, "context": 32, "hidden": 64}, validate_tasks=3, validate_every=options.steps,
        )  # fmt: skip
        meta_learner = genmeta.train(config).meta_learner

    found = {}
    print(f"{sum(p.numel() for p in meta_learner.parameters()):,} parameters for {options.vision}")
    for kind, data in open_mixed(config):
        # the same parameters in every one: `told` changes which token is read, and how the map of features is read
        expert, tasks = told(meta_learner, kind), make_tasks(data, kind, "test", ways=2, shots=2, queries=3)
        score = evaluate(expert, tasks, n_tasks=options.tasks, steps=(0,), time_tasks=0)[0]
        found[kind] = float(score.accuracy.mean())
        print(f"{kind}: {score.metric} {100 * found[kind]:.1f} %, as generated from two examples of each class")
    return found


if __name__ == "__main__":
    main()
