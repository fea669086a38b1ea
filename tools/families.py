"""Trains and scores every generative family on the same frozen body: the tables of docs/families.md.

``python tools/families.py --budget 600 --seeds 0,1`` gives every method ten minutes of one core, twice. Finished
runs are reused and begun ones resumed, so it can be stopped at any time; ``--score-only`` scores what is finished. It
needs Omniglot (``genmeta list datasets``) or another data spec, and a checkpoint whose learner all methods start from:

    genmeta train protonet --data omniglot --augment affine --quarter-turns --width 32 --ways 30-60 --shots 1-3 \\
        --queries 2 --tasks-per-batch 1 --steps 2500 --lr 0.004 --validate-every 500 --run runs/families/start

Every method writes class rows on the features of that learner, which stays as it is. Its number of meta-steps is the
budget divided by the processor time that one of its meta-steps takes here.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from genmeta.core.files import write_json
from genmeta.core.randomness import lent_to_torch, seeded
from genmeta.core.settings import EvaluationConfig, TrainConfig
from genmeta.engine import Evaluation, Trained, load, train
from genmeta.engine.embedding import embedded
from genmeta.engine.task_sources import open_mixed, training_tasks
from genmeta.engine.training import _learner
from genmeta.methods import METHODS, build_method, make_options
from genmeta.methods.objectives import Setting
from genmeta.scenarios import Comparison, score

#: Row of the table -> method and options. Every network has the same width.
SIZE = {"context": 64, "hidden": 64}
BANK = {**SIZE, "bank_tasks": 64}
ROWS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "protonet": ("protonet", {}),
    "ridge": ("ridge", {}),
    "anil": ("anil", {}),
    "meta-sgd": ("meta-sgd", {"generate": "rows"}),
    "hypernet": ("hypernet", {**SIZE, "generate": "rows"}),
    "meta-sgd-hn": ("meta-sgd-hn", {**SIZE, "generate": "rows"}),
    "versa": ("versa", {**SIZE, "samples": 5, "row_scale": 0.1}),
    "versa-wide": ("versa", {**SIZE, "samples": 5, "row_scale": 1.0}),
    "abml": ("abml", {}),
    "bmaml": ("bmaml", {}),
    "anpml": ("anpml", {**SIZE, "samples": 5}),
    "leo": ("leo", {"hidden": 64}),
    "maml-gan": ("maml-gan", BANK),
    "meta-sgd-gan": ("meta-sgd-gan", BANK),
    "weight-vae": ("weight-vae", BANK),
    "autoregressive": ("autoregressive", {**BANK, "layers": 1}),
    "diffusion": ("diffusion", {**BANK, "sampling_steps": 5}),
    "gan-alone": ("maml-gan", {**BANK, "conditional": False, "task_weight": 0.0}),
}
#: Columns: ways and shots.
TASKS = {"5w1s": (5, 1), "5w5s": (5, 5), "20w1s": (20, 1)}
#: Meta-steps that are timed, after one that is not.
TIMED = 3


def config(row: str, given: argparse.Namespace, seed: int, steps: int) -> TrainConfig:
    """How a row is trained."""
    method, options = ROWS[row]
    return TrainConfig(
        method=method,
        data=given.data,
        run=str(Path(given.runs) / (row if seed == 0 else f"{row}-seed{seed}")),
        ways="5-20",
        shots="1-5",
        queries=5,
        steps=steps,
        tasks_per_batch=4,
        width=given.width,
        options=options,
        lr=given.lr,
        validate_every=max(1, -(-steps // 2)),
        validate_tasks=60,
        init=given.start,
        freeze_learner=True,
        seed=seed,
        threads=1,
    )


def steps_for(row: str, given: argparse.Namespace, seed: int) -> int:
    """The meta-steps that the budget buys: those of a run that has begun, else by timing a few."""
    planned = Path(config(row, given, seed, 1).run) / "config.json"
    if planned.exists():
        return int(json.loads(planned.read_text(encoding="utf-8"))["training"]["steps"])
    plan = config(row, given, seed, 1000)
    method = METHODS[plan.method]
    data = open_mixed(plan)
    learner = _learner(plan, data[0].data)
    it = build_method(plan.method, learner, rng=seeded(seed, "method"), options=plan.options)
    learner.requires_grad_(False)
    source = training_tasks(data[0], plan)
    source = embedded(it, source, sys.maxsize) or source
    scratch = Path(given.runs) / "timing"
    scratch.mkdir(parents=True, exist_ok=True)
    setting = Setting((source,), seed, scratch)
    with lent_to_torch(seeded(seed, "objective")):
        objective = method.objective(it, make_options(method, plan.options), setting)  # type: ignore[misc]
    trainable = [p for module in (it, objective) for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trainable, lr=1e-6)
    taken = []
    for step in range(1, TIMED + 2):
        task = source.sample(plan.tasks_per_batch, rng=seeded(seed, "timing", step))
        began = time.process_time()
        objective.begin(step, plan.steps)
        for part in objective.losses(it, task, seeded(seed, "timing noise", step)):
            part.value.item()
            part.value.backward()  # type: ignore[no-untyped-call]
            if part.closes:
                optimizer.step()
        torch.nn.utils.clip_grad_norm_(trainable, 10.0)
        optimizer.step()
        it.zero_grad()
        objective.zero_grad()
        taken.append(time.process_time() - began)
    # the tenth part goes to validation, the log and the resumable state
    return max(20, round(0.9 * given.budget / (sum(taken[1:]) / TIMED)))


def main() -> None:
    """Trains what is missing, then scores."""
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=float, default=600.0, help="processor seconds of each training")
    parser.add_argument("--seeds", default="0,1", help="seeds of training")
    parser.add_argument("--data", default="omniglot")
    parser.add_argument("--start", default="runs/families/start", help="checkpoint of the learner")
    parser.add_argument("--width", type=int, default=32, help="of that learner")
    parser.add_argument("--runs", default="runs/families/trained")
    parser.add_argument("--out", default="results", help="directory of the result files")
    parser.add_argument("--name", default="families", help="their first part")
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--columns", default=",".join(TASKS), help="kinds of task to score")
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--tasks", type=int, default=600, help="episodes to score")
    parser.add_argument("--score-only", action="store_true")
    given = parser.parse_args()
    rows, seeds = given.rows.split(","), [int(seed) for seed in given.seeds.split(",")]
    trained: dict[str, Trained] = {}
    evaluations: dict[str, dict[str, Evaluation]] = {column: {} for column in given.columns.split(",")}
    for seed in seeds:
        for row in rows:
            plan = config(row, given, seed, 1)
            if not given.score_only:
                train(config(row, given, seed, steps_for(row, given, seed)), resume=True, progress=False)
            run = Path(plan.run)
            if not (run / "model.safetensors").exists() or "result" not in (it := load(run)).config:
                continue
            trained[run.name] = it
            print(run.name, it.config["result"], flush=True)
            for column, found in evaluations.items():
                ways, shots = TASKS[column]
                episodes = EvaluationConfig(
                    data=given.data, ways=ways, shots=shots, tasks=given.tasks, calibration_tasks=given.tasks // 6
                )
                found[run.name] = score(it, episodes, progress=False)
                # written again after every row, so that there is something to read whenever it is stopped
                result = Comparison({name: trained[name] for name in found}, found, episodes).as_json()
                command = shlex.join(["python", "tools/families.py", *sys.argv[1:]])
                out = Path(given.out) / f"{given.name}-{column}" / "results.json"
                write_json(out, {**result, "command": command})


if __name__ == "__main__":
    main()
