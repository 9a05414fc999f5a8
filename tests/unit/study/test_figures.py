"""Figures of synthetic studies show the values of the table."""

import itertools
import math
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

import metaspan as ms

pd = pytest.importorskip("pandas")
pytest.importorskip("matplotlib")

from metaspan.study.figures.fitted import law_label, laws_text  # noqa: E402
from metaspan.study.figures.labels import equations, name_label, value_labels  # noqa: E402
from metaspan.study.figures.lines import heat, lines  # noqa: E402
from metaspan.study.laws.fits import fit_laws  # noqa: E402

SIZES = {"d": [100, 1000, 10_000, 100_000], "m_in": [10, 25]}


def study(grid, value, seeds=5, measure="dist", seed=0):
    """A table with `value(generator, cell)` as the measure of every run."""
    rng = np.random.default_rng(seed)
    rows = []
    for values in itertools.product(*grid.values()):
        cell = dict(zip(grid, values, strict=True))
        for i in range(seeds):
            rows.append({**cell, "seed": i, "status": "finished", measure: value(rng, cell)})
    return pd.DataFrame(rows)


def floor(rng, cell):
    return 0.003 * math.sqrt(cell["d"] / cell.get("m_in", 10)) * math.exp(0.1 * rng.normal())


def linear(rng, cell):
    return 5 + 0.001 * cell["d"] / 1000 + 0.1 * rng.normal()


def drawn(ax):
    """Return (x, y) of every line with markers except crosses, in the order of drawing."""
    return [
        np.array(line.get_data(), dtype=float)
        for line in ax.get_lines()
        if line.get_marker() not in ("None", "x", "_", "|", None)
    ]


def crosses(ax):
    """Places of crosses at means, and x of crosses on the axis."""
    found = [line for line in ax.get_lines() if line.get_marker() == "x" and line.get_xdata().size]
    at_means = [line for line in found if line.get_transform() == ax.transData]
    points = {(float(x), float(y)) for line in at_means for x, y in zip(*line.get_data())}  # noqa: B905
    return points, sorted(float(x) for one in found if one not in at_means for x in one.get_xdata())


def bars(ax):
    """Ends (low, high) of the intervals of each line."""
    segments = [np.array(c.get_segments()) for c in ax.collections]
    return [part[:, :, 1] for part in segments if part.size]


def texts(figure):
    """Texts of all keys."""
    keys = [*figure.legends, *(ax.get_legend() for ax in figure.axes if ax.get_legend())]
    return [text.get_text() for one in keys for text in one.get_texts()]


def test_lines_are_geometric_means_with_student_intervals():
    table = study(SIZES, floor)
    figure = lines(table, "d", "dist", hue="m_in", band=0.9, names=["d", "m_in"])
    (ax,) = figure.axes
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    for m_in, line, ends in zip(SIZES["m_in"], drawn(ax), bars(ax), strict=True):
        logs = np.log(table[table.m_in == m_in].pivot(index="seed", columns="d", values="dist"))
        low, high = stats.t.interval(0.9, 4, logs.mean(), stats.sem(logs))
        np.testing.assert_allclose(line, [SIZES["d"], np.exp(logs.mean())], rtol=1e-12)
        np.testing.assert_allclose(ends, np.exp(np.transpose([low, high])), rtol=1e-9)
    assert texts(figure) == [r"$m_{\mathrm{in}}$ = 10", r"$m_{\mathrm{in}}$ = 25"]
    figure.canvas.draw()


def test_lines_are_plain_means_within_a_decade():
    table = study(SIZES, linear)
    (ax,) = lines(table, "d", "dist", hue="m_in").axes
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "linear")
    means = table.groupby(["m_in", "d"])["dist"].mean().to_numpy().reshape(2, 4)
    np.testing.assert_allclose([line[1] for line in drawn(ax)], means, rtol=1e-12)


@pytest.mark.parametrize(
    ("d", "scale"), [([10, 100], "linear"), ([10, 201], "log"), ([0, 100], "linear")]
)
def test_scale_of_x_is_logarithmic_where_numbers_span_much(d, scale):
    (ax,) = lines(study({"d": d}, linear), "d", "dist").axes
    assert ax.get_xscale() == scale


def test_one_seed_has_points_without_intervals():
    table = study({"d": [1, 2, 3]}, linear, seeds=1)
    (ax,) = lines(table, "d", "dist").axes
    np.testing.assert_array_equal(drawn(ax)[0], [table.d, table.dist])
    assert not bars(ax)
    assert not bars(lines(study(SIZES, floor), "d", "dist", band=None).axes[0])


