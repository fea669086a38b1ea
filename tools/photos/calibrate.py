"""Sharpens or softens both heads alike until the probabilities are right on domains that training has not seen.

    python tools/photos/calibrate.py --held HELD_OUT --run RUN/last.pt --out calibrated.pt

Of the ``choose-`` sets, never of the held-out ones. One factor for each of 1 and 5 shots, before and after steps; a
straight line in log shots goes through both. Accuracies stay what they are.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from held_out import CHOOSING
from rows import parts
from table import Held, load
from torch import Tensor


def factor(logits: list[Tensor], targets: list[Tensor]) -> float:
    """The factor of the logits with the least negative log-likelihood, every set counting the same."""
    tries = np.exp(np.linspace(math.log(0.2), math.log(4), 60))
    losses = [sum(F.cross_entropy(a * x, t).item() for x, t in zip(logits, targets, strict=True)) for a in tries]
    return float(tries[int(np.argmin(losses))])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--held", type=Path, required=True)
    parser.add_argument("--run", required=True)
    parser.add_argument("--episodes", type=int, default=8)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    it = load(args.run)
    sets = [Held(args.held, name) for name in CHOOSING]
    found: dict[tuple[int, int], tuple[list[Tensor], list[Tensor]]] = {}
    for number in range(args.episodes):
        for held in sets:
            for shots in (1, 5):
                case = held.case(number, 5, shots)
                for step, out in parts(case, it, (0, args.steps)).items():
                    logits, targets = found.setdefault((min(step, 1), shots), ([], []))
                    logits.append(out)
                    targets.append(case.query_targets)
    for (after, shots), (logits, targets) in sorted(found.items()):
        right = np.mean([(x.argmax(1) == t).float().mean().item() for x, t in zip(logits, targets, strict=True)])
        print(after, shots, f"accuracy {100 * right:.2f}", "factor", round(factor(logits, targets), 3), flush=True)
    with torch.no_grad():
        for after in (0, 1):
            one, five = (math.log(factor(*found[after, shots])) for shots in (1, 5))
            it.sharpness[after, :, 0] += one
            it.sharpness[after, :, 1] += (five - one) / math.log(5)
    state = torch.load(args.run, weights_only=True)
    torch.save({"model": it.state_dict(), "step": state["step"], "seconds": state.get("seconds")}, args.out)


if __name__ == "__main__":
    main()
