"""Parameter generators: p(w | context). One family, one file."""

from genmeta.generators.base import ParameterGenerator, Written
from genmeta.generators.constant import ConstantGenerator
from genmeta.generators.hypernet import HyperNetwork
from genmeta.generators.row_bases import ConstantRow, PrototypeRow, RidgeRow, RowBase
from genmeta.generators.step_sizes import FixedStepSize, GeneratedStepSizes, LearnedStepSizes, StepSizes

__all__ = [
    "ConstantGenerator",
    "ConstantRow",
    "FixedStepSize",
    "GeneratedStepSizes",
    "HyperNetwork",
    "LearnedStepSizes",
    "ParameterGenerator",
    "PrototypeRow",
    "RidgeRow",
    "RowBase",
    "StepSizes",
    "Written",
]
