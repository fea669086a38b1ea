"""The work that is timed: tasks, the module that peers get, and the library's meta-learner of the same function."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genmeta.core.randomness import seeded
from genmeta.core.types import Examples, Task
from genmeta.generators import ConstantRow
from genmeta.learners import LearnerConfig, build_learner
from genmeta.learners.base import Statistics
from genmeta.learners.conv4 import Conv4
from genmeta.methods import MetaLearner, build_method
from genmeta.methods.objectives import QueryLoss

LR = 0.1
QUERIES = 15


@dataclass(frozen=True)
class Cell:
    """A cell of the grid."""

    ways: int
    shots: int
    second: bool
    steps: int
    norm: str = "batch"
    tasks: int = 1

    @property
    def name(self) -> str:
        return f"{self.ways}w{self.shots}s"

    @property
    def images(self) -> int:
        """Images embedded in a meta-step: the support set once a step, the queries once."""
        return self.tasks * self.ways * (self.shots * self.steps + QUERIES)


class PeerConv4(nn.Module):
    """Conv4-64 as the peers' examples have it: torch's layers in torch's layout, batch norm of the batch at hand.

    The library's Conv4 has no biases, no ReLU at its end and features of unit length, so this has neither and them too.
    """

    def __init__(self, ways: int, norm: str, width: int = 64) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(1 if i == 0 else width, width, 3, padding=1, bias=False) for i in range(4))
        self.norms = nn.ModuleList(
            nn.BatchNorm2d(width, track_running_stats=False) if norm == "batch" else nn.GroupNorm(8, width)
            for _ in range(4)
        )
        self.classifier = nn.Linear(width, ways)

    def forward(self, images: Tensor) -> Tensor:
        x = images
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            x = norm(conv(x))
            x = F.max_pool2d(F.relu(x) if i < 3 else x, 2)
        x = x.flatten(1)
        x = x - x.mean(-1, keepdim=True)
        return self.classifier(x * torch.rsqrt(x.square().sum(-1, keepdim=True) + 1e-6))


class BatchOfItsOwn(Conv4):
    """Conv4 whose batch norm takes every batch's own statistics, as the peers' does; the library's own never does."""

    needs_support_statistics = False

    def features(
        self,
        images: Tensor,
        weights: dict[str, Tensor] | None = None,
        statistics: Statistics | None = None,
        patches: dict[tuple[int, int], Tensor] | None = None,
    ) -> tuple[Tensor, Statistics]:
        return super().features(images, weights, None, patches)


class RowOfEachClass(ConstantRow):
    """A learned row for each class, as an ordinary classifier has."""

    def __init__(self, ways: int, row_length: int) -> None:
        super().__init__(row_length)
        self.row = nn.Parameter(torch.zeros(ways, row_length))


def task_batch(n_tasks: int, ways: int, shots: int, queries: int = QUERIES, dtype: torch.dtype = torch.float32) -> Task:
    """Random images; the arithmetic is the same for any."""
    rng = seeded(0, "benchmark")

    def examples(each: int) -> Examples:
        targets = torch.arange(ways).repeat_interleave(each).expand(n_tasks, -1).contiguous()
        return Examples(torch.rand(n_tasks, ways * each, 1, 28, 28, generator=rng).to(dtype), targets)

    return Task(examples(shots), examples(queries), ways, torch.zeros(n_tasks, ways, dtype=torch.int64))


def library(cell: Cell) -> MetaLearner:
    """MAML on the same function, from the same weights as :func:`peer`."""
    config = LearnerConfig(norm=cell.norm)
    learner = BatchOfItsOwn(config, seeded(1)) if cell.norm == "batch" else build_learner(config, seeded(1))
    # peers have one step size; the library's row steps grow with the number of classes
    options = {"inner_steps": cell.steps, "first_order": not cell.second, "inner_lr": LR, "row_lr": LR / cell.ways}
    made = build_method("maml", learner, options=options)
    made.row_base = RowOfEachClass(cell.ways, learner.feature_size + 1)
    with torch.no_grad():
        made.row_base.row.copy_(0.1 * torch.randn(made.row_base.row.shape, generator=seeded(2)))
    return made


def peer(cell: Cell, made: MetaLearner) -> PeerConv4:
    """The peers' module with the library's weights."""
    module, own = PeerConv4(cell.ways, cell.norm), made.learner.own_weights()
    with torch.no_grad():
        for i in range(4):
            module.convs[i].weight.copy_(own[f"blocks.{i}.conv.weight"])
        module.classifier.weight.copy_(made.row_base.row[:, :-1])
        module.classifier.bias.copy_(made.row_base.row[:, -1])
    return module


def library_step(made: MetaLearner, task: Task) -> None:
    """One meta-step, back-propagated chunk by chunk as in training."""
    for part in QueryLoss("last").losses(made, task, seeded(0)):
        part.value.backward()


def library_gradients(made: MetaLearner) -> list[Tensor]:
    """Meta-gradients in the order of :func:`peer_gradients`."""
    own = made.learner.own_weights()
    return [*[own[f"blocks.{i}.conv.weight"].grad for i in range(4)], made.row_base.row.grad]


def peer_gradients(module: PeerConv4) -> list[Tensor]:
    """Meta-gradients of kernels and rows."""
    head = module.classifier
    rows = torch.cat([head.weight.grad, head.bias.grad[:, None]], 1)
    return [*[conv.weight.grad for conv in module.convs], rows]
