"""Detection: objects are the hot cells of heat maps; a class's row is the kernel of its heat map.

Anchor-free, with kernels written for each class from the support set: Pérez-Rúa, Zhu, Hospedales and Xiang,
"Incremental few-shot object detection" (ONCE), 2020 (https://arxiv.org/abs/2003.04668), on Zhou, Wang and Krähenbühl,
"Objects as points" (CenterNet), 2019 (https://arxiv.org/abs/1904.07850). Sizes and offsets are read off further
channels of the learner that all classes share. Deviations: see :mod:`genmeta.vision.center_maps`; and the background
has a row too, so heat is the softmax over background and classes. With that every closed form knows what the
background looks like, and a vector added to all rows of a task changes nothing, as in classification.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from genmeta.core import batching
from genmeta.core.types import Boxes, Logs, Targets, Tokens
from genmeta.vision.average_precision import BoxSet, average_precision
from genmeta.vision.base import Scores, VisualTask
from genmeta.vision.center_maps import BOX_CHANNELS, CenterMaps, box_loss, center_maps, heat_loss, spots
from genmeta.vision.peaks import Detections, find_peaks

#: Added to the logit of the background: with equal rows every cell is background with odds of ``exp(PRIOR)``.
PRIOR = 4.0
#: A support image says what the background looks like in ``PARTS × PARTS`` parts.
PARTS = 4
#: Boxes that are kept of an image.
MOST = 50
#: Of the loss. The heat's loss is summed over all cells and counted per object, so one object's share of the gradient
#: is some ten times that of an image in a mean; with this, step sizes that suit classification suit detection.
SCALE = 0.1
_TINY = 1e-6


class Detection(VisualTask):
    """Heat ``p = softmax(w · h + b)`` over background and classes, focal and absolute loss; ``R = D + 1``.

    The loss is a tenth of nats per object, see :data:`SCALE`. Outputs are ``[T N h w K+4]``: logits of the ``K``
    classes, the background's first, then the channels of the box
    (:attr:`~genmeta.vision.center_maps.CenterMaps.box`). Class number 0 is the background; no box has it.
    """

    name, learner, score, reads, extra_channels = "detection", "fpn", "ap50", "map", BOX_CHANNELS

    def row_length(self, feature_size: int) -> int:
        return feature_size + 1

    def outputs(self, features: Tensor, rows: Tensor, read: Tensor | None = None) -> Tensor:
        logits = batching.class_logits(self.locations(features), rows)
        if read is not None:
            logits = logits + read
        prior = F.one_hot(torch.zeros((), dtype=torch.int64, device=logits.device), rows.shape[1]) * PRIOR
        logits = (logits + prior).unflatten(1, features.shape[1:4])
        return torch.cat([logits, features[..., -BOX_CHANNELS:]], -1)

    def loss(self, outputs: Tensor, targets: Targets) -> Tensor:
        logits, box = _parts(outputs)
        maps = _maps(targets, logits.shape[-1], outputs.shape[2:4])
        log_heat = torch.log_softmax(logits, -1)[..., 1:].permute(0, 1, 4, 2, 3)
        log_rest = torch.log1p(-log_heat.exp().clamp_max(1 - _TINY))
        return SCALE * (heat_loss(log_heat, log_rest, maps.heat, maps.objects) + box_loss(box, maps))

    def tokens(self, features: Tensor, targets: Targets | None, ways: int) -> Tokens:
        """One token for each object, the mean feature around its centre, and one for the background of each part."""
        height, width = features.shape[2:4]
        maps = features[..., :-BOX_CHANNELS]
        parts = (min(PARTS, height), min(PARTS, width))
        if targets is None:
            return Tokens(_pool(maps, torch.ones_like(maps[..., 0]), parts)[0].flatten(1, 2), None)
        boxes = _boxes(targets)
        each, real = spots(boxes.boxes.to(maps.dtype), (boxes.labels >= 1) & (boxes.labels < ways), (height, width))
        weights = each.flatten(3)  # [T N M h*w]
        objects = weights @ maps.flatten(2, 3) / weights.sum(-1, keepdim=True).clamp_min(_TINY)
        of_object = F.one_hot(boxes.labels.clamp(0, ways - 1), ways).to(maps.dtype) * real[..., None]
        hottest = each.amax(2) if each.shape[2] else torch.zeros_like(maps[..., 0])
        cold, area = _pool(maps, (1 - hottest).square().square(), parts)
        nothing = F.one_hot(torch.zeros_like(area, dtype=torch.int64), ways).to(maps.dtype) * area[..., None]
        values = torch.cat([objects.flatten(1, 2), cold.flatten(1, 2)], 1)
        return Tokens(values, torch.cat([of_object.flatten(1, 2), nothing.flatten(1, 2)], 1))

    def locations(self, features: Tensor) -> Tensor:
        return features[..., :-BOX_CHANNELS].flatten(1, 3)

    def labelled(self, features: Tensor, targets: Targets, ways: int) -> Tokens:
        """Cells around centres for the classes, the others for the background, at ``exp(−PRIOR)`` of the weight.

        Rows fitted to these leave it to the prior to say how rare objects are.
        """
        maps = _maps(targets, ways, features.shape[2:4])
        around = maps.heat * (maps.near[:, :, None] > 0)
        nothing = (1 - maps.heat.amax(2, keepdim=True)).square().square() * np.exp(-PRIOR)
        shares = torch.cat([nothing, around], 2).permute(0, 1, 3, 4, 2)
        return Tokens(self.locations(features), shares.flatten(1, 3).to(features.dtype))

    def shared_loss(self, features: Tensor, targets: Targets) -> Tensor:
        box, maps = features[..., -BOX_CHANNELS:].permute(0, 1, 4, 2, 3), _maps(targets, None, features.shape[2:4])
        return SCALE * box_loss(box, maps)

    def pooled(self, outputs: Tensor, n_tasks: int) -> Tensor:
        if outputs.shape[0] == n_tasks:
            return outputs
        logits = batching.mean_probabilities(outputs[..., :-BOX_CHANNELS], n_tasks)
        box = outputs[..., -BOX_CHANNELS:].unflatten(0, (n_tasks, -1)).mean(1)
        return torch.cat([logits, box], -1)

    def logs(self, outputs: Tensor, targets: Targets) -> Logs:
        logits, box = _parts(outputs.detach())
        maps = _maps(targets, logits.shape[-1], outputs.shape[2:4])
        heat = torch.softmax(logits, -1)[..., 1:].permute(0, 1, 4, 2, 3)
        at_center = maps.heat >= 1.0
        hit = (heat * at_center).sum() / at_center.sum().clamp_min(1)
        return {"heat_at_centers": hit, "box_error": box_loss(box, maps).mean()}

    def detect(self, outputs: Tensor, size: tuple[int, int] = (1, 1), most: int = MOST) -> Detections:
        """Boxes of pooled outputs, ``[T N D]``, with class numbers from 1.

        Args:
            outputs: as :meth:`outputs` gives them.
            size: ``(height, width)`` of the images in pixels; by default boxes are shares of the image.
            most: boxes of an image.
        """
        logits, box = _parts(outputs)
        heat = torch.softmax(logits, -1)[..., 1:].permute(0, 1, 4, 2, 3)
        found = find_peaks(heat, box, size, most)
        return found._replace(labels=found.labels + 1)

    def scores(self, outputs: Tensor, targets: Targets) -> Scores:
        boxes, ways = _boxes(targets), outputs.shape[-1] - BOX_CHANNELS
        found = self.detect(outputs.nan_to_num())
        # an image whose answer is not finite shows nothing
        finite = outputs.isfinite().flatten(2).all(2)[..., None].expand_as(found.scores)
        found = found._replace(labels=found.labels.masked_fill(~finite, 0))
        each = [
            average_precision(
                [BoxSet(b, k - (k > 0)) for b, k in zip(*_arrays(boxes.boxes[t], boxes.labels[t]), strict=True)],
                [
                    BoxSet(b, k - 1, s)
                    for b, k, s in zip(*_arrays(found.boxes[t], found.labels[t], found.scores[t]), strict=True)
                ],
                ways - 1,
            )
            for t in range(len(outputs))
        ]
        # a task without a single object has no precision; nothing was asked, and nothing is what it scores
        ap50 = np.nan_to_num(np.array([score.ap50 for score in each]))
        by_class = np.stack([np.concatenate([[np.nan], score.ap50_of_class]) for score in each])
        return Scores(
            main=ap50,
            nll=np.full(len(each), np.nan),
            confidence=np.empty(0),
            correct=np.empty(0, dtype=bool),
            extra={"ap": np.nan_to_num(np.array([score.ap for score in each]))},
            classes=by_class,
        )


def _parts(outputs: Tensor) -> tuple[Tensor, Tensor]:
    """Logits ``[T N h w K]`` and box channels ``[T N 4 h w]``."""
    return outputs[..., :-BOX_CHANNELS], outputs[..., -BOX_CHANNELS:].permute(0, 1, 4, 2, 3)


def _maps(targets: Targets, ways: int | None, grid: torch.Size) -> CenterMaps:
    """The truth as maps; ``ways`` counts the background, and without it all objects are of one class."""
    boxes = _boxes(targets)
    labels = boxes.labels - 1 if ways is not None else (boxes.labels - 1).clamp_max(0)
    return center_maps(boxes.boxes, labels, 1 if ways is None else ways - 1, (grid[0], grid[1]))


def _pool(
    maps: Float[Tensor, "T N h w D"], weights: Float[Tensor, "T N h w"], parts: tuple[int, int]
) -> tuple[Float[Tensor, "T N P D"], Float[Tensor, "T N P"]]:
    """Weighted mean of the features in each part of an image, and the mean weight there."""
    weighted = torch.cat([maps * weights[..., None], weights[..., None]], -1).flatten(0, 1).permute(0, 3, 1, 2)
    sums = F.adaptive_avg_pool2d(weighted, parts).flatten(2).transpose(1, 2).unflatten(0, maps.shape[:2])
    return sums[..., :-1] / sums[..., -1:].clamp_min(_TINY), sums[..., -1]


def _arrays(*tensors: Tensor) -> list[np.ndarray]:
    return [tensor.cpu().numpy() for tensor in tensors]


def _boxes(targets: Targets) -> Boxes:
    if not isinstance(targets, Boxes):
        raise TypeError("detection reads boxes, not class numbers")
    return targets
