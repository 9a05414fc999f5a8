"""Scales of a study's figures, labels that do not overlap, and extrapolated laws."""

import itertools
import re

import numpy as np
import pytest

pd = pytest.importorskip("pandas")
pytest.importorskip("matplotlib")

from matplotlib.collections import PolyCollection  # noqa: E402

from metaspan.study.figures.lines import heat, lines  # noqa: E402
from metaspan.study.figures.ticks import log_tick_texts, tick_texts  # noqa: E402
from metaspan.study.laws.fits import fit_laws  # noqa: E402


def study(grid, value, seeds=4, scatter=0.02):
    """A table with `value(cell)` as the measure, up to a relative scatter."""
    rng = np.random.default_rng(0)
    rows = []
    for values in itertools.product(*grid.values()):
        cell = dict(zip(grid, values, strict=True))
        noise = np.exp(scatter * rng.standard_normal(seeds))
        rows += [{**cell, "seed": i, "dist": value(cell) * noise[i]} for i in range(seeds)]
    return pd.DataFrame(rows)


def boxes(ax, side):
    """Extents of the tick labels that are seen, and whether the labels are rotated.

    The figure has been laid out.
    """
    axis = getattr(ax, f"{side}axis")
    low, high = sorted(axis.get_view_interval())
    seen = [
        tick.label1
        for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]
        if tick.label1.get_visible()
        and tick.label1.get_text()
        and low * 0.999 <= tick.get_loc() <= high * 1.001
    ]
    rotated = any(label.get_rotation() for label in seen)
    return [label.get_window_extent() for label in seen], rotated


def overlap(ax, side):
    found, rotated = boxes(ax, side)
    assert found or not ax.get_subplotspec().is_first_col()
    if rotated:
        return False
    return any(a.overlaps(b) for a, b in itertools.combinations(found, 2))


def power(cell):
    return cell["n"] ** -0.5


CROWDED = {
    "doubles": dict(n=[100, 200, 400, 800, 1600]),
    "doubles in columns": dict(n=[100, 200, 400, 800, 1600, 3200, 6400], k=[1, 2, 3, 4]),
    "odd numbers": dict(n=[10_000, 10_007, 20_000, 20_011, 30_000], k=[1, 2, 3, 4]),
    "near one": dict(n=[1.0001, 1.0002, 1.0003, 1.00035, 1.5]),
    "decades": dict(n=[10.0**power for power in range(0, 13)], k=[1, 2, 3, 4]),
    "many": dict(n=list(range(100_000, 160_000, 1000)), k=[1, 2]),
}


@pytest.mark.parametrize("grid", CROWDED.values(), ids=CROWDED)
@pytest.mark.parametrize("fit", [False, True])
def test_labels_of_ticks_do_not_overlap(grid, fit):
    col = "k" if "k" in grid else None
    figure = lines(study(grid, power), "n", "dist", col=col, fit=fit)
    figure.draw_without_rendering()
    for ax, side in itertools.product(figure.axes, "xy"):
        assert not overlap(ax, side)


def test_words_that_would_overlap_are_rotated():
    words = ["Exact ANIL", "Exact MAML", "average risk", "altmin-gd", "split-spectral"]
    table = study(dict(method=words, k=[1, 2]), lambda cell: 1.0)
    (ax, _) = lines(table, "method", "dist", col="k").axes
    ax.figure.draw_without_rendering()
    assert boxes(ax, "x")[1]
    (ax,) = lines(table[(table.k == 1) & table.method.isin(words[:2])], "method", "dist").axes
    ax.figure.draw_without_rendering()
    assert not boxes(ax, "x")[1]
    assert not overlap(ax, "x")


def test_labels_of_maps_do_not_overlap():
    grid = dict(d=list(range(10_000, 22_000, 1000)), n=[1, 2], k=[1, 2, 3])
    figure = heat(study(grid, lambda cell: cell["d"]), "d", "n", "dist", col="k")
    figure.draw_without_rendering()
    for ax, side in itertools.product(figure.axes[:3], "xy"):
        assert not overlap(ax, side)


