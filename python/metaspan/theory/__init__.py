r"""Predictions of the theory for a run: rates, plateaus, limits, error floors, lines for plots."""

from ..tasks.moments import diversity, second_moment
from .linear_maml import linear_maml_error, linear_maml_risk, linear_maml_step, meta_weights
from .predictions import decay, floor_line, rate_line
from .rates import error_floor, fading, fixed_point, plateau, rate

__all__ = [
    "decay",
    "diversity",
    "error_floor",
    "fading",
    "fixed_point",
    "floor_line",
    "linear_maml_error",
    "linear_maml_risk",
    "linear_maml_step",
    "meta_weights",
    "plateau",
    "rate",
    "rate_line",
    "second_moment",
]
