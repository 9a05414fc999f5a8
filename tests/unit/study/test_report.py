"""Reports of synthetic studies show the values of the table."""

import base64
import itertools
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from scipy import stats

import metaspan as ms

pd = pytest.importorskip("pandas")
pytest.importorskip("matplotlib")

from metaspan.study.report import page as report  # noqa: E402
from metaspan.study.report.page import auto_figures, cells, write  # noqa: E402

VOID = {"meta", "img", "br", "hr"}


class Page(HTMLParser):
    """Elements, texts and attributes of a page; every element must be closed in its order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.rows = [], [], [], []
        self.words = {}
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open:
            self.words.setdefault(self.open[-1], []).append(data)
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data

    def text(self, tag):
        return "".join(self.words.get(tag, []))


def study(grid, seeds=4, seed=0):
    """A table of random measures."""
    rng = np.random.default_rng(seed)
    cells_ = itertools.product(*grid.values(), range(seeds))
    table = pd.DataFrame([dict(zip([*grid, "seed"], values, strict=True)) for values in cells_])
    table["status"] = "finished"
    table["dist"] = np.exp(rng.normal(size=len(table)))
    table["rate"] = rng.uniform(1, 2, size=len(table))
    table["seconds"] = 0.5
    return table


def page(path, table, **parts):
    """The report of a table, parsed, and its text."""
    given = {
        "title": "A study",
        "overview": {"runs": "8"},
        "configuration": [("d", "[10, 100]")],
        "figures": [],
        "notes": [],
        "versions": {"numpy": "some"},
    }
    write(path, table=table, **(given | parts))
    text = path.read_text(encoding="utf-8")
    return Page(text), text


def test_report_is_one_page_without_scripts_and_links(tmp_path):
    table = study({"d": [10, 100, 1000], "k": [2, 5]})
    figures = auto_figures(table, ["d", "k"], ["dist", "rate", "seconds"])
    found, text = page(tmp_path / "report.html", table, figures=figures, notes=["a law\nof two"])
    assert text.startswith("<!DOCTYPE html>\n")
    assert ("html", "lang", "en") in found.attributes
    assert not re.search(r"https?:|//|<script|<link|<iframe|url\(|@import", strip_data(text))
    assert found.tags.count("h1") == found.tags.count("title") == found.tags.count("caption") == 1
    assert found.tags.count("figure") == found.tags.count("figcaption") == 2
    assert found.words["h2"] == [
        "Overview", "Figures", "Notes", "Means by cell", "Configuration", "Versions",
    ]  # fmt: skip
    assert found.text("li") == "a law\nof two"
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


def strip_data(text):
    """Remove the data of embedded images from a page."""
    return re.sub(r"data:image/[\w+]+;base64,[\w+/=]+", "", text)


def test_figures_stand_inside_the_page_with_texts_for_those_who_cannot_see_them(tmp_path):
    table = study({"d": [10, 100, 1000]})
    figures = auto_figures(table, ["d"], ["dist"])
    found, _ = page(tmp_path / "report.html", table, figures=figures)
    image = {name: value for tag, name, value in found.attributes if tag == "img"}
    kind, data = image["src"].split(";base64,")
    assert kind == "data:image/svg+xml"
    drawing = base64.b64decode(data).decode()
    assert "<svg" in drawing
    assert "<script" not in drawing
    assert not re.search(r'(href|src)="(?!#)', drawing)
    assert image["alt"] == f"Plot: {figures[0][0]}"
    assert found.text("figcaption") == f"Figure 1. {figures[0][0]}"
    assert int(image["width"]) == round(96 * figures[0][1].get_figwidth())


def test_drawings_of_many_curves_are_pixels(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "LARGE", 100)
    table = study({"d": [10, 100, 1000]})
    _, text = page(tmp_path / "a.html", table, figures=auto_figures(table, ["d"], ["dist"]))
    data = re.search(r"data:image/png;base64,([\w+/=]+)", text)[1]
    assert base64.b64decode(data).startswith(b"\x89PNG")


def test_table_holds_means_standard_errors_and_failures(tmp_path):
    table = study({"d": [100, 10], "method": [ms.MAML(), ms.ANIL(first_order=True)]})
    gone = (table.d == 10) & (table.method == ms.MAML()) & (table.seed < 3)
    table.loc[gone, ["dist", "rate"]] = np.nan
    table.loc[gone, "status"] = ["diverged", "failed", "converged"]
    found, _ = page(tmp_path / "report.html", table)
    head, *rows = found.rows
    assert head == ["d", "method", "runs", "failed", "dist", "rate", "seconds"]
    assert [row[:4] for row in rows] == [
        ["100", "Exact MAML", "4", "0"],
        ["100", "FO-ANIL", "4", "0"],
        ["10", "Exact MAML", "4", "2"],
        ["10", "FO-ANIL", "4", "0"],
    ]
    first = table[:4].dist
    assert rows[0][4] == f"{first.mean():.2f} ± {stats.sem(first):.2f}"
    assert rows[2][4] == f"{table.dist[11]:.3f} (1 of 4)"
    assert rows[3][6] == "0.5"
    table["dist"] = np.nan
    assert cells(table)["dist"].tolist() == ["–"] * 4


def test_table_is_cut_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "MOST_CELLS", 7)
    found, _ = page(tmp_path / "report.html", study({"d": range(10)}, seeds=1))
    assert [row[0] for row in found.rows] == ["d", *(str(d) for d in range(7))]
    assert "3 more cells are not shown" in found.text("p")
    found, _ = page(tmp_path / "report.html", study({"d": range(7)}, seeds=1))
    assert "more cells" not in found.text("p")


def test_table_of_a_study_that_varies_nothing_has_one_row():
    table = study({"d": [10]})[["seed", "status", "dist"]]
    found = cells(table)
    assert found["runs"].tolist() == ["4"]
    assert list(found) == ["runs", "failed", "dist"]


def test_hostile_texts_stay_texts(tmp_path):
    bad = "<script>alert('1')</script> & \"q\" $\\frac{$ \ud800"
    clean = bad[:-1] + "?"
    table = study({bad[:-1]: [f"{bad[:-1]}{i}" for i in range(2)]})
    table.columns = [*table.columns[:-1], "</table><img src=x onerror=y>"]
    figures = [(clean, auto_figures(table, [bad[:-1]], ["dist"])[0][1])]
    found, text = page(
        tmp_path / "report.html",
        table,
        title=bad,
        overview={bad: bad},
        configuration=[(bad, bad)],
        figures=figures,
        notes=[bad],
        versions={bad: bad},
    )
    assert "<script" not in text
    assert "onerror" not in {name for _, name, _ in found.attributes}
    assert found.tags.count("img") == 1
    assert found.text("h1") == found.text("title") == found.text("li") == clean
    assert found.words["dt"] == found.words["dd"] == [clean] * 3
    assert found.rows[0][0] == bad[:-1].strip()
    assert found.rows[0][-1] == "</table><img src=x onerror=y>"


def test_reports_of_the_same_study_are_the_same(tmp_path):
    def once(name):
        table = study({"d": [10, 100], "k": [2, 5]})
        figures = auto_figures(table, ["d", "k"], ["dist", "rate"])
        return page(tmp_path / name, table, figures=figures)[1]

    assert once("a.html") == once("b.html")


def test_report_is_whole_or_absent(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("before")
    broken = study({"d": [1, 2]}).drop(columns="status")
    with pytest.raises(ValueError, match="must have the columns seed and status; it lacks status"):
        page(path, broken)
    assert path.read_text() == "before"
    with pytest.raises(FileNotFoundError):
        page(tmp_path / "no" / "report.html", study({"d": [1, 2]}))
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]


def test_report_without_runs_says_so(tmp_path):
    empty = study({"d": [1]})[:0]
    assert auto_figures(empty, ["d"], ["dist"]) == []
    found, _ = page(tmp_path / "report.html", empty)
    assert found.text("p") == "No run has ended yet."


def shape(figure):
    """(x label, entries of the key, titles) of a figure."""
    keys = [*figure.legends, *(ax.get_legend() for ax in figure.axes if ax.get_legend())]
    entries = [text.get_text() for key in keys for text in key.get_texts()]
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    return figure.axes[0].get_xlabel(), entries, titles


def test_automatic_figures_show_the_longest_numeric_name_as_axis():
    grid = {"n": [4, 5], "d": range(10, 19), "k": [1, 2, 3], "method": ["anil", "maml"]}
    table = study({**grid, "noise": [0.5, 0.1]}, seeds=2)
    figures = auto_figures(table, [*grid, "noise"], ["dist", "rate", "seconds"])
    assert len(figures) == 2
    text, figure = figures[0]
    x, entries, titles = shape(figure)
    assert x == "$d$"
    assert entries == ["$k$ = 1", "$k$ = 2", "$k$ = 3"]
    assert titles == ["$n$ = 4", "$n$ = 5"]
    assert text.startswith("dist(B_T, B_*) against d, k by colour and n by columns. ")
    assert ". method: Exact ANIL, noise = 0.5. " in text
    part = table[(table.n == 4) & (table.k == 1) & (table.method == "anil") & (table.noise == 0.5)]
    line = figure.axes[0].get_lines()
    drawn = next(one for one in line if one.get_marker() == "o").get_ydata()
    np.testing.assert_allclose(drawn, part.groupby("d")["dist"].apply(stats.gmean), rtol=1e-12)


def test_automatic_figures_of_words_stand_side_by_side():
    table = study({"method": ["anil", "maml", "fo-maml"]})
    ((text, figure),) = auto_figures(table, ["method"], ["dist"])
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == [
        "Exact ANIL", "Exact MAML", "FO-MAML",
    ]  # fmt: skip
    assert text.startswith("dist(B_T, B_*) against method. Geometric means over seeds, with ")


def test_captions_of_single_runs_speak_of_no_means():
    ((text, _),) = auto_figures(study({"d": [10, 20]}, seeds=1), ["d"], ["rate"])
    assert text == "Fall of log dist per round against d."


def test_automatic_figures_are_none_where_there_is_nothing_to_see():
    table = study({"d": [10]})
    assert auto_figures(table, ["d"], ["dist"]) == []
    assert auto_figures(table, [], ["dist"]) == []
    table = study({"d": [10, 20]}).assign(dist=np.nan)
    assert auto_figures(table, ["d"], ["dist"]) == []


def test_automatic_figures_hold_no_name_that_follows_from_others():
    table = study({"d": [10, 20], "k": range(1, 12)})
    table.insert(2, "m", 5 * table.k)
    ((text, _),) = auto_figures(table, ["d", "k", "m"], ["rate"])
    assert text.startswith("Fall of log dist per round against k, d by colour. ")


def test_report_of_many_runs_is_small(tmp_path):
    rng = np.random.default_rng(0)
    rows = 20_000
    table = pd.DataFrame({"d": np.arange(rows) // 4, "seed": np.arange(rows) % 4})
    table["status"] = "finished"
    table["dist"] = rng.uniform(0.1, 1, rows)
    figures = auto_figures(table, ["d"], ["dist"])
    _, text = page(tmp_path / "report.html", table, figures=figures)
    assert len(text) < 10**6
    assert "4,700 more cells are not shown" in text
