"""How far each head is trusted: fitted on the ``choose-`` sets, never on the held-out ones.

    python tools/photos/table.py --held HELD_OUT --rows heads --sets choose --run RUN/last.pt --out HEADS.pt
    python tools/photos/trust.py --heads HEADS.pt --run RUN/last.pt --out fitted.pt

Least negative log-likelihood of the query images, every set counting the same, over the constants of the sharpness of
both heads, their slopes by log shots, and the weights of their left-out scores; a small penalty keeps these near zero.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from rows import Heads
from table import load


def heads_in(entry: dict[str, Any]) -> Heads:
    """The heads of a saved entry."""
    return Heads(**{name: entry[name] for name in Heads._fields})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--heads", type=Path, required=True)
    parser.add_argument("--run", required=True)
    parser.add_argument("--penalty", type=float, default=0.01)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    it = load(args.run)
    entries = torch.load(args.heads, weights_only=True)
    heads = [heads_in(entry) for entry in entries]
    sharpness, fallback = it.sharpness.detach().clone(), torch.zeros(2, 2, 2)
    sharpness[:, 1, 0] = 2.0
    sharpness.requires_grad_()
    fallback.requires_grad_()
    ways_slope = sharpness.detach()[..., 2].clone()
    optimizer = torch.optim.LBFGS([sharpness, fallback], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        # all of these have five ways: the slope by ways stays what training made it
        fixed = torch.cat([sharpness[..., :2], ways_slope[..., None]], -1)
        losses = [F.cross_entropy(h.logits(fixed, fallback), h.targets) for h in heads]
        value = torch.stack(losses).mean() + args.penalty * (fallback.square().sum() + sharpness[..., 1].square().sum())
        value.backward()
        return value

    optimizer.step(loss)
    with torch.no_grad():
        it.sharpness.copy_(torch.cat([sharpness[..., :2], ways_slope[..., None]], -1))
        it.fallback.copy_(fallback)
        for after in (0, 1):
            for shots in (1, 5):
                mine = [h for h in heads if (h.after, h.shots) == (after, shots)]
                right = [
                    (h.logits(it.sharpness, it.fallback).argmax(1) == h.targets).float().mean().item() for h in mine
                ]
                print(after, shots, f"accuracy {100 * float(np.mean(right)):.2f} on {len(mine)} episodes")
    print(it.sharpness.tolist(), it.fallback.tolist())
    state = torch.load(args.run, weights_only=True)
    torch.save({"model": it.state_dict(), "step": state["step"]}, args.out)


if __name__ == "__main__":
    main()
