"""The multi-task scenario: one meta-learner at several visual tasks and data sets, against one meta-learner for each.

A *cell* is a data set and a visual task. A row of the table answers cells with one checkpoint, or is a team: several
checkpoints, each at the cells it was trained for. ΔMTL is the mean relative gain over cells: Maninis, Radosavovic and
Kokkinos, "Attentive single-tasking of multiple tasks", 2019 (https://arxiv.org/abs/1904.08918).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from genmeta.core.errors import UsageError
from genmeta.core.settings import EvaluationConfig
from genmeta.engine import Interval, StepScores, Trained, evaluate, paired
from genmeta.engine.task_sources import Opened, kinds_of, make_tasks, open_data, opens_as, warn_of_skipped
from genmeta.methods.multitask import told
from genmeta.vision.shared_maps import MULTITASK, SHARED

#: Resamplings of the episodes behind the interval of ΔMTL.
RESAMPLINGS = 2000


@dataclass(frozen=True)
class MultiTaskScores:
    """Scores of one row.

    Attributes:
        cells: name of a cell -> scores, ``E`` episodes in each; cells that the row does not answer are absent.
        parameters: of all checkpoints of the row.
        training_steps: of all of them.
    """

    cells: Mapping[str, StepScores]
    parameters: int
    training_steps: int

    def summary(self) -> dict[str, object]:
        """Plain numbers, scores in percent."""
        return {
            "parameters": self.parameters,
            "training_steps": self.training_steps,
            "cells": {name: each.summary() for name, each in self.cells.items()},
        }


def delta_mtl(row: MultiTaskScores, reference: MultiTaskScores, seed: int = 0) -> Interval | None:
    """``100 / C · Σ_c (M_c − S_c) / S_c`` in percent over the ``C`` cells, with a bootstrap interval over episodes.

    Scores are such that more is better; episodes of a cell are drawn anew, the same ones for both rows (Efron and
    Tibshirani, "An introduction to the bootstrap", 1993).

    Args:
        row: ``M``.
        reference: ``S``.
        seed: of the resampling.

    Returns:
        The gain; ``None`` where a score of the reference is 0, since nothing can be said relative to that.

    Raises:
        UsageError: the reference lacks a cell of the row, or was scored on other episodes.
    """
    random, gains, point = np.random.default_rng(seed), [], []
    for name, scores in row.cells.items():
        if name not in reference.cells or reference.cells[name].accuracy.shape != scores.accuracy.shape:
            raise UsageError(
                f"ΔMTL compares rows on the same episodes, but the reference has no such ones of {name!r}."
            )
        mine, theirs = scores.accuracy, reference.cells[name].accuracy
        picks = random.integers(0, len(mine), (RESAMPLINGS, len(mine)))
        gains.append(_relative(mine[picks].mean(1), theirs[picks].mean(1)))
        point.append(float(_relative(mine.mean(), theirs.mean())))
    drawn, mean = np.mean(gains, axis=0), float(np.mean(point))
    if not math.isfinite(mean):
        return None
    low, high = np.quantile(drawn, (0.025, 0.975)) if np.isfinite(drawn).all() else (0.0, math.nan)
    return Interval(100 * mean, 50 * float(high - low))


def mean_difference(row: MultiTaskScores, reference: MultiTaskScores) -> Interval:
    """Mean over cells of the paired differences in points; episodes of different cells are independent."""
    each = [paired(scores.accuracy, reference.cells[name].accuracy) for name, scores in row.cells.items()]
    spread = float(np.sqrt(np.sum([i.half_width**2 for i in each]))) / len(each)
    return Interval(float(np.mean([i.mean for i in each])), spread)


def _relative(mine: np.ndarray | float, theirs: np.ndarray | float) -> np.ndarray:
    """``(M − S) / S``, not finite where ``S`` is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.divide(np.subtract(mine, theirs), theirs)


