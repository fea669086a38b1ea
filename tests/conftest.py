"""What holds for every test: private places, and global random generators that nobody moves."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.append(str(Path(__file__).parent / "core"))  # toys.py is for the tests of every floor


@pytest.fixture(autouse=True)
def private_places(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's own cache or data."""
    mine = tmp_path_factory.getbasetemp()
    # shared by the workers of a run, so that glyphs are drawn once
    shared = mine.parent if "PYTEST_XDIST_WORKER" in os.environ else mine
    monkeypatch.setenv("GENMETA_CACHE", str(shared / "image-cache"))
    monkeypatch.setenv("GENMETA_DATA", str(mine / "data"))
    # in the checkout, so that the kernels are compiled once and not in every run or worker
    monkeypatch.setenv("GENMETA_KERNELS_CACHE", str(Path(__file__).parents[1] / "build" / "kernels"))


@pytest.fixture(autouse=True)
def global_rng_untouched() -> Iterator[None]:
    """The library never moves the global generators, and neither do these tests."""
    before, state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    yield
    assert torch.equal(torch.get_rng_state(), before), "torch's global generator was moved"
    assert (np.random.get_state()[1] == state).all(), "NumPy's global generator was moved"  # noqa: NPY002
