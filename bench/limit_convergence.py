"""Compares runs of more and more tasks with their deterministic limit, (55) of docs/theory.md.

For every case the collapsed engine runs n = 300, 1,000, 3,000 and 10,000 tasks a round in
d = k + gamma n dimensions. The means over trials of all quantities are extrapolated to infinitely
many tasks, and the extrapolated value must agree with the limit to within its error: Holm's
procedure over all cases and quantities, with an error rate of 1e-3. Prints the table of
docs/theory.md; takes about ten minutes.

    python -m bench.limit_convergence [--quick]
"""

from __future__ import annotations

import argparse
import math
from typing import Any, NamedTuple

import numpy as np

import metaspan as ms

Array = np.ndarray

ROUNDS = 50
COUNTS = (300, 1_000, 3_000, 10_000)
TASKS = 120_000  # of a round in all trials together, for every n
SPECTRAL = (
    *("dist", "delta_norm", "sigma_min", "sigma_max", "perp_norm", "signal_min", "signal_max"),
    *("diversity_min", "diversity_max"),
)
SMOOTH = ("loss_out",)
ERROR = 1e-3
D_OF_LIMIT = 100_000  # enters through a spread alone, whose part in the span is spread^2 / d


class Case(NamedTuple):
    """A method, its tasks and its sizes; `gamma` is d / n, or 0 for d = 8 at every n."""

    method: str
    gamma: float
    mean: float = 0.0
    m_in: int | None = 5
    m_out: int | None = 5
    alpha: float = 0.2
    beta: float = 0.1
    noise: float = 0.5
    spread: float = 0.0
    k: int = 2
    width: int = 2
    heads: str = "gaussian"

    def law(self, n: int | None) -> Any:
        """Return the law of the heads; n tasks draw from an array of six heads with replacement."""
        if self.heads == "sphere":
            return ms.SphereHeads(radius=1.3)
        if self.heads == "array":
            rows = np.random.default_rng(5).standard_normal((6, self.k)) + self.mean
            if n is None:
                return rows
            return lambda generator, n, k: rows[generator.integers(len(rows), size=n)]
        eigenvalues = np.linspace(1.0, 0.5, self.k)
        cov = np.diag(eigenvalues) + 0.2 * (np.ones((self.k, self.k)) - np.eye(self.k))
        return ms.GaussianHeads(mean=np.full(self.k, self.mean), cov=cov)

    def run(self, n: int | None, trials: int, seed: int = 0) -> ms.Result:
        """Train with n tasks a round; None is the limit."""
        d = 8 if self.gamma == 0 else D_OF_LIMIT if n is None else self.k + round(self.gamma * n)
        B_0 = np.zeros((d, self.width))
        B_0[: self.k] = np.eye(self.k, self.width) + 0.2
        B_0[self.k : self.k + self.width] = 0.7 * np.eye(self.width)
        tasks = ms.LinearTasks(
            d=d,
            k=self.k,
            noise=self.noise,
            spread=self.spread,
            heads=self.law(n),
            B_star=np.eye(d, self.k),
        )
        return ms.train(
            tasks,
            self.method,
            alpha=self.alpha,
            beta=self.beta,
            rounds=ROUNDS,
            n=n,
            m_in=self.m_in,
            m_out=self.m_out,
            width=self.width,
            init=(B_0, np.full(self.width, 0.2)),
            record=[*SPECTRAL, *SMOOTH, "angles"],
            record_every=ROUNDS,
            stop=None,
            trials=trials,
            seed=seed,
            d_over_n=self.gamma if n is None else None,
        )


CASES = (
    Case("fo-anil", 0.0),
    Case("anil", 0.0, mean=1.0),
    Case("fo-anil", 1.0, beta=0.3),
    Case("anil", 1.0, mean=1.0, beta=0.3),
    Case("fo-anil", 5.0, mean=1.0, m_in=10, beta=0.2),
    Case("anil", 5.0, m_in=10, beta=0.2),
    Case("fo-anil", 20.0, m_in=20, m_out=10),
    Case("anil", 20.0, mean=1.0, m_in=20, m_out=10),
    Case("fo-anil", 5.0, mean=1.0, m_in=None, beta=0.2),
    Case("anil", 5.0, mean=1.0, m_in=None, beta=0.2),
    Case("fo-anil", 5.0, mean=1.0, m_out=None, beta=0.2),
    Case("anil", 5.0, mean=1.0, m_out=None, beta=0.2),
    Case("anil", 3.0, mean=1.0, spread=0.7, beta=0.2),
    Case("fo-anil", 2.0, k=3, heads="sphere", beta=0.2),
    Case("anil", 2.0, width=3, heads="array", mean=0.5),
)


