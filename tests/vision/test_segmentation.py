"""Segmentation: losses least at the truth, scores against independent implementations, labels that are not there."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import jaccard_score
from toys import normals

from genmeta.core.randomness import seeded
from genmeta.core.types import IGNORE, Boxes
from genmeta.vision import Segmentation
from genmeta.vision.overlap import confusion, iou_of
from genmeta.vision.segmentation import at_size_of, class_shares, cross_entropy, dice

VISION = Segmentation()


def random_masks(*shape: int, ways: int = 4, seed: int = 0, unlabelled: float = 0.2) -> torch.Tensor:
    rng = seeded(seed, "masks")
    masks = torch.randint(0, ways, shape, generator=rng)
    masks[torch.rand(shape, generator=rng) < unlabelled] = IGNORE
    return masks


def as_logits(masks: torch.Tensor, ways: int) -> torch.Tensor:
    return 20.0 * F.one_hot(masks.clamp_min(0), ways).double()


# -- scores ---------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    ways=st.integers(1, 6),
    classes_there=st.integers(1, 6),
    classes_guessed=st.integers(1, 6),
    unlabelled=st.sampled_from([0.0, 0.5, 1.0]),
    seed=st.integers(0, 99),
)
def test_iou_is_that_of_scikit_learn(
    ways: int, classes_there: int, classes_guessed: int, unlabelled: float, seed: int
) -> None:
    truth = random_masks(3, 50, ways=min(classes_there, ways), seed=seed, unlabelled=unlabelled)
    guess = random_masks(3, 50, ways=min(classes_guessed, ways), seed=seed + 1, unlabelled=0)
    ours = iou_of(confusion(guess, truth, ways))
    for t in range(3):
        known = truth[t] != IGNORE
        a, b = truth[t][known].numpy(), guess[t][known].numpy()
        there = np.union1d(a, b).astype(int)
        assert set(torch.nonzero(~ours[t].isnan()).flatten().tolist()) == set(there.tolist())
        if len(there):
            want = jaccard_score(a, b, labels=there, average=None)
            np.testing.assert_allclose(ours[t][torch.from_numpy(there)].numpy(), want)


def test_iou_is_that_of_torchmetrics() -> None:
    jaccard = pytest.importorskip("torchmetrics.classification").MulticlassJaccardIndex
    truth, guess = random_masks(1, 400, seed=3), random_masks(1, 400, seed=4, unlabelled=0)
    want = jaccard(4, average=None, ignore_index=IGNORE)(guess[0], truth[0])
    torch.testing.assert_close(iou_of(confusion(guess, truth, 4))[0], want.double(), rtol=1e-6, atol=1e-6)


def test_scores_are_one_at_the_truth_and_zero_where_everything_is_wrong() -> None:
    masks = random_masks(2, 3, 8, 8)
    right = VISION.scores(as_logits(masks, 4), masks)
    wrong = VISION.scores(as_logits((masks + 1) % 4, 4), masks)
    for scores, value in ((right, 1.0), (wrong, 0.0)):
        assert scores.main.tolist() == [value, value]
        assert all((values == value).all() for values in scores.extra.values())
        assert scores.classes is not None
        assert (scores.classes == value).all()
        assert scores.correct.mean() == value
    assert (right.nll < 1e-6).all()
    assert len(right.correct) == len(right.confidence) == int((masks != IGNORE).sum())


def test_the_background_is_no_part_of_the_main_score_and_absent_classes_do_not_count() -> None:
    truth = torch.zeros(1, 1, 4, 4, dtype=torch.int64)
    truth[..., :2] = 1
    guess = torch.zeros_like(truth)
    guess[..., :1] = 1  # IoU of class 1: 4 / 8, of the background: 8 / 12; class 2 is nowhere
    scores = VISION.scores(as_logits(guess, 3), truth)
    assert scores.main.tolist() == [0.5]
    assert scores.extra["background_iou"].tolist() == pytest.approx([8 / 12])
    assert scores.extra["miou_with_background"].tolist() == pytest.approx([(0.5 + 8 / 12) / 2])
    assert scores.extra["pixel_accuracy"].tolist() == [0.75]
    assert scores.classes is not None
    assert np.isnan(scores.classes[0, 2])
    guess[..., 3:] = 2  # a class that is not there, but predicted: IoU 0
    assert VISION.scores(as_logits(guess, 3), truth).main.tolist() == [0.25]


def test_images_without_any_label_or_object_are_scored_without_a_crash() -> None:
    nothing = torch.full((1, 2, 4, 4), IGNORE)
    scores = VISION.scores(as_logits(nothing, 3), nothing)
    assert scores.main.tolist() == [0.0]
    assert len(scores.correct) == 0
    empty = torch.zeros(1, 2, 4, 4, dtype=torch.int64)
    assert VISION.scores(as_logits(empty, 3), empty).extra["background_iou"].tolist() == [1.0]


# -- losses ---------------------------------------------------------------------------------------------------------


def test_the_loss_is_least_at_the_truth() -> None:
    masks = random_masks(2, 2, 8, 8)
    least = VISION.loss(as_logits(masks, 4), masks)
    assert (least < 1e-4).all()
    for seed in range(10):
        noisy = as_logits(masks, 4) + 20 * normals(2, 2, 8, 8, 4, seed=seed)
        assert (VISION.loss(noisy, masks) > least).all()


def test_cross_entropy_and_dice_are_those_of_a_plain_loop() -> None:
    masks, logits = random_masks(3, 2, 5, 5), normals(3, 2, 5, 5, 4)
    for t in range(3):
        entropies, overlaps = [], []
        chances = torch.softmax(logits[t], -1)
        known = masks[t] != IGNORE
        for n, y, x in torch.nonzero(known).tolist():
            entropies.append(-chances[n, y, x, masks[t, n, y, x]].log())
        for k in range(4):
            p, truth = chances[..., k][known], (masks[t] == k)[known].double()
            if truth.sum():
                overlaps.append(2 * (p * truth).sum() / (p.sum() + truth.sum()))
        torch.testing.assert_close(cross_entropy(logits, masks)[t], torch.stack(entropies).mean())
        torch.testing.assert_close(dice(logits, masks)[t], 1 - torch.stack(overlaps).mean())


def test_what_is_unlabelled_changes_nothing_and_gets_no_gradient() -> None:
    masks = random_masks(1, 2, 6, 6)
    logits = normals(1, 2, 6, 6, 4).requires_grad_()
    (gradient,) = torch.autograd.grad(VISION.loss(logits, masks).sum(), logits)
    assert gradient[masks == IGNORE].abs().max() == 0
    assert gradient[masks != IGNORE].abs().min() > 0
    other = logits + 5 * (masks == IGNORE)[..., None] * normals(1, 2, 6, 6, 4, seed=1)
    torch.testing.assert_close(VISION.loss(other, masks), VISION.loss(logits, masks))


def test_a_task_without_labels_costs_nothing() -> None:
    nothing = torch.full((2, 1, 4, 4), IGNORE)
    logits = normals(2, 1, 4, 4, 3).requires_grad_()
    loss = VISION.loss(logits, nothing)
    assert loss.tolist() == [0.0, 0.0]
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert gradient.abs().max() == 0


def test_flipping_image_and_mask_together_changes_no_score() -> None:
    masks, logits = random_masks(2, 2, 8, 8), normals(2, 2, 8, 8, 4)
    torch.testing.assert_close(VISION.loss(logits.flip(3), masks.flip(3)), VISION.loss(logits, masks))
    np.testing.assert_allclose(VISION.scores(logits.flip(3), masks.flip(3)).main, VISION.scores(logits, masks).main)


def test_outputs_grow_to_the_size_of_the_masks() -> None:
    logits = normals(1, 2, 4, 4, 3)
    large = at_size_of(logits, random_masks(1, 2, 8, 10))
    assert large.shape == (1, 2, 8, 10, 3)
    assert at_size_of(logits, random_masks(1, 2, 4, 4)) is logits
    flat = torch.ones(1, 1, 3, 3, 2)
    torch.testing.assert_close(at_size_of(flat, random_masks(1, 1, 7, 7)), torch.ones(1, 1, 7, 7, 2))


# -- evidence -------------------------------------------------------------------------------------------------------


def test_the_weighted_mean_of_tokens_is_the_mean_over_all_labelled_pixels() -> None:
    features, masks = normals(2, 3, 8, 8, 5), random_masks(2, 3, 8, 8)
    tokens = VISION.tokens(features, masks, 4)
    assert tokens.membership is not None
    assert tokens.values.shape[1] == 3 * 16 * 4  # images, parts, classes: it does not grow with the pixels
    for t in range(2):
        for k in range(4):
            weights = tokens.membership[t, :, k]
            mean = (weights[:, None] * tokens.values[t]).sum(0) / weights.sum()
            torch.testing.assert_close(mean, features[t][masks[t] == k].mean(0), rtol=1e-5, atol=1e-5)


def test_a_place_without_evidence_is_marked_absent() -> None:
    features, masks = normals(1, 1, 8, 8, 5), torch.zeros(1, 1, 8, 8, dtype=torch.int64)
    tokens = VISION.tokens(features, masks, 3)
    assert tokens.present.sum() == 16
    assert VISION.tokens(features, torch.full_like(masks, IGNORE), 3).present.sum() == 0
    assert VISION.tokens(features, None, 3).membership is None


def test_shares_are_areas() -> None:
    masks = torch.tensor([[[[0, 1, 2, 2], [1, 1, 2, IGNORE]]]])
    shares = class_shares(masks, 3, (1, 2))
    torch.testing.assert_close(shares[0, 0, 0], torch.tensor([[0.25, 0.75, 0.0], [0.0, 0.0, 0.75]]))
    labelled = VISION.labelled(normals(1, 1, 1, 2, 5), masks, 3)
    assert labelled.membership is not None
    torch.testing.assert_close(labelled.membership[0].float(), shares[0, 0, 0])


def test_boxes_are_no_masks() -> None:
    boxes = Boxes(torch.zeros(1, 1, 1, 4), torch.zeros(1, 1, 1, dtype=torch.int64))
    with pytest.raises(TypeError, match="segmentation reads class masks, not boxes"):
        VISION.loss(normals(1, 1, 4, 4, 3), boxes)
