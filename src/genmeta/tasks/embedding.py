"""Features of images that do not change while they are used: each class is embedded when it is first drawn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from genmeta.data.classes import ImageClasses

#: Images ``[N C H W]`` in [0, 1] to feature vectors ``[N D]``.
Embed = Callable[[Tensor], Tensor]
#: Class and number of quarter turns -> features ``[n D]`` of its images.
Features = dict[tuple[int, int], Tensor]
#: Images embedded together; bounds memory.
_TOGETHER = 128


class Embedding:
    """Looks up the feature vectors of images.

    A class is always embedded by itself, so a feature does not depend on which tasks were drawn before.

    Args:
        data: images by class.
        embed: how.
        known: what is known already; filled as classes are drawn.
    """

    def __init__(self, data: ImageClasses, embed: Embed, known: Features) -> None:
        self._data, self._embed, self._known = data, embed, known

    def __call__(self, classes: np.ndarray, turns: np.ndarray, order: np.ndarray) -> Float[Tensor, "T K n D"]:
        """Features of the images numbered ``order`` ``[T K n]`` of ``classes`` ``[T K]``, turned ``[T K]`` times."""
        flat = zip(classes.flat, turns.flat, order.reshape(-1, order.shape[-1]), strict=True)
        found = [self._class(int(number), int(turn))[torch.from_numpy(images)] for number, turn, images in flat]
        return torch.stack(found).unflatten(0, classes.shape)

    def _class(self, number: int, turn: int) -> Tensor:
        if (number, turn) not in self._known:
            start, stop = self._data.offsets[number : number + 2]
            images = np.rot90(self._data.images[start:stop], turn, axes=(1, 2)).copy()
            pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float().div_(255)
            self._known[number, turn] = torch.cat([self._embed(part) for part in pixels.split(_TOGETHER)])
        return self._known[number, turn]
