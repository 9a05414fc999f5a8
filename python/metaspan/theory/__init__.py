r"""Predictions of the theory for a run: rates, limits, floors, boundaries, risks and lines."""

from ..tasks.moments import diversity, second_moment
from .bounds import cramer_rao
from .few_shot import FewShotRisk, after_least_squares, few_shot_risk, missed_signal
from .fixed_points import FloorNotFoundError
from .floors import Floor, floor, largest_beta, stable
from .linear_maml import (
    linear_maml_distance,
    linear_maml_error,
    linear_maml_risk,
    linear_maml_step,
    meta_weights,
)
from .predictions import decay, fading_line, floor_line, limit_line, rate_line
from .rates import error_floor, error_scale, fading, fixed_point, plateau, rate
from .shaping import OptimalShaping, optimal_shaping

__all__ = [
    "FewShotRisk",
    "Floor",
    "FloorNotFoundError",
    "OptimalShaping",
    "after_least_squares",
    "cramer_rao",
    "decay",
    "diversity",
    "error_floor",
    "error_scale",
    "fading",
    "fading_line",
    "few_shot_risk",
    "fixed_point",
    "floor",
    "floor_line",
    "largest_beta",
    "limit_line",
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
    "stable",
]
