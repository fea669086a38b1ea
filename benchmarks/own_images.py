"""FewShotClassifier as a user meets it: accuracy and calibration on episodes, seconds, images a second, memory.

    benchmarks/own_images.py scores MODEL --data digits --ways 5 --shots 5 --episodes 100 --out results/characters
    benchmarks/own_images.py speed MODEL --folder FOLDER --out results/characters-speed

`scores` adds one entry (data, ways, shots) to OUT/results.json, beside a logistic regression on the pixels and on the
features of the checkpoint's learner as it is, on the same episodes. `speed` times whole processes, imports included, on
a folder of class folders. Where other programs share the machine, processor seconds say more than seconds.
"""

from __future__ import annotations

import argparse
import datetime
import json
import resource
import shlex
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from genmeta.core.files import write_json
from genmeta.core.randomness import seeded
from genmeta.data import open_dataset
from genmeta.engine.calibration import calibration_error
from genmeta.engine.run_directory import git_commit
from genmeta.engine.runtime import machine
from genmeta.engine.scores import Interval
from genmeta.estimators import FewShotClassifier
from genmeta.estimators.fitting import to_tensor
from genmeta.tasks import ClassificationTasks


def scores(args: argparse.Namespace) -> None:
    """Episodes: every image of the support set through fit, every query image through predict_proba."""
    model = FewShotClassifier(args.model, fast=args.fast).prepare()
    pixels = model.pixels
    data = open_dataset(args.data, size=pixels.size, channels=pixels.channels)
    tasks = ClassificationTasks(
        data, args.split, ways=args.ways, shots=args.shots, queries=args.queries, min_images=args.shots + args.queries
    )
    accuracy: dict[str, list[float]] = {"model": [], "regression on features": [], "regression on pixels": []}
    confidence, correct, estimates = [], [], []
    for i in range(args.episodes):
        task = tasks.sample(1, rng=seeded(args.seed, "episode", i))
        support, query = (np.rint(e.images[0].permute(0, 2, 3, 1).numpy() * 255).astype(np.uint8) for e in task[:2])
        labels, truth = task.support.targets[0].numpy(), task.query.targets[0].numpy()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            probabilities = model.fit(support, labels).predict_proba(query)
        right = probabilities.argmax(1) == truth
        accuracy["model"].append(right.mean())
        confidence.append(probabilities.max(1))
        correct.append(right)
        estimates.append(model.leave_one_out_)
        learner = model._trained.meta_learner.learner
        with torch.no_grad():
            features = [
                learner.features(to_tensor(e, torch.device("cpu"))[None])[0][0].numpy() for e in (support, query)
            ]
        for name, (seen, asked) in (
            ("regression on features", features),
            ("regression on pixels", [e.reshape(len(e), -1) / 255 for e in (support, query)]),
        ):
            accuracy[name].append(LogisticRegression(max_iter=1000, C=10).fit(seen, labels).score(asked, truth))
    gain = np.asarray(accuracy["model"]) - np.asarray(accuracy["regression on features"])
    held_out = np.asarray(estimates) - np.asarray(accuracy["model"])
    entry = {
        "data": args.name or args.data,
        "split": args.split,
        "ways": args.ways,
        "shots": args.shots,
        "queries": args.queries,
        "episodes": args.episodes,
        "seed": args.seed,
        "fast": args.fast,
        "accuracy": {name: _interval(np.asarray(values)) for name, values in accuracy.items()},
        "model_minus_regression_on_features": _interval(gain),
        "ece": round(100 * calibration_error(np.concatenate(confidence), np.concatenate(correct)), 2),
        "leave_one_out_minus_accuracy": _interval(held_out) if np.isfinite(held_out).all() else None,
    }
    _add(args, entry, ("data", "split", "ways", "shots", "fast"))


def speed(args: argparse.Namespace) -> None:
    """Whole processes of `genmeta fit` and `genmeta predict`."""
    with tempfile.TemporaryDirectory() as place:
        out = str(Path(place) / "model.safetensors")
        for fast in (False, True):
            fit = [sys.executable, "-m", "genmeta", "fit", args.folder, "--out", out, "--json"]
            fit += ["--model", args.model, "--threads", str(args.threads)] + ["--fast"] * fast
            seen, entry = _timed(fit)
            counts = json.loads(seen)["classes"]
            entry = {"what": "fit --fast" if fast else "fit", "classes": counts, **entry}
            _add(args, entry, ("what",))
        predict = [sys.executable, "-m", "genmeta", "predict", out, *[args.folder] * args.repeat, "--json"]
        seen, entry = _timed([*predict, "--threads", str(args.threads)])
        _add(args, {"what": "predict", "images": len(json.loads(seen)["images"]), **entry}, ("what",))
        model = FewShotClassifier.load(out)
        torch.set_num_threads(args.threads)
        files = sorted(p for p in Path(args.folder).rglob("*") if p.is_file()) * args.repeat
        began, used = time.perf_counter(), time.process_time()
        model.predict_proba(files)
        seconds, used = time.perf_counter() - began, time.process_time() - used
        rate = {
            "images_per_second": round(len(files) / seconds, 1),
            "images_per_processor_second": round(len(files) / used, 1),
        }
        _add(args, {"what": "predict_proba, without start", "images": len(files), **rate}, ("what",))


def _timed(command: list[str]) -> tuple[str, dict[str, float]]:
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    # the largest of all children so far, so an upper bound of this one
    megabytes = after.ru_maxrss / 1024
    return done.stdout, {
        "seconds": round(seconds, 2),
        "processor_seconds": round(used, 2),
        "peak_memory_mib_at_most": round(megabytes),
    }


def _interval(values: np.ndarray) -> dict[str, float]:
    """Percent, with the half-width of its 95 % interval over episodes."""
    interval = Interval.of(100 * values)
    return {"mean": round(interval.mean, 2), "ci95": round(interval.half_width, 2)}


def _add(args: argparse.Namespace, entry: dict[str, Any], key: tuple[str, ...]) -> None:
    path = Path(args.out) / "results.json"
    found = (
        json.loads(path.read_text()) if path.is_file() else {"schema": f"genmeta.own-images.{args.what}/1", "rows": []}
    )
    rows = [row for row in found["rows"] if any(row.get(k) != entry[k] for k in key)]
    found = {
        "schema": f"genmeta.own-images.{args.what}/1",
        "model": args.model,
        "command": shlex.join(["benchmarks/own_images.py", args.what, args.model, "..."]),
        "commit": git_commit(Path(__file__).parent),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "rows": [*rows, entry],
    }
    write_json(path, found)
    print(json.dumps(entry))


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="what", required=True)
    one = commands.add_parser("scores")
    one.add_argument("model")
    one.add_argument("--data", required=True)
    one.add_argument("--name", default="", help="of the data in the result file, where the spec holds a path")
    one.add_argument("--split", default="test")
    one.add_argument("--ways", type=int, default=5)
    one.add_argument("--shots", type=int, default=5)
    one.add_argument("--queries", type=int, default=10)
    one.add_argument("--episodes", type=int, default=100)
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--fast", action="store_true")
    two = commands.add_parser("speed")
    two.add_argument("model")
    two.add_argument("--folder", required=True)
    two.add_argument("--repeat", type=int, default=8, help="predict the folder so many times over")
    for command in (one, two):
        command.add_argument("--out", required=True)
        command.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    {"scores": scores, "speed": speed}[args.what](args)


if __name__ == "__main__":
    main()
