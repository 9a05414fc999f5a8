r"""The panel on the split of a task's samples into inner and outer samples, by the floor (59)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .._support.looks import DASHES, FONT, INK, MARKERS, PALETTE, new_axes, set_log_ticks
from .._support.tables import Row, format_csv
from .._support.types import F64
from ..config.options import Init
from ..methods import ANIL
from ..runs.outcome import DivergenceWarning
from ..runs.summary import student_quantile
from ..runs.train import train
from ..tasks.linear import LinearTasks
from ..theory.floors import floor
from .claims import Claim, claim_floors
from .experiment import Findings, label_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "split"


@dataclass(frozen=True, kw_only=True)
class Series:
    r"""The floors for one label noise.

    Parameters
    ----------
    noise : float
        Standard deviation of the label noise.
    predicted : ndarray of shape (m - 1,)
        Predicted dist for m_in = 1 .. m - 1; inf where the run is unstable.
    m_in : ndarray of shape (points,)
        Numbers of inner samples of the simulated runs.
    mean, low, high : ndarray of shape (points,)
        Geometric mean of dist over trials, and the ends of its 95 % Student-t interval.
    """

    noise: float
    predicted: F64
    m_in: F64
    mean: F64
    low: F64
    high: F64

    @property
    def best(self) -> int:
        """The number of inner samples with the least predicted dist."""
        return 1 + int(self.predicted.argmin())


@dataclass(frozen=True, kw_only=True)
class Split:
    r"""The floor of first-order ANIL for every split of m samples of a task.

    Parameters
    ----------
    k : int
        Rank of the truth, which is also the width.
    n, quick_n : int
        Numbers of tasks in a round, in a full and in a quick run.
    d_over_n : int
        The number of directions off the true subspace over n: d = k + d_over_n n.
    m : int
        Number of samples of a task, inner and outer samples together.
    noises : tuple of float
        Standard deviations of the label noise, one for each line.
    alpha, beta : float
        Step sizes.
    m_in : tuple of int
        Numbers of inner samples of the simulated runs. The best split is added.
    rounds, averaged : int
        Number of rounds, and number of last rounds over which dist is averaged.
    trials, quick_trials : int
        Numbers of trials of a point in a full and in a quick run.
    seed : int
        Key of all random numbers.
    """

    k: int = 3
    n: int = 2000
    quick_n: int = 1000
    d_over_n: int = 3
    m: int = 30
    noises: tuple[float, ...] = (0.0, 1.0, 2.0)
    alpha: float = 0.2
    beta: float = 0.25
    m_in: tuple[int, ...] = (1, 2, 4, 7, 18, 22, 26)
    rounds: int = 240
    averaged: int = 120
    trials: int = 8
    quick_trials: int = 3
    seed: int = 0

    about = "FO-ANIL: the floor of dist against m_in : m_out at fixed m, with the best split"
    by_name = True
    takes_long = True

    def count(self) -> int:
        """Return how often `run` calls `advanced`: once for each noise."""
        return len(self.noises)

    def run(self, quick: bool, advanced: Callable[[], None]) -> Findings:
        """Predict the floor of every split, and simulate some of them."""
        n = self.quick_n if quick else self.n
        series = []
        for noise in self.noises:
            series.append(self._series(noise, n, self.quick_trials if quick else self.trials))
            advanced()
        return Findings(
            figure=self._draw(series),
            tables={".csv": self._table(series)},
            claims=[claim for each in series for claim in self._claims(each, n)],
        )

    def _series(self, noise: float, n: int, trials: int) -> Series:
        """Compute the floors for one noise."""
        tasks = LinearTasks(d=self.k + self.d_over_n * n, k=self.k, noise=noise)
        method = ANIL(alpha=self.alpha, beta=self.beta, first_order=True)
        predicted = np.array(
            [
                float(floor(tasks, method, n=n, m_in=m_in, m_out=self.m - m_in))
                for m_in in range(1, self.m)
            ]
        )
        m_in = sorted({*self.m_in, 1 + int(predicted.argmin())})
        logs = np.array([self._simulate(tasks, method, n, each, trials) for each in m_in])
        half = (
            student_quantile(np.array(trials), 0.95) * logs.std(axis=1, ddof=1) / math.sqrt(trials)
        )
        mean = logs.mean(axis=1)
        return Series(
            noise=noise,
            predicted=predicted,
            m_in=np.array(m_in, dtype=np.float64),
            mean=np.exp(mean),
            low=np.exp(mean - half),
            high=np.exp(mean + half),
        )

    def _simulate(self, tasks: LinearTasks, method: ANIL, n: int, m_in: int, trials: int) -> F64:
        """Return the mean of log dist over the last rounds of each trial; inf if one diverged."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DivergenceWarning)
            result = train(
                tasks, method, rounds=self.rounds, n=n, m_in=m_in, m_out=self.m - m_in,
                trials=trials, init=Init(dist=0.3), seed=self.seed, stop=None,
            )  # fmt: skip
        logs = np.log(result.trace["dist"][:, -self.averaged :]).mean(axis=1)
        return np.where(np.isfinite(logs), logs, math.inf)

    def _draw(self, series: list[Series]) -> Figure:
        """Draw the predicted floor against m_in, with the simulated floors and the best splits."""
        figure, (ax,) = new_axes(1, width=4.8, height=3.6)
        ax.set_yscale("log")
        ax.margins(y=0.14)  # leaves room for the name of the lowest split
        all_m_in = np.arange(1, self.m)
        for i, each in enumerate(series):
            color = PALETTE[i]
            line = np.where(np.isfinite(each.predicted), each.predicted, np.nan)
            ax.plot(all_m_in, line, color=color, lw=1.3, ls=DASHES[i])
            errors = [each.mean - each.low, each.high - each.mean]
            ax.errorbar(
                each.m_in, each.mean, yerr=errors, fmt=MARKERS[i], color=color, ms=4.5,
                mfc="white", mew=1.2, capsize=2, label=rf"$\sigma = {each.noise:g}$",
            )  # fmt: skip
            at = (each.best, each.predicted[each.best - 1])
            ax.plot(*at, "*", color="black", ms=9, zorder=5)
            ax.annotate(
                f"{each.best} : {self.m - each.best}", at, xytext=(0, -8),
                textcoords="offset points", ha="center", va="top", family=FONT, fontsize=9,
                color=INK,
            )  # fmt: skip
        ax.plot([], [], "*", color="black", ms=9, ls="none", label="best split")
        ax.set_xlim(0, self.m)
        ax.set_xticks([0, *range(5, self.m, 5), self.m])
        label_axes(
            ax, rf"inner samples $m_{{\mathrm{{in}}}}$ of $m = {self.m}$ samples of a task",
            r"$\mathrm{dist}$ at the end",
        )  # fmt: skip
        set_log_ticks(ax)
        return figure

    def _table(self, series: list[Series]) -> str:
        """Format predictions and simulated floors as CSV."""
        table: list[Row] = [
            ["noise", "m_in", "m_out", "predicted", "simulated", "low", "high", "best"]
        ]
        for each in series:
            points = zip(each.mean, each.low, each.high, strict=True)
            simulated = dict(zip(each.m_in.tolist(), points, strict=True))
            for m_in, predicted in enumerate(each.predicted, start=1):
                numbers = [f"{x:.9g}" for x in simulated.get(m_in, ())] or ["", "", ""]
                best = "yes" if m_in == each.best else "no"
                table.append([each.noise, m_in, self.m - m_in, f"{predicted:.9g}", *numbers, best])
        return format_csv(table)

    def _claims(self, series: Series, n: int) -> Iterator[Claim]:
        """Claim that simulated floors are as predicted, and that no split beats the best one."""
        name = f"sigma = {series.noise:g}"
        ratio = series.mean / series.predicted[series.m_in.astype(np.int64) - 1]
        yield from claim_floors(NAME, name, ratio, n, widths=(1.3, 4.0))
        best = float(series.mean[series.m_in == series.best][0])
        yield Claim(
            panel=NAME, quantity=f"{name}: least dist over that of the split m_in = {series.best}",
            expected=1.0, least=0.95, most=1.0, source="(59)",
            observed=float(series.mean.min()) / best,
        )  # fmt: skip
