"""The same classes seen in several domains: photos, cartoons and sketches; vendors of emoji; styles of writing.

A domain spec has the form of every data spec: ``domains:PATH`` (``<domain>/<class>/<image>``, or
``<domain>/<class>.<ext>`` with one image a class), ``glyph-styles`` and ``rotated-digits`` (both in every
installation).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from genmeta.core.errors import DataError, UsageError, unknown
from genmeta.data import digits, glyphs
from genmeta.data.cache import Block, stored_images
from genmeta.data.classes import ImageClasses
from genmeta.data.layout import class_folders
from genmeta.data.loading import Item, load_groups
from genmeta.data.pixels import Pixels
from genmeta.data.registry import DatasetInfo, Request, settle
from genmeta.data.sources import open_source
from genmeta.data.spec import DataSpec
from genmeta.data.styles import STYLE_VERSION, all_styles, rotated

#: Characters of ``glyph-styles``.
STYLED_CLASSES = 64
#: Angles of ``rotated-digits``, in degrees, counter-clockwise; each digit is shown at one of them.
ANGLES = (0, 15, 30, 45, 60, 75)


@dataclass(frozen=True)
class DomainImages:
    """Images of ``K`` classes in ``G`` domains.

    Attributes:
        name: the spec that opened it.
        images: ``[N H W C]`` uint8, read-only.
        domains: ``[N]`` number of each image's domain.
        labels: ``[N]`` number of each image's class.
        domain_names: ``G`` names.
        class_names: ``K`` names; a class is the same in every domain.
        skipped: names of the images that were left out, each with its reason.
    """

    name: str
    images: np.ndarray
    domains: np.ndarray
    labels: np.ndarray
    domain_names: tuple[str, ...]
    class_names: tuple[str, ...]
    skipped: tuple[str, ...] = ()

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """``(C, H, W)``."""
        _, height, width, channels = self.images.shape
        return channels, height, width

    def numbers(self, names: tuple[str, ...]) -> np.ndarray:
        """Numbers of the domains called ``names``; a name may stand for all that begin with it and a ``*``.

        Raises:
            UsageError: a name that is no domain's.
        """
        found: list[int] = []
        for name in names:
            stem = name.removesuffix("*")
            hits = [g for g, n in enumerate(self.domain_names) if n == name or (stem != name and n.startswith(stem))]
            if not hits:
                raise unknown(f"domain of {self.name!r}", name, self.domain_names)
            found.extend(hits)
        return np.unique(np.array(found, dtype=np.int64))

    def held_out(self, names: str) -> np.ndarray:
        """Numbers of the domains in a list separated by commas; all of them where it is empty."""
        return self.numbers(tuple(names.split(","))) if names else np.arange(len(self.domain_names))

    def sources(self, hold_out: str) -> np.ndarray:
        """Numbers of the domains that are left to train on.

        Raises:
            UsageError: an unknown name, or none is left.
        """
        left = np.setdiff1d(np.arange(len(self.domain_names)), self.held_out(hold_out) if hold_out else [])
        if not len(left):
            raise UsageError(f"--hold-out {hold_out} leaves no domain of {self.name!r} to train on. Name fewer.")
        return left


INFOS = {
    info.name: info
    for info in (
        DatasetInfo(
            name="domains",
            serves="--scenario domain",
            summary="your own domains: <domain>/<class>/<image> or <domain>/<class>.<ext>, a folder or a zip of one",
            how_to_get="Put the images of each class of each domain into PATH/<domain>/<class>/.",
            path="required",
            size=64,
            channels=3,
            options={
                "least": "leave out classes that fewer domains than this have (default: all of them must)",
                "classes": "keep this many classes, the first by name (default all)",
                "background": "white or black: what shows through transparent pixels (default white)",
            },
        ),
        DatasetInfo(
            name="glyph-styles",
            serves="--scenario domain",
            summary=f"{STYLED_CLASSES} printed characters in 64 styles of writing: turned, slanted, bold, negative",
            how_to_get="Comes with matplotlib's fonts; nothing to download.",
            path="none",
            size=28,
            channels=1,
        ),
        DatasetInfo(
            name="rotated-digits",
            serves="--scenario domain",
            summary="1,797 handwritten digits, each at one of six angles from 0 to 75 degrees",
            how_to_get="Comes with scikit-learn; nothing to download.",
            path="none",
            size=28,
            channels=1,
        ),
    )
}


def open_domains(
    spec: str,
    *,
    size: int | None = None,
    channels: int | None = None,
    on_bad_image: str = "fail",
    cache_dir: Path | None = None,
) -> DomainImages:
    """Opens a data set of several domains.

    Args:
        spec: ``domains:PATH[?key=value]``, ``glyph-styles`` or ``rotated-digits``.
        size: side of the square images, in pixels; by default the reader's own.
        channels: 1 (gray) or 3 (rgb); by default the reader's own.
        on_bad_image: ``"fail"``, or ``"skip"`` to leave such images out.
        cache_dir: where decoded images are kept.

    Raises:
        UsageError: the spec is not valid.
        DataError: fewer than two domains or classes, or bad images.
    """
    parsed = DataSpec.parse(spec)
    if parsed.name not in INFOS:
        raise unknown("data set of domains", parsed.name, INFOS)
    request = settle(
        spec,
        parsed,
        INFOS[parsed.name],
        size=size,
        channels=channels,
        download=False,
        on_bad_image=on_bad_image,
        cache_dir=cache_dir,
    )
    return _READERS[parsed.name](request)


def _open_folders(request: Request) -> DomainImages:
    if request.path is None:
        raise UsageError("Data set 'domains' needs a path: write 'domains:PATH'.")
    source = open_source(request.path)
    groups: dict[tuple[str, str], list[Item]] = {}
    for folder, files in class_folders(source).files.items():
        domain, slash, label = folder.partition("/")
        for file in files:
            # images right below a domain are classes of one image each
            groups.setdefault((domain, label if slash else PurePosixPath(file).stem), []).append(Item(source, file))
    domains = sorted({domain for domain, _ in groups})
    least = request.integer("least", len(domains), 1, len(domains))
    held = Counter(label for _, label in groups)
    labels = sorted(label for label, count in held.items() if count >= least)
    labels = labels[: request.integer("classes", max(len(labels), 1), 1, max(len(labels), 1))]
    if len(domains) < 2 or len(labels) < 2:
        raise DataError(
            f"{request.text!r} has {len(domains)} domains that share {len(labels)} classes, but needs two or more of "
            "each. Expected <domain>/<class>/<image>; lower the option least if some domains lack classes."
        )
    kept = {f"{d}/{label}": items for (d, label), items in groups.items() if label in set(labels)}
    background = request.choice("background", ("white", "black"), "white")
    pixels = Pixels(request.size, request.channels, background="black" if background == "black" else "white")
    stored = load_groups(request, kept, pixels)
    each = np.diff(stored.offsets)
    pairs = [name.split("/", 1) for name in stored.class_names]
    return DomainImages(
        request.text,
        stored.images,
        np.repeat([domains.index(domain) for domain, _ in pairs], each),
        np.repeat([labels.index(label) for _, label in pairs], each),
        tuple(domains),
        tuple(labels),
        stored.skipped,
    )


def _open_styles(request: Request) -> DomainImages:
    from genmeta.data.opening import open_dataset

    plain = open_dataset(f"glyphs?size={request.size}&color=gray", cache_dir=request.cache_dir)
    train = plain.splits["train"]
    chosen = train[np.linspace(0, len(train) - 1, STYLED_CLASSES).round().astype(int)]
    return _styled(request, plain, chosen, "glyphs", all_styles())


def _open_rotated(request: Request) -> DomainImages:
    from genmeta.data.opening import open_dataset

    plain = open_dataset(f"digits?size={request.size}&color=gray", cache_dir=request.cache_dir)
    turns = {f"{angle} degrees": rotated(angle) for angle in ANGLES}
    return _styled(request, plain, np.arange(10), "digits", turns, split_images=True)


def _styled(
    request: Request,
    plain: ImageClasses,
    chosen: np.ndarray,
    base: str,
    styles: dict[str, Callable[[np.ndarray], np.ndarray]],
    split_images: bool = False,
) -> DomainImages:
    """Every chosen class in every style; with ``split_images`` each image in one style alone."""
    names = list(styles)

    def blocks() -> Iterator[Block]:
        for number, style in enumerate(styles.values()):
            for k in chosen:
                own = plain.images[plain.offsets[k] : plain.offsets[k + 1], :, :, 0]
                own = own[number :: len(styles)] if split_images else own
                drawn = style(own)[..., None]
                shape = (*drawn.shape[:3], request.channels)
                yield Block(f"{names[number]}/{plain.class_names[k]}", np.broadcast_to(drawn, shape))

    version = {"glyphs": glyphs._RENDERER, "digits": digits._VERSION}[base]
    identity = {"styles": names, "of": base, "drawn": version, "version": STYLE_VERSION, "plain": len(plain.images)}
    stored = stored_images(identity, (request.size, request.size, request.channels), blocks, request.cache_dir)
    each = np.diff(stored.offsets)
    count = len(chosen)
    return DomainImages(
        request.text,
        stored.images,
        np.repeat(np.repeat(np.arange(len(names)), count), each),
        np.repeat(np.tile(np.arange(count), len(names)), each),
        tuple(names),
        tuple(plain.class_names[k] for k in chosen),
    )


_READERS: dict[str, Callable[[Request], DomainImages]] = {
    "domains": _open_folders,
    "glyph-styles": _open_styles,
    "rotated-digits": _open_rotated,
}