def multitask_rows(
    rows: Mapping[str, Sequence[Trained]], config: EvaluationConfig, *, progress: bool = True
) -> dict[str, MultiTaskScores]:
    """Scores every row on the same episodes of every cell.

    Args:
        rows: name -> its checkpoints; one alone answers all cells of its visual tasks, trained for or not.
        config: the episodes; the data sets joined by +. Scores are after the last of its steps.
        progress: show bars.

    Raises:
        UsageError: nothing to score, checkpoints that read other images, or a cell that two of a team know.
    """
    if not rows:
        raise UsageError("Nothing to score: name at least one method or run.")
    cells = _cells(rows, config)
    scored: dict[str, MultiTaskScores] = {}
    for name, members in rows.items():
        found = {
            cell: _score(member, opened, config, progress, f"{name}: {cell}")
            for cell, opened in cells.items()
            if (member := _answering(members, opened)) is not None
        }
        if not found:
            raise UsageError(f"{name!r} knows none of the visual tasks that {config.data!r} is for.")
        totals = [(m.parameters, int(m.config.get("result", {}).get("steps", 0))) for m in members]
        scored[name] = MultiTaskScores(found, sum(p for p, _ in totals), sum(s for _, s in totals))
    return scored


def _cells(rows: Mapping[str, Sequence[Trained]], config: EvaluationConfig) -> dict[str, Opened]:
    """Every data set at every visual task that some checkpoint knows."""
    everyone = [member for members in rows.values() for member in members]
    shapes = {(m.meta_learner.learner.config.size, m.meta_learner.learner.config.channels) for m in everyone}
    if len(shapes) > 1:
        raise UsageError(f"These checkpoints read images of different size and channels {sorted(shapes)}.")
    (size, channels) = shapes.pop()
    known = {kind for member in everyone for kind in kinds_known(member)}
    kinds = tuple(kind for kind in SHARED if kind in known)
    cells: dict[str, Opened] = {}
    for spec in config.data.split("+"):
        data = open_data(spec, opens_as(spec), size=size, channels=channels, download=config.download,
                         on_bad_image=config.on_bad_image)  # fmt: skip
        warn_of_skipped(data)
        cells |= {f"{spec}: {kind}": Opened(kind, data) for kind in kinds_of(data, kinds)}
    return cells


def kinds_known(trained: Trained) -> tuple[str, ...]:
    """The visual tasks that a checkpoint was trained for."""
    vision = trained.vision
    return tuple(str(trained.config["training"]["vision"]).split(",")) if vision == MULTITASK else (vision,)


def _answering(members: Sequence[Trained], opened: Opened) -> Trained | None:
    """Who of a row answers a cell."""
    able = [member for member in members if opened.kind in kinds_known(member)]
    if len(members) > 1:
        able = [m for m in able if opened.data.name in str(m.config["training"]["data"]).split("+")]
    if len(able) > 1:
        raise UsageError(f"Two checkpoints of one team were trained for {opened.kind} on {opened.data.name!r}.")
    return able[0] if able else None


def _score(trained: Trained, opened: Opened, config: EvaluationConfig, progress: bool, title: str) -> StepScores:
    tasks = make_tasks(
        opened.data, opened.kind, config.split, ways=config.ways, shots=config.shots, queries=config.queries,
        min_images=0 if opened.kind in ("segmentation", "detection") else config.min_images,
    )  # fmt: skip
    step = config.steps[-1]
    return evaluate(
        told(trained.meta_learner, opened.kind), tasks, n_tasks=config.tasks, steps=(step,), seed=config.seed,
        samples=config.samples, progress=progress, title=title,
    )[step]  # fmt: skip


def multitask_json(
    scores: Mapping[str, MultiTaskScores], reference: str, protocol: Mapping[str, object]
) -> dict[str, object]:
    """The documented, stable object of a multi-task comparison; see ``docs/result-files.md``."""
    base, methods = scores[reference], {}
    for name, each in scores.items():
        common = MultiTaskScores({c: s for c, s in each.cells.items() if c in base.cells}, 0, 0)
        gain = delta_mtl(common, base) if common.cells else None
        methods[name] = {
            **each.summary(),
            "paired_difference": {
                c: paired(s.accuracy, base.cells[c].accuracy).rounded() for c, s in common.cells.items()
            },
            "common_cells": list(common.cells),
            "mean_difference": mean_difference(common, base).rounded() if common.cells else None,
            "delta_mtl": None if gain is None else gain.rounded(),
        }
    return {"schema": "genmeta.multitask/1", "protocol": dict(protocol), "reference": reference, "methods": methods}
