"""How far each head is trusted: fitted on the ``choose-`` sets, never on the held-out ones.

    python tools/photos/table.py --held HELD_OUT --rows heads --sets choose --run RUN/last.pt --out HEADS.pt
    python tools/photos/trust.py --heads HEADS.pt --run RUN/last.pt --out fitted.pt

Over the constants of the sharpness of both heads, their slopes by log shots, and the weights of their left-out scores,
``1/β log Σ exp β (NLL_set − NLL_set of the pretrained network's head alone)``: sets where the mixture does worse than
the untouched features count most. A small penalty keeps slopes and weights near zero. (With β = 0, the mean over sets,
the mixture lost five points on photos seen from near, and gained half a point on average.)
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


def frozen_alone(groups: dict[tuple[str, int, int], list[Heads]]) -> dict[tuple[str, int, int], float]:
    """Negative log-likelihood of each group by the pretrained network's head, with a sharpness of its own."""
    line = torch.tensor([2.5, 0.0, 0.0], requires_grad=True)

    def nll(h: Heads) -> torch.Tensor:
        sharp = (line[0] + line[1] * float(np.log(h.shots)) + line[2] * h.left_out[1]).exp()
        return F.cross_entropy(sharp * h.frozen, h.targets)

    optimizer = torch.optim.LBFGS([line], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = torch.stack([nll(h) for group in groups.values() for h in group]).mean()
        value.backward()
        return value

    optimizer.step(loss)
    with torch.no_grad():
        return {key: float(torch.stack([nll(h) for h in group]).mean()) for key, group in groups.items()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--heads", type=Path, nargs="+", required=True)
    parser.add_argument("--run", required=True)
    parser.add_argument("--penalty", type=float, default=0.003)
    parser.add_argument("--beta", type=float, default=4.0)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    it = load(args.run)
    entries = [entry for path in args.heads for entry in torch.load(path, weights_only=True)]
    heads = [heads_in(entry) for entry in entries]
    sharpness, fallback = it.sharpness.detach().clone(), torch.zeros(2, 2, 2)
    sharpness[:, 1, 0] = 2.0
    sharpness.requires_grad_()
    fallback.requires_grad_()
    ways_slope = sharpness.detach()[..., 2].clone()
    optimizer = torch.optim.LBFGS([sharpness, fallback], max_iter=200, line_search_fn="strong_wolfe")

    def nll(h: Heads, sharpness: torch.Tensor, fallback: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(h.logits(sharpness, fallback), h.targets)

    groups: dict[tuple[str, int, int], list[Heads]] = {}
    for entry, h in zip(entries, heads, strict=True):
        groups.setdefault((entry["set"], h.after, h.shots), []).append(h)
    alone = frozen_alone(groups)

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        # all of these have five ways: the slope by ways stays what training made it
        fixed = torch.cat([sharpness[..., :2], ways_slope[..., None]], -1)
        excess = torch.stack(
            [torch.stack([nll(h, fixed, fallback) for h in group]).mean() - alone[key] for key, group in groups.items()]
        )
        value = torch.logsumexp(args.beta * excess, 0) / args.beta if args.beta else excess.mean()
        value = value + args.penalty * (fallback.square().sum() + sharpness[..., 1].square().sum())
        value.backward()
        return value

    optimizer.step(loss)
    sharpness, fallback = sharpness.detach(), fallback.detach()
    # both heads alike sharper or softer, which changes no answer: for the half of the sets that are answered worst, so
    # that probabilities do not promise too much where a domain is far
    common = torch.zeros(2, 2, requires_grad=True)
    optimizer = torch.optim.LBFGS([common], max_iter=100, line_search_fn="strong_wolfe")

    def miscalibration() -> torch.Tensor:
        optimizer.zero_grad()
        factors = (common[:, :1] + common[:, 1:] * torch.tensor([0.0, float(np.log(5))])).exp()
        losses = [F.cross_entropy(factors[h.after, 0 if h.shots == 1 else 1] * x, h.targets) for h, x in hard]
        value = torch.stack(losses).mean()
        value.backward()
        return value

    fixed = torch.cat([sharpness[..., :2], ways_slope[..., None]], -1)
    worst: dict[tuple[int, int], list[tuple[float, list[Heads]]]] = {}
    for (_, after, shots), group in groups.items():
        mean = float(torch.stack([nll(h, fixed, fallback) for h in group]).mean())
        worst.setdefault((after, shots), []).append((mean, group))
    chosen = [g for found in worst.values() for _, g in sorted(found, key=lambda f: -f[0])[: len(found) // 2]]
    hard = [(h, h.logits(fixed, fallback)) for group in chosen for h in group]
    optimizer.step(miscalibration)
    sharpness = sharpness.clone()
    sharpness[..., :2] += common.detach()[:, None]
    print("common factors (log, by log shots), before and after steps:", common.tolist())
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
