"""What a class's row is before anything corrects it."""

from __future__ import annotations

import inspect

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from toys import normals, perturb

import genmeta.generators
from genmeta.core.types import Tokens
from genmeta.generators import ConstantRow, MahalanobisRow, PrototypeRow, RidgeRow, RowBase, WithinClassRow

D, WAYS = 4, 3
BASES = {
    "constant": lambda: ConstantRow(D + 1),
    "prototype": PrototypeRow,
    "ridge": RidgeRow,
    "mahalanobis": lambda: MahalanobisRow(D),
    "within": WithinClassRow,
}
every_base = pytest.mark.parametrize("name", BASES)


def base(name: str) -> RowBase:
    return perturb(BASES[name]().double(), 0.3)


def evidence(n_tasks: int = 2, shots: int = 2) -> tuple[Tensor, Tensor]:
    targets = torch.arange(WAYS).repeat_interleave(shots).expand(n_tasks, -1)
    return normals(n_tasks, WAYS * shots, D), F.one_hot(targets, WAYS).double()


def test_no_base_is_forgotten() -> None:
    public = {thing for thing in vars(genmeta.generators).values() if inspect.isclass(thing)}
    assert {c for c in public if issubclass(c, RowBase) and c is not RowBase} == {
        type(make()) for make in BASES.values()
    }


@every_base
def test_rows_ignore_the_order_of_examples_and_follow_that_of_classes(name: str) -> None:
    rows, (values, membership) = base(name), evidence()
    before = rows(Tokens(values, membership))
    order, classes = torch.tensor([3, 0, 5, 1, 4, 2]), torch.tensor([2, 0, 1])
    assert before.shape == (2, WAYS, D + 1)
    torch.testing.assert_close(rows(Tokens(values[:, order], membership[:, order])), before, rtol=1e-9, atol=1e-9)
    after = rows(Tokens(values, membership[:, :, classes]))
    torch.testing.assert_close(after, before[:, classes], rtol=1e-9, atol=1e-9)


@every_base
def test_tasks_do_not_mix(name: str) -> None:
    rows, (values, membership) = base(name), evidence(3)
    for t in range(3):
        alone = rows(Tokens(values[t : t + 1], membership[t : t + 1]))
        torch.testing.assert_close(rows(Tokens(values, membership))[t], alone[0], rtol=1e-9, atol=1e-9)


@every_base
def test_every_parameter_gets_a_gradient(name: str) -> None:
    rows = base(name)
    (rows(Tokens(*evidence())) ** 3).sum().backward()
    for parameter_name, parameter in rows.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
        assert parameter.grad.abs().max() > 0, parameter_name


def test_prototype_logits_are_squared_distances() -> None:
    rows, (values, membership) = PrototypeRow(0.7).double(), evidence(1)
    got = rows(Tokens(values, membership))[0]
    means, queries = values[0].view(WAYS, -1, D).mean(1), normals(5, D, seed=1)
    logits = queries @ got[:, :-1].t() + got[:, -1]
    distances = torch.cdist(queries, means) ** 2
    torch.testing.assert_close(logits.softmax(1), (-0.7 * distances).softmax(1), rtol=1e-6, atol=1e-6)


def test_ridge_rows_solve_the_normal_equations() -> None:
    rows, (values, membership) = base("ridge"), evidence(1)
    assert isinstance(rows, RidgeRow)
    x = torch.cat([values[0], torch.ones(len(values[0]), 1, dtype=torch.float64)], 1)
    left = x.t() @ x + rows.log_ridge.exp() * torch.eye(D + 1, dtype=torch.float64)
    weights = torch.linalg.solve(left, x.t() @ membership[0]).t() * rows.log_scale.exp()
    weights[:, -1] += rows.bias
    torch.testing.assert_close(rows(Tokens(values, membership))[0], weights, rtol=1e-9, atol=1e-9)


def test_the_constant_row_serves_any_number_of_classes() -> None:
    rows = base("constant")
    for ways in (1, 2, 20):
        out = rows(Tokens(normals(2, 20, D), torch.ones(2, 20, ways)))
        assert out.shape == (2, ways, D + 1)
        assert (out == out[:1, :1]).all()


@every_base
def test_labels_are_needed(name: str) -> None:
    with pytest.raises(TypeError, match="need labelled evidence"):
        base(name)(Tokens(normals(1, 2, D), None))


def _metric(values: Tensor, classes: list[list[int]], ridge: float) -> Tensor:
    """The definition, for one task: ``P ∝ (S / mean S_dd + λ D / n I)⁻¹``."""
    parts = [values[of] - values[of].mean(0) for of in classes]
    n = len(values) - len(classes)
    scatter = sum((part.T @ part for part in parts), torch.zeros(D, D).double()) / n
    metric = torch.linalg.inv(scatter / scatter.diagonal().mean() + ridge * D / n * torch.eye(D).double())
    return metric / metric.diagonal().mean()


@pytest.mark.parametrize("shots", [[3, 2, 2], [1, 2, 1], [9, 9, 9]])
def test_within_class_rows_are_distances_in_the_metric_of_the_scatter(shots: list[int]) -> None:
    """With fewer images than features and with more: both are one system, solved in its smaller form."""
    rows, values = base("within"), normals(1, sum(shots), D)
    labels = torch.repeat_interleave(torch.arange(WAYS), torch.tensor(shots))
    classes = [(labels == k).nonzero()[:, 0].tolist() for k in range(WAYS)]
    metric = _metric(values[0], classes, rows.log_ridge.exp().item())  # type: ignore[operator,union-attr]
    written = rows(Tokens(values, F.one_hot(labels, WAYS).double()[None]))[0]
    query, tau = normals(6, D), rows.log_temperature.exp().item()  # type: ignore[operator,union-attr]
    logits = query @ written[:, :-1].T + written[:, -1]
    gaps = [query - values[0, of].mean(0) for of in classes]
    expected = torch.stack([-tau * ((gap @ metric) * gap).sum(1) for gap in gaps], 1)
    torch.testing.assert_close(logits - logits[:, :1], expected - expected[:, :1], rtol=1e-8, atol=1e-8)


def test_with_one_image_a_class_nothing_scatters() -> None:
    values, membership = normals(2, WAYS, D), torch.eye(WAYS).double().expand(2, -1, -1)
    rows, plain = WithinClassRow().double(), PrototypeRow().double()
    torch.testing.assert_close(rows(Tokens(values, membership)), plain(Tokens(values, membership)))


def test_later_classes_are_written_in_the_metric_of_the_first() -> None:
    rows, (values, membership) = base("within"), evidence(1, shots=4)
    first, later = Tokens(values, membership), Tokens(*evidence(1, shots=2))
    kept = rows.later(first)
    # the first ones again come out as they stand; later ones not as alone, and not otherwise for being many
    torch.testing.assert_close(kept(first), rows(first))
    assert not torch.allclose(kept(later), rows(later))
    alone = Tokens(later.values[:, :2], later.membership[:, :2, :1])  # type: ignore[index]
    torch.testing.assert_close(kept(alone)[:, 0], kept(later)[:, 0])
    for other in ("prototype", "ridge", "mahalanobis"):
        assert not BASES[other]().reads_earlier
        same = base(other)
        assert same.later(first) is same
