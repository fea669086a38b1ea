"""The bank: many labels, no query image, the same every time, fresh or built anew."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from toys import make_classes, make_learner, make_method, normals

from genmeta.core.errors import DataError, UsageError
from genmeta.core.randomness import seeded
from genmeta.core.types import Task
from genmeta.generators import ImplicitGenerator
from genmeta.learners import Learner
from genmeta.methods import METHODS, make_options
from genmeta.methods.bank import FILE, BankConfig, WeightBank, learner_hash
from genmeta.methods.bank_fit import PENALTIES, Scaling, choose_penalty, fit_rows, held_out_loss
from genmeta.methods.bank_objective import BankObjective
from genmeta.methods.diversity import centred, diversity
from genmeta.methods.objectives import Setting
from genmeta.tasks import ClassificationTasks

CONFIG = BankConfig(tasks=16, labels=4, steps=30)


def sources(**settings: object) -> tuple[ClassificationTasks, ...]:
    return (ClassificationTasks(make_classes(n_images=9), **{"ways": 3, "shots": 1, "queries": 2, **settings}),)


def bank(directory: Path, learner: Learner | None = None, config: BankConfig = CONFIG) -> WeightBank:
    return WeightBank(learner or make_learner(), sources(), config, directory)


def same(first: WeightBank, second: WeightBank) -> bool:
    pairs = zip(first.groups, second.groups, strict=True)
    return all(torch.equal(a, b) for one, other in pairs for a, b in zip(one, other, strict=True))


def test_it_is_a_function_of_learner_data_and_settings(tmp_path: Path) -> None:
    first, second = bank(tmp_path / "a"), bank(tmp_path / "b")
    assert first.built
    assert second.built
    assert same(first, second)
    assert first.penalty == second.penalty
    other = bank(tmp_path / "c", config=BankConfig(tasks=16, labels=4, steps=30, seed=1))
    assert not same(first, other)


def test_it_is_read_back_while_it_is_fresh(tmp_path: Path) -> None:
    first = bank(tmp_path)
    second = bank(tmp_path)
    assert not second.built
    assert same(first, second)
    assert first.penalty == second.penalty


@pytest.mark.parametrize("config", [BankConfig(16, 3, 30), BankConfig(16, 4, 31), BankConfig(16, 4, 30, seed=7)])
def test_other_settings_build_another(tmp_path: Path, config: BankConfig) -> None:
    bank(tmp_path)
    assert bank(tmp_path, config=config).built


def test_another_learner_builds_another(tmp_path: Path) -> None:
    learner = make_learner()
    first, before = bank(tmp_path, learner), learner_hash(learner)
    with torch.no_grad():
        next(learner.parameters()).view(-1)[0] += 0.5
    assert learner_hash(learner) != before
    second = bank(tmp_path, learner)
    assert second.built
    assert not same(first, second)


@pytest.mark.parametrize("damage", ["truncated", "one byte", "empty", "not a bank"])
def test_a_damaged_file_is_built_anew(tmp_path: Path, damage: str) -> None:
    first = bank(tmp_path)
    file = tmp_path / FILE
    content = bytearray(file.read_bytes())
    if damage == "one byte":
        content[-40] ^= 1  # in the tensors, where safetensors itself would not notice
    changed = {"truncated": content[: len(content) // 2], "one byte": content, "empty": b"", "not a bank": b"x" * 99}
    file.write_bytes(changed[damage])
    second = bank(tmp_path)
    assert second.built
    assert same(first, second)
    assert not bank(tmp_path).built


def test_no_query_image_is_ever_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All images are different, so each can be followed: what a bank's rows saw are its own tasks' images alone."""
    drawn: list[Task] = []
    sample = ClassificationTasks.sample

    def watch(self: ClassificationTasks, n: int, *, rng: torch.Generator) -> Task:
        drawn.append(sample(self, n, rng=rng))
        return drawn[-1]

    monkeypatch.setattr(ClassificationTasks, "sample", watch)
    learner = make_learner()
    embedded: list[torch.Tensor] = []
    features = type(learner).features

    def note(self: Learner, images: torch.Tensor, *rest: object) -> object:
        embedded.append(images)
        return features(self, images, *rest)

    monkeypatch.setattr(type(learner), "features", note)
    built = WeightBank(learner, sources(), CONFIG, tmp_path)
    (task,) = drawn
    keys = [{image.numpy().tobytes() for image in images} for images in (task.support.images[0], task.query.images[0])]
    assert not keys[0] & keys[1], "support and further labels are different images"
    seen = {image.numpy().tobytes() for images in embedded for image in images.flatten(0, 1)}
    own = {image.numpy().tobytes() for part in task[:2] for image in part.images.flatten(0, 1)}
    assert seen == own
    # an episode of a meta-batch is another draw: building takes no task from outside and so cannot see its queries
    assert built.groups[0].features.shape[:2] == (16, 3)


def test_an_episodes_query_images_change_nothing_in_the_bank(tmp_path: Path) -> None:
    it, options = make_method("weight-vae").train(), make_options(METHODS["weight-vae"], {"bank_tasks": 16})
    objective = BankObjectives.of(it, options, tmp_path / "a")
    other = BankObjectives.of(it, options, tmp_path / "b")
    task = sources()[0].sample(2, rng=seeded(0))
    blank = task._replace(query=task.query._replace(images=torch.zeros_like(task.query.images)))
    for which, seen in ((objective, task), (other, blank)):
        list(which.losses(it, seen, seeded(1)))
    assert same(objective.bank(it), other.bank(it))


