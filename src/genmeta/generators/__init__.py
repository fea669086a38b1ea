"""Parameter generators: p(w | context). One family, one file."""

from genmeta.generators.amortised_gaussian import AmortisedGaussian
from genmeta.generators.autoregressive import AutoregressiveGenerator
from genmeta.generators.base import (
    Gradient,
    GuidedGenerator,
    ParameterGenerator,
    PosteriorGenerator,
    StartWriter,
    Written,
)
from genmeta.generators.constant import ConstantGenerator
from genmeta.generators.diffusion import DiffusionGenerator
from genmeta.generators.film import FiLMGenerator
from genmeta.generators.gaussian_start import GaussianStart
from genmeta.generators.hypernet import HyperNetwork
from genmeta.generators.implicit import ImplicitGenerator
from genmeta.generators.latent_rows import LatentRows
from genmeta.generators.mahalanobis import MahalanobisRow
from genmeta.generators.neural_process import NeuralProcessGenerator
from genmeta.generators.particles import Particles
from genmeta.generators.row_bases import ConstantRow, PrototypeRow, RidgeRow, RowBase
from genmeta.generators.standardised import FittedGenerator, StandardisedGenerator
from genmeta.generators.step_sizes import FixedStepSize, GeneratedStepSizes, LearnedStepSizes, StepSizes
from genmeta.generators.vae import VariationalGenerator
from genmeta.generators.within_class import WithinClassRow

__all__ = [
    "AmortisedGaussian",
    "AutoregressiveGenerator",
    "ConstantGenerator",
    "ConstantRow",
    "DiffusionGenerator",
    "FiLMGenerator",
    "FittedGenerator",
    "FixedStepSize",
    "GaussianStart",
    "GeneratedStepSizes",
    "Gradient",
    "GuidedGenerator",
    "HyperNetwork",
    "ImplicitGenerator",
    "LatentRows",
    "LearnedStepSizes",
    "MahalanobisRow",
    "NeuralProcessGenerator",
    "ParameterGenerator",
    "Particles",
    "PosteriorGenerator",
    "PrototypeRow",
    "RidgeRow",
    "RowBase",
    "StandardisedGenerator",
    "StartWriter",
    "StepSizes",
    "VariationalGenerator",
    "WithinClassRow",
    "Written",
]
