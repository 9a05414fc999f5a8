r"""Plots the records of training runs, with their spread over trials."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ._support import check
from ._support.looks import (
    DASHES,
    FONT,
    INK,
    MARKERS,
    PALETTE,
    PREDICTED,
    PREDICTED_DASHES,
    new_axes,
    set_log_ticks,
)
from ._support.placement import spread
from .runs.summary import Summary, summarize
from .theory.named import EVERYTHING, predict

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

    from .runs.result import Result

Predictions = Mapping[str, Callable[[NDArray[Any]], NDArray[Any]]]

NAMES = {
    "dist": r"$\mathrm{dist}(B_t,\, B_{\mathrm{*}})$",
    "angles": "principal angles (rad)",
    "loss_in": "inner loss before adaptation",
    "loss_adapted": "inner loss after adaptation",
    "loss_out": "outer loss after adaptation",
    "w_norm": r"$\|w_t\|$",
    "delta_norm": r"$\|I - \alpha B_t^\top B_t\|$",
    "sigma_min": r"$\sigma_{\min}(B_t)$",
    "sigma_max": r"$\sigma_{\max}(B_t)$",
    "perp_norm": r"$\|B_{\mathrm{*}\perp}^\top B_t\|$",
    "signal_min": r"$\sigma_{\min}(B_{\mathrm{*}}^\top B_t)$",
    "signal_max": r"$\sigma_{\max}(B_{\mathrm{*}}^\top B_t)$",
    "diversity_min": "smallest eigenvalue of adapted heads",
    "diversity_max": "largest eigenvalue of adapted heads",
    "mu": r"$\mu_{\mathrm{*}}$",
    "L": r"$L_{\mathrm{*}}$",
    "eta": r"$\eta_{\mathrm{*}}$",
    "alpha": r"$\alpha$",
    "objective": "objective of the estimator",
}


def plot(
    results: Result | Mapping[str, Result],
    y: str = "dist",
    band: float | None = 0.95,
    ax: Axes | None = None,
    *,
    labels: Literal["legend", "direct"] | None = "legend",
    colors: Sequence[str] | None = None,
    log: bool | None = None,
    predictions: Predictions | str | Sequence[str] | None = None,
) -> Axes:
    r"""Plot a recorded quantity against rounds, with the spread of the quantity over trials.

    A run is drawn as the mean over its trials, with a band that shows the Student-t interval of the
    mean. On a log axis, the mean and the interval are computed from the logarithms of the values.
    If some trials of a run diverge, a cross marks the round in which the first of them ends, and a
    note gives the number of diverged trials. After the cross, a thin line shows the mean over the
    trials that do not diverge.

    Parameters
    ----------
    results : Result or mapping of str to Result
        One run, or several runs; the keys of the mapping label the runs.
    y : str
        Name of the record to plot. ``"angles"`` gives one line for each angle.
    band : float or None
        Coverage of the band, in (0, 1). None: no band.
    ax : matplotlib.axes.Axes or None
        Axes to draw into. None: axes in a new figure, which is made without pyplot and needs no
        display.
    labels : {"legend", "direct"} or None
        "legend": draw a legend. "direct": write names beside the ends of the curves. None: show no
        names.
    colors : sequence of str or None
        A colour for each run. None: colours that colour-blind readers can tell apart.
    log : bool or None
        Whether the y axis is logarithmic. None: the axis is logarithmic if all values are positive.
    predictions : mapping of str to callable, str, sequence of str, or None
        Predictions to draw as thin grey lines. A mapping holds functions that take rounds of shape
        (rows,) and return values of shape (rows,), such as the functions of `metaspan.theory`; its
        keys label the lines. A name or a sequence of names selects predictions of the theory, which
        are computed for each run: "limit", the deterministic limit (55) of `y`; "floor", the dist
        (59) at which the run levels off; "rate", the decay (22) of a run on population losses;
        "fading", the decrease (23) of the surplus of a wide learner, for y="perp_norm"; and
        "boundary", a note that compares `beta` with the largest stable outer step size. "theory"
        selects all predictions that exist for at least one run. The limits of the axes are changed
        only if otherwise no part of a line would be visible.

    Returns
    -------
    matplotlib.axes.Axes
        The axes; save the figure with ``ax.figure.savefig("dist.pdf")``.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    TypeError
        If a prediction is neither a function nor a name.
    ValueError
        If `y` was not recorded, a prediction returns values of a wrong shape, a prediction that is
        named does not exist for any run, or another argument is out of range.

    Warns
    -----
    UserWarning
        If `predictions` is "theory" and no prediction exists for any run.

    Notes
    -----
    The limit of a run is computed for its recorded rounds, at microseconds a round for small
    widths.

    Examples
    --------
    >>> import metaspan as ms
    >>> tasks = ms.LinearTasks(d=20, k=3)
    >>> runs = {m: ms.train(tasks, m, alpha=0.1, beta=0.1, rounds=50, n=3, trials=4)
    ...         for m in ("anil", "maml")}
    >>> ax = ms.plot(runs)
    >>> ax.get_yscale()
    'log'
    >>> tasks = ms.LinearTasks(d=1000, k=2, noise=0.3)
    >>> r = ms.train(tasks, "fo-anil", beta=0.3, rounds=300, n=1000, m_in=20, m_out=10)
    >>> ax = ms.plot(r, predictions=("limit", "floor"))
    """
    runs: dict[str, Result] = dict(results) if isinstance(results, Mapping) else {"": results}
    _check_looks(runs, labels, colors, ax)
    rows = {name: summarize(run, y, band, log) for name, run in runs.items()}
    log = all(row.log for row in rows.values())
    if not log:
        rows = {name: summarize(run, y, band, False) for name, run in runs.items()}
    functions, notes = _find_predictions(runs, y, predictions, log)
    if ax is None:
        ax = new_axes()[1][0]
    if log:
        ax.set_yscale("log")
    if any(row.diverged for row in rows.values()):
        ax.margins(y=0.16)  # leaves room for the notes below the crosses
    for i, (name, row) in enumerate(rows.items()):
        color = colors[i] if colors is not None else PALETTE[i % len(PALETTE)]
        _draw_run(ax, name, row, color, (i, len(rows)))
    ax.autoscale_view()  # fixes the limits, on which the positions below depend
    dashes: dict[str, Any] = {}
    lines: list[Line2D] = []
    for name, function in functions:
        dash = dashes.setdefault(name, PREDICTED_DASHES[len(dashes) % len(PREDICTED_DASHES)])
        line = _draw_prediction(ax, name, function, rows, dash)
        is_shown = bool(np.isfinite(line.get_ydata()).any())
        if not is_shown or any(name == other.get_label() for other in lines):
            line.set_label("")
        lines.append(line)
    for i, row in enumerate(rows.values()):
        if row.diverged and row.whole:
            _annotate_divergence(
                ax, row, colors[i] if colors is not None else PALETTE[i % len(PALETTE)]
            )
    if log:
        set_log_ticks(ax)
    _name_axes(ax, y)
    if labels == "legend" and (lines or notes or any(name for name in rows)):
        _add_legend(ax, notes)
    elif labels == "direct":
        _label_ends(ax, rows, colors, lines)
        _write_notes(ax, notes)
    return ax


def _check_looks(runs: Mapping[str, Result], labels: object, colors: Any, ax: object) -> None:
    """Raise ValueError or TypeError if an argument of `plot` is wrong."""
    for name, run in runs.items():
        if not (isinstance(name, str) and hasattr(run, "outcomes")):
            raise TypeError(
                f"results must be a Result, or map names to them; got {check.show(run)}"
            )
    if not (labels is None or (isinstance(labels, str) and labels in ("legend", "direct"))):
        raise ValueError(f'labels must be "legend", "direct" or None; got {check.show(labels)}')
    if not runs:
        raise ValueError("results must hold at least one run; got an empty mapping")
    if not (ax is None or hasattr(ax, "set_yscale")):
        raise TypeError(f"ax must be axes of matplotlib; got {check.show(ax)}")
    if colors is not None:
        _check_colors(colors, runs)


def _check_colors(colors: Any, runs: Mapping[str, Result]) -> None:
    """Raise TypeError or ValueError unless `colors` holds a colour for every run."""
    from matplotlib.colors import is_color_like  # noqa: PLC0415

    if not isinstance(colors, Sequence) or isinstance(colors, str):
        raise TypeError(f"colors must be a list of colours; got {check.show(colors)}")
    for color in colors:
        if not is_color_like(color):
            raise ValueError(f"colors must hold colours of matplotlib; got {check.show(color)}")
    if len(colors) < len(runs):
        raise ValueError(f"colors must hold one colour per run ({len(runs)}); got {len(colors)}")


def _draw_run(ax: Axes, name: str, row: Summary, color: str, place: tuple[int, int]) -> None:
    """Draw the band, the curve, the markers and the cross of one run; `place` is (i, runs)."""
    i, count = place
    x, whole = row.rounds, row.whole
    if not whole:
        return
    columns = row.mean.reshape(row.rounds.size, -1).T
    low, high = (end.reshape(row.rounds.size, -1).T for end in (row.low, row.high))
    # Different runs have markers at different rounds, so that coinciding curves can be
    # distinguished.
    every = max(1, whole // 8)
    start = round((i + 0.5) * every / count)
    marks = [mark for mark in range(start, whole, every) if mark < 0.98 * whole]
    for j, column in enumerate(columns):
        if np.isfinite(low[j]).any():
            ax.fill_between(
                x[:whole], low[j, :whole], high[j, :whole], color=color, alpha=0.15, lw=0
            )
        ax.plot(
            x[:whole],
            column[:whole],
            color=color,
            ls=DASHES[i % len(DASHES)],
            lw=1.4,
            marker=MARKERS[i % len(MARKERS)] if count > 1 else None,
            markevery=marks,
            ms=4.2,
            mfc="white",
            mew=1.1,
            label=name if j == 0 and name else None,
            solid_capstyle="round",
            zorder=3 + 0.01 * i,
        )
        if row.diverged:
            ax.plot(x[whole - 1 :], column[whole - 1 :], color=color, lw=0.7, ls=":", zorder=2.9)
            end = (x[whole - 1], column[whole - 1])
            ax.plot(*end, "x", color=color, ms=7, mew=1.8, zorder=5, clip_on=False)


def _find_predictions(
    runs: Mapping[str, Result],
    y: str,
    predictions: Predictions | str | Sequence[str] | None,
    log: bool,
) -> tuple[list[tuple[str, Callable[[NDArray[Any]], NDArray[Any]]]], list[str]]:
    """Return the lines of the predictions, each with its name, and notes to write beside them."""
    if predictions is None or isinstance(predictions, Mapping):
        return list((predictions or {}).items()), []
    named = predict(runs, predictions, y, log=log)
    if named.missing and EVERYTHING not in predictions:
        name, reason = next(iter(named.missing.items()))
        raise ValueError(f"predictions must exist for a run; got {name!r}: {reason}")
    if named.missing and not (named.lines or named.notes):
        reason = next(iter(named.missing.values()))
        warnings.warn(f"the theory predicts nothing for these runs: {reason}", stacklevel=3)
    return named.lines, named.notes


def _draw_prediction(
    ax: Axes,
    name: str,
    function: Callable[[NDArray[Any]], NDArray[Any]],
    rows: Mapping[str, Summary],
    dash: Any,
) -> Line2D:
    """Draw one prediction over the range of rounds that the axes show."""
    from matplotlib.lines import Line2D  # noqa: PLC0415

    if not callable(function):
        raise TypeError(f"predictions must hold functions of the rounds; {name!r} is none")
    shown = np.concatenate([row.rounds[: row.whole] for row in rows.values()])
    x = np.empty(0)
    if shown.size:
        x = np.unique(np.linspace(shown.min(), shown.max(), 500).round())
    y = check.rectangular(f"prediction {name!r}", function(x), gaps=True).astype(np.float64)
    if y.shape != x.shape:
        raise ValueError(f"prediction {name!r} must give {x.size} values; got shape {y.shape}")
    y = np.where(np.isfinite(y) & ((y > 0) | (ax.get_yscale() != "log")), y, np.nan)
    low, high = ax.get_ylim()
    if not (np.isnan(y).all() or ((low <= y) & (y <= high)).any()):
        nearest = np.nanargmin(np.maximum(low - y, y - high))
        ax.update_datalim([(x[nearest], y[nearest])])
        ax.autoscale_view()
    line = Line2D(x, y, color=PREDICTED, ls=dash, lw=1.0, zorder=4, label=name)
    ax.add_artist(line)  # add_line would extend the limits to the whole line
    return line


def _annotate_divergence(ax: Axes, row: Summary, color: str) -> None:
    """Write the number of diverged trials of a run beside the cross of the run."""
    value = float(row.mean.reshape(row.rounds.size, -1)[row.whole - 1, 0])
    note = "diverges" if row.trials == 1 else f"{row.diverged} of {row.trials} trials diverge"
    at = float(row.rounds[row.whole - 1])
    in_right_half = ax.transData.transform((at, value))[0] > ax.transAxes.transform((0.5, 0.5))[0]
    ax.annotate(
        note,
        (at, value),
        xytext=(-7 if in_right_half else 7, -9),
        textcoords="offset points",
        ha="right" if in_right_half else "left",
        va="top",
        color=color,
        family=FONT,
        fontsize=9,
    )


def _name_axes(ax: Axes, y: str) -> None:
    """Label the x axis and the y axis unless they already have labels."""
    if not ax.get_xlabel():
        ax.set_xlabel("round", family=FONT, color=INK)
    if not ax.get_ylabel():
        text = ax.set_ylabel(NAMES.get(y, y), family=FONT, color=INK)
        text.set_math_fontfamily("stix")


def _add_legend(ax: Axes, notes: Sequence[str]) -> None:
    """Add a legend without a frame; notes are its last lines."""
    from matplotlib.lines import Line2D  # noqa: PLC0415

    handles, names = ax.get_legend_handles_labels()
    handles += [Line2D([], [], ls="none") for _ in notes]
    style: dict[str, Any] = {"prop": {"family": FONT, "size": 10}, "handlelength": 2.6}
    legend = ax.legend(handles, [*names, *notes], frameon=False, **style)
    for text in legend.get_texts():
        text.set_color(INK)
        text.set_math_fontfamily("stix")


def _write_notes(ax: Axes, notes: Sequence[str]) -> None:
    """Write notes in the upper right corner, which falling curves leave empty."""
    if notes:
        text = ax.text(
            0.98, 0.98, "\n".join(notes), transform=ax.transAxes, ha="right", va="top",
            color=PREDICTED, family=FONT, fontsize=9,
        )  # fmt: skip
        text.set_math_fontfamily("stix")


def _label_ends(
    ax: Axes, rows: Mapping[str, Summary], colors: Sequence[str] | None, lines: Sequence[Line2D]
) -> None:
    """Write names at the right-hand ends of the curves; move overlapping names apart."""
    figure = ax.figure
    pixel = 72 / figure.dpi  # size of a pixel in points, the unit of offsets
    labelled = []  # (name, end of the curve, colour)
    for i, (name, row) in enumerate(rows.items()):
        if row.whole:
            value = float(row.mean.reshape(row.rounds.size, -1)[-1, 0])
            color = colors[i] if colors is not None else PALETTE[i % len(PALETTE)]
            labelled.append((name, (float(row.rounds[-1]), value), color))
    low, high = ax.get_ylim()
    for line in lines:
        x, y = np.asarray(line.get_data())
        visible = np.flatnonzero((low <= y) & (y <= high))
        if visible.size and line.get_label():
            last = visible[-1]
            labelled.append((str(line.get_label()), (x[last], y[last]), PREDICTED))
    ends = [(float(ax.transData.transform(label[1])[1]) * pixel, *label) for label in labelled]
    ends.sort(key=lambda end: end[0])
    heights = spread([end[0] for end in ends], apart=12.5)
    for (natural, name, at, color), height in zip(ends, heights, strict=True):
        text = ax.annotate(
            name,
            at,
            xytext=(7, height - natural),
            textcoords="offset points",
            va="center",
            color=color,
            family=FONT,
            fontsize=10,
            annotation_clip=False,
        )
        text.set_math_fontfamily("stix")
