"""Seconds from images to a model, early blocks included: the rows of the photo table that take time.

python tools/photos/seconds.py --run RUN --threads 2 --out SECONDS.json
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import torch
from rows import Case, fine_tuning, logistic_regression, unit
from table import load
from train import built

from genmeta.core.files import write_text
from genmeta.core.randomness import seeded
from genmeta.core.types import Examples
from genmeta.tasks.augment import fixed_views


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--run", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    it, plain = load(args.run), built(0, "film").eval()
    rows: dict[str, dict[str, float]] = {}
    for shots in (1, 5):
        targets = torch.arange(5).repeat_interleave(shots)
        images = torch.rand(1, 5 * shots, 3, 112, 112, generator=seeded(shots))
        examples = Examples(images, targets[None])

        def case(images: torch.Tensor = images, targets: torch.Tensor = targets) -> Case:
            views = [plain.learner.early_maps(view) for view in fixed_views(images)]
            frozen = unit(plain.frozen_features(views[0], 1)[0][0])
            maps = torch.stack([v.permute(0, 2, 3, 1) for v in views], 1)
            return Case(maps, targets, frozen, maps[:1, 0], targets[:1], frozen[:1], 5)

        def adapted(steps: int, examples: Examples = examples) -> object:
            with torch.no_grad():
                return it.adapt(examples, 5, seeded(0), steps=steps)

        timed: dict[str, Callable[[], object]] = {
            "logistic regression": lambda case=case: logistic_regression(case()),
            "fine-tuning, 30 steps": lambda case=case: fine_tuning(case(), plain, 0.003, 0),
            "generated, 0 steps": lambda adapted=adapted: adapted(0),
            "generated, 4 steps": lambda adapted=adapted: adapted(4),
        }
        for name, run in timed.items():
            took = []
            for _ in range(args.repeats if "fine" not in name else 1):
                began = time.perf_counter()
                run()
                took.append(time.perf_counter() - began)
            rows.setdefault(name, {})[f"{shots}-shot"] = round(min(took), 3)
    query = torch.rand(1, 40, 3, 112, 112, generator=seeded(9))
    with torch.no_grad():
        model = it.adapt(examples, 5, seeded(0), steps=0)
        it.respond(query, model)
        began = time.perf_counter()
        it.respond(query, model)
        per_second = 40 / (time.perf_counter() - began)
    found = {"threads": args.threads, "rows": rows, "queries_per_second": round(per_second, 1)}
    write_text(args.out, json.dumps(found, indent=1))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
