"""Your own generator: a new family, registered in a script, then trained and scored beside the others.

This one writes a class row as a mixture of a few learned rows, weighted by what the class's context says. The page
docs/add-a-generator.md builds a random one with a likelihood, as a module of the library.
"""

import argparse
import tempfile
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

import genmeta
from genmeta.generators import ParameterGenerator, Written
from genmeta.learners import Learner
from genmeta.methods import METHODS, MetaLearner
from genmeta.methods.hypernetworks import HyperNetOptions, build_hypernet
from genmeta.vision import VisualTask


class MixtureOfRows(ParameterGenerator):
    """``w = softmax(A c) · B``: a convex mixture of the learned rows of ``B``."""

    def __init__(self, context_size: int, length: int, rows: int) -> None:
        super().__init__(context_size, length)
        self.choose = nn.Linear(context_size, rows)
        self.rows = nn.Parameter(0.1 * torch.randn((rows, length), generator=genmeta.seeded("rows")))

    def forward(self, context: Tensor, rng: torch.Generator) -> Written:
        values = self.choose(context).softmax(-1) @ self.rows
        return Written(values, values.new_zeros(len(values)))  # deterministic, so a sample costs nothing


@dataclass(frozen=True)
class MixtureOptions(HyperNetOptions):
    generate: str = "rows"
    mixture: int = 16


def build(options: MixtureOptions, learner: Learner, vision: VisualTask, rng: torch.Generator) -> MetaLearner:
    meta_learner = build_hypernet(options, learner, vision, rng)  # encoder, step sizes, adapter: all as they are
    meta_learner.row_generator = MixtureOfRows(
        options.context, vision.row_length(learner.feature_size), options.mixture
    )
    return meta_learner


hypernet = METHODS["hypernet"]
METHODS.register("row-mixture")(
    replace(hypernet, name="row-mixture", summary="Rows as mixtures of learned ones.", generates="rows",
            adapts="rows", paper="none: an example", url="", expected="unknown", options=MixtureOptions, build=build)
)  # fmt: skip


def main(arguments: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100, help="meta-steps of each training")
    parser.add_argument("--tasks", type=int, default=100, help="episodes to score")
    parser.add_argument("--data", default="glyphs", help="to train on")
    parser.add_argument("--target", default="digits", help="to score on")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as runs:
        runs_of = {
            name: genmeta.TrainConfig(
                method=name, data=options.data, run=f"{runs}/{name}", width=32, steps=options.steps, tasks_per_batch=2,
                lr=3e-3, validate_tasks=10,
            )
            for name in ("protonet", "hypernet", "row-mixture")
        }  # fmt: skip
        (scored,) = genmeta.compare(runs_of, [genmeta.EvaluationConfig(data=options.target, tasks=options.tasks)])
    found = {name: float(of[0].accuracy.mean()) for name, of in scored.evaluations.items()}
    print("accuracy at 0 steps:", {name: round(accuracy, 3) for name, accuracy in found.items()})
    return found


if __name__ == "__main__":
    main()
