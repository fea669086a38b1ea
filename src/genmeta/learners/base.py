"""What every learner is: a network whose weights may be written from outside, task by task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from genmeta.core import batching
from genmeta.core.errors import UsageError, unknown

#: Normalisation statistics of a support pass: norm name -> (mean ``[T C]``, variance ``[T C]``).
Statistics = dict[str, batching.Moments]

#: What ``--generate`` may name: class rows only; also the kernel of the channels that belong to no class (a detector's
#: box sizes and offsets; elsewhere there are none); also the norms' scales and shifts; or every tensor of the learner.
SPACES = ("rows", "head", "film", "all")


#: Side of the largest images that a learner reads.
MOST_PIXELS = 4096


@dataclass(frozen=True)
class LearnerConfig:
    """Settings of a learner; saved in every checkpoint.

    Attributes:
        name: registered name, see ``genmeta list learners``.
        channels: image channels, 1 or 3.
        size: image height and width in pixels.
        width: channels of the first block (units of a hidden layer for ``mlp``); 0 for the learner's own default.
        norm: ``group``, or ``batch`` with the statistics of the task's own support set.
        groups: channel groups of ``group`` norm.
        extra: channels of a feature map that belong to no class (the sizes of objects, say); maps only.
    """

    name: str = "conv4"
    channels: int = 1
    size: int = 28
    width: int = 0
    norm: str = "group"
    groups: int = 8
    extra: int = 0

    def __post_init__(self) -> None:
        for name in ("channels", "size", "width", "groups", "extra"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool):
                raise UsageError(f"A learner's {name} is a whole number, got {value!r}.")
        if self.norm not in ("group", "batch"):
            raise unknown("norm", self.norm, ("group", "batch"))
        if self.channels not in (1, 3):
            raise UsageError(f"A learner reads images of 1 or 3 channels, got channels={self.channels}.")
        if self.size < 8:
            raise UsageError(f"Images of {self.size} pixels are too small: use size 8 or more.")
        if self.size > MOST_PIXELS:
            raise UsageError(f"Images of {self.size} pixels a side are too large: use size {MOST_PIXELS} or less.")
        if self.width < 0 or self.groups < 1:
            raise UsageError(f"width must be 0 or more and groups 1 or more, got {self.width} and {self.groups}.")
        if self.extra < 0:
            raise UsageError(f"extra must be 0 or more channels, got {self.extra}.")


class Norm(nn.Module):
    """Normalisation with a scale and a shift per channel, the two tensors that FiLM writes.

    Dumoulin et al., "Feature-wise transformations", 2018 (https://distill.pub/2018/feature-wise-transformations).
    """

    def __init__(self, channels: int, config: LearnerConfig) -> None:
        super().__init__()
        if config.norm == "group" and channels % config.groups:
            raise UsageError(f"{channels} channels do not divide into {config.groups} groups; change width or groups.")
        if config.norm == "group" and channels < 2 * config.groups:
            raise UsageError(
                f"Group norm needs 2 or more channels in each of its {config.groups} groups, but there are {channels} "
                f"channels: of one value it leaves nothing. Use a width of {2 * config.groups} or more."
            )
        self.kind, self.groups = config.norm, config.groups
        self.scale = nn.Parameter(torch.ones(channels))
        self.shift = nn.Parameter(torch.zeros(channels))

    def forward(
        self,
        images: Tensor,
        scale: Tensor,
        shift: Tensor,
        n_tasks: int,
        statistics: batching.Moments | None,
        after: batching.After = batching.NOTHING,
    ) -> tuple[Tensor, batching.Moments | None]:
        """Normalises ``[T*N C H W]``; see :mod:`genmeta.core.batching` for the shapes of ``scale`` and ``shift``."""
        if self.kind == "group":
            return batching.group_norm(images, self.groups, scale, shift, n_tasks, after), None
        return batching.support_batch_norm(images, statistics, scale, shift, n_tasks, after)


class ScaleShift(Norm):
    """``scale · x + shift`` and nothing else: a batch norm with its running statistics folded into the layer before.

    Each image on its own, hence inductive by construction. Of kind ``batch`` it normalises with the support set's
    statistics instead, which undoes the folding: Li, Wang, Shi, Liu, Hou, "Revisiting batch normalization for practical
    domain adaptation", 2016 (https://arxiv.org/abs/1603.04779).
    """

    def __init__(self, scale: Tensor, shift: Tensor, kind: str = "group") -> None:
        nn.Module.__init__(self)
        self.kind = kind
        self.scale, self.shift = nn.Parameter(scale), nn.Parameter(shift)

    def forward(
        self,
        images: Tensor,
        scale: Tensor,
        shift: Tensor,
        n_tasks: int,
        statistics: batching.Moments | None,
        after: batching.After = batching.NOTHING,
    ) -> tuple[Tensor, batching.Moments | None]:
        """Scales and shifts ``[T*N C H W]``, channel by channel."""
        if self.kind == "batch":
            return batching.support_batch_norm(images, statistics, scale, shift, n_tasks, after)
        return batching.modulate(images, scale, shift, n_tasks, after), None


class Pass:
    """One forward pass: looks weights up, written ones before the learner's own, and keeps the norms' statistics."""

    def __init__(
        self,
        learner: Learner,
        weights: Mapping[str, Tensor],
        n_tasks: int,
        given: Statistics | None,
        patches: batching.Patches | None = None,
    ) -> None:
        self._own, self._written = learner.own_weights(), weights
        self._norms = dict(learner.named_modules())
        self.n_tasks, self.given, self.taken = n_tasks, given, Statistics()
        self._patches = patches
        self._precision = learner.precision if learner.training else None
        self._input: Tensor | None = None

    def __getitem__(self, name: str) -> Tensor:
        return self._written[name] if name in self._written else self._own[name]

    def once(self, name: str, compute: Callable[[], Tensor]) -> Tensor:
        """What depends on the images and on no weight that moves, computed once for every set of images."""
        if self._patches is None:
            return compute()
        if name not in self._patches:
            self._patches[name] = compute()
        return self._patches[name]

    def writes(self, prefix: str) -> bool:
        """Whether a tensor named ``prefix...`` is written."""
        return any(name.startswith(prefix) for name in self._written)

    def below(self, learner: Learner, prefix: str) -> Pass:
        """A pass through a learner that is part of this one, its weights named ``prefix...`` here."""
        mine = {n.removeprefix(prefix): w for n, w in self._written.items() if n.startswith(prefix)}
        return Pass(learner, mine, self.n_tasks, None)

    def flat(self, images: Tensor) -> Tensor:
        """The learner's input laid flat, ``[T N C H W] -> [T*N C H W]``; its patches are cut out once and kept."""
        self._input = batching.flat(images)
        return self._input

    def conv(self, name: str, images: Tensor, stride: int = 1) -> Tensor:
        """The convolution called ``name``."""
        kept = self._kept(images)
        return batching.conv2d(images, self[f"{name}.weight"], self.n_tasks, stride, kept, self._precision)

    def _kept(self, images: Tensor) -> batching.Patches | None:
        """What is kept of these images: patches of images that a gradient is wanted for belong to one graph."""
        return self._patches if images is self._input and not images.requires_grad else None

    def block(self, conv: str, norm: str, images: Tensor, *, pool: bool, slope: float) -> Tensor:
        """:meth:`conv` of stride 1, then :meth:`norm`, computed together where that is faster."""
        layer = self._norms[norm]
        if type(layer) is not Norm or self._precision is not None:
            return self.norm(norm, self.conv(conv, images), pool=pool, slope=slope)
        given, after = self.given.get(norm) if self.given else None, batching.After(pool, slope)
        groups = layer.groups if layer.kind == "group" else 0
        tensors = self[f"{conv}.weight"], self[f"{norm}.scale"], self[f"{norm}.shift"]
        out, taken = batching.conv_norm(images, *tensors, self.n_tasks, groups, given, after, self._kept(images))
        if taken is not None:
            self.taken[norm] = taken
        return out

    def norm(self, name: str, images: Tensor, *, pool: bool = False, slope: float = 1.0) -> Tensor:
        """The normalisation called ``name``, then a 2×2 max-pool, then a leaky ReLU of a slope (0: ReLU, 1: none)."""
        layer = self._norms[name]
        given = self.given.get(name) if self.given else None
        after = batching.After(pool, slope)
        out, taken = layer(images, self[f"{name}.scale"], self[f"{name}.shift"], self.n_tasks, given, after)
        if taken is not None:
            self.taken[name] = taken
        return out


class Learner(nn.Module, ABC):
    """The network whose weights are written. Its own parameters are the *base*: what stands where nothing is written.

    Attributes:
        config: how it was built.
        feature_size: ``D``, length of a feature vector.
        gives: ``vector``, one feature vector ``[T N D]`` for each image; or ``map``, ``[T N h w D]``, one for each
            cell of a grid, for images of any size, and behind them ``config.extra`` channels as they come.
        own_convolutions: it has them computed in a way of its own, not by :meth:`Pass.conv`, so ``precision`` says
            nothing to it.
        precision: of the products of convolutions while the learner is in training mode; ``None`` for that of its
            weights. Weights, norms, inner steps and gradients keep theirs.
    """

    config: LearnerConfig
    feature_size: int
    gives: ClassVar[str] = "vector"
    own_convolutions: ClassVar[bool] = False
    precision: torch.dtype | None = None

    @property
    def needs_support_statistics(self) -> bool:
        """Whether query images are normalised with the statistics of a support pass."""
        return self.config.norm == "batch"

    @abstractmethod
    def forward_pass(self, images: Float[Tensor, "T N C H W"], run: Pass) -> Float[Tensor, "T N *hw D"]:
        """Computes raw features, taking every weight from ``run``."""

    def early(self, run: Pass, images: Float[Tensor, "B C H W"]) -> Tensor:
        """The part before :meth:`late`, computed once where only late layers adapt. By default, nothing."""
        return images

    def late(self, run: Pass, maps: Tensor) -> Float[Tensor, "B D"]:
        """Raw features from what :meth:`early` gives."""
        return self.forward_pass(maps.unflatten(0, (run.n_tasks, -1)), run).flatten(0, 1)

    def late_names(self) -> tuple[str, ...]:
        """Names of the tensors that :meth:`late` reads."""
        return tuple(self.own_weights())

    def late_features(
        self, maps: Tensor, n_tasks: int, weights: Mapping[str, Tensor], statistics: Statistics | None = None
    ) -> tuple[Float[Tensor, "T N D"], Statistics]:
        """As :meth:`features`, from the maps ``[T*N ...]`` of :meth:`early`."""
        run = Pass(self, weights, n_tasks, statistics)
        return batching.unit(self.late(run, maps)).unflatten(0, (n_tasks, -1)), run.taken

    def early_maps(self, images: Float[Tensor, "T N C H W"]) -> Tensor:
        """:meth:`early` of the images of a batch of tasks, ``[T*N ...]``, without a graph.

        Raises:
            UsageError: the images are not what the learner was built for.
        """
        self.check(images)
        with torch.no_grad():
            return self.early(Pass(self, {}, images.shape[0], None), batching.flat(images))

    def features(
        self,
        images: Float[Tensor, "T N C H W"],
        weights: Mapping[str, Tensor] | None = None,
        statistics: Statistics | None = None,
        patches: batching.Patches | None = None,
    ) -> tuple[Float[Tensor, "T N *hw D"], Statistics]:
        """Features of the images of a batch of tasks, each centred and of length 1.

        Args:
            images: ``[T N C H W]``, or features ``[T N D]`` of images that were embedded before, which come back.
            weights: written tensors, name -> ``[T *shape]``; names that are absent take the learner's own tensor.
            statistics: of a support pass, for query images; ``None`` for support images. Empty with group norm.
            patches: what earlier passes over the same images have kept for the first convolution, to be added to.

        Returns:
            ``[T N D]`` (of a map ``[T N h w D]`` and the extra channels) and the normalisation statistics of this pass.

        Raises:
            UsageError: the images are not what the learner was built for.
        """
        if images.ndim == 3 and images.shape[2] == self.feature_size and self.gives == "vector":
            if weights and not self.own_weights().keys().isdisjoint(weights):
                raise UsageError("Images that were embedded before have no features under other weights; give images.")
            return images, Statistics()
        self.check(images)
        run = Pass(self, weights or {}, images.shape[0], statistics, patches)
        raw = self.forward_pass(images, run)
        if not self.config.extra:
            return batching.unit(raw), run.taken
        size = self.feature_size
        return torch.cat([batching.unit(raw[..., :size]), raw[..., size:]], -1), run.taken

    def check(self, images: Tensor) -> None:
        """Refuses images that the learner cannot read.

        Raises:
            UsageError: they are not of the shape that it was built for.
        """
        channels, size = self.config.channels, self.config.size
        if self.gives == "map":
            if images.ndim != 5 or images.shape[2] != channels or min(images.shape[3:]) < 8:
                raise UsageError(
                    f"This learner reads images of shape [T N {channels} H W], 8 pixels or larger, got "
                    f"{list(images.shape)}. Open the data with channels={channels}."
                )
        elif images.ndim != 5 or tuple(images.shape[2:]) != (channels, size, size):
            raise UsageError(
                f"This learner reads images of shape [T N {channels} {size} {size}], got {list(images.shape)}. "
                f"Open the data with size={size} and channels={channels}."
            )

    def own_weights(self) -> dict[str, Tensor]:
        """The learner's own tensors by name."""
        return dict(self.named_parameters())

    def written_shapes(self, space: str) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """``(name, shape)`` of the shared tensors that a space (:data:`SPACES`) writes."""
        if space not in SPACES:
            raise unknown("space to generate", space, SPACES)
        film = {
            f"{name}.{part}" for name, m in self.named_modules() if isinstance(m, Norm) for part in ("scale", "shift")
        }
        head = {name for name in self.own_weights() if name.startswith("extra.")}
        wanted = {"rows": set(), "head": head, "film": film | head, "all": set(self.own_weights())}[space]
        return tuple((name, tuple(p.shape)) for name, p in self.named_parameters() if name in wanted)


def init_conv(weight: Tensor, rng: torch.Generator) -> None:
    """Kaiming normal in place, fan-out, from ``rng``."""
    if weight.is_meta:
        return  # only sketched; drawing there would bring torch's compiler along, a second of importing
    fan_out = weight.shape[0] * weight[0, 0].numel()
    with torch.no_grad():
        weight.copy_(torch.randn(weight.shape, generator=rng) * (2.0 / fan_out) ** 0.5)


class Conv(nn.Module):
    """Holds the kernel ``[O C k k]`` of a convolution; :class:`Pass` applies it."""

    def __init__(self, in_channels: int, out_channels: int, rng: torch.Generator, size: int = 3) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, size, size))
        init_conv(self.weight.data, rng)
