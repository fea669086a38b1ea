"""Domains: what an unlabelled protocol can see, what is trained and scored, and the numbers."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from genmeta.core.errors import DataError, UsageError
from genmeta.core.randomness import lent_to_torch, seeded
from genmeta.core.settings import EvaluationConfig, TrainConfig
from genmeta.core.types import IGNORE
from genmeta.data.domains import DomainImages, open_domains
from genmeta.data.styles import written
from genmeta.encoders import NormStatisticsEncoder, SetEncoder
from genmeta.engine import load, train
from genmeta.engine.evaluation import episodes
from genmeta.learners import LearnerConfig, build_learner
from genmeta.methods import DOMAIN_METHODS, MetaLearner, build_method
from genmeta.reports.scenarios import domain_table
from genmeta.scenarios import score
from genmeta.scenarios.domain import DomainScores, domain_json, score_domains, worst_difference
from genmeta.scenarios.domain_check import Check, check_domains, estimated_accuracy, source_threshold
from genmeta.scenarios.protocols import Protocol, domain_rows
from genmeta.tasks.domains import DomainTasks
from genmeta.vision import DomainClassification


def toy(n_domains: int = 3, n_classes: int = 3, each: int = 12) -> DomainImages:
    """Random images, one colour a class, brightness by domain."""
    random = np.random.default_rng(0)
    domains = np.repeat(np.arange(n_domains), n_classes * each)
    labels = np.tile(np.repeat(np.arange(n_classes), each), n_domains)
    images = random.integers(0, 60, (len(domains), 12, 12, 1)) + 60 * labels[:, None, None, None]
    return DomainImages(
        "toy",
        (images + 10 * domains[:, None, None, None]).clip(0, 255).astype(np.uint8),
        domains,
        labels,
        tuple(f"d{g}" for g in range(n_domains)),
        tuple(f"c{k}" for k in range(n_classes)),
    )


#: Every method, and the generator once more on top of batch statistics.
EACH = (*DOMAIN_METHODS.names(), "domain-film, batch norm")


def tiny(name: str, **options: object) -> MetaLearner:
    name, _, batch = name.partition(", ")
    norm = "batch" if batch or name in ("arm-bn", "tent") else "group"
    learner = build_learner(LearnerConfig("conv4", 1, 12, 16, norm), seeded(0))
    return build_method(name, learner, vision=DomainClassification(), options={"classes": 3, **options})


def test_an_unlabelled_task_holds_no_support_label() -> None:
    task = DomainTasks(toy(), np.array([0, 1]), shots=5, queries=4).sample(4, rng=seeded(0))
    assert (task.support.labels == IGNORE).all()
    assert (task.query.labels != IGNORE).all()
    told = DomainTasks(toy(), np.array([0, 1]), shots=5, queries=4, labelled=True).sample(4, rng=seeded(0))
    assert (told.support.labels != IGNORE).all()
    assert torch.equal(told.support.images, task.support.images)


@pytest.mark.parametrize("name", EACH)
def test_answers_cannot_depend_on_support_labels(name: str) -> None:
    """The protocol hides them; and were they not hidden, only their own loss could use them."""
    meta_learner = tiny(name)
    task = DomainTasks(toy(), np.array([0, 1]), shots=6, queries=4).sample(2, rng=seeded(0))
    first, *_ = meta_learner.answers(task, 1, seeded(1))
    changed = task._replace(support=task.support._replace(targets=torch.full_like(task.support.labels, IGNORE)))
    second, *_ = meta_learner.answers(changed, 1, seeded(1))
    assert torch.equal(first[1], second[1])


@pytest.mark.parametrize("name", EACH)
def test_a_query_image_alone_is_answered_as_among_others(name: str) -> None:
    meta_learner = tiny(name).eval()
    task = DomainTasks(toy(), np.array([1]), shots=6, queries=4).sample(1, rng=seeded(0))
    together, *_ = meta_learner.answers(task, 0, seeded(1))
    alone = task._replace(query=type(task.query)(task.query.images[:, :1], task.query.labels[:, :1]))
    one, *_ = meta_learner.answers(alone, 0, seeded(1))
    torch.testing.assert_close(one[0], together[0][:, :1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", EACH)
def test_every_method_trains_every_parameter(name: str) -> None:
    meta_learner = tiny(name)
    with torch.no_grad(), lent_to_torch(seeded(3)):
        for parameter in meta_learner.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    method = DOMAIN_METHODS[name.partition(", ")[0]]
    objective = method.objective(meta_learner, method.options(classes=3), None)  # type: ignore[misc,arg-type]
    task = DomainTasks(toy(), np.arange(3), shots=6, queries=4).sample(4, rng=seeded(0))
    for loss in objective.losses(meta_learner, task, seeded(1)):
        loss.value.backward()
    silent = {n for n, p in meta_learner.named_parameters() if p.requires_grad and p.grad is None}
    # class contexts are read only where there are labels
    assert all(
        n.startswith(("encoder.attention", "encoder.read.", "encoder.encoder.attention", "encoder.encoder.read."))
        for n in silent
    ), silent


def test_behind_batch_norm_the_domain_is_read_from_its_channel_statistics() -> None:
    meta_learner = tiny("domain-film, batch norm")
    with torch.no_grad(), lent_to_torch(seeded(3)):
        for parameter in meta_learner.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    task = DomainTasks(toy(), np.array([1]), shots=6, queries=4).sample(1, rng=seeded(0))
    faded = task.support._replace(images=0.3 * task.support.images)
    with torch.no_grad():
        first, second = (meta_learner.start(support, 3, seeded(1)).weights for support in (task.support, faded))
    # a batch norm takes a change of contrast away; its statistics keep it
    names = [name for name, _ in meta_learner.spec.shared]
    assert max(float((first[name] - second[name]).abs().max()) for name in names) > 1e-3


def test_what_is_read_of_the_norms_is_bounded() -> None:
    with lent_to_torch(seeded(0)):
        encoder = NormStatisticsEncoder(SetEncoder(8, 16), {"a": 1500, "b": 500, "c": 400})
        assert encoder.names == ["a", "b"]
        assert NormStatisticsEncoder(SetEncoder(8, 16), {"a": 9000}).names == ["a"]


def test_tent_lowers_the_entropy_of_the_support_images() -> None:
    meta_learner = tiny("tent", inner_lr=0.1)
    with torch.no_grad():
        meta_learner.row_base.get_parameter("row").normal_(generator=seeded(1))
    task = DomainTasks(toy(), np.array([1]), shots=8, queries=4).sample(1, rng=seeded(0))
    asked = task._replace(query=task.support)
    with torch.no_grad():
        outputs, *_ = meta_learner.answers(asked, 5, seeded(1), at=(0, 5))
    entropy = [float(meta_learner.vision.loss(outputs[step], task.support.targets)) for step in (0, 5)]
    assert entropy[1] < entropy[0]


def test_the_loss_is_cross_entropy_with_labels_and_entropy_without() -> None:
    vision, logits = DomainClassification(), torch.tensor([[[2.0, 0.0, -1.0], [0.5, 0.1, 0.3]]])
    told = vision.loss(logits, torch.tensor([[0, 2]]))
    expected = torch.nn.functional.cross_entropy(logits[0], torch.tensor([0, 2]))
    torch.testing.assert_close(told, expected[None])
    chances = torch.softmax(logits[0], -1)
    torch.testing.assert_close(
        vision.loss(logits, torch.full((1, 2), IGNORE)), -(chances * chances.log()).sum(-1).mean()[None]
    )


def test_arm_bn_needs_batch_norm() -> None:
    learner = build_learner(LearnerConfig("conv4", 1, 12, 16), seeded(0))
    with pytest.raises(UsageError, match="--norm batch"):
        build_method("arm-bn", learner, vision=DomainClassification(), options={"classes": 3})


def test_held_out_domains_are_neither_trained_on_nor_validated_on() -> None:
    data = toy()
    assert data.sources("d1").tolist() == [0, 2]
    assert data.held_out("d*").tolist() == [0, 1, 2]
    for part in ("train", "val"):
        tasks = DomainTasks(data, data.sources("d1"), part, shots=4, queries=3)
        task = tasks.sample(6, rng=seeded(0))
        brightness = {image.tobytes(): g for image, g in zip(data.images, data.domains, strict=True)}
        for examples in (task.support, task.query):
            raw = (examples.images * 255).round().to(torch.uint8).permute(0, 1, 3, 4, 2).numpy()
            assert {brightness[image.tobytes()] for one in raw for image in one} <= {0, 2}
    with pytest.raises(UsageError, match="leaves no domain"):
        data.sources("d*")
    with pytest.raises(UsageError, match="Did you mean"):
        data.numbers(("d7",))


def test_validation_asks_for_images_that_training_never_sees() -> None:
    data = toy()
    asked = DomainTasks(data, np.array([0]), "val", shots=4, queries=3).sample(20, rng=seeded(0)).query
    seen = DomainTasks(data, np.array([0]), "train", shots=4, queries=3).sample(40, rng=seeded(0))
    seen_images = {
        image.numpy().tobytes() for part in (seen.support, seen.query) for one in part.images for image in one
    }
    assert not {image.numpy().tobytes() for one in asked.images for image in one} & seen_images


def test_a_class_of_one_image_a_domain_is_trained_on_in_most_domains() -> None:
    data = toy(n_domains=6, n_classes=25, each=1)
    tasks = DomainTasks(data, np.arange(6), "train", shots=4, queries=16)
    trained = {(int(g), int(k)) for g in range(6) for k in data.labels[tasks._where[g][0]]}
    seen_in = np.bincount([k for _, k in trained], minlength=25)
    assert seen_in.min() >= 4
    assert len(trained) == 6 * 20


def test_too_few_images_are_refused() -> None:
    with pytest.raises(DataError, match="Lower --shots or --queries"):
        DomainTasks(toy(), np.array([0]), shots=30, queries=30)


def test_folders_of_domains(tmp_path: Path) -> None:
    for domain in ("photo", "sketch"):
        for label in ("cat", "dog"):
            for i in range(3):
                path = tmp_path / domain / label / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (9, 9), (i * 40, 0, 90)).save(path)
    Image.new("RGB", (9, 9)).save(tmp_path / "photo" / "cat" / "extra.png")
    data = open_domains(f"domains:{tmp_path}?size=8")
    assert data.domain_names == ("photo", "sketch")
    assert data.class_names == ("cat", "dog")
    assert np.bincount(data.domains).tolist() == [7, 6]
    assert data.image_shape == (3, 8, 8)
    # images right below a domain are classes of one image each
    vendors = tmp_path / "vendors"
    for vendor in ("a", "b"):
        (vendors / vendor).mkdir(parents=True)
        for name in ("grin", "heart"):
            Image.new("RGB", (9, 9)).save(vendors / vendor / f"{name}.png")
    assert open_domains(f"domains:{vendors}?size=8").class_names == ("grin", "heart")


def test_one_domain_is_no_domain_shift(tmp_path: Path) -> None:
    path = tmp_path / "photo" / "cat"
    path.mkdir(parents=True)
    Image.new("RGB", (9, 9)).save(path / "0.png")
    with pytest.raises(DataError, match="Expected <domain>/<class>/<image>"):
        open_domains(f"domains:{tmp_path}?size=8")
    with pytest.raises(UsageError, match="Did you mean 'domains'"):
        open_domains("domain:x")


def test_styles_turn_and_invert() -> None:
    drawing = np.zeros((1, 20, 20), np.uint8)
    drawing[0, 8:12, 12:18] = 255  # to the right of the centre
    turned = written(90, 0, "light", "positive")(drawing)
    assert turned[0, :9].sum() > 10 * max(int(turned[0, 11:].sum()), 1)  # counter-clockwise: now above
    negative = written(0, 0, "light", "negative")(drawing)
    assert (negative.astype(int) + written(0, 0, "light", "positive")(drawing) == 255).all()


def by_hand(**accuracy: list[float]) -> DomainScores:
    arrays = {name: np.array(values) for name, values in accuracy.items()}
    return DomainScores(arrays, {n: np.ones(len(v)) for n, v in arrays.items()}, dict.fromkeys(arrays, 0.1), 2.0)


def test_worst_and_average_by_hand() -> None:
    good, bad = by_hand(a=[0.9, 0.8, 0.7], b=[0.6, 0.8, 0.7]), by_hand(a=[0.5, 0.6, 0.4], b=[0.6, 0.8, 0.7])
    assert good.worst[0] == "b"
    assert bad.worst[0] == "a"
    assert good.average == pytest.approx([0.75, 0.8, 0.7])
    difference = worst_difference(good, bad)
    assert difference.mean == pytest.approx(100 * (0.7 - 0.5))
    assert 0 < difference.half_width < 20
    assert worst_difference(good, good).half_width == 0
    written_down = domain_json({"good": good, "bad": bad}, "bad", {})
    assert json.dumps(written_down)
    assert written_down["methods"]["good"]["paired_difference"]["worst"]["mean"] == 20.0  # type: ignore[index]
    with pytest.raises(UsageError, match="same domains and episodes"):
        worst_difference(good, by_hand(a=[0.5]))


def test_train_and_score_from_settings(tmp_path: Path) -> None:
    config = TrainConfig(
        method="domain-film", data="rotated-digits?size=12", run=str(tmp_path / "run"), scenario="domain",
        hold_out="75 degrees", shots="10", queries=10, steps=3, tasks_per_batch=2, width=16, validate_every=3,
        validate_tasks=2,
    )  # fmt: skip
    trained = train(config, progress=False)
    assert trained.vision == DomainClassification.name
    assert load(tmp_path / "run").config["options"]["classes"] == 10
    protocol = Protocol("domain")
    rows = domain_rows(
        {"film": trained}, config.data, protocol, shots=10, queries=10, steps=(0, 2), episodes=2, progress=False
    )
    assert list(rows) == ["film", "film, 2 steps"]
    assert list(rows["film"].accuracy) == ["75 degrees"]
    with pytest.raises(UsageError, match=r"was trained on a domain .*held out 75 degrees: name no other"):
        domain_rows({"film": trained}, config.data, Protocol("domain", "0 degrees"), progress=False)
    trained.config["training"]["hold_out"] = ""
    with pytest.raises(UsageError, match="held out none: train it with --hold-out"):
        domain_rows({"film": trained}, config.data, Protocol("domain"), progress=False)
    with pytest.raises(UsageError, match=r"with --scenario domain, whose tasks .* score it with --scenario domain\."):
        score(trained, EvaluationConfig("glyphs"))
    with pytest.raises(UsageError, match=r"no method of the few-shot scenario, .* 'domain-film' goes with --scenario"):
        train(dataclasses.replace(config, scenario="few-shot", hold_out="", run=str(tmp_path / "b")))
    with pytest.raises(UsageError, match="goes with --scenario domain"):
        train(dataclasses.replace(config, scenario="few-shot", method="maml", run=str(tmp_path / "c")))


def test_scores_are_the_same_for_the_same_seed() -> None:
    meta_learner = tiny("erm")
    first, second = (
        score_domains(meta_learner, toy(), np.array([1]), shots=5, queries=5, episodes=3) for _ in range(2)
    )
    assert first.average.tolist() == second.average.tolist()


def test_unknown_domains_and_data() -> None:
    with pytest.raises(UsageError, match="Unknown domain of 'toy' 'd7'"):
        toy().numbers(("d0", "d7"))
    with pytest.raises(UsageError, match=r"Unknown data set of domains 'glyph-stiles'\. Did you mean 'glyph-styles'"):
        open_domains("glyph-stiles")


def test_a_few_labelled_images_of_the_domain(tmp_path: Path) -> None:
    config = TrainConfig(
        method="domain-film", data="rotated-digits?size=12", run=str(tmp_path / "run"), scenario="domain",
        hold_out="75 degrees", labelled=True, shots="10", queries=10, steps=2, tasks_per_batch=2, width=16,
        validate_every=2, validate_tasks=2,
    )  # fmt: skip
    trained = train(config, progress=False)
    how = {"shots": 10, "queries": 10, "episodes": 3, "steps": (0, 1), "progress": False}
    told = domain_rows({"a": trained}, config.data, Protocol("domain", labelled=True), **how)  # type: ignore[arg-type]
    untold = domain_rows({"a": trained}, config.data, Protocol("domain"), **how)  # type: ignore[arg-type]
    assert list(told) == ["a", "a, 1 step"]
    assert any(not np.array_equal(told[row].nll["75 degrees"], untold[row].nll["75 degrees"]) for row in told)
    with pytest.raises(UsageError, match="about the images shown of a domain"):
        train(dataclasses.replace(config, method="protonet", scenario="few-shot", hold_out=""), progress=False)


def test_the_threshold_makes_the_share_above_it_the_accuracy() -> None:
    data, it = toy(each=30), tiny("erm")
    with torch.no_grad():
        it.row_base.get_parameter("row").normal_(generator=seeded(1))
    sources = np.array([0, 2])
    threshold = source_threshold(it, data, sources, shots=4)
    task = episodes(DomainTasks(data, sources, "val", shots=4, queries=18), 0, 40, 0)
    with torch.no_grad():
        outputs = it.answers(task, 0, seeded(0))[0][0]
    confidence, guess = torch.softmax(outputs.double(), -1).max(-1)
    accuracy = (guess == task.query.labels).double().mean()
    assert (confidence > threshold).double().mean().item() == pytest.approx(float(accuracy), abs=0.01)


def test_the_check_sees_neither_labels_nor_the_held_out_domain_before_it_is_asked() -> None:
    data, it = toy(each=30), tiny("domain-film")
    with torch.no_grad():
        it.row_base.get_parameter("row").normal_(generator=seeded(1))
    sources, held_out = np.array([0, 2]), np.array([1])
    # other images and other labels of the held-out domain leave the threshold where it is
    changed = dataclasses.replace(data, images=np.where((data.domains == 1)[:, None, None, None], 7, data.images))
    labels = np.where(data.domains == 1, 0, data.labels)
    first = source_threshold(it, data, sources, shots=4)
    assert first == source_threshold(it, dataclasses.replace(changed, labels=labels), sources, shots=4)
    rows = {"erm": (it, 0), "other": (tiny("erm"), 0)}
    how = {"shots": 6, "queries": 4, "episodes": 3}
    scores = {row: score_domains(each, data, held_out, **how) for row, (each, _) in rows.items()}  # type: ignore[arg-type]
    one, two = (
        check_domains(rows, scores, which, sources, held_out, reference="erm", **how)  # type: ignore[arg-type]
        for which in (data, dataclasses.replace(data, labels=labels))
    )
    for row in rows:
        assert np.array_equal(one.estimates[row]["d1"], two.estimates[row]["d1"])
    with pytest.raises(UsageError, match="A domain is judged by images"):
        estimated_accuracy(it, torch.zeros(1, 1, 12, 12), 0.5, classes=3)


def test_what_a_check_says_by_hand() -> None:
    scores = {"erm": by_hand(a=[0.5, 0.5], b=[0.9, 0.9]), "film": by_hand(a=[0.6, 0.7], b=[0.6, 0.7])}
    estimates = {"erm": {"a": np.array([0.4, 0.4]), "b": np.array([0.8, 0.8])}, "film": {"a": np.array([0.5, 0.3]),
                 "b": np.array([0.7, 0.7])}}  # fmt: skip
    check = Check(estimates, scores, "erm")
    said = check.summary()
    # level on a: the reference stays
    assert said["recommended"] == {"a": "erm", "b": "erm"}
    assert said["episodes_right"]["mean"] == 75  # type: ignore[index]
    # followed on the first episode of a alone
    assert said["gain_followed"]["mean"] == pytest.approx((10 + 0 + 0 + 0) / 4)  # type: ignore[index]
    assert said["gain_always"]["film"]["mean"] == pytest.approx((10 + 20 - 30 - 20) / 4)  # type: ignore[index]
    assert said["domains_right"] == {"right": 1, "of": 2}
    assert json.dumps(said)
    assert "best on all of them: erm" in domain_table(scores, "erm", check).caption
    estimates["film"]["a"] = np.array([0.9, 0.9])
    assert "best on a: film; best on b: erm." in domain_table(scores, "erm", check).caption