def test_intervals_of_many_points_are_a_band():
    table = study({"d": range(40)}, lambda rng, cell: 5 + 0.1 * rng.normal())
    (ax,) = lines(table, "d", "dist", band=0.5).axes
    values = table.pivot(index="seed", columns="d", values="dist")
    np.testing.assert_allclose(drawn(ax)[0][1], values.mean(), rtol=1e-12)
    (band,) = ax.collections
    corners = band.get_paths()[0].vertices
    ends = stats.t.interval(0.5, 4, values.mean(), stats.sem(values))
    assert corners[:, 1].min() == pytest.approx(ends[0].min())
    assert corners[:, 1].max() == pytest.approx(ends[1].max())


def test_intervals_far_out_do_not_squeeze_the_means():
    table = pd.DataFrame({"d": [1, 1, 2, 2], "seed": [0, 1, 0, 1], "dist": [1.0, 9.0, 5.0, 6.0]})
    (ax,) = lines(table, "d", "dist").axes
    assert bars(ax)[0].min() < -40
    low, high = ax.get_ylim()
    assert 0 < low < 5
    assert 5.5 < high < 10


def test_columns_are_axes_on_the_same_scales():
    grid = {**SIZES, "k": [5, 10, 20]}
    table = study(grid, floor)
    figure = lines(table, "d", "dist", hue="m_in", col="k", names=list(grid))
    assert [ax.get_title(loc="left") for ax in figure.axes] == [f"$k$ = {k}" for k in grid["k"]]
    assert len({ax.get_ylim() for ax in figure.axes}) == 1
    for k, ax in zip(grid["k"], figure.axes, strict=True):
        part = table[table.k == k].groupby(["m_in", "d"])["dist"].apply(stats.gmean)
        np.testing.assert_allclose(
            [line[1] for line in drawn(ax)], part.to_numpy().reshape(2, 4), rtol=1e-12
        )
    figure.canvas.draw()


def test_values_that_are_no_numbers_stand_side_by_side():
    methods = [ms.MAML(alpha=0.05), ms.ANIL(first_order=True), ms.AverageRisk()]
    table = study({"method": methods, "k": [5, 10]}, linear_in_k)
    figure = lines(table, "method", "dist", hue="k", names=["method", "k"])
    (ax,) = figure.axes
    names = [label.get_text() for label in ax.get_xticklabels()]
    assert names == ["Exact MAML", "FO-ANIL", "average risk"]
    five, ten = drawn(ax)
    np.testing.assert_allclose((five[0] + ten[0]) / 2, [0, 1, 2], atol=1e-12)
    assert (five[0] < ten[0]).all()
    assert not [line for line in ax.get_lines() if line.get_linestyle() not in ("None", "none")]
    figure.canvas.draw()


def linear_in_k(rng, cell):
    return cell["k"] + 0.1 * rng.normal()


def partly(table, d, seeds):
    """Runs of one d that never got there."""
    table = table.copy()
    table.loc[(table.d == d) & table.seed.isin(seeds), "dist"] = np.nan
    return table


def test_points_of_a_part_of_the_runs_are_crosses_with_their_number():
    table = partly(study({"d": SIZES["d"]}, floor), 1000, [0, 3])
    figure = lines(table, "d", "dist")
    (ax,) = figure.axes
    rest = table[(table.d == 1000) & ~table.seed.isin([0, 3])]["dist"]
    found, on_axis = crosses(ax)
    assert on_axis == []
    np.testing.assert_allclose(list(found), [(1000, stats.gmean(rest))], rtol=1e-12)
    assert [text.get_text() for text in ax.texts] == ["3/5"]
    assert np.isnan(drawn(ax)[0][1]).tolist() == [False, True, False, False]
    assert "3/5: 3 of 5" in figure.get_supxlabel()


@pytest.mark.parametrize("gone", [np.nan, np.inf])
def test_points_without_any_run_are_crosses_on_the_axis(gone):
    table = study({"d": SIZES["d"]}, floor)
    table.loc[table.d == 10_000, "dist"] = gone
    figure = lines(table, "d", "dist")
    (ax,) = figure.axes
    assert crosses(ax) == (set(), [10_000])
    assert np.isnan(drawn(ax)[0][1]).tolist() == [False, False, True, False]
    assert "no run has a value" in figure.get_supxlabel()
    figure.canvas.draw()


