r"""A study on one page: HTML that needs nothing beside itself."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..._support import files
from ..._support.types import F64, I64
from ..figures.choose import auto_figures
from ..figures.labels import value_labels
from ..figures.points import average, factor

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

__all__ = ["auto_figures", "cells", "write"]


MOST_CELLS = 300  # rows of the table
LARGE = 200_000  # bytes from which a drawing is stored as pixels
ROUNDING = 1e-14  # relative errors below this are none
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
    r"""Write a report as one HTML file, without scripts and without resources from elsewhere.

    Parameters
    ----------
    path : path
        The file; it is written beside and renamed, so it is whole or absent.
    title : str
        Heading of the page.
    overview : mapping of str to str
        What the study is, by keyword.
    configuration : sequence of (str, str)
        Names and values that the study was given.
    figures : sequence of (str, matplotlib.figure.Figure)
        Captions and figures, in order.
    notes : sequence of str
        Findings in words, such as fitted laws; lines are kept.
    table : pandas.DataFrame
        Rows of the study: varied names, ``seed``, ``status``, measures. The page shows their means
        by cell, up to 300 cells.
    versions : mapping of str to str
        What the study ran with.

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
    The same arguments give the same bytes.
    """
    drawn = [_figure(i, text, figure) for i, (text, figure) in enumerate(figures, start=1)]
    remarks = "".join(f"<li>{escape(note)}</li>\n" for note in notes)
    parts = [
        _section("Overview", _pairs(overview.items())),
        _section("Figures", "".join(drawn)),
        _section("Notes", f"<ul>\n{remarks}</ul>\n" if remarks else ""),
        _section("Means by cell", _table(table)),
        _section("Configuration", _pairs(configuration, "code")),
        _section("Versions", _pairs(versions.items(), "code")),
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
    r"""Average the rows of a study by cell, as texts to be read.

    Parameters
    ----------
    table : pandas.DataFrame
        Rows of a study: varied names, ``seed``, ``status``, measures.

    Returns
    -------
    pandas.DataFrame
        A row per cell in the order of the table: its values, the number of runs and of those that
        failed (neither finished nor converged), and of each measure the arithmetic mean and its
        standard error, with the number of runs behind it where that is not all of them.

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
    group = np.zeros(len(table), dtype=np.int64)
    for one in factors:
        joint = group * len(one.values) + one.codes
        group = np.unique(joint, return_inverse=True)[1].astype(np.int64)
    found, first = np.unique(group, return_index=True)
    place = np.argsort(np.argsort(first))  # cells in the order of the table
    group, first = place[group], np.sort(first)
    runs = np.bincount(group, minlength=found.size)
    bad = ~np.isin(np.asarray(table["status"], dtype=str), ENDED_WELL)
    columns: dict[str, Any] = {}
    for one in factors:
        texts = np.array(value_labels(one.values, one.name, math_text=False), dtype=object)
        columns[one.name] = texts[one.codes[first]] if texts.size else []
    columns["runs"] = runs.astype(str)
    columns["failed"] = np.bincount(group[bad], minlength=found.size).astype(str)
    for name in measures:
        columns[name] = _means(np.asarray(table[name], dtype=np.float64), group, runs)
    return pd.DataFrame(columns)


def _means(values: F64, group: I64, runs: I64) -> list[str]:
    """Means with standard errors, and how many runs have a value where not all have."""
    mean, _, _, counted = average(values, group, runs.size, None, log=False)
    there = np.isfinite(values)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        squares = np.where(there, (values - mean[group]) ** 2, 0.0)
        error = np.sqrt(np.bincount(group, squares, runs.size) / (counted - 1) / counted)
    texts = []
    for cell in zip(mean.tolist(), error.tolist(), counted.tolist(), runs.tolist(), strict=True):
        middle, spread, count, of = cell
        text = f"{middle:.4g}" if count else "–"
        text += f" ± {spread:.2g}" if count > 1 and spread > ROUNDING * abs(middle) else ""
        texts.append(text + (f" ({count} of {of})" if 0 < count < of else ""))
    return texts


def _section(heading: str, content: str) -> str:
    """A part of the page; nothing where it is empty."""
    return f"<section>\n<h2>{heading}</h2>\n{content}</section>\n" if content else ""


def _pairs(pairs: Any, look: str = "") -> str:
    """Keywords with what they stand for."""
    rows = "".join(
        f"<div><dt>{escape(str(name))}</dt><dd>{escape(str(value))}</dd></div>\n"
        for name, value in pairs
    )
    opening = f'<dl class="{look}">' if look else "<dl>"
    return f"{opening}\n{rows}</dl>\n" if rows else ""


def _figure(number: int, text: str, figure: Figure) -> str:
    """A figure inside the page: curves as they are, or pixels where these are many."""
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


def _table(table: pandas.DataFrame) -> str:
    """Means by cell, the first of them where there are many."""
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
