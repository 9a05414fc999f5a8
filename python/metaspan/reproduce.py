r"""The simulations of the paper: what is trained, and how each panel is drawn and stored."""

from __future__ import annotations

import csv
import io
import math
import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from .heads import GaussianHeads
from .methods import ANIL, MAML, AverageRisk
from .options import Init
from .outcome import DivergenceWarning
from .plots import FONT, INK, new_axes, plot
from .summary import summarize
from .tasks import LinearTasks
from .train import train

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .result import Result

Method = ANIL | MAML | AverageRisk

D, K, N = 20, 3, 3  # the paper's sizes: features, rank and width, tasks a round
SEED = 0
ROWS = 300  # recorded rounds per curve
# From dark to light: the order of the values survives a grey print.
SHADES = ("#0D0887", "#6A00A8", "#B12A90", "#E16462", "#F2942E")


@dataclass(frozen=True, kw_only=True)
class Curve:
    r"""One training run of a panel.

    Parameters
    ----------
    label : str
        Name in the figure.
    method : ANIL, MAML or AverageRisk
        What is trained.
    init : Init
        Where it starts.
    heads : GaussianHeads
        Law of the tasks' heads.
    rounds : int
        Number of rounds.
    """

    label: str
    method: Method
    init: Init
    heads: GaussianHeads
    rounds: int


@dataclass(frozen=True, kw_only=True)
class View:
    r"""One set of axes of a panel.

    Parameters
    ----------
    name : str
        Name in the data file.
    title : str
        Text above the axes; none where it is empty.
    curves : tuple of Curve
        What it shows.
    ordered : bool
        The curves are values of one parameter: shades of one palette, names beside their ends.
    """

    name: str
    title: str
    curves: tuple[Curve, ...]
    ordered: bool = False


@dataclass(frozen=True, kw_only=True)
class Panel:
    r"""One figure.

    Parameters
    ----------
    about : str
        One line for ``--list``.
    views : tuple of View
        Axes from left to right.
    """

    about: str
    views: tuple[View, ...]


def _five(
    alpha: float, beta: float, dist: float | None, heads: GaussianHeads, rounds: int
) -> tuple[Curve, ...]:
    """The four methods and average risk from one start: alpha B^T B = I, w = 0."""
    methods: dict[str, Method] = {
        "Exact ANIL": ANIL(alpha=alpha, beta=beta),
        "FO-ANIL": ANIL(alpha=alpha, beta=beta, first_order=True),
        "Exact MAML": MAML(alpha=alpha, beta=beta),
        "FO-MAML": MAML(alpha=alpha, beta=beta, first_order=True),
        "average risk": AverageRisk(beta=beta),
    }
    init = Init(dist=dist, scale=1 / math.sqrt(alpha))
    return tuple(
        Curve(label=label, method=method, init=init, heads=heads, rounds=rounds)
        for label, method in methods.items()
    )


def _diversities(method: Method, values: Sequence[float], rounds: int) -> tuple[Curve, ...]:
    """One method under heads of covariance diag(1, ..., 1, mu^2)."""
    return tuple(
        Curve(
            label=f"$\\mu^2 = {value:g}$",
            method=method,
            init=Init(),
            heads=GaussianHeads(cov=np.diag([1.0] * (K - 1) + [value])),
            rounds=rounds,
        )
        for value in values
    )


def panels() -> dict[str, Panel]:
    r"""List the panels that can be reproduced.

    Returns
    -------
    dict of str to Panel
        The panels by name, in the order in which they are made.
    """
    centred = GaussianHeads()
    values = (1.0, 0.5, 0.25, 0.1, 0.01)
    return {
        "methods": Panel(
            about="the four methods and average risk, centred heads",
            views=(View(name="methods", title="", curves=_five(0.1, 0.1, None, centred, 1500)),),
        ),
        "diversity": Panel(
            about="the rate falls with the task diversity mu^2",
            views=tuple(
                View(
                    name=title,
                    title=title,
                    curves=_diversities(method, values, 2000),
                    ordered=True,
                )
                for title, method in (
                    ("FO-ANIL", ANIL(alpha=0.1, beta=0.1, first_order=True)),
                    ("Exact MAML", MAML(alpha=0.1, beta=0.1)),
                )
            ),
        ),
        "start": Panel(
            about="random start, methodical start, and heads with a large mean",
            views=(
                View(
                    name="random start",
                    title="random start",
                    curves=_five(0.1, 0.1, None, centred, 1500),
                ),
                View(
                    name="methodical start",
                    title="methodical start",
                    curves=_five(0.1, 0.1, 0.7, centred, 1500),
                ),
                View(
                    name="mean 10",
                    title=r"methodical start, heads $N(10\cdot\mathbf{1},\, I)$",
                    curves=_five(0.03, 0.01, 0.7, GaussianHeads(mean=np.full(K, 10.0)), 10_000),
                ),
            ),
        ),
    }


