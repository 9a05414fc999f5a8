"""Small random problems with known answers."""

from typing import NamedTuple

import numpy as np

from .losses import Population, Samples


class Method(NamedTuple):
    """The properties of a method on which the equations depend."""

    alpha: float
    beta: float
    inner_steps: int
    adapt_B: bool
    exact: bool


def frame(generator, d, k):
    """(d, k) orthonormal columns."""
    return np.linalg.qr(generator.standard_normal((d, k)))[0]


def sample_tasks(generator, B_star, m_in, m_out, noise=0.3):
    """A task (inner, outer) for every pair of sizes in m_in, m_out: y = X B_star w_star + noise."""
    d, k_star = B_star.shape
    tasks = []
    for sizes in zip(m_in, m_out, strict=True):
        theta = B_star @ generator.standard_normal(k_star)
        sets = []
        for m in sizes:
            X = generator.standard_normal((m, d))
            sets.append(Samples(X, X @ theta + noise * generator.standard_normal(m)))
        tasks.append(tuple(sets))
    return tasks


def population_tasks(B_star, heads, noise=0.0):
    """A task (inner, outer) of infinitely many samples for every row of heads (n, k_star)."""
    return [(Population(B_star @ head, noise),) * 2 for head in heads]