@pytest.mark.parametrize("value", [3e-8, 1e-4, 0.5, 1e4, 2.5e9])
def test_axes_have_no_offset_beside_them(value):
    table = study(dict(n=[1, 2, 3]), lambda cell: value * (1 + 1e-3 * cell["n"]), scatter=1e-5)
    (ax,) = lines(table, "n", "dist").axes
    ax.figure.draw_without_rendering()
    assert ax.yaxis.get_offset_text().get_text() == ""
    low, high = ax.get_ylim()
    at = [tick for tick in ax.get_yticks() if low <= tick <= high]
    labels = [label for tick, label in zip(ax.get_yticks(), ax.get_yticklabels(), strict=True)
              if low <= tick <= high]  # fmt: skip
    read = [read_number(label.get_text()) for label in labels]
    np.testing.assert_allclose(read, at, rtol=1e-9)


def read_number(text):
    """The number that a label shows."""
    plain = re.sub(r"\\mathdefault|[${},]", "", text).replace("−", "-")
    mantissa, _, power = plain.partition(r" \times 10^")
    return float(mantissa) * 10.0 ** int(power or 0)


def test_labels_of_one_axis_have_equal_decimals():
    assert tick_texts([-1, 0, 1]) == ["−1", "0", "1"]
    assert tick_texts([0.002, 0.0025]) == ["0.0020", "0.0025"]
    assert tick_texts([0, 2e6]) == ["0", r"$\mathdefault{2 \times 10^{6}}$"]
    assert log_tick_texts([1e-6, 2e-6]) == [
        r"$\mathdefault{10^{-6}}$",
        r"$\mathdefault{2 \times 10^{-6}}$",
    ]


LAWS = {
    "power": lambda cell: cell["n"] ** -0.5,
    "logarithm": lambda cell: 5 + 0.2 * np.log(cell["n"]),
    "exponential": lambda cell: np.exp(-cell["n"] / 700),
}


@pytest.mark.parametrize(
    ("name", "scales"),
    [
        ("power", ("log", "log")),
        ("logarithm", ("log", "linear")),
        ("exponential", ("linear", "log")),
    ],
)
def test_axes_make_the_fitted_law_a_straight_line(name, scales):
    # All values of y are within a decade and those of n are evenly spaced.
    table = study(dict(n=[100, 350, 600, 850, 1100]), LAWS[name], scatter=1e-4)
    (ax,) = lines(table, "n", "dist", fit=True).axes
    assert (ax.get_xscale(), ax.get_yscale()) == scales
    (curve,) = [line for line in ax.get_lines() if line.is_dashed()]
    x, y = ax.transData.transform(np.transpose(curve.get_data())).T
    np.testing.assert_allclose(y, np.polyval(np.polyfit(x, y, 1), x), atol=0.2)
    (ax,) = lines(table, "n", "dist").axes
    assert (ax.get_xscale(), ax.get_yscale()) == ("linear", "linear")


@pytest.mark.parametrize("log", ["", "x", "y", "xy"])
def test_log_chooses_the_axes(log):
    table = study(dict(n=[100, 350, 600]), power, scatter=0.5)
    (ax,) = lines(table, "n", "dist", log=log, fit=True).axes
    assert (ax.get_xscale() == "log", ax.get_yscale() == "log") == ("x" in log, "y" in log)
    (mean,) = [line for line in ax.get_lines() if line.get_marker() == "o"]
    by = table.groupby("n")["dist"]
    wanted = np.exp(by.apply(lambda v: np.log(v).mean())) if "y" in log else by.mean()
    np.testing.assert_allclose(mean.get_ydata(), wanted, rtol=1e-12)


def test_scales_that_cannot_be_are_refused():
    table = study(dict(n=[0, 1, 2]), lambda cell: cell["n"] - 1.0)
    with pytest.raises(ValueError, match="log='x' needs positive numbers for x; n has others"):
        lines(table, "n", "dist", log="x")
    with pytest.raises(ValueError, match="log='y' needs positive values of y; got -1"):
        lines(table, "n", "dist", log="y")
    with pytest.raises(ValueError, match="log must be"):
        lines(table, "n", "dist", log="z")


