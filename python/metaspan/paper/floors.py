r"""Measures error floors: the values at which dist stops falling in runs on finite samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .._support.looks import DASHES, MARKERS, PALETTE, PREDICTED
from .._support.types import F64, I64
from ..runs.outcome import Status
from ..tasks.linear import LinearTasks
from ..theory.floors import floor
from ..theory.rates import error_scale
from .experiment import label_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..runs.result import Result


@dataclass(frozen=True, kw_only=True)
class Floors:
    r"""The dist at the end of each run, and the power law that is fitted to these values.

    Parameters
    ----------
    d : ndarray of shape (runs,), int64
        Dimension of every run.
    scale : ndarray of shape (runs,)
        ``sqrt(d k / (n m_out))`` of every run.
    predicted : ndarray of shape (runs,)
        The floor (59) of every run.
    dist : ndarray of shape (runs,)
        Geometric mean of ``dist`` over the last quarter of the rows and over the trials.
    error : ndarray of shape (runs,)
        Standard error of log ``dist`` over the trials.
    factor, exponent : float
        Coefficients of the power law ``dist = factor * scale**exponent``, which is fitted by least
        squares on logarithms.
    """

    d: I64
    scale: F64
    predicted: F64
    dist: F64
    error: F64
    factor: float
    exponent: float


def floors(runs: Sequence[Result]) -> Floors:
    r"""Measure the dist at the end of each run, and fit a power law to these values.

    Parameters
    ----------
    runs : sequence of Result
        At least two runs with different scales ``sqrt(d k / (n m_out))``. Each run has several
        trials, finite outer samples and the record ``dist``.

    Returns
    -------
    Floors
        The measured floors; the arrays have one entry for each run without diverged trials.
    """
    d, scale, predicted, dist, error = [], [], [], [], []
    for run in runs:
        config = run.config
        tasks = config.tasks
        assert isinstance(tasks, LinearTasks)
        assert config.n is not None
        assert config.m_out is not None
        if any(outcome == Status.DIVERGED for outcome in run.outcomes):
            continue
        rows = np.atleast_2d(run.trace["dist"])
        ends = np.log(rows[:, -(rows.shape[1] // 4) :]).mean(axis=1)
        d.append(tasks.d)
        scale.append(error_scale(tasks.d, config.k_star, config.n, config.m_out))
        sizes = {"n": config.n, "m_in": config.m_in, "m_out": config.m_out}
        predicted.append(float(floor(tasks, config.method, **sizes)))
        dist.append(np.exp(ends.mean()))
        error.append(ends.std(ddof=1) / np.sqrt(ends.size))
    exponent, height = np.polyfit(np.log(scale), np.log(dist), 1)
    return Floors(
        d=np.array(d),
        scale=np.array(scale),
        predicted=np.array(predicted),
        dist=np.array(dist),
        error=np.array(error),
        factor=float(np.exp(height)),
        exponent=float(exponent),
    )


def draw_floors(ax: Axes, measured: Mapping[str, Floors]) -> None:
    r"""Draw the dist at the end of each run against d, with the floors of the theory.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Axes to draw into.
    measured : mapping of str to Floors
        The floors of each series of runs, by the name of the series.
    """
    ax.set_xscale("log")
    ax.set_yscale("log")
    for i, (name, series) in enumerate(measured.items()):
        color = PALETTE[i]
        ax.plot(series.d, series.predicted, color=color, lw=1.1, ls=DASHES[i])
        ax.errorbar(
            series.d,
            series.dist,
            yerr=series.dist * np.expm1(2 * series.error),
            fmt=MARKERS[i],
            color=color,
            ms=5,
            mfc="white",
            mew=1.2,
            capsize=2,
            label=name,
        )
    ax.plot([], [], color=PREDICTED, lw=1.1, label="predicted floor (59)")
    ax.margins(x=0.08)
    label_axes(ax, "$d$", "")
