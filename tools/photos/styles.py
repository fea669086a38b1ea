"""Pictures in many hands: the same photo as a sketch, a cartoon, a painting, a few pixels; emoji on any ground.

Domains that meta-training can learn from without having photos of them. Everything takes and gives ``[H W 3]`` floats
in ``[0, 1]`` and draws from a numpy generator alone.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from made_styles import made_style
from PIL import Image, ImageFilter
from scipy import ndimage

Array = np.ndarray
SIDE = 112


def resized(image: Array, side: int = SIDE) -> Array:
    """Squashed to a square."""
    picture = Image.fromarray((image * 255).round().clip(0, 255).astype(np.uint8))
    return np.asarray(picture.resize((side, side), Image.Resampling.BICUBIC), np.float32) / 255


def sketch(image: Array, rng: np.random.Generator) -> Array:
    """Dark lines on light paper: thresholded differences of Gaussians."""
    grey = ndimage.gaussian_filter(image.mean(-1), rng.uniform(0.4, 1.0))
    fine = rng.uniform(0.8, 1.8)
    edges = ndimage.gaussian_filter(grey, fine) - rng.uniform(0.92, 1.0) * ndimage.gaussian_filter(grey, 1.6 * fine)
    spread = edges.std() + 1e-4
    if rng.random() < 0.4:
        edges = -np.abs(edges)
    lines = 1 / (1 + np.exp(-(edges / spread + rng.uniform(0.3, 0.9)) * rng.uniform(3, 10)))
    paper, ink = rng.uniform(0.85, 1.0), rng.uniform(0.0, 0.3)
    return np.repeat((ink + (paper - ink) * lines)[..., None], 3, -1).astype(np.float32)


def cartoon(image: Array, rng: np.random.Generator) -> Array:
    """Few flat colours, dark outlines."""
    picture = Image.fromarray((image * 255).astype(np.uint8)).filter(ImageFilter.MedianFilter(5))
    colours = picture.quantize(int(rng.integers(5, 14)), method=Image.Quantize.FASTOCTREE).convert("RGB")
    flat = np.asarray(colours, np.float32) / 255
    grey = flat.mean(-1, keepdims=True)
    flat = (grey + (flat - grey) * rng.uniform(1.0, 2.0)).clip(0, 1)
    slope = np.hypot(ndimage.sobel(flat.mean(-1), 0), ndimage.sobel(flat.mean(-1), 1))
    outline = (slope > rng.uniform(0.3, 0.9)).astype(np.float32)
    if rng.random() < 0.6:
        flat = flat * (1 - rng.uniform(0.5, 1.0) * ndimage.gaussian_filter(outline, 0.5)[..., None])
    return flat.astype(np.float32)


def paint(image: Array, rng: np.random.Generator) -> Array:
    """Strokes: colours displaced along smooth noise, then the most common neighbour's; other hues, canvas grain."""
    side = image.shape[0]
    shift = ndimage.zoom(rng.normal(size=(2, 12, 12)), (1, side / 12, side / 12), order=1) * rng.uniform(1, 4)
    grid = np.mgrid[:side, :side] + shift
    moved = np.stack([ndimage.map_coordinates(image[..., c], grid, order=1, mode="nearest") for c in range(3)], -1)
    picture = Image.fromarray((moved * 255).round().clip(0, 255).astype(np.uint8))
    painted = np.asarray(picture.filter(ImageFilter.ModeFilter(int(rng.choice([3, 5, 7])))), np.float32) / 255
    mix = np.eye(3) + rng.normal(size=(3, 3)) * 0.15
    painted = painted @ (mix / mix.sum(1, keepdims=True)).T
    grain = ndimage.gaussian_filter(rng.normal(size=(side, side)), (0.5, rng.uniform(0.5, 3)))[..., None]
    return (painted + grain * rng.uniform(0.0, 0.1)).clip(0, 1).astype(np.float32)


def few_pixels(image: Array, rng: np.random.Generator) -> Array:
    """Seen from afar: 8 to 32 pixels, dim or bright, enlarged again."""
    side = int(rng.integers(10, 36))
    picture = Image.fromarray((image * 255).astype(np.uint8)).resize((side, side), Image.Resampling.BOX)
    way = Image.Resampling.BICUBIC if rng.random() < 0.6 else Image.Resampling.BILINEAR
    small = np.asarray(picture.resize(image.shape[:2], way), np.float32) / 255
    return (small * rng.uniform(0.25, 1.15) + rng.uniform(-0.05, 0.15)).clip(0, 1)


def plain(image: Array, rng: np.random.Generator) -> Array:
    """As it is."""
    return image


def thermal(image: Array, rng: np.random.Generator) -> Array:
    """Grey levels as colours of a random ramp, as instruments show them."""
    grey = image.mean(-1)
    grey = (grey - grey.min()) / max(float(np.ptp(grey)), 1e-3)
    stops = rng.random((4, 3))
    stops = stops[np.argsort(stops.mean(1))] if rng.random() < 0.5 else stops
    return np.stack([np.interp(grey, np.linspace(0, 1, 4), stops[:, c]) for c in range(3)], -1).astype(np.float32)


def solarised(image: Array, rng: np.random.Generator) -> Array:
    """Bright tones turned into dark ones, hues exchanged."""
    bend = rng.uniform(0.35, 0.75)
    out = np.where(image > bend, 2 * bend - image, image).clip(0, 1) / bend
    return out[..., rng.permutation(3)].clip(0, 1).astype(np.float32)


