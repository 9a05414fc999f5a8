"""Check floors and boundaries.

The script compares predictions of theory with runs of the collapsed engine. The first table
compares the floor with the root mean square tangent of the principal angles, over late rounds and
trials. The second table compares the boundary with the step size beyond which half of the trials
diverge, which is found by bisection. The third table compares the number of tasks a round that a
floor of 0.01 needs with the number that the scale sqrt(d k / (n m_out)) suggests.
"""

import argparse
import math
import warnings
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

import metaspan as ms

FROZEN = dict(first_order=True, outer="body")
FIRST = dict(first_order=True)
MEAN = ms.GaussianHeads(mean=[0.6, 0.6])
UNEQUAL = ms.GaussianHeads(cov=[1.5, 1.0, 0.5])


class Setting(NamedTuple):
    """A law of tasks, a method without its step size beta, and the numbers of tasks and samples."""

    law: dict
    steps: dict
    n: int
    m_in: int | None
    m_out: int

    @property
    def tasks(self):
        return ms.LinearTasks(**self.law)

    @property
    def counts(self):
        return dict(n=self.n, m_in=self.m_in, m_out=self.m_out)

    def method(self, beta):
        return ms.ANIL(**self.steps, beta=beta)

    def boundary(self):
        return ms.theory.largest_beta(self.tasks, self.method(0.1), **self.counts)

    def run(self, beta, dist, rounds, trials):
        """Run ANIL from a distance; trials may diverge."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ms.train(
                self.tasks, self.method(beta), rounds=rounds, **self.counts, trials=trials,
                init=ms.Init(dist=dist), record="angles", stop=None,
            )  # fmt: skip

    def __str__(self):
        head = "frozen" if self.steps.get("outer") == "body" else "free"
        name = f"{'FO-ANIL' if self.steps.get('first_order') else 'ANIL'}, {head} head"
        law, samples = self.law, f"{self.m_in or 'inf'}/{self.m_out}"
        heads = {id(MEAN): "mean", id(UNEQUAL): "unequal", id(None): "equal"}
        kind = heads.get(id(law.get("heads")), "sphere")
        sizes = f"{law['d']} | {law['k']} | {self.n} | {samples} | {law.get('noise', 0)}"
        return f"| {name} | {kind} | {sizes} | {self.steps['alpha']}"


# Settings, and the step size as a share of the boundary.
FLOORS = [
    (Setting(dict(d=2000, k=2, noise=0.1), dict(alpha=0.5, **FROZEN), 1000, None, 20), 0.05),
    (Setting(dict(d=2000, k=2, noise=0.3), dict(alpha=0.5, **FROZEN), 1000, None, 5), 0.2),
    (Setting(dict(d=8000, k=2, noise=0.3), dict(alpha=0.5, **FROZEN), 1000, None, 2), 0.5),
    (Setting(dict(d=8000, k=2, noise=0.5), dict(alpha=0.5, **FROZEN), 1000, None, 2), 0.9),
    (
        Setting(
            dict(d=4000, k=3, noise=0.3, heads=UNEQUAL), dict(alpha=0.3, **FROZEN), 1000, None, 4
        ),
        0.5,
    ),
    (
        Setting(dict(d=3000, k=4, heads=ms.SphereHeads(radius=2.0)), dict(alpha=0.3), 1000, 20, 10),
        0.1,
    ),
    (Setting(dict(d=8000, k=2, noise=0.3), dict(alpha=0.1, **FIRST), 1000, 20, 10), 0.02),
    (Setting(dict(d=8000, k=2, noise=0.3), dict(alpha=0.3, **FIRST), 1000, 10, 10), 0.3),
    (Setting(dict(d=5000, k=3, noise=0.5, heads=UNEQUAL), dict(alpha=0.2), 2000, 15, 5), 0.3),
    (Setting(dict(d=5000, k=3, noise=0.5, heads=UNEQUAL), dict(alpha=0.2), 2000, 15, 5), 0.7),
    (Setting(dict(d=3000, k=2, noise=0.3, heads=MEAN), dict(alpha=0.3), 1000, 8, 6), 0.3),
    (Setting(dict(d=3000, k=2, noise=0.3, heads=MEAN), dict(alpha=0.3, **FIRST), 1000, 8, 6), 0.3),
    (Setting(dict(d=20_000, k=10, noise=0.1), dict(alpha=0.05), 2000, 100, 50), 0.2),
    (Setting(dict(d=20_000, k=10, noise=0.1), dict(alpha=0.05, **FIRST), 2000, 25, 25), 0.5),
]
BOUNDARIES = [
    Setting(dict(d=1000, k=2, noise=0.3), dict(alpha=1.0, **FROZEN), 50, None, 1),
    Setting(dict(d=8000, k=2, noise=0.3), dict(alpha=0.5, **FROZEN), 1000, None, 2),
    Setting(dict(d=80_000, k=2, noise=0.3), dict(alpha=0.3, **FROZEN), 4000, 10, 10),
    Setting(dict(d=20_000, k=2, noise=0.3), dict(alpha=0.3, **FIRST), 1000, 10, 10),
    Setting(dict(d=80_000, k=2, noise=0.3), dict(alpha=0.3, **FIRST), 4000, 10, 10),
    Setting(dict(d=320_000, k=2, noise=0.3), dict(alpha=0.3, **FIRST), 16_000, 10, 10),
    Setting(dict(d=20_000, k=3, noise=0.5, heads=UNEQUAL), dict(alpha=0.2), 2000, 15, 5),
    Setting(dict(d=80_000, k=3, noise=0.5, heads=UNEQUAL), dict(alpha=0.2), 8000, 15, 5),
    Setting(dict(d=20_000, k=2, noise=0.3, heads=MEAN), dict(alpha=0.3), 1000, 8, 6),
    Setting(dict(d=160_000, k=2, noise=0.3, heads=MEAN), dict(alpha=0.3), 8000, 8, 6),
]


def compare_floor(setting, share, relaxations, trials):
    """Return beta, the floor, the simulated value and its standard error.

    The run starts above the floor, and its first half is left out. It takes twice the given number
    of relaxation times, in which errors of the weakest direction fall by a factor of e.
    """
    beta = share * setting.boundary()
    floor = ms.theory.floor(setting.tasks, setting.method(beta), **setting.counts)
    predicted = math.sqrt(np.mean(np.tan(floor.angles) ** 2))
    mu = ms.theory.diversity(setting.tasks.heads, setting.law["k"]).mu
    late = math.ceil(relaxations / (setting.steps["alpha"] * beta * mu**2))
    r = setting.run(beta, min(0.9, 1.3 * float(floor)), 2 * late, trials)
    squares = (np.tan(r.trace["angles"][:, late:]) ** 2).mean(axis=(1, 2))
    simulated = math.sqrt(squares.mean())
    return beta, predicted, simulated, squares.std(ddof=1) / math.sqrt(trials) / (2 * simulated)


def find_boundary(setting, around, rounds, trials, halvings):
    """Return the step size beyond which half of the trials diverge."""
    low, high = 0.7 * around, 1.4 * around
    for _ in range(halvings):
        beta = math.sqrt(low * high)
        r = setting.run(beta, 0.3, rounds, trials)
        diverged = sum(outcome == ms.Status.DIVERGED for outcome in r.outcomes)
        low, high = (beta, high) if diverged < trials / 2 else (low, beta)
    return math.sqrt(low * high)


def tasks_for(target, law, steps, m_in, m_out):
    """Return the least number of tasks a round whose floor is at most the target."""
    low, high = 1, 2**40
    while high > 1.01 * low + 1:
        n = math.isqrt(low * high)
        method = ms.ANIL(**steps)
        floor = ms.theory.floor(ms.LinearTasks(**law), method, n=n, m_in=m_in, m_out=m_out)
        low, high = (low, n) if float(floor) <= target else (n, high)
    return high


def draw(floors):
    """Draw simulated floors against predicted ones, with the line on which they are equal."""
    figure = Figure(figsize=(4.8, 4.0), layout="constrained")
    ax = figure.add_subplot(xscale="log", yscale="log")
    predicted, simulated, errors = zip(*floors, strict=True)
    ends = (0.8 * min(predicted), 1.25 * max(predicted))
    ax.plot(ends, ends, color="0.6", lw=1, label="equal")
    ax.errorbar(predicted, simulated, 2 * np.array(errors), fmt="o", ms=5, label="a setting")
    ax.set(xlabel="predicted floor of tan", ylabel="simulated floor of tan, two standard errors")
    ax.legend(frameon=False)
    figure.savefig("floors.png", dpi=200)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer settings, rounds and trials")
    quick = parser.parse_args().quick

    head = "| method | heads | d | k | n | m_in/m_out | noise | alpha | beta |"
    print(f"{head} floor | simulated | ratio |")
    floors = []
    for setting, share in FLOORS[1:8:3] if quick else FLOORS:
        effort = (3, 2) if quick else (8, 4)
        beta, predicted, simulated, error = compare_floor(setting, share, *effort)
        shown = f"{predicted:.4f} | {simulated:.4f} ± {error:.4f} | {simulated / predicted:.3f} |"
        print(f"{setting} | {beta:.4f} | {shown}", flush=True)
        floors.append((predicted, simulated, error))
    draw(floors)

    print(f"\n{head} simulated | ratio |")
    for setting in BOUNDARIES[:1] if quick else BOUNDARIES:
        boundary = setting.boundary()
        effort = (4000, 4, 5 if quick else 6)
        found = find_boundary(setting, boundary, *effort)
        print(f"{setting} | {boundary:.5f} | {found:.5f} | {found / boundary:.3f} |", flush=True)

    law, steps = dict(d=10**6, k=10, noise=0.1), dict(alpha=0.1, beta=0.05, **FIRST)
    print("\n| target | m_in/m_out | tasks a round by the floor | by the scale |")
    n = tasks_for(0.05, law, steps, 25, 25)
    print(f"| 0.05 | 25/25 | {n:.2g} | {law['d'] * law['k'] / (25 * 0.05**2):.2g} |")


if __name__ == "__main__":
    main()
