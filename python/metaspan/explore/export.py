r"""The figure and the data of a point, as files."""

from __future__ import annotations

import io
import math
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from .._support.looks import FONT, INK, PALETTE, PREDICTED, PREDICTED_DASHES, new_axes
from .._support.tables import Row, format_csv
from .._support.types import F64
from ..plots import NAMES
from .knobs import RECORDS
from .point import Curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS = {
    "distance": ("dist",),
    "heads": ("diversity_max", "diversity_min", "w_norm"),
    "singular values": ("sigma_max", "sigma_min", "signal_min", "perp_norm"),
}
LEAST = 1e-12  # smaller values count as 0, which a logarithmic axis does not show

_drawing = threading.Lock()  # matplotlib, which tabs share, is not made for several threads


def positive(values: F64) -> F64:
    r"""Return values for a logarithmic axis.

    Parameters
    ----------
    values : ndarray of any shape, float64
        The values.

    Returns
    -------
    ndarray of the same shape, float64
        The values, with NaN where they are not finite or are 0 up to rounding.
    """
    with np.errstate(invalid="ignore"):
        shown: F64 = np.where(np.isfinite(values) & (values > LEAST), values, math.nan)
    return shown


def as_csv(curves: Curves) -> str:
    r"""Format the records and the lines of the theory as CSV.

    Parameters
    ----------
    curves : Curves
        The point.

    Returns
    -------
    str
        A row for each recorded round, with a column for each record and each line that exists.
        Numbers have all their digits, and NaN is written where the limit has diverged.
    """
    columns: dict[str, F64] = dict(curves.values)
    columns |= {f"limit_{name}": values for name, values in curves.limit.items()}
    if curves.floor is not None:
        columns["floor_dist"] = np.full(curves.rounds.size, curves.floor)
    if curves.rate is not None:
        columns["rate_dist"] = curves.rate
    if curves.fading is not None:
        columns["fading_perp_norm"] = curves.fading
    rows: list[Row] = [["round", *columns]]
    for i, at in enumerate(curves.rounds.tolist()):
        rows.append([at, *(repr(float(values[i])) for values in columns.values())])
    return format_csv(rows)


def as_figure(curves: Curves, kind: str) -> bytes:
    r"""Draw the curves as a figure of matplotlib.

    Parameters
    ----------
    curves : Curves
        The point.
    kind : {"png", "svg"}
        Format of the file.

    Returns
    -------
    bytes
        The contents of the file.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    file, metadata = io.BytesIO(), {"Date": None} if kind == "svg" else None
    with _drawing:
        figure, axes = new_axes(len(PANELS), width=4.2, height=3.2)
        for ax, (title, names) in zip(axes, PANELS.items(), strict=True):
            _draw(ax, curves, names)
            ax.set_title(title, family=FONT, color=INK, fontsize=11)
            ax.set_xlabel("round", family=FONT, color=INK)
        figure.savefig(file, format=kind, dpi=200, metadata=metadata)
    return file.getvalue()


def _draw(ax: Axes, curves: Curves, names: tuple[str, ...]) -> None:
    """Draw the records of one panel, with their limits dashed and the other lines of the theory."""
    assert set(names) <= set(RECORDS)
    ax.set_yscale("log")
    dashed: dict[str, Any] = {"color": PREDICTED, "lw": 1.2}
    for i, name in enumerate(names):
        color = PALETTE[i]
        ax.plot(curves.rounds, positive(curves.values[name]), color=color, lw=1.6,
                label=NAMES[name])  # fmt: skip
        if name in curves.limit:
            ax.plot(curves.rounds, positive(curves.limit[name]), color=color, lw=1.2,
                    ls=PREDICTED_DASHES[0], label="limit" if i == 0 else "")  # fmt: skip
    if "dist" in names and curves.floor is not None:
        ax.axhline(curves.floor, ls=PREDICTED_DASHES[1], label="floor", **dashed)
    if "dist" in names and curves.rate is not None:
        ax.plot(curves.rounds, positive(curves.rate), ls=PREDICTED_DASHES[2], label="rate",
                **dashed)  # fmt: skip
    if "perp_norm" in names and curves.fading is not None:
        ax.plot(curves.rounds, positive(curves.fading), ls=PREDICTED_DASHES[1], label="fading",
                **dashed)  # fmt: skip
    if "dist" in names:  # a rate line must not stretch the axis beyond the curve
        low = np.nanmin(positive(curves.values["dist"]), initial=1.0)
        ax.set_ylim(bottom=low / 3, top=2.0)
    legend = ax.legend(prop={"family": FONT, "size": 8.5}, framealpha=0.85, edgecolor="none")
    for text in legend.get_texts():
        text.set_color(INK)
        text.set_math_fontfamily("stix")