def reproduce(
    names: Sequence[str],
    out: str | os.PathLike[str],
    quick: bool = False,
    advanced: Callable[[], None] = lambda: None,
    finished: Callable[[str], None] = lambda line: None,
) -> None:
    r"""Train what the named panels show, and write each as PNG, PDF and CSV.

    Curves are geometric means over trials, bands the 95 % Student-t interval of that mean; the CSV
    beside a figure holds exactly what is drawn.

    Parameters
    ----------
    names : sequence of str
        Panels, see `panels`; empty for all.
    out : path
        Folder for the files; made if it is not there.
    quick : bool
        5 trials instead of 20.
    advanced : callable
        Called after each training run.
    finished : callable
        Called with one line of text after each panel.

    Raises
    ------
    ValueError
        If a panel is unknown.
    OSError
        If `out` cannot be written.
    ImportError
        If matplotlib is not installed.

    Notes
    -----
    Files appear when a panel is complete: an interruption leaves finished panels and no partial
    file. The data are the same on every run; threads do not change them.
    """
    known = panels()
    for name in names:
        if name not in known:
            raise ValueError(f"PANEL must be one of {', '.join(known)}; got {name!r}")
    new_axes()  # a missing matplotlib is found before the work, not after it
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    for name in dict.fromkeys(names or known):
        began = time.perf_counter()
        runs: list[dict[str, Result]] = []
        for view in known[name].views:
            runs.append({})
            for curve in view.curves:
                runs[-1][curve.label] = run_curve(curve, trials=5 if quick else 20)
                advanced()
        _write(folder / name, known[name], runs)
        finished(f"{folder / name}.png (.pdf, .csv)  {time.perf_counter() - began:.1f} s")


def run_curve(curve: Curve, trials: int) -> Result:
    r"""Train one curve of a panel.

    Parameters
    ----------
    curve : Curve
        What to train.
    trials : int
        Independent trials.

    Returns
    -------
    Result
        ``dist`` at about 300 rounds.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DivergenceWarning)  # the figure says it
        return train(
            LinearTasks(d=D, k=K, heads=curve.heads),
            curve.method,
            rounds=curve.rounds,
            n=N,
            init=curve.init,
            seed=SEED,
            trials=trials,
            record=("dist",),
            record_every=max(1, curve.rounds // ROWS),
            stop=None,
        )


def draw(panel: Panel, runs: Sequence[Mapping[str, Result]]) -> Figure:
    r"""Draw a panel.

    Parameters
    ----------
    panel : Panel
        What is shown.
    runs : sequence of mapping of str to Result
        The results of each view, by label.

    Returns
    -------
    matplotlib.figure.Figure
        The figure, without a canvas of any window system.
    """
    count = len(panel.views)
    figure, axes = new_axes(
        count, width=4.8 if count == 1 else 3.6, height=3.3 if count == 1 else 3.0
    )
    for i, (ax, view, results) in enumerate(zip(axes, panel.views, runs, strict=True)):
        last = i == count - 1
        labels: Literal["legend", "direct"] | None = None
        if view.ordered and last:
            labels = "direct"
        elif i == 0 and not view.ordered:
            labels = "legend"
        plot(
            results,
            ax=ax,
            labels=labels,
            colors=SHADES if view.ordered else None,
            log=True,
        )
        if i > 0:
            ax.set_ylabel("")
        if view.title:
            title = f"({'abc'[i]}) {view.title}"
            text = ax.set_title(title, loc="left", family=FONT, fontsize=10.5, color=INK)
            text.set_math_fontfamily("stix")
    return figure


def _table(panel: Panel, runs: Sequence[Mapping[str, Result]]) -> str:
    """What is drawn, as CSV."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["view", "curve", "round", "trials", "diverged", "mean", "low", "high"])
    for view, results in zip(panel.views, runs, strict=True):
        for label, result in results.items():
            row = summarize(result, "dist", log=True)
            for i, at in enumerate(row.rounds):
                numbers = (f"{x[i]:.9g}" for x in (row.mean, row.low, row.high))
                name = label.replace("$", "").replace("\\mu", "mu")
                table.writerow([view.name, name, at, row.count[i], row.diverged, *numbers])
    return text.getvalue()


def _write(stem: Path, panel: Panel, runs: Sequence[Mapping[str, Result]]) -> None:
    """The panel's three files; each is written beside and renamed, so it is whole or absent."""
    figure = draw(panel, runs)
    contents = {".csv": _table(panel, runs).encode()}
    # No dates and versions inside: the same data give the same bytes.
    unstamped = {".pdf": {"CreationDate": None, "Creator": None, "Producer": None}}
    for suffix in (".pdf", ".png"):
        buffer = io.BytesIO()
        metadata = unstamped.get(suffix, {"Software": None})
        figure.savefig(buffer, format=suffix[1:], dpi=200, metadata=metadata)
        contents[suffix] = buffer.getvalue()
    for suffix, content in contents.items():
        path = stem.with_suffix(suffix)
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            beside.write_bytes(content)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