class BankObjectives:
    """Objectives of methods with a bank."""

    @staticmethod
    def of(it: object, options: object, directory: Path, name: str = "weight-vae") -> BankObjective:
        objective = METHODS[name].objective
        assert objective is not None
        made = objective(it, options, Setting(sources(), 0, directory))
        assert isinstance(made, BankObjective)
        return made


def test_classes_without_spare_images_are_refused(tmp_path: Path) -> None:
    few = (ClassificationTasks(make_classes(n_images=3), ways=3, shots=2, queries=1),)
    WeightBank(make_learner(), few, CONFIG, tmp_path)  # one image is enough
    source = few[0]
    source.shots = type(source.shots)(3, 3)
    with pytest.raises(DataError, match=r"needs 4 or more images of each class.*--shots"):
        WeightBank(make_learner(), few, CONFIG, tmp_path)


def test_settings_below_one_are_refused() -> None:
    with pytest.raises(UsageError, match="1 or more tasks, labels and steps"):
        BankConfig(tasks=0)


# -- the fit --------------------------------------------------------------------------------------------------------


def toy_features(n_tasks: int = 2, n: int = 40, size: int = 4, ways: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    targets = torch.arange(n).remainder(ways).expand(n_tasks, n)
    centres = normals(n_tasks, ways, size, seed=3)
    return centres.gather(1, targets[..., None].expand(-1, -1, size)) + normals(n_tasks, n, size), targets


def test_the_fit_is_the_minimum() -> None:
    features, targets = toy_features()
    scaling, penalty = Scaling.of(features), 1e-2
    rows = fit_rows(features, F.one_hot(targets, 3), scaling, penalty, 3000)
    scaled = ((features - scaling.mean) / scaling.scale).requires_grad_(False)
    weights = (rows[..., :-1] * scaling.scale).requires_grad_()
    bias = (rows[..., -1] + rows[..., :-1] @ scaling.mean).requires_grad_()
    logits = scaled @ weights.transpose(1, 2) + bias[:, None]
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
    loss = loss + 0.5 * penalty * weights.square().sum() / len(features)
    for gradient in torch.autograd.grad(loss, (weights, bias)):
        assert gradient.abs().max() < 1e-7


def test_the_fit_follows_the_order_of_classes_and_not_that_of_examples() -> None:
    features, targets = toy_features()
    scaling = Scaling.of(features)
    rows = fit_rows(features, F.one_hot(targets, 3), scaling, 1e-3, 50)
    to = torch.tensor([2, 0, 1])
    torch.testing.assert_close(fit_rows(features, F.one_hot(to[targets], 3), scaling, 1e-3, 50)[:, to], rows)
    order = torch.randperm(40, generator=seeded(0))
    torch.testing.assert_close(fit_rows(features[:, order], F.one_hot(targets, 3)[:, order], scaling, 1e-3, 50), rows)


def test_the_penalty_is_the_one_that_predicts_best() -> None:
    features, targets = toy_features()
    scaling = Scaling.of(features)
    shares = F.one_hot(targets, 3).double()
    chosen = choose_penalty(features, F.one_hot(targets, 3), 12, scaling, 50)
    losses = {
        p: held_out_loss(
            features[:, -12:], shares[:, -12:], fit_rows(features[:, :-12], shares[:, :-12], scaling, p, 50)
        )
        for p in PENALTIES
    }
    assert losses[chosen] == min(losses.values())
    assert len(set(losses.values())) == len(PENALTIES)


# -- units ----------------------------------------------------------------------------------------------------------


def test_standardising_is_undone() -> None:
    with torch.random.fork_rng(devices=[]):
        generator = ImplicitGenerator(4, 6).double()
    rows = 3 + 5 * normals(50, 6)
    generator.set_statistics(rows.mean(0), rows.std(0))
    u = generator.standardise(rows)
    torch.testing.assert_close(u.mean(0), torch.zeros(6, dtype=torch.float64), atol=1e-12, rtol=0)
    torch.testing.assert_close(u.std(0), torch.ones(6, dtype=torch.float64))
    torch.testing.assert_close(generator.restore(u), rows)


def test_bank_rows_plus_base_predict_as_the_bank(tmp_path: Path) -> None:
    """The generator's target, put where the generator's output goes, answers as θ* does."""
    it = make_method("weight-vae").train()
    objective = BankObjectives.of(it, make_options(METHODS["weight-vae"], {"bank_tasks": 16}), tmp_path)
    rows = objective.rows(it, seeded(0))
    group = rows.group
    base = it.row_base(it.vision.tokens(group.features, group.targets, group.ways))
    written = it.row_generator.restore(rows.real).unflatten(0, (-1, group.ways))
    got = it.vision.outputs(group.features, base + written).log_softmax(-1)
    want = it.vision.outputs(group.features, group.rows).log_softmax(-1)
    torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-4)
    assert 0.5 < rows.real.square().mean() < 1.5


def test_centring_and_diversity() -> None:
    rows = normals(6, 4)
    assert centred(rows, 3).unflatten(0, (2, 3)).sum(1).abs().max() < 1e-12
    ignored = normals(1, 8, 3, 4).expand(2, 8, 3, 4)  # the noise is ignored
    numbers = diversity(ignored)
    assert numbers["diversity_within"] == pytest.approx(0)
    assert numbers["diversity_between"] == pytest.approx(1)
    assert numbers["diversity_cosine_within"] == pytest.approx(1)
    noise = diversity(normals(2, 4000, 1, 3))  # the context is ignored
    assert noise["diversity_within"] == pytest.approx(1, abs=0.05)
    assert abs(noise["diversity_cosine_between"]) < 0.05
