"""Split digits: five tasks of two digits each, learned one after the other; writes a result file.

python tools/task_sequence.py results/task-sequence-digits/results.json
"""

from __future__ import annotations

import dataclasses
import shlex
import sys

import torch

import genmeta
from genmeta.core.files import write_json
from genmeta.methods.continual import ContinualConfig
from genmeta.scenarios import provenance
from genmeta.scenarios.task_sequence import score_sequence

SIZE, SEEDS = 14, (0, 1, 2, 3, 4)


def main() -> None:
    """Scores the hypernetwork with its regulariser and without."""
    torch.set_num_threads(1)
    data = genmeta.open_dataset(f"digits?size={SIZE}")
    rows = {}
    for beta in (0.01, 0.0):
        config = ContinualConfig(inputs=SIZE**2, steps=400, beta=beta)
        scores = score_sequence(data, config, seeds=SEEDS)
        rows[f"beta={beta:g}"] = {"settings": dataclasses.asdict(config), **scores.summary()}
        print(f"beta={beta:g}", scores.summary())
    made = {**provenance(), "command": shlex.join(["python", *sys.argv])}
    write_json(
        sys.argv[1], {"schema": "genmeta.sequence/1", "data": data.name, "seeds": list(SEEDS), **made, "rows": rows}
    )


if __name__ == "__main__":
    main()
