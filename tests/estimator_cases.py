"""Samples of tasks, a monitor and wrappers with which tests run estimators that iterate."""

import numpy as np

from reference.estimator_samples import DenseSamples


class Recorder:
    """A monitor that keeps every record, and asks to stop after a number of them."""

    def __init__(self, rounds=None, stop_after=None):
        self.rounds, self.stop_after = rounds, stop_after
        self.iterates, self.heads, self.objectives = [], [], []

    def record(self, B, heads=None, objective=None):
        self.iterates.append(B.copy())
        self.heads.append(None if heads is None else heads.copy())
        self.objectives.append(objective)
        return len(self.iterates) == self.stop_after


class CountingSamples(DenseSamples):
    """Samples that count passes over X: a fused product is one pass."""

    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        self.passes = 0

    def features(self, B):
        self.passes += 1
        return super().features(B)

    def combine(self, C):
        self.passes += 1
        return super().combine(C)

    def combine_features(self, B, transform):
        self.passes += 1
        return super().combine_features(B, transform)


class WholeSamples(DenseSamples):
    """Samples whose transforms get all tasks at once: faster than one task at a time."""

    def combine_features(self, B, transform):
        return self.X.T @ transform(self.X @ B, range(self.n))


def tasks(rng, *, d, k, n, m, noise=1.0):
    """Tasks of the published table: (X, y, B_star) with heads N(0, I / k), m int or a list."""
    B_star = np.linalg.svd(rng.standard_normal((d, k)), full_matrices=False)[0]
    heads = rng.standard_normal((n, k)) / np.sqrt(k)
    counts = [m] * n if isinstance(m, int) else m
    X = [rng.standard_normal((m_i, d)) for m_i in counts]
    y = [X_i @ (B_star @ w_i) for X_i, w_i in zip(X, heads, strict=True)]
    return X, [y_i + noise * rng.standard_normal(len(y_i)) for y_i in y], B_star


def sine(B, B_star):
    """Sine of the largest angle between spans, for full-rank B and orthonormal B_star."""
    Q = np.linalg.qr(B)[0]
    return np.linalg.norm(Q - B_star @ (B_star.T @ Q), 2)
