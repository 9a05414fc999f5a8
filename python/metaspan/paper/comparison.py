r"""Panels that compare estimators for several numbers of tasks and of samples per task."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .._support.looks import DASHES, MARKERS, PALETTE, PREDICTED, new_axes, set_log_ticks
from .._support.tables import Row, format_csv
from .._support.types import F64
from ..estimators.names import algorithm_of, resolve_estimator
from ..estimators.on_arrays import ArraySamples
from ..estimators.space import EstimateError
from ..fit import fit
from ..runs.outcome import DivergenceWarning, NotConvergedWarning
from ..tasks.batch import TaskBatch
from ..tasks.heads import GaussianHeads
from ..tasks.linear import LinearTasks
from ..theory.bounds import cramer_rao
from .claims import Claim
from .experiment import Findings, draw_legend, label_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LABELS = {
    "moments": "method of moments",
    "duchi": "Duchi et al.",
    "burer-monteiro": "Burer-Monteiro",
    "altmin-gd": "AltMinGD",
}
TASKS = (100, 200, 400, 800, 1600, 3200, 6400)
# Means over 30 seeds in the code repository nileshtrip/MTL, by number of tasks.
PUBLISHED = {
    "moments": (0.9969, 0.9939, 0.9794, 0.8681, 0.6346, 0.4316, 0.3098),
    "burer-monteiro": (0.9551, 0.5955, 0.3527, 0.2338, 0.1650, 0.1147, 0.0895),
}
SIMULATED = {"duchi": {100: 0.873, 400: 0.466, 800: 0.332, 1600: 0.241}}  # few seeds
PUBLISHED_SEEDS, SIMULATED_SEEDS = 30, 3
TWO_ERRORS = 0.97725  # the probability that a normal error is below two standard errors

Point = tuple[str, int, int]  # estimator, number of tasks, samples of a task
Sines = dict[Point, F64]  # the sine of the largest angle, for every seed


@dataclass(frozen=True, kw_only=True)
class Comparison:
    r"""Estimators on the same batches of tasks with heads N(0, I/k).

    Parameters
    ----------
    name : str
        Name of the panel.
    about : str
        Description in one line.
    d, k : int
        Number of features, and rank of the truth, which is also the width.
    noise : float
        Standard deviation of the label noise.
    points : tuple of (int, int)
        Pairs of a number of tasks and a number of samples per task.
    quick_points : tuple of (int, int)
        The points of a quick run.
    estimators : tuple of str
        Names of the estimators.
    seeds, quick_seeds : int
        Number of batches for each point.
    most_of : mapping of str to int
        For slow estimators, the largest number of tasks for which a quick run fits them.
    by_total : bool
        True: the figure shows errors against the total number of samples, with axes for each
        estimator and a curve for each number of samples per task. False: it shows errors against
        the number of tasks.
    """

    name: str
    about: str
    d: int
    k: int
    noise: float
    points: tuple[tuple[int, int], ...]
    quick_points: tuple[tuple[int, int], ...]
    estimators: tuple[str, ...]
    seeds: int = 30
    quick_seeds: int = 5
    most_of: Mapping[str, int]
    by_total: bool = False

    by_name = True
    takes_long = True

    @property
    def tasks(self) -> LinearTasks:
        """The law of the tasks of all batches; every seed has its own `B_star`."""
        heads = GaussianHeads(cov=np.full(self.k, 1.0 / self.k))
        return LinearTasks(d=self.d, k=self.k, noise=self.noise, heads=heads)

    def count(self) -> int:
        """Return how often `run` calls `advanced`: once for each point."""
        return len(self.points)

    def run(self, quick: bool, advanced: Callable[[], None]) -> Findings:
        """Fit every estimator to every batch, and compare with the published numbers."""
        sines: Sines = {}
        points = self.quick_points if quick else self.points
        for n, m in points:
            for seed in range(self.quick_seeds if quick else self.seeds):
                batch = self._draw(n, m, seed)
                for estimator in self.estimators:
                    if quick and n > self.most_of.get(estimator, n):
                        continue
                    value = self._sine(batch, estimator, seed)
                    key = (estimator, n, m)
                    sines[key] = np.append(sines.get(key, np.empty(0)), value)
            advanced()
        for _ in range(len(self.points) - len(points)):
            advanced()
        claims = self._by_total(sines) if self.by_total else self._against_published(sines)
        return Findings(
            figure=self._draw_totals(sines) if self.by_total else self._draw_tasks(sines),
            tables={".csv": self._table(sines)},
            claims=list(claims),
            text=self._text(sines),
        )

    def _draw(self, n: int, m: int, seed: int) -> TaskBatch:
        """Draw a batch of n tasks with one data set of m samples each."""
        drawn = self.tasks.sample(n, m, seed=seed, shared_samples=True)
        B_star = self.tasks.ground_truth(seed, 0)
        return TaskBatch(drawn.X_in, drawn.y_in, B_star=np.ascontiguousarray(B_star))

    def _sine(self, batch: TaskBatch, estimator: str, seed: int) -> float:
        """Return the sine of the largest angle of a fit; NaN if these samples do not suit it."""
        try:
            algorithm = algorithm_of(resolve_estimator(estimator, {}))
            algorithm.check(ArraySamples(batch), self.k)
        except ValueError:  # a task has too few samples, for example
            return math.nan
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DivergenceWarning)
            warnings.simplefilter("ignore", NotConvergedWarning)
            try:
                return float(fit(batch, estimator, width=self.k, seed=seed).trace["dist"][-1])
            except EstimateError:  # the samples determine too few directions
                return math.nan

    def _published(self, estimator: str, n: int) -> tuple[float, str, int] | None:
        """Return the published or simulated mean sine for n tasks, its source, and its seeds."""
        if estimator in PUBLISHED:
            value = PUBLISHED[estimator][TASKS.index(n)]
            return value, "nileshtrip/MTL, 30 seeds", PUBLISHED_SEEDS
        simulated = SIMULATED.get(estimator, {}).get(n)
        if simulated is None:
            return None
        return simulated, "independent simulation, few seeds", SIMULATED_SEEDS

    def _against_published(self, sines: Sines) -> Iterator[Claim]:
        """Claim that our means equal the known ones within two standard errors of the difference.

        For few seeds, two standard errors are replaced by the quantile of Student's t with the same
        probability. The known means are assumed to have the same standard deviation over seeds as
        ours.
        """
        from scipy.special import stdtrit  # noqa: PLC0415

        for (estimator, n, _), values in sines.items():
            known = self._published(estimator, n)
            if known is None:
                continue
            mean, source, seeds = known
            error = values.std(ddof=1) * math.sqrt(1 / values.size + 1 / seeds)
            width = float(stdtrit(values.size - 1, TWO_ERRORS)) * error
            yield Claim(
                panel=self.name, quantity=f"{LABELS[estimator]}, {n} tasks: sine of the angle",
                expected=mean, least=mean - width, most=mean + width, source=source,
                observed=float(values.mean()),
            )  # fmt: skip

    def _by_total(self, sines: Sines) -> Iterator[Claim]:
        """Claim that moments work with one sample per task, and that all estimators do with 25."""
        most = max(n * m for _, n, m in sines)
        for estimator in self.estimators:
            means = {
                m: float(np.nanmean(values))
                for (name, n, m), values in sines.items()
                if name == estimator and n * m == most and np.isfinite(values).any()
            }
            if estimator == "moments" and 1 in means:
                ends, expected, m = (0.0, 0.65), 0.5, 1
            elif 25 in means:
                ends, expected, m = (0.0, 0.35), 0.15, 25
            else:
                continue
            yield Claim(
                panel=self.name, quantity=f"{LABELS[estimator]}, {most} samples, m = {m}: sine",
                expected=expected, least=ends[0], most=ends[1], source="Tripuraneni et al.",
                observed=means[m],
            )  # fmt: skip

    def _draw_tasks(self, sines: Sines) -> Figure:
        """Draw the mean sine against the number of tasks, with published values and the bound."""
        figure, (ax,) = new_axes(1, width=4.8, height=3.6)
        ax.set_xscale("log")
        ax.set_yscale("log")
        for i, estimator in enumerate(self.estimators):
            points = [(n, values) for (name, n, _), values in sines.items() if name == estimator]
            n = np.array([each[0] for each in points])
            mean = np.array([np.nanmean(values) for _, values in points])
            style: dict[str, Any] = {
                "color": PALETTE[i],
                "marker": MARKERS[i],
                "ms": 4.5,
                "mfc": "white",
                "clip_on": False,  # the first and the last point are on the edges
            }
            ax.plot(n, mean, lw=1.3, label=LABELS[estimator], **style)
            known = [(each, self._published(estimator, each)) for each in n.tolist()]
            shown = [(each, value[0]) for each, value in known if value is not None]
            if shown:
                name = "published, or simulated before" if i == 0 else None
                style = {"color": PALETTE[i], "ms": 6, "clip_on": False}
                ax.plot(*zip(*shown, strict=True), "x", label=name, **style)
        m = next(iter(sines))[2]
        first, last = (float(end(n for _, n, _ in sines)) for end in (min, max))
        if first == last:  # an axis needs a range
            first, last = first / 1.5, 1.5 * last
        grid = np.geomspace(first, last, 50)
        line: dict[str, Any] = {"color": PREDICTED, "lw": 1.1, "ls": DASHES[1]}
        ax.plot(grid, cramer_rao(self.tasks, grid, m), label="Cramer-Rao", **line)
        ax.margins(x=0.04)
        set_log_ticks(ax)
        label_axes(ax, f"tasks of {m} samples", "sine of the largest angle")
        return figure

    def _draw_totals(self, sines: Sines) -> Figure:
        """Draw the mean sine against the total number of samples, in axes for each estimator."""
        figure, axes = new_axes(len(self.estimators), width=2.7, height=3.0)
        for i, (ax, estimator) in enumerate(zip(axes, self.estimators, strict=True)):
            ax.set_xscale("log")
            ax.set_yscale("log")
            style: dict[str, Any]
            for j, m in enumerate(dict.fromkeys(m for _, _, m in sines)):
                points = [
                    (n * m, np.nanmean(values))
                    for (name, n, each), values in sines.items()
                    if name == estimator and each == m and np.isfinite(values).any()
                ]
                if points:
                    style = {"color": PALETTE[j], "marker": MARKERS[j], "ms": 4, "lw": 1.2}
                    ax.plot(*zip(*points, strict=True), label=f"$m = {m}$", **style)
            ax.set_ylim(0.02, 1.2)
            y = "sine of the largest angle" if i == 0 else ""
            label_axes(ax, "samples of all tasks", y, LABELS[estimator], legend=False)
        shown = axes[0].get_legend_handles_labels()
        draw_legend(axes[-1], *shown, loc="center left", bbox_to_anchor=(1.0, 0.5))
        return figure

    def over_bound(self, sine: float, n: int, m: int) -> float:
        r"""Return tan^2 of a sine over that of the Cramer-Rao line (64), NaN for m <= k.

        The ratio is the inverse of the statistical efficiency: an estimator with the ratio 2 needs
        as many samples as one at the bound needs for half of the squared tangent.

        Parameters
        ----------
        sine : float
            The sine of the largest angle, a mean over seeds.
        n, m : int
            Numbers of tasks and of samples of a task.

        Returns
        -------
        float
            The ratio.
        """
        if m <= self.k:
            return math.nan
        bound = float(cramer_rao(self.tasks, n, m))
        return _squared_tangent(sine) / _squared_tangent(bound)

    def _table(self, sines: Sines) -> str:
        """Format the means as CSV."""
        columns = ["estimator", "n", "m", "seeds", "sine", "standard_error", "tan2_over_bound"]
        table: list[Row] = [[*columns, "published"]]
        for (estimator, n, m), values in sines.items():
            known = None if self.by_total else self._published(estimator, n)
            finite = values[np.isfinite(values)]
            error = finite.std(ddof=1) / math.sqrt(finite.size) if finite.size > 1 else math.nan
            mean = finite.mean() if finite.size else math.nan
            published = "" if known is None else f"{known[0]:.4g}"
            over = f"{self.over_bound(float(mean), n, m):.4g}"
            row = [estimator, n, m, finite.size, f"{mean:.6g}", f"{error:.6g}", over, published]
            table.append(row)
        return format_csv(table)

    def _text(self, sines: Sines) -> str:
        """Format our means and the published means as a table for a terminal."""
        head = f"{'sine of the largest angle':<28}{'tasks':>8}{'m':>5}{'ours':>9}"
        lines = [f"{head}{'tan2/bound':>12}{'known':>9}"]
        for (estimator, n, m), values in sines.items():
            known = None if self.by_total else self._published(estimator, n)
            published = "" if known is None else f"{known[0]:.4f}"
            mean = np.nanmean(values) if np.isfinite(values).any() else math.nan
            over = self.over_bound(float(mean), n, m)
            line = f"{LABELS[estimator]:<28}{n:>8}{m:>5}{mean:>9.4f}{over:>12.3g}{published:>9}"
            lines.append(line.rstrip())
        return "\n".join(lines)


def _squared_tangent(sine: float) -> float:
    """Return tan^2 of an angle, infinite for a sine of 1."""
    return sine * sine / (1.0 - sine * sine) if sine != 1.0 else math.inf


def estimators() -> Comparison:
    """Return the panel of sines against the number of tasks, beside the published table."""
    return Comparison(
        name="estimators",
        about="moments, Duchi et al. and Burer-Monteiro against the published table",
        d=100,
        k=5,
        noise=1.0,
        points=tuple((n, 25) for n in TASKS),
        quick_points=((100, 25), (400, 25), (1600, 25)),
        estimators=("moments", "duchi", "burer-monteiro"),
        most_of={"burer-monteiro": 400},
    )


def few_samples() -> Comparison:
    """Return the panel for few samples per task, at equal total numbers of samples."""
    k = 3
    totals, sizes = (1200, 3600, 12_000), (1, 2, k, k + 1, k + 2, 25)
    return Comparison(
        name="few-samples",
        about="how few samples per task suffice: only moments learn from one",
        d=30,
        k=k,
        noise=0.3,
        points=tuple((total // m, m) for m in sizes for total in totals),
        quick_points=tuple((3600 // m, m) for m in sizes),
        estimators=("moments", "duchi", "altmin-gd", "burer-monteiro"),
        seeds=10,
        quick_seeds=2,
        most_of={"burer-monteiro": 200},
        by_total=True,
    )
