r"""Excess risks of trained initial vectors, measured and by (31), for several inner step sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from .._support.looks import FONT, INK, PALETTE, PREDICTED
from .._support.types import F64
from ..evaluate import adapted_risk
from ..linear_methods import LinearMAML
from ..methods import step_size
from ..theory.linear_maml import linear_maml_error, linear_maml_risk, linear_maml_step

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..runs.result import Result

GRID = 200  # points of the closed form that are drawn


@dataclass(frozen=True, kw_only=True)
class Risks:
    r"""Excess risks on new tasks after one adaptation step, by the inner step size of training.

    Parameters
    ----------
    alpha : ndarray of shape (runs,)
        Inner step size of training.
    mean, error : ndarray of shape (runs,)
        Mean excess risk over trials, and the standard error of this mean.
    predicted : ndarray of shape (runs,)
        Closed form of the mean.
    least : float
        Excess risk of the mean vector of the tasks; no initial vector has a smaller excess risk.
    test_step : float
        Step size of the adaptation to new tasks.
    """

    alpha: F64
    mean: F64
    error: F64
    predicted: F64
    least: float
    test_step: float


def risks(runs: Sequence[Result]) -> Risks:
    r"""Measure the excess risks of the initial vectors that runs with several trials have learned.

    Parameters
    ----------
    runs : sequence of Result
        Runs of `LinearMAML` on a pool. The runs differ only in the inner step size. New tasks have
        as many samples as the inner sets of training, and are adapted by the step size that is best
        for the mean vector.

    Returns
    -------
    Risks
        A point for every run.
    """
    tasks, m = runs[0].config.drawn_tasks, runs[0].config.pooled[1]
    test_step = linear_maml_step(tasks, m=m)
    test = LinearMAML(alpha=test_step)
    alpha, mean, error = [], [], []
    for run in runs:
        M, R, w = run.state
        excess = [
            adapted_risk(((M[i], R[i]), w[i]), tasks, test, m=m, seed=i).mean for i in range(len(M))
        ]
        alpha.append(step_size(run.config.method))
        mean.append(np.mean(excess))
        error.append(np.std(excess, ddof=1) / math.sqrt(len(excess)))
    return Risks(
        alpha=np.array(alpha),
        mean=np.array(mean),
        error=np.array(error),
        predicted=predict(runs[0], np.array(alpha)),
        least=linear_maml_risk(tasks, test, m=m),
        test_step=test_step,
    )


def predict(run: Result, alpha: F64) -> F64:
    r"""Compute the closed form of the excess risk after training with given inner step sizes.

    Parameters
    ----------
    run : Result
        A run on a pool. Its tasks, and the sizes of its pool and sets, enter the closed form.
    alpha : ndarray of shape (points,)
        Inner step sizes of training.

    Returns
    -------
    ndarray of shape (points,)
        `linear_maml_risk` at the test step, for the distance `linear_maml_error` at each inner step
        size.
    """
    tasks = run.config.drawn_tasks
    pool, m_in, m_out = run.config.pooled
    method, test = run.config.method, LinearMAML(alpha=linear_maml_step(tasks, m=m_in))
    assert isinstance(method, LinearMAML)
    distances = [
        linear_maml_error(tasks, replace(method, alpha=value), n=pool, m_in=m_in, m_out=m_out)
        for value in alpha.tolist()
    ]
    return np.array(
        [linear_maml_risk(tasks, test, m=m_in, distance=distance) for distance in distances]
    )


def draw_risks(ax: Axes, runs: Sequence[Result]) -> None:
    r"""Draw the excess risks against the inner step size of training, with the closed form.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Axes to draw into.
    runs : sequence of Result
        The runs, as in `risks`.
    """
    measured = risks(runs)
    grid = np.linspace(measured.alpha[0], measured.alpha[-1], GRID)
    ax.plot(grid, predict(runs[0], grid), color=PALETTE[0], lw=1.2, label="closed form (31)")
    ax.errorbar(
        measured.alpha,
        measured.mean,
        yerr=2 * measured.error,
        fmt="o",
        color=PALETTE[0],
        ms=5,
        mfc="white",
        mew=1.2,
        capsize=2,
        label="trained on a pool, $\\pm 2$ standard errors",
    )
    ax.axhline(
        measured.least, color=PREDICTED, lw=1.0, ls=(0, (5, 1.5)), label="mean vector of the tasks"
    )
    ax.axvline(0.0, color="#CCCCCC", lw=0.8, zorder=0)
    ax.margins(x=0.04)
    for text in (
        ax.set_xlabel("inner step $\\alpha$ of training", family=FONT, color=INK),
        ax.set_ylabel("excess risk on new tasks", family=FONT, color=INK),
    ):
        text.set_math_fontfamily("stix")
    legend = ax.legend(frameon=False, prop={"family": FONT, "size": 10})
    for text in legend.get_texts():
        text.set_color(INK)
        text.set_math_fontfamily("stix")