def test_caption_is_left_out_where_all_runs_count():
    assert lines(study(SIZES, floor), "d", "dist", hue="m_in").get_supxlabel() == ""


def test_figures_of_no_value_at_all_can_be_drawn():
    table = study(SIZES, lambda rng, cell: np.nan)
    lines(table, "d", "dist", hue="m_in").canvas.draw()
    heat(table, "d", "m_in", "dist").canvas.draw()


def test_fit_is_the_power_law_of_the_table():
    table = study({"d": SIZES["d"]}, floor)
    table["dist"] *= np.exp(-np.log(table.dist) + np.log(0.003 * table.d**0.5))
    figure = lines(table, "d", "dist", fit=True)
    (ax,) = figure.axes
    (curve,) = [line for line in ax.get_lines() if line.is_dashed()]
    x, y = curve.get_data()
    np.testing.assert_allclose(y, 0.003 * np.sqrt(x), rtol=1e-6)
    assert (x[0], x[-1]) == (100, 100_000)
    (text,) = texts(figure)
    assert text.startswith(r"$\propto\, d^{0.5")


def test_fit_leaves_out_points_of_a_part_of_the_runs():
    table = study({"d": SIZES["d"]}, lambda rng, cell: cell["d"] ** 0.5)
    table.loc[(table.d == 1000) & (table.seed > 0), "dist"] = np.nan
    table.loc[(table.d == 1000) & (table.seed == 0), "dist"] = 1e6
    (ax,) = lines(table, "d", "dist", fit=True).axes
    (curve,) = [line for line in ax.get_lines() if line.is_dashed()]
    np.testing.assert_allclose(curve.get_ydata(), np.sqrt(curve.get_xdata()), rtol=1e-6)


def test_fit_says_what_it_cannot_tell_apart():
    table = study(
        {"d": [100, 130, 170, 200]}, lambda r, c: c["d"] ** 0.5 * math.exp(0.2 * r.normal())
    )
    (text,) = texts(lines(table, "d", "dist", fit=True))
    assert "not told from" in text


def test_law_reads_as_many_digits_as_its_interval_bears():
    def law(name, b, low, high):
        return type("Law", (), {"name": name, "b": b, "b_interval": (low, high)})()

    assert law_label(law("power", 0.5034, 0.49, 0.513), "d") == (
        r"$\propto\, d^{0.503}$ [0.490, 0.513]"
    )
    assert (
        law_label(law("power", -1.04, -1.3, -0.8), "n") == r"$\propto\, n^{-1.04}$ [−1.30, −0.80]"
    )
    assert law_label(law("logarithm", 71.9, 64, 80), "price") == r"$a + 72\, \log x$ [64, 80]"
    nan = float("nan")
    assert law_label(law("exponential", 2.0, nan, nan), "k") == r"$\propto\, \exp(2\, k)$"


def test_names_that_vary_unseen_are_refused():
    table = study({**SIZES, "k": [5, 10]}, floor)
    message = r"m_in varies too \(10, 25\): use it as hue or col, or choose one with where=dict"
    with pytest.raises(ValueError, match=message):
        lines(table, "d", "dist", hue="k", names=["d", "m_in", "k"])
    with pytest.raises(ValueError, match=r"where=dict\(m_in=10\)$"):
        heat(table, "d", "k", "dist", names=["d", "m_in", "k"])
    lines(table[table.m_in == 10], "d", "dist", hue="k", names=["d", "m_in", "k"])


