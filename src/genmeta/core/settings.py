"""Settings as plain data. No torch here, so that commands can show their help at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genmeta.core.errors import UsageError, unknown

DEVICES = ("auto", "cpu", "cuda")
NONFINITE = ("stop", "skip")
PRECISIONS = ("float32", "bf16")

#: Beyond any use; far beyond it, single precision overflows.
MOST_LR = 1e6

#: How the tasks of a meta-training arrive.
SCENARIOS = ("few-shot", "incremental", "domain", "multitask")


@dataclass(frozen=True)
class TrainConfig:
    """Everything a meta-training is made of; saved with the run.

    Attributes:
        method: name, see genmeta list methods.
        data: data spec, see genmeta list datasets; several joined by + are mixed.
        run: run directory.
        ways: classes of a task, a number or a range such as 5-20 (the background of segmentation is not counted).
        shots: support images of each class, a number or a range.
        queries: query images of each class (segmentation, detection: of a task).
        steps: meta-steps.
        tasks_per_batch: tasks of a meta-step.
        tasks_per_chunk: tasks computed and back-propagated together, auto or a number; bounds memory, and changes
            results by rounding alone (where generators draw noise, the noise too).
        vision: visual task: classification, segmentation, detection; see genmeta list vision. With the multitask
            scenario several, separated by commas.
        learner: name, see genmeta list learners; by default the visual task's own.
        scenario: few-shot; incremental (the classes of a task arrive in sessions); domain (a task is a domain, shots
            and queries are images of it, whatever their classes, and ways count for nothing); multitask (a meta-step
            is of one visual task and one data set after the other).
        hold_out: with the domain scenario, the domains that training never sees, separated by commas; NAME* stands
            for all that begin with NAME.
        labelled: with the domain scenario, tell the classes of a domain's support images: a few labelled images of it
            instead of unlabelled ones.
        width: channels of the learner's first block; 0 for its default.
        norm: group, or batch with support statistics.
        size: image height and width; 0 for the data set's own.
        channels: 1 or 3; 0 for the data set's own.
        options: replaces the method's defaults.
        augment: none, affine, elastic or style jitter of training images (style: one random change of colours a task).
        quarter_turns: count turned training classes as classes of their own, even where the data set does not.
        min_images: leave out classes with fewer images.
        lr: peak meta learning rate.
        clip: largest norm of the meta-gradient.
        validate_every: steps between validations.
        validate_tasks: episodes of a validation.
        init: checkpoint, run or name of a shipped checkpoint whose learner weights to start from; several, separated by
            commas, for ``bmaml`` with ``generate=all``: a particle begins at each.
        freeze_learner: leave the learner's own weights as they are; what is written for a task still adapts.
        seed: of everything random.
        threads: CPU threads; 0 for torch's choice.
        device: auto, cpu or cuda.
        precision: float32; or bf16, which multiplies the convolutions of meta-training in bfloat16. Weights, inner
            steps and gradients stay float32, and so does everything after training. Meant for GPUs.
        download: fetch the data set if it is missing.
        on_bad_image: fail or skip.
        on_nonfinite: stop, or skip the tasks whose loss is not finite.
        devices: processes on this machine that share the tasks of a step: GPUs, or CPU processes; 0 for one, or for as
            many as torchrun started.
        nodes: machines that share them.
    """

    method: str
    data: str
    run: str
    ways: str = "5"
    shots: str = "1"
    queries: int = 5
    steps: int = 1000
    tasks_per_batch: int = 16
    tasks_per_chunk: str = "auto"
    vision: str = "classification"
    learner: str = ""
    scenario: str = "few-shot"
    hold_out: str = ""
    labelled: bool = False
    width: int = 0
    norm: str = "group"
    size: int = 0
    channels: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    augment: str = "none"
    quarter_turns: bool = False
    min_images: int = 0
    lr: float = 1e-3
    clip: float = 10.0
    validate_every: int = 200
    validate_tasks: int = 100
    init: str = ""
    freeze_learner: bool = False
    seed: int = 0
    threads: int = 0
    device: str = "auto"
    precision: str = "float32"
    download: bool = False
    on_bad_image: str = "fail"
    on_nonfinite: str = "stop"
    devices: int = 0
    nodes: int = 1

    def __post_init__(self) -> None:
        for name in ("steps", "tasks_per_batch", "validate_every", "validate_tasks"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be 1 or more, got {getattr(self, name)}.")
        _ = self.chunk_size
        if self.device not in DEVICES:
            raise unknown("device", self.device, DEVICES)
        if self.precision not in PRECISIONS:
            raise unknown("precision", self.precision, PRECISIONS)
        if self.on_nonfinite not in NONFINITE:
            raise unknown("value of on_nonfinite", self.on_nonfinite, NONFINITE)
        if self.devices < 0 or self.nodes < 1:
            raise UsageError(f"devices must be 0 or more and nodes 1 or more, got {self.devices} and {self.nodes}.")
        if self.tasks_per_batch < self.devices * self.nodes:
            raise UsageError(
                f"tasks_per_batch={self.tasks_per_batch} cannot be shared by {self.devices * self.nodes} processes: "
                "give each a task at least. Raise --tasks-per-batch or lower --devices."
            )
        if self.scenario not in SCENARIOS:
            raise unknown("scenario", self.scenario, SCENARIOS)
        if not 0 < self.lr <= MOST_LR or not self.clip > 0:
            raise UsageError(f"lr and clip must be above 0, and lr at most {MOST_LR:g}, got {self.lr} and {self.clip}.")

    @property
    def inits(self) -> tuple[str, ...]:
        """What init names, one by one."""
        if not self.init or Path(self.init).exists():
            return (self.init,) if self.init else ()
        return tuple(part.strip() for part in self.init.split(",") if part.strip())

    @property
    def chunk_size(self) -> int:
        """tasks_per_chunk as a number, 0 for auto."""
        size = 0 if self.tasks_per_chunk == "auto" else -1
        if size and self.tasks_per_chunk.isdecimal():
            size = int(self.tasks_per_chunk) or -1
        if size < 0:
            raise UsageError(f"--tasks-per-chunk takes auto or a number of 1 or more, got {self.tasks_per_chunk!r}.")
        return size


@dataclass(frozen=True)
class EvaluationConfig:
    """On which episodes a method is scored, and when.

    Attributes:
        data: data spec.
        split: train, val or test.
        ways: classes of a task, one number.
        shots: support images of each class, one number.
        queries: query images of each class (segmentation, detection: of a task).
        tasks: number of episodes.
        adapt_steps: after how many adaptation steps to score, separated by commas.
        seed: names the list of episodes; equal seeds give every method equal episodes.
        fine_tune: steps by Adam from the generated start, in place of the method's own: on all weights of the network,
            or on film, head or rows alone.
        fine_tune_lr: learning rate of these steps.
        samples: draws of the start per task whose probabilities are averaged; 0 for the method's own number.
        calibration_tasks: validation tasks to fit a temperature to, for scores after scaling; 0 for none.
        quarter_turns: count turned classes as classes of their own, even where the data set does not.
        min_images: leave out classes with fewer images.
        download: fetch the data set if it is missing.
        on_bad_image: fail or skip.
    """

    data: str
    split: str = "test"
    ways: int = 5
    shots: int = 1
    queries: int = 5
    tasks: int = 600
    adapt_steps: str = "0,1,5"
    fine_tune: str = ""
    fine_tune_lr: float = 0.002
    seed: int = 0
    samples: int = 0
    calibration_tasks: int = 0
    quarter_turns: bool = False
    min_images: int = 0
    download: bool = False
    on_bad_image: str = "fail"

    def __post_init__(self) -> None:
        if self.tasks < 1:
            raise UsageError(f"--tasks must be 1 or more, got {self.tasks}.")
        if self.calibration_tasks < 0:
            raise UsageError(f"--calibration-tasks must be 0 or more, got {self.calibration_tasks}.")
        _ = self.steps

    @property
    def steps(self) -> tuple[int, ...]:
        """adapt_steps as numbers, in order."""
        try:
            steps = tuple(sorted({int(step) for step in self.adapt_steps.split(",")}))
        except ValueError:
            steps = (-1,)
        if steps[0] < 0:
            raise UsageError(f"--adapt-steps takes numbers such as 0,1,5, got {self.adapt_steps!r}.")
        return steps
