"""Segmentation: every pixel has a class, a row is a pixel classifier's weights and bias; the background has a row too.

Shaban et al., "One-shot learning for semantic segmentation" (OSLSM), 2017 (https://arxiv.org/abs/1709.03410): a branch
that reads the support set writes the weights of a pixel classifier. Mean features under a mask as prototypes: Wang et
al., "PANet", 2019 (https://arxiv.org/abs/1908.06391).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from genmeta.core import batching
from genmeta.core.types import IGNORE, Boxes, Logs, Targets, Tokens
from genmeta.vision.base import Scores, VisualTask
from genmeta.vision.overlap import confusion, iou_of

#: A support image gives evidence in ``PARTS × PARTS`` parts: the mean feature of each class in each part.
PARTS = 4
#: Weight of the Dice loss beside the cross-entropy.
DICE = 1.0


class Segmentation(VisualTask):
    """Per-pixel ``logits = w · h + b``, cross-entropy and Dice; ``R = D + 1``.

    Features come at a stride, and so do the outputs, ``[T N h w K]`` logits; loss and scores enlarge them to the
    masks' size, see :func:`at_size_of`. Class number 0 is the background; it is a class like the others except in the
    main score, which is the mean IoU of the other classes.
    """

    name, learner, score, reads = "segmentation", "unet", "miou", "map"

    def row_length(self, feature_size: int) -> int:
        return feature_size + 1

    def outputs(self, features: Tensor, rows: Tensor, read: Tensor | None = None) -> Tensor:
        n, height, width = features.shape[1:4]
        logits = batching.class_logits(self.locations(features), rows)
        if read is not None:
            logits = logits + read
        return logits.unflatten(1, (n, height, width))

    def loss(self, outputs: Tensor, targets: Targets) -> Tensor:
        masks = _masks(targets)
        return cross_entropy(at_size_of(outputs, masks), masks) + DICE * dice(at_size_of(outputs, masks), masks)

    def tokens(self, features: Tensor, targets: Targets | None, ways: int) -> Tokens:
        """Mean feature of each class in each of 4 × 4 parts of each image, weighted by its labelled area.

        A weighted mean over tokens is then the mean over all labelled pixels, at a cost that does not grow with them.
        """
        n_tasks, n, height, width = features.shape[:4]
        parts = (min(PARTS, height), min(PARTS, width))
        if targets is None:
            pooled = F.adaptive_avg_pool2d(features.flatten(0, 1).permute(0, 3, 1, 2), parts)
            return Tokens(pooled.flatten(2).transpose(1, 2).unflatten(0, (n_tasks, n)).flatten(1, 2), None)
        shares = class_shares(_masks(targets), ways, (height, width)).to(features.dtype)
        part = _part_of(height, width, parts, features.device)
        members = F.one_hot(part, parts[0] * parts[1]).to(features.dtype)  # [h*w P]
        weights = members[:, :, None] * shares.flatten(2, 3)[:, :, :, None]  # [T N h*w P K]
        areas = weights.sum(2)
        sums = weights.flatten(3).transpose(2, 3) @ features.flatten(2, 3)
        sums = sums.unflatten(2, (-1, ways))
        means = sums / areas[..., None].clamp_min(1e-6)
        membership = areas[..., None] * torch.eye(ways, dtype=features.dtype, device=features.device)
        return Tokens(means.flatten(1, 3), membership.flatten(1, 3))

    def locations(self, features: Tensor) -> Tensor:
        return features.flatten(1, 3)

    def labelled(self, features: Tensor, targets: Targets, ways: int) -> Tokens:
        shares = class_shares(_masks(targets), ways, features.shape[2:4]).to(features.dtype)
        return Tokens(self.locations(features), shares.flatten(1, 3))

    def shared_loss(self, features: Tensor, targets: Targets) -> Tensor:
        return features.new_zeros(len(features))

    def pooled(self, outputs: Tensor, n_tasks: int) -> Tensor:
        return batching.mean_probabilities(outputs, n_tasks)

    def logs(self, outputs: Tensor, targets: Targets) -> Logs:
        masks = _masks(targets)
        known = masks != IGNORE
        right = (at_size_of(outputs, masks).argmax(-1) == masks) & known
        return {"pixels": right.sum() / known.sum().clamp_min(1)}

    def scores(self, outputs: Tensor, targets: Targets) -> Scores:
        masks = _masks(targets)
        log_probabilities = torch.log_softmax(at_size_of(outputs, masks).double(), -1).cpu()
        truth = masks.cpu()
        known, ways = truth != IGNORE, outputs.shape[-1]
        # an answer that is not finite is wrong, with no confidence: it is taken for a class that is not the true one
        diverged = log_probabilities.isnan().any(-1)
        log_probabilities = log_probabilities.masked_fill(diverged[..., None], -torch.inf)
        confidence, guess = log_probabilities.max(-1)
        guess = torch.where(diverged, (truth.clamp_min(0) + 1) % ways, guess)
        nll = -log_probabilities.gather(-1, truth.clamp_min(0)[..., None])[..., 0].masked_fill(~known, 0.0)
        counts = known.flatten(1).sum(1).clamp_min(1)
        tables = confusion(guess.flatten(1), truth.flatten(1), ways)
        each = iou_of(tables)
        correct = (guess == truth) & known
        return Scores(
            main=torch.nanmean(each[:, 1:], 1).nan_to_num(0.0).numpy(),
            nll=(nll.flatten(1).sum(1) / counts).numpy(),
            confidence=confidence.exp()[known].float().numpy(),
            correct=correct[known].numpy(),
            extra={
                "pixel_accuracy": (correct.flatten(1).sum(1) / counts).double().numpy(),
                "background_iou": each[:, 0].numpy(),
                "miou_with_background": torch.nanmean(each, 1).numpy(),
            },
            classes=each.numpy(),
        )


def at_size_of(outputs: Float[Tensor, "T N h w K"], masks: Int[Tensor, "T N H W"]) -> Float[Tensor, "T N H W K"]:
    """Logits enlarged to the masks' size, bilinearly."""
    if outputs.shape[2:4] == masks.shape[2:4]:
        return outputs
    flat = outputs.flatten(0, 1).permute(0, 3, 1, 2)
    large = F.interpolate(flat, masks.shape[2:4], mode="bilinear", align_corners=False)
    return large.permute(0, 2, 3, 1).unflatten(0, outputs.shape[:2])


