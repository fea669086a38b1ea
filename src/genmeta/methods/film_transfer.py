"""``film-transfer``: a pretrained network for new classes: a written FiLM start, written step sizes, a few steps.

``θ₀ = base + B z``, ``α = exp(a + C z)`` with ``z = E(support)`` (:class:`~genmeta.generators.FiLMStartGenerator`),
``θ_{j+1} = θ_j − α g/rms(g)`` by leave-one-out prototypes (:mod:`genmeta.adapters.prototype_steps`), and two heads:
ridge regressions on the features under ``θ_k``, and on those of the pretrained network, which no task can spoil. They
add up to the logits, each with a learned sharpness.

This library's combination of: Shysheya, Bronskill, Patacchiola, Nowozin, Turner, "FiT: parameter efficient few-shot
transfer learning for personalized and federated image classification", 2022 (https://arxiv.org/abs/2206.08671), which
trains FiLM layers on the support set; Requeima et al., "CNAPs", 2019 (https://arxiv.org/abs/1906.07697), which writes
them; and Li et al., "Meta-SGD", 2017 (https://arxiv.org/abs/1707.09835), which learns the steps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from genmeta.adapters import NoAdapter
from genmeta.adapters.prototype_steps import SHARPNESS, left_out_logits, lonely, prototype_steps
from genmeta.core.errors import UsageError, unknown
from genmeta.core.spec import ParamSpec
from genmeta.core.types import ROWS, Examples, Start, Weights
from genmeta.generators import ConstantRow, FixedStepSize, RowBase
from genmeta.generators.film_start import FiLMStartGenerator, WrittenStart
from genmeta.learners import Learner, Statistics
from genmeta.methods.adapted import Adapted, State
from genmeta.methods.base import METHODS, Method
from genmeta.methods.meta_learner import MetaLearner, Parts
from genmeta.methods.objectives import QueryLoss
from genmeta.tasks.augment import fixed_views
from genmeta.vision import Classification, VisualTask

LEARNS = ("film", "late")
_FROZEN = "frozen/"
#: λ of the head on pretrained features.
RIDGE = 0.3
#: Support images of one task that go through the network together: bounds memory, not results.
TOGETHER = 32


@dataclass(frozen=True)
class FilmTransferOptions:
    """Settings of film-transfer.

    Attributes:
        inner_steps: steps on the support set in meta-training, and by default afterwards.
        directions: columns of the FiLM dictionary; 0 for a constant start and constant step sizes.
        hidden: width of the encoder.
        inner_lr: step size before meta-training.
        learns: what meta-training moves of the network: ``film``, its scales and shifts, or all ``late`` tensors.
    """

    inner_steps: int = 4
    directions: int = 32
    hidden: int = 64
    inner_lr: float = 0.01
    learns: str = "film"


class Support(NamedTuple):
    """What adaptation reads of a support set.

    Attributes:
        views: early maps ``[T*N ...]`` of the images in each view, the images themselves first.
        membership: ``[T N K]`` classes.
        frozen: ``[T N D]`` features of the images in the pretrained network.
    """

    views: list[Tensor]
    membership: Tensor
    frozen: Tensor


class FilmTransfer(MetaLearner):
    """See the module; everything after the early maps works on maps, so that training may keep those of its images."""

    def __init__(self, parts: Parts, options: FilmTransferOptions) -> None:
        super().__init__(parts)
        learner = self.learner
        late = learner.late_names()
        moved = set(late) if options.learns == "late" else set(self._names)
        for name, tensor in learner.named_parameters():
            tensor.requires_grad_(name in moved)
        # the pretrained network, as it came: the tensors that meta-training moves
        self._kept, own = tuple(sorted(moved)), learner.own_weights()
        for number, name in enumerate(self._kept):
            self.register_buffer(f"pretrained_{number}", own[name].detach().clone())
        self.generator = FiLMStartGenerator(
            learner.feature_size, self.spec, options.hidden, options.directions, options.inner_lr, heads=4
        )
        # logarithms of the sharpness of both heads, before and after steps: constant, by log shots, by log ways
        sharpness = torch.zeros(2, 2, 3)
        # of Python's own: on the device that only sketches a model, torch's logarithm brings its compiler along
        sharpness[..., 0] = torch.tensor([math.log(10.0), math.log(4.0)])
        self.sharpness = nn.Parameter(sharpness)
        # and by how well each head's features tell the support images apart, each left out of its own prototype
        self.fallback = nn.Parameter(torch.zeros(2, 2, 2))

    # -- features ---------------------------------------------------------------------------------------------------

    def pretrained(self) -> Weights:
        """The tensors of the network as they were before meta-training."""
        return {name: self.get_buffer(f"pretrained_{i}") for i, name in enumerate(self._kept)}

    def frozen_features(
        self, maps: Tensor, n_tasks: int, statistics: Statistics | None = None
    ) -> tuple[Tensor, Statistics]:
        """Features ``[T N D]`` of the pretrained network."""
        with torch.no_grad():
            return self.learner.late_features(maps, n_tasks, self.pretrained(), statistics)

    def late(self, maps: Tensor, n_tasks: int, weights: Weights) -> tuple[Tensor, Statistics]:
        """As the learner's ``late_features``, of a large support set part by part.

        Where gradients are asked for, a part's layers are computed again when its gradient is, so that memory does not
        grow with classes and shots. Layers that take statistics of the set must see it whole.
        """
        if n_tasks > 1 or len(maps) <= TOGETHER or self._takes_statistics(maps):
            return self.learner.late_features(maps, n_tasks, weights)
        names = list(weights)

        def features(part: Tensor, *values: Tensor) -> Tensor:
            return self.learner.late_features(part, 1, dict(zip(names, values, strict=True)))[0]

        parts = maps.split(TOGETHER)
        if not torch.is_grad_enabled():
            return torch.cat([features(part, *weights.values()) for part in parts], 1), {}
        found = [checkpoint(features, part, *weights.values(), use_reentrant=False) for part in parts]
        return torch.cat(found, 1), {}

    def _takes_statistics(self, maps: Tensor) -> bool:
        with torch.no_grad():
            return bool(self.learner.late_features(maps[:1], 1, {})[1])

    def early(self, images: Tensor) -> Tensor:
        """The learner's early maps of ``[T N C H W]``, of one task's many images part by part."""
        if images.shape[0] > 1 or images.shape[1] <= TOGETHER:
            return self.learner.early_maps(images)
        return torch.cat([self.learner.early_maps(part) for part in images.split(TOGETHER, 1)])

    # -- start, steps and heads -------------------------------------------------------------------------------------

    def write(self, support: Support) -> tuple[Weights, WrittenStart]:
        """``θ₀``, and what was written."""
        written = self.generator(support.frozen, support.membership)
        n_tasks, own = support.membership.shape[0], self.learner.own_weights()
        weights = {name: own[name].expand(n_tasks, *own[name].shape) for name in self._names}
        for name, correction in written.corrections.items():
            weights[name] = weights[name] + correction
        return weights, written

    def path(self, support: Support, start: Weights, alpha: Weights, steps: int, differentiable: bool) -> list[Weights]:
        """``θ₀ … θ_steps``."""
        n_tasks = support.membership.shape[0]

        def features(weights: Weights, view: int) -> Tensor:
            return self.late(support.views[view], n_tasks, weights)[0]

        return prototype_steps(
            features,
            start,
            alpha,
            support.membership,
            steps=steps,
            views=len(support.views),
            differentiable=differentiable,
        )

    def left_out(self, support: Support, start: Weights) -> Tensor:
        """``[T 2]`` nats: how well support images are told apart under ``θ₀`` and in the pretrained network.

        Where some class has one image, the second view is classified by prototypes of the first.
        """
        n_tasks, members = support.membership.shape[0], support.membership
        alone = lonely(members)
        with torch.no_grad():
            scores = []
            firsts = (self.late(support.views[0], n_tasks, start)[0], support.frozen)
            for weights, first in zip((start, self.pretrained()), firsts, strict=True):
                second = first
                if alone.any():
                    second = self.late(support.views[1], n_tasks, weights)[0]
                    second = torch.where(alone[:, None, None], second, first)
                logits = SHARPNESS * left_out_logits(first, second, members)
                scores.append(-(torch.log_softmax(logits, -1) * members).sum((1, 2)) / members.sum((1, 2)))
            return torch.stack(scores, -1)

    def heads(self, support: Support, weights: Weights) -> tuple[list[tuple[Tensor, Tensor]], Statistics]:
        """Ridge regressions on the features under ``weights``, of all views, and on those of the pretrained network.

        Returns:
            Directions ``[T K D]`` and offsets ``[T K]`` of each, and the norms' statistics of the support set.
        """
        n_tasks, n_views = support.membership.shape[0], len(support.views)
        seen = [self.late(view, n_tasks, weights) for view in support.views]
        adapted = torch.cat([features for features, _ in seen], 1)
        every = ridge_head(adapted, support.membership.repeat(1, n_views, 1))
        return [every, ridge_head(support.frozen, support.membership)], seen[0][1]

    def rows(
        self, support: Support, weights: Weights, written: WrittenStart, left_out: Tensor, step: int
    ) -> tuple[Tensor, Statistics]:
        """Class rows ``[T K 2D+1]`` of both heads under ``weights``, and the norms' statistics of the support set."""
        (adapted, plain), statistics = self.heads(support, weights)
        counts = support.membership.sum(1).clamp_min(1e-6)
        shots, ways = counts.log().mean(1), counts.new_full((len(counts),), counts.shape[1]).log()
        known = torch.stack([torch.ones_like(ways), shots, ways], 1)
        after = min(step, 1)
        corrections = written.sharpness.unflatten(1, (2, 2))[:, after] + left_out @ self.fallback[after].t()
        sharp = (known @ self.sharpness[after].t() + corrections).exp()[:, :, None]
        offsets = sharp[:, 0] * adapted[1] + sharp[:, 1] * plain[1]
        directions = [sharp[:, :1] * adapted[0], sharp[:, 1:] * plain[0]]
        return torch.cat([*directions, offsets[..., None]], -1), statistics

    # -- the meta-learner's interface -------------------------------------------------------------------------------

    def start(
        self,
        support: Examples,
        ways: int,
        rng: torch.Generator,
        *,
        samples: int | None = None,
        row_base: RowBase | None = None,
    ) -> Start:
        return self.adapt(support, ways, rng, steps=0, samples=samples).start

    def adapt(
        self,
        support: Examples,
        ways: int,
        rng: torch.Generator,
        *,
        steps: int | None = None,
        at: tuple[int, ...] | None = None,
        samples: int | None = None,
        differentiable: bool = False,
        evidence: Examples | None = None,
        kept: Weights | None = None,
    ) -> Adapted:
        if samples not in (None, 0, 1):
            raise UsageError(f"film-transfer writes one start for a support set, got samples={samples}. Leave it out.")
        steps = self.inner_steps if steps is None else steps
        with torch.set_grad_enabled(differentiable and torch.is_grad_enabled()):
            n_tasks = support.images.shape[0]
            views = [self.early(view) for view in fixed_views(support.images)]
            with torch.no_grad():
                frozen, taken = self.late(views[0], n_tasks, self.pretrained())
            seen = Support(views, F.one_hot(support.labels, ways).to(frozen.dtype), frozen)
            theta, written = self.write(seen)
            if kept is None:
                path = self.path(seen, theta, written.step_sizes, steps, differentiable)
            else:
                theta = {name: kept[name] for name in self._names}
                path = [theta] * (steps + 1)
            left_out = self.left_out(seen, theta)
            states = {}
            for step in at if at is not None else (steps,):
                rows, statistics = self.rows(seen, path[step], written, left_out, step)
                both = {**statistics, **{_FROZEN + name: value for name, value in taken.items()}}
                states[step] = State({**path[step], ROWS: rows}, both or None, None)
        first = {**path[0], ROWS: states[min(states)].weights[ROWS]}
        start = Start(first, written.step_sizes, frozen.new_zeros(n_tasks))
        return Adapted(states, start, path, 1)

    def _query_memory(self, images: Tensor, adapted: Adapted) -> Tensor:  # type: ignore[override]
        return self.learner.early_maps(images)

    def _respond(self, memory: Tensor, adapted: Adapted, step: int, *, differentiable: bool) -> Tensor:  # type: ignore[override]
        weights, statistics, _ = adapted.states[step]
        with torch.set_grad_enabled(differentiable and torch.is_grad_enabled()):
            return self.vision.outputs(self.both_features(memory, weights, statistics), weights[ROWS])

    def both_features(self, maps: Tensor, weights: Mapping[str, Tensor], statistics: Statistics | None) -> Tensor:
        """``[T N 2D]``: features under the written weights, then the pretrained network's."""
        n_tasks = weights[ROWS].shape[0]
        written = {name: weights[name] for name in self._names}
        given = statistics or {}
        mine = {name: value for name, value in given.items() if not name.startswith(_FROZEN)}
        theirs = {name.removeprefix(_FROZEN): v for name, v in given.items() if name.startswith(_FROZEN)}
        adapted, _ = self.learner.late_features(maps, n_tasks, written, mine or None)
        frozen, _ = self.frozen_features(maps, n_tasks, theirs or None)
        return torch.cat([adapted, frozen], -1)


