"""From a data spec to tasks of a visual task."""

from __future__ import annotations

import warnings
from typing import NamedTuple

from genmeta.core.errors import DataWarning, UsageError, unknown
from genmeta.core.settings import TrainConfig
from genmeta.data import DataSpec, ImageClasses, SceneSource, open_dataset, open_scenes
from genmeta.data.domains import DomainImages, open_domains
from genmeta.data.opening import SCENE_READERS
from genmeta.tasks import DENSE_TASKS, ClassificationTasks, Range, TaskDistribution
from genmeta.tasks.domains import DomainTasks
from genmeta.vision import Classification, DomainClassification, Segmentation, visual_task
from genmeta.vision.shared_maps import MULTITASK, SHARED

#: What tasks are drawn from: images by class, images of several objects, images of several domains.
Data = ImageClasses | SceneSource | DomainImages


class Opened(NamedTuple):
    """A data set and the visual task that it is opened for."""

    kind: str
    data: Data


def vision_name(config: TrainConfig) -> str:
    """Name of the visual task that a training's checkpoint has: its own, or that of several that share a map."""
    return MULTITASK if config.scenario == MULTITASK else config.vision


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
    labelled: bool = False,
) -> TaskDistribution:
    """The tasks of a visual task on opened data.

    Raises:
        UsageError: an option that is out of range, or that the visual task has no use for.
        DataError: the split has too few classes or images.
    """
    if isinstance(data, DomainImages):
        count = Range.parse(shots, "shots").high
        sources = data.sources(hold_out)
        return DomainTasks(data, sources, split, shots=count, queries=queries, labelled=labelled, augment=augment)
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
    data: Data,
    vision: str,
    ways: int,
    min_images: int,
    *,
    shots: str | Range = "1",
    hold_out: str = "",
    labelled: bool = False,
) -> TaskDistribution | None:
    """1-shot tasks of held-out classes, ``ways``-way or as many as there are; ``None`` without any.

    Of domains: held-out images of the domains that are trained on, never of those that are held out.
    """
    if isinstance(data, DomainImages):
        return make_tasks(data, vision, "val", ways=ways, shots=shots, queries=20, hold_out=hold_out, labelled=labelled)
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


def training_tasks(opened: Opened, config: TrainConfig) -> TaskDistribution:
    """What a training draws its tasks from."""
    dense = isinstance(opened.data, SceneSource) and config.scenario == MULTITASK
    return make_tasks(
        opened.data,
        opened.kind,
        "train",
        ways=config.ways,
        shots=config.shots,
        queries=config.queries,
        # beside scenes, which vary by themselves, it is for the images by class
        augment="none" if dense else config.augment,
        quarter_turns=config.quarter_turns and not dense,
        min_images=config.min_images,
        hold_out=config.hold_out,
        labelled=config.labelled,
    )


def open_mixed(config: TrainConfig) -> list[Opened]:
    """Opens the data sets of a spec such as ``glyphs`` or ``omniglot+glyphs``, all with the first one's image shape.

    With several visual tasks each data set serves those that it can: images by class classification, masks
    segmentation, boxes detection.

    Raises:
        UsageError: a spec or a visual task is not valid, images of different shapes, a data set that serves none of
            the visual tasks, or a visual task without data.
    """
    opened: list[Opened] = []
    size, channels = config.size or None, config.channels or None
    several = config.scenario == MULTITASK
    kinds = parse_kinds(config.vision) if several else (config.vision,)
    for spec in config.data.split("+"):
        kind = opens_as(spec) if several else config.vision
        data = open_data(
            spec, kind, size=size, channels=channels, download=config.download, on_bad_image=config.on_bad_image
        )
        warn_of_skipped(data)
        opened += [Opened(one, data) for one in (kinds_of(data, kinds) if several else kinds)]
        channels, size = data.image_shape[0], data.image_shape[1]
    shapes = {one.data.image_shape for one in opened}
    if len(shapes) > 1:
        raise UsageError(f"The data sets of {config.data!r} have images of different shapes {shapes}; set --size.")
    if missing := [kind for kind in kinds if kind not in {one.kind for one in opened}]:
        raise UsageError(f"No data set of {config.data!r} is for {missing[0]}. Join one to it by +, or leave it out.")
    return opened


def parse_kinds(text: str) -> tuple[str, ...]:
    """Visual tasks that share a map, from names separated by commas.

    Raises:
        UsageError: a name that is none of theirs.
    """
    kinds = tuple(dict.fromkeys(text.split(",")))
    for kind in kinds:
        if kind not in SHARED:
            raise unknown("visual task", kind, SHARED)
    return tuple(kind for kind in SHARED if kind in kinds)


def opens_as(spec: str) -> str:
    """A visual task that the data set of a spec is opened for: classification, or one of images of several objects."""
    return Segmentation.name if DataSpec.parse(spec).name in SCENE_READERS else Classification.name


def kinds_of(data: Data, kinds: tuple[str, ...]) -> tuple[str, ...]:
    """Those visual tasks that a data set can serve.

    Raises:
        UsageError: none.
    """
    annotated = data.annotates if isinstance(data, SceneSource) else frozenset()
    mine = tuple(
        kind for kind in kinds if (DENSE_TASKS[kind].needs in annotated if kind in DENSE_TASKS else not annotated)
    )
    if not mine:
        raise UsageError(
            f"{data.name!r} is for none of the visual tasks {', '.join(kinds)}. Name others with --vision."
        )
    return mine


def warn_of_skipped(data: Data) -> None:
    """Names the images that were left out, as :class:`~genmeta.core.errors.DataWarning`."""
    if data.skipped:
        shown = "; ".join(data.skipped[:5]) + ("; ..." if len(data.skipped) > 5 else "")
        warnings.warn(f"{data.name!r}: left out {len(data.skipped)} files: {shown}", DataWarning, stacklevel=2)
