"""Trains and scores every generative family from one start, on one budget: the tables of docs/families.md.

Finished trainings and scores are reused and begun trainings resumed, so it can be stopped at any time. It needs a data
set and, but for pretrained learners, a checkpoint whose learner all methods start from. What was run:

    genmeta train protonet --data omniglot --augment elastic --quarter-turns --width 64 --size 32 --ways 100-200 \\
        --shots 1 --queries 1 --tasks-per-batch 1 --precision bf16 --lr 0.003 --steps 4000 --validate-every 500 \\
        --init src/genmeta/checkpoints/characters.safetensors --run runs/first   # stopped: the checkpoint of step 1,500
    genmeta train protonet ... --lr 0.002 --steps 1400 --validate-every 200 --init runs/first --run runs/body
    python tools/families.py
    python tools/families.py --learner efficientnet-lite0 --start "" --width 0 --size 84 --name families-photos \\
        --data folder:../shared/data/caltech101_84.zip --columns 5w1s,5w5s,10w1s --tasks 300 --seeds 0 \\
        --runs runs/photos
    genmeta train protonet --data "omniglot?split=vinyals" --augment elastic --width 64 --size 32 --ways 100-200 \\
        --shots 1 --queries 1 --tasks-per-batch 1 --precision bf16 --lr 0.003 --steps 5000 --validate-every 500 \\
        --run runs/published-alone
    python tools/families.py --data "omniglot?split=vinyals" --start runs/published-alone \\
        --runs runs/published-alone-rows --name families-vinyals --columns 5w1s,20w1s --seeds 0 \\
        --rows protonet,hypernet,versa,bmaml,leo
    python tools/families.py --rows BODY --budget 40 --seeds 0 --name families-body

``--rows BODY`` is for what changes the features, on jittered images, ``--rows ALL`` for what writes every weight: these
take longer budgets. The others write class rows on features that stay as they are. Meta-steps are the budget divided
by the processor time that one takes here.
"""

from __future__ import annotations

import argparse
import json
import pickle
import re
import shlex
import sys
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from genmeta.core.files import atomic_path, write_json
from genmeta.core.randomness import lent_to_torch, seeded
from genmeta.core.settings import EvaluationConfig, TrainConfig
from genmeta.engine import Evaluation, Interval, Trained, load, train
from genmeta.engine.embedding import embedded
from genmeta.engine.evaluation import episodes
from genmeta.engine.task_sources import open_mixed, training_tasks
from genmeta.engine.training import _learner
from genmeta.methods import METHODS, build_method, make_options
from genmeta.methods.bank import learner_hash
from genmeta.methods.objectives import Setting
from genmeta.scenarios import Comparison, open_tasks, score
from genmeta.tasks import ClassificationTasks


class Row(NamedTuple):
    """A row of a table: a method, its options, and whether the learner's own weights stay as they are."""

    method: str
    options: Mapping[str, Any] = {}
    frozen: bool = True
    steps: str = "0,1,5"


#: Every network has the same width.
SIZE = {"context": 64, "hidden": 64}
BANK = {**SIZE, "bank_tasks": 64}
#: Rows of the last layer, on features that stay as they are.
ROWS = {
    "protonet": Row("protonet"),
    "ridge": Row("ridge"),
    "anil": Row("anil"),
    "meta-sgd": Row("meta-sgd", {"generate": "rows"}),
    "hypernet": Row("hypernet", {**SIZE, "generate": "rows"}),
    "meta-sgd-hn": Row("meta-sgd-hn", {**SIZE, "generate": "rows"}),
    "versa": Row("versa", {**SIZE, "samples": 5}),
    "abml": Row("abml"),
    "bmaml": Row("bmaml"),
    "anpml": Row("anpml", {**SIZE, "samples": 5}),
    "leo": Row("leo", {"hidden": 64}),
    "maml-gan": Row("maml-gan", BANK),
    "meta-sgd-gan": Row("meta-sgd-gan", BANK),
    "weight-vae": Row("weight-vae", BANK),
    "autoregressive": Row("autoregressive", {**BANK, "layers": 1}),
    "diffusion": Row("diffusion", {**BANK, "sampling_steps": 5}),
    "gan-alone": Row("maml-gan", {**BANK, "conditional": False, "task_weight": 0.0}),
}
#: What changes the features: modulated for each task, or (with -body, and whatever adapts them) trained along.
BODY = {
    "protonet-body": Row("protonet", frozen=False),
    "cnaps": Row("cnaps", SIZE),
    "hypernet-film": Row("hypernet", {**SIZE, "generate": "film"}),
    "hypernet-film-body": Row("hypernet", {**SIZE, "generate": "film"}, frozen=False),
    "maml": Row("maml", frozen=False),
    "reptile": Row("reptile", frozen=False),
    "finetune": Row("finetune", frozen=False, steps="0,1,5,50"),
    "scratch": Row("scratch", frozen=False),
}
#: Every weight of the network, by chunks: for a smaller one.
ALL = {"hypernet-all": Row("hypernet", {**SIZE, "generate": "all"})}
TABLES = {"ROWS": ROWS, "BODY": {"protonet": ROWS["protonet"], **BODY}, "ALL": {"protonet": ROWS["protonet"], **ALL}}
KNOWN = {**ROWS, **BODY, **ALL}
#: Meta-steps that are timed, after one that is not; and tasks that are adapted to, likewise.
TIMED, TIMED_TASKS = 3, 10


