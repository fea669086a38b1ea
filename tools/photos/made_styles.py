"""Styles without end: number ``n`` is a fixed chain of changes of tone, texture and place, drawn once from ``n``.

A generator of starts learns from *domains*, of which hand-written styles give few. Every third of these is mild, a
photo from another camera; the others are far from photos. What an image adds of its own (noise, places) comes from its
own random numbers; what makes the style (colours, widths, thresholds) from the style's number alone.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter
from scipy import ndimage

Array = np.ndarray
Change = Callable[[Array, np.random.Generator], Array]


def _picture(image: Array) -> Image.Image:
    return Image.fromarray((image * 255).round().clip(0, 255).astype(np.uint8))


def _array(picture: Image.Image) -> Array:
    return np.asarray(picture.convert("RGB"), np.float32) / 255


def _repeat(grey: Array) -> Array:
    return np.repeat(grey[..., None], 3, -1)


# -- tone: what colour becomes what ----------------------------------------------------------------------------------


def mixed_colours(fixed: np.random.Generator) -> Change:
    mix = np.eye(3) * fixed.uniform(-0.5, 1) + fixed.normal(size=(3, 3)) * 0.6
    low, high = np.minimum(mix, 0).sum(1), np.maximum(mix, 0).sum(1)
    return lambda image, rng: (image @ mix.T - low) / np.maximum(high - low, 1e-3)


def colour_ramp(fixed: np.random.Generator) -> Change:
    stops = fixed.random((int(fixed.integers(2, 5)), 3))
    at = np.linspace(0, 1, len(stops))
    return lambda image, rng: np.stack([np.interp(image.mean(-1), at, stops[:, c]) for c in range(3)], -1)


def negative(fixed: np.random.Generator) -> Change:
    return lambda image, rng: 1 - image


def few_tones(fixed: np.random.Generator) -> Change:
    levels, grey = int(fixed.integers(2, 6)), fixed.random() < 0.5

    def change(image: Array, rng: np.random.Generator) -> Array:
        seen = _repeat(image.mean(-1)) if grey else image
        low, high = np.quantile(seen, [0.02, 0.98])
        stretched = ((seen - low) / max(high - low, 1e-3)).clip(0, 1)
        return np.floor(stretched * levels * 0.999) / (levels - 1)

    return change


def other_light(fixed: np.random.Generator) -> Change:
    gamma, cast = fixed.uniform(0.6, 1.6), fixed.uniform(0.75, 1.2, 3)
    grey = fixed.uniform(-0.3, 0.6)

    def change(image: Array, rng: np.random.Generator) -> Array:
        muted = image + grey * (image.mean(-1, keepdims=True) - image)
        return muted.clip(0, 1) ** gamma * cast

    return change


# -- texture: what is around an edge ---------------------------------------------------------------------------------


def slopes(fixed: np.random.Generator) -> Change:
    width, gain, dark = fixed.uniform(0.6, 2.0), fixed.uniform(1.5, 4.0), fixed.random() < 0.5

    def change(image: Array, rng: np.random.Generator) -> Array:
        slope = np.stack([ndimage.gaussian_gradient_magnitude(image[..., c], width) for c in range(3)], -1)
        slope = (gain * slope / (np.quantile(slope, 0.98) + 1e-3)).clip(0, 1)
        return 1 - slope if dark else slope

    return change


def contours(fixed: np.random.Generator) -> Change:
    rings, width = fixed.uniform(3, 8), fixed.uniform(0.8, 2.0)

    def change(image: Array, rng: np.random.Generator) -> Array:
        grey = ndimage.gaussian_filter(image.mean(-1), width)
        return _repeat(0.5 + 0.5 * np.sin(2 * np.pi * rings * grey))

    return change


def hatching(fixed: np.random.Generator) -> Change:
    angle, pitch, sharp = fixed.uniform(0, np.pi), fixed.uniform(3, 7), fixed.uniform(3, 10)

    def change(image: Array, rng: np.random.Generator) -> Array:
        y, x = np.mgrid[: image.shape[0], : image.shape[1]]
        wave = 0.5 + 0.5 * np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / pitch)
        grey = ndimage.gaussian_filter(image.mean(-1), 0.8)
        return _repeat(1 / (1 + np.exp(-sharp * (grey - wave))))

    return change


def thick(fixed: np.random.Generator) -> Change:
    size, bright = int(fixed.integers(3, 7)), fixed.random() < 0.5
    kind = ndimage.grey_dilation if bright else ndimage.grey_erosion
    return lambda image, rng: kind(image, size=(size, size, 1))


def local_contrast(fixed: np.random.Generator) -> Change:
    width, gain = fixed.uniform(2, 8), fixed.uniform(0.15, 0.35)

    def change(image: Array, rng: np.random.Generator) -> Array:
        mean = ndimage.gaussian_filter(image, (width, width, 0))
        spread = np.sqrt(ndimage.gaussian_filter((image - mean) ** 2, (width, width, 0))) + 0.02
        return 0.5 + gain * (image - mean) / spread

    return change


def streaks(fixed: np.random.Generator) -> Change:
    along, strength = fixed.uniform(2, 12), fixed.uniform(0.1, 0.35)
    across = fixed.random() < 0.5

    def change(image: Array, rng: np.random.Generator) -> Array:
        noise = ndimage.gaussian_filter(rng.normal(size=image.shape[:2]), (along, 0.4) if across else (0.4, along))
        return image + strength * (noise / (noise.std() + 1e-6))[..., None] * 0.5

    return change


def waves(fixed: np.random.Generator) -> Change:
    size, cells = fixed.uniform(2, 6), int(fixed.integers(4, 14))

    def change(image: Array, rng: np.random.Generator) -> Array:
        side = image.shape[0]
        shift = ndimage.zoom(rng.normal(size=(2, cells, cells)), (1, side / cells, side / cells), order=1) * size
        grid = np.mgrid[:side, :side] + shift[:, :side, :side]
        return np.stack([ndimage.map_coordinates(image[..., c], grid, order=1, mode="nearest") for c in range(3)], -1)

    return change


def smooth(fixed: np.random.Generator) -> Change:
    size = int(fixed.choice([3, 5, 7]))
    return lambda image, rng: _array(_picture(image).filter(ImageFilter.MedianFilter(size)))


def blurred(fixed: np.random.Generator) -> Change:
    width = fixed.uniform(0.4, 1.6)
    return lambda image, rng: ndimage.gaussian_filter(image, (width, width, 0))


def compressed(fixed: np.random.Generator) -> Change:
    quality = int(fixed.integers(6, 40))

    def change(image: Array, rng: np.random.Generator) -> Array:
        file = io.BytesIO()
        _picture(image).save(file, "JPEG", quality=quality)
        return _array(Image.open(file))

    return change


# -- place: where it is seen -----------------------------------------------------------------------------------------


def small(fixed: np.random.Generator) -> Change:
    part, colour = fixed.uniform(0.55, 0.85), fixed.random(3)

    def change(image: Array, rng: np.random.Generator) -> Array:
        side = image.shape[0]
        inner = int(part * side)
        y, x = rng.integers(0, side - inner + 1, 2)
        out = np.broadcast_to(colour, image.shape).copy()
        out[y : y + inner, x : x + inner] = _array(_picture(image).resize((inner, inner), Image.Resampling.BICUBIC))
        return out

    return change


def near(fixed: np.random.Generator) -> Change:
    part = fixed.uniform(0.6, 0.9)

    def change(image: Array, rng: np.random.Generator) -> Array:
        side = image.shape[0]
        inner = int(part * side)
        y, x = rng.integers(0, side - inner + 1, 2)
        piece = _picture(image).crop((int(x), int(y), int(x) + inner, int(y) + inner))
        return _array(piece.resize((side, side), Image.Resampling.BICUBIC))

    return change


def tilted(fixed: np.random.Generator) -> Change:
    matrix = np.eye(2) + fixed.uniform(-0.3, 0.3, (2, 2))

    def change(image: Array, rng: np.random.Generator) -> Array:
        centre = np.full(2, (image.shape[0] - 1) / 2)
        offset = centre - matrix @ centre
        return np.stack(
            [ndimage.affine_transform(image[..., c], matrix, offset, order=1, mode="reflect") for c in range(3)], -1
        )

    return change


def dark_corners(fixed: np.random.Generator) -> Change:
    strength = fixed.uniform(0.4, 1.0)

    def change(image: Array, rng: np.random.Generator) -> Array:
        axis = np.linspace(-1, 1, image.shape[0])
        return image * (1 - strength * 0.5 * (axis[:, None] ** 2 + axis**2).clip(0, 1))[..., None]

    return change


TONES = (mixed_colours, colour_ramp, negative, few_tones, other_light)
TEXTURES = (slopes, contours, hatching, thick, local_contrast, streaks, waves, smooth)
PLACES = (small, near, tilted, dark_corners)
MILD = (other_light, blurred, compressed, near, dark_corners)


def made_style(number: int) -> Change:
    """The style of this number."""
    fixed = np.random.default_rng([number, 4242])
    if number % 3 == 0:
        chain = [MILD[i](fixed) for i in fixed.permutation(len(MILD))[:2]]
    else:
        chain = [TEXTURES[number % len(TEXTURES)](fixed)]
        if fixed.random() < 0.75:
            tone = TONES[int(fixed.integers(len(TONES)))](fixed)
            chain.insert(int(fixed.integers(2)), tone)
        if fixed.random() < 0.4:
            chain.insert(0, PLACES[int(fixed.integers(len(PLACES)))](fixed))

    def style(image: Array, rng: np.random.Generator) -> Array:
        for change in chain:
            image = change(image, rng).clip(0, 1).astype(np.float32)
        return image

    return style
