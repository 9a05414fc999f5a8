r"""The style of figures: colours, fonts and axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, ordered so that neighbouring colours also differ in lightness, which
# makes them distinct in grey prints.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#7F7F7F", "#CC79A7", "#56B4E9", "#000000")
MARKERS = "osD^vPX*"
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (3, 1, 1, 1)), (0, (1.5, 1.2)))
# Shades from dark to light, so that the order of the values is also visible in a grey print.
SHADES = ("#0D0887", "#6A00A8", "#B12A90", "#E16462", "#F2942E")
INK = "#333333"
PREDICTED = "#595959"
PREDICTED_DASHES: tuple[Any, ...] = ((0, (7, 3)), (0, (1, 2)), (0, (7, 2, 1, 2)))
FONT = "STIXGeneral"  # comes with matplotlib, so figures look the same everywhere


def new_axes(
    columns: int = 1, width: float = 4.8, height: float = 3.3
) -> tuple[Figure, list[Axes]]:
    r"""Make axes in the style of the package, in a figure that needs no pyplot and no display.

    Parameters
    ----------
    columns : int
        Number of axes, side by side.
    width, height : float
        Width and height of each axes, in inches.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.
    list of matplotlib.axes.Axes
        Its axes, from left to right.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError as error:
        raise ImportError("plots need matplotlib: pip install 'metaspan[plot]'") from error
    figure = Figure(figsize=(width * columns, height), layout="constrained", dpi=100)
    axes: list[Axes] = list(figure.subplots(1, columns, squeeze=False)[0])
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
        ax.spines[["left", "bottom"]].set_color(INK)
        ax.tick_params(which="both", color=INK, labelcolor=INK, labelsize=9.5, labelfontfamily=FONT)
        ax.grid(True, which="major", color="#E6E6E6", lw=0.6)
        ax.set_axisbelow(True)
        ax.margins(x=0, y=0.07)
    return figure, axes


def set_log_ticks(ax: Axes) -> None:
    r"""Put ticks at 1, 2 and 5 times powers of ten on a log y axis of less than two decades.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Axes whose y axis is logarithmic and has its final limits.
    """
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter  # noqa: PLC0415

    low, high = ax.get_ylim()
    ax.yaxis.set_minor_formatter(NullFormatter())
    if high / low < 100:
        ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
