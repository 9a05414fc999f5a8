"""Related tasks for the tests of `SharedRepresentation`."""

from dataclasses import dataclass

import numpy as np

import metaspan as ms


@dataclass(frozen=True)
class Related:
    """Tasks whose coefficients are combinations of k directions, with an intercept each."""

    X: np.ndarray  # (n m, d)
    y: np.ndarray  # (n m,)
    tasks: np.ndarray  # (n m,)
    coefficients: np.ndarray  # (n, d)
    directions: np.ndarray  # (d, k), orthonormal

    def lists(self):
        """The features and the responses of each task."""
        chosen = [self.tasks == i for i in range(len(self.coefficients))]
        return [self.X[rows] for rows in chosen], [self.y[rows] for rows in chosen]

    def columns(self, rng, share=0.4):
        """A matrix of responses of all tasks on all rows, of which a share is missing."""
        Y = self.X @ self.coefficients.T + 0.3 * rng.standard_normal((len(self.X), 1))
        Y[rng.random(Y.shape) < share] = np.nan
        return Y


def draw_related(rng, *, n=12, m=9, d=6, k=2, noise=0.3):
    directions = np.linalg.qr(rng.standard_normal((d, k)))[0]
    coefficients = (1 + rng.standard_normal((n, k))) @ directions.T
    X, tasks = rng.standard_normal((n * m, d)), np.repeat(np.arange(n), m)
    y = np.sum(X * coefficients[tasks], axis=1) + noise * rng.standard_normal(n * m)
    y += np.repeat(2 * rng.standard_normal(n), m)
    return Related(X, y, tasks, coefficients, directions)


def make(**options):
    """An estimator of two components on one thread, unless the options say otherwise.

    It iterates until the components converge, so that models of the same data agree closely.
    """
    return ms.SharedRepresentation(**{"rank": 2, "threads": 1, "rounds": 1000, **options})
