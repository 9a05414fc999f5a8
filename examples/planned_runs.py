"""Keep the promise of `ms.plan`: run plans, and compare dist at their ends with the prediction.

The settings vary the dimension, the rank, noise, covariance and mean of the heads, the sizes of the
samples, the target, the start and the method. They were written down before any of them was planned
or run, and the planner was not tuned on them. The error of a mean over trials is one standard
error.
"""

import argparse
import math

import metaspan as ms

NEAR = ms.Init(dist=0.7)


def law(d, k, noise, spread=0.0, heads=None):
    """Return a law of tasks; heads are N(0, I) by default."""
    return ms.LinearTasks(d=d, k=k, noise=noise, spread=spread, heads=heads or ms.GaussianHeads())


def gaussian(cov, mean=None):
    """Return a law of heads."""
    return ms.GaussianHeads(cov=cov, mean=mean)


SETTINGS = [
    (law(200, 2, 0.5), dict(target=0.05, m=20, init=NEAR)),
    (law(1000, 5, 0.3), dict(target=0.03, m=20)),
    (law(10_000, 3, 1.0), dict(target=0.1, m=50)),
    (law(500, 4, 0.2, heads=gaussian([1, 1, 0.5, 0.5])), dict(target=0.02, m=30)),
    (law(2000, 2, 0.5, heads=gaussian([1, 0.25])), dict(target=0.05, m=10, init=NEAR)),
    (law(100, 2, 0.1), dict(target=0.01, m=16)),
    (law(1000, 10, 0.5), dict(target=0.1, m=40, init=NEAR)),
    (law(300, 3, 0.3), dict(target=0.03, m=24, first_order=False)),
    (law(3000, 3, 0.3, heads=ms.SphereHeads(radius=3**0.5)), dict(target=0.05, m=25)),
    (law(1000, 2, 0.5), dict(target=None, budget=10**6, m=20)),
    (law(1000, 3, 0.3), dict(target=0.05, n=200, m_in=20, m_out=10)),
    (law(400, 2, 0.3, heads=gaussian([0.5, 0.5], [1, 1])), dict(target=0.03, m=20)),
    (law(100_000, 5, 0.3), dict(target=None, budget=10**8)),
    (law(1000, 3, 0.5), dict(target=0.05, m=30, schedule="constant")),
    (law(500, 2, 0.3), dict(target=0.05, n=20, m_in=10, m_out=10)),
    (law(800, 3, 0.0), dict(target=0.01, m_in=20, m_out=20)),
    (law(1000, 2, 0.2, spread=0.5), dict(target=0.05, m=20)),
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


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="four settings, two trials")
    arguments = parser.parse_args()
    settings = [SETTINGS[i] for i in (0, 5, 6, 14)] if arguments.quick else SETTINGS
    trials = 2 if arguments.quick else 8
    print("| setting | n | m_in + m_out | rounds | samples | planned | simulated | ratio |")
    print("|---|---|---|---|---|---|---|---|")
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


if __name__ == "__main__":
    main()
