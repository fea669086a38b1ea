"""The table of docs/photos.md: every row on the same episodes of sets that nothing was trained or chosen on.

    python tools/photos/table.py --held HELD_OUT --rows frozen --episodes 300 --out results/photos-5w/frozen.json
    python tools/photos/table.py --held HELD_OUT --rows generated --run RUN --episodes 100 --out ...

Each call writes one file with a line per episode; ``merge.py`` makes ``results.json`` of them.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from held_out import CHOOSING, SETS
from rows import Case, fine_tuning, logistic_regression, nearest_neighbour, parts, prototypes, unit
from torch import Tensor
from train import built

from genmeta.core.files import atomic_path, write_text
from genmeta.methods.film_transfer import FilmTransfer

QUERIES = 5


class Held:
    """One set: episode ``i`` is the same on every call."""

    def __init__(self, folder: Path, name: str) -> None:
        meta = json.loads((folder / f"{name}.json").read_text())
        self.name = name
        self.maps = np.load(folder / f"{name}.maps.npy", mmap_mode="r")
        self.features = unit(torch.from_numpy(np.load(folder / f"{name}.features.npy")))
        self.offsets = np.concatenate([[0], np.cumsum(meta["counts"])])
        self.usable = [k for k, count in enumerate(meta["counts"]) if count >= 5 + QUERIES]

    def case(self, number: int, ways: int, shots: int) -> Case:
        """Episode ``number``."""
        rng = np.random.default_rng([number, ways, shots, sum(map(ord, self.name))])
        ways = min(ways, len(self.usable))
        support, query = [], []
        for k in rng.permutation(self.usable)[:ways]:
            inside = self.offsets[k] + rng.permutation(self.offsets[k + 1] - self.offsets[k])[: shots + QUERIES]
            support.append(inside[:shots])
            query.append(inside[shots:])
        s, q = np.concatenate(support), np.concatenate(query)
        return Case(
            torch.from_numpy(self.maps[s]).float(),
            torch.arange(ways).repeat_interleave(shots),
            self.features[s],
            torch.from_numpy(self.maps[q, 0]).float(),
            torch.arange(ways).repeat_interleave(QUERIES),
            self.features[q],
            ways,
        )


def load(path: str) -> FilmTransfer:
    """From the state of a training run."""
    model = torch.load(path, weights_only=True)["model"]
    directions = model["generator.film"].shape[1] if "generator.film" in model else 0
    it = built(directions, "late" if len([k for k in model if k.startswith("pretrained_")]) > 100 else "film")
    it.load_state_dict({"fallback": it.fallback, **model})
    return it.eval()


def line_of(name: str, shots: int, number: int, row: str, logits: Tensor, targets: Tensor) -> dict:
    """What is kept of one episode."""
    log_p = torch.log_softmax(logits.double(), -1)
    confidence, guess = log_p.max(-1)
    return {
        "set": name,
        "shots": shots,
        "episode": number,
        "row": row,
        "accuracy": (guess == targets).double().mean().item(),
        "nll": F.nll_loss(log_p, targets).item(),
        "confidence": [round(c, 5) for c in confidence.exp().tolist()],
        "correct": (guess == targets).int().tolist(),
    }


def heads_of(args: argparse.Namespace) -> None:
    """Saves what the logits are made of, so that the heads may be weighed again without new steps."""
    it = load(args.run)
    steps = tuple(int(s) for s in args.steps.split(","))
    sets = [Held(args.held, name) for name in (CHOOSING if args.sets == "choose" else args.sets.split(","))]
    found: list[dict] = []
    began = time.monotonic()
    for number in range(args.first, args.episodes):
        for held in sets:
            for shots in (1, 5):
                for step, heads in parts(held.case(number, 5, shots), it, steps).items():
                    key = {"set": held.name, "shots": shots, "episode": number, "step": step}
                    found.append({**key, **heads._asdict()})
        if number % 3 == 2 or number == args.episodes - 1:
            with atomic_path(args.out) as path:
                torch.save(found, path)
        if time.monotonic() - began > 60 * args.minutes:
            break


def rows_of(args: argparse.Namespace) -> Callable[[Case, int], dict[str, Tensor]]:
    """What answers an episode: row -> logits ``[Q K]``."""
    if args.rows == "frozen":
        return lambda case, i: {
            "prototypes": prototypes(case),
            "logistic regression": logistic_regression(case),
            "1-nearest neighbour": nearest_neighbour(case),
        }
    if args.rows == "fine-tuning":
        plain = built(0, "film").eval()
        return lambda case, i: {"fine-tuning": fine_tuning(case, plain, args.lr, i)}
    raise SystemExit("--rows is frozen, fine-tuning or heads")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--held", type=Path, required=True)
    parser.add_argument("--rows", required=True)
    parser.add_argument("--run", default="")
    parser.add_argument("--steps", default="0,4")
    parser.add_argument("--lr", type=float, default=0.003)
    parser.add_argument("--episodes", type=int, default=300)
    parser.add_argument("--first", type=int, default=0, help="number of the first episode")
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=1e9)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.rows == "heads":
        heads_of(args)
        return
    answer = rows_of(args)
    sets = [Held(args.held, name) for name in (CHOOSING if args.sets == "choose" else args.sets.split(","))]
    lines: list[dict] = []
    began = time.monotonic()
    for number in range(args.first, args.episodes):
        if time.monotonic() - began > 60 * args.minutes:
            break
        # sets and shots in turn, so that a stopped run has the same number of each
        for held in sets:
            for shots in (1, 5):
                case = held.case(number, 5, shots)
                for row, logits in answer(case, number).items():
                    lines.append(line_of(held.name, shots, number, row, logits, case.query_targets))
        if number % 2 == 1 or number == args.episodes - 1:
            write_text(args.out, json.dumps(lines))
    write_text(args.out, json.dumps(lines))


if __name__ == "__main__":
    main()
