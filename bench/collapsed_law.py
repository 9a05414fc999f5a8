"""Does rounds on fresh finite samples in NumPy, and tests that two sets of runs agree in law.

`explicit` draws every sample at full dimension. `in_coordinates` draws the quantities of (16) and
(17) directly, and uses separate coordinates for each task. It needs a large dimension d: it treats
the parts of different tasks outside the span as orthogonal, which is true up to a relative error of
1 / sqrt(d).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

import metaspan as ms
from bench import peers
from bench.floors import Size

Array = np.ndarray

NOISE = 0.1  # standard deviation of the noise of the labels
RECORDS = ("dist", "w_norm", "perp_norm", "sigma_max")
DEVIATIONS = 5.0  # number of standard errors by which means or spreads may differ
RESOLUTION = 0.15  # largest standard error of a mean with which a test is useful


class Case(NamedTuple):
    """The arguments of a round, without the state from which it starts."""

    size: Size
    rule: peers.Rule
    alpha: float


Round = Callable[[np.random.Generator, Case, Array, Array], tuple[Array, ...]]


def train(size: Size, method: str, steps: peers.Steps, **rest: Any) -> ms.Result:
    """Train the package on fresh samples; assert that all trials finished."""
    result = ms.train(
        ms.LinearTasks(d=size.d, k=size.k, noise=NOISE),
        method,
        alpha=steps.alpha,
        beta=steps.beta,
        n=size.n,
        m_in=size.m_in,
        m_out=size.m_out,
        stop=None,
        **{"init": "methodical", **rest},
    )
    assert result.config.engine == "collapsed", result.config.engine
    assert all(outcome == ms.Status.FINISHED for outcome in result.outcomes), str(result.outcomes)
    return result


def assert_law(
    rounds_of: Round, size: Size, method: str, steps: peers.Steps, *, rounds: int, trials: int
) -> None:
    """Assert that runs of the package and of NumPy from one start have ends that agree in law."""
    M, R, _ = train(size, method, steps, rounds=0).state
    case, rng = Case(size, peers.RULES[method], steps.alpha), np.random.default_rng(11)
    theirs = []
    for _ in range(trials):
        Z, w = np.vstack([M, R]), np.zeros(size.k)
        for _ in range(rounds):
            gram, grad, grad_w = rounds_of(rng, case, Z, w)
            Z, w = _step(Z, steps.beta * grad, steps.beta**2 * gram), w - steps.beta * grad_w
        theirs.append(_measure(Z, w))
    ours = train(
        size, method, steps, rounds=rounds, trials=8 * trials, record=RECORDS, record_every=rounds
    )
    expected = dict(zip(RECORDS, np.array(theirs).T, strict=True))
    assert_agree({name: ours.trace[name][:, -1] for name in RECORDS}, expected, f"{method}, {size}")


def assert_agree(measured: Mapping[str, Array], expected: Mapping[str, Array], what: str) -> None:
    r"""Assert that two sets of runs agree in mean and spread of the logarithm of each record.

    A record has shape (trials,). The spread is the mean distance from the median, because heavy
    tails do not dominate this distance.
    """
    for name, theirs in expected.items():
        a, b = np.log(measured[name]), np.log(theirs)
        off, error = _apart(a, b)
        wide, _ = _apart(abs(a - np.median(a)), abs(b - np.median(b)))
        assert error < RESOLUTION, f"{what}: {name} is known to {error:.2g} only"
        assert abs(off) < DEVIATIONS, f"{what}: mean {name} is {off:.1f} standard errors off"
        assert abs(wide) < DEVIATIONS, f"{what}: spread of {name} is {wide:.1f} of them off"


def _apart(a: Array, b: Array) -> tuple[float, float]:
    """Return the difference of the means in standard errors, and the standard error."""
    error = math.sqrt(a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b))
    return float(a.mean() - b.mean()) / error, error


def explicit(rng: np.random.Generator, case: Case, Z: Array, w: Array) -> tuple[Array, ...]:
    """Do a round at full dimension; return grad_B^T grad_B off the span, grad_B in it, grad_w."""
    size, D = case.size, len(Z)
    B = np.vstack([Z, np.zeros((size.d - D, size.k))])
    X_in, X_out = (rng.standard_normal((size.n, m, size.d)) for m in size[3:])
    grad, grad_w = peers.numpy_gradient(
        B, w, peers.ArrayTasks(_label(rng, X_in, X_out, size.k)), case.rule, case.alpha
    )
    return grad[D:].T @ grad[D:], grad[:D], grad_w


def in_coordinates(rng: np.random.Generator, case: Case, Z: Array, w: Array) -> tuple[Array, ...]:
    """Do a round for large d, in which the samples of a task are [P, L], L = bartlett(m, d - D)."""
    size, D = case.size, len(Z)
    m = size.m_in + size.m_out
    B = np.vstack([Z, np.zeros((m, size.k))])
    gram, grad, grad_w = np.zeros((size.k, size.k)), np.zeros_like(Z), np.zeros_like(w)
    for _ in range(size.n):
        X = rng.standard_normal((1, m, D + m))
        X[0, :, D:] = np.tril(X[0, :, D:], -1)
        roots = np.sqrt(rng.chisquare(size.d - D - np.arange(m)))
        X[0, np.arange(m), D + np.arange(m)] = roots
        data = _label(rng, X[:, : size.m_in], X[:, size.m_in :], size.k)
        task_grad, task_grad_w = peers.numpy_gradient(
            B, w, peers.ArrayTasks(data), case.rule, case.alpha
        )
        gram += task_grad[D:].T @ task_grad[D:] / size.n**2
        grad += task_grad[:D] / size.n
        grad_w += task_grad_w / size.n
    return gram, grad, grad_w


def _label(rng: np.random.Generator, X_in: Array, X_out: Array, k: int) -> peers.Arrays:
    """Label samples, whose first k columns are coordinates along B_star; draw heads and noise."""
    heads = rng.standard_normal((len(X_in), k, 1))

    def labels(X: Array) -> Array:
        return (X[:, :, :k] @ heads)[:, :, 0] + NOISE * rng.standard_normal(X.shape[:2])

    return peers.Arrays(X_in=X_in, y_in=labels(X_in), X_out=X_out, y_out=labels(X_out))


def _step(Z: Array, move: Array, gram: Array) -> Array:
    """Take the step (19), in which the new directions are orthogonal to the old directions."""
    k = Z.shape[1]
    moved = Z - move
    moved[k:] = np.linalg.cholesky(moved[k:].T @ moved[k:] + gram).T
    return moved


def _measure(Z: Array, w: Array) -> tuple[float, ...]:
    """Return the records of a state Z, w; the first k rows of Z are B_star^T B."""
    k = len(w)
    tangent = float(np.linalg.norm(np.linalg.solve(Z[:k].T, Z[k:].T), 2))
    off, whole = (float(np.linalg.norm(part, 2)) for part in (Z[k:], Z))
    return tangent / math.hypot(1.0, tangent), float(np.linalg.norm(w)), off, whole
