"""The checkpoints that come with the package: small, described, and worth having."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits

from genmeta.engine import read_header
from genmeta.estimators import FewShotClassifier
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
