"""The methods that learn from a bank: short trainings, resumed bit for bit; order of classes; what they log."""

from __future__ import annotations

import json
import math
import signal
from pathlib import Path

import pytest
import torch
from toys import make_classes, make_learner, make_method, make_task, perturb

from genmeta.core.errors import UsageError
from genmeta.core.randomness import seeded
from genmeta.core.settings import TrainConfig
from genmeta.core.types import ROWS
from genmeta.engine import load, task_sources, train
from genmeta.generators import ImplicitGenerator
from genmeta.methods import METHODS, MetaLearner, make_options
from genmeta.methods.adversarial import AdversarialObjective, GANOptions
from genmeta.methods.bank import FILE
from genmeta.methods.bank_objective import BankObjective
from genmeta.methods.objectives import Setting
from genmeta.tasks import ClassificationTasks

NAMES = ["maml-gan", "meta-sgd-gan", "weight-vae", "autoregressive", "diffusion"]
TINY = {"context": 8, "hidden": 8, "bank_tasks": 16, "bank_labels": 3}
every_method = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(autouse=True)
def toy_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_sources, "open_data", lambda *spec, **settings: make_classes(16))


def config(name: str, run: Path, **options: object) -> TrainConfig:
    return TrainConfig(
        method=name,
        data="toy",
        run=str(run),
        ways="3",
        queries=2,
        steps=4,
        tasks_per_batch=2,
        learner="mlp",
        width=16,
        validate_every=2,
        validate_tasks=2,
        device="cpu",
        options={**TINY, **options},
    )


def final(run: Path) -> dict[str, torch.Tensor]:
    """The state after the last step; the checkpoint of a run is its best."""
    state: dict[str, torch.Tensor] = torch.load(run / "last.ckpt", weights_only=True)["module"]
    return state


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


