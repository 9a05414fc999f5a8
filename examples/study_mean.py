"""Study heads with a mean.

The study varies the mean of the heads, for ANIL, MAML and average risk. Heads are distributed as
N(mean * 1, I). The step sizes are smaller for a larger mean, and the number of rounds is larger, so
that all runs have the same alpha * beta * rounds. By (22), all runs would then end at the same
dist. All methods train on the same tasks.
"""

import argparse
from pathlib import Path

import numpy as np

import metaspan as ms

METHODS = ["anil", "fo-anil", "maml", "fo-maml", "average-risk"]


def directions(result):
    """Count the principal angles whose sine is below 0.1."""
    M, R, _ = result.state
    Q = np.linalg.qr(np.vstack([M, R]))[0]
    return int((np.linalg.svd(Q[len(M) :], compute_uv=False) < 0.1).sum())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer cells and seeds")
    parser.add_argument("--out", default="study_mean", metavar="DIR")
    arguments = parser.parse_args()
    out = Path(arguments.out)

    study = ms.Study(
        out / "mean",
        base=dict(
            **dict(d=20, k=3, n=3, alpha="0.1 / (1 + mean / 4)", beta="0.1 / (1 + mean)"),
            heads=dict(kind="GaussianHeads", mean="[mean, mean, mean]"),
            init=dict(kind="Init", dist=0.7, scale="alpha ** -0.5"),
            **dict(rounds="round(10 / (alpha * beta))", stop=None),
        ),
        grid=dict(
            mean=[0.1, 1, 10] if arguments.quick else [0.1, 0.2, 0.4, 0.7, 1, 2, 4, 7, 10],
            method=METHODS,
        ),
        seeds=3 if arguments.quick else 20,
        measure=("dist", directions, "w_norm", "rounds_to:0.1", "seconds"),
        common=("method",),
    )
    print(study.run())

    table = study.table()
    table["diverged"] = table["status"] == "diverged"
    summaries = {
        "dist at the end, geometric means": ("dist", lambda dist: np.exp(np.log(dist).mean())),
        "runs that diverged": ("diverged", "sum"),
        "directions that were found, at most": ("directions", "max"),
        "length of w, means": ("w_norm", "mean"),
    }
    for title, (measure, how) in summaries.items():
        shown = table.pivot_table(measure, "mean", "method", aggfunc=how, sort=False)
        print(f"\n{title}:\n{shown.to_string(float_format='{:.2g}'.format)}")

    study.plot("mean", "dist", hue="method").savefig(out / "study_mean.png", dpi=200)
    study.report(out / "report.html")
    print(f"\nfigure and report.html are in {out}")


if __name__ == "__main__":
    main()
