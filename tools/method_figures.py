"""Draws ``docs/pictures/methods/NAME.svg``: what a method puts into the slots, read off the meta-learner it builds.

``python tools/method_figures.py`` writes them; ``--check`` only says whether any would change.
"""

from __future__ import annotations

import sys
import textwrap
from html import escape
from pathlib import Path

from genmeta.core.randomness import seeded
from genmeta.learners import LearnerConfig, build_learner
from genmeta.methods import Method, build_method, list_methods
from genmeta.methods.meta_learner import MetaLearner

PICTURES = Path(__file__).parents[1] / "docs" / "pictures" / "methods"

#: Class of a part -> what it does, in lines of a box. A new part wants a line here.
SAYS = {
    "SetEncoder": ("mean of the images", "of task and classes"),
    "AttentiveEncoder": ("images of a class,", "read by attention"),
    "RelationEncoder": ("images compared,", "pair by pair"),
    "HyperNetwork": ("hypernetwork",),
    "FiLMGenerator": ("scales and shifts,", "channel by channel"),
    "AmortisedGaussian": ("a Gaussian over", "each class row"),
    "NeuralProcessGenerator": ("a latent of each class,", "decoded to its row"),
    "ImplicitGenerator": ("noise and context", "to class rows"),
    "VariationalGenerator": ("a code, decoded", "to class rows"),
    "AutoregressiveGenerator": ("class rows, chunk by", "chunk (transformer)"),
    "DiffusionGenerator": ("class rows, denoised", "from noise"),
    "GaussianStart": ("a learned Gaussian,", "the same for all tasks"),
    "Particles": ("learned particles,", "the same for all tasks"),
    "LatentRows": ("a code of each class,", "decoded to its row"),
    "ConstantRow": ("equal rows",),
    "PrototypeRow": ("prototypes",),
    "RidgeRow": ("ridge regression",),
    "MahalanobisRow": ("Mahalanobis",),
    "FixedStepSize": "α fixed",
    "LearnedStepSizes": "α learned",
    "GeneratedStepSizes": "α written",
    "GradientAdapter": "gradient steps",
    "LatentAdapter": "steps in the latent",
    "SVGDAdapter": "SVGD steps",
}
#: What trains a method, where it is not the query loss alone.
TRAINED_BY = {
    "scratch": "nothing: random weights for every task",
    "finetune": "classification of all training classes at once",
    "reptile": "displacement: the start moves to where the steps end",
    "anpml": "query loss, and the posterior that has seen the queries",
    "maml-gan": "query loss, and a critic that knows the bank",
    "meta-sgd-gan": "query loss, and a critic that knows the bank",
    "weight-vae": "query loss, and the ELBO of the bank's rows",
    "autoregressive": "query loss, and the likelihood of the bank's rows",
    "diffusion": "query loss, and denoising of the bank's rows",
    "versa": "query loss of the averaged draws",
    "abml": "query loss of the averaged draws, and a divergence",
    "bmaml": "query loss of the averaged particles",
    "leo": "query loss, and a divergence of the codes",
}
#: ``film-transfer`` brings a meta-learner of its own.
OWN = {
    "film-transfer": [
        ("encoder", ("pretrained features,", "summed up")),
        ("generator", ("mixture of directions", "of scales and shifts")),
        ("start", ("FiLM, α written",)),
        ("adapter", ("4 normalised gradient", "steps on FiLM")),
    ]
}
WIDTH, HEIGHT, BOX, GAP = 760, 142, 134, 22
COLOURS = {"support": "#dbeafe", "encoder": "#fde68a", "generator": "#fdba74", "start": "#fecaca", "adapter": "#ddd6fe"}


