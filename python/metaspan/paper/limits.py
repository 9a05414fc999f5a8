r"""Tests those claims of theory that no panel shows, each by separate runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .._support.types import F64
from ..config.options import Init
from ..methods import ANIL, MAML, AverageRisk, Method
from ..runs.result import Result
from ..runs.train import train
from ..tasks.heads import GaussianHeads
from ..tasks.linear import LinearTasks
from ..theory.rates import fading, fixed_point, plateau, rate
from .claims import Claim, near
from .expected import slope
from .floors import floors

PANEL = "theory"
SEED = 0
Run = Callable[..., Result]
RUNS = 21  # number of runs, for the progress bar


def limits(advanced: Callable[[], None] = lambda: None) -> list[Claim]:
    r"""Train the runs that test those claims of theory that no panel shows.

    Parameters
    ----------
    advanced : callable
        Function that is called after each of the `RUNS` training runs.

    Returns
    -------
    list of Claim
        The claims, each with the observed value.
    """

    def run(tasks: LinearTasks, method: Method, **arguments: Any) -> Result:
        result = train(tasks, method, seed=SEED, stop=None, **arguments)
        advanced()
        return result

    parts = (_any_dimension, _all_tasks, _infinite_tasks, _two_steps, _average_risk, _samples)
    return [claim for part in parts for claim in part(run)]


def _any_dimension(run: Run) -> Iterator[Claim]:
    """Claim that, for any d, dist falls at the rate (22) after a delay that is linear in log d."""
    method = ANIL(alpha=0.1, beta=0.2, first_order=True)
    dimensions = (10**2, 10**7, 10**12)
    reached = []
    for d in dimensions:
        tasks = LinearTasks(d=d, k=3)
        result = run(tasks, method, rounds=2200, n=100, trials=20, record_every=4)
        value = rate(tasks, method)
        least, most = near(value, 0.01)
        yield Claim(
            panel=PANEL, quantity=f"d = 10^{math.log10(d):.0f}: fall of log dist per round",
            expected=value, least=least, most=most, source="(22)", observed=slope(result),
        )  # fmt: skip
        dist = np.atleast_2d(result.trace["dist"])
        there = dist <= 1e-6
        rounds = np.where(there.any(axis=1), result.trace["round"][there.argmax(axis=1)], np.nan)
        reached.append(float(rounds.mean()))
    waits = [plateau(LinearTasks(d=d, k=3), method) for d in dimensions]
    span = math.log(dimensions[-1] / dimensions[0])
    value = (waits[-1] - waits[0]) / span
    least, most = near(value, 0.15)
    yield Claim(
        panel=PANEL, quantity="rounds until dist = 1e-6, per unit of log d", expected=value,
        least=least, most=most, source="(22)", observed=(reached[-1] - reached[0]) / span,
    )  # fmt: skip


def _all_tasks(run: Run) -> Iterator[Claim]:
    """Claim that dist, by (14), falls at the rate (22) down to 1e-280 if rounds use all tasks."""
    tasks = _paired_tasks()
    methods: dict[str, Method] = {
        "Exact ANIL": ANIL(alpha=0.5, beta=0.5),
        "FO-ANIL": ANIL(alpha=0.5, beta=0.5, first_order=True),
        "Exact MAML": MAML(alpha=0.5, beta=0.5),
        "FO-MAML": MAML(alpha=0.5, beta=0.5, first_order=True),
    }
    for width in (3, 5):
        for label, method in methods.items():
            result = run(tasks, method, rounds=2300, n=6, width=width, init=Init(dist=0.7))
            error = abs(slope(result, 1e-50, 1e-280) / rate(tasks, method) - 1)
            yield Claim(
                panel=PANEL, quantity=f"{label}, width {width}, all tasks: error of the rate",
                expected=0.0, least=0.0, most=1e-6, source="(22), (14)", observed=error,
            )  # fmt: skip


def _paired_tasks() -> LinearTasks:
    """Return a pool of six tasks; their heads, three pairs h and -h, have the covariance I."""
    signs = np.concatenate([np.eye(3), -np.eye(3)])
    return LinearTasks(d=20, k=3, heads=math.sqrt(3) * signs)


def _infinite_tasks(run: Run) -> Iterator[Claim]:
    """Claim that M M^T has the limit of (23), and that R fades as predicted for a width above k."""
    method = ANIL(alpha=0.5, beta=0.2, first_order=True)
    tasks = LinearTasks(d=50, k=2, noise=0.5, heads=GaussianHeads(cov=np.diag([1.0, 0.5])))
    limit = fixed_point(tasks, method, m_in=10)
    for n, allowed, name in ((None, 1e-6, "infinitely many tasks"), (2000, 0.02, "2000 tasks")):
        samples = {"m_in": 10, "m_out": 2000, "init": Init(dist=0.7)}
        result = run(tasks, method, rounds=1000, n=n, trials=4, **samples)
        error = float(np.abs(_gram(result) - limit).max() / np.abs(limit).max())
        yield Claim(
            panel=PANEL, quantity=f"{name}: M M^T, relative error of its limit", expected=0.0,
            least=0.0, most=allowed, source="(23)", observed=error,
        )  # fmt: skip
    rounds = 200_000
    options = {"record": ("perp_norm",), "record_every": rounds, "width": 3, "m_in": 10}
    result = run(tasks, method, rounds=rounds, n=None, m_out=10, **options)
    value = float(fading(tasks, method, 10, rounds))
    least, most = near(value, 0.01)
    yield Claim(
        panel=PANEL, quantity=f"width 3 of k = 2: surplus of R at round {rounds}", expected=value,
        least=least, most=most, source="(23)", observed=float(result.trace["perp_norm"][-1]),
    )  # fmt: skip


def _gram(result: Result) -> F64:
    """Return the mean of M M^T over trials."""
    M = np.asarray(result.state[0])
    mean: F64 = (M @ M.swapaxes(-1, -2)).reshape(-1, *M.shape[-2:-1] * 2).mean(axis=0)
    return mean


def _two_steps(run: Run) -> Iterator[Claim]:
    """Claim that alpha B^T B goes to 2 I for first-order ANIL at J = 2, and to I for exact ANIL."""
    tasks = _paired_tasks()
    # Exact ANIL approaches its limit only like a power of the number of rounds, since its loss is
    # of fourth order near the limit.
    for first_order, value, tolerance in ((True, 2.0, 1e-3), (False, 1.0, 0.1)):
        method = ANIL(alpha=0.1, beta=0.1, inner_steps=2, first_order=first_order)
        init = Init(dist=0.1, scale=math.sqrt(1.9 / method.alpha))
        options: dict[str, Any] = {"rounds": 5000, "n": 6, "record": ("sigma_max",)}
        result = run(tasks, method, init=init, **options)
        name = "FO-ANIL" if first_order else "Exact ANIL"
        least, most = near(value, tolerance)
        yield Claim(
            panel=PANEL, quantity=f"{name}, two inner steps: alpha sigma_max(B)^2 from 1.9",
            expected=value, least=least, most=most, source="(22)",
            observed=float(method.alpha * result.trace["sigma_max"][-1] ** 2),
        )  # fmt: skip


def _average_risk(run: Run) -> Iterator[Claim]:
    """Claim that average risk, (4), finds the direction of the mean head and no other direction."""
    tasks = LinearTasks(d=20, k=3, heads=GaussianHeads(mean=np.full(3, 2.0)))
    options: dict[str, Any] = {"rounds": 5000, "n": 20, "record": ("angles",)}
    result = run(tasks, AverageRisk(beta=0.02), trials=20, **options)
    sines = np.sin(result.trace["angles"][:, -1])
    yield Claim(
        panel=PANEL, quantity="average risk, mean heads: directions that are found", expected=1.0,
        least=1.0, most=1.0, source="(4)", observed=float((sines < 0.1).sum(axis=1).mean()),
    )  # fmt: skip


def _samples(run: Run) -> Iterator[Claim]:
    """Claim that the floor of dist is inversely proportional to sqrt(m_out) and to sqrt(n)."""
    method = ANIL(alpha=0.1, beta=0.1, first_order=True)
    for what, larger in (("m_out", {"m_out": 8000}), ("n", {"n": 400})):
        ends = []
        for changed in ({}, larger):
            options = {"n": 100, "m_in": 1000, "m_out": 1000, "init": Init(dist=0.1), **changed}
            tasks = LinearTasks(d=1000, k=3, noise=0.1)
            ends.append(run(tasks, method, rounds=1200, trials=4, record_every=4, **options))
        measured = floors(ends)
        yield Claim(
            panel=PANEL, quantity=f"floor of dist: exponent of {what}", expected=-0.5, least=-0.55,
            most=-0.45, source="sqrt(d k / (n m_out))", observed=-0.5 * measured.exponent,
        )  # fmt: skip
