"""Meta-trains ``film-transfer`` on cached views, on as many processes as asked for; goes on where it was stopped.

    python tools/photos/views.py ...                                       (first; see there)
    python tools/photos/train.py --views VIEWS --run RUN --minutes 60 --workers 2
    python tools/photos/train.py --views VIEWS --run RUN2 --init RUN/snapshot-1000.pt --directions 0 ...

Every process computes episodes of its own, and gradients are averaged. The learning rates fall with the *time* used, so
that a run takes the time it is given on a busy machine too.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from episodes import Episode, Mixture
from torch import Tensor

from genmeta.core.files import atomic_path
from genmeta.core.randomness import seeded
from genmeta.core.types import ROWS
from genmeta.learners import LearnerConfig, build_learner
from genmeta.methods import build_method
from genmeta.methods.film_transfer import FilmTransfer, Support


def built(directions: int, learns: str) -> FilmTransfer:
    """The method on EfficientNet-Lite0."""
    learner = build_learner(LearnerConfig("efficientnet-lite0", 3, 112), seeded(0))
    options = {"directions": directions, "learns": learns}
    return build_method("film-transfer", learner, rng=seeded(0), options=options)  # type: ignore[return-value]


def as_maps(values: Tensor) -> Tensor:
    """``[... 14 14 40]`` to images in channels-last memory."""
    return values.flatten(0, -4).permute(0, 3, 1, 2)


def logits(it: FilmTransfer, episode: Episode, steps: int, *, differentiable: bool) -> Tensor:
    """Of the query images, after so many steps."""
    views = [as_maps(episode.support[:, v]) for v in range(episode.support.shape[1])]
    members = F.one_hot(episode.targets, episode.ways).float()[None]
    support = Support(views, members, unit(episode.frozen)[None])
    with torch.set_grad_enabled(differentiable):
        start, written = it.write(support)
        end = it.path(support, start, written.step_sizes, steps, differentiable)[-1]
        rows, _ = it.rows(support, end, written, it.left_out(support, start), steps)
        features = it.both_features(as_maps(episode.query), {**end, ROWS: rows}, None)
        return it.vision.outputs(features, rows)[0]


def unit(features: Tensor) -> Tensor:
    """Centred, of length 1."""
    centred = features - features.mean(-1, keepdim=True)
    return centred / centred.norm(dim=-1, keepdim=True).clamp_min(1e-6)


def groups(it: FilmTransfer, scale: float) -> list[dict]:
    """Parameters by how fast they move."""
    rates = {"sharpness": 0.01, "fallback": 0.01, "log_alpha": 0.03, "generator": 1e-3, "norm": 1e-3, "other": 1.5e-4}
    parts: dict[str, list] = {name: [] for name in rates}
    for name, parameter in it.named_parameters():
        if parameter.requires_grad:
            kind = next((k for k in ("sharpness", "fallback", "log_alpha", "generator", "norm") if k in name), "other")
            parts[kind].append(parameter)
    return [{"params": p, "lr": scale * rates[k], "peak": scale * rates[k]} for k, p in parts.items() if p]


def work(rank: int, args: argparse.Namespace) -> None:
    """One process."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{args.run.resolve()}/.meet", rank=rank, world_size=args.workers
    )
    it = built(args.directions, args.learns)
    if args.init:
        state = torch.load(args.init, weights_only=True)
        own = it.state_dict()
        it.load_state_dict(
            {k: v for k, v in state["model"].items() if k in own and own[k].shape == v.shape}, strict=False
        )
    if args.freeze:
        for name, parameter in it.learner.named_parameters():
            parameter.requires_grad_(name in it._names)
    with torch.no_grad():
        it.generator.log_alpha += math.log(args.longer)
    parameters = [p for p in it.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(groups(it, args.lr), betas=(0.9, 0.99))
    step, used = 0, 0.0
    last = args.run / "last.pt"
    if last.exists():
        state = torch.load(last, weights_only=True)
        it.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        step, used = state["step"], state["seconds"]
    data = Mixture(args.views, "train", json.loads(args.mix) if args.mix else None)
    log: list[tuple[str, int, float, float]] = []
    began = time.monotonic() - used
    clock = torch.tensor([used])
    saved = time.monotonic()
    while clock.item() < 60 * args.minutes:
        fraction = clock.item() / (60 * args.minutes)
        for group in optimizer.param_groups:
            group["lr"] = (
                group["peak"] * min(1, (step + 1) / 30) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * fraction)))
            )
        optimizer.zero_grad()
        for part in range(args.episodes):
            rng = np.random.default_rng([args.seed, step, rank, part])
            episode = data.training(rng)
            steps = int(rng.choice([0, 2, 4], p=[args.start, 0.3 * (1 - args.start), 0.7 * (1 - args.start)]))
            scores = logits(it, episode, steps, differentiable=True)
            loss = F.cross_entropy(scores, episode.query_targets)
            (loss / args.episodes).backward()
            right = (scores.argmax(1) == episode.query_targets).float().mean().item()
            log.append((episode.name, steps, loss.item(), right))
        flat = torch.cat([(p.grad if p.grad is not None else torch.zeros_like(p)).flatten() for p in parameters])
        flat = torch.cat([flat, torch.tensor([time.monotonic() - began])])
        dist.all_reduce(flat)
        flat /= args.workers
        clock = flat[-1:].clone()
        at = 0
        for p in parameters:
            p.grad = flat[at : at + p.numel()].view_as(p).clone()
            at += p.numel()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        step += 1
        if rank == 0 and step % 25 == 0:
            recent = log[-200:]
            line = {
                "step": step,
                "seconds": round(clock.item()),
                "loss": round(float(np.mean([r[2] for r in recent])), 4),
            }
            for s in sorted({r[1] for r in recent}):
                line[f"accuracy_{s}"] = round(float(np.mean([r[3] for r in recent if r[1] == s])), 4)
            print(json.dumps(line), flush=True)
        if rank == 0 and (time.monotonic() - saved > 90 or clock.item() >= 60 * args.minutes):
            saved = time.monotonic()
            state = {
                "model": it.state_dict(),
                "optimizer": optimizer.state_dict(),
                "step": step,
                "seconds": clock.item(),
            }
            with atomic_path(last) as path:
                torch.save(state, path)
            minutes = int(clock.item() / 60 / 10) * 10
            if minutes and not (args.run / f"snapshot-{minutes}.pt").exists():
                torch.save({"model": state["model"], "step": step}, args.run / f"snapshot-{minutes}.pt")
    dist.destroy_process_group()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--views", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--episodes", type=int, default=2)
    parser.add_argument("--start", type=float, default=0.3, help="fraction of episodes that train the start alone")
    parser.add_argument("--directions", type=int, default=32)
    parser.add_argument("--learns", default="film")
    parser.add_argument("--freeze", action="store_true", help="of the network, train scales and shifts alone")
    parser.add_argument("--longer", type=float, default=1.0, help="factor on the step sizes at the beginning")
    parser.add_argument("--lr", type=float, default=1.0)
    parser.add_argument("--init", default="")
    parser.add_argument("--mix", default="")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.run.mkdir(parents=True, exist_ok=True)
    (args.run / ".meet").unlink(missing_ok=True)
    mp.spawn(work, (args,), nprocs=args.workers)


if __name__ == "__main__":
    main()
