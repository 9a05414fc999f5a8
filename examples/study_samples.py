"""Study the floor.

The study varies d, k, n and m_out, up to a million dimensions. On fresh samples and with constant
step sizes, dist levels off at a floor. By theory, the floor is proportional to sqrt(d k / (n
m_out)), the square root of the number of unknowns divided by the number of outer samples in a
round. This study measures the floor in 300 cells. The outer sets are so large that runs at d = 10^6
end well below dist = 1. The inner sets are larger for larger k, so that all heads are estimated
equally well.
"""

import argparse
from pathlib import Path

import numpy as np

import metaspan as ms

THEORY = dict(d=0.5, k=0.5, n=-0.5, m_out=-0.5)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer cells, seeds and tasks")
    parser.add_argument("--out", default="study_samples", metavar="DIR")
    arguments = parser.parse_args()
    out = Path(arguments.out)

    full = dict(
        d=[10**2, 10**3, 10**4, 10**5, 10**6],
        k=[2, 4, 8, 16],
        n=[100, 200, 400],
        m_out=[10_000, 20_000, 40_000, 80_000, 160_000],
    )
    small = dict(d=full["d"][::2], k=[2, 4], n=[100, 200], m_out=full["m_out"][::2])
    study = ms.Study(
        out / "samples",
        base=dict(
            **dict(method="fo-anil", alpha=0.1, beta=0.2, noise=0.1, m_in="10 * k"),
            **dict(init="methodical", rounds=700, stop=None),
        ),
        grid=small if arguments.quick else full,
        seeds=2 if arguments.quick else 3,
        measure=("floor", "dist", "seconds"),
    )
    with ms.process_pool(2) as pool:
        print(study.run(pool))

    table = study.table()
    powers = study.fit("floor", tuple(THEORY))
    print(f"\nfloor against all four: {powers}\n")
    for name, exponent in THEORY.items():
        print(f"{name}: exponent {powers.exponents[name]:.3f}, in the scale of theory {exponent}")
    for k in sorted(set(table["k"])):
        exponents = study.fit("floor", ("d", "n", "m_out"), where={"k": k}).exponents
        print(f"k = {k} alone:", *(f"{name}^{power:.3f}" for name, power in exponents.items()))
    highest = table.groupby(["d", "k", "n", "m_out"])["floor"].mean().max()
    print(
        f"{len(table)} runs, of which {table['floor'].isna().sum()} have no floor; "
        f"the highest floor of a cell is {highest:.2g}"
    )

    table["scale"] = np.sqrt(table["d"] * table["k"] / (table["n"] * table["m_out"]))
    figure = ms.study.lines(table, "scale", "floor", hue="k", fit=True)
    (ax,) = figure.axes
    ax.set_xlabel(r"scale of theory, $\sqrt{d\,k / (n\,m_{\mathrm{out}})}$")
    figure.savefig(out / "study_samples.png", dpi=200)
    study.report(out / "report.html")
    print(f"\nfigure and report.html are in {out}")


if __name__ == "__main__":
    main()
