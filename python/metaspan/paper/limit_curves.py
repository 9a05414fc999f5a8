r"""The panel that compares runs on finitely many tasks with the deterministic limit (55)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .._support.looks import (
    DASHES,
    MARKERS,
    PALETTE,
    PREDICTED,
    PREDICTED_DASHES,
    SHADES,
    new_axes,
    set_log_ticks,
)
from .._support.tables import Row, format_csv
from .._support.types import F64
from ..config.options import Init
from ..methods import ANIL
from ..runs.outcome import DivergenceWarning
from ..runs.result import Result
from ..runs.summary import summarize
from ..runs.train import train
from ..tasks.linear import LinearTasks
from .claims import Claim
from .experiment import Findings, label_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME = "limit"
SHOWN = "FO-ANIL"  # the method whose curves are drawn
# Accepted deviations of the four extrapolated values, in standard errors: if all four are right,
# any of them deviates by more with a probability of about 1/2,000.
MOST_ERRORS = 3.8


@dataclass(frozen=True, kw_only=True)
class LimitCurves:
    r"""First-order and exact ANIL at growing n, with d - k a fixed multiple of n.

    Parameters
    ----------
    k : int
        Rank of the truth, which is also the width.
    n : tuple of int
        Numbers of tasks in a round, ascending.
    d_over_n : int
        The number of directions off the true subspace over n: d = k + d_over_n n.
    m : (int, int)
        Numbers of inner and outer samples of a task.
    noise : float
        Standard deviation of the label noise.
    alpha, beta : float
        Step sizes.
    dist : float
        Sine of every principal angle at the start.
    rounds : int
        Number of rounds.
    trials, quick_trials : int
        Numbers of trials for each n in a full and in a quick run.
    seed : int
        Key of all random numbers.
    """

    k: int = 3
    n: tuple[int, ...] = (100, 300, 1000, 3000)
    d_over_n: int = 3
    m: tuple[int, int] = (10, 5)
    noise: float = 0.5
    alpha: float = 0.2
    beta: float = 0.25
    dist: float = 0.9
    rounds: int = 150
    trials: int = 40
    quick_trials: int = 8
    seed: int = 0

    about = "ANIL at growing n beside its deterministic limit; the difference falls like n^(-1/2)"
    by_name = True
    takes_long = True

    @property
    def methods(self) -> dict[str, ANIL]:
        """First-order and exact ANIL, by their names in the figure."""
        return {
            SHOWN: ANIL(alpha=self.alpha, beta=self.beta, first_order=True),
            "Exact ANIL": ANIL(alpha=self.alpha, beta=self.beta),
        }

    def count(self) -> int:
        """Return how often `run` calls `advanced`: once for each method and n, and each limit."""
        return len(self.methods) * (len(self.n) + 1)

    def run(self, quick: bool, advanced: Callable[[], None]) -> Findings:
        """Train both methods at every n and in the limit, and compare the runs with the limit."""
        trials = self.quick_trials if quick else self.trials
        limits: dict[str, Result] = {}
        runs: dict[str, dict[int, Result]] = {}
        for label, method in self.methods.items():
            limits[label] = self._train(method, None, 1)
            advanced()
            runs[label] = {}
            for n in self.n:
                runs[label][n] = self._train(method, n, trials)
                advanced()
        differences = {
            label: {n: difference(run, limits[label]) for n, run in by_n.items()}
            for label, by_n in runs.items()
        }
        return Findings(
            figure=self._draw(runs[SHOWN], limits[SHOWN], differences),
            tables={
                ".csv": self._curves(runs, limits),
                ".differences.csv": self._differences(differences),
            },
            claims=self._claims(runs, limits, differences),
        )

    def _train(self, method: ANIL, n: int | None, trials: int) -> Result:
        """Train one method on n tasks a round; None: in the limit."""
        m_in, m_out = self.m
        d = self.k + self.d_over_n * (self.n[-1] if n is None else n)
        size: dict[str, Any] = {"n": n} if n else {"n": None, "d_over_n": self.d_over_n}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DivergenceWarning)  # diverged trials fail the claims
            return train(
                LinearTasks(d=d, k=self.k, noise=self.noise), method, **size, m_in=m_in,
                m_out=m_out, rounds=self.rounds, trials=trials, init=Init(dist=self.dist),
                seed=self.seed, stop=None,
            )  # fmt: skip

    def _draw(
        self,
        runs: Mapping[int, Result],
        limit: Result,
        differences: Mapping[str, Mapping[int, tuple[float, float]]],
    ) -> Figure:
        """Draw dist against rounds at every n, and the differences from the limit against n."""
        figure, (curves, differs) = new_axes(2, width=4.2, height=3.3)
        curves.set_yscale("log")
        for color, (n, run) in zip(SHADES[::-1], runs.items(), strict=False):
            row = summarize(run, "dist", log=True)
            curves.fill_between(row.rounds, row.low, row.high, color=color, alpha=0.2, lw=0)
            curves.plot(row.rounds, row.mean, color=color, lw=1.2, label=f"$n$ = {n:,}")
        line: dict[str, Any] = {"color": "black", "lw": 1.4, "ls": DASHES[1]}
        rounds, values = limit.trace["round"], limit.trace["dist"]
        curves.plot(rounds, values, label="limit", **line)
        self._draw_differences(differs, differences)
        title = rf"(a) {SHOWN} at $(d - k)\,/\,n$ = {self.d_over_n:g}"
        label_axes(curves, "round", r"$\mathrm{dist}(B_t,\, B_{\mathrm{*}})$", title)
        label_axes(differs, "tasks in a round, $n$", "", "(b) root mean square difference of dist")
        curves.set_ylim(top=1.0)
        set_log_ticks(curves)
        set_log_ticks(differs)
        return figure

    def _draw_differences(
        self, ax: Axes, differences: Mapping[str, Mapping[int, tuple[float, float]]]
    ) -> None:
        """Draw the differences with the power laws that are fitted to them."""
        ax.set_xscale("log")
        ax.set_yscale("log")
        for i, (label, by_n) in enumerate(differences.items()):
            n = np.array(list(by_n), dtype=np.float64)
            value, error = np.array(list(by_n.values())).T
            exponent, deviation, factor = fit_power(n, value, error)
            ax.plot(n, factor * n**exponent, color=PALETTE[i], lw=1.1, ls=DASHES[i])
            ax.errorbar(
                n * (0.97, 1.03)[i], value, yerr=2 * error, fmt=MARKERS[i], color=PALETTE[i],
                ms=5, mfc="white", mew=1.2, capsize=2,
                label=rf"{label}: slope ${exponent:.2f} \pm {2 * deviation:.2f}$",
            )  # fmt: skip
        most = max(value for by_n in differences.values() for value, _ in by_n.values())
        line = {"color": PREDICTED, "lw": 1.0, "ls": PREDICTED_DASHES[1]}
        ax.plot(n, 1.4 * most * np.sqrt(n[0] / n), label="slope $-1/2$", **line)
        ax.margins(x=0.06)

    def _curves(
        self, runs: Mapping[str, Mapping[int, Result]], limits: Mapping[str, Result]
    ) -> str:
        """Format the curves as CSV; n is empty for the limit."""
        table: list[Row] = [["method", "n", "round", "trials", "diverged", "mean", "low", "high"]]
        for label, by_n in runs.items():
            for n, run in [*by_n.items(), ("", limits[label])]:
                row = summarize(run, "dist", log=True)
                for i, at in enumerate(row.rounds):
                    numbers = (f"{x[i]:.9g}" for x in (row.mean, row.low, row.high))
                    table.append([label, n, at, row.count[i], row.diverged, *numbers])
        return format_csv(table)

    def _differences(self, differences: Mapping[str, Mapping[int, tuple[float, float]]]) -> str:
        """Format the differences from the limit and their standard errors as CSV."""
        table: list[Row] = [["method", "n", "d", "difference", "standard_error"]]
        for label, by_n in differences.items():
            for n, numbers in by_n.items():
                d = self.k + self.d_over_n * n
                table.append([label, n, d, *(f"{x:.9g}" for x in numbers)])
        return format_csv(table)

    def _claims(
        self,
        runs: Mapping[str, Mapping[int, Result]],
        limits: Mapping[str, Result],
        differences: Mapping[str, Mapping[int, tuple[float, float]]],
    ) -> list[Claim]:
        """Claim the exponent -1/2, and that dist, extrapolated to n = inf, is that of the limit."""
        claims = []
        for label, by_n in differences.items():
            n = np.array(list(by_n), dtype=np.float64)
            value, error = np.array(list(by_n.values())).T
            exponent, deviation, _ = fit_power(n, value, error)
            width = max(0.05, 4 * deviation)
            claims.append(
                Claim(
                    panel=NAME, quantity=f"{label}: exponent of n in the difference of dist",
                    expected=-0.5, least=-0.5 - width, most=-0.5 + width, source="(55)",
                    observed=exponent,
                )
            )  # fmt: skip
            for name, rows in (
                ("in rounds 1 to 50", slice(1, 51)),
                ("at the end", slice(-50, None)),
            ):
                expected = float(limits[label].trace["dist"][rows].mean())
                observed, error_of_it = extrapolate(runs[label], rows)
                width = MOST_ERRORS * error_of_it
                claims.append(
                    Claim(
                        panel=NAME, quantity=f"{label}: mean dist {name}, extrapolated to n = inf",
                        expected=expected, least=expected - width, most=expected + width,
                        source="(55)", observed=observed,
                    )
                )  # fmt: skip
        return claims


def difference(run: Result, limit: Result) -> tuple[float, float]:
    r"""Return the root mean square over rounds and trials of the difference of dist of two runs.

    Parameters
    ----------
    run : Result
        A run with two trials or more.
    limit : Result
        A run with one trial and the same recorded rounds.

    Returns
    -------
    (float, float)
        The difference, and its standard error over trials; NaN if a trial diverged.
    """
    squares = ((run.trace["dist"] - limit.trace["dist"]) ** 2).mean(axis=1)
    value = math.sqrt(squares.mean())
    return value, float(squares.std(ddof=1)) / math.sqrt(squares.size) / (2 * value)


def fit_power(n: F64, value: F64, error: F64) -> tuple[float, float, float]:
    r"""Fit a power law by weighted least squares on logarithms.

    Parameters
    ----------
    n, value, error : ndarray of shape (points,)
        The numbers of tasks, the values, and their standard errors.

    Returns
    -------
    (float, float, float)
        The exponent, its standard error, and the factor; NaN if a value is NaN.
    """
    if not np.isfinite(value).all():
        return math.nan, math.nan, math.nan
    columns = np.stack([np.log(n), np.ones_like(n)], axis=1)
    coefficients, deviations = _least_squares(columns, np.log(value), error / value)
    return float(coefficients[0]), float(deviations[0]), math.exp(coefficients[1])


def extrapolate(runs: Mapping[int, Result], rows: slice) -> tuple[float, float]:
    r"""Extrapolate the mean of dist over some rows to n = inf, by a + b n^(-1/2) + c / n.

    Parameters
    ----------
    runs : mapping of int to Result
        A run with several trials for each of at least three values of n.
    rows : slice
        The rows of the trace that are averaged.

    Returns
    -------
    (float, float)
        The constant a, and its standard error; NaN if a trial diverged.
    """
    means = [run.trace["dist"][:, rows].mean(axis=1) for run in runs.values()]
    value = np.array([mean.mean() for mean in means])
    error = np.array([mean.std(ddof=1) / math.sqrt(mean.size) for mean in means])
    if not np.isfinite(value).all():
        return math.nan, math.nan
    root = 1 / np.sqrt(np.array(list(runs), dtype=np.float64))
    columns = np.stack([np.ones_like(root), root, root**2], axis=1)
    coefficients, deviations = _least_squares(columns, value, error)
    return float(coefficients[0]), float(deviations[0])


def _least_squares(columns: F64, value: F64, error: F64) -> tuple[F64, F64]:
    """Return the coefficients of a weighted least-squares fit, and their standard errors."""
    weighted = columns / error[:, None]
    covariance = np.linalg.inv(weighted.T @ weighted)
    return covariance @ (weighted.T @ (value / error)), np.sqrt(np.diag(covariance))
