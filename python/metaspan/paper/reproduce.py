r"""Trains the simulations of the paper, draws their figures and writes the files."""

from __future__ import annotations

import io
import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from .._support import check, files
from .._support.looks import FONT, INK, SHADES, new_axes
from .._support.tables import Row, format_csv
from ..plots import plot
from ..runs.outcome import DivergenceWarning
from ..runs.result import Result
from ..runs.summary import summarize
from ..runs.train import train
from ..tasks.linear import LinearTasks
from .claims import Claim, as_csv, as_markdown
from .expected import expect
from .experiment import Experiment, Findings
from .figures import Curve, Panel, View, panels
from .floors import Floors, draw_floors, floors
from .limits import limits
from .risks import draw_risks, risks

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SEED = 0
ROWS = 300  # recorded rounds per curve

Runs = list[list[Result]]  # outer list: views; inner lists: curves


def reproduce(
    names: Sequence[str],
    out: str | os.PathLike[str],
    quick: bool = False,
    *,
    advanced: Callable[[], None] = lambda: None,
    finished: Callable[[str], None] = lambda line: None,
    expected: bool = False,
) -> list[Claim]:
    r"""Train the curves of the named panels, and write each panel as PNG, PDF and CSV.

    A curve shows geometric means over trials, and its band shows the 95 % Student-t intervals of
    these means. The CSV file beside a figure holds exactly the numbers that are drawn.

    Parameters
    ----------
    names : sequence of str
        Names of the panels to make; `panels` lists all panels. If `names` is empty and `expected`
        is true, all panels are made. If `names` is empty and `expected` is false, the panels that
        have `by_name` set are left out.
    out : path
        Folder for the files; the folder is created if it does not exist.
    quick : bool
        Whether to make smaller runs, such as a quarter of the trials of each curve.
    advanced : callable
        Function that is called after each training run.
    finished : callable
        Function that is called with one line of text after each panel.
    expected : bool
        Whether to compare the panels with what the paper and the theory expect of them, and to
        test, by `limits`, the claims of theory that no panel shows.

    Returns
    -------
    list of Claim
        The claims, if `expected` is true. The claims are also written to ``expected.csv`` and
        ``expected.md``.

    Raises
    ------
    ValueError
        If there is no panel of a given name.
    OSError
        If `out` cannot be written.
    ImportError
        If matplotlib is not installed.

    Notes
    -----
    The files of a panel are written when the panel is complete, so an interruption leaves only
    files of finished panels. Every call computes the same data, for any number of threads.
    """
    known = panels()
    for name in names:
        if name not in known:
            raise ValueError(f"PANEL must be one of {', '.join(known)}; got {name!r}")
    new_axes()  # if matplotlib is missing, raises ImportError before the work begins
    folder = Path(check.path("out", out))
    folder.mkdir(parents=True, exist_ok=True)
    claims: list[Claim] = []
    for name in dict.fromkeys(names or named(expected)):
        began, panel = time.perf_counter(), known[name]
        if isinstance(panel, Panel):
            runs = _run(panel, quick, advanced)
            _write(folder / name, draw(panel, runs), _tables(panel, runs))
            shown = expect(name, panel, runs) if expected else []
        else:
            findings = run_experiment(panel, quick or (expected and panel.takes_long), advanced)
            _write(folder / name, findings.figure, findings.tables)
            shown = list(findings.claims)
            if findings.text:
                finished(findings.text)
        claims += shown if expected else []
        finished(f"{folder / name}.png (.pdf, .csv)  {time.perf_counter() - began:.1f} s")
    if expected:
        began = time.perf_counter()
        claims += limits(advanced)
        for suffix, table in ((".csv", as_csv(claims)), (".md", as_markdown(claims))):
            files.replace((folder / "expected").with_suffix(suffix), table.encode())
        finished(f"{folder / 'expected'}.csv (.md)  {time.perf_counter() - began:.1f} s")
    return claims


def named(everything: bool) -> list[str]:
    """Return the names of all panels, or only of the panels that are made by default."""
    return [name for name, panel in panels().items() if everything or not panel.by_name]


