"""Classes that are to be new to a checkpoint and are not: said when it starts, and when it is scored."""

from __future__ import annotations

import dataclasses
import re
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genmeta.core.errors import DataWarning
from genmeta.core.settings import EvaluationConfig, TrainConfig
from genmeta.data import open_dataset
from genmeta.engine import Trained, load, train
from genmeta.engine.seen_classes import learned_from
from genmeta.scenarios import open_tasks
from genmeta.scenarios.protocols import Protocol, incremental_rows

Config = Callable[..., TrainConfig]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty classes without a split of their own."""
    root, random = tmp_path_factory.mktemp("unsplit"), np.random.default_rng(0)
    for k in range(20):
        (root / f"class{k:02}").mkdir()
        for i in range(7):
            Image.fromarray(random.integers(0, 256, (16, 16), np.uint8)).save(root / f"class{k:02}" / f"{i}.png")
    return root


@pytest.fixture
def trained(folder: Path, config: Config) -> Trained:
    return train(dataclasses.replace(config(), data=f"folder:{folder}?size=16&color=gray"), progress=False)


def names(spec: str, split: str) -> set[str]:
    data = open_dataset(spec, size=16, channels=1)
    return {data.class_names[k] for k in data.splits[split]}


def episodes(data: str, split: str = "test") -> EvaluationConfig:
    return EvaluationConfig(data=data, ways=2, shots=1, queries=2, tasks=2, split=split)


def test_another_split_of_the_same_files(trained: Trained, folder: Path) -> None:
    seen = names(f"folder:{folder}", "train") & names(f"folder:{folder}?seed=1", "test")
    assert seen, "these seeds should overlap"
    with pytest.warns(DataWarning, match=rf"{len(seen)} of the 5 classes in the test split of .*{min(seen)!r}"):
        open_tasks(trained, episodes(f"folder:{folder}?seed=1"))
    with pytest.warns(DataWarning, match=rf"'it' was trained on .* {len(seen)} of the 5 classes"):
        incremental_rows(
            {"it": trained},
            f"folder:{folder}?seed=1",
            Protocol(scenario="incremental", base_classes=2, base_shots=1, sessions=1, streams=1),
            ways=1,
            shots=1,
            queries=1,
        )


def test_nothing_is_said_of_its_own_split_or_of_other_files(trained: Trained, folder: Path, photos: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_tasks(trained, episodes(f"folder:{folder}"))
        open_tasks(trained, episodes(f"folder:{photos}"))
        open_tasks(trained, episodes(f"folder:{folder}?seed=1", "train"))  # asked for


def test_a_start_hands_on_what_it_has_seen(trained: Trained, folder: Path, photos: Path, config: Config) -> None:
    first = Path(trained.config["training"]["run"])
    second = train(config(run="second", init=str(first)), progress=False)
    assert learned_from(second.config) == (trained.config["training"]["data"], second.config["training"]["data"])
    run = second.config["training"]["run"]
    assert learned_from(load(run).config) == learned_from(second.config)
    with pytest.warns(DataWarning, match=re.escape("The checkpoint was trained on 'folder:")):
        open_tasks(second, episodes(f"folder:{folder}?seed=1"))
    seen = names(f"folder:{folder}", "train") & (
        names(f"folder:{folder}?seed=1", "test") | names(f"folder:{folder}?seed=1", "val")
    )
    third = dataclasses.replace(config(run="third", init=run), data=f"folder:{folder}?seed=1&size=16&color=gray")
    with pytest.warns(
        DataWarning, match=rf"second' was trained on .* {len(seen)} of the 8 classes in the val and test"
    ):
        train(third, progress=False)


def test_a_header_that_names_no_data() -> None:
    assert learned_from({}) == learned_from({"training": {"data": None}}) == ()
    assert learned_from({"training": {"data": "omniglot+glyphs"}}) == ("omniglot", "glyphs")


def test_a_forged_header_is_passed_over(trained: Trained, folder: Path) -> None:
    assert learned_from({"learned_from": {"a": 1}, "training": "x"}) == ()
    forged = Trained(
        trained.meta_learner, {**trained.config, "learned_from": ["", 7, "folder:?", f"folder:{folder}?val=x"]}
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_tasks(forged, episodes(f"folder:{folder}"))
