"""What can be said of a GPU without one: a meta-step waits for no number, and reduced products leave the rest alone.

The step runs on torch's ``meta`` device, which has shapes and no numbers. There reading a number is an error, and so is
a tensor that was left on the CPU; and the formulations are those of a device that is not a CPU.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from test_batching import derivatives
from torch import Tensor
from toys import (
    make_classes,
    make_detection_task,
    make_learner,
    make_method,
    make_segmentation_task,
    make_task,
    normals,
    perturb,
    tiny_options,
)

from genmeta.core import batching
from genmeta.core.errors import UsageError
from genmeta.core.randomness import TaskStreams, lent_to_torch, seeded
from genmeta.core.settings import TrainConfig
from genmeta.core.types import ROWS, Task
from genmeta.engine import train
from genmeta.engine.optimisers import Optimisers
from genmeta.engine.runtime import multiply_in
from genmeta.methods import METHODS, build_method, make_options
from genmeta.methods.objectives import QueryLoss, Setting
from genmeta.tasks import ClassificationTasks
from genmeta.vision import VISUAL_TASKS

#: Methods that read a number in a step after all, and why.
READS = {
    "film-transfer": "whether some class has a single image decides how many passes a step of its inner loop makes"
}
TRAINED = [name for name in METHODS.names() if METHODS[name].objective is not None]


@pytest.mark.parametrize("name", TRAINED)
def test_a_meta_step_reads_no_number_back(name: str) -> None:
    source = ClassificationTasks(make_classes(), "train", ways=3, shots=1, queries=2)
    task, made = source.sample(4, rng=seeded(0)), make_method(name)
    options = make_options(METHODS[name], tiny_options(name))
    with lent_to_torch(seeded(0)):
        objective = METHODS[name].objective(made, options, Setting((source,), 0, None))  # type: ignore[misc]
    if hasattr(objective, "bank"):
        objective.bank(made)  # found once, before training
    objective.begin(1, 100)  # at step 0 and every so often the diversity of draws is read for the log
    trainee = torch.nn.ModuleList([made, objective]).to("meta")

    def step() -> None:
        for part in objective.losses(made, task.to("meta"), TaskStreams(0, "noise", 0)):
            part.value.backward()

    if name in READS:
        with pytest.raises(RuntimeError, match="item"):
            step()
        return
    step()
    # and the optimiser's own arithmetic, up to the one number that is read at the end of a step
    learner = Optimisers(trainee, {}, 1e-3, 10.0).parameters["learner"]
    assert torch.nn.utils.clip_grad_norm_(learner, 10.0).is_meta


@pytest.mark.parametrize("make", [make_segmentation_task, make_detection_task])
def test_nor_does_one_of_maps(make: Callable[..., Task]) -> None:
    vision = VISUAL_TASKS[make.__name__.split("_")[1]]()
    made = make_method("maml", make_learner(vision.learner, extra=vision.extra_channels), vision=vision)
    for part in QueryLoss().losses(made.to("meta"), make().to("meta", torch.float32), seeded(0)):
        part.value.backward()
    gradients = [p.grad for p in made.parameters() if p.grad is not None]
    assert gradients
    assert all(gradient.is_meta for gradient in gradients)


def test_kernels_of_all_tasks_run_as_one_convolution() -> None:
    made, task = make_method("maml").to("meta"), make_task(n_tasks=4).to("meta", torch.float32)
    assert len(made.chunks(task)) == 1
    images, written = normals(4, 6, 4, 4).to("meta"), normals(2, 6, 6, 3, 3).to("meta")
    assert batching.CONV2D.choose(images, written, 2, 1, None).name == "tasks as groups"
    grey = normals(4, 1, 4, 4).to("meta")
    assert batching.CONV2D.choose(grey, normals(6, 1, 3, 3).to("meta"), 2, 1, None).name == "common kernels"
    for weight, given in ((written, images), (written[0], images)):
        out = batching.conv2d(given, weight, 2)
        assert out.is_contiguous(memory_format=torch.channels_last)


class TestReducedProducts:
    """``--precision bf16``."""

    @pytest.mark.parametrize("per_task", [False, True])
    def test_products_are_near_and_gradients_keep_their_precision(self, per_task: bool) -> None:
        images, weight = normals(6, 8, 5, 5).float(), normals(*([3] if per_task else []), 8, 8, 3, 3).float()

        def of(precision: torch.dtype | None) -> Callable[..., Tensor]:
            return lambda x, w: batching.conv2d(x, w, 3, 1, None, precision)

        got, want = (derivatives(of(p), [images, weight]) for p in (torch.bfloat16, None))
        assert {g.dtype for g in got} == {torch.float32}
        off = [((g - w).norm() / w.norm()).item() for g, w in zip(got, want, strict=True)]
        assert 0 < max(off[:3]) < 0.03, "value and first derivatives"
        assert max(off) < 0.3, "of a second derivative both factors are rounded, and the sum of its terms is small"

    def test_steps_too_small_for_bf16_add_up(self) -> None:
        made = perturb(make_method("maml", options={"inner_lr": 1e-3, "row_lr": 1e-3}), 0.1).train()
        multiply_in(made, "bf16")
        _, _, trajectory = made.answers(make_task().to(torch.float32), 8, seeded(0), differentiable=True)
        for name in (ROWS, "blocks.1.conv.weight"):
            path = [weights[name] for weights in trajectory][1:]  # the first step of equal rows moves the rows alone
            assert {w.dtype for w in path} == {torch.float32}
            for before, after in itertools.pairwise(path):
                assert not torch.equal(before, after)
                assert (before.bfloat16() == after.bfloat16()).float().mean() > 0.5, "most steps are none in bfloat16"

    def test_meta_gradients_are_near(self) -> None:
        gradients = []
        for precision in ("float32", "bf16"):
            made = perturb(make_method("maml"), 0.1).train()
            multiply_in(made, precision)
            for part in QueryLoss().losses(made, make_task().to(torch.float32), seeded(0)):
                part.value.backward()
            gradients.append(torch.cat([p.grad.flatten() for p in made.parameters() if p.grad is not None]))
        exact, near = gradients
        assert near.dtype == torch.float32
        assert not torch.equal(exact, near)
        assert torch.nn.functional.cosine_similarity(exact, near, dim=0) > 0.97

    def test_after_training_everything_is_float32(self, config: Callable[..., TrainConfig]) -> None:
        trained = train(config("maml", steps=2, precision="bf16"), progress=False)
        assert {p.dtype for p in trained.meta_learner.parameters()} == {torch.float32}
        made = make_method("maml").eval()
        images = make_task().support.images.float()
        exact = made.learner.features(images)[0]
        multiply_in(made, "bf16")
        assert torch.equal(made.learner.features(images)[0], exact)
        made.train()
        assert not torch.equal(made.learner.features(images)[0], exact)

    def test_what_cannot_be(self, config: Callable[..., TrainConfig]) -> None:
        with pytest.raises(UsageError, match="Unknown precision 'half'"):
            config("maml", precision="half")
        pretrained = make_learner("efficientnet-lite0", channels=3, size=32)
        made = build_method("protonet", pretrained)
        with pytest.raises(UsageError, match=r"--precision bf16 is for learners .* not for 'efficientnet-lite0'"):
            multiply_in(made, "bf16")
        multiply_in(made, "float32")
