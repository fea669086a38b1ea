"""Compares the logs of two trainings on the same episodes: ``training.py GENERATED.log CONSTANT.log --out FILE``.

A line of a log is the mean over the last 200 episodes, which is two lines' worth at four episodes a meta-step: every
second line is taken, and differences are paired line by line.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from merge import interval

from genmeta.core.files import write_text
from genmeta.scenarios import provenance

PARTS = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("logs", nargs=2, type=Path)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    generated, constant = ([json.loads(line) for line in log.read_text().splitlines()] for log in args.logs)
    generated, constant = generated[1::2], constant[1::2]
    if [line["step"] for line in generated] != [line["step"] for line in constant]:
        raise SystemExit("the two logs are of different meta-steps")
    parts: list[dict[str, Any]] = []
    for part in np.array_split(np.arange(len(generated)), PARTS):
        mine, other = ([log[i] for i in part] for log in (generated, constant))
        gap = {key: [a[key] - b[key] for a, b in zip(mine, other, strict=True)] for key in mine[0]}
        parts.append(
            {
                "first_step": 1 if not part[0] else generated[part[0] - 1]["step"] + 1,
                "last_step": mine[-1]["step"],
                "accuracy_gain": interval(gap["accuracy_4"]),
                "loss_gain": interval(gap["loss"], 1),
            }
        )
    result = {
        "schema": "genmeta.photos-training/1",
        **provenance(),
        "command": "tools/photos/train.py --init BASE/last.pt --directions 32 (and 0), tools/photos/training.py",
        "parts": parts,
        "generated": generated,
        "constant": constant,
    }
    write_text(args.out, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
