"""The checkpoints that come with the package: small, described, and worth having."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits

from genmeta.engine import read_header
from genmeta.estimators import FewShotClassifier, FewShotSegmenter
from genmeta.zoo import from_pretrained, list_checkpoints

SHIPPED = list_checkpoints()


@pytest.mark.parametrize("it", SHIPPED, ids=lambda it: it.name)
def test_every_checkpoint_is_small_described_and_loads(it) -> None:
    assert it.megabytes <= 10
    assert it.summary
    assert it.data
    assert it.licence
    assert "Licence" in it.card.read_text(encoding="utf-8")
    assert from_pretrained(it.name).method == it.method
    # nothing of the machine that trained it
    assert not {"/work", "/home", "/root"} & {text for text in ("/work", "/home", "/root") if text in _header(it)}


def _header(it) -> str:
    return json.dumps(read_header(it.file))


def test_the_names() -> None:
    assert "characters" in [it.name for it in SHIPPED]


def test_characters_reads_digits_it_has_never_seen() -> None:
    images, labels = load_digits().images / 16, load_digits().target
    images = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    support = np.concatenate([np.flatnonzero(labels == k)[:5] for k in range(5)])
    query = np.concatenate([np.flatnonzero(labels == k)[5:25] for k in range(5)])
    model = FewShotClassifier("characters").fit(images[support], labels[support])
    assert model.score(images[query], labels[query]) > 0.85
    # ink on paper is read as well as light on dark
    dark = model.predict_proba(1 - images[query])
    np.testing.assert_allclose(dark, model.predict_proba(images[query]), atol=0.05)


def _discs(seed: int, size: int = 96) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """Dark green and dark red discs on noise: the image, its mask (1 and 2), the boxes and their names."""
    random, (y, x) = np.random.default_rng(seed), np.mgrid[:size, :size]
    image, mask = random.normal(90, 25, (size, size, 3)), np.zeros((size, size), int)
    boxes, names = [], ["green", "red", "green"]
    for corner, name in zip(random.permutation(4)[:3], names, strict=True):
        radius, colour = random.integers(8, 16), (60, 110, 60) if name == "green" else (120, 60, 60)
        within = random.integers(radius, 48 - radius, 2)
        left, top = (int(at) + 48 * far for at, far in zip(within, divmod(corner, 2), strict=True))
        inside = (x - left) ** 2 + (y - top) ** 2 < radius**2
        image[inside] = random.normal(colour, 25, (int(inside.sum()), 3))
        mask[inside] = 1 if name == "green" else 2
        boxes.append([left - radius, top - radius, left + radius, top + radius])
    return image.clip(0, 255).astype(np.uint8), mask, np.array(boxes), names


def test_segmenter_finds_discs_it_has_been_shown_on_five_images() -> None:
    shown, asked = [_discs(i) for i in range(5)], [_discs(100 + i) for i in range(5)]
    plain = FewShotSegmenter(size=96).fit([it[0] for it in shown], [it[1] for it in shown])
    tuned = FewShotSegmenter(size=96, fine_tune="all", steps=10).fit([it[0] for it in shown], [it[1] for it in shown])
    truth = np.stack([it[1] for it in asked])
    for model, least in ((plain, 0.75), (tuned, 0.8)):
        said = np.stack(model.predict([it[0] for it in asked]))
        for k in (1, 2):
            assert ((said == k) & (truth == k)).sum() / ((said == k) | (truth == k)).sum() > least


def test_a_quick_fit_brings_no_slow_imports_along() -> None:
    code = (
        "import sys, numpy\n"
        "from genmeta.estimators.image_model import ImageModel\n"
        "images = numpy.random.default_rng(0).integers(0, 256, (4, 40, 40, 3), dtype=numpy.uint8)\n"
        "for name in ('characters', 'photos'):\n"
        "    ImageModel(name, fast=True).fit(images, [0, 0, 1, 1])\n"
        "slow = {'torch._dynamo', 'sklearn', 'scipy', 'matplotlib', 'pandas'}\n"
        "sys.exit(', '.join(sorted(slow & set(sys.modules))) or None)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
