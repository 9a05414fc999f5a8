"""Bad arguments of runs on data raise one sentence that says what was expected and what came."""

import re

import numpy as np
import pytest

import metaspan as ms
from data_runs import Case, build
from matching import assert_one_sentence

GIVEN = build(Case(8, 2, 2, (2, 3, 2), (3, 2, 2)))
KNOWN = GIVEN.batch
UNKNOWN = build(Case(8, 2, 2, (2, 3, 2), (3, 2, 2)), known=False).batch
B_ALONE = ms.TaskBatch(KNOWN.X_in, KNOWN.y_in, KNOWN.X_out, KNOWN.y_out, KNOWN.B_star)
TASKS = ms.LinearTasks(d=8, k=2)
FIXED = ms.LinearTasks(d=8, k=2, heads=np.ones((4, 2)))
POOL = {"pool": 5, "n": 3, "m_in": 2, "m_out": 3}


def data(batch=KNOWN, method="anil", **changes):
    return ms.train(batch, method, rounds=1, **changes)


def pool(tasks=TASKS, **changes):
    return ms.train(tasks, "anil", rounds=1, **{**POOL, **changes})


# What is wrong: (call, kind of error, fragments that the sentence must contain).
CASES = {
    "m_in": (lambda: data(m_in=5), ValueError, ["m_in must be None for a batch", "got 5"]),
    "m_out": (lambda: data(m_out=5), ValueError, ["m_out must be None for a batch", "got 5"]),
    "pool-of-batch": (lambda: data(pool=3), ValueError, ["pool must be None for", "got 3"]),
    "no-width": (lambda: data(UNKNOWN), ValueError, ["width must be given", "B_star", "got None"]),
    "dist-unknown": (lambda: data(UNKNOWN, width=2, record="dist"),
                     ValueError, ["record 'dist' needs a batch with a B_star", "none"]),
    "angles-unknown": (lambda: data(UNKNOWN, width=2, record=("loss_in", "angles")),
                       ValueError, ["record 'angles' needs a batch with a B_star", "none"]),
    "perp-unknown": (lambda: data(UNKNOWN, width=2, record="perp_norm"),
                     ValueError, ["record 'perp_norm' needs a batch with a B_star", "none"]),
    "mu-unknown": (lambda: data(B_ALONE, record="mu"),
                   ValueError, ["record 'mu' needs a batch with heads", "none"]),
    "tilted-unknown": (lambda: data(UNKNOWN, width=2, init="methodical"),
                       ValueError, ["init dist must be None", "B_star", "got 0.7"]),
    "route-unknown": (lambda: data(route="fast"),
                      ValueError, ["route must be", "'gram'", "'dual'", "got 'fast'"]),
    "route-kind": (lambda: data(route=3), TypeError, ["route must be", "got 3"]),
    "route-population": (lambda: ms.train(TASKS, "anil", rounds=1, route="gram"),
                         ValueError, ["route must be 'auto' unless", "reuse data", "got 'gram'"]),
    "engine-data": (lambda: data(engine="population"),
                    ValueError, ["engine must be 'auto' or 'arrays'", "got 'population'"]),
    "engine-pool": (lambda: pool(engine="population"),
                    ValueError, ["engine must be 'auto', 'collapsed' or", "got 'population'"]),
    "engine-no-pool": (lambda: pool(pool=None, engine="arrays"),
                       ValueError, ["engine must be", "'collapsed' or 'sampled'", "got 'arrays'"]),
    "engine-infinite": (lambda: ms.train(TASKS, "anil", rounds=1, engine="arrays"),
                        ValueError, ["engine must be", "'population'", "got 'arrays'"]),
    "no-m_out": (lambda: pool(m_out=None), ValueError, ["m_out must be an integer", "got None"]),
    "no-m_in": (lambda: pool(m_in=None), ValueError, ["m_in must be an integer", "got None"]),
    "m_in-zero": (lambda: pool(m_in=0), ValueError, ["m_in must be at least 1", "got 0"]),
    "m_out-kind": (lambda: pool(m_out=2.5), TypeError, ["m_out must be an integer", "got 2.5"]),
    "n-above-batch": (lambda: data(n=4), ValueError,
                     ["n must be at most 3, the tasks of the batch", "got 4"]),
    "n-above-pool": (lambda: pool(n=6), ValueError,
                     ["n must be at most 5, the tasks of the pool", "got 6"]),
    "n-zero": (lambda: data(n=0), ValueError, ["n must be at least 1", "got 0"]),
    "shared-apart": (lambda: data(shared_samples=True),
                     ValueError, ["shared_samples=True needs a batch", "TaskBatch(X, y, X, y)"]),
    "shared-sizes": (lambda: pool(shared_samples=True),
                     ValueError, ["m_out must equal m_in = 2", "got 3"]),
    "start-shape": (lambda: data(init=(np.ones((7, 2)), np.ones(2))),
                    ValueError, ["B0 must have shape (8, width)", "got (7, 2)"]),
    "start-width": (lambda: data(init=(np.ones((8, 2)), np.ones(2)), width=3),
                    ValueError, ["B0 must have shape (8, 3)", "got (8, 2)"]),
    "start-list": (lambda: data(init=(np.ones((8, 2)).tolist(), np.ones(2))),
                   TypeError, ["B0 must be a NumPy array"]),
    "wide": (lambda: data(width=9), ValueError, ["width must be at most d = 8", "got 9"]),
    "tasks": (lambda: data((KNOWN.X_in, KNOWN.y_in)),
              TypeError, ["tasks must be a LinearTasks or a TaskBatch", "got"]),
    "gradient-dual": (lambda: ms.meta_gradient(GIVEN.B, GIVEN.w, KNOWN, "anil", route="dual"),
                      ValueError, ["route must be 'auto', 'gram' or 'vector'", "got 'dual'"]),
    "single-of-double": (lambda: data(accumulate="float32"),
                         ValueError, ["accumulate='float32' needs float32 data", "got float64"]),
    "single-unknown": (lambda: data(accumulate="half"),
                       ValueError, ["accumulate must be", "'float64'", "got 'half'"]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_one_sentence_names_argument_expected_and_given(case):
    assert_one_sentence(*case)


@pytest.mark.parametrize(
    "name", ["m_in", "no-width", "route-unknown", "n-above-pool", "engine-no-pool"]
)
def test_estimate_refuses_what_train_refuses(name, monkeypatch):
    call, kind, fragments = CASES[name]
    monkeypatch.setattr(ms, "train", ms.estimate)
    with pytest.raises(kind, match=re.escape(fragments[0])):
        call()


def test_largest_numbers_that_fit_are_accepted():
    assert data(n=3).config.n == 3
    assert pool(n=5).config.n == 5
    assert data(width=8, alpha=0.01).B.shape == (8, 8)
    shared = ms.TaskBatch(KNOWN.X_in, KNOWN.y_in, KNOWN.X_in, KNOWN.y_in)
    assert data(shared, width=2, shared_samples=True).config.shared_samples
