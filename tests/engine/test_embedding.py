"""Images that are embedded once give what images embedded anew give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from toys import make_classes, make_learner, make_method, make_task, perturb

from genmeta.core.errors import UsageError
from genmeta.core.randomness import seeded
from genmeta.core.settings import TrainConfig
from genmeta.engine import task_sources, train, training
from genmeta.engine.embedding import embedded
from genmeta.learners import Learner
from genmeta.tasks import ClassificationTasks


def tasks(**changes: Any) -> ClassificationTasks:
    return ClassificationTasks(make_classes(), **{"ways": 3, "shots": "1-2", "queries": 3, **changes})


@pytest.mark.parametrize("turned", [False, True])
def test_features_are_those_of_the_images_of_the_same_tasks(turned: bool) -> None:
    it, distribution = make_method("versa"), tasks(quarter_turns=turned)
    assert distribution.n_images == 6 * 7 * (4 if turned else 1)
    fixed = embedded(it, distribution, 10**6)
    assert fixed is not None
    fixed = fixed.with_queries(2)
    for seed in range(3):
        plain = distribution.with_queries(2).sample(4, rng=seeded(seed))
        found = fixed.sample(4, rng=seeded(seed))
        assert torch.equal(plain.class_ids, found.class_ids)
        for images, features in ((plain.support, found.support), (plain.query, found.query)):
            assert torch.equal(images.targets, features.targets)
            torch.testing.assert_close(it.learner.features(images.images)[0], features.images, atol=1e-5, rtol=1e-5)
        logits = [it.answers(task, 1, seeded(0))[0][1] for task in (plain, found)]
        torch.testing.assert_close(*logits, atol=1e-4, rtol=1e-4)


def test_images_are_embedded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    # a network of its own: features of one that another test has used may be at hand already
    it, seen, forward = make_method("versa", make_learner(seed=7)), [0], Learner.features

    def count(self: Learner, images: torch.Tensor, *rest: Any) -> Any:
        seen[0] += images.shape[1] if images.ndim == 5 else 0
        return forward(self, images, *rest)

    monkeypatch.setattr(Learner, "features", count)
    fixed = embedded(it, tasks(), 10**6)
    assert fixed is not None
    for seed in range(20):
        fixed.sample(4, rng=seeded(seed))
    assert seen == [fixed.n_images]
    # another method on the same learner and images finds them there; other weights do not
    again, data = make_method("leo", make_learner(seed=7)), fixed.data
    same = embedded(again, ClassificationTasks(data, ways=3, shots=1, queries=3), 10**6)
    assert same is not None
    same.sample(4, rng=seeded(0))
    assert seen == [fixed.n_images]
    perturb(again.learner, 0.1)
    other = embedded(again, ClassificationTasks(data, ways=3, shots=1, queries=3), 10**6)
    assert other is not None
    other.sample(4, rng=seeded(0))
    assert seen[0] > fixed.n_images


def test_images_stay_images_where_they_are_needed() -> None:
    assert embedded(make_method("versa"), tasks(), 10) is None  # fewer images than there are
    assert embedded(make_method("versa"), tasks(augment="affine"), 10**6) is None
    assert embedded(make_method("maml", options={"generate": "all"}), tasks(), 10**6) is None
    assert embedded(make_method("versa", make_learner(norm="batch")), tasks(), 10**6) is None
    with pytest.raises(UsageError, match="augment='affine'"):
        tasks(augment="affine").embedded(lambda images: images)
    learner = make_learner()
    name = next(iter(learner.own_weights()))
    with pytest.raises(UsageError, match="no features under other weights"):
        learner.features(torch.zeros(1, 2, learner.feature_size), {name: torch.zeros(1)})


@pytest.mark.parametrize("method", ["hypernet", "weight-vae"])
def test_a_frozen_learner_stays_and_training_on_features_is_that_on_images(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_sources, "open_data", lambda *spec, **settings: make_classes(16))
    options = {"generate": "rows", "context": 8, "hidden": 8} if method == "hypernet" else {
        "context": 8, "hidden": 8, "bank_tasks": 16, "bank_labels": 3
    }  # fmt: skip
    trained = []
    for seen in ("features", "images"):
        config = TrainConfig(
            method, "toy", str(tmp_path / seen), ways="3", queries=2, steps=4, tasks_per_batch=4, width=16,
            validate_every=2, validate_tasks=2, device="cpu", options=options, freeze_learner=True,
        )  # fmt: skip
        if seen == "images":
            monkeypatch.setattr(training, "embedded", lambda *given: None)
        trained.append(train(config, progress=False).meta_learner)
    fresh = training._learner(config, make_classes(16))
    for name, value in fresh.own_weights().items():
        assert torch.equal(value, trained[0].learner.own_weights()[name])
    task = make_task().to(torch.float32)
    answers = [it.answers(task, 1, seeded(0), samples=1)[0][1] for it in trained]
    torch.testing.assert_close(*answers, atol=1e-2, rtol=1e-2)


def test_a_frozen_learner_must_leave_something_to_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_sources, "open_data", lambda *spec, **settings: make_classes(16))
    config = TrainConfig("anil", "toy", str(tmp_path), ways="3", queries=2, steps=2, freeze_learner=True)
    trainable = [p for p in make_method("anil").parameters() if p.requires_grad]
    assert trainable  # anil's row and step sizes
    train(config, progress=False)
