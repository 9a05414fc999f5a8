r"""Writes a report as one HTML page that needs no other files."""

from __future__ import annotations

import base64
import io
import math
import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..._support import files
from ..._support.numbers import PLUS_MINUS, with_error
from ..._support.types import F64, I64
from ..figures.captions import to_unicode
from ..figures.choose import auto_figures
from ..figures.labels import value_labels
from ..figures.points import average, factor

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

__all__ = ["auto_figures", "cells", "write"]


MOST_CELLS = 300  # most rows of the table of means by cell
LARGE = 200_000  # if vector graphics have more bytes, a figure is stored as pixels
ENDED_WELL = ("finished", "converged", "underflow")
STYLE = """
:root { color-scheme: light dark; --ink: #222; --dim: #5f5f5f; --line: #ddd; --paper: #fff;
  --shade: #f6f6f6; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e6e6; --dim: #a3a3a3; --line: #444;
  --paper: #181818; --shade: #222; } }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 "STIX Two Text", "Times New Roman", Times, serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.8rem; font-weight: 600; line-height: 1.2; margin: 0 0 1rem; }
h2 { font-size: 1.2rem; font-weight: 600; margin: 2.5rem 0 .75rem; padding-bottom: .25rem;
  border-bottom: 1px solid var(--line); }
h1, dd, li, figcaption { overflow-wrap: anywhere; }
dl { display: grid; gap: .15rem 1.5rem; margin: 0; }
dl > div { display: grid; grid-template-columns: min(11rem, 35%) 1fr; gap: 1rem; }
dt { color: var(--dim); } dd { margin: 0; }
.code dt, .code dd { font: .85rem/1.6 ui-monospace, Menlo, Consolas, monospace; }
figure { margin: 0 0 2rem; }
img { display: block; max-width: 100%; height: auto; background: #fff; padding: .5rem;
  border-radius: 4px; box-sizing: border-box; }
figcaption, caption, .more { color: var(--dim); font-size: .92rem; }
figcaption { margin-top: .4rem; max-width: 46rem; }
caption { text-align: left; padding-bottom: .5rem; }
li { white-space: pre-line; margin-bottom: .4rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .8rem .2rem 0; text-align: left; vertical-align: top;
  white-space: nowrap; }
thead th { border-bottom: 1px solid var(--ink); font-weight: 600; vertical-align: bottom; }
tbody td { border-bottom: 1px solid var(--line); }
tbody tr:nth-child(even) { background: var(--shade); }
@media print { :root { --ink: #000; --dim: #444; --line: #bbb; --paper: #fff; --shade: #fff; }
  td { white-space: normal; }
  figure, tr, dl > div { break-inside: avoid; } h2 { break-after: avoid; } }
"""


def write(
    path: str | os.PathLike[str],
    *,
    title: str,
    overview: Mapping[str, str],
    configuration: Sequence[tuple[str, str]],
    figures: Sequence[tuple[str, Figure]],
    notes: Sequence[str],
    table: pandas.DataFrame,
    versions: Mapping[str, str],
) -> None:
    r"""Write a report as one HTML file, which has no scripts and loads no other files.

    Parameters
    ----------
    path : path
        The HTML file. The report is first written under a temporary name, and the complete file is
        then renamed.
    title : str
        Heading of the page.
    overview : mapping of str to str
        Summary of the study, as texts by keyword.
    configuration : sequence of (str, str)
        Names and values of the study's arguments.
    figures : sequence of (str, matplotlib.figure.Figure)
        Captions and figures, in the order of the page.
    notes : sequence of str
        Findings in words, such as fitted laws. Line breaks are kept.
    table : pandas.DataFrame
        Table of the study: varied names, ``seed``, ``status``, measures. The page shows means for
        at most 300 cells.
    versions : mapping of str to str
        Versions of the software that computed the rows, and of the software that writes the report.

    Raises
    ------
    ImportError
        If matplotlib or pandas is not installed.
    ValueError
        If the table lacks the column ``seed`` or ``status``.
    OSError
        If the file cannot be written.

    Notes
    -----
    Calls with equal arguments write files with equal bytes.
    """
    drawn = [_embed_figure(i, text, figure) for i, (text, figure) in enumerate(figures, start=1)]
    remarks = "".join(f"<li>{escape(note)}</li>\n" for note in notes)
    parts = [
        _format_section("Overview", _format_pairs(overview.items())),
        _format_section("Figures", "".join(drawn)),
        _format_section("Notes", f"<ul>\n{remarks}</ul>\n" if remarks else ""),
        _format_section("Means by cell", _format_table(table)),
        _format_section("Configuration", _format_pairs(configuration, "code")),
        _format_section("Versions", _format_pairs(versions.items(), "code")),
    ]
    page = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "img-src data:; style-src 'unsafe-inline'\">\n"
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{escape(title)}</h1>\n{''.join(parts)}</main>\n</body>\n</html>\n"
    )
    files.replace(Path(path), page.encode("utf-8", errors="replace"))