def woodcut(image: Array, rng: np.random.Generator) -> Array:
    """Two tones: darker or brighter than the surroundings."""
    grey = ndimage.gaussian_filter(image.mean(-1), rng.uniform(0.5, 1.5))
    local = ndimage.gaussian_filter(grey, rng.uniform(6, 18))
    cut = (grey > local + rng.uniform(-0.04, 0.04)).astype(np.float32)
    front, back = rng.random(3) * 0.5, 0.5 + rng.random(3) * 0.5
    return (front + (back - front) * ndimage.gaussian_filter(cut, 0.6)[..., None]).astype(np.float32)


def mosaic(image: Array, rng: np.random.Generator) -> Array:
    """Tiles of one colour, grout between them."""
    tile = int(rng.integers(4, 9))
    side = image.shape[0] // tile
    small = resized(image, side)
    out = np.kron(small, np.ones((tile, tile, 1), np.float32))
    out[::tile] *= rng.uniform(0.3, 1.0)
    out[:, ::tile] *= rng.uniform(0.3, 1.0)
    return resized(out.clip(0, 1))


def grainy(image: Array, rng: np.random.Generator) -> Array:
    """Grey, noisy, moved while it was taken."""
    grey = np.repeat(image.mean(-1, keepdims=True), 3, -1)
    moved = ndimage.uniform_filter1d(grey, int(rng.integers(2, 9)), axis=int(rng.integers(2)))
    noise = rng.normal(size=(*moved.shape[:2], 1)) * rng.uniform(0.05, 0.2)
    return ((moved - 0.5) * rng.uniform(0.4, 1.0) + 0.5 + noise).clip(0, 1).astype(np.float32)


STYLES: dict[str, Callable[[Array, np.random.Generator], Array]] = {
    "plain": plain,
    "sketch": sketch,
    "cartoon": cartoon,
    "paint": paint,
    "few_pixels": few_pixels,
    "thermal": thermal,
    "solarised": solarised,
    "woodcut": woodcut,
    "mosaic": mosaic,
    "grainy": grainy,
    # those that choosing uses have numbers from 100; number 10 leaves nothing of most images
    **{f"made-{number}": made_style(number) for number in (*range(10), *range(11, 21), *range(100, 106))},
}


def ground(rng: np.random.Generator, photos: Callable[[], Array]) -> Array:
    """A background: paper, a colour, a gradient, smooth noise, or a blurred piece of a photo."""
    kind = rng.random()
    if kind < 0.3:
        return np.full((SIDE, SIDE, 3), rng.uniform(0.9, 1.0), np.float32)
    if kind < 0.5:
        return np.broadcast_to(rng.random(3).astype(np.float32), (SIDE, SIDE, 3))
    if kind < 0.7:
        corners = rng.random((2, 2, 3))
        return ndimage.zoom(corners, (SIDE / 2, SIDE / 2, 1), order=1).astype(np.float32)
    photo = photos()
    at = rng.integers(0, SIDE // 2, 2)
    piece = resized(photo[at[0] : at[0] + SIDE // 2, at[1] : at[1] + SIDE // 2])
    return ndimage.gaussian_filter(piece, (*[rng.uniform(0, 3)] * 2, 0)).astype(np.float32)


def on_ground(rgba: Array, back: Array, rng: np.random.Generator) -> Array:
    """A cut-out in some size at some place of a background."""
    side = int(rng.uniform(0.6, 1.0) * SIDE)
    picture = Image.fromarray(rgba).resize((side, side), Image.Resampling.BICUBIC)
    front = np.asarray(picture, np.float32) / 255
    y, x = rng.integers(0, SIDE - side + 1, 2)
    out = back.copy()
    alpha = front[..., 3:]
    out[y : y + side, x : x + side] = front[..., :3] * alpha + out[y : y + side, x : x + side] * (1 - alpha)
    return out


def drawn(ink: Array, rng: np.random.Generator) -> Array:
    """A character, ink in ``[0, 1]``, with some thickness in some colours, at times blurred to few pixels."""
    if rng.random() < 0.4:
        ink = ndimage.grey_dilation(ink, size=int(rng.choice([2, 3])))
    ink = resized(np.repeat(ink[..., None], 3, -1).astype(np.float32))
    if rng.random() < 0.4:
        ink = few_pixels(ink, rng)
        ink = (ink - ink.min()) / max(float(np.ptp(ink)), 1e-3)
    kind = rng.random()
    if kind < 0.35:
        return ink
    if kind < 0.7:
        return 1 - ink
    front, back = rng.random(3), rng.random(3)
    while abs(front.mean() - back.mean()) < 0.2:
        front, back = rng.random(3), rng.random(3)
    return (front * ink + back * (1 - ink)).astype(np.float32)


def jittered(image: Array, rng: np.random.Generator, *, flip: bool) -> Array:
    """A view: turned, scaled, shifted, at times mirrored; brightness, contrast and colours a little off."""
    angle, scale = rng.uniform(-0.22, 0.22), rng.uniform(0.72, 1.1, 2) * rng.uniform(0.9, 1.05)
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * scale
    if flip and rng.random() < 0.5:
        matrix[:, 1] *= -1
    centre = (image.shape[0] - 1) / 2
    offset = centre - matrix @ [centre, centre] + rng.uniform(-0.1, 0.1, 2) * image.shape[0]
    out = np.stack(
        [ndimage.affine_transform(image[..., c], matrix, offset, order=1, mode="nearest") for c in range(3)], -1
    )
    mean = out.mean()
    out = (out - mean) * rng.uniform(0.7, 1.3) + mean + rng.uniform(-0.1, 0.1)
    return (out * rng.uniform(0.9, 1.1, 3)).clip(0, 1).astype(np.float32)
