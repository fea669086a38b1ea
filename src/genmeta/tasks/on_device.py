"""Images that lie on a device as a whole, so that drawing tasks there moves nothing but the numbers of images."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from genmeta.core.transfer import sent
from genmeta.data.classes import ImageClasses

#: Larger data stay where they are, memory-mapped.
MOST_BYTES = 4 << 30


class ImagesOnDevice:
    """Looks up the pixels of images on a device.

    Args:
        data: images by class.
        device: where they go, as uint8.
    """

    def __init__(self, data: ImageClasses, device: torch.device) -> None:
        self.device, self._offsets = device, data.offsets
        self._images = torch.from_numpy(np.array(data.images)).to(device)

    def __call__(self, classes: np.ndarray, turns: np.ndarray, order: np.ndarray) -> Float[Tensor, "T K n C H W"]:
        """Pixels in [0, 1] of the images numbered ``order`` ``[T K n]`` of ``classes``, turned ``turns`` ``[T K]``."""
        where = self._offsets[classes][..., None] + order
        images = self._images[sent(torch.from_numpy(where), self.device)]
        for turn in (1, 2, 3):
            chosen = np.nonzero(turns == turn)
            if len(chosen[0]):
                at = tuple(sent(torch.from_numpy(index), self.device) for index in chosen)
                images[at] = torch.rot90(images[at], turn, dims=(2, 3))
        return images.permute(0, 1, 2, 5, 3, 4).float().div_(255)
