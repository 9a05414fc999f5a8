r"""Measures error floors: the values at which dist stops falling in runs on finite samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .._support.looks import FONT, INK, MARKERS, PALETTE
from .._support.types import F64, I64
from ..runs.outcome import Status
from ..theory.rates import error_scale

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
    d, scale, dist, error = [], [], [], []
    for run in runs:
        config = run.config
        assert config.n is not None
        assert config.m_out is not None
        if any(outcome == Status.DIVERGED for outcome in run.outcomes):
            continue
        rows = np.atleast_2d(run.trace["dist"])
        ends = np.log(rows[:, -(rows.shape[1] // 4) :]).mean(axis=1)
        d.append(config.tasks.d)
        scale.append(error_scale(config.tasks.d, config.k_star, config.n, config.m_out))
        dist.append(np.exp(ends.mean()))
        error.append(ends.std(ddof=1) / np.sqrt(ends.size))
    exponent, height = np.polyfit(np.log(scale), np.log(dist), 1)
    return Floors(
        d=np.array(d),
        scale=np.array(scale),
        dist=np.array(dist),
        error=np.array(error),
        factor=float(np.exp(height)),
        exponent=float(exponent),
    )


def draw_floors(ax: Axes, found: Mapping[str, Floors]) -> None:
    r"""Draw the dist at the end of each run against the scale from theory, with the fitted laws.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Axes to draw into.
    found : mapping of str to Floors
        The floors of each series of runs, by the name of the series.
    """
    ax.set_xscale("log")
    ax.set_yscale("log")
    for i, (name, one) in enumerate(found.items()):
        color = PALETTE[i]
        ends = one.scale[[0, -1]]
        ax.plot(ends, one.factor * ends**one.exponent, color=color, lw=1.0, ls=(0, (5, 1.5)))
        ax.errorbar(
            one.scale,
            one.dist,
            yerr=one.dist * np.expm1(2 * one.error),
            fmt=MARKERS[i],
            color=color,
            ms=5,
            mfc="white",
            mew=1.2,
            capsize=2,
            label=f"{name}: exponent {one.exponent:.2f}",
        )
    ax.margins(x=0.08)
    x_label = ax.set_xlabel(r"$\sqrt{d\,k\,/\,(n\,m_{\mathrm{out}})}$", family=FONT, color=INK)
    x_label.set_math_fontfamily("stix")
    legend = ax.legend(frameon=False, prop={"family": FONT, "size": 10})
    for text in legend.get_texts():
        text.set_color(INK)
