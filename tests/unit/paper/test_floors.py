"""The panel of error floors: its runs do not diverge, and its fit uses their ends."""

import numpy as np
import pytest

import metaspan as ms
from metaspan.paper.figures import panels
from metaspan.paper.floors import floors


@pytest.mark.parametrize("label", ["FO-ANIL", "Exact ANIL"])
def test_the_largest_dimension_of_the_panel_does_not_diverge(label):
    """A fifth of the samples diverges within 250 rounds."""
    view = panels()["floor"].views[1]
    curve = max((c for c in view.curves if c.label == label), key=lambda c: c.d)
    assert curve.d == 10**6
    r = ms.train(
        ms.LinearTasks(d=curve.d, k=curve.k, heads=curve.heads),
        curve.method,
        rounds=800,
        n=curve.n,
        m_in=curve.m[0],
        m_out=curve.m[1],
        init=curve.init,
        record_every=50,
        stop=None,
    )
    assert r.status == ms.Status.FINISHED
    assert r.trace["dist"][-1] < 0.1


def test_the_fit_is_that_of_the_ends_and_leaves_out_what_diverged():
    def run(d, beta=0.05, alpha=0.1):
        tasks = ms.LinearTasks(d=d, k=2)
        options = {"rounds": 400, "n": 50, "m_in": 20, "m_out": 20, "trials": 3, "stop": None}
        return ms.train(tasks, "fo-anil", alpha=alpha, beta=beta, init=ms.Init(dist=0.2), **options)

    runs = [run(100), run(1000), run(10_000)]
    found = floors(runs)
    ends = [np.log(r.trace["dist"][:, -100:]).mean() for r in runs]
    np.testing.assert_allclose(np.log(found.dist), ends, rtol=1e-12)
    np.testing.assert_allclose(found.scale, np.sqrt(np.array([100, 1000, 10_000]) * 2 / 1000))
    slope = np.polyfit(np.log(found.scale), ends, 1)[0]
    assert found.exponent == pytest.approx(slope)
    with pytest.warns(ms.DivergenceWarning):
        wild = run(10**6, beta=1.0)
    again = floors([*runs, wild])
    assert again.exponent == found.exponent
    assert again.d.tolist() == [100, 1000, 10_000]
