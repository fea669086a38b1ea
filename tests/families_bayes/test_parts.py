"""The encoders, the reader, the heads and the particles of the Bayesian families, each against a plain form."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from toys import built, make_learner, make_method, make_task, normals, perturb

from genmeta.core.errors import UsageError
from genmeta.core.randomness import seeded
from genmeta.core.types import ROWS, Start, Tokens
from genmeta.encoders import AttentiveEncoder, AttentiveReader, RelationEncoder
from genmeta.generators import FiLMGenerator, MahalanobisRow, Particles

ENCODERS = {
    "attentive": lambda: perturb(built(lambda: AttentiveEncoder(5, 8, heads=2)), 0.1),
    "relation": lambda: perturb(built(lambda: RelationEncoder(5, 6, code=4, hidden=8)), 0.1),
}
every_encoder = pytest.mark.parametrize("name", ENCODERS)


def tokens(n_tasks: int = 2, ways: int = 3, shots: int = 2) -> Tokens:
    targets = torch.arange(ways).repeat_interleave(shots)
    membership = nn.functional.one_hot(targets, ways).double().expand(n_tasks, -1, -1)
    return Tokens(normals(n_tasks, ways * shots, 5), membership)


@every_encoder
def test_encoders_ignore_the_order_of_examples(name: str) -> None:
    encoder, given = ENCODERS[name](), tokens()
    order = torch.tensor([3, 1, 5, 0, 4, 2])
    assert given.membership is not None
    mixed = encoder(Tokens(given.values[:, order], given.membership[:, order]))
    for a, b in zip(encoder(given), mixed, strict=True):
        torch.testing.assert_close(a, b)


@every_encoder
def test_encoders_follow_the_order_of_classes(name: str) -> None:
    encoder, given = ENCODERS[name](), tokens()
    order = torch.tensor([2, 0, 1])
    assert given.membership is not None
    renamed = encoder(Tokens(given.values, given.membership[..., order]))
    torch.testing.assert_close(renamed.classes, encoder(given).classes[:, order])
    torch.testing.assert_close(renamed.task, encoder(given).task)


@every_encoder
def test_without_labels_there_is_a_task_context_only(name: str) -> None:
    context = ENCODERS[name]()(Tokens(tokens().values, None))
    assert context.classes is None
    assert context.task.isfinite().all()


def test_the_relation_network_compares_every_pair() -> None:
    encoder, given = ENCODERS["relation"](), tokens()
    embedded = encoder.embed(encoder.norm(given.values))

    def relation(n: int, m: int, task: int) -> Tensor:
        weight = torch.cat([encoder.first.weight, encoder.second.weight], 1)
        pair = torch.cat([embedded[task, n], embedded[task, m]])
        return encoder.read(encoder.relate(weight @ pair + encoder.first.bias))

    classes = encoder(given).classes
    for task in range(2):
        for k in range(3):
            want = torch.stack([relation(n, m, task) for n in (2 * k, 2 * k + 1) for m in range(6)]).mean(0)
            torch.testing.assert_close(classes[task, k], want)


def test_the_reader_gives_out_its_strength_and_reads_each_query_alone() -> None:
    reader, given, queries = (
        perturb(built(lambda: AttentiveReader(5, 8, heads=2)), 0.3),
        tokens(),
        normals(2, 4, 5, seed=1),
    )
    read = reader(queries, given)
    torch.testing.assert_close(read.sum(-1), reader.log_strength.exp().expand(2, 4))
    torch.testing.assert_close(reader(queries[:, 1:2], given), read[:, 1:2])
    order = torch.tensor([2, 0, 1])
    assert given.membership is not None
    torch.testing.assert_close(reader(queries, Tokens(given.values, given.membership[..., order])), read[..., order])


@pytest.mark.parametrize("shots", [1, 4])
def test_mahalanobis_rows_are_distances_in_the_inverse_covariance(shots: int) -> None:
    base, given = perturb(built(lambda: MahalanobisRow(5)), 0.5), tokens(shots=shots)
    rows, queries = base(given), normals(2, 7, 5, seed=1)
    mixing, temperature = torch.sigmoid(base.mixing), base.log_temperature.exp()
    for task in range(2):
        values = given.values[task]
        covariance = torch.cov(values.t(), correction=0)
        inverse = (mixing * covariance + (1 - mixing) * torch.eye(5) / 5).inverse()
        means = values.view(3, shots, 5).mean(1)
        away = queries[task][:, None] - means
        want = -0.5 * temperature * torch.einsum("qkd,de,qke->qk", away, inverse, away)
        logits = queries[task] @ rows[task, :, :-1].t() + rows[task, :, -1]
        torch.testing.assert_close(torch.log_softmax(logits, -1), torch.log_softmax(want, -1))


def test_film_without_strength_is_the_base() -> None:
    generator = built(lambda: FiLMGenerator(4, 6, hidden=8, penalty=0.5))
    context = normals(3, 4)
    torch.testing.assert_close(
        generator(context, seeded(0)).cost, torch.full((3,), 0.5 * 6 * 0.01, dtype=torch.float64)
    )
    with torch.no_grad():
        generator.strength.zero_()
    written = generator(context, seeded(0))
    assert (written.values == 0).all()
    assert (written.cost == 0).all()


def test_particles_are_offsets_of_the_base_and_no_more_than_there_are() -> None:
    it, task = make_method("bmaml", make_learner(), options={"particles": 3, "generate": "film"}).double(), make_task()
    writer = it.writer
    assert isinstance(writer, Particles)
    start: Start = it.start(task.support, task.ways, seeded(0))
    rows = start.weights[ROWS].unflatten(0, (3, 3))
    for m in range(3):
        moved = {name: it.learner.own_weights()[name] + offset[m]
                 for name, offset in zip(writer.names, writer.offsets, strict=True)}  # fmt: skip
        for name, value in moved.items():
            torch.testing.assert_close(start.weights[name].unflatten(0, (3, 3))[:, m], value.expand(3, -1))
        # rows are prototypes in the features of their own particle
        features, _ = it.learner.features(task.support.images, {n: value.expand(3, -1) for n, value in moved.items()})
        base = it.row_base(it.vision.tokens(features, task.support.targets, task.ways))
        torch.testing.assert_close(rows[:, m], base * (1 + writer.row_factors[m]))
    fewer = it.start(task.support, task.ways, seeded(0), samples=2).weights[ROWS].unflatten(0, (3, 2))
    torch.testing.assert_close(fewer, rows[:, :2])
    with pytest.raises(UsageError, match="has 3 particles, so it cannot give 4 samples"):
        it.start(task.support, task.ways, seeded(0), samples=4)
