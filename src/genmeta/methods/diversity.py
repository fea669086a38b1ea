"""How much generated rows differ, from draw to draw and from class to class."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def centred(rows: Tensor, ways: int) -> Tensor:
    """Rows ``[T*K P]`` less their mean over the classes of their task.

    A vector added to all rows of a task changes no prediction: bank rows are centred, and what is compared with them
    must be too, or a generator is pushed along a direction that no query loss holds it back from.
    """
    each = rows.unflatten(0, (-1, ways))
    return (each - each.mean(1, keepdim=True)).flatten(0, 1)


def diversity(draws: Tensor) -> dict[str, float]:
    """How much generated rows differ within a task, from draw to draw, and between tasks.

    Args:
        draws: ``[S T K P]`` standardised rows, ``S`` draws of each class.

    Returns:
        ``within``: share of the rows' variance that is noise, 0 where the generator ignores it (mode collapse).
        ``between``: share of the variance that is between classes, 0 where the generator ignores the support set.
        ``cosine_within`` and ``cosine_between``: mean cosine between two draws for one task, and between the draws for
        two tasks; near 1 says collapse, as above.
    """
    total = draws.flatten(0, 2).var(0, correction=0).sum() + 1e-12
    within = draws.var(0, correction=1).sum(-1).mean()
    flat = draws.flatten(2)  # a whole task's rows
    same = F.cosine_similarity(flat[0], flat[1], dim=-1).mean()
    other = F.cosine_similarity(flat[0], flat[0].roll(1, 0), dim=-1).mean()
    between = draws.mean(0).flatten(0, 1).var(0, correction=0).sum()
    numbers = {"within": within / total, "between": between / total, "cosine_within": same, "cosine_between": other}
    return {f"diversity_{name}": value.item() for name, value in numbers.items()}