def config(name: str, given: argparse.Namespace, seed: int, steps: int) -> TrainConfig:
    """How a row is trained."""
    row = KNOWN[name]
    return TrainConfig(
        method=row.method,
        data=given.data,
        run=str(Path(given.runs) / (name if seed == 0 else f"{name}-seed{seed}")),
        ways=given.ways,
        shots="1-5",
        queries=5,
        steps=steps,
        tasks_per_batch=4,
        learner=given.learner,
        width=given.width,
        size=given.size,
        options=row.options,
        augment="none" if name in ROWS else "elastic",
        lr=given.lr if row.frozen else given.lr / 4,
        validate_every=max(1, -(-steps // given.validations)),
        validate_tasks=40,
        init="" if row.method == "scratch" else given.start,
        freeze_learner=row.frozen,
        seed=seed,
        threads=1,
    )


def steps_for(name: str, given: argparse.Namespace, seed: int) -> int:
    """The meta-steps that the budget buys: those of the first seed's run if it has begun, else by timing a few."""
    planned, run = Path(config(name, given, 0, 1).run) / "config.json", Path(config(name, given, seed, 1).run)
    known = json.loads(planned.read_text(encoding="utf-8"))["training"]["steps"] if planned.exists() else None
    if known is not None and (run / "model.safetensors").exists() and "result" in load(run).config:
        return int(known)
    plan = config(name, given, seed, 1000)
    method = METHODS[plan.method]
    if method.objective is None:
        return 1
    data = open_mixed(plan)
    learner = _learner(plan, data[0].data)
    it = build_method(plan.method, learner, rng=seeded(seed, "method"), options=plan.options)
    source = training_tasks(data[0], plan)
    if plan.freeze_learner:
        learner.requires_grad_(False)
        kept = Path(given.runs) / f"features-{learner_hash(learner)[:12]}.pt"
        source = all_embedded(embedded(it, source, sys.maxsize), kept) or source
    if known is not None:
        return int(known)
    scratch = Path(given.runs) / "timing"
    scratch.mkdir(parents=True, exist_ok=True)
    setting = Setting((source,), seed, scratch)
    with lent_to_torch(seeded(seed, "objective")):
        objective = method.objective(it, make_options(method, plan.options), setting)
    trainable = [p for module in (it, objective) for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trainable, lr=1e-6)
    taken = []
    for step in range(1, TIMED + 2):
        began = time.process_time()
        task = source.sample(plan.tasks_per_batch, rng=seeded(seed, "timing", step))
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


def all_embedded(source: ClassificationTasks | None, kept: Path) -> ClassificationTasks | None:
    """The same, with every class embedded now, so that no row's budget pays for what all rows share."""
    if source is not None and (look_up := source._embedding) is not None:
        if kept.exists():
            look_up._known.update(torch.load(kept))
        before = len(look_up._known)
        for number in source.classes:
            for turn in range(4 if source.quarter_turns else 1):
                look_up._class(int(number), turn)
        if len(look_up._known) > before:
            with atomic_path(kept) as path:
                torch.save(look_up._known, path)
    return source


class Scored(NamedTuple):
    """Scores of a run on a column, and the processor milliseconds to a start and its steps."""

    evaluation: Evaluation
    milliseconds: dict[int, float]


def scored(run: Path, trained: Trained, column: str, given: argparse.Namespace, steps: str) -> Scored:
    """The scores of a run on a column, computed once."""
    config = episodes_of(column, given, steps)
    kept = run / f"scores-{column}.pickle"
    if kept.exists():
        known, found = pickle.loads(kept.read_bytes())  # this script's own file
        if known == config:
            return Scored(*found)
    found = Scored(score(trained, config, progress=False), processor_milliseconds(trained, config))
    with atomic_path(kept) as path:
        path.write_bytes(pickle.dumps((config, tuple(found))))
    return found


def processor_milliseconds(trained: Trained, config: EvaluationConfig) -> dict[int, float]:
    """Median over tasks, one at a time, from images to one answer; unlike wall-clock time, fair on a busy machine."""
    tasks, taken = open_tasks(trained, config), {step: [] for step in config.steps}
    for number in range(TIMED_TASKS + 1):
        task = episodes(tasks, number, number + 1, config.seed)
        one = task._replace(query=task.query.only(0, 1))
        for step in config.steps:
            began = time.process_time()
            with torch.no_grad():
                trained.meta_learner.answers(one, step, seeded(number), samples=trained.meta_learner.samples)
            if number:  # the first is a warm-up
                taken[step].append(1000 * (time.process_time() - began))
    return {step: float(np.median(times)) for step, times in taken.items()}


def episodes_of(column: str, given: argparse.Namespace, steps: str = "0,1,5") -> EvaluationConfig:
    """``5w1s`` -> its episodes."""
    found = re.fullmatch(r"(\d+)w(\d+)s", column)
    if found is None:
        raise SystemExit(f"A column is called such as 5w1s, not {column!r}.")
    ways, shots, each = int(found[1]), int(found[2]), given.tasks
    return EvaluationConfig(
        data=given.data, ways=ways, shots=shots, tasks=each, adapt_steps=steps, calibration_tasks=each // 6
    )


def minus(evaluations: Mapping[str, Evaluation], rows: list[str], base: list[str]) -> dict[str, Any]:
    """Paired differences to the base as generated, each episode's scores averaged over the seeds of both."""
    found = {}
    for step in evaluations[rows[0]]:
        gaps = {}
        for what, scale in (("accuracy", 100.0), ("nll", 1.0)):
            ours = np.mean([getattr(evaluations[row][step], what) for row in rows], 0)
            theirs = np.mean([getattr(evaluations[row][0], what) for row in base], 0)
            gap = Interval.of(scale * (ours - theirs))
            gaps |= {what: round(gap.mean, 4), f"{what}_ci95": round(gap.half_width, 4)}
        found[str(step)] = gaps
    return found


def write(column: str, given: argparse.Namespace, trained: Mapping[str, Trained], scores: Mapping[str, Scored]) -> None:
    """The result file of a column, from all that is scored so far."""
    found = {name: of.evaluation for name, of in scores.items()}
    result = Comparison({name: trained[name] for name in found}, found, episodes_of(column, given)).as_json()
    result["budget_seconds"] = given.budget
    base = [name for name in found if re.fullmatch(r"protonet(-seed\d+)?", name)]
    groups = {name: of["rows"] for name, of in result["over_seeds"].items()}
    for name in found:
        result["methods"][name]["minus_protonet"] = minus(found, groups.get(name, [name]), base) if base else None
        for step, milliseconds in scores[name].milliseconds.items():
            result["methods"][name]["scores"][str(step)]["adaptation_processor_ms"] = round(milliseconds, 3)
        metrics = Path(trained[name].config["training"]["run"]) / "metrics.jsonl"
        lines = metrics.read_text(encoding="utf-8").splitlines() if metrics.exists() else []
        each = [json.loads(line) for line in lines]
        curve = [{"step": it["step"], "score": it["val_score"]} for it in each if "val_score" in it]
        result["methods"][name]["validation"] = curve
    command = shlex.join(["python", "tools/families.py", *sys.argv[1:]])
    write_json(Path(given.out) / f"{given.name}-{column}" / "results.json", {**result, "command": command})


def main() -> None:
    """Trains what is missing, then scores."""
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=float, default=15.0, help="processor seconds of each training")
    parser.add_argument("--seeds", default="0,1", help="seeds of training")
    parser.add_argument("--data", default="omniglot")
    parser.add_argument("--start", default="runs/body", help="checkpoint of the learner; empty for its own")
    parser.add_argument("--learner", default="", help="the visual task's own by default")
    parser.add_argument("--width", type=int, default=64, help="of that learner")
    parser.add_argument("--size", type=int, default=32, help="of its images")
    parser.add_argument("--ways", default="5-20", help="of the tasks of training")
    parser.add_argument("--runs", default="runs/rows")
    parser.add_argument("--out", default="results", help="directory of the result files")
    parser.add_argument("--name", default="families", help="their first part")
    parser.add_argument("--rows", default="ROWS", help="ROWS, BODY, ALL, or names of rows separated by commas")
    parser.add_argument("--columns", default="5w1s,5w5s,20w1s", help="kinds of task to score")
    parser.add_argument("--lr", type=float, default=2e-3, help="a quarter of it where the body is trained along")
    parser.add_argument("--validations", type=int, default=6, help="how often a training looks at validation tasks")
    parser.add_argument("--tasks", type=int, default=600, help="episodes to score")
    parser.add_argument("--score-only", action="store_true", help="train nothing")
    given = parser.parse_args()
    rows = list(TABLES[given.rows]) if given.rows in TABLES else given.rows.split(",")
    if unknown := sorted(set(rows) - set(KNOWN)):
        parser.error(f"--rows names {unknown[0]!r}, which is none of {', '.join([*TABLES, *KNOWN])}")
    trained: dict[str, Trained] = {}
    scores: dict[str, dict[str, Scored]] = {column: {} for column in given.columns.split(",")}
    for seed in map(int, given.seeds.split(",")):
        for row in rows:
            run = Path(config(row, given, seed, 1).run)
            if not given.score_only:
                train(config(row, given, seed, steps_for(row, given, seed)), resume=True, progress=False)
            if not (run / "model.safetensors").exists() or "result" not in (it := load(run)).config:
                continue
            name = row if seed == 0 else f"{row}-seed{seed}"
            trained[name] = it
            print(time.strftime("%H:%M:%S"), name, it.config["result"], flush=True)
            for column, found in scores.items():
                found[name] = scored(run, it, column, given, KNOWN[row].steps)
                # written again after every row, so that there is something to read whenever it is stopped
                write(column, given, trained, found)


if __name__ == "__main__":
    main()