def quantities(result: ms.Result) -> dict[str, Array]:
    """Return the quantities at the end of every trial, shape (trials,), by name."""
    M, R, w = (np.asarray(part) for part in result.state)
    trials = 1 if w.ndim == 1 else len(w)
    M, R, w = (part.reshape(trials, *part.shape[part.ndim - rank :]) for part, rank in
               ((M, 2), (R, 2), (w, 1)))  # fmt: skip
    columns = {name: np.reshape(result.trace[name], (trials, -1))[:, -1] for name in SPECTRAL}
    columns |= {name: np.reshape(result.trace[name], (trials, -1))[:, -1] for name in SMOOTH}
    columns["tr M'M"] = (M**2).sum(axis=(1, 2))
    columns["tr R'R"] = (R**2).sum(axis=(1, 2))
    columns |= {f"w[{j}]": w[:, j] for j in range(w.shape[1])}
    angles = np.reshape(result.trace["angles"], (trials, -1, min(M.shape[1:])))[:, -1]
    columns |= {f"angle {j}": angles[:, j] for j in range(angles.shape[1])}
    return columns


def extrapolate(counts: Array, means: Array, errors: Array, smooth: bool) -> tuple[float, float]:
    """Fit a + b / n + c / n^2, or a + b / sqrt(n) + c / n, and return a and its error."""
    powers = (0.0, 1.0, 2.0) if smooth else (0.0, 0.5, 1.0)
    design = np.stack([counts**-power for power in powers], axis=1) / errors[:, None]
    covariance = np.linalg.inv(design.T @ design)
    return float(covariance[0] @ design.T @ (means / errors)), math.sqrt(covariance[0, 0])


def compare(case: Case, tasks: int, seed: int) -> tuple[dict[str, float], list[float]]:
    """Return z-scores of all quantities, and what the table shows of dist."""
    limit = {name: values[0] for name, values in quantities(case.run(None, 1)).items()}
    counts = np.array(COUNTS, float)
    means: list[dict[str, float]] = []
    errors: list[dict[str, float]] = []
    for step, n in enumerate(COUNTS):
        found = quantities(case.run(n, max(tasks // n, 8), seed + step))
        assert all(np.isfinite(values).all() for values in found.values()), (case, n)
        means.append({name: values.mean() for name, values in found.items()})
        errors.append(
            {name: values.std(ddof=1) / math.sqrt(len(values)) for name, values in found.items()}
        )
    scores: dict[str, float] = {}
    shown: list[float] = []
    for name, value in limit.items():
        y = np.array([row[name] for row in means])
        error = np.array([row[name] for row in errors])
        if error.max() < 1e-12:  # dist is 1 for a learner with too few columns
            assert np.allclose(y, value, rtol=1e-9), (case, name)
            continue
        smooth = not (name in SPECTRAL or name.startswith("angle"))
        estimate, deviation = extrapolate(counts, y, error, smooth)
        scores[name] = (estimate - value) / deviation
        if name == "dist" or (name == "angle 0" and not shown):
            shown = [value, *y, estimate, deviation]
    return scores, shown


def rejected(scores: dict[Any, float]) -> list[Any]:
    """Return the names of the scores that Holm's procedure rejects, two-sided."""
    names = sorted(scores, key=lambda name: -abs(scores[name]))
    for i, name in enumerate(names):
        if math.erfc(abs(scores[name]) / math.sqrt(2)) > ERROR / (len(names) - i):
            return names[:i]
    return names


def describe(case: Case) -> str:
    """Return what is particular to a case, for a column of the table."""
    parts = ["/".join("∞" if m is None else str(m) for m in (case.m_in, case.m_out))]
    if case.spread:
        parts.append(f"spread {case.spread:g}")
    if (case.k, case.width) != (2, 2):
        parts.append(f"k_star, k = {case.k}, {case.width}")
    if case.heads != "gaussian":
        parts.append(case.heads)
    return ", ".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the trials")
    tasks = TASKS // 10 if parser.parse_args().quick else TASKS
    print(
        "| method | gamma | mean | m_in/m_out | limit | "
        + " | ".join(f"n = {n:,}" for n in COUNTS)
        + " | extrapolated | quantities | rms z | largest z |"
    )
    print("|" + "---|" * (8 + len(COUNTS)))
    everything: dict[Any, float] = {}
    for number, case in enumerate(CASES):
        scores, (value, *means, estimate, deviation) = compare(case, tasks, 10 * number)
        everything |= {(number, name): score for name, score in scores.items()}
        z = np.array(list(scores.values()))
        cells = [case.method, f"{case.gamma:g}", f"{case.mean:g}", describe(case), f"{value:.4f}"]
        cells += [f"{mean:.4f}" for mean in means] + [f"{estimate:.4f} ± {deviation:.4f}"]
        cells += [str(len(z)), f"{math.sqrt(np.mean(z**2)):.2f}", f"{abs(z).max():.1f}"]
        print("| " + " | ".join(cells) + " |", flush=True)
    wrong = rejected(everything)
    assert not wrong, [(name, everything[name]) for name in wrong]
    print(f"\n{len(everything)} comparisons, none rejected at an error rate of {ERROR:g}")


if __name__ == "__main__":
    main()