def test_names_that_follow_from_what_is_shown_are_welcome():
    table = study({"d": [100, 1000], "k": [5, 10]}, floor)
    table["n"] = 4 * table.k
    table["both"] = table.d * table.k
    lines(table, "d", "dist", hue="k", names=["d", "n", "both"])
    with pytest.raises(ValueError, match="both varies too"):
        lines(table[table.k == 5], "k", "dist", names=["d", "both"][1:])


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (
            ("dd", "dist"),
            {},
            r"x must be one of the columns \(d, m_in, seed, status, dist\); got 'dd'",
        ),
        (("d", "rate"), {}, "y must be one of the columns"),
        (("d", "dist"), {"hue": "q"}, "hue must be one of the columns"),
        (("d", "dist"), {"band": 95}, "band must be None or lie between 0 and 1; got 95"),
        (("status", "dist"), {"fit": True}, "fit=True needs numbers for x; status holds others"),
        (("d", "seed"), {"fit": True}, "fit=True needs positive values; seed has 0 among them"),
    ],
)
def test_lines_refuses_with_one_sentence(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        lines(study(SIZES, floor), *arguments, **options)


def test_tables_that_cannot_be_drawn_are_refused():
    table = study(SIZES, floor)
    with pytest.raises(TypeError, match="y must be a column of numbers; 'status' holds others"):
        lines(table, "d", "status")
    with pytest.raises(ValueError, match="table must hold at least one row; got none"):
        lines(table[:0], "d", "dist")
    many = study({"d": range(30)}, lambda rng, cell: 1.0)
    with pytest.raises(ValueError, match=r"hue must take at most 24 values; d has 30"):
        lines(many, "seed", "dist", hue="d")


def test_heat_is_the_table_of_means():
    grid = {"d": [100, 1000, 10_000], "m_in": [10, 25]}
    table = study(grid, floor)
    table.loc[(table.d == 100) & (table.m_in == 25), "dist"] = np.nan
    table.loc[(table.d == 1000) & (table.m_in == 25) & (table.seed == 2), "dist"] = np.nan
    table = table[~((table.d == 10_000) & (table.m_in == 25))]
    figure = heat(table, "d", "m_in", "dist", names=list(grid))
    ax, bar = figure.axes
    assert bar.get_yscale() == "log"
    means = table.dropna().groupby(["d", "m_in"])["dist"].apply(stats.gmean)
    shown = {text.get_position(): text.get_text() for text in ax.texts}
    assert shown == {
        (0, 0): f"{means[100, 10]:#.3g}",
        (1, 0): f"{means[1000, 10]:#.3g}",
        (2, 0): f"{means[10_000, 10]:#.3g}",
        (1, 1): f"{means[1000, 25]:#.3g}\n4/5",
    }
    hatched = [patch.get_xy() for patch in ax.patches if patch.get_hatch()]
    assert hatched == [(-0.5, 0.5)]
    assert len(ax.patches) == 5
    assert [label.get_text() for label in ax.get_yticklabels()] == ["10", "25"]
    for part in ("4/5: 4 of 5", "cross-hatched: no run has a value", "white: no runs"):
        assert part in figure.get_supxlabel()
    figure.canvas.draw()


def test_heat_shares_one_scale_of_colours_over_columns():
    from matplotlib import colormaps  # noqa: PLC0415
    from matplotlib.colors import LogNorm  # noqa: PLC0415

    table = study({**SIZES, "k": [5, 10]}, lambda rng, c: c["d"] * c["m_in"] * float(c["k"]), 2)
    figure = heat(table, "d", "m_in", "dist", col="k")
    assert len(figure.axes) == 3
    norm = LogNorm(100 * 10 * 5, 1e5 * 25 * 10)
    for k, ax in zip([5, 10], figure.axes, strict=False):
        first = ax.patches[0]
        assert first.get_facecolor() == pytest.approx(colormaps["viridis"](norm(100 * 10 * k)))


def test_objects_of_equal_content_are_one_value():
    def heads(cov):
        return ms.GaussianHeads(cov=cov)

    laws = [heads([1.0, 2.0]), heads([1.0, 3.0]), heads([1.0, 2.0])]
    table = pd.DataFrame({"heads": laws, "seed": [0, 0, 1], "dist": [1.0, 5.0, 3.0]})
    (ax,) = lines(table, "heads", "dist").axes
    np.testing.assert_allclose(drawn(ax)[0], [[0, 1], [2, 5]])
    names = [label.get_text() for label in ax.get_xticklabels()]
    assert names == ["GaussianHeads(cov=[1, 2])", "GaussianHeads(cov=[1, 3])"]


def test_labels_read_as_mathematics():
    assert name_label("mu2") == r"$\mu^2$"
    assert name_label("alpha") == r"$\alpha$"
    assert name_label("rounds_to:2e-6") == (r"rounds until $\mathrm{dist} \leq 2 \times 10^{-6}$")
    assert name_label("risk:25") == "excess risk after 25 samples"
    assert name_label("cost $ of $") == r"cost \$ of \$"
    assert equations("d", [100, 10**6]) == ["$d$ = $10^{2}$", "$d$ = $10^{6}$"]
    assert equations("fresh", [True, False, None], False) == [
        "fresh = yes", "fresh = no", "fresh = none",
    ]  # fmt: skip


def test_labels_of_different_values_differ():
    maml = [ms.MAML(alpha=0.1, inner_steps=2), ms.MAML(alpha=0.2), ms.ANIL()]
    assert value_labels(maml, math_text=False) == [
        "Exact MAML, alpha = 0.1, inner_steps = 2",
        "Exact MAML, alpha = 0.2, inner_steps = 1",
        "Exact ANIL",
    ]
    for values in ([0.1, 0.1 + 1e-12], ["a" * 60 + "b", "a" * 60 + "c"], [object(), object()]):
        assert len(set(value_labels(values))) == 2


def test_hostile_texts_can_be_drawn():
    names = [r"$\frac{$", r"\notacommand $x$", "<b>", "$$"]
    table = study({"na$me$ \\": names}, lambda rng, cell: 1.0, measure="y$_{$")
    lines(table, "na$me$ \\", "y$_{$").canvas.draw()
    lines(table, "seed", "y$_{$", hue="na$me$ \\").canvas.draw()


def test_figures_leave_the_global_state_of_matplotlib_alone():
    source = """
import sys, matplotlib, pandas as pd
from metaspan.study.figures.heat import heat
from metaspan.study.figures.lines import lines
before = dict(matplotlib.rcParams)
table = pd.DataFrame({"d": [1, 100], "k": [2, 3], "seed": 0, "dist": [0.1, 1.5]})
lines(table, "d", "dist", hue="k").canvas.draw()
heat(table, "d", "k", "dist").canvas.draw()
assert "matplotlib.pyplot" not in sys.modules
assert dict(matplotlib.rcParams) == before
"""
    subprocess.run([sys.executable, "-c", source], check=True, timeout=60)


def test_objects_that_are_numbers_are_in_the_order_of_numbers():
    column = np.array([30, 2.5, 30, np.int64(4)], dtype=object)
    table = pd.DataFrame({"price": column, "seed": 0, "dist": [3.0, 1.0, 3.0, 2.0]})
    (ax,) = lines(table, "price", "dist").axes
    np.testing.assert_allclose(drawn(ax)[0], [[2.5, 4, 30], [1, 2, 3]])


def test_lists_of_equal_entries_are_one_value():
    column = [[1, math.nan], [1, 2], [1, math.nan], (1, 2)]
    table = pd.DataFrame({"sizes": column, "seed": [0, 0, 1, 0], "dist": [1.0, 5.0, 3.0, 7.0]})
    (ax,) = lines(table, "sizes", "dist").axes
    np.testing.assert_allclose(drawn(ax)[0], [[0, 1, 2], [2, 5, 7]])


def test_labels_of_what_has_no_notation_stay_as_they_are():
    assert name_label("price:25") == "price:25"
    private = [ms.ANIL(), ms.ANIL(privacy=ms.UserDP(clip=1, multiplier=0.5))]
    assert value_labels(private, math_text=False) == [
        "Exact ANIL, privacy = none",
        "Exact ANIL, privacy = UserDP(clip=1.0, multiplier=0.5)",
    ]
    assert value_labels([math.inf, -math.inf], math_text=False) == ["inf", "-inf"]
    assert value_labels([math.sqrt, floor]) == ["sqrt", "floor"]
    assert value_labels(["anil", "another"], "method") == ["Exact ANIL", "another"]


@pytest.mark.parametrize("value", [3.0, -3.0])
def test_heat_of_one_value_has_a_scale(value):
    figure = heat(
        study({"d": [10, 20], "m_in": [10, 25]}, lambda rng, c: value), "d", "m_in", "dist"
    )
    low, high = figure.axes[1].get_ylim()
    assert low < value < high


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        ("d", TypeError, "names must be a list of columns; got 'd'"),
        (["price"], ValueError, "names must be columns of the table; got 'price'"),
    ],
)
def test_names_that_are_no_columns_are_refused(names, error, message):
    with pytest.raises(error, match=message):
        lines(study({"d": [10, 20]}, floor), "d", "dist", names=names)


def test_a_label_names_every_law_that_is_not_told_from_the_best():
    rng = np.random.default_rng(1)
    x = np.repeat([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 4)
    scale = rng.uniform(0.3, 1)
    y = np.exp(0.3 * scale * np.log(x) + 0.15 * rng.standard_normal(24))
    laws = fit_laws(x, y)
    rivals = {law.name for law in laws.rivals} - {laws.best.name}
    assert len(rivals) == 2
    _, _, named = laws_text(laws, "d").partition("not told from ")
    assert set(named.rstrip(")").split(" or ")) == rivals
