r"""The protocol of panels that are more than curves of dist: a run, a figure, tables and claims."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from .._support.looks import FONT, INK
from .claims import Claim

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class Findings:
    r"""What an experiment found.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        The figure.
    tables : mapping of str to str
        Tables as CSV; the keys are the endings of the names of their files, such as ``".csv"``.
    claims : sequence of Claim
        Expected and observed values.
    text : str
        Lines that are printed when the panel is complete; an empty text is not printed.
    """

    figure: Figure
    tables: Mapping[str, str]
    claims: Sequence[Claim] = field(default_factory=list)
    text: str = ""


class Experiment(Protocol):
    """A panel that trains, fits and measures in its own way."""

    @property
    def about(self) -> str:
        """Description in one line, which ``--list`` prints."""

    @property
    def by_name(self) -> bool:
        """Whether the figure is made only if its name or ``--all`` is given."""

    @property
    def takes_long(self) -> bool:
        """Whether ``--all`` makes a smaller run, as ``--quick`` does."""

    def count(self) -> int:
        """Return how often `run` calls `advanced`."""

    def run(self, quick: bool, advanced: Callable[[], None]) -> Findings:
        """Run everything, draw the figure and check the claims.

        `quick` asks for a smaller run, and `advanced` is called after each part of the run.
        """


def label_axes(ax: Axes, x: str, y: str, title: str = "", legend: bool = True) -> None:
    r"""Write the labels of the axes, a title, and a legend in the font of the figures.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Axes with all their lines.
    x, y : str
        Labels of the axes, which may contain mathematical text.
    title : str
        Text above the axes, at the left; an empty text is not drawn.
    legend : bool
        Whether to draw a legend of the labelled lines, if there are any.
    """
    texts = [ax.set_xlabel(x, family=FONT, color=INK), ax.set_ylabel(y, family=FONT, color=INK)]
    if title:
        texts.append(ax.set_title(title, loc="left", family=FONT, fontsize=10.5, color=INK))
    for text in texts:
        text.set_math_fontfamily("stix")
    if legend and ax.get_legend_handles_labels()[0]:
        draw_legend(ax, *ax.get_legend_handles_labels())


def draw_legend(ax: Axes, handles: Sequence[Artist], labels: Sequence[str], **place: Any) -> None:
    """Draw a legend in the font of the figures; `place` holds arguments of `Axes.legend`."""
    drawn = ax.legend(handles, labels, frameon=False, prop={"family": FONT, "size": 9}, **place)
    for text in drawn.get_texts():
        text.set_color(INK)
        text.set_math_fontfamily("stix")
