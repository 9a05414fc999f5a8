r"""Starts of the iterative estimators."""

from __future__ import annotations

import numpy as np

from .._support.types import F64
from .estimator import Monitor
from .samples import Samples
from .solvers import WidthError
from .space import EstimateError
from .spectral import Duchi, Moments

STARTS = ("random", "moments", "duchi")


def start_subspace(samples: Samples, width: int, start: str, monitor: Monitor) -> F64:
    """Return orthonormal columns (dim, width) from which an estimator starts.

    "random", or as many columns as dimensions: the span of a normal matrix. "moments": the method
    of moments, (38). "duchi": the estimator of pairs of samples, (39). Nothing is recorded by the
    monitor.
    """
    if start == "random" or width == samples.dim:  # of which every basis has the same span
        return samples.space.orthonormal(samples.normals(width, 0))
    if start == "moments":
        return Moments().estimate(samples, width, monitor).B
    try:
        return Duchi().estimate(samples, width, monitor).B
    except WidthError as error:
        what = "the pairs of samples of start='duchi'"
        raise WidthError(error.most, width, what) from None
    except ValueError as error:
        message = f"start='duchi' cannot be computed, but start='moments' can: {error}"
        raise EstimateError(message) from None


def task_normals(n: int, B: F64) -> F64:
    """Return independent standard normal numbers (n, width); n may exceed the rows of B.

    The generator is seeded with the bits of the drawn matrix B (dim, width), so that these numbers
    depend, as B does, on seed, trial and stream alone.
    """
    words = np.ascontiguousarray(B).reshape(-1)[:8].view(np.uint32)
    return np.random.default_rng(words).standard_normal((n, B.shape[1]))
