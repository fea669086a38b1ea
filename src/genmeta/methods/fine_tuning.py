"""Fine-tuning from where a generator starts: steps by Adam that may move more weights than were written.

What was meta-trained are the start, and steps on what was written. Where there are seconds to spare and labelled images
differ much from those of meta-training (photos, for a network that has seen drawings), more is gained by moving the
whole network from that start, as one would a pretrained one.
"""

from __future__ import annotations

import copy
import math

from genmeta.adapters import GradientAdapter, LatentAdapter
from genmeta.core.errors import UsageError
from genmeta.core.spec import ParamSpec
from genmeta.generators import FixedStepSize
from genmeta.methods.base import adapted_names
from genmeta.methods.meta_learner import MetaLearner

#: Learning rate.
RATE = 0.002


def with_fine_tuning(meta_learner: MetaLearner, space: str = "all", rate: float = RATE) -> MetaLearner:
    """A copy with the same start, whose steps are Adam's on the tensors of a space and the class rows.

    ``θ_{j+1} = θ_j − rate · Adam(∇L_S(θ_j))``, rows times the number of classes; after 0 steps it answers as the
    original does. It is for use, not for meta-training. Adam: Kingma and Ba, 2015 (https://arxiv.org/abs/1412.6980).

    Args:
        meta_learner: of a method whose steps move weights.
        space: :data:`~genmeta.learners.SPACES`: ``all``, ``film``, ``head`` or ``rows``; what is written but lies
            outside it stays as it was written.
        rate: learning rate.

    Raises:
        UsageError: an unknown space, a rate that is not above 0, or a method whose steps move something else.
    """
    if not (math.isfinite(rate) and rate > 0):
        raise UsageError(f"The learning rate of fine-tuning must be above 0, got {rate}.")
    if type(meta_learner) is not MetaLearner or isinstance(meta_learner.adapter, LatentAdapter):
        raise UsageError(
            "This method takes steps of its own, not on weights alone, so there is no fine-tuning in their place. "
            "Leave it out, or use a method such as hypernet or protonet."
        )
    shapes = meta_learner.learner.written_shapes(space)
    wider = copy.deepcopy(meta_learner)
    wider.moved = tuple({**dict(meta_learner.spec.shared), **dict(shapes)})
    moves = ParamSpec(shapes, meta_learner.spec.row_length)
    wider.step_sizes = FixedStepSize(moves, adapted_names(moves), rate, rate).to(meta_learner.scales.device)
    wider.adapter = GradientAdapter(first_order=True, rule="adam")
    return wider
