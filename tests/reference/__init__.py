"""A slow, literal implementation of the equations in NumPy, with which tests compare results.

Each function implements one equation, cited by its number, on arrays of full size d. The reference
shares no code with the package, so a mistake would have to be made in both to pass the tests.
Functions of (B, w) also take complex arrays, without conjugation, for complex-step differentiation,
and extended precision.
"""

from .closed_forms import exact_anil, fo_anil, fo_maml
from .descent import descend, population_round
from .differences import central_differences, complex_step
from .losses import Population, Samples, adapt, inner_loop, meta_loss
from .measure import (
    adapted_diversity,
    distance,
    distance_in_coordinates,
    head_spectrum,
    principal_sines,
    singular_values,
    step_defect,
)
from .philox import box_muller, philox4x32, uniforms
from .problems import Method, frame, population_tasks, sample_tasks
from .rate import contraction_factor, log_rate
from .recursion import exact_gradient, first_order_gradient, meta_gradient
from .sample_space import sample_space_gradient

__all__ = [
    "Method",
    "Population",
    "Samples",
    "adapt",
    "adapted_diversity",
    "box_muller",
    "central_differences",
    "complex_step",
    "contraction_factor",
    "descend",
    "distance",
    "distance_in_coordinates",
    "exact_anil",
    "exact_gradient",
    "first_order_gradient",
    "fo_anil",
    "fo_maml",
    "frame",
    "head_spectrum",
    "inner_loop",
    "log_rate",
    "meta_gradient",
    "meta_loss",
    "philox4x32",
    "population_round",
    "population_tasks",
    "principal_sines",
    "sample_space_gradient",
    "sample_tasks",
    "singular_values",
    "step_defect",
    "uniforms",
]
