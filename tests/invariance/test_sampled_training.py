"""Invariances of runs on samples that are generated and never stored."""

import numpy as np
import pytest

import metaspan as ms
from finite_runs import arguments, run
from matching import METHODS, assert_same_bits

SAMPLED = {"engine": "sampled", "d": 300}
KINDS = ["gaussian", "student-t", "sphere", "shared", "callable", "fixed", "wide", "narrow"]
KINDS += ["spread", "spread-anil"]


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("changes", [{"n": 21, "d": 3000}, {"n": 2, "d": 300_000}])
def test_threads_do_not_change_a_bit(name, changes):
    """Threads work on panels of tasks, or share the pieces of long rows."""
    method = METHODS[name](alpha=1e-5, beta=1e-3)
    options = {"engine": "sampled", "method": method, "rounds": 2, **changes}
    one = run("gaussian", **options)
    for threads in (2, 4):
        assert_same_bits(run("gaussian", threads=threads, **options), one, f"{threads} threads")
    options["spread"] = 0.5
    spread = run("gaussian", **options)
    assert (spread.B != one.B).any()
    assert_same_bits(run("gaussian", threads=2, **options), spread, "2 threads, a spread")


@pytest.mark.parametrize("kind", KINDS)
def test_a_trial_alone_is_its_row_of_many(kind):
    many = run(kind, trials=range(2, 5), rounds=6, **SAMPLED)
    alone = run(kind, trials=range(3, 4), rounds=6, **SAMPLED)
    np.testing.assert_array_equal(many.B[1], alone.B)
    for name, values in alone.trace.items():
        np.testing.assert_array_equal(
            values, many.trace[name] if name == "round" else many.trace[name][1]
        )


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_goes_on_is_the_run_in_one(kind, tmp_path):
    whole = run(kind, rounds=12, trials=2, **SAMPLED)
    for cut in (0, 1, 7):
        path = tmp_path / f"{cut}.npz"
        run(kind, rounds=cut, trials=2, checkpoint=path, **SAMPLED)
        assert_same_bits(
            run(kind, rounds=12, trials=2, checkpoint=path, **SAMPLED), whole, f"{cut}"
        )


def test_auto_takes_it_where_features_are_not_symmetric_or_d_is_small():
    for changes in ({"features": "rademacher"}, {"features": "uniform"}, {"d": 5}):
        r = run("gaussian", rounds=1, **changes)
        assert r.config.engine == "sampled"
    law = ms.LinearTasks(d=30, k=3, spectrum=0.5)
    r = ms.train(law, "anil", rounds=1, n=3, m_in=4, m_out=4)
    assert r.config.engine == "sampled"
    assert ms.train(law, "anil", rounds=1, n=3, m_in=4, m_out=4, pool=5).config.engine == "arrays"
    assert run("gaussian", rounds=1).config.engine == "collapsed"


def test_a_saved_run_comes_back(tmp_path):
    r = run("sphere", rounds=3, spectrum=1.5, **SAMPLED)
    r.save(tmp_path / "run.npz")
    back = ms.load(tmp_path / "run.npz")
    assert_same_bits(back, r)
    assert back.config.tasks.spectrum == 1.5


def test_estimate_knows_the_memory_of_what_is_kept():
    e = ms.estimate(**arguments("gaussian", engine="sampled", d=10**6, n=100, m_in=50, m_out=50))
    assert e.engine == "sampled"
    data = 100 * 100 * 8 * 10**6
    assert 3 * 8 * 10**6 * 3 < e.memory_bytes < data / 20
