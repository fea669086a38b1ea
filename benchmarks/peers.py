"""The meta-step of other libraries, each as its own documentation writes it, on one and the same module.

Every function takes a module, a batch of tasks, inner steps, an inner step size and whether second derivatives are
kept; it leaves the meta-gradient on the module's parameters. A library that cannot be imported is skipped, with a
reason.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tarfile
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from genmeta.core.types import Task

ROOT = Path(__file__).parents[1]
PLACE = Path(os.environ.get("GENMETA_PEERS", ROOT / "build" / "peers"))
Step = Callable[[nn.Module, Task, int, float, bool], None]


def install() -> None:
    """Puts the peers into :data:`PLACE`, one by one, so that one that will not install does not hinder the others."""
    if (PLACE / ".done").exists():
        return
    PLACE.mkdir(parents=True, exist_ok=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "-q"]
    lines = (Path(__file__).parent / "requirements.txt").read_text(encoding="utf-8").splitlines()
    for line in (line for line in lines if line and not line.startswith("#")):
        if not line.startswith("learn2learn"):
            subprocess.run([*pip, "install", "--no-deps", "--target", str(PLACE), line], check=False)
    try:
        _build_learn2learn(pip, next(line for line in lines if line.startswith("learn2learn")))
    except (OSError, subprocess.SubprocessError, StopIteration, tarfile.TarError) as error:
        print(f"learn2learn does not build here: {error}")
    (PLACE / ".done").touch()


def _build_learn2learn(pip: list[str], requirement: str) -> None:
    """Its release does not build on today's Python, but its Cython sources do, in place."""
    source = PLACE / "source"
    fetch = ["download", "--no-deps", "--no-binary", ":all:", "-d", str(source), requirement]
    subprocess.run([*pip, *fetch], check=True)
    archive = next(source.glob("*.tar.gz"))
    with tarfile.open(archive) as packed:
        packed.extractall(source, filter="data")
    tree = source / archive.name.removesuffix(".tar.gz")
    build = [sys.executable, "setup.py", "build_ext", "--inplace"]
    subprocess.run(build, cwd=tree, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": str(PLACE)})
    (PLACE / "learn2learn").symlink_to(tree / "learn2learn")


def available() -> tuple[dict[str, Step], dict[str, str]]:
    """The peers that can be imported, and the reasons why others cannot."""
    sys.path.append(str(PLACE))
    _declare_torchvision_operators()
    steps, reasons = {}, {}
    for name, step in (("learn2learn", learn2learn_step), ("higher", higher_step), ("torchopt", torchopt_step)):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                importlib.import_module(name)
            steps[name] = step
        except (ImportError, RuntimeError, AttributeError) as error:
            reasons[name] = str(error).splitlines()[0]
    return steps, reasons


def _declare_torchvision_operators() -> None:
    """A torchvision built for another device lacks its operators; with their schemas declared its Python imports."""
    library = torch.library.Library("torchvision", "FRAGMENT")
    _declare_torchvision_operators.kept = library  # type: ignore[attr-defined]
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


def pieces(task: Task, t: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Support images and targets, query images and targets of one task."""
    return task.support.images[t], task.support.labels[t], task.query.images[t], task.query.labels[t]


def plain_step(model: nn.Module, task: Task, steps: int, lr: float, second: bool) -> None:
    """What one writes without a library: ``functional_call`` and ``autograd.grad``."""
    own = dict(model.named_parameters())
    for t in range(task.n_tasks):
        images, targets, queries, truth = pieces(task, t)
        weights = own
        for _ in range(steps):
            loss = F.cross_entropy(functional_call(model, weights, (images,)), targets)
            gradients = torch.autograd.grad(loss, list(weights.values()), create_graph=second)
            weights = {name: w - lr * g for (name, w), g in zip(weights.items(), gradients, strict=True)}
        (F.cross_entropy(functional_call(model, weights, (queries,)), truth) / task.n_tasks).backward()


def learn2learn_step(model: nn.Module, task: Task, steps: int, lr: float, second: bool) -> None:
    """``maml.clone()``, ``learner.adapt(loss)``."""
    from learn2learn.algorithms import MAML

    maml = MAML(model, lr=lr, first_order=not second)
    for t in range(task.n_tasks):
        images, targets, queries, truth = pieces(task, t)
        learner = maml.clone()
        for _ in range(steps):
            learner.adapt(F.cross_entropy(learner(images), targets))
        (F.cross_entropy(learner(queries), truth) / task.n_tasks).backward()


def higher_step(model: nn.Module, task: Task, steps: int, lr: float, second: bool) -> None:
    """``higher.innerloop_ctx``, ``diffopt.step(loss)``."""
    import higher

    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    for t in range(task.n_tasks):
        images, targets, queries, truth = pieces(task, t)
        context = higher.innerloop_ctx(model, optimizer, copy_initial_weights=False, track_higher_grads=second)
        with context as (network, descent):
            for _ in range(steps):
                descent.step(F.cross_entropy(network(images), targets))
            loss = F.cross_entropy(network(queries), truth) / task.n_tasks
            if second:
                loss.backward()
                continue
            gradients = torch.autograd.grad(loss, list(network.parameters()))
        for parameter, gradient in zip(model.parameters(), gradients, strict=True):
            parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient


def torchopt_step(model: nn.Module, task: Task, steps: int, lr: float, second: bool) -> None:
    """``torchopt.MetaSGD``, states extracted and recovered around each task."""
    if not second:
        raise NotImplementedError("TorchOpt's MetaSGD has no first-order mode")
    import torchopt

    descent = torchopt.MetaSGD(model, lr=lr)
    start = torchopt.extract_state_dict(model, by="reference", detach_buffers=True)
    rest = torchopt.extract_state_dict(descent, by="reference")
    for t in range(task.n_tasks):
        images, targets, queries, truth = pieces(task, t)
        for _ in range(steps):
            descent.step(F.cross_entropy(model(images), targets))
        (F.cross_entropy(model(queries), truth) / task.n_tasks).backward()
        torchopt.recover_state_dict(model, start)
        torchopt.recover_state_dict(descent, rest)


if __name__ == "__main__":
    install()
    print(available())
