r"""Predictions of the theory for a run: rates, limits, error floors, risks, lines for plots."""

from ..tasks.moments import diversity, second_moment
from .few_shot import FewShotRisk, after_least_squares, few_shot_risk, missed_signal
from .linear_maml import (
    linear_maml_distance,
    linear_maml_error,
    linear_maml_risk,
    linear_maml_step,
    meta_weights,
)
from .predictions import decay, floor_line, rate_line
from .rates import error_floor, fading, fixed_point, plateau, rate
from .shaping import OptimalShaping, optimal_shaping

__all__ = [
    "FewShotRisk",
    "OptimalShaping",
    "after_least_squares",
    "decay",
    "diversity",
    "error_floor",
    "fading",
    "few_shot_risk",
    "fixed_point",
    "floor_line",
    "linear_maml_distance",
    "linear_maml_error",
    "linear_maml_risk",
    "linear_maml_step",
    "meta_weights",
    "missed_signal",
    "optimal_shaping",
    "plateau",
    "rate",
    "rate_line",
    "second_moment",
]
