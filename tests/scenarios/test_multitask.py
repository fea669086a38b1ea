"""Several visual tasks at once: what the token does, what is shared, what is trained and scored, and the numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from toys import make_detection_task, make_segmentation_task, make_task, perturb, tiny_options

from genmeta.cli.main import main
from genmeta.core.errors import UsageError
from genmeta.core.randomness import seeded
from genmeta.core.settings import EvaluationConfig, TrainConfig
from genmeta.core.types import Examples, Task
from genmeta.engine import load, train
from genmeta.engine.scores import StepScores
from genmeta.engine.task_sources import open_mixed, training_tasks
from genmeta.learners import LearnerConfig, build_learner
from genmeta.methods import METHODS, MetaLearner, build_method, make_options
from genmeta.methods.multitask import MultiTaskLoss, facing, told
from genmeta.methods.objectives import Displacement, QueryLoss
from genmeta.reports.blocks import MISSING
from genmeta.reports.multitask import multitask_table
from genmeta.scenarios.multitask import MultiTaskScores, delta_mtl, mean_difference, multitask_json, multitask_rows
from genmeta.vision import VISUAL_TASKS, visual_task
from genmeta.vision.shared_maps import MULTITASK, SHARED, kind_of

TASKS: dict[str, Callable[..., Task]] = {
    "classification": make_task,
    "segmentation": make_segmentation_task,
    "detection": make_detection_task,
}
kinds = pytest.mark.parametrize("kind", list(SHARED))


def shared(name: str = "hypernet", **options: object) -> MetaLearner:
    learner = build_learner(LearnerConfig("unet", 1, 12, 16, extra=4), seeded(0))
    return build_method(name, learner, vision=visual_task(MULTITASK)(), options={**tiny_options(name), **options})


def answer(it: MetaLearner, task: Task, kind: str) -> torch.Tensor:
    view = told(it, kind)
    with torch.no_grad():
        outputs, *_ = view.answers(task, view.inner_steps, seeded(3))
    return view.pooled(outputs[view.inner_steps], task.n_tasks)


def test_every_visual_task_can_share_a_map() -> None:
    assert list(SHARED) == list(VISUAL_TASKS)
    for kind, make in TASKS.items():
        assert kind_of(make().query.targets) == kind
        assert SHARED[kind].score == VISUAL_TASKS[kind].score


@kinds
def test_the_task_token_matters(kind: str) -> None:
    it = perturb(shared().double(), 0.1).eval()
    task, encoder = TASKS[kind](), told(it, kind).encoder
    first = answer(it, task, kind)
    with torch.no_grad():
        encoder.tokens[list(SHARED).index(kind)] += 1.0  # type: ignore[index,union-attr]
        changed = answer(it, task, kind)
        encoder.tokens[list(SHARED).index(kind) - 1] += 1.0  # type: ignore[index,union-attr]
    assert not torch.allclose(first, changed)
    # the tokens of the others do not
    assert torch.equal(changed, answer(it, task, kind))


def test_visual_tasks_share_every_parameter_and_a_view_changes_nothing() -> None:
    it = shared()
    before = {name: id(p) for name, p in it.named_parameters()}
    for kind in SHARED:
        view = told(it, kind)
        assert {name: id(p) for name, p in view.named_parameters()} == before
        assert view.vision.score == VISUAL_TASKS[kind].score
    assert it.vision.score == "accuracy"
    assert it.state_dict().keys() == shared().state_dict().keys()
    # no more than one visual task alone needs, but for its token
    alone = build_method("hypernet", it.learner, vision=VISUAL_TASKS["detection"](), options=tiny_options("hypernet"))
    tokens = it.encoder.tokens.numel()  # type: ignore[union-attr,operator]
    assert sum(p.numel() for p in it.parameters()) == sum(p.numel() for p in alone.parameters()) + tokens


@kinds
def test_detection_and_segmentation_are_what_they_are_alone(kind: str) -> None:
    """On a shared map only the classifier differs: it reads a mean vector. A zero token says nothing."""
    if kind == "classification":
        features = torch.randn(2, 3, 5, 5, 12, generator=seeded(0))
        seen = SHARED[kind]().seen(features)
        torch.testing.assert_close(seen.norm(dim=-1), torch.ones(2, 3))
        assert seen.shape == (2, 3, 8)
        return
    extra = VISUAL_TASKS[kind].extra_channels
    it = perturb(shared().double(), 0.1).eval()
    with torch.no_grad():
        it.encoder.tokens.zero_()  # type: ignore[union-attr,operator]
    learner = build_learner(LearnerConfig("unet", 1, 12, 16, extra=extra), seeded(0)).double()
    alone = build_method("hypernet", learner, vision=VISUAL_TASKS[kind](), options=tiny_options("hypernet")).double()
    own = alone.state_dict()
    state = _renamed(it, own.keys())
    alone.load_state_dict(state if extra else _without_boxes(state, it))
    task = TASKS[kind]()
    torch.testing.assert_close(answer(it, task, kind), answer(alone.eval(), task, kind), rtol=1e-8, atol=1e-8)


def _renamed(it: MetaLearner, names: object) -> dict[str, torch.Tensor]:
    plain = {name.replace("encoder.encoder.", "encoder."): value for name, value in it.state_dict().items()}
    return {name: plain[name] for name in names}  # type: ignore[attr-defined]


def _without_boxes(state: dict[str, torch.Tensor], it: MetaLearner) -> dict[str, torch.Tensor]:
    """The state without what is written for the box kernel, the last of the shared tensors, which is detection's."""
    shared_names = [name for name, _ in it.spec.shared]
    assert shared_names[-1] == "extra.weight"
    boxes, last = it.learner.own_weights()["extra.weight"].numel(), len(shared_names) - 1
    cut = {n: v[:-boxes] for n, v in state.items() if n.startswith("shared_generator.write.")}
    rows = {f"step_sizes.alphas.{last}": it.state_dict()[f"step_sizes.alphas.{last + 1}"]}
    return {**state, **cut, **rows, "scales": torch.cat([state["scales"][:last], state["scales"][last + 1 :]])}


