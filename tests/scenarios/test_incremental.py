"""Class-incremental learning: what a learner may see, what changes when a session comes, and the scores."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from toys import make_classes

from genmeta.core.errors import DataError, DivergenceWarning, UsageError
from genmeta.core.randomness import seeded
from genmeta.engine.embedding import embedded_streams
from genmeta.learners import Learner, LearnerConfig, build_learner
from genmeta.methods import MetaLearner, build_method
from genmeta.methods.sessions_loss import SessionsLoss
from genmeta.scenarios.incremental import (
    IncrementalLearner,
    IncrementalScores,
    incremental_json,
    run_stream,
    score_incremental,
)
from genmeta.scenarios.incremental_learners import Finetuning, WrittenRows
from genmeta.scenarios.protocols import Protocol, incremental_rows, uncorrected
from genmeta.tasks import ClassificationTasks
from genmeta.tasks.sessions import IncrementalTasks, Session


def tiny() -> Learner:
    return build_learner(LearnerConfig("conv4", 1, 12, 16), seeded(0))


def rows_only(name: str) -> MetaLearner:
    options = {"generate": "rows", "row_base": "within" if "within" in name else "prototype"}
    return build_method(name.split(",")[0], tiny(), options=options if "hypernet" in name else {})


def tasks(**changes: int) -> IncrementalTasks:
    settings = {"base_classes": 6, "base_shots": 4, "sessions": 3, "ways": 2, "shots": 2, "queries": 2, **changes}
    return IncrementalTasks(make_classes(40, 8), "train", **settings)


def images_of(session: Session) -> set[bytes]:
    return {image.numpy().tobytes() for image in session.support.images[0]}


def test_a_stream_repeats_no_class_and_no_image() -> None:
    stream = tasks().sample(seeded(3))
    assert stream.seen == (6, 8, 10, 12)
    shown = [images_of(session) for session in stream.sessions]
    asked = {image.numpy().tobytes() for image in stream.query_images}
    assert len(set().union(*shown)) == sum(len(s) for s in shown) == 6 * 4 + 3 * 2 * 2
    assert len(asked) == 12 * 2
    assert not asked & set().union(*shown)
    assert stream.query_targets.bincount().tolist() == [2] * 12


def test_the_same_seed_gives_the_same_stream_and_another_another() -> None:
    first, again, other = (tasks().sample(seeded(seed)) for seed in (3, 3, 4))
    assert torch.equal(first.query_images, again.query_images)
    assert not torch.equal(first.query_images, other.query_images)


def test_another_order_is_the_same_classes_and_images() -> None:
    stream = tasks().sample(seeded(3))
    other = stream.reordered([2, 0, 1])
    assert other.seen == stream.seen
    assert [images_of(s) for s in other.sessions] == [images_of(stream.sessions[at]) for at in (0, 3, 1, 2)]
    # classes 10 and 11 come first now
    assert torch.equal(other.query_images[other.query_targets == 6], stream.query_images[stream.query_targets == 10])
    assert torch.equal(other.query_images[other.query_targets == 8], stream.query_images[stream.query_targets == 6])
    assert torch.equal(other.reordered([1, 2, 0]).query_images, stream.query_images)
    with pytest.raises(UsageError, match="names each of the 3 further sessions once"):
        stream.reordered([0, 1, 1])


@pytest.mark.parametrize("name", ["protonet", "ridge", "hypernet", "hypernet, within"])
def test_the_order_of_sessions_changes_no_row_and_no_answer_at_the_end(name: str) -> None:
    """Rows are written from their own session and the base, so a session's rows are the same whenever it comes."""
    stream = tasks().sample(seeded(0))
    meta_learner = rows_only(name)
    rows, logits = [], []
    for order in ([0, 1, 2], [2, 0, 1], [1, 2, 0]):
        learner = WrittenRows(meta_learner)
        run_stream(learner, stream.reordered(order), seeded(1))
        starts = np.cumsum([0, 6, 2, 2])
        places = [0, *(1 + order.index(at) for at in range(3))]
        numbers = np.concatenate([np.arange(starts[at], starts[at] + (6 if at == 0 else 2)) for at in places])
        rows.append(learner.rows[numbers])
        logits.append(learner.answer(stream.query_images)[:, numbers])
    for row, answer in zip(rows[1:], logits[1:], strict=True):
        torch.testing.assert_close(row, rows[0])
        torch.testing.assert_close(answer, logits[0], rtol=1e-4, atol=1e-4)


