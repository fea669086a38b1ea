"""The one package that knows how a batch of tasks is computed.

Every layer takes images of ``T`` tasks laid flat, ``[T*N C H W]``, and weights that are either *common* to all tasks
(``[O C k k]``) or *written per task* (``[T O C k k]``). Common weights run once over all images; FiLM scales and
shifts are broadcast; only per-task kernels need more, and there a batch of one task (see ``tasks_per_chunk`` in
:mod:`genmeta.methods.meta_learner`) is again an ordinary convolution. The gradient of a sum of per-task losses with
respect to per-task weights is the stack of per-task gradients, so nothing else in the library needs a task loop,
and no function transform is involved: second derivatives are autograd's own.

Operations with several formulations (:mod:`~genmeta.core.batching.paths`) choose by what they are given: on a CPU the
first convolution is a product of patches cut out once, and where there is a compiler the first block is one operation,
norm, pooling and activation of the others are another, and 3×3 convolutions take a fraction of the products that a sum
has; on a GPU tasks with kernels of their own are groups of one convolution.

Exactness is a law: ``tests/core/test_batching.py`` holds every path against a plain Python loop in float64.
"""

from genmeta.core.batching.blocks import CONV_NORM, conv_norm
from genmeta.core.batching.convolutions import CONV2D, Patches, conv2d, same_conv2d
from genmeta.core.batching.layers import (
    Images,
    class_logits,
    class_means,
    flat,
    linear,
    mean_of_present,
    mean_probabilities,
    repeat,
    unit,
)
from genmeta.core.batching.norms import (
    BATCH_NORM,
    GROUP_NORM,
    NOTHING,
    After,
    Moments,
    group_norm,
    modulate,
    support_batch_norm,
)
from genmeta.core.batching.paths import Operation, Path

#: Every operation with a choice of formulations.
OPERATIONS = (CONV2D, GROUP_NORM, BATCH_NORM, CONV_NORM)

__all__ = [
    "OPERATIONS", "Operation", "Path", "After", "NOTHING", "Images", "Moments", "Patches",
    "flat", "conv2d", "conv_norm", "same_conv2d", "group_norm", "support_batch_norm", "modulate", "linear", "unit",
    "class_logits", "class_means", "mean_of_present", "mean_probabilities", "repeat",
]  # fmt: skip
