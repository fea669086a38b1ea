"""Scores: the same episodes for everyone, and formulas held against independent ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import make_classes, make_learner, make_method, perturb

from genmeta.core.errors import UsageError
from genmeta.core.randomness import seeded
from genmeta.engine import Interval, StepScores, evaluate, fit_temperatures, paired, steps_to_reach
from genmeta.engine.calibration import calibration_error, fit_temperature
from genmeta.engine.evaluation import episodes
from genmeta.generators import ParameterGenerator, Written
from genmeta.methods import METHODS, MetaLearner, meta_learner
from genmeta.methods.diversity import diversity
from genmeta.tasks import ClassificationTasks


def tasks(**changes: object) -> ClassificationTasks:
    return ClassificationTasks(make_classes(), **{"ways": 3, "shots": 1, "queries": 4, **changes})  # type: ignore[arg-type]


def used(name: str, **settings: object) -> MetaLearner:
    return perturb(make_method(name, make_learner(**settings)), 0.1).double().float()


@pytest.mark.parametrize("augment", ["none", "elastic"])
def test_an_episode_does_not_depend_on_the_batch_it_is_in(augment: str) -> None:
    distribution = tasks(augment=augment)
    together = episodes(distribution, 2, 6, seed=3)
    for i in range(4):
        alone = episodes(distribution, 2 + i, 3 + i, seed=3)
        for a, b in zip((*alone.support, *alone.query), (*together.support, *together.query), strict=True):
            assert torch.equal(a[0], b[i])
        assert torch.equal(alone.class_ids[0], together.class_ids[i])
    assert not torch.equal(together.class_ids, episodes(distribution, 2, 6, seed=4).class_ids)


@pytest.mark.parametrize("norm", ["group", "batch"])
@pytest.mark.parametrize("name", ["protonet", "maml", "hypernet", "finetune"])
def test_scores_equal_those_of_one_episode_at_a_time(name: str, norm: str) -> None:
    it, distribution, at = used(name, norm=norm), tasks(), (0, 2)
    scores = evaluate(it, distribution, n_tasks=6, steps=at, seed=5, time_tasks=0)
    assert tuple(scores) == at
    assert not it.training
    for i in range(6):
        task = episodes(distribution, i, i + 1, seed=5)
        with torch.no_grad():
            outputs, *_ = it.answers(task, 2, seeded(0), at=at)
        for step, got in scores.items():
            logits, truth = outputs[step][0].double(), task.query.targets[0]
            assert got.accuracy[i] == (logits.argmax(1) == truth).double().mean().item()
            assert got.nll[i] == pytest.approx(F.cross_entropy(logits, truth).item(), abs=1e-4)
            confidence = logits.softmax(1).max(1).values.numpy()
            np.testing.assert_allclose(got.confidence.reshape(6, 12)[i], confidence, atol=1e-4)
            assert (got.correct.reshape(6, 12)[i] == (logits.argmax(1) == truth).numpy()).all()


def test_more_episodes_do_not_change_the_first_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    it, distribution = used("hypernet"), tasks()
    few, many = (evaluate(it, distribution, n_tasks=n, steps=(1,), time_tasks=0)[1] for n in (3, 80))
    np.testing.assert_allclose(few.nll, many.nll[:3], atol=1e-4)
    monkeypatch.setattr(meta_learner, "IMAGES_PER_CHUNK", 1)
    np.testing.assert_allclose(
        evaluate(it, distribution, n_tasks=3, steps=(1,), time_tasks=0)[1].nll, few.nll, atol=1e-4
    )


@pytest.mark.parametrize("name", METHODS.names())
def test_the_same_seed_scores_the_same(name: str) -> None:
    first, second = (evaluate(used(name), tasks(), n_tasks=3, steps=(0, 1), seed=2, time_tasks=0) for _ in range(2))
    for step in (0, 1):
        assert np.array_equal(first[step].nll, second[step].nll)
        assert np.isfinite(first[step].nll).all()


def test_adaptation_is_timed() -> None:
    scores = evaluate(used("maml"), tasks(), n_tasks=2, steps=(0, 3), time_tasks=3)
    assert 0 < scores[0].seconds < scores[3].seconds < 5
    assert math.isnan(evaluate(used("maml"), tasks(), n_tasks=2, steps=(0,), time_tasks=0)[0].seconds)


def test_what_cannot_be_scored_is_refused() -> None:
    it = used("protonet")
    for wrong in ({"n_tasks": 0}, {"steps": ()}, {"steps": (-1, 2)}):
        with pytest.raises(UsageError, match="Evaluation needs 1 or more tasks and steps of 0 or more, got"):
            evaluate(it, tasks(), **wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="Evaluation needs fixed ways and shots"):
        evaluate(it, tasks(shots="1-3"), n_tasks=20)


# -- several samples of the start -----------------------------------------------------------------------------------


class Noise(ParameterGenerator):
    """Rows of pure noise."""

    def forward(self, context: torch.Tensor, rng: torch.Generator) -> Written:
        values = torch.randn((len(context), self.length), generator=rng)
        return Written(30 * values, context.new_zeros(len(context)))


def random_starts() -> MetaLearner:
    it = used("hypernet")
    it.row_generator = Noise(16, it.spec.row_length)
    return it


def test_probabilities_of_several_samples_are_averaged() -> None:
    it, distribution = random_starts(), tasks()
    got = evaluate(it, distribution, n_tasks=2, steps=(1,), samples=5, seed=4, time_tasks=0)[1]
    task = episodes(distribution, 0, 2, seed=4)
    with torch.no_grad():
        outputs, start, _ = it.answers(task, 1, seeded(4, "start", 0), samples=5)
    assert start.weights["rows"].shape[0] == 10
    each = outputs[1].double().softmax(-1).view(2, 5, 12, 3)
    assert each.std(1).max() > 0.05
    mean = each.mean(1)
    nll = -mean.gather(2, task.query.targets[..., None]).log().mean((1, 2))
    np.testing.assert_allclose(got.nll, nll.numpy(), atol=1e-5)
    np.testing.assert_allclose(got.confidence, mean.max(2).values.flatten().numpy(), atol=1e-5)


def test_a_single_draw_is_scored_beside_the_average() -> None:
    it, distribution = random_starts(), tasks()
    got = evaluate(it, distribution, n_tasks=2, steps=(0, 1), samples=5, seed=4, time_tasks=0)[1]
    task = episodes(distribution, 0, 2, seed=4)
    with torch.no_grad():
        outputs, _, trajectory = it.answers(task, 1, seeded(4, "start", 0), samples=5)
    each, truth = outputs[1].double().log_softmax(-1).view(2, 5, 12, 3), task.query.targets
    assert got.draws is not None
    for i in range(2):
        assert got.draws.nll[i] == pytest.approx(F.nll_loss(each[i, 0], truth[i]).item(), abs=1e-5)
        assert got.draws.accuracy[i] == (each[i, 0].argmax(1) == truth[i]).double().mean().item()
    disagreement = (each[:, 0].argmax(-1) != each[:, 1].argmax(-1)).double().mean().item()
    assert 0 < got.draws.disagreement == pytest.approx(disagreement)
    rows = trajectory[1]["rows"].view(2, 5, 3, -1)
    rows = (rows - rows.mean(2, keepdim=True)).transpose(0, 1)
    assert got.draws.diversity == pytest.approx(diversity(rows), abs=1e-4)
    summary = got.summary()["draws"]
    assert summary["nll_gain"] == pytest.approx((got.draws.nll - got.nll).mean(), abs=1e-4)
    assert summary["accuracy_gain"] == pytest.approx(100 * (got.accuracy - got.draws.accuracy).mean(), abs=1e-3)
    alone = evaluate(it, distribution, n_tasks=2, steps=(1,), samples=1, time_tasks=0)[1]
    assert alone.draws is None
    assert alone.summary()["draws"] is None


def test_scores_after_temperature_scaling() -> None:
    it, distribution = used("protonet"), tasks()
    plain = evaluate(it, distribution, n_tasks=3, steps=(0,), time_tasks=0)[0]
    assert plain.calibrated is None
    found = fit_temperatures(it, distribution, n_tasks=3, steps=(0,))
    best = evaluate(it, distribution, n_tasks=3, steps=(0,), time_tasks=0, temperatures=found)[0].calibrated
    assert best is not None
    assert best.temperature == found[0]
    # fitted on these very tasks, it is the best there is for them
    for other in (0.9 * found[0], 1.1 * found[0], 1.0):
        scores = evaluate(it, distribution, n_tasks=3, steps=(0,), time_tasks=0, temperatures={0: other})[0]
        assert scores.calibrated is not None
        assert scores.calibrated.nll.mean() >= best.nll.mean()
        assert scores.accuracy == pytest.approx(plain.accuracy)
    np.testing.assert_allclose(scores.calibrated.nll, plain.nll, atol=1e-9)
    np.testing.assert_allclose(scores.calibrated.confidence, plain.confidence, atol=1e-9)
    assert scores.summary()["calibrated"]["ece"] == scores.summary()["ece"]


def test_a_known_temperature_is_found() -> None:
    logits = 4 * torch.randn((20000, 5), generator=seeded(0), dtype=torch.float64)
    truth = torch.multinomial((logits / 2.5).softmax(-1), 1, generator=seeded(1))[:, 0]
    assert fit_temperature(logits, truth) == pytest.approx(2.5, rel=0.05)
    # always right: as sharp as it may be; an impossible class does no harm
    certain = torch.tensor([[0.0, -1.0, -math.inf]])
    assert fit_temperature(certain, torch.tensor([0])) == pytest.approx(1 / 50, rel=1e-3)


@pytest.mark.parametrize("samples", [-1, 10**9])
def test_draws_beyond_reason_are_refused(samples: int) -> None:
    with pytest.raises(UsageError, match=f"A prediction averages 1 to 10000 samples of the start, got {samples}"):
        evaluate(used("maml"), tasks(), n_tasks=1, steps=(0,), samples=samples, time_tasks=0)


def test_samples_of_a_start_that_is_not_random_change_nothing() -> None:
    one, many = (evaluate(used("maml"), tasks(), n_tasks=2, steps=(1,), samples=s, time_tasks=0)[1] for s in (1, 3))
    np.testing.assert_allclose(one.nll, many.nll, atol=1e-5)


# -- formulas -------------------------------------------------------------------------------------------------------


def test_the_interval_is_that_of_the_mean() -> None:
    values = np.array([70.0, 80.0, 85.0, 95.0])
    interval = Interval.of(values)
    spread = math.sqrt(sum((v - 82.5) ** 2 for v in values) / 3)
    assert (interval.mean, interval.half_width) == (82.5, pytest.approx(1.96 * spread / 2))
    assert str(interval) == f"82.50 ± {1.96 * spread / 2:.2f}"
    assert math.isnan(Interval.of(np.array([1.0])).half_width)


def test_paired_differences_are_taken_episode_by_episode() -> None:
    first, second = np.array([0.9, 0.5, 0.7]), np.array([0.8, 0.4, 0.6])
    difference = paired(first, second)
    assert difference.mean == pytest.approx(10)
    assert difference.half_width == pytest.approx(0, abs=1e-9)
    with pytest.raises(UsageError, match=r"Paired scores need the same episodes, got \(3,\) and \(2,\)\."):
        paired(first, second[:2])


def plain_calibration_error(confidence: list[float], correct: list[bool]) -> float:
    total = 0.0
    for b in range(15):
        inside = [i for i, c in enumerate(confidence) if b <= c * 15 < b + 1 or (b == 14 and c == 1)]
        if inside:
            accuracy = sum(correct[i] for i in inside) / len(inside)
            mean = sum(confidence[i] for i in inside) / len(inside)
            total += len(inside) / len(confidence) * abs(accuracy - mean)
    return total


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60))
def test_calibration_error(pairs: list[tuple[float, bool]]) -> None:
    confidence, correct = [c for c, _ in pairs], [c for _, c in pairs]
    got = calibration_error(np.array(confidence), np.array(correct))
    assert got == pytest.approx(plain_calibration_error(confidence, correct), abs=1e-12)


def scores(accuracy: list[float], seconds: float) -> StepScores:
    return StepScores(np.array(accuracy), np.array([0.5, 0.7]), np.array([0.6, 0.9]), np.array([True, False]), seconds)


def test_steps_to_reach_an_accuracy() -> None:
    evaluation = {5: scores([0.9, 0.9], 0.5), 0: scores([0.2, 0.4], 0.1), 1: scores([0.6, 0.8], 0.2)}
    assert steps_to_reach(evaluation, 0.3) == (0, 0.1)
    assert steps_to_reach(evaluation, 0.69) == (1, 0.2)
    assert steps_to_reach(evaluation, 0.9) == (5, 0.5)
    assert steps_to_reach(evaluation, 0.95) is None


def test_the_summary_is_in_percent_and_milliseconds() -> None:
    summary = scores([0.6, 0.8], 0.25).summary()
    assert (summary["accuracy"], summary["nll"], summary["adaptation_ms"]) == (70, 0.6, 250)
    assert summary["accuracy_ci95"] == pytest.approx(1.96 * 14.142 / 1.4142, abs=1e-2)
    assert summary["ece"] == pytest.approx(100 * (0.4 + 0.9) / 2)
