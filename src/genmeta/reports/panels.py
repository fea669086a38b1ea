"""Weights arranged as images: what :mod:`genmeta.reports.weights` draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from genmeta.core.types import ROWS, Weights

# dots of a weight in a tile; the gaps between tiles are one dot
_DOTS = 4


@dataclass(frozen=True)
class Panel:
    """One kind of weights.

    Attributes:
        kind: what they are.
        versions: names of the images: the start, and perhaps the adapted weights and the difference.
        images: ``[height width]``, signed, ``nan`` where there is nothing; or ``[height width 3|4]`` in [0, 1].
        limits: the magnitude of the strongest colour of each image.
        labels: of the lines; none for tiles.
        tiles: kernels side by side rather than lines.
    """

    kind: str
    versions: tuple[str, ...]
    images: tuple[np.ndarray, ...]
    limits: tuple[float, ...]
    labels: tuple[str, ...] = ()
    tiles: bool = False


def panels_of(weights: Weights, other: Weights | None, class_names: Sequence[str]) -> list[Panel]:
    """The panels of one task's weights; kinds that were not written are left out."""
    panels = [_lines("class rows", [weights[ROWS][0]], None if other is None else [other[ROWS][0]], tuple(class_names))]
    for kind, ending, centre in (("FiLM scales − 1", ".scale", 1.0), ("FiLM shifts", ".shift", 0.0)):
        names = [name for name, tensor in weights.items() if name.endswith(ending) and tensor.ndim == 2]
        if names:
            now = [weights[name] - centre for name in names]
            after = None if other is None else [other[name] - centre for name in names]
            panels.append(_lines(kind, now, after, tuple(name.removesuffix(ending) for name in names)))
    kernels = next((name for name, tensor in weights.items() if tensor.ndim == 5), None)
    if kernels is not None:
        panels.append(_tiles(kernels, weights[kernels][0], None if other is None else other[kernels][0]))
    return panels


def _versions(start: np.ndarray, adapted: np.ndarray | None) -> list[tuple[str, np.ndarray, float]]:
    """(name, values, limit); the start and the adapted weights share a limit, the difference has its own."""
    if adapted is None:
        return [("start", start, _limit(start))]
    limit, change = max(_limit(start), _limit(adapted)), adapted - start
    return [("start", start, limit), ("adapted", adapted, limit), ("adapted − start", change, _limit(change))]


def _limit(values: np.ndarray) -> float:
    finite = np.abs(values[np.isfinite(values)])
    return max(float(finite.max(initial=0.0)), 1e-12)


def _lines(kind: str, start: list[Tensor], adapted: list[Tensor] | None, labels: tuple[str, ...]) -> Panel:
    versions = _versions(_padded(start), None if adapted is None else _padded(adapted))
    return Panel(kind, *zip(*versions, strict=True), labels=labels)  # type: ignore[misc]


def _padded(parts: list[Tensor]) -> np.ndarray:
    """Vectors of different lengths as the lines of one image."""
    lines = [line for part in parts for line in part.detach().cpu().float().numpy()]
    image = np.full((len(lines), max(map(len, lines))), np.nan, dtype=np.float32)
    for at, line in enumerate(lines):
        image[at, : len(line)] = line
    return image


def _tiles(name: str, start: Tensor, adapted: Tensor | None) -> Panel:
    versions = _versions(_array(start), None if adapted is None else _array(adapted))
    images = tuple(_mosaic(values, limit) for _, values, limit in versions)
    names, limits = tuple(v[0] for v in versions), tuple(v[2] for v in versions)
    return Panel(f"kernels of {name.removesuffix('.weight')}", names, images, limits, tiles=True)


def _array(kernels: Tensor) -> np.ndarray:
    return kernels.detach().cpu().float().numpy()


def _mosaic(kernels: np.ndarray, limit: float) -> np.ndarray:
    """``[O C k k]`` as a grid of tiles: signed for one channel, colours for three, else the channels' mean."""
    kernels = kernels.repeat(_DOTS, 2).repeat(_DOTS, 3)
    n, channels, high, wide = kernels.shape
    columns = int(np.ceil(np.sqrt(n)))
    rows = -(-n // columns)
    colour = channels == 3
    sheet = np.full((rows * (high + 1) - 1, columns * (wide + 1) - 1, 4 if colour else 1), 0.0 if colour else np.nan)
    for at, kernel in enumerate(kernels):
        y, x = at // columns * (high + 1), at % columns * (wide + 1)
        if colour:
            sheet[y : y + high, x : x + wide, :3] = 0.5 + 0.5 * kernel.transpose(1, 2, 0) / limit
            sheet[y : y + high, x : x + wide, 3] = 1
        else:
            sheet[y : y + high, x : x + wide, 0] = kernel.mean(0)
    return sheet if colour else sheet[..., 0]
