"""The report of a few-shot comparison: scores, curves, calibration, one task and its generated weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from genmeta.core.randomness import seeded
from genmeta.core.types import Task
from genmeta.engine import Trained
from genmeta.engine.evaluation import episodes
from genmeta.reports.blocks import Picture, Report, Section
from genmeta.reports.calibration import calibration_curves
from genmeta.reports.curves import accuracy_curves
from genmeta.reports.detections import detection_picture
from genmeta.reports.episodes import task_picture
from genmeta.reports.segmentations import segmentation_picture
from genmeta.reports.tables import accuracy_table, score_name, score_table, steps_table
from genmeta.reports.weights import weights_picture
from genmeta.scenarios import Comparison, open_tasks, provenance
from genmeta.vision import Classification, Detection, Segmentation, VisualTask
from genmeta.vision.center_maps import BOX_CHANNELS
from genmeta.vision.peaks import Detections
from genmeta.vision.segmentation import at_size_of


def comparison_report(comparisons: Sequence[Comparison]) -> Report:
    """One report of one or more comparisons of the same methods."""
    sections = [section for comparison in comparisons for section in _sections(comparison)]
    first = comparisons[0]
    machine = provenance()
    return Report(
        title="Few-shot comparison: " + ", ".join(first.evaluations),
        summary=(
            "Every method answers the same tasks. Scores are means over tasks with 95 % confidence intervals; each "
            "query image is answered on its own."
        ),
        sections=tuple(sections),
        provenance={
            "command": str(machine["command"]),
            "commit": str(machine["commit"]),
            "date": str(machine["date"]),
            "machine": ", ".join(f"{key} {value}" for key, value in dict(machine["machine"]).items()),
            "episodes": "; ".join(
                f"{c.config.data}: {c.config.tasks} tasks, seed {c.config.seed}" for c in comparisons
            ),
            "training seeds": ", ".join(
                str(t.config["training"].get("seed", "not told")) for t in first.trained.values()
            ),
        },
    )


def _sections(comparison: Comparison) -> list[Section]:
    config, evaluations = comparison.config, comparison.evaluations
    last = config.steps[-1]
    name = f"{config.data}, {config.split} classes, {config.ways}-way {config.shots}-shot"
    scores = Section(
        heading=name,
        text=f"{config.tasks} task{'s' * (config.tasks > 1)} with {config.queries} queries {_of(comparison)}.",
        blocks=(
            accuracy_table(evaluations, config.steps, comparison.reference),
            score_table(evaluations, config.steps[-1:]),
            accuracy_curves(evaluations, f"{score_name(evaluations)} against adaptation steps"),
            calibration_curves(evaluations, dict.fromkeys(evaluations, last)),
            steps_table(evaluations),
        ),
    )
    shown = next((m for m in ("meta-sgd-hn", "hypernet") if m in comparison.trained), next(iter(comparison.trained)))
    return [scores, _closely(comparison.trained[shown], comparison, shown)]


def _of(comparison: Comparison) -> str:
    """What queries are counted by, see ``docs/conventions.md``."""
    return "of each class" if next(iter(comparison.trained.values())).vision == Classification.name else "each"


def _closely(trained: Trained, comparison: Comparison, name: str) -> Section:
    tasks = open_tasks(trained, comparison.config)
    task: Task = episodes(tasks, 0, 1, comparison.config.seed).to(trained.meta_learner.scales.device)
    meta_learner, steps = trained.meta_learner, max(comparison.config.steps[-1], 1)
    with torch.no_grad():
        outputs, start, trajectory = meta_learner.answers(
            task, steps, seeded(comparison.config.seed, "start", 0), samples=1
        )
    names = [tasks.class_name(int(i)) for i in task.class_ids[0]]
    return Section(
        heading=f"One of these tasks, answered by {name}",
        text="The support images are all that the generator sees of these classes.",
        blocks=(
            _answered(meta_learner.vision, task, outputs[steps], names),
            weights_picture(start.weights, trajectory[-1], names),
        ),
    )


def _answered(vision: VisualTask, task: Task, outputs: Tensor, names: Sequence[str]) -> Picture:
    """The picture of a visual task."""
    if isinstance(vision, Segmentation):
        answer = at_size_of(outputs, task.query.labels)[0].argmax(-1)
        return segmentation_picture(task.support, task.query, answer, names)
    if isinstance(vision, Detection):
        found = Detections(*(leaf[0] for leaf in vision.detect(outputs)))
        heat = torch.softmax(outputs[0, ..., :-BOX_CHANNELS], -1)[..., 1:].permute(0, 3, 1, 2)
        return detection_picture(task.support, task.query, found, heat, names[1:])
    return task_picture(task.support, task.query, torch.softmax(outputs[0], -1), names)
