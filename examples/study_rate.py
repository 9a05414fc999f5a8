"""Study the rate of convergence.

The rate depends on the diversity mu^2 of the heads, and not on d. On population losses, each round
multiplies dist by 1 - alpha beta mu^2, (22), for any d. From a random start, dist decreases only
after a number of rounds that grows like log(d k) / mu^2.
"""

import argparse
from pathlib import Path

import metaspan as ms

ALPHA, BETA, K = 0.1, 0.2, 3


def heads(mu2):
    """Return a distribution of heads: the variance is mu2 in one direction, and 1 in all others."""
    return ms.GaussianHeads(cov=[1.0] * (K - 1) + [mu2])


def rate(mu2):
    """Return the rate that (22) predicts for a diversity mu2."""
    tasks = ms.LinearTasks(d=100, k=K, heads=heads(mu2))
    return ms.theory.rate(tasks, "fo-anil", alpha=ALPHA, beta=BETA)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer cells and seeds")
    parser.add_argument("--out", default="study_rate", metavar="DIR")
    arguments = parser.parse_args()
    out = Path(arguments.out)

    powers = (2, 6, 10) if arguments.quick else (2, 4, 6, 8, 10, 12)
    diversities = [0.12, 0.25, 0.5, 1.0] if arguments.quick else [0.03, 0.06, 0.12, 0.25, 0.5, 1.0]
    study = ms.Study(
        out / "rate",
        base=dict(
            **dict(method="fo-anil", alpha=ALPHA, beta=BETA, k=K, n=100),
            heads=dict(kind="GaussianHeads", cov="[1, 1, mu2]"),
            rounds="round((log(d * k) / 2 + 25) / (alpha * beta * mu2))",
        ),
        grid=dict(mu2=diversities, d=[10**power for power in powers]),
        seeds=3 if arguments.quick else 20,
        measure=("rate", "rounds_to:1e-6", "seconds"),
    )
    print(study.run())

    table = study.table()
    ratio = table["rate"] / table["mu2"].map(rate)
    print(f"\nmeasured over (22): {ratio.mean():.4f}, from run to run +- {ratio.std():.1g}")
    print(f"\nrate, y = a mu2^b d^c:\n{study.fit('rate', ('mu2', 'd'))}")
    for mu2 in (diversities[0], diversities[-1]):
        laws = study.fit("rounds_to:1e-6", "d", where={"mu2": mu2})
        slope = 0.5 / (ALPHA * BETA * mu2)
        print(f"\nrounds to 1e-6 against d, mu2 = {mu2} (theory: {slope:.4g} log d):\n{laws}")

    figure = study.plot("mu2", "rate", hue="d", log="xy", predictions="rate")
    figure.savefig(out / "study_rate.png", dpi=200)
    figure = study.plot("d", "rounds_to:1e-6", hue="mu2", fit=True, predictions="rounds")
    figure.savefig(out / "study_rounds.png", dpi=200)
    print(f"\n{figure.caption}")
    study.report(out / "report.html")
    print(f"\nfigures and report.html are in {out}")


if __name__ == "__main__":
    main()