def slots(method: Method) -> list[tuple[str, tuple[str, ...]]]:
    """What stands in each slot; an empty one has no lines."""
    if method.name in OWN:
        return OWN[method.name]
    learner = build_learner(LearnerConfig("conv4", 1, 28, width=16), seeded(0))
    it: MetaLearner = build_method(method.name, learner, rng=seeded(0, "method"))
    encoder = SAYS[type(it.encoder).__name__] if it.encoder else ()
    generators = dict.fromkeys(
        type(part).__name__ for part in (it.writer, it.shared_generator, it.row_generator) if part is not None
    )
    generator = tuple(line for name in generators for line in SAYS[name])
    base = type(it.row_base).__name__
    if not generator:
        generator = ("constant",) if base == "ConstantRow" else ("closed form",)
    start = [f"rows: {SAYS[base][0]}"]
    if it.row_generator is not None or it.writer is not None:
        start.append("+ what is written")
    if it.samples > 1:
        start.append(f"{it.samples} {'particles' if 'Particles' in generators else 'draws'}, averaged")
    adapter: tuple[str, ...] = ()
    if it.inner_steps:
        steps = type(it.adapter).__name__
        what = SAYS[steps].removesuffix("s") if it.inner_steps == 1 else SAYS[steps]
        moved = textwrap.wrap(f"on {method.adapts.removesuffix(' by default')}", 21)
        adapter = (f"{it.inner_steps} {what}", *moved)
        start.append(SAYS[type(it.step_sizes).__name__])
    return [("encoder", encoder), ("generator", generator), ("start", tuple(start)), ("adapter", adapter)]


def draw(method: Method) -> str:
    """The figure as SVG."""
    boxes = [("support", ("a few labelled", "images")), *slots(method)]
    trained = TRAINED_BY.get(method.name, "query loss after the steps" if boxes[-1][1] else "query loss")
    said = "; ".join(f"{title}: {' '.join(lines) or 'none'}" for title, lines in boxes)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="system-ui, sans-serif" '
        f'role="img" aria-label="{escape(f"{method.name}. {said}; trained by {trained}")}">',
        '<defs><marker id="a" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L10 5L0 10z" fill="#6b7280"/></marker><marker id="r" viewBox="0 0 10 10" refX="9" refY="5" '
        'markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0L10 5L0 10z" fill="#dc2626"/></marker></defs>',
    ]
    for i, (title, lines) in enumerate(boxes):
        left = i * (BOX + GAP) + 1
        centre = left + BOX / 2
        fill, dash = (COLOURS[title], "") if lines else ("none", ' stroke-dasharray="4 3"')
        parts.append(
            f'<rect x="{left}" y="2" width="{BOX}" height="88" rx="8" fill="{fill}" stroke="#6b7280"{dash}/>'
            f'<text x="{centre}" y="24" text-anchor="middle" font-weight="bold" font-size="14" '
            f'fill="{"#111827" if lines else "#6b7280"}">{title}</text>'
        )
        for row, line in enumerate(lines or ("none",)):
            parts.append(
                f'<text x="{centre}" y="{44 + 14 * row}" text-anchor="middle" font-size="11" '
                f'fill="{"#374151" if lines else "#6b7280"}">{escape(line)}</text>'
            )
        if i:
            parts.append(
                f'<line x1="{left - GAP}" y1="46" x2="{left}" y2="46" stroke="#6b7280" stroke-width="1.6" '
                'marker-end="url(#a)"/>'
            )
    end, middle = 4 * (BOX + GAP) + BOX / 2, 2 * (BOX + GAP) + BOX / 2
    if method.objective is not None:
        parts.append(
            f'<path d="M{end} 90 L{end} 114 L{middle} 114 L{middle} 90" fill="none" stroke="#dc2626" '
            'stroke-width="1.6" stroke-dasharray="5 4" marker-end="url(#r)"/>'
        )
    parts.append(
        f'<text x="{(end + middle) / 2}" y="131" text-anchor="middle" font-size="11.5" fill="#dc2626">'
        f"trained by {escape(trained)}</text></svg>\n"
    )
    return "\n".join(parts)


def main() -> int:
    """Writes the figures, or with ``--check`` says which are out of date."""
    PICTURES.mkdir(exist_ok=True)
    stale = []
    for method in list_methods():
        path, figure = PICTURES / f"{method.name}.svg", draw(method)
        if not path.exists() or path.read_text(encoding="utf-8") != figure:
            stale.append(path.name)
            if "--check" not in sys.argv:
                path.write_text(figure, encoding="utf-8")
    if stale:
        print(("out of date: " if "--check" in sys.argv else "drawn: ") + ", ".join(stale))
    return int("--check" in sys.argv and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
