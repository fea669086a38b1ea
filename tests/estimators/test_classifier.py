"""What a few-shot classifier promises those who know scikit-learn."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score

from genmeta.core.errors import CheckpointError, DataError, DataWarning, GenmetaError, UsageError
from genmeta.engine import read_header
from genmeta.engine.checkpoint import build, read_tensors, save_changes
from genmeta.estimators import FewShotClassifier

Make = Callable[..., Any]


def test_images_to_labels_and_back(checkpoint: Make, pictures: Make) -> None:
    seen, new = pictures(), pictures(seed=1)
    model = FewShotClassifier(checkpoint()).fit(seen.images, seen.labels)
    assert model.classes_.tolist() == ["ant", "bee", "cat"]
    assert model.n_support_.tolist() == [3, 3, 3]
    assert model.score(new.images, new.labels) == 1.0
    probabilities = model.predict_proba(new.images)
    assert probabilities.shape == (9, 3)
    np.testing.assert_allclose(probabilities.sum(1), 1)
    assert (model.classes_[probabilities.argmax(1)] == model.predict(new.images)).all()
    assert model.leave_one_out_ == 1.0
    assert (model.leave_one_out_predictions_ == np.repeat([0, 1, 2], 3)).all()
    assert [row["step"] for row in model.trace_] == [0, 1, 2]
    assert model.predict_proba([]).shape == (0, 3)


def test_one_image_is_predicted_as_among_others(checkpoint: Make, pictures: Make) -> None:
    seen, new = pictures(), pictures(seed=1)
    model = FewShotClassifier(checkpoint()).fit(seen.images, seen.labels)
    together = model.predict_proba(new.images)
    alone = np.concatenate([model.predict_proba(new.images[i : i + 1]) for i in range(9)])
    np.testing.assert_allclose(alone, together, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_every_form_of_an_image_gives_the_same_prediction(
    checkpoint: Make, pictures: Make, tmp_path: Path, channels: int
) -> None:
    seen = pictures()
    model = FewShotClassifier(checkpoint(channels=channels)).fit(list(seen.images), list(seen.labels))
    array = seen.images[0]
    path = tmp_path / "it.png"
    Image.fromarray(array).save(path)
    forms = [path, str(path), Image.fromarray(array), array, array / 255, torch.from_numpy(array).permute(2, 0, 1)]
    probabilities = model.predict_proba(forms)
    np.testing.assert_allclose(probabilities, np.broadcast_to(probabilities[0], probabilities.shape), atol=1e-6)
    batch = model.predict_proba(torch.from_numpy(seen.images).permute(0, 3, 1, 2))
    np.testing.assert_allclose(batch, model.predict_proba(seen.images), atol=1e-6)


def test_equal_arguments_give_equal_models(checkpoint: Make, pictures: Make) -> None:
    seen = pictures()
    first = FewShotClassifier(checkpoint("versa"), random_state=3).fit(seen.images, seen.labels)
    other = FewShotClassifier(checkpoint("versa"), random_state=4).fit(seen.images, seen.labels)
    again = clone(first).fit(seen.images, seen.labels)
    assert (first.predict_proba(seen.images) == again.predict_proba(seen.images)).all()
    assert (first.predict_proba(seen.images) != other.predict_proba(seen.images)).any()


def test_many_classes_with_different_numbers_of_images(checkpoint: Make, pictures: Make) -> None:
    names = tuple(f"class {i:03}" for i in range(100))
    seen = pictures(names, each=1)
    extra = pictures(names[:2], each=4, seed=1)
    images, labels = np.concatenate([seen.images, extra.images]), np.concatenate([seen.labels, extra.labels])
    model = FewShotClassifier(checkpoint()).fit(images, labels)
    assert model.n_support_.tolist() == [5, 5, *[1] * 98]
    assert model.predict_proba(images[:3]).shape == (3, 100)
    # images that are the only one of their class cannot be left out
    assert (model.leave_one_out_predictions_ >= 0).sum() == 10


def test_one_image_of_each_class(checkpoint: Make, pictures: Make) -> None:
    seen, new = pictures(each=1), pictures(seed=1)
    model = FewShotClassifier(checkpoint()).fit(seen.images, seen.labels)
    assert np.isnan(model.leave_one_out_)
    assert model.temperature_ == pytest.approx(1.0)
    assert model.score(new.images, new.labels) > 0.6


def test_fast_takes_the_start_and_estimates_nothing(checkpoint: Make, pictures: Make) -> None:
    seen, new = pictures(), pictures(seed=1)
    model = FewShotClassifier(checkpoint(), fast=True).fit(seen.images, seen.labels)
    assert np.isnan(model.leave_one_out_)
    assert (model.leave_one_out_predictions_ == -1).all()
    assert [row["step"] for row in model.trace_] == [0]
    start = FewShotClassifier(checkpoint(), steps=0).fit(seen.images, seen.labels)
    assert (model.predict(new.images) == start.predict(new.images)).all()


def test_labels_may_be_numbers(checkpoint: Make, pictures: Make) -> None:
    seen = pictures()
    numbers = np.repeat([7, -2, 3], 3)
    model = FewShotClassifier(checkpoint(), unknown_threshold=1.0).fit(seen.images, numbers)
    assert model.classes_.tolist() == [-2, 3, 7]
    assert set(model.predict(seen.images)) == {-1}
    assert set(model.set_params(unknown_threshold=None).predict(seen.images)) == {-2, 3, 7}


def test_unknown_is_said_below_the_threshold(checkpoint: Make, pictures: Make) -> None:
    seen = pictures(("a", "b"))
    model = FewShotClassifier(checkpoint(), unknown_threshold=0.0).fit(seen.images, seen.labels)
    assert set(model.predict(seen.images)) == {"a", "b"}
    confident = model.predict_proba(seen.images).max(1)
    model.unknown_threshold = float(np.median(confident))
    assert ((model.predict(seen.images) == "unknown") == (confident < model.unknown_threshold)).all()


@pytest.mark.parametrize("method", ["protonet", "hypernet", "maml", "anpml", "bmaml", "leo"])
@pytest.mark.parametrize("norm", ["group", "batch"])
def test_new_classes_leave_the_rows_of_the_others(checkpoint: Make, pictures: Make, method: str, norm: str) -> None:
    seen, more = pictures(("bee", "cat")), pictures(("ant", "dog"), each=2)
    model = FewShotClassifier(checkpoint(method, norm=norm)).partial_fit(seen.images, seen.labels)
    before = model._adapted.states[model._steps()]
    model.partial_fit(more.images, more.labels)
    after = model._adapted.states[model._steps()]
    assert model.classes_.tolist() == ["ant", "bee", "cat", "dog"]
    assert model.n_support_.tolist() == [2, 3, 3, 2]
    for name, value in before.weights.items():
        assert torch.equal(value, after.weights[name][:, 1:3] if name == "rows" else after.weights[name]), name
    assert model.predict_proba(seen.images).shape == (6, 4)


def test_more_images_change_the_rows_they_are_of(checkpoint: Make, pictures: Make) -> None:
    seen, more = pictures(), pictures(("bee",), seed=2)
    model = FewShotClassifier(checkpoint()).fit(seen.images, seen.labels)
    before = model._adapted.states[2].weights["rows"]
    model.partial_fit(more.images, more.labels)
    after = model._adapted.states[2].weights["rows"]
    assert [torch.equal(before[:, k], after[:, k]) for k in range(3)] == [True, False, True]
    together = FewShotClassifier(checkpoint()).fit(
        np.concatenate([seen.images, more.images]), np.concatenate([seen.labels, more.labels])
    )
    model.partial_fit(pictures(("bee",), seed=3).images[:0], [], refit=True)
    np.testing.assert_allclose(model.predict_proba(seen.images), together.predict_proba(seen.images), atol=1e-6)


@pytest.mark.parametrize("method", ["protonet", "hypernet", "maml", "anpml", "bmaml", "leo"])
@pytest.mark.parametrize("norm", ["group", "batch"])
def test_a_saved_model_predicts_the_same(
    checkpoint: Make, pictures: Make, tmp_path: Path, method: str, norm: str
) -> None:
    seen, new = pictures(), pictures(("bee", "dog"), seed=1)
    model = FewShotClassifier(checkpoint(method, norm=norm), unknown_threshold=0.2).fit(seen.images, seen.labels)
    model.save(tmp_path / "model.safetensors")
    loaded = FewShotClassifier.load(tmp_path / "model.safetensors")
    assert (loaded.predict_proba(new.images) == model.predict_proba(new.images)).all()
    assert loaded.classes_.tolist() == model.classes_.tolist()
    assert loaded.trace_ == model.trace_
    assert loaded.unknown_threshold == 0.2
    assert (loaded.leave_one_out_predictions_ == model.leave_one_out_predictions_).all()
    loaded.partial_fit(new.images, new.labels)
    model.partial_fit(new.images, new.labels)
    assert (loaded.predict_proba(seen.images) == model.predict_proba(seen.images)).all()


def test_what_a_package_brings_is_not_stored_again(checkpoint: Make, pictures: Make, tmp_path: Path) -> None:
    whole, changed = checkpoint("protonet"), tmp_path / "changed.safetensors"
    meta_learner = build(read_header(whole), whole)
    with torch.no_grad():
        meta_learner.row_base.log_temperature.add_(0.3)
    config = {key: value for key, value in read_header(whole).items() if key != "schema"}
    save_changes(changed, meta_learner, config)
    seen, new = pictures(), pictures(seed=1)
    model = FewShotClassifier(changed).fit(seen.images, seen.labels)
    model.save(tmp_path / "model.safetensors")
    assert list(read_tensors(tmp_path / "model.safetensors", "model.")) == ["row_base.log_temperature"]
    loaded = FewShotClassifier.load(tmp_path / "model.safetensors")
    assert (loaded.predict_proba(new.images) == model.predict_proba(new.images)).all()


def test_images_can_be_left_out_of_the_file(checkpoint: Make, pictures: Make, tmp_path: Path) -> None:
    seen = pictures()
    model = FewShotClassifier(checkpoint()).fit(seen.images, np.repeat([3, 1, 2], 3))
    model.save(tmp_path / "model.safetensors", images=False)
    loaded = FewShotClassifier.load(tmp_path / "model.safetensors")
    assert (loaded.predict(seen.images) == np.repeat([3, 1, 2], 3)).all()
    with pytest.raises(UsageError, match="saved without its images"):
        loaded.partial_fit(seen.images, np.repeat([3, 1, 2], 3))
    # nothing in the file says where the checkpoint lay
    assert str(checkpoint().parent).encode() not in (tmp_path / "model.safetensors").read_bytes()


def test_a_checkpoint_is_no_fitted_model_nor_the_other_way_round(
    checkpoint: Make, pictures: Make, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match="fitted to no classes"):
        FewShotClassifier.load(checkpoint())
    seen = pictures()
    FewShotClassifier(checkpoint()).fit(seen.images, seen.labels).save(tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="was fitted to classes of its own"):
        FewShotClassifier(tmp_path / "model.safetensors").fit(seen.images, seen.labels)
    whole = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[:-100])
    with pytest.raises(CheckpointError, match="truncated"):
        FewShotClassifier.load(tmp_path / "cut.safetensors")


def test_it_works_inside_scikit_learn(checkpoint: Make, pictures: Make) -> None:
    seen = pictures(each=4)
    model = FewShotClassifier(checkpoint(), steps=1)
    assert (cross_val_score(model, seen.images, seen.labels, cv=2) == 1).all()
    assert (cross_val_score(model, list(seen.images), seen.labels, cv=2) == 1).all()
    assert model.get_params()["steps"] == 1
    assert "steps=1" in repr(model)


@pytest.mark.filterwarnings("ignore:Can't test estimator.*2darray")
def test_checks_of_scikit_learn_that_do_not_feed_it_tables() -> None:
    from sklearn.utils import estimator_checks

    model = FewShotClassifier()
    for check in (
        estimator_checks.check_estimator_cloneable,
        estimator_checks.check_estimator_repr,
        estimator_checks.check_estimator_tags_renamed,
        estimator_checks.check_valid_tag_types,
        estimator_checks.check_no_attributes_set_in_init,
        estimator_checks.check_do_not_raise_errors_in_init_or_set_params,
        estimator_checks.check_mixin_order,
        estimator_checks.check_parameters_default_constructible,
        estimator_checks.check_get_params_invariance,
        estimator_checks.check_set_params,
        estimator_checks.check_estimators_unfitted,
    ):
        check("FewShotClassifier", model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that the rest needs tables of features
        estimator_checks.check_estimator(model)


def test_what_cannot_be_used_is_said(checkpoint: Make, pictures: Make, tmp_path: Path) -> None:
    seen = pictures()
    fit = FewShotClassifier(checkpoint()).fit

    def refused(error: type[GenmetaError], match: str, images: Any = seen.images, labels: Any = seen.labels) -> None:
        with pytest.raises(error, match=match):
            fit(images, labels)

    refused(DataError, "2 or more classes, got only the class 'x'", labels=["x"] * 9)
    refused(DataError, "got no image", images=[], labels=[])
    refused(UsageError, "one label for each of the 9 images", labels=["x"] * 8)
    refused(UsageError, "NaN", labels=[float("nan")] * 9)
    refused(UsageError, r"0.5.*are no classes", labels=[0.5] * 9)
    refused(UsageError, "different kinds: NoneType, str", labels=[None, *"abcdefgh"])
    text = tmp_path / "text.jpg"
    text.write_text("this is no picture")
    refused(DataError, rf"{text}.*not an image", images=[text, *seen.images[1:]])
    refused(DataError, "number 1 cannot be used", images=[seen.images[0], seen.images[1] * np.nan, *seen.images[2:]])
    with pytest.raises(NotFittedError, match="has seen no images"):
        FewShotClassifier().predict(seen.images)
    with pytest.raises(UsageError, match="steps must be 0 or more"):
        FewShotClassifier(checkpoint(), steps=-1).fit(seen.images, seen.labels)
    with pytest.raises(UsageError, match="between 0 and 1, got 2"):
        FewShotClassifier(checkpoint(), unknown_threshold=2).fit(seen.images, seen.labels)
    with pytest.raises(UsageError, match="Unknown device 'tpu'"):
        FewShotClassifier(checkpoint(), device="tpu").fit(seen.images, seen.labels)
    with pytest.raises(CheckpointError, match="no checkpoint 'absent'"):
        FewShotClassifier("absent").fit(seen.images, seen.labels)
    model = fit(seen.images, seen.labels)
    with pytest.raises(UsageError, match="labels are such as"):
        model.partial_fit(seen.images, np.repeat([1, 2, 3], 3))


def test_one_picture_in_two_classes_is_said(checkpoint: Make, pictures: Make) -> None:
    seen = pictures()
    seen.images[4] = seen.images[0]
    with pytest.warns(DataWarning, match=r"same picture is in the classes 'ant' and 'bee' \(images number 0 and 4\)"):
        model = FewShotClassifier(checkpoint()).fit(seen.images, seen.labels)
    assert model.predict_proba(seen.images).shape == (9, 3)