def cross_entropy(logits: Float[Tensor, "T N H W K"], masks: Int[Tensor, "T N H W"]) -> Float[Tensor, " T"]:
    """``−Σ log p(y) / number of labelled pixels`` of each task, in nats; 0 for a task without any."""
    losses = F.cross_entropy(logits.flatten(0, 3), masks.flatten(), reduction="none", ignore_index=IGNORE)
    known = (masks != IGNORE).flatten(1).sum(1)
    return losses.view(masks.shape).flatten(1).sum(1) / known.clamp_min(1)


def dice(logits: Float[Tensor, "T N H W K"], masks: Int[Tensor, "T N H W"]) -> Float[Tensor, " T"]:
    """``1 − mean_k 2 Σ p_k y_k / (Σ p_k + Σ y_k)`` over the classes ``k`` that the masks of the task hold.

    Sums are over all labelled pixels of the task. Milletari et al., "V-Net", 2016 (https://arxiv.org/abs/1606.04797);
    deviation: plain instead of squared sums in the denominator.
    """
    ways = logits.shape[-1]
    known = (masks != IGNORE)[..., None]
    truth = F.one_hot(masks.clamp_min(0), ways).to(logits.dtype) * known
    chance = torch.softmax(logits, -1) * known
    both, area = (truth * chance).flatten(1, 3).sum(1), truth.flatten(1, 3).sum(1)
    overlap = 2 * both / (area + chance.flatten(1, 3).sum(1)).clamp_min(1e-6)
    held = (area > 0).to(logits.dtype)
    return 1 - (overlap * held).sum(1) / held.sum(1).clamp_min(1) - (held.sum(1) == 0).to(logits.dtype)


def class_shares(masks: Int[Tensor, "T N H W"], ways: int, size: tuple[int, ...]) -> Float[Tensor, "T N h w K"]:
    """The share of each class in the area of each cell of a grid; unlabelled area counts for none."""
    known = (masks != IGNORE)[..., None]
    one_hot = (F.one_hot(masks.clamp_min(0), ways) * known).to(torch.get_default_dtype())
    flat = one_hot.flatten(0, 1).permute(0, 3, 1, 2)
    shares = F.adaptive_avg_pool2d(flat, (size[0], size[1]))
    return shares.permute(0, 2, 3, 1).unflatten(0, masks.shape[:2])


def _part_of(height: int, width: int, parts: tuple[int, int], device: torch.device) -> Tensor:
    """``[h*w]`` number of the part that each cell lies in."""
    rows = torch.arange(height, device=device) * parts[0] // height
    columns = torch.arange(width, device=device) * parts[1] // width
    return (rows[:, None] * parts[1] + columns).flatten()


def _masks(targets: Targets) -> Tensor:
    if isinstance(targets, Boxes):
        raise TypeError("segmentation reads class masks, not boxes")
    return targets