@pytest.mark.parametrize("to", [10_000, 10])
def test_extrapolated_laws_look_different_and_have_their_interval(to):
    table = study(dict(n=[100, 200, 400, 800]), power)
    (ax,) = lines(table, "n", "dist", fit=True, extrapolate=to).axes
    law = fit_laws(table.n, table.dist).best
    fitted, beyond = [line for line in ax.get_lines() if line.is_dashed()]
    assert fitted.get_linestyle() == beyond.get_linestyle() == "--"
    assert fitted._unscaled_dash_pattern != beyond._unscaled_dash_pattern
    x, y = beyond.get_data()
    assert (x[0], x[-1]) == ((800, to) if to > 800 else (to, 100))
    np.testing.assert_allclose(y, law(x))
    (band,) = [part for part in ax.collections if isinstance(part, PolyCollection)]
    corners = band.get_paths()[0].vertices
    low, high = law.interval(to)
    at_end = corners[np.isclose(corners[:, 0], to), 1]
    assert at_end.min() == pytest.approx(float(low))
    assert at_end.max() == pytest.approx(float(high))
    assert ax.get_xlim()[0] < to < ax.get_xlim()[1]
    assert ax.get_ylim()[0] < law(to) < ax.get_ylim()[1]


def test_extrapolations_without_a_law_are_refused():
    table = study(dict(n=[100, 200]), power)
    with pytest.raises(ValueError, match="extrapolate needs fit=True"):
        lines(table, "n", "dist", extrapolate=1000)
    with pytest.raises(ValueError, match="extrapolate must be positive, as all x are; got -1"):
        lines(table, "n", "dist", fit=True, extrapolate=-1)
    with pytest.raises(TypeError, match="extrapolate must be"):
        lines(table, "n", "dist", fit=True, extrapolate="far")


def test_predictions_are_grey_lines_that_are_drawn_once_where_they_are_equal():
    table = study(dict(n=[100, 200, 400], k=[1, 2]), power)
    table["bound"] = table.n**-0.6
    table["floor"] = table.n**-0.5 * table.k
    figure = lines(table, "n", "dist", hue="k", predictions={"Cramér": "bound", "floor": "floor"})
    (ax,) = figure.axes
    grey = [line for line in ax.get_lines() if line.get_color() == "#595959"]
    wanted = [table[table.k == 1].groupby("n")["bound"].mean()]
    wanted += [table[table.k == k].groupby("n")["floor"].mean() for k in (1, 2)]
    for line, values in zip(grey, wanted, strict=True):
        np.testing.assert_allclose(line.get_data(), [values.index, values])
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == ["$k$ = 1", "$k$ = 2", "Cramér", "floor"]
    with pytest.raises(ValueError, match="predictions must be one of the columns"):
        lines(table, "n", "dist", hue="k", predictions="none")


def test_predictions_far_off_do_not_squeeze_the_means():
    table = study(dict(n=[100, 200, 400]), power).assign(far=1e-9)
    low, high = lines(table, "n", "dist", log="xy", predictions="far").axes[0].get_ylim()
    assert low < 1e-9
    assert high > 0.1
    table["far"] = np.where(table.n == 100, 0.05, 1e-9)
    low, high = lines(table, "n", "dist", log="xy", predictions="far").axes[0].get_ylim()
    assert 1e-3 < low < 0.05


def test_predictions_are_not_drawn_through_cells_without_them():
    table = study(dict(n=[100, 200, 400, 800, 1600], k=[1, 2]), power)
    table = table[(table.k == 1) | (table.n != 800)]  # a cell that does not exist is no gap
    table["theory"] = table.n**-0.6 * table.k
    table.loc[(table.n == 400) & (table.k == 1), "theory"] = np.nan
    table.loc[(table.n == 200) & (table.k == 2), "theory"] = np.nan
    (ax,) = lines(table, "n", "dist", hue="k", predictions="theory").axes
    grey = [line for line in ax.get_lines() if line.get_color() == "#595959"]
    first, second, alone = grey
    assert first.get_xdata().tolist() == [100, 200, 400, 800, 1600]
    assert np.isnan(first.get_ydata()).tolist() == [False, False, True, False, False]
    assert second.get_xdata().tolist() == [100, 200, 400, 1600]
    assert np.isnan(second.get_ydata()).tolist() == [False, True, False, False]
    assert (alone.get_marker(), alone.get_xdata().tolist()) == ("_", [100])


def test_predictions_of_words_are_marks():
    table = study(dict(method=["a", "b"]), lambda cell: 1.0).assign(theory=1.1)
    (ax,) = lines(table, "method", "dist", predictions="theory").axes
    marks = [line for line in ax.get_lines() if line.get_marker() == "_"]
    np.testing.assert_allclose(marks[-1].get_ydata(), [1.1, 1.1])
