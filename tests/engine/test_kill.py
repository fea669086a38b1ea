"""Killed at any moment, a run resumes to the same numbers, and never leaves a file that is not whole."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
from runs import check_same_runs, forked

from genmeta.core.settings import TrainConfig

Config = Callable[..., TrainConfig]


@pytest.mark.parametrize("kills", [5, pytest.param(50, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
def test_killed_at_random_moments_it_ends_bit_equal(config: Config, tmp_path: Path, kills: int) -> None:
    settings = {"steps": 4 * kills, "validate_every": 2, "validate_tasks": 2}
    straight, broken = config("hypernet", "straight", **settings), config("hypernet", "broken", **settings)
    jobs = [
        {"config": dataclasses.asdict(straight), "size": 1},
        {"config": dataclasses.asdict(broken), "size": 1, "kills": kills, "seed": 0},
    ]
    (_, killed), errors = forked(jobs, tmp_path, seconds=30 * kills + 100)
    assert killed["codes"] == [0], errors
    steps = killed["steps"]
    assert len(steps) == kills, f"only {len(steps)} kills came before the end"
    assert steps == sorted(steps)  # what was saved is never lost
    assert len(set(steps)) > kills // 4
    check_same_runs(straight.run, broken.run)
    assert not list(Path(broken.run).glob(".*.part"))
