r"""Ridge regression of every task, with a penalty from leave-one-out errors."""

from __future__ import annotations

import numpy as np

from .._support import check
from .._support.types import F64
from .samples import I64, by_length

LOO = "loo"
_DECADES = np.arange(-8.0, 3.5, 0.5)  # log10 of the penalties, relative to the scale
PENALTIES = len(_DECADES)  # number of penalties that are tried


def check_ridge(value: object) -> float | str:
    """Check a penalty: a number that is not negative, or "loo"."""
    if isinstance(value, str):
        return check.choice("ridge", value, (LOO,))
    return check.real("ridge", value, 0.0, 1e100)


def penalties(scale: float) -> F64:
    """Return the penalties among which leave-one-out errors choose, for a mean eigenvalue `scale`.

    The penalties are integer powers of the square root of 10, so that similar scales give the same
    penalties.
    """
    middle = np.round(2 * np.log10(scale)) / 2 if scale > 0 else 0.0
    tried: F64 = 10.0 ** (middle + _DECADES)
    return tried


def mean_eigenvalue(Z: F64, offsets: I64) -> float:
    """Return the mean eigenvalue of ``Z_i^T Z_i / m_i``, without zeros due to its rank m_i < k."""
    sizes = np.diff(offsets)
    ranks = np.repeat(np.minimum(sizes, Z.shape[1]), sizes)
    return float(np.sum(np.sum(Z * Z, axis=1) / ranks) / len(Z))


def rounding_errors(values: F64, size: int) -> F64:
    """Return the size below which the values (..., r) of matrices of order `size` are rounding."""
    return np.asarray(size * np.finfo(float).eps * values.max(axis=-1, keepdims=True, initial=0.0))


def ridge_solutions(Z: F64, Y: F64, ridge: float) -> F64:
    """Return the minimisers (..., k, p) of ``||Y - Z V||^2 / (2 m) + ridge/2 ||V||^2``.

    Z (..., m, k) and Y (..., m, p) may be stacks of matrices. Where singular values of Z are
    rounding errors, the minimiser has no part along them, not even if the penalty is smaller than
    these errors. All minimisers are NaN if an entry of Z is not finite.
    """
    if not np.isfinite(Z).all():  # the decomposition would not converge
        return np.full((*Z.shape[:-2], Z.shape[-1], Y.shape[-1]), np.nan)
    U, values, right = np.linalg.svd(Z, full_matrices=False)
    known = values > rounding_errors(values, max(Z.shape[-2:]))
    penalty = np.divide(Z.shape[-2] * ridge, values, out=np.zeros_like(values), where=known)
    shrunk = np.divide(1.0, values + penalty, out=np.zeros_like(values), where=known)
    products = np.matmul(np.swapaxes(U, -1, -2), Y)
    return np.asarray(np.matmul(np.swapaxes(right, -1, -2), shrunk[..., None] * products))


def squared_loo_errors(U: F64, squares: F64, y: F64, tried: F64) -> F64:
    r"""Return the sums of squared leave-one-out errors of tasks, (n, penalties).

    U (n, m, r) has the left singular vectors of the features of each task, and `squares` (n, r) has
    the squared singular values; y has the shape (n, m). The error of a sample is its residual
    divided by 1 - h, where h is the sample's diagonal entry of the matrix that maps y to the fit.
    Both the residual and 1 - h are computed without cancellation, so that small penalties lose no
    digits.
    """
    m = y.shape[1]
    products = np.matmul(U.transpose(0, 2, 1), y[:, :, None])  # (n, r, 1)
    left = squares[:, :, None] + m * tried
    shrunk = np.divide(m * tried, left, out=np.zeros_like(left), where=left > 0)  # (n, r, p)
    off = y - np.matmul(U, products)[:, :, 0]
    diagonal = np.maximum(1.0 - np.sum(U * U, axis=2), 0.0)
    residuals = off[:, :, None] + np.matmul(U, shrunk * products)
    complement = diagonal[:, :, None] + np.matmul(U * U, shrunk)
    with np.errstate(over="ignore"):  # the error of a huge response is infinite
        errors: F64 = residuals / np.maximum(complement, np.finfo(float).tiny)
        return np.asarray(np.sum(errors * errors, axis=1))


def loo_errors(Z: F64, y: F64, offsets: I64, tried: F64) -> F64:
    """Return the sums of squared leave-one-out errors of each task, (n, penalties)."""
    errors = np.empty((len(offsets) - 1, len(tried)))
    for tasks, rows in by_length(offsets):
        U, values, _ = np.linalg.svd(Z[rows], full_matrices=False)
        errors[tasks] = squared_loo_errors(U, values**2, y[rows], tried)
    return errors


def choose_penalty(Z: F64, y: F64, offsets: I64, weights: F64) -> float:
    """Return the one penalty for all tasks that has the least weighted leave-one-out error."""
    tried = penalties(mean_eigenvalue(Z, offsets))
    return float(tried[np.argmin(weights @ loo_errors(Z, y, offsets, tried))])
