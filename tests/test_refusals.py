"""What the library refuses, and in which words: cases that belong to no one part."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from toys import make_classes, make_learner, make_task

from genmeta.cli.main import main
from genmeta.core.batching import native
from genmeta.core.errors import UsageError
from genmeta.core.randomness import seeded
from genmeta.core.settings import TrainConfig
from genmeta.engine import train
from genmeta.engine.evaluation import fit_temperatures
from genmeta.engine.task_sources import make_tasks, open_data
from genmeta.estimators.export import export_onnx
from genmeta.estimators.labels import as_labels
from genmeta.learners import LearnerConfig, backbone, build_learner
from genmeta.methods import build_method
from genmeta.serve import checkpoints
from genmeta.tasks import ClassificationTasks
from genmeta.tasks.domains import DomainTasks
from genmeta.vision import VISUAL_TASKS


def folder(root: Path, size: int) -> Path:
    for name in "abc":
        (root / name).mkdir(parents=True)
        for i in range(2):
            Image.fromarray(np.full((size, size), 40 * i, np.uint8)).save(root / name / f"{i}.png")
    return root


def test_labels() -> None:
    with pytest.raises(UsageError, match=r"Labels hold NaN or infinity\. Leave out images without a label\."):
        as_labels([1.0, float("nan")], 2)
    with pytest.raises(
        UsageError, match=r"Labels are of different kinds: int, str\. Give all of them as text or all as"
    ):
        as_labels(np.array([1, "a"], dtype=object), 2)


def test_a_checkpoint_named_twice() -> None:
    with pytest.raises(UsageError, match=r"A checkpoint is named twice: a, a\. Name each once\."):
        checkpoints.estimators(["a", "a"])


def test_nothing_to_predict(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["predict", "model.safetensors"])
    assert "Name images or folders of images: genmeta predict model.safetensors IMAGES..." in capsys.readouterr().err


def test_data_sets_of_different_shapes(tmp_path: Path) -> None:
    one, other = folder(tmp_path / "one", 12), folder(tmp_path / "other", 16)
    data = f"folder:{one}?size=12&color=gray+folder:{other}?size=16&color=gray"
    with pytest.raises(UsageError, match=r"have images of different shapes .*; set --size\."):
        train(TrainConfig("protonet", data, str(tmp_path / "run")), progress=False)


def test_what_a_visual_task_has_no_use_for() -> None:
    scenes = open_data("scenes", "segmentation", size=32)
    with pytest.raises(UsageError, match=r"--augment is for classification; the images of 'scenes' vary by"):
        make_tasks(scenes, "segmentation", "train", ways=1, shots=1, queries=1, augment="affine")
    learner = make_learner("unet", size=16, extra=VISUAL_TASKS["segmentation"].extra_channels)
    segmenter = build_method("protonet", learner, vision=VISUAL_TASKS["segmentation"]())
    with pytest.raises(UsageError, match="A temperature is fitted to classification, not to segmentation: leave"):
        fit_temperatures(segmenter, ClassificationTasks(make_classes()))


def test_a_method_for_classification_alone() -> None:
    vision = VISUAL_TASKS["segmentation"]()
    with pytest.raises(UsageError, match="film-transfer is for classification, not for segmentation"):
        build_method("film-transfer", make_learner("unet", size=16), vision=vision)


def test_an_unknown_part_to_move() -> None:
    with pytest.raises(UsageError, match="Unknown thing to move 'men'"):
        build_method("abml", make_learner(), options={"moves": "men"})


@pytest.mark.parametrize(
    "name,option,value,message",
    [
        ("hypernet", "context", 7, r"The options context=7 make no model of 'hypernet': embed_dim must be divisible"),
        ("autoregressive", "heads", 0, "The options heads=0 make no model of 'autoregressive': "),
        ("anpml", "context", 7, "A context of size 7 cannot be shared by 4 heads: take a multiple"),
    ],
)
def test_options_that_make_no_model(name: str, option: str, value: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build_method(name, make_learner(), options={option: value})


def test_film_transfer_writes_one_start() -> None:
    learner = build_learner(LearnerConfig("efficientnet-lite0", 3, 32), seeded(0))
    it = build_method("film-transfer", learner)
    task = make_task(n_tasks=1, ways=2, shots=1, channels=3, size=32).to(torch.float32)
    with pytest.raises(UsageError, match=r"film-transfer writes one start for a support set, got samples=3\."):
        it.adapt(task.support, 2, seeded(0), samples=3)


def test_an_unknown_timm_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backbone, "_extra", lambda *names: SimpleNamespace(list_models=lambda: ["resnet18"]))
    with pytest.raises(UsageError, match=r"Unknown timm model .resnet81.\. Did you mean .resnet18."):
        backbone._timm("resnet81")


def test_export_from_a_gpu(tmp_path: Path) -> None:
    class OnGpu:
        is_cuda = True

    model = SimpleNamespace(pixels=None, _trained=SimpleNamespace(meta_learner=SimpleNamespace(scales=OnGpu())))
    with pytest.raises(UsageError, match=r"Export runs on the CPU: save the model, load it again, and export that\."):
        export_onnx(model, tmp_path / "model.onnx")  # type: ignore[arg-type]


def test_an_unknown_choice_of_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENMETA_KERNELS", "maybe")
    with pytest.raises(UsageError, match="Unknown value of GENMETA_KERNELS 'maybe'"):
        native.choice()


def test_jittered_images_have_no_features_to_keep() -> None:
    tasks = ClassificationTasks(make_classes(), ways=3, shots=1, queries=1, augment="affine")
    with pytest.raises(UsageError, match=r"Images that change with every task \(augment='affine'\) have no"):
        tasks.embedded(lambda images: images)  # type: ignore[arg-type, return-value]


def test_domain_tasks_of_nothing() -> None:
    with pytest.raises(UsageError, match="Domain tasks need shots, queries and domains, got 0, 1, 1"):
        DomainTasks(SimpleNamespace(), np.array([0]), "all", shots=0, queries=1)  # type: ignore[arg-type]