def _run(panel: Panel, quick: bool, advanced: Callable[[], None]) -> Runs:
    """Train the curves of a panel; a curve that several views share is trained once."""
    done: dict[Curve, Result] = {}
    for view in panel.views:
        for curve in view.curves:
            of_any_label = replace(curve, label="")
            if of_any_label not in done:
                trials = max(2, curve.trials // 4) if quick else curve.trials
                done[of_any_label] = run_curve(curve, trials)
            advanced()
    return [[done[replace(curve, label="")] for curve in view.curves] for view in panel.views]


def run_experiment(experiment: Experiment, quick: bool, advanced: Callable[[], None]) -> Findings:
    r"""Run a panel that is an experiment.

    Parameters
    ----------
    experiment : Experiment
        The panel.
    quick : bool
        Whether to make a smaller run.
    advanced : callable
        Function that is called after each part of the run.

    Returns
    -------
    Findings
        Figure, tables and claims.
    """
    return experiment.run(quick, advanced)


def run_curve(curve: Curve, trials: int) -> Result:
    r"""Train one curve of a panel.

    Parameters
    ----------
    curve : Curve
        Curve to train.
    trials : int
        Number of independent trials.

    Returns
    -------
    Result
        Result with ``dist`` at about 300 rounds.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DivergenceWarning)  # the figure shows which trials diverge
        return train(
            LinearTasks(d=curve.d, k=curve.k, heads=curve.heads, noise=curve.noise),
            curve.method,
            rounds=curve.rounds,
            n=curve.n,
            pool=curve.pool,
            m_in=curve.m[0] if curve.m else None,
            m_out=curve.m[1] if curve.m else None,
            init=curve.init,
            seed=SEED,
            trials=trials,
            record=("dist",),
            record_every=max(1, curve.rounds // ROWS),
            stop=None,
        )


def draw(panel: Panel, runs: Runs) -> Figure:
    r"""Draw a panel.

    Parameters
    ----------
    panel : Panel
        Panel to draw.
    runs : list of list of Result
        The results of each view, in the order of its curves.

    Returns
    -------
    matplotlib.figure.Figure
        The figure, which needs no display.
    """
    count = len(panel.views)
    figure, axes = new_axes(
        count, width=4.8 if count == 1 else 3.6, height=3.3 if count == 1 else 3.0
    )
    labelled = max((i for i, view in enumerate(panel.views) if not view.floors), default=0)
    for i, (ax, view, results) in enumerate(zip(axes, panel.views, runs, strict=True)):
        labels: Literal["legend", "direct"] | None = None
        if view.ordered and i == labelled:
            labels = "direct"
        elif i == 0 and not view.ordered:
            labels = "legend"
        if view.floors:
            draw_floors(ax, _series(view, results))
        elif view.risks:
            draw_risks(ax, results)
        else:
            plot(
                {curve.label: run for curve, run in zip(view.curves, results, strict=True)},
                ax=ax,
                labels=labels,
                colors=SHADES if view.ordered else None,
                log=True,
                predictions="floor" if any(each.floors for each in panel.views) else None,
            )
        if i > 0:
            ax.set_ylabel("")
        if view.title:
            title = f"({'abc'[i]}) {view.title}"
            text = ax.set_title(title, loc="left", family=FONT, fontsize=10.5, color=INK)
            text.set_math_fontfamily("stix")
    return figure


def _series(view: View, results: Sequence[Result]) -> dict[str, Floors]:
    """Compute, for each label, the floors of the runs with this label."""
    by_label: dict[str, list[Result]] = {}
    for curve, result in zip(view.curves, results, strict=True):
        by_label.setdefault(curve.label, []).append(result)
    return {label: floors(runs) for label, runs in by_label.items()}


def _table(panel: Panel, runs: Runs) -> str:
    """Format the means and intervals of the drawn curves as CSV."""
    table: list[Row] = [["view", "curve", "round", "trials", "diverged", "mean", "low", "high"]]
    for view, results in zip(panel.views, runs, strict=True):
        for curve, result in zip(
            () if view.floors or view.risks else view.curves, results, strict=False
        ):
            row = summarize(result, "dist", log=True)
            for i, at in enumerate(row.rounds):
                numbers = (f"{x[i]:.9g}" for x in (row.mean, row.low, row.high))
                name = curve.label.replace("$", "").replace("\\mu", "mu")
                table.append([view.name, name, at, row.count[i], row.diverged, *numbers])
    return format_csv(table)


def _floor_table(panel: Panel, runs: Runs) -> str:
    """Format the drawn floors as CSV; the text is empty if no view of the panel shows floors."""
    table: list[Row] = []
    for view, results in zip(panel.views, runs, strict=True):
        for label, ends in _series(view, results).items() if view.floors else ():
            if not table:
                table.append(["curve", "d", "predicted", "dist", "error_of_log", "exponent"])
            for i, d in enumerate(ends.d):
                numbers = (ends.predicted[i], ends.dist[i], ends.error[i], ends.exponent)
                table.append([label, d, *(f"{x:.9g}" for x in numbers)])
    return format_csv(table)


def _risk_table(panel: Panel, runs: Runs) -> str:
    """Format the drawn excess risks as CSV; empty if the panel has no such view."""
    table: list[Row] = []
    for view, results in zip(panel.views, runs, strict=True):
        if not view.risks:
            continue
        measured = risks(results)
        table.append(["alpha", "risk", "standard_error", "closed_form", "mean_vector"])
        columns = (measured.alpha, measured.mean, measured.error, measured.predicted)
        for numbers in zip(*columns, strict=True):
            table.append([f"{x:.9g}" for x in (*numbers, measured.least)])
    return format_csv(table)


def _tables(panel: Panel, runs: Runs) -> dict[str, str]:
    """Return the tables of a panel as CSV, by the ending of the file's name."""
    tables = {".csv": _risk_table(panel, runs) or _table(panel, runs)}
    ends = _floor_table(panel, runs)
    return {**tables, ".ends.csv": ends} if ends else tables


def _write(stem: Path, figure: Figure, tables: Mapping[str, str]) -> None:
    """Write the files of a panel; each file is written under a temporary name and then renamed."""
    contents = {suffix: text.encode() for suffix, text in tables.items()}
    # The files contain no dates or versions, so equal data give equal bytes.
    unstamped = {".pdf": {"CreationDate": None, "Creator": None, "Producer": None}}
    for suffix in (".pdf", ".png"):
        buffer = io.BytesIO()
        metadata = unstamped.get(suffix, {"Software": None})
        figure.savefig(buffer, format=suffix[1:], dpi=200, metadata=metadata)
        contents[suffix] = buffer.getvalue()
    for suffix, content in contents.items():
        files.replace(stem.with_suffix(suffix), content)
