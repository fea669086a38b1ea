"""Boxes to maps and back."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from genmeta.vision.center_maps import CenterMaps, box_loss, center_maps, heat_loss
from genmeta.vision.peaks import find_peaks

#: Pixels of the square images below; boxes are written in pixels and handed over as shares.
SIZE = 64


def one_image(boxes: list[list[float]], labels: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(boxes).reshape(1, 1, -1, 4) / SIZE, torch.tensor(labels, dtype=torch.int64).reshape(1, 1, -1)


def center_loss(logits: torch.Tensor, box: torch.Tensor, maps: CenterMaps) -> torch.Tensor:
    """Both losses, with the sigmoid of the logits as heat."""
    log_heat, log_rest = F.logsigmoid(logits), F.logsigmoid(-logits)
    return heat_loss(log_heat, log_rest, maps.heat, maps.objects) + box_loss(box, maps)


def loop_heat(boxes: torch.Tensor, labels: torch.Tensor, ways: int, grid: int, stride: float) -> torch.Tensor:
    """The definition, box by box and cell by cell."""
    heat = torch.zeros(ways, grid, grid)
    for box, label in zip(boxes.tolist(), labels.tolist(), strict=True):
        if label < 0 or box[2] <= box[0] or box[3] <= box[1]:
            continue
        cx = min(max(math.floor((box[0] + box[2]) / 2 / stride), 0), grid - 1)
        cy = min(max(math.floor((box[1] + box[3]) / 2 / stride), 0), grid - 1)
        sx = max(0.09 * (box[2] - box[0]) / stride, 0.15)
        sy = max(0.09 * (box[3] - box[1]) / stride, 0.15)
        for y in range(grid):
            for x in range(grid):
                value = math.exp(-((x - cx) ** 2) / (2 * sx * sx) - (y - cy) ** 2 / (2 * sy * sy))
                heat[label, y, x] = max(heat[label, y, x].item(), value)
    return heat


def test_heat_is_the_definition() -> None:
    boxes, labels = one_image(
        [[4, 4, 40, 20], [30, 8, 62, 60], [0, 0, 9, 9], [5, 5, 5, 30], [1, 1, 9, 9]], [0, 1, 1, 0, -1]
    )
    maps = center_maps(boxes, labels, 3, (16, 16))
    torch.testing.assert_close(maps.heat[0, 0], loop_heat(SIZE * boxes[0, 0], labels[0, 0], 3, 16, 4.0))
    assert maps.objects.tolist() == [3]
    assert (maps.heat[0, 0] == 1).sum((1, 2)).tolist() == [1, 2, 0]


def test_an_image_without_objects_is_cold() -> None:
    for boxes, labels in (one_image([], []), one_image([[1, 1, 5, 5]], [-1])):
        maps = center_maps(boxes, labels, 2, (8, 8))
        assert maps.heat.abs().max() == 0
        assert maps.near.abs().max() == 0
        assert maps.objects.tolist() == [0]
        loss = center_loss(torch.full((1, 1, 2, 8, 8), -9.0), torch.zeros(1, 1, 4, 8, 8), maps)
        assert loss.item() < 1e-6


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.floats(7, 15), st.floats(7, 15), st.integers(0, 2)),
                max_size=6))  # fmt: skip
def test_the_truth_decodes_to_itself(drawn: list[tuple[int, int, float, float, int]]) -> None:
    """One box in each cell of a coarse lattice comes back to float accuracy, with its class and score 1."""
    places = {(x, y): (w, h, k) for x, y, w, h, k in drawn}
    boxes = [[16 * x + 0.5, 16 * y + 0.25, 16 * x + 0.5 + w, 16 * y + 0.25 + h] for (x, y), (w, h, _) in places.items()]
    truth, labels = one_image(boxes, [k for _, _, k in places.values()])
    maps = center_maps(truth, labels, 3, (16, 16))
    found = find_peaks(maps.heat, maps.box, (64, 64), most=20)
    assert int((found.scores > 0.999).sum()) == len(places)
    for box, label, score in zip(found.boxes[0, 0], found.labels[0, 0], found.scores[0, 0], strict=True):
        if score > 0.999:
            match = (SIZE * truth[0, 0] - box).abs().amax(-1).argmin()
            torch.testing.assert_close(SIZE * truth[0, 0, match], box, atol=1e-4, rtol=0)
            assert labels[0, 0, match] == label


def test_the_loss_is_least_at_the_truth() -> None:
    boxes, labels = one_image([[4, 4, 40, 20], [30, 28, 62, 60]], [0, 1])
    maps = center_maps(boxes, labels, 2, (16, 16))
    sure = torch.where(maps.heat >= 1, 12.0, -12.0)
    at_truth = center_loss(sure, maps.box, maps)
    assert at_truth.item() < 1e-3
    rng = torch.Generator().manual_seed(0)
    for _ in range(5):
        noise = torch.randn(maps.box.shape, generator=rng)
        assert center_loss(sure, maps.box + 0.1 * noise, maps) > at_truth
        heat_noise = 20 * torch.randn(sure.shape, generator=rng)
        assert center_loss(sure + heat_noise, maps.box, maps) > at_truth
    assert center_loss(sure.flip(2), maps.box, maps) > 1


def test_flipped_images_have_flipped_maps() -> None:
    boxes, labels = one_image([[4, 6, 19, 20], [31, 28, 62, 55]], [0, 1])
    mirrored = torch.stack([1 - boxes[..., 2], boxes[..., 1], 1 - boxes[..., 0], boxes[..., 3]], -1)
    maps, other = center_maps(boxes, labels, 2, (16, 16)), center_maps(mirrored, labels, 2, (16, 16))
    torch.testing.assert_close(other.heat, maps.heat.flip(-1))
    torch.testing.assert_close(other.near, maps.near.flip(-1))


def test_peaks_stay_in_the_image_whatever_the_box_head_says() -> None:
    wild = torch.full((2, 4, 6, 6), 1e6)
    found = find_peaks(torch.rand(2, 3, 6, 6, generator=torch.Generator().manual_seed(1)), wild, (48, 24), most=500)
    assert found.boxes.shape == (2, 3 * 6 * 6, 4)
    assert bool(torch.isfinite(found.boxes).all())
    assert found.boxes.min() >= 0
    assert found.boxes[..., 0::2].max() <= 24
    assert found.boxes[..., 1::2].max() <= 48
    assert bool((found.scores.diff(dim=1) <= 0).all())


def test_the_loss_has_gradients_everywhere_it_should() -> None:
    boxes, labels = one_image([[4, 4, 40, 20]], [0])
    maps = center_maps(boxes.double(), labels, 1, (8, 8))
    logits = torch.zeros(1, 1, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    box = torch.full((1, 1, 4, 8, 8), 0.3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a, b: center_loss(a, b, maps), (logits, box))
    center_loss(logits, box, maps).sum().backward()
    assert logits.grad is not None
    assert box.grad is not None
    assert logits.grad.ne(0).any()
    assert box.grad[0, 0, :, maps.near[0, 0] > 0].ne(0).all()
    assert pytest.approx(0.0) == box.grad[0, 0, :, maps.near[0, 0] == 0].abs().max().item()
