"""The two-level loss, (1)-(4), in d dimensions."""

from typing import NamedTuple

import numpy as np


class Samples(NamedTuple):
    """One data set of a task: X (m, d), y (m,)."""

    X: np.ndarray
    y: np.ndarray

    def loss(self, B, w):
        """(1): 1/(2m) ||X B w - y||^2, as a product without absolute values: analytic in B, w."""
        residual = self.X @ (B @ w) - self.y
        return (residual @ residual) / (2 * len(self.y))

    def feature_gradient(self, B, w):
        """Gradient of (1) with respect to the vector v = B w: X^T (X v - y) / m, (d,)."""
        return self.X.T @ (self.X @ (B @ w) - self.y) / len(self.y)

    def curvature(self, v):
        """Hessian of (1) with respect to v = B w, times a vector: X^T X v / m, (d,)."""
        return self.X.T @ (self.X @ v) / len(self.y)


class Population(NamedTuple):
    """Infinitely many samples of a task: parameter theta (d,), standard deviation noise."""

    theta: np.ndarray
    noise: float = 0.0

    def loss(self, B, w):
        """(1), population: 1/2 ||B w - theta||^2 + sigma^2/2."""
        error = B @ w - self.theta
        return (error @ error) / 2 + self.noise**2 / 2

    def feature_gradient(self, B, w):
        return B @ w - self.theta

    def curvature(self, v):
        return v


def inner_loop(B, w, inner, method):
    """(2): the iterates [(B_0, w_0), ..., (B_J, w_J)] on one task's inner data."""
    path = [(B, w)]
    for _ in range(method.inner_steps):
        B_j, w_j = path[-1]
        g_j = inner.feature_gradient(B_j, w_j)
        w_next = w_j - method.alpha * (B_j.T @ g_j)
        B_next = B_j - method.alpha * np.outer(g_j, w_j) if method.adapt_B else B_j
        path.append((B_next, w_next))
    return path


def adapt(B, w, inner, method):
    """(2): the end of the inner loop, (B_J, w_J)."""
    return inner_loop(B, w, inner, method)[-1]


def meta_loss(B, w, tasks, method):
    """(3), and (4) for J = 0: the mean over tasks (inner, outer) of the loss at (B_J, w_J)."""
    return sum(outer.loss(*adapt(B, w, inner, method)) for inner, outer in tasks) / len(tasks)
