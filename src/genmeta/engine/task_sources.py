"""From a data spec to tasks of a visual task."""

from __future__ import annotations

from genmeta.core.errors import UsageError
from genmeta.data import ImageClasses, SceneSource, open_dataset, open_scenes
from genmeta.data.domains import DomainImages, open_domains
from genmeta.tasks import DENSE_TASKS, ClassificationTasks, Range, TaskDistribution
from genmeta.tasks.domains import DomainTasks
from genmeta.vision import Classification, DomainClassification, visual_task

#: What tasks are drawn from: images by class, images of several objects, images of several domains.
Data = ImageClasses | SceneSource | DomainImages


def open_data(
    spec: str,
    vision: str = Classification.name,
    *,
    size: int | None = None,
    channels: int | None = None,
    download: bool = False,
    on_bad_image: str = "fail",
) -> Data:
    """Opens the kind of data that a visual task needs; arguments as :func:`genmeta.data.open_dataset`.

    Raises:
        UsageError: unknown visual task or data set, or data of another kind.
        DataError: the data are absent, damaged or not in the expected layout.
    """
    _ = visual_task(vision)
    if vision == DomainClassification.name:
        return open_domains(spec, size=size, channels=channels, on_bad_image=on_bad_image)
    opened = open_dataset if vision == Classification.name else open_scenes
    return opened(spec, size=size, channels=channels, download=download, on_bad_image=on_bad_image)


def make_tasks(
    data: Data,
    vision: str,
    split: str,
    *,
    ways: int | str | Range,
    shots: int | str | Range,
    queries: int,
    augment: str = "none",
    quarter_turns: bool = False,
    min_images: int = 0,
    hold_out: str = "",
) -> TaskDistribution:
    """The tasks of a visual task on opened data.

    Raises:
        UsageError: an option that is out of range, or that the visual task has no use for.
        DataError: the split has too few classes or images.
    """
    if isinstance(data, DomainImages):
        count = Range.parse(shots, "shots").high
        return DomainTasks(data, data.sources(hold_out), split, shots=count, queries=queries, augment=augment)
    if isinstance(data, SceneSource):
        for name, value in (("--augment", augment != "none"), ("--quarter-turns", quarter_turns)):
            if value:
                raise UsageError(f"{name} is for classification; the images of {data.name!r} vary by themselves.")
        return DENSE_TASKS[vision](data, split, ways=ways, shots=shots, queries=queries)
    return ClassificationTasks(
        data,
        split,
        ways=ways,
        shots=shots,
        queries=queries,
        augment=augment,
        quarter_turns=quarter_turns,
        min_images=min_images,
    )


def validation_tasks(
    data: Data, vision: str, ways: int, min_images: int, *, shots: str | Range = "1", hold_out: str = ""
) -> TaskDistribution | None:
    """1-shot tasks of held-out classes, ``ways``-way or as many as there are; ``None`` without any.

    Of domains: held-out images of the domains that are trained on, never of those that are held out.
    """
    if isinstance(data, DomainImages):
        return make_tasks(data, vision, "val", ways=ways, shots=shots, queries=20, hold_out=hold_out)
    if isinstance(data, SceneSource):
        there = len(data.splits["val"])
        if there < 1 or data.fewest_images("val") < 4:
            return None
        return make_tasks(data, vision, "val", ways=min(ways, there), shots=1, queries=3)
    least = max(min_images, 6)
    enough = int((data.counts()[data.splits["val"]] >= least).sum())
    if enough < 2:
        return None
    return make_tasks(data, vision, "val", ways=min(ways, enough), shots=1, queries=5, min_images=least)
