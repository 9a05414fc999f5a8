"""Tasks as lists of arrays, and comparisons that neither signs nor rotations decide."""

import numpy as np

from metaspan.estimators.averages import RowAverages
from reference.estimator_samples import DenseSamples


def draw(rng, *, n=12, d=9, k=3, m=7, noise=0.5):
    """Lists of X and y of tasks with m samples each, or with the lengths m; and B_star."""
    B_star = np.linalg.qr(rng.standard_normal((d, k)))[0]
    X = [rng.standard_normal((rows, d)) for rows in np.broadcast_to(m, n)]
    y = [
        X_i @ B_star @ (rng.standard_normal(k) / np.sqrt(k)) + noise * rng.standard_normal(len(X_i))
        for X_i in X
    ]
    return X, y, B_star


def draw_weights(rng, n):
    weights = rng.uniform(0.5, 2.0, n)
    return weights / weights.mean()


def projection(B):
    return B @ B.T


def sine(B, B_star):
    return np.linalg.norm(B_star - B @ (B.T @ B_star), 2)


class Whole(DenseSamples):
    """Samples whose products take one call for all tasks."""

    passes = 0

    def combine_features(self, B, transform):
        self.passes += 1
        return self.X.T @ transform(self.X @ B, range(self.n))


class Rows(Whole):
    """Samples whose averages are sums over the rows of X."""

    def averages(self):
        return RowAverages(self)
