"""Run plans.

The script runs plans of `ms.plan`, and compares dist at their ends with the prediction. The
settings vary the dimension, the rank, the noise, the covariance and mean of the heads, the numbers
of samples, the target, the start and the method. They were written down after the planner was tuned
on other settings, and before any of them was planned or run. The error of a mean over trials is one
standard error.
"""

import argparse
import math

from matplotlib.figure import Figure

import metaspan as ms

NEAR = ms.Init(dist=0.7)


def law(d, k, noise, spread=0.0, heads=None):
    """Return a law of tasks; heads are N(0, I) by default."""
    return ms.LinearTasks(d=d, k=k, noise=noise, spread=spread, heads=heads or ms.GaussianHeads())


def gaussian(cov, mean=None):
    """Return a law of heads."""
    return ms.GaussianHeads(cov=cov, mean=mean)


SETTINGS = [
    (law(250, 2, 0.4), dict(target=0.06, m=18, init=NEAR)),
    (law(1500, 4, 0.25), dict(target=0.04, m=24)),
    (law(20_000, 2, 0.8), dict(target=0.12, m=40)),
    (law(700, 3, 0.3, heads=gaussian([1, 0.7, 0.4])), dict(target=0.03, m=20)),
    (law(150, 2, 0.2), dict(target=0.02, m=12)),
    (law(800, 8, 0.4), dict(target=0.08, m=50, init=NEAR)),
    (law(400, 2, 0.5), dict(target=0.04, m=30, first_order=False)),
    (law(2000, 4, 0.3, heads=ms.SphereHeads(radius=2.0)), dict(target=0.05, m=32)),
    (law(1200, 3, 0.4), dict(target=None, budget=2 * 10**6, m=30)),
    (law(600, 2, 0.2), dict(target=0.04, n=120, m_in=16, m_out=8)),
    (law(500, 2, 0.4, heads=gaussian([0.6, 0.6], [1, -0.5])), dict(target=0.04, m=16)),
    (law(50_000, 3, 0.5), dict(target=None, budget=5 * 10**7)),
    (law(600, 4, 0.4), dict(target=0.06, m=24, schedule="constant")),
    (law(300, 3, 0.3), dict(target=0.06, n=30, m_in=12, m_out=12)),
    (law(1000, 2, 0.0), dict(target=0.015, m_in=15, m_out=25)),
    (law(800, 3, 0.3, spread=0.4), dict(target=0.05, m=25)),
]


def describe(tasks, options):
    """Return a setting in words."""
    heads = tasks.heads
    words = [f"d = {tasks.d}, k = {tasks.k}, noise = {tasks.noise:g}"]
    if tasks.spread:
        words.append(f"spread = {tasks.spread:g}")
    if isinstance(heads, ms.SphereHeads):
        words.append("sphere")
    elif heads.cov is not None:
        words.append(f"cov = {[float(x) for x in heads.cov]}")
    if getattr(heads, "mean", None) is not None:
        words.append(f"mean = {[float(x) for x in heads.mean]}")
    for name, value in options.items():
        if name == "init":
            words.append(f"start {value.dist:g}")
        elif name == "first_order":
            words.append("exact")
        elif value is not None:
            words.append(f"{name} = {value}")
    return ", ".join(words)


def draw(ends):
    """Draw dist at the ends of runs against the prediction, with the line of equal values."""
    figure = Figure(figsize=(4.8, 4.0), layout="constrained")
    ax = figure.add_subplot(xscale="log", yscale="log")
    planned, simulated, errors = zip(*ends, strict=True)
    line = (0.8 * min(planned), 1.25 * max(planned))
    ax.plot(line, line, color="0.6", lw=1, label="equal")
    ax.errorbar(planned, simulated, [2 * e for e in errors], fmt="o", ms=5, label="a plan")
    ax.set(xlabel="planned dist", ylabel="dist at the end of the run, two standard errors")
    ax.legend(frameon=False)
    figure.savefig("planned_runs.png", dpi=200)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="four settings, two trials")
    arguments = parser.parse_args()
    settings = [SETTINGS[i] for i in (0, 4, 6, 13)] if arguments.quick else SETTINGS
    trials = 2 if arguments.quick else 8
    print("| setting | n | m_in + m_out | rounds | samples | planned | simulated | ratio |")
    print("|---|---|---|---|---|---|---|---|")
    points = []
    for tasks, options in settings:
        planned = ms.plan(tasks, **options)
        run = planned.train(tasks, trials=trials, record_every=planned.rounds)
        ends = run.trace["dist"][:, -1]
        error = ends.std(ddof=1) / math.sqrt(trials)
        print(
            f"| {describe(tasks, options)} | {planned.n} | {planned.m_in} + {planned.m_out} | "
            f"{planned.rounds} | {planned.samples:.2g} | {planned.dist:.4f} | "
            f"{ends.mean():.4f} ± {error:.4f} | {ends.mean() / planned.dist:.3f} |",
            flush=True,
        )
        points.append((planned.dist, ends.mean(), error))
    draw(points)


if __name__ == "__main__":
    main()
