"""Errors that few calls raise are also one sentence."""

import numpy as np
import pytest

import metaspan as ms
from matching import assert_one_sentence

D, K = 8, 2
B = np.eye(D, K)
B_STAR = np.eye(D, K, -1)
WIDE = np.ones((D, D + 1))
X, Y = np.ones((3, 6, D)), np.ones((3, 6))
BATCH = ms.TaskBatch.split(X, Y, m_in=2)
TASKS = ms.LinearTasks(d=D, k=K)
FIXED = ms.LinearTasks(d=D, k=K, heads=np.eye(4, K))


def train(tasks=TASKS, **settings):
    return ms.train(tasks, "anil", **{"rounds": 3, **settings})


def plot(**options):
    return ms.plot(train(n=4), **options)


# What is wrong: (call, kind of error, fragments that the sentence must contain).
CASES = {
    "record": (lambda: train(record=3), TypeError, ["record must hold names", "got 3"]),
    "stop": (lambda: train(BATCH, width=K, stop=ms.Stop(dist=1e-3)), ValueError,
             ["stop dist must be None", "without a B_star", "got 0.001"]),
    "start-pair": (lambda: train(init=(B,)), ValueError, ["init must be a pair", "got 1"]),
    "start-wide": (lambda: train(init=(WIDE, np.zeros(D + 1))), ValueError,
                   ["B0 must have at most d = 8 columns", "got 9"]),
    "distance-wide": (lambda: ms.subspace_distance(WIDE, B_STAR), ValueError,
                      ["B must have at most d = 8 columns", "got 9"]),
    "pool-of-fixed-heads": (lambda: train(FIXED, pool=2), ValueError,
                            ["pool must be None", "fixed heads", "got 2"]),
    "infinite-tasks-spectrum": (
        lambda: ms.train(ms.LinearTasks(d=D, k=K, spectrum=np.ones(D)), "fo-anil", n=None),
        ValueError, ["features of covariance I", "got a spectrum"]),
    "accumulate": (lambda: train(accumulate="float32"), ValueError,
                   ["accumulate='float32' needs engine 'arrays'", "got 'population'"]),
    "evaluate-features": (
        lambda: ms.evaluate(
            B, np.zeros(K), ms.LinearTasks(d=D, k=K, B_star=B_STAR, features="sphere"), "anil"),
        ValueError, ["tasks.features must be 'gaussian'", "got 'sphere'"]),
    "sample-outer": (lambda: TASKS.sample(3, 4), ValueError,
                     ["m_out must be an integer unless shared_samples=True", "got None"]),
    "sample-shared": (lambda: TASKS.sample(3, 4, 5, shared_samples=True), ValueError,
                      ["m_out must equal m_in = 4", "got 5"]),
    "path-empty": (lambda: ms.load(""), ValueError, ["path must be text", "got ''"]),
    "path-bytes": (lambda: ms.load(BytesPath()), TypeError, ["path must be a path in text"]),
    "heads-overflow": (
        lambda: ms.theory.rate(ms.LinearTasks(d=D, k=K, heads=ms.GaussianHeads(mean=[1e200, 0])),
                               "fo-anil"),
        ValueError, ["heads must have a second moment that double precision holds"]),
    "fixed-point-direction": (
        lambda: ms.theory.fixed_point(
            ms.LinearTasks(d=D, k=K, heads=ms.GaussianHeads(cov=[1.0, 0.0])), "fo-anil", m_in=4),
        ValueError, ["the heads must reach every direction", "mu_star is 0"]),
    "plot-predictions": (lambda: plot(predictions=["line"]), ValueError,
                         ["predictions must be of limit, floor", "got 'line'"]),
    "plot-color": (lambda: plot(colors=["no colour"]), ValueError,
                   ["colors must hold colours of matplotlib", "got 'no colour'"]),
}  # fmt: skip


class BytesPath:
    """A path whose name is bytes."""

    def __fspath__(self):
        return b"name"


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_rare_refusals_are_one_sentence(case):
    assert_one_sentence(*case)


def test_configurations_differ_by_the_arrays_of_a_start():
    config = train(n=4, init=(B, np.zeros(K))).config
    assert config == train(n=4, init=(B.copy(), np.zeros(K))).config
    assert config != train(n=4, init=(2 * B, np.zeros(K))).config
    assert config != train(n=4).config