def test_base_and_new_classes_may_come_from_different_splits() -> None:
    data = make_classes(40, 8)
    stream = IncrementalTasks(data, "train", base_classes=5, base_shots=2, sessions=2, ways=2, shots=2, queries=1,
                              new_split="test").sample(seeded(0))  # fmt: skip
    pixels = {data.images[i].tobytes(): k for k in range(40) for i in range(data.offsets[k], data.offsets[k + 1])}
    raw = [(s.support.images[0] * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy() for s in stream.sessions]
    found = [{pixels[image.tobytes()] for image in images} for images in raw]
    assert found[0] <= set(data.splits["train"].tolist())
    assert found[1] | found[2] <= set(data.splits["test"].tolist())


def test_the_metric_of_the_base_session_is_what_later_rows_are_written_in() -> None:
    stream, meta_learner = tasks(shots=3).sample(seeded(0)), rows_only("hypernet, within")
    alone, after = WrittenRows(meta_learner), WrittenRows(meta_learner)
    alone.learn(stream.sessions[1], seeded(1))
    for session in stream.sessions[:2]:
        after.learn(session, seeded(1))
    assert not torch.allclose(after.rows[6:], alone.rows)
    # of the base session nothing but the metric is kept, and its bytes count
    assert after.memory_images == 0
    size = tiny().feature_size
    assert after.bytes_per_class == 4 * (size + 1) + 4 * size**2 / 8
    # without what the generator adds, the rows are the closed form
    assert torch.equal(uncorrected(meta_learner).row_base.log_ridge, meta_learner.row_base.log_ridge)  # type: ignore[arg-type]
    assert uncorrected(meta_learner).row_scale.item() == 0 != meta_learner.row_scale.item()


@pytest.mark.parametrize("name", ["protonet", "ridge", "hypernet", "hypernet, within"])
def test_a_session_changes_no_old_row(name: str) -> None:
    learner = WrittenRows(rows_only(name))
    stream = tasks().sample(seeded(0))
    before = None
    for session, seen in zip(stream.sessions, stream.seen, strict=True):
        learner.learn(session, seeded(1))
        assert learner.rows.shape[0] == seen
        assert before is None or torch.equal(learner.rows[: len(before)], before)
        before = learner.rows.clone()
    assert learner.answer(stream.query_images).shape == (24, 12)
    assert learner.memory_images == 0


def test_answers_do_not_depend_on_other_images() -> None:
    learner = WrittenRows(build_method("protonet", tiny()))
    stream = tasks().sample(seeded(0))
    for session in stream.sessions:
        learner.learn(session, seeded(1))
    together = learner.answer(stream.query_images)
    alone = torch.cat([learner.answer(image[None]) for image in stream.query_images])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


def test_shared_weights_cannot_differ_by_session() -> None:
    with pytest.raises(UsageError, match="Train it with --generate rows"):
        WrittenRows(build_method("hypernet", tiny(), options={"generate": "film"}))


def test_finetuning_forgets_and_replay_keeps_what_it_says() -> None:
    learner = tiny()
    plain = score_incremental(lambda: Finetuning(learner, steps=60), tasks(), streams=3)
    replay = score_incremental(lambda: Finetuning(learner, steps=60, memory=2), tasks(), streams=3)
    assert plain.forgetting.mean() > replay.forgetting.mean()
    assert plain.memory_images == 0
    # the memory is what it is said to be, and counts in bytes
    assert replay.memory_images == 12 * 2
    assert replay.bytes_per_class == plain.bytes_per_class + 2 * 12 * 12


def test_finetuning_a_body_leaves_the_given_network_alone() -> None:
    learner = tiny()
    before = {name: value.clone() for name, value in learner.named_parameters()}
    trained = Finetuning(learner, steps=2, body_lr=0.01)
    for session in tasks().sample(seeded(0)).sessions[:2]:
        trained.learn(session, seeded(0))
    assert all(torch.equal(before[name], value) for name, value in learner.named_parameters())


def test_scores_by_hand() -> None:
    by_session = np.array([[[0.9, np.nan, np.nan], [0.8, 0.6, np.nan], [0.7, 0.5, 0.4]]])
    accuracy = np.array([[0.9, 0.7, 0.6]])
    scores = IncrementalScores(
        accuracy, by_session, np.array([[0.01, 0.03]]), 132.0, 0, np.array([[[0.7, 0.6], [0.8, 0.6]]])
    )
    assert scores.average[0] == pytest.approx((0.9 + 0.7 + 0.6) / 3)
    assert scores.drop[0] == pytest.approx(0.3)
    assert scores.forgetting[0] == pytest.approx(((0.9 - 0.7) + (0.6 - 0.5)) / 2)
    assert scores.harmonic_mean[0] == pytest.approx(2 * 0.7 * 0.45 / (0.7 + 0.45))
    summary = scores.summary()
    assert summary["session_ms"] == 20
    assert summary["bytes_per_class"] == 132
    orders = summary["orders"]
    assert orders["average_spread"]["mean"] == 10  # type: ignore[index]
    assert orders["last_spread"]["mean"] == 0  # type: ignore[index]
    written = incremental_json({"a": scores}, "a", {"sessions": 2})
    assert written["schema"] == "genmeta.incremental/1"
    assert written["methods"]["a"]["paired_difference"]["average"]["mean"] == 0  # type: ignore[index]


@pytest.mark.parametrize("make", [lambda: WrittenRows(rows_only("hypernet")), lambda: Finetuning(tiny(), memory=1)])
def test_embedding_each_image_once_changes_no_score(make: Callable[[], IncrementalLearner]) -> None:
    plain = tasks()
    features = embedded_streams(tiny(), plain)
    assert features is not None
    assert features.sample(seeded(3)).query_images.shape == (
        len(plain.sample(seeded(3)).query_images),
        tiny().feature_size,
    )
    with_images, with_features = (
        score_incremental(make, plain, streams=2, orders=2, embedded=each) for each in (None, features)
    )
    np.testing.assert_allclose(with_images.by_session, with_features.by_session)
    np.testing.assert_allclose(with_images.by_order, with_features.by_order)
    # what is stored for a class is counted in images, which are what a memory keeps
    assert with_images.bytes_per_class == with_features.bytes_per_class
    assert with_features.seconds.shape == (1, plain.n_sessions)


def test_orders_are_of_the_same_classes_and_images() -> None:
    scores = score_incremental(lambda: WrittenRows(rows_only("protonet")), tasks(), streams=2, orders=3)
    assert scores.by_order.shape == (2, 3, 2)
    np.testing.assert_allclose(scores.by_order[:, 0], np.stack([scores.average, scores.accuracy[:, -1]], 1))
    # appended rows: the end is the same in whatever order they came
    assert np.ptp(scores.by_order[..., 1], axis=1).max() < 1e-9


def test_a_stream_has_one_order_at_least() -> None:
    with pytest.raises(UsageError, match="orders must be 1 or more, got 0"):
        Protocol("incremental", orders=0)


def test_batch_norm_has_no_features_for_all_sessions() -> None:
    learner = build_learner(LearnerConfig("conv4", 1, 12, 16, "batch"), seeded(0))
    assert embedded_streams(learner, tasks()) is None
    with pytest.raises(UsageError, match="--norm group"):
        WrittenRows(build_method("protonet", learner))


def test_accuracy_weighs_sessions_by_their_classes() -> None:
    stream = tasks().sample(seeded(0))
    learner = WrittenRows(build_method("protonet", tiny()))
    by_session, _ = run_stream(learner, stream, seeded(0))
    right = (learner.answer(stream.query_images).argmax(1) == stream.query_targets).double().mean()
    sizes = np.array([6, 2, 2, 2])
    assert float(right) == pytest.approx((by_session[-1] * sizes).sum() / 12)
    scores = score_incremental(lambda: WrittenRows(build_method("protonet", tiny())), tasks(), streams=2)
    assert np.isnan(scores.by_session[:, 0, 1:]).all()
    assert not np.isnan(scores.accuracy).any()


def test_the_sessions_loss_trains_rows_that_are_appended() -> None:
    meta_learner = rows_only("hypernet")
    distribution = ClassificationTasks(make_classes(40, 8), "train", ways=7, shots=2, queries=2)
    task = distribution.sample(3, rng=seeded(0))
    total = sum(loss.share for loss in SessionsLoss(2).losses(meta_learner, task, seeded(1)))
    assert total == pytest.approx(1)
    for loss in SessionsLoss(2).losses(meta_learner, task, seeded(1)):
        loss.value.backward()
    assert meta_learner.row_generator.write.weight.grad.abs().sum() > 0  # type: ignore[union-attr]


def test_a_session_s_rows_do_not_depend_on_other_sessions() -> None:
    """The loss is that of rows written session by session: the last session's images do not move the base's rows."""
    meta_learner = rows_only("hypernet")
    torch.nn.init.normal_(meta_learner.row_generator.write.weight, generator=seeded(5))  # type: ignore[union-attr]
    stream = tasks().sample(seeded(0))
    rows = []
    for rest in (stream.sessions[1:], stream.sessions[:0:-1]):
        learner = WrittenRows(meta_learner)
        for session in (stream.sessions[0], *rest):
            learner.learn(session, seeded(1))
        rows.append(learner.rows)
    # another order of the sessions gives the same rows in another order
    assert torch.equal(rows[0][:6], rows[1][:6])
    torch.testing.assert_close(rows[0][6:8], rows[1][10:12])


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"base_classes": 200}, "Lower base_classes"),
        ({"queries": 0}, "queries must be 1 or more, got 0"),
        ({"sessions": -1}, "sessions must be 0 or more, got -1"),
    ],
)
def test_bad_protocols_are_refused(changes: dict[str, int], said: str) -> None:
    with pytest.raises((DataError, UsageError), match=said):
        tasks(**changes)


