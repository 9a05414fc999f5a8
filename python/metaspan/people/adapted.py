r"""The model of a new task on components that were found on other tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.metrics import r2_score
from sklearn.utils.validation import check_array

from .._support.types import F64
from .task_rows import multiply


@dataclass(frozen=True, eq=False)
class AdaptedModel:
    r"""A linear model of one task, as `SharedRepresentation.adapt` returns it.

    Parameters
    ----------
    head_ : ndarray of shape (rank,), float64
        The head: the coefficients of the scores.
    coef_ : ndarray of shape (d,), float64
        The coefficients of the features, ``head_ @ components_``.
    intercept_ : float
        The prediction for features of zero.
    """

    head_: F64
    coef_: F64
    intercept_: float

    def predict(self, X: Any) -> F64:
        r"""Predict the responses of rows.

        Parameters
        ----------
        X : array_like or CSR matrix of shape (rows, d)
            The features.

        Returns
        -------
        ndarray of shape (rows,), float64
            ``X @ coef_ + intercept_``.

        Raises
        ------
        ValueError
            If X does not have d features, or contains NaN or infinity.
        """
        X = check_array(X, accept_sparse="csr", dtype=[np.float64, np.float32])
        if X.shape[1] != len(self.coef_):
            raise ValueError(f"X must have {len(self.coef_)} features; got {X.shape[1]}")
        return multiply(X, self.coef_) + self.intercept_

    def score(self, X: Any, y: Any) -> float:
        r"""Compute the coefficient of determination, R^2, of the predictions.

        Parameters
        ----------
        X : array_like or CSR matrix of shape (rows, d)
            The features.
        y : array_like of shape (rows,)
            The responses.

        Returns
        -------
        float
            One minus the squared errors divided by the squared deviations of y from its mean.
        """
        return float(r2_score(y, self.predict(X)))
