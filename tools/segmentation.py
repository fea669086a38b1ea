"""Trains and scores what docs/segmentation.md shows: ``python tools/segmentation.py RUNS [SET ...] [--rows NAME ...]``.

Trainings, and the scores of each row on each set of episodes, are kept in RUNS and not made again, so the work can be
done in parts: ``--rows`` takes some rows, ``--train-only`` leaves the scores for later. A set's
``results/segmentation-SET/results.json`` holds the rows that have been scored so far. A RUNS without a base of its own
adds to the rows that stand there; otherwise those that start from another base are replaced.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from genmeta.core.files import write_json
from genmeta.core.randomness import seeded
from genmeta.core.settings import EvaluationConfig, TrainConfig
from genmeta.data import open_scenes
from genmeta.engine import Interval, StepScores, Trained, evaluate, load, paired, train
from genmeta.engine.evaluation import episodes
from genmeta.engine.runtime import keep_freed_memory, use_threads
from genmeta.methods.fine_tuning import with_fine_tuning
from genmeta.reports import segmentation_picture
from genmeta.scenarios import provenance
from genmeta.scenarios.few_shot import describe_training, open_tasks
from genmeta.scenarios.pixel_forest import evaluate_forest
from genmeta.tasks import SegmentationTasks
from genmeta.vision.segmentation import at_size_of

ROOT = Path(__file__).parents[1]
REAL = "../shared/data"
EMOJI = f"scenes:{REAL}/emoji9_64_rgba.zip?class=file"
FOLDER = f"masks:{REAL}/segmentation"
SCRATCH, FOREST, PHOTO = "scratch", "random forest", "hypernet on photo features"
#: The start of "hypernet", from which Adam moves the whole network.
EVERY = "hypernet, every weight"

#: Every row but training from scratch starts from the learner of "base", a prototype network, and goes on for STEPS:
#: generators on a body that stays as it is, so that they differ in what they write; prototypes and MAML, which would
#: have nothing to learn there, with the body, at a rate that does not undo what the base has annealed to.
STEPS, BASE_STEPS = 250, 5000
TRAININGS: dict[str, dict[str, Any]] = {
    "base": {
        "method": "protonet",
        "init": "",
        "steps": BASE_STEPS,
        "lr": 0.006,
        "ways": "4-6",
        "shots": "1-2",
        "queries": 3,
        "freeze_learner": False,
        "validate_every": 1250,
        "validate_tasks": 40,
    },
    "hypernet": {},
    "protonet": {"lr": 0.0005, "freeze_learner": False},
    "versa": {},
    "meta-sgd-hn": {},
    "maml-gan": {"options": {"bank_tasks": 32, "bank_labels": 6}},
    "meta-sgd": {"options": {"first_order": True, "generate": "film"}, "freeze_learner": False, "lr": 0.0005},
    "maml": {"options": {"first_order": True}, "freeze_learner": False, "lr": 0.0005},
    PHOTO: {
        "method": "hypernet",
        "init": "",
        "learner": "efficientnet-lite0-map",
        "steps": 120,
        "validate_every": 60,
        "data": f"{EMOJI}&backgrounds={REAL}/caltech101_84.zip&size=128",
        "ways": "1-5",
        "options": {"generate": "rows", "inner_steps": 5, "first_order": True},
    },
    SCRATCH: {"init": "", "freeze_learner": False},
}
ROWS = tuple(name for name in (*TRAININGS, FOREST) if name not in ("base", PHOTO))
BASELINES = (SCRATCH, "protonet", "maml", FOREST)
#: Rows that no training of the base has a part in.
WITHOUT_BASE = (SCRATCH, FOREST, PHOTO)
#: Where the learning rate of EVERY is chosen, among which and on how many tasks: emoji on photos, never real sets.
CHOICE = f"{EMOJI}&backgrounds={REAL}/caltech101_84.zip&size=160"
RATES, CHOICE_TASKS = (0.0005, 0.001, 0.002, 0.004), 8
#: Rows that are near each other on unseen scripts, and are told apart there on more episodes than the others.
NEAR, NEAR_TASKS = ("hypernet", "protonet"), 400
#: Episodes of training from scratch, the first ones, where it takes ten times the steps from several images: slow, and
#: so far behind that they tell.
SCRATCH_TASKS = 60


def painted(data: str, shots: int) -> EvaluationConfig:
    """Episodes of painted scenes."""
    return EvaluationConfig(
        data, ways=3, shots=shots, queries=2, tasks=200, adapt_steps="0,1,5,10", on_bad_image="skip"
    )


def photographed(data: str, ways: int = 1) -> EvaluationConfig:
    """Episodes of a set of real images, of which five are labelled."""
    return EvaluationConfig(data, ways=ways, shots=5, queries=5, tasks=20, adapt_steps="0,10,50")


#: Name -> episodes. Real sets are never trained on.
SETS = {
    "scripts-3w1s": painted("scenes", 1),
    "scripts-3w5s": painted("scenes", 5),
    "emoji-3w1s": painted(EMOJI, 1),
    "emoji-3w5s": painted(EMOJI, 5),
    "nuclei": photographed(f"{FOLDER}/dsb2018_nuclei_256.zip?instances=yes&size=160"),
    "membranes": photographed(f"{FOLDER}/em_membrane_256.zip?background=1&size=160&test=1&val=0"),
    "camvid": photographed(f"{FOLDER}/camvid_240.zip?background=none&ignore=11&size=160", ways=5),
}
#: Rows of the real sets; the others would say the same again.
ON_REAL = ("hypernet", EVERY, PHOTO, "protonet", SCRATCH, FOREST)


def is_painted(config: EvaluationConfig) -> bool:
    """Whether episodes are of painted scenes, not of real images."""
    return not config.data.startswith("masks")


def rows_of(name: str) -> tuple[str, ...]:
    """The rows of a set."""
    return ROWS if is_painted(SETS[name]) else ON_REAL


def training(name: str, runs: Path) -> TrainConfig:
    """How a row is trained."""
    settings: dict[str, Any] = {
        "method": name, "steps": STEPS, "lr": 0.002, "init": str(runs / "base"), "ways": "2-4", "shots": "1-5",
        "queries": 2, "learner": "semantic-fpn", "freeze_learner": True, "validate_every": STEPS // 2,
        "validate_tasks": 20, "data": f"scenes+{EMOJI}", **TRAININGS[name],
    }  # fmt: skip
    return TrainConfig(
        run=str(runs / name.replace(" ", "-")),
        vision="segmentation",
        tasks_per_batch=4,
        on_bad_image="skip",
        threads=1,
        **settings,
    )


def score(name: str, config: EvaluationConfig, runs: Path) -> dict[str, Any]:
    """Scores of one row on one set of episodes, with those of every episode."""
    if name in NEAR and config.data == "scenes":
        config = dataclasses.replace(config, tasks=NEAR_TASKS)
    if name == FOREST:
        source = open_scenes(config.data, size=64, channels=3, on_bad_image=config.on_bad_image)
        tasks = SegmentationTasks(source, config.split, ways=config.ways, shots=config.shots, queries=config.queries)
        began = time.process_time()
        found = {0: evaluate_forest(tasks, n_tasks=config.tasks, seed=config.seed)}
        about: dict[str, Any] = {}
    else:
        trained, steps = load(runs / ("hypernet" if name == EVERY else name.replace(" ", "-"))), list(config.steps)
        it, about = trained.meta_learner, describe_training(trained)
        if name == EVERY:
            rate = best_rate(trained, steps[-1], runs)
            it, about["options"] = with_fine_tuning(it, "all", rate), {"fine_tune": "all", "fine_tune_lr": rate}
        if name == SCRATCH and is_painted(config):
            # training from scratch needs steps, so it gets ten times as many too, where that takes less than a minute
            steps.append(10 * steps[-1])
            if config.shots > 1:
                config = dataclasses.replace(config, tasks=SCRATCH_TASKS)
        opened = open_tasks(trained, config)
        began = time.process_time()
        found = dict(evaluate(it, opened, n_tasks=config.tasks, steps=steps, seed=config.seed, time_tasks=0))
    return {
        **about,
        # drawing episodes, every step and every answer; of one thread
        "processor_seconds_per_task": round((time.process_time() - began) / config.tasks, 3),
        "scores": {str(step): numbers(scores) for step, scores in found.items()},
        "scored_at": provenance(),
    }


def best_rate(trained: Trained, steps: int, runs: Path) -> float:
    """The learning rate of fine-tuning that is best after so many steps on CHOICE; kept in a file."""
    kept = runs / "scores" / "rates.json"
    if not kept.exists():
        config = EvaluationConfig(CHOICE, split="val", ways=3, shots=5, queries=5, on_bad_image="skip")
        tasks, found = open_tasks(trained, config), {}
        for rate in RATES:
            tuned = with_fine_tuning(trained.meta_learner, "all", rate)
            scores = evaluate(tuned, tasks, n_tasks=CHOICE_TASKS, steps=(steps,), seed=1, time_tasks=0)[steps]
            found[rate] = float(scores.accuracy.mean())
        write_json(kept, {"miou_by_rate": found, "best": max(found, key=lambda rate: found[rate])})
    return float(json.loads(kept.read_text(encoding="utf-8"))["best"])


def numbers(scores: StepScores) -> dict[str, Any]:
    """A summary, with the main score of every episode for paired differences."""
    return {**scores.summary(), "every_episode": [round(float(value), 5) for value in scores.accuracy]}


def assemble(name: str, found: dict[str, dict[str, Any]], base: dict[str, Any]) -> dict[str, Any]:
    """The result file of a set: every row, and paired differences in points to every baseline.

    To training from scratch after any number of steps, to the others after the number that is best for them.
    """
    each = {
        row: {step: np.array(scores["every_episode"]) for step, scores in entry["scores"].items()}
        for row, entry in found.items()
    }
    against = []
    for other in (row for row in BASELINES if row in each):
        means = {step: values.mean() for step, values in each[other].items()}
        against += [(other, step) for step in means if other == SCRATCH or step == max(means, key=means.__getitem__)]
    rows = {
        row: {
            **entry,
            "paired_difference_to": {
                f"{other} after {step}": {mine: _gap(values, each[other][step]) for mine, values in each[row].items()}
                for other, step in against
                if other != row
            },
        }
        for row, entry in found.items()
    }
    return {
        "schema": "genmeta.segmentation/1",
        **provenance(),
        "command": f"python tools/segmentation.py RUNS {name}",
        "episodes": dataclasses.asdict(SETS[name]),
        "base": base,
        "baselines": [row for row in BASELINES if row in found],
        "methods": rows,
    }


def _gap(first: np.ndarray, second: np.ndarray) -> dict[str, float]:
    """Paired, over the episodes that both rows have been scored on."""
    count = min(len(first), len(second))
    return paired(first[:count], second[:count]).rounded()


def committed(name: str, runs: Path) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """The rows of a set's result file as they were scored that can stand beside those of RUNS, and their base.

    All of them where RUNS has no base of its own; otherwise those that start from none. Nothing where there is no file.
    """
    file = ROOT / "results" / f"segmentation-{name}" / "results.json"
    if not file.exists():
        return {}, {}
    content = json.loads(file.read_text(encoding="utf-8"))
    at = {key: content[key] for key in ("command", "commit", "machine", "date")}
    rows = {row: {"scored_at": at, **entry} for row, entry in content["methods"].items()}
    for entry in rows.values():
        del entry["paired_difference_to"]
    if (runs / "base").exists():
        return {row: entry for row, entry in rows.items() if row in WITHOUT_BASE}, {}
    return rows, content["base"]


def picture(runs: Path, file: Path) -> None:
    """Draws the first episode of unseen scripts, five labelled images, as the hypernetwork answers after one step."""
    trained, config = load(runs / "hypernet"), SETS["scripts-3w5s"]
    tasks = open_tasks(trained, config)
    task = episodes(tasks, 0, 1, config.seed)
    with torch.no_grad():
        outputs, *_ = trained.meta_learner.answers(task, 1, seeded(config.seed, "start", 0))
    answer = at_size_of(outputs[1], task.query.labels)[0].argmax(-1)
    names = [tasks.class_name(int(i)) for i in task.class_ids[0]]
    drawn = segmentation_picture(task.support, task.query, answer, names).image
    if isinstance(drawn, bytes):
        raise TypeError("the picture of a task is a figure")
    drawn.set_facecolor("#ffffff")
    drawn.savefig(file, dpi=90)


def main() -> None:
    """Trains, scores, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path)
    parser.add_argument("sets", nargs="*", help=f"of {', '.join(SETS)}; all by default")
    parser.add_argument(
        "--rows", nargs="*", default=[], help=f"of {', '.join([*TRAININGS, EVERY, FOREST])}; all by default"
    )
    parser.add_argument("--train-only", action="store_true")
    parser.add_argument("--picture", action="store_true", help="draw docs/pictures/segmentation.png, and nothing else")
    arguments = parser.parse_args()
    keep_freed_memory()
    use_threads(1)
    if arguments.picture:
        picture(arguments.runs, ROOT / "docs" / "pictures" / "segmentation.png")
        return
    wanted = arguments.rows or every_row
    for name in TRAININGS:
        if name in wanted:
            train(training(name, arguments.runs), resume=True, progress=False)
            print("trained", name, flush=True)
    for name in () if arguments.train_only else arguments.sets or SETS:
        kept = {row: arguments.runs / "scores" / name / f"{row}.json" for row in rows_of(name)}
        found, base = committed(name, arguments.runs)
        for row, file in kept.items():
            if row in wanted and not file.exists() and row not in found:
                write_json(file, score(row, SETS[name], arguments.runs))
                scores = json.loads(file.read_text(encoding="utf-8"))["scores"]
                shown = {step: str(Interval.of(100 * np.array(one["every_episode"]))) for step, one in scores.items()}
                print(name, row, shown, flush=True)
        found |= {row: json.loads(file.read_text(encoding="utf-8")) for row, file in kept.items() if file.exists()}
        if found:
            base = base or describe_training(load(arguments.runs / "base"))
            found = {row: found[row] for row in kept if row in found}
            write_json(ROOT / "results" / f"segmentation-{name}" / "results.json", assemble(name, found, base))
            print("written", name, flush=True)


if __name__ == "__main__":
    main()
