"""The encoder ignores the order of examples, follows the order of classes, and keeps tasks apart."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from toys import built, normals, perturb

from genmeta.core.types import Context, Tokens
from genmeta.encoders import SetEncoder

D, WIDTH, WAYS, N = 5, 8, 3, 7
CLOSE = {"rtol": 1e-10, "atol": 1e-10}
SHAPES = pytest.mark.parametrize("reads_task", [True, False])


def encoder(reads_task: bool = True, counts: bool = False) -> SetEncoder:
    return perturb(built(lambda: SetEncoder(D, WIDTH, heads=2, reads_task=reads_task, counts=counts)), 0.1)


def tokens(n_tasks: int = 2) -> Tokens:
    targets = torch.tensor([[0, 0, 1, 2, 2, 2, 1], [2, 1, 0, 0, 1, 1, 1]])[:n_tasks]
    return Tokens(normals(n_tasks, N, D), F.one_hot(targets, WAYS).double())


def check_same(got: Context, want: Context) -> None:
    torch.testing.assert_close(got.task, want.task, **CLOSE)
    torch.testing.assert_close(got.classes, want.classes, **CLOSE)


@SHAPES
def test_the_order_of_examples_does_not_matter(reads_task: bool) -> None:
    encode, given, order = encoder(reads_task), tokens(), torch.tensor([3, 6, 0, 1, 5, 4, 2])
    assert given.membership is not None
    check_same(encode(Tokens(given.values[:, order], given.membership[:, order])), encode(given))


@SHAPES
def test_classes_follow_their_order_and_the_task_ignores_it(reads_task: bool) -> None:
    encode, given, order = encoder(reads_task), tokens(), torch.tensor([2, 0, 1])
    assert given.membership is not None
    want = encode(given)
    assert want.task.shape == (2, WIDTH)
    assert want.classes is not None
    check_same(
        encode(given._replace(membership=given.membership[..., order])), Context(want.task, want.classes[:, order])
    )
    assert (want.classes[:, 0] - want.classes[:, 1]).abs().max() > 1e-3


def test_tasks_do_not_mix() -> None:
    encode, given = encoder(), tokens()
    assert given.membership is not None
    want = encode(given)
    assert want.classes is not None
    for t in range(2):
        alone = encode(Tokens(given.values[t : t + 1], given.membership[t : t + 1]))
        check_same(alone, Context(want.task[t : t + 1], want.classes[t : t + 1]))


def test_any_number_of_classes_and_one_without_examples() -> None:
    encode = encoder()
    for ways in (1, 2, 20):
        context = encode(Tokens(normals(1, 6, D), F.one_hot(torch.zeros(1, 6, dtype=torch.long), ways).double()))
        assert context.classes is not None
        assert context.classes.shape == (1, ways, WIDTH)
        assert context.classes.isfinite().all()


def test_without_labels_only_the_task_is_summarised() -> None:
    encode = encoder()
    context = encode(Tokens(tokens().values, None))
    assert context.classes is None
    assert context.task.shape == (2, WIDTH)
    assert not torch.equal(context.task[0], context.task[1])


@SHAPES
def test_every_parameter_gets_a_finite_gradient(reads_task: bool) -> None:
    encode = encoder(reads_task)
    context = encode(tokens())
    (context.task.sin().sum() + context.classes.cos().sum()).backward()
    for name, parameter in encode.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


def test_how_much_evidence_there_is_counts_only_where_asked_for() -> None:
    once = tokens()
    assert once.membership is not None
    twice = Tokens(torch.cat([once.values] * 2, 1), torch.cat([once.membership] * 2, 1))
    check_same(encoder()(twice), encoder()(once))
    counting = encoder(counts=True)
    few, many = counting(once), counting(twice)
    assert few.classes is not None
    assert many.classes is not None
    assert (few.classes - many.classes).abs().max() > 1e-3
    # and nothing is said of it before training
    blank = built(lambda: SetEncoder(D, WIDTH, heads=2, counts=True))
    check_same(blank(twice), blank(once))
