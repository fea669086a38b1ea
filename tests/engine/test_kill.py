"""Killed at any moment, a run resumes to the same numbers, and never leaves a file that is not whole.

``GENMETA_KILLS=results/kill/results.json make test-slow ARGS=tests/engine/test_kill.py`` keeps what it found.
"""

from __future__ import annotations

import dataclasses
import os
import shlex
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from runs import check_same_runs, forked

from genmeta.core.files import write_json
from genmeta.core.settings import TrainConfig
from genmeta.scenarios import provenance

Config = Callable[..., TrainConfig]


@pytest.mark.parametrize("kills", [5, pytest.param(50, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
def test_killed_at_random_moments_it_ends_bit_equal(config: Config, tmp_path: Path, kills: int) -> None:
    settings = {"steps": 4 * kills, "validate_every": 2, "validate_tasks": 2}
    straight, broken = config("hypernet", "straight", **settings), config("hypernet", "broken", **settings)
    jobs = [
        {"config": dataclasses.asdict(straight), "size": 1},
        {"config": dataclasses.asdict(broken), "size": 1, "kills": kills, "seed": 0},
    ]
    began = time.monotonic()
    (_, killed), errors = forked(jobs, tmp_path, seconds=30 * kills + 100)
    assert killed["codes"] == [0], errors
    steps = killed["steps"]
    assert len(steps) == kills, f"only {len(steps)} kills came before the end"
    assert steps == sorted(steps)  # what was saved is never lost
    assert len(set(steps)) > kills // 4
    check_same_runs(straight.run, broken.run)
    assert not list(Path(broken.run).glob(".*.part"))
    if (record := os.environ.get("GENMETA_KILLS")) and kills >= 50:
        made = provenance()
        made["command"] = shlex.join(["make", "test-slow", "ARGS=tests/engine/test_kill.py"])
        found = {"method": "hypernet", "kills": kills, "steps": settings["steps"], "steps_kept": steps}
        # nothing is written unless all of the above held
        found |= {"every_file_whole": True, "bit_equal": True, "seconds": round(time.monotonic() - began)}
        write_json(Path(record), {"schema": "genmeta.kill/2", **made, **found})
