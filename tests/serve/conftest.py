"""A checkpoint that takes milliseconds, made like every other."""

from __future__ import annotations

from pathlib import Path

import pytest
from toys import make_learner, perturb, tiny_options

from genmeta.engine.checkpoint import learner_header, save_model
from genmeta.methods import build_method


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    options = tiny_options("hypernet")
    learner = make_learner(channels=3)
    header = {"method": "hypernet", "options": options, "learner": learner_header(learner.config)}
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors"
    save_model(path, perturb(build_method("hypernet", learner, options=options), 0.05), header)
    return path
