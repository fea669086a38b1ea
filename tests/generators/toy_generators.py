"""The generators that the laws hold for: add yours here."""

from __future__ import annotations

from collections.abc import Callable

from toys import built, perturb

from genmeta.generators import (
    AmortisedGaussian,
    AutoregressiveGenerator,
    ConstantGenerator,
    DiffusionGenerator,
    FiLMGenerator,
    HyperNetwork,
    ImplicitGenerator,
    NeuralProcessGenerator,
    ParameterGenerator,
    VariationalGenerator,
)

CONTEXT, LENGTH = 6, 11
#: Above 4096 weights a hypernetwork writes by chunks.
MANY = 4096 + 7

#: name -> a generator of ``LENGTH`` weights (``MANY`` where size matters) in float64, as it is at first.
GENERATORS: dict[str, Callable[[], ParameterGenerator]] = {
    "constant": lambda: built(lambda: ConstantGenerator(CONTEXT, LENGTH)),
    "hypernet": lambda: built(lambda: HyperNetwork(CONTEXT, LENGTH, hidden=16)),
    "hypernet in chunks": lambda: built(lambda: HyperNetwork(CONTEXT, MANY, hidden=8, chunk=512)),
    "implicit": lambda: built(lambda: ImplicitGenerator(CONTEXT, LENGTH, noise=3, hidden=16)),
    "variational": lambda: built(lambda: VariationalGenerator(CONTEXT, LENGTH, latent=3, hidden=16)),
    "autoregressive": lambda: built(
        lambda: AutoregressiveGenerator(CONTEXT, LENGTH, chunk=4, components=2, width=16, layers=1, heads=2)
    ),
    "diffusion": lambda: built(
        lambda: DiffusionGenerator(CONTEXT, LENGTH, levels=20, steps=6, guidance=0.2, hidden=32, blocks=1)
    ),
    "film": lambda: built(lambda: FiLMGenerator(CONTEXT, LENGTH, hidden=16)),
    "neural process": lambda: built(lambda: NeuralProcessGenerator(CONTEXT, LENGTH, latent=3, hidden=16)),
    "amortised gaussian": lambda: built(lambda: AmortisedGaussian(CONTEXT, LENGTH, hidden=16)),
    "amortised gaussian in chunks": lambda: built(lambda: AmortisedGaussian(CONTEXT, MANY, hidden=8, chunk=512)),
}

#: Those whose last layer is zero at first, so that training starts at the base.
AT_THE_BASE = ["constant", "hypernet", "hypernet in chunks"]


def trained(name: str) -> ParameterGenerator:
    """As after some training: nothing is exactly zero any more."""
    return perturb(GENERATORS[name](), 0.2)
