"""The theory's numbers beside the fits of a study, and captions in the letters of the paper."""

import math

import numpy as np
import pytest

import metaspan as ms

pytest.importorskip("pandas")
pytest.importorskip("matplotlib")

from metaspan.study.design.measures import measure_of
from metaspan.study.figures.captions import to_latex, to_unicode
from metaspan.study.figures.theory import predict_cells

ALPHA, BETA = 0.1, 0.2
POPULATION = dict(
    method="fo-anil", alpha=ALPHA, beta=BETA, k=3, n=1000,
    heads=dict(kind="GaussianHeads", cov="[1, 1, mu2]"), init="methodical",
    rounds="round(20 / (alpha * beta * mu2))",
)  # fmt: skip
SAMPLES = dict(
    method="fo-anil", alpha=0.2, beta=0.2, k=2, noise=0.1, m_in=20, m_out=50, stop=None,
    init="methodical", rounds=300,
)  # fmt: skip


@pytest.fixture(scope="module")
def population(tmp_path_factory):
    folder = tmp_path_factory.mktemp("population")
    grid = dict(mu2=[0.25, 0.5, 1.0], d=[100, 10**6])
    study = ms.Study(folder, POPULATION, grid, 3, ("rate", "rounds_to:1e-4", "dist"))
    study.run(progress=False)
    return study


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("samples")
    grid = dict(n=[200, 400, 800], d=[500, 2000])
    study = ms.Study(folder, SAMPLES, grid, 3, ("floor", "rounds_to:0.1"))
    study.run(progress=False)
    return study


def predicted(study, names, y):
    values, _ = predict_cells(names, measure_of(y), study.cells, study.spec.seeds)
    (found,) = values.values()
    return found.mean(axis=1)


def means(study, y):
    table = study.table()
    return table.groupby(list(study.spec.axes), sort=False)[y].mean().to_numpy()


def test_the_rate_is_that_of_equation_22(population):
    found = predicted(population, "rate", "rate")
    wanted = [-math.log1p(-ALPHA * BETA * cell.values["mu2"]) for cell in population.cells]
    np.testing.assert_allclose(found, wanted)
    np.testing.assert_allclose(means(population, "rate"), found, rtol=0.02)


def test_rounds_by_the_rate_are_near_those_of_runs(population):
    found = predicted(population, "rounds", "rounds_to:1e-4")
    # From dist 0.7, the tangent of the angle falls to 1e-4 by the factor 1 - alpha beta mu2.
    start = 0.7 / math.sqrt(1 - 0.49)
    wanted = [
        math.log(1e-4 / start) / math.log(1 - ALPHA * BETA * cell.values["mu2"])
        for cell in population.cells
    ]
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    np.testing.assert_allclose(means(population, "rounds_to:1e-4"), found, rtol=0.05)


def test_rounds_from_a_random_start_have_the_plateau(tmp_path):
    base = {**POPULATION, "init": "random", "rounds": 2000}
    study = ms.Study(tmp_path, base, dict(mu2=[1.0], d=[10**3, 10**9]), 6, "rounds_to:1e-6")
    study.run(progress=False)
    found = predicted(study, "rounds", "rounds_to:1e-6")
    step = ALPHA * BETA
    wanted = [
        math.log(3 * d) / (2 * step) + math.log(1e-6) / math.log(1 - step) for d in (1e3, 1e9)
    ]
    np.testing.assert_allclose(found, wanted, rtol=1e-9)
    np.testing.assert_allclose(means(study, "rounds_to:1e-6"), found, rtol=0.12)
    slope = np.diff(means(study, "rounds_to:1e-6")) / math.log(1e6)
    np.testing.assert_allclose(slope, 1 / (2 * step), rtol=0.2)


def test_the_floor_and_the_limit_are_near_the_measured_floor(samples):
    floors = predicted(samples, "floor", "floor")
    for floor, cell in zip(floors, samples.cells, strict=True):
        tasks = ms.LinearTasks(d=cell.values["d"], k=2, noise=0.1)
        sizes = dict(n=cell.values["n"], m_in=20, m_out=50, alpha=0.2, beta=0.2)
        assert floor == pytest.approx(float(ms.theory.floor(tasks, "fo-anil", **sizes)))
    np.testing.assert_allclose(means(samples, "floor"), floors, rtol=0.1)
    np.testing.assert_allclose(
        means(samples, "floor"), predicted(samples, "limit", "floor"), rtol=0.1
    )
    np.testing.assert_allclose(
        means(samples, "rounds_to:0.1"), predicted(samples, "limit", "rounds_to:0.1"), rtol=0.1
    )