def ridge_head(features: Tensor, membership: Tensor) -> tuple[Tensor, Tensor]:
    """The ridge regression with intercept from features to classes, ``W = Xᵀ(XXᵀ + λI)⁻¹Y``, ``X`` and ``Y`` centred.

    Args:
        features: ``[T N D]`` of length 1.
        membership: ``[T N K]``.

    Returns:
        Directions ``[T K D]``, of length 1, and offsets ``[T K]``: ``W_k · x + offset_k`` for a query's features ``x``.
    """
    mean = features.mean(1, keepdim=True)
    centred = features - mean
    gram = centred @ centred.transpose(1, 2)
    eye = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    weights = torch.linalg.solve(gram + RIDGE * eye, membership - membership.mean(1, keepdim=True))
    directions = F.normalize(weights.transpose(1, 2) @ centred, dim=-1)
    return directions, -(directions @ mean.transpose(1, 2))[..., 0]


def build(options: FilmTransferOptions, learner: Learner, vision: VisualTask, rng: torch.Generator) -> MetaLearner:
    """Writes the scales and shifts of the late layers."""
    if options.learns not in LEARNS:
        raise unknown("part of the network to learn", options.learns, LEARNS)
    late = set(learner.late_names())
    shared = tuple((name, shape) for name, shape in learner.written_shapes("film") if name in late)
    spec = ParamSpec(shared, 2 * learner.feature_size + 1)
    row_base = ConstantRow(1)
    row_base.requires_grad_(False)
    parts = Parts(
        learner=learner,
        vision=vision,
        spec=spec,
        row_base=row_base,
        step_sizes=FixedStepSize(spec, (), 0.0, 0.0),
        adapter=NoAdapter(),
        inner_steps=options.inner_steps,
    )
    return FilmTransfer(parts, options)


METHODS.register("film-transfer")(
    Method(
        name="film-transfer",
        summary="FiLM start and step sizes written from the support set for a pretrained network, then a few steps.",
        generates="FiLM, rows and step sizes",
        adapts="FiLM",
        paper="this library's, after Shysheya et al.: FiT, 2022; Requeima et al.: CNAPs, 2019",
        url="https://arxiv.org/abs/2206.08671",
        expected="above logistic regression on the pretrained features",
        options=FilmTransferOptions,
        build=build,
        objective=lambda meta_learner, options, setting: QueryLoss("both"),
        visions=(Classification.name,),
    )
)
