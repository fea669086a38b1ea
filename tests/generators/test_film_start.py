"""The written FiLM start: a constant at first, then whatever the support set says, whoever comes first in it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from toys import built, normals, perturb

from genmeta.core.spec import ParamSpec
from genmeta.generators.film_start import FiLMStartGenerator

SPEC = ParamSpec((("a.scale", (4,)), ("a.shift", (4,)), ("b.scale", (3,))), 1)
FEATURES = F.normalize(normals(2, 6, 8), dim=-1)
MEMBERS = F.one_hot(torch.tensor([[0, 0, 1, 1, 2, 2]] * 2), 3).double()


def make(directions: int = 5) -> FiLMStartGenerator:
    return built(lambda: FiLMStartGenerator(8, SPEC, 16, directions, 0.02, 4))


def test_it_begins_as_the_constant() -> None:
    written = make()(FEATURES, MEMBERS)
    assert all((value == 0).all() for value in written.corrections.values())
    assert all(torch.allclose(value, torch.full_like(value, 0.02)) for value in written.step_sizes.values())
    assert (written.sharpness == 0).all()
    constant = make(0)(FEATURES, MEMBERS)
    assert constant.corrections == {}
    assert constant.step_sizes.keys() == written.step_sizes.keys() == {"a.scale", "a.shift", "b.scale"}


def test_what_is_written_depends_on_the_support_set_and_on_nothing_else() -> None:
    it = perturb(make(), 0.3)
    both = it(FEATURES, MEMBERS)
    for name, shape in SPEC.shared:
        assert both.corrections[name].shape == (2, *shape)
        assert both.step_sizes[name].shape == (2, 1)
        assert (both.step_sizes[name] > 0).all()
        assert (both.corrections[name][0] - both.corrections[name][1]).abs().max() > 1e-6
    order = torch.tensor([3, 5, 0, 2, 4, 1])
    mixed = it(FEATURES[:, order], MEMBERS[:, order])
    relabelled = it(FEATURES, MEMBERS[..., [2, 0, 1]])
    alone = it(FEATURES[1:], MEMBERS[1:])
    for name in both.corrections:
        torch.testing.assert_close(mixed.corrections[name], both.corrections[name])
        torch.testing.assert_close(relabelled.step_sizes[name], both.step_sizes[name])
        torch.testing.assert_close(alone.corrections[name][0], both.corrections[name][1])
