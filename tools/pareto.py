"""Two overlapping digits, two labels: the trade-off that one hypernetwork reaches; writes a result file.

python tools/pareto.py results/pareto-two-digits/results.json
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import shlex
import sys
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import torch

from genmeta.core.files import write_json
from genmeta.engine.scores import Interval
from genmeta.methods.pareto import ParetoConfig
from genmeta.scenarios import provenance
from genmeta.scenarios.pareto import REFERENCE, ParetoRow, pareto_rows

SEEDS, NETWORKS, BASE = (0, 1, 2, 3, 4), 3, "single networks"


def interval(values: list[float]) -> dict[str, float]:
    """Mean and 95 % interval over seeds."""
    found = Interval.of(np.array(values))
    return {"mean": round(found.mean, 4), "ci95": round(found.half_width, 4)}


def one(seed: int) -> dict[str, ParetoRow]:
    """All rows of one seed."""
    torch.set_num_threads(1)
    return pareto_rows(ParetoConfig(), networks=NETWORKS, seed=seed)


def main() -> None:
    """Scores every row on several seeds, each in a process of its own."""
    config = ParetoConfig()
    with ProcessPoolExecutor(len(SEEDS), multiprocessing.get_context("spawn")) as pool:
        runs = list(pool.map(one, SEEDS))
    rows = {}
    for name, first in runs[0].items():
        middle = [row[name].points[len(row[name].points) // 2] for row in runs]
        rows[name] = {
            "networks": NETWORKS if name.startswith(BASE) else 1,
            "parameters": first.parameters,
            "training_steps": first.steps,
            "preferences": len(first.points),
            "hypervolume": interval([run[name].volume for run in runs]),
            "difference": interval([run[name].volume - run[BASE].volume for run in runs]),
            "accuracy_at_even_weights": interval([100 * float(np.mean(point.accuracies)) for point in middle]),
            "points": [point._asdict() for point in first.points],
        }
    made = {**provenance(), "command": shlex.join(["python", *sys.argv])}
    about = {"schema": "genmeta.pareto/1", "settings": dataclasses.asdict(config), "reference_point": REFERENCE}
    write_json(sys.argv[1], {**about, "seeds": list(SEEDS), "difference_to": BASE, **made, "rows": rows})


if __name__ == "__main__":
    main()