@kinds
@pytest.mark.parametrize("name", ["hypernet", "protonet", "maml"])
def test_a_query_image_alone_is_answered_as_among_others(name: str, kind: str) -> None:
    it = perturb(shared(name).double(), 0.1).eval()
    task = TASKS[kind]()
    one = task._replace(query=task.query.only(0, 1))
    torch.testing.assert_close(answer(it, task, kind)[:, :1], answer(it, one, kind), rtol=1e-8, atol=1e-8)


def test_each_visual_task_trains_what_is_shared_and_its_own_token() -> None:
    it = perturb(shared().double(), 0.1)
    objective = MultiTaskLoss(METHODS["hypernet"].objective(it, make_options(METHODS["hypernet"], {}), None))  # type: ignore[misc,arg-type]
    for number, kind in enumerate(SHARED):
        it.zero_grad()
        for loss in objective.losses(it, TASKS[kind](), seeded(1)):
            loss.value.backward()
        tokens = it.encoder.tokens.grad  # type: ignore[union-attr,operator]
        assert [bool(row.abs().max() > 0) for row in tokens] == [at == number for at in range(len(SHARED))]
        silent = {n for n, p in it.named_parameters() if p.requires_grad and p.grad is None}
        assert not {n for n in silent if not n.startswith("learner.extra")}, silent


