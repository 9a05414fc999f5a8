"""Study estimators and methods.

The study compares estimators and meta-learning on the same tasks, and with the Cramer-Rao line.
Every task has 25 samples, of which 13 are the inner set of FO-ANIL; all methods use all samples of
the n tasks. The step size of FO-ANIL suits noisy samples, and its rounds end when dist no longer
falls. To leading order, the line is the least error of any unbiased estimator; the table of tan^2
over its value is the inverse of the statistical efficiency.
"""

import argparse
from pathlib import Path

import metaspan as ms

D, K, M, NOISE = 100, 5, 25, 1.0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer cells and seeds")
    parser.add_argument("--out", default="study_methods", metavar="DIR")
    arguments = parser.parse_args()
    out = Path(arguments.out)

    anil = ms.ANIL(alpha=0.5, beta=0.5, first_order=True)
    study = ms.Study(
        out / "methods",
        base=dict(d=D, k=K, noise=NOISE, m_in=13, m_out=12, rounds=300, stop=None),
        grid=dict(
            heads=[dict(kind="GaussianHeads", cov=[1 / K] * K)],
            n=[100, 400] if arguments.quick else [100, 200, 400, 800, 1600],
            pool="n",
            method=["moments", "split-spectral", "duchi", "altmin-gd", anil],
        ),
        seeds=2 if arguments.quick else 10,
        measure=("dist", "samples", "seconds"),
        common=("method",),
    )
    print(study.run())
    table = study.table()
    tasks = ms.LinearTasks(d=D, k=K, noise=NOISE, heads=ms.GaussianHeads(cov=[1 / K] * K))
    dist, bound = table["dist"], ms.theory.cramer_rao(tasks, table["n"], M)
    table["Cramér-Rao line"] = bound
    table["tan2 / bound"] = dist**2 / (1 - dist**2) * (1 - bound**2) / bound**2
    for measure in ("dist", "tan2 / bound", "seconds"):
        shown = table.pivot_table(measure, "n", "method", sort=False)
        print(f"\n{measure}, means:\n{shown.to_string(float_format='{:.2g}'.format)}")

    figure = ms.study.lines(
        table, "n", "dist", hue="method", log="xy", predictions="Cramér-Rao line"
    )
    figure.savefig(out / "study_methods.png", dpi=200)
    print(f"\nthe figure is in {out}; the grey line is the Cramer-Rao line")


if __name__ == "__main__":
    main()