def interrupted(settings: TrainConfig, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """Stops at a step, as Ctrl-C does."""
    begin = BankObjective.begin

    def stop(self: BankObjective, step: int, steps: int) -> None:
        begin(self, step, steps)
        if step == at:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(BankObjective, "begin", stop)
        with pytest.raises(KeyboardInterrupt):
            train(settings, progress=False)


@every_method
@pytest.mark.parametrize("body", ["no", "yes"])
def test_a_resumed_training_is_a_straight_one(
    name: str, body: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"train_body": body, "rebuild_every": 2}
    straight = config(name, tmp_path / "straight", **options)
    train(straight, progress=False)
    resumed = config(name, tmp_path / "resumed", **options)
    interrupted(resumed, monkeypatch, at=2)
    if body == "no":
        (tmp_path / "resumed" / FILE).unlink()  # the bank is a function of the state: it comes back the same
    train(resumed, resume=True, progress=False)
    assert_same(final(tmp_path / "straight"), final(tmp_path / "resumed"))


@every_method
def test_a_trained_checkpoint_answers_as_before_it_was_saved(name: str, tmp_path: Path) -> None:
    trained = train(config(name, tmp_path), progress=False)
    again = load(tmp_path)
    task = make_task().to(torch.float32)
    answers = [it.meta_learner.answers(task, 2, seeded(0), samples=2)[0][2] for it in (trained, again)]
    assert torch.equal(*answers)
    std = dict(again.meta_learner.named_buffers())["row_generator.std"]
    assert not torch.equal(std, torch.ones_like(std)), "the units of the bank are saved"


@every_method
def test_the_body_stays_unless_asked(name: str, tmp_path: Path) -> None:
    for body in ("no", "yes"):
        run = tmp_path / body
        trained = train(config(name, run, train_body=body), progress=False)
        before = make_learner("mlp", width=16, groups=8)
        del trained
        state = {key: value for key, value in final(run).items() if key.startswith("meta_learner.learner.")}
        reference = {key: value for key, value in final(run).items() if key.startswith("objective.reference.")}
        pairs = zip(state.values(), reference.values(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs) == (body == "no")
        assert len(state) == len(before.state_dict())


def used(name: str, **options: object) -> MetaLearner:
    return perturb(make_method(name, options={**TINY, **options}).double(), 0.1).eval()


@every_method
def test_with_its_noise_off_a_method_follows_the_order_of_classes(name: str) -> None:
    it = used(name, **({"truncation": 0} if "gan" in name else {"temperature": 0}))
    task = make_task()
    to = torch.tensor([2, 0, 1])
    renamed = task._replace(support=task.support._replace(targets=to[task.support.targets]))
    with torch.no_grad():
        first, second = (it.answers(t, 2, seeded(seed))[0][2] for seed, t in enumerate((task, renamed)))
    torch.testing.assert_close(second[..., to], first, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["maml-gan", "meta-sgd-gan"])
def test_with_the_noise_of_each_class_moved_along_so_do_random_draws(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    it, task, to = used(name), make_task(n_tasks=1), torch.tensor([2, 0, 1])
    renamed = task._replace(support=task.support._replace(targets=to[task.support.targets]))
    with torch.no_grad():
        first = it.answers(task, 2, seeded(0), samples=1)[0][2]
        latent = ImplicitGenerator.latent
        monkeypatch.setattr(ImplicitGenerator, "latent", lambda *given: latent(*given)[to.argsort()])
        second = it.answers(renamed, 2, seeded(0), samples=1)[0][2]
    torch.testing.assert_close(second[..., to], first, rtol=1e-9, atol=1e-9)


@every_method
def test_draws_differ_and_their_diversity_is_logged(name: str, tmp_path: Path) -> None:
    it = make_method(name, options=TINY).train()
    method = METHODS[name]
    assert method.objective is not None
    sources = (ClassificationTasks(make_classes(), ways=3, queries=2),)
    objective = method.objective(it, make_options(method, TINY), Setting(sources, 0, tmp_path))
    parts = list(objective.losses(it, sources[0].sample(2, rng=seeded(0)), seeded(0)))
    logs = parts[-1].logs | {k: v for part in parts for k, v in part.logs.items()}
    assert 0 < logs["diversity_within"] <= 2
    assert {"loss", "accuracy", "diversity_between", "diversity_cosine_within"} <= logs.keys()
    task = make_task().to(torch.float32)
    rows = it.eval().start(task.support, 3, seeded(0), samples=2).weights[ROWS].unflatten(0, (3, 2))
    assert not torch.allclose(rows[:, 0], rows[:, 1])


def test_weights_of_the_adversary_over_training(tmp_path: Path) -> None:
    it = make_method("maml-gan", options=TINY)
    sources = (ClassificationTasks(make_classes(), ways=3, queries=2),)

    def at(step: int, **options: float) -> tuple[float, float]:
        given = GANOptions(context=8, hidden=8, adv_weight=0.5, match_weight=0.2, **options)  # type: ignore[arg-type]
        objective = AdversarialObjective(it, given, Setting(sources, 0, tmp_path))
        objective.begin(step, 100)
        return objective.weights()

    assert at(0) == (0, pytest.approx(0.2))
    assert at(20)[0] == 0
    assert at(30) == (pytest.approx(0.25), pytest.approx(0.14))
    assert at(40)[0] == pytest.approx(0.5)
    assert at(0, task_weight=0.0)[0] == 0.5  # alone, the adversary has nothing to wait for


def test_the_unconditional_ablation_sees_nothing_of_the_support_set() -> None:
    it, task, other = used("maml-gan", conditional="no"), make_task(), make_task(seed=1)
    with torch.no_grad():
        first, second = (it.start(t.support, 3, seeded(0)).weights[ROWS] for t in (task, other))
    torch.testing.assert_close(first, second)


def test_the_unconditional_adversarial_ablation_trains(tmp_path: Path) -> None:
    settings = {"conditional": "no", "task_weight": 0, "adversary": "hinge"}
    trained = train(config("maml-gan", tmp_path, **settings), progress=False)
    assert trained.config["result"]["steps"] == 4
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert all(math.isfinite(value) for line in lines for value in line.values())
    # both sides of the game were played
    assert {"train_match"} < {name for name in lines[-1] if name.startswith("train_")}


@pytest.mark.parametrize("name", ["maml-gan", "diffusion"])
def test_what_is_kept_is_the_average_of_the_weights(name: str, tmp_path: Path) -> None:
    kept = {}
    for ema in (0.0, 0.999):
        run = tmp_path / str(ema)
        trained = train(config(name, run, ema=ema, train_body="yes"), progress=False)
        last = {k.removeprefix("meta_learner."): v for k, v in final(run).items() if k.startswith("meta_learner.")}
        kept[ema] = trained.meta_learner.state_dict()
        differs = [n for n, _ in trained.meta_learner.named_parameters() if not torch.equal(kept[ema][n], last[n])]
        assert bool(differs) == bool(ema)
    # what training itself does is not touched by it
    assert_same(*({k: v for k, v in final(tmp_path / str(e)).items() if "average" not in k} for e in kept))


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("maml-gan", {"critic_steps": 0}, "critic_steps must be 1 or more"),
        ("maml-gan", {"rebuild_every": 0}, "rebuild_every must be 1 or more"),
        ("maml-gan", {"truncation": -1}, "truncation must be 0 or more, got -1"),
        ("maml-gan", {"ema": 1}, "ema must be 0 or more and below 1, got 1"),
        ("diffusion", {"ema": -0.1}, "ema must be 0 or more and below 1, got -0.1"),
        ("weight-vae", {"temperature": -1}, "temperature must be 0 or more, got -1"),
        ("weight-vae", {"samples": 0}, "samples must be 1 or more, got 0"),
        ("weight-vae", {"task_weight": -1}, "task_weight must be 0 or more"),
        ("autoregressive", {"hidden": 10, "heads": 4}, "multiple of heads"),
        ("diffusion", {"sampling_steps": 200}, "sampling_steps <= levels"),
    ],
)
def test_settings_that_cannot_work_are_refused(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_options(METHODS[name], options)