def cells(table: pandas.DataFrame) -> pandas.DataFrame:
    r"""Make a table of texts with one row per cell: means over the runs of the cell.

    Parameters
    ----------
    table : pandas.DataFrame
        Table of a study: varied names, ``seed``, ``status``, measures.

    Returns
    -------
    pandas.DataFrame
        One row per cell, in the order in which the cells appear in `table`. The columns are the
        values of the cell, the number of runs, the number of runs that failed or diverged, and, for
        each measure, the arithmetic mean with its standard error. If some runs of a cell have no
        value of a measure, the text also gives the number of runs with a value.

    Raises
    ------
    ImportError
        If pandas is not installed.
    ValueError
        If the table lacks the column ``seed`` or ``status``.
    """
    try:
        import pandas as pd  # noqa: PLC0415  (optional and slow to import)
    except ImportError as error:
        raise ImportError("reports need pandas: pip install 'metaspan[table]'") from error
    for name in ("seed", "status"):
        if name not in table.columns:
            raise ValueError(f"table must have the columns seed and status; it lacks {name}")
    order = list(table.columns)
    names = order[: order.index("seed")]
    measures = [name for name in order[order.index("seed") + 1 :] if name != "status"]
    factors = [factor(table, name) for name in names]
    index = np.zeros(len(table), dtype=np.int64)
    for by in factors:
        # The cells are renumbered after each factor, because otherwise their numbers could exceed
        # 64 bits.
        joint = index * len(by.values) + by.codes
        index = np.unique(joint, return_inverse=True)[1].astype(np.int64)
    distinct, first = np.unique(index, return_index=True)
    place = np.argsort(np.argsort(first))  # order in which the cells first appear in the table
    index, first = place[index], np.sort(first)
    runs = np.bincount(index, minlength=distinct.size)
    bad = ~np.isin(np.asarray(table["status"], dtype=str), ENDED_WELL)
    columns: dict[str, Any] = {}
    for by in factors:
        labels = [to_unicode(label) for label in value_labels(by.values, by.name)]
        texts = np.array(labels, dtype=object)
        columns[by.name] = texts[by.codes[first]] if texts.size else []
    columns["runs"] = runs.astype(str)
    columns["failed"] = np.bincount(index[bad], minlength=distinct.size).astype(str)
    for name in measures:
        columns[name] = _format_means(np.asarray(table[name], dtype=np.float64), index, runs)
    return pd.DataFrame(columns)


def _format_means(values: F64, index: I64, runs: I64) -> list[str]:
    """Format the mean of each cell with its standard error; if values are missing, add a count."""
    mean, _, _, counted = average(values, index, runs.size, None, log=False)
    finite = np.isfinite(values)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        squares = np.where(finite, (values - mean[index]) ** 2, 0.0)
        error = np.sqrt(np.bincount(index, squares, runs.size) / (counted - 1) / counted)
    texts = []
    for cell in zip(mean.tolist(), error.tolist(), counted.tolist(), runs.tolist(), strict=True):
        middle, spread, count, of = cell
        text = with_error(middle, spread if count > 1 else math.nan, PLUS_MINUS) if count else "–"
        texts.append(text + (f" ({count} of {of})" if 0 < count < of else ""))
    return texts


def _format_section(heading: str, content: str) -> str:
    """Format a section of the page; the text is empty if the content is empty."""
    return f"<section>\n<h2>{heading}</h2>\n{content}</section>\n" if content else ""


def _format_pairs(pairs: Any, look: str = "") -> str:
    """Format pairs of a keyword and a value as HTML."""
    rows = "".join(
        f"<div><dt>{escape(str(name))}</dt><dd>{escape(str(value))}</dd></div>\n"
        for name, value in pairs
    )
    opening = f'<dl class="{look}">' if look else "<dl>"
    return f"{opening}\n{rows}</dl>\n" if rows else ""


def _embed_figure(number: int, text: str, figure: Figure) -> str:
    """Embed a figure as vector graphics, or as pixels if the vector graphics are too large."""
    from matplotlib import rc_context  # noqa: PLC0415

    buffer = io.BytesIO()
    with rc_context({"svg.hashsalt": "metaspan", "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    kind = "svg+xml"
    if buffer.tell() > LARGE:
        buffer, kind = io.BytesIO(), "png"
        figure.savefig(buffer, format="png", dpi=192, metadata={"Software": None})
    data = base64.b64encode(buffer.getvalue()).decode()
    width, height = (round(96 * inches) for inches in figure.get_size_inches())
    return (
        f'<figure>\n<img src="data:image/{kind};base64,{data}" width="{width}" height="{height}" '
        f'alt="{escape(f"Plot: {text}")}">\n'
        f"<figcaption>Figure {number}. {escape(text)}</figcaption>\n</figure>\n"
    )


def _format_table(table: pandas.DataFrame) -> str:
    """Format the means by cell as an HTML table with at most MOST_CELLS rows."""
    if not len(table):
        return "<p>No run has ended yet.</p>\n"
    summary = cells(table)
    import pandas as pd  # noqa: PLC0415

    with pd.option_context("display.max_colwidth", None):
        text = summary.head(MOST_CELLS).to_html(
            index=False, escape=True, border=0, justify="unset", classes=[]
        )
    caption = (
        "Arithmetic means over seeds ± standard errors; in brackets how many runs have a value, "
        "where not all have."
    )
    head, tail = text.split(">", 1)
    more = ""
    if len(summary) > MOST_CELLS:
        left = len(summary) - MOST_CELLS
        more = (
            f'<p class="more">{left:,} more cells are not shown; the study\'s table has all.</p>\n'
        )
    return f'<div class="wide">\n{head}>\n<caption>{caption}</caption>{tail}\n</div>\n{more}'
