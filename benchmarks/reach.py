"""Seconds of meta-training to reach an accuracy on Omniglot 5-way 1-shot, method by method, beside learn2learn's MAML.

    python benchmarks/reach.py maml --out build/reach/maml.json
    python benchmarks/reach.py learn2learn --cap 240

Every row trains Conv4-64 on the training alphabets (28×28 grey) from scratch and is scored, again and again, on one
fixed list of episodes of the validation alphabets (5w1s, 5 queries of each class). The clock is the processor seconds
of training alone, the drawing of its tasks included; it stands while the row is scored. A row ends when it reaches the
goal or when its clock reaches the cap.

The library's rows have the settings of ``genmeta train METHOD --data omniglot``, whose learning rate falls along a
cosine: here down to the cap, whose number of steps the second step foretells. ``learn2learn`` is the loop of its
Omniglot example with the example's own numbers (32 tasks, 1 query of each class, 1 inner step of 0.5, Adam at 0.003),
on the same network in torch's layers and on tasks of this library's sampler, which is the faster one. ``learn2learn, as
maml`` is the same loop with the settings of the library's ``maml``, as far as it has them (one step size for all
weights). ``protonet, many ways`` is ``protonet`` with the settings that the results page trains it with.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import json
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))
import peers
import work

from genmeta.core.files import write_json
from genmeta.core.randomness import TaskStreams, lent_to_torch, seeded
from genmeta.core.settings import TrainConfig
from genmeta.engine.evaluation import episodes as listed
from genmeta.engine.evaluation import evaluate
from genmeta.engine.loop import _schedule
from genmeta.engine.optimisers import Optimisers
from genmeta.engine.runtime import keep_freed_memory
from genmeta.engine.scores import Interval
from genmeta.engine.task_sources import make_tasks, open_mixed, training_tasks
from genmeta.learners import LearnerConfig, build_learner
from genmeta.methods import METHODS, build_method, make_options
from genmeta.methods.objectives import Setting
from genmeta.scenarios import provenance
from genmeta.tasks import TaskDistribution

#: The rows of `make bench`.
ROWS = (
    "protonet, many ways",
    "protonet",
    "ridge",
    "hypernet",
    "anil",
    "maml",
    "meta-sgd",
    "learn2learn",
    "learn2learn, as maml",
)
#: What a row's settings are in place of the defaults.
SETTINGS: dict[str, dict[str, Any]] = {
    "protonet, many ways": {
        "ways": "30-60",
        "shots": "1-3",
        "queries": 2,
        "tasks_per_batch": 1,
        "lr": 0.004,
        "augment": "affine",
        "quarter_turns": True,
    }
}
GOAL, WAYS, SHOTS, QUERIES = 95.0, 5, 1, 5
Score = Callable[[], Any]


@dataclasses.dataclass(frozen=True)
class Trainee:
    """What is trained, one step after the other.

    Attributes:
        step: takes the next step, given its number and how many there are.
        score: accuracies of the validation episodes, in percent.
        settings: what the row is, for the result file.
    """

    step: Callable[[int, int], None]
    score: Score
    settings: dict[str, Any]


def library_row(name: str, config: TrainConfig, validation: TaskDistribution, episodes: int) -> Trainee:
    """A method of the library, as ``genmeta train`` trains it."""
    (opened,) = open_mixed(config)
    source, method = training_tasks(opened, config), METHODS[name]
    options = make_options(method, config.options)
    channels, size, _ = source.image_shape
    learner = build_learner(LearnerConfig("conv4", channels, size, config.width), seeded(config.seed, "learner"))
    made = build_method(name, learner, rng=seeded(config.seed, "method"))
    if method.objective is None:
        raise SystemExit(f"{name} has nothing to train")
    with lent_to_torch(seeded(config.seed, "objective")):
        objective = method.objective(made, options, Setting((source,), config.seed, None))
    both = nn.ModuleList([made, objective])
    optimisers = Optimisers(both, {}, config.lr, config.clip)

    def step(number: int, steps: int) -> None:
        optimisers.set_rate(_schedule(number, steps))
        both.train()
        task = source.sample(config.tasks_per_batch, rng=seeded(config.seed, "tasks", number))
        for part in objective.losses(made, task, TaskStreams(config.seed, "noise", number)):
            part.value.backward()
        optimisers.step("learner")

    def score() -> Any:
        found = evaluate(
            made.eval(), validation, n_tasks=episodes, steps=(made.inner_steps,), seed=config.seed + 1, time_tasks=0
        )
        return 100 * found[made.inner_steps].accuracy

    kept = ("ways", "shots", "queries", "tasks_per_batch", "lr", "clip", "augment", "quarter_turns")
    return Trainee(step, score, {n: getattr(config, n) for n in kept} | {"options": dataclasses.asdict(options)})


def learn2learn_row(config: TrainConfig, validation: TaskDistribution, episodes: int, as_maml: bool) -> Trainee:
    """``learn2learn.algorithms.MAML`` in the loop of its example."""
    found, missing = peers.available()
    if "learn2learn" not in found:
        raise SystemExit(f"learn2learn cannot be imported: {missing.get('learn2learn')}")
    from learn2learn.algorithms import MAML

    given = make_options(METHODS["maml"], {})
    if as_maml:
        inner = {"lr": given.inner_lr, "steps": given.inner_steps}
    else:
        config = dataclasses.replace(config, tasks_per_batch=32, queries=1, lr=0.003)
        inner = {"lr": 0.5, "steps": 1}
    (opened,) = open_mixed(config)
    source = training_tasks(opened, config)
    with lent_to_torch(seeded(config.seed, "learner")):
        module = work.PeerConv4(WAYS, "group", config.width or 64)
    maml = MAML(module, lr=inner["lr"], first_order=False)
    optimizer = torch.optim.Adam(maml.parameters(), config.lr)
    draws = listed(validation, 0, episodes, config.seed + 1)

    def answers(images: Tensor, targets: Tensor, queries: Tensor) -> Tensor:
        learner = maml.clone()
        for _ in range(inner["steps"]):
            learner.adapt(F.cross_entropy(learner(images), targets))
        return learner(queries)

    def step(number: int, steps: int) -> None:
        if as_maml:
            optimizer.param_groups[0]["lr"] = config.lr * _schedule(number, steps)
        task = source.sample(config.tasks_per_batch, rng=seeded(config.seed, "tasks", number))
        optimizer.zero_grad()
        for t in range(task.n_tasks):
            images, targets, queries, truth = peers.pieces(task, t)
            F.cross_entropy(answers(images, targets, queries), truth).backward()
        for parameter in maml.parameters():
            if parameter.grad is not None:
                parameter.grad.mul_(1 / task.n_tasks)
        if as_maml:
            nn.utils.clip_grad_norm_(maml.parameters(), config.clip)
        optimizer.step()

    def score() -> Any:
        right = []
        for t in range(draws.n_tasks):
            images, targets, queries, truth = peers.pieces(draws, t)
            logits = answers(images, targets, queries).detach()
            right.append((logits.argmax(1) == truth).double().mean())
        return 100 * torch.stack(right).numpy()

    kept = ("ways", "shots", "queries", "tasks_per_batch", "lr")
    return Trainee(step, score, {n: getattr(config, n) for n in kept} | {"inner": inner})


def reach(
    trainee: Callable[[], Trainee],
    cap: float,
    first: float,
    save: Callable[[dict[str, Any]], None],
    growth: float = 1.2,
) -> dict[str, Any]:
    """Trains until the goal or the cap; the scores are taken at ``first`` seconds and ever ``growth`` times later.

    ``save`` is given the row after every score, so that something is left of a row that is stopped.
    """
    pilot = trainee()
    pilot.step(0, 10**6)
    began = time.process_time()
    pilot.step(1, 10**6)
    steps = max(2, int(cap / max(time.process_time() - began, 1e-9)))
    row, clock, due, number = trainee(), 0.0, first, 0
    curve: list[dict[str, float]] = []
    done = {"reached_cpu_seconds": None, "cap_cpu_seconds": cap, "steps_of_schedule": steps}
    done |= {"settings": row.settings, "curve": curve}
    while done["reached_cpu_seconds"] is None and clock < cap:
        began = time.process_time()
        row.step(min(number, steps - 1), steps)
        clock += time.process_time() - began
        number += 1
        if clock >= min(due, cap):
            due = max(first + clock, growth * clock)
            interval = Interval.of(row.score())
            curve.append(
                {
                    "cpu_seconds": round(clock, 2),
                    "steps": number,
                    "accuracy": round(interval.mean, 2),
                    "ci95": round(interval.half_width, 2),
                }
            )
            print(json.dumps(curve[-1]), flush=True)
            if interval.mean >= GOAL:
                done["reached_cpu_seconds"] = round(clock, 2)
            save(done)
    return done


def picture(rows: list[dict[str, Any]]) -> str:
    """Validation accuracy against processor seconds of training, a line for each row, as an SVG."""
    from genmeta.reports.colours import series
    from genmeta.reports.svg import drawing, new_figure, plot_axes

    width, height = 7.6, 4.2
    with drawing(), io.StringIO() as out:
        figure = new_figure(width, height)
        figure.set_facecolor("white")
        axes = plot_axes(figure, 0.6, 0.5, width - 2.5, height - 0.7)
        for at, row in enumerate(rows):
            colour, marker, line = series(at)
            points = [(point["cpu_seconds"], point["accuracy"]) for point in row["curve"]]
            axes.plot(
                *zip(*points, strict=True), color=colour, marker=marker, linestyle=line, markersize=3, label=row["row"]
            )
        axes.axhline(GOAL, color="0.5", linewidth=0.8, linestyle=":")
        axes.set_xlabel("processor seconds of meta-training")
        axes.set_ylabel("validation accuracy, %")
        axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1.0), frameon=False, fontsize=8)
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
        return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def measure(
    name: str,
    cap: float,
    first: float,
    episodes: int,
    data: str,
    width: int = 0,
    save: Callable[[dict[str, Any]], None] = lambda row: None,
) -> dict[str, Any]:
    """One row."""
    method = "maml" if name.startswith("learn2learn") else name.split(",")[0]
    config = TrainConfig(method, data, "", width=width, **SETTINGS.get(name, {}))
    (opened,) = open_mixed(config)
    validation: TaskDistribution = make_tasks(
        opened.data, opened.kind, "val", ways=WAYS, shots=SHOTS, queries=QUERIES, min_images=SHOTS + QUERIES
    )

    def trainee() -> Trainee:
        if name.startswith("learn2learn"):
            return learn2learn_row(config, validation, episodes, as_maml=name != "learn2learn")
        return library_row(method, config, validation, episodes)

    return reach(trainee, cap, first, save)


def main() -> None:
    """One row, written to a file of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("row", help=f"one of {', '.join(ROWS)}, or another method")
    parser.add_argument("--out", default="", help="JSON file of the row")
    parser.add_argument("--cap", type=float, default=240.0, help="processor seconds of training")
    parser.add_argument("--first", type=float, default=5.0, help="processor seconds to the first score")
    parser.add_argument("--episodes", type=int, default=200, help="validation episodes")
    parser.add_argument("--data", default="omniglot")
    parser.add_argument("--width", type=int, default=0, help="channels of the network; 0 for 64")
    given = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    made = {**provenance(), "command": shlex.join(["python", *sys.argv])}

    def save(row: dict[str, Any]) -> None:
        if given.out:
            write_json(given.out, {"row": given.row, **row, "made": made})

    measure(given.row, given.cap, given.first, given.episodes, given.data, given.width, save)


if __name__ == "__main__":
    main()
