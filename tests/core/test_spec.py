"""ParamSpec: cutting a vector into tensors and joining them again lose nothing."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import normals

from genmeta.core.errors import UsageError
from genmeta.core.spec import ParamSpec
from genmeta.core.types import ROWS

SHAPES = st.lists(st.integers(1, 3), max_size=4).map(tuple)
SPECS = st.dictionaries(st.text(min_size=1).filter(lambda name: name != ROWS), SHAPES, min_size=1, max_size=5).map(
    lambda shapes: ParamSpec(tuple(shapes.items()), 3)
)


@settings(deadline=None, max_examples=50)
@given(SPECS, st.integers(1, 3))
def test_split_and_join_are_inverse(spec: ParamSpec, n_tasks: int) -> None:
    vector = normals(n_tasks, spec.shared_length)
    tensors = spec.split(vector)
    assert {name: tuple(t.shape[1:]) for name, t in tensors.items()} == dict(spec.shared)
    assert list(tensors) == [name for name, _ in spec.shared]
    assert torch.equal(spec.join(tensors), vector)
    assert spec.shared_length == sum(math.prod(shape) for _, shape in spec.shared)


def test_vectors_of_another_length_are_refused() -> None:
    spec = ParamSpec((("a", (2, 2)), ("b", (3,))), 4)
    with pytest.raises(UsageError, match=r"Expected vectors of shape \[T 7\], got \[1, 6\]\."):
        spec.split(normals(1, 6))


def test_join_says_what_is_missing() -> None:
    spec = ParamSpec((("a", (2,)), ("b", (3,))), 4)
    with pytest.raises(UsageError, match=r"Nothing to join: \['b'\]\."):
        spec.join({"a": normals(1, 2)})


def test_a_spec_without_shared_tensors() -> None:
    spec = ParamSpec((), 4)
    assert spec.shared_length == 0
    assert spec.split(normals(2, 0)) == {}
    with pytest.raises(UsageError, match="this spec has no shared tensors"):
        spec.join({})


@pytest.mark.parametrize("names", [("a", "a"), (ROWS,)])
def test_names_are_distinct_and_not_that_of_the_rows(names: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="Shared tensors need distinct names other than 'rows', got"):
        ParamSpec(tuple((name, (1,)) for name in names), 1)


def test_rows_have_weights() -> None:
    with pytest.raises(UsageError, match=r"A class row needs at least one weight, got row_length=0\."):
        ParamSpec((), 0)
