"""film-transfer on its two heads, its fallback, and what it refuses."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import Ridge
from toys import make_learner, make_method, make_task, perturb

from genmeta.core.errors import UsageError
from genmeta.core.randomness import seeded
from genmeta.core.types import ROWS
from genmeta.methods import build_method, film_transfer
from genmeta.methods.film_transfer import RIDGE, FilmTransfer


def method(**options: object) -> FilmTransfer:
    it = make_method("film-transfer", options=options).double().eval()
    assert isinstance(it, FilmTransfer)
    return it


def test_the_logits_are_cosines_of_both_heads() -> None:
    it, task = perturb(method(), 0.05), make_task(n_tasks=1)
    with torch.no_grad():
        adapted = it.adapt(task.support, task.ways, seeded(0), steps=2)
        got = it.respond(task.query.images, adapted)[0]
    weights = adapted.states[2].weights
    rows, size = weights[ROWS][0], it.learner.feature_size
    written = {name: value for name, value in weights.items() if name != ROWS}
    theta, _ = it.learner.features(task.query.images, written)
    plain, _ = it.learner.features(task.query.images, it.pretrained())
    want = theta[0] @ rows[:, :size].T + plain[0] @ rows[:, size:-1].T + rows[:, -1]
    torch.testing.assert_close(got, want)
    sharp = rows[:, size:-1].norm(dim=-1)
    torch.testing.assert_close(sharp, sharp[:1].expand(3))
    frozen, _ = it.learner.features(task.support.images, it.pretrained())
    wanted = F.one_hot(task.support.targets[0], 3) - 1 / 3
    ridge = Ridge(alpha=RIDGE, fit_intercept=True).fit(frozen[0].detach().numpy(), wanted.numpy())
    directions = F.normalize(torch.from_numpy(ridge.coef_), dim=-1)
    torch.testing.assert_close(rows[:, size:-1], sharp[:, None] * directions, rtol=1e-6, atol=1e-6)


def test_the_pretrained_network_stays_whatever_meta_training_does() -> None:
    it = method(learns="late")
    before = {name: value.clone() for name, value in it.pretrained().items()}
    perturb(it, 0.1)
    assert all(torch.equal(value, before[name]) for name, value in it.pretrained().items())
    assert any(not torch.equal(it.learner.own_weights()[name], value) for name, value in before.items())


def test_a_head_that_tells_the_support_set_apart_is_trusted_more() -> None:
    it, task = method(), make_task(n_tasks=1)

    def trust(weight: float) -> float:
        with torch.no_grad():
            it.fallback.zero_()
            it.fallback[:, 0, 0] = weight
            rows = it.adapt(task.support, task.ways, seeded(0), steps=1).states[1].weights[ROWS]
        return float(rows[0, 0, : it.learner.feature_size].norm())

    # the score is a loss in nats: with a negative weight a large one lowers the sharpness
    assert trust(-0.5) < trust(0.0) < trust(0.5)


def test_kept_weights_stay_and_new_rows_are_written_under_them() -> None:
    it, task = perturb(method(), 0.05), make_task(n_tasks=1)
    more = make_task(n_tasks=1, seed=1)
    with torch.no_grad():
        old = it.adapt(task.support, task.ways, seeded(0), steps=2).states[2].weights
        new = it.adapt(more.support, more.ways, seeded(0), steps=2, kept=old).states[2].weights
    assert all(torch.equal(new[name], value) for name, value in old.items() if name != ROWS)
    assert not torch.equal(new[ROWS], old[ROWS])


def test_what_it_cannot_do_is_refused() -> None:
    with pytest.raises(UsageError, match=r"Unknown part of the network to learn 'everything'\. Known: film, late\."):
        build_method("film-transfer", make_learner(), options={"learns": "everything"})
    task = make_task(n_tasks=1)
    with pytest.raises(UsageError, match=r"writes one start for a support set, got samples=3\."):
        method().adapt(task.support, task.ways, seeded(0), samples=3)


@pytest.mark.parametrize("norm", ["group", "batch"])
def test_a_large_support_set_goes_through_the_network_in_parts(norm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    learner = make_learner(norm=norm).double()
    it = perturb(make_method("film-transfer", learner=learner).double().eval(), 0.05)
    assert isinstance(it, FilmTransfer)
    task = make_task(n_tasks=1)
    with torch.no_grad():
        whole = it.adapt(task.support, task.ways, seeded(0), steps=2).states[2].weights
        monkeypatch.setattr(film_transfer, "TOGETHER", 2)
        parts = it.adapt(task.support, task.ways, seeded(0), steps=2).states[2].weights
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-10, atol=1e-10)
