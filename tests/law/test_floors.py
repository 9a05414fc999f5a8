"""Late rounds of the collapsed engine at the floor (59), and runs on both sides of the boundary.

The tables of docs/theory.md, which examples/floors.py makes, have more settings and larger n.
"""

import dataclasses
import warnings

import numpy as np
import pytest

import metaspan as ms
from metaspan import theory

FROZEN = dict(first_order=True, outer="body")
UNEQUAL = ms.GaussianHeads(cov=[1.5, 1.0, 0.5])
MEAN = ms.GaussianHeads(mean=[0.6, 0.6])
# Law, method, m_in, m_out, share of the boundary: floors of dist from 0.006 to 0.4.
SETTINGS = {
    "little noise": (dict(d=2000, k=2, noise=0.1), ms.ANIL(alpha=0.5, **FROZEN), None, 20, 0.06),
    "finite sets": (
        dict(d=4000, k=3, noise=0.3, heads=UNEQUAL), ms.ANIL(alpha=0.3, **FROZEN), 30, 4, 0.5
    ),
    "exact": (dict(d=2000, k=3, noise=0.5, heads=UNEQUAL), ms.ANIL(alpha=0.2), 15, 5, 0.5),
    "mean head": (dict(d=3000, k=2, noise=0.3, heads=MEAN), ms.ANIL(alpha=0.3), 8, 6, 0.3),
}  # fmt: skip
N, RELAXATIONS = 1000, 4


@pytest.mark.parametrize("name", SETTINGS)
def test_runs_level_off_at_the_floor(name):
    """The root mean square tangent is within 3 % of the floor; `error_scale` is far off."""
    law, method, m_in, m_out, share = SETTINGS[name]
    tasks, counts = ms.LinearTasks(**law), dict(n=N, m_in=m_in, m_out=m_out)
    beta = share * theory.largest_beta(tasks, method, **counts)
    method = dataclasses.replace(method, beta=beta)
    floor = theory.floor(tasks, method, **counts)
    mu = theory.diversity(tasks.heads, tasks.k).mu
    late = round(RELAXATIONS / (method.alpha * beta * mu**2))
    r = ms.train(
        tasks, method, rounds=2 * late, **counts, trials=2, record="angles", stop=None,
        init=ms.Init(dist=1.3 * float(floor)), seed=1,
    )  # fmt: skip
    squares = (np.tan(r.trace["angles"][:, late:]) ** 2).mean()
    expected = (np.tan(floor.angles) ** 2).mean()
    assert np.sqrt(squares / expected) == pytest.approx(1.0, abs=0.03)
    # The comparison would reject the floor of 15 % more directions.
    wrong = theory.floor(dataclasses.replace(tasks, d=round(1.15 * tasks.d)), method, **counts)
    assert (np.tan(wrong.angles) ** 2).mean() / expected > 1.06**2


@pytest.mark.parametrize("share", [0.95, 1.05])
def test_runs_diverge_beyond_the_boundary_and_not_before(share):
    tasks, counts = ms.LinearTasks(d=2002, k=2, noise=0.3), dict(n=1000, m_in=None, m_out=1)
    method = ms.ANIL(alpha=0.5, **FROZEN)
    beta = share * theory.largest_beta(tasks, method, **counts)
    assert theory.stable(tasks, dataclasses.replace(method, beta=beta), **counts) == (share < 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ms.DivergenceWarning)
        r = ms.train(
            tasks, dataclasses.replace(method, beta=beta), rounds=1500, **counts, trials=4,
            init=ms.Init(dist=0.3), stop=None, record_every=1500,
        )  # fmt: skip
    diverged = [outcome == ms.Status.DIVERGED for outcome in r.outcomes]
    assert diverged == [share > 1] * 4
