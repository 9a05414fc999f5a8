"""Runs of methods other than ANIL with one step follow the recursion of the reference, (56)-(58),
and runs of n tasks in k_star + gamma n dimensions approach it as n grows.

Means over trials at two n are extrapolated by their error of order 1 / n. Holm's procedure compares
all methods with the limit as one family, at 1e-3.
"""

from typing import NamedTuple

import numpy as np
import pytest
from scipy import stats

import metaspan as ms
from collapsed_runs import refused
from limit_methods import ALPHA, LAM, NOISE, many_steps, reference_of
from reference import limit

MEAN, COV = np.array([0.5, 0.2]), np.array([[1.0, 0.2], [0.2, 0.5]])
ROUNDS, GAMMA = 10, 2.0
COUNTS, TASKS = (150, 600), 18_000
M, R, W = np.eye(2) + 0.2, 0.7 * np.eye(2), np.array([0.2, -0.1])


class Case(NamedTuple):
    """A method and the sizes of its sets."""

    method: object
    m_in: int | None
    m_out: int | None = 4
    w: tuple = (0.2, -0.1)

    def run(self, n, trials=1, seed=0, record="dist", rounds=ROUNDS):
        """Run n tasks a round, None for the limit."""
        d = 2 + round(GAMMA * n) if n else 8
        heads = ms.GaussianHeads(mean=MEAN, cov=COV)
        tasks = ms.LinearTasks(d=d, k=2, noise=NOISE, heads=heads, B_star=np.eye(d, 2))
        B = np.concatenate([M, R, np.zeros((d - 4, 2))])
        options = {} if n else {"d_over_n": GAMMA}
        return ms.train(
            tasks, self.method, rounds=rounds, n=n, m_in=self.m_in, m_out=self.m_out, width=2,
            threads=1, stop=None, seed=seed, init=(B, self.w), record=record,
            trials=trials, **options,
        )  # fmt: skip

    def recursion(self, noise=NOISE):
        """The state after as many rounds of (55) with the gradients of the reference."""
        of = reference_of(many_steps(1, False) if isinstance(self.method, ms.MAML) else self.method)
        nodes = limit.gaussian_heads(MEAN, COV)

        def gradient(C, w):
            samples = {"variance": noise**2, "m_in": self.m_in, "m_out": self.m_out}
            return of(C, w, *limit.targets(nodes, len(C)), **samples)

        beta = getattr(self.method, "beta", None) or getattr(self.method, "server_step", None)
        frozen = getattr(self.method, "outer", "both") == "body"
        state = M, R, np.array(self.w)
        steps = {"beta": beta, "d_over_n": GAMMA, "beta_head": 0.0 if frozen else None}
        if not isinstance(self.method, ms.AltGDmin):
            return limit.descend(*state, gradient, ROUNDS, **steps)
        for _ in range(ROUNDS):
            state = limit.descend(*state, gradient, 1, **steps)
            T = np.linalg.qr(np.concatenate(state[:2]), mode="r")
            inverse = np.linalg.inv(np.sign(np.diag(T))[:, None] * T)
            state = state[0] @ inverse, state[1] @ inverse, state[2]
        return state


CASES = (
    Case(ms.AverageRisk(beta=0.3), None),
    Case(ms.FedAvg(alpha=ALPHA, local_steps=1, server_step=0.7), 3),
    Case(many_steps(2, True), 6),
    Case(many_steps(2, False), 8),
    Case(many_steps(4, False), None),
    Case(ms.RidgeANIL(lam=LAM, beta=0.3), None),
    Case(ms.RidgeANIL(lam=0.0, beta=0.2, first_order=True), 14),
    Case(ms.RidgeANIL(lam=0.0, beta=0.2), 16, None),
    Case(ms.FedRep(beta=0.3), 10),
    Case(ms.AltGDmin(beta=0.3), 10),
    Case(ms.MAML(alpha=ALPHA, beta=0.1, outer="body"), 5, 4, (0.0, 0.0)),
)


def smooth(M, R, w):
    """Smooth quantities of states (., 2, 2), (., ., 2) and (., 2), by name."""
    return {
        "tr M'M": (M**2).sum(axis=(-2, -1)),
        "tr R'R": (R**2).sum(axis=(-2, -1)),
        "sum M": M.sum(axis=(-2, -1)),
        "w": w[..., 0],
    }


def p_values(number, sampled, expected):
    """Two-sided p-values of the expected values, by Student's law; constants must agree."""
    p = {}
    for name, value in expected.items():
        small, large = (values[name] for values in sampled)
        mean = (4 * large.mean() - small.mean()) / 3
        variance = 16 * large.var(ddof=1) / len(large) + small.var(ddof=1) / len(small)
        error = max(np.sqrt(variance) / 3, 1e-12)
        p[number, name] = 2 * stats.t.sf(abs(value - mean) / error, len(large) - 1)
    return p


def test_runs_approach_the_recursion():
    """The same comparison rejects the limit with 10 % more noise."""
    p, louder = {}, {}
    for number, case in enumerate(CASES):
        sampled = [smooth(*case.run(n, TASKS // n, n + number).state) for n in COUNTS]
        p |= p_values(number, sampled, smooth(*case.run(None).state))
        louder |= p_values(number, sampled, smooth(*case.recursion(noise=1.1 * NOISE)))
    assert not refused(p)
    assert refused(louder)


@pytest.mark.parametrize("case", CASES, ids=lambda case: type(case.method).__name__)
def test_the_engine_follows_the_recursion(case):
    M, R, w = case.run(None).state
    expected = case.recursion()
    np.testing.assert_allclose(M, expected[0], atol=1e-9)
    np.testing.assert_allclose(R.T @ R, expected[1].T @ expected[1], atol=1e-9)
    np.testing.assert_allclose(w, expected[2], atol=1e-9)


LOSSES = ("loss_in", "loss_adapted", "loss_out")


def test_losses_at_the_start_are_those_of_tasks():
    """Means over trials of the losses of one round, whose state is given: exact at every n."""
    p, wrong = {}, {}
    for number, case in enumerate(CASES):
        names = LOSSES[:1] if isinstance(case.method, ms.FedAvg) else LOSSES
        options = {"record": (*names, "diversity_max"), "rounds": 1}
        sampled, found = case.run(500, 60, number, **options).trace, case.run(None, **options).trace
        for name in names:
            values = sampled[name][:, 0]
            error = values.std(ddof=1) / np.sqrt(len(values))
            for family, factor in ((p, 1.0), (wrong, 1.03)):
                z = (values.mean() - factor * found[name][0]) / error
                family[number, name] = 2 * stats.t.sf(abs(z), len(values) - 1)
        largest = sampled["diversity_max"][:, 0].mean()
        assert found["diversity_max"][0] == pytest.approx(largest, rel=0.05)
    assert not refused(p)
    assert refused(wrong)
