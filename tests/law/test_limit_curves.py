"""Runs of n tasks in k_star + gamma n dimensions approach the recursion (55) as n grows.

Means over trials at n = 300 and n = 1,200 are extrapolated: smooth quantities by their error of
order 1 / n, functions of eigenvalues by n^(-1/2). Holm's procedure compares them with the limit, at
1e-3. `bench/limit_convergence.py` does the same up to n = 10,000, for more cases.
"""

from typing import NamedTuple

import numpy as np
import pytest
from scipy import stats

import metaspan as ms
from collapsed_runs import refused
from reference import limit, limit_moments

COVARIANCE = np.array([[1.0, 0.2], [0.2, 0.5]])
ROUNDS, ALPHA, NOISE = 12, 0.2, 0.5
COUNTS, TASKS = (300, 1200), 40_000
LARGE = 10_000  # dimensions of a limit with a spread, whose part in the span is spread^2 / d
SPECTRAL = ("dist", "delta_norm", "perp_norm", "diversity_min", "diversity_max")


class Case(NamedTuple):
    """A method, gamma, the mean of the heads, and the sizes of the sets."""

    method: str
    gamma: float
    mean: float
    m_in: int | None = 5
    m_out: int | None = 4
    beta: float = 0.3
    spread: float = 0.0
    outer: str = "both"

    def run(self, n, trials=1, seed=0):
        """Run n tasks a round, None for the limit, from B with M and R of order one."""
        d = 2 + round(self.gamma * n) if n and self.gamma else LARGE if self.spread else 8
        M, R, w = start()
        return ms.train(
            ms.LinearTasks(
                d=d, k=2, noise=NOISE, spread=self.spread, B_star=np.eye(d, 2),
                heads=ms.GaussianHeads(mean=np.full(2, self.mean), cov=COVARIANCE),
            ),
            self.method, alpha=ALPHA, beta=self.beta, outer=self.outer, rounds=ROUNDS, n=n,
            m_in=self.m_in, m_out=self.m_out, width=2, threads=1, stop=None, seed=seed,
            init=(np.concatenate([M, R, np.zeros((d - 4, 2))]), w), record=SPECTRAL,
            trials=trials, **({} if n else {"d_over_n": self.gamma}),
        )  # fmt: skip

    def recursion(self, **changed):
        """The state after as many rounds of (55) with closed forms, of which some constants change.

        `off` scales S.
        """
        off = changed.pop("off", 1.0)
        mean, in_span = np.full(2, self.mean), self.spread**2 / LARGE
        variance = NOISE**2 + self.spread**2 - 4 * in_span

        def gradient(C, w):
            law = limit_moments.GaussianResiduals(mean, COVARIANCE, C, w)
            law = limit_moments.SpreadResiduals(law, in_span) if in_span else law
            options = {"m_in": self.m_in, "m_out": self.m_out, "exact": self.method == "anil"}
            options |= {"alpha": ALPHA, "variance": variance, **changed}
            grad_C, grad_w, S = limit_moments.gradient(law, C, w, **options)
            return grad_C, grad_w, off * S

        beta_head = 0.0 if self.outer == "body" else None
        steps = {"beta": self.beta, "beta_head": beta_head, "d_over_n": self.gamma}
        return limit.descend(*start(), gradient, ROUNDS, **steps)


def start():
    """M and R (2, 2), and w (2,)."""
    return np.eye(2) + 0.2, 0.7 * np.eye(2), np.array([0.2, -0.1])


CASES = (
    Case("fo-anil", 1.0, mean=1.0),
    Case("anil", 4.0, mean=0.0, m_in=8),
    Case("fo-anil", 20.0, mean=0.0, m_in=20, m_out=10, beta=0.15),
    Case("anil", 5.0, mean=1.0, m_out=None, beta=0.2),
    Case("fo-anil", 5.0, mean=1.0, m_in=None, beta=0.2),
    Case("anil", 0.0, mean=1.0, beta=0.2),
)


def smooth(M, R, w):
    """Smooth quantities of states (., 2, 2), (., ., 2) and (., 2), by name."""
    return {
        "tr M'M": (M**2).sum(axis=(-2, -1)),
        "tr R'R": (R**2).sum(axis=(-2, -1)),
        "tr (M'M)^2": ((np.swapaxes(M, -2, -1) @ M) ** 2).sum(axis=(-2, -1)),
        "w'w": (w**2).sum(axis=-1),
    }


def extrapolate(case, seed):
    """Return the extrapolated mean of every quantity and its standard error, by name."""
    values = []
    for n in COUNTS:
        run = case.run(n, TASKS // n, seed + n)
        spectral = {name: run.trace[name][:, -1] for name in SPECTRAL}
        values.append(smooth(*run.state) | spectral)
    extrapolated = {}
    for name in values[0]:
        small, large = (v[name] for v in values)
        weight = 1 / 3 if name not in SPECTRAL else 1.0  # of the difference of the two means
        mean = large.mean() + weight * (large.mean() - small.mean())
        variance = (1 + weight) ** 2 * large.var(ddof=1) / len(large)
        variance += weight**2 * small.var(ddof=1) / len(small)
        extrapolated[name] = mean, np.sqrt(variance)
    return extrapolated


def p_values(number, extrapolated, expected):
    """Two-sided p-values of the expected values of a case, by Student's law."""
    dof = TASKS // COUNTS[1] - 1
    return {
        (number, name): 2 * stats.t.sf(abs(value - mean) / error, dof)
        for name, value in expected.items()
        for mean, error in [extrapolated[name]]
    }


FAULTS = {"c2 = 1": {"c2": 1.0}, "c1 = 1": {"c1": 1.0}, "S is 10 % larger": {"off": 1.1}}


def test_runs_approach_the_recursion():
    """All cases are one family. The smooth quantities alone reject planted faults."""
    p, wrong = {}, {fault: {} for fault in FAULTS}
    for number, case in enumerate(CASES):
        extrapolated, run = extrapolate(case, 1000 * number), case.run(None)
        expected = smooth(*run.state) | {name: run.trace[name][-1] for name in SPECTRAL}
        p |= p_values(number, extrapolated, expected)
        for fault, changed in FAULTS.items():
            state = smooth(*case.recursion(**changed))
            wrong[fault] |= p_values(number, extrapolated, state)
    assert not refused(p)
    for fault, values in wrong.items():
        assert refused(values), fault


@pytest.mark.parametrize(
    "case",
    [*CASES, CASES[0]._replace(outer="body"), CASES[1]._replace(spread=0.7)],
)
def test_the_engine_follows_the_recursion(case):
    """The state after all rounds is that of closed forms in NumPy."""
    M, R, w = case.run(None).state
    expected = case.recursion()
    np.testing.assert_allclose(M, expected[0], rtol=1e-11)
    np.testing.assert_allclose(R.T @ R, expected[1].T @ expected[1], rtol=1e-11)
    np.testing.assert_allclose(w, expected[2], rtol=1e-11)