def test_the_view_that_a_task_needs_is_found_by_its_targets() -> None:
    it = shared()
    for kind, make in TASKS.items():
        assert facing(it, make().query.targets).vision.score == VISUAL_TASKS[kind].score
    plain = build_method("protonet", build_learner(LearnerConfig("conv4", 1, 12, 16), seeded(0)))
    assert facing(plain, make_task().query.targets) is plain
    with pytest.raises(UsageError, match="was asked for detection"):
        told(plain, "detection")
    with pytest.raises(UsageError, match="trained by their query losses alone"):
        MultiTaskLoss(Displacement())
    assert isinstance(MultiTaskLoss(QueryLoss()).ordinary, QueryLoss)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Coloured squares, cut out: images by class, and objects of painted scenes."""
    root = tmp_path_factory.mktemp("pictures")
    for k in range(16):
        (root / f"class{k:02}").mkdir()
        for i in range(5):
            picture = Image.new("RGBA", (12, 12), (0, 0, 0, 0))
            picture.paste((16 * k, 255 - 16 * k, 50 * i, 255), (2, 2, 10, 10))
            picture.save(root / f"class{k:02}" / f"{i}.png")
    return root


def config(pictures: Path, run: Path, **changes: object) -> TrainConfig:
    plain = {
        "method": "hypernet", "data": f"folder:{pictures}?size=16+scenes:{pictures}", "scenario": "multitask",
        "vision": "classification,segmentation,detection", "queries": 2, "steps": 3, "tasks_per_batch": 2, "width": 16,
        "validate_every": 3, "validate_tasks": 3, "threads": 1, "ways": "2",
        "options": {"inner_steps": "0", "context": "16", "hidden": "16"},
    }  # fmt: skip
    return TrainConfig(run=str(run), **{**plain, **changes})  # type: ignore[arg-type]


def test_data_sets_serve_what_they_can_and_training_sees_training_classes_alone(pictures: Path, tmp_path: Path) -> None:
    opened = open_mixed(config(pictures, tmp_path))
    assert [one.kind for one in opened] == ["classification", "segmentation", "detection"]
    assert all(training_tasks(one, config(pictures, tmp_path, augment="affine")).split == "train" for one in opened)
    with pytest.raises(UsageError, match="is for none of the visual tasks"):
        open_mixed(config(pictures, tmp_path, vision="segmentation"))
    with pytest.raises(UsageError, match="is for detection"):
        open_mixed(config(pictures, tmp_path, data=f"folder:{pictures}", vision="classification,detection"))
    with pytest.raises(UsageError, match="Did you mean 'detection'"):
        open_mixed(config(pictures, tmp_path, vision="classification,detektion"))


def test_train_and_compare_with_a_team(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained = train(config(pictures, tmp_path / "shared"), progress=False)
    assert trained.vision == MULTITASK
    again = load(tmp_path / "shared")
    task = TASKS["segmentation"]()
    task = task._replace(
        support=Examples(task.support.images.repeat(1, 1, 3, 1, 1).float(), task.support.targets),
        query=Examples(task.query.images.repeat(1, 1, 3, 1, 1).float(), task.query.targets),
    )
    kind = "segmentation"
    assert torch.equal(answer(trained.meta_learner, task, kind), answer(again.meta_learner, task, kind))
    classes, scenes, dense = f"folder:{pictures}?size=16", f"scenes:{pictures}?size=16", "segmentation,detection"
    train(config(pictures, tmp_path / "one", data=classes, vision="classification"), progress=False)
    train(config(pictures, tmp_path / "two", data=scenes, vision=dense), progress=False)
    capsys.readouterr()
    both = f"{tmp_path / 'one'}+{tmp_path / 'two'}"
    arguments = [
        "--data", f"{classes}+{scenes}", "--scenario", "multitask", "--ways", "2", "--queries", "2", "--tasks",
        "2", "--adapt-steps", "0", "--out", str(tmp_path / "out"), "--json",
    ]  # fmt: skip
    main(["compare", str(tmp_path / "shared"), both, *arguments])
    result = json.loads(capsys.readouterr().out)
    assert result["schema"] == "genmeta.multitask/1"
    assert result["reference"] == "one+two"
    cells = [f"{classes}: classification", f"{scenes}: segmentation", f"{scenes}: detection"]
    assert list(result["methods"]["shared"]["cells"]) == cells
    team = result["methods"]["one+two"]
    assert list(team["cells"]) == cells
    assert team["training_steps"] == 6
    assert team["parameters"] == 2 * result["methods"]["shared"]["parameters"]
    assert team["mean_difference"] == {"mean": 0, "ci95": 0}
    assert [each["training"]["run"] for each in result["trained"]["one+two"]] == both.split("+")
    assert "ΔMTL" in (tmp_path / "out" / "report.html").read_text()
    with pytest.raises(SystemExit):
        main(["evaluate", str(tmp_path / "one"), "--data", classes])
    assert "score it with --scenario multitask" in capsys.readouterr().err
    for wrong in (["--scenario", "incremental"], []):
        with pytest.raises(SystemExit) as stopped:
            main(["compare", both, "--data", classes, "--out", str(tmp_path / "no"), *wrong])
        assert stopped.value.code == 2
        assert "names a team of checkpoints" in capsys.readouterr().err
    with pytest.raises(UsageError, match="Two checkpoints of one team"):
        multitask_rows({"a": [again, again]}, EvaluationConfig(f"{classes}+{scenes}", ways=2, tasks=1))
    with pytest.raises(UsageError, match="Nothing to score"):
        multitask_rows({}, EvaluationConfig(classes))


def by_hand(**cells: list[float]) -> MultiTaskScores:
    nothing = np.empty(0)
    made = {n: StepScores(np.array(v), nothing, nothing, nothing, 0.0) for n, v in cells.items()}
    return MultiTaskScores(made, 10, 3)


def test_gains_by_hand() -> None:
    row, base = by_hand(a=[0.6, 0.8], b=[0.3, 0.3, 0.3]), by_hand(a=[0.5, 0.5], b=[0.4, 0.4, 0.4])
    gain = delta_mtl(row, base)
    assert gain.mean == pytest.approx(100 * (0.2 / 0.5 - 0.1 / 0.4) / 2)
    # by resampling, two episodes of a: mean gains of 20, 40 and 60 % with chances 1/4, 1/2, 1/4
    assert gain.half_width == pytest.approx((60 - 20) / 2 / 2)
    assert delta_mtl(base, base).half_width == 0
    difference = mean_difference(row, base)
    assert difference.mean == pytest.approx((20 - 10) / 2)
    assert difference.half_width == pytest.approx(1.96 * np.std([10, 30], ddof=1) / 2**0.5 / 2)
    # nothing is so many percent better than nothing
    nothing = by_hand(a=[0.5, 0.5], b=[0.0, 0.0, 0.0])
    assert delta_mtl(row, nothing) is None
    assert multitask_json({"one": nothing, "two": row}, "one", {})["methods"]["two"]["delta_mtl"] is None  # type: ignore[index]
    assert multitask_table({"one": nothing, "two": row}, "one").rows[1][4] == MISSING
    # a reference that is seldom nothing has a gain and no interval
    seldom = delta_mtl(by_hand(a=[0.5, 0.5]), by_hand(a=[0.0, 0.5]))
    assert seldom.mean == pytest.approx(100)
    assert np.isnan(seldom.half_width)
    with pytest.raises(UsageError, match="compares rows on the same episodes"):
        delta_mtl(by_hand(c=[0.1]), base)
    written = multitask_json({"team": base, "part": by_hand(b=[0.4, 0.4, 0.8])}, "team", {})
    assert written["methods"]["part"]["common_cells"] == ["b"]  # type: ignore[index]
    assert json.dumps(written)
