"""The warning that a head grows on finite samples, (68), and the growth itself."""

import warnings

import numpy as np
import pytest

import metaspan as ms
from metaspan.config.configure import configure
from metaspan.runs.warn import _excess_of_noise

TASKS = ms.LinearTasks(d=1000, k=2, noise=0.3)
TRAP = dict(n=50, m_out=1, rounds=2500, init=ms.Init(dist=0.1), stop=None)
STEPS = dict(alpha=1.0, beta=0.02)


@pytest.mark.parametrize(
    ("beta", "tan2"), [(0.005, 0.0056), (0.01, 0.0151), (0.015, 0.0342), (0.02, 0.0938)]
)
def test_excess_of_noise_is_the_closed_form_for_infinite_inner_sets(beta, tan2):
    """tan^2 = b nu sigma^2 / (2 - b [1 + (k + 2) nu]), b = alpha beta, nu = (d - k) / (n m_out)."""
    method = ms.ANIL(alpha=1.0, beta=beta, first_order=True)
    config = configure(TASKS, method, n=50, m_out=1)
    nu = 998 / 50
    expected = beta * nu * 0.09 / (2 - beta * (1 + 4 * nu))
    assert _excess_of_noise(config, 1.0) == pytest.approx(expected, rel=1e-6)
    assert expected == pytest.approx(tan2, abs=1e-4)
    unstable = configure(TASKS, ms.ANIL(alpha=1.0, beta=0.027, first_order=True), n=50, m_out=1)
    assert _excess_of_noise(unstable, 1.0) == np.inf


@pytest.mark.parametrize("m_in", [20, 1000])
def test_excess_of_noise_is_the_fixed_point_of_the_limit(m_in):
    tasks = ms.LinearTasks(d=8000, k=2, noise=0.3)
    method = ms.ANIL(alpha=0.2, beta=0.25, first_order=True, outer="body")
    sizes = dict(n=None, m_in=m_in, m_out=5, d_over_n=7998 / 500, rounds=2000)
    M, R, _ = ms.train(tasks, method, **sizes, init=ms.Init(dist=0.3), stop=None).state
    largest = 0.2 * np.linalg.norm(np.concatenate([M, R]), 2) ** 2
    config = configure(tasks, method, n=500, m_in=m_in, m_out=5)
    assert _excess_of_noise(config, 1.0) == pytest.approx(largest - 1.0, abs=1e-6)
    assert (largest > 1.0) == (m_in == 1000)


def test_head_grows_where_a_run_warns():
    with pytest.warns(ms.GrowingHeadWarning, match=r"m_out = 1 outer samples of n = 50 tasks"):
        grown = ms.train(TASKS, "fo-anil", **TRAP, **STEPS, record=("dist", "w_norm"))
    frozen = ms.ANIL(**STEPS, first_order=True, outer="body")
    kept = ms.train(TASKS, frozen, **TRAP)
    assert grown.trace["w_norm"][-1] > 20 * grown.trace["w_norm"][200]
    assert grown.trace["dist"][-1] > 1.1 * kept.trace["dist"][-1]


FINE = {
    "few rounds": dict(rounds=900),
    "finite inner sets": dict(m_in=20, m_out=20),
    "many outer samples": dict(m_out=1000),
    "exact": dict(method=ms.ANIL(**STEPS)),
    "frozen": dict(method=ms.ANIL(**STEPS, first_order=True, outer="body")),
    "decreasing steps": dict(
        method=ms.ANIL(**STEPS, first_order=True, step=ms.OuterStep(schedule="1/t"))
    ),
    "Adam": dict(
        method=ms.ANIL(**STEPS, first_order=True, step=ms.OuterStep(rule="adam")), m_in=1000
    ),
    "spectrum": dict(tasks=ms.LinearTasks(d=1000, k=2, noise=0.3, spectrum=1.0), m_in=1000),
    "population": dict(m_out=None),
    "mean": dict(tasks=ms.LinearTasks(d=1000, k=2, heads=ms.GaussianHeads(mean=[1.0, 1.0]))),
    "pool": dict(pool=50, n=None, m_in=20, m_out=20),
}


@pytest.mark.parametrize("name", FINE)
def test_no_warning_where_heads_do_not_grow(name, monkeypatch):
    monkeypatch.setattr("metaspan.runs.train.run", lambda config: config)
    monkeypatch.setattr("metaspan.runs.train.report_failures", lambda *_: None)
    options = {"tasks": TASKS, "method": ms.ANIL(**STEPS, first_order=True), **TRAP, **FINE[name]}
    with warnings.catch_warnings():
        warnings.simplefilter("error", ms.GrowingHeadWarning)
        warnings.simplefilter("ignore", ms.FewSamplesWarning)
        ms.train(**options)