def test_plots_draw_the_predictions_of_their_cells(population, samples):
    figure = population.plot("d", "rounds_to:1e-4", hue="mu2", predictions="theory")
    grey = [line for line in figure.axes[0].get_lines() if line.get_color() == "#595959"]
    wanted = predicted(population, "rounds", "rounds_to:1e-4").reshape(3, 2)
    for line, values in zip(grey, wanted, strict=True):
        np.testing.assert_allclose(line.get_data(), [[100, 10**6], values])
    texts = [text.get_text() for key in figure.legends for text in key.get_texts()]
    texts += [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert "rounds (22)" in texts
    figure = samples.plot("n", "floor", predictions=["floor"], where={"d": 2000})
    assert "floor (59)" in figure.caption


def test_the_limit_is_averaged_like_the_runs_of_a_point(tmp_path):
    """On a log axis both are geometric means; a run has the start of the limit of its seed."""
    base = dict(d=60, k=2, noise=0.5, m_in=10, m_out=10, rounds=60, stop=None, alpha=0.3, beta=0.3)
    base |= dict(method="fo-anil")
    study = ms.Study(tmp_path, base, dict(n=[50, 200]), 3, "dist")
    study.run(progress=False)
    values, _ = predict_cells("limit", measure_of("dist"), study.cells, study.spec.seeds)
    (limits,) = values.values()
    assert limits.shape == (2, 3)
    assert limits.mean(axis=1)[1] > 1.05 * np.exp(np.log(limits).mean(axis=1))[1]
    for log in (True, False):
        figure = study.plot("n", "dist", predictions="limit", log="y" if log else "")
        grey = [line for line in figure.axes[0].get_lines() if line.get_color() == "#595959"]
        expected = np.exp(np.log(limits).mean(axis=1)) if log else limits.mean(axis=1)
        np.testing.assert_allclose(grey[0].get_ydata(), expected)


def test_predictions_that_do_not_exist_are_named(population, samples):
    with pytest.raises(ValueError, match=r"predictions must exist for a cell; got 'floor': the fl"):
        population.plot("d", "rate", hue="mu2", predictions="floor")
    with pytest.raises(ValueError, match=r"got 'rate': result must be of a law on population los"):
        predict_cells("rate", measure_of("rate"), samples.cells)
    with pytest.raises(ValueError, match="predictions must be of rate, rounds, floor, limit, or"):
        population.plot("d", "rate", hue="mu2", predictions="magic")
    with pytest.raises(TypeError, match="predictions must be of rate"):
        population.plot("d", "rate", hue="mu2", predictions=3)
    with pytest.warns(UserWarning, match="the theory predicts nothing for dist: the floor is 0"):
        figure = population.plot("d", "dist", hue="mu2", predictions="theory")
    assert "theory" not in figure.caption


def test_captions_name_fixed_values_in_letters(population, samples):
    figure = population.plot("d", "rate", hue="mu2", fit=True)
    assert figure.caption == (
        "Fall of log dist per round against d, μ² by colour. FO-ANIL, α = 0.1, β = 0.2, k = 3, "
        "n = 1,000, heads = GaussianHeads(cov=[1, 1, μ²]), rounds = round(20 / (α·β·μ²)), "
        "population losses, 3 seeds. Geometric means over seeds, with 95 % Student-t intervals. "
        "Dashed lines are fitted laws, with 95 % bootstrap intervals in brackets."
    )
    assert r"$\alpha$ = 0.1, $\beta$ = 0.2, $k$ = 3" in figure.caption_latex
    assert r"95 \% Student-t" in figure.caption_latex
    figure = samples.plot("n", "floor", where={"d": 2000})
    assert "FO-ANIL, α = 0.2, β = 0.2, d = 2,000, k = 2, m_in = 20, m_out = 50, noise = 0.1, " in (
        figure.caption
    )
    figure = population.plot("d", "rate", where={"mu2": 0.5})
    assert "FO-ANIL, μ² = 0.5, α = 0.1" in figure.caption


def test_captions_name_dependent_values_and_defaults(tmp_path):
    base = dict(d=10, k=2, rounds=5, n="2 * k", beta="alpha / 2")
    study = ms.Study(tmp_path, base, dict(alpha=[0.1, 0.2], method=["anil", "maml"]))
    study.run(progress=False)
    assert study.plot("alpha", "dist", hue="method").caption == (
        "dist(B_T, B_*) against α, method by colour. β = α / 2, d = 10, k = 2, n = 4, rounds = 5, "
        "population losses, 1 seed."
    )


def test_formulas_become_plain_text_and_latex():
    text = r"$m_{\mathrm{out}}$ = $10^{-6}$ \$ $\mu^2$ of a_b & 5 %"
    assert to_unicode(text) == "m_out = 10⁻⁶ $ μ² of a_b & 5 %"
    assert to_latex(text) == r"$m_{\mathrm{out}}$ = $10^{-6}$ \$ $\mu^2$ of a\_b \& 5 \%"


def test_reports_compare_fits_with_the_theory(population, tmp_path):
    population.report(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "theory, rate (22), at the same cells: y = 0.0202 mu2^1." in page
    assert "geometric mean of measured over predicted: 1.00" in page
    assert "α = 0.1, β = 0.2, k = 3, n = 1,000" in page
