"""Parameter generators: p(w | context). One family, one file."""

from genmeta.generators.autoregressive import AutoregressiveGenerator
from genmeta.generators.base import Gradient, GuidedGenerator, ParameterGenerator, Written
from genmeta.generators.constant import ConstantGenerator
from genmeta.generators.diffusion import DiffusionGenerator
from genmeta.generators.hypernet import HyperNetwork
from genmeta.generators.implicit import ImplicitGenerator
from genmeta.generators.row_bases import ConstantRow, PrototypeRow, RidgeRow, RowBase
from genmeta.generators.standardised import FittedGenerator, StandardisedGenerator
from genmeta.generators.step_sizes import FixedStepSize, GeneratedStepSizes, LearnedStepSizes, StepSizes
from genmeta.generators.vae import VariationalGenerator

__all__ = [
    "AutoregressiveGenerator",
    "ConstantGenerator",
    "ConstantRow",
    "DiffusionGenerator",
    "FittedGenerator",
    "FixedStepSize",
    "GeneratedStepSizes",
    "Gradient",
    "GuidedGenerator",
    "HyperNetwork",
    "ImplicitGenerator",
    "LearnedStepSizes",
    "ParameterGenerator",
    "PrototypeRow",
    "RidgeRow",
    "RowBase",
    "StandardisedGenerator",
    "StepSizes",
    "VariationalGenerator",
    "Written",
]