def test_bad_finetuning_is_refused() -> None:
    with pytest.raises(UsageError, match="memory and body_lr of 0 or more"):
        Finetuning(tiny(), memory=-1)
    with pytest.raises(UsageError, match="only rows can be written for them"):
        list(SessionsLoss().losses(
            build_method("hypernet", tiny(), options={"generate": "film"}),
            ClassificationTasks(make_classes(40, 8), "train", ways=4).sample(1, rng=seeded(0)),
            seeded(0),
        ))  # fmt: skip


def test_answers_that_are_not_finite_are_wrong_and_said() -> None:
    class Diverges(WrittenRows):
        def answer(self, images: torch.Tensor) -> torch.Tensor:
            logits = super().answer(images)
            logits[:, 0] = torch.nan  # whose place is what argmax gives
            return logits

    stream = tasks(sessions=1).sample(seeded(0))
    with (
        pytest.warns(DivergenceWarning, match="After session 0 12 of 12 answers are not finite: the learner diverged"),
        pytest.warns(DivergenceWarning, match="After session 1 16 of 16 answers"),
    ):
        scores, _ = run_stream(Diverges(rows_only("protonet")), stream, seeded(1))
    assert np.nanmax(scores) == 0.0


def test_checkpoints_of_other_learners_are_not_scored_together() -> None:
    other = build_method("protonet", build_learner(LearnerConfig("conv4", 1, 16, 16), seeded(0)))
    trained = {
        name: SimpleNamespace(meta_learner=it, method="protonet")
        for name, it in (("one", rows_only("protonet")), ("two", other))
    }
    with pytest.raises(UsageError, match=r"'two' reads other images than 'one': score checkpoints of one learner toge"):
        incremental_rows(trained, "glyphs", Protocol())  # type: ignore[arg-type]
