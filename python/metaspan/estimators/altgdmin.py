r"""AltGDmin from its spectral start, on the samples of all tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .._support.types import F64
from ..solved_methods import AltGDmin
from .alternating import point_at, sine_between
from .estimator import Estimate, Monitor
from .samples import Samples, lengths, spread
from .solvers import (
    fixed_normals,
    start_columns,
    top_eigenvectors,
)
from .transforms import RowForms

TRUNCATION = 9.0  # larger multiples of the mean squared response do not count
LIMIT = 1000  # most iterations by default
TOLERANCE = 1e-8  # sine; the iteration ends once a step of the usual size would move by less


@dataclass(frozen=True, kw_only=True)
class SpectralAltGDmin:
    r"""`AltGDmin` with a spectral start, from the truncated moments of the tasks.

    The start is the span of the k largest left singular vectors of the matrix with the columns
    :math:`\tfrac{\sqrt{q_i}}{m_i} \sum_j x_{ij} y_{ij} 1\{y_{ij}^2 \le 9 \overline{y^2}\}`, where
    :math:`q_i` is the weight of a task, also in the mean of the squares. An iteration solves for
    the heads on all samples of each task, steps by the mean gradient (27) at these heads, and makes
    the columns of `B` orthonormal.

    Parameters
    ----------
    method : AltGDmin
        The method. Its step size ``beta`` has the meaning and the default, 0.1, that it has in
        `train`: for many samples, a step is stable if ``beta`` is below 2 divided by the largest
        eigenvalue of the second moment of the heads. The published step is the inverse of this
        eigenvalue, up to a constant below 1; 0.1 is much smaller where the heads are small.

    References
    ----------
    Nayer, Vaswani, "Fast and sample-efficient federated low rank matrix recovery from column-wise
    linear and quadratic projections", IEEE Transactions on Information Theory, 2023.
    """

    method: AltGDmin

    name: ClassVar[str] = "altgdmin"
    iterates: ClassVar[bool] = True
    uses_averages: ClassVar[bool] = False

    def check(self, samples: Samples, width: int) -> None:
        """Raise ValueError for a setting that fits do not have, or for too few samples."""
        for setting in ("step", "privacy"):
            if getattr(self.method, setting) is not None:
                raise ValueError(f"estimator must have {setting}=None for fit; got {self.method}")
        if self.method.separate:
            raise ValueError(
                "estimator must have separate=False for fit, which uses all samples of a task; got "
                f"{self.method}"
            )
        if (least := int(lengths(samples).min())) < width:
            raise ValueError(
                f"'altgdmin' needs at least width = {width} samples per task to solve for heads; "
                f"got {least}"
            )

    def estimate(self, samples: Samples, width: int, monitor: Monitor) -> Estimate:
        """Estimate the representation and the heads."""
        B, space = _spectral_start(samples, width), samples.space
        shares = samples.weights / (samples.n * lengths(samples))  # of the mean loss (1)
        limit = LIMIT if monitor.rounds is None else monitor.rounds
        step = self.method.beta * (samples.n if self.method.reduce == "sum" else 1)
        for done in range(limit + 1):
            point = point_at(samples, B, shares)
            heads = point.heads
            if monitor.record(B, heads, point.objective):
                return Estimate(B=B, heads=heads, iterations=done, converged=False)
            if done == limit:
                break
            if not space.is_finite(point.gradient):  # products of the samples have overflowed
                return Estimate(B=point.gradient, heads=heads, iterations=done, converged=False)
            moved = space.orthonormal(B - step * point.gradient)
            # A step that is too short for its curvature moves little far from the minimum too.
            share = min(1.0, self.method.beta / _usual_beta(samples, heads, self.method.reduce))
            if sine_between(space, B, moved) <= TOLERANCE * share:
                return Estimate(B=B, heads=heads, iterations=done)
            B = moved
        return Estimate(
            B=B,
            heads=heads,
            iterations=limit,
            converged=False,
            reason=(
                f"its subspace still moved after {limit} iterations with beta = "
                f"{self.method.beta:g}; the inverse of the largest curvature is about "
                f"{_usual_beta(samples, heads, self.method.reduce):.2g}"
            ),
        )


def _usual_beta(samples: Samples, heads: F64, reduce: str) -> float:
    """Return the beta whose step is the inverse of the largest curvature of the loss in B.

    For many samples with features of covariance I, this curvature is the largest eigenvalue of the
    weighted second moment of the heads.
    """
    moment = (heads * samples.weights[:, None]).T @ heads / samples.n
    curvature = float(np.linalg.norm(moment, 2)) * (samples.n if reduce == "sum" else 1)
    return 1 / curvature if curvature > 0 else np.inf


def _spectral_start(samples: Samples, width: int) -> F64:
    """Return the top left singular vectors (dim, width) of the truncated moments of the tasks."""
    y, offsets = samples.y, samples.offsets
    of_rows = spread(samples.weights, offsets)
    kept = np.where(y**2 <= TRUNCATION * np.average(y**2, weights=of_rows), y, 0.0)
    sizes = lengths(samples)[:, None]

    left = kept[:, None]
    factors = spread(samples.weights[:, None] / sizes**2, offsets)
    forms = RowForms(samples, np.zeros(len(y)), left, factors * left)

    def start() -> F64:
        G = fixed_normals(samples.n, start_columns(width, samples.wants_few_passes)) / sizes
        return samples.combine(kept[:, None] * spread(G, offsets))

    return top_eigenvectors(
        lambda Q: samples.combine_features(Q, forms), samples.space, start, width
    ).vectors
