"""Every path of every operation equals a plain loop over tasks: a path without a case it fits fails here.

The dispatch of :mod:`genmeta.core.batching` is the list of paths itself, and this test walks those lists, so a path
cannot be added without its law.
"""

from __future__ import annotations

import pytest
import torch
from batching_cases import CASES, Case
from test_batching import check_equal, derivatives
from toys import normals

from genmeta.core import batching
from genmeta.core.batching import Operation, Path, native

#: float32 against float64, values and first derivatives, relative to the largest number of each tensor.
SINGLE = 1e-4

#: Paths that need the compiled kernels.
COMPILED = ("fused", "tiles", "from patches")

PATHS = [(operation, path) for operation in batching.OPERATIONS for path in operation.paths]
NAMES = [f"{operation.name}: {path.name}" for operation, path in PATHS]


def fitting(operation: Operation, path: Path) -> list[Case]:
    return [case for case in CASES[operation.name]() if path.fits(*case.arguments)]


def check_path(operation: Operation, path: Path) -> None:
    if path.name in COMPILED and native.library() is None:
        pytest.skip("no C++ compiler here")
    cases = fitting(operation, path)
    assert cases, f"no case fits the path {path.name!r} of {operation.name!r}: it has no law"
    for case in cases:
        check_equal(lambda *inputs, c=case: c.call(path.compute, list(inputs)), case.plain, case.inputs)


@pytest.mark.parametrize("operation,path", PATHS, ids=NAMES)
def test_path_equals_the_plain_loop(operation: Operation, path: Path) -> None:
    check_path(operation, path)


@pytest.mark.parametrize("operation,path", PATHS, ids=NAMES)
def test_path_in_single_precision(operation: Operation, path: Path) -> None:
    if path.name in COMPILED and native.library() is None:
        pytest.skip("no C++ compiler here")
    for case in fitting(operation, path)[::3]:
        inputs = [x.float() for x in case.inputs]
        got = derivatives(lambda *inputs, c=case: c.call(path.compute, list(inputs)), inputs)
        want = derivatives(case.plain, [x.double() for x in inputs])
        for g, w in list(zip(got, want, strict=True))[: 1 + len(inputs)]:
            assert (g.double() - w).abs().max() <= SINGLE * w.abs().max()


def test_a_path_without_a_law_is_noticed() -> None:
    wrong = Path("new", lambda *a: True, lambda *a: True, lambda *inputs: 1.001 * batching.conv2d(*inputs))
    with pytest.raises(AssertionError, match="not close"):
        check_path(Operation("conv2d", wrong), wrong)
    nowhere = Path("new", lambda *a: False, lambda *a: True, lambda *a: None)
    with pytest.raises(AssertionError, match="no case fits the path 'new'"):
        check_path(Operation("conv2d", nowhere), nowhere)


def test_every_public_layer_has_a_law() -> None:
    # layers with one formulation are tested by name in test_batching.py, those with several above
    single = {
        "flat",
        "linear",
        "unit",
        "class_logits",
        "class_means",
        "repeat",
        "mean_of_present",
        "mean_probabilities",
        "modulate",
        "same_conv2d",
    }
    functions = {name for name in batching.__all__ if callable(getattr(batching, name)) and name[0].islower()}
    assert functions == single | set(CASES)


def test_the_choice_of_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    images, grey = normals(4, 6, 4, 4), normals(4, 1, 4, 4)
    kernel, written = normals(6, 6, 3, 3), normals(2, 6, 6, 3, 3)
    choose = batching.OPERATIONS[0].choose
    assert choose(grey, normals(6, 1, 3, 3), 2, 1, None).name == "one product"
    assert choose(images, kernel, 2, 1, None).name == "common kernels"
    assert choose(images, written, 2, 1, None).name == "task by task"
    wide, kernels = normals(4, 16, 4, 4), normals(16, 16, 3, 3)
    if native.library() is not None:
        assert choose(wide, kernels, 2, 1, None).name == "tiles"
        assert choose(wide, kernels, 2, 2, None).name == "common kernels"
    monkeypatch.setenv("GENMETA_KERNELS", "off")
    assert choose(wide, kernels, 2, 1, None).name == "common kernels"
    for operation in batching.OPERATIONS[1:3]:
        assert operation.choose(images).name == "plain"
    if native._load()[0] is not None:
        monkeypatch.setenv("GENMETA_KERNELS", "on")
        for operation in batching.OPERATIONS[1:3]:
            assert operation.choose(images).name == "fused"
            assert operation.choose(images.half()).name == "plain"
            assert operation.choose(images.to("meta")).name == "plain"


def test_patches_are_cut_out_once() -> None:
    images, patches = normals(4, 1, 6, 6), batching.Patches()
    first = batching.conv2d(images, normals(5, 1, 3, 3), 1, 1, patches)
    (kept,) = patches.values()
    again = batching.conv2d(images, normals(5, 1, 3, 3), 1, 1, patches)
    assert next(iter(patches.values())) is kept
    assert torch.equal(first, again)
