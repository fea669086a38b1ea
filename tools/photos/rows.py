"""What film-transfer is compared with, on the maps and features of one episode: frozen features, and fine-tuning."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from train import as_maps, unit

from genmeta.core.types import ROWS
from genmeta.methods.film_transfer import FilmTransfer, Support


class Case(NamedTuple):
    """One episode: support ``[N V 14 14 40]`` and query ``[Q 14 14 40]`` maps, and frozen features of length 1."""

    support: Tensor
    targets: Tensor
    frozen: Tensor
    query: Tensor
    query_targets: Tensor
    query_frozen: Tensor
    ways: int


def prototypes(case: Case, sharpness: float = 12.0) -> Tensor:
    """Cosine to the class means of the frozen features."""
    members = F.one_hot(case.targets, case.ways).float()
    return sharpness * case.query_frozen @ F.normalize(members.t() @ case.frozen, dim=-1).t()


def logistic_regression(case: Case, c: float = 10.0) -> Tensor:
    """scikit-learn's, on frozen features of unit length."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = LogisticRegression(C=c, max_iter=1000).fit(case.frozen.numpy(), case.targets.numpy())
    scores = model.decision_function(case.query_frozen.numpy())
    if case.ways == 2:
        scores = np.stack([-scores / 2, scores / 2], -1)
    return torch.from_numpy(scores).float()


def nearest_neighbour(case: Case) -> Tensor:
    """The nearest support image by cosine (k = 1); sharpness as for prototypes, for its likelihood."""
    cosine = case.query_frozen @ case.frozen.t()
    members = F.one_hot(case.targets, case.ways).bool()
    return 12.0 * torch.stack([cosine[:, members[:, k]].amax(1) for k in range(case.ways)], -1)


def fine_tuning(case: Case, it: FilmTransfer, lr: float, seed: int, steps: int = 30) -> Tensor:
    """Adam on the late scales and shifts from the pretrained network.

    Half of the support images (a view of each) are prototypes, the others are classified; with one shot, two views
    classify each other. Cosines times 10.
    """
    rng = np.random.default_rng(seed)
    own = {**it.learner.own_weights(), **it.pretrained()}
    weights = {name: own[name].detach()[None].clone().requires_grad_() for name in it._names}
    rest = {name: value.detach() for name, value in it.pretrained().items() if name not in weights}
    optimizer = torch.optim.Adam(list(weights.values()), lr=lr)
    shots = torch.bincount(case.targets, minlength=case.ways).min().item()

    def features(maps: Tensor) -> Tensor:
        return it.learner.late_features(as_maps(maps), 1, {**rest, **weights})[0][0]

    for _ in range(steps):
        views = torch.from_numpy(rng.integers(case.support.shape[1], size=len(case.support)))
        first = case.support[torch.arange(len(views)), views]
        if shots == 1:
            second = case.support[torch.arange(len(views)), (views + 1) % case.support.shape[1]]
            found = features(torch.cat([first, second]))
            a, b = found[: len(views)], found[len(views) :]
            ta = tb = case.targets
        else:
            order = torch.from_numpy(rng.permutation(len(views)))
            halves: list[list[int]] = [[], []]
            for k in range(case.ways):
                mine = [int(i) for i in order if case.targets[i] == k]
                halves[0] += mine[: len(mine) // 2]
                halves[1] += mine[len(mine) // 2 :]
            found = features(first)
            a, b, ta, tb = found[halves[0]], found[halves[1]], case.targets[halves[0]], case.targets[halves[1]]
        means = F.normalize(F.one_hot(ta, case.ways).float().t() @ a, dim=-1)
        loss = F.cross_entropy(10 * b @ means.t(), tb)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        found = features(torch.cat([case.support[:, 0], case.query]))
        n = len(case.support)
        means = F.normalize(F.one_hot(case.targets, case.ways).float().t() @ found[:n], dim=-1)
        return 10 * found[n:] @ means.t()


class Heads(NamedTuple):
    """What the logits of one episode after some steps are made of, but for the heads' sharpness.

    Attributes:
        adapted: ``[Q K]`` of the ridge regression under the adapted weights, for directions of length 1.
        frozen: ``[Q K]`` of that on the pretrained network's features.
        left_out: ``[2]`` nats, see :meth:`FilmTransfer.left_out`.
        written: ``[2]`` what the generator adds to the logarithms of the sharpness.
        after: 1 after steps, else 0.
        shots: support images of a class.
        targets: ``[Q]``.
    """

    adapted: Tensor
    frozen: Tensor
    left_out: Tensor
    written: Tensor
    after: int
    shots: int
    targets: Tensor

    def logits(self, sharpness: Tensor, fallback: Tensor) -> Tensor:
        """With the method's parameters of these names."""
        ways = self.adapted.shape[1]
        known = torch.tensor([1.0, float(np.log(self.shots)), float(np.log(ways))])
        sharp = sharpness[self.after] @ known + self.written + fallback[self.after] @ self.left_out
        return sharp[0].exp() * self.adapted + sharp[1].exp() * self.frozen


def parts(case: Case, it: FilmTransfer, steps: tuple[int, ...]) -> dict[int, Heads]:
    """Both heads of film-transfer after so many steps; the pretrained network's features are taken as known."""
    views = [as_maps(case.support[:, v]) for v in range(case.support.shape[1])]
    support = Support(views, F.one_hot(case.targets, case.ways).float()[None], case.frozen[None])
    out = {}
    with torch.no_grad():
        start, written = it.write(support)
        path = it.path(support, start, written.step_sizes, max(steps), False)
        left_out = it.left_out(support, start)
        for step in steps:
            heads, _ = it.heads(support, path[step])
            query = it.learner.late_features(as_maps(case.query), 1, path[step])[0][0]
            adapted, frozen = (
                features @ directions[0].t() + offsets[0]
                for features, (directions, offsets) in zip((query, case.query_frozen), heads, strict=True)
            )
            after = min(step, 1)
            shots = len(case.targets) // case.ways
            corrections = written.sharpness.unflatten(1, (2, 2))[0, after]
            out[step] = Heads(adapted, frozen, left_out[0], corrections, after, shots, case.query_targets)
    return out


__all__ = ["ROWS", "Case", "fine_tuning", "logistic_regression", "nearest_neighbour", "parts", "prototypes", "unit"]
