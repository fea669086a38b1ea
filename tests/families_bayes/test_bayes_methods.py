"""The Bayesian recipes beyond the laws of every method: their options, their objectives, their randomness."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
import torch
from toys import make_classes, make_learner, make_method, make_task, perturb

from genmeta.core.errors import UsageError
from genmeta.core.randomness import seeded
from genmeta.core.types import Examples, Task
from genmeta.engine.checkpoint import learner_header, load, save_model
from genmeta.methods import METHODS, MetaLearner, build_method, make_options
from genmeta.methods.anpml import PosteriorMatching
from genmeta.methods.objectives import Objective, Setting
from genmeta.tasks import ClassificationTasks

TINY = {"context": 8, "hidden": 8, "code": 4, "latent": 4, "latent_steps": 2, "row_steps": 1}
NAMES = ("versa", "bmaml", "leo", "cnaps", "abml", "anpml")
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("versa", {"generate": "film", "samples": 3}),
    ("versa", {"generate": "all", "samples": 2, "inner_steps": 1}),
    ("versa", {"row_base": "constant", "samples": 3, "kl_weight": 0.0}),
    ("bmaml", {"generate": "film", "particles": 3}),
    ("bmaml", {"generate": "all", "particles": 2, "row_base": "constant", "spread": 0.3}),
    ("bmaml", {"generate": "all", "particles": 2, "loss": "chaser"}),
    ("bmaml", {"particles": 3, "first_order": True}),
    ("leo", {"row_base": "constant"}),
    ("leo", {"row_steps": 0, "first_order": True}),
    ("cnaps", {"head": "linear"}),
    ("cnaps", {"head": "prototype", "inner_steps": 1}),
    ("abml", {"generate": "film", "samples": 3}),
    ("abml", {"generate": "all", "samples": 2, "row_base": "constant"}),
    ("abml", {"generate": "film", "samples": 3, "moves": "draws"}),
    ("anpml", {"row_base": "constant", "samples": 2}),
    ("anpml", {"prior_weight": 0.0}),
]
every = pytest.mark.parametrize("name", NAMES)
variants = pytest.mark.parametrize("name, options", VARIANTS, ids=lambda v: v if isinstance(v, str) else "-".join(v))


def made(name: str, **options: Any) -> MetaLearner:
    return make_method(name, make_learner(), options={**TINY, **options})


def objective_of(it: MetaLearner, name: str, directory: Path, **options: Any) -> tuple[Objective, ClassificationTasks]:
    tasks = ClassificationTasks(make_classes(), ways=3, shots=2, queries=2)
    method = METHODS[name]
    assert method.objective is not None
    return method.objective(it, make_options(method, options), Setting((tasks,), 0, directory)), tasks


@variants
def test_every_parameter_of_a_variant_gets_a_finite_gradient(
    name: str, options: dict[str, Any], tmp_path: Path
) -> None:
    it = made(name, **options).double()
    objective, tasks = objective_of(it, name, tmp_path, **options)
    named = [(n, p) for n, p in it.named_parameters() if p.requires_grad]
    optimizer = torch.optim.Adam([p for _, p in named], lr=0.002)
    reached: dict[str, float] = {}
    for step in range(3):
        optimizer.zero_grad()
        for part in objective.losses(it, tasks.sample(2, rng=seeded(step)).to(torch.float64), seeded(step)):
            part.value.backward()
        for parameter_name, parameter in named:
            if parameter.grad is not None:
                assert parameter.grad.isfinite().all(), parameter_name
                reached[parameter_name] = max(reached.get(parameter_name, 0.0), parameter.grad.abs().max().item())
        optimizer.step()
    assert {n for n, _ in named if reached.get(n, 0.0) < 1e-14} == set()


@variants
def test_meta_steps_of_a_variant_lower_the_loss(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    it = made(name, **options)
    objective, tasks = objective_of(it, name, tmp_path, **options)
    task = tasks.sample(2, rng=seeded(0))
    optimizer = torch.optim.Adam([p for p in it.parameters() if p.requires_grad], lr=0.003)
    losses = []
    for step in range(16):
        optimizer.zero_grad()
        total = 0.0
        for part in objective.losses(it, task, seeded(step)):
            part.value.backward()
            key = "distance" if options.get("loss") == "chaser" else "loss"
            total += part.logs[key] * part.share
        losses.append(total)
        optimizer.step()
    assert sum(losses[-3:]) < 0.95 * sum(losses[:3])


@every
def test_saved_and_loaded_it_answers_the_same(name: str, tmp_path: Path) -> None:
    learner, task = make_learner(), make_task().to(torch.float32)
    options = {key: value for key, value in TINY.items() if hasattr(METHODS[name].options(), key)}
    it = perturb(build_method(name, learner, options=options), 0.1).eval()
    save_model(
        tmp_path / "m.safetensors", it, {"method": name, "options": options, "learner": learner_header(learner.config)}
    )
    again = load(tmp_path / "m.safetensors").meta_learner
    with torch.no_grad():
        answers = [model.answers(task, model.inner_steps, seeded(7))[0][model.inner_steps] for model in (it, again)]
    assert torch.equal(*answers)


def averaged(it: MetaLearner, task: Task, draws: int) -> torch.Tensor:
    """Probabilities over so many draws."""
    steps = it.inner_steps
    with torch.no_grad():
        outputs, *_ = it.answers(task, steps, seeded(9), samples=draws)
        return it.pooled(outputs[steps], task.n_tasks).exp()


@pytest.mark.parametrize("name", ["versa", "abml", "anpml"])
def test_relabelling_relabels_the_distribution_of_answers(name: str) -> None:
    # the noise of a row depends on its place, its distribution does not
    it = perturb(made(name).double(), 0.05).eval()
    task, to = make_task(n_tasks=1), torch.tensor([2, 0, 1])
    renamed = task._replace(support=Examples(task.support.images, to[task.support.targets]))
    draws = 400
    before, after = averaged(it, task, draws), averaged(it, renamed, draws)[..., to]
    torch.testing.assert_close(before, after, rtol=0, atol=4 / draws**0.5 * 0.5)
    assert not torch.equal(before, after)


def test_spread_shows_in_the_pooled_answer() -> None:
    it, task = perturb(made("versa", row_base="constant").double(), 0.05).eval(), make_task(n_tasks=1)
    entropies = []
    for draws in (1, 100):
        p = averaged(it, task, draws)
        entropies.append(-(p * p.log()).sum(-1).mean())
    assert entropies[1] > entropies[0]


@pytest.mark.parametrize("name", ["versa", "anpml"])
def test_noise_begins_at_a_size_that_answers_feel(name: str) -> None:
    """A row of noise moves a logit by as much as one of its weights, since features have length 1."""
    task = make_task().to(torch.float32)
    spread = {}
    for scale in (0.1, 1.0):
        it = make_method(name, make_learner(), options={**TINY, "row_scale": scale}).eval()
        with torch.no_grad():
            outputs = it.answers(task, 0, seeded(0), samples=50)[0][0]
        spread[scale] = outputs.unflatten(0, (3, 50)).std(1).mean().item()
        assert it.row_scale.item() == pytest.approx(scale)
    assert spread[1.0] == pytest.approx(10 * spread[0.1], rel=1e-3)
    assert make_options(METHODS[name], {}).row_scale == 1.0


def test_particles_stay_apart_while_they_adapt() -> None:
    it, task = made("bmaml", repulsion=1.0).double().eval(), make_task()
    with torch.no_grad():
        *_, trajectory = it.answers(task, 3, seeded(0))
    rows = trajectory[-1]["rows"].unflatten(0, (3, 5)).flatten(2)
    for task_rows in rows:
        assert torch.pdist(task_rows).min() > 1e-2


def test_the_posterior_sees_the_query_set_and_the_answer_does_not() -> None:
    it, task = made("anpml").double(), make_task()
    other = task._replace(query=make_task(seed=5).query)
    evidence = [t.support.joined(t.query) for t in (task, other)]
    with torch.no_grad():
        rows = [it.answers(task, 0, seeded(1), evidence=e)[2][0]["rows"] for e in evidence]
        plain = [it.answers(t, 0, seeded(1))[2][0]["rows"] for t in (task, other)]
    assert not torch.equal(*rows)
    assert torch.equal(*plain)


def test_the_divergence_warms_up() -> None:
    objective = PosteriorMatching(0.1, 0.5)
    warmth = []
    for step in (0, 4, 9, 99):
        objective.begin(step, 50)
        warmth.append(objective.warmth)
    assert warmth == [0.1, 0.5, 1.0, 1.0]


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("bmaml", {"loss": "mse"}, "Unknown loss 'mse'"),
        ("bmaml", {"loss": "chaser"}, "needs generate='all', got 'rows'"),
        ("bmaml", {"row_base": "constant"}, "gives equal particles"),
        ("bmaml", {"particles": 0}, "1 particle or more, got 0"),
        ("cnaps", {"head": "quadratic"}, "Unknown head 'quadratic'"),
        ("leo", {"latent_steps": 0}, "latent_steps of 1 or more"),
        ("abml", {"sigma": 0.0}, "must be above 0, got 0.0"),
    ],
)
def test_options_that_do_not_go_together_are_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        made(name, **options)


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("anpml", {"prior_weight": 1.5}, "from 0 to 1, got 1.5"),
        ("bmaml", {"generate": "all", "loss": "chaser", "leader_steps": 0}, "ahead by 1 step or more"),
    ],
)
def test_objectives_check_their_options(name: str, options: dict[str, Any], message: str, tmp_path: Path) -> None:
    it = made(name, **options)
    with pytest.raises(UsageError, match=message), contextlib.suppress(StopIteration):
        objective_of(it, name, tmp_path, **options)
